//! How the rows of a database are shared out among several pg_dumps of one moment.
//!
//! The first one writes everything but the rows of some large tables; each of the others writes the rows of its tables. A
//! server writes rows by one process for each connection, so that one pg_dump alone leaves the other cores idle.

use std::thread;

use super::stored::Stored;

/// Below this a table is not worth another pg_dump, which reads the catalogue first.
const WORTH: u64 = 32 << 20;
/// Threads that hash and pack, in all. Each holds a few members of 1 MiB: by six a dump's peak is 58 MiB, by eight 73.
const MOST_THREADS: usize = 6;
/// pg_dumps of one fingerprint: a comparison of two live databases has two of these.
const MOST_READ: usize = 4;

/// What one reading of a database is shared out into.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Shares {
    /// The threads that hash and pack the text of each pg_dump.
    pub(super) workers: usize,
    /// The tables of each pg_dump beside the first, of which each has one at least.
    pub(super) apart: Vec<Vec<Stored>>,
}

/// Returns how many threads there are to be in all: as many as are wanted, or else as the machine has cores.
pub(super) fn threads(jobs: Option<usize>) -> usize {
    jobs.unwrap_or_else(|| thread::available_parallelism().map_or(2, usize::from)).clamp(1, MOST_THREADS)
}

/// Returns how many pg_dumps so many threads can follow. Packing costs about as much as the server's and pg_dump's work.
pub(super) fn most(threads: usize, packs: bool) -> usize {
    if packs { (threads / 2).max(1) } else { threads.min(MOST_READ) }
}

impl Shares {
    /// Shares out tables, the largest first, among so many pg_dumps at most, so that each has about as much to do.
    pub(super) fn new(tables: Vec<Stored>, threads: usize, most: usize) -> Self {
        let mut shares: Vec<(u64, Vec<Stored>)> = (0..most.max(1)).map(|_| (0, Vec::new())).collect();
        for table in tables {
            let least =
                if table.bytes < WORTH { 0 } else { (0..shares.len()).min_by_key(|at| shares[*at].0).unwrap_or(0) };
            shares[least].0 += table.bytes;
            shares[least].1.push(table);
        }
        let apart: Vec<_> = shares.into_iter().skip(1).map(|share| share.1).filter(|share| !share.is_empty()).collect();
        Self { workers: (threads / (apart.len() + 1)).max(1), apart }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: [Vec<u64>; 0] = [];

    fn shares(sizes: &[u64], most: usize) -> Vec<Vec<u64>> {
        let shares = Shares::new(sizes.iter().map(|size| Stored::named("t", size << 20)).collect(), 4, most);
        shares.apart.iter().map(|share| share.iter().map(|table| table.bytes >> 20).collect()).collect()
    }

    #[test]
    fn large_tables_are_shared_out_and_small_ones_stay_together() {
        assert_eq!(shares(&[400, 300, 200, 90, 8, 7], 2), [vec![300, 200]]);
        assert_eq!(shares(&[400, 300, 200, 90, 8, 7], 3), [vec![300], vec![200, 90]]);
        assert_eq!(shares(&[400, 31, 31, 31], 2), NONE, "the rest is small");
        assert_eq!(shares(&[400, 300], 4), [[300]]);
        assert_eq!(shares(&[400, 300], 1), NONE);
        assert_eq!(shares(&[], 2), NONE);
    }

    #[test]
    fn the_threads_are_shared_out_too() {
        let large = || (0..4).map(|_| Stored::named("t", 1 << 30)).collect::<Vec<_>>();
        assert_eq!(Shares::new(large(), 4, most(4, true)).workers, 2);
        let three = Shares::new(large(), 6, most(6, true));
        assert_eq!((three.workers, three.apart.len()), (2, 2));
        assert_eq!(Shares::new(large(), 6, most(6, false)).apart.len(), MOST_READ - 1);
        assert_eq!(Shares::new(large(), 2, most(2, false)).workers, 1);
        assert_eq!(Shares::new(large(), 1, most(1, true)), Shares { workers: 1, apart: Vec::new() });
        assert_eq!((threads(Some(0)), threads(Some(1000))), (1, MOST_THREADS));
    }
}
