//! A sieve: rows fall into buckets by the hash of their key, and buckets with equal content on both sides cancel.

/// The bits of a key's hash that choose a bucket when one table is searched alone: 262,144 buckets.
pub(super) const MOST_BITS: u32 = 18;

/// What fell into each bucket: how many rows and the sum of their hashes.
#[derive(Debug)]
pub(super) struct Buckets {
    sums: Vec<u128>,
    counts: Vec<u32>,
    shift: u32,
}

impl Buckets {
    /// Makes the empty buckets of a level; each level takes other bits of the hash.
    pub(super) fn new(bits: u32, level: usize) -> Self {
        Self { sums: vec![0; 1 << bits], counts: vec![0; 1 << bits], shift: bits * level as u32 }
    }

    /// Adds a row. Sums, unlike an exclusive or, do not let two equal rows cancel.
    pub(super) fn add(&mut self, key: u128, row: u128) {
        let at = place(key, self.shift, self.sums.len());
        self.sums[at] = self.sums[at].wrapping_add(row);
        self.counts[at] = self.counts[at].saturating_add(1);
    }

    /// Returns which buckets differ, and how many rows of the fuller side fell into those.
    pub(super) fn differing(&self, other: &Self) -> (Mesh, u64) {
        let mut mesh =
            Mesh { differs: vec![0; self.sums.len().div_ceil(64)], size: self.sums.len(), shift: self.shift };
        let mut rows = [0u64; 2];
        for at in 0..self.sums.len() {
            if self.sums[at] != other.sums[at] || self.counts[at] != other.counts[at] {
                mesh.differs[at / 64] |= 1 << (at % 64);
                rows[0] += u64::from(self.counts[at]);
                rows[1] += u64::from(other.counts[at]);
            }
        }
        (mesh, rows[0].max(rows[1]))
    }
}

/// The buckets of one level that differ: rows of the others are equal on both sides.
#[derive(Debug, Clone)]
pub(super) struct Mesh {
    differs: Vec<u64>,
    size: usize,
    shift: u32,
}

impl Mesh {
    /// Returns whether a row with this key may differ.
    pub(super) fn holds(&self, key: u128) -> bool {
        let at = place(key, self.shift, self.size);
        self.differs[at / 64] & (1 << (at % 64)) != 0
    }
}

/// The low bits of the hash choose buckets; the high ones are left for the order of records.
fn place(key: u128, shift: u32, size: usize) -> usize {
    (key >> shift) as usize & (size - 1)
}
