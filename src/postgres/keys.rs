//! What names a row: the keys of a table, read out of the definitions that a fingerprint holds.

use std::collections::BTreeSet;

use super::copy::full_name;
use super::lexer::{Token, tokens, unquoted};
use crate::compare::{Aspect, Fingerprint};

type Tokens<'a> = [(Token, &'a str)];

/// Returns the keys of a table, each as its columns: the primary key first, then what is unique and never null.
pub fn keys(print: &Fingerprint, table: &str) -> Vec<Vec<String>> {
    let (mut primary, mut unique, mut never_null) = (Vec::new(), Vec::new(), BTreeSet::new());
    for item in print.items.iter().filter(|item| item.aspect == Aspect::Definition) {
        let kind = item.object.split(' ').next().unwrap_or_default();
        match kind {
            "TABLE" if item.object.strip_prefix("TABLE ").is_some_and(|name| same(name, table)) => {
                never_null = not_null(&item.value);
            }
            "CONSTRAINT" | "INDEX" => {
                let tokens = tokens(&item.value, false);
                match key(&tokens, table) {
                    Some((true, columns)) => primary.push(columns),
                    Some((false, columns)) => unique.push(columns),
                    None => {}
                }
            }
            _ => {}
        }
    }
    unique.retain(|columns: &Vec<String>| columns.iter().all(|column| never_null.contains(column)));
    unique.sort_by_key(Vec::len); // a short key is easier to read; the sort is stable
    primary.extend(unique);
    primary
}

/// The object of a definition is written as pg_dump shows it, without quotes.
fn same(object: &str, table: &str) -> bool {
    object == table || {
        let names: Vec<_> = tokens(table, false).into_iter().filter(|(_, text)| *text != ".").collect();
        names.iter().map(|(_, name)| unquoted(name)).collect::<Vec<_>>().join(".") == object
    }
}

/// Reads `ALTER TABLE ONLY t ADD CONSTRAINT c PRIMARY KEY (a, b)` and `CREATE UNIQUE INDEX i ON t USING btree (a)`: whether
/// it is the primary key, and the columns. An index on expressions, or of a part of the rows, names no row.
fn key(tokens: &Tokens<'_>, table: &str) -> Option<(bool, Vec<String>)> {
    let words: Vec<&str> = tokens.iter().map(|(_, text)| *text).collect();
    if words.starts_with(&["ALTER", "TABLE"]) {
        let (name, rest) = name(&tokens[2 + usize::from(words.get(2) == Some(&"ONLY"))..])?;
        let [(_, "ADD"), (_, "CONSTRAINT"), _, (_, kind), rest @ ..] = rest else { return None };
        let (primary, list) = match (*kind, rest) {
            ("PRIMARY", [(_, "KEY"), list @ ..]) => (true, list),
            ("UNIQUE", list) => (false, list),
            _ => return None,
        };
        return (name == table).then(|| columns(list)).flatten().map(|(columns, _)| (primary, columns));
    }
    if words.starts_with(&["CREATE", "UNIQUE", "INDEX"]) {
        let on = words.iter().position(|word| *word == "ON")?;
        let (name, rest) = name(&tokens[on + 1 + usize::from(words.get(on + 1) == Some(&"ONLY"))..])?;
        let list = rest.iter().position(|(token, _)| *token == Token::Open)?;
        let (columns, rest) = columns(&rest[list..])?;
        let partial = rest.iter().any(|(_, word)| *word == "WHERE");
        return (name == table && !partial).then_some((false, columns));
    }
    None
}

/// Reads a table's name from the front.
fn name<'a, 'b>(tokens: &'a Tokens<'b>) -> Option<(String, &'a Tokens<'b>)> {
    match tokens {
        [(_, schema), (_, "."), (_, table), rest @ ..] => {
            Some((full_name(Some(&unquoted(schema)), &unquoted(table)), rest))
        }
        [(_, table), rest @ ..] => Some((full_name(None, &unquoted(table)), rest)),
        [] => None,
    }
}

/// Reads `(a, b)`; anything but plain names in it is no list of columns.
fn columns<'a, 'b>(tokens: &'a Tokens<'b>) -> Option<(Vec<String>, &'a Tokens<'b>)> {
    let [(Token::Open, _), rest @ ..] = tokens else { return None };
    let end = rest.iter().position(|(token, _)| *token == Token::Close)?;
    let columns = rest[..end].chunks(2).map(|pair| match pair {
        [(Token::Word | Token::Quoted, name)] | [(Token::Word | Token::Quoted, name), (_, ",")] => Some(unquoted(name)),
        _ => None,
    });
    Some((columns.collect::<Option<Vec<_>>>()?, &rest[end + 1..]))
}

/// Returns the columns of a CREATE TABLE, one to a line, that are never null.
fn not_null(text: &str) -> BTreeSet<String> {
    let column = |line: &str| {
        let tokens = tokens(line, false);
        let (_, name) = tokens.first()?;
        let never = tokens.windows(2).any(|pair| matches!(pair, [(_, "NOT"), (_, "NULL")]));
        never.then(|| unquoted(name))
    };
    text.lines().skip(1).filter_map(column).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::Engine;

    fn of(table: &str, definitions: &[(&str, &str)]) -> Vec<Vec<String>> {
        let mut print = Fingerprint::new(Engine::Postgres);
        definitions.iter().for_each(|(object, text)| print.add(Aspect::Definition, *object, *text));
        keys(&print, table)
    }

    const TABLE: (&str, &str) = (
        "TABLE We ird.sel\"ect Tbl",
        "CREATE TABLE \"We ird\".\"sel\"\"ect Tbl\" (\n    \"col um'n\" text NOT NULL,\n    b integer NOT NULL,\n    c text,\n    \
         CONSTRAINT x CHECK ((c IS NOT NULL))\n);",
    );
    const NAME: &str = "\"We ird\".\"sel\"\"ect Tbl\"";

    #[test]
    fn the_primary_key_comes_first_and_only_what_is_never_null_follows() {
        let found = of(
            NAME,
            &[
                ("CONSTRAINT a", "ALTER TABLE ONLY \"We ird\".\"sel\"\"ect Tbl\"\n    ADD CONSTRAINT a UNIQUE (c);"),
                ("INDEX i", "CREATE UNIQUE INDEX i ON \"We ird\".\"sel\"\"ect Tbl\" USING btree (\"col um'n\", b);"),
                ("CONSTRAINT u", "ALTER TABLE ONLY \"We ird\".\"sel\"\"ect Tbl\"\n    ADD CONSTRAINT u UNIQUE (b);"),
                TABLE,
                (
                    "CONSTRAINT p",
                    "ALTER TABLE ONLY \"We ird\".\"sel\"\"ect Tbl\"\n    ADD CONSTRAINT p PRIMARY KEY (b, \"col um'n\");",
                ),
                ("CONSTRAINT o", "ALTER TABLE ONLY app.other\n    ADD CONSTRAINT o PRIMARY KEY (z);"),
            ],
        );
        assert_eq!(found, [vec!["b", "col um'n"], vec!["b"], vec!["col um'n", "b"]]);
    }

    #[test]
    fn an_index_of_expressions_or_of_a_part_of_the_rows_names_no_row() {
        let found = of(
            NAME,
            &[
                TABLE,
                (
                    "INDEX a",
                    "CREATE UNIQUE INDEX a ON \"We ird\".\"sel\"\"ect Tbl\" USING btree (lower(\"col um'n\"));",
                ),
                ("INDEX b", "CREATE UNIQUE INDEX b ON \"We ird\".\"sel\"\"ect Tbl\" USING btree (b) WHERE (b > 0);"),
                ("INDEX c", "CREATE INDEX c ON \"We ird\".\"sel\"\"ect Tbl\" USING btree (b);"),
            ],
        );
        assert_eq!(found, Vec::<Vec<String>>::new());
    }
}
