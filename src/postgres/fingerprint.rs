//! The fingerprint of a live database: the same reading as a dump's, into nowhere.

use std::sync::Arc;

use super::address::Address;
use super::reading::Reading;
use super::rows::RowReader;
use crate::cleanup::Ledger;
use crate::compare::Fingerprint;
use crate::error::Result;
use crate::progress::Progress;

/// Reads what a database holds, all of it at one moment. With `tables`, only these tables' rows and definitions.
pub async fn fingerprint(
    address: &Address,
    tables: &[String],
    progress: &Progress,
    ledger: &Arc<Ledger>,
) -> Result<Fingerprint> {
    let (print, reading) = hold(address, tables, true, false, progress, ledger).await?;
    reading.end().await?;
    Ok(print)
}

/// Reads also whether the passwords of roles are the same.
pub async fn fingerprint_with_passwords(
    address: &Address,
    progress: &Progress,
    ledger: &Arc<Ledger>,
) -> Result<Fingerprint> {
    let (print, reading) = hold(address, &[], true, true, progress, ledger).await?;
    reading.end().await?;
    Ok(print)
}

/// Reads what a database holds, and keeps its moment so that rows can be read again. With `passwords` it tells also whether
/// the passwords of roles are the same, which only a superuser can and no backup holds.
pub async fn hold(
    address: &Address,
    tables: &[String],
    matviews: bool,
    passwords: bool,
    progress: &Progress,
    ledger: &Arc<Ledger>,
) -> Result<(Fingerprint, RowReader)> {
    let reading = Reading::begin(address, tables, matviews, ledger).await?.with_passwords(passwords);
    let passed = reading.text(None, None, progress).await?;
    let print = reading.complete(passed.print, passed.roles, progress).await?;
    Ok((print, RowReader::Database(Box::new(reading))))
}
