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
    world.write("backups/zz_older.sql.gz", "not a backup at all");
    let hour_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(3600);
    let older = std::fs::File::options().append(true).open(world.path("backups/zz_older.sql.gz")).unwrap();
    older.set_modified(hour_ago).unwrap();
    let ended = verify(&world, &[]).await.expect(0);
    ended.told("Total checks: 14").told("Failed: 0").told("VERIFICATION PASSED").told("0607bc5b8541");
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
    let ended = verify(&world, &["backup=backups/agency.sql.gz"]).await.expect(1);
    ended
        .told("table subscriptions exists")
        .told("there is no such table")
        .told("Failed: 2")
        .told("VERIFICATION FAILED");
}

/// Runs the script on a dump whose text was edited.
async fn verify_edited(edit: impl FnOnce(String) -> String) -> Option<Ended> {
    let server = agency().await?;
    let world = World::new(PROGRAM);
    let text = String::from_utf8(server.pg_dump("agency", &["--clean", "--if-exists"])?).unwrap();
    world.write("backups/agency.sql", &edit(text));
    Some(verify(&world, &[]).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_only_notes_is_no_failure() {
    // DROP TABLE IF EXISTS on an empty database: a notice each.
    let Some(ended) = verify_edited(|text| text).await else { return };
    ended.expect(0).told("Total checks: 14").told("VERIFICATION PASSED");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_go_during_the_restore_fail_the_count() {
    let end = "\n--\n-- PostgreSQL database dump complete\n--\n";
    let less = |text: String| text.replace(end, &format!("\nDELETE FROM public.users WHERE id = 7;\n{end}"));
    let Some(ended) = verify_edited(less).await else { return };
    ended.expect(1).told("users: every row of the backup").told("39").told("Failed: 1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_without_a_version_fails() {
    let Some(ended) = verify_edited(|text| text.replace("0607bc5b8541\n", "")).await else { return };
    ended.expect(1).told("migration version is there").told("Failed: 1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_the_server_refuses_could_not_run_and_is_named() {
    let wrong = |text: String| text.replace("SET default_tablespace", "SELECT 1/0;\nSET default_tablespace");
    let Some(ended) = verify_edited(wrong).await else { return };
    ended.expect(2).told("division by zero");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_without_backups_could_not_run() {
    let world = World::new(PROGRAM);
    std::fs::create_dir(world.path("backups")).unwrap();
    verify(&world, &[]).await.expect(2).told("there is no backup in backups");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_server_stays_and_goes_with_gc() {
    let Some(server) = agency().await else { return };
    let world = World::new(PROGRAM);
    if !foreign_dump(&world, &server, "agency.sql.gz", |all| all) {
        return;
    }
    let ended = verify(&world, &["keep=true", "provider=local"]).await;
    let (kept, gone) = (world.run(&["gc", "--kept", "--dry-run"]), world.run(&["gc", "--kept"]));
    ended.expect(0).told("kept for a look");
    assert!(kept.expect(0).stdout.contains("would remove cluster "));
    let folder = gone.expect(0).stdout.trim().rsplit(' ').next().unwrap().to_owned();
    assert!(folder.starts_with('/') && !std::path::Path::new(&folder).exists(), "{folder} is still there");
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
