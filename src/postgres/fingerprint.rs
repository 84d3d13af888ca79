//! The fingerprint of a live database: the same reading as a dump's, into nowhere.

use std::sync::Arc;

use super::address::Address;
use super::reading::Reading;
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
    let reading = Reading::begin(address, tables, ledger).await?;
    let passed = reading.text(None, None, progress).await?;
    let print = reading.complete(passed.print, passed.roles).await?;
    reading.end().await?;
    Ok(print)
}
