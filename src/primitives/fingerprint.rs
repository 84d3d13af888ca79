//! `fingerprint`: what a database or backup holds.

use std::sync::Arc;

use rhai::Dynamic;

use super::handles::{Backup, Database, Fingerprint};
use super::{Call, Effect, Group, Primitive};
use crate::compare;
use crate::error::Result;
use crate::postgres;
use crate::progress::Progress;
use crate::run::Run;
use crate::sqlite;

pub(super) const FINGERPRINT: Primitive = Primitive {
    name: "fingerprint",
    group: Group::Primitives,
    effect: Effect::Reads,
    signatures: &["fingerprint(of: Database|Backup) -> Fingerprint"],
    manual: r#"
Returns what a database or backup holds, in a form that can be compared.

A database is read whole, in one snapshot and without writing; a backup's fingerprint is in its manifest.

```rhai
with_sandbox(#{ engine: "sqlite" }, |server| {
    let db = server.database("shop");
    execute(db, "create table users (id integer primary key, name text)");
    check_eq("rows", fingerprint(db).rows, 0);
});
```
"#,
    work: |call| {
        let side = Side::read(call, 0)?;
        let working = call.run().journal.working("fingerprint");
        let run = Arc::clone(call.run());
        let print = call.wait(side.fingerprint(run, Vec::new(), working.progress.clone()))?;
        Ok(Dynamic::from(Fingerprint(Arc::new(print))))
    },
};

/// Something that has a fingerprint.
pub(super) enum Side {
    Database(Database),
    Backup(Backup),
    Print(Fingerprint),
}

impl Side {
    /// Reads an argument.
    pub(super) fn read(call: &Call, at: usize) -> Result<Self> {
        let value = call.any(at);
        if let Some(backup) = value.read_lock::<Backup>() {
            return Ok(Side::Backup(backup.clone()));
        }
        if let Some(print) = value.read_lock::<Fingerprint>() {
            return Ok(Side::Print(print.clone()));
        }
        call.handle(at, "a Database or a Backup").map(Side::Database)
    }

    /// Returns the fingerprint; only of `tables` where some are named.
    pub(super) async fn fingerprint(
        self,
        run: Arc<Run>,
        tables: Vec<String>,
        progress: Progress,
    ) -> Result<compare::Fingerprint> {
        match self {
            Side::Print(print) => Ok((*print.0).clone()),
            Side::Backup(backup) => Ok(backup.0.need_manifest("tell what it holds")?.fingerprint.clone()),
            Side::Database(Database::Postgres(database)) => {
                postgres::fingerprint(&database.address, &tables, &progress, &run.ledger).await
            }
            Side::Database(Database::Sqlite(database, _)) => {
                let cancel = tokio_util::sync::CancellationToken::new();
                let _cancelled_with_us = cancel.clone().drop_guard();
                let reading = tokio::task::spawn_blocking(move || sqlite::fingerprint(&database, &progress, &cancel));
                reading.await.map_err(|panic| {
                    crate::error::Error::new(crate::error::Kind::Bug, "reading the database panicked").because(&panic)
                })?
            }
        }
    }
}
