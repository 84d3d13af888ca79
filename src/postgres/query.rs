//! Queries: neutral rows out of PostgreSQL, by exactly one statement, and nothing written through read-only access.
//!
//! The statement first goes through the extended protocol's parser, which takes exactly one and tells the types of
//! parameters and columns. Only then the same text runs, with its values as quoted literals, and comes back as text:
//! that is the one form in which the server writes every type, and the session pins how.

use std::pin::pin;

use futures_util::TryStreamExt;
use serde_json::{Number, Value};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{Kind as TypeKind, Type};
use tokio_postgres::{SimpleQueryMessage, Statement};

use super::array;
use super::lexer::{self, Token, literal};
use super::{Access, Address, Session};
use crate::error::{Error, Kind, Result};
use crate::rows::{Row, Rows, did_you_mean, first_line};

/// How a statement starts that may run through read-only access. A read-only transaction alone would let COPY write
/// files and start programs on the server.
const READING: [&str; 6] = ["select", "with", "values", "table", "show", "explain"];

/// Ends a statement that nobody waits for any more: after an hour, or soon after we are gone where the server can tell.
const SETTINGS: &str = "set statement_timeout = '1h'; select set_config(name, '2s', false) from pg_catalog.pg_settings \
                        where name = 'client_connection_check_interval'";

/// Runs one statement with `params` for `$1`, `$2` … and returns its rows.
///
/// Booleans, integers, floats, text, JSON and arrays come as such; a numeric as an integer or float where that is exact
/// and else as its digits; NaN and the infinities as text; all else as PostgreSQL writes it (ISO dates, UTC, `\x…`).
pub async fn query(address: &Address, access: Access, sql: &str, params: &[Value]) -> Result<Vec<Row>> {
    let session = Session::open_for_user(address, access).await?;
    let found = Query { session: &session, access, sql }.run(params).await;
    match found {
        Err(error) if error.next_step().is_none() => Err(with_proposal(&session, error).await),
        other => other,
    }
}

/// Runs statements and returns how many rows they inserted, changed, removed or returned. Several are one transaction.
pub async fn execute(address: &Address, access: Access, sql: &str) -> Result<u64> {
    if access == Access::ReadOnly {
        return Err(read_only(sql).on(address.to_string()));
    }
    let session = Session::open_for_user(address, access).await?;
    let executing = Query { session: &session, access, sql };
    match executing.count().await {
        Err(error) if error.next_step().is_none() => Err(with_proposal(&session, error).await),
        other => other,
    }
}

struct Query<'a> {
    session: &'a Session,
    access: Access,
    sql: &'a str,
}

impl Query<'_> {
    async fn run(&self, params: &[Value]) -> Result<Vec<Row>> {
        if self.access == Access::ReadOnly && !reads(self.sql) {
            return Err(read_only(self.sql));
        }
        self.plain(SETTINGS).await?;
        self.plain(if self.access == Access::ReadOnly { "begin read only" } else { "begin" }).await?;
        let statement = self.session.client().prepare(self.sql).await.map_err(|e| self.failed(&e))?;
        let rows = match self.arguments(&statement, params)? {
            None => self.rows(&statement, self.sql).await?,
            Some(arguments) => {
                self.plain(&format!("prepare runner_query as {}", self.sql)).await?;
                self.rows(&statement, &format!("execute runner_query ({arguments})")).await?
            }
        };
        // Older servers let functions on large objects write in a read-only transaction: taking it back undoes that, too.
        self.plain(if self.access == Access::ReadOnly { "rollback" } else { "commit" }).await?;
        Ok(rows)
    }

    async fn rows(&self, statement: &Statement, sql: &str) -> Result<Vec<Row>> {
        let columns = statement.columns();
        let types: Vec<Type> = columns.iter().map(|c| c.type_().clone()).collect();
        let mut rows = Rows::new(columns.iter().map(|c| c.name().to_owned()).collect())
            .map_err(|e| e.caused_by(format!("in: {}", first_line(self.sql))))?;
        let stream = self.session.client().simple_query_raw(sql).await.map_err(|e| self.failed(&e))?;
        let mut stream = pin!(stream);
        while let Some(message) = stream.try_next().await.map_err(|e| self.failed(&e))? {
            if let SimpleQueryMessage::Row(row) = message {
                rows.add(
                    types.iter().enumerate().map(|(i, kind)| row.get(i).map_or(Value::Null, |t| neutral(kind, t))),
                )?;
            }
        }
        Ok(rows.finish())
    }

    /// Returns the parameters as a list of literals; nothing where there are none.
    fn arguments(&self, statement: &Statement, params: &[Value]) -> Result<Option<String>> {
        let wanted = statement.params();
        if wanted.len() != params.len() {
            let message =
                format!("the statement has {} parameters and {} values were given", wanted.len(), params.len());
            return Err(Error::new(Kind::Usage, message).caused_by(first_line(self.sql)));
        }
        let texts: Vec<_> = wanted.iter().zip(params).map(|(kind, value)| argument(kind, value)).collect();
        if texts.iter().any(|text| text.contains('\0')) {
            return Err(Error::new(Kind::Usage, "a parameter holds a zero byte, which PostgreSQL's text cannot"));
        }
        Ok((!texts.is_empty()).then(|| texts.join(", ")))
    }

    async fn count(&self) -> Result<u64> {
        self.plain(SETTINGS).await?;
        let stream = self.session.client().simple_query_raw(self.sql).await.map_err(|e| self.failed(&e))?;
        let mut stream = pin!(stream);
        let mut rows = 0;
        while let Some(message) = stream.try_next().await.map_err(|e| self.failed(&e))? {
            if let SimpleQueryMessage::CommandComplete(n) = message {
                rows += n;
            }
        }
        Ok(rows)
    }

    async fn plain(&self, sql: &str) -> Result<()> {
        self.session.client().batch_execute(sql).await.map_err(|e| self.failed(&e))
    }

    fn failed(&self, cause: &tokio_postgres::Error) -> Error {
        match cause.code() {
            Some(code) if *code == SqlState::READ_ONLY_SQL_TRANSACTION => read_only(self.sql).because(cause),
            // The parser's word for it speaks of prepared statements, which nobody asked for.
            Some(code) if *code == SqlState::SYNTAX_ERROR && is_about_several(cause) => {
                Error::new(Kind::Usage, "a query is one statement, and here are several")
                    .caused_by(first_line(self.sql))
            }
            _ => self.session.error("the query failed", cause).caused_by(format!("in: {}", first_line(self.sql))),
        }
    }
}

/// Returns whether a statement starts like one that only reads; whether it does is for the server to say.
fn reads(sql: &str) -> bool {
    let mut tokens = lexer::tokens(sql, false).into_iter();
    let first = tokens.find(|(token, _)| !matches!(token, Token::Open | Token::Semicolon));
    first.is_some_and(|(_, word)| READING.iter().any(|reading| reading.eq_ignore_ascii_case(word)))
}

fn is_about_several(cause: &tokio_postgres::Error) -> bool {
    cause.as_db_error().is_some_and(|e| e.routine() == Some("exec_parse_message"))
}

fn read_only(sql: &str) -> Error {
    Error::new(Kind::Refused, "could not write: the database was opened to read")
        .caused_by(first_line(sql))
        .hint("write to a sandbox or a restored copy, or open it with writable: true")
}

/// Returns a parameter as an SQL literal: the parameter's own type reads its text.
fn argument(kind: &Type, value: &Value) -> String {
    match (value, kind.kind()) {
        (Value::Null, _) => "null".into(),
        (Value::Bool(truth), _) => format!("'{truth}'"),
        (Value::Number(number), _) => format!("'{number}'"),
        (Value::String(text), _) if !is_json(kind) => literal(text),
        (Value::Array(items), TypeKind::Array(_)) => literal(&array::written(items)),
        (other, _) => literal(&other.to_string()),
    }
}

fn is_json(kind: &Type) -> bool {
    *kind == Type::JSON || *kind == Type::JSONB
}

/// Returns a value's text as the nearest value that loses nothing.
fn neutral(kind: &Type, text: &str) -> Value {
    let as_text = || Value::String(text.to_owned());
    match kind.kind() {
        TypeKind::Domain(base) => return neutral(base, text),
        TypeKind::Array(item) => return array::read(text, &|one| neutral(item, one)).unwrap_or_else(as_text),
        _ => {}
    }
    match *kind {
        Type::BOOL => Value::Bool(text == "t"),
        Type::INT2 | Type::INT4 | Type::INT8 | Type::OID => {
            text.parse::<i64>().map_or_else(|_| as_text(), |n| n.into())
        }
        Type::FLOAT4 | Type::FLOAT8 => float(text).unwrap_or_else(as_text),
        Type::NUMERIC => numeric(text).unwrap_or_else(as_text),
        Type::JSON | Type::JSONB => serde_json::from_str(text).unwrap_or_else(|_| as_text()),
        Type::VOID => Value::Null,
        _ => as_text(),
    }
}

fn float(text: &str) -> Option<Value> {
    Number::from_f64(text.parse().ok()?).map(Value::Number)
}

/// Returns a numeric as an integer when it is whole and fits, or as the float whose shortest text has the same digits.
fn numeric(text: &str) -> Option<Value> {
    let plain = match text.split_once('.') {
        Some((whole, fraction)) => match fraction.trim_end_matches('0') {
            "" => whole.to_owned(),
            fraction => format!("{whole}.{fraction}"),
        },
        None => text.to_owned(),
    };
    if let Ok(whole) = plain.parse::<i64>() {
        return Some(whole.into());
    }
    let near: f64 = plain.parse().ok()?;
    (near.to_string() == plain).then(|| float(&plain)).flatten()
}

/// Adds names that are like the one that was not found.
async fn with_proposal(session: &Session, error: Error) -> Error {
    match proposal(session, &error.to_string()).await {
        Some(proposal) => error.hint(proposal),
        None => error,
    }
}

async fn proposal(session: &Session, message: &str) -> Option<String> {
    let sql = if message.contains("(42P01)") {
        "select c.relname::text from pg_catalog.pg_class c where c.relkind in ('r', 'p', 'v', 'm', 'f') \
         and c.relnamespace::regnamespace::text not in ('pg_catalog', 'information_schema') limit 10000"
    } else if message.contains("(42703)") {
        "select distinct a.attname::text from pg_catalog.pg_attribute a join pg_catalog.pg_class c on c.oid = a.attrelid \
         where a.attnum > 0 and not a.attisdropped and c.relkind in ('r', 'p', 'v', 'm', 'f') \
         and c.relnamespace::regnamespace::text not in ('pg_catalog', 'information_schema') limit 10000"
    } else {
        return None;
    };
    let wanted = message.split('"').nth(1).or_else(|| message.split("column ").nth(1)?.split(' ').next())?;
    let wanted = wanted.rsplit('.').next()?;
    session.client().batch_execute("rollback").await.ok()?;
    let rows = session.client().query(sql, &[]).await.ok()?;
    let names: Vec<String> = rows.iter().filter_map(|row| row.try_get(0).ok()).collect();
    did_you_mean(wanted, &names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::test_cluster::TestCluster;
    use serde_json::json;

    const TABLES: &str = "create table users(id bigint primary key, name text, tags text[]); \
                          insert into users values (1, 'ada', '{a,\"b c\",null}'), (2, 'eve', '{}')";

    async fn started() -> TestCluster {
        let cluster = TestCluster::start();
        set_up(&cluster, TABLES).await;
        cluster
    }

    async fn set_up(cluster: &TestCluster, sql: &str) {
        execute(&cluster.address("postgres"), Access::Writable, sql).await.unwrap();
    }

    async fn ask(cluster: &TestCluster, sql: &str, params: &[Value]) -> Result<Vec<Row>> {
        query(&cluster.address("postgres"), Access::ReadOnly, sql, params).await
    }

    async fn one(cluster: &TestCluster, sql: &str, params: &[Value]) -> Value {
        let mut rows = ask(cluster, sql, params).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
        assert_eq!(rows.len(), 1, "{sql}");
        Value::Object(rows.remove(0))
    }

    #[test]
    fn a_numeric_becomes_a_number_only_where_that_is_exact() {
        for (text, value) in [
            ("5", json!(5)),
            ("5.00", json!(5)),
            ("-9223372036854775808", json!(i64::MIN)),
            ("0.1", json!(0.1)),
            ("1.50", json!(1.5)),
            ("-0.25", json!(-0.25)),
        ] {
            assert_eq!(numeric(text), Some(value), "{text}");
        }
        for text in ["9223372036854775808", "0.1000000000000000055", "123456789.123456789123", "NaN", "Infinity"] {
            assert_eq!(neutral(&Type::NUMERIC, text), json!(text));
        }
    }

    #[tokio::test]
    async fn values_keep_their_kinds() {
        let cluster = started().await;
        let sql = "select true as b, 1::int2 as i, 9223372036854775807 as big, 0.1::float4 as f4, 'NaN'::float8 as nan, \
                   '-Infinity'::float8 as inf, 12.50 as num, 1e30::numeric + 1 as huge, 'ü' as t, '{\"a\":[1,null]}'::jsonb as j, \
                   array[[1,2],[3,null]] as arr, array['x,y', 'NULL', '\"'] as texts, timestamptz '2026-11-20 10:00:00+02' as at, \
                   date '2026-11-20' as d, interval '1 day 2 hours' as iv, '\\x00ff'::bytea as bin, null as n, \
                   '00000000-0000-0000-0000-00000000000a'::uuid as u, row(1, 'a') as r, int4range(1, 5) as range, \
                   1::oid as oid, pg_sleep(0) as v, '[0:1]={7,8}'::int[] as from_zero";
        let expected = json!({
            "b": true, "i": 1, "big": i64::MAX, "f4": 0.1, "nan": "NaN", "inf": "-Infinity", "num": 12.5,
            "huge": "1000000000000000000000000000001", "t": "ü", "j": {"a": [1, null]}, "arr": [[1, 2], [3, null]],
            "texts": ["x,y", "NULL", "\""], "at": "2026-11-20 08:00:00+00", "d": "2026-11-20", "iv": "1 day 02:00:00",
            "bin": "\\x00ff", "n": null, "u": "00000000-0000-0000-0000-00000000000a", "r": "(1,a)", "range": "[1,5)",
            "oid": 1, "v": null, "from_zero": [7, 8]
        });
        assert_eq!(one(&cluster, sql, &[]).await, expected);
        set_up(
            &cluster,
            "alter role postgres set datestyle = 'German'; create domain pos as int; create type mood as enum ('ok')",
        )
        .await;
        let sql = "select date '2026-11-20' as d, 7::pos as p, 'ok'::mood as m, array['ok'::mood] as ms";
        assert_eq!(one(&cluster, sql, &[]).await, json!({"d": "2026-11-20", "p": 7, "m": "ok", "ms": ["ok"]}));
    }

    #[tokio::test]
    async fn parameters_are_read_by_their_types_and_are_never_sql() {
        let cluster = started().await;
        let nasty = r"x'); drop table users; -- \' $1 E'\\'";
        let sql = "select $1::text as t, $2 + 1 as i, $3::bool as b, $4::timestamptz as n, $5::float8 as f, $6::jsonb as j, \
                   $7::text as nested, $8::int[] as arr, $9::jsonb as js";
        let params = [
            json!(nasty),
            json!(41),
            json!(true),
            json!(null),
            json!(0.1),
            json!({"k": ["v"]}),
            json!([1]),
            json!([1, 2]),
            json!("text"),
        ];
        let expected = json!({"t": nasty, "i": 42, "b": true, "n": null, "f": 0.1, "j": {"k": ["v"]}, "nested": "[1]",
                              "arr": [1, 2], "js": "text"});
        assert_eq!(one(&cluster, sql, &params).await, expected);
        let sql = "select name from users where id = any($1) and name like $2 order by 1;";
        assert_eq!(one(&cluster, sql, &[json!([1, 2]), json!("a%")]).await, json!({"name": "ada"}));
        let sql = "select tags from users where tags = $1";
        assert_eq!(one(&cluster, sql, &[json!(["a", "b c", null])]).await, json!({"tags": ["a", "b c", null]}));
        assert_eq!(ask(&cluster, "select $1::int", &[]).await.unwrap_err().kind(), Kind::Usage);
        assert_eq!(ask(&cluster, "select $1::text", &[json!("a\0b")]).await.unwrap_err().kind(), Kind::Usage);
        assert!(ask(&cluster, "select $1::int as i", &[json!("seven")]).await.is_err());
    }

    #[tokio::test]
    async fn nothing_is_written_through_read_only_access() {
        let cluster = started().await;
        set_up(&cluster, "create sequence s").await;
        let program = format!("copy users to program 'touch {}/never'", cluster.folder().display());
        for sql in [
            program.as_str(),
            "delete from users",
            "insert into users values (3) returning id",
            "with gone as (delete from users returning id) select * from gone",
            "create table t()",
            "select 1; delete from users",
            "commit; delete from users",
            "set transaction read write",
            "select nextval('s')",
            "explain analyze delete from users",
            "/* select */ (vacuum)",
            "select set_config('transaction_read_only', 'off', false); delete from users",
        ] {
            let error = ask(&cluster, sql, &[]).await.expect_err(sql);
            assert!(!error.causes().is_empty(), "{error}");
        }
        assert!(!cluster.folder().join("never").exists());
        let _ = ask(&cluster, "select lo_create(0)", &[]).await;
        assert_eq!(one(&cluster, "select count(*) as n from pg_largeobject_metadata", &[]).await, json!({"n": 0}));
        let refused = execute(&cluster.address("postgres"), Access::ReadOnly, "delete from users").await.unwrap_err();
        assert_eq!(refused.kind(), Kind::Refused);
        assert_eq!(one(&cluster, "select count(*) as n from users", &[]).await, json!({"n": 2}));
        assert_eq!(ask(&cluster, "delete from users", &[]).await.unwrap_err().kind(), Kind::Refused);
        assert_eq!(ask(&cluster, "select 1; select 2", &[]).await.unwrap_err().kind(), Kind::Usage);
        assert_eq!(one(&cluster, "show server_encoding", &[]).await, json!({"server_encoding": "UTF8"}));
    }

    #[tokio::test]
    async fn writing_counts_rows_and_happens_whole_or_not_at_all() {
        let cluster = started().await;
        let address = cluster.address("postgres");
        let write = async |sql: &str| execute(&address, Access::Writable, sql).await;
        assert_eq!(write("update users set name = upper(name); delete from users where id = 1").await.unwrap(), 3);
        assert!(write("delete from users; select 1/0").await.is_err());
        let returned = query(
            &address,
            Access::Writable,
            "insert into users values ($1, $2) returning id",
            &[json!(9), json!("x")],
        )
        .await;
        assert_eq!(Value::Object(returned.unwrap().remove(0)), json!({"id": 9}));
        assert_eq!(one(&cluster, "select count(*) as n from users", &[]).await, json!({"n": 2}));
        assert_eq!(write("vacuum").await.unwrap(), 0);
    }

    #[tokio::test]
    async fn an_error_names_statement_database_and_close_names() {
        let cluster = started().await;
        let error = ask(&cluster, "select *\nfrom usres", &[]).await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains("relation \"usres\" does not exist (42P01)") && text.contains("in: select *…"), "{text}");
        assert_eq!(error.next_step(), Some("did you mean users?"));
        assert!(error.target().unwrap().ends_with("/postgres"));
        let error = ask(&cluster, "select nmae from users", &[]).await.unwrap_err();
        assert!(error.next_step().unwrap().contains("name"), "{error:?}");
        let error = ask(&cluster, "select 1 as a, 2 as a", &[]).await.unwrap_err();
        assert!(error.next_step().unwrap().contains("a as other_a"), "{error:?}");
    }

    #[tokio::test]
    async fn an_answer_too_large_is_refused_before_it_is_in_memory() {
        let cluster = started().await;
        let error = ask(&cluster, "select repeat('x', 1000000) as t from generate_series(1, 1000000)", &[]).await;
        assert!(error.unwrap_err().to_string().contains("more than 64 MiB"));
    }

    #[tokio::test]
    async fn a_query_that_nobody_waits_for_ends_on_the_server() {
        let cluster = started().await;
        let address = cluster.address("postgres");
        let asking = query(&address, Access::ReadOnly, "select pg_sleep(600)", &[]);
        let asleep =
            "select count(*) as n from pg_stat_activity where query like 'select pg_sleep(6%' and state = 'active'";
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
        let watching = async {
            while one(&cluster, asleep, &[]).await != json!({"n": 1}) {
                assert!(std::time::Instant::now() < deadline, "it never began");
            }
        };
        tokio::select! { _ = asking => panic!("it ended"), () = watching => {} }
        while one(&cluster, asleep, &[]).await != json!({"n": 0}) {
            assert!(std::time::Instant::now() < deadline, "it still sleeps");
        }
    }
}
