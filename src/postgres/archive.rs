//! pg_dump's own archives: pg_restore turns them into text, and our readers take it from there.
//!
//! So an archive is read whole before the target is touched, and pg_restore never gets a connection to anything.

use std::io::Read;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio_util::io::SyncIoBridge;

use crate::cleanup::Ledger;
use crate::docker::{Container, ExecRunning};
use crate::error::{Error, Kind, Result};
use crate::postgres::dump_file::{DumpFile, Sums, Text};
use crate::postgres::tools;
use crate::process::{self, Program, Running};

const BLOCK: usize = 256 << 10;

/// pg_restore at work on an archive.
pub(super) struct Unpacking {
    program: Started,
    stdin: Box<dyn AsyncWrite + Send + Unpin>,
    file: DumpFile,
}

enum Started {
    Here(Running),
    Inside(ExecRunning),
}

impl Unpacking {
    /// Starts pg_restore, inside the container where there is one, and returns its text.
    pub(super) async fn start(
        file: &DumpFile,
        container: Option<&Container>,
        ledger: &Arc<Ledger>,
    ) -> Result<(Self, Text)> {
        let Some(container) = container else { return Self::start_here(file) };
        let (program, stdin, stdout) = inside(container, ledger).await?;
        let text = Box::new(SyncIoBridge::new(stdout));
        Ok((Self { program, stdin, file: file.clone() }, text))
    }

    /// Starts the pg_restore of this machine and returns its text.
    pub(super) fn start_here(file: &DumpFile) -> Result<(Self, Text)> {
        let (program, stdin, stdout) = here()?;
        let text = Box::new(SyncIoBridge::new(stdout));
        Ok((Self { program, stdin, file: file.clone() }, text))
    }

    /// Feeds the archive in and waits for the end of pg_restore. Returns the digest of the file.
    pub(super) async fn finish(mut self) -> Result<String> {
        let (bytes, sums) = self.file.packed();
        let (send, mut blocks) = mpsc::channel::<std::io::Result<Vec<u8>>>(2);
        let reading = tokio::task::spawn_blocking(move || read(bytes, &send));
        while let Some(block) = blocks.recv().await {
            let block = block.map_err(|e| Error::io("read", self.file.path(), &e))?;
            // A program that reads no more says why by its status.
            if self.stdin.write_all(&block).await.is_err() {
                break;
            }
        }
        let _ = self.stdin.shutdown().await; // the same
        drop(self.stdin);
        let ended = match self.program {
            Started::Here(program) => program.finish().await,
            Started::Inside(program) => program.finish().await,
        };
        ended.map_err(|e| unreadable(&self.file, e))?;
        // What pg_restore did not ask for belongs to the file's digest all the same.
        while let Some(block) = blocks.recv().await {
            block.map_err(|e| Error::io("read", self.file.path(), &e))?;
        }
        reading.await.map_err(|e| Error::new(Kind::Bug, "reading an archive panicked").because(&e))?;
        Ok(Sums::whole(&sums))
    }
}

fn read(mut bytes: impl Read, send: &mpsc::Sender<std::io::Result<Vec<u8>>>) {
    loop {
        let mut block = vec![0; BLOCK];
        let read = bytes.read(&mut block).map(|length| {
            block.truncate(length);
            block
        });
        let last = read.as_ref().map_or(true, Vec::is_empty);
        if send.blocking_send(read).is_err() || last {
            return;
        }
    }
}

type Pipes = (Started, Box<dyn AsyncWrite + Send + Unpin>, Box<dyn AsyncRead + Send + Unpin>);

async fn inside(container: &Container, ledger: &Arc<Ledger>) -> Result<Pipes> {
    let mut program = container.exec(["pg_restore", "-f", "-"]).with_stdin().start(ledger).await?;
    let (Some(stdin), Some(stdout)) = (program.stdin(), program.stdout()) else { return Err(no_pipes()) };
    Ok((Started::Inside(program), Box::new(stdin), Box::new(stdout)))
}

fn here() -> Result<Pipes> {
    let found = process::find("pg_restore", &tools::folders()).ok_or_else(|| {
        Error::new(Kind::Missing, "there is no pg_restore on this machine")
            .hint("install PostgreSQL's client programs, or restore into a sandbox in Docker")
    })?;
    let mut program = Program::new(found).args(["-f", "-"]).with_stdin().start()?;
    let (Some(stdin), Some(stdout)) = (program.stdin(), program.stdout()) else { return Err(no_pipes()) };
    Ok((Started::Here(program), Box::new(stdin), Box::new(stdout)))
}

fn no_pipes() -> Error {
    Error::new(Kind::Bug, "pg_restore was started without pipes")
}

/// Says why pg_restore gave up: an archive of a later pg_dump is not damaged.
fn unreadable(file: &DumpFile, cause: Error) -> Error {
    let path = file.path().display().to_string();
    let too_new = cause.causes().iter().any(|line| line.contains("unsupported version"));
    let kind = if too_new { Kind::Missing } else { Kind::Damaged };
    let error = Error::new(kind, format!("could not read the archive {path}")).on(path).caused_by_error(cause);
    match too_new {
        true => error.hint("a later pg_dump wrote it: use a pg_restore that is not older"),
        false => error,
    }
}
