//! `log`: a message.

use rhai::Dynamic;

use super::{Effect, Group, Primitive};
use crate::run::Event;

pub(super) const LOG: Primitive = Primitive {
    name: "log",
    group: Group::Flow,
    effect: Effect::Steers,
    signatures: &["log(message: any) -> ()"],
    manual: r#"
Writes a message to the terminal and the journal. `print` does the same.

```rhai
log(`today is ${now()}`);
```
"#,
    work: |call| {
        call.run().journal.record(Event::Said { text: call.shown(0), warning: false });
        Ok(Dynamic::UNIT)
    },
};
