//! `timed`: how long a closure takes.

use std::time::Instant;

use super::{Effect, Group, Primitive};
use crate::run::Event;

pub(super) const TIMED: Primitive = Primitive {
    name: "timed",
    group: Group::Verdict,
    effect: Effect::Steers,
    signatures: &["timed(name: string, work: closure) -> any"],
    manual: r#"
Runs a closure, measures how long it takes, and returns its value. `slo` holds the measure against a limit.

```rhai
let copy = timed("rto", || 6 * 7);
check_eq("the closure's value comes back", copy, 42);
slo("rto", "30m");
```
"#,
    work: |call| {
        let (name, closure) = (call.text(0)?, call.closure(1)?);
        let started = Instant::now();
        let value = call.call(&closure, ())?;
        if !call.run().options.dry_run {
            call.run().journal.record(Event::Measured { name, seconds: started.elapsed().as_secs_f64() });
        }
        Ok(value)
    },
};
