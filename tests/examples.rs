//! Examples run as they stand: those of `examples/`, and those of the manual that need a server, with the names of real
//! things for the invented ones. The manual's others run in `engine::tests::every_example_of_the_manual_runs`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use runner::primitives::CATALOGUE;
use runner_test_support::{World, docker, docker_image, not_run, postgres};

const PROGRAM: &str = env!("CARGO_BIN_EXE_runner");

/// Returns the examples that the other test only compiles, with the names of their verbs.
fn examples() -> Vec<(&'static str, &'static str)> {
    let blocks =
        |manual: &'static str| manual.split("```rhai,no_run\n").skip(1).map(|e| e.split("```").next().unwrap());
    CATALOGUE.iter().flat_map(|p| blocks(p.manual).map(|example| (p.name, example))).collect()
}

/// Returns a world with a small SQLite shop.
fn shop() -> World {
    let world = World::new(PROGRAM).file(
        "make.rhai",
        "let shop = sqlite(\"shop.sqlite\", #{ create: true });
         execute(shop, \"create table customers (id integer primary key, name text)\");
         execute(shop, \"create table orders (id integer primary key, customer integer references customers, total real)\");
         execute(shop, \"insert into customers values (1, 'ada'), (2, 'grace')\");
         execute(shop, \"insert into orders values (1, 1, 12.5), (2, 2, 99.0)\");",
    );
    world.run(&["make.rhai"]).expect(0);
    world
}

fn example(name: &str) -> String {
    format!("{}/examples/{name}", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn a_forked_drill_checks_the_teams_own_rules() {
    let (world, drill) = (shop(), example("shop_drill.rhai"));
    world.run(&["check", &drill]).expect(0);
    world.run(&[&drill, "--set", "source=shop.sqlite"]).expect(0).told("no negative total");
    world.write(
        "spoil.rhai",
        "execute(sqlite(\"shop.sqlite\", #{ writable: true }), \"update orders set total = -1 where id = 1\");",
    );
    world.run(&["spoil.rhai"]).expect(0);
    let ended = world.run(&[&drill, "--set", "source=shop.sqlite", "--set", "folder=later"]).expect(1);
    ended.told("FAILED: the shop's own rules: no negative total");
}

#[test]
fn two_backups_are_compared_without_restoring_them() {
    let (world, script) = (shop(), example("two_backups.rhai"));
    world.write("dump.rhai", "dump(sqlite(\"shop.sqlite\"), param(\"to\", \"\", \"\"));");
    world.run(&["dump.rhai", "--set", "to=a.sqlite.gz"]).expect(0);
    world.write(
        "lose.rhai",
        "execute(sqlite(\"shop.sqlite\", #{ writable: true }), \"delete from orders where id = 1\");",
    );
    world.run(&["lose.rhai"]).expect(0);
    world.run(&["dump.rhai", "--set", "to=b.sqlite.gz"]).expect(0);
    let set = ["--set", "before=a.sqlite.gz", "--set", "after=b.sqlite.gz"];
    world.run(&[&[script.as_str()], &set[..]].concat()).expect(1).told("orders did not shrink");
    world.run(&[&[script.as_str()], &set[..], &["--set", "most=60"]].concat()).expect(0);
}

/// A Compose project with one service and its volume, by a prefix of their names.
struct Shop(String);

impl Shop {
    fn open(image: &str) -> Self {
        let shop = Self(format!("runner-test-{}-shop-", std::process::id()));
        let labels = [
            format!("com.docker.compose.project={}", shop.name("project")),
            "com.docker.compose.service=api".to_owned(),
        ];
        let (api, mount) = (shop.name("api"), format!("{}:/uploads", shop.name("uploads")));
        let run = ["run", "-d", "--init", "--name", &api, "-v", &mount, "--label", &labels[0], "--label", &labels[1]];
        docker(&[&run[..], &["--entrypoint", "sh", image, "-c", "echo hi > /uploads/a; sleep 600"]].concat());
        shop
    }

    fn name(&self, name: &str) -> String {
        format!("{}{name}", self.0)
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        docker(&["rm", "-f", &self.name("api")]);
        docker(&["volume", "rm", "-f", &self.name("uploads"), &self.name("drill")]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_example_that_needs_a_server_runs_on_one() {
    let Some(server) = postgres().await else { return };
    for database in ["orders", "pool", "shop"] {
        server.create(database, "create table t (id int)").await;
    }
    let (Some(image), Some(container)) = (docker_image().await, server.container_name()) else {
        return not_run("some examples of the manual need Docker");
    };
    let address = server.address("orders");
    let (host, port, user) = (address.host().to_string(), address.port(), address.user().to_owned());
    let password = address.password().map_or("", |p| p.expose());
    let url = server.place("orders");
    let shop = Shop::open(&image);
    let real = [
        ("postgres://backup@db.example.com:5432/orders", url.clone()),
        ("host: \"db.example.com\", user: \"backup\"", format!("host: \"{host}\", port: {port}, user: \"{user}\"")),
        ("host: \"10.0.0.5\", user: \"backup\"", format!("host: \"{host}\", port: {port}, user: \"{user}\"")),
        ("\"-h\", \"db\"", format!("\"-h\", \"{host}\", \"-p\", \"{port}\"")),
        ("shop_postgres", container.to_owned()),
        ("shop-db-1", container.to_owned()),
        ("postgres:16", image),
        ("backups/shop_uploads_20260101_020000.tar.gz", "backups/uploads.tar.gz".to_owned()),
        ("shop_uploads", shop.name("uploads")),
        ("drill_uploads", shop.name("drill")),
        ("\"shop_\"", format!("\"{}\"", shop.0)),
        ("\"drill\"", format!("\"{}\"", shop.name("copy"))),
        ("\"shop\"", format!("\"{}\"", shop.name("project"))),
    ];
    let world = World::new(PROGRAM)
        .with_env("DB_PASSWORD", password)
        .with_env("DRILL_PASSWORD", "drill-canary")
        .with_env("SHOP_URL", &url.replace("dbname=orders", "dbname=shop"))
        // Nobody listens there: a notice that cannot be delivered changes no verdict.
        .with_env("SLACK_WEBHOOK", "http://127.0.0.1:9/hook")
        .file("backup.rhai", &format!(
            "dump(postgres(\"{url}\"), \"backups/orders.sql.gz\"); \
             dump(postgres(secret(\"SHOP_URL\")), \"backups/shop.sql.gz\"); backup_volume(\"{}\", \"backups/uploads.tar.gz\"); \
             git_bundle(\"{}\", \"backups/shop.bundle\");",
            shop.name("uploads"),
            shop.name("project")
        ));
    let repo = world.path(&shop.name("project"));
    let made = "git init -q \"$0\" && git -C \"$0\" -c user.name=t -c user.email=t@x commit -q --allow-empty -m first";
    assert!(std::process::Command::new("sh").args(["-c", made]).arg(repo).status().unwrap().success());
    world.run(&["backup.rhai"]).expect(0);
    let mut ran = 0;
    // A bucket is no part of this company: `tests/upload.rs` has one.
    for (verb, example) in examples().into_iter().filter(|(verb, _)| *verb != "upload") {
        let text = real.iter().fold(example.to_owned(), |text, (invented, real)| text.replace(invented, real));
        world.write("example.rhai", &text);
        let ended = world.run(&["example.rhai", "--yes", "--allow-run", "pg_isready"]);
        assert_eq!(ended.code, 0, "the example of {verb}:\n{text}\n{}", ended.stderr);
        ran += 1;
    }
    assert!(ran >= 7, "only {ran} examples were found");
}
