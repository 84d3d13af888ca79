//! `drop_replaced`: what a restore of this run replaced is dropped.

use rhai::Dynamic;

use super::handles::Database;
use super::{Call, Effect, Group, Primitive};
use crate::error::{Error, Kind, Result};

pub(super) const DROP_REPLACED: Primitive = Primitive {
    name: "drop_replaced",
    group: Group::Primitives,
    effect: Effect::Writes(|call| Ok(format!("would drop what {} replaced", call.shown(0)))),
    signatures: &["drop_replaced(database: Database) -> ()"],
    manual: r#"
Drops the database that a restore of this run replaced and kept as `NAME__before_RUN`.

`database` is what the restore returned, or its target. Nothing else can be dropped with it, and after it the restore
cannot be undone any more: do it when every check has passed.

```rhai,no_run
let shop = postgres(secret("SHOP_URL"), #{ writable: true });
let restored = restore(backup("backups/shop.sql.gz"), shop, #{ replace: true, in_place: true });
drop_replaced(restored);
```
"#,
    work: |call| {
        drop_replaced(call)?;
        Ok(Dynamic::UNIT)
    },
};

fn drop_replaced(call: &Call) -> Result<()> {
    let Database::Postgres(database) = call.handle(0, "a Database")? else {
        return Err(call.wrong(0, "a PostgreSQL database"));
    };
    let swap = call.host().swaps.last(&database).ok_or_else(|| {
        Error::new(Kind::Usage, format!("no restore of this run replaced {database}"))
            .on(database.to_string())
            .hint("only what this very run replaced is dropped")
    })?;
    // Somebody may have opened it as a source to look at it.
    let system = database.identity.system_identifier.as_deref();
    let claim = call.run().guard.claim(system, &database.address.host().to_string(), swap.before())?;
    call.wait(swap.drop_replaced())?;
    drop(claim);
    call.evidence(
        format!("dropped {}", swap.before()),
        serde_json::json!({ "database": database.to_string(), "dropped": swap.before() }),
    );
    Ok(())
}
