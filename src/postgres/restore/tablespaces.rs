//! Tablespaces that a dump names and a throwaway server lacks: made inside of its own folder, with owner and grants.

use std::collections::BTreeSet;

use super::settings::grant_on;
use crate::backups::Manifest;
use crate::compare::{Aspect, Item};
use crate::error::Result;
use crate::postgres::Session;
use crate::postgres::lexer::{literal, quoted};

/// Returns the tablespace that the manifest gives the database itself.
pub(super) fn of_database(manifest: Option<&Manifest>) -> Option<String> {
    let mut items = manifest.iter().flat_map(|m| &m.fingerprint.items);
    let value = |item: &Item| {
        let ours = item.aspect == Aspect::Property && item.object == "DATABASE";
        item.value.strip_prefix("TABLESPACE ").filter(|_| ours).map(str::to_owned)
    };
    items.find_map(value)
}

/// Returns whether the server can make tablespaces without a folder of their own.
pub(super) async fn creatable(session: &Session) -> Result<bool> {
    let sql = "select 1 from pg_catalog.pg_settings where name = 'allow_in_place_tablespaces'";
    let found = session.client().query_opt(sql, &[]).await;
    found.map(|row| row.is_some()).map_err(|e| session.error("could not ask the target what it has", &e))
}

/// Makes them.
pub(super) async fn create(session: &Session, missing: &BTreeSet<String>, manifest: Option<&Manifest>) -> Result<()> {
    let failed = |e: &tokio_postgres::Error| session.error("could not make the tablespaces that the dump names", e);
    for name in missing {
        // CREATE TABLESPACE takes no company in its message.
        for statement in
            ["SET allow_in_place_tablespaces = on", &format!("CREATE TABLESPACE {} LOCATION ''", quoted(name))]
        {
            session.client().batch_execute(statement).await.map_err(|e| failed(&e))?;
        }
        let items = manifest.iter().flat_map(|m| &m.fingerprint.items);
        let text: String = items.filter_map(|item| statement(name, item)).collect();
        session.client().batch_execute(&text).await.map_err(|e| failed(&e))?;
    }
    Ok(())
}

fn statement(tablespace: &str, item: &Item) -> Option<String> {
    if item.object.strip_prefix("TABLESPACE ")? != tablespace {
        return None;
    }
    let name = quoted(tablespace);
    match item.aspect {
        Aspect::Owner => Some(format!("ALTER TABLESPACE {name} OWNER TO {};\n", quoted(&item.value))),
        Aspect::Comment => Some(format!("COMMENT ON TABLESPACE {name} IS {};\n", literal(&item.value))),
        Aspect::Grants => grant_on(&format!("TABLESPACE {name}"), &item.value),
        Aspect::Property => {
            let (option, value) = item.value.split_once('=')?;
            Some(format!("ALTER TABLESPACE {name} SET ({} = {});\n", quoted(option), literal(value)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tablespace_gets_its_owner_grants_options_and_comment() {
        let item = |aspect, value: &str| Item { aspect, object: "TABLESPACE fa st".into(), value: value.into() };
        let items = [
            item(Aspect::Owner, "me"),
            item(Aspect::Comment, "it's quick"),
            item(Aspect::Grants, "GRANT CREATE TO \"app\" WITH GRANT OPTION"),
            item(Aspect::Grants, "GRANT CREATE; DROP DATABASE x TO PUBLIC"),
            item(Aspect::Property, "random_page_cost=1.1"),
        ];
        assert_eq!(
            items.iter().filter_map(|item| statement("fa st", item)).collect::<String>(),
            "ALTER TABLESPACE \"fa st\" OWNER TO \"me\";\nCOMMENT ON TABLESPACE \"fa st\" IS 'it''s quick';\n\
             GRANT CREATE ON TABLESPACE \"fa st\" TO \"app\" WITH GRANT OPTION;\n\
             ALTER TABLESPACE \"fa st\" SET (\"random_page_cost\" = '1.1');\n"
        );
        assert_eq!(statement("other", &items[0]), None);
    }
}
