//! Damages to a backup's file, its manifest and its checksum: each is refused, and the message names the cause.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use runner::backups::{Backup, Format, checksum_path, manifest_path};
use runner::compare::{Scope, compare};
use runner::files::digest::Digest;
use runner::postgres::{DumpRequest, RestoreOptions, RestoreTarget, dump, fingerprint, inspect, restore};
use runner::progress::Progress;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::base::Base;

const EXPECTED: &str = include_str!("../fixtures/files.txt");
/// The backups that damages are done to: today's in each format, yesterday's, one of a part, one of another database.
const MADE: [(&str, &str, &[&str]); 7] = [
    ("a.sql.gz", "src", &[]),
    ("a.sql.zst", "src", &[]),
    ("a.sql", "src", &[]),
    ("a.dump", "src", &[]),
    ("part.sql.gz", "src", &["app.customers"]),
    ("other.sql.gz", "other", &[]),
    ("old.sql.gz", "src", &[]),
];

/// The backups as they were made.
struct Made {
    folder: tempfile::TempDir,
}

/// A copy of one of them with all that lies beside it.
pub(crate) struct Copied {
    folder: PathBuf,
    pub(crate) path: PathBuf,
    made: PathBuf,
}

impl Made {
    async fn new(base: &Base) -> Self {
        let folder = tempfile::tempdir().unwrap();
        base.server.create("other", "create table t (id int); insert into t values (1)").await;
        for (name, database, tables) in MADE.iter().rev() {
            let request = DumpRequest {
                source: base.server.address(database),
                to: folder.path().join(name),
                format: Format::of_name(name).unwrap(),
                tables: tables.iter().map(|t| (*t).to_owned()).collect(),
                jobs: None,
                mask: None,
                matviews: true,
            };
            dump(&request, &Progress::default(), &base.ledger).await.unwrap();
            if *name == "old.sql.gz" {
                base.server.execute("src", "update app.nopk set b = md5(a::text)").await;
            }
        }
        Self { folder }
    }

    fn copied(&self, id: &str, name: &str) -> Copied {
        let folder = self.folder.path().join(id);
        std::fs::create_dir(&folder).unwrap();
        let path = folder.join(name);
        let made = self.folder.path().to_owned();
        for from in [made.join(name), manifest_path(&made.join(name)), checksum_path(&made.join(name))] {
            std::fs::copy(&from, folder.join(from.file_name().unwrap())).unwrap();
        }
        Copied { folder, path, made }
    }
}

impl Copied {
    fn bytes(&self) -> Vec<u8> {
        std::fs::read(&self.path).unwrap()
    }

    fn set(&self, bytes: impl AsRef<[u8]>) {
        std::fs::write(&self.path, bytes).unwrap();
    }

    fn change(&self, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = self.bytes();
        change(&mut bytes);
        self.set(bytes);
    }

    fn cut(&self, keep: usize) {
        self.change(|bytes| bytes.truncate(keep));
    }

    fn flip(&self, at: usize) {
        self.change(|bytes| bytes[at] ^= 0x10);
    }

    /// Returns where the members lie: offset and length.
    fn members(&self) -> Vec<(usize, usize)> {
        let number = |value: &Value| usize::try_from(value.as_u64().unwrap()).unwrap();
        let members = self.manifest()["members"].as_array().unwrap().clone();
        members.iter().map(|m| (number(&m["offset"]), number(&m["length"]))).collect()
    }

    /// Returns the member that holds the rows of a table.
    fn member(&self, table: &str) -> (usize, usize) {
        let members = self.manifest()["members"].as_array().unwrap().clone();
        let at = members.iter().position(|m| m["table"] == table).unwrap();
        self.members()[at]
    }

    fn manifest(&self) -> Value {
        serde_json::from_slice(&std::fs::read(manifest_path(&self.path)).unwrap()).unwrap()
    }

    fn edit_manifest(&self, edit: impl FnOnce(&mut Value)) {
        let mut manifest = self.manifest();
        edit(&mut manifest);
        std::fs::write(manifest_path(&self.path), manifest.to_string()).unwrap();
    }

    fn without_manifest(&self) -> &Self {
        std::fs::remove_file(manifest_path(&self.path)).unwrap();
        self
    }

    /// Takes away all that tells what the file was.
    fn alone(&self) -> &Self {
        std::fs::remove_file(checksum_path(&self.path)).unwrap();
        self.without_manifest()
    }

    fn text(&self) -> Vec<u8> {
        let mut text = Vec::new();
        MultiGzDecoder::new(self.bytes().as_slice()).read_to_end(&mut text).unwrap();
        text
    }

    /// Packs another text, as someone would who knows gzip and not us.
    fn repack(&self, text: &[u8]) {
        let mut packed = GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(text).unwrap();
        self.set(packed.finish().unwrap());
    }

    /// Changes the text and makes size, digests and members follow: only the content can tell.
    fn forge(&self, change: impl FnOnce(Vec<u8>) -> Vec<u8>) {
        let text = change(self.text());
        self.repack(&text);
        self.sign(text.len());
    }

    fn sign(&self, raw_size: usize) {
        let bytes = self.bytes();
        let digest = Digest::of(&bytes).to_string();
        let name = self.path.file_name().unwrap().to_str().unwrap();
        std::fs::write(checksum_path(&self.path), format!("{digest}  {name}\n")).unwrap();
        self.edit_manifest(|manifest| {
            manifest["sha256"] = digest.into();
            manifest["size"] = bytes.len().into();
            manifest["raw_size"] = raw_size.into();
            manifest["members"] = Value::Array(Vec::new());
        });
    }

    fn replaced(&self, from: &str, to: &str) {
        self.forge(|text| {
            let text = String::from_utf8(text).unwrap();
            assert!(text.contains(from), "the text holds {from}");
            text.replacen(from, to, 1).into_bytes()
        });
    }

    /// Puts another backup's file in the place of this one's.
    fn take(&self, name: &str) {
        std::fs::copy(self.made.join(name), &self.path).unwrap();
    }

    fn take_manifest(&self, name: &str) {
        std::fs::copy(manifest_path(&self.made.join(name)), manifest_path(&self.path)).unwrap();
    }

    fn checksum(&self, text: &str) {
        std::fs::write(checksum_path(&self.path), text).unwrap();
    }
}

/// Finds a stretch of bytes.
fn find(bytes: &[u8], wanted: &str) -> usize {
    bytes.windows(wanted.len()).position(|window| window == wanted.as_bytes()).unwrap()
}

/// Takes the rows of a table with their COPY out of a text.
fn without_block(text: &[u8], table: &str) -> Vec<u8> {
    let start = find(text, &format!("COPY {table} ("));
    let end = start + find(&text[start..], "\n\\.\n") + 4;
    [&text[..start], &text[end..]].concat()
}

/// Does one damage.
fn damage(id: &str, copy: &Copied) {
    let size = copy.bytes().len();
    match id {
        "F01" => copy.set(b""),
        "F02" => copy.cut(copy.members()[3].0),
        "F03" => copy.cut(copy.members()[3].0 + 30),
        "F04" => copy.cut(copy.members()[3].0 + 5),
        "F05" => copy.cut(size - 8),
        "F06" => copy.cut(size - 4),
        "F07" => copy.cut(copy.members().last().unwrap().0),
        "F08" => copy.flip(0),
        "F09" => copy.flip(5),
        "F10" => copy.flip(copy.member("app.customers").0 + 200),
        "F11" => copy.flip(size - 7),
        "F12" => copy.flip(size - 2),
        "F13" => copy.flip(copy.members()[2].0 + 9),
        "F14" => copy.change(|bytes| bytes.extend_from_slice(b"garbage")),
        "F15" => copy.change(|bytes| bytes.extend_from_slice(&[0; 512])),
        "F16" => copy.change(|bytes| {
            let mut packed = GzEncoder::new(Vec::new(), flate2::Compression::fast());
            packed.write_all(b"drop table app.customers;\n").unwrap();
            bytes.extend(packed.finish().unwrap());
        }),
        "F17" => copy.change(|bytes| bytes.extend_from_within(..)),
        "F18" => copy.change(|bytes| {
            let ((a, long), (b, short)) = (copy.member("app.customers"), copy.member("app.nopk"));
            let (first, second) = (bytes[a..a + long].to_vec(), bytes[b..b + short].to_vec());
            bytes.splice(b..b + short, first);
            bytes.splice(a..a + long, second);
        }),
        "F19" => copy.change(|bytes| {
            let (at, length) = copy.member("app.nopk");
            bytes.splice(at..at, bytes[at..at + length].to_vec());
        }),
        "F20" => copy.change(|bytes| {
            let (at, length) = copy.member("app.customers");
            bytes.drain(at..at + length);
        }),
        "F21" => copy.repack(&String::from_utf8(copy.text()).unwrap().replace("name 10", "name l0").into_bytes()),
        "F22" => copy.replaced("name 10", "name l0"),
        "F23" => copy.replaced("\n999\t2030-01-01\tdef\n", "\n"),
        "F24" => copy.replaced("\n999\t2030-01-01\tdef\n", "\n999\t2030-01-01\tdef\n999\t2030-01-01\tdef\n"),
        "F25" => copy.forge(|text| without_block(&text, "app.customers")),
        "F26" => copy.replaced("GRANT SELECT ON TABLE app.customers TO app_ro;", ""),
        "F27" => copy.replaced("select x*2", "select x*3"),
        "F28" => copy.replaced("setval('app.seq', 1001, true)", "setval('app.seq', 1001, false)"),
        "F29" => copy.replaced("lowrite(0, '\\x000102030405')", "lowrite(0, '\\x000102030406')"),
        "F30" => copy.replaced("-- PostgreSQL database dump complete\n", ""),
        "F31" => copy.forge(|mut text| {
            let at = find(&text, "\\unrestrict ") + 14;
            text[at] = if text[at] == b'a' { b'b' } else { b'a' };
            text
        }),
        "F32" => copy.forge(|text| text[..find(&text, "\\unrestrict ")].to_vec()),
        "F33" => copy.replaced("CREATE SCHEMA app;", "CREATE SCHEMA app;\n\\! touch /tmp/canary\n"),
        "F34" => copy.replaced("the customers", "the\0customers"),
        "F35" => copy.forge(|text| String::from_utf8(text).unwrap().replace('\n', "\r\n").into_bytes()),
        "F36" => copy.forge(|text| {
            let text = String::from_utf8(text).unwrap();
            text.chars().map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?')).collect()
        }),
        "F37" => copy.forge(|text| [b"\xef\xbb\xbf".as_slice(), &text].concat()),
        "F38" => copy.forge(|text| [text.clone(), text].concat()),
        "F39" => copy.take("other.sql.gz"),
        "F40" => copy.take("old.sql.gz"),
        "F41" => copy.take_manifest("other.sql.gz"),
        "F42" => copy.take_manifest("part.sql.gz"),
        "F43" => drop(copy.without_manifest()),
        "F44" => {
            let text = std::fs::read(manifest_path(&copy.path)).unwrap();
            std::fs::write(manifest_path(&copy.path), &text[..text.len() / 2]).unwrap();
        }
        "F45" => copy.edit_manifest(|m| m["fingerprint"]["tables"]["app.nopk"]["rows"] = 29.into()),
        "F46" => copy.edit_manifest(|m| m["sha256"] = "0".repeat(64).into()),
        "F47" => copy.edit_manifest(|m| m["members"][2]["offset"] = 7.into()),
        "F48" => copy.edit_manifest(|m| m["format"] = 9.into()),
        "F49" => copy.edit_manifest(|m| m["surprise"] = 1.into()),
        "F50" => copy.edit_manifest(|m| m["members"][3]["table"] = "app.nosuch".into()),
        "F51" => copy.edit_manifest(|m| {
            m["fingerprint"]["items"].as_array_mut().unwrap().retain(|item| item["aspect"] != "grants");
        }),
        "F52" => copy.edit_manifest(|m| m["fingerprint"]["tables"]["app.nopk"]["sum"] = "0".repeat(64).into()),
        "F53" => copy.edit_manifest(|m| m["size"] = (size + 1).into()),
        "F54" => copy.edit_manifest(|m| m["kind"] = "sql.zst".into()),
        "F55" => copy.edit_manifest(|m| m["fingerprint"]["tables"] = serde_json::json!({})),
        "F56" => copy.checksum(&format!("{}  a.sql.gz\n", "0".repeat(64))),
        "F57" => copy.checksum("no digest at all\n"),
        "F58" => copy.checksum(&format!("{}  b.sql.gz\n", Digest::of(&copy.bytes()))),
        "F59" => copy.checksum(""),
        "F60" => copy.set(vec![b'x'; size]),
        // Without a manifest: dumps of other tools.
        "F61" => copy.alone().cut(copy.bytes().len() / 2),
        "F62" => {
            let last = copy.members().last().unwrap().0;
            copy.alone().cut(last);
        }
        "F63" => copy.alone().flip(size / 2),
        "F64" => copy.alone().change(|bytes| bytes.extend_from_slice(b"garbage")),
        "F65" => copy.alone().change(|bytes| bytes.extend_from_within(..)),
        "F66" => copy.alone().set(b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\x03\x00\x00\x00\x00\x00\x00\x00\x00\x00"),
        "F67" => copy.alone().set(b""),
        "F68" => copy.without_manifest().flip(9),
        "F69" => {
            let text = copy.text();
            copy.alone().set(text);
        }
        // Zstandard.
        "Z01" => copy.cut(size / 2),
        "Z02" => copy.cut(copy.members()[4].0),
        "Z03" => copy.flip(size / 2),
        "Z04" => copy.change(|bytes| bytes.extend_from_within(..)),
        "Z05" => copy.alone().cut(size - 5),
        "Z06" => copy.alone().flip(size / 2),
        "Z07" => copy.alone().change(|bytes| bytes.extend_from_slice(b"garbage")),
        // Plain text.
        "T01" => copy.alone().change(|bytes| bytes.truncate(find(bytes, "\n999\t2030-01-01"))),
        "T02" => copy.alone().change(|bytes| bytes.truncate(find(bytes, "\n999\t2030-01-01") + 5)),
        "T03" => copy.flip(size / 2),
        "T04" => copy.alone().change(|bytes| bytes.extend_from_slice(b"drop table app.customers;\n")),
        "T05" => copy.alone().change(|bytes| bytes.truncate(find(bytes, "-- PostgreSQL database dump complete"))),
        "T06" => copy.alone().change(|bytes| bytes.truncate(find(bytes, "CREATE TABLE app.customers"))),
        "T07" => copy.alone().change(|bytes| {
            let at = find(bytes, "\n999\t2030-01-01");
            bytes.splice(at..at, *b"\n\\.x");
        }),
        "T08" => copy.without_manifest().flip(size / 2),
        // pg_dump's own archive.
        "C01" => copy.cut(size / 2),
        "C02" => copy.alone().cut(size / 2),
        "C03" => copy.alone().cut(40),
        "C04" => copy.flip(2),
        "C05" => copy.flip(size * 3 / 4),
        "C06" => copy.alone().flip(2),
        "C07" => copy.change(|bytes| bytes.extend_from_slice(b"garbage")),
        "C09" => {
            // Behind the head of what zlib packed last.
            let packed = memchr::memmem::rfind(&copy.bytes(), b"\x78\x9c").unwrap();
            copy.alone().flip(packed + 4);
        }
        "C10" => copy.alone().cut(size - 1),
        "C08" => copy.without_manifest().flip(size * 3 / 4),
        _ => panic!("nobody knows {id}"),
    }
}

/// Returns who refuses a file and in which words: opening, inspecting, restoring, or comparing what was restored.
async fn refused(base: &Base, copy: &Copied) -> Vec<(&'static str, String)> {
    let backup = match Backup::open(&copy.path) {
        Ok(backup) => backup,
        Err(error) => return vec![("open", error.to_string())],
    };
    let mut said = Vec::new();
    let path = copy.path.clone();
    let look = move || inspect(&path, &Progress::default(), &CancellationToken::new());
    match tokio::task::spawn_blocking(look).await.unwrap() {
        Err(error) => said.push(("inspect", error.to_string())),
        // The drill asks for more than a whole file: it must be what its manifest says.
        Ok(seen) if !seen.agreed_with.contains(&"manifest") => {
            said.push(("unproven", seen.not_checked.iter().map(|(what, why)| format!("{what}: {why}; ")).collect()));
        }
        Ok(_) => {}
    }
    let options = RestoreOptions { database: "restored".into(), ..RestoreOptions::default() };
    let target = RestoreTarget::sandbox(base.server.sandbox());
    match restore(&backup, &target, &options, &base.ledger, &Progress::default()).await {
        Err(error) => said.push(("restore", error.to_string())),
        Ok(restored) => {
            let found = fingerprint(&restored.address, &[], &Progress::default(), &base.ledger).await.unwrap();
            if let Some(manifest) = backup.manifest() {
                let verdict = compare(&manifest.fingerprint, &found, &Scope::default()).unwrap();
                said.extend((!verdict.equal).then(|| ("compare", verdict.summary())));
            }
            base.drop("restored").await;
        }
    }
    said
}

/// One line of the table: `F01 title | file | who refuses | words`.
pub(crate) fn table() -> Vec<[&'static str; 5]> {
    let parse = |line: &'static str| {
        let mut parts = line.split(" | ");
        let (id, title) = parts.next().unwrap().split_once(' ').unwrap();
        let mut next = || parts.next().unwrap_or_else(|| panic!("{id} is not whole"));
        [id, title, next(), next(), next()]
    };
    EXPECTED.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).map(parse).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_damaged_file_is_refused_and_the_message_names_the_cause() {
    let Some(base) = Base::local().await else { return };
    let made = Made::new(&base).await;
    let databases = base.server.databases().await;
    let mut wrong = Vec::new();
    for name in ["a.sql.gz", "a.sql.zst", "a.sql", "a.dump"] {
        let said = refused(&base, &made.copied(&format!("clean-{name}"), name)).await;
        wrong.extend((!said.is_empty()).then(|| format!("a false alarm at {name}: {said:?}")));
    }
    for [id, title, name, who, words] in table() {
        let copy = made.copied(id, name);
        damage(id, &copy);
        let said = refused(&base, &copy).await;
        let by: Vec<_> = said.iter().map(|(who, _)| *who).collect();
        if by.join("+") != who || !said.iter().any(|(_, text)| text.contains(words)) {
            wrong.push(format!("{id} {title}: refused by {} in {said:#?}", by.join("+")));
        }
        std::fs::remove_dir_all(&copy.folder).unwrap();
    }
    assert_eq!(base.server.databases().await, databases, "a refused restore leaves nothing");
    assert!(!Path::new("/tmp/canary").exists(), "a dump ran a command");
    assert!(wrong.is_empty(), "{} of them:\n{}", wrong.len(), wrong.join("\n"));
}
