//! `slo`: a measured duration held against its limit.

use rhai::Dynamic;

use super::check::planned;
use super::{Call, Effect, Group, Primitive};
use crate::error::{Error, Kind, Result};
use crate::run::Event;
use crate::script::duration;

pub(super) const SLO: Primitive = Primitive {
    name: "slo",
    group: Group::Verdict,
    effect: Effect::Steers,
    signatures: &["slo(name: string, limit: string|int) -> bool"],
    manual: r#"
Holds a measured duration against a limit and returns whether it was met. A missed one fails the run (exit 1).

The duration comes from `timed` or `measure` of the same name. One that was never measured is an error: an objective
that nobody measured is not met.

```rhai
measure("rto", 90);
check("met", slo("rto", "15m"));
```
"#,
    work: |call| Ok(slo(call)?),
};

fn slo(call: &Call) -> Result<Dynamic> {
    let name = call.text(0)?;
    let limit = duration(&call.any(1))?.as_secs_f64();
    if call.run().options.dry_run {
        return Ok(planned(call, format!("{name} within {}", call.shown(1))));
    }
    let moments = call.run().journal.moments();
    let measured = moments.iter().rev().find_map(|m| match &m.event {
        Event::Measured { name: measured, seconds } if *measured == name => Some(*seconds),
        _ => None,
    });
    let seconds = measured.ok_or_else(|| {
        Error::new(Kind::Usage, format!("nothing measured `{name}`"))
            .hint(format!("wrap the work in timed(\"{name}\", || …), or use measure"))
    })?;
    // A negative age means that a clock is wrong, and a wrong clock proves no objective.
    let passed = (0.0..=limit).contains(&seconds);
    call.run().journal.record(Event::Objective { name, seconds, limit, passed });
    Ok(passed.into())
}
