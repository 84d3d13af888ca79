//! Rows by their hashes alone, as many as memory allows: where there are more, those with the lowest keys are kept, so
//! that both sides keep the same ones.

use super::found::{Counts, RowChange};

/// Equal rows of one side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Record {
    key: u128,
    row: u128,
    times: u64,
}

/// The rows of one side whose keys are not above `ceiling`.
#[derive(Debug)]
pub(super) struct Records {
    list: Vec<Record>,
    most: usize,
    ceiling: Option<u128>,
}

/// A row that differs: the hash of its key, and of the row on each side that has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Odd {
    pub(super) change: RowChange,
    pub(super) key: u128,
    pub(super) expected: Option<u128>,
    pub(super) found: Option<u128>,
    pub(super) times: u64,
}

/// What two sides' records come to.
#[derive(Debug, Default)]
pub(super) struct Joined {
    pub(super) counts: Counts,
    /// The first rows that differ.
    pub(super) odd: Vec<Odd>,
    /// The share of all keys that was held; one is all.
    pub(super) share: Option<f64>,
}

impl Records {
    pub(super) fn new(most: usize) -> Self {
        Self { list: Vec::new(), most, ceiling: Some(u128::MAX) }
    }

    pub(super) fn add(&mut self, key: u128, row: u128) {
        if self.ceiling.is_none_or(|ceiling| key > ceiling) {
            return;
        }
        self.list.push(Record { key, row, times: 1 });
        if self.list.len() == self.most {
            self.pack();
            if self.list.len() > self.most / 2 {
                // Keys are hashes: whoever keeps the lower half has a fair sample of all.
                self.lower(self.list[self.most / 2].key.checked_sub(1));
            }
        }
    }

    /// Makes equal rows one record.
    fn pack(&mut self) {
        self.list.sort_unstable();
        self.list.dedup_by(|next, kept| {
            let same = (next.key, next.row) == (kept.key, kept.row);
            if same {
                kept.times += next.times;
            }
            same
        });
    }

    fn lower(&mut self, ceiling: Option<u128>) {
        self.ceiling = ceiling;
        self.list.truncate(match ceiling {
            Some(ceiling) => self.list.partition_point(|record| record.key <= ceiling),
            None => 0,
        });
    }

    /// Pairs both sides' rows by key; `named` rows that differ are returned, all that are held are counted. Rows of a
    /// table without a key are never changed: one is missing, another is extra.
    pub(super) fn join(mut self, mut other: Self, named: usize, has_key: bool) -> Joined {
        let ceiling = self.ceiling.min(other.ceiling); // none is the lowest
        for side in [&mut self, &mut other] {
            side.pack();
            side.lower(ceiling);
        }
        let share = match ceiling {
            Some(u128::MAX) => None,
            ceiling => Some(ceiling.unwrap_or(0) as f64 / u128::MAX as f64),
        };
        let mut joined = Joined { share, ..Joined::default() };
        let (mut a, mut b) = (self.list.as_slice(), other.list.as_slice());
        while let Some(key) = [a.first(), b.first()].into_iter().flatten().map(|record| record.key).min() {
            let (mine, theirs) = (group(&mut a, key), group(&mut b, key));
            joined.pair(rest(mine, theirs), rest(theirs, mine), named, has_key);
        }
        joined
    }
}

/// Takes the records of one key from the front.
fn group<'a>(list: &mut &'a [Record], key: u128) -> &'a [Record] {
    let (group, rest) = list.split_at(list.partition_point(|record| record.key <= key));
    *list = rest;
    group
}

/// Returns what one side has of a key and the other has not, or not as often.
fn rest(mine: &[Record], theirs: &[Record]) -> Vec<Record> {
    let less = |record: &Record| {
        let there = theirs.binary_search_by_key(&record.row, |r| r.row).map_or(0, |at| theirs[at].times);
        Record { times: record.times.saturating_sub(there), ..*record }
    };
    mine.iter().map(less).filter(|record| record.times > 0).collect()
}

impl Joined {
    /// Takes what is left of one key on each side.
    fn pair(&mut self, missing: Vec<Record>, extra: Vec<Record>, named: usize, has_key: bool) {
        let (mut missing, mut extra) = (missing.into_iter().peekable(), extra.into_iter().peekable());
        while let (true, Some(a), Some(b)) = (has_key, missing.peek_mut(), extra.peek_mut()) {
            let times = a.times.min(b.times);
            let odd = Odd { change: RowChange::Changed, key: a.key, expected: Some(a.row), found: Some(b.row), times };
            (a.times, b.times) = (a.times - times, b.times - times);
            let done = (a.times == 0, b.times == 0);
            self.take(odd, named);
            let _ = (missing.next_if(|_| done.0), extra.next_if(|_| done.1));
        }
        for Record { key, row, times } in missing {
            self.take(Odd { change: RowChange::Missing, key, expected: Some(row), found: None, times }, named);
        }
        for Record { key, row, times } in extra {
            self.take(Odd { change: RowChange::Extra, key, expected: None, found: Some(row), times }, named);
        }
    }

    fn take(&mut self, odd: Odd, named: usize) {
        self.counts.add(odd.change, odd.times);
        if self.odd.len() < named {
            self.odd.push(odd);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(most: usize, rows: &[(u128, u128)]) -> Records {
        let mut records = Records::new(most);
        rows.iter().for_each(|(key, row)| records.add(*key, *row));
        records
    }

    fn joined(a: &[(u128, u128)], b: &[(u128, u128)], has_key: bool) -> (Counts, Vec<(RowChange, u64)>) {
        let joined = records(64, a).join(records(64, b), 10, has_key);
        assert_eq!(joined.share, None);
        (joined.counts, joined.odd.iter().map(|odd| (odd.change, odd.times)).collect())
    }

    #[test]
    fn rows_are_paired_by_key() {
        let (counts, odd) = joined(&[(1, 1), (2, 2), (3, 3)], &[(4, 4), (3, 3), (2, 9)], true);
        assert_eq!((counts.missing, counts.extra, counts.changed), (1, 1, 1));
        assert_eq!(odd, [(RowChange::Missing, 1), (RowChange::Changed, 1), (RowChange::Extra, 1)]);
    }

    #[test]
    fn equal_rows_are_counted_and_without_a_key_none_is_changed() {
        let (counts, odd) = joined(&[(5, 5), (5, 5), (5, 5), (7, 7)], &[(5, 5), (8, 8)], false);
        assert_eq!((counts.missing, counts.extra, counts.changed), (3, 1, 0));
        assert_eq!(odd, [(RowChange::Missing, 2), (RowChange::Missing, 1), (RowChange::Extra, 1)]);
        // A key that lost its constraint: three rows against one.
        let (counts, _) = joined(&[(5, 1)], &[(5, 2), (5, 2), (5, 3)], true);
        assert_eq!((counts.missing, counts.extra, counts.changed), (0, 2, 1));
    }

    #[test]
    fn more_rows_than_fit_leave_a_sample_that_both_sides_share() {
        // Keys as hashes are spread: every key below the ceiling is there on both sides, changed.
        let spread = |n: u128| n.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
        let (a, b): (Vec<_>, Vec<_>) = (1..1000).map(|n| ((spread(n), 1), (spread(n), 2))).unzip();
        let joined = records(64, &a).join(records(256, &b), 5, true);
        let share = joined.share.unwrap();
        assert_eq!((joined.counts.missing, joined.counts.extra, joined.odd.len()), (0, 0, 5));
        let estimate = joined.counts.scaled(1.0 / share).changed;
        assert!((600..1400).contains(&estimate), "{estimate} of {} with {share}", joined.counts.changed);
    }

    #[test]
    fn many_equal_rows_are_no_reason_to_drop_one() {
        let rows = vec![(3, 3); 1000];
        let joined = records(64, &rows).join(records(64, &rows[1..]), 5, false);
        assert_eq!((joined.share, joined.counts.missing), (None, 1));
    }
}
