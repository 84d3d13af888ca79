//! `retention`: which backup sets stay and which may go, with the reason for each.

use rhai::{Dynamic, Map};

use super::handles::Catalog;
use super::{Call, Effect, Group, Primitive};
use crate::backups::Policy;
use crate::error::{Error, Kind, Result};
use crate::script::Options;

pub(super) const RETENTION: Primitive = Primitive {
    name: "retention",
    group: Group::Sets,
    effect: Effect::Reads,
    signatures: &["retention(catalog: Catalog, policy: map) -> array"],
    manual: r#"
Plans which backup sets stay, and changes nothing: a list of maps with `name`, `keep`, `reason` and `size`, newest first.

Policy: `daily`, `weekly`, `monthly`, `yearly` (the newest set of each of that many days, weeks, months, years that have
one; 0 when left out) and `max_size` ("50GB"; the oldest goes first). The newest verified set, the newest whole one and
pinned sets always stay. Sets that are dated in the future, cannot be read or failed their verification count for nothing
and stay until an operator removes them.

```rhai
let backups = catalog(temp_dir());
backups.create(#{ "notes": |to| write_text(to + ".txt", "a") });
let plan = backups.retention(#{ daily: 7, weekly: 4, monthly: 3, max_size: "50GB" });
check("the only set stays", plan[0].keep, plan[0].reason);
```
"#,
    work: |call| Ok(retention(call)?),
};

fn retention(call: &Call) -> Result<Dynamic> {
    let catalog: Catalog = call.handle(0, "a Catalog")?;
    let mut options = call.options(1)?;
    let policy = policy(&mut options)?;
    options.finish()?;
    let now = call.run().started_at;
    let planned = call.on_thread(move |_| catalog.0.plan(&policy, now))?;
    let shown = planned.into_iter().map(|(set, decision)| {
        let mut map = Map::new();
        map.insert("size".into(), set.size().cast_signed().into());
        map.insert("name".into(), decision.name.into());
        map.insert("keep".into(), decision.keep.into());
        map.insert("reason".into(), decision.reason.into());
        Dynamic::from(map)
    });
    Ok(shown.collect::<rhai::Array>().into())
}

/// Reads a policy. One that keeps nothing is a mistake of whoever wrote it.
pub(super) fn policy(options: &mut Options) -> Result<Policy> {
    let mut count = |key| match options.integer(key)?.map_or(Ok(0), usize::try_from) {
        Ok(n) => Ok(n),
        Err(_) => Err(Error::new(Kind::Usage, format!("the option `{key}` of a policy is 0 or more"))),
    };
    let (daily, weekly, monthly, yearly) = (count("daily")?, count("weekly")?, count("monthly")?, count("yearly")?);
    if daily + weekly + monthly + yearly == 0 {
        return Err(Error::new(Kind::Usage, "this policy keeps nothing").hint("give daily, weekly, monthly or yearly"));
    }
    Ok(Policy { daily, weekly, monthly, yearly, max_size: options.size("max_size")? })
}
