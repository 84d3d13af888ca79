//! Proving a script: one damage is planted where the script's checks should see it, and the run tells whether it was.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A damage that is planted on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plant {
    /// Its name: `row lost`.
    pub title: &'static str,
    /// Where it is planted.
    pub place: Place,
}

/// Where a damage is planted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In the restored database, which is this run's own, just after the restore.
    Restored,
    /// In a copy of the backup file, just before it is read.
    File,
}

/// What became of a plant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Planted {
    /// The run never came to the place.
    NotReached,
    /// It was planted: the statement, or what was done to the file.
    Done(String),
    /// There was nothing to damage in this way.
    NothingToDamage,
    /// The database would not take it.
    NotTaken(String),
}

/// What one run of a proof plants and has planted.
pub struct Proving {
    plant: Option<Plant>,
    state: Mutex<State>,
}

struct State {
    taken: bool,
    planted: Planted,
    restored: usize,
    copies: BTreeMap<PathBuf, PathBuf>,
}

impl Proving {
    /// Plans a run with one damage; `None` is the clean run that the others are held against.
    pub fn new(plant: Option<Plant>) -> Self {
        let state = State { taken: false, planted: Planted::NotReached, restored: 0, copies: BTreeMap::new() };
        Self { plant, state: Mutex::new(state) }
    }

    /// Returns whether the run's damage is planted there.
    pub fn plants_in(&self, place: Place) -> bool {
        self.plant.is_some_and(|plant| plant.place == place)
    }

    /// Takes the plant for a place, once in a run.
    pub fn take(&self, place: Place) -> Option<Plant> {
        let plant = self.plant.filter(|plant| plant.place == place)?;
        let mut state = self.lock();
        (!std::mem::replace(&mut state.taken, true)).then_some(plant)
    }

    /// Notes what became of the plant.
    pub fn note(&self, planted: Planted) {
        self.lock().planted = planted;
    }

    /// Returns what became of the plant.
    pub fn planted(&self) -> Planted {
        self.lock().planted.clone()
    }

    /// Counts a restore into something that is the run's own: without one there is nothing to prove.
    pub fn count_restore(&self) {
        self.lock().restored += 1;
    }

    /// Returns how many restores there were.
    pub fn restored(&self) -> usize {
        self.lock().restored
    }

    /// Notes that a copy stands for a backup file from now on.
    pub fn stand_in(&self, path: &Path, copy: PathBuf) {
        self.lock().copies.insert(path.to_owned(), copy);
    }

    /// Returns the copy that stands for a file.
    pub fn stand_in_of(&self, path: &Path) -> Option<PathBuf> {
        self.lock().copies.get(path).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
