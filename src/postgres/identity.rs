//! Which server and database a session really reached, whatever name led there.

use serde::{Deserialize, Serialize};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use crate::error::{Error, Kind, Result};

/// A server and a database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// The number that initdb gave the cluster; a copy of its files has the same. `None` when the role may not read it:
    /// then nothing can be proven about the server, and a guard must refuse.
    pub system_identifier: Option<String>,
    /// The database.
    pub database: String,
    /// The server's version as a number, for instance 150018.
    pub version_num: u32,
    /// The server's version as text, for instance `15.18`.
    pub version: String,
}

impl Identity {
    /// Asks the server.
    pub async fn read(client: &Client) -> Result<Self> {
        let row = client
            .query_one(
                "select pg_catalog.current_database()::text, pg_catalog.current_setting('server_version_num')::text, \
                 pg_catalog.current_setting('server_version')",
                &[],
            )
            .await
            .map_err(|e| unknown().because(&e))?;
        let number: String = row.get(1);
        let version: String = row.get(2);
        Ok(Self {
            system_identifier: system_identifier(client).await?,
            database: row.get(0),
            version_num: number.parse().map_err(|_| unknown().caused_by("the version is not a number"))?,
            version: version.split_whitespace().next().unwrap_or_default().to_owned(),
        })
    }

    /// Returns the major version, for instance 15.
    pub fn major(&self) -> u32 {
        self.version_num / 10_000
    }

    /// Returns whether both are surely the same database of the same server; `None` when that cannot be told.
    pub fn same_database(&self, other: &Self) -> Option<bool> {
        if self.database != other.database {
            return Some(false);
        }
        match (&self.system_identifier, &other.system_identifier) {
            (Some(a), Some(b)) => Some(a == b),
            _ => None,
        }
    }
}

async fn system_identifier(client: &Client) -> Result<Option<String>> {
    let answer = client.query_one("select system_identifier::text from pg_catalog.pg_control_system()", &[]).await;
    match answer {
        Ok(row) => Ok(row.get(0)),
        Err(e) if e.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => Ok(None),
        Err(e) => Err(unknown().because(&e)),
    }
}

fn unknown() -> Error {
    Error::new(Kind::Database, "could not find out which server this is")
}
