//! Large objects: existence, owner and content of each, or of all of them in one sum where they are too many to list.

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};

use super::lexer::{Token, tokens, unquoted};
use super::toc::Entry;
use crate::compare::{Aspect, Fingerprint, Item, RowSum, Table};

/// From here on the list itself would be the memory problem. Some databases have millions.
const LISTED: usize = 30_000;
/// The name of the sum: the catalogue that holds their bytes.
const SUMMED: &str = "pg_catalog.pg_largeobject";

/// Collects large objects.
#[derive(Default)]
pub(super) struct LargeObjects {
    items: Vec<Item>,
    count: u64,
    sum: RowSum,
    open: Option<Open>,
}

/// The one whose bytes pass by.
struct Open {
    name: String,
    hash: Sha256,
    digits: u64,
}

impl LargeObjects {
    /// Takes a statement in; returns false when it is not about large objects.
    pub(super) fn statement(&mut self, text: &str, entry: &Entry, roles: &mut BTreeSet<String>) -> bool {
        if !matches!(entry.kind.as_str(), "BLOB" | "BLOBS" | "BLOB METADATA" | "LARGE OBJECTS") {
            return false;
        }
        if let Some(rest) = text.strip_prefix("SELECT pg_catalog.lowrite(0, ") {
            self.write(rest);
        } else if let Some(rest) = text.strip_prefix("SELECT pg_catalog.lo_open(") {
            self.open = Some(Open { name: number(rest), hash: Sha256::new(), digits: 0 });
        } else if text == "SELECT pg_catalog.lo_close(0);" {
            self.close();
        } else if let Some(rest) = text.strip_prefix("SELECT pg_catalog.lo_create(") {
            self.add(Aspect::Definition, &number(rest), "exists".into());
        } else if let Some((name, role)) = altered(text) {
            self.add(Aspect::Owner, &name, role.clone());
            roles.insert(role);
        } else {
            return matches!(text, "BEGIN;" | "COMMIT;");
        }
        true
    }

    /// Hashes the digits: where pg_dump cuts its pieces does not matter.
    fn write(&mut self, literal: &str) {
        let Some(open) = &mut self.open else { return };
        let digits = literal.split_once("\\x").map_or("", |(_, rest)| rest).trim_end_matches("');");
        open.hash.update(digits.as_bytes());
        open.digits += digits.len() as u64;
    }

    fn close(&mut self) {
        let Some(open) = self.open.take() else { return };
        let digest: String = open.hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        self.add(Aspect::LargeObject, &open.name, format!("{} bytes, SHA-256 of hex {digest}", open.digits / 2));
    }

    fn add(&mut self, aspect: Aspect, name: &str, value: String) {
        self.count += 1;
        self.sum.add_row(format!("{name}\t{}\t{value}", aspect.word()).as_bytes());
        if self.items.len() < LISTED {
            self.items.push(Item { aspect, object: format!("LARGE OBJECT {name}"), value });
        }
    }

    /// Adds what was collected. The number decides the form, so that two equal databases always take the same.
    pub(super) fn finish(self, print: &mut Fingerprint) {
        if self.count as usize <= LISTED {
            print.items.extend(self.items);
        } else {
            let table = Table { rows: self.count, sum: self.sum, columns: Vec::new() };
            print.tables.insert(SUMMED.into(), table);
        }
    }
}

/// Reads the number at the start of `'7001', 131072);`.
fn number(rest: &str) -> String {
    rest.trim_start_matches('\'').chars().take_while(char::is_ascii_digit).collect()
}

/// Reads `ALTER LARGE OBJECT 7001 OWNER TO role;`.
fn altered(text: &str) -> Option<(String, String)> {
    let rest = text.strip_prefix("ALTER LARGE OBJECT ")?;
    let tokens = tokens(rest, false);
    let [.., (Token::Word | Token::Quoted, role), (Token::Semicolon, _)] = tokens.as_slice() else { return None };
    Some((number(rest), unquoted(role)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::Engine;

    fn print(statements: &[String]) -> Fingerprint {
        let entry = Entry { name: "BLOBS".into(), kind: "BLOBS".into(), schema: None, owner: None };
        let mut objects = LargeObjects::default();
        for text in statements {
            assert!(objects.statement(text, &entry, &mut BTreeSet::new()), "{text}");
        }
        let mut print = Fingerprint::new(Engine::Postgres);
        objects.finish(&mut print);
        print
    }

    fn object(number: usize, pieces: &[&str]) -> Vec<String> {
        let mut statements = vec![format!("SELECT pg_catalog.lo_open('{number}', 131072);")];
        statements.extend(pieces.iter().map(|piece| format!("SELECT pg_catalog.lowrite(0, '\\x{piece}');")));
        statements.push("SELECT pg_catalog.lo_close(0);".into());
        statements
    }

    #[test]
    fn where_pieces_are_cut_does_not_matter_and_a_bit_does() {
        assert_eq!(print(&object(7, &["0001", "02"])), print(&object(7, &["000102"])));
        assert_ne!(print(&object(7, &["000102"])), print(&object(7, &["000103"])));
        assert_eq!(print(&object(7, &["000102"])).items[0].object, "LARGE OBJECT 7");
        assert!(print(&object(7, &["000102"])).items[0].value.starts_with("3 bytes"));
    }

    #[test]
    fn very_many_are_one_sum_that_still_sees_a_bit() {
        let many = |last: &str| {
            let mut statements: Vec<String> = (0..LISTED).flat_map(|n| object(n, &["00"])).collect();
            statements.extend(object(LISTED, &[last]));
            print(&statements)
        };
        assert!(many("00").items.is_empty());
        assert_eq!(many("00").tables[SUMMED].rows, LISTED as u64 + 1);
        assert_ne!(many("00"), many("01"));
    }
}
