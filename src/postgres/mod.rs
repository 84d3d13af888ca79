//! PostgreSQL: connecting, reading a database as pg_dump's stream, and what it holds as a fingerprint.

mod address;
mod archive;
mod array;
mod catalog;
mod cluster;
mod container;
pub mod copy;
mod dump;
mod dump_file;
pub mod dump_text;
mod fingerprint;
mod identity;
mod inspect;
mod integrity;
mod keys;
mod large_objects;
pub mod lexer;
mod mask;
mod matviews;
mod passfile;
mod pg_dump;
mod pipeline;
mod plants;
mod postmaster;
mod query;
mod reading;
mod restore;
mod rows;
mod sandbox;
mod scratch;
mod selection;
mod server_sums;
mod session;
mod snapshot;
mod stored;
mod streams;
mod structure;
#[cfg(test)]
mod test_cluster;
mod tls;
pub mod toc;
pub mod tools;

pub use address::{Address, DEFAULT_PORT, Host, TlsMode};
pub use cluster::{Cluster, ClusterOptions};
pub use container::{Overrides, find_postgres_container};
pub use dump::{DumpRequest, dump};
pub use fingerprint::{Held, fingerprint, fingerprint_with_passwords, hold};
pub use identity::Identity;
pub use inspect::inspect;
pub use integrity::{IntegrityOptions, verify_integrity};
pub use keys::keys;
pub use mask::{Mask, Way};
pub use plants::{plant, plant_titles};
pub use postmaster::collect_cluster;
pub use query::{execute, query};
pub use restore::{
    Beside, RestoreOptions, RestoreTarget, Restored, Swap, TableOptions, TableRestore, collect_database, may_restore,
    may_restore_table, restore, restore_beside, restore_table,
};
pub use rows::RowReader;
pub use sandbox::{Kept, Provider, Sandbox, SandboxOptions};
pub use scratch::{collect_scratch, create_scratch};
pub use session::{Access, Session};
