//! Making a planned project: networks, volumes and containers, all of them or none.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bollard::models::{
    ContainerCreateBody, ContainerSummary, EndpointSettings, NetworkConnectRequest, NetworkingConfig,
};
use bollard::query_parameters::ListContainersOptionsBuilder;

use super::images::ensure_images;
use super::plan::{Plan, PlannedContainer, is_made};
use super::saved::SavedProject;
use crate::cleanup::{Ledger, Ticket};
use crate::docker::engine::failed;
use crate::docker::services::{LABEL_PROJECT, LABEL_SERVICE, Service, services, start_and_wait};
use crate::docker::volume::{VolumeOptions, restore_volume};
use crate::docker::{Engine, LABEL_OWNED, LABEL_RUN, create, network, volume, volumes};
use crate::error::{Error, Kind, Result};
use crate::progress::Progress;

/// What a restore made.
pub struct Rebuilt {
    /// The services, in the order in which they start.
    pub services: Vec<Service>,
    /// The names of the new volumes.
    pub volumes: Vec<String>,
    /// The names of the new networks.
    pub networks: Vec<String>,
    /// What an operator should know.
    pub notes: Vec<String>,
}

/// What the making needs besides the plan.
pub struct Making<'a> {
    /// The saved project that the plan was made of.
    pub saved: &'a SavedProject,
    /// The file with its images.
    pub images: Option<&'a Path>,
    /// Starts the services, and waits for as long until they are ready.
    pub start: Option<Duration>,
    /// Leaves an isolated project to the operator.
    pub keep: bool,
}

/// Makes what a plan says. What was made before a failure is removed again; what is isolated goes with the run.
///
/// # Errors
/// `Refused` when something of that name or project is there already, `Missing` for images and folders that are not.
pub async fn rebuild(
    engine: &Engine,
    plan: &Plan,
    making: &Making<'_>,
    ledger: &Arc<Ledger>,
    progress: &Progress,
) -> Result<Rebuilt> {
    let there = There::look(engine, plan, ledger.run()).await?;
    refuse_absent_folders(engine, plan)?;
    let mut notes = plan.notes.clone();
    let known = making.saved.images_archive.as_ref();
    let images = ensure_images(engine, &plan.images, making.images, known, &mut notes, progress).await?;
    let mut work = Work { engine, plan, ledger, progress, made: Vec::new(), notes };
    match work.all(&there, &images, making.start).await {
        Ok(mut rebuilt) => {
            if !plan.isolated || making.keep {
                Ticket::keep_all(work.made)?;
            }
            rebuilt.notes = work.notes;
            Ok(rebuilt)
        }
        Err(error) => {
            while let Some(ticket) = work.made.pop() {
                let _ = ticket.remove().await; // a removal that failed is reported by the final drain
            }
            Err(error)
        }
    }
}

/// Refuses a plan for which there is no room on the Engine, without making anything.
pub async fn refuse_taken_project(engine: &Engine, plan: &Plan, run: &str) -> Result<()> {
    There::look(engine, plan, run).await?;
    refuse_absent_folders(engine, plan)
}

/// The volumes and networks that are there already and may be used.
struct There {
    volumes: Vec<String>,
    networks: Vec<String>,
}

impl There {
    async fn look(engine: &Engine, plan: &Plan, run: &str) -> Result<Self> {
        let options = ListContainersOptionsBuilder::new().all(true).build();
        let listed = engine.api().await?.list_containers(Some(options)).await;
        let listed = listed.map_err(|e| failed("could not list the containers", &e))?;
        if let Some(taken) = listed.iter().find_map(|container| taken_by(plan, container, run)) {
            return Err(taken_error(plan, "container", &taken)
                .hint(format!("docker rm -f {taken} removes it; or restore under another project name")));
        }
        let (mut seen, mut networks) = (Self { volumes: Vec::new(), networks: Vec::new() }, Vec::new());
        for network in network::networks(engine).await? {
            let labels: BTreeMap<_, _> = network.labels.unwrap_or_default().into_iter().collect();
            networks.push((network.name.unwrap_or_default(), labels));
        }
        for (name, labels) in networks {
            let planned = plan.networks.iter().any(|n| n.blueprint.name == name);
            if plan.is_in_the_way(planned, &labels, run) {
                return Err(taken_error(plan, "network", &name).hint("choose another project name"));
            }
            seen.networks.extend(planned.then_some(name));
        }
        for volume in volumes(engine, "").await? {
            let planned = plan.volumes.iter().any(|v| v.blueprint.name.as_ref() == Some(&volume.name));
            if plan.is_in_the_way(planned, &volume.labels, run) {
                return Err(taken_error(plan, "volume", &volume.name).hint("choose another project name"));
            }
            seen.volumes.extend(planned.then_some(volume.name));
        }
        Ok(seen)
    }
}

impl Plan {
    /// A copy needs a place of its own, but for what this very run made for it before. A real recovery goes on with the
    /// volumes and networks that survived.
    fn is_in_the_way(&self, planned: bool, labels: &BTreeMap<String, String>, run: &str) -> bool {
        let ours = labels.get(LABEL_OWNED).is_some_and(|label| label == run);
        let of_the_project = labels.get(LABEL_PROJECT) == Some(&self.project);
        self.isolated && !ours && (planned || of_the_project)
    }
}

fn taken_by(plan: &Plan, container: &ContainerSummary, run: &str) -> Option<String> {
    let labels = container.labels.clone().unwrap_or_default();
    let names = container.names.iter().flatten().map(|name| name.trim_start_matches('/'));
    let names: Vec<&str> = names.collect();
    let shown = names.first().map(|name| (*name).to_owned()).unwrap_or_default();
    if plan.containers.iter().any(|planned| names.contains(&planned.name.as_str())) {
        return Some(shown);
    }
    let of_the_project = labels.get(LABEL_PROJECT) == Some(&plan.project);
    let ours = labels.get(LABEL_RUN).is_some_and(|label| label == run);
    let of_a_service = labels.get(LABEL_SERVICE).is_some_and(|s| plan.containers.iter().any(|c| c.service == *s));
    let in_the_way = of_the_project && (of_a_service || (plan.isolated && !ours) || plan.whole);
    in_the_way.then_some(shown)
}

fn taken_error(plan: &Plan, what: &str, name: &str) -> Error {
    Error::new(Kind::Refused, format!("could not restore project {}: {what} {name} exists already", plan.project))
        .on(name)
}

/// A folder that is not there would be made by the Engine, empty: a service would start without its configuration.
fn refuse_absent_folders(engine: &Engine, plan: &Plan) -> Result<()> {
    if !engine.shares_our_network() {
        return Ok(());
    }
    match plan.folders().find(|(_, folder)| Path::new(folder).symlink_metadata().is_err()) {
        None => Ok(()),
        Some((service, folder)) => {
            Err(Error::new(Kind::Missing, format!("service {service} mounts {folder}, which is not there"))
                .on(folder)
                .hint("restore it first, or say with binds: #{ old: new } what is mounted in its place"))
        }
    }
}

struct Work<'a> {
    engine: &'a Engine,
    plan: &'a Plan,
    ledger: &'a Arc<Ledger>,
    progress: &'a Progress,
    /// What was made, in this order.
    made: Vec<Ticket>,
    notes: Vec<String>,
}

impl Work<'_> {
    async fn all(
        &mut self,
        there: &There,
        images: &BTreeMap<String, String>,
        start: Option<Duration>,
    ) -> Result<Rebuilt> {
        let plan = self.plan;
        let networks = self.networks(there).await?;
        let volumes = self.volumes(there).await?;
        for container in &plan.containers {
            self.container(container, images).await?;
        }
        let names: Vec<String> = plan.containers.iter().map(|c| c.service.clone()).collect();
        let mut services = services(self.engine, &plan.project, &names).await?;
        if let Some(limit) = start {
            services = start_and_wait(&services, limit, self.ledger).await?;
        }
        Ok(Rebuilt { services, volumes, networks, notes: Vec::new() })
    }

    async fn networks(&mut self, there: &There) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for planned in &self.plan.networks {
            let name = planned.blueprint.name.clone();
            if there.networks.contains(&name) {
                continue;
            }
            let (moved, ticket) =
                network::make(self.engine, planned.blueprint.clone(), planned.elsewhere, self.ledger).await?;
            self.made.push(ticket);
            if moved {
                self.notes.push(format!("network {name} has other addresses than it had: those are taken here"));
            }
            names.push(name);
        }
        Ok(names)
    }

    async fn volumes(&mut self, there: &There) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for planned in &self.plan.volumes {
            let name = planned.blueprint.name.clone().unwrap_or_default();
            if there.volumes.contains(&name) {
                if planned.archive.is_none() {
                    self.notes.push(format!("volume {name} was there and is used as it is"));
                }
            } else {
                self.made.push(volume::make(self.engine, planned.blueprint.clone(), self.ledger).await?);
                names.push(name.clone());
            }
            if let Some(archive) = &planned.archive {
                let options = VolumeOptions::default();
                restore_volume(self.engine, archive, &name, &options, self.ledger, self.progress).await?;
            }
        }
        Ok(names)
    }

    async fn container(&mut self, planned: &PlannedContainer, images: &BTreeMap<String, String>) -> Result<()> {
        let image = images.get(&planned.image).cloned().unwrap_or_default();
        let first = first_network(planned);
        let body = body(planned, &image, first, self.ledger.run())?;
        let made = create::make(self.engine, planned.name.clone(), body, self.ledger).await?;
        let (container, ticket) = made.split();
        self.made.push(ticket);
        let api = self.engine.api().await?;
        for (network, end) in planned.networks.iter().filter(|(name, _)| Some(name.as_str()) != first) {
            let request =
                NetworkConnectRequest { container: container.id().to_owned(), endpoint_config: Some(end.clone()) };
            let connected = api.connect_network(network, request).await;
            connected.map_err(|e| {
                failed(format!("could not connect container {} with network {network}", planned.name), &e)
                    .on(&*planned.name)
            })?;
        }
        Ok(())
    }
}

/// Returns the network that the container is made in. The others are joined afterwards: older Engines take one only.
fn first_network(planned: &PlannedContainer) -> Option<&str> {
    let mode = planned.host.network_mode.as_deref().unwrap_or_default();
    let named = planned.networks.keys().find(|name| *name == mode).map(String::as_str);
    match mode {
        "" | "default" => named.or_else(|| planned.networks.keys().next().map(String::as_str)),
        _ => named,
    }
}

fn body(planned: &PlannedContainer, image: &str, first: Option<&str>, run: &str) -> Result<ContainerCreateBody> {
    let mut config = planned.config.clone();
    config.image = Some(image.to_owned());
    config.labels.get_or_insert_default().extend(create::our_labels(run));
    // The two types have the same fields; the Engine's own form is what they share.
    let same = serde_json::to_value(&config).and_then(serde_json::from_value::<ContainerCreateBody>);
    let body = same.map_err(|_| Error::new(Kind::Bug, format!("could not describe container {}", planned.name)))?;
    let ends: HashMap<String, EndpointSettings> = first
        .filter(|name| is_made(name))
        .and_then(|name| Some((name.to_owned(), planned.networks.get(name)?.clone())))
        .into_iter()
        .collect();
    let networking = (!ends.is_empty()).then_some(NetworkingConfig { endpoints_config: Some(ends) });
    Ok(ContainerCreateBody { host_config: Some(planned.host.clone()), networking_config: networking, ..body })
}
