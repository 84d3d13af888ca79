//! `parallel`: closures side by side.

use std::panic::resume_unwind;
use std::sync::{Mutex, PoisonError};
use std::thread;

use rhai::{Array, Dynamic, FnPtr};

use super::{Call, Effect, Group, Primitive};
use crate::error::{Error, Kind, Result};
use crate::run::{Scope, current};
use crate::script::{Raise, Raised};

pub(super) const PARALLEL: Primitive = Primitive {
    name: "parallel",
    group: Group::Flow,
    effect: Effect::Steers,
    signatures: &["parallel(branches: array) -> array"],
    manual: r#"
Runs closures side by side and returns their values in the same order.

Each branch works on a copy of the variables that it captured: what it changes stays in it, so return what you need.
When one branch throws, the others are stopped and awaited, and its error is thrown.

```rhai
let sizes = parallel([|| 1 + 1, || 2 + 2]);
check_eq("both", sizes, [2, 4]);
```
"#,
    work: |call| {
        let branches = call.list(0)?;
        let branches = branches
            .into_iter()
            .map(|b| b.try_cast::<FnPtr>().ok_or_else(|| call.wrong(0, "a list of closures: [|| …, || …]")));
        let branches: Vec<_> = branches.collect::<Result<_>>()?;
        let all = branches.len();
        side_by_side(call, branches.into_iter().map(|b| (b, None)).collect(), all)
    },
};

/// Scripts nest closures in closures; the default of a thread is too small for that in a debug build.
const STACK: usize = 32 << 20;

/// A closure with its argument.
pub(super) type Branch = (FnPtr, Option<Dynamic>);

/// Runs each closure with its argument, so many at once; the first error stops the others.
pub(super) fn side_by_side(call: &Call, branches: Vec<Branch>, at_once: usize) -> Raised<Dynamic> {
    first_cause(run(call, branches, at_once, true))
}

/// Runs each closure to its own end, whatever becomes of the others.
pub(super) fn each_to_its_end(call: &Call, branches: Vec<Branch>) -> Vec<Raised<Dynamic>> {
    let all = branches.len();
    run(call, branches, all, false)
}

fn run(call: &Call, branches: Vec<Branch>, at_once: usize, stop_others: bool) -> Vec<Raised<Dynamic>> {
    let token = call.token().child_token();
    let step = current().step;
    let mut results: Vec<Option<Raised<Dynamic>>> = branches.iter().map(|_| None).collect();
    let lanes = at_once.min(branches.len());
    let branches: Vec<_> = branches.into_iter().map(|(closure, argument)| (private_copy(closure), argument)).collect();
    let waiting = Mutex::new(branches.into_iter().enumerate());
    let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).next();
    let one = |(closure, argument): Branch| {
        let result = Scope { step, token: Some(token.clone()) }.enter(|| match argument {
            Some(argument) => call.call(&closure, (argument,)),
            None => call.call(&closure, ()),
        });
        if stop_others && result.is_err() {
            token.cancel();
        }
        result
    };
    let lane = || {
        let mut done = Vec::new();
        while let Some((at, branch)) = next() {
            done.push((at, one(branch)));
        }
        done
    };
    let mut without = None; // a lane that could not be started; the others do its work, unless there are none
    thread::scope(|threads| {
        let start = |_| thread::Builder::new().stack_size(STACK).spawn_scoped(threads, lane);
        for lane in (0..lanes).map(start).collect::<Vec<_>>() {
            match lane {
                Ok(lane) => {
                    for (at, result) in lane.join().unwrap_or_else(|panic| resume_unwind(panic)) {
                        results[at] = Some(result);
                    }
                }
                Err(e) => without = Some(Error::new(Kind::Io, "could not start a thread").because(&e)),
            }
        }
    });
    let lost = || without.clone().unwrap_or_else(|| Error::new(Kind::Bug, "a branch was never run"));
    results.into_iter().map(|result| result.unwrap_or_else(|| Err(lost().into()))).collect()
}

/// A captured variable is a cell behind a lock that a method call holds for as long as it runs: two branches that use
/// the same handle would fail as a data race. Each gets a copy of its own.
fn private_copy(mut closure: FnPtr) -> FnPtr {
    let copies: Vec<_> = closure.curry().iter().map(Dynamic::flatten_clone).collect();
    closure.set_curry(copies);
    closure
}

/// Returns all values, or the error that stopped the others: those were only terminated.
fn first_cause(results: Vec<Raised<Dynamic>>) -> Raised<Dynamic> {
    let mut values = Array::new();
    let mut stopped = None;
    for result in results {
        match result {
            Ok(value) => values.push(value),
            Err(raise) if is_stop(&raise) => stopped = Some(raise),
            Err(raise) => return Err(raise),
        }
    }
    stopped.map_or(Ok(values.into()), Err)
}

pub(super) fn is_stop(raise: &Raise) -> bool {
    match raise {
        Raise::Ours(error) => error.kind() == Kind::Interrupted,
        Raise::Script(error) => matches!(error.unwrap_inner(), rhai::EvalAltResult::ErrorTerminated(..)),
    }
}
