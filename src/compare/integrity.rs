//! The integrity of one database: what breaks its own rules, and what could not be looked at.

use serde::Serialize;

use crate::units::count;

/// One rule that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The object: `TABLE app.orders`, `INDEX app.orders_cust`.
    pub object: String,
    /// What is wrong with it.
    pub what: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.object, self.what)
    }
}

/// What a check of a database's own rules found.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Integrity {
    /// The rules that do not hold.
    pub problems: Vec<Problem>,
    /// Checks that should have run and could not, each with the reason: they make the database unproven.
    pub not_run: Vec<(String, String)>,
    /// What there is no check for, each with the reason.
    pub not_checked: Vec<(String, String)>,
    /// How many tables were read.
    pub tables: u64,
    /// How many rows they hold.
    pub rows: u64,
    /// How many rules were checked.
    pub checks: u64,
}

impl Integrity {
    /// Returns whether every rule that was to be checked was checked and holds.
    pub fn sound(&self) -> bool {
        self.problems.is_empty() && self.not_run.is_empty()
    }

    /// Notes a rule that does not hold.
    pub fn problem(&mut self, object: impl Into<String>, what: impl Into<String>) {
        self.problems.push(Problem { object: object.into(), what: what.into() });
    }

    /// Notes a check that could not run.
    pub fn could_not(&mut self, what: impl Into<String>, why: impl Into<String>) {
        self.not_run.push((what.into(), why.into()));
    }

    /// Notes what there is no check for.
    pub fn no_check(&mut self, what: impl Into<String>, why: impl Into<String>) {
        self.not_checked.push((what.into(), why.into()));
    }

    /// Returns the verdict in one line.
    pub fn summary(&self) -> String {
        let scope =
            format!("{} on {} of {}", count(self.checks, "rule"), count(self.rows, "row"), count(self.tables, "table"));
        match (self.problems.as_slice(), self.not_run.as_slice()) {
            ([], []) => format!("{scope} hold"),
            ([], [(what, why), ..]) => format!("not proven: could not check {what} ({why}); {scope} were checked"),
            ([one], _) => format!("{one}; {scope} were checked"),
            ([first, rest @ ..], _) => {
                format!("{first}; {}; {scope} were checked", count(rest.len() as u64, "more problem"))
            }
        }
    }
}
