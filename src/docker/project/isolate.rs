//! Isolation: a copy of a project that touches nothing of it, whatever its containers were allowed to do.

use std::collections::{BTreeMap, BTreeSet};

use bollard::models::{
    HostConfig, HostConfigLogConfig, MountType, NetworkCreateRequest, RestartPolicy, RestartPolicyNameEnum,
    VolumeCreateRequest,
};

use super::mounts::{Bind, Binds, folders};
use super::plan::{PlannedContainer, ProjectOptions, is_made, others, relabelled};
use super::saved::{SavedContainer, SavedNetwork, SavedProject, SavedVolume};
use crate::error::{Error, Kind, Result};

/// Log drivers that keep what they get on this machine.
const LOCAL_LOGS: [&str; 5] = ["", "json-file", "local", "journald", "none"];
/// Capabilities with which a container can reach what is outside of it.
const WAYS_OUT: [&str; 8] =
    ["ALL", "SYS_ADMIN", "SYS_MODULE", "SYS_RAWIO", "SYS_BOOT", "SYS_TIME", "DAC_READ_SEARCH", "BPF"];
/// Sockets through which a container commands the machine, also when they are mounted for reading only.
const SOCKETS: [&str; 4] = [
    "/var/run/docker.sock",
    "/run/docker.sock",
    "/run/containerd/containerd.sock",
    "/var/run/containerd/containerd.sock",
];

/// The new names of everything that a project has, and the rules for its containers.
pub(super) struct Isolation<'a> {
    project: &'a str,
    names: BTreeMap<String, String>,
    members: BTreeSet<&'a str>,
    folders: BTreeSet<&'a str>,
    binds: &'a Binds,
    offline: bool,
}

impl<'a> Isolation<'a> {
    pub(super) fn new(
        saved: &'a SavedProject,
        project: &'a str,
        chosen: &[&'a SavedContainer],
        options: &'a ProjectOptions,
    ) -> Result<Self> {
        let names = renamed(saved, project);
        let old: BTreeSet<&str> = saved.names().collect();
        if let Some(taken) = names.values().find(|name| old.contains(name.as_str())) {
            return Err(Error::new(
                Kind::Refused,
                format!("project {project} would use the saved project's own {taken}"),
            )
            .on(taken.as_str())
            .hint("choose another project name"));
        }
        let members = chosen.iter().map(|c| c.name.as_str()).collect();
        let folders = saved.containers.iter().flat_map(|c| folders(&c.host)).collect();
        Ok(Self { project, names, members, folders, binds: &options.binds, offline: options.offline })
    }

    /// Returns the new name of something of the project.
    pub(super) fn name(&self, old: &str) -> String {
        self.names.get(old).cloned().unwrap_or_else(|| format!("{}_{old}", self.project))
    }

    /// Makes a container a part of the copy.
    ///
    /// # Errors
    /// `Refused`, with all reasons at once, when it has a way to the original or to the machine.
    pub(super) fn apply(&self, container: &mut PlannedContainer, notes: &mut Vec<String>) -> Result<()> {
        let mut reasons = self.ways_out(&container.host);
        self.move_mounts(&mut container.host, &mut reasons);
        if !reasons.is_empty() {
            let service = &container.service;
            return Err(Error::new(Kind::Refused, format!("service {service} cannot be restored in isolation"))
                .on(&**service)
                .caused_by(reasons.join("; "))
                .hint("name the services that can with `services`; for folders, say binds: \"keep\" (for reading only) or a map of folders"));
        }
        let new = self.name(&container.name);
        let old = std::mem::replace(&mut container.name, new);
        let labels: BTreeMap<_, _> = container.config.labels.take().unwrap_or_default().into_iter().collect();
        container.config.labels = Some(relabelled(&labels, self.project).into_iter().collect());
        self.rename_others(&mut container.host);
        self.tame(&container.service, &mut container.host, notes);
        let networks = std::mem::take(&mut container.networks);
        for (network, mut end) in networks {
            if end.ipam_config.take().is_some() {
                notes.push(format!(
                    "service {}: its own address in {network} is the Engine's choice",
                    container.service
                ));
            }
            end.links = end.links.map(|links| links.iter().map(|link| self.rename_link(link)).collect());
            if is_made(&network) {
                // Programs that call the container by its old name find the copy.
                end.aliases.get_or_insert_default().push(old.clone());
                container.networks.insert(self.name(&network), end);
            } else {
                container.networks.insert(network, end);
            }
        }
        Ok(())
    }

    fn ways_out(&self, host: &HostConfig) -> Vec<String> {
        let mut reasons = Vec::new();
        if host.privileged == Some(true) {
            reasons.push("it is privileged".to_owned());
        }
        if host.devices.as_ref().is_some_and(|devices| !devices.is_empty()) {
            reasons.push("it has devices of the machine".to_owned());
        }
        let modes = [
            ("network", &host.network_mode),
            ("processes", &host.pid_mode),
            ("shared memory", &host.ipc_mode),
            ("host name", &host.uts_mode),
            ("users", &host.userns_mode),
        ];
        let shared = modes.iter().filter(|(_, mode)| mode.as_deref() == Some("host"));
        reasons.extend(shared.map(|(what, _)| format!("it shares the machine's {what}")));
        if self.offline && matches!(host.network_mode.as_deref(), None | Some("" | "default" | "bridge")) {
            reasons.push("it uses the machine's own bridge, which leads out".to_owned());
        }
        for capability in host.cap_add.iter().flatten() {
            let capability = capability.to_ascii_uppercase();
            let bare = capability.strip_prefix("CAP_").unwrap_or(&capability);
            if WAYS_OUT.contains(&bare) {
                reasons.push(format!("it has the capability {bare}"));
            }
        }
        let strangers = others(host).into_iter().filter(|other| !self.members.contains(other));
        reasons.extend(
            strangers.map(|other| format!("it shares something with container {other}, which is not restored")),
        );
        reasons
    }

    fn move_mounts(&self, host: &mut HostConfig, reasons: &mut Vec<String>) {
        for text in host.binds.iter_mut().flatten() {
            let mut bind = Bind::parse(text);
            if !bind.is_folder() {
                *text = bind.text(&self.name(bind.source));
                continue;
            }
            match self.folder(bind.source) {
                Ok(Some(moved)) => *text = bind.text(&moved),
                Ok(None) => {
                    bind.options.retain(|option| !matches!(*option, "rw" | "ro"));
                    bind.options.push("ro");
                    *text = bind.text(bind.source);
                }
                Err(reason) => reasons.push(reason),
            }
        }
        for mount in host.mounts.iter_mut().flatten() {
            let Some(source) = mount.source.clone() else { continue };
            match mount.typ {
                Some(MountType::VOLUME) => {
                    mount.source = Some(self.name(&source));
                    // The driver's own settings may name the device of the original.
                    mount.volume_options =
                        mount.volume_options.take().map(|options| bollard::models::MountVolumeOptions {
                            no_copy: options.no_copy,
                            subpath: options.subpath,
                            ..Default::default()
                        });
                }
                Some(MountType::BIND) => match self.folder(&source) {
                    Ok(Some(moved)) => mount.source = Some(moved),
                    Ok(None) => mount.read_only = Some(true),
                    Err(reason) => reasons.push(reason),
                },
                Some(MountType::TMPFS | MountType::IMAGE) | None => {}
                Some(other) => reasons.push(format!("it has a mount of the kind {other}")),
            }
        }
    }

    /// Returns the folder that is mounted in the place of one: none where it stays and is only read.
    fn folder(&self, source: &str) -> Result<Option<String>, String> {
        let given = match self.binds {
            Binds::Unsaid => None,
            Binds::Keep => Some(source),
            Binds::Moved(moved) => moved.get(source).map(String::as_str),
        };
        let Some(to) = given else { return Err(format!("it mounts {source} of the machine")) };
        if commands_the_machine(to) {
            return Err(format!("it mounts {to}, through which it commands the machine"));
        }
        let touches = |folder: &&str| {
            let (folder, to) = (std::path::Path::new(folder), std::path::Path::new(to));
            folder.starts_with(to) || to.starts_with(folder)
        };
        match self.binds {
            Binds::Moved(_) if self.folders.iter().any(touches) => {
                Err(format!("the folder {to} is the original's own"))
            }
            Binds::Moved(_) => Ok(Some(to.to_owned())),
            _ => Ok(None),
        }
    }

    fn rename_others(&self, host: &mut HostConfig) {
        for mode in [&mut host.network_mode, &mut host.pid_mode, &mut host.ipc_mode].into_iter().flatten() {
            if let Some(other) = mode.strip_prefix("container:") {
                *mode = format!("container:{}", self.name(other));
            }
        }
        if let Some(mode) = &mut host.network_mode
            && is_made(mode)
            && !mode.is_empty()
            && !mode.starts_with("container:")
        {
            *mode = self.name(mode);
        }
        for from in host.volumes_from.iter_mut().flatten() {
            let (other, how) = from.split_once(':').map_or((from.as_str(), ""), |(other, how)| (other, how));
            *from = if how.is_empty() { self.name(other) } else { format!("{}:{how}", self.name(other)) };
        }
        host.links = host.links.take().map(|links| links.iter().map(|link| self.rename_link(link)).collect());
    }

    fn rename_link(&self, link: &str) -> String {
        let (other, alias) = link.split_once(':').unwrap_or((link, link));
        format!("{}:{alias}", self.name(other))
    }

    /// Takes away what would outlive the run or talk to the outside on its own.
    fn tame(&self, service: &str, host: &mut HostConfig, notes: &mut Vec<String>) {
        host.restart_policy = Some(RestartPolicy { name: Some(RestartPolicyNameEnum::NO), maximum_retry_count: None });
        host.auto_remove = Some(false);
        let driver = host.log_config.as_ref().and_then(|log| log.typ.clone()).unwrap_or_default();
        if !LOCAL_LOGS.contains(&driver.as_str()) {
            host.log_config = Some(HostConfigLogConfig { typ: Some("json-file".into()), config: None });
            notes.push(format!("service {service}: its log stays on this machine and does not go to {driver}"));
        }
        if host.extra_hosts.iter().flatten().any(|extra| extra.ends_with("host-gateway")) {
            notes.push(format!("service {service} knows this machine by name and may reach what listens on it"));
        }
    }
}

/// Gives everything a name in the new project. Two old names never get one new name.
fn renamed(saved: &SavedProject, project: &str) -> BTreeMap<String, String> {
    let rest = |name: &str| {
        let rest = name.strip_prefix(saved.project.as_str())?;
        rest.starts_with(['_', '-']).then(|| format!("{project}{rest}"))
    };
    let (own, foreign): (Vec<&str>, Vec<&str>) = saved.names().partition(|name| rest(name).is_some());
    let mut names: BTreeMap<String, String> = BTreeMap::new();
    for old in own.into_iter().chain(foreign) {
        if names.contains_key(old) {
            continue;
        }
        let mut new = rest(old).unwrap_or_else(|| format!("{project}_{old}"));
        while names.values().any(|taken| *taken == new) {
            new.push_str("_2");
        }
        names.insert(old.to_owned(), new);
    }
    names
}

fn commands_the_machine(folder: &str) -> bool {
    folder.ends_with(".sock") || SOCKETS.iter().any(|socket| std::path::Path::new(socket).starts_with(folder))
}

/// Returns a network of the copy. Its addresses are the Engine's choice: the original has the old ones.
pub(super) fn isolated_network(network: &SavedNetwork, isolation: &Isolation<'_>) -> NetworkCreateRequest {
    // Other drivers lead to networks outside of this machine, where the original may be.
    NetworkCreateRequest {
        name: isolation.name(&network.name),
        driver: Some("bridge".into()),
        internal: Some(network.internal || isolation.offline),
        labels: Some(relabelled(&network.labels, isolation.project).into_iter().collect()),
        ..NetworkCreateRequest::default()
    }
}

/// Returns a volume of the copy: kept by the Engine itself, because options may name the original's device.
pub(super) fn isolated_volume(
    volume: &SavedVolume,
    isolation: &Isolation<'_>,
    notes: &mut Vec<String>,
) -> VolumeCreateRequest {
    if volume.driver != "local" || !volume.options.is_empty() {
        notes.push(format!("volume {}: the copy is kept by the Engine and not where the original is", volume.name));
    }
    VolumeCreateRequest {
        name: Some(isolation.name(&volume.name)),
        driver: Some("local".into()),
        labels: Some(relabelled(&volume.labels, isolation.project).into_iter().collect()),
        ..VolumeCreateRequest::default()
    }
}
