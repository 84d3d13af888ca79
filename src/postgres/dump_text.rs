//! Reads pg_dump's text as a stream of statements and rows, and refuses every text that is cut, forged or not plain SQL.
//!
//! No table's data is ever held: rows pass in blocks of whole lines. The bytes of all items, one after the other, are the
//! bytes of the input. A statement and a row must fit into memory, as they must in pg_dump and in the server.

use std::io::{self, Read};

use memchr::{memchr, memchr_iter, memmem, memrchr};

use super::copy::CopyHead;
use super::lexer::{self, Lexed, Nesting, Token};
use super::toc::Entry;
use crate::backups::Section;
use crate::error::{Error, Kind, Result};

/// The longest statement. Large objects come in statements of 32 KiB; functions are shorter still.
const STATEMENT_LIMIT: usize = 256 << 20;
/// The longest row: more than the server takes in or gives out in one message.
const ROW_LIMIT: usize = if cfg!(test) { 8 << 20 } else { 1 << 30 };
/// What is read at once where nothing asks for more.
const BLOCK: usize = 1 << 20;
/// Rows are passed on from this size.
const ROWS_BLOCK: usize = 256 << 10;
/// The last words of a whole dump.
const COMPLETE: &[u8] = b"-- PostgreSQL database dump complete";

/// One item of a dump with the bytes it was read from.
#[derive(Debug)]
pub struct Item<'a> {
    /// The bytes, with the comments and white space before it.
    pub raw: &'a [u8],
    /// The section it belongs to.
    pub section: Section,
    /// What it is.
    pub event: Event<'a>,
}

/// What a dump consists of.
#[derive(Debug)]
pub enum Event<'a> {
    /// `\restrict key`, which keeps psql from running commands; we know none anyway.
    Restrict(&'a str),
    /// A statement with the entry that it belongs to; the settings at the start have none.
    Statement {
        /// The statement with its semicolon.
        text: &'a str,
        /// The entry.
        entry: Option<&'a Entry>,
    },
    /// The start of a table's rows.
    CopyStart {
        /// The table and its columns.
        head: &'a CopyHead,
        /// The statement with its semicolon.
        text: &'a str,
        /// The entry.
        entry: Option<&'a Entry>,
    },
    /// Whole rows in COPY's text format, each with its line end.
    CopyRows(&'a [u8]),
    /// The end of a table's rows.
    CopyEnd {
        /// How many there were.
        rows: u64,
    },
    /// `\unrestrict key`, with the key of the start.
    Unrestrict(&'a str),
    /// The dump is whole: trailer and key were there, and nothing came after them.
    Complete,
}

/// Reads a dump's text.
pub struct DumpReader<R> {
    input: R,
    buffer: Vec<u8>,
    /// The bytes of the buffer that were read and not passed on.
    start: usize,
    end: usize,
    /// No more bytes come.
    whole: bool,
    line: u64,
    entry: Option<Entry>,
    copy: Option<(CopyHead, u64)>,
    after_data: bool,
    escapes: bool,
    key: Option<String>,
    statements: u64,
    stage: Stage,
}

/// How far the dump is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Body,
    /// The trailer was there.
    Trailer,
    /// The key was there, too.
    Unrestricted,
    Done,
}

/// What a scan found: where it lies behind `start`.
enum Found {
    Statement { from: usize, to: usize },
    Command { from: usize },
    End,
}

impl<R: Read> DumpReader<R> {
    /// Starts reading.
    pub fn new(input: R) -> Self {
        Self {
            input,
            buffer: vec![0; BLOCK],
            start: 0,
            end: 0,
            whole: false,
            line: 1,
            entry: None,
            copy: None,
            after_data: false,
            escapes: false,
            key: None,
            statements: 0,
            stage: Stage::Body,
        }
    }

    /// Returns the next item, `None` after [`Event::Complete`].
    pub fn read(&mut self) -> Result<Option<Item<'_>>> {
        if self.stage == Stage::Done {
            return Ok(None);
        }
        if self.copy.is_some() {
            return self.rows().map(Some);
        }
        match self.scan()? {
            Found::Statement { from, to } => self.statement(from, to).map(Some),
            Found::Command { from } => self.command(from).map(Some),
            Found::End => self.complete().map(Some),
        }
    }

    /// Returns the line that is read next, counted from 1.
    pub fn line(&self) -> u64 {
        self.line
    }

    /// Returns whether the input has ended.
    pub fn ended(&self) -> bool {
        self.whole
    }

    fn unread(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Reads on. As much again as there is already, so that a long token is scanned a few times only.
    fn fill(&mut self) -> Result<()> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        let goal = self.end + self.end.max(1);
        if self.buffer.len() < self.end + BLOCK / 2 || self.buffer.len() < goal {
            self.buffer.resize((goal + BLOCK).max(self.buffer.len()), 0);
        }
        while self.end < goal && !self.whole {
            match self.input.read(&mut self.buffer[self.end..]) {
                Ok(0) => self.whole = true,
                Ok(n) => self.accept(n)?,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(broken_input(&e)),
            }
        }
        Ok(())
    }

    fn accept(&mut self, n: usize) -> Result<()> {
        let before = self.unread().len();
        self.end += n;
        match memchr(0, &self.unread()[before..]) {
            Some(at) => Err(self.refuse_at("it holds a NUL byte, which no text of PostgreSQL has", before + at)),
            None => Ok(()),
        }
    }

    /// Finds the next statement or psql command and reads the comments before it.
    fn scan(&mut self) -> Result<Found> {
        let mut at = 0;
        let mut from = None;
        let mut nesting = Nesting::default();
        loop {
            let lexed = lexer::next(self.unread(), at, self.whole, self.escapes)
                .map_err(|e| self.refuse(&format!("it ends inside {}", e.0)))?;
            let (token, to) = match lexed {
                Lexed::Token(token, to) => (token, to),
                Lexed::More => {
                    if self.unread().len() > STATEMENT_LIMIT {
                        return Err(self.refuse("a statement is longer than 256 MiB"));
                    }
                    self.fill()?;
                    continue;
                }
                Lexed::End if from.is_some() => return Err(self.refuse("it ends inside a statement")),
                Lexed::End => return Ok(Found::End),
            };
            match token {
                Token::Comment if from.is_none() => self.comment(at, to),
                Token::Backslash if from.is_none() => return Ok(Found::Command { from: at }),
                Token::Backslash => return Err(self.meta_command(at)),
                Token::Space | Token::Comment => {}
                _ => from = from.or(Some(at)),
            }
            let bytes = &self.buffer[self.start + at..self.start + to];
            if let (true, Some(from)) = (nesting.ends(token, bytes), from) {
                return Ok(Found::Statement { from, to });
            }
            at = to;
        }
    }

    /// Takes what a comment between statements says.
    fn comment(&mut self, from: usize, to: usize) {
        let bytes = &self.unread()[from..to];
        let ends_line = self.unread().get(to) == Some(&b'\n');
        // A longer comment that was cut may end with the same words; the trailer has a line of its own.
        if bytes == COMPLETE && ends_line && self.stage == Stage::Body {
            self.stage = Stage::Trailer;
        } else if let Some(entry) = std::str::from_utf8(bytes).ok().and_then(Entry::parse) {
            self.after_data |= entry.is_data();
            self.entry = Some(entry);
        }
    }

    fn statement(&mut self, from: usize, to: usize) -> Result<Item<'_>> {
        if self.stage != Stage::Body {
            return Err(self
                .refuse_at("there is a statement behind the trailer", from)
                .hint("is it two dumps in one file?"));
        }
        if self.statements == 0 && self.unread()[..to].starts_with(b"\xef\xbb\xbf") {
            return Err(self.refuse("it starts with a byte order mark"));
        }
        if std::str::from_utf8(&self.unread()[from..to]).is_err() {
            return Err(self
                .refuse_at("a statement is not UTF-8", from)
                .hint("dump it again with pg_dump --encoding=UTF8"));
        }
        self.statements += 1;
        if self.is_copy(from, to) {
            return self.copy_start(from, to);
        }
        self.note_setting(from, to);
        let section = self.section();
        let raw = self.pass(to);
        let event = Event::Statement { text: text(&self.buffer[raw.0 + from..raw.1]), entry: self.entry.as_ref() };
        Ok(Item { raw: &self.buffer[raw.0..raw.1], section, event })
    }

    fn section(&self) -> Section {
        self.entry.as_ref().map_or(Section::PreData, |entry| entry.section(self.after_data))
    }

    fn is_copy(&self, from: usize, to: usize) -> bool {
        let word = &self.unread()[from..to];
        word.len() > 4 && word[..4].eq_ignore_ascii_case(b"copy") && !word[4].is_ascii_alphanumeric() && word[4] != b'_'
    }

    /// `SET standard_conforming_strings` changes where strings end.
    fn note_setting(&mut self, from: usize, to: usize) {
        let text = text(&self.unread()[from..to]);
        let Some(value) = text.strip_prefix("SET standard_conforming_strings = ") else { return };
        self.escapes = value.trim_end_matches(';').trim().trim_matches('\'').eq_ignore_ascii_case("off");
    }

    fn copy_start(&mut self, from: usize, to: usize) -> Result<Item<'_>> {
        let statement = text(&self.unread()[from..to]);
        let Some(head) = CopyHead::parse(statement) else {
            return Err(self.refuse_at("there is a COPY that pg_dump does not write", from));
        };
        while self.unread().len() == to && !self.whole {
            self.fill()?;
        }
        // psql reads rows from the next line on; what else stands on this one, it takes as a statement later.
        match self.unread().get(to) {
            Some(b'\n') => {}
            Some(_) => return Err(self.refuse_at("there is more on the line of a COPY", from)),
            None => {
                return Err(self.refuse(&format!("it ends inside the rows of table {}, before row 1", head.table())));
            }
        }
        let section = Section::Data;
        self.after_data = true;
        let raw = self.pass(to + 1);
        let (head, _) = self.copy.insert((head, 0));
        let event =
            Event::CopyStart { head, text: text(&self.buffer[raw.0 + from..raw.1 - 1]), entry: self.entry.as_ref() };
        Ok(Item { raw: &self.buffer[raw.0..raw.1], section, event })
    }

    /// Passes on rows, or the end of them.
    fn rows(&mut self) -> Result<Item<'_>> {
        loop {
            let length = self.rows_ready()?;
            let bytes = self.unread();
            if length > 0 {
                let count = memchr_iter(b'\n', &bytes[..length]).count() as u64;
                if let Some((_, rows)) = &mut self.copy {
                    *rows += count;
                }
                let raw = self.pass(length);
                let raw = &self.buffer[raw.0..raw.1];
                return Ok(Item { raw, section: Section::Data, event: Event::CopyRows(raw) });
            }
            if bytes.starts_with(b"\\.\n") {
                let rows = self.copy.take().map_or(0, |(_, rows)| rows);
                let raw = self.pass(3);
                let raw = &self.buffer[raw.0..raw.1];
                return Ok(Item { raw, section: Section::Data, event: Event::CopyEnd { rows } });
            }
            if self.whole {
                return Err(self.cut_in_rows());
            }
            if bytes.len() > ROW_LIMIT {
                return Err(self.refuse("a row is longer than 1 GiB"));
            }
            self.fill()?;
        }
    }

    /// Returns how many of the bytes are whole rows.
    fn rows_ready(&mut self) -> Result<usize> {
        while self.unread().len() < ROWS_BLOCK && !self.whole {
            self.fill()?;
        }
        let bytes = self.unread();
        let lines = memrchr(b'\n', bytes).map_or(0, |i| i + 1);
        let Some(end) = end_of_rows(bytes) else { return Ok(lines) };
        match bytes.get(end + 2) {
            // The line that starts with `\.` is not whole yet.
            None if !self.whole => Ok(end),
            Some(b'\n') => Ok(end),
            None => Err(self.cut_in_rows()),
            // Rows never start like this: COPY writes a backslash as two. psql and the server would part ways here.
            Some(_) => Err(self.refuse_at("a row starts with \\. and goes on", end)),
        }
    }

    fn cut_in_rows(&self) -> Error {
        let (table, rows) = self.copy.as_ref().map(|(head, rows)| (head.table(), *rows)).unwrap_or_default();
        self.refuse(&format!("it ends inside the rows of table {table}, in row {}", rows + 1))
    }

    /// Reads a line that starts with a backslash: only the two that pg_dump writes, at their places.
    fn command(&mut self, from: usize) -> Result<Item<'_>> {
        while memchr(b'\n', &self.unread()[from..]).is_none() && !self.whole && self.unread().len() - from < 4096 {
            self.fill()?;
        }
        let bytes = &self.unread()[from..];
        let length = memchr(b'\n', bytes).map_or(bytes.len(), |i| i + 1);
        let line_start = from == 0 && self.statements == 0 || from > 0 && self.unread()[from - 1] == b'\n';
        let Some((open, key)) = restrict(&bytes[..length]).filter(|_| line_start) else {
            return Err(self.meta_command(from));
        };
        let key = key.to_owned();
        match open {
            true if self.statements == 0 && self.key.is_none() && self.stage == Stage::Body => self.key = Some(key),
            false if self.stage == Stage::Trailer => {
                if self.key.as_deref() != Some(key.as_str()) {
                    return Err(self.refuse_at("the keys of \\restrict and \\unrestrict differ", from));
                }
                self.stage = Stage::Unrestricted;
            }
            false if self.stage == Stage::Body && self.key.is_some() => {
                return Err(self.refuse_at("its last line is missing before \\unrestrict", from));
            }
            _ => return Err(self.meta_command(from)),
        }
        let section = if open { Section::PreData } else { Section::PostData };
        let raw = self.pass(from + length);
        let key = self.key.as_deref().unwrap_or_default();
        let event = if open { Event::Restrict(key) } else { Event::Unrestrict(key) };
        Ok(Item { raw: &self.buffer[raw.0..raw.1], section, event })
    }

    fn complete(&mut self) -> Result<Item<'_>> {
        match (self.stage, &self.key) {
            (Stage::Body, _) if self.statements == 0 && self.unread().is_empty() => {
                return Err(self.refuse("it is empty"));
            }
            (Stage::Body, _) => {
                return Err(self.refuse("its last line is missing: \"PostgreSQL database dump complete\""));
            }
            (Stage::Trailer, Some(_)) => return Err(self.refuse("it has \\restrict and no \\unrestrict")),
            _ => {}
        }
        self.stage = Stage::Done;
        let raw = self.pass(self.end - self.start);
        Ok(Item { raw: &self.buffer[raw.0..raw.1], section: Section::PostData, event: Event::Complete })
    }

    /// Counts the next `length` bytes as passed on and returns where they lie.
    fn pass(&mut self, length: usize) -> (usize, usize) {
        let raw = (self.start, self.start + length);
        self.line += memchr_iter(b'\n', &self.buffer[raw.0..raw.1]).count() as u64;
        self.start = raw.1;
        raw
    }

    fn meta_command(&self, at: usize) -> Error {
        let line = &self.unread()[at..];
        let line = &line[..memchr(b'\n', line).unwrap_or(line.len())];
        if self.statements == 0 && self.unread().starts_with(b"\xef\xbb\xbf") {
            return self.refuse("it starts with a byte order mark");
        }
        if line.ends_with(b"\r") {
            return self
                .refuse_at("its lines end as on Windows, with CR LF", at)
                .hint("it was copied as text: copy it again, as it is");
        }
        if restrict(line).is_some_and(|(open, _)| open) && self.stage == Stage::Unrestricted {
            return self.refuse_at("a second dump begins", at).hint("is it two dumps in one file?");
        }
        self.refuse_at("there is a psql command, and a dump has none but \\restrict", at)
            .hint("a dump made with --create holds \\connect: make it without; any other command is an attack")
    }

    fn refuse(&self, why: &str) -> Error {
        Error::new(Kind::Damaged, "the dump is damaged or not pg_dump's")
            .caused_by(format!("{why} (line {})", self.line))
    }

    fn refuse_at(&self, why: &str, at: usize) -> Error {
        let line = self.line + memchr_iter(b'\n', &self.unread()[..at]).count() as u64;
        Error::new(Kind::Damaged, "the dump is damaged or not pg_dump's").caused_by(format!("{why} (line {line})"))
    }
}

/// Finds the line that ends the rows, which starts with `\.`.
fn end_of_rows(bytes: &[u8]) -> Option<usize> {
    if bytes.starts_with(b"\\.") { Some(0) } else { memmem::find(bytes, b"\n\\.").map(|i| i + 1) }
}

/// Reads `\restrict key` and `\unrestrict key` with their line end; a key is letters and digits only, since psql runs what
/// stands in backticks.
fn restrict(line: &[u8]) -> Option<(bool, &str)> {
    let line = std::str::from_utf8(line).ok()?;
    let line = line.strip_suffix('\n').unwrap_or(line).strip_prefix('\\')?;
    let (open, key) = match line.strip_prefix("un") {
        Some(rest) => (false, rest.strip_prefix("restrict ")?),
        None => (true, line.strip_prefix("restrict ")?),
    };
    (!key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric())).then_some((open, key))
}

/// The bytes were checked when the statement was found.
fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

fn broken_input(error: &io::Error) -> Error {
    Error::carried(error).unwrap_or_else(|| Error::new(Kind::Io, "could not read the dump").because(error))
}

#[cfg(test)]
mod tests;
