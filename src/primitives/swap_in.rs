//! `swap_in`: a restored database takes the place of its target.

use rhai::Dynamic;

use super::handles::Database;
use super::restore::take_place;
use super::{Call, Effect, Group, Primitive};
use crate::error::Result;

pub(super) const SWAP_IN: Primitive = Primitive {
    name: "swap_in",
    group: Group::Primitives,
    effect: Effect::Writes(|call| Ok(format!("would put {} in the place of its target", call.shown(0)))),
    signatures: &["swap_in(copy: Database, options?: map) -> Database"],
    manual: r#"
Gives a database that `restore_beside` made the name of its target, and returns it under that name.

Both names change in one transaction or neither does. The rules are asked again: a target that became a source of this
run meanwhile stays. With `keep_replaced` or `in_place` in the options of `restore_beside` the old database stays as
`NAME__before_RUN`, which is the `replaced` of what is returned, and `swap_back` undoes the swap. Option:
`end_sessions: true` ends the sessions that are still connected to the target; without it they are an error.

```rhai,no_run
let shop = postgres(secret("SHOP_URL"), #{ writable: true });
let copy = restore_beside(backup("backups/shop.sql.gz"), shop, #{ replace: true, in_place: true });
let restored = swap_in(copy, #{ end_sessions: true });
log(`what it was stays as ${restored.replaced}`);
```
"#,
    work: |call| Ok(Dynamic::from(swap_in(call)?)),
};

fn swap_in(call: &Call) -> Result<Database> {
    let mut options = call.options(1)?;
    let end_sessions = options.flag("end_sessions")?;
    options.finish()?;
    let Database::Postgres(copy) = call.handle(0, "what restore_beside returned")? else {
        return Err(call.wrong(0, "what restore_beside returned"));
    };
    let waiting = call.host().swaps.take(&copy)?;
    take_place(call, waiting.beside, &waiting.target, end_sessions)
}
