//! Restoring in place for real: a database and a folder of models, with their services and health URLs.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::io::{Read, Write};
use std::net::TcpListener;

use runner_test_support::{TestServer, World, postgres};

const PROGRAM: &str = env!("CARGO_BIN_EXE_runner");

/// Answers every request with a status until the test ends.
fn health(status: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/health", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let _ = stream.read(&mut [0; 4096]);
            let _ = write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok");
        }
    });
    url
}

const USERS: &str =
    "create table users (id int primary key, name text); insert into users values (1, 'ada'), (2, 'grace');";

/// Returns where a server's database `shop` is.
fn place(server: &TestServer) -> String {
    let address = server.address("shop");
    let password = address.password().map_or("", |p| p.expose());
    let (host, port, user) = (address.host(), address.port(), address.user());
    format!("host={host} port={port} user={user} password={password} dbname=shop")
}

/// A server whose database `shop` lost something, and a world that knows it as SHOP, with a backup that another server
/// made of it before.
async fn shop() -> Option<(TestServer, World)> {
    let (first, server) = (postgres().await?, postgres().await?);
    first.create("shop", USERS).await;
    server.create("shop", USERS).await;
    server.execute("shop", "update users set name = 'lost' where id = 2").await;
    let world = World::new(PROGRAM)
        .with_env("SHOP", &place(&server))
        .with_env("FIRST", &place(&first))
        .file("backup.rhai", "dump(postgres(secret(\"FIRST\")), \"backups/shop.sql.gz\");");
    world.run(&["backup.rhai"]).expect(0);
    Some((server, world))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_that_was_backed_up_is_never_the_target() {
    let Some((server, world)) = shop().await else { return };
    let world = world.file("own.rhai", "dump(postgres(secret(\"SHOP\")), \"backups/own.sql.gz\");");
    world.run(&["own.rhai"]).expect(0);
    let before = server.databases().await;
    let own = ["restore_database", "--set", "backup=backups/own.sql.gz", "--set", "target=secret:SHOP"];
    world.run(&own).expect(3).told("may be the one that was backed up");
    assert_eq!((name(&server, "shop").await.as_str(), server.databases().await), ("lost", before));
}

fn restore<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = vec!["restore_database", "--set", "backup=backups/shop.sql.gz", "--set", "target=secret:SHOP"];
    arguments.extend(more);
    arguments
}

async fn name(server: &TestServer, database: &str) -> String {
    server.value(database, "select name from users where id = 2").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_is_proven_beside_swapped_and_what_it_was_is_kept() {
    let Some((server, world)) = shop().await else { return };
    let before = server.databases().await;
    world.run(&restore(&["--dry-run"])).expect(0).told("would restore");
    assert_eq!((name(&server, "shop").await.as_str(), server.databases().await), ("lost", before.clone()));
    let url = format!("health={}", health("200 OK"));
    world.run(&restore(&["--set", &url])).expect(0).told("the service answers well");
    assert_eq!(name(&server, "shop").await, "grace");
    let after = server.databases().await;
    let kept = after.iter().find(|d| d.starts_with("shop__before_")).unwrap();
    assert_eq!(name(&server, kept).await, "lost");
    assert_eq!(after.len(), before.len() + 1, "the proof is gone: {after:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_backup_or_a_session_in_the_way_leaves_the_old_database_as_it_was() {
    let Some((server, world)) = shop().await else { return };
    let before = server.databases().await;
    let session = server.session("shop").await;
    world.run(&restore(&[])).expect(2).told("somebody is connected to shop");
    assert_eq!((name(&server, "shop").await.as_str(), server.databases().await), ("lost", before.clone()));
    world.run(&restore(&["--set", "end_others=true"])).expect(0);
    drop(session);
    assert_eq!(name(&server, "shop").await, "grace");
    let kept = server.databases().await;

    let path = world.path("backups/shop.sql.gz");
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    server.execute("shop", "update users set name = 'newer' where id = 2").await;
    world.run(&restore(&[])).expect(2);
    assert_eq!((name(&server, "shop").await.as_str(), server.databases().await), ("newer", kept));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_health_url_that_never_answers_well_fails_the_run_and_the_old_database_is_kept() {
    let Some((server, world)) = shop().await else { return };
    let url = format!("health={}", health("503 Service Unavailable"));
    world.run(&restore(&["--set", &url, "--set", "patience=1s"])).expect(2).told("did not hold within 1");
    let kept = server.databases().await.into_iter().find(|d| d.starts_with("shop__before_")).unwrap();
    assert_eq!(name(&server, &kept).await, "lost");
}

#[test]
fn models_are_archived_without_caches_listed_and_put_back() {
    let world = World::new(PROGRAM)
        .file("models/v1.pkl", "weights")
        .file("models/sub/v2 ü.pkl", "more weights")
        .file("models/__pycache__/x.pyc", "noise");
    world.run(&["backup_models", "--set", "folder=backups", "--dry-run"]).expect(0).told("would pack");
    assert!(world.names("backups").is_empty());
    world.run(&["backup_models", "--set", "folder=backups"]).expect(0);
    let names = world.names("backups");
    let list = names.iter().find(|n| n.ends_with("_manifest.json")).unwrap();
    let list = std::fs::read_to_string(world.path("backups").join(list)).unwrap();
    let list: serde_json::Value = serde_json::from_str(&list).unwrap();
    let listed: Vec<_> = list["models"].as_array().unwrap().iter().map(|m| m["name"].as_str().unwrap()).collect();
    assert_eq!(listed, ["sub/v2 ü.pkl", "v1.pkl"]);
    assert!(
        list["models"]
            .as_array()
            .unwrap()
            .iter()
            .all(|m| m["sha256"].as_str().unwrap().len() == 64 && m["size"].is_u64() && m["modified"].is_string()),
        "{list}"
    );

    let archive = format!("archive=backups/{}", names.iter().find(|n| n.ends_with(".tar.gz")).unwrap());
    world.write("models/v1.pkl", "overwritten");
    world.write("models/stray.pkl", "stray");
    let url = format!("status={}", health("200 OK"));
    let arguments = ["restore_models", "--set", &archive, "--set", "folder=replaced", "--set", &url];
    world.run(&[&arguments[..], &["--dry-run"]].concat()).expect(0).told("would");
    assert!(world.path("models/stray.pkl").exists());
    world.run(&arguments).expect(0).told("the service answers well");
    assert_eq!(std::fs::read_to_string(world.path("models/v1.pkl")).unwrap(), "weights");
    assert!(!world.path("models/stray.pkl").exists() && world.names("replaced").len() == 3);

    let damaged = world.path(archive.trim_start_matches("archive="));
    let mut bytes = std::fs::read(&damaged).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&damaged, bytes).unwrap();
    world.write("models/v1.pkl", "newer");
    world.run(&arguments).expect(2);
    assert_eq!(
        std::fs::read_to_string(world.path("models/v1.pkl")).unwrap(),
        "newer",
        "a damaged archive replaces nothing"
    );
    world.run(&["backup_models", "--set", "models=absent"]).expect(2).told("absent");
}
