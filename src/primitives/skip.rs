//! `skip`: a claim that could not be checked.

use rhai::Dynamic;

use super::{Effect, Group, Primitive};
use crate::run::Event;

pub(super) const SKIP: Primitive = Primitive {
    name: "skip",
    group: Group::Verdict,
    effect: Effect::Steers,
    signatures: &["skip(name: string, why: string) -> ()"],
    manual: r#"
Notes that a claim could not be checked, and why. It is never counted as a pass.

```rhai
skip("indexes agree with their tables", "amcheck is not installed there");
check("something else holds", true);
```
"#,
    work: |call| {
        call.run().journal.record(Event::Skipped { name: call.text(0)?, why: call.text(1)? });
        Ok(Dynamic::UNIT)
    },
};
