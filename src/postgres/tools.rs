//! The programs of PostgreSQL: where they are and which of them is new enough for a server.

use std::path::PathBuf;

/// Where distributions keep one folder for each major version.
const VERSIONED: &str = "/usr/lib/postgresql";

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
