//! Backups on disk: the file, the manifest that says what it holds, and the checksum that other tools read.

mod backup;
mod content;
mod manifest;

pub use backup::{Backup, checksum_path, manifest_path, seal};
pub(crate) use content::damaged;
pub use content::{Content, Inspection};
pub use manifest::{FORMAT, Format, Manifest, Member, Section, Source};
