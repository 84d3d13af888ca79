//! `run`: a script starts what the operator names, without a shell, and nothing else.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use runner_test_support::{Ended, World};

const PROGRAM: &str = env!("CARGO_BIN_EXE_runner");

fn world(script: &str) -> World {
    World::new(PROGRAM).file("t.rhai", script).with_env("TOKEN", "canary-token-value")
}

fn run(script: &str, more: &[&str]) -> Ended {
    let arguments: Vec<&str> = ["t.rhai"].into_iter().chain(more.iter().copied()).collect();
    world(script).run(&arguments)
}

#[test]
fn without_the_operators_word_nothing_runs() {
    let script = "run([\"touch\", \"made\"]);";
    let world = world(script);
    world.run(&["t.rhai"]).expect(3).told("--allow-run touch").told("programs = [\"touch\"]");
    world.run(&["t.rhai", "--allow-run", "true"]).expect(3);
    assert!(!world.path("made").exists());
    world.run(&["t.rhai", "--allow-run", "touch", "--dry-run"]).expect(0).told("would run touch made");
    assert!(!world.path("made").exists());
    // A plan that could not be carried out says so.
    world.run(&["t.rhai", "--dry-run"]).expect(3);
    world.run(&["t.rhai", "--allow-run", "true,touch"]).expect(0);
    assert!(world.path("made").exists());

    std::fs::remove_file(world.path("made")).unwrap();
    world.write("runner.toml", "[run]\nprograms = [\"touch\"]\n");
    world.run(&["t.rhai"]).expect(0);
    assert!(world.path("made").exists());
    world.write("runner.toml", "[run]\nprograms = [\"./touch\"]\n");
    world.run(&["t.rhai"]).expect(2).told("names no program");
    std::fs::remove_file(world.path("runner.toml")).unwrap();
    world.with_env("RUNNER_ALLOW_RUN", "touch").run(&["t.rhai"]).expect(0);
}

#[test]
fn what_comes_back_is_status_output_and_errors_without_secrets() {
    let script = r#"
        let told = run(["sh", "-c", "echo out $GIVEN; echo err $GIVEN >&2; pwd; cat; exit 3"],
            #{ env: #{ GIVEN: secret("TOKEN") }, dir: "/", input: "typed", ok: [0, 3] });
        check_eq("status", told.status, 3);
        check_eq("stdout", told.stdout, "out [secret]\n/\ntyped");
        check_eq("stderr", told.stderr, "err [secret]");
        check_eq("nothing of ours", run(["sh", "-c", "echo ${TOKEN:-none}"]).stdout, "none\n");
        check_eq("no shell", run(["echo", "$HOME; id", 5]).stdout, "$HOME; id 5\n");
    "#;
    let world = world(script);
    world.run(&["t.rhai", "--allow-run=sh,echo"]).expect(0);
    let grep = std::process::Command::new("grep").args(["-r", "canary-token"]).arg(world.path(".runner")).output();
    assert_eq!(String::from_utf8(grep.unwrap().stdout).unwrap(), "");
}

#[test]
fn a_status_that_was_not_expected_is_an_error_with_the_last_words() {
    let ended = run("run([\"sh\", \"-c\", \"echo no such table >&2; exit 4\"]);", &["--allow-run=sh"]);
    ended.expect(2).told("sh exited with status 4").told("no such table");
    run("run([\"sh\", \"-c\", \"kill -9 $$\"], #{ ok: [0, 137] });", &["--allow-run=sh"])
        .expect(2)
        .told("killed by signal 9");
    run("run([\"no-such-program\"]);", &["--allow-run=no-such-program"]).expect(2).told("there is no program");
    run("run([]);", &[]).expect(2).told("nothing to run");
}

#[test]
fn secrets_in_arguments_and_variables_that_load_code_are_refused() {
    let allow = &["--allow-run=sh,echo"][..];
    run("run([\"echo\", secret(\"TOKEN\")]);", allow).expect(3).told("a secret is no argument");
    run("let s = secret(\"TOKEN\"); run([\"echo\", \"x=canary-token-value\"]);", allow)
        .expect(3)
        .told("a secret is no argument");
    for name in ["LD_PRELOAD", "PATH", "BASH_ENV"] {
        let script = format!("run([\"echo\"], #{{ env: #{{ \"{name}\": \"x\" }} }});");
        run(&script, allow).expect(3).told("it decides what runs");
    }
    run("run([\"./sh\"]);", allow).expect(2).told("there is no shell");
    run("run([\"/tmp/sh\"]);", allow).expect(3);
}

#[test]
fn a_flood_is_cut_off_and_a_slow_program_is_ended_with_its_children() {
    run("run([\"sh\", \"-c\", \"cat /dev/zero\"]);", &["--allow-run=sh"]).expect(2).told("printed more than 1 MiB");
    let began = Instant::now();
    let script = "run([\"sh\", \"-c\", \"sleep 600 & echo $! > pid; wait\"], #{ timeout: \"500ms\" });";
    let world = world(script);
    world.run(&["t.rhai", "--allow-run=sh"]).expect(2).told("did not end within 0.5s");
    assert!(began.elapsed() < Duration::from_secs(120));
    ends(&world);
    // What a program leaves behind in the background ends with it.
    run("run([\"sh\", \"-c\", \"sleep 600 & echo done\"]);", &["--allow-run=sh"]).expect(0);
}

#[test]
fn ctrl_c_ends_the_program_and_its_children() {
    let script = "run([\"sh\", \"-c\", \"sleep 600 & echo $! > pid; echo started >&2; wait\"]);";
    let world = world(script);
    let started = world.start(&["t.rhai", "--allow-run=sh"]);
    let deadline = Instant::now() + Duration::from_secs(60);
    while std::fs::read_to_string(world.path("pid")).unwrap_or_default().trim().is_empty() {
        assert!(Instant::now() < deadline, "the program did not start");
        std::thread::yield_now();
    }
    started.signal(Signal::SIGINT);
    started.end().expect(130);
    ends(&world);
}

/// Waits until the process whose id the world's `pid` holds is gone.
fn ends(world: &World) {
    let pid: i32 = std::fs::read_to_string(world.path("pid")).unwrap().trim().parse().unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    let zombie = || std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") Z "));
    while kill(Pid::from_raw(pid), None).is_ok() && !zombie() {
        assert!(Instant::now() < deadline, "the grandchild still runs");
        std::thread::yield_now();
    }
}
