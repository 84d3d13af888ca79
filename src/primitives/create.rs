//! `create`: a new backup set, its components side by side.

use std::sync::Arc;

use rhai::{Dynamic, FnPtr, Map};
use serde_json::json;

use super::handles::{BackupSet, Catalog};
use super::parallel::{each_to_its_end, is_stop};
use super::{Call, Effect, Group, Primitive, proving, signatures};
use crate::backups::{self, Unfinished, component_name, set_name};
use crate::error::{Error, Kind, Result};
use crate::run::Event;
use crate::script::{Raise, Raised, Unknown, thrown};
use crate::units;

pub(super) const CREATE: Primitive = Primitive {
    name: "create",
    group: Group::Sets,
    effect: Effect::Steers,
    signatures: &["create(catalog: Catalog, components: map) -> BackupSet"],
    manual: r#"
Makes a backup set and returns it: `backups.create(#{ models: |to| copy_folder("models", to) })`.

Each component is a closure that gets the path to write to: a folder of this path, or one file whose name goes on with a
dot (`to + ".sql.gz"`). A name `docker_volumes/redis` writes into that folder. The closures run side by side, each to its
end. The set gets its name, `system_backup_YYYYMMDD_HHMMSS` with the run's time, when all of it is written and its
checksums are taken. When a component fails, the rest stays for a look as `failed_system_backup_…`, named in
`validation_errors`, and create throws.

```rhai
let work = temp_dir();
write_text(work + "/config/app.toml", "port = 8080");
let set = catalog(work + "/backups").create(#{
    "config": |to| copy_folder(work + "/config", to),
    "notes":  |to| write_text(to + ".txt", "before the upgrade"),
});
check_eq("components", set.components, ["config", "notes"]);
check("every file matches its checksum", set.verify_set().intact);
```
"#,
    work: create,
};

fn create(call: &Call) -> Raised<Dynamic> {
    let catalog: Catalog = call.handle(0, "a Catalog")?;
    let components = components(call)?;
    proving::refuse(call, "create")?;
    if call.run().options.dry_run {
        return plan(call, &catalog, components);
    }
    let (stems, closures): (Vec<String>, Vec<FnPtr>) = components.into_iter().unzip();
    let run = call.run();
    let unfinished = call.wait(Unfinished::start(&run.ledger, catalog.0.folder(), run.started_at))?;
    let mut branches = Vec::new();
    for (stem, closure) in stems.iter().zip(closures) {
        branches.push((closure, Some(unfinished.path(stem)?.display().to_string().into())));
    }
    let (mut errors, mut first) = (Vec::new(), None);
    for (stem, result) in stems.iter().zip(each_to_its_end(call, branches)) {
        match result {
            Ok(_) => {}
            Err(raise) if is_stop(&raise) => return Err(raise),
            Err(raise) => {
                let error = told(raise);
                errors.push(format!("{}: {error}", component_name(stem)));
                first.get_or_insert(error);
            }
        }
    }
    let (unfinished, set) = call.on_thread_with("checksums", {
        let (stems, signing) = (stems.clone(), Arc::clone(run));
        let now = run.started_at;
        move |progress, cancel| {
            let folder = unfinished.finish(&stems, errors, progress, cancel)?;
            let set = backups::BackupSet::open(&folder, now)?;
            signatures::sign_set(&signing, &set)?;
            Ok((unfinished, set))
        }
    })?;
    call.wait(unfinished.close())?;
    ended(call, set, first)
}

/// A closure that is not written down is an error before anything is made.
fn components(call: &Call) -> Result<Vec<(String, FnPtr)>> {
    let map = call.any(1).try_cast::<Map>().ok_or_else(|| call.wrong(1, "a map of closures: #{ name: |to| … }"))?;
    if map.is_empty() {
        return Err(
            Error::new(Kind::Usage, "a backup set needs a component").hint("#{ database: |to| dump(source, …) }")
        );
    }
    map.into_iter()
        .map(|(name, closure)| {
            let closure = closure.flatten().try_cast::<FnPtr>();
            Ok((name.to_string(), closure.ok_or_else(|| call.wrong(1, "a map of closures: #{ name: |to| … }"))?))
        })
        .collect()
}

fn plan(call: &Call, catalog: &Catalog, components: Vec<(String, FnPtr)>) -> Raised<Dynamic> {
    let folder = catalog.0.folder().join(set_name(call.run().started_at));
    let text = format!("would make the backup set {}", folder.display());
    call.run().journal.record(Event::Announced { primitive: "create".into(), text });
    for (stem, closure) in components {
        let _ = call.call(&closure, (folder.join(stem).display().to_string(),))?; // a real run drops it, too
    }
    call.host().announce_change(&folder);
    Ok(Unknown::of("create"))
}

fn told(raise: Raise) -> Error {
    match raise {
        Raise::Ours(error) => error,
        Raise::Script(error) => innermost(&error),
    }
}

fn innermost(error: &rhai::EvalAltResult) -> Error {
    use rhai::EvalAltResult::{ErrorInFunctionCall, ErrorInModule, ErrorRuntime};
    match error {
        ErrorInFunctionCall(_, _, inner, _) | ErrorInModule(_, inner, _) => innermost(inner),
        ErrorRuntime(value, _) => thrown(value),
        other => Error::new(Kind::Script, other.to_string()),
    }
}

fn ended(call: &Call, set: backups::BackupSet, first: Option<Error>) -> Raised<Dynamic> {
    call.accessed(&set.folder);
    let metadata = set.need_metadata()?;
    let sizes: Map =
        metadata.components.iter().map(|(n, c)| (n.as_str().into(), c.size.cast_signed().into())).collect();
    let summary = format!(
        "{}: {}, {}",
        set.name,
        units::count(metadata.components.len() as u64, "component"),
        units::size(set.size())
    );
    let facts = json!({
        "path": set.folder,
        "size": set.size(),
        "components": crate::script::to_json(&sizes.into()),
        "validation_errors": metadata.validation_errors,
    });
    call.evidence(summary, facts);
    if metadata.validation_errors.is_empty() {
        return Ok(Dynamic::from(BackupSet::new(set)));
    }
    let kind = first.as_ref().map_or(Kind::Missing, Error::kind);
    let failed = metadata.validation_errors.join("; ");
    let mut error =
        Error::new(kind, format!("the backup set is not whole: {failed}")).on(set.folder.display().to_string());
    for cause in first.iter().flat_map(|f| f.causes()) {
        error = error.caused_by(cause.clone());
    }
    let next = first.as_ref().and_then(|f| f.next_step()).map(|hint| format!("{hint}; ")).unwrap_or_default();
    Err(error.hint(format!("{next}what could be saved is in {} and counts as no backup", set.name)).into())
}
