//! The database that everything is done to: rich.sql, then more.sql.

use runner::compare::Fingerprint;
use runner::error::Result;
use runner::postgres::{Address, Provider, fingerprint};
use runner::progress::Progress;
use runner_test_support::{TestLedger, TestServer, ledger, not_run, postgres_by};

const RICH: &str = include_str!("../fixtures/rich.sql");
const MORE: &str = include_str!("../fixtures/more.sql");
const ROLES: &str = "create role app_ro; create role app_owner in role app_ro connection limit 3";

/// A server with the database `src`.
pub(crate) struct Base {
    pub(crate) server: TestServer,
    pub(crate) ledger: TestLedger,
}

impl Base {
    /// Makes a private server with it; nothing where this machine has no PostgreSQL.
    pub(crate) async fn local() -> Option<Self> {
        let Some(server) = postgres_by(Provider::Local).await else {
            not_run("there is no local PostgreSQL");
            return None;
        };
        let base = Self { server, ledger: ledger().await };
        base.server.execute("postgres", ROLES).await;
        base.tablespace("runner_fast").await;
        base.server.create("src", &format!("{RICH}\n{MORE}")).await;
        Some(base)
    }

    /// Makes a tablespace without a folder outside of the server's.
    pub(crate) async fn tablespace(&self, name: &str) {
        let session = self.server.session("postgres").await;
        session.client().batch_execute("set allow_in_place_tablespaces = on").await.unwrap();
        session.client().batch_execute(&format!("create tablespace {name} location ''")).await.unwrap();
    }

    /// Makes a fresh copy of `src`. Subscriptions are no part of a database's files.
    pub(crate) async fn copy(&self, name: &str) {
        self.drop(name).await;
        self.server.execute("postgres", &format!("create database {name} template src")).await;
        let subscription = MORE.lines().find(|line| line.starts_with("create subscription")).unwrap();
        self.server.create_in(name, subscription).await;
    }

    /// Drops a copy.
    pub(crate) async fn drop(&self, name: &str) {
        self.server.drop_database(name).await;
    }

    /// Reads what a database holds.
    pub(crate) async fn fingerprint(&self, name: &str) -> Result<Fingerprint> {
        read(&self.server.address(name), &self.ledger).await
    }
}

/// Reads what a database holds.
pub(crate) async fn read(address: &Address, ledger: &TestLedger) -> Result<Fingerprint> {
    fingerprint(address, &[], &Progress::default(), ledger).await
}
