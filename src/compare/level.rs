//! The levels of verification: how far something was proven.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How far something was verified; each level stands on the ones before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Size, SHA-256, compression to its real end.
    File,
    /// Every COPY closed, trailer there.
    Parse,
    /// Loaded without any error.
    Restore,
    /// Definitions, owners, grants, sequences, properties, roles.
    Structure,
    /// Every row, every large object.
    Content,
    /// Constraints hold when they are checked again.
    Integrity,
}

impl Level {
    /// All of them, in their order.
    pub const ALL: [Self; 6] =
        [Self::File, Self::Parse, Self::Restore, Self::Structure, Self::Content, Self::Integrity];
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Level::File => "file",
            Level::Parse => "parse",
            Level::Restore => "restore",
            Level::Structure => "structure",
            Level::Content => "content",
            Level::Integrity => "integrity",
        })
    }
}
