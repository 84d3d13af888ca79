//! One reading of a database: a snapshot, pg_dump in it, and the pass over its text that gives rows and objects.

use std::collections::BTreeSet;
use std::io::Read;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};

use futures_util::future::try_join_all;
use jiff::Timestamp;

use super::address::Address;
use super::catalog;
use super::mask::{self, Mask, Masking};
use super::matviews;
use super::pg_dump::{Content, Order, PgDump};
use super::pipeline::{Failed, Output, Passed, RowsApart, pass, pass_apart};
use super::selection::{self, Selected};
use super::server_sums::{self, ServerSums};
use super::snapshot::Snapshot;
use super::stored::{self, Stored};
use super::streams::{self, Shares};
use super::tools::{self, Tool};
use crate::backups::Source;
use crate::cleanup::Ledger;
use crate::compare::{Fingerprint, Hashed};
use crate::error::{Error, Kind, Result};
use crate::progress::Progress;

/// A database about to be read at one moment.
pub struct Reading {
    address: Address,
    snapshot: Snapshot,
    tool: Tool,
    tables: Vec<Selected>,
    matviews: bool,
    ledger: Arc<Ledger>,
    passwords: bool,
}

/// What remains to be known once the text was read and the snapshot is released.
pub(super) struct Facts {
    /// Where the content came from.
    pub(super) source: Source,
    /// The moment of the snapshot.
    pub(super) taken_at: Timestamp,
    /// pg_dump's version.
    pub(super) version: String,
    /// The tables that were asked for.
    pub(super) tables: Option<Vec<String>>,
}

impl Reading {
    /// Takes a snapshot and finds a pg_dump that can read the server.
    pub(super) async fn begin(
        address: &Address,
        tables: &[String],
        matviews: bool,
        ledger: &Arc<Ledger>,
    ) -> Result<Self> {
        let snapshot = Snapshot::take(address).await?;
        let tool = tools::find("pg_dump", snapshot.identity(), address, ledger).await?;
        let tables = selection::resolve(&snapshot, tables).await.map_err(|e| e.on(address.to_string()))?;
        let (address, ledger, matviews) = (address.clone(), Arc::clone(ledger), matviews && tables.is_empty());
        Ok(Self { address, snapshot, tool, tables, matviews, ledger, passwords: false })
    }

    /// Holds a mask against the catalogue of this moment.
    pub(super) async fn masking(&self, mask: &Mask) -> Result<Masking> {
        mask::resolve(&self.snapshot, &self.address, mask, &self.tables).await
    }

    /// Tells also whether the passwords of roles are the same, which only a superuser can.
    pub(super) fn with_passwords(mut self, passwords: bool) -> Self {
        self.passwords = passwords;
        self
    }

    /// Runs pg_dump and passes its text through the pipeline. Where there are cores and tables for it, several of them write
    /// rows at the same time.
    pub(super) async fn text(
        &self,
        mut output: Option<Output>,
        jobs: Option<usize>,
        progress: &Progress,
    ) -> Result<Passed> {
        let Shares { workers, apart } = self.shares(output.is_some(), jobs).await?;
        let (mut coming, mut others) = (Vec::new(), Vec::new());
        for tables in &apart {
            let (give, take) = sync_channel(1);
            let names = tables.iter().map(|table| table.name.clone()).collect();
            let output = output.as_mut().map(|output| output.apart(&names)).transpose()?;
            coming.push(take);
            others.push(self.rows_apart(tables, names, output, workers, progress.clone(), give));
        }
        let without: Vec<String> = apart.iter().flatten().map(|table| table.pattern.clone()).collect();
        let content = if without.is_empty() { Content::Whole } else { Content::Without(without) };
        let first = async {
            let (pg_dump, stream) = self.start(Order { content, ..self.order("plain") }).await?;
            let progress = progress.clone();
            let passed = blocking(move || pass(stream, output, coming, workers, &progress)).await?;
            self.ended(pg_dump, passed).await
        };
        // Where one fails, the others end with it: their pg_dumps are killed, and their texts end.
        let (passed, _) = tokio::try_join!(first, try_join_all(others))?;
        stored::all_defined(apart.iter().flatten(), &passed.print).map_err(|e| e.on(self.address.to_string()))?;
        Ok(passed)
    }

    /// A selection of tables is seldom large, and all of it is one pg_dump's.
    async fn shares(&self, packs: bool, jobs: Option<usize>) -> Result<Shares> {
        let threads = streams::threads(jobs);
        let most = streams::most(threads, packs);
        if !self.tables.is_empty() || most == 1 {
            return Ok(Shares::new(Vec::new(), threads, most));
        }
        let mut tables = stored::list(&self.snapshot).await?;
        tables.retain(|table| !table.child);
        Ok(Shares::new(tables, threads, most))
    }

    /// Runs pg_dump for the rows of some tables, and gives them to the pass over the text of the first.
    async fn rows_apart(
        &self,
        tables: &[Stored],
        names: BTreeSet<String>,
        output: Option<Output>,
        workers: usize,
        progress: Progress,
        give: SyncSender<RowsApart>,
    ) -> Result<()> {
        let patterns = tables.iter().map(|table| table.pattern.clone()).collect();
        let order = Order { tables: patterns, content: Content::Rows, ..self.order("plain") };
        let (pg_dump, stream) = self.start(order).await?;
        let passed = blocking(move || pass_apart(stream, output, names, workers, &progress)).await?;
        let rows = self.ended(pg_dump, passed).await?;
        let _ = give.send(rows); // nobody takes them only where the first has failed
        Ok(())
    }

    /// Lets the server sum the rows that it can.
    pub(super) async fn server_sums(&self) -> Result<ServerSums> {
        server_sums::read(&self.snapshot, &self.tables).await
    }

    /// Runs pg_dump for all that the server did not sum, and puts both together.
    pub(super) async fn rest(&self, sums: ServerSums, progress: &Progress) -> Result<(Passed, Hashed)> {
        let order = Order { content: Content::Without(sums.patterns()), ..self.order("plain") };
        let (pg_dump, stream) = self.start(order).await?;
        let progress = progress.clone();
        let passed = blocking(move || pass(stream, None, Vec::new(), streams::threads(None), &progress)).await?;
        let mut passed = self.ended(pg_dump, passed).await?;
        let hashed = sums.join(&mut passed.print).map_err(|e| e.on(self.address.to_string()))?;
        Ok((passed, hashed))
    }

    /// Runs pg_dump for its own archive and gives the stream to `take`, which reads it to its end.
    pub(super) async fn archive<T: Send + 'static>(
        &self,
        take: impl FnOnce(Box<dyn Read + Send>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (pg_dump, stream) = self.start(self.order("custom")).await?;
        let taken = blocking(move || take(stream)).await?;
        self.ended(pg_dump, taken.map_err(|error| Failed { error, input_ended: false })).await
    }

    /// Runs pg_dump for the rows of some tables alone and gives its text to `take`, which reads it to its end.
    pub(super) async fn rows<T: Send + 'static>(
        &self,
        tables: &[&str],
        take: impl FnOnce(Box<dyn Read + Send>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let tables = tables.iter().map(|table| selection::pattern(table)).collect::<Result<_>>()?;
        let order = Order { tables, content: Content::Rows, ..self.order("plain") };
        let (pg_dump, stream) = self.start(order).await?;
        let taken = blocking(move || take(stream)).await?;
        // The reader gives up only where the text ended too early or is none of pg_dump's.
        self.ended(pg_dump, taken.map_err(|error| Failed { error, input_ended: true })).await
    }

    /// Adds what pg_dump's text leaves out: the database's properties, the roles that its objects name, and the content
    /// of materialised views.
    pub(super) async fn complete(
        &self,
        mut print: Fingerprint,
        mut roles: BTreeSet<String>,
        progress: &Progress,
    ) -> Result<Fingerprint> {
        if self.matviews {
            print.views = matviews::contents(&self.snapshot, progress).await?;
        }
        catalog::database(&self.snapshot, &mut print, &mut roles).await?;
        catalog::roles(&self.snapshot, &roles, self.passwords, &mut print).await?;
        print.items.sort();
        Ok(print)
    }

    /// Fails unless the snapshot lasted, then lets it go.
    pub(super) async fn end(self) -> Result<Facts> {
        let tables = (!self.tables.is_empty()).then(|| self.tables.iter().map(|t| t.name.clone()).collect());
        let facts = Facts {
            source: self.snapshot.source().clone(),
            taken_at: self.snapshot.taken_at(),
            version: self.tool.version().to_owned(),
            tables,
        };
        self.snapshot.release().await?;
        Ok(facts)
    }

    async fn start(&self, order: Order) -> Result<(PgDump, Box<dyn Read + Send>)> {
        PgDump::start(&self.tool, &self.address, &order, &self.ledger).await
    }

    fn order(&self, format: &'static str) -> Order {
        Order {
            format,
            snapshot: self.snapshot.id().to_owned(),
            tables: self.tables.iter().map(|t| t.pattern.clone()).collect(),
            content: Content::Whole,
            port: self.snapshot.port(),
        }
    }

    /// A text that ends too early has its reason in pg_dump's own words; a text that we gave up on has it in ours.
    async fn ended<T>(&self, pg_dump: PgDump, taken: Result<T, Failed>) -> Result<T> {
        match taken {
            Err(Failed { error, input_ended: false }) => Err(error.on(self.address.to_string())),
            taken => {
                let failed = |cause: Error| {
                    Error::new(cause.kind(), format!("could not dump {}", self.address))
                        .on(self.address.to_string())
                        .caused_by_error(cause)
                };
                pg_dump.finish().await.map_err(failed)?;
                taken.map_err(|failure| failed(failure.error))
            }
        }
    }
}

/// Runs blocking work on a thread of its own. When the caller is dropped, pg_dump dies, its stream ends, and so does this.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|e| Error::new(Kind::Bug, "reading a dump panicked").because(&e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::docker::{Container, Engine};
    use crate::postgres::{Access, Provider, Sandbox, SandboxOptions, Session};

    /// The images that tests use, in the order of preference. Integration tests make one where there is none.
    const IMAGES: [&str; 2] = ["runner-test-postgres:15", "postgres:15"];

    async fn image(engine: &Engine) -> Option<&'static str> {
        for image in IMAGES {
            if engine.has_image(image).await.is_ok_and(|there| there) {
                return Some(image);
            }
        }
        None
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_containers_own_pg_dump_reads_the_same_and_dies_with_us() {
        let engine = Engine::default();
        let Some(image) = image(&engine).await else {
            assert!(std::env::var_os("CI").is_none(), "not run: no Docker with a PostgreSQL image");
            return eprintln!("not run: no Docker with a PostgreSQL image");
        };
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().file_name().unwrap().to_str().unwrap().trim_start_matches('.').to_lowercase();
        let ledger = Ledger::create(&run, folder.path()).unwrap();
        let options = SandboxOptions { provider: Provider::Docker, image: image.into(), ..SandboxOptions::default() };
        let sandbox = Sandbox::start(&options, &engine, &ledger, &Progress::default()).await.unwrap();
        let address = sandbox.address("postgres");
        let session = Session::open(&address, Access::Writable).await.unwrap();
        let fill = "create table public.big as select g, repeat(md5(g::text), 8) t from generate_series(1, 200000) g";
        session.client().batch_execute(fill).await.unwrap();

        let mut reading = Reading::begin(&address, &[], true, &ledger).await.unwrap();
        let here = reading.text(None, None, &Progress::default()).await.unwrap().print;
        let container = Container::find(&engine, address.container().unwrap()).await.unwrap();
        reading.tool = Tool::Inside { container: container.clone(), version: "15".into() };
        let inside = reading.text(None, None, &Progress::default()).await.unwrap().print;
        assert_eq!(here, inside);
        assert_eq!(inside.tables["public.big"].rows, 200_000);

        // The Engine's stream is dropped half way: the process inside is the ledger's to end.
        let progress = Progress::default();
        let begun = async {
            while progress.done() < 1 << 20 {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            _ = reading.text(None, None, &progress) => panic!("it was too quick"),
            () = begun => {}
        }
        drop(reading);
        assert!(ledger.remaining().iter().any(|record| record.kind == "process"), "the process is journaled");
        let left = ledger.drain().await;
        assert!(left.is_empty(), "{left:?}");
    }
}
