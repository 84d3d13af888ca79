//! What a plain dump leaves out and the manifest knows: the database's own locale, settings, owner, grants and comment.

use super::database::Locale;
use super::{RestoreOptions, tablespaces};
use crate::backups::Manifest;
use crate::compare::{Aspect, Item};
use crate::error::Result;
use crate::postgres::Session;
use crate::postgres::lexer::{Token, literal, quoted, tokens, unquoted};

/// The object under which the fingerprint keeps the database's own items.
const DATABASE: &str = "DATABASE";
/// Settings whose value is a list of names; the catalog keeps them as SQL, every other value as it is.
const LISTS: [&str; 6] = [
    "local_preload_libraries",
    "search_path",
    "session_preload_libraries",
    "shared_preload_libraries",
    "temp_tablespaces",
    "unix_socket_directories",
];

/// Returns how the new database shall store and sort text. A server takes text of no encoding for valid in any, so what
/// comes from such a database must go into one.
pub(super) fn locale(manifest: Option<&Manifest>, options: &RestoreOptions, preamble: &[String]) -> Locale {
    let bare = preamble.iter().any(|setting| setting == "SET client_encoding = 'SQL_ASCII';");
    let usual = if bare { "SQL_ASCII" } else { "UTF8" };
    let property = |name: &str| {
        let mut items = manifest.iter().flat_map(|m| &m.fingerprint.items);
        let value = |item: &Item| {
            let ours = item.aspect == Aspect::Property && item.object == DATABASE;
            item.value.strip_prefix(name).filter(|_| ours)?.strip_prefix(' ').map(str::to_owned)
        };
        items.find_map(value)
    };
    let chosen = |name: &str| options.locale.clone().or_else(|| property(name));
    Locale {
        encoding: Some(property("ENCODING").unwrap_or_else(|| usual.to_owned())),
        collate: chosen("LC_COLLATE"),
        ctype: chosen("LC_CTYPE"),
        provider: property("LOCALE_PROVIDER").filter(|_| options.locale.is_none()),
        name: property("LOCALE").filter(|_| options.locale.is_none()),
        tablespace: tablespaces::of_database(manifest),
    }
}

/// Gives the database the properties that its manifest tells.
pub(super) async fn apply(session: &Session, database: &str, manifest: Option<&Manifest>) -> Result<()> {
    let Some(manifest) = manifest else { return Ok(()) };
    let text = statements(database, &manifest.fingerprint.items);
    let applied = session.client().batch_execute(&text).await;
    applied.map_err(|e| session.error("could not give the database its settings, owner and grants", &e))
}

fn statements(database: &str, items: &[Item]) -> String {
    let database = quoted(database);
    // The owner first: grants are given in the owner's name.
    let owner = items.iter().find(|item| item.aspect == Aspect::Owner && item.object == DATABASE);
    let owner = owner.map(|item| item.value.as_str());
    let mut first = String::new();
    let mut rest = String::new();
    for item in items {
        let value = item.value.as_str();
        let ours = item.object == DATABASE;
        match item.aspect {
            Aspect::Owner if ours => {
                first.push_str(&format!("ALTER DATABASE {database} OWNER TO {};\n", quoted(value)))
            }
            Aspect::Comment if ours => {
                rest.push_str(&format!("COMMENT ON DATABASE {database} IS {};\n", literal(value)))
            }
            Aspect::Grants if ours => rest.extend(grant(&database, owner, value)),
            Aspect::Property if ours => rest.extend(property(&database, value)),
            Aspect::Property => {
                let role = item.object.strip_prefix("ROLE ").and_then(|o| o.strip_suffix(" IN DATABASE"));
                let set = role.zip(set_clause(value));
                rest.extend(
                    set.map(|(role, set)| format!("ALTER ROLE {} IN DATABASE {database} {set};\n", quoted(role))),
                );
            }
            _ => {}
        }
    }
    if !first.is_empty() {
        // A database of a manifest has the grants that are listed; a new one lets everybody in.
        first.push_str(&format!("REVOKE ALL ON DATABASE {database} FROM PUBLIC;\n"));
    }
    first + rest.as_str()
}

fn property(database: &str, value: &str) -> Option<String> {
    if let Some(limit) = value.strip_prefix("CONNECTION LIMIT ") {
        let limit: i32 = limit.parse().ok()?;
        return Some(format!("ALTER DATABASE {database} CONNECTION LIMIT {limit};\n"));
    }
    if value == "IS_TEMPLATE true" {
        return Some(format!("ALTER DATABASE {database} IS_TEMPLATE true;\n"));
    }
    set_clause(value).map(|set| format!("ALTER DATABASE {database} {set};\n"))
}

/// Reads `GRANT CONNECT TO "role" WITH GRANT OPTION`, which leaves out the database, or `REVOKE CONNECT FROM OWNER`.
fn grant(database: &str, owner: Option<&str>, value: &str) -> Option<String> {
    if let Some(privilege) = value.strip_prefix("REVOKE ").and_then(|rest| rest.strip_suffix(" FROM OWNER")) {
        let privilege = PRIVILEGES.into_iter().find(|known| *known == privilege)?;
        return Some(format!("REVOKE {privilege} ON DATABASE {database} FROM {};\n", quoted(owner?)));
    }
    grant_on(&format!("DATABASE {database}"), value)
}

/// The privileges that databases and tablespaces have. They come from a file, so nothing else of it becomes SQL.
const PRIVILEGES: [&str; 4] = ["CREATE", "CONNECT", "TEMPORARY", "TEMP"];

/// Returns the statement that gives a grant of the fingerprint on an object.
pub(super) fn grant_on(object: &str, value: &str) -> Option<String> {
    let tokens = tokens(value, false);
    let [(_, "GRANT"), (Token::Word, privilege), (_, "TO"), (token, grantee), option @ ..] = tokens.as_slice() else {
        return None;
    };
    let grantee = match (token, *grantee) {
        (Token::Word, "PUBLIC") => "PUBLIC".to_owned(),
        (_, name) => quoted(&unquoted(name)),
    };
    let privilege = PRIVILEGES.into_iter().find(|known| known == privilege)?;
    let option = if option.is_empty() { "" } else { " WITH GRANT OPTION" };
    Some(format!("GRANT {privilege} ON {object} TO {grantee}{option};\n"))
}

/// Returns `SET "name" TO value` for `SET name TO value` as the catalog keeps the value.
pub(super) fn set_clause(value: &str) -> Option<String> {
    let (name, value) = value.strip_prefix("SET ")?.split_once(" TO ")?;
    let is_list = LISTS.contains(&name.to_ascii_lowercase().as_str());
    let value = if is_list { list(value) } else { literal(value) };
    // An extension's setting has a dot, which is no part of a name.
    let name = name.split('.').map(quoted).collect::<Vec<_>>().join(".");
    Some(format!("SET {name} TO {value}"))
}

/// Returns a list of names as SQL: words and quoted names pass, everything else becomes one string.
fn list(value: &str) -> String {
    let tokens = tokens(value, false);
    let plain =
        |(token, text): &(Token, &str)| matches!(token, Token::Word | Token::Quoted | Token::Text) || *text == ",";
    if !tokens.is_empty() && tokens.iter().all(plain) { value.to_owned() } else { literal(value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(aspect: Aspect, object: &str, value: &str) -> Item {
        Item { aspect, object: object.into(), value: value.into() }
    }

    #[test]
    fn a_database_gets_its_owner_grants_settings_and_comment() {
        let items = [
            item(Aspect::Property, "DATABASE", "ENCODING UTF8"),
            item(Aspect::Property, "DATABASE", "CONNECTION LIMIT 7"),
            item(Aspect::Property, "DATABASE", "SET datestyle TO German, DMY"),
            item(Aspect::Property, "DATABASE", "SET search_path TO \"$user\", app"),
            item(Aspect::Property, "DATABASE", "SET app.note TO it's"),
            item(Aspect::Property, "ROLE a b IN DATABASE", "SET work_mem TO 8MB"),
            item(Aspect::Grants, "DATABASE", "GRANT CONNECT TO \"app ro\" WITH GRANT OPTION"),
            item(Aspect::Grants, "DATABASE", "GRANT TEMPORARY TO PUBLIC"),
            item(Aspect::Grants, "DATABASE", "GRANT ALL; DROP DATABASE y TO PUBLIC"),
            item(Aspect::Grants, "TABLE t", "GRANT SELECT TO x"),
            item(Aspect::Grants, "DATABASE", "REVOKE CREATE FROM OWNER"),
            item(Aspect::Property, "DATABASE", "IS_TEMPLATE true"),
            item(Aspect::Comment, "DATABASE", "it's ours"),
            item(Aspect::Owner, "DATABASE", "app_owner"),
        ];
        assert_eq!(
            statements("d", &items).lines().collect::<Vec<_>>(),
            [
                "ALTER DATABASE \"d\" OWNER TO \"app_owner\";",
                "REVOKE ALL ON DATABASE \"d\" FROM PUBLIC;",
                "ALTER DATABASE \"d\" CONNECTION LIMIT 7;",
                "ALTER DATABASE \"d\" SET \"datestyle\" TO 'German, DMY';",
                "ALTER DATABASE \"d\" SET \"search_path\" TO \"$user\", app;",
                "ALTER DATABASE \"d\" SET \"app\".\"note\" TO 'it''s';",
                "ALTER ROLE \"a b\" IN DATABASE \"d\" SET \"work_mem\" TO '8MB';",
                "GRANT CONNECT ON DATABASE \"d\" TO \"app ro\" WITH GRANT OPTION;",
                "GRANT TEMPORARY ON DATABASE \"d\" TO PUBLIC;",
                "REVOKE CREATE ON DATABASE \"d\" FROM \"app_owner\";",
                "ALTER DATABASE \"d\" IS_TEMPLATE true;",
                "COMMENT ON DATABASE \"d\" IS 'it''s ours';",
            ]
        );
    }

    #[test]
    fn a_list_that_is_none_becomes_a_string() {
        assert_eq!(set_clause("SET search_path TO a; drop").as_deref(), Some("SET \"search_path\" TO 'a; drop'"));
        assert_eq!(set_clause("SET search_path TO \"\"").as_deref(), Some("SET \"search_path\" TO \"\""));
    }
}
