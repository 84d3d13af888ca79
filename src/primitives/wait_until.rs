//! `wait_until`: a condition with a deadline.

use std::time::{Duration, Instant};

use rhai::Dynamic;

use super::{Call, Effect, Group, Primitive};
use crate::error::{Error, Kind};
use crate::script::{Raised, Unknown};
use crate::units;

pub(super) const WAIT_UNTIL: Primitive = Primitive {
    name: "wait_until",
    group: Group::Flow,
    effect: Effect::Steers,
    signatures: &["wait_until(options: map, condition: closure) -> Duration"],
    manual: r#"
Calls a closure until it returns true, and returns how long that took.

Options: `timeout` (needed) after which it throws, `every` between two tries (default "500ms"), `what` for the error.

```rhai
let tries = #{ n: 0 };
wait_until(#{ timeout: "10s", every: "1ms", what: "the third try" }, || { tries.n += 1; tries.n == 3 });
check_eq("tries", tries.n, 3);
```
"#,
    work: wait_until,
};

fn wait_until(call: &Call) -> Raised<Dynamic> {
    let mut options = call.options(0)?;
    let timeout = options.duration("timeout")?;
    let timeout = timeout
        .ok_or_else(|| Error::new(Kind::Usage, "wait_until needs a `timeout`").hint("write #{ timeout: \"1m\" }"))?;
    let every = options.duration("every")?.unwrap_or(Duration::from_millis(500));
    let what = options.text("what")?.unwrap_or_else(|| "the condition".into());
    options.finish()?;
    let (closure, started) = (call.closure(1)?, Instant::now());
    loop {
        let answer = call.call(&closure, ())?;
        if answer.is::<Unknown>() {
            return Ok(answer);
        }
        let held = answer.as_bool().map_err(|found| {
            Error::new(Kind::Usage, format!("the condition of wait_until returns true or false, not {found}"))
        })?;
        if held {
            return Ok(Dynamic::from(crate::script::Span(started.elapsed().as_secs_f64())));
        }
        if started.elapsed() + every > timeout {
            let limit = units::duration(timeout.as_secs_f64());
            return Err(Error::new(Kind::Timeout, format!("{what} did not hold within {limit}")).retryable().into());
        }
        call.wait(async {
            tokio::time::sleep(every).await;
            Ok(())
        })?;
    }
}
