//! What the server sums is what pg_dump's text gives, for every type, name and setting; and every change is seen.

use std::path::Path;

use super::*;
use crate::compare::{Hashing, Scope, compare};
use crate::postgres::dump::tests::World;
use crate::postgres::{Address, Held, hold};
use crate::progress::Progress;

impl World {
    /// The database `src` with every type of the fixtures.
    async fn full() -> Self {
        let world = Self::rich().await;
        let nasty = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/nasty.sql");
        world.cluster.psql("src", Path::new(nasty));
        world
    }

    /// Runs statements in the schema `public`.
    async fn fill(&self, database: &str, sql: &str) {
        self.cluster.execute(database, &format!("set search_path = public; {sql}")).await;
    }

    async fn hold(&self, database: &str, tables: &[&str], hashing: Hashing) -> Result<Held> {
        self.hold_at(&self.cluster.address(database), tables, hashing).await
    }

    async fn hold_at(&self, address: &Address, tables: &[&str], hashing: Hashing) -> Result<Held> {
        let tables: Vec<String> = tables.iter().map(|t| (*t).to_owned()).collect();
        hold(address, &tables, true, false, hashing, &Progress::default(), &self.ledger).await
    }

    /// Reads a database in both ways, finds no difference, and returns what the server hashed.
    async fn equal(&self, database: &str, tables: &[&str]) -> (Fingerprint, Hashed) {
        let read = self.hold(database, tables, Hashing::Client).await.unwrap();
        let hashed = self.hold(database, tables, Hashing::Server).await.unwrap();
        same(&read.print, &hashed.print);
        assert_eq!(read.hashed, Hashed::default());
        for held in [read.rows, hashed.rows] {
            held.end().await.unwrap();
        }
        (hashed.print, hashed.hashed)
    }
}

/// Table by table first: a failure then names one.
fn same(read: &Fingerprint, hashed: &Fingerprint) {
    for (name, table) in &read.tables {
        assert_eq!(Some(table), hashed.tables.get(name), "{name}");
    }
    assert_eq!(read, hashed);
}

#[tokio::test]
async fn every_type_name_and_kind_of_table_has_the_sum_of_pg_dumps_text() {
    let world = World::full().await;
    let (print, hashed) = world.equal("src", &[]).await;
    assert!(print.tables["n.every"].rows > 260 && print.tables["n.nothing"].rows == 2);
    assert_eq!(print.tables["n.wide"].columns.len(), 400);

    let left: Vec<&str> = hashed.by_client.keys().map(String::as_str).collect();
    assert_eq!(left, ["app.chi", "n.child", "n.heir"]);
    // The rows of partitions by an enum's hash are under the name of their topmost table.
    assert_eq!(hashed.by_server.len() + left.len() + 1, print.tables.len());
    assert!(print.tables.contains_key("n.luck") && hashed.by_server.contains("n.luck_2"));
    assert!(hashed.by_server.contains("n.part_b") && hashed.by_server.contains("app.cache"));

    let backup = world.dump("src", "src.sql.gz", &[]).await.unwrap();
    same(&backup.manifest().unwrap().fingerprint, &print);
}

#[tokio::test]
async fn selected_tables_are_hashed_with_their_partitions_and_no_other() {
    let world = World::full().await;
    let (print, hashed) = world.equal("src", &["app.part", "n.child", "n.a", "n.every"]).await;
    let by_server: Vec<&str> = hashed.by_server.iter().map(String::as_str).collect();
    assert_eq!(by_server, ["app.part_1", "app.part_2", "app.part_def", "n.a", "n.every"]);
    assert_eq!(hashed.by_client.keys().collect::<Vec<_>>(), ["n.child", "n.heir"]);
    assert_eq!(print.tables.len(), 7);
}

/// Returns what a server's sums tell apart from the rows before.
fn seen(before: &Fingerprint, after: &Fingerprint) -> Vec<String> {
    compare(before, after, &Scope::default()).unwrap().differences.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn every_change_of_a_row_is_seen() {
    let world = World::empty().await;
    let fill = "create table t(id int, a text, b text, c int[], p point); create type pair as (x int, y int); \
        create table r(p pair); insert into r values ((null, null)), (null); \
        insert into t select g, 'a' || g, case g % 2 when 0 then '' end, array[g, null], point(g, 0) from generate_series(1, 9) g";
    let mut before = None;
    for (damage, table) in [
        ("select 1", None),
        ("update t set a = 'a5 ' where id = 5", Some("t")),
        ("update t set a = 'A5' where id = 5", Some("t")),
        ("update t set b = null where id = 2", Some("t")),
        ("update t set b = '' where id = 1", Some("t")),
        ("update t set b = '\\N' where id = 1", Some("t")),
        ("update t set a = 'a' || (5 - id) where id in (2, 3)", Some("t")),
        ("update t set a = b, b = a where id = 2", Some("t")),
        ("delete from t where id = 3; insert into t select * from t where id = 4", Some("t")),
        ("update t set c = array[5] where id = 5", Some("t")),
        ("update t set p = '(5,-0)' where id = 5", Some("t")),
        ("update r set p = null", Some("r")),
        ("update r set p = (null, null)", Some("r")),
        ("insert into t select * from t where id = 1", Some("t")),
        ("truncate t", Some("t")),
    ] {
        world.cluster.execute("postgres", "drop database if exists copy").await;
        world.cluster.execute("postgres", "create database copy").await;
        world.fill("copy", fill).await;
        world.fill("copy", damage).await;
        let held = world.hold("copy", &[], Hashing::Server).await.unwrap();
        assert_eq!(held.hashed.by_server.len(), 2);
        let told = seen(before.get_or_insert_with(|| held.print.clone()), &held.print);
        let wanted: Vec<String> = table.iter().map(|table| format!("table public.{table}: rows changed")).collect();
        assert!(
            told.len() == wanted.len() && told.iter().zip(&wanted).all(|(t, w)| t.starts_with(w)),
            "{damage}: {told:?}"
        );
    }
}

#[tokio::test]
async fn another_encoding_is_hashed_as_utf8_and_none_is_read() {
    let world = World::empty().await;
    let fill =
        r"create table t(id int, v text); insert into t values (1, chr(233) || E'\t\\' || chr(252)), (2, 'plain')";
    for encoding in ["LATIN1", "SQL_ASCII"] {
        let database = encoding.to_lowercase();
        let create = format!("create database {database} template template0 encoding '{encoding}' locale 'C'");
        world.cluster.execute("postgres", &create).await;
    }
    world.fill("latin1", fill).await;
    let (_, hashed) = world.equal("latin1", &[]).await;
    assert!(hashed.by_server.contains("public.t"), "{hashed:?}");
    // Bytes that are no UTF-8 make pg_dump fail, and so they do here.
    world.fill("sql_ascii", "create table t(v text); insert into t values ('ü')").await;
    let (print, hashed) = world.equal("sql_ascii", &[]).await;
    assert_eq!(print.tables["public.t"].rows, 1);
    assert!(hashed.by_server.is_empty() && hashed.by_client["public.t"].contains("no encoding"), "{hashed:?}");
}

#[tokio::test]
async fn settings_of_database_and_role_do_not_change_the_sums() {
    let world = World::full().await;
    let (before, _) = world.equal("src", &[]).await;
    let settings = "datestyle = 'German'; extra_float_digits = 0; bytea_output = 'escape'; intervalstyle = 'iso_8601'; \
        timezone = 'Asia/Kathmandu'; xmlbinary = 'hex'; xmloption = 'document'; quote_all_identifiers = on; \
        standard_conforming_strings = off; backslash_quote = off; escape_string_warning = off; array_nulls = off; \
        row_security = on; statement_timeout = '1ms'; idle_in_transaction_session_timeout = '10ms'; \
        lock_timeout = '1ms'; client_encoding = 'LATIN1'; default_transaction_isolation = 'serializable'; \
        enable_seqscan = off; max_parallel_workers_per_gather = 0";
    for setting in settings.split("; ") {
        world.cluster.execute("postgres", &format!("alter database src set {setting}")).await;
        world.cluster.execute("postgres", &format!("alter role postgres set {setting}")).await;
    }
    let (after, hashed) = world.equal("src", &[]).await;
    assert_eq!(before.tables, after.tables);
    assert!(hashed.by_server.contains("n.every"));
}

#[tokio::test]
async fn many_workers_of_the_server_give_the_same_sum() {
    let world = World::empty().await;
    let fill = "alter database postgres set min_parallel_table_scan_size = 0; alter database postgres set parallel_setup_cost = 0; \
        alter database postgres set parallel_tuple_cost = 0; alter database postgres set max_parallel_workers_per_gather = 4; \
        create type pair as (x int, y text); create type odd as enum ('a', 'b'); \
        create table t as select g, md5(g::text) m, row(g, E'\t')::pair p, 'a'::odd o, timestamptz '2024-01-01' + g * interval '1s' z, \
        (g / 3.0)::float8 f, 'pg_class'::regclass c, decode(md5(g::text), 'hex') b from generate_series(1, 20000) g; analyze t";
    world.fill("postgres", fill).await;
    let (print, hashed) = world.equal("postgres", &[]).await;
    assert!(hashed.by_server.contains("public.t") && print.tables["public.t"].rows == 20_000);
}

#[tokio::test]
async fn rows_that_a_policy_hides_are_an_error_and_no_pass() {
    let world = World::empty().await;
    let fill = "create role weak login; create table t(id int, who text); insert into t values (1, 'weak'), (2, 'else'); \
        alter table t enable row level security; create policy p on t using (who = current_user); grant select on t to weak";
    world.fill("postgres", fill).await;
    let host = world.cluster.address("x").host().clone();
    let weak = Address::new(host, 5432, "weak", None, "postgres");
    for hashing in [Hashing::Client, Hashing::Server] {
        let error = world.hold_at(&weak, &[], hashing).await.err().expect("rows are hidden");
        let told = format!("{error:?}");
        assert!(told.contains("row-level security"), "{hashing:?}: {told}");
    }
    world
        .fill(
            "postgres",
            "alter table t disable row level security; revoke all on t from weak; grant select (id) on t to weak",
        )
        .await;
    let error = world.hold_at(&weak, &[], Hashing::Server).await.err().expect("a column is hidden");
    assert!(error.to_string().contains("permission denied"), "{error}");
}

#[tokio::test]
async fn a_table_that_the_server_cannot_hash_is_read_and_no_lock_is_left() {
    let world = World::empty().await;
    // Only a cast that looks at nothing makes text that is not UTF-8: pg_dump writes its bytes as they are.
    let fill = "create table good(v text); insert into good values ('x'); create cast (bytea as text) without function; \
        create table bad(v text); insert into bad select '\\xff'::bytea::text";
    world.fill("postgres", fill).await;
    let (print, hashed) = world.equal("postgres", &[]).await;
    assert!(hashed.by_client["public.bad"].contains("invalid byte sequence"), "{hashed:?}");
    assert!(hashed.by_server.contains("public.good") && print.tables["public.bad"].rows == 1);

    let held = world.hold("postgres", &[], Hashing::Server).await.unwrap();
    let session = world.cluster.session("postgres").await;
    let locks = "select count(*) from pg_locks where relation = 'public.good'::regclass";
    assert_eq!(session.client().query_one(locks, &[]).await.unwrap().get::<_, i64>(0), 0);
    held.rows.end().await.unwrap();
}

#[tokio::test]
async fn tables_beyond_what_a_program_takes_are_read() {
    let world = World::empty().await;
    let fill = "do $$ begin for i in 1..1300 loop \
        execute format('create table %I(id int)', i || repeat('n', 60)); end loop; end $$; \
        create table large as select g from generate_series(1, 1000) g";
    world.fill("postgres", fill).await;
    let (print, hashed) = world.equal("postgres", &[]).await;
    assert_eq!(print.tables.len(), 1301);
    assert!(hashed.by_server.len() > 900 && hashed.by_client.len() > 100, "{}", hashed.by_server.len());
    assert!(hashed.by_server.contains("public.large"), "the largest is the first");
}

/// Sums of one table, as if the server had summed it.
fn sums(table: &str) -> ServerSums {
    let content = Table { rows: 1, sum: RowSum::default(), columns: vec!["id".into()] };
    let name = format!("public.{table}");
    let summed = [(name.clone(), (Stored::named(table, 0), content))].into();
    ServerSums { all: [name].into(), summed, left: BTreeMap::new() }
}

fn print(defined: &[&str], read: &[&str]) -> Fingerprint {
    let mut print = Fingerprint::new(crate::compare::Engine::Postgres);
    for table in defined {
        print.add(crate::compare::Aspect::Definition, format!("TABLE public.{table}"), "CREATE TABLE");
    }
    for table in read {
        let table = (format!("public.{table}"), Table { rows: 2, sum: RowSum::default(), columns: Vec::new() });
        print.tables.extend([table]);
    }
    print
}

#[test]
fn a_table_must_be_in_exactly_one_of_the_sums_and_the_text() {
    let refused = |sums: ServerSums, mut print: Fingerprint| sums.join(&mut print).unwrap_err().to_string();
    assert!(refused(sums("t"), print(&["t"], &["t"])).contains("summed by the server and read as well"));
    assert!(refused(sums("t"), print(&["u"], &[])).contains("no definition of table public.t"));
    let mut two = sums("t");
    two.all.insert("public.u".into());
    assert!(refused(two, print(&["t", "u"], &[])).contains("public.u were neither"));
    let mut right = print(&["t", "u"], &["u"]);
    let mut two = sums("t");
    two.all.insert("public.u".into());
    let hashed = two.join(&mut right).unwrap();
    assert_eq!((right.tables["public.t"].rows, right.tables["public.u"].rows), (1, 2));
    assert_eq!(hashed.by_server.len(), 1);
}
