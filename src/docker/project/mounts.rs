//! Mounts of a container: its volumes and folders of the machine, in the two ways in which the Engine writes them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use bollard::models::{HostConfig, MountType};

use super::plan::ProjectOptions;
use super::saved::SavedVolume;
use crate::docker::create::is_name;
use crate::error::{Error, Kind, Result};

/// What becomes of folders of the machine that the containers mount.
#[derive(Clone, Default)]
pub enum Binds {
    /// They are mounted as before; an isolated restore refuses them.
    #[default]
    Unsaid,
    /// They are mounted as before; in an isolated restore for reading only.
    Keep,
    /// Others are mounted in their place.
    Moved(BTreeMap<String, String>),
}

/// One line of Binds: `shop_data:/data:rw`, or `/srv/conf:/etc/app:ro`.
pub(super) struct Bind<'a> {
    pub(super) source: &'a str,
    pub(super) target: &'a str,
    pub(super) options: Vec<&'a str>,
}

impl<'a> Bind<'a> {
    pub(super) fn parse(text: &'a str) -> Self {
        let mut parts = text.splitn(3, ':');
        let (source, target) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let options = parts.next().map(|options| options.split(',').collect()).unwrap_or_default();
        Self { source, target, options }
    }

    pub(super) fn is_folder(&self) -> bool {
        !is_name(self.source)
    }

    pub(super) fn text(&self, source: &str) -> String {
        let mut text = format!("{source}:{}", self.target);
        if !self.options.is_empty() {
            text.push(':');
            text.push_str(&self.options.join(","));
        }
        text
    }
}

/// Returns the volumes with names that a container mounts.
pub(super) fn volumes(host: &HostConfig) -> Vec<&str> {
    let binds = host.binds.iter().flatten().map(|b| Bind::parse(b)).filter(|b| !b.is_folder()).map(|b| b.source);
    let mounts = host.mounts.iter().flatten().filter(|m| m.typ == Some(MountType::VOLUME));
    binds.chain(mounts.filter_map(|m| m.source.as_deref())).collect()
}

/// Returns the folders of the machine that a container mounts.
pub(super) fn folders(host: &HostConfig) -> Vec<&str> {
    let binds = host.binds.iter().flatten().map(|b| Bind::parse(b)).filter(Bind::is_folder).map(|b| b.source);
    let mounts = host.mounts.iter().flatten().filter(|m| m.typ == Some(MountType::BIND));
    binds.chain(mounts.filter_map(|m| m.source.as_deref())).collect()
}

/// Mounts other folders where the options say so.
pub(super) fn move_binds(host: &mut HostConfig, binds: &Binds) {
    let Binds::Moved(moved) = binds else { return };
    for text in host.binds.iter_mut().flatten() {
        let bind = Bind::parse(text);
        if let Some(to) = moved.get(bind.source) {
            *text = bind.text(to);
        }
    }
    for mount in host.mounts.iter_mut().flatten().filter(|m| m.typ == Some(MountType::BIND)) {
        if let Some(to) = mount.source.as_ref().and_then(|source| moved.get(source)) {
            mount.source = Some(to.clone());
        }
    }
}

/// The archives that fill volumes.
pub(super) struct Archives<'a> {
    given: &'a [(String, PathBuf)],
    all_empty: bool,
}

impl<'a> Archives<'a> {
    pub(super) fn new(options: &'a ProjectOptions, volumes: &[&SavedVolume]) -> Result<Self> {
        if let Some((unknown, _)) = options.archives.iter().find(|(name, _)| !volumes.iter().any(|v| v.name == *name)) {
            let known = volumes.iter().map(|v| v.name.as_str()).collect::<Vec<_>>().join(", ");
            return Err(Error::new(Kind::Usage, format!("no service that is restored uses a volume {unknown}"))
                .hint(format!("volumes are called by their saved names: {known}")));
        }
        Ok(Self { given: &options.archives, all_empty: options.empty_volumes })
    }

    pub(super) fn of(&self, volume: &str) -> Option<PathBuf> {
        self.given.iter().find(|(name, _)| name == volume).map(|(_, archive)| archive.clone())
    }

    /// Keeps the Engine from copying an image's files into a volume that an archive fills, or will fill.
    pub(super) fn keep_images_out(&self, host: &mut HostConfig) {
        let wanted = |name: &str| self.all_empty || self.of(name).is_some();
        for text in host.binds.iter_mut().flatten() {
            let mut bind = Bind::parse(text);
            if !bind.is_folder() && wanted(bind.source) && !bind.options.contains(&"nocopy") {
                bind.options.push("nocopy");
                *text = bind.text(bind.source);
            }
        }
        for mount in host.mounts.iter_mut().flatten().filter(|m| m.typ == Some(MountType::VOLUME)) {
            if mount.source.as_deref().is_some_and(wanted) {
                mount.volume_options.get_or_insert_default().no_copy = Some(true);
            }
        }
    }
}
