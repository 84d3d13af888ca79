//! A backup as a script holds it.

use std::sync::Arc;

use crate::backups;
use crate::units;

/// One backup file with its manifest, if it has one.
#[derive(Clone)]
pub(crate) struct Backup(pub(crate) Arc<backups::Backup>);

impl Backup {
    /// Takes an opened backup.
    pub(crate) fn new(backup: backups::Backup) -> Self {
        Self(Arc::new(backup))
    }

    /// Returns what is worth keeping as evidence.
    pub(crate) fn facts(&self) -> serde_json::Value {
        let Some(m) = self.0.manifest() else {
            return serde_json::json!({ "path": self.0.path(), "manifest": null });
        };
        serde_json::json!({
            "path": self.0.path(),
            "size": m.size,
            "sha256": m.sha256,
            "raw_size": m.raw_size,
            "taken_at": m.taken_at,
            "source": m.source.address,
            "server_version": m.source.version,
            "tables": m.fingerprint.tables.len(),
            "rows": m.fingerprint.rows(),
            "whole": m.is_whole(),
            "masked": m.masked,
            "tools": m.tools,
        })
    }

    /// Returns whether its manifest says that columns are masked.
    pub(crate) fn is_masked(&self) -> bool {
        self.0.manifest().is_some_and(|manifest| manifest.is_masked())
    }

    /// Says in one line what it holds.
    pub(crate) fn summary(&self) -> String {
        match self.0.manifest() {
            Some(m) => {
                let (rows, tables) = (units::count(m.fingerprint.rows(), "row"), m.fingerprint.tables.len());
                let tables = units::count(tables as u64, "table");
                let masked = if m.is_masked() { format!(", masked: {}", m.masked_columns()) } else { String::new() };
                format!("{rows} of {tables}, {} packed to {}{masked}", units::size(m.raw_size), units::size(m.size))
            }
            None => "a dump of another tool, without a manifest".into(),
        }
    }
}

impl std::fmt::Display for Backup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.path().display().fmt(f)
    }
}
