//! SQLite: the same nouns as PostgreSQL's, for a database that is one file.
//!
//! A read-only handle opens the file without the right to write. In WAL mode SQLite may leave an empty `-wal` and a
//! `-shm` file beside it, as after any reader: only a connection that may write can remove them safely. A file is never
//! opened as immutable, since then SQLite would neither see its log nor other programs.

mod connection;
mod dump;
mod failure;
mod fingerprint;
mod inspect;
mod integrity;
mod packing;
mod plants;
mod query;
mod restore;
mod row;
mod rows;
mod sandbox;

pub use connection::{Access, Database};
pub use dump::dump;
pub use fingerprint::fingerprint;
pub use inspect::inspect;
pub use integrity::verify_integrity;
pub use plants::{plant, plant_titles};
pub use query::{execute, query};
pub use restore::restore;
pub use rows::{keys, look, unpacked};
pub use sandbox::Sandbox;
