//! Runs pg_dump, here or in the server's container, with nothing of the shell's settings, and hands out its stream.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::sync::Arc;

use nix::fcntl::{FcntlArg, fcntl};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::address::Address;
use super::passfile::Passfile;
use super::tools::Tool;
use crate::cleanup::Ledger;
use crate::docker::{Container, ExecRunning, ExecStdout};
use crate::error::{Error, Kind, Result};
use crate::process::{Program, Running};

/// What pg_dump does not pin itself: without these, settings of a database or role would decide how bytes and view texts
/// are written. A timeout of theirs would end pg_dump's first query before pg_dump lifts it.
const OPTIONS: &str = "-c default_transaction_read_only=on -c bytea_output=hex -c quote_all_identifiers=off \
                       -c statement_timeout=0";
/// How long pg_dump waits for a table that someone has locked.
const LOCK_WAIT: &str = "--lock-wait-timeout=60s";
/// A larger pipe means fewer switches between pg_dump and us.
const PIPE: i32 = 1 << 20;
const BLOCK: usize = 256 << 10;
/// Blocks that wait between a container's stream and the reader.
const WAITING: usize = 4;

/// What pg_dump is to write.
#[derive(Clone)]
pub(super) struct Order {
    /// `plain` or `custom`.
    pub(super) format: &'static str,
    /// The exported snapshot.
    pub(super) snapshot: String,
    /// Patterns that name tables exactly; none for the whole database.
    pub(super) tables: Vec<String>,
    /// Whether it writes definitions, rows, or both.
    pub(super) content: Content,
    /// The port that the server itself knows; from outside a container it may have another.
    pub(super) port: u16,
}

/// What of the wanted tables pg_dump is to write.
#[derive(Clone)]
pub(super) enum Content {
    /// Definitions and rows.
    Whole,
    /// Rows alone.
    Rows,
    /// Definitions, and all rows but those of the tables that these patterns name exactly.
    Without(Vec<String>),
}

/// A pg_dump that runs. Dropping it kills it.
pub(super) enum PgDump {
    Here { running: Box<Running>, _passfile: Option<Passfile> },
    Inside { running: Box<ExecRunning>, _pump: Pump },
}

impl PgDump {
    /// Starts it and returns it with its stream, to be read by a thread.
    pub(super) async fn start(
        tool: &Tool,
        address: &Address,
        order: &Order,
        ledger: &Arc<Ledger>,
    ) -> Result<(Self, Box<dyn Read + Send>)> {
        match tool {
            Tool::Here { path, .. } => here(path, address, order),
            Tool::Inside { container, .. } => inside(container, address, order, ledger).await,
        }
    }

    /// Waits for its end and fails unless it was successful.
    pub(super) async fn finish(self) -> Result<()> {
        match self {
            Self::Here { running, .. } => running.finish().await,
            Self::Inside { running, .. } => running.finish().await,
        }
    }
}

fn args(conninfo: &str, order: &Order) -> Vec<String> {
    let mut args = vec![
        format!("--format={}", order.format),
        "--encoding=UTF8".into(),
        "--no-password".into(),
        LOCK_WAIT.into(),
        format!("--snapshot={}", order.snapshot),
        format!("--dbname={conninfo}"),
    ];
    match &order.content {
        Content::Whole => {}
        Content::Rows => args.push("--data-only".into()),
        Content::Without(tables) => args.extend(tables.iter().map(|table| format!("--exclude-table-data={table}"))),
    }
    args.extend(order.tables.iter().map(|table| format!("--table={table}")));
    args
}

fn here(path: &std::path::Path, address: &Address, order: &Order) -> Result<(PgDump, Box<dyn Read + Send>)> {
    let passfile = address.password().map(Passfile::write).transpose()?;
    let conninfo = format!("{} connect_timeout='10' keepalives_idle='30' tcp_user_timeout='60000'", address.conninfo());
    let mut program = Program::new(path).args(args(&conninfo, order)).env("PGTZ", "UTC").env("PGOPTIONS", OPTIONS);
    if let Some(passfile) = &passfile {
        program = program.env("PGPASSFILE", passfile.path());
    }
    let mut running = program.start()?;
    let broken = |e: &io::Error| Error::new(Kind::Process, "could not read from pg_dump").because(e);
    let stdout = running.stdout().ok_or_else(|| Error::new(Kind::Bug, "pg_dump has no output"))?;
    let stdout = File::from(stdout.into_owned_fd().map_err(|e| broken(&e))?);
    let _ = fcntl(stdout.as_fd(), FcntlArg::F_SETPIPE_SZ(PIPE)); // a small pipe only is slower
    Ok((PgDump::Here { running: Box::new(running), _passfile: passfile }, Box::new(stdout)))
}

/// In the container the server is reached by its own socket. A password goes through stdin: the Engine shows arguments and
/// variables to whoever may inspect.
async fn inside(
    container: &Container,
    address: &Address,
    order: &Order,
    ledger: &Arc<Ledger>,
) -> Result<(PgDump, Box<dyn Read + Send>)> {
    let quote = |value: &str| value.replace('\\', "\\\\").replace('\'', "\\'");
    let conninfo =
        format!("user='{}' dbname='{}' port='{}'", quote(address.user()), quote(address.database()), order.port);
    let mut argv = vec!["pg_dump".to_owned()];
    if address.password().is_some() {
        let script = "IFS= read -r PGPASSWORD && export PGPASSWORD && exec \"$@\"";
        argv.splice(0..0, ["sh", "-c", script, "sh"].map(str::to_owned));
    }
    argv.extend(args(&conninfo, order));
    let mut exec = container.exec(argv).env("PGTZ", "UTC").env("PGOPTIONS", OPTIONS).env("LC_ALL", "C.UTF-8");
    if address.password().is_some() {
        exec = exec.with_stdin();
    }
    let mut running = exec.start(ledger).await?;
    if let (Some(mut stdin), Some(password)) = (running.stdin(), address.password()) {
        let line = format!("{}\n", password.expose());
        let told = async {
            stdin.write_all(line.as_bytes()).await?;
            stdin.shutdown().await
        };
        told.await.map_err(|e| Error::new(Kind::Docker, "could not hand pg_dump its password").because(&e))?;
    }
    let stdout = running.stdout().ok_or_else(|| Error::new(Kind::Bug, "pg_dump has no output"))?;
    let (sender, receiver) = mpsc::channel(WAITING);
    let pump = Pump(tokio::spawn(pump(stdout, sender)));
    Ok((
        PgDump::Inside { running: Box::new(running), _pump: pump },
        Box::new(Pumped { receiver, block: Vec::new(), at: 0 }),
    ))
}

/// The task that carries an asynchronous stream to a thread; it ends when this is dropped.
pub(super) struct Pump(JoinHandle<()>);

impl Drop for Pump {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn pump(mut stream: ExecStdout, to: mpsc::Sender<io::Result<Vec<u8>>>) {
    loop {
        let mut block = Vec::with_capacity(BLOCK);
        let read = stream.read_buf(&mut block).await;
        let last = !matches!(read, Ok(n) if n > 0);
        let sent = to.send(read.map(|_| block)).await;
        if last || sent.is_err() {
            return;
        }
    }
}

/// The thread's end of it.
struct Pumped {
    receiver: mpsc::Receiver<io::Result<Vec<u8>>>,
    block: Vec<u8>,
    at: usize,
}

impl Read for Pumped {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.block.len() {
            self.block = self.receiver.blocking_recv().unwrap_or(Ok(Vec::new()))?;
            self.at = 0;
        }
        let n = buffer.len().min(self.block.len() - self.at);
        buffer[..n].copy_from_slice(&self.block[self.at..self.at + n]);
        self.at += n;
        Ok(n)
    }
}
