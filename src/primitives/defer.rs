//! `defer`: work that is done when the script ends, however it ends.

use rhai::Dynamic;

use super::{Effect, Group, Primitive};

pub(super) const DEFER: Primitive = Primitive {
    name: "defer",
    group: Group::Flow,
    effect: Effect::Steers,
    signatures: &["defer(work: closure) -> ()"],
    manual: r#"
Puts a closure off to the end of the script: it runs after success, after an error and after Ctrl-C.

The closure that was put off last runs first. Sandboxes, scratch databases and temporary folders need no `defer`: the
run removes them itself.

```rhai
defer(|| log("the last words"));
```
"#,
    work: |call| {
        call.host().defer(call.closure(0)?, call.context());
        Ok(Dynamic::UNIT)
    },
};
