//! What a dump holds besides rows: its definitions, and how many rows each table has.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use memchr::memchr_iter;

use crate::backups::Section;
use crate::compare::{Engine, Fingerprint};
use crate::error::Result;
use crate::postgres::copy::full_name;
use crate::postgres::dump_file::{Lines, Text};
use crate::postgres::dump_text::{DumpReader, Event, Item};
use crate::postgres::lexer::{self, Token};
use crate::postgres::structure::Structure;
use crate::postgres::toc::Entry;

/// The settings that statements depend on without naming them.
const STATE: [&str; 2] = ["SET default_tablespace", "SET default_table_access_method"];

/// What a dump holds, without its rows.
#[derive(Default)]
pub(super) struct Survey {
    /// The settings at the start, for every session.
    pub preamble: Vec<String>,
    /// The definitions before the data, in order.
    pub before: Vec<Unit>,
    /// The definitions after the data, in order.
    pub after: Vec<Unit>,
    /// The states of the sequences.
    pub sequences: Vec<String>,
    /// The tables with rows, by name.
    pub tables: BTreeMap<String, Rows>,
    /// The extensions that it makes.
    pub extensions: BTreeSet<String>,
    /// The schemas that its objects are in.
    pub schemas: BTreeSet<String>,
    /// The roles that it names.
    pub roles: BTreeSet<String>,
    /// The tablespaces that it names.
    pub tablespaces: BTreeSet<String>,
    /// The version of the server that it came from.
    pub dumped_from: Option<String>,
}

/// The rows of one table.
#[derive(Default, Clone)]
pub(super) struct Rows {
    /// How many.
    pub count: u64,
    /// How many bytes.
    pub bytes: u64,
    /// In how many blocks they stand; partitions that are loaded through their root have one each.
    pub blocks: u32,
}

/// The statements of one entry of the dump.
pub(super) struct Unit {
    /// The kind of entry; empty for statements that belong to none.
    pub kind: String,
    /// The kind and the name, for people.
    pub shown: String,
    /// The line of the dump.
    pub line: u64,
    /// The statements in order.
    pub statements: Vec<String>,
    /// The settings to make first.
    pub state: Arc<str>,
}

impl Survey {
    /// Reads a text to its end: a dump, or its definitions, whose lines are others.
    pub(super) fn read(text: Text, lines: &Lines) -> Result<Self> {
        let mut reader = DumpReader::new(text);
        let mut survey = Self::default();
        let mut state = State::default();
        // The one who knows which roles a statement names; of what else it collects we need nothing.
        let mut structure = Structure::new(Fingerprint::new(Engine::Postgres));
        loop {
            let line = lines.of_dump(reader.line());
            let Some(item) = reader.read()? else { break };
            if let Event::Statement { text, entry } = &item.event {
                structure.statement(text, *entry);
            }
            survey.take(&item, line, &mut state);
        }
        survey.roles = structure.finish().1;
        Ok(survey)
    }

    fn take(&mut self, item: &Item<'_>, line: u64, state: &mut State) {
        match &item.event {
            Event::Statement { text, entry } => {
                self.note_origin(item.raw);
                let line = line + lines_before(item.raw, text);
                self.statement(text, *entry, item.section, line, state);
            }
            Event::CopyStart { head, .. } => {
                state.table = head.table();
                let rows = self.tables.entry(state.table.clone()).or_default();
                rows.blocks += 1;
            }
            Event::CopyRows(bytes) => {
                if let Some(rows) = self.tables.get_mut(&state.table) {
                    rows.bytes += bytes.len() as u64;
                }
            }
            Event::CopyEnd { rows: count } => {
                if let Some(rows) = self.tables.get_mut(&state.table) {
                    rows.count += count;
                }
            }
            Event::Restrict(_) | Event::Unrestrict(_) | Event::Complete => {}
        }
    }

    fn statement(&mut self, text: &str, entry: Option<&Entry>, section: Section, line: u64, state: &mut State) {
        if let Some(at) = STATE.iter().position(|name| text.starts_with(name)) {
            return self.note_state(text, at, state);
        }
        let is_setting = text.starts_with("SET ") || text.starts_with("SELECT pg_catalog.set_config(");
        if entry.is_none() && is_setting && self.before.is_empty() {
            return self.preamble.push(text.to_owned());
        }
        if text.starts_with("CREATE EXTENSION ") {
            self.extensions.extend(extension(text));
        }
        self.schemas.extend(entry.and_then(|entry| entry.schema.clone()));
        let units = match section {
            Section::PreData => &mut self.before,
            Section::PostData => &mut self.after,
            Section::Data => {
                // Large objects and rows as INSERT are read again when they are needed.
                if entry.is_some_and(|entry| entry.kind == "SEQUENCE SET") {
                    self.sequences.push(text.to_owned());
                }
                return;
            }
        };
        let same = state.entry.as_ref() == entry && state.section == Some(section);
        match units.last_mut().filter(|_| same) {
            Some(unit) => unit.statements.push(text.to_owned()),
            None => units.push(Unit::new(text, entry, line, &state.settings())),
        }
        (state.entry, state.section) = (entry.cloned(), Some(section));
    }

    fn note_state(&mut self, text: &str, at: usize, state: &mut State) {
        state.set[at] = text.to_owned();
        if at == 0 {
            let value = text.split_once('=').map_or("", |(_, value)| value).trim().trim_end_matches(';');
            let name = lexer::unquoted(value.trim_matches('\''));
            self.tablespaces.extend(Some(name).filter(|name| !name.is_empty()));
        }
    }

    /// pg_dump says in a comment before the first statement which server it read.
    fn note_origin(&mut self, raw: &[u8]) {
        if self.dumped_from.is_none() && self.preamble.is_empty() {
            let text = String::from_utf8_lossy(raw);
            let version = text.split("-- Dumped from database version ").nth(1);
            self.dumped_from = version.and_then(|v| v.split_whitespace().next()).map(str::to_owned);
        }
    }
}

/// What the statements before say about the next one.
#[derive(Default)]
struct State {
    set: [String; 2],
    table: String,
    entry: Option<Entry>,
    section: Option<Section>,
}

impl State {
    fn settings(&self) -> Arc<str> {
        self.set.join("\n").trim().into()
    }
}

impl Unit {
    fn new(text: &str, entry: Option<&Entry>, line: u64, state: &Arc<str>) -> Self {
        let (kind, shown) = match entry {
            // The name in the comment is as it is, without quotes.
            Some(entry) => {
                let name = entry.schema.as_deref().map_or(entry.name.clone(), |s| format!("{s}.{}", entry.name));
                (entry.kind.clone(), format!("{} {name}", entry.kind))
            }
            None => (String::new(), "a statement".to_owned()),
        };
        Self { kind, shown, line, statements: vec![text.to_owned()], state: Arc::clone(state) }
    }

    /// Returns the table that the unit is about, and for a foreign key the one that it refers to.
    pub(super) fn tables(&self) -> Vec<String> {
        self.statements.iter().flat_map(|text| tables(text)).collect()
    }
}

/// Returns the tables that `CREATE INDEX … ON`, `ALTER TABLE` and `REFERENCES` name.
fn tables(statement: &str) -> Vec<String> {
    let tokens = lexer::tokens(statement, false);
    let word = |at: usize, text: &str| {
        tokens.get(at).is_some_and(|(token, word)| *token == Token::Word && word.eq_ignore_ascii_case(text))
    };
    let start = match () {
        () if word(0, "alter") && word(1, "table") => Some(2),
        () if word(0, "create") => (1..tokens.len()).find(|&at| word(at, "on")).map(|at| at + 1),
        () => None,
    };
    let refers = (2..tokens.len()).find(|&at| word(at, "references")).map(|at| at + 1);
    let mut found = Vec::new();
    for mut at in start.into_iter().chain(refers) {
        if word(at, "only") {
            at += 1;
        }
        let name = |at: usize| {
            let (token, text) = tokens.get(at)?;
            matches!(token, Token::Word | Token::Quoted).then(|| lexer::unquoted(text))
        };
        let qualified = tokens.get(at + 1).is_some_and(|(_, text)| *text == ".");
        found.extend(match (name(at), qualified) {
            (Some(schema), true) => name(at + 2).map(|table| full_name(Some(&schema), &table)),
            (Some(table), false) => Some(full_name(None, &table)),
            (None, _) => None,
        });
    }
    found
}

/// Returns the name in `CREATE EXTENSION IF NOT EXISTS name WITH SCHEMA …`.
fn extension(text: &str) -> Option<String> {
    let rest = text.strip_prefix("CREATE EXTENSION ")?;
    let tokens = lexer::tokens(rest.strip_prefix("IF NOT EXISTS ").unwrap_or(rest), false);
    tokens.first().map(|(_, name)| lexer::unquoted(name))
}

fn lines_before(raw: &[u8], text: &str) -> u64 {
    let before = (text.as_ptr() as usize).saturating_sub(raw.as_ptr() as usize).min(raw.len());
    memchr_iter(b'\n', &raw[..before]).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const DUMP: &str = r#"--
-- PostgreSQL database dump
--

-- Dumped from database version 15.18
-- Dumped by pg_dump version 15.18

SET statement_timeout = 0;
SELECT pg_catalog.set_config('search_path', '', false);

--
-- Name: hstore; Type: EXTENSION; Schema: -; Owner: -
--

CREATE EXTENSION IF NOT EXISTS hstore WITH SCHEMA public;


SET default_tablespace = '';

SET default_table_access_method = heap;

--
-- Name: t; Type: TABLE; Schema: app; Owner: me
--

CREATE TABLE app.t (id integer);


ALTER TABLE app.t OWNER TO me;

--
-- Data for Name: t; Type: TABLE DATA; Schema: app; Owner: me
--

COPY app.t (id) FROM stdin;
1
2
\.


--
-- Name: s; Type: SEQUENCE SET; Schema: app; Owner: me
--

SELECT pg_catalog.setval('app.s', 1, true);


SET default_tablespace = fast;

--
-- Name: t_id; Type: INDEX; Schema: app; Owner: me
--

CREATE INDEX t_id ON app.t USING btree (id);

ALTER TABLE app.t CLUSTER ON t_id;


--
-- PostgreSQL database dump complete
--

"#;

    fn survey() -> Survey {
        Survey::read(Box::new(DUMP.as_bytes()), &Lines::default()).unwrap()
    }

    #[test]
    fn the_settings_the_definitions_and_the_numbers_are_kept() {
        let survey = survey();
        assert_eq!(survey.dumped_from.as_deref(), Some("15.18"));
        assert_eq!(survey.preamble.len(), 2);
        assert_eq!(
            survey.before.iter().map(|u| u.shown.as_str()).collect::<Vec<_>>(),
            ["EXTENSION hstore", "TABLE app.t"]
        );
        assert_eq!(survey.before[1].statements.len(), 2, "the owner belongs to its table");
        assert_eq!((survey.tables["app.t"].count, survey.tables["app.t"].bytes), (2, 4));
        assert_eq!(survey.extensions.iter().collect::<Vec<_>>(), ["hstore"]);
        assert_eq!(survey.roles.iter().collect::<Vec<_>>(), ["me"]);
        assert_eq!(survey.tablespaces.iter().collect::<Vec<_>>(), ["fast"]);
    }

    #[test]
    fn a_unit_knows_its_line_and_the_settings_before_it() {
        let survey = survey();
        let lines: Vec<&str> = DUMP.lines().collect();
        let index = &survey.after[0];
        assert!(lines[usize::try_from(index.line).unwrap() - 1].starts_with("CREATE INDEX"));
        assert_eq!(&*index.state, "SET default_tablespace = fast;\nSET default_table_access_method = heap;");
        assert_eq!(index.statements.len(), 2);
    }

    #[test]
    fn the_tables_of_a_statement_are_found() {
        let key = "ALTER TABLE ONLY app.\"o r\"\n    ADD CONSTRAINT f FOREIGN KEY (a) REFERENCES app.customers(id);";
        assert_eq!(tables(key), ["app.\"o r\"", "app.customers"]);
        assert_eq!(tables("CREATE UNIQUE INDEX i ON ONLY app.t USING btree (a) WHERE (b > 1);"), ["app.t"]);
        assert_eq!(tables("CREATE INDEX \"on\" ON t USING btree (a);"), ["t"]);
        assert!(tables("GRANT SELECT ON app.t TO x;").is_empty());
    }
}
