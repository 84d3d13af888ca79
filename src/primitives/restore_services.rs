//! `restore_services`: a saved Compose project is made again, or a copy of it that goes with the run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rhai::{Dynamic, Map};
use serde_json::json;

use super::paths::path_text;
use super::services::{facts, list};
use super::{Call, Effect, Group, Primitive};
use crate::docker::{self, Binds, Making, Plan, Ports, ProjectOptions, SavedProject};
use crate::error::{Error, Kind, Result};
use crate::files;
use crate::script::Options;
use crate::units;

/// What a project with a database takes to come up.
const PATIENCE: Duration = Duration::from_secs(180);

pub(super) const RESTORE_SERVICES: Primitive = Primitive {
    name: "restore_services",
    group: Group::Docker,
    effect: Effect::Writes(plan),
    signatures: &["restore_services(file: string, options?: map) -> array"],
    manual: r#"
Makes the networks, volumes and containers of a project that `save_services` wrote down, with Compose's own labels, so that
`services`, `start_services` and Compose itself know them again. Returns the services as `services` does.

Without `project`, or with the saved one, it is a recovery: names, ports and restart policies are those that were
saved, volumes and networks that survived are used, and what was made stays. With another `project` it is an isolated
copy for a drill: containers, volumes and networks get names of that project (`shop_data` becomes `drill_data`), ports
are chosen by the Engine on 127.0.0.1, the restart policy is "no", labels other than Compose's are left out, old
container names still lead to the copies, and all of it goes with the run however that ends (with `--keep` it stays).
Folders of the machine, devices, the machine's namespaces and containers outside of the project are refused, so that
nothing of the original is touched.

It is refused when such a container is there already, or, for a copy, anything of that project. A restore that fails
removes what it made.

Options: `services` (only these), `images` (the file that save_services wrote: images that are not here are loaded from it;
without it they are pulled), `start` (default true; false makes the containers only), `wait` (default "3m": for all to be
ready, as in `start_services`), `ports` ("same", "any", or a map `#{ "80": 18080 }` of ports inside to ports of this
machine), `binds` ("keep", in a copy for reading only, or a map of old folders to new ones), `volumes` (a map of saved
volume names to archives of `backup_volume`, which fill them before any container is made; or "empty", so that no image
puts its own files into them before `restore_volume` fills them), `offline: true` (the networks of a copy lead nowhere but
to this machine, so that no service of it reaches mail servers or databases elsewhere; no port is published then: ask
`address` instead).

```rhai,no_run
restore_services("backups/shop_services.json", #{ project: "drill", start: false });
let api = start_services(#{ project: "drill", services: ["api"], wait: "1m" })[0];
check("the copy runs", api.running, `${api.container}: ${api.state}`);
```
"#,
    work: |call| Ok(restore_services(call)?),
};

struct Asked {
    options: ProjectOptions,
    images: Option<PathBuf>,
    start: Option<Duration>,
}

fn asked(call: &Call) -> Result<Asked> {
    let mut options = call.options(1)?;
    let (archives, empty_volumes) = volumes(&mut options)?;
    let asked = Asked {
        options: ProjectOptions {
            project: options.text("project")?,
            services: options.texts("services")?,
            ports: ports(&mut options)?,
            binds: binds(&mut options)?,
            offline: options.flag("offline")?,
            archives,
            empty_volumes,
        },
        images: options.text("images")?.map(PathBuf::from),
        start: start(&mut options)?,
    };
    options.finish()?;
    Ok(asked)
}

/// Reads for how long to wait for what is started: none when nothing is.
fn start(options: &mut Options) -> Result<Option<Duration>> {
    let (start, wait) = (options.any("start"), options.duration("wait")?);
    match (start.map(|start| start.as_bool()), wait) {
        (Some(Err(_)), _) => Err(wrong("start", "true or false")),
        (Some(Ok(false)), None) => Ok(None),
        (Some(Ok(false)), Some(_)) => {
            Err(Error::new(Kind::Usage, "restore_services waits only for what it starts").hint("leave `wait` out"))
        }
        (_, limit) => Ok(Some(limit.unwrap_or(PATIENCE))),
    }
}

fn wrong(option: &str, wanted: &str) -> Error {
    Error::new(Kind::Usage, format!("the option `{option}` of restore_services is {wanted}"))
}

fn ports(options: &mut Options) -> Result<Option<Ports>> {
    const WANTED: &str = "\"same\", \"any\" or a map of ports inside to ports of this machine: #{ \"80\": 18080 }";
    let Some(value) = options.any("ports") else { return Ok(None) };
    if let Some(map) = value.clone().try_cast::<Map>() {
        let port = |value: Dynamic| value.as_int().ok().and_then(|n| u16::try_from(n).ok()).filter(|n| *n > 0);
        let chosen = map.into_iter().map(|(inside, outside)| Some((inside.to_string(), port(outside)?)));
        let chosen: Option<BTreeMap<_, _>> = chosen.collect();
        return chosen.map(|chosen| Some(Ports::Chosen(chosen))).ok_or_else(|| wrong("ports", WANTED));
    }
    match value.into_string().as_deref() {
        Ok("same") => Ok(Some(Ports::Same)),
        Ok("any") => Ok(Some(Ports::Any)),
        _ => Err(wrong("ports", WANTED)),
    }
}

fn binds(options: &mut Options) -> Result<Binds> {
    const WANTED: &str = "\"keep\" or a map of old folders to new ones: #{ \"/srv/conf\": \"/srv/drill\" }";
    let Some(value) = options.any("binds") else { return Ok(Binds::Unsaid) };
    match text_map(value.clone()) {
        Some(moved) => Ok(Binds::Moved(moved)),
        None if value.into_string().as_deref() == Ok("keep") => Ok(Binds::Keep),
        None => Err(wrong("binds", WANTED)),
    }
}

fn volumes(options: &mut Options) -> Result<(Vec<(String, PathBuf)>, bool)> {
    const WANTED: &str =
        "\"empty\" or a map of saved volume names to archives: #{ shop_data: \"backups/data.tar.gz\" }";
    let Some(value) = options.any("volumes") else { return Ok((Vec::new(), false)) };
    match text_map(value.clone()) {
        Some(map) => Ok((map.into_iter().map(|(name, archive)| (name, PathBuf::from(archive))).collect(), false)),
        None if value.into_string().as_deref() == Ok("empty") => Ok((Vec::new(), true)),
        None => Err(wrong("volumes", WANTED)),
    }
}

fn text_map(value: Dynamic) -> Option<BTreeMap<String, String>> {
    let map = value.try_cast::<Map>()?;
    map.into_iter().map(|(key, value)| Some((key.to_string(), value.into_string().ok()?))).collect()
}

fn read(call: &Call, file: &Path) -> Result<(SavedProject, Plan, Asked)> {
    let asked = asked(call)?;
    let saved = SavedProject::read(file)?;
    let plan = Plan::of(&saved, &asked.options)?;
    call.run().guard.allow_project(&plan.project)?;
    Ok((saved, plan, asked))
}

fn restore_services(call: &Call) -> Result<Dynamic> {
    let (file, run) = (call.path(0)?, call.run());
    let path = path_text(&file)?;
    let (saved, plan, asked) = read(call, &file)?;
    let shown = run.journal.working(&format!("restore project {}", plan.project));
    let making = Making { saved: &saved, images: asked.images.as_deref(), start: asked.start, keep: run.options.keep };
    let made = docker::rebuild(&call.host().docker, &plan, &making, &run.ledger, &shown.progress);
    let made = call.wait(made)?;
    drop(shown);
    made.notes.iter().for_each(|note| call.warn(note));
    let stays = !plan.isolated || run.options.keep;
    let facts = json!({
        "file": path,
        "saved_project": saved.project,
        "project": plan.project,
        "isolated": plan.isolated,
        "stays": stays,
        "services": made.services.iter().map(facts).collect::<Vec<_>>(),
        "volumes": made.volumes,
        "networks": made.networks,
        "notes": made.notes,
    });
    let count = units::count(made.services.len() as u64, "container");
    let state = if asked.start.is_some() { "is made again and runs" } else { "is made again and was not started" };
    let end = if stays { "stays" } else { "goes with the run" };
    call.evidence(format!("project {} {state}: {count}, which {end}", plan.project), facts);
    Ok(list(&made.services))
}

fn plan(call: &Call) -> Result<String> {
    // Whatever else is unknown: from here on only a real run knows the services of a project that is named.
    if let Some(project) = call.options(1)?.any("project").and_then(|project| project.into_string().ok()) {
        call.host().announce_project(&project);
    }
    if call.is_unknown(1) {
        return Ok(format!("would restore the project in {}", call.shown(0)));
    }
    let Some(file) = call.present_path(0)? else {
        let asked = asked(call)?;
        let project = asked.options.project.map(|project| format!(" as {project}")).unwrap_or_default();
        return Ok(format!("would restore the project in {}{project}", call.shown(0)));
    };
    let (_, plan, asked) = read(call, &file)?;
    for file in asked.images.iter().chain(asked.options.archives.iter().map(|(_, archive)| archive)) {
        if !call.host().is_changed(file) {
            files::open(file)?;
        }
    }
    call.wait(docker::refuse_taken_project(&call.host().docker, &plan, call.run().ledger.run()))?;
    call.host().announce_project(&plan.project);
    Ok(plan.words())
}
