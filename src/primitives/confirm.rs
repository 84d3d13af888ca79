//! `confirm`: a question to the operator.

use super::{Effect, Group, Primitive};
use crate::error::{Error, Kind};

pub(super) const CONFIRM: Primitive = Primitive {
    name: "confirm",
    group: Group::Flow,
    effect: Effect::Steers,
    signatures: &["confirm(question: string) -> bool"],
    manual: r#"
Asks the operator and returns the answer.

With `--yes` the answer is yes. Without a terminal and without `--yes` the run is refused: nobody agreed.

```rhai,no_run
if !confirm("Replace the production database?") { throw "not confirmed"; }
```
"#,
    work: |call| {
        let question = call.text(0)?;
        let options = &call.run().options;
        if options.dry_run || options.yes {
            return Ok(true.into());
        }
        if !options.interactive {
            return Err(Error::new(Kind::Refused, format!("nobody is there to answer: {question}"))
                .hint("run it in a terminal, or agree beforehand with --yes")
                .into());
        }
        Ok(call.run().journal.confirm(&question).into())
    },
};
