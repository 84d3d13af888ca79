//! `git_bundle`: a repository with its whole history becomes one file.

use rhai::Dynamic;
use serde_json::{Value, json};

use super::paths::{path_text, refuse_taken};
use super::{Call, Effect, Group, Primitive};
use crate::error::Result;
use crate::files::with_suffix;
use crate::git::{self, Loose};
use crate::script::from_json;
use crate::units;

pub(super) const GIT_BUNDLE: Primitive = Primitive {
    name: "git_bundle",
    group: Group::Git,
    effect: Effect::Writes(plan),
    signatures: &["git_bundle(repo: string, to: string) -> map"],
    manual: r#"
Writes every branch, tag and other ref of a git repository with its whole history into one new file, and verifies it.

The result is a map: `path`, `size`, `sha256`, `head`, `refs` (a map), `branches` (their number), and what the bundle does
not hold: `uncommitted` (a number) with `files` (the first 20 names), `unpushed` (a map: branch, commits that no remote
had when it was last fetched), `stashes`, `submodules`, `lfs`; each is a warning as well. The bundle is verified where nothing can stand in for what
it lacks. A checksum and a manifest lie beside it. Nothing talks to a remote, no hook runs, the repository is only read.
A shallow clone is refused: its history is cut.

```rhai,no_run
let made = git_bundle("shop", `backups/${timestamp_name("shop")}.bundle`);
check("everything is committed", made.uncommitted == 0, made.files);
log(`commits that no remote has: ${made.unpushed}`);
```
"#,
    work: |call| Ok(git_bundle(call)?),
};

fn git_bundle(call: &Call) -> Result<Dynamic> {
    let (repo, to, run) = (call.path(0)?, call.path(1)?, call.run());
    let path = path_text(&to)?;
    refuse_taken(&to)?;
    let writing = call.writing(&to)?;
    let shown = run.journal.working(&format!("bundle {}", repo.display()));
    let made = call.wait(git::bundle(&repo, &to))?;
    drop(shown);
    call.written(writing)?;
    let manifest = &made.manifest;
    cautions(&manifest.loose).iter().for_each(|caution| call.warn(caution.as_str()));
    let branches = manifest.refs.keys().filter(|name| name.starts_with("refs/heads/")).count();
    let mut facts = json!({
        "path": path,
        "size": made.size,
        "sha256": manifest.sha256,
        "head": manifest.head,
        "refs": manifest.refs,
        "branches": branches,
    });
    if let (Value::Object(facts), Value::Object(loose)) = (&mut facts, json!(manifest.loose)) {
        facts.extend(loose);
    }
    let branches = units::count(manifest.refs.len() as u64, "ref");
    call.evidence(
        format!("{} with its history is in {path}: {branches}, {}", repo.display(), units::size(made.size)),
        facts.clone(),
    );
    Ok(from_json(facts))
}

/// Says what is not in the bundle, and what is nowhere else.
fn cautions(loose: &Loose) -> Vec<String> {
    let mut cautions = Vec::new();
    if loose.uncommitted > 0 {
        let files = loose.files.join(", ");
        cautions.push(format!(
            "{} not committed and so not in the bundle: {files}",
            units::count(loose.uncommitted, "file")
        ));
    }
    for (branch, commits) in &loose.unpushed {
        cautions.push(format!("{} of {branch} on no remote", units::count(*commits, "commit")));
    }
    if loose.stashes > 1 {
        cautions.push(format!("of {} stashes a bundle holds the newest: make branches of the others", loose.stashes));
    }
    if loose.submodules > 0 {
        cautions.push(format!(
            "{} are repositories of their own: bundle them, too",
            units::count(loose.submodules, "submodule")
        ));
    }
    if loose.lfs {
        cautions.push("Git LFS keeps files outside of the history: archive .git/lfs as well".into());
    }
    cautions
}

fn plan(call: &Call) -> Result<String> {
    if let Some(repo) = call.present_path(0)? {
        call.wait(git::look(&repo))?;
    }
    if let Some(to) = call.present_path(1)? {
        refuse_taken(&to)?;
        refuse_taken(&with_suffix(&to, ".manifest.json"))?;
    }
    call.announce_change(1)?;
    Ok(format!("would bundle the repository {} into {}", call.shown(0), call.shown(1)))
}
