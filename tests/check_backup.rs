//! `check_backup`: a backup is held against its size, its checksum, its manifest and production, and restored for real.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use runner_test_support::{Ended, TestServer, World, docker_image, postgres};

const PROGRAM: &str = env!("CARGO_BIN_EXE_runner");

const SHOP: &str = "
    create table users (id int primary key, name text);
    insert into users select n, md5(n::text) from generate_series(1, 2000) n;
    create table \"Odd name\" (a int);
    insert into \"Odd name\" select generate_series(1, 10);
    create table days (at date) partition by range (at);
    create table days_a partition of days for values from ('2026-01-01') to ('2026-07-01');
    insert into days select date '2026-01-01' + n from generate_series(1, 150) n;
";

struct Shop {
    server: TestServer,
    world: World,
}

impl Shop {
    /// A server with the shop, and a world with a backup of it.
    async fn open() -> Option<Self> {
        let server = postgres().await?;
        server.create("shop", SHOP).await;
        let place = server.place("shop");
        let world = World::new(PROGRAM)
            .with_env("SHOP", &place)
            .file("backup.rhai", "dump(postgres(secret(\"SHOP\")), \"backups/shop.sql.gz\");");
        world.run(&["backup.rhai"]).expect(0);
        Some(Self { server, world })
    }

    /// Checks the backup beside production.
    fn check(&self, more: &[&str]) -> Ended {
        let mut arguments =
            vec!["check_backup", "--set=folder=backups", "--set=source=secret:SHOP", "--set=into=beside"];
        if !more.iter().any(|one| one.contains("min_size")) {
            arguments.push("--set=min_size=1KB");
        }
        arguments.extend(more);
        self.world.run(&arguments)
    }

    fn damage(&self, change: impl Fn(&mut Vec<u8>)) {
        let path = self.world.path("backups/shop.sql.gz");
        let mut bytes = std::fs::read(&path).unwrap();
        change(&mut bytes);
        std::fs::write(&path, bytes).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_backup_passes_beside_production_and_in_a_sandbox_and_nothing_is_left() {
    let Some(shop) = Shop::open().await else { return };
    let before = shop.server.databases().await;
    shop.check(&["--dry-run"]).expect(0).told("would create the scratch database");
    assert_eq!(shop.server.databases().await, before);
    let ended = shop.check(&[]).expect(0).told("public.users: 2000 rows in the backup, 2000 in production");
    ended.told("passed: every row, index, grant and sequence is back").told("public.days: 150 rows");
    assert_eq!(shop.server.databases().await, before, "the temporary database is gone");

    // Production goes on: what was added or changed since is told, not judged.
    shop.server
        .execute(
            "shop",
            "insert into users select n, 'new' from generate_series(2001, 2500) n; update users set name = 'x'",
        )
        .await;
    shop.check(&[]).expect(0).told("public.users: 2000 rows in the backup, 2500 in production");

    let image = docker_image().await.map(|image| format!("--set=image={image}"));
    let mut arguments = vec!["check_backup", "--set=backup=backups/shop.sql.gz", "--set=min_size=1KB"];
    arguments.extend(image.as_deref());
    shop.world.run(&arguments).expect(0).told("skipped");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_a_changed_a_cut_and_an_unlisted_file_fail_by_name() {
    let Some(shop) = Shop::open().await else { return };
    let before = shop.server.databases().await;
    shop.check(&["--set=min_size=1MB"]).expect(1).told("FAILED: the file is not too small");
    let sidecar = shop.world.path("backups/shop.sql.gz.sha256");
    let listed = std::fs::read_to_string(&sidecar).unwrap();
    std::fs::remove_file(&sidecar).unwrap();
    shop.check(&[]).expect(1).told("there is no .sha256 beside it");
    std::fs::write(&sidecar, listed.replace(&listed[..4], "0000")).unwrap();
    shop.check(&[]).expect(1).told("FAILED: the checksum is that of its .sha256");
    std::fs::write(&sidecar, &listed).unwrap();

    shop.damage(|bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
    });
    let ended = shop.check(&[]).expect(1).told("FAILED: the checksum is that of its .sha256");
    ended.told("FAILED: the backup file is whole");
    shop.damage(|bytes| bytes.truncate(bytes.len() / 2));
    shop.check(&[]).expect(1).told("FAILED: the backup file is whole");
    shop.damage(Vec::clear);
    shop.check(&[]).expect(1).told("FAILED: the backup file is whole");
    assert_eq!(shop.server.databases().await, before, "nothing was restored of them");
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_tables_and_lost_rows_fail_and_are_named() {
    let Some(shop) = Shop::open().await else { return };
    shop.server.execute("shop", "create table invoices (id int)").await;
    shop.check(&[]).expect(1).told(r#"missing: ["public.invoices"]"#);
    shop.check(&["--set=ignore=public.invoices"]).expect(0);
    shop.server.execute("shop", "drop table invoices; alter table \"Odd name\" rename to odd").await;
    shop.check(&["--set=ignore=public.odd"])
        .expect(1)
        .told("FAILED: hold it against production: production has every table");
    shop.server.execute("shop", "alter table odd rename to \"Odd name\"; delete from users where id > 900").await;
    shop.check(&[]).expect(1).told(r#"["public.users 900 of 2000"]"#);
    shop.check(&["--set=max_loss=60"]).expect(0);
    shop.server.execute("shop", "insert into users select n, 'new' from generate_series(3000, 9000) n").await;
    shop.check(&[]).expect(1).told(r#"["public.users 2000 of 6901"]"#);
    // A dump of some tables is no backup of the database.
    shop.world
        .write("part.rhai", "dump(postgres(secret(\"SHOP\")), #{ to: \"backups/part.sql.gz\", tables: [\"users\"] });");
    shop.world.run(&["part.rhai"]).expect(0);
    shop.check(&["--set=backup=backups/part.sql.gz"]).expect(1).told("FAILED: it is a backup of the whole database");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_earlier_check_left_is_named_and_not_touched() {
    let Some(shop) = Shop::open().await else { return };
    shop.server.create("shop_check_20260101_000000", "create table t (a int); insert into t values (7);").await;
    shop.check(&[]).expect(0).told("shop_check_20260101_000000 may be left from an earlier check");
    assert_eq!(shop.server.value("shop_check_20260101_000000", "select a from t").await, "7");
}

#[tokio::test(flavor = "multi_thread")]
async fn production_that_cannot_be_read_is_skipped_and_said() {
    let Some(shop) = Shop::open().await else { return };
    shop.server.execute("shop", "create role weak login createdb password 'weak-password'").await;
    let address = shop.server.address("shop");
    let place = format!("host={} port={} user=weak password=weak-password dbname=shop", address.host(), address.port());
    shop.world.write("place", &place);
    let image = docker_image().await.map(|image| format!("--set=image={image}"));
    let mut arguments =
        vec!["check_backup", "--set=backup=backups/shop.sql.gz", "--set=min_size=1KB", "--set=source=secret:WEAK"];
    arguments.extend(image.as_deref());
    let world = shop.world.with_env("WEAK", &place);
    world.run(&arguments).expect(0).told("it could not be read");
    world.run(&["check_backup", "--set=into=elsewhere"]).expect(2).told("into is sandbox or beside");
    world.run(&["check_backup", "--set=into=beside"]).expect(2).told("beside what?");
}
