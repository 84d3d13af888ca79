//! PostgreSQL: connecting, reading a database as pg_dump's stream, and what it holds as a fingerprint.

mod address;
mod array;
mod catalog;
mod cluster;
mod container;
pub mod copy;
mod dump;
pub mod dump_text;
mod fingerprint;
mod identity;
mod inspect;
mod large_objects;
pub mod lexer;
mod passfile;
mod pg_dump;
mod pipeline;
mod postmaster;
mod query;
mod reading;
mod restore;
mod sandbox;
mod scratch;
mod selection;
mod session;
mod snapshot;
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
pub use fingerprint::fingerprint;
pub use identity::Identity;
pub use inspect::inspect;
pub use postmaster::collect_cluster;
pub use query::{execute, query};
pub use restore::{RestoreOptions, RestoreTarget, Restored, collect_database, restore};
pub use sandbox::{Kept, Provider, Sandbox, SandboxOptions};
pub use scratch::{collect_scratch, create_scratch};
pub use session::{Access, Session};
