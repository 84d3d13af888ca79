//! One container, pinned by its id: what happens to its name meanwhile does not matter.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bollard::query_parameters::{ListContainersOptionsBuilder, LogsOptionsBuilder, RemoveContainerOptionsBuilder};
use futures_util::StreamExt;

use super::engine::{failed, is_absent, status};
use super::{Engine, Exec, Inspection};
use crate::error::{Error, Kind, Result};
use crate::secret;

/// The shortest part of an id that is taken for one.
const SHORTEST_ID: usize = 12;
/// The log lines that an error carries.
const LOG_LINES: usize = 20;
/// What one container's log may cost us in memory, whatever it writes.
const LOG_BYTES: usize = 64 << 10;
const REMOVAL_LIMIT: Duration = Duration::from_secs(50);
const POLL: Duration = Duration::from_millis(50);

/// A container.
#[derive(Clone)]
pub struct Container {
    pub(super) engine: Engine,
    id: String,
    name: String,
}

impl Container {
    pub(super) fn new(engine: &Engine, id: impl Into<String>, name: impl Into<String>) -> Self {
        Self { engine: engine.clone(), id: id.into(), name: name.into() }
    }

    /// Finds the container that has exactly this name, or this id of at least 12 digits.
    pub async fn find(engine: &Engine, name: &str) -> Result<Self> {
        let all = all(engine).await?;
        let bare = name.trim_start_matches('/');
        let is_id = bare.len() >= SHORTEST_ID && bare.bytes().all(|b| b.is_ascii_hexdigit());
        let found =
            all.iter().find(|c| c.name == bare).or_else(|| all.iter().find(|c| is_id && c.id.starts_with(bare)));
        match found {
            Some(container) => Ok(container.clone()),
            None => Err(no_such(bare, &all)),
        }
    }

    /// Returns the id, which names this container and no later one.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the name it had when it was found.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the Engine it lives in.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Prepares to run a program inside.
    pub fn exec<A: Into<String>>(&self, argv: impl IntoIterator<Item = A>) -> Exec {
        Exec::new(self, argv.into_iter().map(Into::into).collect())
    }

    /// Asks the Engine about the container.
    pub async fn inspect(&self) -> Result<Inspection> {
        let seen = self.engine.api().await?.inspect_container(&self.id, None).await;
        match seen {
            Ok(seen) => Ok(seen.into()),
            Err(e) if is_absent(&e) => {
                Err(Error::new(Kind::Missing, format!("container {} is gone", self.name)).on(&*self.name))
            }
            Err(e) => Err(failed(format!("could not inspect container {}", self.name), &e).on(&*self.name)),
        }
    }

    /// Returns the inspection of a container that runs, or the error that says how it ended.
    pub async fn inspect_running(&self) -> Result<Inspection> {
        let seen = self.inspect().await?;
        if seen.running { Ok(seen) } else { Err(self.not_running(&seen).await) }
    }

    async fn not_running(&self, seen: &Inspection) -> Error {
        let log = self.log_tail().await.unwrap_or_default(); // the state is the news; the log explains it where it can
        let sentence = format!("container {} is not running: {}", self.name, seen.state());
        let error = Error::new(Kind::Docker, sentence).on(&*self.name).stderr(log);
        match seen.status.as_str() {
            "paused" => error.hint(format!("docker unpause {}", self.name)),
            _ if seen.out_of_memory => error.hint("give it more memory"),
            _ => error.hint(format!("docker start {0}; docker logs {0} says why it ended", self.name)),
        }
    }

    /// Returns the last lines that the container wrote, secrets masked.
    pub async fn log_tail(&self) -> Result<String> {
        let options = LogsOptionsBuilder::new().stdout(true).stderr(true).tail(&LOG_LINES.to_string()).build();
        let mut log = self.engine.api().await?.logs(&self.id, Some(options));
        let mut text = Vec::new();
        while let Some(piece) = log.next().await {
            let piece = piece.map_err(|e| failed(format!("could not read the log of container {}", self.name), &e))?;
            if text.len() < LOG_BYTES {
                text.extend_from_slice(piece.as_ref());
            }
        }
        let text = String::from_utf8_lossy(&text);
        Ok(secret::printable(&secret::redact(text.trim_end()), true).into_owned())
    }

    /// Removes the container and its anonymous volumes, whether it runs or not. That it is gone already is fine.
    pub async fn remove(&self) -> Result<()> {
        let options = RemoveContainerOptionsBuilder::new().v(true).force(true).build();
        let api = self.engine.api().await?;
        let deadline = Instant::now() + REMOVAL_LIMIT;
        loop {
            match api.remove_container(&self.id, Some(options.clone())).await {
                Ok(()) => return Ok(()),
                Err(e) if is_absent(&e) => return Ok(()),
                // 409: someone else's removal is under way, and only its end is the end.
                Err(e) if status(&e) == Some(409) && Instant::now() < deadline => tokio::time::sleep(POLL).await,
                Err(e) => {
                    return Err(failed(format!("could not remove container {}", self.name), &e)
                        .on(&*self.name)
                        .hint(format!("docker rm -fv {}", self.name)));
                }
            }
        }
    }
}

/// Returns every container, running or not. The Engine's own name filter matches parts of names, so it is not used.
async fn all(engine: &Engine) -> Result<Vec<Container>> {
    let options = ListContainersOptionsBuilder::new().all(true).build();
    let listed = engine.api().await?.list_containers(Some(options)).await;
    let listed = listed.map_err(|e| failed("could not list the containers", &e))?;
    Ok(listed
        .into_iter()
        .filter_map(|c| {
            // A linked container is listed under `/other/alias`, too.
            let names = c.names.unwrap_or_default();
            let name = names.iter().map(|n| n.trim_start_matches('/')).find(|n| !n.contains('/'))?;
            Some(Container::new(engine, c.id?, name))
        })
        .collect())
}

fn no_such(name: &str, all: &[Container]) -> Error {
    let near = all
        .iter()
        .map(|c| (strsim::jaro_winkler(&c.name, name), c.name.as_str()))
        .filter(|(score, _)| *score > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    let error = Error::new(Kind::Missing, format!("there is no container {name}")).on(name);
    match near {
        Some((_, near)) => error.hint(format!("did you mean {near}?")),
        None => error.hint("docker ps -a lists the containers"),
    }
}

/// Returns the containers that carry a label with this value.
pub(super) async fn labelled(engine: &Engine, label: &str, value: &str) -> Result<Vec<Container>> {
    let filters = HashMap::from([("label", vec![format!("{label}={value}")])]);
    let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
    let listed = engine.api().await?.list_containers(Some(options)).await;
    let listed = listed.map_err(|e| failed("could not list the containers", &e))?;
    let name =
        |names: Option<Vec<String>>| names.unwrap_or_default().first().map(|n| n.trim_start_matches('/').to_owned());
    Ok(listed.into_iter().filter_map(|c| Some(Container::new(engine, c.id?, name(c.names)?))).collect())
}
