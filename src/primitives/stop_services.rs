//! `stop_services`: stops the services of a Compose project.

use std::time::Duration;

use rhai::Dynamic;
use serde_json::json;

use super::services::{facts, find, list, only_announced};
use super::{Call, Effect, Group, Primitive};
use crate::docker::Service;
use crate::error::Result;

/// What Compose itself waits before it kills.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) const STOP_SERVICES: Primitive = Primitive {
    name: "stop_services",
    group: Group::Docker,
    effect: Effect::Writes(plan),
    signatures: &["stop_services(options: map) -> array"],
    manual: r#"
Stops services of a Compose project and returns those that ran, for `start_services`.

Options: those of `services`, and `timeout` (default "10s") after which a service that does not end is killed. Those that
others need are stopped last. A project that runner.toml protects is refused. When one cannot be stopped, those that were stopped before it are started again. So that
they start again however the script ends, put `start_services` off with `defer`.

```rhai,no_run
let stopped = stop_services(#{ project: "shop", services: ["api"] });
defer(|| start_services(stopped));
```
"#,
    work: |call| Ok(stop_services(call)?),
};

fn asked(call: &Call) -> Result<(Vec<Service>, Duration)> {
    let mut options = call.options(0)?;
    let mut found = find(call, &mut options)?;
    let patience = options.duration("timeout")?.unwrap_or(PATIENCE);
    options.finish()?;
    found.retain(Service::running);
    found.iter().try_for_each(|service| call.run().guard.allow_project(&service.project))?;
    Ok((found, patience))
}

fn stop_services(call: &Call) -> Result<Dynamic> {
    let (services, patience) = asked(call)?;
    for (n, service) in services.iter().enumerate().rev() {
        if let Err(error) = call.wait(service.stop(patience)) {
            for stopped in &services[n..] {
                if let Err(error) = call.wait(stopped.start()) {
                    call.warn(format!("service {} stays stopped: {error}", stopped.name));
                }
            }
            return Err(error);
        }
    }
    let names: Vec<_> = services.iter().map(|s| s.name.as_str()).collect();
    let facts: Vec<_> = services.iter().map(facts).collect();
    call.evidence(format!("stopped {}", words(&names)), json!({ "stopped": facts }));
    Ok(list(&services))
}

/// Returns names as a sentence has them.
pub(super) fn words(names: &[&str]) -> String {
    if names.is_empty() { "no service: none ran".into() } else { names.join(", ") }
}

fn plan(call: &Call) -> Result<String> {
    if call.is_unknown(0) {
        return Ok("would stop services that only a real run knows".into());
    }
    if let Some(project) = only_announced(call) {
        return Ok(format!("would stop services of project {project}"));
    }
    let (services, _) = asked(call)?;
    let names: Vec<_> = services.iter().map(|s| s.name.as_str()).collect();
    Ok(format!("would stop {}", words(&names)))
}
