//! Scratch databases: new, empty, beside a database on its own server, and dropped at the end of the run.

use std::sync::Arc;

use tokio_postgres::error::SqlState;

use super::{Access, Address, Session, lexer};
use crate::cleanup::{Ledger, Record};
use crate::error::{Error, Kind, Result};

const KIND: &str = "scratch database";

/// Creates an empty database on the server of `beside` and returns its address.
///
/// The comment that it gets is how `runner gc` knows later that it is ours.
pub async fn create_scratch(beside: &Address, name: &str, ledger: &Arc<Ledger>) -> Result<Address> {
    let made = beside.with_database(name);
    let (server, to_make, to_drop) = (beside.clone(), made.clone(), made.clone());
    let mark = mark(ledger.run());
    let own_mark = mark.clone();
    let make = async move {
        let session = Session::open(&server, Access::Writable).await?;
        let quoted = lexer::quoted(to_make.database());
        let created = session.client().batch_execute(&format!("CREATE DATABASE {quoted} TEMPLATE template0")).await;
        created.map_err(|e| not_created(&session, to_make.database(), &e))?;
        let marked = format!("COMMENT ON DATABASE {quoted} IS {}", lexer::literal(&mark));
        session
            .client()
            .batch_execute(&marked)
            .await
            .map_err(|e| session.error("could not mark the scratch database", &e))
    };
    let server = beside.clone();
    let undo = move || async move { drop_marked(&server, to_drop.database(), &own_mark).await };
    let ((), _ticket) = ledger.make(record(beside, &made, ledger.run()), make, undo).await?;
    Ok(made)
}

/// Drops the scratch database of a dead run, where its server lets us in without a password.
pub async fn collect_scratch(record: &Record) -> Result<()> {
    let fact = |name: &str| record.facts.get(name).and_then(|fact| fact.as_str());
    let (Some(server), Some(database), Some(run)) = (fact("address"), fact("database"), fact("run")) else {
        return Err(Error::new(Kind::Damaged, format!("the journal does not say where {} is", record.name)));
    };
    drop_marked(&Address::parse(server)?, database, &mark(run)).await
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

/// Drops the database if it carries our mark. One that was there before we came does not, and stays.
async fn drop_marked(server: &Address, name: &str, mark: &str) -> Result<()> {
    let session = Session::open(server, Access::Writable).await?;
    let query =
        "select pg_catalog.shobj_description(oid, 'pg_database') from pg_catalog.pg_database where datname = $1";
    let found = session.client().query_opt(query, &[&name]).await;
    let Some(row) = found.map_err(|e| session.error("could not look for the scratch database", &e))? else {
        return Ok(());
    };
    if row.get::<_, Option<String>>(0).as_deref() != Some(mark) {
        return Ok(());
    }
    let force = if session.identity().await?.major() >= 13 { " WITH (FORCE)" } else { "" };
    let dropped = session.client().batch_execute(&format!("DROP DATABASE {}{force}", lexer::quoted(name))).await;
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
