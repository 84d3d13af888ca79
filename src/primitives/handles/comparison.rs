//! Fingerprints and comparisons as a script holds them.

use std::sync::Arc;

use rhai::{Array, Dynamic};

use crate::compare;
use crate::script::from_json;

/// What a database or backup holds.
#[derive(Clone)]
pub(crate) struct Fingerprint(pub(crate) Arc<compare::Fingerprint>);

/// The verdict on two fingerprints.
#[derive(Clone)]
pub(crate) struct Comparison(pub(crate) Arc<compare::Comparison>);

impl Comparison {
    /// Returns the differences as a list of maps: `object, what, change, expected, found, text`.
    pub(crate) fn differences(&self) -> Array {
        let differences = self.0.differences.iter().map(|difference| {
            let mut value = serde_json::to_value(difference).unwrap_or_default();
            if let Some(map) = value.as_object_mut() {
                map.insert("text".into(), difference.to_string().into());
            }
            from_json(value)
        });
        differences.collect()
    }

    /// Returns the levels that were checked.
    pub(crate) fn checked(&self) -> Array {
        self.0.checked.iter().map(|level| Dynamic::from(level.to_string())).collect()
    }
}

impl std::fmt::Display for Comparison {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.summary())
    }
}

impl std::fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (rows, tables) = (self.0.rows(), self.0.tables.len());
        write!(f, "{} of {}", crate::units::count(rows, "row"), crate::units::count(tables as u64, "table"))
    }
}
