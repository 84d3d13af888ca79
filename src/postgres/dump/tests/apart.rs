//! Several pg_dumps at a time make the same backup as one, and none of them can fail unseen.

use std::time::{Duration, Instant};

use super::*;
use crate::backups::Section;
use crate::postgres::{Way, inspect};
use crate::secret::Secret;

/// Tables that are worth a pg_dump of their own, among them a partition, and what must not be read apart: an inheritance's
/// child, partitions by an enum's hash (pg_dump writes their rows as those of the topmost table), small tables, a view. Names need quotes, columns have sequences, and a key points from one to the other.
const LARGE: &str = r#"
create schema "We ird";
create table "We ird"."Ta""ble" (id serial primary key, dropped int, t text not null, twice text generated always as (t || t) stored);
alter table "We ird"."Ta""ble" drop column dropped;
insert into "We ird"."Ta""ble" (t) select repeat(md5(g::text), 8) from generate_series(1, 80000) g;
create table public.log (at date not null, t text) partition by range (at);
create table public.log_1 (t text, at date not null);
alter table public.log attach partition public.log_1 for values from ('2020-01-01') to ('2030-01-01');
create table public.log_2 partition of public.log default;
insert into public.log select date '2024-01-01' + g % 9, repeat(md5(g::text), 8) from generate_series(1, 140000) g;
create table public.parent (a int, b text);
create table public.child (c text) inherits (public.parent);
insert into public.child select g, 'b' || g, repeat(md5(g::text), 8) from generate_series(1, 140000) g;
create table public.third (id int references "We ird"."Ta""ble", t text);
insert into public.third select g % 80000 + 1, repeat(md5(g::text), 8) from generate_series(1, 140000) g;
create type public.mood as enum ('calm', 'wild');
create table public.luck (m public.mood, t text) partition by hash (m);
create table public.luck_0 partition of public.luck for values with (modulus 1, remainder 0);
insert into public.luck select 'wild', repeat(md5('luck' || g), 8) from generate_series(1, 140000) g;
create table public.small (id serial, t text);
insert into public.small (t) values ('a'), (null);
create view public.seen as select * from public.small;
create index on public.third (id);
"#;

async fn large() -> World {
    let world = World::empty().await;
    world.cluster.execute("postgres", "create database src").await;
    let script = world.folder.path().join("large.sql");
    std::fs::write(&script, LARGE).unwrap();
    world.cluster.psql("src", &script);
    std::fs::remove_file(script).unwrap();
    world
}

fn request(world: &World, name: &str, jobs: usize) -> DumpRequest {
    DumpRequest {
        source: world.cluster.address("src"),
        to: world.folder.path().join(name),
        format: Format::of_name(name).unwrap(),
        tables: Vec::new(),
        jobs: Some(jobs),
        matviews: true,
        mask: None,
    }
}

/// Returns the tables in the order in which their rows lie in the file; each must lie in one place.
fn order(members: &[Member]) -> Vec<String> {
    let mut tables: Vec<String> = members.iter().filter_map(|member| member.table.clone()).collect();
    tables.dedup();
    let mut once = tables.clone();
    once.sort();
    once.dedup();
    assert_eq!(once.len(), tables.len(), "{tables:?}");
    tables
}

#[tokio::test(flavor = "multi_thread")]
async fn several_pg_dumps_make_the_backup_that_one_makes() {
    let world = large().await;
    let alone = dump(&request(&world, "alone.sql", 1), &Progress::default(), &world.ledger).await.unwrap();
    let alone = alone.manifest().unwrap();
    for (name, jobs) in [("two.sql.gz", 4), ("two.sql.zst", 5), ("three.sql", 8)] {
        let backup = dump(&request(&world, name, jobs), &Progress::default(), &world.ledger).await.unwrap();
        let manifest = backup.manifest().unwrap();
        assert_eq!(manifest.fingerprint, alone.fingerprint, "{name}");
        assert_eq!(order(&manifest.members).len(), order(&alone.members).len(), "{name}");
        assert_ne!(order(&manifest.members), order(&alone.members), "{name}: some came apart");
        let sections: Vec<Section> = manifest.members.iter().map(|member| member.section).collect();
        assert!(sections.is_sorted(), "{name}: definitions, rows, keys");
        let path = backup.path().to_owned();
        let look = move || inspect(&path, &Progress::default(), &CancellationToken::new());
        let seen = tokio::task::spawn_blocking(look).await.unwrap().unwrap();
        assert!(seen.agreed_with.contains(&"fingerprint"), "{name}");

        let copy = format!("copy_{jobs}");
        world.cluster.execute("postgres", &format!("create database {copy}")).await;
        world.cluster.psql(&copy, &world.unpacked(&backup));
        let found = world.fingerprint(&world.cluster, &copy).await;
        assert_eq!(differences(&alone.fingerprint, &found), Vec::<String>::new(), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_read_apart_is_large_and_says_all_of_itself() {
    let world = large().await;
    let theirs = "create extension pg_trgm schema public; create table public.theirs (a int); \
                  alter extension pg_trgm add table public.theirs";
    world.cluster.execute("src", theirs).await;
    let snapshot = crate::postgres::snapshot::Snapshot::take(&world.cluster.address("src")).await.unwrap();
    let found = crate::postgres::stored::list(&snapshot).await.unwrap();
    let mut large: Vec<&str> = found.iter().filter(|t| t.bytes > 32 << 20 && !t.child).map(|t| &*t.name).collect();
    large.sort_unstable();
    assert_eq!(large, ["\"We ird\".\"Ta\"\"ble\"", "public.log_1", "public.third"]);
    let all: Vec<&str> = found.iter().map(|table| &*table.name).collect();
    assert!(all.contains(&"public.small") && all.contains(&"public.log_2") && all.contains(&"public.parent"));
    assert!(found.iter().any(|table| table.name == "public.child" && table.child));
    for other in ["public.log", "public.luck", "public.luck_0", "public.theirs", "public.seen"] {
        assert!(!all.contains(&other), "{other}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn masks_hold_wherever_the_rows_come_from() {
    let world = large().await;
    let masked = |name: &str, jobs| {
        let columns =
            ["\"We ird\".\"Ta\"\"ble\".t", "public.third.t", "public.log.t", "public.small.t", "public.child.c"];
        let columns = columns.map(|column| (column.to_owned(), Way::Hash)).to_vec();
        let mask = Some(Mask { columns, key: Some(Secret::new("sixteen letters or more")) });
        DumpRequest { mask, ..request(&world, name, jobs) }
    };
    let alone = dump(&masked("alone.sql", 1), &Progress::default(), &world.ledger).await.unwrap();
    let apart = dump(&masked("apart.sql", 8), &Progress::default(), &world.ledger).await.unwrap();
    let (alone, manifest) = (alone.manifest().unwrap(), apart.manifest().unwrap());
    assert_ne!(order(&manifest.members), order(&alone.members));
    assert_eq!((&manifest.fingerprint, &manifest.masked), (&alone.fingerprint, &alone.masked));
    let text = std::fs::read(apart.path()).unwrap();
    for row in ["c4ca4238a0b923820dcc509a6f75849b", "c81e728d9d4c2f636f067f89cc14862c"] {
        assert!(memchr::memmem::find(&text, row.as_bytes()).is_none(), "a value of row 1 or 2 is in the copy");
    }
}

/// Begins a dump by several pg_dumps, kills those whose command line this accepts, and returns the error.
async fn killed(which: impl Fn(&str) -> bool) -> (World, Error) {
    let world = large().await;
    let request = request(&world, "src.sql.gz", 8);
    let (progress, ledger) = (Progress::default(), Arc::clone(&world.ledger));
    let count = progress.clone();
    let running = tokio::spawn(async move { dump(&request, &count, &ledger).await });
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut killed = 0;
    while killed == 0 {
        assert!(Instant::now() < deadline && !running.is_finished(), "the dump does not run");
        for pid in pg_dumps(&world.cluster) {
            let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            if progress.done() > 0 && which(&line) {
                nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
                killed += 1;
            }
        }
        tokio::task::yield_now().await;
    }
    let error = running.await.unwrap().unwrap_err();
    (world, error)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_any_pg_dump_is_the_end_of_the_dump() {
    for apart in [true, false] {
        let (world, error) = killed(|line| line.contains("--data-only") == apart).await;
        assert!(error.to_string().contains("pg_dump was killed by signal 9"), "{apart}: {error}");
        assert_eq!(world.names(), Vec::<String>::new());
        let deadline = Instant::now() + Duration::from_secs(10);
        while !pg_dumps(&world.cluster).is_empty() {
            assert!(Instant::now() < deadline, "a pg_dump still runs");
            tokio::task::yield_now().await;
        }
    }
}
