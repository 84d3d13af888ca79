//! `services`: the services of a Compose project.

use rhai::{Array, Dynamic};
use serde_json::{Value, json};

use super::{Call, Effect, Group, Primitive};
use crate::docker::{self, Service};
use crate::error::{Error, Kind, Result};
use crate::script::{Options, from_json};

pub(super) const SERVICES: Primitive = Primitive {
    name: "services",
    group: Group::Docker,
    effect: Effect::Reads,
    signatures: &["services(options: map) -> array"],
    manual: r#"
Returns the services of a Compose project, in the order in which they start: what others need comes first.

Options: `project`, and `services` for some of them; or `volumes`, for those that run with one of these volumes. They are
found by the labels that Compose writes, so no Compose file is needed. Each is a map: `name`, `project`, `container`,
`state`, `running`. A project or service that is not there is an error ("missing").

```rhai,no_run
for service in services(#{ project: "shop" }) {
    check(`${service.name} runs`, service.running, service.state);
}
```
"#,
    work: |call| Ok(list(&find(call, &mut call.options(0)?)?)),
};

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
        "state": service.state,
        "running": service.running(),
    })
}
