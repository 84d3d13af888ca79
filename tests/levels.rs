//! How far a verdict reaches: each level as held, failed or not checked, and how much was touched, as the verbs noted it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use runner_test_support::{TestServer, World, postgres};
use serde_json::{Value, json};

const PROGRAM: &str = env!("CARGO_BIN_EXE_runner");
const SHOP: &str = "
    create table users (id int primary key, name text not null); insert into users select n, 'user ' || n from generate_series(1, 300) n;
    create table orders (id int primary key, customer int references users, note text);
    insert into orders select n, n % 300 + 1, 'note' from generate_series(1, 700) n;";

async fn shop() -> Option<(TestServer, World)> {
    let server = postgres().await?;
    server.create("shop", SHOP).await;
    let world = World::new(PROGRAM).with_env("SHOP", &server.place("shop"));
    world.write("dump.rhai", "dump(postgres(secret(\"SHOP\")), \"backups/shop.sql.gz\");");
    world.run(&["dump.rhai"]).expect(0);
    Some((server, world))
}

/// Runs a script and returns its JSON document; every other report says the same of the levels.
fn report(world: &World, arguments: &[&str], code: i32) -> Value {
    let more = ["--json", "--report", "md=r.md,html=r.html,junit=r.xml"];
    let ended = world.run(&[arguments, &more].concat()).expect(code);
    let report: Value = serde_json::from_str(&ended.stdout).unwrap();
    let read = |file: &str| std::fs::read_to_string(world.path(file)).unwrap();
    let (md, html, junit) = (read("r.md"), read("r.html"), read("r.xml"));
    for level in report["levels"].as_array().unwrap() {
        let (name, result) = (level["level"].as_str().unwrap(), level["result"].as_str().unwrap().replace('_', " "));
        let (mark, class) = match result.as_str() {
            "held" => ("✓", "good"),
            "failed" => ("✗", "bad"),
            _ => ("–", "dim"),
        };
        assert!(md.contains(&format!("| {name} | {mark} {result} |")), "{name} {result}: {md}");
        assert!(html.contains(&format!("<tr><td>{name}</td><td class=\"{class}\">{mark} {result}</td>")), "{html}");
        assert!(junit.contains(&format!("name=\"level.{name}\" value=\"{result}")), "{name} {result}: {junit}");
    }
    report
}

/// Returns the levels as `file+ parse- restore?`.
fn levels(report: &Value) -> String {
    let mark = |result: &Value| match result.as_str().unwrap() {
        "held" => '+',
        "failed" => '-',
        _ => '?',
    };
    let levels = report["levels"].as_array().unwrap();
    levels
        .iter()
        .map(|l| format!("{}{}", l["level"].as_str().unwrap(), mark(&l["result"])))
        .collect::<Vec<_>>()
        .join(" ")
}

fn why<'a>(report: &'a Value, level: &str) -> &'a str {
    let levels = report["levels"].as_array().unwrap();
    levels.iter().find(|l| l["level"] == level).unwrap()["why"].as_str().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drill_reaches_all_levels_and_says_how_much_it_touched() {
    let Some((server, world)) = shop().await else { return };
    let drill = ["drill", "--set", "backup=backups/shop.sql.gz"];
    let whole = report(&world, &drill, 0);
    assert_eq!(levels(&whole), "file+ parse+ restore+ structure+ content+ integrity+");
    let extent = &whole["extent"];
    assert_eq!((&extent["tables"], &extent["columns"], &extent["rows"]), (&json!(2), &json!(5), &json!(1000)));
    assert!(extent["bytes"].as_u64().unwrap() > 0 && extent["files"] == 1, "{extent}");
    let told = world.run(&drill).expect(0);
    let told = told.told("levels: file, parse, restore, structure, content, integrity\n");
    told.told("tables, 5 columns, 1,000 rows, ");

    let without = report(&world, &[&drill[..], &["--set", "rules=false"]].concat(), 0);
    assert_eq!(levels(&without), "file+ parse+ restore+ structure+ content+ integrity?");
    assert_eq!(why(&without, "integrity"), "nothing in this run asked for it");

    let dry = report(&world, &[&drill[..], &["--dry-run"]].concat(), 0);
    assert_eq!(levels(&dry), "file? parse? restore? structure? content? integrity?");
    assert_eq!((why(&dry, "file"), &dry["extent"]["files"]), ("a dry run verifies nothing", &json!(0)));

    // Where a level fails, it says so, and the others keep what they are.
    server.execute("shop", "update users set name = 'other' where id = 7").await;
    world.write("live.rhai", "let d = compare(backup(\"backups/shop.sql.gz\"), postgres(secret(\"SHOP\"))); check(\"equal\", d.equal, d.summary);");
    let changed = report(&world, &["live.rhai"], 1);
    assert_eq!(levels(&changed), "file? parse? restore? structure+ content- integrity?");
    assert!(why(&changed, "content").contains("users"), "{}", why(&changed, "content"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_or_bare_file_reaches_less_and_says_why() {
    let Some((_server, world)) = shop().await else { return };
    let file = world.path("backups/shop.sql.gz");
    let bytes = std::fs::read(&file).unwrap();
    std::fs::write(world.path("backups/bare.sql.gz"), &bytes).unwrap();
    let arguments =
        ["verify_restore", "--set", "backup=backups/bare.sql.gz", "--set", "tables=users", "--set", "counts=users"];
    let bare = report(&world, &[&arguments[..], &["--set", "migration="]].concat(), 0);
    assert_eq!(levels(&bare), "file+ parse+ restore+ structure? content? integrity+");
    let notes = bare["coverage"][0]["not_checked"].to_string();
    assert!(notes.contains("manifest") && notes.contains("fingerprint"), "{notes}");

    let mut flipped = bytes;
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    std::fs::write(&file, flipped).unwrap();
    let small = ["check_backup", "--set", "backup=backups/shop.sql.gz", "--set", "min_size=1KB"];
    let damaged = report(&world, &small, 1);
    assert_eq!(levels(&damaged), "file- parse- restore? structure? content? integrity?");
    assert!(why(&damaged, "file").contains("shop.sql.gz"), "{}", why(&damaged, "file"));
}

#[test]
fn files_and_sets_say_what_was_held_against_what() {
    let world = World::new(PROGRAM).file("models/v1.bin", "weights").file("models/v2.bin", "more");
    world.write(
        "files.rhai",
        "let made = if exists(\"m.tar.gz\") { #{ path: \"m.tar.gz\" } } else { archive(\"models\", \"m.tar.gz\") };
         let found = verify_files(made.path, \"models\"); check(\"intact\", found.intact, found.summary);",
    );
    let held = report(&world, &["files.rhai"], 0);
    assert_eq!(levels(&held), "file? parse? restore? structure+ content+ integrity?");
    assert_eq!(held["coverage"][0]["extent"]["bytes"], 11);
    assert!(held["coverage"][0]["not_checked"].to_string().contains("only its inventory was read"));
    world.write("models/v2.bin", "else");
    assert_eq!(levels(&report(&world, &["files.rhai"], 1)), "file? parse? restore? structure- content- integrity?");

    world.write(
        "set.rhai",
        "let all = catalog(\"sets\");
         if all.list().is_empty() { all.create(#{ \"notes\": |to| write_text(to + \".txt\", \"a\"), \"more\": |to| write_text(to + \".txt\", \"bcd\") }); }
         let seen = all.latest().verify_set(); check(\"intact\", seen.intact, seen.summary);",
    );
    let held = report(&world, &["set.rhai"], 0);
    assert_eq!(levels(&held), "file+ parse? restore? structure? content? integrity?");
    let extent = &held["extent"];
    assert_eq!((&extent["components"], &extent["files"]), (&json!(2), &json!(2)), "{extent}");
    let set = world.names("sets").into_iter().find(|n| n.starts_with("system_backup_")).unwrap();
    std::fs::write(world.path("sets").join(set).join("notes.txt"), "z").unwrap();
    assert_eq!(levels(&report(&world, &["set.rhai"], 1)), "file- parse? restore? structure? content? integrity?");
}
