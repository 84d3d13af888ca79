//! Programs inside a container: their output as a stream, their status at the end, and their death when we are gone.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bollard::container::LogOutput;
use bollard::errors::Error as ApiError;
use bollard::exec::{StartExecOptions, StartExecResults};
use bollard::models::{ExecConfig, ExecInspectResponse};
use futures_util::{Stream, StreamExt};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use super::engine::{failed, is_absent};
use super::{Container, Engine};
use crate::cleanup::{Ledger, Record, Ticket};
use crate::error::{Error, Kind, Result};
use crate::secret;

const KIND: &str = "process";
/// Every process of ours carries its mark in its environment, children included, so that all of them can be found.
const MARK: &str = "RUNNER_EXEC";
const POLL: Duration = Duration::from_millis(20);
const START_LIMIT: Duration = Duration::from_secs(30);
const END_LIMIT: Duration = Duration::from_secs(30);
const KILL_LIMIT: Duration = Duration::from_secs(20);
const BLOCK: usize = 256 << 10;
const STDERR_BYTES: usize = 8 << 10;
const OUTPUT_LIMIT: u64 = 16 << 20;

/// What the standard input of a program inside a container is written to; its shutdown is the program's end of file.
pub type ExecStdin = Pin<Box<dyn AsyncWrite + Send>>;

/// A program about to be run inside a container.
pub struct Exec {
    container: Container,
    argv: Vec<String>,
    env: Vec<(String, String)>,
    user: Option<String>,
    stdin: bool,
}

impl Exec {
    pub(super) fn new(container: &Container, argv: Vec<String>) -> Self {
        Self { container: container.clone(), argv, env: Vec::new(), user: None, stdin: false }
    }

    /// Sets a variable. Never a secret: whoever may inspect the container can read it.
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Runs as this user instead of the image's.
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.user = Some(user.into());
        self
    }

    /// Opens a pipe to the program's stdin, which is also the way for a secret.
    pub fn with_stdin(mut self) -> Self {
        self.stdin = true;
        self
    }

    /// Starts the program. It is journaled as a `process`: killing the connection alone would leave it running.
    pub async fn start(self, ledger: &Arc<Ledger>) -> Result<ExecRunning> {
        let (container, program) = (self.container.clone(), self.argv.first().cloned().unwrap_or_default());
        container.inspect_running().await?;
        let mark = next_mark(ledger.run());
        // An exec that is only created runs nothing, so its id can be journaled before anything is there.
        let exec = self.create(&mark).await?;
        let ours = Process { container: container.clone(), exec, user: self.user.clone(), mark };
        let record = ours.record(&program);
        let (make, undo) = (ours.clone(), ours.clone());
        let (attached, ticket) =
            ledger.make(record, async move { make.start().await }, move || async move { undo.kill().await }).await?;
        let tail = Tail::default();
        let StartExecResults::Attached { output, input } = attached else {
            return Err(Error::new(Kind::Bug, "the Engine detached a program that was to be attached"));
        };
        let stdout = ExecStdout { frames: output, block: Vec::new(), at: 0, tail: tail.clone(), ended: false };
        let stdin = self.stdin.then_some(input);
        Ok(ExecRunning { process: ours, program, stdout: Some(stdout), stdin, tail, ticket })
    }

    /// Runs the program to its end and returns what it printed.
    pub async fn output(self, ledger: &Arc<Ledger>) -> Result<Vec<u8>> {
        let mut running = self.start(ledger).await?;
        let mut out = Vec::new();
        if let Some(stdout) = running.stdout() {
            let read = stdout.take(OUTPUT_LIMIT + 1).read_to_end(&mut out).await;
            read.map_err(|e| Error::new(Kind::Docker, format!("could not read from {}", running.program)).because(&e))?;
        }
        if out.len() as u64 > OUTPUT_LIMIT {
            return Err(Error::new(Kind::Process, format!("{} printed more than 16 MiB", running.program)));
        }
        running.finish().await?;
        Ok(out)
    }

    async fn create(&self, mark: &str) -> Result<String> {
        let mut env: Vec<String> = self.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
        env.push(format!("{MARK}={mark}"));
        let config = ExecConfig {
            attach_stdin: Some(self.stdin),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            env: Some(env),
            cmd: Some(self.argv.clone()),
            user: self.user.clone(),
            ..ExecConfig::default()
        };
        let made = self.container.engine().api().await?.create_exec(self.container.id(), config).await;
        let name = self.container.name();
        Ok(made.map_err(|e| failed(format!("could not run a program in container {name}"), &e).on(name))?.id)
    }
}

/// A program that runs inside a container.
pub struct ExecRunning {
    process: Process,
    program: String,
    stdout: Option<ExecStdout>,
    stdin: Option<ExecStdin>,
    tail: Tail,
    ticket: Ticket,
}

impl ExecRunning {
    /// Takes the stream that the program writes to.
    pub fn stdout(&mut self) -> Option<ExecStdout> {
        self.stdout.take()
    }

    /// Takes the stream that the program reads from.
    pub fn stdin(&mut self) -> Option<ExecStdin> {
        self.stdin.take()
    }

    /// Waits for the end and fails unless the Engine says that the program ended with status 0. The end of the stream
    /// proves nothing: it is the same when the Engine goes away.
    pub async fn finish(mut self) -> Result<()> {
        drop(self.stdin.take());
        if let Some(stdout) = self.stdout.take() {
            stdout
                .skip()
                .await
                .map_err(|e| Error::new(Kind::Docker, "could not read from the container").because(&e))?;
        }
        let status = self.process.ended().await;
        self.ticket.remove().await?;
        match status? {
            0 => Ok(()),
            status => Err(failure(&self.program, self.process.container.name(), status, self.tail.text())),
        }
    }
}

fn failure(program: &str, container: &str, status: i64, tail: String) -> Error {
    let what = match status {
        126 | 127 if tail.is_empty() => format!("{program} could not be run in container {container}"),
        129..=192 => format!("{program} in container {container} was killed by signal {}", status - 128),
        _ => format!("{program} in container {container} exited with status {status}"),
    };
    let last = tail.lines().rev().find(|line| !line.trim().is_empty()).map(str::to_owned);
    let error = Error::new(Kind::Process, what).on(container).exit_code(i32::try_from(status).ok()).stderr(tail);
    match last {
        Some(line) => error.caused_by(line),
        None => error,
    }
}

/// The program as the Engine and its container know it.
#[derive(Clone)]
struct Process {
    container: Container,
    exec: String,
    user: Option<String>,
    mark: String,
}

impl Process {
    fn record(&self, program: &str) -> Record {
        let name = self.container.name();
        let by_hand = format!("docker exec {name} pkill -x {program}");
        let record = Record::new(KIND, format!("{program} in container {name}"), by_hand)
            .fact("container", self.container.id())
            .fact("container_name", name)
            .fact("exec", &*self.exec)
            .fact("mark", &*self.mark);
        match &self.user {
            Some(user) => record.fact("user", &**user),
            None => record,
        }
    }

    /// Starts the program and waits until the Engine says that it did: the answer to the call comes earlier.
    async fn start(self) -> Result<StartExecResults> {
        let what = || format!("could not run a program in container {}", self.container.name());
        let options = StartExecOptions { output_capacity: Some(BLOCK), ..StartExecOptions::default() };
        let api = self.container.engine().api().await?;
        let attached = api.start_exec(&self.exec, Some(options)).await.map_err(|e| failed(what(), &e))?;
        self.until(START_LIMIT, |seen| seen.pid.unwrap_or(0) != 0 || seen.exit_code.is_some()).await?;
        Ok(attached)
    }

    /// Returns the status of a program whose streams have ended.
    async fn ended(&self) -> Result<i64> {
        let seen = self.until(END_LIMIT, |seen| seen.running == Some(false) && seen.exit_code.is_some()).await?;
        seen.and_then(|seen| seen.exit_code).ok_or_else(|| {
            let name = self.container.name();
            Error::new(Kind::Docker, format!("container {name} went away while a program ran in it")).on(name)
        })
    }

    /// Kills the program and its children. That they, or the whole container, are gone already is fine.
    async fn kill(self) -> Result<()> {
        match self.inspect().await? {
            Some(seen) if seen.running == Some(true) => {}
            _ => return Ok(()),
        }
        // The program may be forking just now: what the first sweep missed, the next one finds.
        let deadline = Instant::now() + KILL_LIMIT;
        loop {
            self.sweep().await?;
            match self.inspect().await? {
                Some(seen) if seen.running == Some(true) && Instant::now() < deadline => {}
                Some(seen) if seen.running == Some(true) => {
                    return Err(
                        Error::new(Kind::Docker, "a program still runs after SIGKILL").on(self.container.name())
                    );
                }
                _ => return Ok(()),
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Sends SIGKILL to every process of this container that carries our mark. It runs as the program's own user:
    /// even root may not read another user's environment in there.
    async fn sweep(&self) -> Result<()> {
        const SCRIPT: &str = "for p in /proc/[0-9]*; do grep -qs \"$0\" $p/environ && kill -9 ${p#/proc/}; done; true";
        let config = ExecConfig {
            cmd: Some(["/bin/sh", "-c", SCRIPT, &format!("{MARK}={}", self.mark)].map(str::to_owned).into()),
            user: self.user.clone(),
            ..ExecConfig::default()
        };
        let api = self.container.engine().api().await?;
        let what = || format!("could not kill a program in container {}", self.container.name());
        let made = match api.create_exec(self.container.id(), config).await {
            Ok(made) => made,
            Err(e) if is_absent(&e) || super::engine::status(&e) == Some(409) => return Ok(()), // it took its processes along
            Err(e) => return Err(failed(what(), &e)),
        };
        let options = StartExecOptions { detach: true, ..StartExecOptions::default() };
        api.start_exec(&made.id, Some(options)).await.map_err(|e| failed(what(), &e))?;
        let sweeper = Process { exec: made.id, ..self.clone() };
        sweeper.until(KILL_LIMIT, |seen| seen.running == Some(false) && seen.exit_code.is_some()).await?;
        Ok(())
    }

    /// Asks until `done`; nothing when the Engine forgot the program, which it does once that has ended.
    async fn until(
        &self,
        limit: Duration,
        done: impl Fn(&ExecInspectResponse) -> bool,
    ) -> Result<Option<ExecInspectResponse>> {
        let deadline = Instant::now() + limit;
        loop {
            match self.inspect().await? {
                Some(seen) if done(&seen) => return Ok(Some(seen)),
                Some(_) if Instant::now() < deadline => tokio::time::sleep(POLL).await,
                Some(_) => {
                    let sentence = format!("a program in container {} hangs", self.container.name());
                    return Err(Error::new(Kind::Timeout, sentence).on(self.container.name()));
                }
                None => return Ok(None),
            }
        }
    }

    async fn inspect(&self) -> Result<Option<ExecInspectResponse>> {
        match self.container.engine().api().await?.inspect_exec(&self.exec).await {
            Ok(seen) => Ok(Some(seen)),
            Err(e) if is_absent(&e) => Ok(None),
            Err(e) => Err(failed(format!("could not ask for a program in container {}", self.container.name()), &e)),
        }
    }
}

/// Kills what a dead run left running inside a container.
pub async fn collect_process(engine: &Engine, record: &Record) -> Result<()> {
    let fact = |name: &str| record.facts.get(name).and_then(|fact| fact.as_str()).map(str::to_owned);
    let (Some(id), Some(exec), Some(mark)) = (fact("container"), fact("exec"), fact("mark")) else {
        return Err(Error::new(Kind::Damaged, format!("the journal does not say where {} is", record.name)));
    };
    let container = Container::new(engine, id, fact("container_name").unwrap_or_default());
    Process { container, exec, user: fact("user"), mark }.kill().await
}

fn next_mark(run: &str) -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(1);
    // The end sign keeps mark 1 from matching mark 10.
    format!("{run}.{}.{}.", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// What a program inside a container prints. Its stderr is kept aside as it passes.
pub struct ExecStdout {
    frames: Pin<Box<dyn Stream<Item = std::result::Result<LogOutput, ApiError>> + Send>>,
    block: Vec<u8>,
    at: usize,
    tail: Tail,
    ended: bool,
}

impl ExecStdout {
    async fn skip(mut self) -> io::Result<()> {
        tokio::io::copy(&mut self, &mut tokio::io::sink()).await.map(|_| ())
    }

    /// Returns whether there is something to read.
    fn poll_block(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        while self.at == self.block.len() {
            if self.ended {
                return Poll::Ready(Ok(false));
            }
            match ready!(self.frames.poll_next_unpin(cx)) {
                Some(Ok(LogOutput::StdOut { message })) => (self.block, self.at) = (message.into(), 0),
                Some(Ok(LogOutput::StdErr { message })) => self.tail.take(&message),
                // Without a terminal every piece is framed: this is what is left of a frame that was cut.
                Some(Ok(_)) => return Poll::Ready(Err(io::Error::other("the Engine's stream ended inside a frame"))),
                Some(Err(e)) => return Poll::Ready(Err(io::Error::other(e))),
                None => self.ended = true,
            }
        }
        Poll::Ready(Ok(true))
    }
}

impl AsyncRead for ExecStdout {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if ready!(self.poll_block(cx))? {
            let upto = (self.at + into.remaining()).min(self.block.len());
            into.put_slice(&self.block[self.at..upto]);
            self.at = upto;
        }
        Poll::Ready(Ok(()))
    }
}

/// The end of what a program wrote to stderr.
#[derive(Clone, Default)]
struct Tail(Arc<Mutex<VecDeque<u8>>>);

impl Tail {
    fn take(&self, bytes: &[u8]) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend(&bytes[bytes.len().saturating_sub(STDERR_BYTES)..]);
        let over = kept.len().saturating_sub(STDERR_BYTES);
        kept.drain(..over);
    }

    fn text(&self) -> String {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let text = String::from_utf8_lossy(kept.make_contiguous()).into_owned();
        secret::redact(text.trim_end()).into_owned()
    }
}
