//! `parallel_map`: one closure for each item of a list, side by side.

use super::parallel::side_by_side;
use super::{Effect, Group, Primitive};

pub(super) const PARALLEL_MAP: Primitive = Primitive {
    name: "parallel_map",
    group: Group::Flow,
    effect: Effect::Steers,
    signatures: &["parallel_map(list: array, work: closure) -> array"],
    manual: r#"
Calls a closure with each item of a list, side by side, and returns the values in the same order.

Use it rather than closures made in a `for`: those would all see the last item.

```rhai
check_eq("doubled", parallel_map([1, 2, 3], |n| n * 2), [2, 4, 6]);
```
"#,
    work: |call| {
        let closure = call.closure(1)?;
        side_by_side(call, call.list(0)?.into_iter().map(|item| (closure.clone(), Some(item))).collect())
    },
};
