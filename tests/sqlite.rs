//! SQLite end to end: what is dumped is what was there, every planted damage is seen and named, and nothing half stays.
#![allow(clippy::unwrap_used)] // helpers of tests stop at the first surprise, too

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use runner::backups::{Backup, manifest_path};
use runner::compare::{Aspect, Comparison, Fingerprint, Scope, compare};
use runner::error::{Kind, Result};
use runner::progress::Progress;
use runner::sqlite::{self, Access, Database};
use rusqlite::Connection;
use tokio_util::sync::CancellationToken;

/// One of everything that SQLite can hold and this build can make.
const RICH: &str = r#"
pragma foreign_keys = off;
create table users(id integer primary key autoincrement, name text not null, score real, photo blob, extra);
insert into users values (1, 'ada', 1.5, x'00ff', null), (2, 'eve', -0.1, null, 1), (7, 'grün ☂', 9e999, x'', 'x');
delete from users where id = 7; insert into users(name) values ('mallory');
create table "odd ""name"" 'x'; drop"("select" integer, "a""b" text);
insert into "odd ""name"" 'x'; drop" values (1, 'x' || char(0) || 'y');
create table pairs(a text, b int, primary key (a, b)) without rowid;
insert into pairs values ('k', 1), ('k', 2);
create table strict_one(i int, t text, a any) strict;
insert into strict_one values (1, 't', x'01');
create table generated(a int, v int generated always as (a * 2) virtual, s int generated always as (a * 3) stored);
insert into generated(a) values (5);
create table no_key(v); insert into no_key values (1), ('1'), (1.0), (x'31'), (null), ('');
create table child(id int, parent int references users(id)); insert into child values (1, 1), (2, 999);
create index users_name on users(name collate nocase) where score > 0;
create view best as select name from users order by score desc;
create trigger shout after insert on pairs begin update users set name = upper(name) where id = new.b; end;
create virtual table notes using fts5(title, body); insert into notes values ('drill', 'restore every row');
create virtual table places using rtree(id, minx, maxx); insert into places values (1, 0.5, 1.5);
pragma user_version = 7; pragma application_id = 1234;
analyze;
"#;

struct Bench {
    root: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        Self { root: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(self.root.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Makes a rich database, with `sql` after it.
    fn database(&self, name: &str, sql: &str) -> Database {
        let path = self.path(name);
        Connection::open(&path).unwrap().execute_batch(&format!("{RICH}{sql}")).unwrap();
        Database::open(&path, Access::ReadOnly).unwrap()
    }
}

fn dump(database: &Database, to: &Path) -> Result<Backup> {
    sqlite::dump(database, to, &Progress::default(), &CancellationToken::new())
}

fn restore(backup: &Backup, to: &Path, replace: bool) -> Result<Database> {
    sqlite::restore(backup, to, replace, &Progress::default(), &CancellationToken::new())
}

fn fingerprint(database: &Database) -> Fingerprint {
    sqlite::fingerprint(database, &Progress::default(), &CancellationToken::new()).unwrap()
}

fn verdict(a: &Fingerprint, b: &Fingerprint) -> Comparison {
    compare(a, b, &Scope::default()).unwrap()
}

#[test]
fn what_is_dumped_comes_back_to_the_last_bit() {
    let bench = Bench::new();
    let source = bench.database("app.db", "");
    let before = (fs::read(source.path()).unwrap(), source.path().metadata().unwrap().mtime_nsec());
    let backup = dump(&source, &bench.path("b/app.sqlite.gz")).unwrap();
    assert_eq!((fs::read(source.path()).unwrap(), source.path().metadata().unwrap().mtime_nsec()), before);

    let copy = restore(&backup, &bench.path("copy/app.db"), false).unwrap();
    let manifest = backup.manifest().unwrap();
    assert!(verdict(&fingerprint(&source), &manifest.fingerprint).equal);
    let comparison = verdict(&manifest.fingerprint, &fingerprint(&copy));
    assert!(comparison.equal, "{}", comparison.summary());
    assert_eq!(backup.rows("users").unwrap(), 3);
    assert_eq!(backup.rows("no_key").unwrap(), 6);
    assert!(manifest.fingerprint.tables.contains_key("notes_content"), "a virtual table's data counts");
    assert!(!manifest.fingerprint.tables.contains_key("sqlite_stat1"), "statistics do not");
    assert_eq!(manifest.fingerprint.tables["generated"].columns, ["a", "s"]);
    assert_eq!(copy.path().metadata().unwrap().mode() & 0o777, 0o600);
    assert_eq!(bench.names(), ["app.db", "b", "copy"], "nothing temporary is left");
}

#[test]
fn gunzip_and_sha256sum_are_enough_to_use_a_backup() {
    let bench = Bench::new();
    dump(&bench.database("app.db", ""), &bench.path("app.sqlite.gz")).unwrap();
    let shell = "sha256sum -c --quiet app.sqlite.gz.sha256 && gunzip -c app.sqlite.gz > plain.db";
    assert!(
        std::process::Command::new("sh").args(["-c", shell]).current_dir(bench.root.path()).status().unwrap().success()
    );
    let plain = Connection::open(bench.path("plain.db")).unwrap();
    assert_eq!(plain.query_row("select count(*) from users", (), |row| row.get::<_, i64>(0)).unwrap(), 3);
}

#[test]
fn every_planted_damage_is_seen_and_named() {
    let bench = Bench::new();
    let good = fingerprint(&bench.database("good.db", ""));
    assert!(verdict(&good, &fingerprint(&bench.database("same.db", ""))).equal, "one false alarm is a failure");
    let damages = [
        ("update strict_one set a = 1", "table strict_one"),
        ("update no_key set v = '1' where typeof(v) = 'integer'", "table no_key"),
        ("update no_key set v = 1.0 where typeof(v) = 'integer'", "table no_key"),
        ("update no_key set v = null where v = ''", "table no_key"),
        ("update users set score = 1.5000000000000002 where id = 1", "table users"),
        ("update users set photo = x'00fe' where id = 1", "table users"),
        ("update users set name = 'ada ' where id = 1", "table users"),
        ("delete from pairs where b = 2", "table pairs"),
        ("insert into no_key values (1)", "table no_key"),
        ("drop index users_name", "INDEX users_name"),
        ("drop index users_name; create index users_name on users(name)", "INDEX users_name"),
        ("drop trigger shout", "TRIGGER shout"),
        ("drop view best; create view best as select name from users", "VIEW best"),
        ("update sqlite_sequence set seq = 1000 where name = 'users'", "TABLE users"),
        ("delete from sqlite_sequence", "TABLE users"),
        ("pragma user_version = 8", "user_version"),
        ("pragma application_id = 1", "application_id"),
        ("update notes set body = 'restore most rows'", "table notes_content"),
        ("update places set maxx = 2", "table places_node"),
        ("alter table pairs rename to pears", "TABLE pairs"),
        ("alter table no_key add column w", "TABLE no_key"),
        ("update child set parent = 998 where id = 2", "table child"),
        ("update child set parent = 2 where id = 2", "foreign_key_check"),
        (r#"update "odd ""name"" 'x'; drop" set "a""b" = 'x'"#, r#"table "odd ""name"" 'x'; drop""#),
        (
            "pragma writable_schema = on; update sqlite_schema set sql = replace(sql, 'not null', '') where name = 'users'",
            "TABLE users",
        ),
    ];
    for (number, (sql, object)) in damages.into_iter().enumerate() {
        let damaged = fingerprint(&bench.database(&format!("{number}.db"), sql));
        let comparison = verdict(&good, &damaged);
        assert!(!comparison.equal, "not seen: {sql}");
        let named: Vec<_> = comparison.differences.iter().map(|d| d.object.as_str()).collect();
        assert!(named.contains(&object), "{sql}: {named:?}");
    }
}

#[test]
fn what_vacuum_and_the_order_of_rows_change_is_not_content() {
    let bench = Bench::new();
    let good = fingerprint(&bench.database("good.db", ""));
    for (name, sql) in [
        ("vacuum.db", "vacuum"),
        ("pages.db", "pragma page_size = 8192; vacuum"),
        ("wal.db", "pragma journal_mode = wal"),
        ("order.db", "delete from no_key; insert into no_key values (''), (null), (x'31'), (1.0), ('1'), (1)"),
        ("analyze.db", "drop table sqlite_stat1; drop table sqlite_stat4"),
    ] {
        let comparison = verdict(&good, &fingerprint(&bench.database(name, sql)));
        assert!(comparison.equal, "{name}: {}", comparison.summary());
    }
}

/// Writes whole transactions of two rows into `t` until the flag falls, which it also does when the test fails.
fn write_until<T>(path: &Path, work: impl FnOnce() -> T) -> T {
    struct Falls<'a>(&'a AtomicBool);
    impl Drop for Falls<'_> {
        fn drop(&mut self) {
            self.0.store(false, Ordering::Relaxed);
        }
    }
    let writing = AtomicBool::new(true);
    let writer = Connection::open(path).unwrap();
    writer.busy_timeout(std::time::Duration::from_secs(60)).unwrap();
    std::thread::scope(|scope| {
        let _falls = Falls(&writing);
        let flag = &writing;
        scope.spawn(move || {
            while flag.load(Ordering::Relaxed) {
                writer.execute_batch("insert into t(b) values ('more'), ('and more')").unwrap();
                std::thread::yield_now();
            }
        });
        work()
    })
}

const FILL: &str = "with recursive n(i) as (select 1 union all select i + 1 from n where i < 20000) \
                    insert into t(b) select randomblob(200) from n";

#[test]
fn a_database_in_wal_mode_is_dumped_while_it_is_written() {
    let bench = Bench::new();
    let path = bench.path("wal.db");
    let owner = Connection::open(&path).unwrap();
    owner.execute_batch("pragma journal_mode = wal; create table t(a integer primary key, b)").unwrap();
    owner.execute_batch(FILL).unwrap();
    let source = Database::open(&path, Access::ReadOnly).unwrap();
    let backup = write_until(&path, || dump(&source, &bench.path("wal.sqlite.gz"))).unwrap();
    let rows = backup.rows("t").unwrap();
    assert!(rows >= 20_000 && rows % 2 == 0, "{rows}: a transaction is in it whole or not at all");
    let copy = restore(&backup, &bench.path("copy.db"), false).unwrap();
    assert!(verdict(&backup.manifest().unwrap().fingerprint, &fingerprint(&copy)).equal);
}

/// SQLite lets only a connection that may write remove the files it made, and nobody else can do so safely.
#[test]
fn reading_a_closed_database_in_wal_mode_leaves_no_more_than_an_empty_log() {
    let bench = Bench::new();
    let source = bench.database("app.db", "pragma journal_mode = wal");
    let before = fs::read(source.path()).unwrap();
    let cancel = CancellationToken::new();
    sqlite::query(&source, "select count(*) as n from users", &[], &cancel).unwrap();
    let backup = dump(&source, &bench.path("b/app.sqlite.gz")).unwrap();
    assert_eq!(fs::read(source.path()).unwrap(), before);
    assert_eq!(fs::metadata(bench.path("app.db-wal")).unwrap().len(), 0);
    let copy = restore(&backup, &bench.path("c/copy.db"), false).unwrap();
    fingerprint(&copy);
    assert_eq!(fs::read_dir(bench.path("c")).unwrap().count(), 1, "a copy of our own is left clean");
}

#[test]
fn a_database_in_rollback_mode_is_dumped_while_it_is_written() {
    let bench = Bench::new();
    let path = bench.path("app.db");
    Connection::open(&path)
        .unwrap()
        .execute_batch(&format!("create table t(a integer primary key, b); {FILL}"))
        .unwrap();
    let source = Database::open(&path, Access::ReadOnly).unwrap();
    let backup = write_until(&path, || dump(&source, &bench.path("app.sqlite.gz"))).unwrap();
    assert!(backup.rows("t").unwrap() % 2 == 0);
    restore(&backup, &bench.path("copy.db"), false).unwrap();
}

#[test]
fn a_damaged_source_is_not_backed_up_as_if_it_were_whole() {
    let bench = Bench::new();
    let source = bench.database("app.db", "pragma writable_schema = on; update sqlite_schema set rootpage = (select rootpage from sqlite_schema where name = 'child') where name = 'users_name'");
    let error = dump(&source, &bench.path("app.sqlite.gz")).unwrap_err();
    assert_eq!(error.kind(), Kind::Damaged, "{error:?}");
    assert_eq!(bench.names(), ["app.db"]);
}

#[test]
fn a_changed_backup_is_refused_wherever_it_was_changed() {
    let bench = Bench::new();
    let backup = dump(&bench.database("app.db", ""), &bench.path("app.sqlite.gz")).unwrap();
    sqlite::inspect(backup.path(), &Progress::default(), &CancellationToken::new()).unwrap();
    let whole = fs::read(backup.path()).unwrap();
    let flips = [0, 12, whole.len() / 2, whole.len() - 9, whole.len() - 5, whole.len() - 1];
    let mut changed: Vec<Vec<u8>> = flips
        .iter()
        .map(|at| {
            let mut bytes = whole.clone();
            bytes[*at] ^= 0x10;
            bytes
        })
        .collect();
    changed.push(whole[..whole.len() - 4].to_vec());
    changed.push([&whole[..], b"\0"].concat());
    changed.push([&whole[..], &whole[..]].concat());
    let names = bench.names();
    for bytes in changed {
        fs::write(backup.path(), &bytes).unwrap();
        assert_eq!(restore(&backup, &bench.path("copy.db"), false).unwrap_err().kind(), Kind::Damaged);
        let inspected = sqlite::inspect(backup.path(), &Progress::default(), &CancellationToken::new());
        assert_eq!(inspected.unwrap_err().kind(), Kind::Damaged);
        assert_eq!(bench.names(), names, "nothing is left of a refused restore");
    }
    fs::write(backup.path(), &whole).unwrap();
    fs::remove_file(manifest_path(backup.path())).unwrap();
    let foreign = Backup::open(backup.path()).unwrap();
    fs::write(backup.path(), [&whole[..], b"x"].concat()).unwrap();
    assert_eq!(restore(&foreign, &bench.path("copy.db"), false).unwrap_err().kind(), Kind::Damaged);
}

#[test]
fn a_gzip_of_another_tool_is_restored_and_one_of_something_else_is_not() {
    let bench = Bench::new();
    let source = bench.database("app.db", "");
    let gzip = |from: &Path, to: &str| {
        let packed = std::process::Command::new("gzip").arg("-c").arg(from).output().unwrap();
        fs::write(bench.path(to), packed.stdout).unwrap();
        Backup::open(&bench.path(to)).unwrap()
    };
    let copy = restore(&gzip(source.path(), "x.db.gz"), &bench.path("copy.db"), false).unwrap();
    assert!(verdict(&fingerprint(&source), &fingerprint(&copy)).equal);
    fs::write(bench.path("text"), "hello, this is no database").unwrap();
    let error = restore(&gzip(&bench.path("text"), "text.db.gz"), &bench.path("no.db"), false).unwrap_err();
    assert!(error.to_string().contains("does not hold an SQLite database"), "{error}");
    assert!(!bench.path("no.db").exists());
}

#[test]
fn a_restore_replaces_only_an_unused_database_and_only_when_told() {
    let bench = Bench::new();
    let backup = dump(&bench.database("app.db", ""), &bench.path("app.sqlite.gz")).unwrap();
    let old = bench.path("old.db");
    let user = Connection::open(&old).unwrap();
    user.execute_batch("pragma journal_mode = wal; create table precious(a); insert into precious values (1)").unwrap();
    assert_eq!(restore(&backup, &old, false).unwrap_err().kind(), Kind::Refused);
    let error = restore(&backup, &old, true).unwrap_err();
    assert!(error.next_step().unwrap().contains("stop the programs"), "{error:?}");
    assert_eq!(user.query_row("select a from precious", (), |row| row.get::<_, i64>(0)).unwrap(), 1);
    drop(user);
    // A crashed program's log beside the old file must not be played into the new one.
    Connection::open(&old)
        .unwrap()
        .execute_batch("pragma journal_mode = wal; insert into precious values (2)")
        .unwrap();
    let copy = restore(&backup, &old, true).unwrap();
    assert!(verdict(&backup.manifest().unwrap().fingerprint, &fingerprint(&copy)).equal);

    let text = bench.path("letter.txt");
    fs::write(&text, "dear ada").unwrap();
    assert_eq!(restore(&backup, &text, true).unwrap_err().kind(), Kind::Damaged);
    assert_eq!(fs::read(&text).unwrap(), b"dear ada");
    fs::write(bench.path("new.db-wal"), "stray").unwrap();
    let error = restore(&backup, &bench.path("new.db"), false).unwrap_err();
    assert!(error.to_string().contains("is left of another database"), "{error}");
}

#[test]
fn a_dump_never_overwrites_and_a_cancelled_one_leaves_nothing() {
    let bench = Bench::new();
    let source = bench.database("app.db", "");
    let cancel = CancellationToken::new();
    cancel.cancel();
    let to = bench.path("app.sqlite.gz");
    let stopped = sqlite::dump(&source, &to, &Progress::default(), &cancel);
    assert_eq!(stopped.unwrap_err().kind(), Kind::Interrupted);
    assert_eq!(bench.names(), ["app.db"]);
    dump(&source, &to).unwrap();
    assert_eq!(dump(&source, &to).unwrap_err().kind(), Kind::Refused);
}

#[test]
fn the_manifest_says_where_the_backup_came_from() {
    let bench = Bench::new();
    let backup = dump(&bench.database("app.db", ""), &bench.path("app.sqlite.gz")).unwrap();
    let manifest = backup.manifest().unwrap();
    assert_eq!((manifest.source.database.as_str(), manifest.source.encoding.as_deref()), ("app", Some("UTF-8")));
    assert!(manifest.fingerprint.items.iter().any(|i| i.aspect == Aspect::Sequence && i.object == "TABLE users"));
    assert!(manifest.started_at <= manifest.taken_at && manifest.taken_at <= manifest.finished_at);
}
