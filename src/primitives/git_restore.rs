//! `git_restore`: a repository comes back from one file.

use rhai::Dynamic;
use serde_json::json;

use super::paths::path_text;
use super::{Call, Effect, Group, Primitive};
use crate::error::Result;
use crate::files::{self, extract};
use crate::git;
use crate::script::from_json;
use crate::units;

pub(super) const GIT_RESTORE: Primitive = Primitive {
    name: "git_restore",
    group: Group::Git,
    effect: Effect::Writes(plan),
    signatures: &["git_restore(bundle: string, into: string) -> map"],
    manual: r#"
Makes a git repository of a bundle in a folder that is new or empty, checks every object and compares every ref.

The result is a map: `path`, `head`, `refs` (a map), `commits`, and `proven` (whether a checksum or manifest beside the
bundle agreed). Branches, tags, notes and remote branches have the names that they had, the branch that was checked out
is checked out again, and `git fsck --full` found nothing. Remotes are settings and not in a bundle: add them again.
Nothing has the folder's name before all of that is done.

```rhai,no_run
let back = git_restore("backups/shop.bundle", temp_dir() + "/shop");
check("the history is back", back.commits > 0, `${back.commits} commits`);
```
"#,
    work: |call| Ok(git_restore(call)?),
};

fn git_restore(call: &Call) -> Result<Dynamic> {
    let (bundle, into, run) = (call.path(0)?, call.path(1)?, call.run());
    let path = path_text(&into)?;
    let writing = call.writing(&into)?;
    let shown = run.journal.working(&format!("clone {}", bundle.display()));
    let made = call.wait(git::restore(&bundle, &into))?;
    drop(shown);
    call.written(writing)?;
    let facts = json!({
        "path": path,
        "head": made.head,
        "refs": made.refs,
        "commits": made.commits,
        "proven": made.proven,
    });
    let commits = units::count(made.commits, "commit");
    let refs = units::count(made.refs.len() as u64, "ref");
    call.evidence(format!("{} is in {path}: {commits}, {refs}, checked by fsck", bundle.display()), facts.clone());
    Ok(from_json(facts))
}

fn plan(call: &Call) -> Result<String> {
    if let Some(bundle) = call.present_path(0)? {
        files::open(&bundle)?;
    }
    if let Some(into) = call.present_path(1)? {
        extract::refuse_full(&into)?;
    }
    call.announce_change(1)?;
    Ok(format!("would make a repository of {} in {}", call.shown(0), call.shown(1)))
}
