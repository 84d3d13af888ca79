//! `start_services`: starts the services of a Compose project.

use rhai::{Array, Dynamic, Map};
use serde_json::json;

use super::services::{facts, find, list};
use super::{Call, Effect, Group, Primitive};
use crate::docker::{self, Service};
use crate::error::Result;

pub(super) const START_SERVICES: Primitive = Primitive {
    name: "start_services",
    group: Group::Docker,
    effect: Effect::Writes(plan),
    signatures: &["start_services(what: array|map) -> array"],
    manual: r#"
Starts services again: those that `stop_services` returned, or those that a map of options names as for `services`.

What others need starts first. That a service runs already is fine. It returns when the Engine has started them: whether
they work is another question, which `wait_until` and `http_get` answer.

```rhai,no_run
start_services(#{ project: "shop" });
wait_until(#{ timeout: "1m", what: "the shop" }, || services(#{ project: "shop" }).all(|s| s.running));
```
"#,
    work: |call| Ok(start_services(call)?),
};

fn asked(call: &Call) -> Result<Vec<Service>> {
    let given = call.any(0);
    if given.is::<Map>() {
        let mut options = call.options(0)?;
        let found = find(call, &mut options)?;
        options.finish()?;
        return Ok(found);
    }
    let given = given.try_cast::<Array>().ok_or_else(|| wrong(call))?;
    let mut found: Vec<Service> = Vec::new();
    let mut projects: Vec<(String, Vec<String>)> = Vec::new();
    for item in given {
        let item = item.try_cast::<Map>().ok_or_else(|| wrong(call))?;
        let text = |key: &str| item.get(key).and_then(|v| v.clone().into_string().ok()).ok_or_else(|| wrong(call));
        let (project, container) = (text("project")?, text("container")?);
        match projects.iter_mut().find(|(name, _)| *name == project) {
            Some((_, containers)) => containers.push(container),
            None => projects.push((project, vec![container])),
        }
    }
    for (project, containers) in projects {
        let all = call.wait(docker::services(&call.host().docker, &project, &[]))?;
        found.extend(all.into_iter().filter(|s| containers.iter().any(|name| name == s.container.name())));
    }
    Ok(found)
}

fn wrong(call: &Call) -> crate::error::Error {
    call.wrong(0, "what stop_services returned, or a map: #{ project: \"shop\" }")
}

fn start_services(call: &Call) -> Result<Dynamic> {
    let services = asked(call)?;
    let mut failure = None;
    for service in &services {
        // One that does not start must not keep the others down.
        if let Err(error) = call.wait(service.start()) {
            call.warn(format!("service {} did not start: {error}", service.name));
            failure.get_or_insert(error);
        }
    }
    if let Some(error) = failure {
        return Err(error);
    }
    let names: Vec<_> = services.iter().map(|s| s.name.as_str()).collect();
    let summary =
        if names.is_empty() { "no service had to start".into() } else { format!("started {}", names.join(", ")) };
    call.evidence(summary, json!({ "started": services.iter().map(facts).collect::<Vec<_>>() }));
    Ok(list(&services))
}

fn plan(call: &Call) -> Result<String> {
    if call.is_unknown(0) {
        return Ok("would start the services that were stopped".into());
    }
    let services = asked(call)?;
    let names: Vec<_> = services.iter().map(|s| s.name.as_str()).collect();
    Ok(format!("would start {}", if names.is_empty() { "no service".into() } else { names.join(", ") }))
}
