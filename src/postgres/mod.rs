//! PostgreSQL: connecting, reading a database as pg_dump's stream, and what it holds as a fingerprint.

mod address;
mod array;
pub mod copy;
pub mod dump_text;
mod identity;
pub mod lexer;
mod query;
mod session;
#[cfg(test)]
mod test_cluster;
mod tls;
pub mod toc;
pub mod tools;

pub use address::{Address, DEFAULT_PORT, Host, TlsMode};
pub use identity::Identity;
pub use query::{execute, query};
pub use session::{Access, Session};
