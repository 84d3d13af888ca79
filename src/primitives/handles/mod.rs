//! The handles that scripts hold: databases, servers, backups, comparisons, containers.

mod backup;
mod comparison;
mod container;
mod database;
mod inspection;
mod server;
mod verification;

pub(super) use backup::Backup;
pub(super) use comparison::{Comparison, Fingerprint};
pub(super) use container::Container;
pub(super) use database::{Database, PostgresDatabase, Standing};
pub(super) use inspection::Inspection;
pub(super) use server::{Sandbox, Server};
pub(super) use verification::Verification;

/// Teaches an engine the handles whose properties stand in their own files.
pub(super) fn register(engine: &mut rhai::Engine) {
    container::register(engine);
    verification::register(engine);
}
