//! The process of a private cluster: it ends with us, can be found in its folder, and goes with it.

use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::ChildStdin;

use crate::cleanup::Record;
use crate::error::{Error, Kind, Result};
use crate::process::{Program, Running};

const STOP_LIMIT: Duration = Duration::from_secs(20);
const REAP_LIMIT: Duration = Duration::from_millis(500);
const POLL: Duration = Duration::from_millis(25);

/// Starts the server and ends it when our end of the pipe closes, which the kernel does even after SIGKILL.
const GUARD: &str = r#"
exec 3<&0
"$@" 3<&- </dev/null &
server=$!
(cat <&3 >/dev/null; kill -QUIT "$server" 2>/dev/null) &
exec 3<&-
wait "$server"
"#;

/// The guard's process and the pipe that keeps it up.
pub(super) struct Server {
    running: Running,
    pipe: Option<ChildStdin>,
}

impl Server {
    /// Returns the guard, whose arguments are the server's command.
    pub(super) fn guard() -> Program {
        Program::new("/bin/sh").args(["-c", GUARD, "runner-guard"])
    }

    /// Starts a guard with its command.
    pub(super) fn start(guard: Program) -> Result<Self> {
        let mut running = guard.with_stdin().start()?;
        let pipe = running.stdin();
        Ok(Self { running, pipe })
    }

    pub(super) fn has_ended(&self) -> bool {
        // The guard is our child: once it ended it is a zombie until somebody waits for it.
        self.running.id().is_none_or(|id| is_gone_or_zombie(Pid::from_raw(id.cast_signed())))
    }

    /// Closes the pipe and waits for the guard, which waits for the server; returns what it said.
    pub(super) async fn stop(mut self) -> Option<Error> {
        drop(self.pipe.take());
        let deadline = Instant::now() + STOP_LIMIT;
        while !self.has_ended() && Instant::now() < deadline {
            tokio::time::sleep(POLL).await;
        }
        // A runtime that is being left reaps nobody, so this must not be what we wait for. Its drop kills the group.
        tokio::time::timeout(REAP_LIMIT, self.running.finish()).await.ok()?.err()
    }

    #[cfg(test)]
    pub(super) fn without_pipe(mut self) -> Self {
        self.pipe = None;
        self
    }
}

/// Returns whether the server says in its pid file that it takes connections.
pub(super) fn is_ready(pid_file: &Path) -> bool {
    std::fs::read_to_string(pid_file).is_ok_and(|text| text.lines().nth(7).is_some_and(|line| line.trim() == "ready"))
}

/// Stops the server in `folder`, if there is one, and removes the folder. Used at the end of a run and by `runner gc`.
pub(super) async fn remove_cluster(folder: &Path) -> Result<()> {
    match folder.symlink_metadata() {
        Ok(found) if found.is_dir() => {}
        Ok(_) => return Err(Error::new(Kind::Refused, format!("{} is not a folder", folder.display()))),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(Error::io("look at", folder, &e)),
    }
    if let Some(server) = server_of(folder) {
        stop(server, folder, Signal::SIGQUIT).await?;
    }
    let folder = folder.to_owned();
    let removed = tokio::task::spawn_blocking(move || {
        std::fs::remove_dir_all(&folder)
            .or_else(|e| if folder.exists() { Err(Error::io("remove", &folder, &e)) } else { Ok(()) })
    });
    removed.await.map_err(|e| Error::new(Kind::Bug, "removing a cluster panicked").because(&e))?
}

/// Stops and removes the cluster of a dead run.
pub async fn collect_cluster(record: &Record) -> Result<()> {
    let folder = record.facts.get("folder").and_then(|folder| folder.as_str()).map(Path::new);
    match folder {
        Some(folder) if is_ours(folder) => remove_cluster(folder).await,
        _ => Err(Error::new(Kind::Damaged, format!("the journal does not say where {} is", record.name))),
    }
}

/// A journal is a file: what it names must at least look like what we make.
fn is_ours(folder: &Path) -> bool {
    let name = folder.file_name().and_then(|name| name.to_str());
    folder.is_absolute() && name.is_some_and(|name| name.starts_with("runner-"))
}

/// Returns the process that serves `folder`. A pid that another program got meanwhile does not count.
pub(super) fn server_of(folder: &Path) -> Option<Pid> {
    let text = std::fs::read_to_string(folder.join("data/postmaster.pid")).ok()?;
    let pid = Pid::from_raw(text.lines().next()?.trim().parse().ok()?);
    serves(pid, folder).then_some(pid)
}

fn serves(pid: Pid, folder: &Path) -> bool {
    let Ok(line) = std::fs::read(format!("/proc/{pid}/cmdline")) else {
        return !cfg!(target_os = "linux") && kill(pid, None).is_ok();
    };
    let data = folder.join("data");
    line.split(|b| *b == 0).any(|arg| arg == data.as_os_str().as_encoded_bytes())
}

pub(super) async fn stop(server: Pid, folder: &Path, mut signal: Signal) -> Result<()> {
    let deadline = Instant::now() + STOP_LIMIT;
    while serves(server, folder) && !is_gone_or_zombie(server) {
        match kill(server, signal) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(e) => {
                return Err(Error::new(Kind::Process, format!("could not stop the server {server}")).because(&e));
            }
        }
        if Instant::now() > deadline {
            signal = Signal::SIGKILL;
        }
        if Instant::now() > deadline + STOP_LIMIT {
            return Err(Error::new(Kind::Timeout, format!("the server {server} does not stop")));
        }
        tokio::time::sleep(POLL).await;
    }
    Ok(())
}

pub(super) fn is_gone_or_zombie(pid: Pid) -> bool {
    match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => stat.contains(") Z "),
        Err(_) => kill(pid, None) == Err(Errno::ESRCH),
    }
}
