//! Containers that a run makes: journaled, labelled, limited, reachable from this machine alone.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bollard::models::{
    ContainerCreateBody, HostConfig, Mount, MountType, PortBinding, PortMap, RestartPolicy, RestartPolicyNameEnum,
};
use bollard::query_parameters::CreateContainerOptionsBuilder;

use super::container::labelled;
use super::engine::failed;
use super::{Container, Engine, LABEL_MADE, LABEL_RUN, Wait};
use crate::cleanup::{Ledger, Record, Ticket};
use crate::error::{Error, Kind, Result};
use crate::progress::Progress;

/// The kind of a container's record in the ledger.
const KIND: &str = "container";
const HOME: &str = "127.0.0.1";

/// What a new container shall be. There is no way to ask for host folders, host networks or privileges.
#[derive(Clone, Default)]
pub struct ContainerOptions {
    /// The image; pulled when it is not there.
    pub image: String,
    /// The name; made from the run's id when there is none.
    pub name: Option<String>,
    /// Variables. Everyone who may inspect the container can read them.
    pub env: Vec<(String, String)>,
    /// Ports to publish on 127.0.0.1.
    pub ports: Vec<Port>,
    /// Named volumes to mount.
    pub volumes: Vec<MountedVolume>,
    /// Folders in memory, each with its mount options: `("/var/lib/postgresql/data", "size=60m")`.
    pub tmpfs: Vec<(String, String)>,
    /// The memory limit in bytes, swap included.
    pub memory: Option<u64>,
    /// The limit in processors.
    pub cpus: Option<f64>,
    /// The size of /dev/shm in bytes, which parallel queries need.
    pub shared_memory: Option<u64>,
    /// The command, where it is not the image's own.
    pub command: Vec<String>,
    /// The conditions that make it ready, checked one after the other.
    pub wait: Vec<Wait>,
    /// How long all conditions together may take; one minute when nothing is said.
    pub wait_limit: Option<Duration>,
}

/// A port to publish.
#[derive(Clone, Copy)]
pub struct Port {
    /// The port inside.
    pub container: u16,
    /// The port outside; the Engine chooses a free one when there is none.
    pub host: Option<u16>,
}

/// A named volume and where it is seen.
#[derive(Clone)]
pub struct MountedVolume {
    /// The volume's name, never a path.
    pub name: String,
    /// The folder inside the container.
    pub path: String,
    /// Whether the container may only read it.
    pub read_only: bool,
}

/// A container that this run made, and the right to remove it.
pub struct Made {
    container: Container,
    ticket: Ticket,
}

impl Made {
    /// Returns the container.
    pub fn container(&self) -> &Container {
        &self.container
    }

    /// Removes it now.
    pub async fn remove(self) -> Result<()> {
        self.ticket.remove().await
    }

    /// Returns the container and the right to remove it, apart.
    pub(super) fn split(self) -> (Container, Ticket) {
        (self.container, self.ticket)
    }

    /// Leaves it to the user and returns the container.
    pub fn keep(self) -> Result<Container> {
        self.ticket.set_aside()?;
        Ok(self.container)
    }
}

impl ContainerOptions {
    /// Makes the container, starts it and waits until it is ready.
    pub async fn start(self, engine: &Engine, ledger: &Arc<Ledger>, progress: &Progress) -> Result<Made> {
        let (waits, limit) = (self.wait.clone(), self.wait_limit.unwrap_or(Duration::from_secs(60)));
        let made = self.create(engine, ledger, progress).await?;
        let api = engine.api().await?;
        let container = made.container();
        let ready = async {
            let started = api.start_container(container.id(), None).await;
            started.map_err(|e| failed(format!("could not start container {}", container.name()), &e))?;
            Wait::all(&waits, container, limit, ledger).await
        };
        match ready.await {
            Ok(()) => Ok(made),
            Err(error) => {
                let _ = made.remove().await; // a removal that failed is reported by the final drain
                Err(error)
            }
        }
    }

    /// Makes the container without starting it.
    pub async fn create(self, engine: &Engine, ledger: &Arc<Ledger>, progress: &Progress) -> Result<Made> {
        self.check()?;
        engine.ensure_image(&self.image, progress).await?;
        let run = ledger.run().to_owned();
        let name = self.name.clone().unwrap_or_else(|| next_name(&run));
        make(engine, name, self.body(&run), ledger).await
    }

    /// Refuses names that the Engine would take for something else, a folder of this machine for instance.
    pub fn check(&self) -> Result<()> {
        for volume in &self.volumes {
            if !is_name(&volume.name) {
                return Err(Error::new(Kind::Refused, format!("\"{}\" is not the name of a volume", volume.name))
                    .hint("only named volumes can be mounted, never folders of this machine"));
            }
        }
        match &self.name {
            Some(name) if !is_name(name) => {
                Err(Error::new(Kind::Usage, format!("\"{name}\" is not a name for a container"))
                    .hint("use letters, digits, dots, dashes and underscores"))
            }
            _ => Ok(()),
        }
    }

    fn body(self, run: &str) -> ContainerCreateBody {
        let labels = HashMap::from(our_labels(run));
        let memory = self.memory.and_then(|bytes| i64::try_from(bytes).ok());
        let host = HostConfig {
            memory,
            memory_swap: memory, // the same number means: no swap on top
            nano_cpus: self.cpus.map(|cpus| (cpus * 1e9) as i64),
            shm_size: self.shared_memory.and_then(|bytes| i64::try_from(bytes).ok()),
            tmpfs: Some(self.tmpfs.into_iter().collect()).filter(|t: &HashMap<_, _>| !t.is_empty()),
            mounts: Some(self.volumes.into_iter().map(mount).collect()),
            port_bindings: Some(bindings(&self.ports)),
            restart_policy: Some(RestartPolicy { name: Some(RestartPolicyNameEnum::NO), maximum_retry_count: None }),
            ..HostConfig::default()
        };
        ContainerCreateBody {
            image: Some(self.image),
            env: Some(self.env.into_iter().map(|(name, value)| format!("{name}={value}")).collect()),
            cmd: Some(self.command).filter(|command| !command.is_empty()),
            exposed_ports: Some(self.ports.iter().map(|p| format!("{}/tcp", p.container)).collect()),
            labels: Some(labels),
            host_config: Some(host),
            ..ContainerCreateBody::default()
        }
    }
}

/// Makes a container, which must carry the label of the run.
pub(super) async fn make(
    engine: &Engine,
    name: String,
    body: ContainerCreateBody,
    ledger: &Arc<Ledger>,
) -> Result<Made> {
    let run = ledger.run().to_owned();
    let record = Record::new(KIND, &name, format!("docker rm -fv {name}")).fact("run", &*run);
    let id: Arc<OnceLock<String>> = Arc::default();
    let make = {
        let (engine, id, name) = (engine.clone(), Arc::clone(&id), name.clone());
        async move {
            let options = CreateContainerOptionsBuilder::new().name(&name).build();
            let made = engine.api().await?.create_container(Some(options), body).await;
            let made = made.map_err(|e| failed(format!("could not make container {name}"), &e).on(&*name))?;
            let _ = id.set(made.id.clone());
            Ok(Container::new(&engine, made.id, name))
        }
    };
    let undo = {
        let engine = engine.clone();
        // Without an id the Engine's answer was lost: the container may be there, and only our label proves it ours.
        move || async move {
            match id.get() {
                Some(id) => Container::new(&engine, id, name).remove().await,
                None => remove_labelled(&engine, &run, &name).await,
            }
        }
    };
    let (container, ticket) = ledger.make(record, make, undo).await?;
    Ok(Made { container, ticket })
}

/// Returns the labels of everything that a run makes.
pub(super) fn our_labels(run: &str) -> [(String, String); 2] {
    [(LABEL_RUN.to_owned(), run.to_owned()), (LABEL_MADE.to_owned(), jiff::Timestamp::now().to_string())]
}

fn mount(volume: MountedVolume) -> Mount {
    Mount {
        typ: Some(MountType::VOLUME),
        source: Some(volume.name),
        target: Some(volume.path),
        read_only: Some(volume.read_only),
        ..Mount::default()
    }
}

fn bindings(ports: &[Port]) -> PortMap {
    let binding = |port: &Port| PortBinding {
        host_ip: Some(HOME.to_owned()),
        host_port: Some(port.host.map(|p| p.to_string()).unwrap_or_default()),
    };
    ports.iter().map(|port| (format!("{}/tcp", port.container), Some(vec![binding(port)]))).collect()
}

/// Returns a name that no other container of this machine has.
fn next_name(run: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    format!("runner-{run}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// What the Engine takes as a name; a slash or colon would turn a volume into a folder of the host.
pub(super) fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
}

/// Removes the container of a dead run. A container that has the name but not the run's label is someone else's.
pub async fn collect_container(engine: &Engine, record: &Record) -> Result<()> {
    let run = record.facts.get("run").and_then(|run| run.as_str()).unwrap_or_default();
    remove_labelled(engine, run, &record.name).await
}

async fn remove_labelled(engine: &Engine, run: &str, name: &str) -> Result<()> {
    for container in labelled(engine, LABEL_RUN, run).await? {
        if container.name() == name {
            container.remove().await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_the_host_is_not_a_volume() {
        for name in ["/", "/etc", "v:/x", "../x", "", ".hidden"] {
            let volumes = vec![MountedVolume { name: name.into(), path: "/x".into(), read_only: true }];
            let options = ContainerOptions { volumes, ..ContainerOptions::default() };
            assert_eq!(options.check().unwrap_err().kind(), Kind::Refused, "{name}");
        }
    }

    #[test]
    fn ports_open_on_this_machine_alone_and_nothing_of_the_host_is_seen() {
        let ports = vec![Port { container: 5432, host: None }];
        let body = ContainerOptions { ports, memory: Some(1 << 30), ..ContainerOptions::default() }.body("r1");
        let host = body.host_config.unwrap();
        let binding = host.port_bindings.unwrap()["5432/tcp"].clone().unwrap();
        assert_eq!(binding[0].host_ip.as_deref(), Some("127.0.0.1"));
        assert_eq!(host.binds, None);
        assert_eq!(host.privileged, None);
        assert_eq!(host.memory_swap, Some(1 << 30));
        assert_eq!(body.labels.unwrap()[LABEL_RUN], "r1");
    }
}
