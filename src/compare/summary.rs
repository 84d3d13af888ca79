//! A comparison's verdict in one line.

use super::rows::TableRows;
use super::{Comparison, Difference};
use crate::units::count;

/// Differences that the line tells.
const TOLD: usize = 3;
/// Rows that the line names of each; the report has all of them.
const ROWS_SHOWN: usize = 3;

impl Comparison {
    /// Returns the verdict in one line.
    pub fn summary(&self) -> String {
        let masked = match self.masked.as_slice() {
            [] => String::new(),
            [a, b, c, rest @ ..] if !rest.is_empty() => {
                let more = count(rest.len() as u64, "more column");
                format!("; the backup is a masked copy ({a}, {b}, {c}, {more})")
            }
            columns => format!("; the backup is a masked copy ({})", columns.join(", ")),
        };
        let hashed = match self.hashed_by_server {
            0 => String::new(),
            n => format!("; the server itself hashed the rows of {}", count(n, "table")),
        };
        format!("{}{masked}{hashed}", self.verdict())
    }

    fn verdict(&self) -> String {
        let scope = format!("{} of {}", count(self.rows, "row"), count(self.tables, "table"));
        match (self.differences.as_slice(), self.equal) {
            ([], true) => format!("{scope} are equal{}{}", self.ignored_note(), self.lawful_note()),
            ([], false) => {
                let unread: Vec<_> = self.not_checked.iter().map(|(what, why)| format!("{what} ({why})")).collect();
                format!("not proven: could not read {}", unread.join(", "))
            }
            (differences, _) => {
                let mut told = self.told_first(differences);
                if let Some(more) = differences.len().checked_sub(told.len()).filter(|more| *more > 0) {
                    told.push(count(more as u64, "more difference"));
                }
                format!("{}; {scope} were compared", told.join("; "))
            }
        }
    }

    /// Tells the first difference, and the next ones where rows of theirs are named.
    fn told_first(&self, differences: &[Difference]) -> Vec<String> {
        let first = differences.iter().take(TOLD).enumerate();
        let told = first.take_while(|(at, difference)| *at == 0 || self.searched(difference).is_some());
        told.map(|(_, difference)| self.told(difference)).collect()
    }

    /// Returns what a row search found of a difference.
    fn searched(&self, difference: &Difference) -> Option<&TableRows> {
        let table = difference.object.strip_prefix("table ").filter(|_| difference.what == "rows")?;
        self.row_counts.iter().find(|searched| searched.table == table)
    }

    /// Says what differs: where rows were looked for, how many and the first of them, else what the fingerprint knows.
    fn told(&self, difference: &Difference) -> String {
        match self.searched(difference) {
            Some(searched) => format!("{}: {searched}{}", difference.object, self.first_rows(searched)),
            None => difference.to_string(),
        }
    }

    fn first_rows(&self, searched: &TableRows) -> String {
        let rows: Vec<_> = self.row_differences.iter().filter(|row| row.table == searched.table).collect();
        let mut told: Vec<_> = rows.iter().take(ROWS_SHOWN).map(ToString::to_string).collect();
        let named: u64 = rows.iter().take(ROWS_SHOWN).map(|row| row.times).sum();
        match searched.counts.all().saturating_sub(named) {
            _ if told.is_empty() => return String::new(),
            0 => {}
            more => told.push(format!("and {more} more")),
        }
        format!(" ({})", told.join("; "))
    }

    fn ignored_note(&self) -> String {
        match self.ignored.len() {
            0 => String::new(),
            n => format!(", {} ignored with a reason", count(n as u64, "difference")),
        }
    }

    fn lawful_note(&self) -> String {
        match self.lawful.iter().filter(|lawful| lawful.change.is_some()).count() {
            0 => String::new(),
            n => format!(", {}", count(n as u64, "lawful difference")),
        }
    }
}
