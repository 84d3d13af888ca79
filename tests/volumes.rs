//! Volumes for real: what goes into an archive comes out of it, and services stop and start around it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use runner_test_support::{World, docker_image, not_run};
use tar::EntryType;

const PROGRAM: &str = env!("CARGO_BIN_EXE_runner");

/// Runs the docker program.
fn docker(arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new("docker")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let out = child.wait_with_output().unwrap();
    assert!(out.status.success(), "docker {arguments:?}: {}", String::from_utf8_lossy(&out.stderr));
    out.stdout
}

fn said(arguments: &[&str]) -> String {
    String::from_utf8(docker(arguments, b"")).unwrap().trim().to_owned()
}

/// The things of one test in Docker, by a prefix of their own; they go when it ends.
struct Yard {
    prefix: String,
    image: String,
}

impl Yard {
    async fn new() -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let Some(image) = docker_image().await else {
            not_run("there is no Docker with a PostgreSQL image");
            return None;
        };
        let prefix = format!("runner-test-{}-{}-", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        Some(Self { prefix, image })
    }

    fn name(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Makes a container that does not run and sees a volume at /volume.
    fn container(&self, name: &str, volume: &str, more: &[&str]) -> String {
        let (name, mount) = (self.name(name), format!("{}:/volume", self.name(volume)));
        let mut arguments = vec!["create", "--name", &name, "-v", &mount, "--entrypoint", "sleep"];
        arguments.extend(more);
        arguments.extend([self.image.as_str(), "600"]);
        docker(&arguments, b"");
        name
    }

    fn fill(&self, volume: &str, tar: &[u8]) {
        let container = self.container("filler", volume, &[]);
        docker(&["cp", "-", &format!("{container}:/")], tar);
        docker(&["rm", &container], b"");
    }

    /// Returns what a volume holds: path, kind, mode, owner, time, target and content of each entry.
    fn listing(&self, volume: &str) -> Vec<String> {
        let container = self.container("reader", volume, &[]);
        let tar = docker(&["cp", &format!("{container}:/volume"), "-"], b"");
        docker(&["rm", &container], b"");
        let mut archive = tar::Archive::new(tar.as_slice());
        let mut lines = Vec::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            let header = entry.header();
            lines.push(format!(
                "{:?} {:?} {:o} {}:{} {} {:?} {}",
                entry.path().unwrap(),
                header.entry_type(),
                header.mode().unwrap(),
                header.uid().unwrap(),
                header.gid().unwrap(),
                header.mtime().unwrap(),
                entry.link_name().unwrap(),
                if text.len() > 50 { text.len().to_string() } else { text }
            ));
        }
        lines
    }

    fn volumes(&self) -> Vec<String> {
        let filter = format!("name={}", self.prefix);
        said(&["volume", "ls", "-q", "--filter", &filter]).lines().map(str::to_owned).collect()
    }

    fn containers(&self) -> Vec<String> {
        let filter = format!("name={}", self.prefix);
        said(&["ps", "-aq", "--filter", &filter]).lines().map(str::to_owned).collect()
    }
}

impl Drop for Yard {
    fn drop(&mut self) {
        for container in self.containers() {
            let _ = Command::new("docker").args(["rm", "-fv", &container]).output();
        }
        for volume in self.volumes() {
            let _ = Command::new("docker").args(["volume", "rm", &volume]).output();
        }
    }
}

/// One of everything that a volume can hold.
fn rich() -> Vec<u8> {
    let long = format!("volume/{}/{}", "long-name-".repeat(15), "d".repeat(200));
    let big = "0123456789".repeat(300_000);
    let rows: Vec<(&str, EntryType, &str, u32, u64)> = vec![
        ("volume/", EntryType::Directory, "", 0o2750, 999),
        ("volume/empty/", EntryType::Directory, "", 0o1777, 0),
        ("volume/with space/grün ☂", EntryType::Regular, "odd name", 0o640, 70),
        ("volume/with space/line\nend", EntryType::Regular, "x", 0o600, 70),
        ("volume/bin", EntryType::Regular, "#!/bin/sh", 0o4755, 0),
        ("volume/same", EntryType::Link, "volume/bin", 0o4755, 0),
        ("volume/in", EntryType::Symlink, "with space/grün ☂", 0o777, 1000),
        ("volume/out", EntryType::Symlink, "/etc/passwd", 0o777, 0),
        ("volume/nowhere", EntryType::Symlink, "gone", 0o777, 0),
        ("volume/queue", EntryType::Fifo, "", 0o620, 5),
        ("volume/nothing", EntryType::Regular, "", 0o000, 3_000_000),
        (&long, EntryType::Regular, &big, 0o644, 1000),
    ];
    let mut tar = tar::Builder::new(Vec::new());
    for (name, kind, text, mode, owner) in rows {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(owner);
        header.set_gid(owner + 1);
        header.set_mtime(1_000_000_007);
        if matches!(kind, EntryType::Link | EntryType::Symlink) {
            header.set_size(0);
            tar.append_link(&mut header, name, text).unwrap();
        } else {
            header.set_size(text.len() as u64);
            tar.append_data(&mut header, name, text.as_bytes()).unwrap();
        }
    }
    tar.into_inner().unwrap()
}

/// Returns the archive that lies in a folder of the world.
fn archive(world: &World) -> String {
    let names = world.names("backups");
    format!("backups/{}", names.iter().find(|n| n.ends_with(".tar.gz")).unwrap_or_else(|| panic!("{names:?}")))
}

fn back_up(world: &World, yard: &Yard, more: &[&str]) -> runner_test_support::Ended {
    let prefix = format!("prefix={}", yard.prefix);
    let mut arguments = vec!["backup_volumes", "--set", &prefix, "--set", "folder=backups"];
    arguments.extend(more);
    world.run(&arguments)
}

fn restore(world: &World, archive: &str, volume: &str, more: &[&str]) -> runner_test_support::Ended {
    let (archive, volume) = (format!("archive={archive}"), format!("volume={volume}"));
    let mut arguments = vec!["restore_volume", "--set", &archive, "--set", &volume, "--set", "folder=replaced"];
    arguments.extend(more);
    world.run(&arguments)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_comes_back_with_owners_modes_links_times_and_odd_names() {
    let Some(yard) = Yard::new().await else { return };
    let (old, new) = (yard.name("old"), yard.name("new"));
    docker(&["volume", "create", "--label", "com.docker.compose.project=shop", &old], b"");
    yard.fill("old", &rich());
    let before = yard.listing("old");
    assert_eq!(before.len(), 14, "{before:#?}");
    let world = World::new(PROGRAM);

    back_up(&world, &yard, &["--dry-run"]).expect(0).told("would pack volume");
    assert_eq!(world.names("backups"), Vec::<String>::new());
    back_up(&world, &yard, &[]).expect(0);
    let archive = archive(&world);
    assert_eq!(world.names("backups").len(), 4, "the archive, what lies beside it, and the access log");
    restore(&world, &archive, &new, &["--dry-run"]).expect(0).told("would restore");
    assert_eq!(yard.volumes(), std::slice::from_ref(&old));
    restore(&world, &archive, &new, &[]).expect(0).told("every entry of the archive is in the volume");

    assert_eq!(yard.listing("new"), before);
    let label = said(&["volume", "inspect", "-f", "{{index .Labels \"com.docker.compose.project\"}}", &new]);
    assert_eq!(label, "shop");
    assert_eq!(yard.listing("old"), before, "the volume that was read is as it was");
    assert_eq!(yard.containers(), Vec::<String>::new());
    let left = said(&["ps", "-aq", "--filter", &format!("volume={new}"), "--filter", &format!("volume={old}")]);
    assert_eq!(left, "", "no container is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_holds_something_is_replaced_only_when_asked_and_backed_up_first() {
    let Some(yard) = Yard::new().await else { return };
    let (old, full) = (yard.name("old"), yard.name("zfull"));
    docker(&["volume", "create", &old], b"");
    yard.fill("old", &rich());
    let world = World::new(PROGRAM);
    back_up(&world, &yard, &[]).expect(0);
    let archive = archive(&world);
    docker(&["volume", "create", &full], b"");
    restore(&world, &archive, &full, &[]).expect(0);
    let before = yard.listing("old");
    assert_eq!(yard.listing("zfull"), before, "an empty volume is filled");

    restore(&world, &archive, &full, &[]).expect(3).told("it holds something");
    let holder = yard.container("holder", "zfull", &[]);
    restore(&world, &archive, &full, &["--set", "replace=true"]).expect(3).told("do not run");
    assert_eq!(yard.listing("zfull"), before);
    docker(&["rm", &holder], b"");
    // A folder of its own: two runs in one second would give their backups one name, and the second is refused.
    restore(&world, &archive, &full, &["--set", "replace=true", "--set", "folder=again"]).expect(0);
    assert_eq!(yard.listing("zfull"), before);
    assert!(world.names("again").len() >= 3, "{:?}", world.names("again"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_archive_makes_no_volume_and_a_missing_volume_no_archive() {
    let Some(yard) = Yard::new().await else { return };
    let (old, new) = (yard.name("old"), yard.name("new"));
    docker(&["volume", "create", &old], b"");
    yard.fill("old", &rich());
    let world = World::new(PROGRAM);
    back_up(&world, &yard, &[]).expect(0);
    let archive = archive(&world);
    let mut bytes = std::fs::read(world.path(&archive)).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(world.path(&archive), bytes).unwrap();
    restore(&world, &archive, &new, &[]).expect(2).told("is damaged or hostile");
    assert_eq!(yard.volumes(), [old]);

    world.run(&["backup_volumes", "--set", "prefix=no-such-volume-"]).expect(2).told("there is no volume");
    let script = format!("backup_volume(\"{new}\", \"x.tar.gz\");");
    let world = world.file("main.rhai", &script);
    world.run(&["main.rhai"]).expect(2).told(&format!("there is no volume {new}"));
    world.run(&["main.rhai", "--dry-run"]).expect(2);
    assert_eq!(yard.volumes().len(), 1, "looking for a volume does not make it");
}

#[tokio::test(flavor = "multi_thread")]
async fn services_that_use_a_volume_stop_meanwhile_and_start_again_however_the_run_ends() {
    let Some(yard) = Yard::new().await else { return };
    let old = yard.name("old");
    docker(&["volume", "create", &old], b"");
    yard.fill("old", &rich());
    let project = yard.name("shop");
    let label = format!("com.docker.compose.project={project}");
    let api = yard.container(
        "api",
        "old",
        &[
            "--init",
            "--label",
            &label,
            "--label",
            "com.docker.compose.service=api",
            "--label",
            "com.docker.compose.depends_on=db:service_started:false",
        ],
    );
    let db = yard.container("db", "other", &["--init", "--label", &label, "--label", "com.docker.compose.service=db"]);
    docker(&["start", &api, &db], b"");
    let runs = |name: &str| said(&["inspect", "-f", "{{.State.Running}}", name]) == "true";
    let started = |name: &str| said(&["inspect", "-f", "{{.State.StartedAt}}", name]);
    let world = World::new(PROGRAM);
    let exclude = format!("exclude={}", yard.name("other"));

    back_up(&world, &yard, &["--set", &exclude]).expect(0).told("was read while");
    let (api_before, db_before) = (started(&api), started(&db));
    std::fs::remove_dir_all(world.path("backups")).unwrap();
    back_up(&world, &yard, &["--set", &exclude, "--set", "stop=true", "--dry-run"]).expect(0).told("would stop api");
    assert_eq!(started(&api), api_before);
    back_up(&world, &yard, &["--set", &exclude, "--set", "stop=true"]).expect(0).told("nothing used it meanwhile");
    assert!(runs(&api) && started(&api) != api_before, "it was stopped and runs again");
    assert_eq!(started(&db), db_before, "a service that does not use the volume is left alone");

    let archive = archive(&world);
    restore(&world, &archive, &old, &["--set", "replace=true"]).expect(3).told("it is in use by");
    // The restore is refused with the services stopped: they start again all the same.
    let stopping = format!("project={project}");
    restore(&world, &archive, &old, &["--set", &stopping]).expect(3).told("it holds something");
    assert!(runs(&api) && runs(&db), "both run again");

    let script = format!(
        "let all = services(#{{ project: \"{project}\" }});
         check_eq(\"order\", all.map(|s| s.name), [\"db\", \"api\"]);
         try {{ services(#{{ project: \"{project}\", services: [\"apj\"] }}); }} catch (e) {{ check_eq(\"typo\", e.kind, \"missing\"); }}
         let stopped = stop_services(#{{ project: \"{project}\" }});
         check_eq(\"stopped\", stopped.len(), 2);
         check(\"down\", services(#{{ project: \"{project}\" }}).all(|s| !s.running));
         check_eq(\"none ran\", stop_services(#{{ project: \"{project}\" }}).len(), 0);
         check_eq(\"started\", start_services(stopped).len(), 2);
         check(\"up\", services(#{{ project: \"{project}\" }}).all(|s| s.running));"
    );
    world.file("main.rhai", &script).run(&["main.rhai"]).expect(0);
}
