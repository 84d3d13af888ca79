//! `warn`: a message that stands out and reaches the report.

use rhai::Dynamic;

use super::{Effect, Group, Primitive};
use crate::run::Event;

pub(super) const WARN: Primitive = Primitive {
    name: "warn",
    group: Group::Flow,
    effect: Effect::Steers,
    signatures: &["warn(message: any) -> ()"],
    manual: r#"
Writes a warning to the terminal, the journal and the report. It does not change the verdict.

```rhai
warn("the last backup is two days old");
```
"#,
    work: |call| {
        call.run().journal.record(Event::Said { text: call.shown(0), warning: true });
        Ok(Dynamic::UNIT)
    },
};
