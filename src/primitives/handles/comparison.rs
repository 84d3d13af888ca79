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

    /// Returns the rows that differ as a list of maps: `table, key, row, change, columns, times, values, text`.
    pub(crate) fn row_differences(&self) -> Array {
        let rows = self.0.row_differences.iter().map(|difference| {
            let mut value = serde_json::to_value(difference).unwrap_or_default();
            if let Some(map) = value.as_object_mut() {
                map.insert("text".into(), difference.to_string().into());
                map.extend(difference.values.as_ref().map(|all| ("values".to_owned(), values(all))));
            }
            from_json(value)
        });
        rows.collect()
    }

    /// Returns how many rows differ in each table that was searched.
    pub(crate) fn row_counts(&self) -> Array {
        let told = self.0.row_counts.iter().map(|table| told(table, table.to_string()));
        told.chain(self.0.rows_not_named.iter().map(|(table, why)| {
            from_json(serde_json::json!({ "table": table, "exact": false, "text": format!("not searched: {why}") }))
        }))
        .collect()
    }

    /// Returns what may differ without damage: `object, what, reason`, and `expected, found` where it does differ.
    pub(crate) fn lawful(&self) -> Array {
        self.0.lawful.iter().map(|lawful| told(lawful, format!("{}: {}", lawful.object, lawful.what))).collect()
    }

    /// Returns the differences that were declared lawful: `object, what, reason, text`.
    pub(crate) fn ignored(&self) -> Array {
        let ignored = self.0.ignored.iter().map(|ignored| {
            let mut map = rhai::Map::new();
            map.insert("object".into(), ignored.difference.object.as_str().into());
            map.insert("what".into(), ignored.difference.what.into());
            map.insert("reason".into(), ignored.reason.as_str().into());
            map.insert("text".into(), ignored.difference.to_string().into());
            Dynamic::from(map)
        });
        ignored.collect()
    }

    /// Returns the objects that were to be ignored and in which nothing differs.
    pub(crate) fn not_used(&self) -> Array {
        self.0.not_used.iter().map(|object| Dynamic::from(object.clone())).collect()
    }

    /// Returns the levels that were checked.
    pub(crate) fn checked(&self) -> Array {
        self.0.checked.iter().map(|level| Dynamic::from(level.to_string())).collect()
    }
}

/// Returns a thing as a map with its text.
fn told(thing: &impl serde::Serialize, text: String) -> Dynamic {
    let mut value = serde_json::to_value(thing).unwrap_or_default();
    if let Some(map) = value.as_object_mut() {
        map.insert("text".into(), text.into());
    }
    from_json(value)
}

/// Returns the values of a row by column, each with the sides that have it.
fn values(all: &compare::rows::Values) -> serde_json::Value {
    let sides = |(column, expected, found): &(String, Option<compare::rows::Value>, Option<compare::rows::Value>)| {
        let mut sides = serde_json::Map::new();
        sides.extend(expected.as_ref().map(|value| ("expected".to_owned(), value.clone().into())));
        sides.extend(found.as_ref().map(|value| ("found".to_owned(), value.clone().into())));
        (column.clone(), sides.into())
    };
    serde_json::Value::Object(all.iter().map(sides).collect())
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
