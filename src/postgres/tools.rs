//! The programs of PostgreSQL: where they are and which of them fits a server.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::address::Address;
use super::identity::Identity;
use crate::cleanup::Ledger;
use crate::docker::{Container, Engine};
use crate::error::{Error, Kind, Result};
use crate::process::Program;

/// Where distributions keep one folder for each major version.
const VERSIONED: &str = "/usr/lib/postgresql";
/// Debian's stand-in on PATH: it picks a version by settings of its own, so the programs behind it are asked instead.
const WRAPPER: &str = "pg_wrapper";

/// A program that fits a server.
#[derive(Clone)]
pub enum Tool {
    /// On this machine.
    Here {
        /// The file.
        path: PathBuf,
        /// Its version, for instance `15.18`.
        version: String,
    },
    /// In the container that the server runs in.
    Inside {
        /// The container.
        container: Container,
        /// Its version.
        version: String,
    },
}

impl Tool {
    /// Returns the version.
    pub fn version(&self) -> &str {
        match self {
            Tool::Here { version, .. } | Tool::Inside { version, .. } => version,
        }
    }
}

/// Returns the folders with PostgreSQL's programs outside PATH, newest version first.
pub fn folders() -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(VERSIONED) else { return Vec::new() };
    let mut versions: Vec<(u32, PathBuf)> = entries
        .filter_map(Result::ok)
        .filter_map(|e| Some((e.file_name().to_str()?.parse().ok()?, e.path().join("bin"))))
        .collect();
    versions.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    versions.into_iter().map(|(_, folder)| folder).collect()
}

/// Finds a program that can read the server: of its own major version, else the next newer one, since an old program does
/// not know a new server's catalogue, and what a newer one writes may be too new for the place of the restore.
pub async fn find(name: &str, server: &Identity, address: &Address, ledger: &Arc<Ledger>) -> Result<Tool> {
    let mut seen = Vec::new();
    let mut best: Option<(u32, Tool)> = None;
    for path in candidates(name) {
        let Some((major, version)) = version_of(&path).await else { continue };
        seen.push(format!("{} is {version}", path.display()));
        if major >= server.major() && best.as_ref().is_none_or(|(other, _)| major < *other) {
            best = Some((major, Tool::Here { path, version }));
        }
    }
    match (best, address.container()) {
        (Some((_, tool)), _) => Ok(tool),
        (None, Some(id)) => inside(name, id, ledger).await,
        (None, None) => Err(none_fits(name, server, &seen)),
    }
}

/// Returns the programs of that name, those on PATH first.
fn candidates(name: &str) -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut found: Vec<PathBuf> = Vec::new();
    for folder in std::env::split_paths(&path).filter(|folder| folder.is_absolute()).chain(folders()) {
        let file = folder.join(name);
        if is_program(&file) && !found.contains(&file) {
            found.push(file);
        }
    }
    found
}

fn is_program(file: &Path) -> bool {
    let Ok(real) = file.canonicalize() else { return false };
    real.is_file()
        && real.file_name().is_some_and(|name| name != WRAPPER)
        && nix::unistd::access(&real, nix::unistd::AccessFlags::X_OK).is_ok()
}

/// Asks a program for its version; one that does not answer is none of PostgreSQL's.
async fn version_of(path: &Path) -> Option<(u32, String)> {
    let out = Program::new(path).arg("--version").output().await.ok()?;
    version(&String::from_utf8_lossy(&out))
}

/// Reads `pg_dump (PostgreSQL) 15.18 (Debian …)`.
fn version(text: &str) -> Option<(u32, String)> {
    let version = text.split_once("(PostgreSQL) ")?.1.split_whitespace().next()?;
    let major = version.chars().take_while(char::is_ascii_digit).collect::<String>().parse().ok()?;
    Some((major, version.to_owned()))
}

async fn inside(name: &str, id: &str, ledger: &Arc<Ledger>) -> Result<Tool> {
    let container = Container::find(&Engine::default(), id).await?;
    let out = container.exec([name, "--version"]).output(ledger).await?;
    match version(&String::from_utf8_lossy(&out)) {
        Some((_, version)) => Ok(Tool::Inside { container, version }),
        None => Err(Error::new(Kind::Missing, format!("{name} in container {} tells no version", container.name()))),
    }
}

fn none_fits(name: &str, server: &Identity, seen: &[String]) -> Error {
    let error = Error::new(Kind::Missing, format!("could not find a {name} for PostgreSQL {}", server.version));
    let error = if seen.is_empty() {
        error.caused_by(format!("there is no {name} on PATH or below {VERSIONED}"))
    } else {
        error.caused_by(seen.join(", "))
    };
    let major = server.major();
    error.hint(format!(
        "install {name} {major} or newer (Debian: postgresql-client-{major}), or name the server by its container"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::Host;

    fn server(version_num: u32) -> Identity {
        Identity {
            system_identifier: None,
            database: "d".into(),
            version_num,
            version: (version_num / 10_000).to_string(),
        }
    }

    fn ledger() -> (tempfile::TempDir, Arc<Ledger>) {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::create("r", folder.path()).unwrap();
        (folder, ledger)
    }

    #[tokio::test]
    async fn a_program_of_the_servers_version_is_found_and_an_older_one_is_not_taken() {
        let (_folder, ledger) = ledger();
        let address = Address::new(Host::new("h"), 1, "u", None, "d");
        let found = find("pg_dump", &server(130_000), &address, &ledger).await.unwrap();
        assert!(matches!(&found, Tool::Here { path, .. } if path.is_absolute() && !path.ends_with(WRAPPER)));
        let error = find("pg_dump", &server(990_000), &address, &ledger).await.err().unwrap();
        assert!(error.message().contains("could not find a pg_dump for PostgreSQL 99"), "{error}");
        assert!(error.causes()[0].contains(&format!("is {}", found.version())), "{error}");
        assert!(error.next_step().unwrap().contains("postgresql-client-99"));
    }

    #[test]
    fn versions_are_read() {
        assert_eq!(version("pg_dump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n"), Some((15, "15.18".into())));
        assert_eq!(version("pg_dump (PostgreSQL) 19devel"), Some((19, "19devel".into())));
        assert_eq!(version("usage: x"), None);
    }
}
