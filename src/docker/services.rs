//! The services of Compose projects, found by the labels that Compose writes: listed, stopped and started again.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bollard::models::ContainerSummary;
use bollard::query_parameters::{ListContainersOptionsBuilder, StopContainerOptionsBuilder};

use super::engine::{failed, is_absent};
use super::{Container, Engine, Volume, Wait};
use crate::cleanup::Ledger;
use crate::error::{Error, Kind, Result};

/// The label that names a container's project.
pub const LABEL_PROJECT: &str = "com.docker.compose.project";
/// The label that names its service.
pub const LABEL_SERVICE: &str = "com.docker.compose.service";
/// The label that lists what its service needs: `db:service_healthy:true,cache:service_started:false`.
pub(super) const LABEL_NEEDS: &str = "com.docker.compose.depends_on";
/// The label of containers that `docker compose run` made: they are no services.
const LABEL_ONE_OFF: &str = "com.docker.compose.oneoff";

const POLL: Duration = Duration::from_millis(75);

/// One container of a service.
#[derive(Clone)]
pub struct Service {
    /// The service's name in its project.
    pub name: String,
    /// The project.
    pub project: String,
    /// The container.
    pub container: Container,
    /// The Engine's word for its state.
    pub state: String,
    /// The name of its image.
    pub image: String,
    /// Its own address in the first of its networks, while it runs.
    pub address: Option<String>,
    /// Where its ports are published on this machine, by port inside: `80`, `53/udp`.
    pub ports: BTreeMap<String, String>,
    needs: Vec<Need>,
}

/// What a service needs of another before it starts.
#[derive(Clone)]
struct Need {
    service: String,
    /// Compose's word: `service_started`, `service_healthy` or `service_completed_successfully`.
    condition: String,
}

impl Need {
    fn finishes(&self) -> bool {
        self.condition == "service_completed_successfully"
    }
}

impl Service {
    /// Returns whether it runs.
    pub fn running(&self) -> bool {
        matches!(self.state.as_str(), "running" | "restarting")
    }

    /// Stops it: SIGTERM, and SIGKILL when it still runs after `limit`. That it does not run is fine.
    pub async fn stop(&self, limit: Duration) -> Result<()> {
        let seconds = i32::try_from(limit.as_secs()).unwrap_or(i32::MAX);
        let options = StopContainerOptionsBuilder::new().t(seconds).build();
        // The Engine answers when the service has stopped.
        let api = self.container.engine().api().await?.clone().with_timeout(limit + Duration::from_secs(60));
        let stopped = api.stop_container(self.container.id(), Some(options)).await;
        match stopped {
            Err(e) if !is_absent(&e) => Err(self.failed("stop", &e)),
            _ => Ok(()),
        }
    }

    /// Starts it. That it runs already is fine.
    pub async fn start(&self) -> Result<()> {
        let started = self.container.engine().api().await?.start_container(self.container.id(), None).await;
        started.map_err(|e| self.failed("start", &e))
    }

    /// Waits until it is ready: its health check passes; where it has none, its published ports take connections; where
    /// there are none of these either, it runs.
    pub async fn ready(&self, limit: Duration, ledger: &Arc<Ledger>) -> Result<()> {
        let seen = self.container.inspect_running().await?;
        let tcp = self.ports.keys().filter_map(|port| port.parse().ok()).map(Wait::Port);
        let waits = if seen.healthy.is_some() { vec![Wait::Healthy] } else { tcp.collect() };
        Wait::all(&waits, &self.container, limit, ledger).await
    }

    /// Waits until its program has ended with status 0.
    async fn completed(&self, limit: Duration) -> Result<()> {
        let ended = async {
            loop {
                let seen = self.container.inspect().await?;
                match (seen.status.as_str(), seen.exit_code) {
                    ("exited", Some(0)) => return Ok(()),
                    ("exited" | "dead", _) => return self.container.inspect_running().await.map(|_| ()),
                    _ => tokio::time::sleep(POLL).await,
                }
            }
        };
        let late = |_| {
            let sentence = format!("service {} did not end within {} seconds", self.name, limit.as_secs());
            Error::new(Kind::Timeout, sentence).on(self.container.name())
        };
        tokio::time::timeout(limit, ended).await.map_err(late)?
    }

    fn failed(&self, what: &str, error: &bollard::errors::Error) -> Error {
        let name = self.container.name();
        failed(format!("could not {what} service {} ({name})", self.name), error)
            .on(name)
            .hint(format!("docker {what} {name}"))
    }
}

/// Returns the services of a project in the order in which they start: what others need comes first. `names` are the
/// services that are wanted, all of them when there is none.
///
/// # Errors
/// `Missing` when the project has no container at all, or none of a service that was named: a typing error must not
/// pass for a stopped service.
pub async fn services(engine: &Engine, project: &str, names: &[String]) -> Result<Vec<Service>> {
    let found = labelled(engine, format!("{LABEL_PROJECT}={project}")).await?;
    let known: BTreeSet<&str> = found.iter().map(|s| s.name.as_str()).collect();
    if known.is_empty() {
        return Err(Error::new(Kind::Missing, format!("there is no service of a Compose project {project}"))
            .on(project)
            .hint("docker compose ls -a lists the projects"));
    }
    if let Some(unknown) = names.iter().find(|name| !known.contains(name.as_str())) {
        let known = known.into_iter().collect::<Vec<_>>().join(", ");
        return Err(Error::new(Kind::Missing, format!("project {project} has no service {unknown}"))
            .on(project)
            .hint(format!("it has {known}")));
    }
    Ok(in_order(found).into_iter().filter(|s| names.is_empty() || names.contains(&s.name)).collect())
}

/// Starts services in their order, each when what it needs is as Compose's own rules want it, and waits until all of them
/// are ready. Returns them as they are then.
pub async fn start_and_wait(services: &[Service], limit: Duration, ledger: &Arc<Ledger>) -> Result<Vec<Service>> {
    let deadline = Instant::now() + limit;
    let left = || deadline.saturating_duration_since(Instant::now());
    for service in services {
        for need in &service.needs {
            for other in services.iter().filter(|s| s.name == need.service && s.project == service.project) {
                match need.condition.as_str() {
                    "service_healthy" => other.ready(left(), ledger).await?,
                    "service_completed_successfully" => other.completed(left()).await?,
                    _ => {}
                }
            }
        }
        service.start().await?;
    }
    let now = again(services).await?;
    let finished: BTreeSet<&str> =
        services.iter().flat_map(|s| s.needs.iter().filter(|n| n.finishes())).map(|n| n.service.as_str()).collect();
    for service in now.iter().filter(|s| !finished.contains(s.name.as_str())) {
        service.ready(left(), ledger).await?;
    }
    Ok(now)
}

/// Returns the same services as they are now: the Engine chooses ports when a container starts.
pub async fn again(found: &[Service]) -> Result<Vec<Service>> {
    let mut now = Vec::with_capacity(found.len());
    for service in found {
        let all = labelled(service.container.engine(), format!("{LABEL_PROJECT}={}", service.project)).await?;
        let same = all.into_iter().find(|s| s.container.id() == service.container.id());
        now.push(same.ok_or_else(|| {
            let name = service.container.name();
            Error::new(Kind::Missing, format!("container {name} is gone")).on(name)
        })?);
    }
    Ok(now)
}

/// Returns the services that run with any of these volumes, in the order in which they start.
///
/// # Errors
/// `Refused` when a container that is no service of Compose runs with one: nobody would start it again as it was.
pub async fn services_using(engine: &Engine, volumes: &[String]) -> Result<Vec<Service>> {
    let mut users = BTreeSet::new();
    for volume in volumes {
        users.extend(Volume::find(engine, volume).await?.running().into_iter().map(str::to_owned));
    }
    let mut found = labelled(engine, LABEL_PROJECT.to_owned()).await?;
    found.retain(|service| users.contains(service.container.name()));
    match users.iter().find(|user| !found.iter().any(|s| s.container.name() == *user)) {
        None => Ok(in_order(found)),
        Some(foreign) => {
            let why = format!("container {foreign} uses the volume and is no service of a Compose project");
            Err(Error::new(Kind::Refused, why)
                .on(foreign)
                .hint(format!("docker stop {foreign}, and start it afterwards")))
        }
    }
}

async fn labelled(engine: &Engine, label: String) -> Result<Vec<Service>> {
    let filters = HashMap::from([("label", vec![label])]);
    let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
    let listed = engine.api().await?.list_containers(Some(options)).await;
    let listed = listed.map_err(|e| failed("could not list the containers", &e))?;
    Ok(listed.into_iter().filter_map(|container| service(engine, container)).collect())
}

fn service(engine: &Engine, seen: ContainerSummary) -> Option<Service> {
    let labels = seen.labels.unwrap_or_default();
    if labels.get(LABEL_ONE_OFF).is_some_and(|v| v.eq_ignore_ascii_case("true")) {
        return None;
    }
    let name = seen.names.unwrap_or_default().first().map(|n| n.trim_start_matches('/').to_owned());
    let mut networks: Vec<_> = seen.network_settings.and_then(|s| s.networks).into_iter().flatten().collect();
    networks.sort_by(|a, b| a.0.cmp(&b.0));
    let mut ports = BTreeMap::new();
    for port in seen.ports.unwrap_or_default() {
        let Some(outside) = port.public_port else { continue };
        let kind = port.typ.map(|kind| kind.to_string()).filter(|kind| kind != "tcp" && !kind.is_empty());
        let inside = kind.map_or(port.private_port.to_string(), |kind| format!("{}/{kind}", port.private_port));
        let ip = port.ip.filter(|ip| ip != "0.0.0.0" && ip != "::" && !ip.contains(':')).unwrap_or("127.0.0.1".into());
        ports.entry(inside).or_insert(format!("{ip}:{outside}"));
    }
    Some(Service {
        name: labels.get(LABEL_SERVICE)?.clone(),
        project: labels.get(LABEL_PROJECT)?.clone(),
        container: Container::new(engine, seen.id?, name.unwrap_or_default()),
        state: seen.state.map(|state| state.to_string()).unwrap_or_default(),
        image: seen.image.unwrap_or_default(),
        address: networks.into_iter().find_map(|(_, end)| end.ip_address.filter(|ip| !ip.is_empty())),
        ports,
        needs: needs(labels.get(LABEL_NEEDS).map(String::as_str).unwrap_or_default()),
    })
}

/// Reads `db:service_healthy:true,cache:service_started:false`; older Composes write the names alone.
fn needs(label: &str) -> Vec<Need> {
    let need = |one: &str| {
        let mut parts = one.split(':');
        let service = parts.next().filter(|name| !name.is_empty())?.to_owned();
        Some(Need { service, condition: parts.next().unwrap_or("service_started").to_owned() })
    };
    label.split(',').filter_map(need).collect()
}

/// Puts what others need first. Names in a circle, which Compose does not allow, keep the order of the alphabet.
fn in_order(mut services: Vec<Service>) -> Vec<Service> {
    services.sort_by(|a, b| (&a.name, a.container.name()).cmp(&(&b.name, b.container.name())));
    let mut ordered: Vec<Service> = Vec::with_capacity(services.len());
    while !services.is_empty() {
        let waits = |s: &Service| {
            services.iter().any(|other| other.name != s.name && s.needs.iter().any(|n| n.service == other.name))
        };
        let next = services.iter().position(|s| !waits(s)).unwrap_or(0);
        ordered.push(services.remove(next));
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(name: &str, label: &str) -> Service {
        let container = Container::new(&Engine::default(), name, name);
        Service {
            name: name.into(),
            project: "p".into(),
            container,
            state: "running".into(),
            image: "i".into(),
            address: None,
            ports: BTreeMap::new(),
            needs: needs(label),
        }
    }

    #[test]
    fn what_others_need_starts_first() {
        let all = vec![
            service("api", "db:service_healthy:true,cache:service_started:false"),
            service("cache", ""),
            service("db", ""),
            service("web", "api:service_started:false"),
            service("api", "db:service_healthy:true,cache:service_started:false"),
        ];
        let names: Vec<_> = in_order(all).into_iter().map(|s| s.name).collect();
        assert_eq!(names, ["cache", "db", "api", "api", "web"]);
        let circle = in_order(vec![service("b", "a"), service("a", "b")]);
        assert_eq!(circle.len(), 2);
    }
}
