//! Backup sets from end to end: made, listed, verified, restored, pruned, by the stock scripts.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use runner_test_support::{Ended, World, docker, docker_image, not_run, postgres};

const PROGRAM: &str = env!("CARGO_BIN_EXE_runner");

/// A small estate: a SQLite database and the four folders.
fn estate() -> World {
    let world = World::new(PROGRAM)
        .file("models/content_filter.pkl", "weights")
        .file("models/__pycache__/x.pyc", "cache")
        .file("config/sources.yaml", "sources: []")
        .file("outputs/feedback.csv", "id,label\n1,good\n")
        .file("outputs/sub/training.csv", "id\n1\n")
        .file("logs/app.log", "started")
        .file(
            "make.rhai",
            r#"let db = sqlite("estate.sqlite", #{ create: true });
               execute(db, "create table articles (id integer primary key, title text)");
               execute(db, "insert into articles (title) values ('one'), ('two'), ('three')");"#,
        );
    std::fs::set_permissions(world.path("models/content_filter.pkl"), PermissionsExt::from_mode(0o640)).unwrap();
    world.run(&["make.rhai"]).expect(0);
    world
}

fn run(world: &World, script: &str, set: &[&str]) -> Ended {
    let mut arguments = vec![script];
    set.iter().for_each(|pair| arguments.extend(["--set", pair]));
    world.run(&arguments)
}

fn back_up(world: &World) -> PathBuf {
    let before = sets(world);
    run(world, "full_backup", &["source=estate.sqlite"]).expect(0);
    let made = sets(world).into_iter().find(|name| !before.contains(name)).unwrap();
    world.path("backups").join(made)
}

fn sets(world: &World) -> Vec<String> {
    world.names("backups").into_iter().filter(|n| n.starts_with("system_backup_")).collect()
}

fn metadata(set: &Path) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(set.join("metadata.json")).unwrap()).unwrap()
}

/// Gives a copy of a set another age, as if it had been made days ago.
fn aged(world: &World, set: &Path, days: i64) -> String {
    let at = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(24 * days);
    let name = format!("system_backup_{}", at.strftime("%Y%m%d_%H%M%S"));
    let to = world.path("backups").join(&name);
    assert!(std::process::Command::new("cp").arg("-a").args([set, &to]).status().unwrap().success());
    let mut facts = metadata(&to);
    facts["timestamp"] = at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string().into();
    facts["backup_name"] = name.clone().into();
    std::fs::write(to.join("metadata.json"), facts.to_string()).unwrap();
    name
}

#[test]
fn a_set_has_the_layout_and_the_metadata_that_other_tools_know() {
    let world = estate();
    let set = back_up(&world);
    let facts = metadata(&set);
    for key in
        ["timestamp", "version", "backup_name", "backup_path", "components", "total_size_mb", "validation_errors"]
    {
        assert!(!facts[key].is_null(), "{key}");
    }
    let parts: Vec<_> = facts["components"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(parts, ["config", "database", "logs", "models", "outputs"]);
    let database = &facts["components"]["database"];
    assert_eq!(database["filename"], "database.sqlite.gz");
    assert_eq!(database["checksum"].as_str().unwrap().len(), 64);
    assert!(database["database_size"].is_string() && database["size_mb"].is_number());
    assert_eq!(facts["components"]["outputs"]["files"], 2);
    assert!(facts["components"]["outputs"]["backup_dir"].as_str().unwrap().ends_with("/outputs"));
    assert!(!set.join("models/__pycache__").exists());
    let sha256sum = std::process::Command::new("sha256sum").args(["-c", "checksums.txt"]).current_dir(&set).output();
    assert!(sha256sum.unwrap().status.success());
    for (path, mode) in [("", 0o700), ("models", 0o700), ("models/content_filter.pkl", 0o600), ("metadata.json", 0o600)]
    {
        assert_eq!(set.join(path).metadata().unwrap().permissions().mode() & 0o777, mode, "{path}");
    }
    let listed = run(&world, "list_backups", &["details=true"]).expect(0);
    listed.told("whole, verified").told("database.sqlite.gz");
}

#[test]
fn a_component_that_fails_is_named_and_the_set_never_looks_whole() {
    let world = estate();
    std::fs::remove_dir_all(world.path("models")).unwrap();
    run(&world, "full_backup", &["source=estate.sqlite"]).expect(2).told("models").told("not whole");
    assert_eq!(sets(&world), Vec::<String>::new());
    let failed: Vec<_> = world.names("backups").into_iter().filter(|n| n != "access.log").collect();
    assert_eq!(failed.len(), 1, "{failed:?}");
    let facts = metadata(&world.path("backups").join(&failed[0]));
    assert!(facts["validation_errors"][0].as_str().unwrap().starts_with("models: "), "{facts}");
    assert!(facts["components"]["database"].is_object(), "the others are saved all the same");
    run(&world, "list_backups", &[]).expect(0).told("failed");
    run(&world, "verify_backup", &[]).expect(2).told("there is no whole backup set");
    run(&world, "verify_backup", &[&format!("set={}", failed[0])]).expect(1);
}

#[test]
fn parts_of_the_estate_can_be_left_out_and_a_dry_run_changes_nothing() {
    let world = estate();
    let ended = world.run(&["full_backup", "--dry-run", "--set", "source=estate.sqlite"]).expect(0);
    ended.told("would make the backup set");
    assert!(!world.path("backups").exists());
    run(&world, "full_backup", &["type=files", "verify=false", "folder=files"]).expect(0);
    run(&world, "full_backup", &["type=database", "source=estate.sqlite", "folder=base"]).expect(0);
    run(&world, "full_backup", &["type=everything"]).expect(2).told("full, database or files");
    let only = |folder: &str| {
        let name = world.names(folder).into_iter().find(|n| n != "access.log").unwrap();
        metadata(&world.path(folder).join(name))["components"].as_object().unwrap().keys().cloned().collect::<Vec<_>>()
    };
    assert_eq!(only("files"), ["config", "logs", "models", "outputs"]);
    assert_eq!(only("base"), ["database"]);
}

#[test]
fn verification_restores_and_names_each_kind_of_damage() {
    let world = estate();
    let set = back_up(&world);
    run(&world, "verify_backup", &["test_restore=true"]).expect(0).told("are equal");
    let model = set.join("models/content_filter.pkl");
    std::fs::write(&model, "weightz").unwrap();
    run(&world, "verify_backup", &[]).expect(1).told("models/content_filter.pkl does not match its checksum");
    run(&world, "list_backups", &[]).expect(0).told("its verification failed");
    std::fs::remove_file(&model).unwrap();
    run(&world, "verify_backup", &[]).expect(1).told("models/content_filter.pkl is missing");
    std::fs::write(&model, "weights").unwrap();
    run(&world, "verify_backup", &[]).expect(0);
    std::fs::write(set.join("config/extra"), "x").unwrap();
    run(&world, "verify_backup", &[]).expect(1).told("config/extra is not listed");
    std::fs::remove_file(set.join("config/extra")).unwrap();
    // The file and its checksum together: only the metadata know better.
    std::fs::write(&model, "other").unwrap();
    let mut list = std::process::Command::new("sh");
    list.args(["-c", "find models -type f | xargs sha256sum > checksums.txt"]);
    assert!(list.current_dir(&set).status().unwrap().success());
    run(&world, "verify_backup", &[]).expect(1).told("checksums.txt is not the one");
    std::fs::remove_file(set.join("metadata.json")).unwrap();
    run(&world, "list_backups", &[]).expect(0).told("unreadable");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgresql_estate_is_saved_from_the_environment_and_restored_for_a_test() {
    let Some(server) = postgres().await else { return };
    server
        .create(
            "cti",
            "create table articles (id int primary key); insert into articles select generate_series(1, 500)",
        )
        .await;
    let address = server.address("cti");
    let world = estate()
        .with_env("DB_HOST", &address.host().to_string())
        .with_env("DB_PORT", &address.port().to_string())
        .with_env("DB_NAME", "cti")
        .with_env("DB_USER", address.user())
        .with_env("DB_PASSWORD", address.password().map_or("", |p| p.expose()));
    run(&world, "full_backup", &[]).expect(0);
    let image = docker_image().await.map(|image| format!("image={image}"));
    let set: Vec<&str> = ["test_restore=true"].into_iter().chain(image.as_deref()).collect();
    run(&world, "verify_backup", &set).expect(0).told("500 rows of 1 table are equal");
    let set = world.path("backups").join(sets(&world).remove(0));
    assert!(set.join("database.sql.gz").exists());
}

#[test]
fn a_set_comes_back_whole_or_in_parts_and_what_it_replaces_is_kept() {
    let world = estate();
    back_up(&world);
    world.write("models/content_filter.pkl", "lost");
    world.write("break.rhai", r#"execute(sqlite("estate.sqlite", #{ writable: true }), "delete from articles");"#);
    world.run(&["break.rhai"]).expect(0);
    let before = world.names(".");
    let dry = world.run(&["restore", "--dry-run", "--set", "target=estate.sqlite"]).expect(0);
    dry.told("would restore models");
    assert_eq!(world.names("."), before);
    assert_eq!(std::fs::read_to_string(world.path("models/content_filter.pkl")).unwrap(), "lost");

    run(&world, "restore", &["components=models"]).expect(0);
    let model = world.path("models/content_filter.pkl");
    assert_eq!(std::fs::read_to_string(&model).unwrap(), "weights");
    assert_eq!(model.metadata().unwrap().permissions().mode() & 0o777, 0o640);
    let kept = world.names(".").into_iter().find(|n| n.starts_with("models__before_")).unwrap();
    assert_eq!(std::fs::read_to_string(world.path(&kept).join("content_filter.pkl")).unwrap(), "lost");

    run(&world, "restore", &["target=estate.sqlite"]).expect(0).told("3 rows of 1 table are equal");
    assert!(world.names(".").iter().any(|n| n.starts_with("estate.sqlite__before_")));
}

#[test]
fn a_restore_is_refused_before_anything_is_touched() {
    let world = estate();
    let set = back_up(&world);
    run(&world, "restore", &["components=models", "replace=false"]).expect(3).told("holds something");
    run(&world, "restore", &["components=modles"]).expect(2).told("modles");
    run(&world, "restore", &["set=system_backup_20200101_000000"]).expect(2).told("there is no backup set");
    std::fs::write(set.join("outputs/feedback.csv"), "damaged").unwrap();
    world.write("models/content_filter.pkl", "lost");
    run(&world, "restore", &["components=models"]).expect(2).told("nothing was restored");
    assert_eq!(std::fs::read_to_string(world.path("models/content_filter.pkl")).unwrap(), "lost");
}

#[test]
fn pruning_shows_asks_and_keeps_what_it_must() {
    let world = estate();
    let newest = back_up(&world);
    let old: Vec<_> = [1, 2, 3, 40, 400].iter().map(|days| aged(&world, &newest, *days)).collect();
    world.write("pin.rhai", &format!(r#"catalog("backups").get("{}").pin("before the upgrade");"#, old[4]));
    world.run(&["pin.rhai"]).expect(0);
    let future = aged(&world, &newest, -30);
    let broken = aged(&world, &newest, 500);
    std::fs::write(world.path("backups").join(&broken).join("metadata.json"), "{").unwrap();
    let all = sets(&world);

    let policy = ["daily=2", "weekly=0", "monthly=1"];
    let dry: Vec<_> = ["prune", "--dry-run"].into_iter().chain(policy.iter().flat_map(|p| ["--set", p])).collect();
    let dry = world.run(&dry).expect(0);
    dry.told("no rule keeps it").told("pinned").told("dated in the future").told("cannot be read");
    run(&world, "prune", &policy).expect(3).told("--yes");
    assert_eq!(sets(&world), all);

    run(&world, "prune", &[&policy[..], &["force=true"]].concat()).expect(0);
    let mut left = vec![newest.file_name().unwrap().to_string_lossy().into_owned(), old[0].clone(), old[4].clone()];
    left.extend([future, broken]);
    left.sort();
    assert_eq!(sets(&world), left);
    run(&world, "prune", &["daily=0", "weekly=0", "monthly=0"]).expect(2).told("keeps nothing");
}

#[test]
fn retention_is_set_by_the_environment_and_the_size() {
    let world = estate()
        .with_env("BACKUP_RETENTION_DAILY", "1")
        .with_env("BACKUP_RETENTION_WEEKLY", "0")
        .with_env("BACKUP_RETENTION_MONTHLY", "0");
    let newest = back_up(&world);
    aged(&world, &newest, 1);
    run(&world, "prune", &["force=true"]).expect(0);
    assert_eq!(sets(&world), [newest.file_name().unwrap().to_string_lossy()]);
    let world = world.with_env("BACKUP_MAX_SIZE_GB", "0").with_env("BACKUP_RETENTION_DAILY", "7");
    aged(&world, &newest, 1);
    run(&world, "prune", &["force=true"]).expect(0).told("more than 0 B");
    assert_eq!(sets(&world), [newest.file_name().unwrap().to_string_lossy()], "the newest verified set stays");
}

#[test]
fn statistics_and_the_daily_check_tell_a_missing_a_small_and_an_old_backup() {
    let world = estate();
    run(&world, "daily_check", &[]).expect(1).told("there is a whole backup set");
    run(&world, "backup_stats", &["max_age=1h"]).expect(1);
    let newest = back_up(&world);
    run(&world, "daily_check", &["min_size_kb=1"]).expect(0).told("no earlier set");
    run(&world, "daily_check", &[]).expect(1).told("at least 1.0 MB");
    let old = aged(&world, &newest, 2);
    let facts = world.path("backups").join(&old).join("metadata.json");
    let mut larger = metadata(facts.parent().unwrap());
    larger["components"]["database"]["size"] = 1_000_000.into();
    std::fs::write(&facts, larger.to_string()).unwrap();
    run(&world, "daily_check", &["min_size_kb=1"]).expect(1).told("the last 1 had 1.0 MB");
    let stats = run(&world, "backup_stats", &["max_age=1h"]).expect(0);
    stats.told("2 whole, 2 verified").told("growth a day");
    std::fs::remove_dir_all(&newest).unwrap();
    run(&world, "daily_check", &["min_size_kb=1"]).expect(1).told("age of the newest set");
    run(&world, "backup_stats", &["max_age=1h"]).expect(1);
}

#[test]
fn one_database_is_backed_up_proven_and_old_backups_go_after_their_time() {
    let world = estate();
    let dry = world.run(&["backup_database", "--dry-run", "--set", "source=estate.sqlite"]).expect(0);
    dry.told("would dump");
    assert!(!world.path("backups").exists());
    world.write("backups/database/estate_20200101_020000.sqlite.gz", "old");
    world.write("backups/database/orders_20200101_020000.sqlite.gz", "of another database");
    for name in ["estate", "orders"] {
        let file = std::fs::File::options()
            .write(true)
            .open(world.path(&format!("backups/database/{name}_20200101_020000.sqlite.gz")))
            .unwrap();
        file.set_modified(std::time::SystemTime::now() - std::time::Duration::from_secs(9 * 86_400)).unwrap();
    }
    run(&world, "backup_database", &["source=estate.sqlite"]).expect(0).told("ratio").told("1 older than 7 days");
    let left: Vec<_> = world.names("backups/database").into_iter().filter(|n| n != "access.log").collect();
    assert_eq!(left.len(), 4, "{left:?}");
    assert!(left.iter().any(|n| n.starts_with("orders_")) && !left.iter().any(|n| n.starts_with("estate_2020")));
    run(&world, "backup_database", &["source=absent.sqlite"]).expect(2);
}

#[test]
fn a_killed_run_leaves_nothing_that_looks_like_a_set_and_the_next_one_clears_up() {
    let world = estate();
    world.write(
        "slow.rhai",
        r#"catalog("backups").create(#{ "slow": |to| { write_text(to + ".txt", "x"); log("half"); sleep("1h") } });"#,
    );
    let mut started = world.start(&["slow.rhai"]);
    assert!(started.until("half"));
    started.signal(nix::sys::signal::Signal::SIGKILL);
    started.end();
    assert_eq!(world.names("backups").len(), 1, "what was half done");
    run(&world, "list_backups", &[]).expect(0).told("no backup set");
    assert_eq!(world.names("backups"), Vec::<String>::new());

    let mut started = world.start(&["slow.rhai"]);
    assert!(started.until("half"));
    started.signal(nix::sys::signal::Signal::SIGINT);
    started.end().expect(130);
    assert_eq!(world.names("backups"), Vec::<String>::new());
}

/// A Docker volume that goes with the test.
struct Volume(String);

impl Drop for Volume {
    fn drop(&mut self) {
        let _ = std::process::Command::new("docker").args(["volume", "rm", "-f", &self.0]).output();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_docker_volume_is_part_of_a_set_and_comes_back() {
    let Some(image) = docker_image().await else { return not_run("there is no Docker") };
    let volume = Volume(format!("runner-test-sets-{}", std::process::id()));
    let world = estate();
    let carrier = format!("{}-carrier", volume.0);
    docker(&[
        "create",
        "--name",
        &carrier,
        "-v",
        &format!("{}:/volume", volume.0),
        "--entrypoint",
        "sleep",
        &image,
        "1",
    ]);
    docker(&["cp", &format!("{}/.", world.path("outputs").display()), &format!("{carrier}:/volume")]);
    docker(&["rm", &carrier]);
    let named = format!("volumes={}", volume.0);
    run(&world, "full_backup", &["type=files", &named]).expect(0);
    let set = world.path("backups").join(sets(&world).remove(0));
    let component = format!("docker_volume_{}", volume.0);
    let facts = &metadata(&set)["components"][&component];
    assert_eq!(facts["filename"], format!("{}.tar.gz", volume.0));
    assert!(set.join("docker_volumes").join(facts["filename"].as_str().unwrap()).exists());

    docker(&["volume", "rm", &volume.0]);
    run(&world, "restore", &[&format!("components={component}")]).expect(0).told("every entry is back");
    docker(&["volume", "inspect", &volume.0]);
    // A volume that is not there is a component that fails.
    run(&world, "full_backup", &["type=files", "volumes=runner-test-no-such-volume", "folder=other"])
        .expect(2)
        .told("not whole");
}
