//! `stats`: numbers about all backup sets of a catalog.

use rhai::{Dynamic, Map};

use super::handles::Catalog;
use super::{Effect, Group, Primitive};
use crate::script::{Span, Time};

pub(super) const STATS: Primitive = Primitive {
    name: "stats",
    group: Group::Sets,
    effect: Effect::Reads,
    signatures: &["stats(catalog: Catalog) -> map"],
    manual: r#"
Returns numbers about a catalog: `backups.stats()`.

A map: `sets` (whole ones), `bad`, `verified`, `pinned`, `total_size`, `components` (bytes of each over all whole sets),
`newest_size`; and where there is a whole set `oldest`, `newest` and `age` (the time since the last success), else `()`.
`growth_per_day` is in bytes, and `()` where no two sets have the same components.

```rhai
let backups = catalog(temp_dir());
backups.create(#{ "notes": |to| write_text(to + ".txt", "12345") });
let stats = backups.stats();
check_eq("sets", stats.sets, 1);
check_eq("bytes of the notes", stats.components["notes"], 5);
```
"#,
    work: |call| {
        let catalog: Catalog = call.handle(0, "a Catalog")?;
        let now = call.run().started_at;
        let stats = call.on_thread(move |_| catalog.0.stats(now))?;
        let time = |at: Option<jiff::Timestamp>| at.map_or(Dynamic::UNIT, |at| Dynamic::from(Time(at)));
        let age = stats.newest.map(|at| now.duration_since(at).as_secs_f64());
        let number = |n: u64| Dynamic::from(n.cast_signed());
        let by_component = stats.by_component.iter().map(|(name, bytes)| (name.as_str().into(), number(*bytes)));
        let by_component: Map = by_component.collect();
        let mut map = Map::new();
        map.insert("sets".into(), number(stats.sets as u64));
        map.insert("bad".into(), number(stats.bad as u64));
        map.insert("verified".into(), number(stats.verified as u64));
        map.insert("pinned".into(), number(stats.pinned as u64));
        map.insert("total_size".into(), number(stats.total_size));
        map.insert("components".into(), by_component.into());
        map.insert("newest_size".into(), number(stats.newest_size));
        map.insert("oldest".into(), time(stats.oldest));
        map.insert("newest".into(), time(stats.newest));
        map.insert("age".into(), age.map_or(Dynamic::UNIT, |seconds| Dynamic::from(Span(seconds))));
        map.insert("growth_per_day".into(), stats.growth_per_day.map_or(Dynamic::UNIT, |b| Dynamic::from(b as i64)));
        Ok(map.into())
    },
};
