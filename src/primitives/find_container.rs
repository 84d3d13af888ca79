//! `find_container`: a handle to a container that is there already.

use rhai::Dynamic;

use super::handles::Container;
use super::{Effect, Group, Primitive};
use crate::docker;

pub(super) const FIND_CONTAINER: Primitive = Primitive {
    name: "find_container",
    group: Group::Primitives,
    effect: Effect::Reads,
    signatures: &["find_container(name: string) -> Container"],
    manual: r#"
Returns the container that has exactly this name, or this id of at least 12 digits, whether it runs or not.

It belongs to someone else: it can be asked for its `name`, `id`, `image`, `state`, `logs` and ports, but no verb stops,
changes or removes it. One that is not there is an error ("missing") which names a similar one. To read its database
use `postgres(#{ container: "db" })`.

```rhai,no_run
let db = find_container("shop-db-1");
check("the database runs", db.running, db.state);
log(`it is reached at ${db.address(5432)}`);
```
"#,
    work: |call| {
        let name = call.text(0)?;
        let found = call.wait(docker::Container::find(&call.host().docker, &name))?;
        Ok(Dynamic::from(Container::new(found, call.run())))
    },
};
