//! `save_services`: a Compose project is written down, so that it can be made again where there is nothing of it.

use std::path::PathBuf;

use rhai::Dynamic;
use serde_json::json;

use super::paths::{path_text, refuse_taken};
use super::{Call, Effect, Group, Primitive};
use crate::docker;
use crate::error::Result;
use crate::files::checksums;
use crate::script::from_json;
use crate::units;

pub(super) const SAVE_SERVICES: Primitive = Primitive {
    name: "save_services",
    group: Group::Docker,
    effect: Effect::Writes(plan),
    signatures: &["save_services(project: map, to: string) -> map"],
    manual: r#"
Writes down the containers of a Compose project, with their volumes' and networks' settings, into one new JSON file from
which `restore_services` makes them again on an empty Engine, without Compose and without its file.

Options: `project`, and `images`, a new `.tar.gz` or a folder for it: then the images are exported as well, each once, for
an Engine that has no registry. The result is a map: `path`, `project`, `services`, `containers`, `volumes`, `networks`,
`images` (the file's path, or ()), `images_size` and `not_carried`: what this file alone does not bring back, such as the
content of folders of the machine. What volumes hold is the business of `backup_volume`, a database's of `dump`.

The file holds the values of variables, passwords among them: it is readable by its owner alone (0600); keep it as you keep
a backup. Nothing of the project is stopped or changed.

```rhai,no_run
let saved = save_services(#{ project: "shop" }, "backups/shop_services.json");
check("the API is in it", saved.services.contains("api"), `${saved.services}`);
```
"#,
    work: |call| Ok(save_services(call)?),
};

fn asked(call: &Call) -> Result<(String, Option<PathBuf>)> {
    let mut options = call.options(0)?;
    let project = options.needed("project")?;
    let images = options.text("images")?;
    options.finish()?;
    let images = images.map(|images| docker::images_path(&project, images.as_ref()));
    Ok((project, images))
}

fn save_services(call: &Call) -> Result<Dynamic> {
    let ((project, images), to, run) = (asked(call)?, call.path(1)?, call.run());
    let path = path_text(&to)?;
    let images_path = images.as_deref().map(path_text).transpose()?;
    for new in [Some(&to), images.as_ref()].into_iter().flatten() {
        refuse_taken(new)?;
    }
    let engine = &call.host().docker;
    let mut saved = call.wait(docker::save_project(engine, &project))?;
    if let Some(images) = &images {
        let writing = call.writing(images)?;
        let shown = run.journal.working("export the images");
        saved.images_archive = Some(call.wait(docker::export_images(engine, &saved, images, &shown.progress))?);
        call.written(writing)?;
    }
    let writing = call.writing(&to)?;
    if let Err(error) = saved.write(&to) {
        // Images that no file names would only be in the way of the next try.
        for image in images.iter().flat_map(|images| [images.clone(), checksums::sidecar(images)]) {
            let _ = std::fs::remove_file(image);
        }
        return Err(error);
    }
    call.written(writing)?;
    saved.not_carried.iter().for_each(|what| call.warn(format!("not in the saved project: {what}")));
    let mut services: Vec<_> = saved.containers.iter().map(|c| c.service.as_str()).collect();
    services.dedup();
    let facts = json!({
        "path": path,
        "project": project,
        "services": services,
        "containers": saved.containers.len(),
        "volumes": saved.volumes.iter().map(|v| &v.name).collect::<Vec<_>>(),
        "networks": saved.networks.iter().map(|n| &n.name).collect::<Vec<_>>(),
        "images": images_path,
        "images_size": saved.images_archive.as_ref().map_or(0, |images| images.size),
        "not_carried": saved.not_carried,
    });
    let count = units::count(saved.containers.len() as u64, "container");
    let with = saved.images_archive.as_ref().map(|a| format!(", {} of images", units::size(a.size)));
    call.evidence(format!("project {project} is in {path}: {count}{}", with.unwrap_or_default()), facts.clone());
    Ok(from_json(facts))
}

fn plan(call: &Call) -> Result<String> {
    if call.is_unknown(0) {
        return Ok("would save a project that only a real run knows".into());
    }
    let (project, images) = asked(call)?;
    call.wait(docker::services(&call.host().docker, &project, &[]))?;
    let to = call.present_path(1)?;
    let present = images.as_ref().filter(|images| !call.host().is_changed(images));
    for new in [to.as_ref(), present].into_iter().flatten() {
        refuse_taken(new)?;
    }
    call.announce_change(1)?;
    if let Some(images) = &images {
        call.host().announce_change(images);
    }
    let with = images.map(|images| format!(", and its images in {}", images.display())).unwrap_or_default();
    Ok(format!("would save project {project} in {}{with}", call.shown(1)))
}
