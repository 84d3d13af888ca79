//! One table of a backup back into a live database: whole, and without anything else changing.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::time::Duration;

use nix::sys::signal::Signal;
use runner::compare::{Fingerprint, Scope, compare};
use runner::postgres::fingerprint;
use runner::progress::Progress;
use runner_test_support::{self as support, Ended, Started, TestServer, World, postgres};

const PROGRAM: &str = env!("CARGO_BIN_EXE_runner");
const RICH: &str = include_str!("fixtures/rich.sql");
const ROLES: &str = "create role app_owner; create role app_ro;";

/// A server with the rich database, and a backup of it that an earlier run made. Something else changed since.
struct Bench {
    server: TestServer,
    world: World,
    ledger: support::TestLedger,
}

impl Bench {
    async fn new() -> Option<Self> {
        Self::with_backup("rich.sql.gz").await
    }

    async fn with_backup(file: &str) -> Option<Self> {
        let server = postgres().await?;
        server.execute("postgres", ROLES).await;
        server.create("rich", RICH).await;
        let place = server.place("rich");
        let world = World::new(PROGRAM).with_env("RICH", &place);
        let bench = Self { server, world, ledger: support::ledger().await };
        bench.script(&format!("dump(postgres(secret(\"RICH\")), \"{file}\");")).expect(0);
        std::fs::write(bench.world.path("backup"), file).unwrap();
        bench.execute("update app.tenant set v = 'newer' where id = 3; select nextval('app.seq')").await;
        Some(bench)
    }

    fn script(&self, text: &str) -> Ended {
        self.start(text).end()
    }

    fn start(&self, text: &str) -> Started {
        self.world.write("main.rhai", text);
        self.world.start(&["main.rhai"])
    }

    fn text(&self, table: &str, more: &str) -> String {
        let file = std::fs::read_to_string(self.world.path("backup")).unwrap();
        format!(
            "let back = restore_table(backup(\"{file}\"), postgres(secret(\"RICH\"), #{{ writable: true }}), `{table}`, \
             #{{ replace: true, in_place: true{more} }}); log(`${{back}}`);"
        )
    }

    fn restore(&self, table: &str) -> Ended {
        self.script(&self.text(table, ""))
    }

    async fn execute(&self, sql: &str) {
        self.server.execute("rich", sql).await;
    }

    async fn value(&self, sql: &str) -> String {
        self.server.value("rich", sql).await
    }

    async fn print(&self) -> Fingerprint {
        fingerprint(&self.server.address("rich"), &[], &Progress::default(), &self.ledger).await.unwrap()
    }

    /// Returns where the database differs from what it was, without the tables that keep old rows.
    async fn differences(&self, before: &Fingerprint) -> Vec<String> {
        let kept = "select coalesce(string_agg(format('drop table %s', oid::regclass), ';'), '') from pg_class \
                    where relname like '%\\_\\_before\\_%' and relkind = 'r'";
        let drop = self.value(kept).await;
        self.execute(&drop).await;
        self.same(before).await
    }

    async fn same(&self, before: &Fingerprint) -> Vec<String> {
        let differences = compare(before, &self.print().await, &Scope::default()).unwrap().differences;
        differences.iter().map(ToString::to_string).collect()
    }
}

const NOTHING: Vec<String> = Vec::new();

/// Everything about `app.orders` that can be lost or spoiled while the table stays.
const SPOIL_ORDERS: &str = "
    drop index app.orders_cust; drop trigger t_note on app.orders; create index extra on app.orders (total);
    alter table app.orders drop constraint orders_pkey, drop constraint orders_customer_id_fkey, alter token drop default,
      owner to postgres, replica identity default, add check (total > -5), enable row level security,
      alter note set storage external, alter note set statistics 7, alter customer_id drop not null,
      set (fillfactor = 50, toast.autovacuum_enabled = false), alter total set (n_distinct = 3);
    alter sequence app.orders_id_seq increment 3 restart with 7;
    delete from app.orders where id > 100; update app.orders set note = 'spoiled' where id = 5;
    grant all on app.orders to public; grant update (note) on app.orders to app_ro with grant option;
    grant usage on app.orders_id_seq to app_ro; comment on column app.orders.note is 'spoiled';
    create policy p on app.orders using (true); create rule r as on delete to app.orders do instead nothing;
    create statistics app.st2 on customer_id, total from app.orders; alter publication pub add table app.orders;";

#[tokio::test(flavor = "multi_thread")]
async fn a_spoiled_table_becomes_what_it_was_and_nothing_else_changes() {
    let Some(bench) = Bench::new().await else { return };
    let before = bench.print().await;
    bench.execute(SPOIL_ORDERS).await;
    assert!(bench.same(&before).await.len() > 10, "the damage is seen");
    let number = bench.value("select 'app.orders'::regclass::oid").await;
    let ended = bench.restore("app.orders").expect(0);
    for mended in ["trigger t_note is missing", "grants differs", "index app.extra is new", "owner differs"] {
        assert!(ended.stderr.contains(mended), "{mended}: {}", ended.stderr);
    }
    assert_eq!(bench.value("select 'app.orders'::regclass::oid").await, number, "it is the same object");
    let kept = bench.value("select relname from pg_class where relname like 'orders\\_\\_before\\_%'").await;
    assert_eq!(bench.value(&format!("select count(*) from app.\"{kept}\"")).await, "100", "the old rows are kept");
    let may = format!("select has_table_privilege('app_ro', 'app.\"{kept}\"', 'select')");
    assert_eq!(bench.value(&may).await, "f", "default privileges do not open what the table's own guarded");
    assert_eq!(bench.differences(&before).await, NOTHING);
    assert_eq!(bench.value("insert into app.orders (customer_id) values (1) returning id || note").await, "201none");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_table_comes_back_with_its_keys_both_ways_and_lost_views_are_named() {
    let Some(bench) = Bench::new().await else { return };
    let before = bench.print().await;
    bench.execute("drop table app.orders").await;
    bench.restore("app.orders").expect(0);
    assert_eq!(bench.differences(&before).await, NOTHING);

    bench.execute("drop table app.customers cascade").await;
    let ended = bench.restore("customers").expect(0);
    let ended = ended.told("app.mv uses app.customers in the backup and is not there").told("app.v uses app.customers");
    assert!(ended.stderr.contains("\"created\": true"), "{}", ended.stderr);
    let lost = bench.differences(&before).await;
    assert!(!lost.is_empty() && lost.iter().all(|d| d.contains("app.mv") || d.contains("VIEW app.v:")), "{lost:?}");
    let orphan = "begin; set constraints all immediate; delete from app.customers where id = 1; rollback";
    assert!(bench.server.session("rich").await.client().batch_execute(orphan).await.is_err(), "the key holds again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_views_use_keeps_them_and_gets_its_rows_back() {
    let Some(bench) = Bench::with_backup("rich.dump").await else { return };
    let before = bench.print().await;
    let spoil = "update app.customers set name = 'spoiled', tags = null where id < 20; \
                 alter table app.orders drop constraint orders_customer_id_fkey; delete from app.customers where id = 7; \
                 alter table app.customers set without cluster; drop statistics app.st; \
                 revoke all on app.customers from app_ro; alter publication pub drop table app.customers; \
                 drop index app.cust_f; alter sequence app.customers_id_seq owned by none; \
                 alter table app.customers alter id drop default; drop sequence app.customers_id_seq";
    bench.execute(spoil).await;
    bench.restore("app.customers").expect(0);
    assert_eq!(bench.differences(&before).await, NOTHING);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_plain_table_of_a_rich_database_can_be_emptied_and_comes_back() {
    let Some(bench) = Bench::new().await else { return };
    // What is restored has the state of the backup.
    bench.execute("update app.tenant set v = 't3' where id = 3").await;
    let before = bench.print().await;
    let spoils = [
        ("app.nopk", "drop rule r_nodel on app.nopk; delete from app.nopk; alter table app.nopk reset (fillfactor)"),
        (
            "tenant",
            "drop policy p1 on app.tenant; truncate app.tenant; alter table app.tenant no force row level security",
        ),
        ("app.cache", "truncate app.cache; alter table app.cache drop constraint cache_pkey"),
        ("app.book", "drop table app.book"),
        (
            r#""We ird"."sel""ect Tbl""#,
            r#"update "We ird"."sel""ect Tbl" set "NULL" = 9; alter table "We ird"."sel""ect Tbl" drop "naïve_表""#,
        ),
    ];
    for (table, spoil) in spoils {
        bench.execute(spoil).await;
        bench.restore(table).expect(0);
        assert_eq!(bench.differences(&before).await, NOTHING, "{table}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_shape_is_made_anew_unless_something_depends_on_it() {
    let Some(bench) = Bench::new().await else { return };
    let before = bench.print().await;
    bench.execute("alter table app.orders drop column total cascade, add column extra int default 5").await;
    bench.restore("app.orders").expect(0);
    assert_eq!(bench.differences(&before).await, NOTHING);

    bench.execute("alter table app.customers add column extra int").await;
    let spoiled = bench.print().await;
    let ended = bench.restore("app.customers").expect(3).told("has another shape than in the backup");
    ended.told("column extra is new").told("view app.v depends on table app.customers");
    assert_eq!(bench.same(&spoiled).await, NOTHING);
    assert_eq!(bench.value("select count(*) from pg_class where relname like '%\\_\\_before\\_%'").await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orphan_on_either_side_fails_and_everything_is_as_it_was() {
    let Some(bench) = Bench::new().await else { return };
    // Orders of the backup refer to a customer who is gone.
    bench.execute("grant usage on schema app to app_owner").await; // whose right the key's own checks need
    let spoil = "delete from app.orders where customer_id = 7; delete from app.customers where id = 7; \
                 select setval('app.orders_id_seq', 900)";
    bench.execute(spoil).await;
    let spoiled = bench.print().await;
    let ended = bench.restore("app.orders").expect(2).told("could not restore foreign key orders_customer_id_fkey");
    ended.told("customer_id)=(7)").told("restore both from one backup");
    assert_eq!(bench.same(&spoiled).await, NOTHING);
    // Orders of today refer to a customer who came after the backup.
    bench.execute("insert into app.customers (id, name) values (1000, 'new'); insert into app.orders (customer_id) values (1000)").await;
    let spoiled = bench.print().await;
    bench.restore("app.customers").expect(2).told("(customer_id)=(1000)");
    assert_eq!(bench.same(&spoiled).await, NOTHING);
    assert!(!bench.server.databases().await.iter().any(|d| d.contains("__runner_")), "the reference is gone");
}

/// Waits until a session waits for a lock.
async fn waiting(bench: &Bench) {
    for _ in 0..1200 {
        if bench.value("select count(*) from pg_locks where not granted").await != "0" {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("nobody waits for a lock");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_elsewhere_during_the_restore_takes_everything_back() {
    let Some(bench) = Bench::new().await else { return };
    for (change, more, named) in [
        ("update app.tenant set v = 'meanwhile' where id = 9", "", Some("the rows of \"app\".\"tenant\"")),
        ("create index planted on app.tenant (v)", ", others: \"structure\"", Some("index app.planted")),
        ("update app.tenant set v = 'again' where id = 9", ", others: \"structure\"", None),
    ] {
        bench.execute("update app.orders set note = 'spoiled' where id < 60").await;
        let spoiled = bench.print().await;
        let holder = bench.server.session("rich").await;
        holder.client().batch_execute("begin; lock table app.orders in access share mode").await.unwrap();
        let run = bench.start(&bench.text("app.orders", more));
        waiting(&bench).await;
        bench.execute(change).await;
        holder.client().batch_execute("rollback").await.unwrap();
        let ended = run.end();
        let Some(named) = named else {
            ended.expect(0);
            assert_eq!(bench.value("select count(*) from app.orders where note = 'spoiled'").await, "0");
            continue;
        };
        ended.expect(3).told("something else changed while app.orders was restored").told(named);
        let changed = bench.same(&spoiled).await;
        assert!(
            changed.len() < 3 && changed.iter().all(|d| d.contains("tenant") || d.contains("planted")),
            "{changed:?}"
        );
    }
    // A trigger on definitions that writes elsewhere is a change elsewhere, too.
    let planted = "create table app.log (t text); create function app.note() returns event_trigger language plpgsql as \
                   'begin insert into app.log values (tg_tag); end'; \
                   create event trigger planted on ddl_command_end execute function app.note()";
    bench.execute(planted).await;
    let spoiled = bench.print().await;
    bench.restore("app.orders").expect(3).told("the rows of \"app\".\"log\"");
    assert_eq!(bench.same(&spoiled).await, NOTHING);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_restored_alone_or_is_not_there_says_so() {
    let Some(bench) = Bench::new().await else { return };
    let before = bench.print().await;
    bench.restore("app.ordrs").expect(2).told("the dump holds no table app.ordrs").told("did you mean app.orders?");
    bench.restore("app.part").expect(3).told("it is partitioned");
    bench.restore("app.part_1").expect(3).told("it is a part of a partitioned table");
    bench.restore("app.chi").expect(3).told("it inherits from another table");
    bench.restore("app.ft").expect(3).told("it is a foreign table");
    let open = "let db = postgres(secret(\"RICH\"), #{ writable: true }); let saved = backup(\"rich.sql.gz\");";
    bench
        .script(&format!("{open} restore_table(saved, db, \"app.orders\", #{{ in_place: true }});"))
        .expect(3)
        .told("replace: true");
    bench
        .script(&format!("{open} restore_table(saved, db, \"app.orders\", #{{ replace: true }});"))
        .expect(3)
        .told("may be the one that was backed up");
    let other = "others: \"structures\"";
    bench.script(&bench.text("app.orders", &format!(", {other}"))).expect(2).told("structure");
    // A source of the run is no target, whenever it became one.
    for source in ["postgres(secret(\"RICH\"));", "dump(db, temp_dir() + \"/x.sql.gz\");"] {
        let all = "#{ replace: true, in_place: true }";
        let text = format!("{open} {source} restore_table(saved, db, \"app.orders\", {all});");
        bench.script(&text).expect(3).told("it is a source of this run");
    }
    // A backup of some tables is one, but not of both sides of a key.
    bench
        .script("dump(postgres(secret(\"RICH\")), #{ to: \"some.sql.gz\", tables: [\"app.orders\", \"app.nopk\"] });")
        .expect(0);
    std::fs::write(bench.world.path("backup"), "some.sql.gz").unwrap();
    bench.restore("app.customers").expect(2).told("the dump holds no table app.customers");
    bench.restore("app.orders").expect(3).told("orders_customer_id_fkey").told("a backup of the whole database");
    // Rows as INSERT, or none at all, are no rows: the table must not come back empty.
    for kind in ["--inserts", "--schema-only"] {
        let Some(dump) = bench.server.pg_dump("rich", &[kind]) else { return };
        std::fs::write(bench.world.path("other.sql"), dump).unwrap();
        std::fs::write(bench.world.path("backup"), "other.sql").unwrap();
        bench.restore("app.nopk").expect(3).told("does not hold the rows of app.nopk as COPY");
    }
    let path = bench.world.path("rich.sql.gz");
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    std::fs::write(bench.world.path("backup"), "rich.sql.gz").unwrap();
    bench.restore("app.orders").expect(2);
    assert_eq!(bench.same(&before).await, NOTHING);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stock_script_asks_proves_and_a_dry_run_or_ctrl_c_changes_nothing() {
    let Some(bench) = Bench::new().await else { return };
    let before = bench.print().await;
    bench.execute("delete from app.nopk").await;
    let spoiled = bench.print().await;
    let set = ["backup=rich.sql.gz", "target=secret:RICH", "table=app.nopk"];
    let mut base = vec!["restore_table"];
    set.iter().for_each(|s| base.extend(["--set", s]));
    let run = |more: &[&str]| bench.world.run(&[&base[..], more].concat());
    run(&[]).expect(3).told("--set in_place=true");
    run(&["--dry-run"]).expect(3).told("--set in_place=true");
    let in_place = ["--set", "in_place=true"];
    run(&in_place).expect(3).told("nobody is there to answer: Bring table app.nopk of ").told("database rich");
    run(&[&in_place[..], &["--dry-run"]].concat()).expect(0).told("would restore table app.nopk");
    let mut stopped = bench.world.start(&[&base[..], &in_place[..], &["--yes"]].concat());
    assert!(stopped.until("started: restore the table"));
    stopped.signal(Signal::SIGINT);
    stopped.end().expect(130);
    assert_eq!(bench.same(&spoiled).await, NOTHING);
    assert!(!bench.server.databases().await.iter().any(|d| d.contains("__runner_")), "the reference is gone");

    let ended = run(&[&in_place[..], &["--yes"]].concat()).expect(0).told("nothing else changed").told("rows: 30");
    assert!(ended.stderr.contains("the rows that were there stay as app.\"nopk__before_"), "{}", ended.stderr);
    assert_eq!(bench.differences(&before).await, NOTHING);
}
