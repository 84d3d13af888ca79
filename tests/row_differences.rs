//! Rows that differ are named: by key, in every pairing of databases and backups, in bounded memory, without values.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use nix::sys::signal::Signal;
use runner_test_support::{Ended, TestServer, World, postgres};
use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_runner");

/// Opens both databases and says what `compare` found, as one line of JSON.
const COMPARE: &str = "
    let left = postgres(secret(\"LEFT\"));
    let right = postgres(secret(\"RIGHT\"));
    let diff = compare(left, right, #{ rows: 20 });
    check(\"told\", !diff.equal, diff.summary);
";

/// A world that knows two databases of a server: LEFT is `a`, RIGHT is `b`.
fn world(server: &TestServer) -> World {
    World::new(PROGRAM).with_env("LEFT", &server.place("a")).with_env("RIGHT", &server.place("b"))
}

/// Makes two equal databases and changes the second one.
async fn two(server: &TestServer, schema: &str, changes: &str) {
    server.create("a", schema).await;
    server.execute("postgres", "create database b template a").await;
    server.execute("b", changes).await;
}

fn run(world: &World, script: &str) -> (Ended, Value) {
    world.write("compare.rhai", script);
    let ended = world.run(&["compare.rhai", "--json", "--report", "md=report.md,html=report.html"]).expect(0);
    let report: Value = serde_json::from_str(&ended.stdout).unwrap();
    let evidence = report["evidence"].as_array().unwrap();
    let facts = evidence.iter().rfind(|e| e["primitive"] == "compare").unwrap()["facts"].clone();
    (ended, facts)
}

/// Returns the named rows as `table: key change(columns)`.
fn named(facts: &Value) -> Vec<String> {
    let rows = facts["row_differences"].as_array().cloned().unwrap_or_default();
    let text = |row: &Value| {
        let key = row["key"].as_object().unwrap();
        let key: Vec<_> = key.iter().map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or("NULL"))).collect();
        let columns: Vec<_> = row["columns"].as_array().unwrap().iter().map(|c| c.as_str().unwrap()).collect();
        let times = row["times"].as_u64().unwrap();
        let times = if times > 1 { format!(" x{times}") } else { String::new() };
        format!(
            "{}: {} {}({}){times}",
            row["table"].as_str().unwrap(),
            key.join(","),
            row["change"].as_str().unwrap(),
            columns.join(",")
        )
    };
    rows.iter().map(text).collect()
}

fn counts(facts: &Value, table: &str) -> (u64, u64, u64, bool) {
    let tables = facts["row_counts"].as_array().unwrap();
    let found = tables.iter().find(|t| t["table"] == table).unwrap_or_else(|| panic!("{table} is not in {facts:#}"));
    let count = |what: &str| found[what].as_u64().unwrap();
    (count("missing"), count("extra"), count("changed"), found["exact"].as_bool().unwrap())
}

const SHOP: &str = "
    create table users (id bigint primary key, name text, note text, score float8, pic bytea);
    insert into users select n, 'user ' || n, case n % 3 when 0 then null else 'note ' || n end, n / 3.0,
        decode(md5(n::text), 'hex') from generate_series(1, 3000) n;
    create table lines (orders int, line int, amount numeric, primary key (orders, line));
    insert into lines select n / 3, n % 3, n * 1.5 from generate_series(0, 2999) n;
    create table codes (label text, code char(4) not null, x int);
    create unique index codes_code on codes (code);
    insert into codes select 'l' || n, n::text, n from generate_series(1, 50) n;
    create table log (at date, what text);
    insert into log select '2026-01-01', 'again' from generate_series(1, 10);
    insert into log select '2026-01-02', 'once ' || n from generate_series(1, 10) n;
    create table same (id int primary key); insert into same select generate_series(1, 100);
";

#[tokio::test(flavor = "multi_thread")]
async fn missing_extra_and_changed_rows_are_named_by_the_key_that_there_is() {
    let Some(server) = postgres().await else { return };
    let changes = "
        update users set name = 'someone else' where id = 17;
        update users set note = '' where id = 18;
        update users set score = score * (1 + 2.3e-16::float8) where id = 19; -- one unit in the last place
        update users set pic = set_byte(pic, 3, (get_byte(pic, 3) + 1) % 256), name = null where id = 20;
        delete from users where id = 21;
        insert into users values (9001, 'new', null, 0, null);
        update lines set amount = 1.50 where orders = 0 and line = 1;
        update lines set amount = case line when 1 then 16.5 else 15.0 end where orders = 3 and line in (1, 2);
        update codes set label = 'L7' where x = 7;
        delete from log where ctid in (select ctid from log where what = 'again' limit 3);
        update log set what = 'twice' where what = 'once 4';
    ";
    two(&server, SHOP, changes).await;
    let world = world(&server);
    let (ended, facts) = run(&world, COMPARE);
    let mut rows = named(&facts);
    rows.retain(|row| !row.starts_with("public.log"));
    assert_eq!(
        rows,
        [
            "public.codes: code=7    changed(label)",
            "public.lines: orders=0,line=1 changed(amount)",
            "public.lines: orders=3,line=1 changed(amount)",
            "public.lines: orders=3,line=2 changed(amount)",
            "public.users: id=17 changed(name)",
            "public.users: id=18 changed(note)",
            "public.users: id=19 changed(score)",
            "public.users: id=20 changed(name,pic)",
            "public.users: id=21 missing()",
            "public.users: id=9001 extra()",
        ]
    );
    assert_eq!(counts(&facts, "public.users"), (1, 1, 4, true));
    // Without a key: three of ten equal rows are gone, and a changed row is one missing and one extra.
    assert_eq!(counts(&facts, "public.log"), (4, 1, 0, true));
    let log: Vec<_> =
        facts["row_differences"].as_array().unwrap().iter().filter(|r| r["table"] == "public.log").collect();
    assert_eq!(log.iter().map(|r| r["times"].as_u64().unwrap()).max(), Some(3));
    assert!(log.iter().all(|row| row["row"].as_str().unwrap().len() == 12), "{log:?}");
    assert!(facts["row_counts"].as_array().unwrap().iter().all(|t| t["table"] != "public.same"));
    ended.told("table public.codes: 1 row changed (code=7    changed in label)");
}

#[tokio::test(flavor = "multi_thread")]
async fn backups_and_databases_pair_in_every_way_and_no_report_holds_a_value() {
    let Some(server) = postgres().await else { return };
    two(&server, SHOP, "update users set name = 'canary-name' where id = 2999; delete from lines where orders = 7")
        .await;
    let world = world(&server);
    for format in ["sql.gz", "sql.zst", "sql"] {
        let script = format!(
            "
            let left = postgres(secret(\"LEFT\"));
            let right = postgres(secret(\"RIGHT\"));
            let old = dump(left, \"old.{format}\");
            let later = dump(right, \"new.{format}\");
            for pair in [[left, right], [old, right], [left, later], [old, later]] {{
                let diff = compare(pair[0], pair[1], #{{ rows: 20 }});
                check_eq(\"rows\", diff.row_differences.len(), 4);
                check_eq(\"first\", diff.row_differences[0].text, \"orders=7, line=0 missing\");
                check_eq(\"last\", diff.row_differences[3].text, \"id=2999 changed in name\");
                check_eq(\"lines\", diff.row_counts[0].missing, 3);
            }}
            let hidden = compare(old, right, #{{ rows: 20, keys: \"hash\" }});
            check_eq(\"hashed\", hidden.row_differences[3].key.id, \"sha256:{}\");
            let open = compare(old, right, #{{ rows: 20, values: true }});
            check(\"before\", open.row_differences[3].values.name.expected == \"user 2999\");
            check(\"after\", open.row_differences[3].values.name.found.starts_with(\"can\"));
            check_eq(\"a missing row is whole\", open.row_differences[0].values.keys(), [\"amount\", \"line\", \"orders\"]);
            ",
            // printf 2999 | sha256sum
            "0930901f3ec1"
        );
        world.write("pairs.rhai", &script);
        let ended = world.run(&["pairs.rhai", "--json", "--report", "md=report.md,html=report.html"]).expect(0);
        assert!(!ended.stderr.contains("canary") && !ended.stdout.contains("canary"), "{}", ended.stderr);
        for file in ["report.md", "report.html"] {
            let page = std::fs::read_to_string(world.path(file)).unwrap();
            assert!(page.contains("orders=7, line=0") && page.contains("changed in name"), "{page}");
            assert!(!page.contains("canary") && !page.contains("user 2999"), "{page}");
        }
        let runs = world.path(".runner");
        let grep = std::process::Command::new("grep").args(["-rl", "canary"]).arg(&runs).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&grep.stdout), "", "a value is in the evidence");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn quoted_names_partitions_generated_and_dropped_columns_and_other_columns_are_no_obstacle() {
    let Some(server) = postgres().await else { return };
    let schema = "
        create schema \"We ird\";
        create table \"We ird\".\"sel\"\"ect Tbl\" (\"k e'y\" text primary key, \"NULL\" int, \"naïve_表\" text);
        insert into \"We ird\".\"sel\"\"ect Tbl\" values (E'tab\\tback\\\\slash\\nline', 1, 'ü'), ('\\N', 2, null), ('', 3, '');
        create table orders (gone int, id int primary key, total numeric, tax numeric generated always as (total * 0.2) stored);
        alter table orders drop column gone;
        insert into orders (id, total) select n, n from generate_series(1, 100) n;
        create table part (id int, d date, v text, primary key (id, d)) partition by range (d);
        create table part_1 partition of part for values from ('2024-01-01') to ('2024-07-01');
        create table part_2 partition of part for values from ('2024-07-01') to ('2025-01-01');
        insert into part select n, date '2024-01-01' + n, 'p' || n from generate_series(1, 300) n;
        create table par (id int primary key, v text); create table chi (w text) inherits (par);
        insert into chi values (1, 'v', 'w'), (2, 'v2', 'w2');
        create table wide (id int primary key, a text, b text); insert into wide values (1, 'a', 'b'), (2, 'a', 'b');
        create table huge (id int primary key, t text);
        insert into huge select n, repeat(md5(n::text), 65536) from generate_series(1, 6) n;
    ";
    let changes = "
        update \"We ird\".\"sel\"\"ect Tbl\" set \"NULL\" = 9, \"naïve_表\" = '' where \"NULL\" = 2;
        update \"We ird\".\"sel\"\"ect Tbl\" set \"NULL\" = 8 where \"NULL\" = 1;
        update orders set total = 5.0 where id = 5;
        update part set v = 'changed' where id = 250;
        update chi set v = 'x' where id = 2;
        alter table wide drop column b, add column c int; update wide set a = 'A' where id = 2;
        update huge set t = overlay(t placing 'X' from 2000000) where id = 4;
    ";
    two(&server, schema, changes).await;
    let world = world(&server);
    let (ended, facts) = run(&world, COMPARE);
    let mut rows = named(&facts);
    rows.retain(|row| !row.starts_with("public.chi"));
    assert_eq!(
        rows,
        [
            "\"We ird\".\"sel\"\"ect Tbl\": k e'y=\\N changed(NULL,naïve_表)",
            "\"We ird\".\"sel\"\"ect Tbl\": k e'y=tab\tback\\slash\nline changed(NULL)",
            "public.huge: id=4 changed(t)",
            "public.orders: id=5 changed(total)",
            "public.part_2: id=250,d=2024-09-07 changed(v)",
            "public.wide: id=2 changed(a)",
        ]
    );
    // The child of an inheritance has no key of its own: its row is named by its digest.
    assert_eq!(counts(&facts, "public.chi"), (1, 1, 0, true));
    let wide = facts["row_counts"].as_array().unwrap().iter().find(|t| t["table"] == "public.wide").unwrap();
    assert_eq!((&wide["columns_missing"][0], &wide["columns_extra"][0]), (&"b".into(), &"c".into()));
    eprintln!("peak with rows of 2 MiB: {} KiB", ended.peak_kib);
    assert!(ended.peak_kib < 64 << 10, "{} KiB", ended.peak_kib);
}

const BIG: &str = "create table big (id bigint primary key, name text, x numeric);
    insert into big select n, md5(n::text), n * 0.5 from generate_series(1, ROWS) n;";

#[tokio::test(flavor = "multi_thread")]
async fn three_of_three_hundred_thousand_rows_are_found_and_half_of_them_in_bounded_memory() {
    let Some(server) = postgres().await else { return };
    let changes = "update big set name = 'x' where id = 123456; delete from big where id = 200000;
        insert into big values (900001, 'new', 1)";
    two(&server, &BIG.replace("ROWS", "300000"), changes).await;
    let world = world(&server);
    let (ended, facts) = run(&world, COMPARE);
    let three = ["id=123456 changed(name)", "id=200000 missing()", "id=900001 extra()"];
    assert_eq!(named(&facts), three.map(|row| format!("public.big: {row}")));
    assert!(ended.peak_kib < 64 << 10, "{} KiB", ended.peak_kib);

    server.execute("b", "update big set x = x + 1 where id % 2 = 0").await;
    let (ended, facts) = run(&world, COMPARE);
    eprintln!("peak with half of the rows changed: {} KiB", ended.peak_kib);
    assert!(ended.peak_kib < 64 << 10, "{} KiB", ended.peak_kib);
    assert_eq!(named(&facts).len(), 20);
    let (_, _, changed, exact) = counts(&facts, "public.big");
    assert!(!exact && changed > 10_000 && changed < 150_000, "{changed}");
    let about = facts["row_counts"][0]["about"]["changed"].as_u64().unwrap();
    assert!((145_000..155_000).contains(&about), "about {about} of 150,000");
    ended.told("table public.big: at least ").told("(in all about ");
}

/// Run alone: `cargo nextest run --release --run-ignored only --test row_differences`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "ten million rows take minutes to make"]
async fn three_of_ten_million_rows_are_found_in_less_than_64_mib() {
    let Some(server) = postgres().await else { return };
    let changes = "update big set name = 'x' where id = 1234567; delete from big where id = 7654321;
        insert into big values (90000001, 'new', 1)";
    two(&server, &BIG.replace("ROWS", "10000000"), changes).await;
    let world = world(&server);
    world.write("plain.rhai", &COMPARE.replace(", #{ rows: 20 }", ""));
    let started = std::time::Instant::now();
    world.run(&["plain.rhai"]).expect(0);
    let plain = started.elapsed();
    let (ended, facts) = run(&world, COMPARE);
    let named_in = started.elapsed() - plain;
    eprintln!("without rows {plain:?}, with them {named_in:?}, peak {} KiB", ended.peak_kib);
    let three = ["id=1234567 changed(name)", "id=7654321 missing()", "id=90000001 extra()"];
    assert_eq!(named(&facts), three.map(|row| format!("public.big: {row}")));
    assert!(ended.peak_kib < 64 << 10, "{} KiB", ended.peak_kib);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limit_names_so_many_of_each_table_and_counts_all() {
    let Some(server) = postgres().await else { return };
    two(&server, SHOP, "update users set note = 'n' where id <= 40; update lines set amount = 0 where orders < 10")
        .await;
    let world = world(&server);
    let (ended, facts) = run(&world, &COMPARE.replace("rows: 20", "rows: 2"));
    assert_eq!(named(&facts).len(), 4);
    assert_eq!(counts(&facts, "public.users"), (0, 0, 40, true));
    ended.told("and 28 more); table public.users: 40 rows changed (").told("and 38 more); 6,170 rows");
    for bad in ["rows: 0", "rows: 2, keys: \"secret\"", "row: 2"] {
        world.write("bad.rhai", &COMPARE.replace("rows: 20", bad));
        world.run(&["bad.rhai"]).expect(2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_whose_rows_are_not_its_manifests_is_not_searched_and_says_so() {
    let Some(server) = postgres().await else { return };
    two(&server, SHOP, "update users set name = 'x' where id = 5").await;
    let world = world(&server);
    world.write("dump.rhai", "dump(postgres(secret(\"LEFT\")), \"old.sql\");");
    world.run(&["dump.rhai"]).expect(0);
    let dumped = std::fs::read_to_string(world.path("old.sql")).unwrap();
    std::fs::write(world.path("old.sql"), dumped.replace("user 2999", "user 2998")).unwrap();
    let script = "let diff = compare(backup(\"old.sql\"), postgres(secret(\"RIGHT\")), #{ rows: 20 });
        check(\"told\", !diff.equal && diff.row_differences.is_empty());
        log(diff.row_counts[0].text);";
    let (ended, facts) = run(&world, script);
    assert_eq!(facts["rows_not_named"][0][0], "public.users");
    ended.told("not searched: the first side's rows are not those of its fingerprint");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_holds_no_rows_says_why_and_nothing_is_read_where_nothing_differs() {
    let Some(server) = postgres().await else { return };
    two(&server, SHOP, "update users set name = 'x' where id = 5").await;
    let world = world(&server);
    let script = "
        let right = postgres(secret(\"RIGHT\"));
        let left = postgres(secret(\"LEFT\"));
        let archive = dump(left, \"old.dump\");
        let diff = compare(archive, right, #{ rows: 20 });
        check(\"archive\", !diff.equal && diff.row_counts[0].text.contains(\"only a restore reads pg_dump's own archive\"));
        let diff = compare(fingerprint(left), right, #{ rows: 20 });
        check(\"fingerprint\", !diff.equal && diff.row_counts[0].text.contains(\"a fingerprint holds no rows\"));
        let diff = compare(archive, left, #{ rows: 20 });
        check(\"equal\", diff.equal && diff.row_counts.is_empty() && diff.row_differences.is_empty(), diff.summary);
    ";
    let (_, facts) = run(&world, script);
    assert_eq!(facts["rows_not_named"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_ends_each_look_and_leaves_nothing() {
    let Some(server) = postgres().await else { return };
    two(&server, &BIG.replace("ROWS", "400000"), "update big set x = x + 1 where id % 2 = 0").await;
    let world = world(&server).file("compare.rhai", COMPARE);
    let mut started = world.start(&["compare.rhai", "-v"]);
    // The search reads with pg_dump again: the third and fourth one are its.
    let session = server.session("postgres").await;
    let dumps = "select count(*) from pg_stat_activity where application_name = 'pg_dump' and query ilike 'copy %'
        and datname in ('a', 'b')";
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    let (mut looks, mut before) = (0, 0i64);
    while looks < 2 {
        assert!(std::time::Instant::now() < deadline, "the search never began");
        let now: i64 = session.client().query_one(dumps, &[]).await.unwrap().get(0);
        looks += i32::from(now > 0 && before == 0);
        before = now;
    }
    started.signal(Signal::SIGINT);
    let _ = started.until("interrupted");
    started.end().expect(130);
    let open = "select count(*) from pg_stat_activity where datname in ('a', 'b')";
    while session.client().query_one(open, &[]).await.unwrap().get::<_, i64>(0) > 0 {
        assert!(std::time::Instant::now() < deadline, "a session is still there");
        tokio::task::yield_now().await;
    }
    assert_eq!(world.names("tmp"), Vec::<String>::new());
}

#[test]
fn rows_of_sqlite_are_named_too_and_the_unpacked_backup_goes() {
    let world = World::new(PROGRAM).file(
        "compare.rhai",
        "with_sandbox(#{ engine: \"sqlite\" }, |server| {
            let db = server.database(\"shop\");
            execute(db, \"create table users (id integer primary key, name text, x)\");
            execute(db, \"insert into users select value, 'user ' || value, value from json_each('[1,2,3,4,5,6,7,8,9,10,11]')\");
            execute(db, \"create table log (what text)\");
            execute(db, \"insert into log values ('a'), ('a'), ('b')\");
            let saved = dump(db, \"shop.sqlite.gz\");
            execute(db, \"update users set x = 9.0 where id = 9\");
            execute(db, \"delete from users where id = 10\");
            execute(db, \"delete from log where rowid = 1\");
            let diff = compare(saved, db, #{ rows: 5 });
            check_eq(\"rows\", diff.row_differences.len(), 3);
            check_eq(\"log\", diff.row_counts[0].missing, 1);
            check_eq(\"ninth\", diff.row_differences[1].text, \"id=9 changed in x\");
            check_eq(\"tenth\", diff.row_differences[2].text, \"id=10 missing\");
        });",
    );
    world.run(&["compare.rhai"]).expect(0);
    assert_eq!(world.names("tmp"), Vec::<String>::new());
}
