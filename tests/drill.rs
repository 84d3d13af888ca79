//! The main job, end to end: `runner scripts/drill.rhai` on a real PostgreSQL.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use nix::sys::signal::Signal;
use runner::postgres::Session;
use runner_test_support::{Started, TestServer, World, docker_image, not_run, postgres};

const PROGRAM: &str = env!("CARGO_BIN_EXE_runner");
const DRILL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/drill.rhai");

/// A server with a database `shop` that has `rows` customers, with what a schema usually has.
async fn shop(rows: u64) -> Option<TestServer> {
    let server = postgres().await?;
    // Its analysing writes statistics, and whether anybody writes to the source is what is counted.
    server.execute("postgres", "alter system set autovacuum = off").await;
    server.execute("postgres", "select pg_reload_conf()").await;
    let half = rows / 2;
    server
        .create(
            "shop",
            &format!(
                "create role app_reader;
                 create table customers (id bigint generated always as identity primary key, name text not null, note text);
                 insert into customers (name, note) select 'customer ' || n, case n % 3 when 0 then null else md5(n::text) end
                     from generate_series(1, {half}) n;
                 create table orders (id bigint primary key, customer bigint not null references customers, total numeric(12,2), placed timestamptz);
                 insert into orders select n, n, n * 1.5, timestamptz '2026-01-01 00:00+00' + n * interval '1 second'
                     from generate_series(1, {half}) n;
                 create index orders_customer on orders (customer);
                 create view large_orders as select * from orders where total > 1000;
                 grant select on customers to app_reader;
                 comment on table customers is 'who buys';"
            ),
        )
        .await;
    Some(server)
}

/// Returns a world whose variable SHOP says where the server's database `shop` is.
fn world(server: &TestServer) -> World {
    let place = server.place("shop");
    World::new(PROGRAM).with_env("SHOP", &place)
}

/// The stock drill with a line between restore and comparison.
fn fork(between: &str) -> String {
    let stock = std::fs::read_to_string(DRILL).unwrap();
    let restored = "#{ database: \"drill\" }));\n";
    assert!(stock.contains(restored));
    stock.replace(restored, &format!("{restored}        {between}\n"))
}

/// Starts a drill of the server's database.
async fn drill(world: &World, script: &str, more: &[&str]) -> Started {
    let image = docker_image().await.map(|image| format!("image={image}"));
    let mut arguments = vec![script, "--set", "source=secret:SHOP", "--set", "tables=customers,orders"];
    if let Some(image) = &image {
        arguments.extend(["--set", image]);
    }
    arguments.extend(more);
    world.start(&arguments)
}

/// What a write would move: rows changed in the database, as its own statistics count them.
async fn writes(session: &Session) -> (i64, i64, i64) {
    let row = session
        .client()
        .query_one(
            "select pg_stat_get_db_tuples_inserted(oid), pg_stat_get_db_tuples_updated(oid), pg_stat_get_db_tuples_deleted(oid)
             from pg_database where datname = 'shop'",
            &[],
        )
        .await
        .unwrap();
    (row.get(0), row.get(1), row.get(2))
}

async fn fingerprint(server: &TestServer) -> runner::compare::Fingerprint {
    let ledger = runner_test_support::ledger().await;
    runner::postgres::fingerprint(&server.address("shop"), &[], &Default::default(), &ledger).await.unwrap()
}

/// Returns how many containers of runs are there that were started from a world's folder.
fn containers_of(world: &World) -> Vec<String> {
    let runs = world.names(".runner/runs");
    let docker = |run: &String| {
        let label = format!("label=runner.run={run}");
        let out = std::process::Command::new("docker").args(["ps", "-aq", "--filter", &label]).output();
        out.map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned()).unwrap_or_default()
    };
    runs.iter().map(docker).filter(|ids| !ids.is_empty()).collect()
}

fn nothing_is_left(world: &World, when: &str) {
    assert_eq!(containers_of(world), Vec::<String>::new(), "containers {when}");
    assert_eq!(world.names("tmp"), Vec::<String>::new(), "temporary files {when}");
    let partial: Vec<_> = world.names("backups").into_iter().filter(|n| n.starts_with(".partial")).collect();
    assert_eq!(partial, Vec::<String>::new(), "half files {when}");
}

/// Waits until a backup is half written.
async fn half_a_file(world: &World) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    let size = || {
        let partial = world.names("backups").into_iter().find(|n| n.starts_with(".partial"))?;
        Some(world.path("backups").join(partial).metadata().ok()?.len())
    };
    while size().is_none_or(|size| size == 0) {
        assert!(std::time::Instant::now() < deadline, "the dump never began");
        tokio::task::yield_now().await;
    }
}

/// The server notices at its next write that a client is gone; that it does is a matter of a moment, not of luck.
async fn nobody_is_connected(server: &TestServer) {
    let session = server.session("shop").await;
    let others = "select count(*) from pg_stat_activity where datname = 'shop' and pid <> pg_backend_pid() and backend_type = 'client backend'";
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    loop {
        let left: i64 = session.client().query_one(others, &[]).await.unwrap().get(0);
        if left == 0 {
            return;
        }
        assert!(std::time::Instant::now() < deadline, "{left} sessions are still there");
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drill_on_a_million_rows_proves_every_row_and_writes_nothing_to_the_source() {
    let Some(server) = shop(1_000_000).await else { return };
    let world = world(&server);
    let session = server.session("shop").await;
    let (before, counters) = (fingerprint(&server).await, writes(&session).await);
    assert_eq!(before.rows(), 1_000_000);

    let ended = drill(&world, DRILL, &["--json", "--report", "md=report.md,junit=junit.xml"]).await.end().expect(0);

    let report: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(report["verified"], true);
    let compared = report["evidence"].as_array().unwrap().iter().find(|e| e["primitive"] == "compare").unwrap();
    assert_eq!(compared["facts"]["rows"], 1_000_000);
    let objectives: Vec<_> = report["objectives"].as_array().unwrap().iter().map(|o| o["name"].clone()).collect();
    assert_eq!(objectives, ["rto", "rpo"]);
    eprintln!("peak memory of the whole drill: {} KiB", ended.peak_kib);
    assert!(ended.peak_kib < 64 << 10, "{} KiB", ended.peak_kib);
    assert!(world.path("report.md").exists() && world.path("junit.xml").exists());
    nothing_is_left(&world, "after a drill that passed");

    assert_eq!(fingerprint(&server).await, before, "the source holds what it held");
    assert_eq!(writes(&session).await, counters, "nobody wrote to the source");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_character_of_one_row_is_found_and_its_table_named() {
    let Some(server) = shop(2_000).await else { return };
    let world = world(&server)
        .file("drill.rhai", &fork("execute(copy, \"update customers set name = 'customer l7' where id = 17\");"));
    let ended = drill(&world, "drill.rhai", &[]).await.end().expect(1);
    ended.told("table public.customers: 1 row changed (id=17 changed in name)");
    nothing_is_left(&world, "after a drill that failed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_some_tables_does_not_pass_for_the_whole_database() {
    let Some(server) = shop(2_000).await else { return };
    let world = world(&server)
        .file("some.rhai", "dump(postgres(secret(\"SHOP\")), #{ to: \"some.sql.gz\", tables: [\"customers\"] });");
    world.run(&["some.rhai"]).expect(0);
    let ended =
        drill(&world, DRILL, &["--set", "backup=some.sql.gz", "--set", "tables=customers"]).await.end().expect(1);
    ended.told("FAILED: it is a backup of the whole database");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_dies_half_way_leaves_no_backup() {
    let Some(server) = shop(1_000_000).await else { return };
    let Some(container) = server.container_name().map(str::to_owned) else {
        return not_run("docker kill needs a source in Docker");
    };
    let world = world(&server);
    let mut started = drill(&world, DRILL, &["--bandwidth", "2MB"]).await; // so slow that it has half a file for a while
    assert!(started.until("started: back up"));
    half_a_file(&world).await;
    let killed = std::process::Command::new("docker").args(["kill", &container]).output().unwrap();
    assert!(killed.status.success());
    let ended = started.end().expect(2);
    assert!(ended.stderr.contains("could not"), "{}", ended.stderr);
    assert_eq!(world.names("backups"), Vec::<String>::new());
    nothing_is_left(&world, "after the source died");
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_at_each_step_leaves_nothing_behind() {
    let Some(server) = shop(200_000).await else { return };
    let databases = server.databases().await;
    for step in ["run ", "open the source", "back up", "read the backup to its end", "restore", "compare every row"] {
        let world = world(&server);
        let mut started = drill(&world, DRILL, &[]).await;
        let seen = if step == "run " { started.until("run") } else { started.until(&format!("started: {step}")) };
        assert!(seen, "the drill came to {step}");
        started.signal(Signal::SIGINT);
        started.end().expect(130);
        nothing_is_left(&world, &format!("after Ctrl-C at «{step}»"));
        assert_eq!(server.databases().await, databases, "databases after Ctrl-C at «{step}»");
        nobody_is_connected(&server).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_run_is_cleaned_up_by_gc_and_by_the_next_run() {
    let Some(server) = shop(600_000).await else { return };
    for by_gc in [true, false] {
        let world = world(&server).file("next.rhai", "check(\"runs\", true);");
        let mut started = drill(&world, DRILL, &[]).await;
        // Once while a file is half written, once while a server is half filled.
        if by_gc {
            half_a_file(&world).await;
        } else {
            assert!(started.until("started: restore"));
        }
        started.signal(Signal::SIGKILL);
        started.end().expect(137);
        if by_gc {
            let told = world.run(&["gc"]).expect(0).stdout;
            assert!(told.contains("removed "), "{told}");
        } else {
            world.run(&["next.rhai"]).expect(0).told("left by a run that was killed");
        }
        let kept = world.names("backups").into_iter().filter(|n| n.starts_with(".partial")).count();
        assert_eq!((containers_of(&world), kept), (Vec::new(), 0));
        assert_eq!(world.run(&["gc"]).expect(0).stdout, "nothing is left behind\n");
    }
}
