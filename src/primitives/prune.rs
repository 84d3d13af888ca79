//! `prune`: the backup sets that no rule keeps go for good.

use rhai::{Dynamic, Map};
use serde_json::json;

use super::handles::Catalog;
use super::retention::policy;
use super::{Call, Effect, Group, Primitive};
use crate::error::Result;
use crate::units;

pub(super) const PRUNE: Primitive = Primitive {
    name: "prune",
    group: Group::Sets,
    effect: Effect::Writes(plan),
    signatures: &["prune(catalog: Catalog, policy: map) -> array"],
    manual: r#"
Removes the backup sets that a policy does not keep, for good, and returns their names. `retention` shows them before.

The policy is that of `retention`. With `only`, a list of names, nothing else goes: what an operator has agreed to.
A set loses its name before its files go, so half of one never looks like a set. With `shred: true` every file is
overwritten first; see `remove` for what that is worth. Each removal is noted in the catalog's `access.log` before; where that
cannot be written, nothing goes.

```rhai
let backups = catalog(temp_dir());
backups.create(#{ "notes": |to| write_text(to + ".txt", "a") });
check_eq("the newest stays", backups.prune(#{ daily: 1 }), []);
```
"#,
    work: |call| Ok(prune(call)?),
};

fn prune(call: &Call) -> Result<Dynamic> {
    let catalog: Catalog = call.handle(0, "a Catalog")?;
    let mut options = call.options(1)?;
    let policy = policy(&mut options)?;
    let agreed = call.any(1).read_lock::<Map>().is_some_and(|given| given.contains_key("only"));
    let only = options.texts("only")?;
    let shred = options.flag("shred")?;
    options.finish()?;
    let now = call.run().started_at;
    let planned = call.on_thread({
        let catalog = catalog.clone();
        move |_| catalog.0.plan(&policy, now)
    })?;
    let mut removed = rhai::Array::new();
    for (set, decision) in planned.into_iter().filter(|(set, d)| !d.keep && (!agreed || only.contains(&set.name))) {
        call.will_lose(&set.folder)?;
        let writing = call.writing(&set.folder)?;
        let (name, size) = (set.name.clone(), set.size());
        let catalog = catalog.clone();
        call.on_thread(move |cancel| catalog.0.remove(&set, shred.then_some(cancel)))?;
        call.written(writing)?;
        let facts = json!({ "set": name, "size": size, "reason": decision.reason, "shred": shred });
        call.evidence(format!("{name} is removed ({}): {}", units::size(size), decision.reason), facts);
        removed.push(name.into());
    }
    Ok(removed.into())
}

fn plan(call: &Call) -> Result<String> {
    Ok(format!("would remove the backup sets of {} that no rule keeps", call.shown(0)))
}
