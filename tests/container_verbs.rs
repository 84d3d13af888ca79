//! `container` and `find_container` in whole runs of scripts, with a real Docker Engine.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::sync::Arc;

use runner::docker::{self, Engine};
use runner::engine::{Script, execute};
use runner::error::Kind;
use runner::run::{Event, Moment, Options, Run, Silent, Verdict};
use runner_test_support as support;
use tokio::runtime::Runtime;

/// Runs a script in which `$IMAGE` stands for an image that is there.
fn run(runtime: &Runtime, script: &str, options: Options) -> Option<(Verdict, Vec<Moment>)> {
    let Some(image) = runtime.block_on(support::docker_image()) else {
        support::not_run("there is no Docker with a PostgreSQL image");
        return None;
    };
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let path = folder.path().join("main.rhai");
    std::fs::write(&path, script.replace("$IMAGE", &image)).expect("the script can be written");
    let script = Script::compile(&path.display().to_string()).unwrap_or_else(|f| panic!("{}", f.message));
    let options = Options { state_dir: folder.path().join("state"), ..options };
    let run = Run::start(options, Arc::new(Silent), runtime.handle().clone()).expect("the run starts");
    let verdict = execute(&script, &run);
    Some((verdict, run.journal.moments()))
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("the runtime starts")
}

fn said(moments: &[Moment]) -> Vec<&str> {
    let said = moments.iter().filter_map(|m| match &m.event {
        Event::Said { text, .. } => Some(text.as_str()),
        _ => None,
    });
    said.collect()
}

fn find(runtime: &Runtime, name: &str) -> Result<docker::Container, Kind> {
    runtime.block_on(docker::Container::find(&Engine::default(), name)).map_err(|e| e.kind())
}

#[test]
fn a_container_of_a_script_is_ready_can_be_asked_and_goes_with_the_run() {
    let runtime = runtime();
    let script = r#"
        let made = container(#{
            image: "$IMAGE",
            env: #{ GREETING: "system is ready", COUNT: 3 },
            ports: [5432],
            memory: "64MB",
            command: ["sh", "-c", "echo $GREETING $COUNT; sleep 600"],
            wait: #{ log: "system is ready 3", timeout: "1m" },
        });
        log(made.name);
        check("running", made.running, made.state);
        check_eq("log", made.logs, "system is ready 3");
        check_eq("reached from this machine", made.host(5432), "127.0.0.1");
        check_eq("both", made.address(5432), `127.0.0.1:${made.port(5432)}`);
        let found = find_container(made.name);
        check_eq("the same one", found.id, made.id);
        try { find_container(made.name + "x") } catch (e) { check_eq("not there", e.kind, "missing"); }
        try { made.port(0) } catch (e) { check_eq("no port", e.kind, "usage"); }
    "#;
    let Some((verdict, moments)) = run(&runtime, script, Options::default()) else { return };
    assert_eq!((verdict.exit_code, verdict.passed), (0, 7), "{moments:?}");
    assert_eq!(find(&runtime, said(&moments)[0]).err(), Some(Kind::Missing));
}

#[test]
fn a_found_container_stays_as_it_is() {
    let runtime = runtime();
    let ledger = runtime.block_on(support::ledger());
    let Some(image) = runtime.block_on(support::docker_image()) else { return };
    let command = vec!["sleep".into(), "600".into()];
    let options = docker::ContainerOptions { image, command, ..docker::ContainerOptions::default() };
    let made = runtime.block_on(options.start(&Engine::default(), &ledger, &Default::default())).unwrap();
    let name = made.container().name().to_owned();
    let script = format!("let c = find_container(\"{name}\"); check(\"runs\", c.running, c.state); throw \"broken\";");
    let (verdict, _) = run(&runtime, &script, Options::default()).unwrap();
    assert_eq!((verdict.exit_code, verdict.passed), (2, 1));
    let seen = runtime.block_on(made.container().inspect()).unwrap();
    assert!(seen.running, "{}", seen.state());
    runtime.block_on(made.remove()).unwrap();
}

#[test]
fn a_container_that_ends_while_it_is_waited_for_is_an_error_with_its_log() {
    let runtime = runtime();
    let script = r#"
        try {
            container(#{ image: "$IMAGE", command: ["sh", "-c", "echo no licence; exit 7"], wait: #{ log: "ready" } });
        } catch (e) { log(`${e.kind}: ${e.stderr}`); }
    "#;
    let Some((_, moments)) = run(&runtime, script, Options::default()) else { return };
    assert_eq!(said(&moments), ["docker: no licence"], "{moments:?}");
}

#[test]
fn a_dry_run_makes_no_container_and_keep_leaves_it() {
    let runtime = runtime();
    let name = format!("runner-test-verbs-{}", std::process::id());
    let script = format!(r#"container(#{{ image: "$IMAGE", name: "{name}", command: ["sleep", "600"] }}).port(5432);"#);
    let dry = Options { dry_run: true, ..Options::default() };
    let Some((verdict, moments)) = run(&runtime, &script, dry) else { return };
    assert_eq!(verdict.exit_code, 0, "{moments:?}");
    assert_eq!(find(&runtime, &name).err(), Some(Kind::Missing));
    let script = script.replace(".port(5432)", "");
    let (verdict, moments) = run(&runtime, &script, Options { keep: true, ..Options::default() }).unwrap();
    assert_eq!(verdict.exit_code, 0, "{moments:?}");
    let kept = find(&runtime, &name).unwrap();
    runtime.block_on(kept.remove()).unwrap();
}
