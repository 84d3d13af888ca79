//! `query_one`: asks for exactly one row.

use serde_json::Value;

use super::query::ask;
use super::{Call, Effect, Group, Primitive};
use crate::error::{Error, Kind, Result};
use crate::rows::Row;
use crate::script::from_json;
use crate::units;

pub(super) const QUERY_ONE: Primitive = Primitive {
    name: "query_one",
    group: Group::Primitives,
    effect: Effect::Reads,
    signatures: &["query_one(database: Database, sql: string, params?: array) -> map"],
    manual: r#"
Asks a database for exactly one row and returns it as a map. No row, or more than one, is an error.

```rhai
with_sandbox(#{ engine: "sqlite" }, |server| {
    let row = query_one(server.database("shop"), "select 1 as a, 'x' as b, null as c");
    check_eq("the row", row, #{ a: 1, b: "x", c: () });
});
```
"#,
    work: |call| Ok(from_json(Value::Object(one(call)?))),
};

/// Runs the call's query and returns its only row.
pub(super) fn one(call: &Call) -> Result<Row> {
    let mut rows = ask(call)?;
    match (rows.pop(), rows.len()) {
        (Some(row), 0) => Ok(row),
        (found, others) => {
            let found = others as u64 + u64::from(found.is_some());
            Err(Error::new(Kind::Database, format!("the query gives {}, not one", units::count(found, "row")))
                .on(call.shown(0))
                .hint("use `query` for lists, or make the condition exact"))
        }
    }
}
