//! Traps that other tools fall into with exit code 0: each is reported.

use std::io::Write;

use runner::backups::Backup;
use runner::compare::{Level, Scope, compare};
use runner::error::Error;
use runner::postgres::{
    Address, IntegrityOptions, Provider, RestoreOptions, RestoreTarget, fingerprint, inspect, restore, verify_integrity,
};
use runner::progress::Progress;
use runner::secret::Secret;
use runner_test_support::{TestServer, ledger, postgres_by};
use tokio_util::sync::CancellationToken;

const READ_ONLY: IntegrityOptions = IntegrityOptions { indexes: true, may_install: false };

const SHOP: &str = "create table customers (id int primary key, name text not null); \
     insert into customers select g, 'c' || g from generate_series(1, 200) g; \
     create table orders (id int primary key, customer int references customers, note text); \
     insert into orders select g, 1 + g % 200, 'n' || g from generate_series(1, 300) g; create index orders_note on orders (note);";

/// Returns a server, a private cluster where that can be: they start faster.
async fn postgres() -> Option<TestServer> {
    match postgres_by(Provider::Local).await {
        Some(server) => Some(server),
        None => runner_test_support::postgres().await,
    }
}

async fn shop(name: &str) -> Option<TestServer> {
    let server = postgres().await?;
    server.create(name, SHOP).await;
    Some(server)
}

/// Restores; returns nothing when that works.
async fn refusal(server: &TestServer, backup: &Backup) -> Option<Error> {
    let ledger = ledger().await;
    let options = RestoreOptions { database: "copy".into(), ..RestoreOptions::default() };
    let target = RestoreTarget::sandbox(server.sandbox());
    restore(backup, &target, &options, &ledger, &Progress::default()).await.err()
}

async fn problems(address: &Address) -> Vec<String> {
    let found = verify_integrity(address, READ_ONLY, &Progress::default()).await.unwrap();
    let not_run = found.not_run.iter().map(|(what, why)| format!("{what}: {why}"));
    found.problems.iter().map(ToString::to_string).chain(not_run).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_cut_at_a_line_end_is_refused_where_psql_says_all_is_well() {
    let Some(server) = shop("shop").await else { return };
    let Some(text) = server.pg_dump("shop", &[]) else { return };
    let text = String::from_utf8(text).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for (end, told) in [
        ("\n100\tc100\n", "it ends inside the rows of table public.customers"),
        ("\n\\.\n", "its last line is missing"),
        ("PRIMARY KEY (id);\n", "its last line is missing"),
    ] {
        let at = text.find(end).unwrap() + end.len();
        let path = folder.path().join("cut.sql");
        std::fs::write(&path, &text[..at]).unwrap();
        let seen = inspect(&path, &Progress::default(), &CancellationToken::new()).unwrap_err().to_string();
        assert!(seen.contains(told), "{seen}");
        let before = server.databases().await;
        let error = refusal(&server, &Backup::open(&path).unwrap()).await.unwrap().to_string();
        assert!(error.contains(told), "{error}");
        assert_eq!(server.databases().await, before);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_restored_without_its_indexes_and_keys_is_named() {
    let Some(server) = shop("shop").await else { return };
    // What pg_restore -t does: all rows, exit code 0, no key and no index.
    let rows = "create table customers (id int not null, name text not null); \
                insert into customers select g, 'c' || g from generate_series(1, 200) g; \
                create table orders (id int not null, customer int, note text); \
                insert into orders select g, 1 + g % 200, 'n' || g from generate_series(1, 300) g";
    server.create("bare", rows).await;
    let ledger = ledger().await;
    let read = async |name: &str| fingerprint(&server.address(name), &[], &Progress::default(), &ledger).await.unwrap();
    let verdict = compare(&read("shop").await, &read("bare").await, &Scope::default()).unwrap();
    assert!(verdict.differences.iter().all(|difference| difference.level() == Level::Structure));
    let told: Vec<String> = verdict.differences.iter().map(ToString::to_string).collect();
    for missing in [
        "INDEX public.orders_note",
        "CONSTRAINT public.orders orders_pkey",
        "FK CONSTRAINT public.orders orders_customer_fkey",
    ] {
        assert!(told.iter().any(|line| line.starts_with(missing) && line.ends_with("missing")), "{missing}: {told:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn text_of_no_encoding_does_not_become_text_of_utf8() {
    let Some(server) = postgres().await else { return };
    server.execute("postgres", "create database poison encoding SQL_ASCII locale 'C' template template0").await;
    server
        .execute("poison", "create table t (v text); insert into t values (convert_from('\\x6be4', 'SQL_ASCII'))")
        .await;
    let folder = tempfile::tempdir().unwrap();
    let Some(text) = server.pg_dump("poison", &[]) else { return };
    let path = folder.path().join("poison.sql");
    std::fs::File::create(&path).unwrap().write_all(&text).unwrap();
    assert!(refusal(&server, &Backup::open(&path).unwrap()).await.is_none());
    let encoding = "select pg_encoding_to_char(encoding) from pg_database where datname = current_database()";
    assert_eq!(server.value("copy", encoding).await, "SQL_ASCII");
    assert_eq!(server.value("copy", "select v::bytea::text from t").await, "\\x6be4");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_hidden_by_row_security_are_no_whole_dump() {
    let Some(server) = shop("shop").await else { return };
    let hide = "create role clerk login password 'clerk'; grant select on all tables in schema public to clerk; \
                alter table orders enable row level security; create policy few on orders using (id < 10)";
    server.execute("shop", hide).await;
    let admin = server.address("shop");
    let address = Address::new(admin.host().clone(), admin.port(), "clerk", Some(Secret::new("clerk")), "shop");
    let ledger = ledger().await;
    let error = fingerprint(&address, &[], &Progress::default(), &ledger).await.unwrap_err();
    let told = format!("{error} {}", error.stderr_tail().unwrap_or_default());
    assert!(told.contains("row-level security") && told.contains("orders"), "{told}");
    let told = problems(&address).await;
    assert!(
        told.iter().any(|line| line.contains("TABLE public.orders") && line.contains("row-level security")),
        "{told:#?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_that_needs_a_search_path_is_named_before_a_restore_stops_at_it() {
    let Some(server) = postgres().await else { return };
    let script = "create table lim (most int); insert into lim values (10); \
         create function fits(int) returns bool language sql as 'select $1 <= (select max(most) from lim)'; \
         create table t (v int constraint v_fits check (fits(v))); insert into t values (1), (2);";
    server.create("paths", script).await;
    let told = problems(&server.address("paths")).await;
    assert!(
        told.iter().any(|line| line.starts_with("TABLE public.t: CHECK v_fits") && line.contains("search_path")),
        "{told:#?}"
    );
    let Some(text) = server.pg_dump("paths", &[]) else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("paths.sql");
    std::fs::write(&path, text).unwrap();
    let error = refusal(&server, &Backup::open(&path).unwrap()).await.unwrap().to_string();
    assert!(error.contains("public.t") && error.contains("lim"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_is_checked_without_a_write_and_says_what_it_could_not_look_at() {
    let Some(server) = shop("shop").await else { return };
    let address = server.address("shop");
    let found = verify_integrity(&address, READ_ONLY, &Progress::default()).await.unwrap();
    assert!(found.sound(), "{}", found.summary());
    assert_eq!((found.tables, found.rows), (2, 500));
    assert!(
        found.not_checked.iter().any(|(_, why)| why.contains("amcheck is not installed")),
        "{:?}",
        found.not_checked
    );
    let counted = "update pg_index set indisready = false where indexrelid = 'orders_note'::regclass; \
                   insert into orders values (301, 1, 'unseen'); \
                   update pg_index set indisready = true where indexrelid = 'orders_note'::regclass";
    server.execute("shop", counted).await;
    let told = problems(&address).await;
    assert_eq!(told, ["INDEX public.orders_note: 1 row breaks agreement with its table"]);
    let lent = IntegrityOptions { indexes: true, may_install: true };
    let found = verify_integrity(&address, lent, &Progress::default()).await.unwrap();
    assert!(found.summary().contains("INDEX public.orders_note: it disagrees with its table"), "{}", found.summary());
    let left = "select count(*) from pg_extension where extname = 'amcheck'";
    assert_eq!(server.value("shop", left).await, "0", "the checker was only borrowed");
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_are_compared_only_when_asked_and_never_told() {
    let Some(server) = shop("shop").await else { return };
    server.execute("shop", "create role clerk login password 'canary-one'; grant select on orders to clerk").await;
    let ledger = ledger().await;
    let address = server.address("shop");
    let read = async || {
        let plain = fingerprint(&address, &[], &Progress::default(), &ledger).await.unwrap();
        (plain, runner::postgres::fingerprint_with_passwords(&address, &Progress::default(), &ledger).await.unwrap())
    };
    let (plain, asked) = read().await;
    server.execute("shop", "alter role clerk password 'canary-two'").await;
    let (plain_now, asked_now) = read().await;
    assert!(compare(&plain, &plain_now, &Scope::default()).unwrap().equal);
    let verdict = compare(&asked, &asked_now, &Scope::default()).unwrap();
    assert!(verdict.summary().starts_with("ROLE clerk: state beside the dump changed"), "{}", verdict.summary());
    let all = serde_json::to_string(&asked_now).unwrap();
    assert!(!all.contains("SCRAM") && !all.contains("canary"), "no verifier is told");
}
