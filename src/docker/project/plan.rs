//! The plan of a restore: every network, volume and container as it is to be made. Making it touches nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use bollard::models::{ContainerConfig, EndpointSettings, HostConfig, NetworkCreateRequest, VolumeCreateRequest};

use super::isolate::{Isolation, isolated_network, isolated_volume};
use super::mounts::{Archives, Binds, folders, move_binds, volumes};
use super::ports::{Ports, Publishing};
use super::saved::{SavedContainer, SavedImage, SavedNetwork, SavedProject, SavedVolume, is_builtin};
use crate::docker::create::is_name;
use crate::docker::services::LABEL_PROJECT;
use crate::error::{Error, Kind, Result};

/// How a project is restored.
#[derive(Clone, Default)]
pub struct ProjectOptions {
    /// Its name, where not the saved one: then the restore is isolated.
    pub project: Option<String>,
    /// The services that are wanted; all of them when there is none.
    pub services: Vec<String>,
    /// Where ports are published.
    pub ports: Option<Ports>,
    /// What becomes of folders of the machine that the containers mount.
    pub binds: Binds,
    /// Archives of `backup_volume` by the saved name of the volume that they fill.
    pub archives: Vec<(String, PathBuf)>,
    /// Whether the networks of a copy lead nowhere but to this machine. Then no port is published either.
    pub offline: bool,
    /// Whether new volumes stay empty, although an image holds files for them.
    pub empty_volumes: bool,
}

/// What a restore is going to make.
pub struct Plan {
    /// The project's name.
    pub project: String,
    /// Whether it is not the saved project but a copy of it that must touch nothing of it.
    pub isolated: bool,
    /// What an operator should know.
    pub notes: Vec<String>,
    pub(super) whole: bool,
    pub(super) images: Vec<SavedImage>,
    pub(super) networks: Vec<PlannedNetwork>,
    pub(super) volumes: Vec<PlannedVolume>,
    pub(super) containers: Vec<PlannedContainer>,
}

pub(super) struct PlannedNetwork {
    pub(super) blueprint: NetworkCreateRequest,
    /// Whether it may have other addresses than it had: no container asks for one of its own.
    pub(super) elsewhere: bool,
}

pub(super) struct PlannedVolume {
    pub(super) blueprint: VolumeCreateRequest,
    pub(super) archive: Option<PathBuf>,
}

pub(super) struct PlannedContainer {
    pub(super) service: String,
    pub(super) name: String,
    /// The id of its image.
    pub(super) image: String,
    pub(super) config: ContainerConfig,
    pub(super) host: HostConfig,
    pub(super) networks: BTreeMap<String, EndpointSettings>,
}

impl Plan {
    /// Plans a restore.
    ///
    /// # Errors
    /// `Missing` for a service that the file does not hold, `Usage` for options that name nothing in it, `Refused` for
    /// what cannot be isolated.
    pub fn of(saved: &SavedProject, options: &ProjectOptions) -> Result<Self> {
        let project = project_name(saved, options)?;
        let chosen = in_order(chosen(saved, &options.services)?);
        let isolated = project != saved.project;
        let isolation = if isolated { Some(Isolation::new(saved, &project, &chosen, options)?) } else { None };
        let (isolation, mut notes) = (isolation.as_ref(), Vec::new());
        let volumes = used_volumes(saved, &chosen);
        let archives = Archives::new(options, &volumes)?;
        let containers = planned_containers(&chosen, isolation, &archives, options, &mut notes)?;
        let volumes = volumes.iter().map(|volume| PlannedVolume {
            archive: archives.of(&volume.name),
            blueprint: match isolation {
                Some(isolation) => isolated_volume(volume, isolation, &mut notes),
                None => volume_as_it_was(volume),
            },
        });
        Ok(Self {
            volumes: volumes.collect(),
            networks: planned_networks(saved, &chosen, isolation),
            images: saved.images.iter().filter(|i| chosen.iter().any(|c| c.image == i.id)).cloned().collect(),
            containers,
            whole: options.services.is_empty(),
            isolated,
            notes,
            project,
        })
    }

    /// Says what is going to be made, for a dry run.
    pub fn words(&self) -> String {
        let names = |names: Vec<&str>| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        let containers = names(self.containers.iter().map(|c| c.name.as_str()).collect());
        let volumes = names(self.volumes.iter().filter_map(|v| v.blueprint.name.as_deref()).collect());
        let networks = names(self.networks.iter().map(|n| n.blueprint.name.as_str()).collect());
        let end = if self.isolated { ", all of which go with the run" } else { "" };
        format!(
            "would make project {}: containers {containers}; volumes {volumes}; networks {networks}{end}",
            self.project
        )
    }

    /// Returns the folders of the machine that the containers mount, with the services that do.
    pub(super) fn folders(&self) -> impl Iterator<Item = (&str, &str)> {
        self.containers.iter().flat_map(|c| folders(&c.host).into_iter().map(|folder| (c.service.as_str(), folder)))
    }
}

fn project_name(saved: &SavedProject, options: &ProjectOptions) -> Result<String> {
    let Some(project) = options.project.clone().filter(|project| *project != saved.project) else {
        if options.offline {
            let why = "`offline` is for copies: a recovered project has the networks it had";
            return Err(Error::new(Kind::Usage, why).hint("give the copy's name with `project`"));
        }
        return Ok(saved.project.clone());
    };
    if !is_name(&project) || project.contains(|c: char| c.is_ascii_uppercase() || c == '.') {
        return Err(Error::new(Kind::Usage, format!("\"{project}\" is not the name of a Compose project"))
            .hint("lower-case letters, digits, - and _, beginning with a letter or digit"));
    }
    Ok(project)
}

fn planned_containers(
    chosen: &[&SavedContainer],
    isolation: Option<&Isolation<'_>>,
    archives: &Archives<'_>,
    options: &ProjectOptions,
    notes: &mut Vec<String>,
) -> Result<Vec<PlannedContainer>> {
    let mut containers = Vec::with_capacity(chosen.len());
    let mut ports = Publishing::new(options.ports.as_ref(), isolation.is_some());
    for container in chosen {
        let mut planned = PlannedContainer {
            service: container.service.clone(),
            name: container.name.clone(),
            image: container.image.clone(),
            config: container.config.clone(),
            host: container.host.clone(),
            networks: container.networks.clone(),
        };
        archives.keep_images_out(&mut planned.host);
        ports.publish(&mut planned);
        match isolation {
            Some(isolation) => isolation.apply(&mut planned, notes)?,
            None => move_binds(&mut planned.host, &options.binds),
        }
        containers.push(planned);
    }
    ports.finish()?;
    Ok(containers)
}

fn planned_networks(
    saved: &SavedProject,
    chosen: &[&SavedContainer],
    isolation: Option<&Isolation<'_>>,
) -> Vec<PlannedNetwork> {
    let names: BTreeSet<&str> = chosen.iter().flat_map(|c| c.networks.keys().map(String::as_str)).collect();
    let networks = names.into_iter().filter_map(|name| saved.network(name));
    let fixed = |name: &str| chosen.iter().any(|c| c.networks.get(name).is_some_and(|end| end.ipam_config.is_some()));
    let planned = networks.map(|network| match isolation {
        Some(isolation) => PlannedNetwork { blueprint: isolated_network(network, isolation), elsewhere: true },
        None => PlannedNetwork { blueprint: network_as_it_was(network), elsewhere: !fixed(&network.name) },
    });
    planned.collect()
}

fn chosen<'a>(saved: &'a SavedProject, services: &[String]) -> Result<Vec<&'a SavedContainer>> {
    let known: BTreeSet<&str> = saved.containers.iter().map(|c| c.service.as_str()).collect();
    if let Some(unknown) = services.iter().find(|name| !known.contains(name.as_str())) {
        let known = known.into_iter().collect::<Vec<_>>().join(", ");
        return Err(Error::new(Kind::Missing, format!("the saved project {} has no service {unknown}", saved.project))
            .on(&*saved.project)
            .hint(format!("it has {known}")));
    }
    Ok(saved.containers.iter().filter(|c| services.is_empty() || services.contains(&c.service)).collect())
}

/// Puts a container behind those whose volumes or namespaces it shares: the Engine wants them there first.
fn in_order(mut containers: Vec<&SavedContainer>) -> Vec<&SavedContainer> {
    let mut ordered = Vec::with_capacity(containers.len());
    while !containers.is_empty() {
        let waits = |c: &SavedContainer| {
            containers.iter().any(|other| other.name != c.name && others(&c.host).contains(&other.name.as_str()))
        };
        let next = containers.iter().position(|c| !waits(c)).unwrap_or(0);
        ordered.push(containers.remove(next));
    }
    ordered
}

/// Returns the containers whose namespaces or volumes a container shares.
pub(super) fn others(host: &HostConfig) -> Vec<&str> {
    let modes = [&host.network_mode, &host.pid_mode, &host.ipc_mode];
    let shared = modes.into_iter().flatten().filter_map(|mode| mode.strip_prefix("container:"));
    let from = host.volumes_from.iter().flatten().filter_map(|from| from.split(':').next());
    shared.chain(from).collect()
}

fn used_volumes<'a>(saved: &'a SavedProject, chosen: &[&SavedContainer]) -> Vec<&'a SavedVolume> {
    let used: BTreeSet<&str> = chosen.iter().flat_map(|c| volumes(&c.host)).collect();
    saved.volumes.iter().filter(|volume| used.contains(volume.name.as_str())).collect()
}

fn network_as_it_was(network: &SavedNetwork) -> NetworkCreateRequest {
    NetworkCreateRequest {
        name: network.name.clone(),
        driver: Some(network.driver.clone()),
        internal: Some(network.internal),
        attachable: Some(network.attachable),
        enable_ipv6: Some(network.ipv6),
        options: Some(network.options.clone().into_iter().collect()),
        labels: Some(network.labels.clone().into_iter().collect()),
        ipam: network.ipam.clone(),
        ..NetworkCreateRequest::default()
    }
}

fn volume_as_it_was(volume: &SavedVolume) -> VolumeCreateRequest {
    VolumeCreateRequest {
        name: Some(volume.name.clone()),
        driver: Some(volume.driver.clone()),
        driver_opts: Some(volume.options.clone().into_iter().collect()),
        labels: Some(volume.labels.clone().into_iter().collect()),
        ..VolumeCreateRequest::default()
    }
}

/// Returns whether a network's name is one that the plan makes, and not one that every Engine has.
pub(super) fn is_made(network: &str) -> bool {
    !is_builtin(network)
}

/// Returns the labels of something that belongs to a project of Compose, in another project.
pub(super) fn relabelled(labels: &BTreeMap<String, String>, project: &str) -> BTreeMap<String, String> {
    let compose = labels.iter().filter(|(label, _)| label.starts_with("com.docker.compose."));
    let mut labels: BTreeMap<_, _> = compose.map(|(label, value)| (label.clone(), value.clone())).collect();
    labels.insert(LABEL_PROJECT.to_owned(), project.to_owned());
    labels
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::mounts::Binds;
    use super::*;

    fn saved() -> SavedProject {
        let container = |service: &str, host: Value| {
            json!({
                "service": service, "name": format!("shop_{service}_1"), "image": "sha256:1", "running": true,
                "config": { "Image": "web:1", "Labels": { "com.docker.compose.service": service, "router": "on" } },
                "host": host, "networks": { "shop_default": { "Links": ["shop_db_1:database"] }, "outer": {} },
            })
        };
        let volume = |name: &str| json!({ "name": name, "driver": "local", "options": {}, "labels": {} });
        let network = |name: &str| {
            json!({ "name": name, "driver": "overlay", "internal": false, "attachable": false, "ipv6": false,
                    "options": {}, "labels": {}, "ipam": { "Config": [{ "Subnet": "10.9.0.0/24" }] } })
        };
        let web = json!({
            "Binds": ["shop_data:/data:rw", "data:/more"], "NetworkMode": "container:shop_db_1",
            "VolumesFrom": ["shop_db_1:ro"], "PortBindings": { "80/tcp": [{ "HostIp": "", "HostPort": "8080" }] },
            "RestartPolicy": { "Name": "always" }, "LogConfig": { "Type": "syslog", "Config": {} },
            "Mounts": [{ "Type": "volume", "Source": "nfs", "Target": "/nfs",
                         "VolumeOptions": { "DriverConfig": { "Name": "nfs" } } }],
        });
        let mut nfs = volume("nfs");
        nfs["options"] = json!({ "type": "nfs", "device": ":/export", "o": "addr=10.0.0.1" });
        serde_json::from_value(json!({
            "format": "runner-services", "version": 1, "project": "shop", "saved_at": "2026-01-01T00:00:00Z",
            "engine": "test", "images": [{ "reference": "web:1", "id": "sha256:1", "repo_digests": [] }],
            "networks": [network("shop_default"), network("outer")],
            "volumes": [volume("shop_data"), volume("data"), nfs],
            "containers": [container("api", web), container("db", json!({ "NetworkMode": "shop_default" }))],
            "not_carried": [],
        }))
        .unwrap()
    }

    fn drill() -> ProjectOptions {
        ProjectOptions { project: Some("drill".into()), ..ProjectOptions::default() }
    }

    #[test]
    fn a_copy_has_no_name_and_no_device_of_the_original() {
        let plan = Plan::of(&saved(), &drill()).unwrap();
        let names: Vec<_> = plan.containers.iter().map(|c| c.name.as_str()).collect();
        assert_eq!(names, ["drill_db_1", "drill_api_1"], "what is shared is made first");
        let volumes: Vec<_> = plan.volumes.iter().filter_map(|v| v.blueprint.name.as_deref()).collect();
        assert_eq!(volumes, ["drill_data", "drill_data_2", "drill_nfs"], "two volumes never become one");
        assert!(plan.volumes.iter().all(|v| v.blueprint.driver_opts.is_none()));
        let networks: Vec<_> = plan.networks.iter().map(|n| n.blueprint.name.as_str()).collect();
        assert_eq!(networks, ["drill_outer", "drill_default"]);
        assert!(
            plan.networks.iter().all(|n| n.blueprint.ipam.is_none() && n.blueprint.driver.as_deref() == Some("bridge"))
        );
        let api = &plan.containers[1];
        assert_eq!(api.host.network_mode.as_deref(), Some("container:drill_db_1"));
        assert_eq!(api.host.volumes_from.as_deref().unwrap(), ["drill_db_1:ro"]);
        assert_eq!(api.host.binds.as_deref().unwrap(), ["drill_data:/data:rw", "drill_data_2:/more"]);
        assert_eq!(api.networks["drill_default"].links.as_deref().unwrap(), ["drill_db_1:database"]);
        assert_eq!(api.networks["drill_default"].aliases.as_deref().unwrap(), ["shop_api_1"]);
        let mount = &api.host.mounts.as_ref().unwrap()[0];
        assert_eq!(mount.volume_options.as_ref().unwrap().driver_config, None);
        assert_eq!(api.host.log_config.as_ref().unwrap().typ.as_deref(), Some("json-file"));
        assert!(!api.config.labels.as_ref().unwrap().contains_key("router"));
        let whole = serde_json::to_string(&(&api.config, &api.host)).unwrap();
        assert!(!whole.contains("shop") && !whole.contains("nfs\",\"device"), "{whole}");
        assert_eq!(plan.notes.len(), 2, "{:?}", plan.notes);
    }

    #[test]
    fn a_recovery_is_what_was_saved() {
        let saved = saved();
        let plan = Plan::of(&saved, &ProjectOptions::default()).unwrap();
        assert!(!plan.isolated);
        let api = &plan.containers[1];
        assert!(api.host == saved.containers[0].host && api.config == saved.containers[0].config);
        assert_eq!(plan.networks[0].blueprint.ipam, saved.networks[1].ipam);
        assert_eq!(plan.volumes[2].blueprint.driver_opts.as_ref().unwrap()["device"], ":/export");
    }

    #[test]
    fn ports_go_where_they_are_wanted_and_a_typing_error_is_seen() {
        let port = |options: ProjectOptions| -> Value {
            let plan = Plan::of(&saved(), &options).unwrap();
            serde_json::to_value(&plan.containers[1].host.port_bindings.as_ref().unwrap()["80/tcp"]).unwrap()
        };
        let chosen = |name: &str| Some(Ports::Chosen(BTreeMap::from([(name.to_owned(), 18080)])));
        assert_eq!(port(drill()), json!([{ "HostIp": "127.0.0.1", "HostPort": "" }]));
        assert_eq!(
            port(ProjectOptions { ports: chosen("api:80"), ..drill() }),
            json!([{ "HostIp": "127.0.0.1", "HostPort": "18080" }])
        );
        assert_eq!(
            port(ProjectOptions { ports: Some(Ports::Same), ..drill() }),
            json!([{ "HostIp": "127.0.0.1", "HostPort": "8080" }])
        );
        assert_eq!(port(ProjectOptions::default()), json!([{ "HostIp": "", "HostPort": "8080" }]));
        let wrong = ProjectOptions { ports: chosen("81"), ..drill() };
        assert_eq!(Plan::of(&saved(), &wrong).err().unwrap().kind(), Kind::Usage);
    }

    #[test]
    fn a_copy_cannot_take_a_name_of_the_original() {
        let mut saved = saved();
        saved.volumes[1].name = "drill_data".into();
        let error = Plan::of(&saved, &drill()).err().unwrap();
        assert_eq!(error.kind(), Kind::Refused, "{error}");
        let unknown = ProjectOptions { services: vec!["wbe".into()], ..ProjectOptions::default() };
        assert_eq!(Plan::of(&saved, &unknown).err().unwrap().kind(), Kind::Missing);
    }

    #[test]
    fn folders_are_moved_but_never_onto_the_originals_own() {
        let mut saved = saved();
        saved.containers[0].host.binds = Some(vec!["/srv/conf:/conf:rw,z".into()]);
        let moved = |to: &str| Binds::Moved(BTreeMap::from([("/srv/conf".to_owned(), to.to_owned())]));
        let plan = Plan::of(&saved, &ProjectOptions { binds: moved("/srv/other"), ..drill() }).unwrap();
        assert_eq!(plan.containers[1].host.binds.as_deref().unwrap(), ["/srv/other:/conf:rw,z"]);
        let plan = Plan::of(&saved, &ProjectOptions { binds: Binds::Keep, ..drill() }).unwrap();
        assert_eq!(plan.containers[1].host.binds.as_deref().unwrap(), ["/srv/conf:/conf:z,ro"]);
        for binds in [Binds::Unsaid, moved("/srv"), moved("/srv/conf/below")] {
            let refused = Plan::of(&saved, &ProjectOptions { binds, ..drill() });
            assert_eq!(refused.err().unwrap().kind(), Kind::Refused);
        }
        let archives = vec![("shop_data".to_owned(), PathBuf::from("x.tar.gz"))];
        let unused = Plan::of(&saved, &ProjectOptions { archives, ..ProjectOptions::default() });
        assert_eq!(unused.err().unwrap().kind(), Kind::Usage, "no container mounts it any more");
    }
}
