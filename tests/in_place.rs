//! Who may be replaced by a restore: never a source of the run, by any address, in any order, with any option; the
//! database that a backup came from only where the script says so, and then what it was is kept.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use runner_test_support::{Ended, TestServer, World, postgres};

const PROGRAM: &str = env!("CARGO_BIN_EXE_runner");

/// A server whose database `shop` was backed up to `shop.sql.gz` by an earlier run and changed since, and a world whose
/// scripts can open it: `read()`, `write()`, and by another address of the server `read_elsewhere()`.
struct Bench {
    server: TestServer,
    world: World,
}

impl Bench {
    async fn new() -> Option<Self> {
        let server = postgres().await?;
        server.create("shop", "create table t (id int primary key, v text); insert into t values (1, 'saved');").await;
        let world = World::new(PROGRAM);
        world.write("runner.toml", "[protect]\ndatabases = [\"prod*\"]\n");
        let bench = Self { server, world };
        bench.run("dump(read(), \"shop.sql.gz\");").expect(0);
        bench.server.execute("shop", "update t set v = 'now' where id = 1").await;
        Some(bench)
    }

    fn run(&self, script: &str) -> Ended {
        let address = self.server.address("shop");
        let (host, port, user) = (address.host().to_string(), address.port(), address.user());
        let password = address.password().map_or("", |p| p.expose());
        // The same server by a name that no one could compare as text.
        let elsewhere = if host.starts_with('/') { format!("{host}/.") } else { format!("::ffff:{host}") };
        let place = |host: &str, name: &str| {
            format!(
                "#{{ host: \"{host}\", port: {port}, user: \"{user}\", password: \"{password}\", database: \"{name}\" }}"
            )
        };
        let (here, there) = (place(&host, "shop"), place(&elsewhere, "shop"));
        let text = format!(
            "fn read() {{ postgres({here}) }}\nfn write() {{ postgres({here}, #{{ writable: true }}) }}\n\
             fn read_elsewhere() {{ postgres({there}) }}\n\
             fn write_elsewhere() {{ postgres({there}, #{{ writable: true }}) }}\n\
             fn all() {{ #{{ replace: true, keep_replaced: true, in_place: true }} }}\n{script}"
        );
        self.world.write("main.rhai", &text);
        self.world.run(&["main.rhai"])
    }

    async fn state(&self) -> (String, Vec<String>) {
        (self.server.value("shop", "select v from t where id = 1").await, self.server.databases().await)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_of_the_run_is_never_replaced_by_any_address_in_any_order_with_any_option() {
    let Some(bench) = Bench::new().await else { return };
    let before = bench.state().await;
    let tries = [
        // A source, then a writable handle.
        "let source = read(); restore(backup(\"shop.sql.gz\"), write(), all());",
        // The other way round: the restore asks again.
        "let target = write(); let source = read(); restore(backup(\"shop.sql.gz\"), target, all());",
        "let target = write(); let source = read(); restore_beside(backup(\"shop.sql.gz\"), target, all());",
        // By another address of the same server.
        "let target = write(); let source = read_elsewhere(); restore(backup(\"shop.sql.gz\"), target, all());",
        "let source = read(); restore(backup(\"shop.sql.gz\"), write_elsewhere(), all());",
        // Dumped in this run, also through the writable handle itself.
        "let target = write(); dump(target, temp_dir() + \"/s.sql.gz\"); restore(backup(\"shop.sql.gz\"), target, all());",
        "let target = write(); let saved = dump(target, temp_dir() + \"/s.sql.gz\"); restore(saved, target, all());",
        "let target = write(); dump(write_elsewhere(), temp_dir() + \"/s.sql.gz\"); \
         restore(backup(\"shop.sql.gz\"), target, all());",
        // After the restore began and before the names change.
        "let copy = restore_beside(backup(\"shop.sql.gz\"), write(), all()); let source = read(); swap_in(copy);",
        "let copy = restore_beside(backup(\"shop.sql.gz\"), write(), all()); let source = read_elsewhere(); swap_in(copy);",
        "let copy = restore_beside(backup(\"shop.sql.gz\"), write(), all()); dump(write(), temp_dir() + \"/s.sql.gz\"); \
         swap_in(copy, #{ end_sessions: true });",
        // Side by side.
        "let copy = restore_beside(backup(\"shop.sql.gz\"), write(), all()); \
         parallel([|| read_elsewhere(), || sleep(\"100ms\")]); swap_in(copy);",
        "let target = write(); \
         parallel([|| read(), || { sleep(\"1s\"); restore(backup(\"shop.sql.gz\"), target, all()) }]);",
    ];
    for script in tries {
        let ended = bench.run(script).expect(3).told("it is a source of this run");
        assert_eq!(bench.state().await, before, "{script}: {}", ended.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_of_a_backup_is_replaced_only_in_place_and_what_it_was_is_kept() {
    let Some(bench) = Bench::new().await else { return };
    let before = bench.state().await;
    let refused = [
        ("restore(backup(\"shop.sql.gz\"), write(), #{ replace: true });", "may be the one that was backed up"),
        (
            "restore(backup(\"shop.sql.gz\"), write_elsewhere(), #{ replace: true });",
            "may be the one that was backed up",
        ),
        ("restore_beside(backup(\"shop.sql.gz\"), write(), #{ replace: true });", "may be the one that was backed up"),
        ("restore(backup(\"shop.sql.gz\"), write(), #{ in_place: true });", "replace: true"),
        ("restore(backup(\"shop.sql.gz\"), read(), all());", "was opened read-only"),
    ];
    for (script, why) in refused {
        bench.run(script).expect(3).told(why);
        assert_eq!(bench.state().await, before, "{script}");
    }
    bench.run("restore(backup(\"shop.sql.gz\"), write(), #{ replace: true, inplace: true });").expect(2);
    let script = "let restored = restore(backup(\"shop.sql.gz\"), write(), #{ replace: true, in_place: true });
        check(\"kept\", restored.replaced.starts_with(\"shop__before_\"), restored.replaced);
        check(\"equal\", compare(backup(\"shop.sql.gz\"), restored).equal);";
    bench.run(script).expect(0);
    assert_eq!(bench.state().await.0, "saved");
    let kept = bench.server.databases().await.into_iter().find(|d| d.starts_with("shop__before_")).unwrap();
    assert_eq!(bench.server.value(&kept, "select v from t where id = 1").await, "now");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runner_toml_protects_and_what_a_role_may_not_rename_is_refused_at_once() {
    let Some(bench) = Bench::new().await else { return };
    bench.server.execute("postgres", "alter database shop rename to prod_shop").await;
    let script = |handle: &str| format!("restore(backup(\"shop.sql.gz\"), {handle}, all());");
    let address = bench.server.address("prod_shop");
    let (host, port, user) = (address.host().to_string(), address.port(), address.user());
    let password = address.password().map_or("", |p| p.expose());
    let handle = |name: &str, user: &str, password: &str| {
        format!(
            "postgres(#{{ host: \"{host}\", port: {port}, user: \"{user}\", password: \"{password}\", \
             database: \"{name}\" }}, #{{ writable: true }})"
        )
    };
    bench.run(&script(&handle("prod_shop", user, password))).expect(3).told("runner.toml protects prod*");
    bench.server.execute("postgres", "alter database prod_shop rename to shop").await;
    let role = "create role clerk login password 'canary-clerk' createdb; \
                grant pg_read_all_settings to clerk; grant execute on function pg_control_system() to clerk";
    bench.server.execute("postgres", role).await;
    let before = bench.state().await;
    let ended = bench.run(&script(&handle("shop", "clerk", "canary-clerk"))).expect(3);
    let ended = ended.told("role clerk may not replace database shop");
    assert!(!ended.stderr.contains("canary"), "{}", ended.stderr);
    assert_eq!(bench.state().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_swap_is_undone_only_by_the_run_that_made_it_and_only_while_nobody_touched_the_names() {
    let Some(bench) = Bench::new().await else { return };
    let before = bench.state().await;
    let restored = "let target = write(); let restored = restore(backup(\"shop.sql.gz\"), target, all());";
    bench
        .run(&format!("{restored} check(\"undone\", swap_back(target)); check(\"once\", !swap_back(target));"))
        .expect(0);
    assert_eq!(bench.state().await, before);
    bench.run(&format!("{restored} check(\"undone\", swap_back(restored));")).expect(0);
    assert_eq!(bench.state().await, before);
    // By another address, with somebody connected.
    let session = bench.server.session("shop").await;
    let swapped = "let copy = restore_beside(backup(\"shop.sql.gz\"), write(), all()); \
                   swap_in(copy, #{ end_sessions: true }); check(\"undone\", swap_back(write_elsewhere()));";
    bench.run(swapped).expect(0);
    drop(session);
    assert_eq!(bench.state().await, before);

    bench.run("check(\"nothing was changed\", !swap_back(write()));").expect(0);
    bench.run("drop_replaced(write());").expect(2).told("no restore of this run replaced");
    bench.run("swap_in(write());").expect(2).told("does not wait to take a name");
    bench.run("let c = restore_beside(backup(\"shop.sql.gz\"), write(), all()); check(\"it waits\", true);").expect(0);
    assert_eq!(bench.state().await, before, "what was not swapped in is gone");

    // Opened as a source since: it is nobody's target any more.
    bench
        .run(&format!("{restored} let source = read(); swap_back(target);"))
        .expect(3)
        .told("it is a source of this run");
    let kept = bench.server.databases().await.into_iter().find(|d| d.starts_with("shop__before_")).unwrap();
    let back = format!("alter database shop rename to other; alter database \"{kept}\" rename to shop");
    bench.server.execute("postgres", &back).await;
    bench.server.execute("postgres", "drop database other").await;
    assert_eq!(bench.state().await, before);

    // What was replaced was not kept, or was dropped: there is no way back.
    let gone = format!("{restored} drop_replaced(restored); swap_back(target);");
    bench.run(&gone).expect(2).told("is not there any more");
    assert_eq!(bench.state().await.0, "saved");
}
