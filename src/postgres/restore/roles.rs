//! Roles that a dump names and a throwaway server lacks: made with the attributes and memberships of the manifest.

use std::collections::BTreeSet;

use super::settings::set_clause;
use crate::backups::Manifest;
use crate::compare::{Aspect, Item};
use crate::error::Result;
use crate::postgres::Session;
use crate::postgres::lexer::{literal, quoted, tokens, unquoted};

/// The words that a manifest may say about a role. They come from a file, so nothing else of it becomes SQL.
const FLAGS: [&str; 7] = ["SUPERUSER", "INHERIT", "CREATEROLE", "CREATEDB", "LOGIN", "REPLICATION", "BYPASSRLS"];

/// Makes the roles, all or none. Without a manifest nothing is known of them but their names. None gets a password.
pub(super) async fn create(session: &Session, missing: &BTreeSet<String>, manifest: Option<&Manifest>) -> Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    let ours =
        |item: &&Item| matches!(item.aspect, Aspect::Role | Aspect::Grants | Aspect::Comment) && role(item).is_some();
    let items: Vec<&Item> = manifest.iter().flat_map(|m| &m.fingerprint.items).filter(ours).collect();
    let mut missing = missing.clone();
    // A role may be in the dump only as what another one is a member of.
    let there = session.client().query("select rolname::text from pg_catalog.pg_roles", &[]).await;
    let there = there.map_err(|e| session.error("could not list the roles", &e))?;
    let there: BTreeSet<String> = there.iter().map(|row| row.get(0)).collect();
    missing.extend(items.iter().filter_map(|item| role(item)).filter(|role| !there.contains(*role)).map(str::to_owned));
    let made = session.client().batch_execute(&statements(&missing, &items)).await;
    made.map_err(|e| session.error("could not make the roles that the dump names", &e))
}

fn role(item: &Item) -> Option<&str> {
    item.object.strip_prefix("ROLE ")
}

fn statements(missing: &BTreeSet<String>, items: &[&Item]) -> String {
    let mut text: String = missing.iter().map(|role| format!("CREATE ROLE {};\n", quoted(role))).collect();
    for item in items {
        let Some(name) = role(item).filter(|role| missing.contains(*role)) else { continue };
        let name = quoted(name);
        if item.aspect == Aspect::Comment {
            text.push_str(&format!("COMMENT ON ROLE {name} IS {};\n", literal(&item.value)));
        } else if item.aspect == Aspect::Grants {
            text.extend(on_parameter(&name, &item.value));
        } else if let Some(group) = item.value.strip_prefix("GRANT ") {
            let (group, admin) = group.split_once(" TO IT").unwrap_or((group, ""));
            let option = if admin.is_empty() { "" } else { " WITH ADMIN OPTION" };
            text.push_str(&format!("GRANT {} TO {name}{option};\n", quoted(&unquoted(group))));
        } else if let Some(set) = set_clause(&item.value) {
            text.push_str(&format!("ALTER ROLE {name} {set};\n"));
        } else {
            text.push_str(&format!("ALTER ROLE {name}{};\n", attributes(&item.value)));
        }
    }
    text
}

/// Reads `GRANT SET ON PARAMETER work_mem TO IT WITH GRANT OPTION`.
fn on_parameter(role: &str, value: &str) -> Option<String> {
    let (privilege, rest) = value.strip_prefix("GRANT ")?.split_once(" ON PARAMETER ")?;
    let (parameter, option) = rest.split_once(" TO IT")?;
    let privilege = ["SET", "ALTER SYSTEM"].into_iter().find(|known| *known == privilege)?;
    let option = if option.is_empty() { "" } else { " WITH GRANT OPTION" };
    // An extension's parameter has a dot, which is no part of a name.
    let parameter = parameter.split('.').map(quoted).collect::<Vec<_>>().join(".");
    Some(format!("GRANT {privilege} ON PARAMETER {parameter} TO {role}{option};\n"))
}

/// Returns the attributes that are known.
fn attributes(value: &str) -> String {
    let tokens = tokens(value, false);
    let mut out = String::new();
    for (at, (_, word)) in tokens.iter().enumerate() {
        if FLAGS.contains(word) || word.strip_prefix("NO").is_some_and(|word| FLAGS.contains(&word)) {
            out.push_str(&format!(" {word}"));
        }
        let number = |at: usize| -> Option<i32> {
            let text: String =
                tokens[at..].iter().take(2).map(|(_, text)| *text).take_while(|t| *t != "VALID").collect();
            text.parse().ok()
        };
        match *word {
            "LIMIT" => out.extend(number(at + 1).map(|limit| format!(" CONNECTION LIMIT {limit}"))),
            "UNTIL" => out.extend(tokens.get(at + 1).map(|(_, until)| format!(" VALID UNTIL {until}"))),
            _ => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(role: &str, value: &str) -> Item {
        Item { aspect: Aspect::Role, object: format!("ROLE {role}"), value: value.into() }
    }

    #[test]
    fn roles_come_back_with_attributes_settings_and_memberships() {
        let items = [
            item("app", "NOSUPERUSER INHERIT NOCREATEDB LOGIN CONNECTION LIMIT -1 VALID UNTIL '2030-01-01'"),
            item("app", "SET search_path TO app, public"),
            item("app", "GRANT \"read ers\" TO IT WITH ADMIN OPTION"),
            Item { aspect: Aspect::Grants, ..item("app", "GRANT SET ON PARAMETER work_mem TO IT") },
            Item { aspect: Aspect::Grants, ..item("app", "GRANT SET ON PARAMETER work_mem; DROP ROLE b") },
            Item { aspect: Aspect::Comment, ..item("app", "it's") },
            item("other", "SUPERUSER"),
        ];
        let missing = BTreeSet::from(["app".to_owned(), "read ers".to_owned()]);
        assert_eq!(
            statements(&missing, &items.iter().collect::<Vec<_>>()),
            "CREATE ROLE \"app\";\nCREATE ROLE \"read ers\";\n\
             ALTER ROLE \"app\" NOSUPERUSER INHERIT NOCREATEDB LOGIN CONNECTION LIMIT -1 VALID UNTIL '2030-01-01';\n\
             ALTER ROLE \"app\" SET \"search_path\" TO app, public;\n\
             GRANT \"read ers\" TO \"app\" WITH ADMIN OPTION;\n\
             GRANT SET ON PARAMETER \"work_mem\" TO \"app\";\nCOMMENT ON ROLE \"app\" IS 'it''s';\n"
        );
    }

    #[test]
    fn a_forged_manifest_becomes_no_other_sql() {
        let forged = [item("app", "LOGIN; DROP DATABASE x; --"), item("app", "GRANT a; DROP ROLE b TO IT")];
        let text = statements(&BTreeSet::from(["app".to_owned()]), &forged.iter().collect::<Vec<_>>());
        assert_eq!(text, "CREATE ROLE \"app\";\nALTER ROLE \"app\" LOGIN;\nGRANT \"a; drop role b\" TO \"app\";\n");
    }
}
