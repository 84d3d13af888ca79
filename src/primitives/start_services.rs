//! `start_services`: starts the services of a Compose project.

use std::time::Duration;

use rhai::{Array, Dynamic, Map};
use serde_json::json;

use super::services::{facts, find, list, only_announced};
use super::{Call, Effect, Group, Primitive};
use crate::docker::{self, Service};
use crate::error::{Error, Kind, Result};

pub(super) const START_SERVICES: Primitive = Primitive {
    name: "start_services",
    group: Group::Docker,
    effect: Effect::Writes(plan),
    signatures: &["start_services(what: array|map) -> array"],
    manual: r#"
Starts services again: those that `stop_services` returned, or those that a map of options names as for `services`.

What others need starts first. That a service runs already is fine. It returns them as they are then, with the ports that
the Engine chose, once the Engine has started them. With the option `wait: "2m"` each starts when what it needs is as
Compose wants it (healthy, ended), and it returns when all are ready: the health check passes; where there is none, the
published ports take connections; where there are none of these either, it runs. Whether they work is another question,
which `http_get` answers.

```rhai,no_run
let api = start_services(#{ project: "shop", services: ["api"], wait: "1m" })[0];
check("the API runs", api.running, `${api.state}, ports ${api.ports}`);
```
"#,
    work: |call| Ok(start_services(call)?),
};

/// The services that were asked for, and the containers that are not there any more.
type Asked = (Vec<Service>, Vec<String>);

fn asked(call: &Call) -> Result<(Asked, Option<Duration>)> {
    if !call.any(0).is::<Map>() {
        return Ok((stopped(call)?, None));
    }
    let mut options = call.options(0)?;
    let (found, wait) = (find(call, &mut options)?, options.duration("wait")?);
    options.finish()?;
    Ok(((found, Vec::new()), wait))
}

/// Finds the services that `stop_services` returned.
fn stopped(call: &Call) -> Result<Asked> {
    let given = call.any(0);
    let given = given.try_cast::<Array>().ok_or_else(|| wrong(call))?;
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
    let (mut found, mut gone): Asked = (Vec::new(), Vec::new());
    for (project, mut containers) in projects {
        for service in call.wait(docker::services(&call.host().docker, &project, &[]))? {
            if let Some(at) = containers.iter().position(|name| name == service.container.name()) {
                containers.remove(at);
                found.push(service);
            }
        }
        gone.append(&mut containers);
    }
    Ok((found, gone))
}

fn wrong(call: &Call) -> crate::error::Error {
    call.wrong(0, "what stop_services returned, or a map: #{ project: \"shop\" }")
}

fn start_services(call: &Call) -> Result<Dynamic> {
    let ((services, gone), wait) = asked(call)?;
    let services = match wait {
        Some(limit) => call.wait(docker::start_and_wait(&services, limit, &call.run().ledger))?,
        None => start_each(call, &services, &gone)?,
    };
    let names: Vec<_> = services.iter().map(|s| s.name.as_str()).collect();
    let summary =
        if names.is_empty() { "no service had to start".into() } else { format!("started {}", names.join(", ")) };
    call.evidence(summary, json!({ "started": services.iter().map(facts).collect::<Vec<_>>() }));
    Ok(list(&services))
}

fn start_each(call: &Call, services: &[Service], gone: &[String]) -> Result<Vec<Service>> {
    let mut failure = None;
    for service in services {
        // One that does not start must not keep the others down.
        if let Err(error) = call.wait(service.start()) {
            call.warn(format!("service {} did not start: {error}", service.name));
            failure.get_or_insert(error);
        }
    }
    if let Some(name) = gone.first() {
        let error = Error::new(Kind::Missing, format!("container {name} is not there any more, so it was not started"));
        failure.get_or_insert(error.on(name).hint("docker compose up makes the services' containers again"));
    }
    match failure {
        Some(error) => Err(error),
        None => call.wait(docker::again(services)),
    }
}

fn plan(call: &Call) -> Result<String> {
    if call.is_unknown(0) {
        return Ok("would start the services that were stopped".into());
    }
    if let Some(project) = only_announced(call) {
        return Ok(format!("would start services of project {project}"));
    }
    let ((services, _), _) = asked(call)?;
    let names: Vec<_> = services.iter().map(|s| s.name.as_str()).collect();
    Ok(format!("would start {}", if names.is_empty() { "no service".into() } else { names.join(", ") }))
}
