//! Restores for real: what comes back, what is refused, and what is left after a failure.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use runner::backups::{Backup, Format};
use runner::cleanup::Ledger;
use runner::compare::{Scope, compare};
use runner::error::{Error, Kind, Result};
use runner::postgres::{
    DumpRequest, RestoreOptions, RestoreTarget, Restored, create_scratch, dump, fingerprint, restore,
};
use runner::progress::{Pace, Progress};
use runner_test_support::{self as support, TestServer};
use tokio_util::sync::CancellationToken;

const RICH: &str = include_str!("fixtures/rich.sql");
const ROLES: &str = "create role app_owner; create role app_ro;";

fn options(database: &str) -> RestoreOptions {
    RestoreOptions { database: database.into(), ..RestoreOptions::default() }
}

async fn into(server: &TestServer, file: &Path, options: &RestoreOptions, ledger: &Arc<Ledger>) -> Result<Restored> {
    let target = RestoreTarget::sandbox(server.sandbox());
    restore(&Backup::open(file)?, &target, options, ledger, &Progress::default()).await
}

/// Restores with a limit on its bandwidth, so that it is still among its rows when something happens to it.
async fn slowly_into(
    server: &TestServer,
    file: &Path,
    options: &RestoreOptions,
    ledger: &Arc<Ledger>,
) -> Result<Restored> {
    let target = RestoreTarget::sandbox(server.sandbox());
    let slow = Progress::paced(Arc::new(Pace::new(5 << 20)), CancellationToken::new());
    restore(&Backup::open(file)?, &target, options, ledger, &slow).await
}

/// Writes a dump as `gzip` would.
fn gzipped(folder: &Path, name: &str, text: &[u8]) -> PathBuf {
    let path = folder.join(name);
    let mut file = GzEncoder::new(std::fs::File::create(&path).expect("the file is new"), Compression::fast());
    file.write_all(text).and_then(|()| file.finish()).expect("the text fits");
    path
}

/// Returns a dump's text without the words that differ from one pg_dump to the next.
fn comparable(dump: Option<Vec<u8>>) -> String {
    let text = String::from_utf8(dump.expect("there is a pg_dump")).expect("a dump is UTF-8");
    let lines = text.lines().filter(|l| !l.starts_with("\\restrict") && !l.starts_with("\\unrestrict"));
    lines.collect::<Vec<_>>().join("\n")
}

async fn rich() -> Option<(TestServer, tempfile::TempDir, Vec<u8>)> {
    let server = support::postgres().await?;
    server.execute("postgres", ROLES).await;
    server.create("rich", RICH).await;
    let dump = server.pg_dump("rich", &[])?;
    Some((server, tempfile::tempdir().expect("there is a temporary folder"), dump))
}

#[tokio::test]
async fn what_pg_dump_and_gzip_wrote_comes_back_line_by_line() {
    let Some((server, folder, dump)) = rich().await else { return };
    let ledger = support::ledger().await;
    let file = gzipped(folder.path(), "rich.sql.gz", &dump);
    let restored = into(&server, &file, &options("copy"), &ledger).await.unwrap();
    assert_eq!(restored.address.database(), "copy");
    assert!(restored.rows > 600, "{}", restored.rows);
    let (before, after) = (comparable(Some(dump)), comparable(server.pg_dump("copy", &[])));
    // A restore puts the inherited columns of a child first; here they are in their places already.
    for (a, b) in before.lines().zip(after.lines()) {
        assert_eq!(a, b);
    }
    assert_eq!(before.len(), after.len());
    assert_eq!(server.databases().await, ["copy", "postgres", "rich", "template0", "template1"]);
}

#[tokio::test]
async fn a_cut_file_never_touches_the_server() {
    let Some((server, folder, dump)) = rich().await else { return };
    let ledger = support::ledger().await;
    let text = String::from_utf8(dump.clone()).unwrap();
    let cut = text.find("\\.\n").unwrap() - 10;
    let whole = std::fs::read(gzipped(folder.path(), "whole.sql.gz", &dump)).unwrap();
    let cases = [
        (
            "inside.sql.gz",
            std::fs::read(gzipped(folder.path(), "x.sql.gz", &dump[..cut])).unwrap(),
            "inside the rows of table",
        ),
        ("cut.sql.gz", whole[..whole.len() * 6 / 10].to_vec(), ""),
        ("tail.sql.gz", whole[..whole.len() - 4].to_vec(), ""),
        ("garbage.sql.gz", [whole.as_slice(), b"x\n"].concat(), ""),
        ("empty.sql.gz", Vec::new(), ""),
    ];
    for (name, bytes, why) in cases {
        let file = folder.path().join(name);
        std::fs::write(&file, bytes).unwrap();
        let error = into(&server, &file, &options("copy"), &ledger).await.err().unwrap();
        assert!(matches!(error.kind(), Kind::Damaged | Kind::Io), "{name}: {error:?}");
        assert!(error.to_string().contains(why), "{name}: {error}");
        assert!(ledger.remaining().is_empty(), "{name}: nothing was even begun");
    }
    assert_eq!(server.databases().await, ["postgres", "rich", "template0", "template1"]);
}

#[tokio::test]
async fn a_bad_row_names_its_table_and_line_and_leaves_no_database() {
    let Some((server, folder, dump)) = rich().await else { return };
    let ledger = support::ledger().await;
    let text = String::from_utf8(dump).unwrap();
    let at = text.find("COPY app.orders ").unwrap();
    let third = text[at..].match_indices('\n').nth(2).unwrap().0 + at + 1;
    let end = text[third..].find('\t').unwrap() + third;
    let bad = format!("{}many{}", &text[..third], &text[end..]);
    let line = text[..third].lines().count() + 1;
    let file = gzipped(folder.path(), "bad.sql.gz", bad.as_bytes());
    let error = into(&server, &file, &options("copy"), &ledger).await.err().unwrap();
    let told = error.to_string();
    assert!(told.starts_with(&format!("could not load row 3 of table app.orders (line {line} of the dump)")), "{told}");
    assert!(told.contains("invalid input syntax for type bigint: \"many\""), "{told}");
    assert_eq!(server.databases().await, ["postgres", "rich", "template0", "template1"]);
    assert!(ledger.remaining().is_empty());
}

#[tokio::test]
async fn a_definition_that_the_server_refuses_is_named_with_its_line() {
    let Some((server, folder, dump)) = rich().await else { return };
    let ledger = support::ledger().await;
    let text = String::from_utf8(dump).unwrap();
    for (good, bad, shown) in [
        ("CREATE DOMAIN app.rating AS integer", "CREATE DOMAIN app.rating AS nosuch", "DOMAIN app.rating"),
        ("ON app.orders USING btree (customer_id)", "ON app.orders USING btree (nosuch)", "INDEX app.orders_cust"),
    ] {
        let line = text[..text.find(good).unwrap()].matches('\n').count() + 1;
        let file = gzipped(folder.path(), "bad.sql.gz", text.replace(good, bad).as_bytes());
        let error = into(&server, &file, &options("copy"), &ledger).await.err().unwrap().to_string();
        assert!(error.starts_with(&format!("could not restore {shown} (line {line} of the dump)")), "{error}");
        assert!(error.contains("nosuch"), "{error}");
    }
    assert_eq!(server.databases().await, ["postgres", "rich", "template0", "template1"]);
}

#[tokio::test]
async fn everything_that_the_target_lacks_is_said_at_once() {
    let Some((server, folder, dump)) = rich().await else { return };
    let Some(other) = support::postgres().await else { return };
    let ledger = support::ledger().await;
    let text =
        String::from_utf8(dump).unwrap().replace("EXTENSION IF NOT EXISTS hstore", "EXTENSION IF NOT EXISTS nosuch");
    let file = gzipped(folder.path(), "rich.sql.gz", text.as_bytes());
    let foreign = RestoreTarget::server(other.address("postgres"));
    let backup = Backup::open(&file).unwrap();
    let error = restore(&backup, &foreign, &options("copy"), &ledger, &Progress::default()).await.err().unwrap();
    assert_eq!(error.kind(), Kind::Missing);
    assert!(error.to_string().ends_with("roles app_owner, app_ro; extensions nosuch"), "{error}");
    assert_eq!(other.databases().await, ["postgres", "template0", "template1"]);
    drop(server);
}

#[tokio::test]
async fn a_database_is_replaced_only_when_asked_and_by_a_whole_one() {
    let Some((server, folder, dump)) = rich().await else { return };
    let ledger = support::ledger().await;
    let file = gzipped(folder.path(), "rich.sql.gz", &dump);
    server.create("copy", "create table precious as select 1 as a").await;
    let refused = into(&server, &file, &options("copy"), &ledger).await.err().unwrap();
    assert_eq!(refused.kind(), Kind::Refused);
    let text = String::from_utf8(dump).unwrap();
    let late =
        text.replace("-- PostgreSQL database dump complete", "SELECT 1/0;\n\n-- PostgreSQL database dump complete");
    let bad = gzipped(folder.path(), "late.sql.gz", late.as_bytes());
    let replace = RestoreOptions { replace: true, keep_replaced: true, ..options("copy") };
    let error = into(&server, &bad, &replace, &ledger).await.err().unwrap();
    assert!(error.to_string().contains("division by zero"), "{error}");
    assert_eq!(server.value("copy", "select a from precious").await, "1", "a late error leaves the old one alone");
    let restored = into(&server, &file, &replace, &ledger).await.unwrap();
    let before = restored.replaced.unwrap();
    assert_eq!(server.value(&before, "select a from precious").await, "1");
    assert_eq!(server.value("copy", "select count(*) from app.orders").await, "200");
    let replace = RestoreOptions { replace: true, ..options("copy") };
    into(&server, &file, &replace, &ledger).await.err().expect("the name of the kept one is taken");
    server.execute("postgres", &format!("drop database \"{before}\"")).await;
    into(&server, &file, &replace, &ledger).await.unwrap();
    assert_eq!(server.databases().await, ["copy", "postgres", "rich", "template0", "template1"]);
}

#[tokio::test]
async fn a_selection_brings_its_tables_with_all_that_is_theirs() {
    let Some((server, folder, dump)) = rich().await else { return };
    let ledger = support::ledger().await;
    let file = gzipped(folder.path(), "rich.sql.gz", &dump);
    let tables = Some(vec!["orders".to_owned(), "app.part".to_owned()]);
    let restored = into(&server, &file, &RestoreOptions { tables, ..options("copy") }, &ledger).await.unwrap();
    assert_eq!(restored.left_out, ["FK CONSTRAINT app.orders orders_customer_id_fkey"]);
    assert_eq!(restored.rows, 501);
    let there = "select string_agg(c.oid::regclass::text, ' ' order by c.oid::regclass::text) from pg_class c \
                 where relkind in ('r','p','f') and relnamespace in ('app'::regnamespace, '\"We ird\"'::regnamespace)";
    assert_eq!(server.value("copy", there).await, "app.orders app.part app.part_1 app.part_2 app.part_def");
    assert_eq!(server.value("copy", "select count(*) from app.part").await, "301");
    let theirs = "select count(*) from pg_index where indrelid = 'app.orders'::regclass";
    assert_eq!(server.value("copy", theirs).await, "3");
    assert_eq!(server.value("copy", "select nextval('app.orders_id_seq')").await, "201");
    assert_eq!(server.value("copy", "select tgname from pg_trigger where not tgisinternal").await, "t_note");
    let nosuch = Some(vec!["app.order".to_owned()]);
    let error =
        into(&server, &file, &RestoreOptions { tables: nosuch, ..options("other") }, &ledger).await.err().unwrap();
    assert!(error.next_step().unwrap().starts_with("did you mean app.orders?"), "{error:?}");
    let part = Some(vec!["app.part_1".to_owned()]);
    let error =
        into(&server, &file, &RestoreOptions { tables: part, ..options("other") }, &ledger).await.err().unwrap();
    assert!(error.to_string().contains("without its parent app.part"), "{error}");
}

#[tokio::test]
async fn an_archive_is_read_whole_and_restored_by_our_own_loader() {
    let Some((server, folder, _)) = rich().await else { return };
    let ledger = support::ledger().await;
    let archive = server.pg_dump("rich", &["-Fc"]).unwrap();
    let file = folder.path().join("rich.dump");
    std::fs::write(&file, &archive).unwrap();
    into(&server, &file, &options("copy"), &ledger).await.unwrap();
    assert_eq!(comparable(server.pg_dump("copy", &[])), comparable(server.pg_dump("rich", &[])));
    std::fs::write(&file, &archive[..archive.len() * 6 / 10]).unwrap();
    let error = into(&server, &file, &options("cut"), &ledger).await.err().unwrap();
    assert!(error.to_string().contains("pg_restore"), "{error}");
    assert_eq!(server.databases().await, ["copy", "postgres", "rich", "template0", "template1"]);
    assert!(ledger.drain().await.is_empty());
}

/// A dump whose rows keep the loader busy for a while.
async fn long(server: &TestServer, folder: &Path) -> Option<PathBuf> {
    let script = "create table big as select g as id, repeat(md5(g::text), 4) as text from generate_series(1, 400000) g; \
                  alter table big add primary key (id)";
    server.create("big", script).await;
    let dump = server.pg_dump("big", &[])?;
    Some(gzipped(folder, "big.sql.gz", &dump))
}

/// Waits until a restore copies rows.
async fn copying(server: &TestServer) {
    let deadline = Instant::now() + Duration::from_secs(30);
    let session = server.session("postgres").await;
    let busy = "select count(*) from pg_stat_activity where query ilike 'copy%' and datname like '%\\_\\_runner\\_%'";
    while session.client().query_one(busy, &[]).await.expect("the server answers").get::<_, i64>(0) == 0 {
        assert!(Instant::now() < deadline, "no restore copies rows");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_restore_that_is_cancelled_among_its_rows_leaves_nothing() {
    for server in support::both_providers().await {
        let (folder, ledger) = (tempfile::tempdir().unwrap(), support::ledger().await);
        let Some(file) = long(&server, folder.path()).await else { return };
        let options = options("copy");
        tokio::select! {
            biased;
            () = copying(&server) => {}
            result = slowly_into(&server, &file, &options, &ledger) => panic!("too quick: {:?}", result.err()),
        }
        assert_eq!(ledger.remaining().len(), 1);
        assert!(ledger.drain().await.is_empty());
        assert_eq!(server.databases().await, ["big", "postgres", "template0", "template1"]);
    }
}

#[tokio::test]
async fn a_cancelled_reading_of_an_archive_leaves_no_program_in_the_sandbox() {
    for server in support::both_providers().await {
        let (folder, ledger) = (tempfile::tempdir().unwrap(), support::ledger().await);
        server
            .execute(
                "postgres",
                "create table rows as select repeat(md5(g::text), 4) from generate_series(1, 300000) g",
            )
            .await;
        let Some(archive) = server.pg_dump("postgres", &["-Fc", "-Z1"]) else { return };
        let file = folder.path().join("rows.dump");
        std::fs::write(&file, archive).unwrap();
        let options = options("copy");
        tokio::select! {
            biased;
            () = copying(&server) => {}
            result = slowly_into(&server, &file, &options, &ledger) => panic!("too quick: {:?}", result.err()),
        }
        assert!(ledger.drain().await.is_empty());
        assert_eq!(server.databases().await, ["postgres", "template0", "template1"]);
        if let Some(container) = server.sandbox().container() {
            let inside = container.exec(["ps", "-eo", "args"]).output(&ledger).await.unwrap();
            assert!(!String::from_utf8_lossy(&inside).contains("pg_restore"));
        }
    }
}

#[tokio::test]
async fn a_scratch_database_is_empty_and_goes_with_the_run() {
    let Some(server) = support::postgres().await else { return };
    let ledger = support::ledger().await;
    let made = create_scratch(&server.address("postgres"), "try", &ledger).await.unwrap();
    assert_eq!(made.database(), "try");
    let again = create_scratch(&server.address("postgres"), "try", &ledger).await.err().unwrap();
    assert!(again.next_step().is_some_and(|hint| hint.contains("left from an earlier run")), "{again:?}");
    server.execute(made.database(), "create table t (a int)").await;
    let record = ledger.remaining().remove(0);
    assert_eq!(record.kind, "scratch database");
    assert!(ledger.drain().await.is_empty());
    assert_eq!(server.databases().await, ["postgres", "template0", "template1"]);
}

#[tokio::test]
async fn a_server_killed_in_mid_restore_is_an_error_and_not_a_hang() {
    let Some(server) = support::postgres_by(runner::postgres::Provider::Docker).await else {
        return support::not_run("there is no Docker with a PostgreSQL image");
    };
    let (folder, ledger) = (tempfile::tempdir().unwrap(), support::ledger().await);
    let Some(file) = long(&server, folder.path()).await else { return };
    let name = server.container_name().unwrap().to_owned();
    let kill = async {
        copying(&server).await;
        let killed = tokio::process::Command::new("docker").args(["kill", &name]).output().await.unwrap();
        assert!(killed.status.success());
    };
    let options = options("copy");
    let (result, ()) = tokio::join!(slowly_into(&server, &file, &options, &ledger), kill);
    let error: Error = result.err().unwrap();
    assert!(error.to_string().contains("big"), "{error:?}");
    assert!(ledger.drain().await.is_empty(), "what was on a dead throwaway server is gone with it");
}

#[tokio::test]
async fn a_restore_can_run_as_a_task() {
    fn is_send<T: Send>(_: &T) {}
    let Some(server) = support::postgres().await else { return };
    let ledger = support::ledger().await;
    let target = RestoreTarget::sandbox(server.sandbox());
    let folder = tempfile::tempdir().unwrap();
    let file = gzipped(folder.path(), "x.sql.gz", b"");
    let (backup, options, progress) = (Backup::open(&file).unwrap(), options("x"), Progress::default());
    let running = restore(&backup, &target, &options, &ledger, &progress);
    is_send(&running);
    assert!(running.await.is_err());
}

/// Restores our own dump of the rich database into another server and compares all of it.
async fn proven(format: Format, file: &str) {
    let Some(source) = support::postgres().await else { return };
    let Some(target) = support::postgres().await else { return };
    let (folder, ledger, progress) =
        (tempfile::tempdir().expect("a folder"), support::ledger().await, Progress::default());
    source
        .execute(
            "postgres",
            "create role app_owner login connection limit 3; create role team; grant team to app_owner",
        )
        .await;
    source.execute("postgres", "create role app_ro; alter role app_ro set work_mem = '8MB'").await;
    source.create("rich", RICH).await;
    let settings = "alter database rich set datestyle = 'German'; alter database rich set search_path = \"$user\", app; \
                    comment on database rich is 'it''s ours'; alter database rich connection limit 9; \
                    revoke connect on database rich from public; grant connect on database rich to app_ro; \
                    alter database rich owner to app_owner; alter role app_ro in database rich set search_path = app";
    source.execute("postgres", settings).await;
    let request = DumpRequest {
        source: source.address("rich"),
        to: folder.path().join(file),
        format,
        tables: Vec::new(),
        jobs: None,
        matviews: true,
        mask: None,
    };
    let backup = dump(&request, &progress, &ledger).await.expect("the dump succeeds");
    let restored = into(&target, backup.path(), &options("copy"), &ledger).await.expect("the restore succeeds");
    let before = &backup.manifest().expect("our dumps have one").fingerprint;
    let after = fingerprint(&restored.address, &[], &progress, &ledger).await.expect("the copy can be read");
    let verdict = compare(before, &after, &Scope::default()).expect("both sides can be compared");
    assert!(verdict.equal, "{verdict:#?}");
    assert_eq!(restored.rows, before.rows());
    // And the check can fail.
    target.execute("copy", "update app.orders set note = 'Note 7' where note = 'note 7'").await;
    let after = fingerprint(&restored.address, &[], &progress, &ledger).await.expect("the copy can be read");
    assert!(!compare(before, &after, &Scope::default()).expect("both sides can be compared").equal);
    assert!(ledger.drain().await.is_empty());
}

#[tokio::test]
async fn our_own_dump_comes_back_equal_with_roles_settings_and_grants() {
    proven(Format::SqlGz, "rich.sql.gz").await;
}

#[tokio::test]
async fn our_own_zstandard_dump_comes_back_equal() {
    proven(Format::SqlZst, "rich.sql.zst").await;
}

#[tokio::test]
async fn our_own_archive_comes_back_equal() {
    proven(Format::Custom, "rich.dump").await;
}

#[tokio::test]
async fn a_dump_of_some_tables_restores_without_the_others() {
    let Some(server) = support::postgres().await else { return };
    let (folder, ledger) = (tempfile::tempdir().unwrap(), support::ledger().await);
    let script = "create schema app; create table app.a (id int primary key); insert into app.a values (1); \
                  create table app.b (id int primary key, a int references app.a); insert into app.b values (7, 1)";
    server.create("two", script).await;
    let request = DumpRequest {
        source: server.address("two"),
        to: folder.path().join("b.sql.gz"),
        format: Format::SqlGz,
        tables: vec!["app.b".into()],
        jobs: None,
        matviews: true,
        mask: None,
    };
    let backup = dump(&request, &Progress::default(), &ledger).await.unwrap();
    let restored = into(&server, backup.path(), &options("copy"), &ledger).await.unwrap();
    assert_eq!((restored.rows, restored.left_out), (1, vec!["FK CONSTRAINT app.b b_a_fkey".to_owned()]));
    assert_eq!(server.value("copy", "select id from app.b").await, "7");
}

#[tokio::test]
async fn a_backup_that_is_not_what_its_manifest_says_is_refused() {
    let Some(server) = support::postgres().await else { return };
    let (folder, ledger) = (tempfile::tempdir().unwrap(), support::ledger().await);
    server.create("small", "create table t as select g as a from generate_series(1, 1000) g").await;
    let to = folder.path().join("small.sql");
    let request = DumpRequest {
        source: server.address("small"),
        to: to.clone(),
        format: Format::Sql,
        tables: vec![],
        jobs: None,
        matviews: true,
        mask: None,
    };
    dump(&request, &Progress::default(), &ledger).await.unwrap();
    let mut bytes = std::fs::read(&to).unwrap();
    let at = bytes.windows(5).position(|w| w == b"\n500\n").unwrap();
    bytes[at + 1] = b'6';
    std::fs::write(&to, bytes).unwrap();
    let error = into(&server, &to, &options("copy"), &ledger).await.err().unwrap();
    assert_eq!(error.kind(), Kind::Damaged);
    assert!(error.to_string().contains("its SHA-256 is"), "{error}");
    assert_eq!(server.databases().await, ["postgres", "small", "template0", "template1"]);
}

#[tokio::test]
async fn the_database_that_was_backed_up_is_never_a_target() {
    let Some(server) = support::postgres().await else { return };
    let (folder, ledger) = (tempfile::tempdir().unwrap(), support::ledger().await);
    server.create("small", "create table t as select 1 as a").await;
    let to = folder.path().join("small.sql.gz");
    let request = DumpRequest {
        source: server.address("small"),
        to,
        format: Format::SqlGz,
        tables: vec![],
        jobs: None,
        matviews: true,
        mask: None,
    };
    let backup = dump(&request, &Progress::default(), &ledger).await.unwrap();
    let target = RestoreTarget::server(server.address("postgres"));
    let replace = RestoreOptions { replace: true, ..options("small") };
    let error = restore(&backup, &target, &replace, &ledger, &Progress::default()).await.err().unwrap();
    assert_eq!(error.kind(), Kind::Refused);
    assert!(error.to_string().contains("server and name are those of the source"), "{error}");
}

#[tokio::test]
async fn a_definition_that_a_manifest_calls_rows_is_found_and_nothing_is_left() {
    let Some((server, folder, _)) = rich().await else { return };
    let ledger = support::ledger().await;
    let request = DumpRequest {
        source: server.address("rich"),
        to: folder.path().join("forged.sql.gz"),
        format: Format::SqlGz,
        tables: Vec::new(),
        jobs: None,
        matviews: false,
        mask: None,
    };
    let made = dump(&request, &Progress::default(), &ledger).await.unwrap();
    let path = runner::backups::manifest_path(made.path());
    let honest = std::fs::read_to_string(&path).unwrap();
    // What comes after the data is called rows of the last table: without a look at it, indexes and keys would be lost.
    let mut manifest: serde_json::Value = serde_json::from_str(&honest).unwrap();
    let members = manifest["members"].as_array_mut().unwrap();
    let table = members.iter().rev().find_map(|member| member["table"].as_str().map(str::to_owned)).unwrap();
    for member in members.iter_mut().filter(|member| member["section"] == "post_data") {
        member["section"] = "data".into();
        member["table"] = table.clone().into();
    }
    std::fs::write(&path, manifest.to_string()).unwrap();
    let error = into(&server, made.path(), &options("copy"), &ledger).await.err().unwrap();
    assert_eq!(error.kind(), Kind::Damaged, "{error:?}");
    // One row more than there is.
    let mut manifest: serde_json::Value = serde_json::from_str(&honest).unwrap();
    manifest["fingerprint"]["tables"]["app.orders"]["rows"] = 201.into();
    std::fs::write(&path, manifest.to_string()).unwrap();
    let error = into(&server, made.path(), &options("copy"), &ledger).await.err().unwrap();
    assert!(error.to_string().contains("is not what its manifest says"), "{error:?}");
    assert!(
        error.causes().iter().any(|why| why == "table app.orders has 200 rows, the manifest says 201"),
        "{error:?}"
    );
    assert_eq!(server.databases().await, ["postgres", "rich", "template0", "template1"]);
    assert!(ledger.remaining().is_empty());
    std::fs::write(&path, honest).unwrap();
    assert_eq!(into(&server, made.path(), &options("copy"), &ledger).await.unwrap().rows, 620);
}
