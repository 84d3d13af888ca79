//! `runner` makes backups and proves that they restore.
//!
//! `runner drill.rhai` → the command line is read ([`cli`]) → the script and all it imports are resolved, hashed and
//! compiled → a fresh Rhai engine gets the primitives → the script runs on one plain thread while a tokio runtime serves
//! the primitives → every step, check and resource is journaled as it happens → cleanup runs on every way out → the
//! journal becomes the report and the exit code.

pub mod backups;
pub mod cleanup;
pub mod cli;
pub mod compare;
pub mod docker;
pub mod engine;
pub mod error;
pub mod files;
pub mod git;
pub mod http;
pub mod postgres;
pub mod primitives;
pub mod process;
pub mod progress;
pub mod report;
pub mod rows;
pub mod run;
pub mod s3;
pub mod script;
pub mod secret;
pub mod signing;
pub mod sqlite;
#[cfg(test)]
mod test_world;
pub mod units;
pub mod webhook;
