//! Queries: neutral rows out of SQLite, by exactly one statement, and nothing written through a read-only handle.

use rusqlite::fallible_iterator::FallibleIterator;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::types::{ToSqlOutput, Value as Bound, ValueRef};
use rusqlite::{Batch, Connection, Statement};
use serde_json::{Number, Value};
use tokio_util::sync::CancellationToken;

use super::connection::{Access, Database};
use super::failure::failed;
use crate::error::{Error, Kind, Result};
use crate::files::shown;
use crate::rows::{Row, Rows, did_you_mean, first_line};

/// Pragmas that take a value and only tell something.
const TELLING: [&str; 10] = [
    "data_version",
    "foreign_key_check",
    "foreign_key_list",
    "index_info",
    "index_list",
    "index_xinfo",
    "integrity_check",
    "quick_check",
    "table_info",
    "table_xinfo",
];

/// Pragmas that reach outside of the database or undo its guards.
const NEVER: [&str; 4] = ["data_store_directory", "temp_store_directory", "trusted_schema", "writable_schema"];

/// Runs one statement with `params` for its `?` and returns its rows.
///
/// Integers, floats and text come as such, NULL as null, blobs as `x'…'`; infinities and text that is not UTF-8 as text.
pub fn query(database: &Database, sql: &str, params: &[Value], cancel: &CancellationToken) -> Result<Vec<Row>> {
    let connection = guarded(database, cancel)?;
    let told = |e: rusqlite::Error| telling(&connection, database, sql, &e);
    let mut statement = connection.prepare(sql).map_err(told)?;
    if database.access() == Access::ReadOnly && !statement.readonly() {
        return Err(read_only(database, sql));
    }
    bind(&mut statement, params, sql)?;
    let columns: Vec<String> = statement.column_names().map(str::to_owned).collect();
    let width = columns.len();
    let mut rows = Rows::new(columns).map_err(|e| e.on(shown(database.path())))?;
    let mut found = statement.raw_query();
    while let Some(row) = found.next().map_err(told)? {
        let values = (0..width).map(|column| row.get_ref(column).map(neutral));
        rows.add(values.collect::<rusqlite::Result<Vec<_>>>().map_err(told)?)?;
    }
    Ok(rows.finish())
}

/// Runs statements and returns how many rows they inserted, changed and removed. Several are one transaction: all of
/// them happen or none.
pub fn execute(database: &Database, sql: &str, cancel: &CancellationToken) -> Result<u64> {
    if database.access() == Access::ReadOnly {
        return Err(read_only(database, sql));
    }
    let connection = guarded(database, cancel)?;
    let told = |e: rusqlite::Error| telling(&connection, database, sql, &e);
    if matches!(connection.prepare(sql), Err(rusqlite::Error::MultipleStatement)) || several(&connection, sql) {
        connection.execute_batch("begin immediate").map_err(told)?;
        let changed = run(&connection, sql).map_err(told)?;
        connection.execute_batch("commit").map_err(told)?;
        return Ok(changed); // dropping the connection before the commit rolls back
    }
    run(&connection, sql).map_err(told)
}

/// Returns whether there is more than one statement. The second may need what the first makes, so it cannot be prepared.
fn several(connection: &Connection, sql: &str) -> bool {
    let mut batch = Batch::new(connection, sql);
    let first = batch.next();
    matches!(first, Ok(Some(_))) && !matches!(batch.next(), Ok(None))
}

fn run(connection: &Connection, sql: &str) -> rusqlite::Result<u64> {
    let mut changed = 0;
    let mut batch = Batch::new(connection, sql);
    while let Some(mut statement) = batch.next()? {
        let before = connection.total_changes();
        let mut rows = statement.raw_query();
        while rows.next()?.is_some() {}
        if connection.total_changes() != before {
            changed += connection.changes();
        }
    }
    Ok(changed)
}

/// Opens a connection that attaches no other file.
fn guarded(database: &Database, cancel: &CancellationToken) -> Result<Connection> {
    let mut connection = database.connect(cancel)?;
    let read_only = database.access() == Access::ReadOnly;
    let guard = move |context: AuthContext<'_>| {
        if allowed(&context.action, read_only) { Authorization::Allow } else { Authorization::Deny }
    };
    connection.authorizer(Some(guard)).map_err(|e| failed("guard", database.path(), &e))?;
    Ok(connection)
}

fn allowed(action: &AuthAction<'_>, read_only: bool) -> bool {
    match action {
        // VACUUM attaches a file without a name.
        AuthAction::Attach { filename } => filename.is_empty() && !read_only,
        AuthAction::Detach { .. } => !read_only,
        AuthAction::Function { function_name } => !function_name.eq_ignore_ascii_case("load_extension"),
        AuthAction::Pragma { pragma_name, pragma_value: Some(_) } => {
            let is = |name: &&str| name.eq_ignore_ascii_case(pragma_name);
            !NEVER.iter().any(&is) && (!read_only || TELLING.iter().any(is))
        }
        _ => true,
    }
}

fn bind(statement: &mut Statement<'_>, params: &[Value], sql: &str) -> Result<()> {
    let wanted = statement.parameter_count();
    if wanted != params.len() {
        let message = format!("the statement has {wanted} parameters and {} values were given", params.len());
        return Err(Error::new(Kind::Usage, message).caused_by(first_line(sql)));
    }
    for (i, param) in params.iter().enumerate() {
        let value = bound(param).ok_or_else(|| {
            Error::new(Kind::Usage, format!("parameter {} does not fit into 64 bits: {param}", i + 1))
        })?;
        statement
            .raw_bind_parameter(i + 1, ToSqlOutput::Owned(value))
            .map_err(|e| Error::new(Kind::Usage, format!("could not bind parameter {}", i + 1)).because(&e))?;
    }
    Ok(())
}

/// Returns a parameter as SQLite takes it: truth as 1 and 0, lists and maps as their JSON text.
fn bound(param: &Value) -> Option<Bound> {
    Some(match param {
        Value::Null => Bound::Null,
        Value::Bool(truth) => Bound::Integer((*truth).into()),
        Value::Number(number) if number.is_f64() => Bound::Real(number.as_f64()?),
        Value::Number(number) => Bound::Integer(number.as_i64()?),
        Value::String(text) => Bound::Text(text.clone()),
        Value::Array(_) | Value::Object(_) => Bound::Text(param.to_string()),
    })
}

fn neutral(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => number.into(),
        ValueRef::Real(number) => match Number::from_f64(number) {
            Some(number) => Value::Number(number),
            None => Value::String(if number > 0.0 { "Infinity" } else { "-Infinity" }.into()),
        },
        ValueRef::Text(text) => match std::str::from_utf8(text) {
            Ok(text) => text.into(),
            Err(_) => hexadecimal(text),
        },
        ValueRef::Blob(bytes) => hexadecimal(bytes),
    }
}

fn hexadecimal(bytes: &[u8]) -> Value {
    use std::fmt::Write;
    let mut text = String::with_capacity(bytes.len() * 2 + 3);
    text.push_str("x'");
    for byte in bytes {
        let _ = write!(text, "{byte:02x}"); // a string takes everything
    }
    text.push('\'');
    Value::String(text)
}

fn read_only(database: &Database, sql: &str) -> Error {
    let name = shown(database.path());
    Error::new(Kind::Refused, format!("could not write to {name}: it was opened to read"))
        .on(name)
        .caused_by(first_line(sql))
        .hint("write to a sandbox or a restored copy, or open it with writable: true")
}

/// Makes an error that shows the statement and proposes names where one was not found.
fn telling(connection: &Connection, database: &Database, sql: &str, cause: &rusqlite::Error) -> Error {
    match cause {
        rusqlite::Error::MultipleStatement => {
            return Error::new(Kind::Usage, "a query is one statement, and here are several")
                .caused_by(first_line(sql));
        }
        _ if cause.sqlite_error_code() == Some(rusqlite::ErrorCode::AuthorizationForStatementDenied) => {
            return failed("query", database.path(), cause)
                .caused_by(first_line(sql))
                .hint("scripts cannot attach other files, load extensions or undo a database's guards");
        }
        _ => {}
    }
    let message = match cause {
        rusqlite::Error::SqlInputError { msg, .. } => msg.clone(),
        other => other.to_string(),
    };
    let error = failed("query", database.path(), cause).caused_by(format!("in: {}", first_line(sql)));
    match proposal(connection, &message) {
        Some(proposal) => error.hint(proposal),
        None => error,
    }
}

fn proposal(connection: &Connection, message: &str) -> Option<String> {
    let (wanted, names) = if let Some(table) = message.strip_prefix("no such table: ") {
        (table, "select name from sqlite_schema where type in ('table', 'view')")
    } else {
        let names = "select distinct c.name from sqlite_schema s, pragma_table_xinfo(s.name) c where s.type in ('table', 'view')";
        (message.strip_prefix("no such column: ")?, names)
    };
    let wanted = wanted.split(" in ").next().unwrap_or(wanted);
    let wanted = wanted.rsplit('.').next().unwrap_or(wanted);
    let mut statement = connection.prepare(names).ok()?;
    let names: Vec<String> = statement.query_map((), |row| row.get(0)).ok()?.flatten().collect();
    did_you_mean(wanted, &names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn database() -> (tempfile::TempDir, Database) {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::create(&folder.path().join("app.db")).unwrap();
        let sql =
            "create table users(id integer primary key, name text); insert into users values (1, 'ada'), (2, 'eve')";
        assert_eq!(execute(&database, sql, &CancellationToken::new()).unwrap(), 2);
        (folder, database)
    }

    fn ask(database: &Database, sql: &str, params: &[Value]) -> Result<Vec<Row>> {
        query(&database.with_access(Access::ReadOnly), sql, params, &CancellationToken::new())
    }

    fn write(database: &Database, sql: &str) -> Result<u64> {
        execute(database, sql, &CancellationToken::new())
    }

    #[test]
    fn values_keep_their_kinds() {
        let (_folder, database) = database();
        let sql = "select 1 as i, -9223372036854775808 as least, 1.0 as f, 9e999 as inf, 'ü' as t, x'00ff' as b, null as n, \
                   cast(x'ff' as text) as broken";
        let row = &ask(&database, sql, &[]).unwrap()[0];
        let expected = json!({"i": 1, "least": i64::MIN, "f": 1.0, "inf": "Infinity", "t": "ü", "b": "x'00ff'", "n": null,
                              "broken": "x'ff'"});
        assert_eq!(Value::Object(row.clone()), expected);
        assert_eq!(row.keys().next().unwrap(), "i", "columns keep their order");
    }

    #[test]
    fn parameters_are_values_and_never_sql() {
        let (_folder, database) = database();
        let sql = "select ? as a, ? as b, ? as c, ? as d, ? as e, typeof(?) as f";
        let params =
            [json!("x'); drop table users;--"), json!(7), json!(true), json!(null), json!(1.5), json!([1, "a"])];
        let row = ask(&database, sql, &params).unwrap().remove(0);
        assert_eq!(
            Value::Object(row),
            json!({"a": "x'); drop table users;--", "b": 7, "c": 1, "d": null, "e": 1.5, "f": "text"})
        );
        assert_eq!(ask(&database, "select ?", &[]).unwrap_err().kind(), Kind::Usage);
        assert_eq!(ask(&database, "select ?", &[json!(u64::MAX)]).unwrap_err().kind(), Kind::Usage);
    }

    #[test]
    fn nothing_is_written_through_a_read_only_handle() {
        let (folder, database) = database();
        let other = folder.path().join("other.db");
        for sql in [
            "delete from users",
            "insert into users values (3, 'x') returning id",
            "create temp table t(a)",
            "pragma query_only = off",
            "pragma user_version = 7",
            "pragma journal_mode = wal",
            &format!("attach '{}' as o", other.display()),
            &format!("vacuum into '{}'", other.display()),
            "select 1; delete from users",
            "select load_extension('x')",
        ] {
            let error = ask(&database, sql, &[]).expect_err(sql);
            assert!(matches!(error.kind(), Kind::Refused | Kind::Usage | Kind::Database), "{sql}: {error:?}");
        }
        assert!(
            write(&database.with_access(Access::ReadOnly), "delete from users").unwrap_err().kind() == Kind::Refused
        );
        assert_eq!(ask(&database, "select count(*) as n from users", &[]).unwrap()[0]["n"], 2);
        assert!(!other.exists());
        assert_eq!(ask(&database, "pragma table_info(users)", &[]).unwrap().len(), 2, "looking is fine");
    }

    #[test]
    fn a_writable_handle_stays_in_its_file() {
        let (folder, database) = database();
        let other = folder.path().join("other.db");
        for sql in [format!("attach '{}' as o", other.display()), "pragma writable_schema = on".into()] {
            assert_eq!(write(&database, &sql).unwrap_err().kind(), Kind::Refused, "{sql}");
        }
        assert_eq!(write(&database, "vacuum").unwrap(), 0);
        assert!(!other.exists());
    }

    #[test]
    fn several_statements_happen_together_or_not_at_all() {
        let (_folder, database) = database();
        let counted = "update users set name = upper(name); delete from users where id = 1";
        assert_eq!(write(&database, counted).unwrap(), 3);
        assert!(
            write(&database, "create table t(a); insert into t values (1); insert into nowhere values (1)").is_err()
        );
        assert!(ask(&database, "select * from t", &[]).is_err());
        assert!(write(&database, "delete from users; select nonsense(1)").is_err());
        assert_eq!(
            ask(&database, "select name from users", &[]).unwrap(),
            [json!({"name": "EVE"}).as_object().unwrap().clone()]
        );
    }

    #[test]
    fn an_error_names_statement_database_and_close_names() {
        let (_folder, database) = database();
        let error = ask(&database, "select *\nfrom usres", &[]).unwrap_err();
        assert!(
            error.to_string().contains("no such table: usres") && error.to_string().contains("in: select *…"),
            "{error}"
        );
        assert_eq!(error.next_step(), Some("did you mean users?"));
        assert!(error.target().unwrap().ends_with("app.db"));
        assert_eq!(
            ask(&database, "select u.nmae from users u", &[]).unwrap_err().next_step(),
            Some("did you mean name?")
        );
    }

    #[test]
    fn an_endless_query_stops_when_it_is_cancelled() {
        let (_folder, database) = database();
        let cancel = CancellationToken::new();
        let error = std::thread::scope(|scope| {
            let sql = "with recursive n(i) as (select 1 union all select i + 1 from n) select count(*) as c from n";
            let asking = scope.spawn(|| query(&database, sql, &[], &cancel));
            cancel.cancel();
            asking.join().unwrap().unwrap_err()
        });
        assert_eq!(error.kind(), Kind::Interrupted);
    }
}
