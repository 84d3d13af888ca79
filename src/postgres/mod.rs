//! PostgreSQL: connecting, reading a database as pg_dump's stream, and what it holds as a fingerprint.

mod address;
mod identity;
mod session;
#[cfg(test)]
mod test_cluster;
mod tls;
pub mod tools;

pub use address::{Address, DEFAULT_PORT, Host, TlsMode};
pub use identity::Identity;
pub use session::{Access, Session};
