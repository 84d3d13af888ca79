//! The restores of a run that wait beside their targets, and those that took a name and can still be undone.

use std::sync::{Mutex, PoisonError};

use super::handles::PostgresDatabase;
use crate::error::{Error, Kind, Result};
use crate::postgres::{Beside, Swap};

/// What the restores of a run left open.
#[derive(Default)]
pub(super) struct Swaps(Mutex<Open>);

#[derive(Default)]
struct Open {
    waiting: Vec<Waiting>,
    made: Vec<Made>,
}

/// A restored database that waits, with the handle of the database whose name it is to take.
pub(super) struct Waiting {
    pub(super) beside: Beside,
    pub(super) target: PostgresDatabase,
}

struct Made {
    system: Option<String>,
    name: String,
    swap: Swap,
}

impl Swaps {
    /// Remembers a database that waits.
    pub(super) fn wait(&self, beside: Beside, target: PostgresDatabase) {
        self.lock().waiting.push(Waiting { beside, target });
    }

    /// Takes the one that waits under this handle.
    ///
    /// # Errors
    /// `Usage` when no restore of this run made it, or when it took its name already.
    pub(super) fn take(&self, copy: &PostgresDatabase) -> Result<Waiting> {
        let mut open = self.lock();
        let shown = copy.address.to_string();
        match open.waiting.iter().position(|waiting| waiting.beside.address().to_string() == shown) {
            Some(at) => Ok(open.waiting.remove(at)),
            None => Err(Error::new(Kind::Usage, format!("{shown} does not wait to take a name"))
                .on(shown)
                .hint("only what restore_beside returned in this run can be swapped in, and only once")),
        }
    }

    /// Remembers that names are about to change.
    pub(super) fn note(&self, target: &PostgresDatabase, swap: Swap) {
        let (system, name) = (target.identity.system_identifier.clone(), target.identity.database.clone());
        self.lock().made.push(Made { system, name, swap });
    }

    /// Returns the last change of a database's name by this run.
    pub(super) fn last(&self, target: &PostgresDatabase) -> Option<Swap> {
        let same =
            |made: &&Made| made.name == target.identity.database && made.system == target.identity.system_identifier;
        self.lock().made.iter().rev().find(same).map(|made| made.swap.clone())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
