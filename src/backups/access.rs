//! The access log: who made, read, restored, pinned or removed which backup, and when. One line of JSON each, in the
//! folder that holds the backups.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use nix::fcntl::OFlag;
use serde::Serialize;

use super::set::{FAILED_PREFIX, SET_PREFIX};
use crate::error::{Error, Result};
use crate::files::atomic::PARTIAL_PREFIX;
use crate::files::checksums;
use crate::secret;

/// The log's name.
pub const ACCESS_LOG: &str = checksums::ACCESS_LOG;

/// One line.
#[derive(Serialize)]
struct Line<'a> {
    time: Timestamp,
    user: String,
    host: String,
    run: &'a str,
    verb: &'a str,
    file: String,
}

/// Notes that a run did something with a backup. What is still in the making belongs to nobody's log.
///
/// # Errors
/// When the line could not be written whole: whether the work may go on without it is the caller's to say.
pub fn note(backup: &Path, verb: &str, run: &str) -> Result<()> {
    let Some((folder, file)) = place(backup) else { return Ok(()) };
    let log = folder.join(ACCESS_LOG);
    let line = Line { time: Timestamp::now(), user: user(), host: host(), run, verb, file };
    let mut line = serde_json::to_value(line).unwrap_or_default();
    secret::redact_json(&mut line);
    // One write of one line: those of two runs do not mix. A link would lead the log elsewhere.
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o600).custom_flags(OFlag::O_NOFOLLOW.bits());
    let written = options.open(&log).and_then(|mut file| {
        file.write_all(format!("{line}\n").as_bytes())?;
        file.sync_data()
    });
    written.map_err(|e| {
        Error::io("write the access log", &log, &e).hint("who touches backups must be known: make it writable")
    })
}

/// Returns the folder whose log speaks of a backup, and what the backup is called there: a set and what is in it belong
/// to the folder of the sets.
fn place(backup: &Path) -> Option<(PathBuf, String)> {
    let backup = std::path::absolute(backup).ok()?;
    let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    let folders = || backup.ancestors().filter_map(|path| Some((path, name(path)?)));
    if folders().any(|(_, name)| name.starts_with(PARTIAL_PREFIX)) {
        return None;
    }
    let is_set = |name: &str| name.starts_with(SET_PREFIX) || name.starts_with(FAILED_PREFIX);
    let whole = folders().find(|(_, name)| is_set(name)).map_or(backup.as_path(), |(set, _)| set);
    let folder = whole.parent()?;
    let file = backup.strip_prefix(folder).ok()?;
    Some((folder.to_owned(), file.to_string_lossy().into_owned()))
}

fn user() -> String {
    let uid = nix::unistd::geteuid();
    let name = nix::unistd::User::from_uid(uid).ok().flatten().map(|user| user.name);
    let name = name.unwrap_or_else(|| uid.to_string());
    match std::env::var("SUDO_USER") {
        Ok(behind) if !behind.is_empty() && behind != name => format!("{behind} as {name}"),
        _ => name,
    }
}

fn host() -> String {
    let name =
        std::fs::read_to_string("/proc/sys/kernel/hostname").or_else(|_| std::fs::read_to_string("/etc/hostname"));
    name.map_or_else(|_| "unknown".into(), |name| name.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_backup_and_a_set_have_the_log_of_their_folder() {
        let at = |path: &str| place(Path::new(path)).map(|(folder, file)| (folder.display().to_string(), file));
        let told = |folder: &str, file: &str| Some((folder.to_owned(), file.to_owned()));
        assert_eq!(at("/b/shop.sql.gz"), told("/b", "shop.sql.gz"));
        assert_eq!(at("/b/system_backup_20261120_020000"), told("/b", "system_backup_20261120_020000"));
        assert_eq!(
            at("/b/system_backup_20261120_020000/docker_volumes/x.tar.gz"),
            told("/b", "system_backup_20261120_020000/docker_volumes/x.tar.gz")
        );
        assert_eq!(at("/b/.partial-00-system_backup_20261120_020000/database.sql.gz"), None);
    }

    #[test]
    fn lines_are_added_whole_and_only_the_owner_reads_them() {
        let folder = tempfile::tempdir().unwrap();
        let backup = folder.path().join("shop.sql.gz");
        for verb in ["dump", "restore"] {
            note(&backup, verb, "run-1").unwrap();
        }
        let log = folder.path().join(ACCESS_LOG);
        assert_eq!(log.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let lines: Vec<serde_json::Value> =
            std::fs::read_to_string(&log).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!((lines.len(), &lines[1]["verb"], &lines[1]["file"]), (2, &"restore".into(), &"shop.sql.gz".into()));
        for key in ["time", "user", "host", "run"] {
            assert!(lines[0][key].as_str().is_some_and(|text| !text.is_empty()), "{key}");
        }
    }

    #[test]
    fn a_log_that_is_a_link_or_a_folder_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let elsewhere = folder.path().join("elsewhere");
        std::os::unix::fs::symlink(&elsewhere, folder.path().join(ACCESS_LOG)).unwrap();
        assert!(note(&folder.path().join("x.sql.gz"), "dump", "run").is_err());
        assert!(!elsewhere.exists());
    }
}
