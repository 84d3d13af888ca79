//! Who touched which backup is written down, a removal that cannot be written down does not happen, and what is shredded is
//! overwritten.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use runner_test_support::{Ended, World};

const PROGRAM: &str = env!("CARGO_BIN_EXE_runner");

/// A world with a SQLite shop and one backup of it.
fn shop() -> World {
    let world = World::new(PROGRAM);
    run(
        &world,
        "let shop = sqlite(\"shop.sqlite\", #{ create: true });
         execute(shop, \"create table t (a text)\");
         execute(shop, \"insert into t values ('CANARY')\");
         dump(shop, \"backups/shop.sqlite.gz\");",
    )
    .expect(0);
    world
}

fn run(world: &World, script: &str) -> Ended {
    world.write("t.rhai", script);
    world.run(&["t.rhai"])
}

/// A world with a backup set, and where the set is.
fn with_set() -> (World, PathBuf) {
    let world = World::new(PROGRAM).file("models/a.bin", "CANARY-weights").file("logs/access.log", "GET / 200\n");
    run(
        &world,
        "catalog(\"sets\").create(#{ models: |to| copy_folder(\"models\", to), logs: |to| copy_folder(\"logs\", to) });",
    )
    .expect(0);
    let set = world.names("sets").into_iter().find(|name| name.starts_with("system_backup_")).unwrap();
    let set = world.path("sets").join(set);
    (world, set)
}

/// Puts a copy of a set under a name of last year beside it, which no rule keeps.
fn last_year(set: &std::path::Path) -> PathBuf {
    let name = "system_backup_20250101_000000";
    let old = set.parent().unwrap().join(name);
    assert!(std::process::Command::new("cp").arg("-a").args([set, &old]).status().unwrap().success());
    let text = std::fs::read_to_string(old.join("metadata.json")).unwrap();
    let mut facts: serde_json::Value = serde_json::from_str(&text).unwrap();
    facts["timestamp"] = "2025-01-01T00:00:00Z".into();
    facts["backup_name"] = name.into();
    std::fs::write(old.join("metadata.json"), facts.to_string()).unwrap();
    old
}

/// Returns verb and file of each line of a folder's log.
fn log(world: &World, folder: &str) -> Vec<(String, String)> {
    let text = std::fs::read_to_string(world.path(folder).join("access.log")).unwrap_or_default();
    let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    lines
        .map(|line| {
            assert!(["time", "user", "host", "run"].iter().all(|key| !text(&line[*key]).is_empty()), "{line}");
            (text(&line["verb"]), text(&line["file"]))
        })
        .collect()
}

fn verbs(world: &World, folder: &str) -> Vec<String> {
    log(world, folder).into_iter().map(|(verb, _)| verb).collect()
}

/// Puts a folder where the log would be: nobody can write it, not even root.
fn block(world: &World, folder: &str) {
    let log = world.path(folder).join("access.log");
    let _ = std::fs::remove_file(&log);
    std::fs::create_dir(log).unwrap();
}

#[test]
fn each_touch_of_a_backup_is_one_line() {
    let world = shop();
    run(
        &world,
        "let file = \"backups/shop.sqlite.gz\";
         inspect_backup(file);
         mentions(file, \"CANARY\");
         with_sandbox(#{ engine: \"sqlite\" }, |server| restore(backup(file), server, #{ database: \"x\" }));
         let list = write_checksums(\"backups\").path;
         inspect_backup(file);
         check(\"the log is no part of what is listed\", verify_checksums(list).intact);
         check(\"removed\", remove(file));",
    )
    .expect(0);
    let found = log(&world, "backups");
    let expected = ["dump", "inspect_backup", "mentions", "restore", "inspect_backup", "remove"];
    assert_eq!(found, expected.map(|verb| (verb.to_owned(), "shop.sqlite.gz".to_owned())));
    let mode = world.path("backups/access.log").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let runs = world.names(".runner/runs");
    let text = std::fs::read_to_string(world.path("backups/access.log")).unwrap();
    assert!(runs.iter().filter(|run| text.contains(run.as_str())).count() == 2, "{text}");
}

#[test]
fn sets_have_the_log_of_their_catalog_and_a_servers_log_is_backed_up_like_any_file() {
    let (world, set) = with_set();
    let name = set.file_name().unwrap().to_string_lossy().into_owned();
    assert!(!set.join("access.log").exists() && set.join("logs/access.log").is_file());
    assert!(std::fs::read_to_string(set.join("checksums.txt")).unwrap().contains("logs/access.log"));
    last_year(&set);
    run(
        &world,
        "let sets = catalog(\"sets\");
         let set = sets.latest();
         set.verify_set();
         set.restore_folder(\"models\", \"back\");
         set.pin(\"why\");
         set.unpin();
         set.mark_verified(true, \"read\");
         check_eq(\"one goes\", sets.prune(#{ daily: 1 }).len(), 1);",
    )
    .expect(0);
    let found = log(&world, "sets");
    let told: Vec<_> = found.iter().map(|(verb, file)| (verb.as_str(), file.replace(&name, "SET"))).collect();
    let expected = [
        ("create", "SET"),
        ("verify_set", "SET"),
        ("restore_folder", "SET/models"),
        ("pin", "SET"),
        ("unpin", "SET"),
        ("mark_verified", "SET"),
        ("prune", "system_backup_20250101_000000"),
    ];
    assert_eq!(told, expected.map(|(verb, file)| (verb, file.to_owned())));
}

#[test]
fn what_cannot_be_written_down_is_not_removed_and_reading_only_warns() {
    let world = shop();
    block(&world, "backups");
    run(&world, "remove(\"backups/shop.sqlite.gz\");").expect(2).told("could not write the access log");
    assert!(world.path("backups/shop.sqlite.gz").is_file());
    let read = "check(\"whole\", inspect_backup(\"backups/shop.sqlite.gz\").whole);";
    run(&world, read).expect(0).told("nobody will know that inspect_backup touched it");
    run(&world, "dump(sqlite(\"shop.sqlite\"), \"backups/2.sqlite.gz\");").expect(0).told("nobody will know that dump");
    assert!(world.path("backups/2.sqlite.gz").is_file(), "a backup does not fail for its log");

    let (world, set) = with_set();
    let old = last_year(&set);
    run(&world, "catalog(\"sets\").latest().pin(\"why\");").expect(0);
    block(&world, "sets");
    run(&world, "catalog(\"sets\").prune(#{ daily: 1 });").expect(2).told("could not write the access log");
    assert!(old.is_dir());
    run(&world, "catalog(\"sets\").latest().unpin();").expect(2);
    assert!(set.join("pinned.txt").is_file());
}

#[test]
fn a_dry_run_writes_no_log() {
    let world = shop();
    std::fs::remove_file(world.path("backups/access.log")).unwrap();
    world.write(
        "t.rhai",
        "inspect_backup(\"backups/shop.sqlite.gz\"); remove(\"backups/shop.sqlite.gz\", #{ shred: true });",
    );
    world.run(&["t.rhai", "--dry-run"]).expect(0).told("would overwrite and remove");
    assert!(!world.path("backups/access.log").exists());
    run(&world, "inspect_backup(\"backups/shop.sqlite.gz\");").expect(0);
    let before = std::fs::read(world.path("backups/access.log")).unwrap();
    world.run(&["t.rhai", "--dry-run"]).expect(0);
    assert_eq!(std::fs::read(world.path("backups/access.log")).unwrap(), before);
}

/// Returns what an open file holds from its start.
fn held(mut file: File) -> Vec<u8> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).unwrap();
    bytes
}

#[test]
fn what_is_shredded_is_overwritten_before_it_goes() {
    let world = shop();
    let path = world.path("backups/shop.sqlite.gz");
    let (before, open) = (std::fs::read(&path).unwrap(), File::open(&path).unwrap());
    run(&world, "check(\"gone\", remove(\"backups/shop.sqlite.gz\", #{ shred: true }));").expect(0);
    assert!(!path.exists());
    let after = held(open);
    assert!(after.len() == before.len() && after != before && !after.starts_with(&[0x1f, 0x8b]));
    assert_eq!(verbs(&world, "backups"), ["dump", "remove"]);

    let (world, set) = with_set();
    let old = last_year(&set);
    let (gone, stays) = (File::open(old.join("models/a.bin")).unwrap(), File::open(set.join("models/a.bin")).unwrap());
    world
        .run(&[
            "prune",
            "--set=folder=sets",
            "--set=daily=1",
            "--set=weekly=0",
            "--set=monthly=0",
            "--set=shred=true",
            "--yes",
        ])
        .expect(0);
    assert!(!old.exists());
    assert!(!String::from_utf8_lossy(&held(gone)).contains("CANARY"));
    assert_eq!(held(stays), b"CANARY-weights");

    // A file with two names would lose the content under both.
    world.write("one", "content");
    std::fs::hard_link(world.path("one"), world.path("two")).unwrap();
    run(&world, "remove(\"one\", #{ shred: true });").expect(3).told("it has 1 other names");
    assert_eq!(std::fs::read_to_string(world.path("two")).unwrap(), "content");
    assert!(world.path("one").exists());
}
