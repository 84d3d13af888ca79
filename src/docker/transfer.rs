//! Transfers: long streams between the Engine and a thread that packs or unpacks them, in bounded memory.

use std::io::{self, Read};
use std::pin::pin;
use std::time::Duration;

use bollard::Docker;
use bollard::errors::Error as ApiError;
use futures_util::{Stream, StreamExt};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::bytes::{Buf, Bytes};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::Engine;
use crate::error::{Error, Kind, Result};
use crate::progress::Progress;

/// A volume takes as long as it takes; an Engine that hangs is ended by the run's own deadlines.
const TRANSFER_LIMIT: Duration = Duration::from_secs(7 * 24 * 3600);
/// Blocks under way between the Engine and the thread that packs or unpacks.
const BLOCKS: usize = 8;

/// Returns a client that waits for as long as a transfer may take.
pub(super) async fn patient(engine: &Engine) -> Result<Docker> {
    Ok(engine.api().await?.clone().with_timeout(TRANSFER_LIMIT))
}

/// Gives a stream of the Engine to `work`, which runs on a thread of its own.
pub(super) async fn receive<T: Send + 'static>(
    stream: impl Stream<Item = Result<Bytes, ApiError>>,
    failed: impl Fn(&ApiError) -> Error,
    progress: &Progress,
    work: impl FnOnce(Incoming, &CancellationToken) -> Result<T> + Send + 'static,
) -> Result<T> {
    let mut stream = pin!(stream);
    let (give, blocks) = mpsc::channel(BLOCKS);
    let cancel = CancellationToken::new();
    let ends_with_us = cancel.clone().drop_guard();
    let incoming = Incoming { blocks, block: Bytes::new(), ended: false };
    let working = tokio::spawn(on_thread(move || work(incoming, &cancel)));
    let mut broken = None;
    loop {
        let piece = match stream.next().await {
            Some(Ok(block)) => {
                progress.add_later(block.len() as u64).await;
                Some(block)
            }
            Some(Err(e)) => {
                broken = Some(failed(&e));
                break;
            }
            None => None,
        };
        let ended = piece.is_none();
        // A worker that is gone has said why.
        if give.send(piece).await.is_err() || ended {
            break;
        }
    }
    drop(give);
    let done = working.await.map_err(|e| Error::new(Kind::Bug, "reading a stream panicked").because(&e))?;
    drop(ends_with_us);
    match broken {
        Some(error) => Err(error),
        None => done,
    }
}

/// The stream on its way to a thread. It is whole when `None` came; a channel that just closes was given up.
pub(super) struct Incoming {
    blocks: mpsc::Receiver<Option<Bytes>>,
    block: Bytes,
    ended: bool,
}

impl Read for Incoming {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.block.is_empty() && !self.ended {
            match self.blocks.blocking_recv() {
                Some(Some(block)) => self.block = block,
                Some(None) => self.ended = true,
                None => {
                    return Err(io::Error::other(Error::new(Kind::Interrupted, "reading a stream was interrupted")));
                }
            }
        }
        let n = into.len().min(self.block.len());
        self.block.copy_to_slice(&mut into[..n]);
        Ok(n)
    }
}

/// The thread that makes a stream.
pub(super) struct Sent {
    thread: JoinHandle<Result<()>>,
    _ends_with_us: DropGuard,
}

/// Makes a stream for the Engine on a thread of its own: `work` gives its blocks away one by one.
pub(super) fn send(
    work: impl FnOnce(&mut dyn FnMut(&[u8]) -> Result<()>, &CancellationToken) -> Result<()> + Send + 'static,
) -> (impl Stream<Item = io::Result<Bytes>> + Send + 'static, Sent) {
    let (give, mut blocks) = mpsc::channel::<io::Result<Bytes>>(BLOCKS);
    let cancel = CancellationToken::new();
    let ends_with_us = cancel.clone().drop_guard();
    let thread = tokio::spawn(on_thread(move || {
        let mut take = |block: &[u8]| {
            let gone = |_| Error::new(Kind::Interrupted, "the Engine stopped taking the stream");
            give.blocking_send(Ok(Bytes::copy_from_slice(block))).map_err(gone)
        };
        let sent = work(&mut take, &cancel);
        if let Err(error) = &sent {
            // An error in its body ends the request: the Engine must not take a half stream for a whole one.
            let _ = give.blocking_send(Err(io::Error::other(error.to_string())));
        }
        sent
    }));
    let stream = futures_util::stream::poll_fn(move |context| blocks.poll_recv(context));
    (stream, Sent { thread, _ends_with_us: ends_with_us })
}

impl Sent {
    /// Waits for the thread and says how the transfer ended, given the Engine's answer to the request.
    pub(super) async fn end(self, answer: Result<(), ApiError>, failed: impl FnOnce(&ApiError) -> Error) -> Result<()> {
        let sent = self.thread.await.map_err(|e| Error::new(Kind::Bug, "making a stream panicked").because(&e))?;
        match (answer, sent) {
            (Ok(()), sent) => sent,
            (Err(_), Err(error)) if error.kind() != Kind::Interrupted => Err(error),
            (Err(e), _) => Err(failed(&e)),
        }
    }
}

/// Does blocking work on a thread.
pub(super) async fn on_thread<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|e| Error::new(Kind::Bug, "work on a thread panicked").because(&e))?
}
