//! What the Engine says about one container, reduced to what drills ask.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use bollard::models::{ContainerInspectResponse, ContainerStateStatusEnum, HealthStatusEnum, NetworkSettings};

/// The state and the addresses of one container at one moment.
pub struct Inspection {
    /// Whether its main process runs and is not paused.
    pub running: bool,
    /// The Engine's word for the state: `created`, `running`, `paused`, `exited` …
    pub status: String,
    /// The status of the main process, once it ended.
    pub exit_code: Option<i64>,
    /// Whether the kernel ended it for want of memory.
    pub out_of_memory: bool,
    /// When it ended, as the Engine writes it.
    pub finished_at: Option<String>,
    /// Whether its health check passes; nothing where there is none.
    pub healthy: Option<bool>,
    /// The image's name.
    pub image: String,
    /// The labels.
    pub labels: HashMap<String, String>,
    /// Whether it shares this machine's network.
    pub host_network: bool,
    env: HashMap<String, String>,
    networks: Vec<IpAddr>,
    published: HashMap<u16, SocketAddr>,
}

impl Inspection {
    /// Returns a variable of the container's configuration.
    pub fn env(&self, name: &str) -> Option<&str> {
        self.env.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Returns where a port is published on this machine.
    pub fn published(&self, port: u16) -> Option<SocketAddr> {
        self.published.get(&port).copied()
    }

    /// Returns the container's own address in the first of its networks.
    pub fn address(&self) -> Option<IpAddr> {
        self.networks.first().copied()
    }

    /// Says what the state is, for instance `exited with status 137, out of memory, 2 hours ago`.
    pub fn state(&self) -> String {
        let mut state = match (self.status.as_str(), self.exit_code) {
            ("exited" | "dead", Some(code)) => format!("{} with status {code}", self.status),
            (status, _) => status.to_owned(),
        };
        if self.out_of_memory {
            state.push_str(", out of memory");
        }
        if let Some(ago) = self.finished_at.as_deref().and_then(ago)
            && !self.running
        {
            state.push_str(&format!(", {ago} ago"));
        }
        state
    }
}

impl From<ContainerInspectResponse> for Inspection {
    fn from(seen: ContainerInspectResponse) -> Self {
        let state = seen.state.unwrap_or_default();
        let config = seen.config.unwrap_or_default();
        let network = seen.network_settings.unwrap_or_default();
        let status = state.status.unwrap_or(ContainerStateStatusEnum::EMPTY);
        let health = state.health.and_then(|h| h.status);
        let env = config.env.unwrap_or_default();
        Self {
            running: status == ContainerStateStatusEnum::RUNNING,
            status: status.to_string(),
            exit_code: state.exit_code,
            out_of_memory: state.oom_killed.unwrap_or(false),
            finished_at: state.finished_at.filter(|at| !at.starts_with("0001-")),
            healthy: match health {
                None | Some(HealthStatusEnum::EMPTY | HealthStatusEnum::NONE) => None,
                Some(health) => Some(health == HealthStatusEnum::HEALTHY),
            },
            image: config.image.unwrap_or_default(),
            labels: config.labels.unwrap_or_default(),
            host_network: seen.host_config.and_then(|h| h.network_mode).as_deref() == Some("host"),
            env: env.iter().filter_map(|v| v.split_once('=')).map(|(n, v)| (n.to_owned(), v.to_owned())).collect(),
            networks: addresses(&network),
            published: published(&network),
        }
    }
}

fn addresses(network: &NetworkSettings) -> Vec<IpAddr> {
    let mut networks: Vec<_> = network.networks.iter().flatten().collect();
    networks.sort_by(|a, b| a.0.cmp(b.0)); // the Engine gives them in any order
    networks.iter().filter_map(|(_, end)| end.ip_address.as_deref()?.parse().ok()).collect()
}

fn published(network: &NetworkSettings) -> HashMap<u16, SocketAddr> {
    let mut published = HashMap::new();
    for (port, bindings) in network.ports.iter().flatten() {
        let Some(port) = port.strip_suffix("/tcp").and_then(|p| p.parse().ok()) else { continue };
        for binding in bindings.iter().flatten() {
            let Some(host_port) = binding.host_port.as_deref().and_then(|p| p.parse().ok()) else { continue };
            let ip =
                binding.host_ip.as_deref().and_then(|ip| ip.parse().ok()).unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
            let reachable = if ip.is_unspecified() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { ip };
            published.entry(port).or_insert(SocketAddr::new(reachable, host_port));
        }
    }
    published
}

/// Says how long ago a time was, in its largest unit.
fn ago(time: &str) -> Option<String> {
    let then: jiff::Timestamp = time.parse().ok()?;
    let seconds = jiff::Timestamp::now().as_second().checked_sub(then.as_second())?.max(0);
    let (count, unit) = match seconds {
        0..=119 => (seconds, "second"),
        120..=7_199 => (seconds / 60, "minute"),
        7_200..=172_799 => (seconds / 3_600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    Some(format!("{count} {unit}{}", if count == 1 { "" } else { "s" }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inspection(json: serde_json::Value) -> Inspection {
        serde_json::from_value::<ContainerInspectResponse>(json).unwrap().into()
    }

    #[test]
    fn a_dead_container_says_how_it_ended() {
        let two_hours_ago = jiff::Timestamp::from_second(jiff::Timestamp::now().as_second() - 2 * 3600 - 60).unwrap();
        let dead = inspection(serde_json::json!({
            "State": {"Status": "exited", "ExitCode": 137, "OOMKilled": true, "FinishedAt": two_hours_ago.to_string()},
        }));
        assert!(!dead.running);
        assert_eq!(dead.state(), "exited with status 137, out of memory, 2 hours ago");
    }

    #[test]
    fn a_port_open_to_the_world_is_reached_at_home() {
        let up = inspection(serde_json::json!({
            "State": {"Status": "running"},
            "Config": {"Env": ["POSTGRES_USER=app", "EMPTY=", "URL=a=b"]},
            "NetworkSettings": {
                "Ports": {"5432/tcp": [{"HostIp": "0.0.0.0", "HostPort": "49153"}, {"HostIp": "::", "HostPort": "49153"}], "80/tcp": null},
                "Networks": {"bridge": {"IPAddress": "172.17.0.2"}},
            },
        }));
        assert_eq!(up.published(5432), Some("127.0.0.1:49153".parse().unwrap()));
        assert_eq!(up.published(80), None);
        assert_eq!(up.address(), Some("172.17.0.2".parse().unwrap()));
        assert_eq!((up.env("POSTGRES_USER"), up.env("URL"), up.env("EMPTY")), (Some("app"), Some("a=b"), None));
    }
}
