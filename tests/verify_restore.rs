//! `runner scripts/verify_restore.rhai`: one backup, restored into a throwaway server and looked at.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::io::Write;

use runner_test_support::{Ended, TestServer, World, docker_image, postgres};

const PROGRAM: &str = env!("CARGO_BIN_EXE_runner");
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/verify_restore.rhai");
const TABLES: [&str; 5] = ["users", "organizations", "content_jobs", "content_artifacts", "subscriptions"];

async fn agency() -> Option<TestServer> {
    let server = postgres().await?;
    let tables: String = TABLES
        .iter()
        .map(|t| format!("create table {t} (id int primary key, name text); insert into {t} select n, 'n' || n from generate_series(1, 40) n;"))
        .collect();
    let migration = "create table alembic_version (version_num text primary key); insert into alembic_version values ('0607bc5b8541');";
    server.create("agency", &format!("{tables}{migration}")).await;
    Some(server)
}

/// Puts a dump of another tool, pg_dump through gzip, into the world.
fn foreign_dump(world: &World, server: &TestServer, name: &str, cut: impl FnOnce(Vec<u8>) -> Vec<u8>) -> bool {
    let Some(text) = server.pg_dump("agency", &[]) else { return false };
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(&text).unwrap();
    std::fs::create_dir_all(world.path("backups")).unwrap();
    std::fs::write(world.path("backups").join(name), cut(packed.finish().unwrap())).unwrap();
    true
}

async fn verify(world: &World, set: &[&str]) -> Ended {
    let image = docker_image().await.map(|image| format!("image={image}"));
    let mut arguments = vec![SCRIPT];
    for pair in set.iter().copied().chain(image.as_deref()) {
        arguments.extend(["--set", pair]);
    }
    world.run(&arguments)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_backup_of_a_folder_is_restored_and_all_checks_hold() {
    let Some(server) = agency().await else { return };
    let world = World::new(PROGRAM);
    if !foreign_dump(&world, &server, "agency.sql.gz", |all| all) {
        return;
    }
    let ended = verify(&world, &[]).await.expect(0);
    ended.told("Total checks: 13").told("Failed: 0").told("VERIFICATION PASSED").told("0607bc5b8541");
    assert_eq!(world.names("tmp"), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_table_fails_and_is_named() {
    let Some(server) = agency().await else { return };
    let world = World::new(PROGRAM);
    server.execute("agency", "drop table subscriptions").await;
    if !foreign_dump(&world, &server, "agency.sql.gz", |all| all) {
        return;
    }
    let ended = verify(&world, &["counts=users", "backup=backups/agency.sql.gz"]).await.expect(1);
    ended.told("table subscriptions exists").told("VERIFICATION FAILED");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_empty_or_absent_backup_could_not_run_and_says_why() {
    let Some(server) = agency().await else { return };
    let world = World::new(PROGRAM);
    if !foreign_dump(&world, &server, "agency.sql.gz", |all| all[..all.len() / 2].to_vec()) {
        return;
    }
    verify(&world, &[]).await.expect(2).told("agency.sql.gz");
    std::fs::write(world.path("backups/agency.sql.gz"), b"").unwrap();
    verify(&world, &[]).await.expect(2).told("agency.sql.gz");
    verify(&world, &["folder=nowhere"]).await.expect(2).told("nowhere");
}
