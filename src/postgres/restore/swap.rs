//! Two databases change names, and back: by the numbers that the server gave them, so that no name can deceive.

use std::sync::Arc;

use tokio::sync::Mutex;
use tokio_postgres::error::SqlState;

use super::database::{beside, drop_database, drop_unused, record};
use crate::cleanup::Ledger;
use crate::error::{Error, Kind, Result};
use crate::postgres::{Access, Address, Session, lexer};

/// Somebody who was sent away may come back at once; who comes back this often needs to be stopped.
const ATTEMPTS: u32 = 5;

/// One database whose name another one takes in this run.
#[derive(Clone)]
pub struct Swap {
    server: Address,
    name: String,
    before: String,
    run: String,
    /// The numbers of the database that had the name and of the one that takes it.
    old: u32,
    new: u32,
    /// Held while names change, so that a way back waits for a way there that nobody waits for any more.
    turn: Arc<Mutex<()>>,
}

impl Swap {
    pub(super) fn new(server: &Address, name: &str, run: &str, old: u32, new: u32) -> Self {
        let before = beside(name, "before", run);
        let (server, name, run) = (server.clone(), name.to_owned(), run.to_owned());
        Self { server, name, before, run, old, new, turn: Arc::default() }
    }

    /// Returns what the database that had the name is called afterwards.
    pub fn before(&self) -> &str {
        &self.before
    }

    /// Gives the name of the old database to the new one.
    pub(super) async fn make<H: Send + Sync + 'static>(&self, own: &str, end_sessions: bool, held: H) -> Result<()> {
        let names = [rename(&self.name, &self.before), rename(own, &self.name)].concat();
        self.change(names, end_sessions, held).await
    }

    /// Gives the old database its name back. What had it meanwhile is dropped, or stays under the name that is returned
    /// with `keep`. Returns nothing where the old database has its name.
    ///
    /// # Errors
    /// `Missing` when the old database is gone, `Refused` when somebody else changed the names since.
    pub async fn undo<H: Send + Sync + 'static>(
        &self,
        keep: bool,
        ledger: &Arc<Ledger>,
        held: H,
    ) -> Result<Option<String>> {
        drop(self.turn.lock().await);
        let session = Session::open(&self.server, Access::ReadOnly).await?;
        let (old, new) = (name_of(&session, self.old).await?, name_of(&session, self.new).await?);
        drop(session);
        match (old.as_deref(), new.as_deref()) {
            (Some(old), _) if old == self.name => return Ok(None),
            (None, _) => return Err(gone(&self.server, &self.before)),
            (Some(old), Some(new)) if old == self.before && new == self.name => {}
            _ => {
                return Err(Error::new(Kind::Refused, format!("the names of {} changed hands again since", self.name))
                    .on(self.server.with_database(&self.name).to_string())
                    .hint(format!("look at {} and {} and rename them by hand", self.name, self.before)));
            }
        }
        let failed = beside(&self.name, if keep { "failed" } else { "runner" }, &self.run);
        let names = [rename(&self.name, &failed), rename(&self.before, &self.name)].concat();
        if keep {
            self.change(names, true, held).await?;
            return Ok(Some(failed));
        }
        let make = {
            let swap = self.clone();
            async move { swap.change(names, true, held).await }
        };
        let undo = {
            let (server, failed) = (self.server.clone(), failed.clone());
            move || async move { drop_database(&server, &failed, false).await }
        };
        let ((), ticket) = ledger.make(record(&self.server, &failed), make, undo).await?;
        let _ = ticket.remove().await; // a removal that failed is reported by the final drain
        Ok(Some(failed))
    }

    /// Drops the database that had the name.
    pub async fn drop_replaced(&self) -> Result<()> {
        drop(self.turn.lock().await);
        let session = Session::open(&self.server, Access::Writable).await?;
        match name_of(&session, self.old).await? {
            Some(name) if name == self.before => drop_unused(&session, &self.before).await,
            Some(name) => Err(Error::new(Kind::Refused, format!("database {name} is not what a restore replaced"))
                .on(self.server.with_database(&name).to_string())
                .hint("only a database that waits under its kept name is dropped")),
            None => Err(gone(&self.server, &self.before)),
        }
    }

    /// Changes names in one transaction: either both change or none. A caller that goes away does not stop a change
    /// that the server was asked for: nobody could tell what became of it.
    async fn change<H: Send + Sync + 'static>(&self, names: String, end_sessions: bool, held: H) -> Result<()> {
        let (names, held) = (Arc::<str>::from(names), Arc::new(held));
        let mut attempt = 1;
        loop {
            let session = Session::open(&self.server, Access::Writable).await?;
            if end_sessions {
                terminate(&session, &self.name).await?;
            }
            let turn = Arc::clone(&self.turn).lock_owned().await;
            let (text, held) = (Arc::clone(&names), Arc::clone(&held));
            let changing = tokio::spawn(async move {
                let _until_changed = (turn, held);
                let changed = session.client().batch_execute(&text).await;
                (session, changed)
            });
            let (session, changed) = changing
                .await
                .map_err(|panic| Error::new(Kind::Bug, "changing names of databases panicked").because(&panic))?;
            match changed {
                Ok(()) => return Ok(()),
                Err(e) if end_sessions && is_in_use(&e) && attempt < ATTEMPTS => attempt += 1,
                Err(e) => return Err(not_named(&session, &self.name, &e)),
            }
        }
    }
}

/// Gives a database a name that nobody has.
pub(super) async fn rename_alone<H: Send + Sync + 'static>(
    server: &Address,
    own: &str,
    name: &str,
    held: H,
) -> Result<()> {
    let session = Session::open(server, Access::Writable).await?;
    let _until_changed = held;
    let named = session.client().batch_execute(&rename(own, name)).await;
    named.map_err(|e| not_named(&session, name, &e))
}

fn rename(from: &str, to: &str) -> String {
    format!("ALTER DATABASE {} RENAME TO {};", lexer::quoted(from), lexer::quoted(to))
}

/// Ends everybody else's sessions in a database.
async fn terminate(session: &Session, name: &str) -> Result<()> {
    let sql = "select pg_catalog.pg_terminate_backend(pid) from pg_catalog.pg_stat_activity \
               where datname = $1 and pid <> pg_catalog.pg_backend_pid()";
    let ended = session.client().query(sql, &[&name]).await;
    ended.map(drop).map_err(|e| {
        session
            .error(format!("could not end the sessions in {name}"), &e)
            .hint("the role must be a member of pg_signal_backend or of the roles that are connected")
    })
}

/// Returns the number of the database that has a name.
pub(super) async fn number(session: &Session, name: &str) -> Result<Option<u32>> {
    let found = session.client().query_opt("select oid from pg_catalog.pg_database where datname = $1", &[&name]).await;
    found.map(|row| row.map(|row| row.get(0))).map_err(|e| session.error("could not list the databases", &e))
}

async fn name_of(session: &Session, number: u32) -> Result<Option<String>> {
    let sql = "select datname::text from pg_catalog.pg_database where oid = $1";
    let found = session.client().query_opt(sql, &[&number]).await;
    found.map(|row| row.map(|row| row.get(0))).map_err(|e| session.error("could not list the databases", &e))
}

pub(super) fn gone(server: &Address, name: &str) -> Error {
    Error::new(Kind::Missing, format!("database {name} is not there any more"))
        .on(server.with_database(name).to_string())
        .hint("somebody dropped or renamed it; `psql -l` lists what is there")
}

fn is_in_use(error: &tokio_postgres::Error) -> bool {
    error.code() == Some(&SqlState::OBJECT_IN_USE)
}

fn not_named(session: &Session, name: &str, error: &tokio_postgres::Error) -> Error {
    let made = session.error(format!("could not give the restored database its name {name}"), error);
    if is_in_use(error) {
        made.hint(format!("somebody is connected to {name}: end those sessions and restore again"))
    } else {
        made
    }
}
