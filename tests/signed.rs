//! Signatures: what a hand changes that can write a backup with all its checksums, a trusted key's signature shows.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::os::unix::fs::PermissionsExt;

use runner_test_support::{Ended, World};
use sha2::{Digest, Sha256};

const PROGRAM: &str = env!("CARGO_BIN_EXE_runner");
const TRUST: [&str; 2] = ["--trust", "ops.pub"];
const SIGN: [&str; 2] = ["--sign", "ops.key"];

/// A world with a pair of keys and a SQLite database.
fn world() -> World {
    let world = World::new(PROGRAM).file("models/a.pkl", "weights");
    assert!(world.run(&["keygen", "ops"]).expect(0).stdout.contains("--trust ops.pub"));
    world.write("make.rhai", "let db = sqlite(\"shop.sqlite\", #{ create: true }); execute(db, \"create table users (id integer primary key, name text)\"); execute(db, \"insert into users (name) values ('ada'), ('grace')\");");
    world.run(&["make.rhai"]).expect(0);
    world
}

fn back_up(world: &World, more: &[&str]) -> String {
    world
        .run(&[&["backup_database", "--set", "source=shop.sqlite", "--set", "folder=backups"], more].concat())
        .expect(0);
    let file = world.names("backups").into_iter().find(|n| n.ends_with(".sqlite.gz")).unwrap();
    format!("backups/{file}")
}

fn drill(world: &World, file: &str, more: &[&str]) -> Ended {
    world.run(&[&["drill", "--set", &format!("backup={file}")], more].concat())
}

/// Changes one row of a backup the way a hand would that knows the format: file, checksum and manifest agree again.
fn forge(world: &World, file: &str) {
    world.write("forge.rhai", "let db = sqlite(\"shop.sqlite\", #{ writable: true }); execute(db, \"update users set name = 'eve' where id = 1\"); dump(db, \"forged/\" + param(\"name\", \"\", \"\"));");
    let name = file.rsplit('/').next().unwrap();
    world.run(&["forge.rhai", "--set", &format!("name={name}")]).expect(0);
    for beside in ["", ".sha256", ".manifest.json"] {
        std::fs::copy(world.path(&format!("forged/{name}{beside}")), world.path(&format!("{file}{beside}"))).unwrap();
    }
}

#[test]
fn a_forged_backup_passes_its_checksums_and_not_its_signature() {
    let world = world();
    let file = back_up(&world, &SIGN);
    assert!(world.path(&format!("{file}.manifest.json.sig")).is_file());
    drill(&world, &file, &TRUST).expect(0).told("checksum, signature");
    drill(&world, &file, &[]).expect(0).told("nobody looked at its signature");

    forge(&world, &file);
    drill(&world, &file, &[]).expect(0);
    drill(&world, &file, &TRUST).expect(2).told("is not signed by a key that is trusted").told("of another text");
}

#[test]
fn an_unsigned_backup_says_so_and_does_not_pass_where_a_key_is_trusted() {
    let world = world();
    let file = back_up(&world, &[]);
    drill(&world, &file, &[]).expect(0).told("not checked: signature: it is not signed");
    drill(&world, &file, &TRUST).expect(2).told("it has no signature");
    world.run(&["keygen", "other"]).expect(0);
    let signed = back_up(&world, &["--sign", "other.key", "--set", "to=backups/second.sqlite.gz"]);
    assert_ne!(signed, "", "a second one");
    drill(&world, "backups/second.sqlite.gz", &TRUST).expect(2).told("of another key");
    drill(&world, "backups/second.sqlite.gz", &["--trust", "ops.pub,other.pub"]).expect(0);
    for beside in [".manifest.json", ".sha256", ".manifest.json.sig"] {
        std::fs::remove_file(world.path(&format!("backups/second.sqlite.gz{beside}"))).unwrap();
    }
    drill(&world, "backups/second.sqlite.gz", &TRUST).expect(2).told("nobody can have signed it");
}

#[test]
fn a_set_is_signed_with_the_list_of_all_its_files() {
    let world = world();
    let full = ["full_backup", "--set", "source=shop.sqlite", "--set", "parts=models"];
    world.run(&[&full[..], &SIGN, &TRUST].concat()).expect(0);
    let set = world.names("backups").into_iter().find(|name| name.starts_with("system_backup_")).unwrap();
    let restore =
        |more: &[&str]| world.run(&[&["restore", "--set", "components=models", "--set", "root=back"], more].concat());
    world.run(&[&["verify_backup"][..], &TRUST].concat()).expect(0);
    restore(&TRUST).expect(0);

    // The model, its checksum and the checksum of the checksums are forged.
    let folder = format!("backups/{set}");
    let read = |name: &str| std::fs::read_to_string(world.path(&format!("{folder}/{name}"))).unwrap();
    let hex = |bytes: &[u8]| Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect::<String>();
    let (list, facts) = (read("checksums.txt"), read("metadata.json"));
    let forged = list.replace(&hex(b"weights"), &hex(b"wEights"));
    std::fs::write(world.path(&format!("{folder}/models/a.pkl")), "wEights").unwrap();
    std::fs::write(world.path(&format!("{folder}/checksums.txt")), &forged).unwrap();
    let facts = facts.replace(&hex(list.as_bytes()), &hex(forged.as_bytes()));
    std::fs::write(world.path(&format!("{folder}/metadata.json")), facts).unwrap();
    world.run(&["verify_backup"]).expect(0);
    world.run(&[&["verify_backup"][..], &TRUST].concat()).expect(1).told("not signed by a key that is trusted");
    restore(&["--trust", "ops.pub", "--set", "root=again"]).expect(2).told("not signed by a key that is trusted");
    assert!(!world.path("again/models").exists());
}

#[test]
fn a_key_that_others_can_read_signs_nothing_and_no_key_reaches_the_journal() {
    let world = world();
    let file = back_up(&world, &SIGN);
    let key = std::fs::read_to_string(world.path("ops.key")).unwrap();
    let secret = key.lines().nth(1).unwrap();
    for run in world.names(".runner/runs") {
        for name in world.names(&format!(".runner/runs/{run}")) {
            let bytes = std::fs::read(world.path(&format!(".runner/runs/{run}/{name}"))).unwrap_or_default();
            assert!(!String::from_utf8_lossy(&bytes).contains(secret), "{name}");
        }
    }
    world.run(&["keygen", "ops"]).expect(3).told("ops.key exists already");
    std::fs::set_permissions(world.path("ops.key"), std::fs::Permissions::from_mode(0o644)).unwrap();
    world.run(&["drill", "--set", "source=shop.sqlite", "--sign", "ops.key"]).expect(3).told("chmod 600");
    drill(&world, &file, &["--trust", "ops.key"]).expect(2).told("no Ed25519 public key");
    drill(&world, &file, &["--trust", "absent.pub"]).expect(2).told("absent.pub");
}
