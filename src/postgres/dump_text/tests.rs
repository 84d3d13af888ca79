//! A dump is read whole or refused, wherever a read cuts it.

use super::*;

const DUMP: &str = "--\n-- PostgreSQL database dump\n--\n\n\\restrict k1\n\nSET client_encoding = 'UTF8';\n\n--\n\
    -- Name: t; Type: TABLE; Schema: app; Owner: me\n--\n\nCREATE TABLE app.t (\n    a text\n);\n\n\n\
    ALTER TABLE app.t OWNER TO me;\n\n--\n-- Data for Name: t; Type: TABLE DATA; Schema: app; Owner: me\n--\n\n\
    COPY app.t (a, b) FROM stdin;\n1\t\\\\.\n2\t-- Name: x; Type: y\n\\N\t\\\\.x\n\\.\n\n\n\
    COPY app.none  FROM stdin;\n\n\n\\.\n\n--\n-- Name: t i; Type: INDEX; Schema: app; Owner: me\n--\n\n\
    CREATE INDEX i ON app.t (a);\n\n\n--\n-- PostgreSQL database dump complete\n--\n\n\\unrestrict k1\n\n";

/// Gives one byte at a time, so that every cut is tried.
struct Drip<'a>(&'a [u8]);

impl Read for Drip<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.0.len().min(1);
        buffer[..n].copy_from_slice(&self.0[..n]);
        self.0 = &self.0[n..];
        Ok(n)
    }
}

fn events(input: impl Read) -> Result<(Vec<String>, Vec<u8>)> {
    let mut reader = DumpReader::new(input);
    let (mut told, mut raw) = (Vec::new(), Vec::new());
    while let Some(item) = reader.read()? {
        raw.extend_from_slice(item.raw);
        let kind = |entry: Option<&Entry>| entry.map_or("none".to_owned(), |e| e.kind.clone());
        match item.event {
            Event::Restrict(key) => told.push(format!("restrict {key}")),
            Event::Statement { text, entry } => {
                told.push(format!("{:?} {}: {}", item.section, kind(entry), text.lines().next().unwrap()));
            }
            Event::CopyStart { head, .. } => told.push(format!("copy {} {:?}", head.table(), head.columns)),
            Event::CopyRows(_) => {}
            Event::CopyEnd { rows } => told.push(format!("{rows} rows")),
            Event::Unrestrict(key) => told.push(format!("unrestrict {key}")),
            Event::Complete => told.push("complete".into()),
        }
    }
    Ok((told, raw))
}

fn refusal(text: &str) -> String {
    let whole = events(text.as_bytes()).unwrap_err().to_string();
    assert_eq!(events(Drip(text.as_bytes())).unwrap_err().to_string(), whole, "cuts change the refusal");
    whole
}

#[test]
fn a_dump_is_read_to_its_end_and_no_byte_is_lost() {
    let (told, raw) = events(DUMP.as_bytes()).unwrap();
    assert_eq!(
        told,
        [
            "restrict k1",
            "PreData none: SET client_encoding = 'UTF8';",
            "PreData TABLE: CREATE TABLE app.t (",
            "PreData TABLE: ALTER TABLE app.t OWNER TO me;",
            "copy app.t [\"a\", \"b\"]",
            "3 rows",
            "copy app.none []",
            "2 rows",
            "PostData INDEX: CREATE INDEX i ON app.t (a);",
            "unrestrict k1",
            "complete",
        ]
    );
    assert_eq!(raw, DUMP.as_bytes());
    assert_eq!(events(Drip(DUMP.as_bytes())).unwrap(), (told, raw));
}

#[test]
fn a_dump_cut_anywhere_is_refused() {
    // Behind the key there is white space only; before it, every single cut must show.
    for end in 0..DUMP.len() - 3 {
        assert!(events(&DUMP.as_bytes()[..end]).is_err(), "cut at {end}: {:?}", &DUMP[..end]);
    }
    let cut = &DUMP[..DUMP.find("2\t--").unwrap() + 3];
    assert!(refusal(cut).contains("ends inside the rows of table app.t, in row 2"), "{}", refusal(cut));
    assert!(refusal("").contains("it is empty"));
}

#[test]
fn psql_commands_are_refused_wherever_they_hide() {
    for hidden in [
        "\\! touch x\n",
        "select 1;\\! x\n",
        "select 1 \\g |x\n",
        "\\connect orders\n",
        "\\restrict k2\n",
        "-- note\r\\! id\n",
        "SET standard_conforming_strings = off;\nselect '\\'; select '\\\\! id\n';\\! x\n'';",
        "SET standard_conforming_strings = off;\nselect B'\\'; \\! id\n';",
    ] {
        let text = DUMP.replacen("CREATE TABLE", &format!("{hidden}CREATE TABLE"), 1);
        assert!(refusal(&text).contains("there is a psql command"), "{hidden}: {}", refusal(&text));
    }
    let late = DUMP.to_owned() + "\\! id\n";
    assert!(refusal(&late).contains("there is a psql command"));
    let backticks = DUMP.replace("\\unrestrict k1", "\\unrestrict `id`");
    assert!(refusal(&backticks).contains("there is a psql command"));
}

#[test]
fn what_pg_dump_never_writes_is_refused() {
    let with = |from: &str, to: &str| refusal(&DUMP.replacen(from, to, 1));
    assert!(with("\\unrestrict k1", "\\unrestrict k2").contains("keys of \\restrict and \\unrestrict differ (line 4"));
    assert!(with("\\unrestrict k1\n", "").contains("no \\unrestrict"));
    assert!(with("dump complete", "dump").contains("its last line is missing"));
    assert!(with("\\unrestrict k1\n", "\\unrestrict k1\nselect 1;").contains("behind the trailer"));
    assert!(with("text", "te\0xt").contains("NUL byte"));
    assert!(with("FROM stdin;", "FROM PROGRAM 'id';").contains("a COPY that pg_dump does not write (line 24)"));
    assert!(with("FROM stdin;", "FROM stdin; select 1;").contains("more on the line of a COPY"));
    assert!(with("\n\\.\n", "\n\\.\r\n").contains("a row starts with \\. and goes on"));
    assert!(with("CREATE TABLE", "select 'x").contains("ends inside a string"));
    assert!(with("CREATE TABLE", "/* CREATE TABLE").contains("ends inside a comment"));
    assert!(refusal(&format!("\u{feff}SET a = 1;{DUMP}")).contains("byte order mark"));
}

#[test]
fn an_old_dump_without_keys_is_whole_too() {
    let old = DUMP.replace("\\restrict k1\n", "").replace("\\unrestrict k1\n", "");
    assert_eq!(events(old.as_bytes()).unwrap().0.last().unwrap(), "complete");
}

#[test]
fn a_comment_cut_to_the_words_of_the_trailer_is_none() {
    let old = DUMP.replace("\\restrict k1\n", "").replace("\\unrestrict k1\n", "");
    let words = "-- PostgreSQL database dump complete";
    let note = old.replacen("CREATE TABLE", &format!("{words}ly unknown\nCREATE TABLE"), 1);
    assert_eq!(events(note.as_bytes()).unwrap().0.last().unwrap(), "complete");
    assert!(refusal(&note[..note.find(words).unwrap() + words.len()]).contains("its last line is missing"));
}

#[test]
fn a_row_without_an_end_is_refused_before_memory_ends() {
    let head = &DUMP[..DUMP.find("1\t").unwrap()];
    let endless = head.as_bytes().chain(io::repeat(b'x'));
    assert!(events(endless).unwrap_err().to_string().contains("a row is longer than"));
}

#[test]
fn a_text_that_is_not_utf8_names_the_option_that_helps() {
    let mut text = DUMP.as_bytes().to_vec();
    let at = DUMP.find("a text").unwrap();
    text[at] = 0xff;
    let error = events(text.as_slice()).unwrap_err();
    assert_eq!(error.next_step(), Some("dump it again with pg_dump --encoding=UTF8"));
}

#[test]
fn a_long_row_and_a_long_statement_pass() {
    let long = "x".repeat(5 << 20);
    let text = DUMP.replacen("1\t", &format!("{long}\t"), 1).replacen("'UTF8'", &format!("'{long}'"), 1);
    assert_eq!(events(text.as_bytes()).unwrap().1, text.as_bytes());
}
