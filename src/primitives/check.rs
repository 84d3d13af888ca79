//! `check`: a claim that holds or does not.

use rhai::Dynamic;

use super::{Call, Effect, Group, Primitive};
use crate::error::Result;
use crate::run::{Check, Event};
use crate::script::Unknown;

pub(super) const CHECK: Primitive = Primitive {
    name: "check",
    group: Group::Verdict,
    effect: Effect::Steers,
    signatures: &["check(name: string, holds: bool, detail?: any) -> bool"],
    manual: r#"
Notes whether a claim holds, and returns it.

A claim that does not hold fails the run (exit 1) but does not stop the script. The name says what is claimed, the
detail what was seen.

```rhai
check("there are users", 3 > 0, "3 users");
```
"#,
    work: |call| Ok(check(call)?),
};

fn check(call: &Call) -> Result<Dynamic> {
    let name = call.text(0)?;
    if Unknown::is_in(&call.any(1)) {
        return Ok(planned(call, name));
    }
    let passed = call.truth(1)?;
    let detail = if call.arguments().len() > 2 { call.shown(2) } else { String::new() };
    Ok(note(call, name, passed, detail))
}

/// Notes a check's result.
pub(super) fn note(call: &Call, name: String, passed: bool, detail: String) -> Dynamic {
    call.run().journal.record(Event::Checked(Check { name, passed, detail }));
    passed.into()
}

/// Notes that a real run would check this.
pub(super) fn planned(call: &Call, name: String) -> Dynamic {
    call.run().journal.record(Event::Announced { primitive: "check".into(), text: name });
    Unknown::of("check")
}
