//! Backup sets and catalogs as a script holds them.

use std::sync::Arc;

use rhai::{Dynamic, Engine, EvalAltResult};

use crate::backups::{self, Standing};
use crate::error::Result;
use crate::script::{Raise, Time};
use crate::units;

/// A folder of backup sets.
#[derive(Clone)]
pub(crate) struct Catalog(pub(crate) Arc<backups::Catalog>);

/// One backup set.
#[derive(Clone)]
pub(crate) struct BackupSet(pub(crate) Arc<backups::BackupSet>);

impl BackupSet {
    /// Takes an opened set.
    pub(crate) fn new(set: backups::BackupSet) -> Self {
        Self(Arc::new(set))
    }

    fn state(&self) -> &'static str {
        match &self.0.standing {
            Standing::Whole => "whole",
            Standing::Failed(_) => "failed",
            Standing::Future => "future",
            Standing::Unreadable(_) => "unreadable",
        }
    }

    fn problem(&self) -> String {
        match &self.0.standing {
            Standing::Failed(why) | Standing::Unreadable(why) => why.clone(),
            Standing::Future => "it is dated in the future".into(),
            Standing::Whole => match &self.0.verified {
                Some(verified) if !verified.passed => format!("its verification failed: {}", verified.how),
                _ => String::new(),
            },
        }
    }

    fn components(&self) -> rhai::Array {
        let metadata = self.0.metadata.iter();
        metadata.flat_map(|m| m.components.keys()).map(|name| Dynamic::from(name.clone())).collect()
    }

    fn summary(&self) -> String {
        let verified = if self.0.is_verified() { ", verified" } else { "" };
        let pinned = if self.0.pinned.is_some() { ", pinned" } else { "" };
        let problem = Some(self.problem()).filter(|p| !p.is_empty()).map(|p| format!(": {p}")).unwrap_or_default();
        format!("{}, {}{verified}{pinned}{problem}", self.state(), units::size(self.0.size()))
    }
}

type Got<T> = std::result::Result<T, Box<EvalAltResult>>;

fn got<T>(result: Result<T>) -> Got<T> {
    result.map_err(|error| Raise::Ours(error).into_rhai("BackupSet"))
}

/// Teaches an engine the types.
pub(in crate::primitives) fn register(engine: &mut Engine) {
    engine
        .register_type_with_name::<Catalog>("Catalog")
        .register_get("folder", |c: &mut Catalog| c.0.folder().display().to_string())
        .register_fn("to_string", |c: &mut Catalog| c.to_string())
        .register_fn("to_debug", |c: &mut Catalog| c.to_string());
    engine
        .register_type_with_name::<BackupSet>("BackupSet")
        .register_get("name", |s: &mut BackupSet| s.0.name.clone())
        .register_get("folder", |s: &mut BackupSet| s.0.folder.display().to_string())
        .register_get("state", |s: &mut BackupSet| s.state())
        .register_get("whole", |s: &mut BackupSet| s.0.is_good())
        .register_get("problem", |s: &mut BackupSet| s.problem())
        .register_get("verified", |s: &mut BackupSet| s.0.is_verified())
        .register_get("pinned", |s: &mut BackupSet| s.0.pinned.is_some())
        .register_get("components", |s: &mut BackupSet| s.components())
        .register_get("total_size", |s: &mut BackupSet| i64::try_from(s.0.size()).unwrap_or(i64::MAX))
        .register_get("summary", |s: &mut BackupSet| s.summary())
        .register_get("taken_at", |s: &mut BackupSet| s.0.taken_at.map_or(Dynamic::UNIT, |at| Dynamic::from(Time(at))))
        .register_fn("path", |s: &mut BackupSet, name: &str| got(s.0.path(name).map(|p| p.display().to_string())))
        .register_fn("size", |s: &mut BackupSet, name: &str| {
            got(s.0.component(name).map(|c| i64::try_from(c.size).unwrap_or(i64::MAX)))
        })
        .register_fn("files", |s: &mut BackupSet, name: &str| {
            got(s.0.component(name).map(|c| i64::try_from(c.files.unwrap_or(1)).unwrap_or(i64::MAX)))
        })
        .register_fn("to_string", |s: &mut BackupSet| s.to_string())
        .register_fn("to_debug", |s: &mut BackupSet| s.to_string());
}

impl std::fmt::Display for Catalog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.folder().display().fmt(f)
    }
}

impl std::fmt::Display for BackupSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.name)
    }
}
