//! `runner restore_test`: a backup restored into a server that stays up, to be looked at with psql.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::net::TcpListener;
use std::process::Command;

use runner_test_support::{TestServer, World, docker_image, not_run, postgres};

const PROGRAM: &str = env!("CARGO_BIN_EXE_runner");
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/restore_test.rhai");

/// A world with a backup of forty users.
async fn backed_up() -> Option<(TestServer, World)> {
    let server = postgres().await?;
    server
        .create(
            "agency",
            "create table users (id int primary key, name text); insert into users select n, 'n' || n from generate_series(1, 40) n;",
        )
        .await;
    let text = server.pg_dump("agency", &[])?;
    let world = World::new(PROGRAM);
    world.write("backups/agency.sql", &String::from_utf8(text).unwrap());
    Some((server, world))
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn sh(command: &str) -> String {
    let out = Command::new("sh").args(["-c", command]).output().unwrap();
    assert!(out.status.success(), "{command}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap().trim().to_owned()
}

/// Returns what is said behind a word, up to the end of the line or two spaces.
fn said<'a>(told: &'a str, word: &str) -> &'a str {
    let behind = told.split(word).nth(1).unwrap_or_else(|| panic!("nobody said «{word}»:\n{told}"));
    behind.lines().next().unwrap().split("  ").next().unwrap().trim()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_stays_answers_on_its_port_and_goes_with_the_printed_command() {
    let Some(image) = docker_image().await else { return not_run("this needs Docker with an image") };
    let Some((_server, world)) = backed_up().await else { return };
    let (port, name) = (free_port(), format!("runner-test-restore-{}", std::process::id()));
    let set = [format!("port={port}"), format!("name={name}"), format!("image={image}")];
    let arguments: Vec<_> = [SCRIPT].into_iter().chain(set.iter().flat_map(|pair| ["--set", pair])).collect();
    let ended = world.run(&arguments);
    let again = world.run(&arguments);
    let answer = std::panic::catch_unwind(|| {
        let connect = said(&ended.stderr, "From this machine: ");
        assert!(connect.contains(&format!("-p {port} ")), "{connect}");
        sh(&format!(
            "PATH=$PATH:$(ls -d /usr/lib/postgresql/*/bin | tail -1); {connect} -Atc 'select count(*) from users'"
        ))
    });
    let spared = world.run(&["gc"]);
    let found = sh(&format!("docker ps -aq --filter name=^{name}$"));
    let gone = world.run(&["gc", "--kept"]);
    let left = sh(&format!("docker ps -aq --filter name=^{name}$"));
    spared.expect(0);
    let _ = Command::new("docker").args(["rm", "-fv", &name]).output(); // nothing, unless gc failed
    assert!(gone.expect(0).stdout.contains(&format!("removed container {name}")));
    assert!(!found.is_empty() && left.is_empty(), "found {found}, left {left}");
    let ended = ended.expect(0);
    assert_eq!(said(&ended.stderr, "Remove: "), format!("docker rm -fv {name}"));
    assert_eq!(answer.unwrap(), "40");
    again.expect(2).told("an earlier restore test may still be there").told(&format!("docker rm -fv {name}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_backup_starts_no_server() {
    let Some((_server, world)) = backed_up().await else { return };
    let text = std::fs::read_to_string(world.path("backups/agency.sql")).unwrap();
    world.write("cut.sql", &text[..text.len() / 2]);
    world.write("empty.sql.gz", "");
    for (file, why) in
        [("cut.sql", "cannot be restored"), ("empty.sql.gz", "it is empty"), ("absent.sql.gz", "absent.sql.gz")]
    {
        let ended = world.run(&[SCRIPT, "--set", &format!("backup={file}")]).expect(2).told(why);
        assert!(!ended.stderr.contains("started: start a server"), "{}", ended.stderr);
    }
    world.run(&[SCRIPT, "--set", "folder=nowhere"]).expect(2).told("nowhere");
}
