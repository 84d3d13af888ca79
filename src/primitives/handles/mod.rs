//! The handles that scripts hold: databases, servers, backups, comparisons.

mod backup;
mod comparison;
mod database;
mod inspection;
mod server;

pub(super) use backup::Backup;
pub(super) use comparison::{Comparison, Fingerprint};
pub(super) use database::{Database, PostgresDatabase, Standing};
pub(super) use inspection::Inspection;
pub(super) use server::{Sandbox, Server};
