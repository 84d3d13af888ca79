//! Backups on disk: the file with its manifest and checksum, the set of components, the catalog of sets and retention.

pub mod access;
mod backup;
mod catalog;
mod content;
mod manifest;
mod plants;
mod retention;
mod set;
mod set_build;
mod tree;

pub use backup::{Backup, checksum_path, manifest_path, seal};
pub use catalog::{Catalog, Stats};
pub(crate) use content::damaged;
pub use content::{Content, Inspection};
pub use manifest::{FORMAT, Format, Manifest, Member, Section, Source};
pub use plants::{FILE_PLANTS, plant_in_file};
pub use retention::{Candidate, Decision, Policy, Worth, plan};
pub use set::{BackupSet, Component, FAILED_PREFIX, Metadata, SET_PREFIX, Standing, Verified};
pub use set_build::{Unfinished, component_name, set_name};
pub use tree::{Tree, copy_tree, restore_tree};
