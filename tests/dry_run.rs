//! `--dry-run` of every stock script on a whole estate: no file, no database and nothing in Docker is another one after.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use runner_test_support::{TestServer, World, docker, docker_image, postgres};

const PROGRAM: &str = env!("CARGO_BIN_EXE_runner");

/// What each stock script is given: the place of something real, so that only the dry run keeps it from working.
/// `NAME` stands for a value of the estate.
const RUNS: &[(&str, &[&str])] = &[
    ("backup_config", &["parts=config"]),
    ("backup_database", &["source=secret:SHOP_URL"]),
    ("backup_git", &["repo=repo"]),
    ("backup_models", &[]),
    ("backup_stats", &[]),
    ("backup_volumes", &["prefix=VOLUME", "stop=true"]),
    ("check_backup", &["backup=BACKUP", "source=secret:SHOP_URL", "into=beside", "min_size=1"]),
    ("check_integrity", &["backup=BACKUP", "image=IMAGE", "count=users", "relations=[]"]),
    ("daily_check", &["min_size_kb=0"]),
    ("demo", &["folder=new"]),
    ("demo_postgres", &["folder=new", "image=IMAGE"]),
    ("disaster_recovery", &["archive=SYSTEM", "into=new", "only=git,config,models"]),
    ("disaster_test", &["source=secret:SHOP_URL", "image=IMAGE"]),
    ("drill", &["source=secret:SHOP_URL", "image=IMAGE"]),
    ("drill_system", &["archive=SYSTEM", "image=IMAGE"]),
    ("full_backup", &["source=secret:SHOP_URL", "volumes=VOLUME", "stop=true"]),
    (
        "full_system",
        &["databases=secret:SHOP_URL", "parts=config", "repo=repo", "volumes=VOLUME", "project=PROJECT", "stop=true"],
    ),
    ("list_backups", &["details=true"]),
    ("masked_copy", &["source=secret:SHOP_URL", "mask=users.name=hash", "target=secret:OTHER_URL", "image=IMAGE"]),
    ("prune", &["daily=1", "weekly=0", "monthly=0", "force=true"]),
    ("remove_old_backups", &["keep_days=0", "force=true"]),
    ("restore", &["target=secret:SHOP_URL", "in_place=true"]),
    ("restore_config", &["archive=CONFIG", "into=new"]),
    (
        "restore_database",
        &["backup=BACKUP", "target=secret:OTHER_URL", "end_others=true", "project=PROJECT", "in_place=true"],
    ),
    ("restore_git", &["bundle=BUNDLE", "into=new"]),
    ("restore_models", &["archive=MODELS", "project=PROJECT"]),
    ("restore_table", &["backup=BACKUP", "target=secret:OTHER_URL", "table=public.users"]),
    ("restore_test", &["backup=BACKUP", "image=IMAGE"]),
    ("restore_volume", &["archive=ARCHIVE", "volume=VOLUME", "replace=true", "project=PROJECT"]),
    ("scheduled_verification", &["folder=backups/database", "image=IMAGE", "webhook=HOOK"]),
    ("verify_backup", &["test_restore=true", "image=IMAGE"]),
    ("verify_ml_versions", &["source=secret:ML_URL", "image=IMAGE", "beside=true"]),
    ("verify_ml_versions_basic", &["source=secret:ML_URL", "image=IMAGE"]),
    ("verify_restore", &["backup=BACKUP", "image=IMAGE", "tables=users", "counts=users", "migration="]),
];

/// A company with everything that the scripts work on, and a backup of each.
struct Estate {
    world: World,
    server: TestServer,
    values: BTreeMap<&'static str, String>,
}

impl Estate {
    async fn new() -> Option<Self> {
        let (server, image) = (postgres().await?, docker_image().await?);
        server.create("shop", "create table users (id int primary key, name text); insert into users select n, 'n' || n from generate_series(1, 40) n;").await;
        server.create("other", "create table kept (id int); insert into kept values (7)").await;
        server.create("ml", include_str!("fixtures/ml_versions.sql")).await;
        let project = format!("runner-test-dry-{}", std::process::id());
        let volume = format!("{project}_data");
        let label = |name: &str, value: &str| format!("com.docker.compose.{name}={value}");
        let (a, b, mount) = (label("project", &project), label("service", "api"), format!("{volume}:/data"));
        docker(&["volume", "create", &volume]);
        docker(&[
            "run",
            "-d",
            "--name",
            &project,
            "-v",
            &mount,
            "-l",
            &a,
            "-l",
            &b,
            "--entrypoint",
            "sleep",
            &image,
            "900",
        ]);
        docker(&["exec", &project, "sh", "-c", "echo kept > /data/file"]);

        let url = |database: &str| server.place(database);
        let world = World::new(PROGRAM)
            .with_env("SHOP_URL", &url("shop"))
            .with_env("OTHER_URL", &url("other"))
            .with_env("ML_URL", &url("ml"))
            .with_env("HOOK", "http://127.0.0.1:1/hook");
        for (path, text) in [
            ("models/a.pkl", "weights"),
            ("config/app.yaml", "on: true"),
            ("outputs/x.csv", "1"),
            ("logs/app.log", "started"),
            ("repo/a.txt", "one"),
        ] {
            world.write(path, text);
        }
        for arguments in [
            &["init", "-q"][..],
            &["add", "."],
            &["-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "-qm", "first"],
        ] {
            assert!(Command::new("git").args(arguments).current_dir(world.path("repo")).status().unwrap().success());
        }
        let mut estate = Self { world, server, values: BTreeMap::new() };
        estate.values.extend([("VOLUME", volume), ("PROJECT", project), ("IMAGE", image)]);
        estate.back_up();
        Some(estate)
    }

    /// Takes one backup of each kind, for real.
    fn back_up(&mut self) {
        for script in [
            "full_backup",
            "backup_database",
            "backup_git",
            "backup_models",
            "backup_volumes",
            "backup_config",
            "full_system",
            "full_backup",
        ] {
            let more: &[&str] = if script == "full_backup" { &[] } else { &["--set", "folder=backups/NAME"] };
            let folder = script.trim_start_matches("backup_");
            let more: Vec<_> = more.iter().map(|argument| argument.replace("NAME", folder)).collect();
            let arguments = [self.arguments(script), more].concat();
            self.run(&arguments).expect(0);
        }
        for (name, folder, ending) in [
            ("BACKUP", "database", ".sql.gz"),
            ("BUNDLE", "git", ".bundle"),
            ("MODELS", "models", ".tar.gz"),
            ("ARCHIVE", "volumes", ".tar.gz"),
            ("CONFIG", "config", ".tar.gz"),
            ("SYSTEM", "full_system", ".tar.gz"),
        ] {
            let folder = format!("backups/{folder}");
            let file = self.world.names(&folder).into_iter().find(|n| n.ends_with(ending)).unwrap();
            self.values.insert(name, format!("{folder}/{file}"));
        }
    }

    /// Returns the command line of a script on this estate.
    fn arguments(&self, script: &str) -> Vec<String> {
        let (_, sets) =
            RUNS.iter().find(|(name, _)| *name == script).unwrap_or_else(|| panic!("{script} is not in RUNS"));
        let mut arguments = vec![script.to_owned()];
        for set in *sets {
            let set = self.values.iter().fold((*set).to_owned(), |set, (name, value)| set.replace(name, value));
            arguments.extend(["--set".to_owned(), set]);
        }
        arguments
    }

    fn run(&self, arguments: &[String]) -> runner_test_support::Ended {
        self.world.run(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Returns everything that a script could change, as lines.
    async fn state(&self) -> Vec<String> {
        let mut lines = Vec::new();
        listing(&self.world.path("."), Path::new(""), &mut lines);
        lines.extend(self.server.databases().await);
        for database in ["shop", "other", "ml"] {
            let text = String::from_utf8(self.server.pg_dump(database, &[]).unwrap()).unwrap();
            lines.extend(text.lines().filter(|line| !line.contains("restrict")).map(str::to_owned));
            lines.push(self.server.value(database, "select string_agg(rolname, ',' order by 1) from pg_roles").await);
        }
        let (project, volume) = (&self.values["PROJECT"], &self.values["VOLUME"]);
        lines.push(docker(&["inspect", "-f", "{{.Id}} {{.State.StartedAt}} {{.State.Status}}", project]));
        lines.push(docker(&["volume", "inspect", volume]));
        lines.push(docker(&["exec", project, "sh", "-c", "ls -ln --full-time /data; cat /data/*"]));
        lines
    }

    /// Returns what the runs of this world wrote into their ledgers: what they made outside of their own folder.
    fn made(&self) -> Vec<String> {
        let runs = self.world.names(".runner/runs").into_iter();
        let ledgers = runs.map(|run| self.world.path(&format!(".runner/runs/{run}/resources.jsonl")));
        ledgers
            .flat_map(|path| {
                std::fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect::<Vec<_>>()
            })
            .collect()
    }
}

impl Drop for Estate {
    fn drop(&mut self) {
        let (project, volume) = (&self.values["PROJECT"], &self.values["VOLUME"]);
        for arguments in [["rm", "-fv", project], ["volume", "rm", volume]] {
            let _ = Command::new("docker").args(arguments).output(); // the next test tells it by its name
        }
    }
}

/// Lists the files below a folder with mode, size, moment of change and place on the disk; the runs' own journals apart.
fn listing(folder: &Path, below: &Path, lines: &mut Vec<String>) {
    let mut entries: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap()).collect();
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries.into_iter().filter(|entry| entry.file_name() != ".runner") {
        let (path, facts) = (below.join(entry.file_name()), entry.metadata().unwrap());
        let changed = (facts.ino(), facts.mtime(), facts.mtime_nsec());
        // The temporary folder is used and left empty.
        let changed = if path == Path::new("tmp") { (0, 0, 0) } else { changed };
        lines.push(format!("{} {:o} {} {changed:?}", path.display(), facts.mode(), facts.len()));
        if facts.is_dir() {
            listing(&entry.path(), &path, lines);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_stock_script_announces_and_changes_nothing() {
    let names: Vec<_> = runner::engine::stock_names().collect();
    assert_eq!(RUNS.iter().map(|(name, _)| *name).collect::<Vec<_>>(), names, "each stock script has its line in RUNS");
    let Some(estate) = Estate::new().await else { return };
    let (before, made) = (estate.state().await, estate.made());
    for (script, _) in RUNS {
        let ended = estate.run(&[estate.arguments(script), vec!["--dry-run".into()]].concat());
        let told = ended.stderr.clone();
        assert!([0, 4].contains(&ended.code), "{script} ended with {}: {told}", ended.code);
        let after = estate.state().await;
        let other: Vec<_> =
            after.iter().filter(|l| !before.contains(l)).chain(before.iter().filter(|l| !after.contains(l))).collect();
        assert!(other.is_empty(), "{script} changed something: {other:?}\n{told}");
        assert_eq!(estate.made(), made, "{script} made something: {told}");
    }
    // The comparison sees what changes: one of them without the dry run.
    estate.run(&estate.arguments("backup_models")).expect(0);
    assert_ne!(estate.state().await, before);
}
