//! Which tables' rows their own server hashed, where a comparison was asked to let it.

use std::collections::{BTreeMap, BTreeSet};

use super::Comparison;

/// How the rows of a live database come to be a sum.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Hashing {
    /// All rows cross the network and are hashed here.
    #[default]
    Client,
    /// The server hashes them and sends a few numbers for each table.
    Server,
}

/// What became of the request that the server hashes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hashed {
    /// Tables whose rows a server hashed.
    pub by_server: BTreeSet<String>,
    /// Tables whose rows were read, and why.
    pub by_client: BTreeMap<String, String>,
}

impl Hashed {
    /// Adds another side's tables.
    pub fn and(mut self, other: Self) -> Self {
        self.by_server.extend(other.by_server);
        self.by_client.extend(other.by_client);
        self
    }
}

impl Comparison {
    /// Takes in which rows a server hashed.
    pub fn hashed(&mut self, hashed: Hashed) {
        self.hashed_by_server = hashed.by_server.len() as u64;
        self.read_by_client = hashed.by_client.into_iter().collect();
    }
}

/// Returns whether a report may leave the number out.
pub(super) fn is_zero(number: &u64) -> bool {
    *number == 0
}
