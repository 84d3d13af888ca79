//! The rows of some tables, read again and again for a row search: from a database, or from a backup unpacked for it.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use tokio_util::sync::CancellationToken;

use super::connection::{Access, Database};
use super::failure::failed;
use super::fingerprint::{always_quoted, data_columns, literal, quoted};
use super::packing::unpack;
use super::row::{encode_fields, shown};
use crate::backups::Backup;
use crate::compare::rows::{Form, Look, Seen};
use crate::error::{Error, Result};
use crate::files::go_on;
use crate::progress::Progress;

/// How rows are written for their digest.
const FORM: Form = Form { separator: None, shown };

/// Unpacks a backup into a folder, so that its rows can be read.
pub fn unpacked(backup: &Backup, into: &Path, progress: &Progress, cancel: &CancellationToken) -> Result<Database> {
    let path = into.join("backup.sqlite");
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
    let mut file = made.map_err(|e| Error::io("write", &path, &e))?;
    unpack(backup, &mut file, progress, cancel)?;
    Database::open(&path, Access::ReadOnly)
}

/// Takes a look at the rows, all of them of one moment.
pub fn look(database: &Database, look: &Look, progress: &Progress, cancel: &CancellationToken) -> Result<Seen> {
    let connection = database.with_access(Access::ReadOnly).connect(cancel)?;
    let failed = |e: rusqlite::Error| failed("read", database.path(), &e);
    connection.execute_batch("begin").map_err(failed)?;
    let names: Vec<String> = connection
        .prepare("select name from sqlite_schema where type = 'table'")
        .and_then(|mut statement| statement.query_map((), |row| row.get(0))?.collect())
        .map_err(failed)?;
    let mut seen = look.begin(FORM);
    let (mut bytes, mut fields) = (Vec::new(), Vec::new());
    for name in names.iter().filter(|name| look.tables().any(|wanted| wanted == quoted(name))) {
        let columns = data_columns(&connection, name).map_err(failed)?;
        if !seen.enter(&quoted(name), &columns) {
            continue;
        }
        let list: Vec<_> = columns.iter().map(|column| always_quoted(column)).collect();
        let sql = format!("select {} from {} not indexed", list.join(", "), always_quoted(name));
        let mut statement = connection.prepare(&sql).map_err(failed)?;
        let mut rows = statement.query(()).map_err(failed)?;
        let mut count = 0u64;
        while let Some(row) = rows.next().map_err(failed)? {
            encode_fields(row, columns.len(), &mut bytes, &mut fields).map_err(failed)?;
            seen.row(&bytes, &fields);
            progress.add(bytes.len() as u64);
            count += 1;
            if count.is_multiple_of(1024) {
                go_on(cancel, "naming the rows that differ")?;
            }
        }
    }
    connection.execute_batch("rollback").map_err(failed)?;
    Ok(seen)
}

/// Returns the keys of a table by its shown name, each as its columns: the primary key first, then what is unique and
/// never null.
pub fn keys(database: &Database, table: &str, cancel: &CancellationToken) -> Result<Vec<Vec<String>>> {
    let connection = database.with_access(Access::ReadOnly).connect(cancel)?;
    let failed = |e: rusqlite::Error| failed("read", database.path(), &e);
    let lists = |sql: &str| -> rusqlite::Result<Vec<String>> {
        connection.prepare(sql)?.query_map((), |row| row.get(0))?.collect()
    };
    let read = || -> rusqlite::Result<Vec<Vec<String>>> {
        let names = lists("select name from sqlite_schema where type = 'table'")?;
        let Some(name) = names.iter().find(|name| quoted(name) == table).map(|name| literal(name)) else {
            return Ok(Vec::new());
        };
        let primary = lists(&format!("select name from pragma_table_info({name}) where pk > 0 order by pk"))?;
        let never_null = lists(&format!("select name from pragma_table_info({name}) where \"notnull\" or pk > 0"))?;
        let unique = lists(&format!(
            "select name from pragma_index_list({name}) where \"unique\" and not partial and origin <> 'pk' order by name"
        ))?;
        let mut keys = vec![primary];
        for index in unique {
            let columns: rusqlite::Result<Vec<Option<String>>> = connection
                .prepare(&format!("select name from pragma_index_info({}) order by seqno", literal(&index)))?
                .query_map((), |row| row.get(0))?
                .collect();
            // An expression has no name.
            keys.extend(columns?.into_iter().collect::<Option<Vec<_>>>());
        }
        keys.retain(|key| !key.is_empty() && key.iter().all(|column| never_null.contains(column)));
        Ok(keys)
    };
    read().map_err(failed)
}
