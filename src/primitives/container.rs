//! `container`: a throwaway container of this run.

use std::time::Duration;

use rhai::Dynamic;
use serde_json::json;

use super::handles::Container;
use super::{Call, Effect, Group, Primitive};
use crate::docker::{ContainerOptions, MountedVolume, Port, Wait};
use crate::error::{Error, Kind, Result};
use crate::script::{self, Options};
use crate::secret::Secret;

pub(super) const CONTAINER: Primitive = Primitive {
    name: "container",
    group: Group::Primitives,
    effect: Effect::Writes(plan),
    signatures: &["container(options: map) -> Container"],
    manual: r#"
Makes and starts a container, waits until it is ready, and returns it. It is removed when the run ends.

Options: `image` (needed; pulled when it is not there), `name`, `env` (a map; values may be secrets, but who may inspect
the container can read them), `ports` (a list of ports inside; each gets a free one on 127.0.0.1, or the one before the
colon of "15432:5432"), `volumes` (a list of "name:/folder" or "name:/folder:ro"; named volumes only, never folders of
this machine), `memory` ("512MB"), `command` (a list of strings). `wait` is a map of conditions that make it ready:
`port: 5432`, `log: "ready to accept"`, `exec: ["pg_isready"]`, `healthy: true`, and `timeout` for all of them (default
"1m"). A container that ends while we wait is an error with its last log lines. With `--keep` it stays.

```rhai,no_run
let db = container(#{
    image: "postgres:16",
    env: #{ POSTGRES_PASSWORD: secret("DRILL_PASSWORD") },
    ports: [5432],
    memory: "512MB",
    wait: #{ exec: ["pg_isready", "-h", "127.0.0.1"], timeout: "2m" },
});
log(`${db.name} listens on ${db.host(5432)}:${db.port(5432)}`);
check("it runs", db.running, db.state);
```
"#,
    work: |call| Ok(container(call)?),
};

fn container(call: &Call) -> Result<Dynamic> {
    let (options, run) = (read(call)?, call.run());
    let image = options.image.clone();
    let shown = run.journal.working(&format!("start {image}"));
    let made = call.wait(options.start(&call.host().docker, &run.ledger, &shown.progress))?;
    let inner = made.container().clone();
    let kept = run.options.keep;
    if kept {
        made.keep()?;
    }
    let end = if kept { "stays after the run" } else { "goes with the run" };
    call.evidence(
        format!("container {} of {image} is ready and {end}", inner.name()),
        json!({ "name": inner.name(), "id": inner.id(), "image": image, "kept": kept }),
    );
    Ok(Dynamic::from(Container::new(inner, run)))
}

fn read(call: &Call) -> Result<ContainerOptions> {
    let mut options = call.options(0)?;
    let (wait, wait_limit) = waits(options.any("wait"))?;
    let read = ContainerOptions {
        image: options.needed("image")?,
        name: options.text("name")?,
        env: env(options.any("env"))?,
        ports: list("ports", options.any("ports"), port)?,
        volumes: list("volumes", options.any("volumes"), volume)?,
        memory: options.size("memory")?,
        command: list("command", options.any("command"), |value| value.clone().into_string().ok())?,
        wait,
        wait_limit,
        ..ContainerOptions::default()
    };
    options.finish()?;
    read.check()?;
    Ok(read)
}

fn wrong(option: &str, wanted: &str) -> Error {
    Error::new(Kind::Usage, format!("the option `{option}` of container is {wanted}"))
}

/// Reads a list whose every item has the option's own form.
fn list<T>(option: &str, value: Option<Dynamic>, read: impl Fn(&Dynamic) -> Option<T>) -> Result<Vec<T>> {
    let wanted = match option {
        "ports" => "a list of ports: [5432, \"15432:5432\"]",
        "volumes" => "a list of named volumes: [\"pgdata:/var/lib/postgresql/data\"]",
        _ => "a list of strings: [\"sleep\", \"60\"]",
    };
    let Some(value) = value else { return Ok(Vec::new()) };
    let items = value.try_cast::<rhai::Array>().ok_or_else(|| wrong(option, wanted))?;
    items.iter().map(read).collect::<Option<_>>().ok_or_else(|| wrong(option, wanted))
}

fn port(value: &Dynamic) -> Option<Port> {
    let number = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0);
    if let Ok(inside) = value.as_int() {
        return Some(Port { container: number(&inside.to_string())?, host: None });
    }
    let text = value.clone().into_string().ok()?;
    match text.split_once(':') {
        Some((outside, inside)) => Some(Port { container: number(inside)?, host: Some(number(outside)?) }),
        None => Some(Port { container: number(&text)?, host: None }),
    }
}

fn volume(value: &Dynamic) -> Option<MountedVolume> {
    let text = value.clone().into_string().ok()?;
    let (name, rest) = text.split_once(':')?;
    let (path, read_only) = match rest.split_once(':') {
        None => (rest, false),
        Some((path, "ro")) => (path, true),
        Some((path, "rw")) => (path, false),
        Some(_) => return None,
    };
    path.starts_with('/').then(|| MountedVolume { name: name.to_owned(), path: path.to_owned(), read_only })
}

fn env(value: Option<Dynamic>) -> Result<Vec<(String, String)>> {
    const WANTED: &str = "a map of strings, numbers or secrets: #{ POSTGRES_DB: \"orders\" }";
    let Some(value) = value else { return Ok(Vec::new()) };
    let map = value.try_cast::<rhai::Map>().ok_or_else(|| wrong("env", WANTED))?;
    let text = |value: Dynamic| match value.clone().try_cast::<Secret>() {
        Some(secret) => Some(secret.expose().to_owned()),
        None if value.is_string() || value.is_int() || value.is_bool() => Some(script::show(&value)),
        None => None,
    };
    let pairs = map.into_iter().map(|(name, value)| Some((name.to_string(), text(value)?)));
    pairs.collect::<Option<_>>().ok_or_else(|| wrong("env", WANTED))
}

/// Reads the conditions, in the order in which a starting server meets them.
fn waits(value: Option<Dynamic>) -> Result<(Vec<Wait>, Option<Duration>)> {
    let mut options = Options::new("container's wait", value.unwrap_or(Dynamic::UNIT))?;
    let exec = list("exec", options.any("exec"), |value| value.clone().into_string().ok())?;
    let waits = [
        options.text("log")?.map(Wait::Log),
        options.port("port")?.map(Wait::Port),
        Some(exec).filter(|argv| !argv.is_empty()).map(Wait::Exec),
        options.flag("healthy")?.then_some(Wait::Healthy),
    ];
    let limit = options.duration("timeout")?;
    options.finish()?;
    Ok((waits.into_iter().flatten().collect(), limit))
}

fn plan(call: &Call) -> Result<String> {
    if call.is_unknown(0) {
        return Ok("would start a container with options that only a real run knows".into());
    }
    let options = read(call)?;
    let name = options.name.map(|name| format!(" named {name}")).unwrap_or_default();
    Ok(format!("would start a container of {}{name}", options.image))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(script: &str) -> Dynamic {
        rhai::Engine::new().eval(script).unwrap()
    }

    #[test]
    fn ports_and_volumes_read_as_docker_writes_them() {
        let ports = list("ports", Some(value("[5432, \"15432:5432\", \"80\"]")), port).unwrap();
        let ports: Vec<_> = ports.iter().map(|p| (p.container, p.host)).collect();
        assert_eq!(ports, [(5432, None), (5432, Some(15432)), (80, None)]);
        let volumes = list("volumes", Some(value("[\"v:/data\", \"w:/x:ro\"]")), volume).unwrap();
        let volumes: Vec<_> = volumes.iter().map(|v| (v.name.as_str(), v.path.as_str(), v.read_only)).collect();
        assert_eq!(volumes, [("v", "/data", false), ("w", "/x", true)]);
        for bad in ["[0]", "[70000]", "[\"a:b\"]", "5432", "[true]"] {
            assert!(list("ports", Some(value(bad)), port).is_err(), "{bad}");
        }
        for bad in ["[\"v\"]", "[\"v:data\"]", "[\"v:/data:exec\"]", "\"v:/data\""] {
            assert!(list("volumes", Some(value(bad)), volume).is_err(), "{bad}");
        }
    }

    #[test]
    fn conditions_are_read_with_their_deadline() {
        let (waits, limit) =
            super::waits(Some(value("#{ port: 5432, exec: [\"true\"], log: \"up\", timeout: \"9s\" }"))).unwrap();
        assert_eq!(waits, [Wait::Log("up".into()), Wait::Port(5432), Wait::Exec(vec!["true".into()])]);
        assert_eq!(limit, Some(Duration::from_secs(9)));
        let error = super::waits(Some(value("#{ prot: 5432 }"))).unwrap_err();
        assert_eq!(error.message(), "container's wait has no option `prot`");
        assert_eq!(error.next_step(), Some("did you mean `port`?"));
    }
}
