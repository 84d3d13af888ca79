//! Runs the definitions of a dump: those before the data in order, indexes and keys after it side by side.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use futures_util::future::try_join_all;
use tokio::sync::Notify;
use tokio_postgres::error::SqlState;

use super::survey::{Rows, Unit};
use crate::error::{Error, Result};
use crate::postgres::Session;
use crate::postgres::lexer::{self, Token};

/// How many entries one message holds: a message is a transaction, which locks all that it makes.
const BATCH: usize = 100;
/// Keys are made on tables that no other session works on; what still collides is tried again.
const ATTEMPTS: u32 = 5;

/// Runs units in order on one session, many at once.
pub(super) async fn in_order(units: &[&Unit], session: &Session) -> Result<()> {
    for batch in units.chunks(BATCH) {
        let text = joined(batch);
        if let Err(error) = session.client().batch_execute(&text).await {
            return Err(name_culprit(batch, session, error).await);
        }
    }
    Ok(())
}

/// Runs one unit.
pub(super) async fn one(unit: &Unit, session: &Session) -> Result<()> {
    let made = session.client().batch_execute(&joined(&[unit])).await;
    made.map_err(|e| refused(unit, session, &e))
}

fn joined(units: &[&Unit]) -> String {
    let mut text = String::new();
    let mut state = "";
    for unit in units {
        if *unit.state != *state {
            text.push_str(&unit.state);
            text.push('\n');
            state = &unit.state;
        }
        for statement in &unit.statements {
            text.push_str(statement);
            text.push('\n');
        }
    }
    text
}

/// Finds out which unit the server refused: the whole message was undone, so each can be run again.
async fn name_culprit(batch: &[&Unit], session: &Session, error: tokio_postgres::Error) -> Error {
    for unit in batch {
        if let Err(error) = session.client().batch_execute(&joined(&[unit])).await {
            return refused(unit, session, &error);
        }
    }
    session.error("could not restore the definitions", &error)
}

fn refused(unit: &Unit, session: &Session, error: &tokio_postgres::Error) -> Error {
    session.error(format!("could not restore {} (line {} of the dump)", unit.shown, unit.line), error)
}

/// What a unit after the data may run beside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    /// An index, a key, a check: beside others, before everything that comes later.
    Build,
    /// A foreign key: beside others, once every index is there and attached.
    ForeignKey,
    /// Something that others may name, a view over a key for instance: where it stands.
    Definition,
    /// Triggers, rules, policies, grants, comments: in order, after the builds.
    Later,
}

fn class(unit: &Unit) -> Class {
    match unit.kind.as_str() {
        // A unit whose table we cannot tell runs alone.
        "INDEX" | "CONSTRAINT" | "CHECK CONSTRAINT" if !unit.tables().is_empty() => Class::Build,
        "FK CONSTRAINT" if unit.tables().len() > 1 => Class::ForeignKey,
        "INDEX" | "CONSTRAINT" | "CHECK CONSTRAINT" | "TABLE" | "VIEW" | "MATERIALIZED VIEW" | "FUNCTION"
        | "PROCEDURE" | "AGGREGATE" | "TYPE" | "DOMAIN" | "OPERATOR" | "CAST" | "SEQUENCE" | "DEFAULT" => {
            Class::Definition
        }
        _ => Class::Later,
    }
}

/// Parts the units after the data into those that a table can have as soon as it is loaded, and all others in order.
pub(super) fn early<'a>(units: &[&'a Unit]) -> (Vec<&'a Unit>, Vec<&'a Unit>) {
    let end = units.iter().position(|unit| class(unit) == Class::Definition).unwrap_or(units.len());
    let (builds, others): (Vec<&Unit>, Vec<&Unit>) =
        units[..end].iter().partition(|unit| class(unit) == Class::Build && is_of_columns(unit));
    (builds, [&others, &units[end..]].concat())
}

/// Returns whether an index or a key is made of columns alone. A function in an expression, a condition or an operator may
/// read other tables, whatever it says of itself: such a unit waits until all rows are there.
fn is_of_columns(unit: &Unit) -> bool {
    unit.statements.iter().all(|statement| {
        let mut depth = 0;
        lexer::tokens(statement, false).iter().all(|(token, text)| {
            depth += match *text {
                "(" => 1,
                ")" => -1,
                _ => 0,
            };
            let is = |word: &str| *token == Token::Word && text.eq_ignore_ascii_case(word);
            depth < 2 && !is("where") && !is("exclude")
        })
    })
}

/// Runs the units after the data, the ones of the largest tables first where several run at once.
pub(super) async fn after_data(units: &[&Unit], sizes: &BTreeMap<String, Rows>, sessions: &[Session]) -> Result<()> {
    let Some(first) = sessions.first() else { return Ok(()) };
    let (mut builds, mut keys): (Vec<&Unit>, Vec<&Unit>) = (Vec::new(), Vec::new());
    let (mut before_keys, mut after_keys): (Vec<&Unit>, Vec<&Unit>) = (Vec::new(), Vec::new());
    for &unit in units {
        match class(unit) {
            Class::Build => builds.push(unit),
            Class::ForeignKey => keys.push(unit),
            Class::Definition => {
                side_by_side(std::mem::take(&mut builds), sizes, sessions).await?;
                in_order(&[unit], first).await?;
            }
            // Event triggers must not see the keys being made, attached indexes must: the place decides.
            Class::Later if keys.is_empty() => before_keys.push(unit),
            Class::Later => after_keys.push(unit),
        }
    }
    side_by_side(builds, sizes, sessions).await?;
    in_order(&before_keys, first).await?;
    side_by_side(keys, sizes, sessions).await?;
    in_order(&after_keys, first).await
}

/// Runs units on all sessions, never two at once that would lock each other's table.
pub(super) async fn side_by_side(
    units: Vec<&Unit>,
    sizes: &BTreeMap<String, Rows>,
    sessions: &[Session],
) -> Result<()> {
    let queue = Queue::new(units, sizes, BTreeMap::new());
    let workers = sessions.iter().map(|session| queue.serve(session));
    try_join_all(workers).await.map(drop)
}

struct Work<'a> {
    unit: &'a Unit,
    tables: Vec<String>,
    shares: bool,
    bytes: u64,
}

impl<'a> Work<'a> {
    fn new(unit: &'a Unit, sizes: &BTreeMap<String, Rows>) -> Self {
        let tables = unit.tables();
        let bytes = tables.iter().filter_map(|table| sizes.get(table)).map(|rows| rows.bytes).max().unwrap_or(0);
        // CREATE INDEX lets others index the same table; ALTER TABLE wants it for itself.
        let shares = unit.statements.iter().all(|text| text.starts_with("CREATE "));
        Self { unit, tables, shares, bytes }
    }

    fn collides(&self, other: &Lock) -> bool {
        !(self.shares && other.shares) && self.tables.iter().any(|table| other.tables.contains(table))
    }
}

struct Lock {
    line: u64,
    tables: Vec<String>,
    shares: bool,
}

struct Shared<'a> {
    waiting: Vec<Work<'a>>,
    running: Vec<Lock>,
    /// The tables whose rows are still to be loaded, each with the number of their places in the dump.
    unloaded: BTreeMap<String, usize>,
    loaded: BTreeSet<String>,
}

impl Shared<'_> {
    fn is_free(&self, work: &Work<'_>) -> bool {
        // Loading a partition may lock its parent. So only what is loaded by itself is touched before all are.
        let loaded = self.unloaded.is_empty() || work.tables.iter().all(|table| self.loaded.contains(table));
        loaded && !self.running.iter().any(|lock| work.collides(lock))
    }
}

/// Units that wait for a session, none of which is needed by another.
pub(super) struct Queue<'a> {
    work: Mutex<Shared<'a>>,
    freed: Notify,
}

enum Next<'a> {
    Run(&'a Unit),
    Wait,
    Done,
}

impl<'a> Queue<'a> {
    /// Takes units. Those of tables that are still to be loaded wait for that.
    pub(super) fn new(units: Vec<&'a Unit>, sizes: &BTreeMap<String, Rows>, unloaded: BTreeMap<String, usize>) -> Self {
        let mut waiting: Vec<Work> = units.into_iter().map(|unit| Work::new(unit, sizes)).collect();
        waiting.sort_by_key(|work| work.bytes); // taken from the end
        let shared = Shared { waiting, running: Vec::new(), unloaded, loaded: BTreeSet::new() };
        Self { work: Mutex::new(shared), freed: Notify::new() }
    }

    /// Says that the rows of one of a table's places are loaded.
    pub(super) fn loaded(&self, table: &str) {
        let mut guard = self.lock();
        let shared = &mut *guard;
        if let Some(places) = shared.unloaded.get_mut(table) {
            *places -= 1;
            if *places == 0 {
                shared.unloaded.remove(table);
                shared.loaded.insert(table.to_owned());
            }
        }
        drop(guard);
        self.freed.notify_waiters();
    }

    /// Runs units until there are no more.
    pub(super) async fn serve(&self, session: &Session) -> Result<()> {
        loop {
            let freed = self.freed.notified(); // before the look, so that no news is missed in between
            match self.next() {
                Next::Run(unit) => {
                    run(unit, session).await?;
                    self.lock().running.retain(|lock| lock.line != unit.line);
                    self.freed.notify_waiters();
                }
                Next::Wait => freed.await,
                Next::Done => return Ok(()),
            }
        }
    }

    fn next(&self) -> Next<'a> {
        let mut shared = self.lock();
        if shared.waiting.is_empty() {
            return Next::Done;
        }
        let Some(at) = shared.waiting.iter().rposition(|work| shared.is_free(work)) else { return Next::Wait };
        let Work { unit, tables, shares, .. } = shared.waiting.remove(at);
        shared.running.push(Lock { line: unit.line, tables, shares });
        Next::Run(unit)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Shared<'a>> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs one unit, again where the server chose it to end a deadlock: partitions are locked that no statement names.
async fn run(unit: &Unit, session: &Session) -> Result<()> {
    let mut attempt = 1;
    loop {
        match session.client().batch_execute(&joined(&[unit])).await {
            Ok(()) => return Ok(()),
            Err(e) if e.code() == Some(&SqlState::T_R_DEADLOCK_DETECTED) && attempt < ATTEMPTS => attempt += 1,
            Err(e) => return Err(refused(unit, session, &e)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(line: u64, kind: &str, statement: &str) -> Unit {
        let statements = vec![statement.to_owned()];
        Unit { kind: kind.into(), shown: kind.into(), line, statements, state: "".into() }
    }

    #[test]
    fn two_indexes_of_one_table_run_side_by_side_and_a_key_does_not() {
        let index = unit(1, "INDEX", "CREATE INDEX a ON app.t USING btree (a);");
        let other = unit(2, "INDEX", "CREATE INDEX b ON app.t USING btree (b);");
        let key = unit(3, "CONSTRAINT", "ALTER TABLE ONLY app.t ADD CONSTRAINT t_pkey PRIMARY KEY (id);");
        let sizes = BTreeMap::new();
        let queue = Queue::new(vec![&key, &other, &index], &sizes, BTreeMap::new());
        assert!(matches!(queue.next(), Next::Run(unit) if unit.line == 1));
        assert!(matches!(queue.next(), Next::Run(unit) if unit.line == 2));
        assert!(matches!(queue.next(), Next::Wait));
        queue.lock().running.clear();
        assert!(matches!(queue.next(), Next::Run(unit) if unit.line == 3));
        assert!(matches!(queue.next(), Next::Done));
    }

    #[test]
    fn what_a_table_gets_waits_for_its_rows_and_what_has_none_for_all() {
        let large = unit(1, "INDEX", "CREATE INDEX a ON app.large USING btree (a);");
        let small = unit(2, "CONSTRAINT", "ALTER TABLE ONLY app.small ADD CONSTRAINT s PRIMARY KEY (id);");
        let root = unit(3, "CONSTRAINT", "ALTER TABLE ONLY app.root ADD CONSTRAINT r PRIMARY KEY (id);");
        let unloaded = [("app.large".to_owned(), 2), ("app.small".to_owned(), 1)].into();
        let queue = Queue::new(vec![&root, &small, &large], &BTreeMap::new(), unloaded);
        assert!(matches!(queue.next(), Next::Wait));
        queue.loaded("app.small");
        assert!(matches!(queue.next(), Next::Run(unit) if unit.line == 2));
        assert!(matches!(queue.next(), Next::Wait));
        queue.loaded("app.large");
        assert!(matches!(queue.next(), Next::Wait), "it lies in two places");
        queue.loaded("app.large");
        assert!(matches!(queue.next(), Next::Run(unit) if unit.line == 1));
        assert!(matches!(queue.next(), Next::Run(unit) if unit.line == 3));
        assert!(matches!(queue.next(), Next::Done));
    }

    #[test]
    fn what_stands_behind_a_definition_is_not_early() {
        let index = unit(1, "INDEX", "CREATE INDEX a ON app.t USING btree (a);");
        let grant = unit(2, "ACL", "GRANT SELECT ON app.t TO x;");
        let key = unit(3, "CONSTRAINT", "ALTER TABLE ONLY app.t ADD CONSTRAINT t_pkey PRIMARY KEY (id);");
        let view = unit(4, "VIEW", "CREATE VIEW app.v AS SELECT * FROM app.t GROUP BY id;");
        let late = unit(5, "INDEX", "CREATE INDEX b ON app.v USING btree (a);");
        let lines = |units: Vec<&Unit>| units.iter().map(|unit| unit.line).collect::<Vec<_>>();
        let (builds, others) = early(&[&index, &grant, &key, &view, &late]);
        assert_eq!((lines(builds), lines(others)), (vec![1, 3], vec![2, 4, 5]));
    }

    #[test]
    fn what_may_read_other_tables_is_not_early() {
        for (statement, is_early) in [
            ("CREATE INDEX a ON app.t USING btree (a, b DESC) WITH (fillfactor='70');", true),
            ("CREATE INDEX a ON app.t USING btree (\"f(x)\");", true),
            ("ALTER TABLE ONLY app.t ADD CONSTRAINT k UNIQUE (a) INCLUDE (b);", true),
            ("CREATE INDEX a ON app.t USING btree (app.f(a));", false),
            ("CREATE INDEX a ON app.t USING btree (((a + 1)));", false),
            ("CREATE INDEX a ON app.t USING btree (a) WHERE app.f;", false),
            ("ALTER TABLE ONLY app.t ADD CONSTRAINT k EXCLUDE USING gist (a WITH &&);", false),
        ] {
            let unit = unit(1, "INDEX", statement);
            assert_eq!(early(&[&unit]).0.len(), usize::from(is_early), "{statement}");
        }
    }

    #[test]
    fn foreign_keys_that_refer_to_each_other_never_run_at_once() {
        let there = unit(1, "FK CONSTRAINT", "ALTER TABLE ONLY a ADD CONSTRAINT f FOREIGN KEY (b) REFERENCES b(id);");
        let back = unit(2, "FK CONSTRAINT", "ALTER TABLE ONLY b ADD CONSTRAINT g FOREIGN KEY (a) REFERENCES a(id);");
        assert_eq!(class(&there), Class::ForeignKey);
        let (sizes, lock) = (BTreeMap::new(), Lock { line: 2, tables: back.tables(), shares: false });
        assert!(Work::new(&there, &sizes).collides(&lock));
    }
}
