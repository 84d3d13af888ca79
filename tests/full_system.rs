//! Configuration and the full system archive for real: what goes in comes out by hand, and what is missing is named.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

#[path = "fixtures/shop.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod shop;

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use runner_test_support::{World, docker, not_run};
use shop::{Shop, run_in};

const PROGRAM: &str = env!("CARGO_BIN_EXE_runner");
const PARTS: &str = "parts=docker-compose.yml,.env,api/config.py,scripts";

/// A world with the configuration of a project.
fn project() -> World {
    let world = World::new(PROGRAM)
        .file("srv/docker-compose.yml", "services: {}")
        .file("srv/.env", "SECRET=canary-7391")
        .file("srv/api/config.py", "PORT = 8000")
        .file("srv/api/other.py", "not listed")
        .file("srv/scripts/run.sh", "#!/bin/sh")
        .file("srv/scripts/node_modules/x/index.js", "noise")
        .file("srv/scripts/__pycache__/x.pyc", "noise");
    mode(&world.path("srv/.env"), 0o600);
    mode(&world.path("srv/scripts/run.sh"), 0o750);
    world
}

fn mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn mode_of(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

fn save(world: &World, more: &[&str]) -> runner_test_support::Ended {
    let own = ["backup_config", "--set", "root=srv", "--set", PARTS, "--set", "folder=backups"];
    world.run(&[&own[..], more].concat())
}

fn archive(world: &World) -> String {
    let names = world.names("backups");
    format!("backups/{}", names.iter().find(|n| n.ends_with(".tar.gz")).unwrap_or_else(|| panic!("{names:?}")))
}

#[test]
fn listed_files_and_no_others_are_saved_with_their_permissions() {
    let world = project();
    save(&world, &["--dry-run"]).expect(0).told("would pack");
    assert!(world.names("backups").is_empty());
    save(&world, &[]).expect(0);
    let archive = archive(&world);
    assert!(archive.starts_with("backups/config_20") && world.names("backups").len() == 3);
    let file = Path::new(&archive).file_name().unwrap().to_str().unwrap();
    run_in(&world.path("backups"), "sha256sum", &["-c", &format!("{file}.sha256")]);

    run_in(&world.path("."), "mkdir", &["unpacked"]);
    run_in(&world.path("unpacked"), "tar", &["-xpzf", &format!("../{archive}")]);
    let found = run_in(&world.path("unpacked"), "find", &[".", "-type", "f", "-printf", "%P %m\\n"]);
    let mut found: Vec<_> = found.lines().collect();
    found.sort_unstable();
    assert_eq!(found, [".env 600", "api/config.py 644", "docker-compose.yml 644", "scripts/run.sh 750"]);

    let manifest = std::fs::read_to_string(world.path(&format!("{archive}.manifest.json"))).unwrap();
    let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
    let entries = manifest["entries"].as_array().unwrap();
    let env = entries.iter().find(|e| e["path"] == ".env").unwrap();
    let sum = run_in(&world.path("srv"), "sha256sum", &[".env"]);
    assert_eq!((env["size"].as_u64(), env["mode"].as_str()), (Some(18), Some("0600")));
    assert_eq!(env["sha256"].as_str(), sum.split(' ').next());
    assert_eq!(mode_of(&world.path(&archive)), 0o600);
}

#[test]
fn a_listed_file_that_is_not_there_is_named_and_nothing_is_written() {
    let world = project();
    let parts = "parts=.env,absent.yml,api/gone.py";
    save(&world, &["--set", parts]).expect(2).told("absent.yml, api/gone.py are not in srv");
    save(&world, &["--set", "parts=../secret"]).expect(3).told("cannot be a part");
    save(&world, &["--set", "exclude=.env"]).expect(3).told("named and excluded at once");
    assert!(world.names("backups").is_empty());
    assert_eq!(world.names("tmp"), Vec::<String>::new());
}

#[test]
fn configuration_comes_back_and_what_makes_room_is_kept() {
    let world = project();
    save(&world, &[]).expect(0);
    let archive = archive(&world);
    let set = format!("archive={archive}");
    let restore =
        |more: &[&str]| world.run(&[&["restore_config", "--set", &set, "--set", "into=live"][..], more].concat());
    world.write("live/.env", "SECRET=newer");
    world.write("live/own.txt", "stays");
    restore(&["--set", "replace=true", "--dry-run"]).expect(0);
    restore(&[]).expect(3).told("live holds other files of these names: .env");
    assert_eq!(world.names("live"), [".env", "own.txt"]);

    restore(&["--set", "replace=true"]).expect(0).told("every file is in place");
    let text = |name: &str| std::fs::read_to_string(world.path(name)).unwrap();
    assert_eq!((text("live/.env"), text("live/own.txt")), ("SECRET=canary-7391".into(), "stays".into()));
    assert_eq!((mode_of(&world.path("live/.env")), mode_of(&world.path("live/scripts/run.sh"))), (0o600, 0o750));
    let kept = world.names(".").into_iter().find(|n| n.starts_with("live__before_")).unwrap();
    assert_eq!(text(&format!("{kept}/.env")), "SECRET=newer");
    restore(&[]).expect(0); // equal files are no conflict

    let path = world.path(&archive);
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    world.write("live/.env", "SECRET=newest");
    restore(&["--set", "replace=true"]).expect(1).told("FAILED: the archive matches its checksum");
    assert_eq!(text("live/.env"), "SECRET=newest");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_archive_holds_everything_and_opens_with_the_tools_of_any_machine() {
    let Some(shop) = Shop::open().await else { return };
    shop.run("full_system", &[shop.everything(), vec!["--dry-run".into()]].concat()).expect(0).told("would pack");
    assert!(shop.world.names("backups").is_empty());

    let kept = ["--set".to_owned(), "keep_folder=true".to_owned()];
    let told = shop.run("full_system", &[shop.everything(), kept.to_vec()].concat()).expect(0).stderr;
    assert!(!told.contains("canary"), "a secret was told");
    let archive = shop.archive();
    let (file, backups) = (archive.trim_start_matches("backups/"), shop.path("backups"));
    let name = file.trim_end_matches(".tar.gz");
    let beside = [name.to_owned(), file.to_owned(), format!("{file}.manifest.json"), format!("{file}.sha256")];
    assert_eq!(shop.world.names("backups"), beside, "nothing else is left");
    assert_eq!(mode_of(&backups.join(file)), 0o600);

    // By hand, with nothing but coreutils, tar, gzip and git.
    run_in(&backups, "sha256sum", &["-c", &format!("{file}.sha256")]);
    run_in(&backups, "mkdir", &["by-hand"]);
    run_in(&backups.join("by-hand"), "tar", &["-xzf", &format!("../{file}")]);
    let unpacked = backups.join("by-hand").join(name);
    run_in(&unpacked, "sha256sum", &["-c", "--strict", "checksums.txt"]);
    run_in(&backups, "diff", &["-r", name, &format!("by-hand/{name}")]);
    let stamp = name.trim_start_matches("full_system_");
    let uploads = format!("{}_{stamp}.tar.gz", shop.name("uploads"));
    let dump = format!("shop_db_{stamp}.sql.gz");
    let parts = ["MANIFEST.txt", "checksums.txt", "git_repo.bundle", "services.json", "system.json", &uploads, &dump];
    for part in parts
        .iter()
        .map(|p| (*p).to_owned())
        .chain([format!("models_{stamp}.tar.gz"), format!("config_{stamp}.tar.gz")])
    {
        assert!(unpacked.join(&part).is_file(), "{part} is missing");
    }
    assert!(!unpacked.join(format!("{}_{stamp}.tar.gz", shop.name("pgdata"))).exists(), "the dump holds the database");
    let listed = std::fs::read_to_string(unpacked.join("checksums.txt")).unwrap().lines().count();
    assert_eq!(listed, std::fs::read_dir(&unpacked).unwrap().count() - 1, "every file but the list itself is listed");

    run_in(&unpacked, "git", &["clone", "-q", "git_repo.bundle", "project"]);
    run_in(&unpacked, "tar", &["-xpzf", &format!("config_{stamp}.tar.gz"), "-C", "project"]);
    assert_eq!(mode_of(&unpacked.join("project/.env")), 0o600);
    assert!(!unpacked.join("project/api/__pycache__").exists());
    let sql = run_in(&unpacked, "gzip", &["-dc", &dump]);
    assert!(sql.contains("COPY public.orders"));

    let manifest = std::fs::read_to_string(unpacked.join("MANIFEST.txt")).unwrap();
    for text in [
        "database shop: postgres 15",
        "1300 rows",
        "public.orders",
        "sha256sum -c checksums.txt",
        "runner disaster_recovery --set archive=",
        "git clone git_repo.bundle",
        "psql -v ON_ERROR_STOP=1",
        "Not in it: volume",
    ] {
        assert!(manifest.contains(text), "MANIFEST.txt has no {text}:\n{manifest}");
    }
    // Packed once: what is packed already goes in as it is, and next to nothing comes to it.
    let inside: u64 = shop
        .world
        .names(&format!("backups/{name}"))
        .iter()
        .map(|n| backups.join(name).join(n).metadata().unwrap().len())
        .sum();
    let size = backups.join(file).metadata().unwrap().len();
    assert!(size < inside + inside / 100 + 32_768, "{size} for {inside}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_that_fails_is_named_and_there_is_no_archive() {
    let Some(shop) = Shop::open().await else { return };
    let nothing_left = |shop: &Shop| {
        assert_eq!(shop.world.names("backups"), Vec::<String>::new());
        assert_eq!(shop.world.names("tmp"), Vec::<String>::new());
    };
    let with = |more: &str| [shop.everything(), vec!["--set".into(), more.to_owned()]].concat();
    shop.run("full_system", &with("parts=.env,absent.yml")).expect(2).told("absent.yml is not in");
    nothing_left(&shop);
    shop.run("full_system", &with("models=absent")).expect(2).told("save the models");
    nothing_left(&shop);
    shop.run("full_system", &with("volumes=no-such-volume")).expect(2).told("there is no volume no-such-volume");
    shop.run("full_system", &with(&format!("volumes={}", shop.name("pgdata")))).expect(2).told("is the database's own");
    shop.run("full_system", &with("project=no-such-project")).expect(2).told("no-such-project");
    shop.run("full_system", &with("repo=backups")).expect(2);
    nothing_left(&shop);
    let settings = shop.everything();
    let arguments: Vec<&str> = std::iter::once("full_system").chain(settings.iter().map(String::as_str)).collect();
    let mut started = shop.world.start(&arguments);
    assert!(started.until("save database shop"));
    started.signal(nix::sys::signal::Signal::SIGINT);
    started.end().expect(130);
    nothing_left(&shop);
    docker(&["stop", "-t", "1", &shop.name("db_1")]);
    shop.run("full_system", &shop.everything()).expect(2).told(&shop.name("db_1"));
    nothing_left(&shop);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fills_up_leaves_no_archive() {
    let Some(shop) = Shop::open().await else { return };
    let disk = shop.path("disk");
    std::fs::create_dir(&disk).unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=400k", "tmpfs"]).arg(&disk).status();
    if !mounted.is_ok_and(|status| status.success()) {
        not_run("a small disk cannot be mounted here");
        return;
    }
    let mut noise = vec![0; 600_000];
    std::fs::File::open("/dev/urandom").unwrap().read_exact(&mut noise).unwrap();
    std::fs::write(shop.path("shop/models/large.bin"), noise).unwrap();
    let ended = shop.run("full_system", &[shop.everything(), vec!["--set".into(), "folder=disk".into()]].concat());
    let left = shop.world.names("disk");
    let unmounted = Command::new("umount").arg(&disk).status();
    assert!(unmounted.is_ok_and(|status| status.success()));
    ended.expect(2).told("No space left on device");
    assert_eq!(left, Vec::<String>::new());
}

/// A small system that needs no Docker: a SQLite database, models and configuration.
fn small() -> World {
    let world = project().file("srv/models/v1.pkl", "weights");
    world.write(
        "make.rhai",
        "let db = sqlite(\"srv/shop.sqlite\", #{ create: true });
         execute(db, \"create table users (id integer primary key, name text, at text)\");
         execute(db, \"insert into users (name, at) values ('ada', '2026-01-01 00:00:00'), ('eve', datetime('now', '-3 hours'))\");",
    );
    world.run(&["make.rhai"]).expect(0);
    world
}

const SMALL: [&str; 10] = [
    "--set",
    "databases=srv/shop.sqlite",
    "--set",
    "models=srv/models",
    "--set",
    "root=srv",
    "--set",
    "parts=.env,api",
    "--set",
    "repo=",
];

#[test]
fn a_system_without_docker_is_saved_drilled_and_recovered() {
    let world = small().with_path("/nonexistent").with_env("DOCKER_HOST", "unix:///nonexistent.sock");
    let newest = ["--set", "newest=select max(at) from users", "--set", "rpo=4h"];
    let drilled = world.run(&[&["drill_system"][..], &SMALL, &newest].concat()).expect(0).stderr;
    assert!(drilled.contains("rpo: 3h") && drilled.contains("database shop: every row"), "{drilled}");
    assert_eq!(world.names("tmp"), Vec::<String>::new());
    let archive = format!("archive={}", archive(&world));
    let late = ["drill_system", "--set", &archive, "--set", newest[1], "--set", "rpo=2h"];
    world.run(&late).expect(1).told("objective MISSED: rpo");

    let recover = |more: &[&str]| {
        let own = ["disaster_recovery", "--set", &archive, "--set", "into=new", "--set", "targets=shop=new.sqlite"];
        world.run(&[&own[..], more].concat())
    };
    world
        .run(&["disaster_recovery", "--set", &archive, "--set", "into=new"])
        .expect(3)
        .told("database shop has no place");
    recover(&["--set", "targets=shop=new.sqlite,other=x.sqlite"]).expect(3).told("the archive has no database other");
    assert!(!world.path("new").exists() && !world.path("new.sqlite").exists());
    recover(&[]).expect(0).told("configuration: every file is what was saved");
    assert_eq!(std::fs::read_to_string(world.path("new/models/v1.pkl")).unwrap(), "weights");
    recover(&[]).expect(3).told("database new.sqlite holds something");
    recover(&["--set", "replace=true"]).expect(0);
    let kept = world.names(".");
    assert!(kept.iter().any(|n| n.starts_with("new.sqlite__before_") && n.ends_with(".sqlite.gz")), "{kept:?}");
    assert!(world.names("new").iter().any(|n| n.starts_with("models__before_")), "{:?}", world.names("new"));
}
