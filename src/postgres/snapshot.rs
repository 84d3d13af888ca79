//! One moment of a database, held open on a connection of its own so that several readers see the same.

use jiff::Timestamp;
use tokio_postgres::error::SqlState;

use super::address::Address;
use super::identity::Identity;
use super::session::{Access, Session};
use crate::backups::Source;
use crate::error::{Error, Kind, Result};

/// From this version on a role can limit how long a transaction lasts.
const TRANSACTION_TIMEOUT: u32 = 170_000;

/// An exported snapshot. It lasts as long as this.
pub(super) struct Snapshot {
    session: Session,
    id: String,
    identity: Identity,
    source: Source,
    taken_at: Timestamp,
    port: u16,
}

impl Snapshot {
    /// Takes a snapshot. The transaction cannot write.
    pub(super) async fn take(address: &Address) -> Result<Self> {
        let session = Session::open(address, Access::ReadOnly).await?;
        let identity = session.identity().await?;
        let error = |e: &tokio_postgres::Error| session.error(format!("could not take a snapshot of {address}"), e);
        if identity.version_num >= TRANSACTION_TIMEOUT {
            session.client().batch_execute("set transaction_timeout = 0").await.map_err(|e| error(&e))?;
        }
        session
            .client()
            .batch_execute("begin isolation level repeatable read read only")
            .await
            .map_err(|e| error(&e))?;
        let row = session
            .client()
            .query_one(
                "select pg_catalog.pg_export_snapshot(), \
                 (extract(epoch from pg_catalog.clock_timestamp()) * 1000000)::bigint, \
                 pg_catalog.pg_encoding_to_char(encoding)::text, datcollate::text, datctype::text, \
                 case when pg_catalog.pg_is_in_recovery() then pg_catalog.pg_last_wal_replay_lsn() \
                 else pg_catalog.pg_current_wal_lsn() end::text, pg_catalog.current_setting('port')::int \
                 from pg_catalog.pg_database where datname = pg_catalog.current_database()",
                &[],
            )
            .await
            .map_err(|e| error(&e))?;
        let taken_at = Timestamp::from_microsecond(row.get(1))
            .map_err(|e| Error::new(Kind::Database, "the server's clock tells no time").because(&e))?;
        let source = Source {
            address: address.to_string(),
            database: identity.database.clone(),
            version: identity.version.clone(),
            version_num: Some(identity.version_num),
            system_identifier: identity.system_identifier.clone(),
            encoding: row.get(2),
            collate: row.get(3),
            ctype: row.get(4),
            wal_position: row.get(5),
        };
        let port = u16::try_from(row.get::<_, i32>(6)).unwrap_or(address.port());
        Ok(Self { id: row.get(0), session, identity, source, taken_at, port })
    }

    /// Returns the name by which another session joins.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Returns the session, whose queries see the snapshot.
    pub(super) fn session(&self) -> &Session {
        &self.session
    }

    /// Returns which server and database this is.
    pub(super) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Returns the facts for a manifest.
    pub(super) fn source(&self) -> &Source {
        &self.source
    }

    /// Returns the port that the server itself knows.
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Returns the moment by the server's clock.
    pub(super) fn taken_at(&self) -> Timestamp {
        self.taken_at
    }

    /// Fails unless the snapshot lasted until now; then lets it go.
    pub(super) async fn release(self) -> Result<()> {
        let lost = |e: &tokio_postgres::Error| {
            let error = self.session.error("the snapshot was lost", e);
            match e.code() {
                Some(code) if *code == SqlState::ADMIN_SHUTDOWN => error.hint("the server was stopped meanwhile"),
                _ => error,
            }
        };
        // Outside its transaction the session would still answer: the question is asked of the transaction.
        let client = self.session.client();
        let row = client
            .query_one("select pg_catalog.current_setting('transaction_isolation')", &[])
            .await
            .map_err(|e| lost(&e))?;
        if row.get::<_, &str>(0) != "repeatable read" {
            return Err(Error::new(Kind::Database, "the snapshot was lost").caused_by("its transaction ended"));
        }
        client.batch_execute("commit").await.map_err(|e| lost(&e))
    }
}
