//! The README's table of short commands, one after the other on a real database, as a team would type them.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::fs::File;
use std::net::TcpListener;
use std::time::{Duration, SystemTime};

use runner_test_support::{TestServer, World, docker_image, postgres};

const PROGRAM: &str = env!("CARGO_BIN_EXE_runner");

/// Returns the README's command for a make target, on a backup file.
fn command(target: &str, file: &str) -> Vec<String> {
    let names = [format!("`make {target}`"), format!("`make {target} ")];
    let row = include_str!("../README.md").lines().find(|line| names.iter().any(|name| line.contains(name)));
    let row = row.unwrap_or_else(|| panic!("the README has no {target}"));
    let command = row.split('`').find_map(|part| part.strip_prefix("runner ")).unwrap_or_else(|| panic!("{row}"));
    command.split(' ').map(|word| word.replace("FILE", file)).collect()
}

/// A world whose variables say where the database is, as DB_HOST and its like do.
async fn agency() -> Option<(TestServer, World)> {
    let server = postgres().await?;
    let tables = ["users", "organizations", "content_jobs", "content_artifacts", "subscriptions"];
    let mut sql =
        "create table alembic_version (version_num text); insert into alembic_version values ('0607bc5b8541');"
            .to_owned();
    for table in tables {
        sql += &format!("create table {table} (id int primary key); insert into {table} select generate_series(1, 9);");
    }
    server.create("agency", &sql).await;
    let address = server.address("agency");
    let world = World::new(PROGRAM)
        .with_env("DB_HOST", &address.host().to_string())
        .with_env("DB_PORT", &address.port().to_string())
        .with_env("DB_USER", address.user())
        .with_env("DB_NAME", "agency")
        .with_env("PGPASSWORD", address.password().map_or("", |p| p.expose()));
    Some((server, world))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_six_targets_of_the_makefile_are_one_command_each() {
    let Some((_server, world)) = agency().await else { return };
    let image = docker_image().await.unwrap_or_else(|| "postgres:15".into());
    let run_on = |file: &str, target: &str, more: &[&str]| {
        let command = command(target, file);
        let more = more.iter().flat_map(|set| ["--set", set]);
        world.run(&command.iter().map(String::as_str).chain(more).collect::<Vec<_>>())
    };
    let run = |target: &str, more: &[&str]| run_on("", target, more);
    let backups = || world.names("backups/database").into_iter().filter(|n| n.ends_with(".sql.gz")).collect::<Vec<_>>();

    run("backup", &[]).expect(0).told("packed: ");
    let first = backups().remove(0);
    run("backup-verify", &[&format!("image={image}")]).expect(0).told("VERIFICATION PASSED");
    let file = format!("backups/database/{first}");
    run_on(&file, "backup-verify-file", &[&format!("image={image}")]).expect(0).told(&first);

    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let name = format!("runner-test-commands-{}", std::process::id());
    let places = [format!("image={image}"), format!("port={free}"), format!("name={name}")];
    let kept = run("backup-restore-test", &places.each_ref().map(String::as_str));
    let gone = run("backup-restore-cleanup", &[]);
    kept.expect(0).told("psql -h 127.0.0.1");
    assert!(gone.expect(0).stdout.starts_with("removed "));

    // Nothing of 31 days is there yet; then the first one is, and a newer one stays.
    run("backup-cleanup", &["force=true"]).expect(0).told("nothing to remove");
    let month = SystemTime::now() - Duration::from_secs(31 * 86400);
    let other = first.replace("agency_2", "agency_1");
    for beside in ["", ".sha256", ".manifest.json"] {
        let to = world.path(&format!("backups/database/{other}{beside}"));
        std::fs::copy(world.path(&format!("backups/database/{first}{beside}")), &to).unwrap();
        File::options().append(true).open(&to).unwrap().set_modified(month).unwrap();
    }
    run("backup-cleanup", &[]).expect(3).told("nobody is there to answer");
    run("backup-cleanup", &["force=true"]).expect(0).told("1 older than 30 days removed, 1 stay");
    assert_eq!(backups(), std::slice::from_ref(&first));
    let left = world.names("backups/database").into_iter().filter(|name| name != "access.log");
    assert_eq!(left.count(), 3);

    // A newest one that cannot be restored keeps the old ones where they are.
    let newest = world.path(&format!("backups/database/{}", first.replace("agency_2", "agency_3")));
    std::fs::write(&newest, b"cut").unwrap();
    File::options()
        .append(true)
        .open(world.path(&format!("backups/database/{first}")))
        .unwrap()
        .set_modified(month)
        .unwrap();
    run("backup-cleanup", &["force=true"]).expect(1).told("nothing to remove");
    assert_eq!(backups().len(), 2);
}
