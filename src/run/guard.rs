//! The guard: which databases a run may write to. It knows names and identifiers only, so that nothing can talk it
//! round, and where it cannot tell it refuses.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

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
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Configuration {
    #[serde(default)]
    protect: Protection,
}

impl Protection {
    /// Reads `runner.toml`; an absent file protects nothing by name, a broken one stops the run.
    pub fn read(path: &Path) -> Result<Self> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(e) => return Err(Error::io("read", path, &e)),
        };
        let read: Result<Configuration, _> = toml::from_str(&text);
        read.map(|c| c.protect).map_err(|e| {
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

/// The databases that a run reads from and must never write to, and those it made itself.
#[derive(Default)]
pub struct Guard {
    protection: Protection,
    sources: Mutex<BTreeSet<Place>>,
}

impl Guard {
    /// Makes a guard with what the configuration protects.
    pub fn new(protection: Protection) -> Self {
        Self { protection, sources: Mutex::default() }
    }

    /// Remembers a database that this run reads as a source.
    pub fn add_source(&self, system: &str, database: &str) {
        let place = Place { system: system.to_owned(), database: database.to_owned() };
        self.sources.lock().unwrap_or_else(PoisonError::into_inner).insert(place);
    }

    /// Allows or refuses writing to a database that was opened as writable.
    ///
    /// # Errors
    /// `Refused` when it is a source of this run, when the configuration protects it, or when its server would not say
    /// who it is.
    pub fn allow(&self, system: Option<&str>, host: &str, database: &str) -> Result<()> {
        let refuse = |why: String| {
            Err(Error::new(Kind::Refused, format!("writing to database {database} on {host} is refused"))
                .on(format!("{host}/{database}"))
                .caused_by(why))
        };
        let Some(system) = system else {
            return refuse("the server does not tell its system identifier, so it cannot be told from a source".into())
                .map_err(|e: Error| {
                    e.hint("grant pg_read_all_settings and execute on pg_control_system() to this user")
                });
        };
        let place = Place { system: system.to_owned(), database: database.to_owned() };
        if self.sources.lock().unwrap_or_else(PoisonError::into_inner).contains(&place) {
            return refuse("it is a source of this run".into())
                .map_err(|e: Error| e.hint("restore into a sandbox, or beside it under another name"));
        }
        let patterns = [(&self.protection.databases, database), (&self.protection.hosts, host)];
        for (patterns, name) in patterns {
            if let Some(pattern) = patterns.iter().find(|p| matches(p, name)) {
                return refuse(format!("runner.toml protects {pattern}"))
                    .map_err(|e: Error| e.hint("restore into a sandbox, or take it off the list if you own it"));
            }
        }
        Ok(())
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
        guard.add_source("7423", "orders");
        assert_eq!(guard.allow(Some("7423"), "127.0.0.1", "orders").unwrap_err().kind(), Kind::Refused);
        assert!(guard.allow(Some("7423"), "127.0.0.1", "orders_copy").is_ok());
        assert!(guard.allow(Some("9999"), "127.0.0.1", "orders").is_ok());
    }

    #[test]
    fn a_server_that_does_not_say_who_it_is_is_refused() {
        assert!(Guard::default().allow(None, "h", "d").is_err());
    }

    #[test]
    fn the_configuration_protects_by_pattern() {
        let guard = Guard::new(Protection { databases: vec!["prod*".into()], hosts: vec!["*.prod.*".into()] });
        assert!(guard.allow(Some("1"), "h", "Production").is_err());
        assert!(guard.allow(Some("1"), "db.prod.example", "x").is_err());
        assert!(guard.allow(Some("1"), "db.test.example", "x").is_ok());
    }

    #[test]
    fn a_broken_configuration_stops_the_run() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("runner.toml");
        std::fs::write(&path, "[protect]\ndatabase = ['prod']\n").unwrap();
        assert_eq!(Protection::read(&path).unwrap_err().kind(), Kind::Refused);
        assert!(Protection::read(&folder.path().join("absent")).is_ok());
    }

    #[test]
    fn stars_match_any_text() {
        assert!(matches("*", "x") && matches("a*c", "abbc") && matches("a*b*c", "a1b2c"));
        assert!(!matches("a*c", "abd") && !matches("abc", "ab") && !matches("a*b*c", "acb"));
    }
}
