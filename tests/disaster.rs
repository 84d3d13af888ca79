//! Disaster for real: a whole system is lost and comes back from one archive, or is drilled beside the original.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

#[path = "fixtures/shop.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod shop;

use std::path::Path;

use runner_test_support::Ended;
use runner_test_support::{docker, try_docker};
use shop::{Shop, run_in, wait};

fn set(values: &[&str]) -> Vec<String> {
    values.iter().flat_map(|value| ["--set".to_owned(), (*value).to_owned()]).collect()
}

fn recover(shop: &Shop, archive: &str, more: &[&str]) -> Ended {
    let (archive, into) = (format!("archive={archive}"), format!("into={}", shop.path("recovered").display()));
    shop.run("disaster_recovery", &set(&[&[archive.as_str(), &into][..], more].concat()))
}

const HEALTH: &str = "health=web:8000/health";

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_system_runs_again_from_one_archive() {
    let Some(shop) = Shop::open().await else { return };
    let archive = shop.save();
    let rows = "select count(*), sum(id), max(created_at)::text from orders";
    let before = shop.psql("shop", rows);
    let head = run_in(&shop.path("shop"), "git", &["rev-parse", "HEAD"]);
    shop.lose();
    std::fs::rename(shop.path("shop"), shop.path("lost")).unwrap();

    recover(&shop, &archive, &[HEALTH, "work=work", "models=models"]).expect(0);
    let dry = recover(&shop, &archive, &[HEALTH, "into=elsewhere", "models=other"]);
    assert_ne!(dry.code, 0, "a second recovery finds the first one in its way");

    assert_eq!(shop.psql("shop", rows), before);
    assert_eq!(shop.try_psql("shop", "app", "canary-app", "select count(*) from orders").unwrap(), "1000");
    assert!(shop.try_psql("shop", "app", "canary-wrong", "select 1").is_err(), "any password would do");
    assert_eq!(shop.health(), "HTTP/1.0 200 OK");
    let text = |name: &str| std::fs::read_to_string(shop.path(name)).unwrap();
    assert_eq!(text("recovered/.env"), "SECRET=canary-7391\n");
    assert_eq!(text("models/sub/v2 ü.pkl"), "weights of version 2");
    assert_eq!(run_in(&shop.path("recovered"), "git", &["rev-parse", "HEAD"]), head);
    run_in(&shop.path("."), "diff", &["-r", "-x", ".git", "-x", "models", "-x", "__pycache__", "lost", "recovered"]);
    run_in(&shop.path("recovered"), "git", &["fsck", "--full"]);
    assert_eq!(shop.world.names("work"), Vec::<String>::new(), "what was unpacked is gone");
    // Nothing of it belongs to a run any more: Compose finds it by its labels.
    let labels = docker(&["inspect", "-f", "{{json .Config.Labels}}", &shop.name("db_1")]);
    assert!(labels.contains("com.docker.compose.service"), "{labels}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recovery_tells_how_long_each_phase_took_and_a_dry_run_touches_nothing() {
    let Some(shop) = Shop::open().await else { return };
    let archive = shop.save();
    shop.lose();
    let own = set(&[&format!("archive={archive}"), "into=recovered", HEALTH]);
    let dry = shop.run("disaster_recovery", &[own.clone(), vec!["--dry-run".into()]].concat());
    let dry = dry.expect(0).told("would restore the project").told("health").stderr;
    assert!(!dry.contains("branch:"), "the plan ends early: {dry}");
    assert!(shop.things(&shop.project).is_empty() && !shop.path("recovered").exists());
    assert_eq!(shop.world.names("tmp"), Vec::<String>::new());

    let json = [own, set(&["rto=1ms"]), vec!["--json".into()]].concat();
    let ended = shop.run("disaster_recovery", &json).expect(1).told("rto");
    let report: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    let text = report.to_string();
    for phase in ["git", "configuration", "volumes", "services", "databases", "models", "start", "health"] {
        assert!(text.contains(&format!("phase: {phase}")), "{phase} was not measured");
    }
    let told = format!("{text}{}", ended.stderr);
    assert!(!told.contains("canary") && !told.contains("SCRAM-SHA-256$"), "a secret was told");
}

/// Unpacks an archive, changes what is in it, and packs it again as an attacker or a careless hand would: with a
/// checksum of its own.
fn tampered(shop: &Shop, archive: &str, label: &str, change: impl FnOnce(&Path)) -> String {
    let name = Path::new(archive).file_name().unwrap().to_str().unwrap();
    let folder = shop.path(&format!("tampered-{label}"));
    std::fs::create_dir(&folder).unwrap();
    run_in(&folder, "tar", &["-xzf", shop.path(archive).to_str().unwrap()]);
    let inside = folder.join(name.trim_end_matches(".tar.gz"));
    change(&inside);
    run_in(&folder, "tar", &["-czf", name, inside.file_name().unwrap().to_str().unwrap()]);
    let sum = run_in(&folder, "sha256sum", &[name]);
    std::fs::write(folder.join(format!("{name}.sha256")), format!("{sum}\n")).unwrap();
    format!("tampered-{label}/{name}")
}

fn find(folder: &Path, start: &str, end: &str) -> std::path::PathBuf {
    let mut entries = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path());
    let fits = |path: &std::path::PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.starts_with(start) && name.ends_with(end)
    };
    entries.find(fits).unwrap_or_else(|| panic!("no {start}…{end}"))
}

fn flip(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_archive_touches_nothing() {
    let Some(shop) = Shop::open().await else { return };
    let archive = shop.save();
    shop.lose();
    let untouched = |ended: Ended, code: i32, told: &str| {
        ended.expect(code).told(told);
        assert!(!shop.path("recovered").exists() && shop.things(&shop.project).is_empty(), "{told}: touched");
        assert_eq!(shop.world.names("tmp"), Vec::<String>::new());
    };
    let again = tampered(&shop, &archive, "not", |_| {});
    let changed = tampered(&shop, &archive, "changed", |folder| flip(&find(folder, "models_", ".tar.gz")));
    let missing = tampered(&shop, &archive, "missing", |folder| {
        std::fs::remove_file(find(folder, "config_", ".tar.gz")).unwrap();
    });
    let unlisted = tampered(&shop, &archive, "unlisted", |folder| {
        // The list is made anew without it: only system.json knows.
        std::fs::remove_file(find(folder, "config_", ".tar.gz")).unwrap();
        let list = std::fs::read_to_string(folder.join("checksums.txt")).unwrap();
        let left: String = list
            .lines()
            .filter(|l| !l.ends_with(".tar.gz") || !l.contains("config_"))
            .map(|l| format!("{l}\n"))
            .collect();
        std::fs::write(folder.join("checksums.txt"), left).unwrap();
    });
    let extra = tampered(&shop, &archive, "extra", |folder| std::fs::write(folder.join("extra.sh"), "x").unwrap());
    let dump = tampered(&shop, &archive, "dump", |folder| {
        // All checksums agree, but the dump is not what its manifest says.
        let dump = find(folder, "shop_db_2", ".sql.gz");
        let sql = run_in(folder, "gzip", &["-dc", dump.to_str().unwrap()]).replace("user 7\n", "user 8\n");
        std::fs::write(dump.with_extension(""), sql + "\n").unwrap();
        run_in(folder, "gzip", &["-f", dump.with_extension("").to_str().unwrap()]);
        std::fs::remove_file(folder.join("checksums.txt")).unwrap();
        run_in(folder, "sh", &["-c", "sha256sum * > /tmp/$$.sums; mv /tmp/$$.sums checksums.txt"]);
    });

    untouched(recover(&shop, &changed, &[]), 1, "FAILED: check every file: every file matches checksums.txt");
    untouched(recover(&shop, &missing, &[]), 1, "config_");
    untouched(recover(&shop, &unlisted, &[]), 1, "FAILED: check every file: config_");
    untouched(recover(&shop, &extra, &[]), 1, "extra.sh");
    untouched(recover(&shop, &dump, &[]), 1, "FAILED: check every file: the dump of shop");
    let drill = shop.run("drill_system", &set(&[&format!("archive={changed}")]));
    untouched(drill, 1, "FAILED: check every file: every file matches checksums.txt");

    std::fs::rename(shop.path(&format!("{again}.sha256")), shop.path("aside")).unwrap();
    untouched(recover(&shop, &again, &[]), 2, "without it nothing tells whether the archive is whole");
    flip(&shop.path(&archive));
    untouched(recover(&shop, &archive, &[]), 1, "FAILED: the archive is the one that was written");
    std::fs::rename(shop.path("aside"), shop.path(&format!("{again}.sha256"))).unwrap();
    recover(&shop, &again, &[HEALTH]).expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_the_way_is_refused_all_at_once_and_makes_room_only_when_told() {
    let Some(shop) = Shop::open().await else { return };
    let archive = shop.save();
    shop.world.write("recovered/precious.txt", "precious");
    let before = shop.things(&shop.project);
    let refused = recover(&shop, &archive, &["health=nosuch:80/health"]).expect(3);
    let uploads = format!("volume {} is there", shop.name("uploads"));
    for told in ["recovered holds something", &uploads, "database shop holds something", "there is no service nosuch"] {
        assert!(refused.stderr.contains(told), "{told} was not told: {}", refused.stderr);
    }
    recover(&shop, &archive, &["replace=true"]).expect(3).told("belongs to containers that must be removed first");
    assert_eq!((shop.things(&shop.project), shop.health().as_str()), (before, "HTTP/1.0 200 OK"));

    // The database alone is lost: its service is new and empty, the other one still runs.
    for thing in ["db_1", "web_1"] {
        docker(&["rm", "-fv", &shop.name(thing)]);
    }
    docker(&["volume", "rm", &shop.name("pgdata")]);
    shop.start_database();
    recover(&shop, &archive, &["replace=true"]).expect(3).told("nobody is there to answer");
    let into = format!("into={}", shop.path("recovered").display());
    let own = set(&[&format!("archive={archive}"), &into, "replace=true"]);
    shop.run("disaster_recovery", &[own, vec!["--yes".into()]].concat()).expect(0);
    assert_eq!(shop.psql("shop", "select count(*) from orders"), "1000");
    let kept = shop.world.names(".").into_iter().find(|n| n.starts_with("recovered__before_2")).unwrap();
    assert_eq!(std::fs::read_to_string(shop.path(&kept).join("precious.txt")).unwrap(), "precious");
    assert!(shop.world.names(".").iter().any(|n| n.contains("_uploads.tar.gz")), "{:?}", shop.world.names("."));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_health_url_that_never_answers_fails_the_recovery() {
    let Some(shop) = Shop::open().await else { return };
    let archive = shop.save();
    shop.lose();
    let ended = recover(&shop, &archive, &["health=web:8000/sick", "patience=1s"]).expect(1);
    ended.told("FAILED: ask for health: health: web:8000/sick answers well");
    assert_eq!(shop.health(), "HTTP/1.0 200 OK", "all the rest is back");
}

/// Returns all that a drill could have touched of the original.
fn picture(shop: &Shop) -> Vec<String> {
    let mut seen = Vec::new();
    for thing in shop.things(&shop.project) {
        let (kind, name) = thing.split_once(' ').unwrap();
        let text = docker(&[kind, "inspect", name]);
        seen.push(format!("{thing}: {text}"));
    }
    let rows = "select md5(string_agg(o::text, ',' order by id)) from orders o";
    seen.push(shop.psql("shop", rows));
    seen.push(shop.psql("shop", "select string_agg(datname, ',' order by datname) from pg_database"));
    let listing = ["shop", "-printf", "%p %s %m %T@ %i\\n"];
    seen.push(run_in(&shop.path("."), "find", &listing));
    seen.push(run_in(
        &shop.path("."),
        "sh",
        &["-c", "find shop backups -type f -print0 | sort -z | xargs -0 sha256sum"],
    ));
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drill_recovers_everything_beside_the_original_and_leaves_nothing() {
    let Some(shop) = Shop::open().await else { return };
    let archive = format!("archive={}", shop.save());
    let before = picture(&shop);
    let newest = "newest=select max(created_at) from orders";
    let ended = shop.run("drill_system", &set(&[&archive, HEALTH, newest, "rto=10m", "rpo=1h"])).expect(0);
    for told in ["every row, index, grant", "health: web:8000/health answers well", "its roles can log in"] {
        assert!(ended.stderr.contains(told), "{told} was not told: {}", ended.stderr);
    }
    assert!(!ended.stderr.contains("canary") && !ended.stderr.contains("SCRAM-SHA-256$"), "a secret was told");
    assert_eq!(picture(&shop), before);
    let run = ended.stderr.lines().find_map(|l| l.split("runs/").nth(1)?.split('/').next()).unwrap().to_owned();
    assert_eq!(shop.things(&run), Vec::<String>::new());
    assert_eq!(shop.world.names("tmp"), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drill_that_misses_its_objective_or_its_health_fails() {
    let Some(shop) = Shop::open().await else { return };
    let archive = format!("archive={}", shop.save());
    // The newest order is five minutes old: so much would be lost.
    let settings =
        [&archive, "newest=select max(created_at) from orders", "rpo=4m", "health=web:8000/sick", "patience=1s"];
    let ended = shop.run("drill_system", &set(&settings)).expect(1);
    let ended = ended.told("FAILED: ask for health: health: web:8000/sick").told("objective MISSED: rpo");
    assert!(ended.stderr.contains("every row, index, grant and sequence is back"), "all the rest is checked");
    assert_eq!(shop.health(), "HTTP/1.0 200 OK");
    assert_eq!(shop.world.names("tmp"), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drill_makes_its_own_archive_and_a_server_for_a_database_without_a_service() {
    let Some(shop) = Shop::open().await else { return };
    let image = docker(&["inspect", "-f", "{{.Config.Image}}", &shop.name("db_1")]);
    let mut settings = shop.everything();
    settings.truncate(settings.len() - 2); // without the project
    settings.extend(set(&[&format!("image={image}")]));
    shop.run("drill_system", &[settings.clone(), vec!["--dry-run".into()]].concat()).expect(0);
    assert!(shop.world.names("backups").is_empty());
    let ended = shop.run("drill_system", &settings).expect(0).told("every row, index, grant");
    assert!(ended.stderr.contains("not made: ask for health"), "a check that was not made is told");
    assert_eq!(shop.world.names("backups").len(), 3, "the new archive stays");
    assert!(try_docker(&["volume", "inspect", &shop.name("uploads")], b"").is_ok());
    wait("the shop", || shop.health() == "HTTP/1.0 200 OK");
}
