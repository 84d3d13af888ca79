//! Saving: what the Engine says of each container of a project, without what belongs to this one machine and moment.

use std::collections::{BTreeMap, BTreeSet};

use bollard::models::{
    ContainerInspectResponse, EndpointSettings, HostConfig, ImageInspect, MountPoint, NetworkInspect,
};

use super::saved::{SavedContainer, SavedImage, SavedNetwork, SavedProject, SavedVolume, is_builtin};
use crate::docker::engine::{failed, is_absent};
use crate::docker::services::{LABEL_NEEDS, Service, services};
use crate::docker::{Engine, Volume};
use crate::error::{Error, Kind, Result};

/// How the labels begin that runs of ours put on what they make.
const OUR_LABELS: [&str; 2] = ["runner.", "com.docker.runner."];

/// Writes a project down: its containers, and the images, volumes and networks that they use.
pub async fn save_project(engine: &Engine, project: &str) -> Result<SavedProject> {
    let found = services(engine, project, &[]).await?;
    let mut saved = SavedProject::new(project, engine.describe().await?);
    let mut seen = Vec::with_capacity(found.len());
    for service in &found {
        seen.push(inspect(engine, service).await?);
    }
    let names: BTreeMap<&str, &str> = found.iter().map(|s| (s.container.id(), s.container.name())).collect();
    let (mut volumes, mut networks, mut images) = (BTreeSet::new(), BTreeSet::new(), BTreeMap::new());
    for (service, seen) in found.iter().zip(seen) {
        let mounts = seen.mounts.clone().unwrap_or_default();
        volumes.extend(mounts.iter().filter(|m| has_name(m)).filter_map(|m| m.name.clone()));
        let container = container(engine, service, seen, &names, &mut saved.not_carried).await?;
        networks.extend(container.networks.keys().filter(|name| !is_builtin(name)).cloned());
        images.entry(container.image.clone()).or_insert(container.config.image.clone().unwrap_or_default());
        saved.containers.push(container);
    }
    let several = saved.containers.iter().any(|c| c.service != saved.containers[0].service);
    if several
        && !saved.containers.iter().any(|c| c.config.labels.as_ref().is_some_and(|l| l.contains_key(LABEL_NEEDS)))
    {
        saved.not_carried.push(
            "which service needs which: Compose 1 does not write it into labels, so all start in the order of their names"
                .into(),
        );
    }
    for (id, reference) in images {
        saved.images.push(image(engine, id, reference).await?);
    }
    for name in volumes {
        saved.volumes.push(volume(engine, &name).await?);
    }
    for name in networks {
        saved.networks.push(network(engine, &name).await?);
    }
    saved.learn_secrets();
    Ok(saved)
}

async fn inspect(engine: &Engine, service: &Service) -> Result<ContainerInspectResponse> {
    let name = service.container.name();
    let seen = engine.api().await?.inspect_container(service.container.id(), None).await;
    seen.map_err(|e| failed(format!("could not inspect container {name}"), &e).on(name))
}

async fn container(
    engine: &Engine,
    service: &Service,
    seen: ContainerInspectResponse,
    names: &BTreeMap<&str, &str>,
    not_carried: &mut Vec<String>,
) -> Result<SavedContainer> {
    let (id, name) = (service.container.id(), service.container.name().to_owned());
    let mut config = seen.config.unwrap_or_default();
    let mut host = seen.host_config.unwrap_or_default();
    // The Engine makes a host's name of the container's id; the next container has another one.
    config.hostname = config.hostname.filter(|host| !is_short_id(host, id));
    if let Some(labels) = &mut config.labels {
        labels.retain(|label, _| !is_ours(label));
    }
    host.container_id_file = None;
    host.console_size = None;
    host.links = host.links.map(|links| links.iter().map(|link| plain_link(link)).collect());
    others(engine, &mut host, names).await?;
    let mounts = seen.mounts.unwrap_or_default();
    for mount in mounts.iter().filter(|m| m.typ.as_deref() == Some("volume") && !has_name(m)) {
        let (volume, path) = (mount.name.as_deref().unwrap_or_default(), mount.destination.clone().unwrap_or_default());
        forget_volume(&mut host, volume);
        let declared = config.volumes.get_or_insert_default();
        if !declared.contains(&path) {
            declared.push(path.clone());
        }
        not_carried.push(format!("service {}: what the volume without a name at {path} holds", service.name));
    }
    for mount in mounts.iter().filter(|m| m.typ.as_deref() == Some("bind")) {
        let (from, to) =
            (mount.source.as_deref().unwrap_or_default(), mount.destination.as_deref().unwrap_or_default());
        not_carried.push(format!("service {}: what the folder or file {from} at {to} holds", service.name));
    }
    let networks = seen.network_settings.and_then(|s| s.networks).unwrap_or_default();
    // The mode may give the network's id.
    let mode = host.network_mode.take();
    let by_id = networks.iter().find(|(_, end)| end.network_id.is_some() && end.network_id == mode);
    host.network_mode = by_id.map(|(name, _)| name.clone()).or(mode);
    let networks = networks.into_iter().map(|(network, end)| (network, endpoint(end, id, &name))).collect();
    let image = seen.image.ok_or_else(|| {
        Error::new(Kind::Docker, format!("the Engine does not say what container {name} was made from")).on(&*name)
    })?;
    let running = service.running();
    Ok(SavedContainer { service: service.name.clone(), name, image, running, config, host, networks })
}

/// Returns whether a mount is a volume that somebody named. The Engine names the others by 64 digits.
fn has_name(mount: &MountPoint) -> bool {
    let given = |name: &str| !(name.len() == 64 && name.bytes().all(|b| b.is_ascii_hexdigit()));
    mount.typ.as_deref() == Some("volume") && mount.name.as_deref().is_some_and(given)
}

/// Takes a volume without a name out of the mounts, so that the new container gets one of its own.
fn forget_volume(host: &mut HostConfig, volume: &str) {
    if let Some(binds) = &mut host.binds {
        binds.retain(|bind| bind.split(':').next() != Some(volume));
    }
    for mount in host.mounts.iter_mut().flatten().filter(|m| m.source.as_deref() == Some(volume)) {
        mount.source = None;
    }
}

fn is_ours(label: &str) -> bool {
    OUR_LABELS.iter().any(|ours| label.starts_with(ours))
}

/// Returns whether a name is the short form of an id, which the Engine gives as host name and alias.
fn is_short_id(name: &str, id: &str) -> bool {
    name.len() == 12 && id.starts_with(name)
}

/// Inspected as `/db:/api/db`, asked for as `db:db`.
fn plain_link(link: &str) -> String {
    let (other, alias) = link.split_once(':').unwrap_or((link, link));
    format!("{}:{}", other.trim_start_matches('/'), alias.rsplit('/').next().unwrap_or(alias))
}

/// Calls other containers, whose namespaces or volumes this one shares, by names instead of ids.
async fn others(engine: &Engine, host: &mut HostConfig, names: &BTreeMap<&str, &str>) -> Result<()> {
    for mode in [&mut host.network_mode, &mut host.pid_mode, &mut host.ipc_mode].into_iter().flatten() {
        if let Some(other) = mode.strip_prefix("container:") {
            *mode = format!("container:{}", name_of(engine, other, names).await?);
        }
    }
    for from in host.volumes_from.iter_mut().flatten() {
        let (other, how) = from.split_once(':').map_or((from.as_str(), None), |(other, how)| (other, Some(how)));
        let other = name_of(engine, other, names).await?;
        *from = how.map_or(other.clone(), |how| format!("{other}:{how}"));
    }
    Ok(())
}

async fn name_of(engine: &Engine, other: &str, names: &BTreeMap<&str, &str>) -> Result<String> {
    if let Some(name) = names.get(other) {
        return Ok((*name).to_owned());
    }
    match engine.api().await?.inspect_container(other, None).await {
        Ok(seen) => Ok(seen.name.unwrap_or_else(|| other.to_owned()).trim_start_matches('/').to_owned()),
        Err(e) if is_absent(&e) => Ok(other.to_owned()),
        Err(e) => Err(failed(format!("could not inspect container {other}"), &e).on(other)),
    }
}

/// Keeps what was asked for; addresses that the Engine chose belong to this one container.
fn endpoint(end: EndpointSettings, id: &str, name: &str) -> EndpointSettings {
    let own = |alias: &String| !is_short_id(alias, id) && alias != name;
    let mut aliases: Vec<_> = end.aliases.unwrap_or_default().into_iter().filter(own).collect();
    aliases.sort();
    aliases.dedup();
    EndpointSettings {
        aliases: Some(aliases).filter(|aliases| !aliases.is_empty()),
        ipam_config: end.ipam_config.filter(|ipam| *ipam != Default::default()),
        links: end.links,
        driver_opts: end.driver_opts,
        gw_priority: end.gw_priority,
        ..EndpointSettings::default()
    }
}

async fn image(engine: &Engine, id: String, reference: String) -> Result<SavedImage> {
    let seen = match engine.api().await?.inspect_image(&id).await {
        Ok(seen) => seen,
        Err(e) if is_absent(&e) => ImageInspect::default(),
        Err(e) => return Err(failed(format!("could not inspect image {reference}"), &e).on(reference)),
    };
    Ok(SavedImage { reference, id, repo_digests: seen.repo_digests.unwrap_or_default() })
}

async fn volume(engine: &Engine, name: &str) -> Result<SavedVolume> {
    let seen = Volume::find(engine, name).await?;
    let labels = seen.labels.into_iter().filter(|(label, _)| !is_ours(label)).collect();
    Ok(SavedVolume { name: name.to_owned(), driver: seen.driver, options: seen.options, labels })
}

async fn network(engine: &Engine, name: &str) -> Result<SavedNetwork> {
    let seen = engine.api().await?.inspect_network(name, None).await;
    let seen: NetworkInspect = seen.map_err(|e| failed(format!("could not inspect network {name}"), &e).on(name))?;
    let labels = seen.labels.into_iter().flatten().filter(|(label, _)| !is_ours(label));
    Ok(SavedNetwork {
        name: name.to_owned(),
        driver: seen.driver.unwrap_or_default(),
        internal: seen.internal.unwrap_or(false),
        attachable: seen.attachable.unwrap_or(false),
        ipv6: seen.enable_ipv6.unwrap_or(false),
        options: seen.options.into_iter().flatten().collect(),
        labels: labels.collect(),
        ipam: seen.ipam,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_written_as_it_is_asked_for() {
        assert_eq!(plain_link("/shop_db_1:/shop_api_1/db"), "shop_db_1:db");
        assert_eq!(plain_link("db:database"), "db:database");
    }

    #[test]
    fn a_place_in_a_network_keeps_what_was_asked_for_alone() {
        let end = EndpointSettings {
            aliases: Some(vec!["db".into(), "0123456789ab".into(), "shop_db_1".into()]),
            ip_address: Some("172.18.0.2".into()),
            ..EndpointSettings::default()
        };
        let kept = endpoint(end, "0123456789abcdef", "shop_db_1");
        assert_eq!(kept, EndpointSettings { aliases: Some(vec!["db".into()]), ..EndpointSettings::default() });
    }

    #[test]
    fn a_volume_without_a_name_leaves_the_mounts() {
        let hash = "ab".repeat(32);
        let mut host = HostConfig {
            binds: Some(vec![format!("{hash}:/data:rw"), "shop_data:/var:rw".into()]),
            ..HostConfig::default()
        };
        forget_volume(&mut host, &hash);
        assert_eq!(host.binds.unwrap(), ["shop_data:/var:rw"]);
    }
}
