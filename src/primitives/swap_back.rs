//! `swap_back`: a restore of this run is undone.

use super::handles::Database;
use super::{Call, Effect, Group, Primitive};
use crate::error::Result;

pub(super) const SWAP_BACK: Primitive = Primitive {
    name: "swap_back",
    group: Group::Primitives,
    effect: Effect::Steers,
    signatures: &["swap_back(database: Database, options?: map) -> bool"],
    manual: r#"
Undoes what a restore of this run did to a database: what it replaced gets its name again.

`database` is the target of the restore or what the restore returned. Returns whether there was something to undo: where
this run changed no name, also because it was stopped before, the old database is in its place and nothing happens. So it
fits into a `defer`. Sessions that are connected to the restored database are ended. It is dropped; with `keep: true` it
stays as `NAME__failed_RUN`. It is an error when what was replaced is gone (`keep_replaced` was not asked for), when
somebody renamed one of the two since, or when the restored database became a source of this run.

```rhai,no_run
let shop = postgres(secret("SHOP_URL"), #{ writable: true });
restore(backup("backups/shop.sql.gz"), shop, #{ replace: true, in_place: true });
if !http_get("http://localhost:8000/health").ok {
    swap_back(shop);
}
```
"#,
    work: |call| Ok(swap_back(call)?.into()),
};

fn swap_back(call: &Call) -> Result<bool> {
    let mut options = call.options(1)?;
    let keep = options.flag("keep")?;
    options.finish()?;
    if call.run().options.dry_run {
        return Ok(false); // a dry run changes no name
    }
    let Database::Postgres(database) = call.handle(0, "a Database")? else {
        return Err(call.wrong(0, "a PostgreSQL database"));
    };
    let run = call.run();
    let Some(swap) = call.host().swaps.last(&database) else { return Ok(false) };
    let claim = database.claim(&run.guard)?;
    let Some(failed) = call.wait(swap.undo(keep, &run.ledger, claim))? else { return Ok(false) };
    let became = if keep { format!("stays as {failed}") } else { "was dropped".to_owned() };
    call.evidence(
        format!("{database} is what it was before; the restored one {became}"),
        serde_json::json!({ "database": database.to_string(), "restored": keep.then_some(failed) }),
    );
    Ok(true)
}
