//! The guard: which databases a run may write to and which projects it may change. It knows names and identifiers only,
//! so that nothing can talk it round, and where it cannot tell it refuses.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Deserialize;

use crate::error::{Error, Kind, Result};

/// What the configuration protects: `runner.toml`, section `[protect]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Protection {
    /// Databases by name; `*` stands for any text.
    #[serde(default)]
    pub databases: Vec<String>,
    /// Hosts by name; `*` stands for any text.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// Compose projects by name; `*` stands for any text.
    #[serde(default)]
    pub projects: Vec<String>,
}

/// `runner.toml`: what an operator decides and no script can bend.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Configuration {
    /// What is protected.
    #[serde(default)]
    pub protect: Protection,
    /// What scripts may start.
    #[serde(default)]
    pub run: Allowed,
}

/// What scripts may start: `runner.toml`, section `[run]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Allowed {
    /// Programs by bare name or absolute path.
    #[serde(default)]
    pub programs: Vec<String>,
}

impl Configuration {
    /// Reads `runner.toml`; an absent file protects nothing by name and allows nothing, a broken one stops the run.
    pub fn read(path: &Path) -> Result<Self> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(e) => return Err(Error::io("read", path, &e)),
        };
        let read: Result<Self, _> = toml::from_str(&text);
        read.map_err(|e| {
            Error::new(Kind::Refused, format!("could not understand {}", path.display()))
                .because(&e)
                .hint("mend the file: a run does not start while it cannot tell what is protected")
        })
    }
}

/// A database as the guard sees it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    /// What no other server has: PostgreSQL's system identifier.
    system: String,
    /// The database's name on that server.
    database: String,
}

impl Place {
    /// Returns whether both may be the same database.
    fn is(&self, other: &Self) -> bool {
        let any = self.system == ANY_SYSTEM || other.system == ANY_SYSTEM;
        self.database == other.database && (any || self.system == other.system)
    }
}

/// Stands for a server that would not say who it is.
const ANY_SYSTEM: &str = "*";

/// The databases that a run reads from and must never write to.
#[derive(Default)]
pub struct Guard {
    protection: Protection,
    closed: bool,
    known: Arc<Mutex<Known>>,
}

/// What the branches of a run told the guard so far.
#[derive(Default)]
struct Known {
    sources: BTreeSet<Place>,
    /// Databases whose names change hands at this moment.
    claimed: BTreeSet<Place>,
}

/// The right to change a database's name. While it is held, the database cannot become a source of the run.
#[must_use = "a claim that is dropped protects nothing"]
pub struct Claim {
    known: Arc<Mutex<Known>>,
    place: Place,
}

impl Drop for Claim {
    fn drop(&mut self) {
        lock(&self.known).claimed.remove(&self.place);
    }
}

fn lock(known: &Mutex<Known>) -> MutexGuard<'_, Known> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Guard {
    /// Makes a guard with what the configuration protects.
    pub fn new(protection: Protection) -> Self {
        Self { protection, closed: false, known: Arc::default() }
    }

    /// Lets nothing be written but what the run made itself, where that is so.
    pub fn closed(self, closed: bool) -> Self {
        Self { closed, ..self }
    }

    /// Remembers a database that this run reads as a source.
    ///
    /// # Errors
    /// `Refused` while another branch of the run puts a restored database in its place.
    pub fn add_source(&self, system: &str, database: &str) -> Result<()> {
        let place = Place { system: system.to_owned(), database: database.to_owned() };
        let mut known = lock(&self.known);
        if known.claimed.iter().any(|claimed| claimed.is(&place)) {
            return Err(Error::new(Kind::Refused, format!("database {database} is being replaced by this very run"))
                .on(database)
                .hint("open it before the restore or after it, not side by side with it"));
        }
        known.sources.insert(place);
        Ok(())
    }

    /// Remembers a source whose server does not tell its system identifier: from then on no server can be told from it,
    /// so nothing of that name may be written.
    ///
    /// # Errors
    /// As [`Guard::add_source`].
    pub fn add_unknown_source(&self, database: &str) -> Result<()> {
        self.add_source(ANY_SYSTEM, database)
    }

    /// Allows or refuses writing to a database that was opened as writable.
    ///
    /// # Errors
    /// `Refused` when it is a source of this run, when the configuration protects it, or when its server would not say
    /// who it is.
    pub fn allow(&self, system: Option<&str>, host: &str, database: &str) -> Result<()> {
        self.allowed(&lock(&self.known), system, host, database).map(drop)
    }

    /// Allows or refuses to give a database's name to another one, as [`Guard::allow`] does, and keeps it from becoming
    /// a source until the claim is dropped: no moment lies between the question and the change.
    ///
    /// # Errors
    /// As [`Guard::allow`].
    pub fn claim(&self, system: Option<&str>, host: &str, database: &str) -> Result<Claim> {
        let mut known = lock(&self.known);
        let place = self.allowed(&known, system, host, database)?;
        known.claimed.insert(place.clone());
        Ok(Claim { known: Arc::clone(&self.known), place })
    }

    fn allowed(&self, known: &Known, system: Option<&str>, host: &str, database: &str) -> Result<Place> {
        let refuse = |why: String| {
            Error::new(Kind::Refused, format!("writing to database {database} on {host} is refused"))
                .on(format!("{host}/{database}"))
                .caused_by(why)
        };
        if self.closed {
            return Err(refuse("runner prove writes to what it made itself and to nothing else".into()));
        }
        let Some(system) = system else {
            let why = "the server does not tell its system identifier, so it cannot be told from a source";
            return Err(
                refuse(why.into()).hint("grant pg_read_all_settings and execute on pg_control_system() to this user")
            );
        };
        let place = Place { system: system.to_owned(), database: database.to_owned() };
        if known.sources.iter().any(|source| source.is(&place)) {
            return Err(refuse("it is a source of this run".into())
                .hint("restore into a sandbox, or beside it under another name"));
        }
        let patterns = [(&self.protection.databases, database), (&self.protection.hosts, host)];
        for (patterns, name) in patterns {
            if let Some(pattern) = patterns.iter().find(|p| matches(p, name)) {
                return Err(refuse(format!("runner.toml protects {pattern}"))
                    .hint("restore into a sandbox, or take it off the list if you own it"));
            }
        }
        Ok(place)
    }
}

impl Guard {
    /// Allows or refuses to stop the services of a Compose project, or to make them anew.
    ///
    /// # Errors
    /// `Refused` when the configuration protects the project.
    pub fn allow_project(&self, project: &str) -> Result<()> {
        match self.protection.projects.iter().find(|pattern| matches(pattern, project)) {
            None => Ok(()),
            Some(pattern) => {
                Err(Error::new(Kind::Refused, format!("changing the Compose project {project} is refused"))
                    .on(project)
                    .caused_by(format!("runner.toml protects {pattern}"))
                    .hint("restore it under another project name, or take it off the list if you own it"))
            }
        }
    }
}

/// Matches a name with a pattern in which `*` stands for any text. Case does not matter: protecting too much is safe.
fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.to_lowercase(), name.to_lowercase());
    let Some((head, tail)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut rest) = name.strip_prefix(head) else { return false };
    let mut parts: Vec<&str> = tail.split('*').collect();
    let last = parts.pop().unwrap_or("");
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_can_never_be_a_target() {
        let guard = Guard::default();
        guard.add_source("7423", "orders").unwrap();
        assert_eq!(guard.allow(Some("7423"), "127.0.0.1", "orders").unwrap_err().kind(), Kind::Refused);
        assert!(guard.allow(Some("7423"), "127.0.0.1", "orders_copy").is_ok());
        assert!(guard.allow(Some("9999"), "127.0.0.1", "orders").is_ok());
    }

    #[test]
    fn a_database_whose_name_changes_hands_cannot_become_a_source_and_the_other_way_round() {
        let guard = Guard::default();
        let claim = guard.claim(Some("7423"), "127.0.0.1", "orders").unwrap();
        assert_eq!(guard.add_source("7423", "orders").unwrap_err().kind(), Kind::Refused);
        assert!(guard.add_unknown_source("orders").is_err(), "it cannot be told from that one");
        assert!(guard.add_source("7423", "other").is_ok() && guard.add_source("9999", "orders").is_ok());
        drop(claim);
        guard.add_source("7423", "orders").unwrap();
        assert!(guard.claim(Some("7423"), "127.0.0.1", "orders").is_err());
    }

    #[test]
    fn a_server_that_does_not_say_who_it_is_is_refused() {
        assert!(Guard::default().allow(None, "h", "d").is_err());
    }

    #[test]
    fn a_source_that_does_not_say_who_it_is_protects_its_name_everywhere() {
        let guard = Guard::default();
        guard.add_unknown_source("orders").unwrap();
        assert!(guard.allow(Some("1"), "h", "orders").is_err());
        assert!(guard.allow(Some("1"), "h", "other").is_ok());
    }

    #[test]
    fn the_configuration_protects_by_pattern() {
        let guard = Guard::new(Protection {
            databases: vec!["prod*".into()],
            hosts: vec!["*.prod.*".into()],
            projects: vec!["prod*".into()],
        });
        assert_eq!(guard.allow_project("prod_shop").unwrap_err().kind(), Kind::Refused);
        assert!(guard.allow_project("drill_shop").is_ok());
        assert!(guard.allow(Some("1"), "h", "Production").is_err());
        assert!(guard.allow(Some("1"), "db.prod.example", "x").is_err());
        assert!(guard.allow(Some("1"), "db.test.example", "x").is_ok());
    }

    #[test]
    fn a_broken_configuration_stops_the_run() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("runner.toml");
        std::fs::write(&path, "[protect]\ndatabase = ['prod']\n").unwrap();
        assert_eq!(Configuration::read(&path).unwrap_err().kind(), Kind::Refused);
        assert!(Configuration::read(&folder.path().join("absent")).is_ok());
        std::fs::write(&path, "[run]\nprograms = ['pg_isready']\n").unwrap();
        assert_eq!(Configuration::read(&path).unwrap().run.programs, ["pg_isready"]);
    }

    #[test]
    fn stars_match_any_text() {
        assert!(matches("*", "x") && matches("a*c", "abbc") && matches("a*b*c", "a1b2c"));
        assert!(!matches("a*c", "abd") && !matches("abc", "ab") && !matches("a*b*c", "acb"));
    }
}
