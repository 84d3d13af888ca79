//! Rows of a query in neutral values, bounded, and what an error about a query says.

use std::collections::HashSet;

use serde_json::{Map, Value};

use crate::error::{Error, Kind, Result};
use crate::secret;

/// One row: its columns in order, by name.
pub type Row = Map<String, Value>;

/// More rows than this are data, not an answer.
const MOST_ROWS: usize = 100_000;
/// So are more bytes.
const MOST_BYTES: usize = 64 << 20;
/// The longest part of a statement that an error shows.
const SHOWN: usize = 160;
/// How alike two names must be for one to be proposed for the other.
const ALIKE: f64 = 0.8;

/// Rows while they come in.
pub(crate) struct Rows {
    columns: Vec<String>,
    rows: Vec<Row>,
    bytes: usize,
}

impl Rows {
    /// Starts to take rows with these columns. Two of one name would be one in a map, and a value would be lost.
    pub(crate) fn new(columns: Vec<String>) -> Result<Self> {
        let mut seen = HashSet::new();
        if let Some(twice) = columns.iter().find(|name| !seen.insert(name.as_str())) {
            let twice = secret::printable(twice, false);
            return Err(Error::new(Kind::Usage, format!("two columns of the query are called {twice}"))
                .hint(format!("give one of them another name: {twice} as other_{twice}")));
        }
        Ok(Self { columns, rows: Vec::new(), bytes: 0 })
    }

    /// Takes one row's values in the order of the columns.
    pub(crate) fn add(&mut self, values: impl IntoIterator<Item = Value>) -> Result<()> {
        let row: Row = self.columns.iter().cloned().zip(values).collect();
        self.bytes += row.iter().map(|(name, value)| name.len() + size(value)).sum::<usize>();
        if self.rows.len() == MOST_ROWS {
            return Err(too_much(&format!("{MOST_ROWS} rows")));
        }
        if self.bytes > MOST_BYTES {
            return Err(too_much("64 MiB"));
        }
        self.rows.push(row);
        Ok(())
    }

    /// Returns the rows.
    pub(crate) fn finish(self) -> Vec<Row> {
        self.rows
    }
}

fn too_much(limit: &str) -> Error {
    Error::new(Kind::Refused, format!("the query returns more than {limit}"))
        .hint("let the database count, sum or limit; whole tables are for dump and compare")
}

/// Returns about how many bytes a value takes.
fn size(value: &Value) -> usize {
    const FIXED: usize = 32;
    FIXED
        + match value {
            Value::String(text) => text.len(),
            Value::Array(items) => items.iter().map(size).sum(),
            Value::Object(map) => map.iter().map(|(name, value)| name.len() + size(value)).sum(),
            _ => 0,
        }
}

/// Returns the first line of a statement that says something, shortened, as errors show it.
pub(crate) fn first_line(sql: &str) -> String {
    let line = sql.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("");
    let mut shown: String = line.chars().take(SHOWN).collect();
    if shown.len() < sql.trim().len() {
        shown.push('…');
    }
    secret::redact(&secret::printable(&shown, false)).into_owned()
}

/// Returns the names that are most like `wanted`, as the end of a hint: "did you mean …?".
pub(crate) fn did_you_mean(wanted: &str, names: &[String]) -> Option<String> {
    let wanted = wanted.to_lowercase();
    let mut close: Vec<(f64, &String)> = names
        .iter()
        .map(|name| (strsim::jaro_winkler(&wanted, &name.to_lowercase()), name))
        .filter(|(alike, _)| *alike >= ALIKE)
        .collect();
    close.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(b.1)));
    close.dedup_by(|a, b| a.1 == b.1);
    let best: Vec<&str> = close.iter().take(3).map(|(_, name)| name.as_str()).collect();
    (!best.is_empty()).then(|| format!("did you mean {}?", secret::printable(&best.join(" or "), false)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_rows_and_too_many_bytes_are_refused() {
        let mut rows = Rows::new(vec!["n".into()]).unwrap();
        for n in 0..MOST_ROWS {
            rows.add([n.into()]).unwrap();
        }
        assert!(rows.add([1.into()]).unwrap_err().to_string().contains("more than 100000 rows"));
        let mut rows = Rows::new(vec!["t".into()]).unwrap();
        let text = "x".repeat(MOST_BYTES / 2);
        rows.add([text.clone().into()]).unwrap();
        assert!(rows.add([text.into()]).unwrap_err().to_string().contains("more than 64 MiB"));
    }

    #[test]
    fn two_columns_of_one_name_lose_no_value() {
        let error = Rows::new(vec!["id".into(), "id".into()]).err().unwrap();
        assert_eq!(error.next_step(), Some("give one of them another name: id as other_id"));
    }

    #[test]
    fn a_statement_is_shown_by_its_first_line() {
        assert_eq!(first_line("\n  select 1\nfrom t"), "select 1…");
        assert_eq!(first_line("select\u{1b}[2J"), "select\\u{1b}[2J");
    }

    #[test]
    fn close_names_are_proposed_and_far_ones_are_not() {
        let names = ["users".to_owned(), "orders".to_owned()];
        assert_eq!(did_you_mean("usres", &names).unwrap(), "did you mean users?");
        assert_eq!(did_you_mean("invoice", &names), None);
    }
}
