//! The second reading of a dump: its rows, by COPY in large blocks, several tables at a time where the file allows it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Cursor, Read};
use std::ops::Range;
use std::pin::pin;
use std::sync::Mutex;

use futures_util::SinkExt;
use futures_util::future::try_join_all;
use tokio::sync::mpsc;
use tokio_postgres::CopyInSink;

use super::survey::Rows;
use crate::backups::{Member, Section};
use crate::error::{Error, Kind, Result};
use crate::postgres::copy::CopyHead;
use crate::postgres::dump_file::{DumpFile, Sums, Text, changed};
use crate::postgres::dump_text::{DumpReader, Event};
use crate::postgres::{Session, lexer};
use crate::progress::Progress;

/// Blocks of rows that wait for the server; one is 256 KiB to 1 MiB.
const QUEUE: usize = 2;
/// Statements between the rows travel together up to this size.
const BATCH: usize = 256 << 10;
/// Makes a part of a dump a whole one for the reader.
pub(super) const TRAILER: &[u8] = b"\n--\n-- PostgreSQL database dump complete\n--\n\n";

/// What is known about the data from the first reading and from the new database.
pub(super) struct Known<'a> {
    /// The tables with rows.
    pub tables: &'a BTreeMap<String, Rows>,
    /// The plain tables of the new database: those can be emptied and filled in one transaction, which needs no WAL.
    pub plain: BTreeSet<String>,
    /// The tables to load; all where there is none.
    pub wanted: Option<&'a BTreeSet<String>>,
    /// The digests of the members.
    pub digests: &'a [[u8; 32]],
    /// The digest of the whole file.
    pub digest: &'a str,
}

impl Known<'_> {
    /// Returns whether a table's rows are to be loaded.
    pub(super) fn wants(&self, table: &str) -> bool {
        self.wanted.is_none_or(|wanted| wanted.contains(table))
    }
}

/// Loads every row of a file: member by member on all sessions where there are members, else in one stream.
pub(super) async fn all(file: &DumpFile, known: &Known<'_>, sessions: &[Session]) -> Result<()> {
    if file.members().is_empty() {
        let Some(session) = sessions.first() else { return Ok(()) };
        let (text, sums) = file.text()?;
        stream(text, known, session, file.progress()).await?;
        return if sums.whole() == known.digest { Ok(()) } else { Err(changed(file.path())) };
    }
    let mut jobs = jobs(file.members());
    jobs.retain(|job| job.table.as_deref().is_none_or(|table| known.wants(table)));
    jobs.sort_by_key(|job| job.bytes); // taken from the end: a large table begun last would end alone
    let jobs = Mutex::new(jobs);
    let workers = sessions.iter().map(|session| work(file, known, session, &jobs));
    try_join_all(workers).await.map(drop)
}

/// Loads every row of one text.
pub(super) async fn stream(text: Text, known: &Known<'_>, session: &Session, progress: &Progress) -> Result<()> {
    let progress = progress.clone();
    let (send, receive) = mpsc::channel(QUEUE);
    // Ends when the channel closes, which it does when this future is dropped.
    let reading = tokio::task::spawn_blocking(move || read(text, &send, &progress));
    feed(receive, known, session).await?;
    reading.await.map_err(|e| Error::new(Kind::Bug, "reading a dump panicked").because(&e))
}

/// Members that belong together: all rows of one table, or the statements between two tables.
struct Job {
    members: Range<usize>,
    table: Option<String>,
    bytes: u64,
}

fn jobs(members: &[Member]) -> Vec<Job> {
    let mut jobs: Vec<Job> = Vec::new();
    for (at, member) in members.iter().enumerate().filter(|(_, member)| member.section == Section::Data) {
        match jobs.last_mut() {
            Some(job) if job.table == member.table && job.members.end == at => {
                job.members.end += 1;
                job.bytes += member.raw_length;
            }
            _ => jobs.push(Job { members: at..at + 1, table: member.table.clone(), bytes: member.raw_length }),
        }
    }
    jobs
}

async fn work(file: &DumpFile, known: &Known<'_>, session: &Session, jobs: &Mutex<Vec<Job>>) -> Result<()> {
    loop {
        let job = jobs.lock().unwrap_or_else(std::sync::PoisonError::into_inner).pop();
        let Some(job) = job else { return Ok(()) };
        let (text, sums) = file.part(job.members.clone())?;
        stream(Box::new(text.chain(TRAILER)), known, session, file.progress()).await?;
        check(file, &job, known, &sums)?;
    }
}

/// The members must be those that the first reading saw.
fn check(file: &DumpFile, job: &Job, known: &Known<'_>, sums: &Sums) -> Result<()> {
    let same = known.digests.get(job.members.clone()).is_some_and(|expected| expected == sums.parts());
    if same { Ok(()) } else { Err(changed(file.path())) }
}

/// What travels from the thread that reads to the session.
enum Piece {
    Start { table: String, quoted: String, copy: String },
    Rows(Vec<u8>),
    End { rows: u64 },
    Statement { text: String, shown: String },
}

/// Reads the data of a text and sends it, until it ends or nobody listens any more.
fn read(text: Text, send: &mpsc::Sender<Result<Piece>>, progress: &Progress) {
    let mut reader = DumpReader::new(text);
    loop {
        let piece = match reader.read() {
            Ok(None) => return,
            Ok(Some(item)) if item.section != Section::Data => continue,
            Ok(Some(item)) => match item.event {
                Event::CopyStart { head, text, .. } => {
                    Ok(Piece::Start { table: head.table(), quoted: quoted(head), copy: text.to_owned() })
                }
                Event::CopyRows(rows) => {
                    progress.keep_pace(rows.len() as u64); // they go to the server
                    Ok(Piece::Rows(rows.to_vec()))
                }
                Event::CopyEnd { rows } => Ok(Piece::End { rows }),
                // Settings of the definitions; data knows none.
                Event::Statement { text, .. } if text.starts_with("SET default_") => continue,
                Event::Statement { text, entry } => {
                    let shown = entry.map_or("a statement".to_owned(), |e| format!("{} {}", e.kind, e.name));
                    Ok(Piece::Statement { text: text.to_owned(), shown })
                }
                Event::Restrict(_) | Event::Unrestrict(_) | Event::Complete => continue,
            },
            Err(error) => Err(error),
        };
        let failed = piece.is_err();
        if send.blocking_send(piece).is_err() || failed {
            return;
        }
    }
}

/// Returns the table's name for a statement of ours: the shown one leaves keywords without quotes.
fn quoted(head: &CopyHead) -> String {
    let schema = head.schema.as_deref().map(|schema| lexer::quoted(schema) + ".");
    schema.unwrap_or_default() + lexer::quoted(&head.name).as_str()
}

async fn feed(mut pieces: mpsc::Receiver<Result<Piece>>, known: &Known<'_>, session: &Session) -> Result<()> {
    let mut batch = Batch::default();
    while let Some(piece) = pieces.recv().await {
        match piece? {
            Piece::Start { table, quoted, copy } => {
                batch.run(session).await?;
                if known.wants(&table) {
                    Table { known, session, name: &table }.load(&quoted, &copy, &mut pieces).await?;
                } else {
                    skip(&mut pieces).await?;
                }
            }
            Piece::Statement { text, shown } => batch.add(&text, shown, session).await?,
            Piece::Rows(_) | Piece::End { .. } => {
                return Err(Error::new(Kind::Bug, "the dump's reader gave rows that belong to no table"));
            }
        }
    }
    batch.run(session).await
}

async fn skip(pieces: &mut mpsc::Receiver<Result<Piece>>) -> Result<()> {
    while let Some(piece) = pieces.recv().await {
        if let Piece::End { .. } = piece? {
            return Ok(());
        }
    }
    Err(cut())
}

fn cut() -> Error {
    Error::new(Kind::Bug, "the dump's reader ended inside a table")
}

/// Statements on their way to the server.
#[derive(Default)]
struct Batch {
    text: String,
    first: String,
}

impl Batch {
    async fn add(&mut self, text: &str, shown: String, session: &Session) -> Result<()> {
        if self.text.is_empty() {
            self.first = shown;
        }
        self.text.push_str(text);
        self.text.push('\n');
        if self.text.len() >= BATCH { self.run(session).await } else { Ok(()) }
    }

    async fn run(&mut self, session: &Session) -> Result<()> {
        let text = std::mem::take(&mut self.text);
        let done = session.client().batch_execute(&text).await;
        done.map_err(|e| session.error(format!("could not restore {} or what follows it", self.first), &e))
    }
}

/// One table in the course of being filled.
struct Table<'a> {
    known: &'a Known<'a>,
    session: &'a Session,
    name: &'a str,
}

impl Table<'_> {
    async fn load(&self, quoted: &str, copy: &str, pieces: &mut mpsc::Receiver<Result<Piece>>) -> Result<()> {
        let client = self.session.client();
        // What one transaction empties and fills is nobody's business before its end: it needs no WAL, and the rows are
        // frozen as they come, so that nothing writes to them again when they are first read.
        let fresh = self.known.plain.contains(self.name) && self.rows().blocks == 1;
        let (begin, copy) = if fresh {
            let truncate = format!("BEGIN; TRUNCATE ONLY {quoted};");
            (truncate, format!("{} WITH (FREEZE)", copy.trim_end_matches(';')))
        } else {
            ("BEGIN;".to_owned(), copy.to_owned())
        };
        client.batch_execute(&begin).await.map_err(|e| self.refused(&e))?;
        let sink = client.copy_in(&copy).await.map_err(|e| self.refused(&e))?;
        let rows = self.send(sink, pieces).await?;
        client.batch_execute("COMMIT").await.map_err(|e| self.refused(&e))?;
        rows.agree(self.name)
    }

    async fn send(
        &self,
        sink: CopyInSink<Cursor<Vec<u8>>>,
        pieces: &mut mpsc::Receiver<Result<Piece>>,
    ) -> Result<Count> {
        let mut sink = pin!(sink);
        while let Some(piece) = pieces.recv().await {
            match piece? {
                Piece::Rows(rows) => {
                    // The server's reason is only told at the end.
                    if sink.send(Cursor::new(rows)).await.is_err() {
                        break;
                    }
                }
                Piece::End { rows: read } => {
                    let stored = sink.as_mut().finish().await.map_err(|e| self.refused(&e))?;
                    return Ok(Count { read, stored });
                }
                Piece::Start { .. } | Piece::Statement { .. } => return Err(cut()),
            }
        }
        match sink.finish().await {
            Err(e) => Err(self.refused(&e)),
            Ok(_) => Err(cut()),
        }
    }

    fn rows(&self) -> Rows {
        self.known.tables.get(self.name).cloned().unwrap_or_default()
    }

    /// Names the table and the row. The server tells the row in its context, behind which it repeats the values.
    fn refused(&self, error: &tokio_postgres::Error) -> Error {
        let place = error.as_db_error().and_then(|db| db.where_()).and_then(row);
        let line = self.rows().line;
        let sentence = match place {
            Some(row) => {
                format!("could not load row {row} of table {} (line {} of the dump)", self.name, line + row)
            }
            None => format!("could not load the rows of table {} (line {line} of the dump)", self.name),
        };
        self.session.error(sentence, error)
    }
}

struct Count {
    read: u64,
    stored: u64,
}

impl Count {
    fn agree(&self, table: &str) -> Result<()> {
        if self.read == self.stored {
            return Ok(());
        }
        let Self { read, stored } = self;
        Err(Error::new(Kind::Database, format!("table {table} took {stored} of {read} rows")).on(table))
    }
}

/// Reads the row's number in `COPY customers, line 12, column id: "x"`.
fn row(context: &str) -> Option<u64> {
    let line = context.lines().find(|line| line.starts_with("COPY "))?;
    let after = &line[line.find(", line ")? + ", line ".len()..];
    after.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(offset: u64, section: Section, table: Option<&str>) -> Member {
        Member { offset, length: 1, raw_length: 10, section, table: table.map(str::to_owned) }
    }

    #[test]
    fn members_of_one_table_are_one_job() {
        let members = [
            member(0, Section::PreData, None),
            member(1, Section::Data, Some("a")),
            member(2, Section::Data, Some("a")),
            member(3, Section::Data, None),
            member(4, Section::Data, Some("a")),
            member(5, Section::PostData, None),
        ];
        let jobs: Vec<_> = jobs(&members).into_iter().map(|job| (job.members, job.table, job.bytes)).collect();
        assert_eq!(jobs, [(1..3, Some("a".into()), 20), (3..4, None, 10), (4..5, Some("a".into()), 10)]);
    }

    #[test]
    fn the_row_is_found_in_the_servers_context() {
        assert_eq!(row("COPY b, line 700, column a: \"x\""), Some(700));
        assert_eq!(row("COPY \"a, line\", line 3: \"1\t2\""), Some(3));
        assert_eq!(row("SQL statement \"select 1\""), None);
    }
}
