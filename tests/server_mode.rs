//! `compare(…, #{ mode: "server" })`: the same verdict from a server that hashes its rows itself, and the errors of the option.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use runner_test_support::{World, postgres};
use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_runner");
const FILL: &str = "create table users (id int primary key, name text, note text);
    insert into users select g, 'name ' || g, case g % 2 when 0 then '' end from generate_series(1, 1000) g;
    create table base (id int); create table child (more text) inherits (base); insert into child values (1, 'x');";

/// Runs a comparison of `sides` in a mode and returns what the report holds of it.
fn compared(world: &World, sides: &str, options: &str, code: i32) -> Value {
    let script = format!(
        "let left = postgres(secret(\"LEFT\")); let right = postgres(secret(\"RIGHT\"));
         let diff = compare({sides}, #{{ {options} }});
         check(\"everything is equal\", diff.equal, diff.summary);"
    );
    world.write("compare.rhai", &script);
    let ended = world.run(&["compare.rhai", "--json"]).expect(code);
    serde_json::from_str(&ended.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hashes_gives_the_verdict_of_the_ordinary_reading() {
    let (Some(left), Some(right)) = (postgres().await, postgres().await) else { return };
    let world = World::new(PROGRAM).with_env("LEFT", &left.place("shop")).with_env("RIGHT", &right.place("shop"));
    left.create("shop", FILL).await;
    right.create("shop", FILL).await;
    let ordinary = compared(&world, "left, right", "", 0);
    let report = compared(&world, "left, right", "mode: \"server\"", 0);
    let told = report.to_string();
    assert!(told.contains("1,001 rows of 3 tables are equal; the server itself hashed the rows of 2 tables"), "{told}");
    assert!(told.contains("is a child of another table"), "{told}");
    assert_eq!(ordinary["levels"], report["levels"]);
    let bytes = |report: &Value| report["extent"]["bytes"].as_u64().unwrap();
    assert!(bytes(&report) * 2 < bytes(&ordinary), "{} of {}", bytes(&report), bytes(&ordinary));
    compared(&world, "left, right", "mode: \"server\", tables: [\"users\"]", 0);
    assert!(!compared(&world, "left, right", "mode: \"client\"", 0).to_string().contains("hashed"));

    right.execute("shop", "update users set name = 'Name 7' where id = 7").await;
    right.execute("shop", "update users set note = null where id = 8").await;
    for sides in ["left, right", "dump(left, \"a.sql.gz\"), right", "fingerprint(left), right"] {
        let told = compared(&world, sides, "mode: \"server\"", 1).to_string();
        assert!(told.contains("table public.users: rows changed") && told.contains("itself hashed"), "{sides}: {told}");
    }
    let report = compared(&world, "left, right", "mode: \"server\", rows: 5", 1);
    let told = report.to_string();
    assert!(told.contains("2 rows changed") && told.contains("id=7") && told.contains("id=8"), "{report:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_option_is_refused_where_it_would_do_nothing() {
    let Some(server) = postgres().await else { return };
    server.create("shop", FILL).await;
    let world = World::new(PROGRAM).with_env("SHOP", &server.place("shop"));
    let cases = [
        ("let a = dump(db, \"a.sql.gz\"); compare(a, a, #{ mode: \"server\" });", "needs a live PostgreSQL"),
        ("compare(fingerprint(db), fingerprint(db), #{ mode: \"server\" });", "needs a live PostgreSQL"),
        ("let f = sqlite(\"a.db\"); compare(f, f, #{ mode: \"server\" });", "needs a live PostgreSQL"),
        ("compare(db, db, #{ mode: \"fast\" });", "write mode: \"client\" or mode: \"server\""),
        ("compare(db, db, #{ mode: true });", "`mode`"),
    ];
    rusqlite::Connection::open(world.path("a.db")).unwrap().execute_batch("create table t(id)").unwrap();
    for (script, why) in cases {
        world.write("main.rhai", &format!("let db = postgres(secret(\"SHOP\")); {script}"));
        world.run(&["main.rhai"]).expect(2).told(why);
    }
}
