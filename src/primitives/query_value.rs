//! `query_value`: asks for a single value.

use super::query::first_value;
use super::query_one::one;
use super::{Effect, Group, Primitive};
use crate::error::{Error, Kind};
use crate::units;

pub(super) const QUERY_VALUE: Primitive = Primitive {
    name: "query_value",
    group: Group::Primitives,
    effect: Effect::Reads,
    signatures: &["query_value(database: Database, sql: string, params?: array) -> any"],
    manual: r#"
Asks a database for one value: exactly one row with exactly one column.

```rhai
with_sandbox(#{ engine: "sqlite" }, |server| {
    check_eq("three", query_value(server.database("shop"), "select 1 + 2"), 3);
});
```
"#,
    work: |call| {
        let row = one(call)?;
        if row.len() != 1 {
            let columns = units::count(row.len() as u64, "column");
            return Err(Error::new(Kind::Usage, format!("the query gives {columns}, not one"))
                .hint("select one column, or use query_one")
                .into());
        }
        Ok(first_value(row))
    },
};
