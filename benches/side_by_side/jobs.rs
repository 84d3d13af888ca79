//! The lines that are measured, and the rows that hold them against each other and against their targets.

use std::path::Path;

use crate::estate::{self, Estate};
use crate::measure::{self, Ran};

/// The scripts that our lines run.
pub const SCRIPTS: [(&str, &str); 4] = [
    (
        "dump.rhai",
        "let source = param(\"source\", \"\", \"the database\");\n\
         let container = param(\"container\", \"\", \"or the container that it is in\");\n\
         let to = param(\"to\", \"\", \"the file\");\n\
         dump(if container == \"\" { postgres(source) } else { postgres(#{ container: container, database: \"shop\" }) }, to);",
    ),
    (
        "into.rhai",
        "let saved = param(\"backup\", \"\", \"the file\");\n\
         let copy = param(\"copy\", \"\", \"the database that takes it\");\n\
         restore(backup(saved), postgres(copy, #{ writable: true }), #{ replace: true });",
    ),
    (
        "compare.rhai",
        "let saved = param(\"backup\", \"\", \"the file\");\n\
         let copy = param(\"copy\", \"\", \"the restored copy\");\n\
         let diff = compare(backup(saved), postgres(copy));\n\
         check(\"every row is equal\", diff.equal, diff.summary);",
    ),
    (
        "drill.rhai",
        "let saved = param(\"backup\", \"\", \"the file\");\n\
         let image = param(\"image\", \"postgres:15\", \"the server's image\");\n\
         let saved = backup(saved);\n\
         with_sandbox(#{ image: image, provider: \"docker\" }, |server| {\n\
         \x20   let copy = timed(\"restore\", || restore(saved, server));\n\
         \x20   let diff = timed(\"compare\", || compare(saved, copy));\n\
         \x20   check(\"every row is equal\", diff.equal, diff.summary);\n\
         });",
    ),
];

/// One command line.
pub struct Line {
    /// Its name.
    pub name: &'static str,
    /// What is done before it and not measured.
    before: &'static str,
    /// What is done after it and not measured, so that the next line does not pay for it.
    after: &'static str,
    /// The line itself, for bash.
    line: &'static str,
    /// It is one of ours.
    pub ours: bool,
    /// It is left out of the short form.
    pub slow: bool,
    /// The short form runs it once.
    pub long: bool,
    /// A condition without which there is nothing to measure.
    needs: &'static str,
}

/// A server that was filled just now goes on for a while: it flushes, vacuums and analyses.
const SETTLE: &str = "{bin}/psql -q '{admin}' -c 'drop database seeds' -c checkpoint";

const PLAIN: Line =
    Line { name: "", before: "", after: "", line: "", ours: false, slow: false, long: false, needs: "true" };

/// All lines, in the order of their turns. `out` is empty before each.
pub const LINES: [Line; 16] = [
    Line { name: "limit: pg_dump", line: "exec {bin}/pg_dump '{url}' > /dev/null", ..PLAIN },
    Line {
        name: "seeds: dump",
        line: "docker exec {container} pg_dump -U postgres shop | gzip > out/shop.sql.gz",
        ..PLAIN
    },
    Line {
        name: "dump .sql.gz",
        line: "exec {runner} -q dump.rhai --set 'source={url}' --set to=out/shop.sql.gz",
        ours: true,
        ..PLAIN
    },
    Line {
        name: "dump .sql.zst",
        line: "exec {runner} -q dump.rhai --set 'source={url}' --set to=out/shop.sql.zst",
        ours: true,
        ..PLAIN
    },
    // Where the machine has no pg_dump of its own, ours runs the container's.
    Line {
        name: "dump by docker exec",
        line: "exec unshare -m bash -c \"mount -t tmpfs none /usr/lib/postgresql && exec {runner} -q dump.rhai \
               --set container={container} --set to=out/shop.sql.gz\"",
        ours: true,
        needs: "unshare -m true && test -d /usr/lib/postgresql",
        ..PLAIN
    },
    Line {
        name: "limit: docker exec",
        line: "exec docker exec {container} pg_dump -U postgres shop > /dev/null",
        slow: true,
        ..PLAIN
    },
    Line {
        name: "seeds: restore",
        before: "{bin}/psql -q '{admin}' -c 'drop database if exists seeds' -c 'create database seeds'",
        line: "gunzip -c seeds.sql.gz | docker exec -i {container} psql -q -U postgres seeds",
        after: SETTLE,
        ..PLAIN
    },
    // What the server itself needs where nothing is packed, and nothing but psql stands in between.
    Line {
        name: "limit: psql of the text",
        before: "gunzip -c seeds.sql.gz > text.sql && \
                 {bin}/psql -q '{admin}' -c 'drop database if exists seeds' -c 'create database seeds'",
        line: "exec {bin}/psql -q '{seeds}' -f text.sql > /dev/null",
        after: SETTLE,
        slow: true,
        ..PLAIN
    },
    Line {
        name: "drill",
        line: "exec {runner} -q drill.rhai --set backup=shop.sql.gz --set image={image} --report json=report.json",
        ours: true,
        ..PLAIN
    },
    Line {
        name: "firedrill",
        line: "exec firedrill run shop.dump --jobs 2 --image \"$(echo {image} | sed 's/:.*//'):{major}\"",
        needs: "command -v firedrill",
        slow: true,
        ..PLAIN
    },
    Line {
        name: "stock verify_restore",
        line: "exec {runner} -q verify_restore --set backup=shop.sql.gz --set image={image} --set provider=docker \
               --set tables=articles --set counts=articles --set migration=",
        ours: true,
        slow: true,
        ..PLAIN
    },
    Line { name: "limit: pg_dump of the copy", line: "exec {bin}/pg_dump '{copy}' > /dev/null", ..PLAIN },
    Line {
        name: "compare",
        line: "exec {runner} -q compare.rhai --set backup=shop.sql.gz --set 'copy={copy}'",
        ours: true,
        ..PLAIN
    },
    Line {
        name: "count(*)",
        line: "exec {bin}/psql -q '{copy}' -c 'select count(*) from articles' -c 'select count(*) from pgbench_accounts'",
        slow: true,
        ..PLAIN
    },
    Line {
        name: "seeds: full backup",
        line: "mkdir out/full && docker exec {container} pg_dump -U postgres shop | gzip > out/full/shop.sql.gz && \
               tar -czf out/full/models.tar.gz models && tar -czf out/full/config.tar.gz config && \
               docker run --rm --entrypoint tar -v {volume}:/source:ro -v {here}/out/full:/backup {image} \
               -czf /backup/volume.tar.gz -C /source . && \
               git -C repo bundle create -q {here}/out/full/repo.bundle --all && \
               cd out/full && sha256sum *.gz *.bundle > checksums.txt && cd .. && \
               tar -czf full_system.tar.gz full && rm -r full",
        long: true,
        ..PLAIN
    },
    Line {
        name: "full backup",
        line: "exec {runner} -q full_system --set 'databases={url}' --set models=models --set root=. --set parts=config \
               --set repo=repo --set volumes={volume} --set folder=out",
        ours: true,
        long: true,
        ..PLAIN
    },
];

impl Line {
    /// Runs it once; nothing where the machine lacks what it needs.
    pub fn run(&self, estate: &Estate) -> Result<Option<Ran>, String> {
        let folder = estate.folder();
        if estate::sh(&estate.fill(self.needs), folder).is_err() {
            return Ok(None);
        }
        // Nobody pays for what was written before, nor for reading from the disk what a machine has dropped from memory.
        estate::sh(
            "rm -rf out report.json && mkdir out && sync && { cat shop.* seeds.* > /dev/null 2>&1 || true; }",
            folder,
        )?;
        estate::sh(&estate.fill(self.before), folder)?;
        let mut ran = measure::run(&estate.fill(self.line), folder)?;
        estate::sh(&estate.fill(self.after), folder)?;
        ran.bytes = largest(&folder.join("out"));
        if let Ok(text) = std::fs::read_to_string(folder.join("report.json")) {
            let report: serde_json::Value = serde_json::from_str(&text).map_err(|e| e.to_string())?;
            for measure in report["measures"].as_array().into_iter().flatten() {
                if let (Some(name), Some(seconds)) = (measure["name"].as_str(), measure["seconds"].as_f64()) {
                    ran.measures.insert(name.to_owned(), seconds);
                }
            }
        }
        Ok(Some(ran))
    }
}

/// Returns the size of a folder's largest file: the backup, not what stands beside it.
fn largest(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.metadata().ok()).map(|facts| facts.len()).max().unwrap_or(0)
}

/// What a row must reach.
pub enum Target {
    /// So many times as fast as the other line.
    Faster(f64, &'static str),
    /// At most so many times as long as the limit.
    Limit(f64, &'static str),
    /// A file of at most so many times the size of the other line's.
    Size(f64, &'static str),
}

/// One job: our line, or a figure that it measured, and what it is held against.
pub struct Row {
    /// What it is called in the table.
    pub name: &'static str,
    /// Our line.
    pub ours: &'static str,
    /// The targets of the issue.
    pub targets: &'static [Target],
}

/// The rows of the table.
pub const ROWS: [Row; 8] = [
    Row {
        name: "dump to .sql.gz with fingerprint, over TCP",
        ours: "dump .sql.gz",
        targets: &[
            Target::Faster(3.5, "seeds: dump"),
            Target::Size(1.0, "seeds: dump"),
            Target::Limit(1.5, "limit: pg_dump"),
        ],
    },
    Row {
        name: "dump to .sql.zst with fingerprint, over TCP",
        ours: "dump .sql.zst",
        targets: &[Target::Faster(4.5, "seeds: dump"), Target::Size(0.9, "seeds: dump")],
    },
    Row {
        name: "dump through docker exec",
        ours: "dump by docker exec",
        targets: &[Target::Faster(2.0, "seeds: dump")],
    },
    Row {
        name: "restore .sql.gz into a fresh sandbox",
        ours: "drill/restore",
        targets: &[Target::Faster(3.0, "seeds: restore")],
    },
    Row {
        name: "compare every row of a copy",
        ours: "compare",
        targets: &[Target::Limit(1.3, "limit: pg_dump of the copy")],
    },
    Row {
        name: "drill: server, restore, every row, removed",
        ours: "drill",
        targets: &[Target::Faster(1.0, "seeds: restore"), Target::Faster(1.0, "firedrill")],
    },
    Row { name: "stock verify_restore, as it is", ours: "stock verify_restore", targets: &[] },
    Row {
        name: "full backup of the estate",
        ours: "full backup",
        targets: &[Target::Faster(4.0, "seeds: full backup")],
    },
];
