//! `Integrity`: what `verify_integrity` found.

use std::sync::Arc;

use rhai::{Array, Dynamic, Engine};

use crate::compare;
use crate::script::from_json;

/// The verdict on a database's own rules.
#[derive(Clone)]
pub(crate) struct Integrity(Arc<compare::Integrity>);

impl From<compare::Integrity> for Integrity {
    fn from(found: compare::Integrity) -> Self {
        Self(Arc::new(found))
    }
}

impl Integrity {
    /// Returns the facts for the journal.
    pub(crate) fn facts(&self) -> serde_json::Value {
        serde_json::to_value(&*self.0).unwrap_or_default()
    }

    /// Returns the problems as a list of maps: `object, what, text`.
    fn problems(&self) -> Array {
        let problem = |problem: &compare::Problem| {
            let text = problem.to_string();
            from_json(serde_json::json!({ "object": problem.object, "what": problem.what, "text": text }))
        };
        self.0.problems.iter().map(problem).collect()
    }

    /// Returns what was not checked, with the reasons; what should have been comes first.
    fn not_checked(&self) -> Array {
        let all = self.0.not_run.iter().chain(&self.0.not_checked);
        all.map(|(what, why)| Dynamic::from(format!("{what}: {why}"))).collect()
    }
}

/// Teaches an engine the type.
pub(in crate::primitives) fn register(engine: &mut Engine) {
    engine
        .register_type_with_name::<Integrity>("Integrity")
        .register_get("sound", |i: &mut Integrity| i.0.sound())
        .register_get("summary", |i: &mut Integrity| i.0.summary())
        .register_get("problems", |i: &mut Integrity| i.problems())
        .register_get("not_checked", |i: &mut Integrity| i.not_checked())
        .register_get("checks", |i: &mut Integrity| i.0.checks.cast_signed())
        .register_get("tables", |i: &mut Integrity| i.0.tables.cast_signed())
        .register_get("rows", |i: &mut Integrity| i.0.rows.cast_signed())
        .register_fn("to_string", |i: &mut Integrity| i.to_string())
        .register_fn("to_debug", |i: &mut Integrity| i.to_string());
}

impl std::fmt::Display for Integrity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.summary())
    }
}
