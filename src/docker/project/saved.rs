//! The file of a saved project: the Engine's own words for its containers, volumes and networks, and what is not in it.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use bollard::models::{ContainerConfig, EndpointSettings, HostConfig, Ipam};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::ImageArchive;
use crate::error::{Error, Kind, Result};
use crate::files::{self, atomic};
use crate::secret::{self, Secret};

const FORMAT: &str = "runner-services";
const VERSION: u32 = 1;
/// A project of thousands of containers is smaller than this.
const MOST_BYTES: u64 = 64 << 20;
/// Words in the names of variables whose values are not to be shown.
const SECRET_WORDS: [&str; 7] = ["PASS", "SECRET", "TOKEN", "KEY", "CREDENTIAL", "PWD", "AUTH"];

/// A project as it was saved. It holds the values of variables, so nothing of it is ever printed whole.
#[derive(Clone, Serialize, Deserialize)]
pub struct SavedProject {
    format: String,
    version: u32,
    /// The project's name.
    pub project: String,
    /// When it was saved.
    pub saved_at: Timestamp,
    /// The Engine that it was saved from.
    pub engine: String,
    /// What the containers were made from.
    pub images: Vec<SavedImage>,
    /// Where the images are, when they were saved as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images_archive: Option<ImageArchive>,
    /// The networks.
    pub networks: Vec<SavedNetwork>,
    /// The volumes that have names.
    pub volumes: Vec<SavedVolume>,
    /// The containers, in the order in which they start.
    pub containers: Vec<SavedContainer>,
    /// What a restore from this file alone does not bring back.
    pub not_carried: Vec<String>,
}

/// An image: its name moves, its id does not.
#[derive(Clone, Serialize, Deserialize)]
pub struct SavedImage {
    /// The name that the containers use.
    pub reference: String,
    /// The digest of its configuration.
    pub id: String,
    /// The names under which registries have this very image.
    pub repo_digests: Vec<String>,
}

/// A network.
#[derive(Clone, Serialize, Deserialize)]
pub struct SavedNetwork {
    /// Its name.
    pub name: String,
    /// Its driver.
    pub driver: String,
    /// Whether it has no way out.
    pub internal: bool,
    /// Whether others may join it.
    pub attachable: bool,
    /// Whether it has IPv6.
    pub ipv6: bool,
    /// What the driver was told.
    pub options: BTreeMap<String, String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its addresses.
    pub ipam: Option<Ipam>,
}

/// A volume with a name. What it holds is the business of `backup_volume`.
#[derive(Clone, Serialize, Deserialize)]
pub struct SavedVolume {
    /// Its name.
    pub name: String,
    /// Its driver.
    pub driver: String,
    /// What the driver was told.
    pub options: BTreeMap<String, String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// A container: `config` and `host` are what the Engine's API calls Config and HostConfig.
#[derive(Clone, Serialize, Deserialize)]
pub struct SavedContainer {
    /// The service's name.
    pub service: String,
    /// The container's name.
    pub name: String,
    /// The id of its image.
    pub image: String,
    /// Whether it ran.
    pub running: bool,
    /// What it runs.
    pub config: ContainerConfig,
    /// How this machine serves it.
    pub host: HostConfig,
    /// Its place in each network.
    pub networks: BTreeMap<String, EndpointSettings>,
}

impl SavedProject {
    /// Starts the description of a project.
    pub(super) fn new(project: &str, engine: String) -> Self {
        Self {
            format: FORMAT.into(),
            version: VERSION,
            project: project.to_owned(),
            saved_at: Timestamp::now(),
            engine,
            images: Vec::new(),
            images_archive: None,
            networks: Vec::new(),
            volumes: Vec::new(),
            containers: Vec::new(),
            not_carried: Vec::new(),
        }
    }

    /// Reads a saved project, and learns its secrets so that no later text shows them.
    pub fn read(path: &Path) -> Result<Self> {
        let (file, facts) = files::open(path)?;
        let name = files::shown(path);
        let damaged = |why: String| {
            Error::new(Kind::Damaged, format!("{name} is not a project that save_services wrote"))
                .on(&*name)
                .caused_by(why)
        };
        if facts.len() > MOST_BYTES {
            return Err(damaged(format!("it has {} bytes", facts.len())));
        }
        let mut text = Vec::new();
        file.take(MOST_BYTES).read_to_end(&mut text).map_err(|e| Error::io("read", path, &e))?;
        // The parser's own words may quote a value of the file, a password for instance: only the place is told.
        let place =
            |e: serde_json::Error| damaged(format!("it cannot be read at line {}, column {}", e.line(), e.column()));
        let value: Value = serde_json::from_slice(&text).map_err(place)?;
        match (value["format"].as_str(), value["version"].as_u64()) {
            (Some(FORMAT), Some(version)) if version <= u64::from(VERSION) => {}
            (Some(FORMAT), version) => {
                let version = version.map_or("no version".into(), |v| format!("version {v}"));
                return Err(damaged(format!("it has {version} of the format; this program reads up to {VERSION}"))
                    .hint("use the program that wrote it, or a newer one"));
            }
            _ => return Err(damaged(format!("its `format` is not {FORMAT}"))),
        }
        let saved: Self =
            serde_json::from_value(value).map_err(|_| damaged("a part of it is not what it should be".into()))?;
        saved.learn_secrets();
        saved.check(&damaged)?;
        Ok(saved)
    }

    /// Writes it, for its owner alone.
    pub fn write(&self, to: &Path) -> Result<()> {
        let bug = |e: &serde_json::Error| Error::new(Kind::Bug, "could not write a project down").because(e);
        let sorted = sorted(serde_json::to_value(self).map_err(|e| bug(&e))?);
        let mut text = serde_json::to_vec_pretty(&sorted).map_err(|e| bug(&e))?;
        text.push(b'\n');
        let mut file = atomic::AtomicFile::create(to)?;
        std::io::Write::write_all(&mut file, &text).map_err(|e| Error::io("write", to, &e))?;
        file.commit()
    }

    /// Learns what the variables hide, so that no later text shows it.
    pub(super) fn learn_secrets(&self) {
        for variable in self.containers.iter().flat_map(|c| c.config.env.iter().flatten()) {
            let Some((name, value)) = variable.split_once('=') else { continue };
            let name = name.to_ascii_uppercase();
            if SECRET_WORDS.iter().any(|word| name.contains(word)) && !name.ends_with("_FILE") {
                let _known_from_now_on = Secret::new(value);
            }
            secret::learn_from(value);
        }
    }

    /// Checks that the parts fit together, so that nothing is found missing half way through a restore.
    fn check(&self, damaged: &dyn Fn(String) -> Error) -> Result<()> {
        if self.containers.is_empty() {
            return Err(damaged("it holds no container".into()));
        }
        for container in &self.containers {
            if !self.images.iter().any(|image| image.id == container.image) {
                return Err(damaged(format!("it does not name the image of container {}", container.name)));
            }
            let absent = container.networks.keys().find(|name| !is_builtin(name) && self.network(name).is_none());
            if let Some(absent) = absent {
                return Err(damaged(format!("it does not describe network {absent}")));
            }
        }
        Ok(())
    }

    /// Returns one of its networks.
    pub(super) fn network(&self, name: &str) -> Option<&SavedNetwork> {
        self.networks.iter().find(|network| network.name == name)
    }

    /// Returns every name that the project has on its Engine.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        let containers = self.containers.iter().map(|c| c.name.as_str());
        let volumes = self.volumes.iter().map(|v| v.name.as_str());
        containers.chain(volumes).chain(self.networks.iter().map(|n| n.name.as_str()))
    }
}

/// Returns whether every Engine has a network of this name.
pub(super) fn is_builtin(network: &str) -> bool {
    matches!(network, "bridge" | "host" | "none" | "default")
}

/// Puts the keys of maps in order, so that equal projects make equal files.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut map: serde_json::Map<_, _> = map.into_iter().map(|(key, value)| (key, sorted(value))).collect();
            // What we name keeps our order; what the Engine names comes from maps without one.
            if !map.contains_key("format") && !map.contains_key("service") {
                map.sort_keys();
            }
            Value::Object(map)
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Error {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("services.json");
        std::fs::write(&path, text).unwrap();
        SavedProject::read(&path).err().unwrap()
    }

    #[test]
    fn what_is_no_saved_project_is_refused_without_quoting_it() {
        assert_eq!(read("{}").kind(), Kind::Damaged);
        let newer = read(r#"{"format": "runner-services", "version": 2}"#);
        assert!(newer.to_string().contains("up to 1"), "{newer}");
        let broken = read(r#"{"format": "runner-services", "version": 1, "project": ["canary-of-a-secret"]}"#);
        assert!(!format!("{broken:?}").contains("canary"), "{broken:?}");
        let cut = read(r#"{"format": "runner-services", "version": 1, "x": "canary-of-a-secret"#);
        assert!(!format!("{cut:?}").contains("canary") && cut.to_string().contains("line 1"), "{cut:?}");
    }
}
