//! The services of Compose projects, found by the labels that Compose writes: listed, stopped and started again.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use bollard::query_parameters::{ListContainersOptionsBuilder, StopContainerOptionsBuilder};

use super::engine::{failed, is_absent};
use super::{Container, Engine, Volume};
use crate::error::{Error, Kind, Result};

/// The label that names a container's project.
pub const LABEL_PROJECT: &str = "com.docker.compose.project";
/// The label that names its service.
pub const LABEL_SERVICE: &str = "com.docker.compose.service";
/// The label that lists what its service needs: `db:service_healthy:true,cache:service_started:false`.
const LABEL_NEEDS: &str = "com.docker.compose.depends_on";
/// The label of containers that `docker compose run` made: they are no services.
const LABEL_ONE_OFF: &str = "com.docker.compose.oneoff";

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
    needs: Vec<String>,
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
    let mut found = Vec::new();
    for container in listed {
        let labels = container.labels.unwrap_or_default();
        let one_off = labels.get(LABEL_ONE_OFF).is_some_and(|v| v.eq_ignore_ascii_case("true"));
        let (Some(name), Some(project)) = (labels.get(LABEL_SERVICE), labels.get(LABEL_PROJECT)) else { continue };
        let (Some(id), false) = (container.id, one_off) else { continue };
        let label = container.names.unwrap_or_default().first().map(|n| n.trim_start_matches('/').to_owned());
        found.push(Service {
            name: name.clone(),
            project: project.clone(),
            container: Container::new(engine, id, label.unwrap_or_default()),
            state: container.state.map(|state| state.to_string()).unwrap_or_default(),
            needs: needs(labels.get(LABEL_NEEDS).map(String::as_str).unwrap_or_default()),
        });
    }
    Ok(found)
}

fn needs(label: &str) -> Vec<String> {
    label.split(',').filter_map(|one| one.split(':').next()).filter(|n| !n.is_empty()).map(str::to_owned).collect()
}

/// Puts what others need first. Names in a circle, which Compose does not allow, keep the order of the alphabet.
fn in_order(mut services: Vec<Service>) -> Vec<Service> {
    services.sort_by(|a, b| (&a.name, a.container.name()).cmp(&(&b.name, b.container.name())));
    let mut ordered: Vec<Service> = Vec::with_capacity(services.len());
    while !services.is_empty() {
        let waits = |s: &Service| services.iter().any(|other| other.name != s.name && s.needs.contains(&other.name));
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
        Service { name: name.into(), project: "p".into(), container, state: "running".into(), needs: needs(label) }
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
