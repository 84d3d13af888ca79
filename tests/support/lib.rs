//! What tests need of the world: PostgreSQL servers that they own, in Docker or as private clusters.

use std::io::Write;

mod docker;
mod image;
mod program;
mod server;

pub use docker::{docker, try_docker};
pub use program::{Ended, Started, World};
pub use server::{TestLedger, TestServer, both_providers, docker_image, ledger, postgres, postgres_by};

/// Says that a test did not run. With CI set that is a failure: nobody reads what passed there.
pub fn not_run(why: &str) {
    assert!(std::env::var_os("CI").is_none(), "not run: {why}");
    // Written past the test harness, which swallows what tests that pass print.
    let _ = writeln!(std::io::stderr(), "not run: {why}");
}
