//! `now`: the present moment.

use jiff::Timestamp;
use rhai::Dynamic;

use super::{Effect, Group, Primitive};
use crate::script::Time;

pub(super) const NOW: Primitive = Primitive {
    name: "now",
    group: Group::Flow,
    effect: Effect::Reads,
    signatures: &["now() -> Time"],
    manual: r#"
Returns the present moment. The difference of two moments is a duration.

```rhai
let started = now();
check("time does not go back", (now() - started).seconds >= 0.0);
```
"#,
    work: |_| Ok(Dynamic::from(Time(Timestamp::now()))),
};
