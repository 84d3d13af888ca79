//! A row in its canonical bytes: each value with its type and length, so that 1, 1.0, '1' and x'31' all differ.

use std::ops::Range;

use rusqlite::types::ValueRef;
use rusqlite::{Result, Row};

/// Writes a row's values in order into `bytes`, which is emptied first.
///
/// NULL is `n`; an integer `i` and eight bytes; a float `f` and its eight bytes, so that -0.0 and the last bit count;
/// text `t` and a blob `b`, each with eight bytes of length before its own. No two rows share their bytes.
pub(super) fn encode(row: &Row<'_>, columns: usize, bytes: &mut Vec<u8>) -> Result<()> {
    bytes.clear();
    (0..columns).try_for_each(|column| {
        value(row.get_ref(column)?, bytes);
        Ok(())
    })
}

/// Does the same and says where in the bytes each value is.
pub(super) fn encode_fields(
    row: &Row<'_>,
    columns: usize,
    bytes: &mut Vec<u8>,
    fields: &mut Vec<Range<usize>>,
) -> Result<()> {
    bytes.clear();
    fields.clear();
    (0..columns).try_for_each(|column| {
        let start = bytes.len();
        value(row.get_ref(column)?, bytes);
        fields.push(start..bytes.len());
        Ok(())
    })
}

fn value(value: ValueRef<'_>, bytes: &mut Vec<u8>) {
    match value {
        ValueRef::Null => bytes.push(b'n'),
        ValueRef::Integer(value) => number(bytes, b'i', value.to_le_bytes()),
        ValueRef::Real(value) => number(bytes, b'f', value.to_bits().to_le_bytes()),
        ValueRef::Text(value) => text(bytes, b't', value),
        ValueRef::Blob(value) => text(bytes, b'b', value),
    }
}

/// Returns an encoded value as a person reads it; NULL has none.
pub(super) fn shown(field: &[u8]) -> Option<String> {
    let (tag, rest) = field.split_first()?;
    let eight = || rest.get(..8).and_then(|bytes| bytes.try_into().ok()).unwrap_or_default();
    let content = || rest.get(8..).unwrap_or_default();
    match tag {
        b'i' => Some(i64::from_le_bytes(eight()).to_string()),
        b'f' => Some(format!("{:?}", f64::from_bits(u64::from_le_bytes(eight())))),
        b't' => Some(String::from_utf8_lossy(content()).into_owned()),
        b'b' => Some(content().iter().fold("x'".to_owned(), |hex, byte| format!("{hex}{byte:02x}")) + "'"),
        _ => None,
    }
}

fn number(bytes: &mut Vec<u8>, tag: u8, value: [u8; 8]) {
    bytes.push(tag);
    bytes.extend_from_slice(&value);
}

fn text(bytes: &mut Vec<u8>, tag: u8, value: &[u8]) {
    number(bytes, tag, (value.len() as u64).to_le_bytes());
    bytes.extend_from_slice(value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn encoded(values: &str) -> Vec<u8> {
        let connection = rusqlite::Connection::open_in_memory().unwrap();
        let mut statement = connection.prepare(&format!("select {values}")).unwrap();
        let columns = statement.column_count();
        let mut bytes = b"what was there before".to_vec();
        statement.query_row((), |row| encode(row, columns, &mut bytes)).unwrap();
        bytes
    }

    #[test]
    fn a_value_is_shown_as_sql_would_write_it() {
        let told: Vec<_> = ["null", "-7", "1.0", "'a b'", "x'00ff'", "''"].iter().map(|v| shown(&encoded(v))).collect();
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(told, [None, text("-7"), text("1.0"), text("a b"), text("x'00ff'"), text("")]);
    }

    #[test]
    fn no_two_values_are_taken_for_one() {
        let values = [
            "null",
            "1",
            "1.0",
            "'1'",
            "x'31'",
            "''",
            "x''",
            "0",
            "0.0",
            "-0.0",
            "0.1",
            "0.1 + 1e-17 * 2",
            "'a', 'bc'",
            "'ab', 'c'",
            "null, ''",
            "'', null",
            "'a' || char(0)",
            "'a'",
            "'null'",
            "9e999",
            "-9e999",
            "-1",
        ];
        let distinct: HashSet<_> = values.iter().map(|v| encoded(v)).collect();
        assert_eq!(distinct.len(), values.len());
    }
}
