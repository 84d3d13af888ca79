//! A catalog: a folder of backup sets, and what can be said about all of them together.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::retention::{Candidate, Decision, Policy, Worth, plan};
use super::set::{BackupSet, FAILED_PREFIX, SET_PREFIX, Standing};
use super::set_build;
use crate::error::{Error, Kind, Result};
use crate::files::shown;

/// A folder of backup sets. It need not be there before the first set is made.
#[derive(Debug, Clone)]
pub struct Catalog {
    folder: PathBuf,
}

/// Numbers about a catalog.
#[derive(Debug, Clone, Default)]
pub struct Stats {
    /// Whole sets.
    pub sets: usize,
    /// Sets that count for nothing: failed, unreadable, dated in the future.
    pub bad: usize,
    /// Whole sets whose last verification passed.
    pub verified: usize,
    /// Pinned sets.
    pub pinned: usize,
    /// The bytes of all sets, bad ones too: they take space.
    pub total_size: u64,
    /// The bytes of each component over all whole sets.
    pub by_component: BTreeMap<String, u64>,
    /// When the oldest whole set was taken.
    pub oldest: Option<Timestamp>,
    /// When the newest whole set was taken: the last success.
    pub newest: Option<Timestamp>,
    /// The bytes of the newest whole set.
    pub newest_size: u64,
    /// How many bytes a day the sets grow by, from the oldest to the newest whole one with the same components.
    pub growth_per_day: Option<f64>,
}

impl Catalog {
    /// Takes a folder.
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// Returns the folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns all sets, newest first, with those that cannot be used. A folder that is not there holds none.
    pub fn list(&self, now: Timestamp) -> Result<Vec<BackupSet>> {
        let entries = match std::fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(Error::io("read", &self.folder, &e)),
        };
        let mut sets = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|e| Error::io("read", &self.folder, &e))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let named = name.starts_with(SET_PREFIX) || name.starts_with(FAILED_PREFIX);
            let kind = entry.file_type().map_err(|e| Error::io("read", &entry.path(), &e))?;
            // A link is not a set: what is pruned would not be what was listed.
            if named && kind.is_dir() {
                sets.push(BackupSet::open(&entry.path(), now)?);
            }
        }
        sets.sort_by(|a, b| (b.taken_at, &b.name).cmp(&(a.taken_at, &a.name)));
        Ok(sets)
    }

    /// Returns the newest set that can be used.
    pub fn latest(&self, now: Timestamp) -> Result<BackupSet> {
        let sets = self.list(now)?;
        let bad = sets.iter().filter(|set| !set.is_good()).count();
        sets.into_iter().find(BackupSet::is_good).ok_or_else(|| {
            let error = Error::new(Kind::Missing, format!("there is no whole backup set in {}", shown(&self.folder)))
                .on(shown(&self.folder))
                .hint("make one with `runner full_backup`, or name another folder");
            if bad > 0 {
                error.caused_by(format!("{bad} sets there cannot be used: see `runner list_backups`"))
            } else {
                error
            }
        })
    }

    /// Returns a set by its name; `latest` is the newest that can be used.
    pub fn get(&self, name: &str, now: Timestamp) -> Result<BackupSet> {
        if name == "latest" {
            return self.latest(now);
        }
        if name.is_empty() || name.contains(['/', '\0']) || name.starts_with('.') {
            return Err(Error::new(Kind::Usage, format!("{name:?} is no name of a backup set"))
                .hint("write the name alone; the folder is that of the catalog"));
        }
        let folder = self.folder.join(name);
        if !folder.is_dir() {
            let sets = self.list(now)?;
            let near = sets.iter().map(|s| s.name.as_str());
            let near = near.max_by(|a, b| strsim::jaro_winkler(a, name).total_cmp(&strsim::jaro_winkler(b, name)));
            let hint = near.map_or("there is none".into(), |near| format!("the nearest is {near}"));
            return Err(Error::new(Kind::Missing, format!("there is no backup set {name} in {}", shown(&self.folder)))
                .on(name)
                .hint(hint));
        }
        BackupSet::open(&folder, now)
    }

    /// Plans which sets stay.
    pub fn plan(&self, policy: &Policy, now: Timestamp) -> Result<Vec<(BackupSet, Decision)>> {
        let sets = self.list(now)?;
        let history: Vec<_> = sets.iter().map(candidate).collect();
        let decisions = plan(&history, policy, now);
        let find = |name: &str| sets.iter().find(|set| set.name == name).cloned();
        Ok(decisions.into_iter().filter_map(|decision| Some((find(&decision.name)?, decision))).collect())
    }

    /// Removes a set for good; with a token its files are overwritten before, until the token says stop.
    pub fn remove(&self, set: &BackupSet, shred: Option<&CancellationToken>) -> Result<()> {
        set_build::remove_set(set, shred)
    }

    /// Returns numbers about all sets.
    pub fn stats(&self, now: Timestamp) -> Result<Stats> {
        let sets = self.list(now)?;
        let good: Vec<&BackupSet> = sets.iter().filter(|set| set.is_good()).collect();
        let mut stats = Stats {
            sets: good.len(),
            bad: sets.len() - good.len(),
            verified: good.iter().filter(|set| set.is_verified()).count(),
            pinned: sets.iter().filter(|set| set.pinned.is_some()).count(),
            total_size: sets.iter().map(BackupSet::size).fold(0, u64::saturating_add), // metadata may claim anything
            oldest: good.last().and_then(|set| set.taken_at),
            newest: good.first().and_then(|set| set.taken_at),
            newest_size: good.first().map_or(0, |set| set.size()),
            growth_per_day: growth(&good),
            ..Stats::default()
        };
        for (name, component) in good.iter().filter_map(|set| set.metadata.as_ref()).flat_map(|m| &m.components) {
            let size = if component.size > 0 { component.size } else { (component.size_mb.max(0.0) * 1e6) as u64 };
            let sum = stats.by_component.entry(name.clone()).or_default();
            *sum = sum.saturating_add(size);
        }
        Ok(stats)
    }
}

/// Sets of other components cannot be compared: a database alone is no shrunken estate.
fn growth(good: &[&BackupSet]) -> Option<f64> {
    let parts = |set: &BackupSet| set.metadata.as_ref().map(|m| m.components.keys().cloned().collect::<Vec<_>>());
    let newest = good.first()?;
    let oldest = good.iter().rev().find(|set| parts(set) == parts(newest))?;
    let days = newest.taken_at?.duration_since(oldest.taken_at?).as_secs_f64() / 86_400.0;
    (days > 0.0).then(|| (newest.size() as f64 - oldest.size() as f64) / days)
}

fn candidate(set: &BackupSet) -> Candidate {
    let worth = match (&set.standing, &set.verified) {
        (Standing::Unreadable(_), _) => Worth::Unreadable,
        (Standing::Failed(_), _) => Worth::Failed,
        (_, Some(verified)) if verified.passed => Worth::Verified,
        (_, Some(_)) => Worth::Suspect,
        (_, None) => Worth::Whole,
    };
    Candidate {
        name: set.name.clone(),
        taken_at: set.taken_at,
        size: set.size(),
        worth,
        pinned: set.pinned.is_some(),
        components: set.metadata.iter().flat_map(|m| m.components.keys().cloned()).collect(),
    }
}
