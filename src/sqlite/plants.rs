//! Damages for a restored copy of a SQLite database, one change each.

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::{Access, Database, execute, query};
use crate::error::{Error, Kind, Result};

/// A damage: its title, and a query that writes the statements that could do it, in the order in which they are tried.
struct Damage {
    title: &'static str,
    find: &'static str,
}

/// Tables and their columns, by names that are ready to be used; a column that a key needs is not among them.
const FIELD: &str = "
with tables as (
    select name as plain, '\"' || replace(name, '\"', '\"\"') || '\"' as name from sqlite_master
    where type = 'table' and name not like 'sqlite_%' order by name
), columns as (
    select t.name as relation, '\"' || replace(c.name, '\"', '\"\"') || '\"' as name, c.\"notnull\" as needed, upper(c.type) as type
    from tables t, pragma_table_info(t.plain) c where c.pk = 0 order by t.name, c.cid
)
";

const DAMAGES: &[Damage] = &[
    Damage {
        title: "row lost",
        find: "select 'delete from ' || name || ' where rowid = (select min(rowid) from ' || name || ')' from tables",
    },
    Damage { title: "table emptied", find: "select 'delete from ' || name from tables" },
    Damage {
        title: "one character of a text changed",
        find: "select 'update ' || relation || ' set ' || name || ' = ' || name || ' || ''.'' where rowid = (select min(rowid) from ' || relation || ' where typeof(' || name || ') = ''text'')' from columns",
    },
    Damage {
        title: "number changed by one",
        find: "select 'update ' || relation || ' set ' || name || ' = ' || name || ' + 1 where rowid = (select max(rowid) from ' || relation || ' where typeof(' || name || ') in (''integer'', ''real''))' from columns",
    },
    Damage {
        title: "value became NULL",
        find: "select 'update ' || relation || ' set ' || name || ' = null where rowid = (select min(rowid) from ' || relation || ' where ' || name || ' is not null)' from columns where not needed",
    },
    Damage {
        title: "empty text became NULL",
        find: "select 'update ' || relation || ' set ' || name || ' = null where rowid = (select min(rowid) from ' || relation || ' where ' || name || ' = '''')' from columns where not needed",
    },
    Damage {
        title: "index lost",
        find: "select 'drop index \"' || replace(name, '\"', '\"\"') || '\"' from sqlite_master where type = 'index' and sql is not null order by name",
    },
    Damage {
        title: "view lost",
        find: "select 'drop view \"' || replace(name, '\"', '\"\"') || '\"' from sqlite_master where type = 'view' order by name",
    },
    Damage {
        title: "trigger lost",
        find: "select 'drop trigger \"' || replace(name, '\"', '\"\"') || '\"' from sqlite_master where type = 'trigger' order by name",
    },
    Damage { title: "table that nobody knows", find: "select 'create table zz_planted (id integer)'" },
];

/// Returns the titles of the damages.
pub fn plant_titles() -> impl Iterator<Item = &'static str> {
    DAMAGES.iter().map(|damage| damage.title)
}

/// Plants one damage in a database of this run's own and returns the statement that did it; `None` where there is nothing
/// of the kind to damage.
///
/// # Errors
/// When the database cannot be written, or when every statement that could do it is refused.
pub fn plant(database: &Database, title: &str, cancel: &CancellationToken) -> Result<Option<String>> {
    let Some(damage) = DAMAGES.iter().find(|damage| damage.title == title) else { return Ok(None) };
    let writable = database.with_access(Access::Writable);
    let mut refused = None;
    for row in query(&writable, &format!("{FIELD} {}", damage.find), &[], cancel)? {
        let Some(Value::String(statement)) = row.into_iter().next().map(|(_, value)| value) else {
            return Err(Error::new(Kind::Bug, format!("the damage {title} found no statement")));
        };
        let changes_rows = ["delete", "update"].iter().any(|word| statement.starts_with(word));
        match execute(&writable, &format!("pragma foreign_keys = off; {statement}"), cancel) {
            Ok(changed) if !changes_rows || changed > 0 => return Ok(Some(statement)),
            Ok(_) => {}
            // A check or a unique index may keep one column as it is: another one will do.
            Err(error) => refused = Some(error),
        }
    }
    refused.map_or(Ok(None), Err)
}
