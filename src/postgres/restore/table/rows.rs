//! The rows of one table: from the dump into the server and, as the proof, out of the server again.

use std::io::Cursor;
use std::pin::pin;
use std::sync::Arc;

use futures_util::{SinkExt, TryStreamExt};
use tokio::sync::mpsc;

use crate::backups::{Format, Section};
use crate::cleanup::Ledger;
use crate::compare::RowSum;
use crate::docker::Container;
use crate::error::{Error, Kind, Result};
use crate::postgres::Session;
use crate::postgres::archive::Unpacking;
use crate::postgres::dump_file::{self, Text};
use crate::postgres::dump_text::{DumpReader, Event};
use crate::postgres::restore::checked::{Checked, other_count};

/// Blocks of rows that wait for the server.
const QUEUE: usize = 2;

/// How many rows there were, and the sum of their digests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) rows: u64,
    pub(super) sum: RowSum,
}

enum Piece {
    /// The COPY that the rows belong to.
    Start(String),
    Rows(Vec<u8>),
    End,
}

/// Loads the rows of a table into the session's transaction. Returns what was loaded, and the list of its columns.
pub(super) async fn load(
    checked: &Checked,
    table: &str,
    session: &Session,
    container: Option<&Container>,
    ledger: &Arc<Ledger>,
) -> Result<(Content, String)> {
    if checked.format == Format::Custom {
        let (unpacking, text) = Unpacking::start(&checked.file, container, ledger).await?;
        let (loaded, digest) = tokio::join!(feed(text, table, session), unpacking.finish());
        let loaded = loaded?;
        return if digest? == checked.digest { Ok(loaded) } else { Err(dump_file::changed(checked.file.path())) };
    }
    let members = checked.file.members();
    if members.is_empty() {
        let (text, sums) = checked.file.text()?;
        let loaded = feed(text, table, session).await?;
        return if sums.whole() == checked.digest { Ok(loaded) } else { Err(dump_file::changed(checked.file.path())) };
    }
    let own = |at: &usize| members[*at].section == Section::Data && members[*at].table.as_deref() == Some(table);
    let first = (0..members.len()).find(own).ok_or_else(|| without_rows(table))?;
    let range = first..(first..members.len()).take_while(own).last().unwrap_or(first) + 1;
    if (range.end..members.len()).any(|at| own(&at)) {
        return Err(Error::new(Kind::Damaged, format!("the rows of {table} lie in two places of the dump")).on(table));
    }
    let (text, sums) = checked.file.part(range.clone())?;
    let loaded = feed(text, table, session).await?;
    if checked.digests.get(range).is_none_or(|expected| expected != sums.parts()) {
        return Err(dump_file::changed(checked.file.path()));
    }
    let told = checked.survey.tables.get(table).map_or(0, |rows| rows.count);
    if loaded.0.rows == told { Ok(loaded) } else { Err(other_count(&checked.file, table, loaded.0.rows, told)) }
}

async fn feed(text: Text, table: &str, session: &Session) -> Result<(Content, String)> {
    let (send, mut pieces) = mpsc::channel(QUEUE);
    let wanted = table.to_owned();
    // Ends when the channel closes, which it does when this future is dropped.
    let reading = tokio::task::spawn_blocking(move || read(text, &wanted, &send));
    let (mut content, mut columns) = (Content::default(), None);
    while let Some(piece) = pieces.recv().await {
        if let Piece::Start(copy) = piece? {
            columns = Some(copy_columns(&copy));
            content.rows += one(&copy, &mut pieces, table, session, &mut content.sum).await?;
        }
    }
    reading.await.map_err(|e| Error::new(Kind::Bug, "reading a dump panicked").because(&e))?;
    Ok((content, columns.ok_or_else(|| without_rows(table))?))
}

/// A table without rows has an empty COPY in a dump. Where there is none, nothing is known about its rows.
fn without_rows(table: &str) -> Error {
    Error::new(Kind::Refused, format!("the dump does not hold the rows of {table} as COPY")).on(table).hint(
        "a dump of definitions only, without this table's rows, or with rows as INSERT brings no table back; take another one",
    )
}

/// Loads one block of rows.
async fn one(
    copy: &str,
    pieces: &mut mpsc::Receiver<Result<Piece>>,
    table: &str,
    session: &Session,
    sum: &mut RowSum,
) -> Result<u64> {
    let refused = |e: &tokio_postgres::Error| session.error(format!("could not load the rows of table {table}"), e);
    let sink = session.client().copy_in::<_, Cursor<Vec<u8>>>(copy).await.map_err(|e| refused(&e))?;
    let mut sink = pin!(sink);
    while let Some(piece) = pieces.recv().await {
        match piece? {
            Piece::Rows(rows) => {
                rows.split_inclusive(|b| *b == b'\n').for_each(|row| sum.add_row(line(row)));
                // The server's reason is only told at the end.
                if sink.send(Cursor::new(rows)).await.is_err() {
                    break;
                }
            }
            Piece::End => return sink.as_mut().finish().await.map_err(|e| refused(&e)),
            Piece::Start(_) => break,
        }
    }
    match sink.finish().await {
        Err(e) => Err(refused(&e)),
        Ok(_) => Err(Error::new(Kind::Bug, "the dump's reader ended inside a table")),
    }
}

fn read(text: Text, table: &str, send: &mpsc::Sender<Result<Piece>>) {
    let mut reader = DumpReader::new(text);
    let mut ours = false;
    loop {
        let piece = match reader.read() {
            Ok(None) => return,
            Ok(Some(item)) => match item.event {
                Event::CopyStart { head, text, .. } => {
                    ours = head.table() == table;
                    Ok(Piece::Start(text.to_owned()))
                }
                Event::CopyRows(rows) if ours => Ok(Piece::Rows(rows.to_vec())),
                Event::CopyEnd { .. } if ours => Ok(Piece::End),
                _ => continue,
            },
            Err(error) => Err(error),
        };
        if !ours && piece.is_ok() {
            continue;
        }
        let failed = piece.is_err();
        if send.blocking_send(piece).is_err() || failed {
            return;
        }
        ours &= !failed;
    }
}

/// Returns `(a, b)` of `COPY t (a, b) FROM stdin;`, also where a name holds a parenthesis.
fn copy_columns(copy: &str) -> String {
    let end = copy.rfind(" FROM stdin").unwrap_or(copy.len());
    let head = copy[..end].trim_end();
    let mut quoted = false;
    let open = head.char_indices().find(|(_, c)| {
        quoted ^= *c == '"';
        *c == '(' && !quoted
    });
    open.map_or(String::new(), |(at, _)| head[at..].to_owned())
}

/// Reads a table's rows as the dump has them.
pub(super) async fn stored(session: &Session, quoted: &str, columns: &str) -> Result<Content> {
    let failed = |e: &tokio_postgres::Error| session.error("could not read the rows back", e);
    let rows = session.client().copy_out(&format!("COPY {quoted} {columns} TO STDOUT")).await;
    let mut rows = pin!(rows.map_err(|e| failed(&e))?);
    let mut content = Content::default();
    // A message is one row.
    while let Some(row) = rows.try_next().await.map_err(|e| failed(&e))? {
        content.rows += 1;
        content.sum.add_row(line(&row));
    }
    Ok(content)
}

/// Returns a row without its line end.
fn line(row: &[u8]) -> &[u8] {
    row.strip_suffix(b"\n").unwrap_or(row)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_columns_are_found_behind_a_name_with_parentheses() {
        assert_eq!(copy_columns("COPY app.t (a, \"b c\") FROM stdin;"), "(a, \"b c\")");
        assert_eq!(copy_columns("COPY \"a (b\".\"t) \" (x) FROM stdin;"), "(x)");
        assert_eq!(copy_columns("COPY app.none  FROM stdin;"), "");
    }
}
