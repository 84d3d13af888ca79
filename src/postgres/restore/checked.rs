//! The first reading of a backup: it is found whole before the target is touched, and its definitions are kept.
//!
//! A file whose digest is the one in its manifest is, byte for byte, what our own dump wrote while it read and checked the
//! text. Its rows need not be unpacked to know that. Every other file is unpacked and read to its end.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::Arc;

use super::RestoreTarget;
use super::survey::{Rows, Survey};
use crate::backups::{Backup, Format, Manifest, checksum_path};
use crate::cleanup::Ledger;
use crate::error::{Error, Kind, Result};
use crate::files::checksums::read_sidecar;
use crate::postgres::archive::Unpacking;
use crate::postgres::dump_file::{self, DumpFile, Lines, Text, changed};

/// What is read at once where nothing but the digest is wanted.
const BLOCK: usize = 256 << 10;

/// What to do about a file and a manifest that do not belong together.
pub(super) const OTHER_BACKUP: &str =
    "the file or its manifest was changed after the dump: take another copy of both, or another backup";

/// A backup that was found whole.
pub(super) struct Checked {
    pub(super) file: DumpFile,
    pub(super) survey: Survey,
    /// The digest of the file.
    pub(super) digest: String,
    /// The digests of its members.
    pub(super) digests: Vec<[u8; 32]>,
    pub(super) format: Format,
}

impl Checked {
    /// Reads a backup and holds it against its checksum and its manifest.
    pub(super) async fn read(
        backup: &Backup,
        file: DumpFile,
        target: &RestoreTarget,
        ledger: &Arc<Ledger>,
    ) -> Result<Self> {
        let manifest = backup.manifest();
        if let Some(manifest) = manifest
            && let Some(checked) = as_written(&file, manifest).await?
        {
            return Ok(checked);
        }
        let format = backup.format();
        let (survey, digest, digests) = if format == Format::Custom {
            let (unpacking, text) = Unpacking::start(&file, target.container(), ledger).await?;
            let (survey, digest) = tokio::join!(survey(text, Lines::default()), unpacking.finish());
            let digest = digest?; // first: a text that was cut short is only what follows
            (survey?, digest, Vec::new())
        } else {
            let (text, sums) = file.text()?;
            let survey = survey(text, Lines::default()).await.map_err(|e| unreadable(&file, e))?;
            (survey, sums.whole(), sums.parts())
        };
        listed(&file, &digest)?;
        if let Some(manifest) = manifest {
            agree(&file, &digest, &survey, manifest)?;
        }
        Ok(Self { file, survey, digest, digests, format })
    }
}

/// Takes the file for what our dump wrote if its digest says so, and reads only its definitions. Nothing where the digest is
/// another one, or where the manifest does not tell enough: whoever reads the file whole finds out why.
async fn as_written(file: &DumpFile, manifest: &Manifest) -> Result<Option<Checked>> {
    let Some((text, lines, read)) = file.definitions()? else { return Ok(None) };
    let (digest, digests) = digested(file).await?;
    if digest != manifest.sha256 {
        return Ok(None);
    }
    listed(file, &digest)?;
    let mut survey = survey(text, lines).await.map_err(|e| unreadable(file, e))?;
    let definitions = file.members().iter().zip(&digests).filter(|(member, _)| !dump_file::holds_rows(member));
    if !definitions.map(|(_, digest)| digest).eq(&read.parts()) {
        return Err(changed(file.path()));
    }
    if let Some(table) = survey.tables.keys().next() {
        let why = format!("rows of {table} lie in a member that it says holds none");
        return Err(not_as_told(file).caused_by(why));
    }
    survey.tables = tables(file, manifest);
    Ok(Some(Checked { file: file.clone(), survey, digest, digests, format: manifest.kind }))
}

/// Returns the digests of the file and of its members.
async fn digested(file: &DumpFile) -> Result<(String, Vec<[u8; 32]>)> {
    let (mut bytes, sums) = file.packed();
    let reading = tokio::task::spawn_blocking(move || {
        let mut block = vec![0; BLOCK];
        while bytes.read(&mut block)? > 0 {}
        Ok(())
    });
    let read = reading.await.map_err(|e| Error::new(Kind::Bug, "reading a dump panicked").because(&e))?;
    read.map_err(|e: io::Error| Error::carried(&e).unwrap_or_else(|| Error::io("read", file.path(), &e)))?;
    Ok((sums.whole(), sums.parts()))
}

/// Returns the tables whose rows the members hold. What the manifest says of their rows is held against what is loaded.
fn tables(file: &DumpFile, manifest: &Manifest) -> BTreeMap<String, Rows> {
    let counted = manifest.fingerprint.tables.iter();
    let mut tables: BTreeMap<String, Rows> =
        counted.map(|(name, table)| (name.clone(), Rows { count: table.rows, ..Rows::default() })).collect();
    let mut before = None;
    for member in file.members() {
        let table = member.table.as_deref().filter(|_| dump_file::holds_rows(member));
        if let Some(name) = table {
            let rows = tables.entry(name.to_owned()).or_default();
            rows.bytes += member.raw_length;
            rows.blocks += u32::from(before != table);
        }
        before = table;
    }
    tables
}

async fn survey(text: Text, lines: Lines) -> Result<Survey> {
    let reading = tokio::task::spawn_blocking(move || Survey::read(text, &lines));
    reading.await.map_err(|e| Error::new(Kind::Bug, "reading a dump panicked").because(&e))?
}

fn unreadable(file: &DumpFile, error: Error) -> Error {
    let path = file.path().display().to_string();
    Error::new(error.kind(), format!("could not restore {path}")).on(path).caused_by_error(error)
}

/// The file must be the one that its checksum is of, where it has one.
fn listed(file: &DumpFile, digest: &str) -> Result<()> {
    if checksum_path(file.path()).symlink_metadata().is_err() || read_sidecar(file.path())?.to_string() == digest {
        return Ok(());
    }
    let path = file.path().display().to_string();
    let sentence = format!("{path} is not what its .sha256 file says");
    Err(Error::new(Kind::Damaged, sentence).on(path).caused_by(format!("its SHA-256 is {digest}")))
}

/// The file must be the one that its manifest describes.
fn agree(file: &DumpFile, digest: &str, survey: &Survey, manifest: &Manifest) -> Result<()> {
    if digest != manifest.sha256 {
        let why = format!("its SHA-256 is {digest}, the manifest says {}", manifest.sha256);
        return Err(not_as_told(file).caused_by(why));
    }
    for (name, table) in &manifest.fingerprint.tables {
        let rows = survey.tables.get(name).map_or(0, |rows| rows.count);
        if rows != table.rows {
            return Err(other_count(file, name, rows, table.rows));
        }
    }
    Ok(())
}

/// Says that a table has another number of rows than the manifest says.
pub(super) fn other_count(file: &DumpFile, table: &str, rows: u64, told: u64) -> Error {
    not_as_told(file).caused_by(format!("table {table} has {rows} rows, the manifest says {told}"))
}

/// Says that the file is not the one that its manifest describes.
pub(super) fn not_as_told(file: &DumpFile) -> Error {
    let path = file.path().display().to_string();
    Error::new(Kind::Damaged, format!("{path} is not what its manifest says")).on(path).hint(OTHER_BACKUP)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::backups::manifest_path;
    use crate::postgres::restore::survey::Unit;
    use crate::postgres::test_cluster::TestCluster;
    use crate::postgres::{DumpRequest, dump};
    use crate::progress::Progress;

    async fn backup(cluster: &TestCluster, folder: &Path, name: &str) -> Backup {
        let request = DumpRequest {
            source: cluster.address("src"),
            to: folder.join(name),
            format: Format::of_name(name).unwrap(),
            tables: Vec::new(),
            jobs: None,
            matviews: false,
            mask: None,
        };
        let journal = tempfile::tempdir().unwrap();
        let ledger = Ledger::create("test", journal.path()).unwrap();
        dump(&request, &Progress::default(), &ledger).await.unwrap()
    }

    /// A database whose largest table takes several members.
    async fn source() -> (TestCluster, tempfile::TempDir) {
        let cluster = TestCluster::start();
        cluster.execute("postgres", "create role app_ro; create role app_owner in role app_ro").await;
        cluster.execute("postgres", "create database src").await;
        cluster.psql("src", Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/rich.sql")));
        let large = "create table app.large as select n, repeat(md5(n::text), 40) from generate_series(1, 3000) n; \
                     create index on app.large (n)";
        cluster.execute("src", large).await;
        (cluster, tempfile::tempdir().unwrap())
    }

    fn opened(backup: &Backup) -> DumpFile {
        DumpFile::open(backup, &Progress::default(), &CancellationToken::new()).unwrap()
    }

    async fn read_whole(file: &DumpFile) -> Survey {
        survey(file.text().unwrap().0, Lines::default()).await.unwrap()
    }

    /// Changes a backup's manifest.
    fn forge(backup: &Backup, change: impl Fn(&mut serde_json::Value)) -> Backup {
        let path = manifest_path(backup.path());
        let mut manifest = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        change(&mut manifest);
        std::fs::write(&path, manifest.to_string()).unwrap();
        Backup::open(backup.path()).unwrap()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn without_the_rows_the_same_is_known_down_to_the_line() {
        let (cluster, folder) = source().await;
        for name in ["a.sql.gz", "a.sql.zst", "a.sql"] {
            let backup = backup(&cluster, folder.path(), name).await;
            let file = opened(&backup);
            let whole = read_whole(&file).await;
            let known = as_written(&file, backup.manifest().unwrap()).await.unwrap().unwrap().survey;
            let units = |units: &[Unit]| {
                let facts = |u: &Unit| (u.line, u.shown.clone(), u.kind.clone(), u.statements.clone(), u.state.clone());
                units.iter().map(facts).collect::<Vec<_>>()
            };
            assert!(whole.before.len() > 50 && whole.after.len() > 20, "{name}: the fixture is rich");
            assert_eq!(units(&known.before), units(&whole.before), "{name}");
            assert_eq!(units(&known.after), units(&whole.after), "{name}");
            assert_eq!((&known.preamble, &known.sequences), (&whole.preamble, &whole.sequences), "{name}");
            assert_eq!((&known.extensions, &known.schemas), (&whole.extensions, &whole.schemas), "{name}");
            assert_eq!((&known.roles, &known.tablespaces), (&whole.roles, &whole.tablespaces), "{name}");
            assert_eq!(known.dumped_from, whole.dumped_from, "{name}");
            let rows = |survey: &Survey| {
                survey.tables.iter().map(|(name, rows)| (name.clone(), rows.count, rows.blocks)).collect::<Vec<_>>()
            };
            assert_eq!(rows(&known), rows(&whole), "{name}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_byte_or_an_older_manifest_has_the_file_read_whole() {
        let (cluster, folder) = source().await;
        let backup = backup(&cluster, folder.path(), "a.sql.gz").await;
        let file = opened(&backup);
        assert!(as_written(&file, backup.manifest().unwrap()).await.unwrap().is_some());
        let older = forge(&backup, |manifest| {
            for member in manifest["members"].as_array_mut().unwrap() {
                member.as_object_mut().unwrap().remove("lines");
            }
        });
        assert!(as_written(&opened(&older), older.manifest().unwrap()).await.unwrap().is_none());
        let mut bytes = std::fs::read(backup.path()).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(backup.path(), bytes).unwrap();
        assert!(as_written(&opened(&backup), backup.manifest().unwrap()).await.unwrap().is_none());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn rows_in_a_member_that_is_said_to_hold_none_are_refused() {
        let (cluster, folder) = source().await;
        let backup = backup(&cluster, folder.path(), "a.sql.gz").await;
        let forged = forge(&backup, |manifest| {
            for member in manifest["members"].as_array_mut().unwrap() {
                if member["table"] == "app.orders" {
                    member.as_object_mut().unwrap().remove("table");
                }
            }
        });
        let refused = as_written(&opened(&forged), forged.manifest().unwrap()).await.err().unwrap();
        assert!(refused.causes().iter().any(|why| why.contains("rows of app.orders")), "{refused:?}");
    }
}
