//! Whole runs of small scripts, in process: what the engine promises, and that it can break.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::primitives::CATALOGUE;
use crate::run::{Options, ScriptFailure, Why};
use crate::test_world::{World, bare};

fn failure_of(script: &str) -> (String, ScriptFailure) {
    let world = World::with(script);
    let failure = match world.compile() {
        Err(failure) => *failure,
        Ok(_) => world.run().failure().clone(),
    };
    let place = bare(&world, failure.place.as_deref().unwrap_or(""));
    (place, failure)
}

#[test]
fn a_script_passes_fails_or_breaks() {
    assert_eq!(World::with("check(\"yes\", true);").run().verdict.exit_code, 0);
    assert_eq!(World::with("check(\"no\", false); log(\"still here\");").run().verdict.exit_code, 1);
    let broke = World::with("check(\"yes\", true); throw \"no disk\";").run();
    assert_eq!((broke.verdict.exit_code, broke.failure().message.as_str()), (2, "no disk"));
}

#[test]
fn a_typo_in_a_property_cannot_make_a_check_pass() {
    let (place, failure) =
        failure_of("let a = #{ rows: 1 }; let b = #{ rows: 2 };\ncheck(\"same\", a.rwos == b.rwos);");
    assert_eq!(failure.message, "there is no property `rwos`");
    assert_eq!(failure.hint.as_deref(), Some("did you mean `rows`?"));
    assert_eq!(place, "main.rhai:2:17");
}

#[test]
fn unknown_names_are_errors_that_know_better() {
    let (place, failure) = failure_of("let copy = 1;\nlog(cpoy);");
    assert_eq!(
        (failure.message.as_str(), failure.hint.as_deref()),
        ("there is no variable `cpoy`", Some("did you mean `copy`?"))
    );
    assert_eq!((place.as_str(), failure.caret), ("main.rhai:2:5", Some((5, 4))));
    let (_, failure) = failure_of("chekc(\"x\", true);");
    assert_eq!(
        (failure.message.as_str(), failure.hint.as_deref()),
        ("there is no function `chekc`", Some("did you mean `check`?"))
    );
    let (_, failure) = failure_of("step(\"x\", #{ retyr: 2 }, || 1);");
    assert_eq!(
        (failure.message.as_str(), failure.hint.as_deref()),
        ("step has no option `retyr`", Some("did you mean `retry`?"))
    );
    let (_, failure) = failure_of("check(true, \"x\");");
    assert_eq!(failure.message, "the first argument of check is a string, not bool `true`");
}

#[test]
fn values_of_different_types_are_not_quietly_unequal() {
    let (_, failure) = failure_of("check_eq(\"count\", 5, \"5\");");
    assert_eq!(failure.message, "check_eq \"count\" compares int with string");
    assert_eq!(World::with("check_eq(\"mean\", 2.0, 2); check_eq(\"none\", (), 3);").run().verdict.exit_code, 1);
}

#[test]
fn a_missing_semicolon_is_shown_where_it_is_missing() {
    let (place, failure) = failure_of("let a = 1\n\nlog(a);");
    assert_eq!(place, "main.rhai:1:10", "{}", failure.message);
}

#[test]
fn a_script_cannot_replace_a_verb() {
    let (place, failure) = failure_of("let x = 1;\nfn check(name, ok) { true }\ncheck(\"fake\", false);");
    assert_eq!(failure.message, "the function `check` would take the place of the verb `check`");
    assert_eq!(place, "main.rhai:2:4");
    let world = World::with("import \"lib/fake\" as fake; check(\"real\", true);")
        .file("lib/fake.rhai", "fn check(a, b) { true }");
    assert!(world.compile().is_err(), "also not from a module");
}

#[test]
fn imports_stay_below_the_scripts_folder() {
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("x.rhai"), "fn f() { 1 }").unwrap();
    for import in ["/etc/passwd", "../x", "lib/../../x"] {
        let (_, failure) = failure_of(&format!("import \"{import}\" as x;"));
        assert!(failure.message.contains("leaves the script's folder"), "{import}: {}", failure.message);
    }
    let world = World::with("import \"link\" as x;");
    std::os::unix::fs::symlink(outside.path().join("x.rhai"), world.folder.path().join("link.rhai")).unwrap();
    let failure = world.compile().err().unwrap();
    assert!(failure.message.contains("is a link that leaves"), "{}", failure.message);
}

#[test]
fn modules_work_and_their_errors_name_their_own_file_and_the_calls() {
    let world = World::with("import \"lib/a\" as a;\nlog(a::twice(21));\na::fail();")
        .file("lib/a.rhai", "fn twice(n) { n * 2 }\nfn fail() {\n  throw \"deep\";\n}");
    let ended = world.run();
    assert_eq!(ended.said(), ["42"]);
    let failure = ended.failure();
    assert_eq!(bare(&world, failure.place.as_deref().unwrap()), "lib/a.rhai:3:3");
    assert_eq!(failure.calls.iter().map(|c| bare(&world, c)).collect::<Vec<_>>(), ["fail at main.rhai:3:4"]);
    assert_eq!(world.compile().unwrap().sources().len(), 2);
}

#[test]
fn what_runs_is_what_was_hashed_before_the_run() {
    let world = World::with("import \"lib/a\" as a;\nlog(a::say());").file("lib/a.rhai", "fn say() { \"first\" }");
    let path = world.folder.path().join("lib/a.rhai");
    let ended = world.run_with(Options::default(), |_| std::fs::write(path, "fn say() { \"saved since\" }").unwrap());
    assert_eq!(ended.said(), ["first"]);
    let (_, failure) = failure_of("let name = \"lib/a\"; import name as a;");
    assert!(failure.message.contains("could not import"), "{}", failure.message);
}

#[test]
fn a_comparison_of_nothing_is_an_error_and_no_pass() {
    let empty = "with_sandbox(#{ engine: \"sqlite\" }, |server| {
        check(\"equal\", compare(server.database(\"a\"), server.database(\"b\")).equal);
    });";
    let ended = World::with(empty).run();
    assert_eq!(ended.verdict.exit_code, 2);
    assert!(ended.failure().message.starts_with("there is nothing to compare"), "{}", ended.failure().message);
}

#[test]
fn every_limit_ends_a_script_that_runs_wild() {
    for wild in [
        "let n = 0; loop { n += 1; }",
        "fn f(n) { f(n + 1) } f(0);",
        "let s = \"x\"; loop { s += s; }",
        "let a = [1]; loop { a += a; }",
    ] {
        let ended = World::with(wild)
            .run_with(Options { timeout: Some(Duration::from_secs(120)), ..Options::default() }, |_| {});
        assert_eq!(ended.verdict.exit_code, 2, "{wild}");
    }
    let (_, failure) = failure_of("eval(\"1\");");
    assert!(failure.message.contains("eval"), "{}", failure.message);
}

#[test]
fn a_stop_cannot_be_caught_and_still_cleans_up() {
    let world = World::with(
        "defer(|| log(\"cleaned\"));\nstep(\"wait\", || { loop { try { sleep(600); } catch { log(\"caught\"); } } });",
    );
    let started = Instant::now();
    let ended = world.run_with(Options::default(), |stop| {
        let stop = stop.clone();
        world.runtime.spawn(async move {
            tokio::time::sleep(Duration::from_millis(100)).await;
            stop.stop(Why::Interrupted);
        });
    });
    assert_eq!(ended.verdict.exit_code, 130);
    assert_eq!(ended.said(), ["cleaned"], "the catch never ran, the deferred closure did");
    assert_eq!(ended.failure().message, "interrupted in step \"wait\"");
    assert!(started.elapsed() < Duration::from_secs(60), "the sleep was ended");
}

#[test]
fn the_deadline_of_a_run_and_of_a_step_are_different_things() {
    let options = Options { timeout: Some(Duration::from_millis(100)), ..Options::default() };
    assert_eq!(World::with("loop { sleep(\"1h\"); }").run_with(options, |_| {}).verdict.exit_code, 124);
    let ended =
        World::with("try { step(\"slow\", #{ timeout: \"50ms\" }, || sleep(\"1h\")); } catch (e) { log(e.kind); }")
            .run();
    assert_eq!((ended.verdict.exit_code, ended.said()), (0, vec!["timeout"]));
}

#[test]
fn a_script_catches_our_errors_by_their_shape() {
    let ended = World::with(
        "try { env(\"RUNNER_SURELY_UNSET\") } catch (e) { log(`${e.kind} ${e.primitive} ${e.retryable} ${e.hint}`); }",
    )
    .run();
    assert_eq!(
        ended.said(),
        ["missing env false set RUNNER_SURELY_UNSET, or give a default: env(\"RUNNER_SURELY_UNSET\", \"…\")"]
    );
}

#[test]
fn branches_run_side_by_side_on_copies_and_one_failure_stops_the_others() {
    let ended =
        World::with("let h = #{ n: 0 }; log(parallel([|| { h.n += 1; h.n }, || { h.n += 1; h.n }])); log(h.n);").run();
    assert_eq!(ended.said(), ["[1, 1]", "0"]);
    let started = Instant::now();
    let ended = World::with("parallel([|| sleep(\"1h\"), || { throw \"first\" }]);").run();
    assert_eq!(ended.failure().message, "first");
    assert!(started.elapsed() < Duration::from_secs(60));
}

#[test]
fn only_so_many_of_a_list_run_at_once_and_a_failure_keeps_the_rest_from_starting() {
    // Each item leaves a mark while it runs, and counts the marks.
    let marked = |rest: &str| {
        format!(
            "let folder = temp_dir();\n\
             let marks = || {{ let n = 0; for at in 1..7 {{ if exists(`${{folder}}/${{at}}`) {{ n += 1; }} }} n }};\n{rest}"
        )
    };
    let two = "let most = parallel_map([1, 2, 3, 4, 5, 6], |n| { \
               write_text(`${folder}/${n}`, \"\"); sleep(\"20ms\"); let there = marks.call(); \
               remove(`${folder}/${n}`); there }, #{ at_once: 2 });\n\
               log(most.len()); check(\"two at the most\", most.all(|n| n == 1 || n == 2));";
    let ended = World::with(&marked(two)).run();
    assert_eq!((ended.said(), ended.verdict.exit_code), (vec!["6"], 0));
    // Without a bound all of them run at once, or none would ever see six marks.
    let all = "parallel_map([1, 2, 3, 4, 5, 6], |n| { write_text(`${folder}/${n}`, \"\"); \
               wait_until(#{ timeout: \"1m\", every: \"1ms\", what: \"all\" }, || marks.call() == 6) });\n\
               check(\"all at once\", true);";
    assert_eq!(World::with(&marked(all)).run().verdict.exit_code, 0);
    let failing = "let left = temp_dir(); defer(|| log(exists(`${left}/2`)));\n\
                   parallel_map([1, 2], |n| { if n == 1 { throw \"first\" } write_text(`${left}/2`, \"\"); }, \
                   #{ at_once: 1 });";
    let ended = World::with(failing).run();
    assert_eq!((ended.failure().message.as_str(), ended.said()), ("first", vec!["false"]));
}

#[test]
fn a_dry_run_announces_checks_and_stops_at_a_branch_it_cannot_know() {
    let options = || Options { dry_run: true, ..Options::default() };
    let ended = World::with("measure(\"rto\", 1); slo(\"rto\", \"1m\");").run_with(options(), |_| {});
    assert_eq!(ended.announced(), ["check: rto within 1m"]);
    assert_eq!(ended.verdict.exit_code, 0);
}

#[test]
fn parameters_are_found_set_and_typed() {
    let script = "let days = param(\"days\", 7, \"how long\");\nlog(days + 1);";
    let world = World::with(script);
    let parameters = world.compile().unwrap().parameters;
    assert_eq!(
        (parameters[0].name.as_str(), parameters[0].default.as_str(), parameters[0].help.as_str()),
        ("days", "7", "how long")
    );
    let set = |name: &str, value: &str| [(name.to_owned(), value.to_owned())].into();
    let ended = world.run_with(Options { set: set("days", "30"), ..Options::default() }, |_| {});
    assert_eq!(ended.said(), ["31"]);
    let ended = world.run_with(Options { set: set("days", "many"), ..Options::default() }, |_| {});
    assert_eq!(ended.failure().message, "the parameter days is a whole number, not `many`");
    let error = world.compile().unwrap().accept(&set("dyas", "3")).unwrap_err();
    assert_eq!(error.next_step(), Some("did you mean `days`?"));
}

#[test]
fn lint_finds_names_and_arities_that_nothing_has_without_running() {
    let world = World::with("log(\"a\");\nif false { chekc(\"x\", true); check(\"x\"); }\ntry { log(1); } catch { }");
    let findings: Vec<_> =
        world.compile().unwrap().findings.iter().map(|f| format!("{} {}", bare(&world, &f.place), f.message)).collect();
    assert_eq!(
        findings,
        [
            "main.rhai:2:12 there is no function `chekc`",
            "main.rhai:2:30 `check` does not take 1 arguments",
            "main.rhai:3:1 an empty catch hides what went wrong",
        ]
    );
}

#[test]
fn lint_takes_no_closure_and_no_word_of_rhai_for_a_typo() {
    let script = "let n = #{ n: 0 };\nlet f = || n.n += 1;\nf.call();\nif type_of(n) == \"map\" { print(n.n); }";
    assert_eq!(World::with(script).compile().unwrap().findings, []);
}

#[test]
fn secrets_do_not_reach_the_journal() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pw");
    std::fs::write(&file, "canary-7391\n").unwrap();
    // Set for this process only; no other test reads it.
    let script = "let s = secret(\"RUNNER_TEST_CANARY\"); log(`${s}`); print(s); throw \"because of canary-7391\";";
    let world = World::with(script);
    #[expect(unsafe_code, reason = "the variable is this test's own")]
    unsafe {
        std::env::set_var("RUNNER_TEST_CANARY_FILE", &file);
    }
    let ended = world.run();
    assert!(ended.said().iter().all(|s| s.contains("Secret")), "{:?}", ended.said());
    assert_eq!(ended.failure().message, "because of [secret]");
    let state = world.folder.path().join("state/runs");
    assert_eq!(files_with(&state, "canary-7391"), 0);
}

fn files_with(folder: &Path, text: &str) -> usize {
    let entries = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path());
    entries
        .map(|path| match path.is_dir() {
            // The kept copy of the script is its author's own text.
            true if path.ends_with("scripts") => 0,
            true => files_with(&path, text),
            false => usize::from(std::fs::read_to_string(&path).unwrap_or_default().contains(text)),
        })
        .sum()
}

#[test]
fn every_example_of_the_manual_runs() {
    for primitive in CATALOGUE {
        let examples: Vec<_> =
            primitive.manual.split("```rhai").skip(1).map(|e| e.split_once("```").unwrap().0).collect();
        assert!(!examples.is_empty(), "{} has no example", primitive.name);
        for example in examples {
            let (mark, script) = example.split_once('\n').unwrap();
            let world = World::with(script);
            let compiled = world.compile().unwrap_or_else(|f| panic!("{}: {}", primitive.name, f.message));
            assert!(compiled.findings.is_empty(), "{}: {:?}", primitive.name, compiled.findings);
            if !mark.contains("no_run") {
                let ended = world.run();
                assert_eq!(ended.verdict.exit_code, 0, "{}: {:?}", primitive.name, ended.moments);
            }
        }
    }
}
