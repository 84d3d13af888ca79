//! What a dump's statements say about each object: definition, owner, grants, comment, sequence state, large objects.
//!
//! What may lawfully differ between a database and its restored copy is left out or brought into one form: the settings at
//! the start, the order of an inheritance child's columns, where on the disk a table lies.

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};

use super::copy::full_name;
use super::large_objects::LargeObjects;
use super::lexer::{Token, tokens, unquoted};
use super::toc::Entry;
use crate::compare::{Aspect, Fingerprint};

/// Kinds of objects that pg_dump writes with more than one word before the name of a grant's or comment's object.
const LONG_KINDS: [&str; 13] = [
    "ACCESS METHOD",
    "DOMAIN CONSTRAINT",
    "EVENT TRIGGER",
    "FOREIGN DATA WRAPPER",
    "FOREIGN SERVER",
    "FOREIGN TABLE",
    "LARGE OBJECT",
    "MATERIALIZED VIEW",
    "OPERATOR CLASS",
    "OPERATOR FAMILY",
    "TEXT SEARCH CONFIGURATION",
    "TEXT SEARCH DICTIONARY",
    "USER MAPPING",
];

/// Collects what statements say.
pub(super) struct Structure {
    print: Fingerprint,
    large_objects: LargeObjects,
    /// Tables whose rows are hashed with their columns sorted by name.
    children: BTreeSet<String>,
    /// Roles that own something or are named by a grant or a policy.
    roles: BTreeSet<String>,
    tablespace: String,
    access_method: String,
    grantor: Option<String>,
}

impl Structure {
    pub(super) fn new(print: Fingerprint) -> Self {
        Self {
            print,
            large_objects: LargeObjects::default(),
            children: BTreeSet::new(),
            roles: BTreeSet::new(),
            tablespace: String::new(),
            access_method: "heap".into(),
            grantor: None,
        }
    }

    /// Returns whether a restore may change the order of the table's columns: children of an inheritance get their
    /// parents' columns first.
    pub(super) fn is_child(&self, table: &str) -> bool {
        self.children.contains(table)
    }

    /// Notes in which order a child has its columns.
    pub(super) fn column_order(&mut self, table: &str, columns: &[String]) {
        self.print.add(Aspect::ColumnOrder, format!("TABLE {table}"), columns.join(", "));
    }

    /// Returns what was collected, and the roles that it names.
    pub(super) fn finish(mut self) -> (Fingerprint, BTreeSet<String>) {
        self.large_objects.finish(&mut self.print);
        (self.print, self.roles)
    }

    /// Takes a statement in.
    pub(super) fn statement(&mut self, text: &str, entry: Option<&Entry>) {
        if self.is_state(text) {
            return;
        }
        // The settings at the start belong to the dump and not to the database.
        let Some(entry) = entry else { return };
        match entry.kind.as_str() {
            "ACL" | "DEFAULT ACL" => self.grant(text, entry),
            "COMMENT" => self.print.add(Aspect::Comment, described(entry), text),
            "SECURITY LABEL" => self.print.add(Aspect::Definition, described(entry), text),
            "SEQUENCE SET" => self.print.add(Aspect::Sequence, object("SEQUENCE", entry), sequence_state(text)),
            _ if self.large_objects.statement(text, entry, &mut self.roles) => {}
            _ => match owner(text) {
                Some(role) => {
                    self.print.add(Aspect::Owner, object(&entry.kind, entry), role.as_str());
                    self.roles.insert(role);
                }
                None => self.definition(text, entry),
            },
        }
    }

    /// Takes in statements that change how the next ones are meant; returns whether this was one.
    fn is_state(&mut self, text: &str) -> bool {
        let value = |name: &str| {
            let value = text.strip_prefix("SET ")?.strip_prefix(name)?.trim_start().strip_prefix('=')?;
            Some(value.trim().trim_end_matches(';').trim_matches('\'').to_owned())
        };
        if let Some(tablespace) = value("default_tablespace") {
            self.tablespace = tablespace;
        } else if let Some(method) = value("default_table_access_method") {
            self.access_method = method;
        } else if let Some(role) = text.strip_prefix("SET SESSION AUTHORIZATION ") {
            self.grantor = (role != "DEFAULT;").then(|| unquoted(role.trim_end_matches(';').trim_matches('\'')));
        } else if text == "RESET SESSION AUTHORIZATION;" {
            self.grantor = None;
        } else {
            return false;
        }
        true
    }

    fn definition(&mut self, text: &str, entry: &Entry) {
        let object = object(&entry.kind, entry);
        match entry.kind.as_str() {
            "TABLE" | "FOREIGN TABLE" | "MATERIALIZED VIEW" | "INDEX" | "CONSTRAINT" if text.starts_with("CREATE ") => {
                if !self.tablespace.is_empty() && entry.kind != "FOREIGN TABLE" {
                    self.print.add(Aspect::Property, &*object, format!("tablespace {}", self.tablespace));
                }
                if self.access_method != "heap" && entry.kind == "TABLE" {
                    self.print.add(Aspect::Property, &*object, format!("access method {}", self.access_method));
                }
                if let Some(child) = inherits(text) {
                    self.children.insert(child);
                    return self.print.add(Aspect::Definition, object, sorted_columns(text));
                }
            }
            "POLICY" => self.roles.extend(roles_after(text, "to")),
            // Passwords: a change must show, the value must not.
            "USER MAPPING" | "SUBSCRIPTION" => {
                // Everybody is written as `public`, which no role may be called.
                let is_role = |role: &String| entry.kind == "USER MAPPING" && role != "public";
                self.roles.extend(roles_after(text, "for").into_iter().filter(is_role));
                return self.print.add(Aspect::Definition, object, masked(text));
            }
            _ => {}
        }
        self.print.add(Aspect::Definition, object, text);
    }

    /// Grants are a set: each statement is a value of its own.
    fn grant(&mut self, text: &str, entry: &Entry) {
        let object = match (entry.kind.as_str(), &entry.schema) {
            ("ACL", _) => described(entry),
            (_, Some(schema)) => format!("{} IN SCHEMA {schema}", entry.name),
            (_, None) => entry.name.clone(),
        };
        let keyword = if text.contains("REVOKE ") { "from" } else { "to" };
        self.roles.extend(roles_after(text, keyword));
        self.roles.extend(roles_after(text, "role"));
        match &self.grantor {
            Some(grantor) => {
                self.roles.insert(grantor.clone());
                self.print.add(Aspect::Grants, object, format!("{text} -- granted by {grantor}"));
            }
            None => self.print.add(Aspect::Grants, object, text),
        }
    }
}

/// Returns `KIND schema.name`.
pub(super) fn object(kind: &str, entry: &Entry) -> String {
    match &entry.schema {
        Some(schema) => format!("{kind} {schema}.{}", entry.name),
        None => format!("{kind} {}", entry.name),
    }
}

/// Returns the object of a grant or comment, whose entry is named `TABLE customers`.
fn described(entry: &Entry) -> String {
    let Some(schema) = &entry.schema else { return entry.name.clone() };
    let kind = LONG_KINDS.into_iter().find(|kind| entry.name.starts_with(kind));
    let split = kind.map(str::len).or_else(|| entry.name.find(' '));
    match split.and_then(|at| entry.name.split_at_checked(at)) {
        Some((kind, name)) => format!("{kind} {schema}.{}", name.trim_start()),
        None => format!("{schema}.{}", entry.name),
    }
}

/// Reads `ALTER … OWNER TO role;`.
fn owner(text: &str) -> Option<String> {
    if !text.starts_with("ALTER ") {
        return None;
    }
    let tokens = tokens(text, false);
    let [.., (_, owner), (_, to), (Token::Word | Token::Quoted, role), (Token::Semicolon, _)] = tokens.as_slice()
    else {
        return None;
    };
    (*owner == "OWNER" && *to == "TO").then(|| unquoted(role))
}

/// Returns the roles that are listed behind the last `keyword` outside parentheses.
fn roles_after(text: &str, keyword: &str) -> Vec<String> {
    let tokens = tokens(text, false);
    let mut depth = 0usize;
    let mut at = None;
    for (i, (token, text)) in tokens.iter().enumerate() {
        match token {
            Token::Open => depth += 1,
            Token::Close => depth = depth.saturating_sub(1),
            Token::Word if depth == 0 && text.eq_ignore_ascii_case(keyword) => at = Some(i + 1),
            _ => {}
        }
    }
    let Some(at) = at else { return Vec::new() };
    // Names at even places, commas between them.
    let mut roles = Vec::new();
    for pair in tokens[at..].chunks(2) {
        match pair.first() {
            Some((Token::Quoted, name)) => roles.push(unquoted(name)),
            Some((Token::Word, name)) if *name != "PUBLIC" => roles.push(unquoted(name)),
            _ => {}
        }
        if pair.get(1).is_none_or(|(_, comma)| *comma != ",") {
            break;
        }
    }
    roles
}

/// Reads `1001, true` out of `SELECT pg_catalog.setval('app.seq', 1001, true);`.
fn sequence_state(text: &str) -> String {
    let tokens = tokens(text, false);
    let from = tokens.iter().position(|(token, _)| *token == Token::Text);
    let to = tokens.iter().rposition(|(token, _)| *token == Token::Close);
    match (from, to) {
        (Some(from), Some(to)) if from + 2 <= to => {
            let rest: String = tokens[from + 2..to].iter().map(|(_, text)| *text).collect();
            let (value, used) = rest.split_once(',').unwrap_or((&rest, "true"));
            format!("{value}, {}", if used == "true" { "used" } else { "not used yet" })
        }
        _ => text.to_owned(),
    }
}

/// Returns the table that a CREATE TABLE with INHERITS makes.
fn inherits(text: &str) -> Option<String> {
    let tokens = tokens(text, false);
    let mut depth = 0usize;
    let inherits = tokens.iter().any(|(token, text)| {
        match token {
            Token::Open => depth += 1,
            Token::Close => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0 && *token == Token::Word && *text == "INHERITS"
    });
    let at = tokens.iter().position(|(token, text)| *token == Token::Word && *text == "TABLE").filter(|_| inherits)?;
    let (_, first) = tokens.get(at + 1)?;
    match (tokens.get(at + 2), tokens.get(at + 3)) {
        (Some((_, ".")), Some((_, name))) => Some(full_name(Some(&unquoted(first)), &unquoted(name))),
        _ => Some(full_name(None, &unquoted(first))),
    }
}

/// Returns a CREATE TABLE with its columns in the order of their names.
fn sorted_columns(text: &str) -> String {
    let mut lines: Vec<&str> = text.lines().collect();
    let end = lines.iter().position(|line| line.starts_with(')')).unwrap_or(lines.len());
    if end > 1 {
        lines[1..end].iter_mut().for_each(|line| *line = line.trim_end_matches(','));
        lines[1..end].sort_unstable();
    }
    lines.join("\n")
}

/// Returns a statement with eight digits of a digest in the place of every string.
fn masked(text: &str) -> String {
    let mut out = String::new();
    for (token, text) in tokens(text, false) {
        if !out.is_empty() {
            out.push(' ');
        }
        if token == Token::Text {
            let digest = Sha256::digest(text.as_bytes());
            out.push_str("'masked ");
            digest[..4].iter().for_each(|byte| out.push_str(&format!("{byte:02x}")));
            out.push('\'');
        } else {
            out.push_str(text);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::Engine;

    fn entry(kind: &str, name: &str) -> Entry {
        Entry { name: name.into(), kind: kind.into(), schema: Some("app".into()), owner: None }
    }

    fn items(statements: &[(&str, &str, &str)]) -> (Vec<String>, Structure) {
        let mut structure = Structure::new(Fingerprint::new(Engine::Postgres));
        for (kind, name, text) in statements {
            structure.statement(text, Some(&entry(kind, name)));
        }
        let told = structure.print.items.iter().map(|i| format!("{:?} {} = {}", i.aspect, i.object, i.value));
        (told.collect(), structure)
    }

    #[test]
    fn every_statement_lands_on_its_side_of_the_object() {
        let (told, structure) = items(&[
            ("FUNCTION", "f(integer)", "ALTER FUNCTION app.f(x integer) OWNER TO \"Me\";"),
            ("ACL", "TABLE t", "GRANT SELECT ON TABLE app.t TO ro, \"W x\" WITH GRANT OPTION;"),
            ("ACL", "COLUMN t.c", "GRANT UPDATE(c) ON TABLE app.t TO PUBLIC;"),
            (
                "DEFAULT ACL",
                "DEFAULT PRIVILEGES FOR TABLES",
                "ALTER DEFAULT PRIVILEGES FOR ROLE adm IN SCHEMA app GRANT SELECT ON TABLES  TO ro2;",
            ),
            ("COMMENT", "MATERIALIZED VIEW mv", "COMMENT ON MATERIALIZED VIEW app.mv IS 'x';"),
            ("SEQUENCE SET", "s", "SELECT pg_catalog.setval('app.s, x', -5, false);"),
            ("POLICY", "t p", "CREATE POLICY p ON app.t TO pol USING ((a)::text = 'TO x');"),
        ]);
        assert_eq!(
            told,
            [
                "Owner FUNCTION app.f(integer) = Me",
                "Grants TABLE app.t = GRANT SELECT ON TABLE app.t TO ro, \"W x\" WITH GRANT OPTION;",
                "Grants COLUMN app.t.c = GRANT UPDATE(c) ON TABLE app.t TO PUBLIC;",
                "Grants DEFAULT PRIVILEGES FOR TABLES IN SCHEMA app = ALTER DEFAULT PRIVILEGES FOR ROLE adm IN \
                 SCHEMA app GRANT SELECT ON TABLES  TO ro2;",
                "Comment MATERIALIZED VIEW app.mv = COMMENT ON MATERIALIZED VIEW app.mv IS 'x';",
                "Sequence SEQUENCE app.s = -5, not used yet",
                "Definition POLICY app.t p = CREATE POLICY p ON app.t TO pol USING ((a)::text = 'TO x');",
            ]
        );
        let roles = structure.finish().1;
        assert_eq!(roles.iter().map(String::as_str).collect::<Vec<_>>(), ["Me", "W x", "adm", "pol", "ro", "ro2"]);
    }

    #[test]
    fn a_grant_by_another_role_keeps_its_grantor() {
        let (told, _) = items(&[
            ("ACL", "TABLE t", "SET SESSION AUTHORIZATION bob;"),
            ("ACL", "TABLE t", "GRANT SELECT ON TABLE app.t TO ro;"),
            ("ACL", "TABLE t", "RESET SESSION AUTHORIZATION;"),
        ]);
        assert_eq!(told, ["Grants TABLE app.t = GRANT SELECT ON TABLE app.t TO ro; -- granted by bob"]);
    }

    #[test]
    fn the_column_order_of_an_inheritance_child_does_not_matter_and_of_others_it_does() {
        let one = "CREATE TABLE app.c (\n    w text,\n    id integer\n)\nINHERITS (app.p);";
        let two = "CREATE TABLE app.c (\n    id integer,\n    w text\n)\nINHERITS (app.p);";
        let ((a, structure), (b, _)) = (items(&[("TABLE", "c", one)]), items(&[("TABLE", "c", two)]));
        assert_eq!(a, b);
        assert!(structure.is_child("app.c"));
        let plain = |text: &str| items(&[("TABLE", "c", &text.replace("\nINHERITS (app.p)", ""))]).0;
        assert_ne!(plain(one), plain(two));
    }

    #[test]
    fn a_password_shows_that_it_changed_and_not_what_it_is() {
        let mapping = |password: &str| {
            let text = format!("CREATE USER MAPPING FOR a SERVER s OPTIONS (\n    password '{password}'\n);");
            items(&[("USER MAPPING", "a SERVER s", &text)]).0
        };
        assert_ne!(mapping("canary1"), mapping("canary2"));
        assert!(!mapping("canary1")[0].contains("canary"), "{:?}", mapping("canary1"));
    }
}
