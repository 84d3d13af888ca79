//! The fingerprint of a live database: the same reading as a dump's, into nowhere.

use std::sync::Arc;

use super::address::Address;
use super::reading::Reading;
use super::rows::RowReader;
use crate::cleanup::Ledger;
use crate::compare::{Fingerprint, Hashed, Hashing};
use crate::error::Result;
use crate::progress::Progress;

/// Reads what a database holds, all of it at one moment. With `tables`, only these tables' rows and definitions.
pub async fn fingerprint(
    address: &Address,
    tables: &[String],
    progress: &Progress,
    ledger: &Arc<Ledger>,
) -> Result<Fingerprint> {
    let held = hold(address, tables, true, false, Hashing::Client, progress, ledger).await?;
    held.rows.end().await?;
    Ok(held.print)
}

/// Reads also whether the passwords of roles are the same.
pub async fn fingerprint_with_passwords(
    address: &Address,
    progress: &Progress,
    ledger: &Arc<Ledger>,
) -> Result<Fingerprint> {
    let held = hold(address, &[], true, true, Hashing::Client, progress, ledger).await?;
    held.rows.end().await?;
    Ok(held.print)
}

/// A database at one moment.
pub struct Held {
    /// What it holds.
    pub print: Fingerprint,
    /// Its rows, to be read again.
    pub rows: RowReader,
    /// Which rows its server hashed.
    pub hashed: Hashed,
}

/// Reads what a database holds, and keeps its moment so that rows can be read again. With `passwords` it tells also whether
/// the passwords of roles are the same, which only a superuser can and no backup holds. The fingerprint is the same, whoever
/// hashes.
pub async fn hold(
    address: &Address,
    tables: &[String],
    matviews: bool,
    passwords: bool,
    hashing: Hashing,
    progress: &Progress,
    ledger: &Arc<Ledger>,
) -> Result<Held> {
    let reading = Reading::begin(address, tables, matviews, ledger).await?.with_passwords(passwords);
    let (passed, hashed) = match hashing {
        Hashing::Client => (reading.text(None, None, progress).await?, Hashed::default()),
        Hashing::Server => reading.rest(reading.server_sums().await?, progress).await?,
    };
    let print = reading.complete(passed.print, passed.roles, progress).await?;
    Ok(Held { print, rows: RowReader::Database(Box::new(reading)), hashed })
}
