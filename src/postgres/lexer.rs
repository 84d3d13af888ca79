//! PostgreSQL's lexical rules, as far as finding the end of a statement needs them.
//!
//! The rules are those of the server's and psql's own scanners; where the two could be made to disagree (a comment that a
//! carriage return ends, a quote that goes on after a line break) this one follows both or the dump reader refuses.

use memchr::{memchr, memchr2, memmem};

/// What a stretch of SQL is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Token {
    /// White space.
    Space,
    /// `-- …` or `/* … */`.
    Comment,
    /// A keyword or a name without quotes.
    Word,
    /// A name in double quotes.
    Quoted,
    /// A string in single quotes or between dollar tags.
    Text,
    /// `;`
    Semicolon,
    /// `(`
    Open,
    /// `)`
    Close,
    /// `\`, which no SQL has outside strings: psql would take what follows as a command.
    Backslash,
    /// One byte of a number or an operator.
    Other,
}

/// What reading on gave.
#[derive(Debug, PartialEq, Eq)]
pub enum Lexed {
    /// A token and where it ends.
    Token(Token, usize),
    /// The bytes end before the token's end is certain.
    More,
    /// There is nothing more.
    End,
}

/// What the input ended within.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unfinished(pub &'static str);

/// Reads the token of `bytes` at `at`. `whole` says that no more bytes come; `escapes` that backslashes escape in plain
/// strings, as `standard_conforming_strings = off` means.
pub fn next(bytes: &[u8], at: usize, whole: bool, escapes: bool) -> Result<Lexed, Unfinished> {
    let Some(&first) = bytes.get(at) else { return Ok(if whole { Lexed::End } else { Lexed::More }) };
    let second = bytes.get(at + 1).copied();
    let rest = &bytes[at..];
    let (token, length) = match first {
        b if is_space(b) => (Token::Space, Some(run(rest, is_space))),
        b';' => (Token::Semicolon, Some(1)),
        b'(' => (Token::Open, Some(1)),
        b')' => (Token::Close, Some(1)),
        b'\\' => (Token::Backslash, Some(1)),
        b'\'' => (Token::Text, string(rest, 1, escapes, whole)),
        b'"' => (Token::Quoted, doubled(rest, 1, b'"', whole)),
        b'-' | b'/' | b'$' | b'U' | b'u' | b'E' | b'e' if second.is_none() && !whole => return Ok(Lexed::More),
        b'-' if second == Some(b'-') => (Token::Comment, line_comment(rest, whole)),
        b'/' if second == Some(b'*') => (Token::Comment, block_comment(rest)),
        b'$' if second.is_some_and(|b| b == b'$' || is_word_start(b)) => match dollar(rest) {
            Dollar::Not => (Token::Other, Some(1)),
            Dollar::Ends(length) => (Token::Text, Some(length)),
            Dollar::More => (Token::Text, None),
        },
        b'E' | b'e' if second == Some(b'\'') => (Token::Text, string(rest, 2, true, whole)),
        b'B' | b'b' | b'X' | b'x' if second == Some(b'\'') => (Token::Text, verbatim(rest, 2, whole)),
        b'U' | b'u' if second == Some(b'&') => match bytes.get(at + 2) {
            Some(b'\'') => (Token::Text, verbatim(rest, 3, whole)),
            Some(b'"') => (Token::Quoted, doubled(rest, 3, b'"', whole)),
            None if !whole => return Ok(Lexed::More),
            _ => (Token::Word, Some(1)),
        },
        b if is_word_start(b) => {
            let length = run(rest, is_word);
            // A word at the very end may go on in the next block.
            (Token::Word, (whole || length < rest.len()).then_some(length))
        }
        _ => (Token::Other, Some(1)),
    };
    match length {
        Some(length) => Ok(Lexed::Token(token, at + length)),
        None if !whole => Ok(Lexed::More),
        None => Err(Unfinished(match token {
            Token::Comment => "a comment",
            Token::Quoted => "a quoted name",
            _ => "a string",
        })),
    }
}

/// Returns whether PostgreSQL takes the byte as white space.
pub fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

fn is_word_start(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}

fn is_word(byte: u8) -> bool {
    is_word_start(byte) || byte.is_ascii_digit() || byte == b'$'
}

fn run(bytes: &[u8], of: impl Fn(u8) -> bool) -> usize {
    bytes.iter().position(|b| !of(*b)).unwrap_or(bytes.len())
}

/// Finds the end of a string whose content begins at `at`. With `escapes`, a quote after a line break goes on with the
/// same string and the same rules.
fn string(bytes: &[u8], at: usize, escapes: bool, whole: bool) -> Option<usize> {
    if !escapes {
        return doubled(bytes, at, b'\'', whole);
    }
    let mut at = at;
    loop {
        at += memchr2(b'\'', b'\\', &bytes[at.min(bytes.len())..])?;
        match (bytes[at], bytes.get(at + 1)) {
            (b'\\', _) => at += 2,
            (_, Some(b'\'')) => at += 2,
            (_, None) if !whole => return None,
            _ => match continued(&bytes[at + 1..], whole)? {
                0 => return Some(at + 1),
                more => at += 1 + more,
            },
        }
    }
}

/// Finds the end of a string in which no setting makes backslashes escape: bits, bytes, and those with Unicode's numbers.
/// A quote after a line break goes on with it, too.
fn verbatim(bytes: &[u8], at: usize, whole: bool) -> Option<usize> {
    let mut at = at;
    loop {
        at = doubled(bytes, at, b'\'', whole)?;
        match continued(&bytes[at..], whole)? {
            0 => return Some(at),
            more => at += more,
        }
    }
}

/// Returns how far behind a closing quote the string goes on, 0 when it does not.
fn continued(bytes: &[u8], whole: bool) -> Option<usize> {
    let mut at = 0;
    let mut line_break = false;
    loop {
        match bytes.get(at) {
            None => return if whole { Some(0) } else { None },
            Some(b'\'') => return Some(if line_break { at + 1 } else { 0 }),
            Some(b'\n' | b'\r') => line_break = true,
            Some(b) if is_space(*b) => {}
            Some(b'-') if line_break && bytes.get(at + 1) == Some(&b'-') => {
                at += memchr2(b'\n', b'\r', &bytes[at..]).or(whole.then_some(bytes.len() - at))?;
                continue;
            }
            Some(b'-') if line_break && bytes.len() == at + 1 && !whole => return None,
            Some(_) => return Some(0),
        }
        at += 1;
    }
}

/// Finds the end of what ends with `quote` and holds it doubled.
fn doubled(bytes: &[u8], at: usize, quote: u8, whole: bool) -> Option<usize> {
    let mut at = at;
    loop {
        at += memchr(quote, &bytes[at.min(bytes.len())..])? + 1;
        match bytes.get(at) {
            Some(b) if *b == quote => at += 1,
            None if !whole => return None,
            _ => return Some(at),
        }
    }
}

fn line_comment(bytes: &[u8], whole: bool) -> Option<usize> {
    memchr2(b'\n', b'\r', bytes).or(whole.then_some(bytes.len()))
}

/// Block comments nest.
fn block_comment(bytes: &[u8]) -> Option<usize> {
    let (mut at, mut depth) = (2, 1);
    loop {
        at += memchr2(b'*', b'/', &bytes[at.min(bytes.len())..])?;
        match (bytes[at], bytes.get(at + 1)?) {
            (b'*', b'/') => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return Some(at);
                }
            }
            (b'/', b'*') => {
                depth += 1;
                at += 2;
            }
            _ => at += 1,
        }
    }
}

enum Dollar {
    Not,
    Ends(usize),
    More,
}

fn dollar(bytes: &[u8]) -> Dollar {
    let tag = 1 + run(&bytes[1..], |b| is_word(b) && b != b'$');
    match bytes.get(tag) {
        None => Dollar::More,
        Some(b'$') => {
            let tag = &bytes[..=tag];
            match memmem::find(&bytes[tag.len()..], tag) {
                Some(at) => Dollar::Ends(2 * tag.len() + at),
                None => Dollar::More,
            }
        }
        Some(_) => Dollar::Not,
    }
}

/// Reads all tokens of a whole statement that matter: no white space, no comments.
pub fn tokens(text: &str, escapes: bool) -> Vec<(Token, &str)> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Ok(Lexed::Token(token, end)) = next(text.as_bytes(), at, true, escapes) {
        // Every token ends at a character's end: bytes above 127 only occur within words and quotes.
        if let Some(text) = text.get(at..end).filter(|_| !matches!(token, Token::Space | Token::Comment)) {
            found.push((token, text));
        }
        at = end;
    }
    found
}

/// Finds the end of statements: semicolons within parentheses (rules) and within the body of an SQL function
/// (`BEGIN ATOMIC … END`) end nothing.
#[derive(Debug, Default)]
pub struct Nesting {
    parentheses: usize,
    /// Depth of BEGIN ATOMIC and of the CASEs within it, which end with END, too.
    blocks: usize,
    words: usize,
    creates: bool,
    routine: bool,
    begin: bool,
}

impl Nesting {
    /// Takes the next token and returns whether it ends the statement.
    pub fn ends(&mut self, token: Token, text: &[u8]) -> bool {
        let begin = std::mem::take(&mut self.begin);
        match token {
            Token::Open => self.parentheses += 1,
            Token::Close => self.parentheses = self.parentheses.saturating_sub(1),
            Token::Semicolon => return self.parentheses == 0 && self.blocks == 0,
            Token::Word => self.word(text, begin),
            Token::Space | Token::Comment => self.begin = begin,
            _ => {}
        }
        false
    }

    fn word(&mut self, text: &[u8], after_begin: bool) {
        let is = |word: &str| text.eq_ignore_ascii_case(word.as_bytes());
        match self.words {
            0 => self.creates = is("create"),
            // CREATE [OR REPLACE] FUNCTION | PROCEDURE
            1..4 if is("function") || is("procedure") => self.routine |= self.creates,
            _ => {}
        }
        self.words += 1;
        if !self.routine || self.parentheses > 0 {
            return;
        }
        match self.blocks {
            0 if after_begin && is("atomic") => self.blocks = 1,
            0 => self.begin = is("begin"),
            _ if is("case") => self.blocks += 1,
            _ if is("end") => self.blocks -= 1,
            _ => {}
        }
    }
}

/// Returns the name that an identifier, quoted or not, stands for.
pub fn unquoted(identifier: &str) -> String {
    match identifier.strip_prefix('"').and_then(|i| i.strip_suffix('"')) {
        Some(inner) => inner.replace("\"\"", "\""),
        None => identifier.to_ascii_lowercase(),
    }
}

/// Returns an identifier for people and keys: in quotes only where letters demand it. Keywords stay bare, since which words
/// are keywords differs between versions.
pub fn shown(name: &str) -> String {
    let plain = name.bytes().enumerate().all(|(i, b)| match b {
        b'a'..=b'z' | b'_' => true,
        b'0'..=b'9' | b'$' => i > 0,
        _ => false,
    });
    if plain && !name.is_empty() { name.to_owned() } else { quoted(name) }
}

/// Returns an identifier that is safe in any statement.
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Returns a string literal that is safe under both values of `standard_conforming_strings`.
pub fn literal(text: &str) -> String {
    let doubled = text.replace('\'', "''");
    if text.contains('\\') { format!("E'{}'", doubled.replace('\\', "\\\\")) } else { format!("'{doubled}'") }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Splits like the dump reader, feeding `step` bytes at a time, so that every cut through a token is tried.
    fn split(text: &str, escapes: bool, step: usize) -> Vec<String> {
        let bytes = text.as_bytes();
        let (mut at, mut start, mut end, mut nesting) = (0, 0, step.min(bytes.len()), Nesting::default());
        let mut statements = Vec::new();
        loop {
            match next(&bytes[..end], at, end == bytes.len(), escapes).unwrap() {
                Lexed::Token(token, to) => {
                    if nesting.ends(token, &bytes[at..to]) {
                        statements.push(text[start..to].trim().to_owned());
                        (start, nesting) = (to, Nesting::default());
                    }
                    at = to;
                }
                Lexed::More => end = (end + step).min(bytes.len()),
                Lexed::End => return statements,
            }
        }
    }

    fn statements(text: &str) -> Vec<String> {
        let whole = split(text, false, usize::MAX / 2);
        for step in 1..6 {
            assert_eq!(split(text, false, step), whole, "a cut every {step} bytes changes the statements");
        }
        whole
    }

    #[test]
    fn semicolons_in_strings_names_and_comments_end_nothing() {
        let text = "select ';' , \";\"\"\", E'\\';' , $$;$$, $a$ ; $b$ ; $a$ -- ;\n, /* ; /* ; */ ; */ U&'x;' , U&\"a;\" ; next;";
        assert_eq!(statements(text).len(), 2);
        assert_eq!(statements("a$b$;c$d$;"), ["a$b$;", "c$d$;"]);
        assert_eq!(statements("select $1;select 'a''';"), ["select $1;", "select 'a''';"]);
        assert_eq!(statements("select 1$tag$;$tag$;"), ["select 1$tag$;$tag$;"]);
    }

    #[test]
    fn an_escape_string_goes_on_after_a_line_break() {
        assert_eq!(statements("select E'a'\n  'b\\';c' ; x;").len(), 2);
        assert_eq!(statements("select E'a' -- no\n;").len(), 1);
        assert_eq!(statements("select E'a'\n-- c '\n 'b\\';' ;").len(), 1);
    }

    #[test]
    fn backslashes_escape_in_plain_strings_only_when_asked() {
        assert_eq!(split(r"select '\'; x;", false, 3).len(), 2);
        assert_eq!(split(r"select '\'; x;'; y;", true, 3).len(), 2);
    }

    #[test]
    fn bits_and_bytes_have_no_escapes_whatever_the_setting() {
        for start in ["B", "x", "U&"] {
            for text in [format!(r"select {start}''; x;"), format!("select {start}'0'\n-- c\n'\\'; x;")] {
                for step in [1, 2, 3, 100] {
                    assert_eq!(split(&text, true, step).len(), 2, "{text}");
                }
            }
        }
    }

    #[test]
    fn a_carriage_return_ends_a_line_comment() {
        let text = "-- note\r\\! id";
        let backslash = text.find('\\').unwrap();
        assert_eq!(next(text.as_bytes(), 0, true, false), Ok(Lexed::Token(Token::Comment, backslash - 1)));
        assert_eq!(next(text.as_bytes(), backslash, true, false), Ok(Lexed::Token(Token::Backslash, backslash + 1)));
    }

    #[test]
    fn the_body_of_an_sql_function_is_one_statement() {
        let text = "CREATE OR REPLACE FUNCTION app.begin(a int) RETURNS int LANGUAGE sql\n BEGIN ATOMIC\n SELECT a;\n \
                    SELECT CASE WHEN a > 1 THEN (CASE WHEN a > 2 THEN 1 END) ELSE 3 END AS \"case\";\nEND; select 1;";
        assert_eq!(statements(text).len(), 2);
        assert_eq!(statements("create function begin() returns int as 'x'; begin; end;").len(), 3);
        assert_eq!(statements("create rule r as on delete to t do also (select 1; select 2);x;").len(), 2);
    }

    #[test]
    fn what_does_not_end_is_named() {
        for (text, what) in
            [("'a", "a string"), ("$x$ a $y$", "a string"), ("\"a", "a quoted name"), ("/* /* */", "a comment")]
        {
            assert_eq!(next(text.as_bytes(), 0, true, false), Err(Unfinished(what)), "{text}");
            assert_eq!(next(text.as_bytes(), 0, false, false), Ok(Lexed::More), "{text}");
        }
    }

    #[test]
    fn names_read_back() {
        for name in ["plain", "We ird", "sel\"ect Tbl", "naïve_表", "1st", ""] {
            assert_eq!(unquoted(&shown(name)), name);
        }
        assert_eq!(shown("user"), "user");
        assert_eq!(unquoted("Mixed"), "mixed");
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal(r"a\b'"), r"E'a\\b'''");
    }
}
