//! `step`: a named part of the script, timed, retried and bounded.

use std::time::{Duration, Instant};

use rhai::{Dynamic, EvalAltResult, FnPtr};
use tokio_util::sync::CancellationToken;

use super::{Call, Effect, Group, Primitive};
use crate::error::{Error, Kind, Result};
use crate::run::{Event, Outcome, Scope};
use crate::script::{Raise, Raised, thrown};
use crate::units;

pub(super) const STEP: Primitive = Primitive {
    name: "step",
    group: Group::Flow,
    effect: Effect::Steers,
    signatures: &["step(name: string, work: closure) -> any", "step(name: string, options: map, work: closure) -> any"],
    manual: r#"
Runs a closure as a named step and returns its value.

The step, how long it took and how it ended go into the journal as they happen. Options: `timeout` ends the step and
throws; `retry` tries again that many times when the closure throws, after `wait` (default "1s").
`return` inside the closure leaves the closure, not the script.

```rhai
let sum = step("add", || 1 + 2);
check_eq("sum", sum, 3);
let tries = #{ n: 0 };
step("second try works", #{ retry: 2, wait: "1ms", timeout: "1m" }, || {
    tries.n += 1;
    if tries.n < 2 { throw "not yet"; }
});
check_eq("tries", tries.n, 2);
```
"#,
    work: step,
};

struct Bounds {
    retry: usize,
    wait: Duration,
    timeout: Option<Duration>,
}

fn step(call: &Call) -> Raised<Dynamic> {
    let name = call.text(0)?;
    let (bounds, closure) = match call.arguments().len() {
        2 => (bounds(call, None)?, call.closure(1)?),
        _ => (bounds(call, Some(1))?, call.closure(2)?),
    };
    let journal = &call.run().journal;
    let id = journal.begin_step(&name);
    let started = Instant::now();
    let (result, tries) = tried(call, id, &bounds, &closure);
    let (outcome, mut detail) = told(call, &result);
    if tries > 1 {
        detail = [detail, format!("tried {tries} times")]
            .into_iter()
            .filter(|s| !s.is_empty())
            .collect::<Vec<_>>()
            .join("; ");
    }
    let seconds = started.elapsed().as_secs_f64();
    journal.record(Event::StepEnded { id, name, outcome, seconds, detail });
    result
}

fn bounds(call: &Call, at: Option<usize>) -> Result<Bounds> {
    let mut options = match at {
        Some(at) => call.options(at)?,
        None => crate::script::Options::new("step", Dynamic::UNIT)?,
    };
    let bounds = Bounds {
        retry: options.integer("retry")?.map_or(0, |n| usize::try_from(n).unwrap_or(0)),
        wait: options.duration("wait")?.unwrap_or(Duration::from_secs(1)),
        timeout: options.duration("timeout")?,
    };
    options.finish()?;
    Ok(bounds)
}

/// Runs the closure until it returns or its tries are used up; returns how often it ran.
fn tried(call: &Call, id: usize, bounds: &Bounds, closure: &FnPtr) -> (Raised<Dynamic>, usize) {
    let mut tries = 0;
    loop {
        tries += 1;
        let result = bounded(call, id, bounds.timeout, closure);
        let again = matches!(&result, Err(Raise::Script(e)) if is_thrown(e)) || matches!(&result, Err(Raise::Ours(_)));
        if !again || tries > bounds.retry || call.token().is_cancelled() {
            return (result, tries);
        }
        if let Err(stopped) = call.wait(async {
            tokio::time::sleep(bounds.wait).await;
            Ok(())
        }) {
            return (Err(stopped.into()), tries);
        }
    }
}

/// Runs the closure once, inside the step's scope and deadline.
fn bounded(call: &Call, id: usize, timeout: Option<Duration>, closure: &FnPtr) -> Raised<Dynamic> {
    let outer = call.token();
    let inner = outer.child_token();
    let timer = timeout.map(|limit| call.run().runtime.spawn(cancel_after(limit, inner.clone())));
    let scope = Scope { step: Some(id), token: Some(inner.clone()) };
    let result = scope.enter(|| call.call(closure, ()));
    if let Some(timer) = timer {
        timer.abort();
    }
    match (result, timeout) {
        (Err(_), Some(limit)) if inner.is_cancelled() && !outer.is_cancelled() => {
            let limit = units::duration(limit.as_secs_f64());
            Err(Error::new(Kind::Timeout, format!("the step took longer than {limit}"))
                .hint("look at the last lines of the step, or raise its timeout")
                .retryable()
                .into())
        }
        (result, _) => result,
    }
}

async fn cancel_after(limit: Duration, token: CancellationToken) {
    tokio::time::sleep(limit).await;
    token.cancel();
}

fn is_thrown(error: &EvalAltResult) -> bool {
    match error {
        EvalAltResult::ErrorInFunctionCall(_, _, inner, _) | EvalAltResult::ErrorInModule(_, inner, _) => {
            is_thrown(inner)
        }
        EvalAltResult::ErrorRuntime(..) => true,
        _ => false,
    }
}

/// Returns how the step ended and why.
fn told(call: &Call, result: &Raised<Dynamic>) -> (Outcome, String) {
    match result {
        Ok(_) if call.run().options.dry_run => (Outcome::Planned, String::new()),
        Ok(_) => (Outcome::Ok, String::new()),
        Err(_) if call.token().is_cancelled() => (Outcome::Interrupted, String::new()),
        Err(Raise::Ours(error)) => (Outcome::Failed, error.to_string()),
        Err(Raise::Script(error)) => (Outcome::Failed, innermost(error)),
    }
}

fn innermost(error: &EvalAltResult) -> String {
    match error {
        EvalAltResult::ErrorInFunctionCall(_, _, inner, _) | EvalAltResult::ErrorInModule(_, inner, _) => {
            innermost(inner)
        }
        EvalAltResult::ErrorRuntime(value, _) => thrown(value).message().to_owned(),
        other => {
            let mut plain = other.to_string();
            if let Some(at) = plain.find(" (line ") {
                plain.truncate(at);
            }
            plain
        }
    }
}
