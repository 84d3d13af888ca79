//! Sandboxes for real: a throwaway server by each provider, and somebody's PostgreSQL found by its container's name.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use runner::cleanup::{self, Ledger};
use runner::docker::Engine;
use runner::error::Kind;
use runner::postgres::{
    Access, Cluster, ClusterOptions, Overrides, Provider, Sandbox, SandboxOptions, Session, collect_cluster,
    find_postgres_container,
};
use runner::progress::Progress;
use runner::secret::Secret;
use runner_test_support as support;

#[tokio::test]
async fn a_sandbox_of_each_provider_answers_and_is_tuned_for_throwing_away() {
    for server in support::both_providers().await {
        assert_eq!(server.value("postgres", "show fsync").await, "off", "{}", server.sandbox().describe());
        assert_eq!(server.value("postgres", "show wal_level").await, "minimal");
        assert_eq!(server.value("postgres", "show server_encoding").await, "UTF8");
        server.execute("postgres", "create database orders; ").await;
        assert_eq!(server.value("orders", "select current_user").await, "postgres");
    }
}

#[tokio::test]
async fn a_postgres_is_found_by_its_containers_name() {
    let Some(server) = support::postgres_by(Provider::Docker).await else {
        return support::not_run("there is no Docker with a PostgreSQL image");
    };
    let (engine, ledger) = (Engine::default(), support::ledger().await);
    let name = server.container_name().unwrap();
    let found = find_postgres_container(&engine, name, &Overrides::default(), &ledger).await.unwrap();
    assert_eq!((found.user(), found.database()), ("postgres", "postgres"));
    assert!(found.container().is_some());
    assert!(Session::open(&found, Access::ReadOnly).await.is_ok());
    let wrong = Overrides { password: Some(Secret::new("canary-wrong")), ..Overrides::default() };
    let found = find_postgres_container(&engine, name, &wrong, &ledger).await.unwrap();
    let error = Session::open(&found, Access::ReadOnly).await.err().unwrap();
    assert!(!format!("{error:?}").contains("canary"), "{error:?}");
    let closed = Overrides { port: Some(5999), ..Overrides::default() };
    let error = find_postgres_container(&engine, name, &closed, &ledger).await.err().unwrap();
    assert!(error.to_string().starts_with("could not reach port 5999 of container"), "{error}");
    let stopped = std::process::Command::new("docker").args(["kill", name]).output().unwrap();
    assert!(stopped.status.success());
    let error = find_postgres_container(&engine, name, &Overrides::default(), &ledger).await.err().unwrap();
    assert!(error.to_string().contains("is not running: exited with status 137"), "{error}");
}

#[tokio::test]
async fn a_container_that_never_serves_is_told_with_its_log_and_removed() {
    let Some(image) = support::docker_image().await else {
        return support::not_run("there is no Docker with a PostgreSQL image");
    };
    let ledger = support::ledger().await;
    let options = SandboxOptions {
        provider: Provider::Docker,
        image,
        settings: vec![("shared_preload_libraries".into(), "nosuch".into())],
        start_limit: Duration::from_secs(60),
        ..SandboxOptions::default()
    };
    let error = Sandbox::start(&options, &Engine::default(), &ledger, &Progress::default()).await.err().unwrap();
    assert!(error.to_string().contains("is not running: exited with status 1"), "{error}");
    assert!(error.stderr_tail().unwrap().contains("could not access file \"nosuch\""), "{error:?}");
    assert!(ledger.remaining().is_empty());
}

#[tokio::test]
async fn without_the_image_auto_takes_the_local_programs_and_docker_says_why_not() {
    let ledger = support::ledger().await;
    let options =
        |provider| SandboxOptions { provider, image: "localhost:1/nosuch:1".into(), ..SandboxOptions::default() };
    let start =
        async |provider| Sandbox::start(&options(provider), &Engine::default(), &ledger, &Progress::default()).await;
    assert!(start(Provider::Docker).await.is_err());
    match start(Provider::Auto).await {
        Ok(sandbox) => assert!(sandbox.container().is_none()),
        Err(error) if error.kind() == Kind::Missing => support::not_run("there is no local PostgreSQL"),
        Err(error) => panic!("{error:?}"),
    }
}

#[tokio::test]
async fn a_kept_sandbox_outlives_its_run_and_says_how_to_remove_it() {
    let ledger = support::ledger().await;
    for server in support::both_providers().await {
        let provider = if server.container_name().is_some() { Provider::Docker } else { Provider::Local };
        let image = support::docker_image().await.unwrap_or_default();
        let options = SandboxOptions { provider, image, ..SandboxOptions::default() };
        let sandbox = Sandbox::start(&options, &Engine::default(), &ledger, &Progress::default()).await.unwrap();
        let session = Session::open(&sandbox.address("postgres"), Access::Writable).await.unwrap();
        session.client().batch_execute("create table public.evidence as select 42 as answer").await.unwrap();
        drop(session);
        let (address, record) = (sandbox.address("postgres"), ledger.remaining().remove(0));
        let kept = sandbox.keep().await.unwrap();
        assert!(ledger.drain().await.is_empty() && ledger.remaining().is_empty());
        let session = Session::open(&address, Access::ReadOnly).await.unwrap();
        let answer = session.client().query_one("select answer from public.evidence", &[]).await.unwrap();
        assert_eq!(answer.get::<_, i32>(0), 42);
        assert!(kept.connect.contains("psql"), "{kept:?}");
        drop(session);
        match provider {
            Provider::Local => collect_cluster(&record).await.unwrap(),
            _ => {
                let mut words = kept.remove.split(' ');
                let removed = std::process::Command::new(words.next().unwrap()).args(words).output().unwrap();
                assert!(removed.status.success());
            }
        }
    }
}

#[tokio::test]
async fn a_start_that_is_cancelled_at_any_moment_leaves_nothing() {
    let image = support::docker_image().await;
    for provider in [Provider::Docker, Provider::Local] {
        let Some(image) = image.clone().or((provider == Provider::Local).then(String::new)) else { continue };
        let options = SandboxOptions { provider, image, ..SandboxOptions::default() };
        for moment in [0, 20, 60, 150, 300, 600, 1_000] {
            let ledger = support::ledger().await;
            let (engine, progress) = (Engine::default(), Progress::default());
            let starting = Sandbox::start(&options, &engine, &ledger, &progress);
            // Finished or not: either way it is left to the run's own cleanup.
            let _ = tokio::time::timeout(Duration::from_millis(moment), starting).await;
            assert!(ledger.drain().await.is_empty());
            let left = std::fs::read_dir(std::env::temp_dir()).unwrap().filter_map(Result::ok);
            let ours = format!("runner-{}-", ledger.run());
            assert_eq!(left.filter(|e| e.file_name().to_string_lossy().starts_with(&ours)).count(), 0);
            if provider == Provider::Docker {
                let label = format!("label=runner.run={}", ledger.run());
                let list =
                    std::process::Command::new("docker").args(["ps", "-aq", "--filter", &label]).output().unwrap();
                assert!(list.status.success() && list.stdout.is_empty(), "{list:?}");
            }
        }
    }
}

/// The other half of the next test: a run that holds a local sandbox until it is killed.
#[tokio::test]
#[ignore = "it only waits to be killed"]
async fn hold_a_local_sandbox() {
    let folder = PathBuf::from(std::env::var_os("RUNNER_TEST_RUN").expect("the other half says where"));
    let ledger = Ledger::create("held", &folder).unwrap();
    let cluster = Cluster::start(&ClusterOptions::default(), &ledger).await.unwrap();
    std::fs::write(folder.join("ready"), cluster.folder().as_os_str().as_encoded_bytes()).unwrap();
    std::future::pending().await
}

#[tokio::test]
async fn a_killed_run_takes_its_local_server_along_and_its_journal_leads_to_the_rest() {
    if support::postgres_by(Provider::Local).await.is_none() {
        return support::not_run("there is no local PostgreSQL");
    }
    let runs = tempfile::tempdir().unwrap();
    let run = runs.path().join("held");
    std::fs::create_dir(&run).unwrap();
    let mut holder = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "hold_a_local_sandbox", "--ignored"])
        .env("RUNNER_TEST_RUN", &run)
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    until("the sandbox is up", || std::fs::read(run.join("ready")).is_ok_and(|text| !text.is_empty())).await;
    let folder = PathBuf::from(std::fs::read_to_string(run.join("ready")).unwrap());
    let pid = std::fs::read_to_string(folder.join("data/postmaster.pid")).unwrap();
    let process = PathBuf::from("/proc").join(pid.lines().next().unwrap());
    assert!(process.exists() && cleanup::abandoned(runs.path(), cleanup::Sought::LeftBehind).unwrap().is_empty());
    holder.kill().unwrap(); // SIGKILL: nothing of its own runs any more
    holder.wait().unwrap();
    until("the server is gone", || !process.exists()).await;
    let abandoned = cleanup::abandoned(runs.path(), cleanup::Sought::LeftBehind).unwrap().remove(0);
    for record in &abandoned.records {
        collect_cluster(record).await.unwrap();
    }
    assert!(!folder.exists());
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "not yet: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
