//! Passwords of roles: compared between two servers when a script asks for it, told apart and never told.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use runner_test_support::{Ended, TestServer, World, postgres};
use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_runner");
const CANARY: &str = "canary-of-the-role-5512";
const OTHER: &str = "canary-of-another-4470";

/// What a script sees: both databases, compared in the way that is asked for.
fn compared(world: &World, options: &str, code: i32) -> (Ended, Value) {
    let script = format!(
        "let diff = compare(postgres(secret(\"LEFT\")), postgres(secret(\"RIGHT\")), #{{ {options} }});
         check(\"everything is equal\", diff.equal, diff.summary);"
    );
    world.write("compare.rhai", &script);
    let files = "md=report.md,html=report.html,junit=report.xml";
    let ended = world.run(&["compare.rhai", "--json", "--report", files]).expect(code);
    let report = serde_json::from_str(&ended.stdout).unwrap();
    (ended, report)
}

/// Returns the stored verifier of the role, which no report may hold either.
async fn verifier(server: &TestServer) -> String {
    server.value("shop", "select rolpassword from pg_authid where rolname = 'app'").await
}

/// Returns all that a run printed and wrote.
fn told(world: &World, ended: &Ended) -> String {
    let mut all = format!("{}{}", ended.stdout, ended.stderr);
    let mut folders = vec![world.path(".")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            match entry.file_type().unwrap() {
                kind if kind.is_dir() => folders.push(entry.path()),
                kind if kind.is_file() => all += &String::from_utf8_lossy(&std::fs::read(entry.path()).unwrap()),
                _ => {}
            }
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_password_is_seen_only_when_asked_and_never_told() {
    let (Some(left), Some(right)) = (postgres().await, postgres().await) else { return };
    let world = World::new(PROGRAM).with_env("LEFT", &left.place("shop")).with_env("RIGHT", &right.place("shop"));
    // The stored verifier carries a random salt, so the same one is set on both sides.
    left.create("shop", "create table t (id int primary key); create role app login;").await;
    right.create("shop", "create table t (id int primary key); create role app login;").await;
    left.execute("shop", &format!("alter role app password '{CANARY}'; grant select on t to app")).await;
    let same = verifier(&left).await;
    right.execute("shop", &format!("alter role app password '{same}'; grant select on t to app")).await;

    compared(&world, "", 0);
    let (_, report) = compared(&world, "passwords: true", 0);
    assert!(!report.to_string().contains("passwords: true"), "they were compared: {report:#}");

    right.execute("shop", &format!("alter role app password '{OTHER}'")).await;
    let (ended, report) = compared(&world, "", 0);
    let notes = &report["coverage"][0]["in_no_dump"];
    let note = notes.as_array().unwrap().iter().find(|note| note["what"] == "ROLES: passwords");
    let note = note.unwrap_or_else(|| panic!("nothing says that passwords were not compared: {notes:#}"));
    assert!(note["text"].as_str().unwrap().contains("they were not compared"), "{note}");
    for file in ["report.md", "report.html"] {
        let page = std::fs::read_to_string(world.path(file)).unwrap();
        assert!(page.contains("ROLES: passwords"), "{file}");
    }
    let quiet = told(&world, &ended);
    assert!(!quiet.contains("PASSWORD masked"), "digits of a password that nobody asked for");

    let (ended, report) = compared(&world, "passwords: true", 1);
    let differences = report["coverage"][0]["differences"].as_array().unwrap();
    assert_eq!(differences.len(), 1, "{differences:#?}");
    assert_eq!(differences[0]["what"], "ROLE app");
    let text = differences[0]["text"].as_str().unwrap();
    assert!(text.starts_with("state beside the dump changed, expected `PASSWORD masked "), "{text}");
    // The digits are of this run alone: nobody can try guesses against them.
    let (_, again) = compared(&world, "passwords: true", 1);
    assert_ne!(again["coverage"][0]["differences"][0]["text"], text);

    right.execute("shop", "alter role app password null").await;
    let (gone, report) = compared(&world, "passwords: true", 1);
    assert!(report.to_string().contains("PASSWORD none"), "{report:#}");

    let all = [told(&world, &ended), told(&world, &gone)].concat();
    let stored = verifier(&left).await;
    for secret in [CANARY, OTHER, &stored, stored.rsplit(':').next().unwrap(), "SCRAM-SHA-256"] {
        assert!(!all.contains(secret), "{secret} was told");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_are_refused_where_nothing_holds_them_or_nobody_may_see_them() {
    let Some(server) = postgres().await else { return };
    server.create("shop", "create table t (id int primary key); create role weak login password 'weak-canary';").await;
    server.execute("shop", "grant select on t to weak").await;
    let address = server.address("shop");
    let weak = format!("host={} port={} user=weak password=weak-canary dbname=shop", address.host(), address.port());
    let world = World::new(PROGRAM).with_env("SHOP", &server.place("shop")).with_env("WEAK", &weak);
    let open = "let db = postgres(secret(\"SHOP\"));";
    let cases = [
        ("let saved = dump(db, \"a.sql.gz\"); compare(saved, db, #{ passwords: true });", "between two PostgreSQL"),
        ("compare(db, db, #{ passwords: true, tables: [\"t\"] });", "do not go together"),
        ("compare(db, postgres(secret(\"WEAK\")), #{ passwords: true });", "permission denied"),
    ];
    for (script, why) in cases {
        world.write("main.rhai", &format!("{open}{script}"));
        world.run(&["main.rhai"]).expect(2).told(why);
    }
}
