//! `measure`: a duration that the script computed itself.

use rhai::Dynamic;

use super::check::planned;
use super::{Effect, Group, Primitive};
use crate::run::Event;
use crate::script::{Span, Unknown};

pub(super) const MEASURE: Primitive = Primitive {
    name: "measure",
    group: Group::Verdict,
    effect: Effect::Steers,
    signatures: &["measure(name: string, duration: Duration|int|float) -> ()"],
    manual: r#"
Notes a duration under a name, for instance the age of the newest row as the RPO. `slo` holds it against a limit.

```rhai
measure("rpo", 3600);
slo("rpo", "24h");
```
"#,
    work: |call| {
        let (name, value) = (call.text(0)?, call.any(1));
        if Unknown::is_in(&value) {
            return Ok(planned(call, name));
        }
        let seconds = value
            .read_lock::<Span>()
            .map(|s| s.0)
            .or_else(|| value.as_float().ok())
            .or_else(|| value.as_int().ok().map(|n| n as f64));
        let seconds = seconds.ok_or_else(|| call.wrong(1, "a duration or a number of seconds"))?;
        call.run().journal.record(Event::Measured { name, seconds });
        Ok(Dynamic::UNIT)
    },
};
