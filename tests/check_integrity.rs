//! `runner check_integrity`: PostgreSQL and SQLite backups restored for real, orphans and NULLs counted.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use runner_test_support::{Ended, World, docker_image, postgres};

const PROGRAM: &str = env!("CARGO_BIN_EXE_runner");
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/check_integrity.rhai");
const APP: &str = "
    create table users (id integer primary key, name text);
    create table conversations (id integer primary key, user_id integer);
    create table messages (id integer primary key, conversation_id integer);
    create table documents (id integer primary key, user_id integer);
    insert into users values (1, 'ada'), (2, 'grace');
    insert into conversations values (1, 1), (2, 2);
    insert into messages values (1, 1), (2, 1), (3, 2);
    insert into documents values (1, 2);";

/// What is wrong with the data, and the check that names it.
const FAULTS: [(&str, &str); 7] = [
    ("delete from users", "users holds rows"),
    ("update conversations set user_id = null where id = 2", "every row of conversations has its user_id"),
    ("update conversations set user_id = 9 where id = 2", "every conversations.user_id points at a row of users"),
    ("update messages set conversation_id = null where id = 2", "every row of messages has its conversation_id"),
    (
        "update messages set conversation_id = 9 where id = 2",
        "every messages.conversation_id points at a row of conversations",
    ),
    ("update documents set user_id = null", "every row of documents has its user_id"),
    ("update documents set user_id = 9", "every documents.user_id points at a row of users"),
];

/// A script that fills a SQLite database and backs it up.
fn sqlite_backup(name: &str, more: &str) -> String {
    let sql = serde_json::to_string(&format!("{APP}{more}")).unwrap();
    format!(
        "let db = sqlite(\"{name}.sqlite\", #{{ create: true }}); execute(db, {sql}); dump(db, \"backups/{name}.sqlite.gz\");"
    )
}

fn failed(ended: &Ended) -> Vec<String> {
    let report: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    let checks = report["checks"].as_array().unwrap().iter().filter(|c| c["passed"] == false);
    checks.map(|c| c["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_sqlite_backup_is_restored_and_whole() {
    let world = World::new(PROGRAM).file("make.rhai", &sqlite_backup("app", ""));
    world.run(&["make.rhai"]).expect(0);
    let ended = world.run(&[SCRIPT]).expect(0);
    ended.told("integrity_check says ok").told("every row is back").told("Results: 12 passed, 0 failed");
    assert_eq!(world.names("tmp"), Vec::<String>::new());
    foreign_backup(&world, "app.sqlite", "app_sqlite_backup.db.gz");
    world.run(&[SCRIPT, "--set", "backup=app_sqlite_backup.db.gz"]).expect(0).told("Results: 11 passed, 0 failed");
}

#[test]
fn each_fault_of_a_relation_is_found_and_named() {
    for (fault, check) in FAULTS {
        let world = World::new(PROGRAM).file("make.rhai", &sqlite_backup("app", &format!("; {fault}")));
        world.run(&["make.rhai"]).expect(0);
        for what in ["folder=backups", "source=app.sqlite"] {
            let ended = world.run(&[SCRIPT, "--json", "--set", what]).expect(1);
            assert!(failed(&ended).contains(&check.to_owned()), "{fault}: {:?}", failed(&ended));
        }
    }
}

/// Packs a SQLite file as another tool would: no manifest beside it.
fn foreign_backup(world: &World, file: &str, backup: &str) {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut packed, &std::fs::read(world.path(file)).unwrap()).unwrap();
    std::fs::write(world.path(backup), packed.finish().unwrap()).unwrap();
}

#[test]
fn broken_parts_of_a_sqlite_file_are_found() {
    let world = World::new(PROGRAM).file("make.rhai", &sqlite_backup("app", ""));
    world.run(&["make.rhai"]).expect(0);
    let file = rusqlite::Connection::open(world.path("app.sqlite")).unwrap();
    let notes = "create table notes (id integer primary key, user_id integer references users (id)); insert into notes values (1, 9)";
    file.execute_batch(&format!("pragma foreign_keys = off; {notes}")).unwrap();
    file.close().unwrap();
    foreign_backup(&world, "app.sqlite", "orphaned.db.gz");
    let ended = world.run(&[SCRIPT, "--json", "--set", "backup=orphaned.db.gz"]).expect(1);
    assert_eq!(failed(&ended), ["rows that break a declared foreign key"]);

    let backup = world.path("backups/app.sqlite.gz");
    let whole = std::fs::read(&backup).unwrap();
    std::fs::write(&backup, &whole[..whole.len() / 2]).unwrap();
    world.run(&[SCRIPT]).expect(2).told("app.sqlite.gz");
    world.write("empty.sqlite.gz", "");
    world.run(&[SCRIPT, "--set", "backup=empty.sqlite.gz"]).expect(2).told("it is empty");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgresql_backup_is_restored_and_its_faults_are_found() {
    let Some(server) = postgres().await else { return };
    server.create("app", APP).await;
    let faults = "update messages set conversation_id = 9 where id = 3; update documents set user_id = null;
        alter table conversations add constraint odd check (id < 2) not valid;";
    server.create("faulty", &format!("{APP}{faults}")).await;
    let image = docker_image().await.map_or("image=postgres:15".into(), |image| format!("image={image}"));
    let world = World::new(PROGRAM);
    for name in ["app", "faulty"] {
        let Some(text) = server.pg_dump(name, &[]) else { return };
        world.write(&format!("{name}_postgres.sql"), &String::from_utf8(text).unwrap());
    }
    let check = |file: &str, more: &str| world.run(&[SCRIPT, "--json", "--set", file, "--set", &image, "--set", more]);
    let ended = check("backup=app_postgres.sql", "count=users").expect(0);
    ended.told("Results: 11 passed, 0 failed");
    let ended = check("backup=faulty_postgres.sql", "count=users,conversations").expect(1);
    let found = [
        "constraints that were never validated",
        "every messages.conversation_id points at a row of conversations",
        "every row of documents has its user_id",
    ];
    assert_eq!(failed(&ended), found);
    check("backup=app_postgres.sql", "relations=messages").expect(2).told("table.column=table.column");
}
