//! A dump restores to an equal database, a difference is named, and a failure leaves nothing behind.

use std::process::Command;

use tokio_util::sync::CancellationToken;

use super::*;
use crate::compare::{Comparison, Scope, compare};
use crate::files::members::MemberReader;
use crate::postgres::fingerprint;
use crate::postgres::test_cluster::TestCluster;

mod apart;

/// A cluster with the rich database of the fixture, and a place for dumps.
pub(in crate::postgres) struct World {
    pub(in crate::postgres) cluster: TestCluster,
    folder: tempfile::TempDir,
    pub(in crate::postgres) ledger: Arc<Ledger>,
}

impl World {
    pub(in crate::postgres) async fn empty() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::create("test", folder.path()).unwrap();
        Self { cluster: TestCluster::start(), folder, ledger }
    }

    pub(in crate::postgres) async fn rich() -> Self {
        let world = Self::empty().await;
        rich(&world.cluster).await;
        world
    }

    pub(in crate::postgres) async fn dump(&self, database: &str, name: &str, tables: &[&str]) -> Result<Backup> {
        let request = DumpRequest {
            source: self.cluster.address(database),
            to: self.folder.path().join(name),
            format: Format::of_name(name).unwrap(),
            tables: tables.iter().map(|t| (*t).to_owned()).collect(),
            jobs: None,
            matviews: true,
            mask: None,
        };
        dump(&request, &Progress::default(), &self.ledger).await
    }

    async fn fingerprint(&self, cluster: &TestCluster, database: &str) -> Fingerprint {
        fingerprint(&cluster.address(database), &[], &Progress::default(), &self.ledger).await.unwrap()
    }

    /// Unpacks a backup as gunzip would.
    fn unpacked(&self, backup: &Backup) -> PathBuf {
        let to = self.folder.path().join("unpacked.sql");
        let file = std::io::BufReader::new(File::open(backup.path()).unwrap());
        let mut reader = MemberReader::new(file, packing(backup.format()).unwrap(), None);
        std::io::copy(&mut reader, &mut File::create(&to).unwrap()).unwrap();
        to
    }

    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder.path()).unwrap();
        let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.retain(|name| name != crate::cleanup::LEDGER_FILE);
        names.sort();
        names
    }
}

async fn rich(cluster: &TestCluster) {
    roles(cluster).await;
    cluster.execute("postgres", "create database src").await;
    let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/rich.sql");
    cluster.psql("src", Path::new(fixture));
}

async fn roles(cluster: &TestCluster) {
    cluster.execute("postgres", "create role app_ro; create role app_owner in role app_ro connection limit 3").await;
}

fn verdict(expected: &Fingerprint, found: &Fingerprint) -> Comparison {
    compare(expected, found, &Scope::default()).unwrap()
}

fn differences(expected: &Fingerprint, found: &Fingerprint) -> Vec<String> {
    verdict(expected, found).differences.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn gunzip_and_psql_restore_an_equal_database_here_and_elsewhere() {
    let world = World::rich().await;
    let backup = world.dump("src", "src.sql.gz", &[]).await.unwrap();
    let print = &backup.manifest().unwrap().fingerprint;
    assert_eq!(backup.rows("app.orders").unwrap(), 200);
    assert_eq!(backup.rows("customers").unwrap(), 50);
    assert_eq!(differences(print, &world.fingerprint(&world.cluster, "src").await), Vec::<String>::new());

    let script = world.unpacked(&backup);
    world.cluster.execute("postgres", "create database copy").await;
    world.cluster.psql("copy", &script);
    assert_eq!(differences(print, &world.fingerprint(&world.cluster, "copy").await), Vec::<String>::new());

    let elsewhere = TestCluster::start();
    roles(&elsewhere).await;
    elsewhere.execute("postgres", "create database copy").await;
    elsewhere.psql("copy", &script);
    let found = world.fingerprint(&elsewhere, "copy").await;
    assert_eq!(differences(print, &found), Vec::<String>::new());
    assert!(verdict(print, &found).equal && print.rows() == 620 && print.items.len() > 100);
}

#[tokio::test]
async fn whatever_is_changed_in_a_copy_is_named() {
    let world = World::rich().await;
    let backup = world.dump("src", "src.sql.gz", &[]).await.unwrap();
    let script = world.unpacked(&backup);
    let print = &backup.manifest().unwrap().fingerprint;
    for (damage, named) in [
        ("update app.customers set name = 'name l0' where id = 10", "table app.customers: rows changed"),
        ("update app.chi set w = 'W'", "table app.chi: rows changed"),
        (
            "update \"We ird\".\"sel\"\"ect Tbl\" set \"NULL\" = 9 where \"NULL\" = 4",
            "table \"We ird\".\"sel\"\"ect Tbl\"",
        ),
        ("revoke select on app.customers from app_ro", "TABLE app.customers: grants missing"),
        ("revoke update(name) on app.customers from app_ro", "COLUMN app.customers.name: grants missing"),
        ("select setval('app.seq', 1001, false)", "SEQUENCE app.seq: sequence state changed"),
        ("alter table app.orders owner to postgres", "TABLE app.orders: owner changed, expected `app_owner`"),
        ("drop index app.orders_cust", "INDEX app.orders_cust: definition missing"),
        ("select lo_put(7001, 0, '\\xff')", "LARGE OBJECT 7001: content changed"),
        ("revoke select on large object 7001 from app_ro", "LARGE OBJECT 7001: grants missing"),
        ("comment on table app.customers is 'x'", "TABLE app.customers: comment changed"),
        ("alter table app.orders disable trigger t_note", "orders t_note: definition"),
        (
            "alter database copy set work_mem = '1MB'",
            "DATABASE: property changed, expected nothing, found `SET work_mem TO 1MB`",
        ),
        ("alter database copy connection limit 5", "DATABASE: property changed, expected `CONNECTION LIMIT -1`"),
        ("alter role app_ro in database copy set work_mem = '1MB'", "ROLE app_ro IN DATABASE: property"),
        ("grant connect on database copy to app_ro with grant option", "DATABASE: grants"),
        ("alter role app_owner bypassrls", "ROLE app_owner: attributes changed"),
        ("update pg_extension set extversion = '1.0' where extname = 'hstore'", "EXTENSION hstore: version changed"),
    ] {
        world.cluster.execute("postgres", "drop database if exists copy").await;
        world.cluster.execute("postgres", "create database copy").await;
        world.cluster.psql("copy", &script);
        world.cluster.execute("copy", damage).await;
        let told = differences(print, &world.fingerprint(&world.cluster, "copy").await);
        assert!(told.iter().any(|line| line.contains(named)), "{damage}: {told:#?}");
        world.cluster.execute("postgres", "alter role app_owner nobypassrls").await;
    }
}

#[tokio::test]
async fn the_file_is_what_pg_dump_wrote_in_members_that_the_manifest_lists() {
    let world = World::rich().await;
    let gz = world.dump("src", "a.sql.gz", &[]).await.unwrap();
    let zst = world.dump("src", "b.sql.zst", &[]).await.unwrap();
    let plain = world.dump("src", "c.sql", &[]).await.unwrap();
    let text = |backup: &Backup| {
        let text = std::fs::read_to_string(world.unpacked(backup)).unwrap();
        // The key is random.
        text.lines().filter(|l| !l.contains("restrict ")).map(|l| format!("{l}\n")).collect::<String>()
    };
    assert!(
        text(&gz).ends_with("-- PostgreSQL database dump complete\n--\n\n\n"),
        "{:?}",
        &text(&gz)[text(&gz).len() - 80..]
    );
    assert_eq!(text(&gz), text(&zst));
    assert_eq!(text(&gz), text(&plain));
    assert_eq!(gz.manifest().unwrap().fingerprint, zst.manifest().unwrap().fingerprint);

    let whole = std::fs::read(world.unpacked(&gz)).unwrap();
    let packed = std::fs::read(gz.path()).unwrap();
    let mut at = 0;
    for member in &gz.manifest().unwrap().members {
        let bytes = &packed[member.offset as usize..(member.offset + member.length) as usize];
        let mut raw = Vec::new();
        flate2::read::GzDecoder::new(bytes).read_to_end(&mut raw).unwrap();
        assert_eq!(raw, &whole[at..at + member.raw_length as usize]);
        if member.table.as_deref() == Some("app.orders") {
            let raw = String::from_utf8(raw).unwrap();
            assert!(raw.contains("COPY app.orders (") && raw.ends_with("\n\\.\n"), "{raw}");
        }
        at += member.raw_length as usize;
    }
    let checked = Command::new("sha256sum").arg("-c").arg("a.sql.gz.sha256").current_dir(world.folder.path()).output();
    assert!(checked.unwrap().status.success());
}

#[tokio::test]
async fn the_archive_of_pg_dump_has_the_same_fingerprint() {
    let world = World::rich().await;
    let backup = world.dump("src", "src.dump", &[]).await.unwrap();
    world.cluster.execute("postgres", "create database copy").await;
    world.cluster.pg_restore("copy", backup.path());
    let found = world.fingerprint(&world.cluster, "copy").await;
    assert_eq!(differences(&backup.manifest().unwrap().fingerprint, &found), Vec::<String>::new());
    let digest = Digest::of_file(backup.path(), &Progress::default(), &CancellationToken::new()).unwrap();
    assert_eq!(backup.manifest().unwrap().sha256, digest.to_string());
}

#[tokio::test]
async fn a_selection_brings_partitions_and_never_passes_as_a_whole_backup() {
    let world = World::rich().await;
    let backup = world.dump("src", "part.sql.gz", &["app.part", "\"We ird\".\"sel\"\"ect Tbl\""]).await.unwrap();
    let manifest = backup.manifest().unwrap();
    assert!(!manifest.is_whole());
    let mut tables = manifest.tables.clone().unwrap();
    tables.sort();
    assert_eq!(tables, ["\"We ird\".\"sel\"\"ect Tbl\"", "app.part", "app.part_1", "app.part_2", "app.part_def"]);
    assert_eq!(manifest.fingerprint.rows(), 305);
    let error = world.dump("src", "x.sql.gz", &["app.ordres"]).await.unwrap_err();
    assert_eq!(error.next_step(), Some("did you mean app.orders?"));
    assert_eq!(world.names(), ["part.sql.gz", "part.sql.gz.manifest.json", "part.sql.gz.sha256"]);
}

#[tokio::test]
async fn settings_of_the_database_do_not_change_how_values_are_written() {
    let world = World::rich().await;
    let view = "create materialized view app.kinds as select 'app.orders'::regclass as r, 1.1::float8 as f";
    world.cluster.execute("src", view).await;
    let before = world.fingerprint(&world.cluster, "src").await;
    world
        .cluster
        .execute(
            "postgres",
            "alter database src set bytea_output = 'escape'; alter database src set quote_all_identifiers = on; \
             alter database src set datestyle = 'German'; alter database src set intervalstyle = 'iso_8601'; \
             alter database src set timezone = 'Asia/Kathmandu'; alter database src set extra_float_digits = 0; \
             alter database src set idle_in_transaction_session_timeout = '10ms'; \
             alter database src set statement_timeout = '1ms'; alter database src set search_path = 'app'",
        )
        .await;
    let found = world.fingerprint(&world.cluster, "src").await;
    let told = differences(&before, &found);
    assert!(told.iter().all(|line| line.starts_with("DATABASE: property")), "{told:#?}");
    assert_eq!(found.views, before.views);
}

/// Enough rows that a dump cannot be over before it is disturbed.
async fn big(cluster: &TestCluster, rows: u32) {
    let fill = format!(
        "create table public.big as select g, md5(g::text) t, repeat(md5(g::text), 8) u from generate_series(1, {rows}) g"
    );
    cluster.execute("postgres", &fill).await;
}

/// Returns the process ids of pg_dumps that read this cluster.
fn pg_dumps(cluster: &TestCluster) -> Vec<i32> {
    let folder = cluster.folder().display().to_string();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().filter_map(std::result::Result::ok) {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let line = std::fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
        if line.contains("pg_dump") && line.contains(&folder) && line.contains("--snapshot") {
            found.push(pid);
        }
    }
    found
}

async fn disturbed(disturb: impl AsyncFnOnce(&World)) -> (World, Error) {
    let world = World::empty().await;
    big(&world.cluster, 300_000).await;
    let request = DumpRequest {
        source: world.cluster.address("postgres"),
        to: world.folder.path().join("big.sql.gz"),
        format: Format::SqlGz,
        tables: Vec::new(),
        jobs: None,
        matviews: true,
        mask: None,
    };
    let progress = Progress::default();
    let (count, ledger) = (progress.clone(), Arc::clone(&world.ledger));
    let running = tokio::spawn(async move { dump(&request, &count, &ledger).await });
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while progress.done() < 2 << 20 {
        assert!(std::time::Instant::now() < deadline && !running.is_finished(), "the dump does not run");
        tokio::task::yield_now().await;
    }
    disturb(&world).await;
    let error = running.await.unwrap().unwrap_err();
    (world, error)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_pg_dump_leaves_nothing_and_is_named() {
    let (world, error) = disturbed(async |world| {
        for pid in pg_dumps(&world.cluster) {
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
        }
    })
    .await;
    assert!(error.to_string().contains("pg_dump was killed by signal 9"), "{error}");
    assert_eq!(world.names(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_is_terminated_leaves_nothing_and_is_named() {
    let end = "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'pg_dump'";
    let (world, error) = disturbed(async |world| world.cluster.execute("postgres", end).await).await;
    assert!(error.to_string().contains("pg_dump exited with status 1"), "{error}");
    // The server says farewell, unless the connection is gone before pg_dump reads it.
    let told =
        |tail: &str| tail.contains("terminating connection") || tail.contains("closed the connection unexpectedly");
    assert!(error.stderr_tail().is_some_and(told), "{error:?}");
    assert_eq!(world.names(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_snapshot_fails_the_dump_although_pg_dump_succeeds() {
    let end = "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'runner' \
               and pid <> pg_backend_pid() and backend_xmin is not null";
    let (world, error) = disturbed(async |world| world.cluster.execute("postgres", end).await).await;
    assert_eq!(error.kind(), Kind::Database, "{error}");
    assert_eq!(world.names(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_that_is_dropped_ends_its_pg_dump_and_leaves_nothing() {
    let world = World::empty().await;
    big(&world.cluster, 300_000).await;
    let progress = Progress::default();
    let request = DumpRequest {
        source: world.cluster.address("postgres"),
        to: world.folder.path().join("big.sql.gz"),
        format: Format::SqlGz,
        tables: Vec::new(),
        jobs: None,
        matviews: true,
        mask: None,
    };
    let begun = async {
        while progress.done() < 1 << 20 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        done = dump(&request, &progress, &world.ledger) => panic!("it was too quick: {:?}", done.is_ok()),
        () = begun => {}
    }
    assert_eq!(world.names(), Vec::<String>::new());
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while !pg_dumps(&world.cluster).is_empty() {
        assert!(std::time::Instant::now() < deadline, "pg_dump still runs");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn an_existing_backup_is_refused_before_any_work() {
    let world = World::empty().await;
    world.dump("postgres", "x.sql.gz", &[]).await.unwrap();
    let before = std::fs::read(world.folder.path().join("x.sql.gz")).unwrap();
    assert_eq!(world.dump("postgres", "x.sql.gz", &[]).await.unwrap_err().kind(), Kind::Refused);
    assert_eq!(std::fs::read(world.folder.path().join("x.sql.gz")).unwrap(), before);
}

/// Run alone: `cargo nextest run --run-ignored only memory`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures the whole process, so it must be alone in it"]
async fn dumping_reading_and_inspecting_a_million_rows_stays_below_64_mib_of_memory() {
    let world = World::empty().await;
    big(&world.cluster, 1_000_000).await;
    let started = std::time::Instant::now();
    let backup = world.dump("postgres", "big.sql.gz", &[]).await.unwrap();
    let dumped = started.elapsed();
    let found = world.fingerprint(&world.cluster, "postgres").await;
    let read = started.elapsed() - dumped;
    assert!(verdict(&backup.manifest().unwrap().fingerprint, &found).equal);
    let path = backup.path().to_owned();
    let look = move || crate::postgres::inspect(&path, &Progress::default(), &CancellationToken::new());
    let inspection = tokio::task::spawn_blocking(look).await.unwrap().unwrap();
    let inspected = started.elapsed() - dumped - read;
    assert_eq!(inspection.rows["public.big"], 1_000_000);
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap().trim();
    let facts = backup.manifest().unwrap();
    eprintln!("{} bytes of SQL, {} packed", facts.raw_size, facts.size);
    eprintln!("dump {dumped:?}, fingerprint {read:?}, inspect {inspected:?}, peak {peak}");
    assert_eq!(backup.rows("public.big").unwrap(), 1_000_000);
    let kib: u64 = peak.trim_end_matches(" kB").parse().unwrap();
    assert!(kib < 64 << 10, "the peak was {peak}");
}
