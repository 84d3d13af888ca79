//! COPY as pg_dump writes it: which table and which columns the rows that follow belong to.

use super::lexer::{Token, shown, tokens, unquoted};

/// The head of a COPY block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyHead {
    /// The table's schema, where it is named.
    pub schema: Option<String>,
    /// The table's name.
    pub name: String,
    /// The columns in the order of the rows.
    pub columns: Vec<String>,
}

impl CopyHead {
    /// Reads `COPY schema.table (column, …) FROM stdin;` and nothing else: any other COPY reads or writes the server's
    /// files or starts its programs, and pg_dump writes none of that.
    pub fn parse(statement: &str) -> Option<Self> {
        let tokens = tokens(statement, false);
        let mut rest = tokens.as_slice();
        keyword(&mut rest, "copy")?;
        let mut name = identifier(&mut rest)?;
        let mut schema = None;
        if symbol(&mut rest, ".").is_some() {
            schema = Some(std::mem::replace(&mut name, identifier(&mut rest)?));
        }
        let mut columns = Vec::new();
        if symbol(&mut rest, "(").is_some() {
            loop {
                columns.push(identifier(&mut rest)?);
                if symbol(&mut rest, ",").is_none() {
                    break;
                }
            }
            symbol(&mut rest, ")")?;
        }
        keyword(&mut rest, "from")?;
        keyword(&mut rest, "stdin")?;
        symbol(&mut rest, ";")?;
        rest.is_empty().then_some(Self { schema, name, columns })
    }

    /// Returns the table's full name as fingerprints and manifests write it.
    pub fn table(&self) -> String {
        full_name(self.schema.as_deref(), &self.name)
    }
}

/// Returns the value that a field of COPY's text stands for; NULL has none.
pub fn unescaped(field: &[u8]) -> Option<String> {
    if field == b"\\N" {
        return None;
    }
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field.iter();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'\\' => match rest.next() {
                Some(b'b') => 0x08,
                Some(b'f') => 0x0c,
                Some(b'n') => b'\n',
                Some(b'r') => b'\r',
                Some(b't') => b'\t',
                Some(b'v') => 0x0b,
                Some(other) => *other,
                None => b'\\',
            },
            byte => *byte,
        });
    }
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// Returns `schema.name`, quoted where letters demand it.
pub fn full_name(schema: Option<&str>, name: &str) -> String {
    match schema {
        Some(schema) => format!("{}.{}", shown(schema), shown(name)),
        None => shown(name),
    }
}

type Rest<'a, 'b> = &'a mut &'b [(Token, &'b str)];

fn take<'b>(rest: Rest<'_, 'b>, wanted: impl Fn(Token, &str) -> bool) -> Option<&'b str> {
    let (first, others) = rest.split_first()?;
    let taken = wanted(first.0, first.1).then_some(first.1)?;
    *rest = others;
    Some(taken)
}

fn keyword(rest: Rest<'_, '_>, word: &str) -> Option<()> {
    take(rest, |token, text| token == Token::Word && text.eq_ignore_ascii_case(word)).map(drop)
}

fn symbol(rest: Rest<'_, '_>, wanted: &str) -> Option<()> {
    take(rest, |token, text| !matches!(token, Token::Text | Token::Quoted) && text == wanted).map(drop)
}

fn identifier(rest: Rest<'_, '_>) -> Option<String> {
    // A name in U&"…" has escapes of its own; pg_dump writes none.
    let plain = |token, text: &str| token == Token::Word || (token == Token::Quoted && text.starts_with('"'));
    take(rest, plain).map(unquoted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_names_table_and_columns() {
        let head = CopyHead::parse("COPY \"We ird\".\"sel\"\"ect Tbl\" (\"col um'n\", id) FROM stdin;").unwrap();
        assert_eq!(head.columns, ["col um'n", "id"]);
        assert_eq!(head.table(), "\"We ird\".\"sel\"\"ect Tbl\"");
        assert_eq!(CopyHead::parse("COPY app.none  FROM stdin;").unwrap().columns, Vec::<String>::new());
    }

    #[test]
    fn a_field_reads_as_the_value_that_was_written() {
        assert_eq!(unescaped(b"\\N"), None);
        assert_eq!(unescaped(b"").as_deref(), Some(""));
        assert_eq!(unescaped(b"a\\tb\\n\\\\N\\r\\b\\f\\v").as_deref(), Some("a\tb\n\\N\r\u{8}\u{c}\u{b}"));
    }

    #[test]
    fn no_other_copy_is_taken() {
        for text in [
            "COPY t FROM PROGRAM 'id';",
            "COPY t TO PROGRAM 'id';",
            "COPY t FROM '/etc/passwd';",
            "COPY (select 1) TO stdout;",
            "COPY t FROM stdin WITH (FORMAT csv);",
            "COPY t FROM stdin",
        ] {
            assert_eq!(CopyHead::parse(text), None, "{text}");
        }
    }
}
