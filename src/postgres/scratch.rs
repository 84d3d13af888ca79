//! Scratch databases: new, empty, beside a database on its own server, and dropped at the end of the run.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio_postgres::error::SqlState;

use super::{Access, Address, Session, lexer};
use crate::cleanup::{Ledger, Record};
use crate::error::{Error, Kind, Result};

const KIND: &str = "scratch database";

/// Creates an empty database on the server of `beside` and returns its address.
///
/// It is dropped at the end of the run if this call made it, and never if it was there before. The comment that it gets
/// tells a later `runner gc` that it is ours; a restore into it takes the comment away, and then gc asks the operator.
pub async fn create_scratch(beside: &Address, name: &str, ledger: &Arc<Ledger>) -> Result<Address> {
    let made = beside.with_database(name);
    let ours = Arc::new(AtomicBool::new(false));
    let make = {
        let (server, name, mark, ours) = (beside.clone(), name.to_owned(), mark(ledger.run()), Arc::clone(&ours));
        async move {
            let session = Session::open(&server, Access::Writable).await?;
            let quoted = lexer::quoted(&name);
            let created = session.client().batch_execute(&format!("CREATE DATABASE {quoted} TEMPLATE template0")).await;
            created.map_err(|e| not_created(&session, &name, &e))?;
            ours.store(true, Ordering::SeqCst);
            let marked = format!("COMMENT ON DATABASE {quoted} IS {}", lexer::literal(&mark));
            let marked = session.client().batch_execute(&marked).await;
            marked.map_err(|e| session.error("could not mark the scratch database", &e))
        }
    };
    let undo = {
        let (server, name) = (beside.clone(), name.to_owned());
        move || async move { if ours.load(Ordering::SeqCst) { drop_database(&server, &name).await } else { Ok(()) } }
    };
    let ((), _ticket) = ledger.make(record(beside, &made, ledger.run()), make, undo).await?;
    Ok(made)
}

/// Drops the scratch database of a dead run, where its server lets us in without a password and the database carries
/// that run's mark.
pub async fn collect_scratch(record: &Record) -> Result<()> {
    let fact = |name: &str| record.facts.get(name).and_then(|fact| fact.as_str());
    let (Some(server), Some(name), Some(run)) = (fact("address"), fact("database"), fact("run")) else {
        return Err(Error::new(Kind::Damaged, format!("the journal does not say where {} is", record.name)));
    };
    let server = Address::parse(server)?;
    match comment(&server, name).await? {
        None => Ok(()),
        Some(comment) if comment == mark(run) => drop_database(&server, name).await,
        Some(_) => Err(Error::new(Kind::Refused, format!("database {name} does not carry the mark of run {run}"))
            .hint(
                "it may be a restored copy of that run, or one that was there before: look at it before you drop it",
            )),
    }
}

/// Returns the comment of a database, empty where it has none; nothing where there is no such database.
async fn comment(server: &Address, name: &str) -> Result<Option<String>> {
    let session = Session::open(server, Access::ReadOnly).await?;
    let query = "select coalesce(pg_catalog.shobj_description(oid, 'pg_database'), '') \
                 from pg_catalog.pg_database where datname = $1";
    let found = session.client().query_opt(query, &[&name]).await;
    let found = found.map_err(|e| session.error("could not look for the scratch database", &e))?;
    Ok(found.map(|row| row.get(0)))
}

fn mark(run: &str) -> String {
    format!("scratch database of runner {run}")
}

fn record(server: &Address, made: &Address, run: &str) -> Record {
    let (host, port, user) = (server.host(), server.port(), server.user());
    let by_hand = format!("dropdb --force -h {host} -p {port} -U {user} {}", lexer::shown(made.database()));
    Record::new(KIND, made.to_string(), by_hand)
        .fact("address", server.conninfo())
        .fact("database", made.database())
        .fact("run", run)
}

async fn drop_database(server: &Address, name: &str) -> Result<()> {
    let session = Session::open(server, Access::Writable).await?;
    let force = if session.identity().await?.major() >= 13 { " WITH (FORCE)" } else { "" };
    let dropped =
        session.client().batch_execute(&format!("DROP DATABASE IF EXISTS {}{force}", lexer::quoted(name))).await;
    dropped.map_err(|e| session.error(format!("could not drop the scratch database {name}"), &e))
}

fn not_created(session: &Session, name: &str, error: &tokio_postgres::Error) -> Error {
    let made = session.error(format!("could not create the scratch database {name}"), error);
    match error.code() {
        Some(code) if *code == SqlState::DUPLICATE_DATABASE => made.hint(format!(
            "it may be left from an earlier run: `runner gc` removes what runs left, or drop it yourself: DROP DATABASE {}",
            lexer::quoted(name)
        )),
        Some(code) if *code == SqlState::INSUFFICIENT_PRIVILEGE => made.hint("the role needs CREATEDB, or use a sandbox"),
        _ => made,
    }
}
