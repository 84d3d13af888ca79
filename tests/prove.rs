//! `runner prove`: the stock drill sees every damage, one that counts rows does not, and a proof leaves nothing behind.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use nix::sys::signal::Signal;
use runner_test_support::{World, docker_image, postgres};

const PROGRAM: &str = env!("CARGO_BIN_EXE_runner");

/// A drill as most tools do it.
const COUNTS: &str = r#"
let saved = backup(param("backup", "", "the backup file"));
with_sandbox(#{ engine: saved.engine }, |server| {
    let copy = restore(saved, server, #{ database: "copy" });
    check("as many users", query_value(copy, "select count(*) from users") == saved.rows("users"));
    check("as many orders", query_value(copy, "select count(*) from orders") == saved.rows("orders"));
    write_text("left_behind.txt", "a report");
});
"#;

/// A world with a SQLite database and a backup of it.
fn shop() -> World {
    let world = World::new(PROGRAM).file("counts.rhai", COUNTS);
    world.write("make.rhai", r#"
        let db = sqlite("shop.sqlite", #{ create: true });
        execute(db, "create table users (id integer primary key, name text); create index by_name on users (name)");
        execute(db, "insert into users (name) values ('ada'), (''), ('grace')");
        execute(db, "create table orders (id integer primary key, total int); insert into orders (total) values (1), (2)");
        execute(db, "create view v as select 1; create trigger t after delete on orders begin select 1; end");
        dump(db, "backups/shop.sqlite.gz");
    "#);
    world.run(&["make.rhai"]).expect(0);
    world
}

/// Returns the files of the one backup; who touched it is in a log beside them.
fn backups(world: &World) -> usize {
    world.names("backups").into_iter().filter(|name| name != "access.log").count()
}

fn proof(stdout: &str) -> serde_json::Value {
    serde_json::from_str(stdout).unwrap()
}

/// Returns what one damage came to.
fn outcome<'a>(proof: &'a serde_json::Value, damage: &str) -> &'a str {
    let attempts = proof["attempts"].as_array().unwrap();
    attempts.iter().find(|a| a["damage"] == damage).unwrap()["outcome"].as_str().unwrap()
}

#[test]
fn the_stock_drill_sees_every_damage_of_a_sqlite_database() {
    let world = shop();
    let before = std::fs::read(world.path("shop.sqlite")).unwrap();
    for how in ["source=shop.sqlite", "backup=backups/shop.sqlite.gz"] {
        let ended = world.run(&["prove", "drill", "--json", "--set", how]).expect(0);
        let proof = proof(&ended.stdout);
        assert_eq!((&proof["planted"], &proof["caught"]), (&20.into(), &20.into()), "{how}: {proof}");
        assert_eq!(outcome(&proof, "empty text became NULL"), "caught");
        assert_eq!(outcome(&proof, "extension lost"), "nothing_to_damage");
    }
    assert_eq!(std::fs::read(world.path("shop.sqlite")).unwrap(), before);
    assert_eq!(backups(&world), 3, "no dump of a proof stays");
    assert_eq!(world.names("tmp"), Vec::<String>::new());
}

#[test]
fn a_drill_that_counts_rows_is_told_what_it_misses() {
    let world = shop();
    let ended = world.run(&["prove", "counts.rhai", "--json", "--set", "backup=backups/shop.sqlite.gz"]).expect(1);
    let proof = proof(&ended.stdout);
    assert_eq!(outcome(&proof, "row lost"), "caught");
    for missed in
        ["one character of a text changed", "number changed by one", "value became NULL", "index lost", "view lost"]
    {
        assert_eq!(outcome(&proof, missed), "missed", "{missed}");
    }
    assert_eq!(outcome(&proof, "file cut in the middle"), "stopped");
    assert_eq!(proof["never_red"], serde_json::json!(["as many users"]));
    assert!(!world.path("left_behind.txt").exists(), "what would stay is announced, not done");
    let told = world.run(&["prove", "counts.rhai", "--set", "backup=backups/shop.sqlite.gz"]).expect(1);
    told.told("MISSED").told("update \"orders\" set");
}

#[test]
fn what_cannot_be_proven_says_why() {
    let world = shop();
    let prove = |script: &str| {
        world.write("it.rhai", script);
        world.run(&["prove", "it.rhai"])
    };
    prove("check(\"fine\", true);").expect(2).told("restores nothing into a sandbox");
    prove("check(\"fine\", false);").expect(2).told("does not pass without any damage").told("runner report");
    prove("catalog(\"x\").create(#{ a: |to| 1 });").expect(2).told("does not pass");
    prove("let db = sqlite(\"shop.sqlite\", #{ writable: true }); execute(db, \"delete from users\");").expect(2);
    assert!(!world.path("x").exists());
    world.run(&["prove", "drill", "--damage", "row losst"]).expect(2).told("did you mean `row lost`?");
    world.run(&["prove", "drill", "--keep"]).expect(2).told("a proof keeps nothing");
    world.run(&["prove", "drill", "--dry-run"]).expect(2).told("a proof has no dry run");
    // Nothing of that was done.
    let left = "check_eq(\"users\", query_value(sqlite(\"shop.sqlite\"), \"select count(*) from users\"), 3);";
    world.write("left.rhai", left);
    world.run(&["left.rhai"]).expect(0);
}

#[test]
fn what_a_script_would_leave_behind_is_not_there_after_its_proof() {
    let world = shop();
    world.write("files/a.txt", "one");
    world.write("make.rhai", "archive(\"files\", \"files.tar.gz\");");
    world.run(&["make.rhai"]).expect(0);
    world.write(
        "it.rhai",
        "extract(\"files.tar.gz\", \"unpacked\"); let saved = backup(\"backups/shop.sqlite.gz\");
         let server = sandbox(#{ engine: \"sqlite\", keep: true });
         check(\"equal\", compare(saved, restore(saved, server, #{ database: \"copy\" })).equal);",
    );
    world.run(&["prove", "it.rhai", "--damage", "row lost"]).expect(0);
    assert!(!world.path("unpacked").exists());
    assert_eq!(world.names("tmp"), Vec::<String>::new());
    // Without a proof the same script leaves both.
    world.run(&["it.rhai"]).expect(0);
    assert!(world.path("unpacked/a.txt").exists() && world.names("tmp").len() == 1);
}

#[test]
fn ctrl_c_ends_a_proof_and_leaves_nothing() {
    let world = shop();
    let mut started = world.start(&["prove", "drill", "--set", "source=shop.sqlite"]);
    assert!(started.until("row lost"));
    started.signal(Signal::SIGINT);
    started.end().expect(130);
    assert_eq!(world.names("tmp"), Vec::<String>::new());
    assert_eq!(backups(&world), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stock_drill_sees_damages_of_a_postgresql_database() {
    let Some(server) = postgres().await else { return };
    let sql = "create table users (id int primary key, name text not null default 'x', age int check (age > 0), born timestamptz);
        insert into users (id, name, age, born) select n, 'n' || n, n, now() from generate_series(1, 9) n;
        create table orders (id bigserial primary key, customer int references users (id), note text);
        insert into orders (customer, note) select n, '' from generate_series(1, 9) n;
        create index notes on orders (note); comment on table orders is 'all of them'; alter table orders enable row level security;
        create policy everybody on orders using (true); create view v as select 1 as a;";
    server.create("shop", sql).await;
    let before = server.pg_dump("shop", &[]).unwrap().len();
    let url = server.place("shop");
    let world = World::new(PROGRAM).with_env("SHOP_URL", &url);
    let image = format!("image={}", docker_image().await.unwrap_or_else(|| "postgres:15".into()));
    let damages = ["sequence behind", "policy lost", "index not valid", "foreign key points nowhere", "manifest lost"];
    let chosen = damages.iter().flat_map(|damage| ["--damage", damage]);
    let drill = ["prove", "drill", "--json", "--set", "source=secret:SHOP_URL", "--set", &image];
    let ended = world.run(&drill.into_iter().chain(chosen).collect::<Vec<_>>()).expect(0);
    let proof = proof(&ended.stdout);
    assert_eq!(proof["caught"], damages.len());
    for damage in damages {
        assert_eq!(outcome(&proof, damage), "caught", "{damage}");
    }
    assert_eq!(server.pg_dump("shop", &[]).unwrap().len(), before);
    assert_eq!(world.names("tmp"), Vec::<String>::new());
    assert_eq!(world.names("backups"), Vec::<String>::new());
}
