//! The command line as a user meets it: the real program in a world of its own.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use nix::sys::signal::Signal;
use runner_test_support::{World, postgres};

const PROGRAM: &str = env!("CARGO_BIN_EXE_runner");

fn world(script: &str) -> World {
    World::new(PROGRAM).file("main.rhai", script)
}

#[test]
fn each_way_out_has_its_exit_code() {
    world("check(\"holds\", true);").run(&["main.rhai"]).expect(0).told("PASSED");
    world("check(\"holds\", false);").run(&["main.rhai"]).expect(1).told("holds");
    world("throw \"no\";").run(&["main.rhai"]).expect(2).told("main.rhai:1:1");
    world("let x = ;").run(&["main.rhai"]).expect(2);
    world("confirm(\"sure?\");").run(&["main.rhai"]).expect(3).told("--yes");
    world("log(\"nothing\");").run(&["main.rhai", "--require-checks"]).expect(4);
    world("sleep(\"1h\");").run(&["main.rhai", "--timeout", "300ms"]).expect(124);
    world("log(1);").run(&["--no-such-option"]).expect(2);
    world("log(1);").run(&["absent.rhai"]).expect(2).told("there is no script absent.rhai");
    world("log(1);").run(&["main.rhai", "--set", "dyas=3"]).expect(2).told("no parameter `dyas`");
}

#[test]
fn parameters_come_from_the_command_line_or_a_variable() {
    let script = "log(`${param(\"a\", 1, \"\")} ${param(\"b\", \"x\", \"\")}`);";
    let set = world(script).with_env("RUNNER_SET", "a=2\nb=y");
    set.run(&["main.rhai"]).expect(0).told("2 y");
    set.run(&["main.rhai", "--set", "b=z"]).expect(0).told("2 z");
    world(script).with_env("RUNNER_SET", "a").run(&["main.rhai"]).expect(2).told("RUNNER_SET");
}

#[test]
fn signals_stop_a_run_and_clean_up() {
    for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143), (Signal::SIGHUP, 143)] {
        let world = world("let dir = temp_dir(); defer(|| log(\"the last words\")); step(\"wait\", || sleep(\"1h\"));");
        let mut started = world.start(&["main.rhai"]);
        assert!(started.until("started: wait"));
        started.signal(signal);
        started.end().expect(code).told("the last words").told("in step \"wait\"");
        assert_eq!(world.names("tmp"), Vec::<String>::new(), "after {signal}");
    }
}

#[test]
fn an_error_shows_the_line_the_cause_and_the_next_step() {
    let ended = world("let folder = \"backups\";\nlet saved = backup(folder + \"/nothing.sql.gz\");\n")
        .run(&["main.rhai"])
        .expect(2);
    let shown: Vec<_> =
        ended.stderr.lines().filter(|l| l.contains("-->") || l.contains('^') || l.contains("let saved")).collect();
    assert_eq!(shown.len(), 3, "{}", ended.stderr);
    assert!(shown[0].contains("main.rhai:2:13"), "{}", shown[0]);
}

#[test]
fn stdout_holds_one_document_and_nothing_else() {
    let ended =
        world("log(\"hello\"); print(\"there\"); check(\"holds\", true);").run(&["main.rhai", "--json"]).expect(0);
    let report: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!((report["exit_code"].as_u64(), report["verified"].as_bool()), (Some(0), Some(true)));
    assert_eq!(world("log(1);").run(&["main.rhai"]).expect(0).stdout, "");
}

#[test]
fn earlier_runs_are_listed_and_reported() {
    let world = world("check(\"holds\", true, \"a detail\");");
    world.run(&["main.rhai"]).expect(0);
    let history = world.run(&["history"]).expect(0).stdout;
    assert_eq!(history.lines().count(), 1, "{history}");
    for format in ["md", "html", "junit", "json"] {
        let report = world.run(&["report", "latest", "--format", format]).expect(0).stdout;
        assert!(report.contains("a detail"), "{format}: {report}");
    }
    world.run(&["report", "nonsense"]).expect(2);
}

#[test]
fn the_demonstration_needs_neither_docker_nor_postgresql() {
    let bare = tempfile::tempdir().unwrap();
    let world =
        World::new(PROGRAM).with_path(bare.path().to_str().unwrap()).with_env("DOCKER_HOST", "unix:///nowhere.sock");
    let ended = world.run(&["demo", "--json"]).expect(0);
    let report: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    let checks = report["checks"].as_array().unwrap();
    assert!(checks.len() >= 12 && checks.iter().all(|c| c["passed"] == true), "{checks:?}");
    assert_eq!(world.names("tmp"), Vec::<String>::new());
    world.run(&["demo"]).expect(0).told("report");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demonstration_runs_on_postgresql() {
    if postgres().await.is_none() {
        return;
    }
    let world = World::new(PROGRAM);
    let mut arguments = vec!["demo".to_owned(), "--postgres".into()];
    arguments.extend(runner_test_support::docker_image().await.map(|image| format!("--set=image={image}")));
    world.run(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).expect(0);
}

#[test]
fn stock_scripts_and_forks_have_no_findings() {
    let world = World::new(PROGRAM);
    let listed = world.run(&["list"]).expect(0).stdout;
    for script in runner::engine::stock_names() {
        assert!(listed.contains(script), "{listed}");
        world.run(&["check", script]).expect(0);
        let help = world.run(&["help", script]).expect(0).stdout;
        assert!(help.contains("Example: runner") && help.contains("Parameters"), "{help}");
        world.run(&["fork", script]).expect(0);
        world.run(&["check", &format!("{script}.rhai")]).expect(0);
        world.run(&["fork", script]).expect(3);
    }
    world.run(&["check", "drlil"]).expect(2).told("did you mean `drill`?");
}

#[test]
fn every_script_module_and_example_in_the_tree_has_no_findings() {
    let world = World::new(PROGRAM);
    let mut checked = 0;
    for folder in ["scripts", "stdlib", "examples"] {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|ending| ending == "rhai") {
                world.run(&["check", path.to_str().unwrap()]).expect(0);
                checked += 1;
            }
        }
    }
    assert!(checked >= 40, "only {checked} were found");
}

#[test]
fn a_fork_knows_whether_the_stock_script_moved_on() {
    let world = World::new(PROGRAM);
    world.run(&["fork", "drill"]).expect(0);
    assert!(world.run(&["list"]).expect(0).stdout.contains("drill.rhai  forked from drill, up to date"));
    let fork = std::fs::read_to_string(world.path("drill.rhai")).unwrap();
    world.write("drill.rhai", &fork.replace("30m", "10m"));
    assert!(world.run(&["list"]).expect(0).stdout.contains("up to date"), "editing the fork is what it is for");
    let (script, note) = fork.trim_end().rsplit_once(' ').unwrap();
    world.write("drill.rhai", &format!("{script} {}\n", "0".repeat(note.len())));
    assert!(world.run(&["list"]).expect(0).stdout.contains("the stock script changed since"));
}

#[test]
fn watching_reruns_on_a_save_of_the_script_or_an_import_and_ends_with_ctrl_c() {
    let world =
        world("import \"lib/words\" as words;\nlog(words::say());").file("lib/words.rhai", "fn say() { \"first\" }");
    let mut started = world.start(&["main.rhai", "--watch"]);
    assert!(started.until("first") && started.until("watching"));
    // Editors write a new file and move it into place.
    world.write("lib/new", "fn say() { \"second\" }");
    std::fs::rename(world.path("lib/new"), world.path("lib/words.rhai")).unwrap();
    assert!(started.until("second") && started.until("watching"));
    world.write("main.rhai", "log(\"third\";");
    assert!(started.until("main.rhai:1:12") && started.until("watching"));
    world.write("main.rhai", "log(\"fourth\");");
    assert!(started.until("fourth") && started.until("watching"));
    started.signal(Signal::SIGINT);
    started.end().expect(130);
}

#[test]
fn a_save_during_a_run_leads_to_one_more_run() {
    let world = world("log(\"first\"); sleep(\"1s\");");
    let mut started = world.start(&["main.rhai", "--watch"]);
    assert!(started.until("first"));
    world.write("main.rhai", "log(\"second\");");
    assert!(started.until("watching") && started.until("second") && started.until("watching"));
    started.signal(Signal::SIGINT);
    let ended = started.end().expect(130);
    assert_eq!(ended.stderr.matches("second").count(), 1, "{}", ended.stderr);
}

#[test]
fn a_password_on_the_command_line_reaches_no_file_of_the_run() {
    let world = world("let s = param(\"source\", \"\", \"where\"); log(s); postgres(s);");
    let ended = world.run(&["main.rhai", "--set", "source=postgres://app:pw-canary-42@127.0.0.1:1/x"]).expect(2);
    assert!(!ended.stderr.contains("pw-canary-42"), "{}", ended.stderr);
    let mut waiting = vec![world.path(".runner")];
    while let Some(path) = waiting.pop() {
        if path.is_dir() {
            waiting.extend(std::fs::read_dir(path).unwrap().map(|e| e.unwrap().path()));
        } else {
            assert!(!std::fs::read_to_string(&path).unwrap().contains("pw-canary-42"), "{}", path.display());
        }
    }
}

#[test]
fn completions_are_written_for_each_shell() {
    for shell in ["bash", "zsh", "fish"] {
        assert!(World::new(PROGRAM).run(&["completions", shell]).expect(0).stdout.contains("runner"));
    }
}

#[test]
fn a_broken_protection_file_stops_the_run() {
    world("check(\"holds\", true);")
        .file("runner.toml", "[protect]\ndatabase = 'prod'\n")
        .run(&["main.rhai"])
        .expect(3);
}
