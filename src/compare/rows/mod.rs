//! Which rows differ: a search in a few passes over both sides, in memory that does not grow with the tables.
//!
//! First the rows of each side fall into buckets by the hash of their key; buckets with equal sums cancel. Once the rows
//! that are left are few enough, or no sieve makes them fewer, they are held by their hashes alone and paired by key. The
//! rows that are to be named are read once more, where their values were not kept on the way. Nothing is sorted by a
//! server and nothing is written to a disk.

mod details;
mod found;
mod look;
mod plan;
mod records;
mod search;
mod sieve;
#[cfg(test)]
mod tests;

pub use found::{Counts, RowChange, RowDifference, RowSearch, TableRows, Value, Values};
pub use look::{Form, Look, Seen};
pub use plan::Plan;
pub use search::{Keys, Search, Wanted};
