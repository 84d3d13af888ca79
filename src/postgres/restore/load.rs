//! The second reading of a dump: its rows, by COPY in large blocks, several tables at a time where the file allows it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Cursor;
use std::ops::Range;
use std::pin::pin;
use std::sync::Mutex;

use futures_util::SinkExt;
use futures_util::future::try_join_all;
use memchr::memchr_iter;
use tokio::sync::mpsc;
use tokio_postgres::CopyInSink;

use super::checked::OTHER_BACKUP;
use super::definitions::{Queue, side_by_side};
use super::survey::{Rows, Unit};
use crate::backups::{Member, Section};
use crate::error::{Error, Kind, Result};
use crate::postgres::copy::CopyHead;
use crate::postgres::dump_file::{DumpFile, Sums, Text, changed};
use crate::postgres::dump_text::{DumpReader, Event, Item};
use crate::postgres::{Session, lexer};
use crate::progress::Progress;

/// Blocks of rows that wait for the server; one is 256 KiB to 1 MiB.
const QUEUE: usize = 2;
/// Statements between the rows travel together up to this size.
const BATCH: usize = 256 << 10;
/// How many rows of each table were loaded.
pub(super) type Loaded = BTreeMap<String, u64>;

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
    /// Rows are frozen as they come, so that nothing writes to them again later. That takes a fifth longer, which a server
    /// that is thrown away never gets back.
    pub freeze: bool,
}

impl Known<'_> {
    /// Returns whether a table's rows are to be loaded.
    pub(super) fn wants(&self, table: &str) -> bool {
        self.wanted.is_none_or(|wanted| wanted.contains(table))
    }
}

/// Loads every row of a file: member by member on all sessions where there are members, else in one stream. A session that
/// finds no more rows makes what the tables get once they are loaded.
pub(super) async fn all(
    file: &DumpFile,
    known: &Known<'_>,
    builds: Vec<&Unit>,
    sessions: &[Session],
) -> Result<Loaded> {
    if file.members().is_empty() {
        let Some(session) = sessions.first() else { return Ok(Loaded::new()) };
        let (text, sums) = file.text()?;
        let loaded = whole(text, known, session, file.progress()).await?;
        if sums.whole() != known.digest {
            return Err(changed(file.path()));
        }
        side_by_side(builds, known.tables, sessions).await?;
        return Ok(loaded);
    }
    let mut jobs = jobs(file.members());
    jobs.retain(|job| job.table.as_deref().is_none_or(|table| known.wants(table)));
    jobs.sort_by_key(|job| job.bytes); // taken from the end: a large table begun last would end alone
    let mut unloaded = BTreeMap::new();
    jobs.iter().filter_map(|job| job.table.clone()).for_each(|table| *unloaded.entry(table).or_default() += 1);
    let (jobs, queue) = (Mutex::new(jobs), Queue::new(builds, known.tables, unloaded));
    let workers = sessions.iter().map(|session| async {
        let loaded = work(file, known, session, &jobs, &queue).await?;
        queue.serve(session).await.map(|()| loaded)
    });
    let mut all = Loaded::new();
    for (table, rows) in try_join_all(workers).await?.into_iter().flatten() {
        *all.entry(table).or_default() += rows; // a table may lie in several places
    }
    Ok(all)
}

/// Loads every row of a whole dump's text.
pub(super) async fn whole(text: Text, known: &Known<'_>, session: &Session, progress: &Progress) -> Result<Loaded> {
    let mut loaded = Loaded::new();
    let from = From { text, line: Some(1), only: None };
    stream(from, known, session, progress, &mut loaded).await.map(|()| loaded)
}

/// A text with rows, and what is known of it.
struct From {
    text: Text,
    /// The line of the dump that is its first.
    line: Option<u64>,
    /// It holds the rows of this table and nothing else.
    only: Option<String>,
}

async fn stream(
    from: From,
    known: &Known<'_>,
    session: &Session,
    progress: &Progress,
    loaded: &mut Loaded,
) -> Result<()> {
    let progress = progress.clone();
    let (send, receive) = mpsc::channel(QUEUE);
    // Ends when the channel closes, which it does when this future is dropped.
    let reading = tokio::task::spawn_blocking(move || read(from, &send, &progress));
    feed(receive, known, session, loaded).await?;
    reading.await.map_err(|e| Error::new(Kind::Bug, "reading a dump panicked").because(&e))
}

/// Members that belong together: all rows of one table, or the statements between two tables.
struct Job {
    members: Range<usize>,
    table: Option<String>,
    bytes: u64,
    /// The line of the dump that is its first, where the members tell.
    line: Option<u64>,
}

fn jobs(members: &[Member]) -> Vec<Job> {
    let mut jobs: Vec<Job> = Vec::new();
    let mut next = Some(1);
    for (at, member) in members.iter().enumerate() {
        let line = next;
        next = line.zip(member.lines).map(|(line, more): (u64, u64)| line.saturating_add(more));
        if member.section != Section::Data {
            continue;
        }
        match jobs.last_mut() {
            Some(job) if job.table == member.table && job.members.end == at => {
                job.members.end += 1;
                job.bytes += member.raw_length;
            }
            _ => jobs.push(Job { members: at..at + 1, table: member.table.clone(), bytes: member.raw_length, line }),
        }
    }
    jobs
}

async fn work(
    file: &DumpFile,
    known: &Known<'_>,
    session: &Session,
    jobs: &Mutex<Vec<Job>>,
    queue: &Queue<'_>,
) -> Result<Loaded> {
    let mut loaded = Loaded::new();
    loop {
        let job = jobs.lock().unwrap_or_else(std::sync::PoisonError::into_inner).pop();
        let Some(job) = job else { return Ok(loaded) };
        let (text, sums) = file.part(job.members.clone())?;
        let from = From { text, line: job.line, only: job.table.clone() };
        stream(from, known, session, file.progress(), &mut loaded).await?;
        check(file, &job, known, &sums)?;
        if let Some(table) = &job.table {
            queue.loaded(table);
        }
    }
}

/// The members must be those that the first reading saw.
fn check(file: &DumpFile, job: &Job, known: &Known<'_>, sums: &Sums) -> Result<()> {
    let same = known.digests.get(job.members.clone()).is_some_and(|expected| expected == sums.parts());
    if same { Ok(()) } else { Err(changed(file.path())) }
}

/// What travels from the thread that reads to the session.
enum Piece {
    Start { table: String, quoted: String, copy: String, line: Option<u64> },
    Rows(Vec<u8>),
    End { rows: u64 },
    Statement { text: String, shown: String },
}

/// Reads the data of a text and sends it, until it ends or nobody listens any more.
fn read(from: From, send: &mpsc::Sender<Result<Piece>>, progress: &Progress) {
    let From { text, line: first, only } = from;
    let mut reader = DumpReader::new(text);
    loop {
        let line = first.map(|first| first.saturating_add(reader.line() - 1));
        let piece = match reader.read() {
            Ok(None) => return,
            Ok(Some(item)) => match piece(&item, line, only.as_deref(), progress) {
                Ok(None) => continue,
                Ok(Some(piece)) => Ok(piece),
                Err(error) => Err(error),
            },
            Err(error) => Err(error),
        };
        let failed = piece.is_err();
        if send.blocking_send(piece).is_err() || failed {
            return;
        }
    }
}

/// Returns what is to be loaded of an item that begins in a line.
fn piece(item: &Item<'_>, line: Option<u64>, only: Option<&str>, progress: &Progress) -> Result<Option<Piece>> {
    Ok(Some(match &item.event {
        Event::CopyStart { head, text, .. } => {
            let table = head.table();
            if let Some(only) = only.filter(|only| *only != table) {
                return Err(mislabelled(only, &format!("rows of {table}")));
            }
            let line = line.map(|line| line.saturating_add(memchr_iter(b'\n', item.raw).count() as u64 - 1));
            Piece::Start { table, quoted: quoted(head), copy: (*text).to_owned(), line }
        }
        Event::CopyRows(rows) => {
            progress.keep_pace(rows.len() as u64); // they go to the server
            Piece::Rows(rows.to_vec())
        }
        Event::CopyEnd { rows } => Piece::End { rows: *rows },
        Event::Statement { text, entry } => {
            let shown = entry.map_or("a statement".to_owned(), |e| format!("{} {}", e.kind, e.name));
            if let Some(only) = only {
                return Err(mislabelled(only, &shown));
            }
            // The definitions were read before. Of their settings the data knows none.
            if item.section != Section::Data || text.starts_with("SET default_") {
                return Ok(None);
            }
            Piece::Statement { text: (*text).to_owned(), shown }
        }
        Event::Restrict(_) | Event::Unrestrict(_) | Event::Complete => return Ok(None),
    }))
}

/// A definition that hides among the rows of a table would be lost without a word.
fn mislabelled(table: &str, found: &str) -> Error {
    Error::new(Kind::Damaged, format!("the manifest says of a member that it holds rows of {table} and nothing else"))
        .on(table)
        .caused_by(format!("it holds {found}"))
        .hint(OTHER_BACKUP)
}

/// Returns the table's name for a statement of ours: the shown one leaves keywords without quotes.
fn quoted(head: &CopyHead) -> String {
    let schema = head.schema.as_deref().map(|schema| lexer::quoted(schema) + ".");
    schema.unwrap_or_default() + lexer::quoted(&head.name).as_str()
}

async fn feed(
    mut pieces: mpsc::Receiver<Result<Piece>>,
    known: &Known<'_>,
    session: &Session,
    loaded: &mut Loaded,
) -> Result<()> {
    let mut batch = Batch::default();
    while let Some(piece) = pieces.recv().await {
        match piece? {
            Piece::Start { table, quoted, copy, line } => {
                batch.run(session).await?;
                if known.wants(&table) {
                    let again = loaded.contains_key(&table);
                    let one = Table { known, session, name: &table, line, again };
                    *loaded.entry(table.clone()).or_default() += one.load(&quoted, &copy, &mut pieces).await?;
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
    /// The line of the dump before its first row.
    line: Option<u64>,
    /// It has rows already.
    again: bool,
}

impl Table<'_> {
    async fn load(&self, quoted: &str, copy: &str, pieces: &mut mpsc::Receiver<Result<Piece>>) -> Result<u64> {
        let client = self.session.client();
        let blocks = self.known.tables.get(self.name).map_or(0, |rows| rows.blocks);
        // What one transaction empties and fills is nobody's business before its end: it needs no WAL.
        let fresh = self.known.plain.contains(self.name) && blocks == 1 && !self.again;
        let begin = if fresh { format!("BEGIN; TRUNCATE ONLY {quoted};") } else { "BEGIN;".to_owned() };
        let freeze = fresh && self.known.freeze;
        let copy = if freeze { format!("{} WITH (FREEZE)", copy.trim_end_matches(';')) } else { copy.to_owned() };
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

    /// Names the table and the row. The server tells the row in its context, behind which it repeats the values.
    fn refused(&self, error: &tokio_postgres::Error) -> Error {
        let place = error.as_db_error().and_then(|db| db.where_()).and_then(row);
        let what = place.map_or("the rows".to_owned(), |row| format!("row {row}"));
        let line =
            self.line.map(|line| format!(" (line {} of the dump)", line.saturating_add(place.unwrap_or_default())));
        let sentence = format!("could not load {what} of table {}{}", self.name, line.unwrap_or_default());
        self.session.error(sentence, error)
    }
}

struct Count {
    read: u64,
    stored: u64,
}

impl Count {
    fn agree(&self, table: &str) -> Result<u64> {
        if self.read == self.stored {
            return Ok(self.stored);
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
        Member { offset, length: 1, raw_length: 10, section, table: table.map(str::to_owned), lines: Some(3) }
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
        let jobs: Vec<_> =
            jobs(&members).into_iter().map(|job| (job.members, job.table, job.bytes, job.line)).collect();
        let (a, line) = (|| Some("a".into()), Some);
        assert_eq!(jobs, [(1..3, a(), 20, line(4)), (3..4, None, 10, line(10)), (4..5, a(), 10, line(13))]);
    }

    #[test]
    fn the_row_is_found_in_the_servers_context() {
        assert_eq!(row("COPY b, line 700, column a: \"x\""), Some(700));
        assert_eq!(row("COPY \"a, line\", line 3: \"1\t2\""), Some(3));
        assert_eq!(row("SQL statement \"select 1\""), None);
    }
}
