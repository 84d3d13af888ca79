//! Memory does not grow with the data: a million rows are dumped, restored and compared within 64 MiB. The only test of
//! its target, because the peak is the whole process's.

use std::time::Instant;

use runner::backups::Format;
use runner::compare::{Scope, compare};
use runner::postgres::{DumpRequest, RestoreOptions, RestoreTarget, dump, fingerprint, restore};
use runner::progress::Progress;
use runner_test_support as support;

const MILLION: &str = "
    create table customers as select g as id, 'name ' || g as name, now() as made from generate_series(1, 100000) g;
    create table orders as select g as id, 1 + g % 100000 as customer, md5(g::text) as token, g * 1.5 as total,
        repeat('note ' || g || ' ', 12) as note from generate_series(1, 1000000) g;
    alter table customers add primary key (id);
    alter table orders add primary key (id);
    alter table orders add foreign key (customer) references customers;
    create index on orders (token);
    create index on orders (customer, total);";

/// Returns the most memory that this process ever had, in MiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux tells");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("there is a peak");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).expect("it is a number") / 1024
}

#[tokio::test(flavor = "multi_thread")]
async fn a_million_rows_are_dumped_restored_and_compared_within_64_mib() {
    let Some(server) = support::postgres().await else { return };
    let (folder, ledger) = (tempfile::tempdir().unwrap(), support::ledger().await);
    server.create("source", MILLION).await;
    let mut started = Instant::now();
    let mut tell = |what: &str| {
        eprintln!("{what}: {:.1} s, peak {} MiB", started.elapsed().as_secs_f64(), peak());
        started = Instant::now();
    };
    let request = DumpRequest {
        source: server.address("source"),
        to: folder.path().join("source.sql.gz"),
        format: Format::SqlGz,
        tables: Vec::new(),
        jobs: None,
        matviews: true,
        mask: None,
    };
    let backup = dump(&request, &Progress::default(), &ledger).await.unwrap();
    tell("dump");
    let options = RestoreOptions { database: "copy".into(), ..RestoreOptions::default() };
    let target = RestoreTarget::sandbox(server.sandbox());
    let restored = restore(&backup, &target, &options, &ledger, &Progress::default()).await.unwrap();
    tell("restore");
    assert_eq!(restored.rows, 1_100_000);
    let after = fingerprint(&restored.address, &[], &Progress::default(), &ledger).await.unwrap();
    tell("fingerprint");
    assert!(compare(&backup.manifest().unwrap().fingerprint, &after, &Scope::default()).unwrap().equal);
    assert!(peak() < 64, "the peak was {} MiB", peak());
}
