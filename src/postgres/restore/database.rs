//! The new database: made beside everything that is there, given its name when it is whole.

use std::sync::Arc;

use tokio_postgres::error::SqlState;

use super::RestoreTarget;
use crate::cleanup::{Ledger, Record, Ticket};
use crate::error::{Error, Kind, Result};
use crate::postgres::{Access, Address, Session, lexer};

const KIND: &str = "database";
/// PostgreSQL cuts longer names without a word.
const LONGEST_NAME: usize = 63;

/// How a database stores and sorts text, and where.
#[derive(Default)]
pub(super) struct Locale {
    pub encoding: Option<String>,
    pub collate: Option<String>,
    pub ctype: Option<String>,
    /// The catalog's letter for who sorts: c, i or b.
    pub provider: Option<String>,
    /// That provider's own name for the locale.
    pub name: Option<String>,
    /// Where its tables lie.
    pub tablespace: Option<String>,
}

/// A database that is not whole yet.
pub(super) struct Scratch {
    name: String,
    server: Address,
    ticket: Ticket,
}

impl Scratch {
    /// Makes an empty database for what will be called `name`.
    pub(super) async fn create(
        target: &RestoreTarget,
        name: &str,
        locale: &Locale,
        ledger: &Arc<Ledger>,
    ) -> Result<Self> {
        let scratch = beside(name, "runner", ledger.run());
        let (server, throwaway) = (target.address().clone(), target.is_throwaway());
        let statement = create_statement(&scratch, locale);
        let make = {
            let server = server.clone();
            async move {
                let session = Session::open(&server, Access::Writable).await?;
                let made = session.client().batch_execute(&statement).await;
                made.map_err(|e| not_created(&session, &e))
            }
        };
        let undo = {
            let (server, scratch) = (server.clone(), scratch.clone());
            move || async move { drop_database(&server, &scratch, throwaway).await }
        };
        let ((), ticket) = ledger.make(record(&server, &scratch), make, undo).await?;
        Ok(Self { name: scratch, server, ticket })
    }

    /// Returns its present name.
    pub(super) fn own_name(&self) -> &str {
        &self.name
    }

    /// Returns its address.
    pub(super) fn address(&self) -> Address {
        self.server.with_database(&self.name)
    }

    /// Returns the address of its server's maintenance database.
    pub(super) fn server(&self) -> &Address {
        &self.server
    }

    /// Removes it.
    pub(super) async fn remove(self) -> Result<()> {
        self.ticket.remove().await
    }

    /// Leaves it to its user: it has its name. On a throwaway server the database goes with its server, which is
    /// journaled itself: asking a server that was removed meanwhile would wait for an answer that never comes.
    pub(super) fn keep(self) -> Result<()> {
        self.ticket.keep()
    }
}

/// Refuses a name that is taken.
pub(super) fn taken(server: &Address, name: &str) -> Error {
    Error::new(Kind::Refused, format!("database {name} exists already"))
        .on(server.with_database(name).to_string())
        .hint("restore under another name, or pass replace: true; the old database is kept until the new one is whole")
}

/// Returns whether the server has a database of this name.
pub(super) async fn exists(session: &Session, name: &str) -> Result<bool> {
    let found = session.client().query_opt("select 1 from pg_catalog.pg_database where datname = $1", &[&name]).await;
    found.map(|row| row.is_some()).map_err(|e| session.error("could not list the databases", &e))
}

/// Drops a database that nobody uses.
pub(super) async fn drop_unused(session: &Session, name: &str) -> Result<()> {
    let dropped = session.client().batch_execute(&format!("DROP DATABASE {}", lexer::quoted(name))).await;
    dropped.map_err(|e| session.error(format!("could not drop the replaced database {name}"), &e))
}

fn create_statement(name: &str, locale: &Locale) -> String {
    // template1 may hold what somebody put there.
    let mut statement = format!("CREATE DATABASE {} TEMPLATE template0", lexer::quoted(name));
    let words = [("ENCODING", &locale.encoding), ("LC_COLLATE", &locale.collate), ("LC_CTYPE", &locale.ctype)];
    for (word, value) in words {
        if let Some(value) = value {
            statement.push_str(&format!(" {word} {}", lexer::literal(value)));
        }
    }
    match (locale.provider.as_deref(), &locale.name) {
        (Some("i"), Some(name)) => {
            statement.push_str(&format!(" LOCALE_PROVIDER icu ICU_LOCALE {}", lexer::literal(name)));
        }
        (Some("b"), Some(name)) => {
            statement.push_str(&format!(" LOCALE_PROVIDER builtin BUILTIN_LOCALE {}", lexer::literal(name)));
        }
        _ => {}
    }
    if let Some(tablespace) = &locale.tablespace {
        statement.push_str(&format!(" TABLESPACE {}", lexer::quoted(tablespace)));
    }
    statement
}

/// Returns the record of a database that goes at the end of the run.
pub(super) fn record(server: &Address, name: &str) -> Record {
    let database = server.with_database(name);
    let by_hand =
        format!("dropdb --force -h {} -p {} -U {} {}", server.host(), server.port(), server.user(), lexer::shown(name));
    Record::new(KIND, database.to_string(), by_hand).fact("address", server.conninfo()).fact("database", name)
}

/// Drops a database with everybody in it. On a throwaway server that is gone, the database is gone, too.
pub(super) async fn drop_database(server: &Address, name: &str, throwaway: bool) -> Result<()> {
    let session = match Session::open(server, Access::Writable).await {
        Ok(session) => session,
        Err(_) if throwaway => return Ok(()),
        Err(error) => return Err(error),
    };
    // A template cannot be dropped, nor a database with subscriptions; where it is neither, this says so in vain.
    let _ = session.client().batch_execute(&format!("ALTER DATABASE {} IS_TEMPLATE false", lexer::quoted(name))).await;
    drop_subscriptions(&server.with_database(name)).await;
    let force = session.identity().await.is_ok_and(|identity| identity.major() >= 13);
    let force = if force { " WITH (FORCE)" } else { "" };
    let dropped =
        session.client().batch_execute(&format!("DROP DATABASE IF EXISTS {}{force}", lexer::quoted(name))).await;
    dropped.map_err(|e| session.error(format!("could not drop database {name}"), &e))
}

/// Drops the subscriptions of a database that is about to go. They never had a slot: a restore does not connect.
async fn drop_subscriptions(database: &Address) {
    const ALL: &str = "select coalesce(pg_catalog.string_agg(pg_catalog.format( \
                       'alter subscription %1$I disable; alter subscription %1$I set (slot_name = none); \
                       drop subscription %1$I', subname), '; '), '') from pg_catalog.pg_subscription s \
                       join pg_catalog.pg_database d on d.oid = s.subdbid where d.datname = pg_catalog.current_database()";
    let Ok(session) = Session::open(database, Access::Writable).await else { return };
    let Ok(row) = session.client().query_one(ALL, &[]).await else { return };
    for statement in row.get::<_, &str>(0).split("; ").filter(|statement| !statement.is_empty()) {
        let _ = session.client().batch_execute(statement).await; // what is left keeps the database, which says so
    }
}

/// Drops the unfinished database of a dead run, where its server lets us in without a password.
pub async fn collect_database(record: &Record) -> Result<()> {
    let fact = |name: &str| record.facts.get(name).and_then(|fact| fact.as_str());
    let (Some(address), Some(name)) = (fact("address"), fact("database")) else {
        return Err(Error::new(Kind::Damaged, format!("the journal does not say where {} is", record.name)));
    };
    if !name.contains("__runner_") {
        return Err(Error::new(Kind::Refused, format!("{name} is not the name of an unfinished database")));
    }
    let dropped = drop_database(&Address::parse(address)?, name, false).await;
    dropped.map_err(|e| e.hint(format!("drop it by hand: {}", record.by_hand)))
}

/// Returns `<name>__<word>_<run>`, with as much of the name as fits.
pub(super) fn beside(name: &str, word: &str, run: &str) -> String {
    let ending = format!("__{word}_{run}");
    let room = LONGEST_NAME.saturating_sub(ending.len());
    let cut = (0..=room.min(name.len())).rev().find(|&at| name.is_char_boundary(at)).unwrap_or(0);
    format!("{}{ending}", &name[..cut])
}

fn not_created(session: &Session, error: &tokio_postgres::Error) -> Error {
    let made = session.error("could not make a database to restore into", error);
    match error.code() {
        Some(code) if *code == SqlState::WRONG_OBJECT_TYPE || *code == SqlState::INVALID_PARAMETER_VALUE => {
            made.hint("the server lacks the dump's locale: use an image or a server that has it, or pass `locale`")
        }
        Some(code) if *code == SqlState::INSUFFICIENT_PRIVILEGE => made.hint("the role needs CREATEDB"),
        _ => made,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_cut_where_postgresql_would_cut_the_ending() {
        assert_eq!(beside("orders", "runner", "r1"), "orders__runner_r1");
        let long = beside(&"ü".repeat(40), "runner", "r1");
        assert!(long.len() <= 63 && long.ends_with("ü__runner_r1"), "{long}");
    }

    #[test]
    fn names_and_locales_are_quoted() {
        let locale = Locale { encoding: Some("UTF8".into()), collate: Some("C'x".into()), ..Locale::default() };
        assert_eq!(
            create_statement("a\"b", &locale),
            "CREATE DATABASE \"a\"\"b\" TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C''x'"
        );
    }
}
