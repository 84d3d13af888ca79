//! `parallel_map`: one closure for each item of a list, side by side.

use super::parallel::side_by_side;
use super::{Effect, Group, Primitive};

pub(super) const PARALLEL_MAP: Primitive = Primitive {
    name: "parallel_map",
    group: Group::Flow,
    effect: Effect::Steers,
    signatures: &["parallel_map(list: array, work: closure, options?: map) -> array"],
    manual: r#"
Calls a closure with each item of a list, side by side, and returns the values in the same order. The option `at_once`
bounds how many run at a time, and with them memory and what a server is asked for; without it, all do.

Use it rather than closures made in a `for`: those would all see the last item.

```rhai
check_eq("doubled", parallel_map([1, 2, 3], |n| n * 2), [2, 4, 6]);
check_eq("two at a time", parallel_map([1, 2, 3], |n| n * 2, #{ at_once: 2 }), [2, 4, 6]);
```
"#,
    work: |call| {
        let (list, closure) = (call.list(0)?, call.closure(1)?);
        let mut options = call.options(2)?;
        let at_once = options.count("at_once")?.unwrap_or(list.len());
        options.finish()?;
        side_by_side(call, list.into_iter().map(|item| (closure.clone(), Some(item))).collect(), at_once)
    },
};
