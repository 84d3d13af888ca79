//! `services`: the services of a Compose project.

use rhai::{Array, Dynamic};
use serde_json::{Value, json};

use super::{Call, Effect, Group, Primitive};
use crate::docker::{self, Service};
use crate::error::{Error, Kind, Result};
use crate::script::{Options, Unknown, from_json};

pub(super) const SERVICES: Primitive = Primitive {
    name: "services",
    group: Group::Docker,
    effect: Effect::Reads,
    signatures: &["services(options: map) -> array"],
    manual: r#"
Returns the services of a Compose project, in the order in which they start: what others need comes first.

Options: `project`, and `services` for some of them; or `volumes`, for those that run with one of these volumes. They are
found by the labels that Compose writes, so no Compose file is needed. A project or service that is not there is an
error ("missing"). Each is a map: `name`, `project`, `container`, `id`, `image`, `state`, `running`, `ports` (where its
ports are published, by port inside: `#{ "80": "127.0.0.1:8080" }`) and `address` (its own, or ()). A service that does
not run has no ports and no address.

```rhai,no_run
for service in services(#{ project: "shop" }) {
    check(`${service.name} runs`, service.running, service.state);
}
```
"#,
    work: |call| {
        if let Some(project) = only_announced(call) {
            return Ok(Unknown::of(&format!("restore_services of {project}")));
        }
        let mut options = call.options(0)?;
        let found = find(call, &mut options)?;
        options.finish()?;
        Ok(list(&found))
    },
};

/// Returns the project that a call names when this dry run has announced to make it: only a real run knows its services.
pub(super) fn only_announced(call: &Call) -> Option<String> {
    let project = call.options(0).ok()?.text("project").ok()??;
    call.host().is_announced_project(&project).then_some(project)
}

/// Finds the services that the options of a call name.
pub(super) fn find(call: &Call, options: &mut Options) -> Result<Vec<Service>> {
    let (project, names, volumes) = (options.text("project")?, options.texts("services")?, options.texts("volumes")?);
    let engine = &call.host().docker;
    match (project, volumes.is_empty()) {
        (Some(project), true) => call.wait(docker::services(engine, &project, &names)),
        (None, false) if names.is_empty() => call.wait(docker::services_using(engine, &volumes)),
        _ => Err(Error::new(Kind::Usage, "services are named by their project, or by the volumes that they use").hint(
            "write #{ project: \"shop\" }, #{ project: \"shop\", services: [\"api\"] } or #{ volumes: [\"v\"] }",
        )),
    }
}

/// Returns services as scripts see them.
pub(super) fn list(services: &[Service]) -> Dynamic {
    services.iter().map(facts).map(from_json).collect::<Array>().into()
}

pub(super) fn facts(service: &Service) -> Value {
    json!({
        "name": service.name,
        "project": service.project,
        "container": service.container.name(),
        "id": service.container.id(),
        "image": service.image,
        "state": service.state,
        "running": service.running(),
        "ports": service.ports,
        "address": service.address,
    })
}
