//! The rules that no script can bend, tried against a real PostgreSQL.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use runner_test_support::{Ended, TestServer, World, docker_image, postgres};

const PROGRAM: &str = env!("CARGO_BIN_EXE_runner");

async fn orders() -> Option<TestServer> {
    let server = postgres().await?;
    server.create("orders", "create table t (id int primary key, v text); insert into t values (1, 'one');").await;
    server.create("empty", "").await;
    Some(server)
}

/// A script that knows how to open databases of the server: `open("orders")` and `open_writable("orders")`.
async fn run(server: &TestServer, script: &str, more: &[&str]) -> (World, Ended) {
    let address = server.address("orders");
    let password = address.password().map_or("", |p| p.expose());
    let place = format!(
        "#{{ host: \"{}\", port: {}, user: \"{}\", password: \"{password}\", database: name }}",
        address.host(),
        address.port(),
        address.user()
    );
    let image = docker_image().await.map_or(String::new(), |image| format!(", image: \"{image}\""));
    let text = format!(
        "fn open(name) {{ postgres({place}) }}\nfn open_writable(name) {{ postgres({place}, #{{ writable: true }}) }}\n\
         fn server_options() {{ #{{ provider: \"auto\"{image} }} }}\n{script}"
    );
    let world = World::new(PROGRAM).file("main.rhai", &text);
    world.write("runner.toml", "[protect]\ndatabases = [\"prod*\"]\n");
    let mut arguments = vec!["main.rhai"];
    arguments.extend(more);
    let ended = world.run(&arguments);
    (world, ended)
}

async fn value(server: &TestServer) -> String {
    server.value("orders", "select v from t where id = 1").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_is_never_written_whatever_the_script_tries() {
    let Some(server) = orders().await else { return };
    let tries = [
        "let db = open(\"orders\"); execute(db, \"update t set v = 'changed'\");",
        "let db = open(\"orders\"); let again = open_writable(\"orders\"); execute(again, \"update t set v = 'changed'\");",
        "let again = open_writable(\"orders\"); let db = open(\"orders\"); execute(again, \"update t set v = 'changed'\");",
        "let db = open(\"orders\"); let saved = dump(db, temp_dir() + \"/o.sql.gz\"); restore(saved, db, #{ replace: true });",
        "let again = open_writable(\"orders\"); let db = open(\"orders\"); let saved = dump(db, temp_dir() + \"/o.sql.gz\"); restore(saved, again, #{ replace: true });",
    ];
    for script in tries {
        run(&server, script, &[]).await.1.expect(3);
        assert_eq!(value(&server).await, "one", "{script}");
    }
    for sql in [
        "update t set v = 'changed' returning v",
        "select 1; drop table t",
        "select lo_create(0)",
        "select pg_terminate_backend(0)",
    ] {
        let script = format!("let db = open(\"orders\"); query(db, \"{sql}\");");
        let (_, ended) = run(&server, &script, &[]).await;
        // A function may run; what it did is rolled back.
        assert!(
            [2, 3].contains(&ended.code) || sql.starts_with("select lo_create") || sql.contains("terminate"),
            "{sql}: {}",
            ended.stderr
        );
        assert_eq!(value(&server).await, "one", "{sql}");
    }
    assert_eq!(server.value("orders", "select count(*) from pg_largeobject_metadata").await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writable_database_is_written_only_with_consent() {
    let Some(server) = orders().await else { return };
    server.create("prod_orders", "create table t (id int)").await;
    run(&server, "execute(open_writable(\"prod_orders\"), \"drop table t\");", &[])
        .await
        .1
        .expect(3)
        .told("runner.toml protects prod*");

    let copy =
        "let saved = dump(open(\"orders\"), temp_dir() + \"/o.sql.gz\"); let target = open_writable(\"target\");";
    server.create("target", "create table mine (id int); insert into mine values (7);").await;
    run(&server, &format!("{copy} restore(saved, target);"), &[]).await.1.expect(3).told("replace: true");
    assert_eq!(server.value("target", "select id from mine").await, "7", "what was there is still there");

    let restored = format!(
        "{copy} let copy = restore(saved, target, #{{ replace: true, keep_replaced: true }}); check(\"equal\", compare(saved, copy).equal);"
    );
    run(&server, &restored, &[]).await.1.expect(0);
    assert_eq!(server.value("target", "select v from t").await, "one");
    let kept: Vec<_> = server.databases().await.into_iter().filter(|d| d.starts_with("target__before_")).collect();
    assert_eq!(kept.len(), 1, "the old database is kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scratch_database_takes_a_restore_and_goes_with_the_run() {
    let Some(server) = orders().await else { return };
    let script = "let db = open(\"orders\");
        let saved = dump(db, temp_dir() + \"/o.sql.gz\");
        let test = scratch(db, \"orders_test\");
        let copy = restore(saved, test);
        check(\"equal\", compare(saved, copy).equal);
        execute(copy, \"update t set v = 'changed'\");
        check(\"seen\", !compare(saved, copy).equal);";
    run(&server, script, &[]).await.1.expect(0);
    assert!(!server.databases().await.contains(&"orders_test".to_owned()));
    server.create("orders_test", "").await;
    run(&server, script, &[]).await.1.expect(2).told("it may be left from an earlier run");
    assert!(
        server.databases().await.contains(&"orders_test".to_owned()),
        "a database of that name is not ours to drop"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_reads_and_announces_and_changes_nothing() {
    let Some(server) = orders().await else { return };
    let script = "let db = open(\"orders\");
        let saved = dump(db, \"backups/o.sql.gz\");
        with_sandbox(server_options(), |server| {
            let copy = restore(saved, server);
            let diff = compare(saved, copy);
            check(\"equal\", diff.equal, diff.summary);
            if query_value(copy, \"select count(*) from t\") == 1 { log(\"one\"); }
        });";
    let databases = server.databases().await;
    let (world, ended) = run(&server, script, &["--dry-run"]).await;
    let ended = ended.expect(0).told("would dump").told("would restore").told("unknown from main.rhai");
    assert!(!ended.stderr.contains("PASSED"), "{}", ended.stderr);
    assert_eq!(world.names("backups"), Vec::<String>::new());
    assert_eq!(server.databases().await, databases);
}
