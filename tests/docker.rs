//! Docker for real: containers, programs inside them, waits and what is left of them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use runner::cleanup::Ledger;
use runner::docker::{Container, ContainerOptions, Engine, Made, Port, Wait, collect_container, collect_process};
use runner::error::Kind;
use runner::progress::Progress;
use runner_test_support as support;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

async fn start(ledger: &Arc<Ledger>, options: ContainerOptions) -> runner::error::Result<Made> {
    options.start(&Engine::default(), ledger, &Progress::default()).await
}

fn sleeping(image: String) -> ContainerOptions {
    ContainerOptions { image, command: vec!["sleep".into(), "600".into()], ..ContainerOptions::default() }
}

async fn image() -> Option<String> {
    let image = support::docker_image().await;
    if image.is_none() {
        support::not_run("there is no Docker with a PostgreSQL image");
    }
    image
}

/// Returns the command lines inside a container.
async fn processes(container: &Container, ledger: &Arc<Ledger>) -> String {
    let list = container.exec(["ps", "-eo", "args"]).output(ledger).await.expect("ps runs");
    String::from_utf8_lossy(&list).into_owned()
}

#[tokio::test]
async fn a_container_is_found_by_its_exact_name_only() {
    let Some(image) = image().await else { return };
    let ledger = support::ledger().await;
    let made = start(&ledger, sleeping(image)).await.unwrap();
    let engine = Engine::default();
    let name = made.container().name().to_owned();
    assert_eq!(Container::find(&engine, &name).await.unwrap().id(), made.container().id());
    assert_eq!(Container::find(&engine, &made.container().id()[..12]).await.unwrap().name(), name);
    let near = Container::find(&engine, &name[..name.len() - 1]).await.err().unwrap();
    assert_eq!(near.kind(), Kind::Missing);
    assert!(near.next_step().unwrap().starts_with("did you mean runner-test-"), "{near:?}");
    made.remove().await.unwrap();
    assert_eq!(Container::find(&engine, &name).await.err().unwrap().kind(), Kind::Missing);
    assert!(ledger.remaining().is_empty());
}

#[tokio::test]
async fn a_program_inside_gives_its_output_and_its_status() {
    let Some(image) = image().await else { return };
    let ledger = support::ledger().await;
    let made = start(&ledger, sleeping(image)).await.unwrap();
    let inside = made.container();
    assert_eq!(inside.exec(["echo", "a b"]).output(&ledger).await.unwrap(), b"a b\n");
    let failed = inside.exec(["sh", "-c", "echo out; echo 'no such table' >&2; exit 3"]).output(&ledger).await;
    let failed = failed.unwrap_err();
    assert_eq!(failed.child_exit_code(), Some(3));
    assert!(failed.to_string().ends_with("exited with status 3: no such table"), "{failed}");
    let killed = inside.exec(["sh", "-c", "kill -9 $$"]).output(&ledger).await.unwrap_err();
    assert!(killed.to_string().ends_with("was killed by signal 9"), "{killed}");
    let absent = inside.exec(["nosuch"]).output(&ledger).await.unwrap_err();
    assert!(absent.to_string().contains("nosuch"), "{absent}");
    assert!(ledger.drain().await.is_empty());
}

#[tokio::test]
async fn megabytes_pass_in_and_out_of_a_program_inside() {
    let Some(image) = image().await else { return };
    let ledger = support::ledger().await;
    let made = start(&ledger, sleeping(image)).await.unwrap();
    let mut running = made.container().exec(["cat"]).with_stdin().start(&ledger).await.unwrap();
    let (mut stdin, mut stdout) = (running.stdin().unwrap(), running.stdout().unwrap());
    let sent: Vec<u8> = (0..5_000_000u32).map(|i| (i % 251) as u8).collect();
    let mut got = Vec::new();
    let writing = async {
        stdin.write_all(&sent).await.unwrap();
        stdin.shutdown().await.unwrap();
    };
    let (_, read) = tokio::join!(writing, stdout.read_to_end(&mut got));
    read.unwrap();
    running.finish().await.unwrap();
    assert!(got == sent);
    assert!(ledger.drain().await.is_empty());
}

#[tokio::test]
async fn a_cancelled_program_is_killed_inside_its_container_with_its_children() {
    let Some(image) = image().await else { return };
    let ledger = support::ledger().await;
    let outer = support::ledger().await;
    let made = start(&outer, sleeping(image)).await.unwrap();
    let running = made.container().exec(["sh", "-c", "sleep 4711 & sleep 4711; true"]).start(&ledger).await.unwrap();
    assert!(processes(made.container(), &outer).await.contains("sleep 4711"));
    drop(running);
    assert!(
        processes(made.container(), &outer).await.contains("sleep 4711"),
        "the connection's end alone kills nothing"
    );
    assert!(ledger.drain().await.is_empty());
    assert!(!processes(made.container(), &outer).await.contains("sleep 4711"));
    assert!(outer.drain().await.is_empty());
}

#[tokio::test]
async fn what_a_dead_run_left_is_collected_from_its_journal() {
    let Some(image) = image().await else { return };
    let (ledger, outer) = (support::ledger().await, support::ledger().await);
    let made = start(&outer, sleeping(image)).await.unwrap();
    let inside = made.container().clone();
    let running = inside.exec(["sleep", "4712"]).user("postgres").start(&ledger).await.unwrap();
    let engine = Engine::default();
    for record in ledger.remaining() {
        collect_process(&engine, &record).await.unwrap();
    }
    assert!(!processes(&inside, &outer).await.contains("sleep 4712"));
    drop(running);
    let mut foreign = outer.remaining().remove(0);
    foreign.facts.insert("run".into(), "another".into());
    collect_container(&engine, &foreign).await.unwrap();
    assert!(inside.inspect().await.unwrap().running, "the name alone makes no container ours");
    for record in outer.remaining() {
        collect_container(&engine, &record).await.unwrap();
        collect_container(&engine, &record).await.unwrap(); // absence is fine
    }
    assert_eq!(inside.inspect().await.err().unwrap().kind(), Kind::Missing);
    assert!(ledger.drain().await.is_empty() && outer.drain().await.is_empty());
}

#[tokio::test]
async fn a_container_that_ends_while_we_wait_says_so_at_once() {
    let Some(image) = image().await else { return };
    let ledger = support::ledger().await;
    let started = Instant::now();
    let command = ["sh", "-c", "echo 'no licence key'; exit 7"].map(str::to_owned).to_vec();
    let ports = vec![Port { container: 5432, host: None }];
    for wait in [Wait::Port(5432), Wait::Log("ready".into()), Wait::Exec(vec!["true".into()])] {
        let options = ContainerOptions {
            image: image.clone(),
            command: command.clone(),
            ports: ports.clone(),
            wait: vec![Wait::Log("licence".into()), wait],
            wait_limit: Some(Duration::from_secs(30)),
            ..ContainerOptions::default()
        };
        let error = start(&ledger, options).await.err().unwrap();
        assert!(error.to_string().contains("exited with status 7"), "{error:?}");
        assert_eq!(error.stderr_tail(), Some("no licence key"));
        assert!(ledger.remaining().is_empty(), "the failed container is gone at once");
    }
    assert!(started.elapsed() < Duration::from_secs(25));
}

#[tokio::test]
async fn a_wait_ends_with_its_condition_or_its_deadline() {
    let Some(image) = image().await else { return };
    let ledger = support::ledger().await;
    let command = ["sh", "-c", "echo par; sleep 0.3; echo 'system is ready'; sleep 600"].map(str::to_owned).to_vec();
    let options = |wait: Wait, limit| ContainerOptions {
        image: image.clone(),
        command: command.clone(),
        ports: vec![Port { container: 5432, host: None }],
        wait: vec![wait],
        wait_limit: Some(Duration::from_millis(limit)),
        ..ContainerOptions::default()
    };
    start(&ledger, options(Wait::Log("system is ready".into()), 20_000)).await.unwrap();
    start(&ledger, options(Wait::Exec(vec!["true".into()]), 20_000)).await.unwrap();
    // Docker's proxy takes connections on a published port although nobody listens behind it.
    let late = start(&ledger, options(Wait::Port(5432), 1_500)).await.err().unwrap();
    assert_eq!(late.kind(), Kind::Timeout);
    assert!(late.to_string().contains("it still waited for its port"), "{late}");
    let healthless = start(&ledger, options(Wait::Healthy, 5_000)).await.err().unwrap();
    assert_eq!(healthless.kind(), Kind::Usage);
    assert!(ledger.drain().await.is_empty());
}

#[tokio::test]
async fn an_image_that_nobody_has_is_an_error_with_a_way_out() {
    let Some(_) = image().await else { return };
    let ledger = support::ledger().await;
    let options = ContainerOptions { image: "localhost:1/nosuch:1".into(), ..ContainerOptions::default() };
    let error = start(&ledger, options).await.err().unwrap();
    assert!(error.to_string().starts_with("could not pull image localhost:1/nosuch:1"), "{error}");
    assert!(error.next_step().unwrap().contains("docker load"));
}
