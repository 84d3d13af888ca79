//! No damaged backup passes: each planted damage is caught at the levels that claim it, with a message that names the object.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod base;
mod databases;
mod files;
mod page;
mod plants;
mod rounds;
mod traps;
