//! Child programs: a clean environment, an own process group, both ends of every pipe checked.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::task::JoinHandle;

use crate::error::{Error, Kind, Result};
use crate::secret;

/// What of our own environment a child may see. Everything else (PGHOST, LD_PRELOAD, TZ …) would let a shell decide
/// what a drill does.
const INHERITED: [&str; 5] = ["PATH", "HOME", "TMPDIR", "USER", "SSH_AUTH_SOCK"];

/// The last lines of stderr that an error carries.
const STDERR_LINES: usize = 20;
/// A longer line is cut: stderr is for people.
const STDERR_LINE_BYTES: usize = 2_000;
/// More output than this belongs into a stream.
const OUTPUT_LIMIT: u64 = 64 << 20;

/// A program about to be started.
pub struct Program {
    path: PathBuf,
    command: Command,
}

impl Program {
    /// Prepares `path` with a cleared environment, no stdin and C.UTF-8 messages.
    pub fn new(path: impl AsRef<Path>) -> Self {
        let path = path.as_ref().to_owned();
        let mut command = Command::new(&path);
        command.env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.process_group(0).kill_on_drop(true);
        for name in INHERITED {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command.env("LC_ALL", "C.UTF-8").env("LANG", "C.UTF-8");
        Self { path, command }
    }

    /// Adds one argument. Never a secret: every user of the machine can read them.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    /// Adds arguments.
    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.command.args(args);
        self
    }

    /// Sets a variable.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Starts the program in a folder.
    pub fn folder(mut self, folder: impl AsRef<Path>) -> Self {
        self.command.current_dir(folder);
        self
    }

    /// Runs the program as another user, which only root may ask for.
    pub fn run_as(mut self, uid: u32, gid: u32) -> Self {
        self.command.uid(uid).gid(gid);
        self
    }

    /// Opens a pipe to the program's stdin.
    pub fn with_stdin(mut self) -> Self {
        self.command.stdin(Stdio::piped());
        self
    }

    /// Starts the program. Dropping what comes back kills its whole process group.
    pub fn start(mut self) -> Result<Running> {
        let name = self.path.file_name().unwrap_or(OsStr::new("program")).to_string_lossy().into_owned();
        let mut child = self.command.spawn().map_err(|e| {
            let kind = if e.kind() == std::io::ErrorKind::NotFound { Kind::Missing } else { Kind::Process };
            Error::new(kind, format!("could not start {name}")).on(self.path.display().to_string()).because(&e)
        })?;
        let group = child.id().map(|id| Pid::from_raw(id.cast_signed()));
        let stderr = child.stderr.take().map(|pipe| tokio::spawn(tail(BufReader::new(pipe))));
        Ok(Running { name, child, group, stderr })
    }

    /// Runs the program to its end and returns what it printed.
    pub async fn output(self) -> Result<Vec<u8>> {
        let mut running = self.start()?;
        let mut out = Vec::new();
        if let Some(stdout) = running.stdout() {
            let read = stdout.take(OUTPUT_LIMIT + 1).read_to_end(&mut out).await;
            read.map_err(|e| Error::new(Kind::Process, format!("could not read from {}", running.name)).because(&e))?;
        }
        if out.len() as u64 > OUTPUT_LIMIT {
            return Err(Error::new(Kind::Process, format!("{} printed more than 64 MiB", running.name)));
        }
        running.finish().await?;
        Ok(out)
    }
}

/// A program that runs.
pub struct Running {
    name: String,
    child: Child,
    group: Option<Pid>,
    stderr: Option<JoinHandle<String>>,
}

impl Running {
    /// Takes the pipe that the program writes to.
    pub fn stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// Takes the pipe that the program reads from.
    pub fn stdin(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    /// Returns the process id while the program runs.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Waits for the end and fails unless the status is 0. The end of its output proves nothing: a killed program ends
    /// its stream, too.
    pub async fn finish(self) -> Result<()> {
        let name = self.name.clone();
        let (status, tail) = self.ended().await?;
        if status.success() { Ok(()) } else { Err(failure(&name, status, tail)) }
    }

    /// Waits for the end and returns the status with the last lines of stderr.
    pub async fn ended(mut self) -> Result<(ExitStatus, String)> {
        drop(self.child.stdin.take());
        let status = self
            .child
            .wait()
            .await
            .map_err(|e| Error::new(Kind::Process, format!("could not wait for {}", self.name)).because(&e))?;
        // Grandchildren that still hold stderr must not hold us: the group goes first.
        self.kill_group();
        let tail = match self.stderr.take() {
            Some(task) => task.await.unwrap_or_default(),
            None => String::new(),
        };
        Ok((status, tail))
    }

    fn kill_group(&mut self) {
        if let Some(group) = self.group.take() {
            let _ = killpg(group, Signal::SIGKILL); // already gone is what we want
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill_group();
    }
}

/// Returns the error of a program that ended in another way than it should.
pub fn failure(name: &str, status: ExitStatus, tail: String) -> Error {
    let what = match (status.code(), status.signal()) {
        (Some(code), _) => format!("{name} exited with status {code}"),
        (None, Some(signal)) => format!("{name} was killed by signal {signal}"),
        (None, None) => format!("{name} ended without a status"),
    };
    let last = tail.lines().rev().find(|l| !l.trim().is_empty()).map(str::to_owned);
    let error = Error::new(Kind::Process, what).exit_code(status.code()).stderr(tail);
    match last {
        Some(line) => error.caused_by(line),
        None => error,
    }
}

/// Reads stderr to its end, so that a chatty child never blocks, and keeps the last lines.
async fn tail(mut pipe: BufReader<tokio::process::ChildStderr>) -> String {
    let mut lines: VecDeque<String> = VecDeque::new();
    let mut line = Vec::new();
    loop {
        line.clear();
        let ended = match bounded_line(&mut pipe, &mut line).await {
            Ok(more) => !more,
            Err(_) => true,
        };
        if !line.is_empty() {
            if lines.len() == STDERR_LINES {
                lines.pop_front();
            }
            let text = String::from_utf8_lossy(&line);
            lines.push_back(secret::redact(text.trim_end()).into_owned());
        }
        if ended {
            return lines.make_contiguous().join("\n");
        }
    }
}

/// Reads one line and keeps its first bytes; returns whether there may be more.
async fn bounded_line(pipe: &mut BufReader<tokio::process::ChildStderr>, line: &mut Vec<u8>) -> std::io::Result<bool> {
    loop {
        let block = pipe.fill_buf().await?;
        if block.is_empty() {
            return Ok(false);
        }
        let end = memchr::memchr(b'\n', block);
        let upto = end.map_or(block.len(), |i| i + 1);
        let room = STDERR_LINE_BYTES.saturating_sub(line.len());
        line.extend_from_slice(&block[..upto.min(room)]);
        pipe.consume(upto);
        if end.is_some() {
            return Ok(true);
        }
    }
}

/// Finds a program by name on PATH, then in `folders`.
pub fn find(name: &str, folders: &[PathBuf]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_else(|| OsString::from("/usr/bin:/bin"));
    std::env::split_paths(&path)
        .filter(|folder| folder.is_absolute()) // a relative entry would run whatever lies in the work folder
        .chain(folders.iter().cloned())
        .map(|folder| folder.join(name))
        .find(|file| is_executable(file))
}

fn is_executable(file: &Path) -> bool {
    nix::unistd::access(file, nix::unistd::AccessFlags::X_OK).is_ok() && file.is_file()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_failure_carries_status_and_stderr() {
        let error = Program::new("/bin/sh")
            .args(["-c", "echo first >&2; echo 'no such table' >&2; exit 3"])
            .output()
            .await
            .unwrap_err();
        assert_eq!(error.child_exit_code(), Some(3));
        assert_eq!(error.to_string(), "sh exited with status 3: no such table");
        assert_eq!(error.stderr_tail(), Some("first\nno such table"));
    }

    #[tokio::test]
    async fn a_killed_child_failed() {
        let error = Program::new("/bin/sh").args(["-c", "kill -9 $$"]).output().await.unwrap_err();
        assert_eq!(error.to_string(), "sh was killed by signal 9");
    }

    #[tokio::test]
    async fn a_flood_on_stderr_neither_blocks_nor_grows() {
        let flood = "head -c 5000000 /dev/zero | tr '\\0' 'x' >&2; echo >&2; echo done";
        let out = Program::new("/bin/sh").args(["-c", flood]).output().await.unwrap();
        assert_eq!(out, b"done\n");
    }

    #[tokio::test]
    async fn the_environment_is_ours_to_give() {
        let out = Program::new("/usr/bin/env").env("GIVEN", "yes").output().await.unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("GIVEN=yes") && text.contains("LC_ALL=C.UTF-8"), "{text}");
        assert!(!text.contains("CARGO_"), "{text}");
    }

    #[tokio::test]
    async fn dropping_a_running_program_kills_its_children_too() {
        let mut running = Program::new("/bin/sh").args(["-c", "sleep 600 & echo $!; wait"]).start().unwrap();
        let mut pid = String::new();
        BufReader::new(running.stdout().unwrap()).read_line(&mut pid).await.unwrap();
        let pid = Pid::from_raw(pid.trim().parse().unwrap());
        drop(running);
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while alive(pid) {
            assert!(std::time::Instant::now() < deadline, "the grandchild still runs");
            tokio::task::yield_now().await;
        }
    }

    /// A zombie has ended: who reaps it is not ours to say.
    fn alive(pid: Pid) -> bool {
        std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
    }
}
