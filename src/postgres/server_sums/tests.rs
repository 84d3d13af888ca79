//! What the server sums is what pg_dump's text gives, for every type, name and setting; and every change is seen.

use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::backups::Format;
use crate::cleanup::Ledger;
use crate::compare::{Hashing, Scope, compare};
use crate::postgres::test_cluster::TestCluster;
use crate::postgres::{Address, DumpRequest, Held, dump, hold};
use crate::progress::Progress;

struct World {
    cluster: TestCluster,
    folder: tempfile::TempDir,
    ledger: Arc<Ledger>,
}

impl World {
    async fn empty() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::create("test", folder.path()).unwrap();
        Self { cluster: TestCluster::start(), folder, ledger }
    }

    /// The database `src` with every type of the fixtures.
    async fn full() -> Self {
        let world = Self::empty().await;
        world.cluster.execute("postgres", "create role app_ro; create role app_owner in role app_ro").await;
        world.cluster.execute("postgres", "create database src").await;
        for file in ["rich.sql", "nasty.sql"] {
            world.cluster.psql("src", &Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(file));
        }
        world
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
    assert_eq!(hashed.by_server.len() + left.len(), print.tables.len());
    assert!(hashed.by_server.contains("n.part_b") && hashed.by_server.contains("app.cache"));

    let request = DumpRequest {
        source: world.cluster.address("src"),
        to: world.folder.path().join("src.sql.gz"),
        format: Format::SqlGz,
        tables: Vec::new(),
        jobs: None,
        matviews: true,
        mask: None,
    };
    let backup = dump(&request, &Progress::default(), &world.ledger).await.unwrap();
    same(&backup.manifest().unwrap().fingerprint, &print);
}
