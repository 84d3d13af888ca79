//! What tests need of the world: PostgreSQL servers that they own, in Docker or as private clusters.

mod image;
mod program;
mod server;

pub use program::{Ended, Started, World};
pub use server::{TestLedger, TestServer, both_providers, docker_image, ledger, postgres, postgres_by};

/// Says that a test did not run. With CI set that is a failure: nobody reads what passed there.
pub fn not_run(why: &str) {
    assert!(std::env::var_os("CI").is_none(), "not run: {why}");
    eprintln!("not run: {why}");
}
