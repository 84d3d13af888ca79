//! A good backup passes with what was checked; a flip, a cut, an addition and a forged list are refused.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use super::*;
use crate::backups::{Manifest, checksum_path, manifest_path};
use crate::cleanup::Ledger;
use crate::postgres::test_cluster::TestCluster;
use crate::postgres::{DumpRequest, dump};

/// A dump with several members, made once and copied for each damage.
struct Original {
    folder: tempfile::TempDir,
    path: PathBuf,
    copies: u32,
}

impl Original {
    async fn dump(name: &str) -> Self {
        let cluster = TestCluster::start();
        cluster
            .execute(
                "postgres",
                "create table public.big as select g, md5(g::text) t from generate_series(1, 120000) g; \
                 create table public.small(id int primary key); insert into public.small values (1), (2); \
                 create sequence public.s; select lo_from_bytea(7, '\\x0102')",
            )
            .await;
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::create("test", folder.path()).unwrap();
        let path = folder.path().join(name);
        let format = Format::of_name(name).unwrap();
        let request = DumpRequest {
            source: cluster.address("postgres"),
            to: path.clone(),
            format,
            tables: Vec::new(),
            jobs: None,
            matviews: true,
            mask: None,
        };
        dump(&request, &Progress::default(), &Arc::clone(&ledger)).await.unwrap();
        Self { folder, path, copies: 0 }
    }

    /// Copies the backup with its lists into a folder of its own.
    fn copied(&mut self) -> PathBuf {
        self.copies += 1;
        let folder = self.folder.path().join(self.copies.to_string());
        std::fs::create_dir(&folder).unwrap();
        let to = folder.join(self.path.file_name().unwrap());
        for (from, to) in [
            (self.path.clone(), to.clone()),
            (manifest_path(&self.path), manifest_path(&to)),
            (checksum_path(&self.path), checksum_path(&to)),
        ] {
            std::fs::copy(from, to).unwrap();
        }
        to
    }

    /// Changes the file's bytes and makes the manifest's size, digest and the checksum follow, as an attacker would.
    fn forged(&mut self, change: impl FnOnce(&mut Vec<u8>), lists: impl FnOnce(&mut serde_json::Value)) -> PathBuf {
        let path = self.copied();
        let mut bytes = std::fs::read(&path).unwrap();
        change(&mut bytes);
        std::fs::write(&path, &bytes).unwrap();
        let digest = crate::files::digest::Digest::of(&bytes).to_string();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        std::fs::write(checksum_path(&path), format!("{digest}  {name}\n")).unwrap();
        let text = std::fs::read(manifest_path(&path)).unwrap();
        let mut manifest: serde_json::Value = serde_json::from_slice(&text).unwrap();
        manifest["sha256"] = digest.into();
        manifest["size"] = bytes.len().into();
        lists(&mut manifest);
        std::fs::write(manifest_path(&path), manifest.to_string()).unwrap();
        path
    }
}

fn look(path: &Path) -> Result<Inspection> {
    inspect(path, &Progress::default(), &CancellationToken::new())
}

fn refusal(path: &Path) -> String {
    look(path).unwrap_err().to_string()
}

#[tokio::test]
async fn a_whole_backup_passes_and_says_what_was_checked() {
    let mut original = Original::dump("a.sql.gz").await;
    let found = look(&original.path).unwrap();
    assert_eq!(found.checked, [Level::File, Level::Parse]);
    assert_eq!(found.agreed_with, ["manifest", "checksum", "fingerprint"]);
    assert!(found.not_checked.is_empty(), "{:?}", found.not_checked);
    assert_eq!((found.rows["public.big"], found.rows["public.small"]), (120_000, 2));

    let foreign = original.copied();
    std::fs::remove_file(manifest_path(&foreign)).unwrap();
    std::fs::remove_file(checksum_path(&foreign)).unwrap();
    let found = look(&foreign).unwrap();
    assert_eq!(found.checked, [Level::File, Level::Parse]);
    assert!(found.agreed_with.is_empty());
    let missing: Vec<_> = found.not_checked.iter().map(|(what, _)| what.as_str()).collect();
    assert_eq!(missing, ["manifest", "checksum", "fingerprint"]);
}

#[tokio::test]
async fn a_flip_a_cut_and_an_addition_are_refused_with_and_without_lists() {
    for name in ["a.sql.gz", "a.sql.zst", "a.sql"] {
        let mut original = Original::dump(name).await;
        let size = std::fs::metadata(&original.path).unwrap().len();
        for at in [3, size / 3, size / 2, size - 30] {
            let path = original.copied();
            let mut bytes = std::fs::read(&path).unwrap();
            bytes[usize::try_from(at).unwrap()] ^= 1;
            std::fs::write(&path, bytes).unwrap();
            assert!(refusal(&path).contains("is damaged"), "{name} flipped at {at}: {}", refusal(&path));
        }
        for keep in [0, 5, size / 2, size - 1] {
            let path = original.copied();
            std::fs::File::options().write(true).open(&path).unwrap().set_len(keep).unwrap();
            assert!(refusal(&path).contains("its manifest says"), "{name} cut at {keep}: {}", refusal(&path));
            std::fs::remove_file(manifest_path(&path)).unwrap();
            assert!(look(&path).is_err(), "{name} cut at {keep}, without a manifest");
        }
        let path = original.copied();
        std::fs::File::options().append(true).open(&path).unwrap().write_all(b"garbage behind the end").unwrap();
        std::fs::remove_file(manifest_path(&path)).unwrap();
        assert!(look(&path).is_err(), "{name} with garbage");
    }
}

#[tokio::test]
async fn forged_lists_do_not_help_a_changed_content() {
    let mut original = Original::dump("a.sql.gz").await;
    let text = std::fs::read(manifest_path(&original.path)).unwrap();
    let manifest = Manifest::parse(&text).unwrap();
    let first = manifest.members[0].length as usize;
    let rows: Vec<_> = manifest.members.iter().filter(|m| m.table.as_deref() == Some("public.big")).collect();
    assert!(rows.len() > 1, "the table has several members");

    // A foreign member, with and without its entry in the list.
    let path = original.forged(|bytes| bytes.extend_from_within(..first), |_| {});
    assert!(refusal(&path).contains("do not make up the file"), "{}", refusal(&path));
    let path = original.forged(
        |bytes| bytes.extend_from_within(..first),
        |m| {
            let (at, raw) = (manifest.size, manifest.members[0].raw_length);
            let member = serde_json::json!({"offset": at, "length": first, "raw_length": raw, "section": "post_data"});
            m["members"].as_array_mut().unwrap().push(member);
            m["raw_size"] = (manifest.raw_size + raw).into();
        },
    );
    assert!(refusal(&path).contains("the dump is damaged"), "{}", refusal(&path));

    // Rows that were packed anew with one character changed.
    let member = rows[0];
    let (from, to) = (member.offset as usize, (member.offset + member.length) as usize);
    let repack = |bytes: &mut Vec<u8>| {
        let mut raw = Vec::new();
        std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&bytes[from..to]), &mut raw).unwrap();
        let at = raw.len() - 5;
        raw[at] = if raw[at] == b'0' { b'1' } else { b'0' };
        let mut packer = crate::files::members::Packer::new(crate::files::members::Packing::Gzip).unwrap();
        bytes.splice(from..to, packer.pack(&raw).unwrap());
    };
    let mut bytes = std::fs::read(&original.path).unwrap();
    let before = bytes.len() as i64;
    repack(&mut bytes);
    let grown = bytes.len() as i64 - before;
    let path = original.forged(repack, |m| {
        let mut after = false;
        for other in m["members"].as_array_mut().unwrap() {
            if after {
                other["offset"] = (other["offset"].as_i64().unwrap() + grown).into();
            }
            if other["offset"] == serde_json::json!(member.offset) && !after {
                other["length"] = (other["length"].as_i64().unwrap() + grown).into();
                after = true;
            }
        }
    });
    assert!(
        refusal(&path).contains("its fingerprint does not fit: table public.big: rows changed"),
        "{}",
        refusal(&path)
    );

    // Members that are said to be another table's.
    let path = original.forged(
        |_| {},
        |m| {
            for member in m["members"].as_array_mut().unwrap() {
                if member["table"] == "public.big" {
                    member["table"] = "public.small".into();
                }
            }
        },
    );
    assert!(refusal(&path).contains("mislabels the member"), "{}", refusal(&path));

    // A checksum of another file.
    let path = original.copied();
    std::fs::write(checksum_path(&path), format!("{}  a.sql.gz\n", "0".repeat(64))).unwrap();
    assert!(refusal(&path).contains("not the one in its .sha256 file"), "{}", refusal(&path));
}

#[tokio::test]
async fn an_inspection_stops_when_asked() {
    let original = Original::dump("a.sql.gz").await;
    let cancel = CancellationToken::new();
    cancel.cancel();
    let error = inspect(&original.path, &Progress::default(), &cancel).unwrap_err();
    assert_eq!(error.kind(), Kind::Interrupted);
}

/// Archives are read on a thread of the runtime's, as everywhere.
async fn look_aside(path: &Path) -> Result<Inspection> {
    let path = path.to_owned();
    tokio::task::spawn_blocking(move || look(&path)).await.unwrap()
}

#[tokio::test]
async fn an_archive_is_read_to_its_end_also_without_a_manifest() {
    let mut original = Original::dump("a.dump").await;
    let found = look_aside(&original.path).await.unwrap();
    assert_eq!(found.checked, [Level::File, Level::Parse]);
    assert_eq!(found.agreed_with, ["manifest", "checksum", "fingerprint"]);
    assert_eq!((found.rows["public.big"], found.rows["public.small"]), (120_000, 2));

    let mut alone = |change: &dyn Fn(&mut Vec<u8>)| {
        let path = original.copied();
        std::fs::remove_file(manifest_path(&path)).unwrap();
        std::fs::remove_file(checksum_path(&path)).unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        change(&mut bytes);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let found = look_aside(&alone(&|_| ())).await.unwrap();
    assert!(found.whole() && found.agreed_with.is_empty() && found.rows["public.big"] == 120_000);
    for keep in [1, 2, 3] {
        let cut = alone(&|bytes| bytes.truncate(bytes.len() * keep / 4));
        let said = look_aside(&cut).await.unwrap_err();
        assert_eq!(said.kind(), Kind::Damaged, "cut at {keep}/4: {said}");
        assert!(said.to_string().contains("could not read the archive"), "cut at {keep}/4: {said}");
    }
    let cut = alone(&|bytes| bytes.truncate(bytes.len() - 1));
    assert_eq!(look_aside(&cut).await.unwrap_err().kind(), Kind::Damaged, "the last byte");
    for at in [4, 3, 2] {
        let flipped = alone(&|bytes| {
            let at = bytes.len() * at / 5;
            bytes[at] ^= 1;
        });
        assert_eq!(look_aside(&flipped).await.unwrap_err().kind(), Kind::Damaged, "flipped at {at}/5");
    }
    // A later version in its head: not damaged, and not whole.
    let later = alone(&|bytes| bytes[6] = 99);
    let found = look_aside(&later).await.unwrap();
    assert!(!found.whole(), "{:?}", found.checked);
    assert!(
        found.not_checked.iter().any(|(what, why)| what == "parse" && why.contains("unsupported version")),
        "{found:?}"
    );
}

#[tokio::test]
async fn an_edited_archive_with_forged_lists_is_refused() {
    let mut original = Original::dump("a.dump").await;
    let path = original.forged(
        |bytes| {
            let at = memchr::memmem::find(bytes, b"CREATE SEQUENCE public.s\n    START WITH 1").unwrap();
            bytes[at + b"CREATE SEQUENCE public.s\n    START WITH ".len()] = b'2';
        },
        |_| (),
    );
    let said = look_aside(&path).await.unwrap_err().to_string();
    assert!(said.contains("SEQUENCE public.s"), "{said}");
}
