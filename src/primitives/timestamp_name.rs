//! `timestamp_name`: a name that sorts by time.

use super::{Effect, Group, Primitive};

pub(super) const TIMESTAMP_NAME: Primitive = Primitive {
    name: "timestamp_name",
    group: Group::Flow,
    effect: Effect::Reads,
    signatures: &["timestamp_name(prefix: string) -> string"],
    manual: r#"
Returns `prefix_YYYYMMDD_HHMMSS` with the time at which the run started, in UTC.

All names of one run carry the same time, so that what belongs together sorts together.

```rhai
let name = timestamp_name("orders");
check("it starts with the prefix", name.starts_with("orders_2"));
```
"#,
    work: |call| Ok(format!("{}_{}", call.text(0)?, call.run().started_at.strftime("%Y%m%d_%H%M%S")).into()),
};
