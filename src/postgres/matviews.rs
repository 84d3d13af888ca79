//! The content of materialised views, which pg_dump leaves out: a restore computes it anew.

use std::collections::BTreeMap;
use std::pin::pin;

use futures_util::TryStreamExt;
use tokio_postgres::Row;

use super::copy::full_name;
use super::lexer::quoted;
use super::snapshot::Snapshot;
use crate::compare::{RowSum, Table, View};
use crate::error::Result;
use crate::progress::Progress;

/// Populated views that pg_dump writes: those of extensions belong to the extension.
const LIST: &str = "select n.nspname::text, c.relname::text, \
     array(select a.attname::text from pg_catalog.pg_attribute a \
           where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped order by a.attnum) \
     from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
     where c.relkind = 'm' and c.relispopulated and n.nspname !~ '^pg_' and n.nspname <> 'information_schema' \
     and not exists (select from pg_catalog.pg_depend d where d.objid = c.oid \
                     and d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass and d.deptype = 'e') \
     order by 1, 2";

/// A view that may not be read, or that is being refreshed, must neither fail a dump nor hold it up.
const BEGIN: &str = "savepoint matview; set local lock_timeout = '5s'";

/// Reads every materialised view in the snapshot. What could not be read says why.
pub(super) async fn contents(snapshot: &Snapshot, progress: &Progress) -> Result<BTreeMap<String, View>> {
    let session = snapshot.session();
    let failed = |e: tokio_postgres::Error| session.error("could not read the materialized views", &e);
    let client = session.client();
    let mut views = BTreeMap::new();
    for row in client.query(LIST, &[]).await.map_err(failed)? {
        client.batch_execute(BEGIN).await.map_err(failed)?;
        let view = match content(snapshot, &row, progress).await {
            Ok(table) => View::Content(table),
            Err(e) => View::Unread(e.as_db_error().map_or_else(|| e.to_string(), |db| db.message().to_owned())),
        };
        // Works also after an error, which the savepoint keeps from the snapshot; a connection that is gone fails here.
        client.batch_execute("rollback to matview; release matview").await.map_err(failed)?;
        views.insert(full_name(Some(row.get(0)), row.get(1)), view);
    }
    Ok(views)
}

async fn content(snapshot: &Snapshot, view: &Row, progress: &Progress) -> Result<Table, tokio_postgres::Error> {
    let name = format!("{}.{}", quoted(view.get(0)), quoted(view.get(1)));
    let sql = format!("copy (select * from {name}) to stdout");
    let mut lines = pin!(snapshot.session().client().copy_out(&sql).await?);
    let mut table = Table { rows: 0, sum: RowSum::default(), columns: view.get(2) };
    // The server sends each row in a message of its own.
    while let Some(line) = lines.try_next().await? {
        table.sum.add_row(line.strip_suffix(b"\n").unwrap_or(&line));
        table.rows += 1;
        progress.add(line.len() as u64);
    }
    Ok(table)
}
