//! The content of a table as one number: the sum of its rows' SHA-256 digests modulo 2^256.
//!
//! The order of rows does not matter, a single bit in one of them does, and sums of parts add up to the sum of the
//! whole, so that many threads can share the work. Unlike an exclusive or, two equal rows do not cancel.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

/// A sum of row digests, little-endian words first.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct RowSum([u64; 4]);

impl RowSum {
    /// Adds one row in its canonical bytes.
    pub fn add_row(&mut self, row: &[u8]) {
        self.add_digest(&Sha256::digest(row));
    }

    /// Adds one row by the SHA-256 of its canonical bytes.
    pub(super) fn add_digest(&mut self, digest: &[u8]) {
        let mut words = [0u64; 4];
        for (word, bytes) in words.iter_mut().zip(digest.chunks_exact(8)) {
            *word = u64::from_le_bytes(bytes.try_into().expect("chunks of eight"));
        }
        self.add(Self(words));
    }

    /// Makes a sum of many digests from the sums of their bytes: all first bytes, all second ones, …
    pub fn of_byte_sums(sums: &[u64; 32]) -> Self {
        let (mut digest, mut carry) = ([0; 32], 0u128);
        for (byte, sum) in digest.iter_mut().zip(sums) {
            carry += u128::from(*sum);
            *byte = carry as u8; // the lowest byte; the others are carried, and lost behind the last
            carry >>= 8;
        }
        let mut sum = Self::default();
        sum.add_digest(&digest);
        sum
    }

    /// Adds the sum of another part.
    pub fn add(&mut self, other: Self) {
        let mut carry = 0;
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            let sum = u128::from(*mine) + u128::from(theirs) + carry;
            *mine = sum as u64; // the low half; the high half is carried
            carry = sum >> 64;
        }
    }
}

impl fmt::Display for RowSum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits: String = self.0.iter().rev().map(|word| format!("{word:016x}")).collect();
        f.pad(&digits) // with a precision, the first digits
    }
}

impl fmt::Debug for RowSum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RowSum({self})")
    }
}

impl std::str::FromStr for RowSum {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err("a row sum is 64 hexadecimal digits");
        }
        let mut words = [0; 4];
        for (i, word) in words.iter_mut().enumerate() {
            let at = 16 * (3 - i);
            *word = u64::from_str_radix(&text[at..at + 16], 16).map_err(|_| "not a hexadecimal number")?;
        }
        Ok(Self(words))
    }
}

impl Serialize for RowSum {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RowSum {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(rows: &[&str]) -> RowSum {
        let mut sum = RowSum::default();
        rows.iter().for_each(|row| sum.add_row(row.as_bytes()));
        sum
    }

    #[test]
    fn order_does_not_matter_and_a_single_bit_does() {
        assert_eq!(sum(&["1\tada", "2\teve"]), sum(&["2\teve", "1\tada"]));
        assert_ne!(sum(&["1\tada", "2\teve"]), sum(&["1\tada", "2\tevf"]));
    }

    #[test]
    fn equal_rows_do_not_cancel() {
        assert_ne!(sum(&["x", "x"]), sum(&[]));
        assert_ne!(sum(&["x", "x"]), sum(&["y", "y"]));
    }

    #[test]
    fn parts_add_up_with_their_carries() {
        let mut parts = RowSum([u64::MAX, u64::MAX, u64::MAX, 0]);
        parts.add(RowSum([1, 0, 0, 0]));
        assert_eq!(parts, RowSum([0, 0, 0, 1]));
        let mut whole = sum(&["a", "b"]);
        whole.add(sum(&["c"]));
        assert_eq!(whole, sum(&["a", "b", "c"]));
    }

    #[test]
    fn sums_of_bytes_make_the_same_sum() {
        let rows: Vec<String> = (0..1000).map(|i| format!("row {i}")).collect();
        let (mut whole, mut bytes) = (RowSum::default(), [0u64; 32]);
        for row in &rows {
            whole.add_row(row.as_bytes());
            let digest = Sha256::digest(row.as_bytes());
            bytes.iter_mut().zip(digest).for_each(|(sum, byte)| *sum += u64::from(byte));
        }
        assert_eq!(RowSum::of_byte_sums(&bytes), whole);
        let carried = RowSum([u64::MAX - 1, u64::MAX, u64::MAX, u64::MAX]);
        assert_eq!(RowSum::of_byte_sums(&[510; 32]), carried);
    }

    #[test]
    fn the_text_reads_back() {
        let value = sum(&["a"]);
        assert_eq!(value.to_string().parse(), Ok(value));
        assert!("zz".parse::<RowSum>().is_err());
    }
}
