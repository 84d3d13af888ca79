//! `--bandwidth`: what a run moves, all its parts together, keeps below a limit.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use runner_test_support::{World, postgres};

const PROGRAM: &str = env!("CARGO_BIN_EXE_runner");

/// A world with two folders of 3 MB each, which do not pack.
fn estate() -> World {
    let mut seed = 1u64;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 56) as u8
    })
    .take(3_000_000)
    .collect();
    let world = World::new(PROGRAM);
    for folder in ["models", "outputs"] {
        std::fs::create_dir(world.path(folder)).unwrap();
        std::fs::write(world.path(&format!("{folder}/data.bin")), &noise).unwrap();
    }
    world
}

const SET: &str = "catalog(\"sets\").create(#{ models: |to| copy_folder(\"models\", to), outputs: |to| copy_folder(\"outputs\", to) });";

#[test]
fn components_side_by_side_share_one_limit_and_the_journal_says_so() {
    let world = estate().file("set.rhai", SET);
    let began = Instant::now();
    let ended = world.run(&["set.rhai", "--bandwidth", "4MB"]).expect(0);
    // 6 MB are copied, and their digests come from the same pass. A lower bound holds on the slowest machine.
    assert!(began.elapsed() >= Duration::from_secs_f64(6.0 / 4.0), "{:?}", began.elapsed());
    let ended = ended.told("bandwidth: at most 4.0 MB move in a second");
    let moved = ended.stderr.split("bandwidth: ").last().unwrap().split(" MB moved").next().unwrap();
    assert!(moved.parse::<f64>().unwrap() >= 6.0, "{moved}");
    let journal = std::fs::read_dir(world.path(".runner/runs")).unwrap().next().unwrap().unwrap().path();
    assert!(std::fs::read_to_string(journal.join("journal.jsonl")).unwrap().contains("bandwidth: at most 4.0 MB"));
}

#[test]
fn the_variable_says_it_too_and_without_either_nothing_is_said() {
    let world = estate().file("set.rhai", SET);
    assert!(!world.run(&["set.rhai"]).expect(0).stderr.contains("bandwidth"));
    std::fs::remove_dir_all(world.path("sets")).unwrap();
    let world = world.with_env("RUNNER_BANDWIDTH", "50MB");
    world.run(&["set.rhai"]).expect(0).told("bandwidth: at most 50.0 MB");
    for wrong in ["0", "fast", "0MB", "-1MB"] {
        world.run(&["run", "set.rhai", &format!("--bandwidth={wrong}")]).expect(2);
    }
}

#[test]
fn archives_wait_as_well_and_ctrl_c_ends_the_waiting() {
    let world = estate().file("pack.rhai", "log(\"packing\"); archive(\"models\", \"models.tar.gz\");");
    let began = Instant::now();
    let mut run = world.start(&["pack.rhai", "--bandwidth", "10KB"]);
    assert!(run.until("packing"));
    run.signal(Signal::SIGINT);
    run.end().expect(130);
    // At 10 KB a second the file alone would take five minutes.
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
    assert!(!world.path("models.tar.gz").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_and_a_restore_keep_the_limit() {
    let Some(server) = postgres().await else { return };
    let fill = "create table t as select n, repeat(md5(n::text), 8) as text from generate_series(1, 8000) n;";
    server.create("shop", fill).await;
    let place = server.place("shop");
    let script = "let shop = postgres(secret(\"SHOP\"));
        let raw = timed(\"dump\", || dump(shop, \"shop.sql.gz\")).raw_size;
        check(\"enough to see\", raw > 2000000, raw);
        timed(\"restore\", || restore(backup(\"shop.sql.gz\"), scratch(shop, \"copy\")));";
    let world = World::new(PROGRAM).with_env("SHOP", &place).file("t.rhai", script);
    let began = Instant::now();
    let ended = world.run(&["t.rhai", "--bandwidth", "1MB"]).expect(0);
    // Two megabytes of text are read from the server, and as many sent back to it.
    assert!(began.elapsed() >= Duration::from_secs(4), "{:?}\n{}", began.elapsed(), ended.stderr);
}
