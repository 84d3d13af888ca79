//! The handles that scripts hold: databases, servers, backups, comparisons, containers.

mod backup;
mod backup_set;
mod comparison;
mod container;
mod database;
mod inspection;
mod integrity;
mod server;
mod verification;

pub(super) use backup::Backup;
pub(super) use backup_set::{BackupSet, Catalog};
pub(super) use comparison::{Comparison, Fingerprint};
pub(super) use container::Container;
pub(super) use database::{Database, PostgresDatabase, Standing};
pub(super) use inspection::Inspection;
pub(super) use integrity::Integrity;
pub(super) use server::{Sandbox, Server};
pub(super) use verification::Verification;

/// Returns a value as a person would write it, also where it is one of our handles.
pub(super) fn show(value: &rhai::Dynamic) -> String {
    macro_rules! handles {
        ($($handle:ty),*) => {
            $(if let Some(handle) = value.read_lock::<$handle>() { return handle.to_string(); })*
        };
    }
    handles!(
        Backup,
        BackupSet,
        Catalog,
        Comparison,
        Container,
        Database,
        Fingerprint,
        Inspection,
        Integrity,
        Server,
        Verification
    );
    crate::script::show(value)
}

/// Teaches an engine the handles whose properties stand in their own files.
pub(super) fn register(engine: &mut rhai::Engine) {
    backup_set::register(engine);
    container::register(engine);
    integrity::register(engine);
    verification::register(engine);
}
