//! Restoring in place for real: a database and a folder of models, with their services and health URLs.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sys::signal::Signal;
use runner_test_support::{TestServer, World, docker, docker_image, not_run, postgres};

const PROGRAM: &str = env!("CARGO_BIN_EXE_runner");

/// Answers every request with a status until the test ends.
fn health(status: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/health", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let _ = stream.read(&mut [0; 4096]);
            let _ = write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok");
        }
    });
    url
}

const USERS: &str =
    "create table users (id int primary key, name text); insert into users values (1, 'ada'), (2, 'grace');";

/// A server whose database `shop` lost something, and a world that knows it as SHOP, with a backup that another server
/// made of it before.
async fn shop() -> Option<(TestServer, World)> {
    let (first, server) = (postgres().await?, postgres().await?);
    first.create("shop", USERS).await;
    server.create("shop", USERS).await;
    server.execute("shop", "update users set name = 'lost' where id = 2").await;
    let world = World::new(PROGRAM)
        .with_env("SHOP", &server.place("shop"))
        .with_env("FIRST", &first.place("shop"))
        .file("backup.rhai", "dump(postgres(secret(\"FIRST\")), \"backups/shop.sql.gz\");");
    world.run(&["backup.rhai"]).expect(0);
    Some((server, world))
}

/// Arguments of `restore_database` with the backup that another server made.
fn restore<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = vec!["restore_database", "--set", "backup=backups/shop.sql.gz", "--set", "target=secret:SHOP"];
    arguments.extend(more);
    arguments
}

/// Arguments of `restore_database` with a backup of the very database, which holds what it held before the loss.
fn in_place<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = vec!["restore_database", "--set", "backup=backups/own.sql.gz", "--set", "target=secret:SHOP"];
    arguments.extend(["--set", "in_place=true", "--yes"]);
    arguments.extend(more);
    arguments
}

/// A server whose database `shop` was backed up and lost something since.
async fn own_shop() -> Option<(TestServer, World)> {
    let server = postgres().await?;
    server.create("shop", USERS).await;
    let world = World::new(PROGRAM)
        .with_env("SHOP", &server.place("shop"))
        .file("own.rhai", "dump(postgres(secret(\"SHOP\")), \"backups/own.sql.gz\");");
    world.run(&["own.rhai"]).expect(0);
    server.execute("shop", "update users set name = 'lost' where id = 2").await;
    Some((server, world))
}

async fn name(server: &TestServer, database: &str) -> String {
    server.value(database, "select name from users where id = 2").await
}

async fn kept(server: &TestServer) -> Option<String> {
    server.databases().await.into_iter().find(|d| d.starts_with("shop__before_"))
}

/// A Compose project with the services `api` and `db`, which starts first.
struct Project(String);

impl Project {
    async fn start() -> Option<Self> {
        let Some(image) = docker_image().await else {
            not_run("there is no Docker for services");
            return None;
        };
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let project = Self(format!("runner-test-{}-restores-{next}", std::process::id()));
        for (service, needs) in [("db", ""), ("api", "db:service_started:true")] {
            let labels = [("project", project.0.as_str()), ("service", service), ("depends_on", needs)]
                .map(|(name, value)| format!("com.docker.compose.{name}={value}"));
            let name = project.container(service);
            let mut run = vec!["run", "-d", "--init", "--name", &name, "--entrypoint", "sleep"];
            labels.iter().for_each(|label| run.extend(["--label", label]));
            run.extend([image.as_str(), "600"]);
            docker(&run);
        }
        Some(project)
    }

    fn container(&self, service: &str) -> String {
        format!("{}-{service}", self.0)
    }

    /// Adds a service that does not end on SIGTERM. By its name it starts before `db`, which comes before `api`: it is
    /// stopped last.
    async fn stubborn(&self, service: &str) -> String {
        let (image, name) = (docker_image().await.unwrap(), self.container(service));
        let labels = [("project", self.0.as_str()), ("service", service)]
            .map(|(name, value)| format!("com.docker.compose.{name}={value}"));
        let mut run = vec!["run", "-d", "--name", &name, "--entrypoint", "sleep"];
        labels.iter().for_each(|label| run.extend(["--label", label]));
        run.extend([image.as_str(), "600"]);
        docker(&run);
        name
    }

    /// Waits until a service is down.
    async fn until_down(&self, service: &str) {
        let limit = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while self.running_since(service).is_some() {
            assert!(std::time::Instant::now() < limit, "{service} does not stop");
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }

    fn argument(&self) -> String {
        format!("project={}", self.0)
    }

    /// Returns when a service was started last, or nothing while it does not run.
    fn running_since(&self, service: &str) -> Option<String> {
        let seen = docker(&["inspect", "-f", "{{.State.Running}} {{.State.StartedAt}}", &self.container(service)]);
        seen.trim().strip_prefix("true ").map(str::to_owned)
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        let mut remove = std::process::Command::new("docker");
        remove.args(["rm", "-f"]).args(["api", "db", "cache", "down"].map(|service| self.container(service)));
        let _ = remove.output(); // not every test has all of them
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_that_was_backed_up_is_refused_before_anything_stops_unless_that_is_meant() {
    let Some((server, world)) = own_shop().await else { return };
    let Some(project) = Project::start().await else { return };
    let (before, since) = (server.databases().await, project.running_since("api"));
    let set = project.argument();
    let own = ["restore_database", "--set", "backup=backups/own.sql.gz", "--set", "target=secret:SHOP", "--set", &set];
    world.run(&own).expect(3).told("may be the one that was backed up").told("--set in_place=true");
    world.run(&[&own[..], &["--dry-run"]].concat()).expect(3).told("may be the one that was backed up");
    // Nobody is there to agree.
    let asked = world.run(&[&own[..], &["--set", "in_place=true"]].concat()).expect(3);
    let asked =
        asked.told("nobody is there to answer: Replace ").told("/shop, database shop, by what backups/own.sql.gz");
    assert!(!asked.stderr.contains("stop the services"), "{}", asked.stderr);
    assert_eq!((name(&server, "shop").await.as_str(), server.databases().await), ("lost", before));
    assert_eq!(project.running_since("api"), since, "nothing was stopped");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_is_put_back_to_what_it_was_with_its_services_and_its_health() {
    let Some((server, world)) = own_shop().await else { return };
    let Some(project) = Project::start().await else { return };
    let (before, since) = (server.databases().await, project.running_since("api"));
    let (set, url) = (project.argument(), format!("health={}", health("200 OK")));
    let more = ["--set", &set, "--set", &url];
    let dry = world.run(&in_place(&[&more[..], &["--dry-run"]].concat())).expect(0).told("would restore");
    assert!(!dry.stderr.contains("PASSED"), "{}", dry.stderr);
    assert_eq!((name(&server, "shop").await.as_str(), server.databases().await), ("lost", before.clone()));
    assert_eq!(project.running_since("api"), since);

    let ended = world.run(&in_place(&more)).expect(0).told("the service answers well");
    assert_eq!(name(&server, "shop").await, "grace");
    let old = kept(&server).await.unwrap();
    assert!(ended.stderr.contains(&format!("what shop was stays as {old}")), "{}", ended.stderr);
    assert_eq!(name(&server, &old).await, "lost");
    assert_eq!(server.databases().await.len(), before.len() + 1, "{:?}", server.databases().await);
    assert!(project.running_since("api").is_some_and(|now| Some(now) != since), "it was stopped and started");

    server.execute("shop", "update users set name = 'again' where id = 2").await;
    world
        .run(&in_place(&[&more[..], &["--set", "drop_old=true"]].concat()))
        .expect(0)
        .told("drop what the database was");
    assert_eq!(name(&server, "shop").await, "grace");
    assert_eq!(server.databases().await.len(), before.len() + 1, "only the first one was kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_another_server_needs_no_consent_beyond_the_target() {
    let Some((server, world)) = shop().await else { return };
    let before = server.databases().await;
    world.run(&restore(&["--dry-run"])).expect(0).told("would restore");
    assert_eq!((name(&server, "shop").await.as_str(), server.databases().await), ("lost", before.clone()));
    world.run(&restore(&[])).expect(0);
    assert_eq!(name(&server, "shop").await, "grace");
    assert_eq!(name(&server, &kept(&server).await.unwrap()).await, "lost");
    assert_eq!(server.databases().await.len(), before.len() + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_backup_or_a_session_in_the_way_leaves_the_old_database_as_it_was() {
    let Some((server, world)) = own_shop().await else { return };
    let Some(project) = Project::start().await else { return };
    let set = ["--set", &project.argument()];
    let before = server.databases().await;
    let session = server.session("shop").await;
    world.run(&in_place(&set)).expect(2).told("somebody is connected to shop").told("shop was not replaced");
    assert_eq!((name(&server, "shop").await.as_str(), server.databases().await), ("lost", before.clone()));
    let since = project.running_since("api").expect("it runs again");
    world.run(&in_place(&["--set", "end_others=true"])).expect(0);
    drop(session);
    assert_eq!(name(&server, "shop").await, "grace");
    let databases = server.databases().await;

    let path = world.path("backups/own.sql.gz");
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    server.execute("shop", "update users set name = 'newer' where id = 2").await;
    world.run(&in_place(&set)).expect(2);
    assert_eq!((name(&server, "shop").await.as_str(), server.databases().await), ("newer", databases));
    assert_eq!(project.running_since("api").unwrap(), since, "a bad backup stops nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_health_url_that_never_answers_well_puts_the_old_database_back() {
    let Some((server, world)) = own_shop().await else { return };
    let Some(project) = Project::start().await else { return };
    let before = server.databases().await;
    let (set, url) = (project.argument(), format!("health={}", health("503 Service Unavailable")));
    let more = ["--set", &set, "--set", &url, "--set", "patience=1s"];
    let ended =
        world.run(&in_place(&more)).expect(1).told("did not hold within 1").told("the service answers well: http");
    ended.told("the restore was undone: shop is what it was before");
    assert_eq!((name(&server, "shop").await.as_str(), server.databases().await), ("lost", before.clone()));
    assert!(project.running_since("api").is_some() && project.running_since("db").is_some());

    let keep = [&more[..], &["--set", "keep_failed=true"]].concat();
    world.run(&in_place(&keep)).expect(1);
    assert_eq!(name(&server, "shop").await, "lost");
    let failed = server.databases().await.into_iter().find(|d| d.starts_with("shop__failed_")).unwrap();
    assert_eq!((name(&server, &failed).await.as_str(), server.databases().await.len()), ("grace", before.len() + 1));
}

/// The stock script with a step of our own before one of its lines.
fn spoiled(before: &str, step: &str) -> String {
    let stock = include_str!("../scripts/restore_database.rhai");
    assert!(stock.contains(before), "the script has no line {before}");
    stock.replace(before, &format!("{step}\n{before}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_difference_after_the_swap_puts_the_old_database_back() {
    let Some((server, world)) = own_shop().await else { return };
    let Some(project) = Project::start().await else { return };
    let before = server.databases().await;
    let line = "let diff = step(\"compare every row\"";
    world.write("spoiled.rhai", &spoiled(line, "execute(old, \"delete from users where id = 1\");"));
    let set = project.argument();
    let arguments: Vec<_> = in_place(&["--set", &set]).into_iter().skip(1).collect();
    let ended = world.run(&[&["spoiled.rhai"], &arguments[..]].concat()).expect(1);
    ended.told("FAILED: the database holds what the backup holds").told("the restore was undone");
    assert_eq!((name(&server, "shop").await.as_str(), server.databases().await), ("lost", before));
    assert_eq!(server.value("shop", "select count(*) from users").await, "2");
    assert!(project.running_since("api").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_does_not_start_puts_the_old_database_back_and_is_named() {
    let Some((server, world)) = own_shop().await else { return };
    let Some(project) = Project::start().await else { return };
    let before = server.databases().await;
    let line = "if project != \"\" && diff.equal {";
    let wait = "log(\"before the start\"); wait_until(#{ timeout: \"1m\", every: \"20ms\" }, || !exists(\"go\"));";
    world.write("go", "");
    world.write("spoiled.rhai", &spoiled(line, wait));
    let set = project.argument();
    let arguments: Vec<_> = in_place(&["--set", &set]).into_iter().skip(1).collect();
    let mut run = world.start(&[&["spoiled.rhai"], &arguments[..]].concat());
    assert!(run.until("before the start"));
    docker(&["rm", "-f", &project.container("api")]);
    std::fs::remove_file(world.path("go")).unwrap();
    let ended = run.end().expect(2).told(&format!("container {} is not there any more", project.container("api")));
    ended.told("the restore was undone");
    assert_eq!((name(&server, "shop").await.as_str(), server.databases().await), ("lost", before));
    assert!(project.running_since("db").is_some(), "the other one runs");
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_at_each_step_leaves_the_old_database_and_running_services() {
    let Some((server, world)) = own_shop().await else { return };
    let Some(project) = Project::start().await else { return };
    let before = server.databases().await;
    let (set, url) = (project.argument(), format!("health={}", health("503 Service Unavailable")));
    let lines = [
        "started: open the backup",
        "started: restore beside",
        "restore_beside: 2 rows",
        "started: compare every row beside",
        "started: stop the services",
        "stop_services: stopped",
        "started: swap",
        "swap_in:",
        "the database holds",
        "started: start the services",
        "started: ask for health",
    ];
    for step in lines {
        let mut run = world.start(&in_place(&["--set", &set, "--set", &url]));
        assert!(run.until(step), "{step}");
        run.signal(Signal::SIGINT);
        let ended = run.end().expect(130);
        assert_eq!(name(&server, "shop").await, "lost", "{step}: {}", ended.stderr);
        assert_eq!(server.databases().await, before, "{step}: {}", ended.stderr);
        assert!(project.running_since("api").is_some() && project.running_since("db").is_some(), "{step}");
    }
}

#[test]
fn models_are_archived_without_caches_listed_and_put_back() {
    let world = World::new(PROGRAM)
        .file("models/v1.pkl", "weights")
        .file("models/sub/v2 ü.pkl", "more weights")
        .file("models/__pycache__/x.pyc", "noise");
    world.run(&["backup_models", "--set", "folder=backups", "--dry-run"]).expect(0).told("would pack");
    assert!(world.names("backups").is_empty());
    world.run(&["backup_models", "--set", "folder=backups"]).expect(0);
    let names = world.names("backups");
    let list = names.iter().find(|n| n.ends_with("_manifest.json")).unwrap();
    let list = std::fs::read_to_string(world.path("backups").join(list)).unwrap();
    let list: serde_json::Value = serde_json::from_str(&list).unwrap();
    let listed: Vec<_> = list["models"].as_array().unwrap().iter().map(|m| m["name"].as_str().unwrap()).collect();
    assert_eq!(listed, ["sub/v2 ü.pkl", "v1.pkl"]);
    assert!(
        list["models"]
            .as_array()
            .unwrap()
            .iter()
            .all(|m| m["sha256"].as_str().unwrap().len() == 64 && m["size"].is_u64() && m["modified"].is_string()),
        "{list}"
    );

    let archive = format!("archive=backups/{}", names.iter().find(|n| n.ends_with(".tar.gz")).unwrap());
    world.write("models/v1.pkl", "overwritten");
    world.write("models/stray.pkl", "stray");
    let url = format!("status={}", health("200 OK"));
    let arguments = ["restore_models", "--set", &archive, "--set", "folder=replaced", "--set", &url];
    world.run(&[&arguments[..], &["--dry-run"]].concat()).expect(0).told("would");
    assert!(world.path("models/stray.pkl").exists());
    world.run(&arguments).expect(0).told("the service answers well");
    assert_eq!(std::fs::read_to_string(world.path("models/v1.pkl")).unwrap(), "weights");
    assert!(!world.path("models/stray.pkl").exists() && world.names("replaced").len() == 3);

    let damaged = world.path(archive.trim_start_matches("archive="));
    let mut bytes = std::fs::read(&damaged).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&damaged, bytes).unwrap();
    world.write("models/v1.pkl", "newer");
    world.run(&arguments).expect(2);
    assert_eq!(
        std::fs::read_to_string(world.path("models/v1.pkl")).unwrap(),
        "newer",
        "a damaged archive replaces nothing"
    );
    world.run(&["backup_models", "--set", "models=absent"]).expect(2).told("absent");
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_while_services_stop_starts_them_again_and_leaves_those_that_were_down() {
    let Some(project) = Project::start().await else { return };
    let world = World::new(PROGRAM).file("models/v1.pkl", "weights");
    world.run(&["backup_models", "--set", "folder=backups"]).expect(0);
    let archive = world.names("backups").into_iter().find(|n| n.ends_with(".tar.gz")).unwrap();
    let (archive, set) = (format!("archive=backups/{archive}"), project.argument());
    let arguments = ["restore_models", "--set", &archive, "--set", "folder=replaced", "--set", &set];
    // Without --init `sleep` leaves SIGTERM alone: its stop takes ten seconds, and Ctrl-C comes inside of it.
    project.stubborn("cache").await;
    let down = project.stubborn("down").await;
    docker(&["kill", &down]);
    let before = project.running_since("cache").unwrap();

    for line in ["started: stop the services", "stop_services: stopped"] {
        let mut run = world.start(&arguments);
        assert!(run.until(line), "{line}");
        if line.starts_with("started") {
            project.until_down("db").await;
            assert!(project.running_since("cache").is_some(), "the stop is under way");
        }
        run.signal(Signal::SIGINT);
        let ended = run.end().expect(130);
        for service in ["api", "db", "cache"] {
            assert!(project.running_since(service).is_some(), "{line}: {service}: {}", ended.stderr);
        }
        assert_ne!(project.running_since("cache").unwrap(), before, "the stop under way was waited for");
        assert!(project.running_since("down").is_none(), "{line}: it did not run before");
        assert_eq!(std::fs::read_to_string(world.path("models/v1.pkl")).unwrap(), "weights");
    }
    world.run(&arguments).expect(0);
    assert!(project.running_since("api").is_some() && project.running_since("down").is_none());
}
