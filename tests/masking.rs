//! Masked copies: no value of a masked column leaves, keys stay valid, and such a copy never passes for a backup.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::io::Read;
use std::path::Path;

use runner_test_support::{Ended, TestServer, World, docker_image, postgres};

const PROGRAM: &str = env!("CARGO_BIN_EXE_runner");

/// People whose values are easily found: every one of them holds the word CANARY or a number that nothing else has.
const PEOPLE: &str = "
    create schema app;
    create extension if not exists citext;
    create type app.mood as enum ('calm', 'wild');
    create domain app.name as text;
    create domain app.mail as text check (value like '%@%');
    create table users (
        id bigint primary key, email text not null unique, login varchar(24) unique, code char(40), name app.name,
        phone varchar(20), token uuid unique, born date, seen timestamptz, made timestamp(0), salary numeric(10,2),
        score numeric, rank smallint unique, papers bytea, facts jsonb, nick citext unique, note text,
        mood app.mood, home app.mail, tags text[], initials varchar(4) unique,
        shout text generated always as (upper(note)) stored,
        constraint note_is_short check (note is null or length(note) < 20));
    insert into users (id, email, login, code, name, phone, token, born, seen, made, salary, score, rank, papers, facts, nick,
                       note, mood, home, tags, initials)
    select 770000000 + n, 'CANARY' || n || '@example.com', 'CANARYlogin' || n, 'CANARYcode' || n, 'CANARY ' || n || E'\\ttab',
           '+49CANARY' || n, ('deadbeef-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, date '1971-01-01' + n,
           timestamptz '2003-04-05 06:07:08.123456+00' + n * interval '1 hour', timestamp '2003-04-05 06:07:08' + n * interval '1 day',
           88000.25 + n, 99.5 + n, n, convert_to('CANARY' || n, 'UTF8'), jsonb_build_object('CANARY', n), 'CANARYnick' || n,
           case when n % 2 = 0 then 'CANARY' || n end, 'calm', 'c' || n || '@x', array['a'], 'i' || n
    from generate_series(1, 200) n;
    create table app.orders (id int primary key, email text references users (email), user_id bigint references users, amount int);
    insert into app.orders select n, 'CANARY' || 1 + n % 200 || '@example.com', 770000001 + n % 200, n from generate_series(1, 500) n;
    create table events (at date not null, who text, place text) partition by range (at);
    create table events_a partition of events for values from ('2020-01-01') to ('2021-01-01');
    create table events_b partition of events for values from ('2021-01-01') to ('2022-01-01');
    insert into events select date '2020-06-01' + n, 'CANARYwho' || n, 'here' from generate_series(1, 500) n;
    create materialized view lately as select id, email from users;
    create unique index on users (lower(email));
";

/// Everything that can be masked, in the way that says least.
const MASK: &str = r#"#{ "users.id": "hash", "app.orders.user_id": "hash", "users.email": "hash", "app.orders.email": "hash",
    "users.login": "hash", "users.code": "hash", "users.name": "text:REDACTED\t\\.", "users.phone": "null", "users.token": "hash",
    "users.born": "hash", "users.seen": "hash", "users.made": "hash", "users.salary": "hash", "users.score": "hash",
    "users.rank": "hash", "users.papers": "hash", "users.facts": "hash", "users.nick": "hash", "users.note": "text:gone",
    "users.mood": "text:wild", "events.who": "hash" }"#;

struct Shop {
    server: TestServer,
    world: World,
}

impl Shop {
    async fn open() -> Option<Self> {
        let server = postgres().await?;
        server.create("shop", PEOPLE).await;
        let world =
            World::new(PROGRAM).with_env("SHOP", &server.place("shop")).with_env("TESTS", &server.place("tests"));
        let image = docker_image().await.unwrap_or_else(|| "postgres:15".into());
        Some(Self { server, world: world.with_env("IMAGE", &image).with_env("MASK_KEY", "a key that is long enough") })
    }

    fn script(&self, text: &str) -> Ended {
        self.world.write("t.rhai", &format!("let shop = postgres(secret(\"SHOP\"));\n{text}"));
        self.world.run(&["t.rhai"])
    }

    fn dump(&self, name: &str, options: &str) -> Ended {
        self.script(&format!("dump(shop, #{{ to: \"{name}\", {options} }});"))
    }

    fn text(&self, name: &str) -> String {
        unpacked(&self.world.path(name))
    }
}

fn unpacked(path: &Path) -> String {
    let mut text = String::new();
    flate2::read::MultiGzDecoder::new(std::fs::File::open(path).unwrap()).read_to_string(&mut text).unwrap();
    text
}

/// Returns the rows of a table in a dump.
fn rows<'a>(text: &'a str, table: &str) -> Vec<Vec<&'a str>> {
    let from = text.find(&format!("COPY {table} (")).unwrap();
    let body = text[from..].split_once('\n').unwrap().1.split("\n\\.\n").next().unwrap();
    body.lines().map(|line| line.split('\t').collect()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_value_leaves_and_every_key_still_holds() {
    let Some(shop) = Shop::open().await else { return };
    let told = shop.script(&format!(
        "let copy = dump(shop, #{{ to: \"m.sql.gz\", mask: {MASK} }});
         check(\"masked\", copy.masked && !copy.whole);
         with_sandbox(#{{ image: env(\"IMAGE\") }}, |server| {{
             let back = restore(copy, server, #{{ database: \"m\" }});
             let diff = compare(copy, back);
             check(\"equal\", diff.equal, diff.summary);
             check_eq(\"joined by text\", query_value(back, \"select count(*) from app.orders join users using (email)\"), 500);
             check_eq(\"joined by number\", query_value(back, \"select count(*) from app.orders o join users u on u.id = o.user_id\"), 500);
             check_eq(\"people\", query_value(back, \"select count(distinct email) from users\"), 200);
             check_eq(\"the view was made of masked rows\", query_value(back, \"select count(*) from lately join users using (email)\"), 200);
             check_eq(\"generated\", query_value(back, \"select count(*) from users where shout = 'GONE'\"), 100);
             check_eq(\"NULL stays\", query_value(back, \"select count(*) from users where note is null\"), 100);
             check_eq(\"fixed\", query_value(back, \"select count(*) from users where name = E'REDACTED\\\\t\\\\\\\\.' and mood = 'wild' and phone is null\"), 200);
         }});
         let diff = compare(copy, shop);
         check(\"not the source\", !diff.equal && diff.summary.contains(\"masked copy\"), diff.summary);"
    ));
    told.expect(0);
    let text = shop.text("m.sql.gz");
    for value in ["CANARY", "77000000", "deadbeef-0000", "2003-04-05 06:07", "88001.25", "43414e415259"] {
        assert!(!text.contains(value), "{value} is in the copy");
    }
    // One day stands for another one: a few of two hundred meet a day of the original by chance.
    let born = rows(&text, "public.users").iter().filter(|row| row[7].starts_with("1971")).count();
    assert!(born < 20, "{born} of 200 are still born in 1971");
    assert!(text.contains("\there\n"), "what is not masked is as it was");
    let manifest = std::fs::read_to_string(shop.world.path("m.sql.gz.manifest.json")).unwrap();
    assert!(
        manifest.contains("\"public.users.email\": \"hash\"") && manifest.contains("\"public.users.name\": \"text\"")
    );
    assert!(!manifest.contains("CANARY") && !manifest.contains("REDACTED"));
    let evidence =
        std::process::Command::new("grep").args(["-rlE", "CANARY[0-9]"]).arg(shop.world.path(".runner")).output();
    assert_eq!(String::from_utf8(evidence.unwrap().stdout).unwrap(), "", "the journal holds no value");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_dump_has_a_key_of_its_own_unless_one_is_given() {
    let Some(shop) = Shop::open().await else { return };
    let mask = "mask: #{ \"users.login\": \"hash\", \"users.rank\": \"hash\" }";
    let emails = |name: &str, options: &str| {
        shop.dump(name, options).expect(0);
        let text = shop.text(name);
        rows(&text, "public.users").iter().map(|row| format!("{} {}", row[2], row[12])).collect::<Vec<_>>()
    };
    let (one, two) = (emails("1.sql.gz", mask), emails("2.sql.gz", mask));
    assert!(one.iter().zip(&two).all(|(a, b)| a != b), "no hash of one dump is in the other");
    let keyed = format!("{mask}, mask_key: secret(\"MASK_KEY\")");
    let (one, two) = (emails("3.sql.gz", &keyed), emails("4.sql.gz", &keyed));
    assert_eq!(one, two);
    let other = format!("{mask}, mask_key: \"another key, long enough\"");
    assert_ne!(emails("5.sql.gz", &other), one);
    let files =
        std::fs::read_to_string(shop.world.path("3.sql.gz.manifest.json")).unwrap() + shop.text("3.sql.gz").as_str();
    assert!(!files.contains("a key that is long enough"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_masked_is_refused_before_anything_is_dumped() {
    let Some(shop) = Shop::open().await else { return };
    for (mask, code, told) in [
        (r#""users.emial": "hash""#, 2, "did you mean public.users.email?"),
        (r#""usres.email": "hash""#, 2, "did you mean public.users.email?"),
        (r#""email": "hash""#, 2, "write table.column"),
        (r#""users.email": "hsah""#, 2, "the ways are null, hash and text:WORDS"),
        (r#""users.email": "hash", "public.users.email": "null""#, 2, "masked in two ways"),
        (r#""users.tags": "hash""#, 3, "public.users.tags cannot be masked so"),
        (r#""users.tags": "hash""#, 3, "it is of type text[], which has no hash"),
        (r#""users.mood": "hash""#, 3, "app.mood, which has no hash"),
        (r#""users.mood": "text:sad""#, 3, "invalid input value for enum app.mood"),
        (r#""users.home": "hash""#, 3, "a domain whose rules"),
        (r#""users.born": "text:soon""#, 3, "the fixed text is no date"),
        (r#""users.phone": "text:a phone number that is far too long""#, 3, "longer than character varying(20)"),
        (r#""users.shout": "hash""#, 3, "it is generated"),
        (r#""users.note": "hash""#, 3, "would break its rule note_is_short"),
        (r#""users.email": "hash""#, 3, "app.orders.email points at public.users.email"),
        (r#""app.orders.email": "hash""#, 3, "mask public.users.email in the same way"),
        (r#""app.orders.email": "null", "users.email": "hash""#, 3, "it is part of a key"),
        (r#""users.id": "hash""#, 3, "app.orders.user_id points at public.users.id"),
        (r#""users.email": "null""#, 3, "it is NOT NULL"),
        (r#""users.id": "null""#, 3, "it is NOT NULL"),
        (r#""users.login": "text:x""#, 3, "it is unique, and a fixed text is not"),
        (r#""users.initials": "hash""#, 3, "too short for hashes that stay different"),
        (r#""events.at": "hash""#, 3, "in which partition a row lies"),
    ] {
        let ended = shop.dump("no.sql.gz", &format!("mask: #{{ {mask} }}"));
        assert_eq!(ended.code, code, "{mask}: {}", ended.stderr);
        ended.told(told);
        assert!(shop.world.names(".").iter().all(|name| !name.contains("no.sql")), "{mask} left something");
    }
    shop.dump("no.dump", "mask: #{ \"users.phone\": \"null\" }")
        .expect(3)
        .told("pg_dump's own archive cannot be masked");
    shop.dump("no.sql.gz", "mask: #{}").expect(2).told("`mask` names no column");
    shop.dump("no.sql.gz", "mask: #{ \"users.phone\": \"hash\" }, mask_key: \"short\"").expect(3).told("less than 16");
    shop.dump("no.sql.gz", "tables: [\"events\"], mask: #{ \"users.phone\": \"null\" }")
        .expect(3)
        .told("not among `tables`");
    let sqlite = "let db = sqlite(\"x.sqlite\", #{ create: true }); execute(db, \"create table t (a text)\");
                  dump(db, #{ to: \"x.sqlite.gz\", mask: #{ \"t.a\": \"null\" } });";
    shop.script(sqlite).expect(3).told("columns of a SQLite database cannot be masked");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_masked_copy_never_passes_for_a_backup() {
    let Some(shop) = Shop::open().await else { return };
    shop.server.create("tests", "create table old (a int); insert into old values (1);").await;
    shop.script("dump(shop, \"backups/whole.sql.gz\");").expect(0);
    shop.dump("masked/m.sql.gz", "mask: #{ \"users.phone\": \"null\" }").expect(0);
    let image = docker_image().await.map(|image| format!("--set=image={image}"));
    let run = |arguments: &[&str]| {
        let all: Vec<&str> = arguments.iter().copied().chain(image.as_deref()).collect();
        shop.world.run(&all)
    };
    let masked = "--set=backup=masked/m.sql.gz";
    run(&["drill", masked]).expect(1).told("FAILED: it is a backup of the whole database");
    run(&["verify_restore", masked, "--set=tables=users", "--set=counts=users", "--set=migration="])
        .expect(1)
        .told("it is a masked copy");
    run(&["check_integrity", masked, "--set=relations=app.orders.user_id=users.id"])
        .expect(1)
        .told("it is a masked copy");
    run(&["scheduled_verification", "--set=folder=masked"]).expect(2).told("there are only masked copies in masked");
    let database = "--set=target=secret:TESTS";
    shop.world.run(&["restore_database", masked, database]).expect(2).told("what is masked cannot come back");

    // Beside a good backup it does not count, however new it is.
    for name in ["m.sql.gz", "m.sql.gz.sha256", "m.sql.gz.manifest.json"] {
        std::fs::copy(shop.world.path(&format!("masked/{name}")), shop.world.path(&format!("backups/{name}"))).unwrap();
    }
    run(&["scheduled_verification", "--set=folder=backups"]).expect(0).told("verified backups/whole.sql.gz");

    let set = "catalog(\"sets\").create(#{ database: |to| dump(shop, #{ to: to + \".sql.gz\", mask: #{ \"users.phone\": \"null\" } }) });";
    shop.script(set).expect(2).told("a masked copy is no part of a backup set");
    shop.world.run(&["daily_check", "--set=folder=sets"]).expect(1);

    let restore = |what: &str, options: &str| {
        shop.script(&format!(
            "restore(backup(\"{what}\"), postgres(secret(\"TESTS\"), #{{ writable: true }}), #{{ replace: true, {options} }});"
        ))
    };
    restore("masked/m.sql.gz", "").expect(3).told("what is masked cannot come back");
    assert_eq!(shop.server.value("tests", "select count(*) from old").await, "1", "nothing was replaced");
    restore("backups/whole.sql.gz", "masked: true").expect(3).told("masked: true takes masked copies only");
    restore("masked/m.sql.gz", "masked: true").expect(0);
    assert_eq!(shop.server.value("tests", "select count(*) from users where phone is null").await, "200");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_script_makes_proves_and_delivers_a_copy() {
    let Some(shop) = Shop::open().await else { return };
    shop.server.create("tests", "create table old (a int);").await;
    let image = docker_image().await.map(|image| format!("--set=image={image}"));
    let mask = "--set=mask=users.phone=null,users.name=text:REDACTED,users.login=hash";
    let mut arguments = vec!["masked_copy", "--set=source=secret:SHOP", mask, "--set=mask_key=MASK_KEY"];
    arguments.extend(image.as_deref());
    let dry: Vec<&str> = arguments.iter().copied().chain(["--dry-run"]).collect();
    shop.world.run(&dry).expect(0).told("masking users.login, users.name, users.phone");
    assert!(shop.world.names("masked").is_empty(), "a dry run writes nothing");
    arguments.push("--set=target=secret:TESTS");
    let ended = shop.world.run(&arguments).expect(0);
    ended.told("every row, key and rule of the copy holds").told("the test system holds the copy");
    assert_eq!(shop.server.value("tests", "select count(*) from users where name = 'REDACTED'").await, "200");
    assert_eq!(shop.world.names("masked").iter().filter(|name| name.ends_with(".sql.gz")).count(), 1);
    shop.world.run(&["masked_copy", "--set=source=secret:SHOP"]).expect(2).told("say what to mask");
}
