//! What holds for every text that the lexer reads.

use runner::postgres::copy::{CopyHead, unescaped};
use runner::postgres::lexer::{Lexed, Nesting, Token, Unfinished, literal, next, quoted, shown, tokens, unquoted};

/// Where tokens and statements end does not depend on how the text arrives; names and strings that we write read back as
/// they were and let nothing out.
pub(crate) fn lexer(bytes: &[u8]) {
    for escapes in [false, true] {
        let whole = read(bytes, bytes.len(), escapes);
        for step in [1, 2, 3, 7] {
            assert_eq!(read(bytes, step, escapes), whole, "a cut every {step} bytes changes what is read");
        }
        if let Ok(text) = std::str::from_utf8(bytes) {
            let inside = whole.tokens.iter().all(|(_, end)| text.is_char_boundary(*end));
            assert!(inside, "a token ends inside a character: {:?}", whole.tokens);
        }
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    name_reads_back(text);
    string_reads_back(text);
    copy_reads_back(text);
}

/// What was read: tokens with their ends, the ends of statements, and how it ended.
#[derive(Debug, PartialEq)]
struct Told {
    tokens: Vec<(Token, usize)>,
    statements: Vec<usize>,
    end: Result<(), Unfinished>,
}

/// Reads as the dump reader does: more bytes come only when the lexer asks for them, `step` at a time.
fn read(bytes: &[u8], step: usize, escapes: bool) -> Told {
    let mut told = Told { tokens: Vec::new(), statements: Vec::new(), end: Ok(()) };
    let (mut at, mut end, mut nesting) = (0, step.min(bytes.len()), Nesting::default());
    loop {
        let whole = end == bytes.len();
        match next(&bytes[..end], at, whole, escapes) {
            Ok(Lexed::Token(token, to)) => {
                assert!(at < to && to <= end, "a token from {at} to {to} of {end}");
                if nesting.ends(token, &bytes[at..to]) {
                    told.statements.push(to);
                    nesting = Nesting::default();
                }
                // White space may come in pieces.
                match told.tokens.last_mut() {
                    Some((Token::Space, last)) if token == Token::Space => *last = to,
                    _ => told.tokens.push((token, to)),
                }
                at = to;
            }
            Ok(Lexed::More) => {
                assert!(!whole, "it asks for more than there is");
                end = (end + step).min(bytes.len());
            }
            Ok(Lexed::End) => {
                assert!(whole && at == bytes.len(), "it ends at {at} of {}", bytes.len());
                return told;
            }
            Err(unfinished) => {
                assert!(whole, "it calls a text unfinished of which more may come");
                told.end = Err(unfinished);
                return told;
            }
        }
    }
}

fn name_reads_back(name: &str) {
    let safe = quoted(name);
    assert_eq!(unquoted(&safe), name);
    assert_eq!(unquoted(&shown(name)), name);
    for escapes in [false, true] {
        assert_eq!(tokens(&safe, escapes), [(Token::Quoted, safe.as_str())]);
        let plain = shown(name);
        let [(Token::Word | Token::Quoted, all)] = tokens(&plain, escapes)[..] else { panic!("{plain:?} is no name") };
        assert_eq!(all, plain);
        nothing_leaks(&safe, escapes);
    }
}

fn string_reads_back(text: &str) {
    let safe = literal(text);
    for escapes in [false, true] {
        assert_eq!(tokens(&safe, escapes), [(Token::Text, safe.as_str())]);
        assert_eq!(value(&safe, escapes), text);
        nothing_leaks(&safe, escapes);
    }
}

/// Whatever is in a name or a string, the statement around it ends at its own semicolon.
fn nothing_leaks(safe: &str, escapes: bool) {
    let text = format!("SELECT {safe};next;");
    let told = read(text.as_bytes(), text.len(), escapes);
    assert_eq!((told.statements, told.end), (vec![text.len() - 5, text.len()], Ok(())), "{text}");
}

/// Reads a string as the server's manual says, without the lexer.
fn value(literal: &str, escapes: bool) -> String {
    let (escapes, body) = literal.strip_prefix('E').map_or((escapes, literal), |body| (true, body));
    let body = body.strip_prefix('\'').and_then(|body| body.strip_suffix('\'')).expect("a string stands in quotes");
    let (mut value, mut letters) = (String::new(), body.chars());
    while let Some(letter) = letters.next() {
        let doubled = letter == '\'' || letter == '\\' && escapes;
        assert!(!doubled || letters.next() == Some(letter), "{literal:?} ends early or escapes something");
        value.push(letter);
    }
    value
}

/// A COPY of any names is read as these names, and a field of any text as this text.
fn copy_reads_back(text: &str) {
    let names: Vec<&str> = text.splitn(4, '\n').collect();
    let (table, columns) = (names[0], &names[1..]);
    let list: Vec<String> = columns.iter().map(|name| quoted(name)).collect();
    let list = if list.is_empty() { String::new() } else { format!(" ({})", list.join(", ")) };
    let head = CopyHead::parse(&format!("COPY {}.{}{list} FROM stdin;", quoted(text), quoted(table)));
    let head = head.expect("pg_dump writes it like this");
    assert_eq!((head.schema.as_deref(), head.name.as_str()), (Some(text), table));
    assert_eq!(head.columns, columns);
    let field: String = text.chars().map(escaped).collect();
    assert_eq!(unescaped(field.as_bytes()).as_deref(), Some(text));
}

/// Writes a character as the server's COPY does.
fn escaped(letter: char) -> String {
    match letter {
        '\\' => "\\\\".into(),
        '\u{8}' => "\\b".into(),
        '\t' => "\\t".into(),
        '\n' => "\\n".into(),
        '\u{b}' => "\\v".into(),
        '\u{c}' => "\\f".into(),
        '\r' => "\\r".into(),
        other => other.into(),
    }
}
