//! What is written agrees with the code: generated pages do not drift, examples run.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use runner_test_support::World;

const PROGRAM: &str = env!("CARGO_BIN_EXE_runner");

/// Returns the pages whose scripts and commands are tried.
fn pages() -> Vec<String> {
    let runbooks = std::fs::read_dir(format!("{}/docs/runbooks", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let runbooks = runbooks.map(|e| format!("docs/runbooks/{}", e.unwrap().file_name().to_string_lossy()));
    ["README.md", "docs/backup-strategy.md", "docs/writing-scripts.md"]
        .into_iter()
        .map(str::to_owned)
        .chain(runbooks)
        .collect()
}

fn page(name: &str) -> String {
    std::fs::read_to_string(format!("{}/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

#[test]
fn the_manual_and_the_editor_definitions_are_those_of_the_code() {
    assert!(page("docs/primitives.md") == runner::engine::manual(), "run `just docs` and commit what it writes");
    assert!(page("docs/runner.d.rhai") == runner::engine::definitions(), "run `just docs` and commit what it writes");
}

/// Returns the fenced blocks of a kind.
fn blocks(page: &str, kind: &str) -> Vec<String> {
    let fence = format!("```{kind}\n");
    page.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

#[test]
fn every_script_in_the_pages_compiles_without_findings() {
    for name in pages() {
        for (n, script) in blocks(&page(&name), "rhai").iter().enumerate() {
            let world = World::new(PROGRAM).file("example.rhai", script);
            let ended = world.run(&["check", "example.rhai"]);
            assert_eq!(ended.code, 0, "{name}, script {n}: {}{}", ended.stdout, ended.stderr);
        }
    }
}

#[test]
fn every_script_of_the_tutorial_runs() {
    let page = page("docs/writing-scripts.md");
    for script in blocks(&page, "rhai") {
        World::new(PROGRAM).file("example.rhai", &script).run(&["example.rhai"]).expect(0);
    }
}

#[test]
fn every_command_in_the_pages_is_understood() {
    for name in pages() {
        for line in blocks(&page(&name), "sh").iter().flat_map(|block| block.lines()) {
            let Some(arguments) = line.strip_prefix("runner ") else { continue };
            let arguments: Vec<_> = arguments.split(" #").next().unwrap().split_whitespace().collect();
            let stands = |a: &&&str| a.ends_with(".rhai") || runner::engine::stock_names().any(|n| n == **a);
            let script = arguments.iter().find(stands);
            let world = World::new(PROGRAM).file("drill.rhai", "log(1);");
            let shown = match script {
                Some(script) => world.run(&["help", script]),
                None => world.run(&[arguments[0], "--help"]),
            };
            assert_eq!(shown.code, 0, "{name}: {line}: {}", shown.stderr);
        }
    }
}
