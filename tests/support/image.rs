//! An image with the official PostgreSQL image's contract, assembled from this machine's own PostgreSQL.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};
use std::process::Command;

use bollard::query_parameters::CreateImageOptionsBuilder;
use futures_util::StreamExt;
use nix::fcntl::{Flock, FlockArg};
use runner::postgres::tools;

type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;

const ENTRYPOINT: &str = include_str!("entrypoint.sh");

/// What the entrypoint and the tests run inside, besides PostgreSQL's own programs.
const PROGRAMS: [&str; 25] = [
    "sh", "bash", "cat", "chmod", "chown", "cp", "date", "echo", "env", "false", "grep", "gzip", "head", "id", "ls",
    "mkdir", "pgrep", "pkill", "ps", "rm", "setpriv", "sleep", "tail", "tar", "true",
];

/// Returns the image of the newest local PostgreSQL, and builds it where the Engine does not have it. One process
/// builds; the others wait for it.
pub async fn build(docker: &bollard::Docker) -> Result<String> {
    let bin = tools::folders().into_iter().find(|folder| folder.join("initdb").exists());
    let bin = bin.ok_or("there is no PostgreSQL on this machine to build an image from")?;
    let home = bin.parent().ok_or("PostgreSQL's programs lie in no folder")?.to_owned();
    let major = home.file_name().ok_or("PostgreSQL's folder has no name")?.to_string_lossy().into_owned();
    let image = format!("runner-test-postgres:{major}");
    let _lock = tokio::task::spawn_blocking(lock).await??;
    if docker.inspect_image(&image).await.is_err() {
        let root = tokio::task::spawn_blocking(move || root_fs(&home)).await??;
        import(docker, root, &major).await?;
    }
    Ok(image)
}

fn lock() -> Result<Flock<File>> {
    let path = std::env::temp_dir().join(format!("runner-test-image-{}.lock", nix::unistd::geteuid()));
    let file = File::options().create(true).truncate(false).write(true).open(path)?;
    Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| errno.into())
}

async fn import(docker: &bollard::Docker, root: File, major: &str) -> Result<()> {
    let path = format!("/usr/lib/postgresql/{major}/bin:/usr/bin:/bin");
    let changes = [
        format!("ENV PATH={path} PGDATA=/var/lib/postgresql/data LANG=C.UTF-8"),
        "ENTRYPOINT [\"/usr/local/bin/docker-entrypoint.sh\"]".to_owned(),
        "CMD [\"postgres\"]".to_owned(),
        "EXPOSE 5432".to_owned(),
        "VOLUME /var/lib/postgresql/data".to_owned(),
    ];
    let options = CreateImageOptionsBuilder::new().from_src("-").repo("runner-test-postgres").tag(major);
    let blocks = tokio_util::io::ReaderStream::with_capacity(tokio::fs::File::from_std(root), 1 << 20);
    let body = bollard::body_try_stream(blocks);
    let options = options.changes(changes.to_vec()).build();
    let mut events = docker.create_image(Some(options), Some(body), None);
    while let Some(event) = events.next().await {
        event?;
    }
    Ok(())
}

/// Writes the root file system as a tar into a file that has no name.
fn root_fs(home: &Path) -> Result<File> {
    let major = home.file_name().ok_or("PostgreSQL's folder has no name")?;
    let mut root = Root { tar: tar::Builder::new(tempfile::tempfile()?), written: BTreeSet::new() };
    let mut needed = Vec::new();
    for name in PROGRAMS {
        let Some(program) = find(name) else { continue };
        root.file_as(&program, Path::new("usr/bin").join(name))?;
        needed.push(program);
    }
    root.link("bin", "usr/bin")?;
    let tools = needed.len();
    needed.extend(files(&home.join("bin"))?);
    // Without LLVM itself its provider would end the queries that it was to speed up.
    needed.extend(files(&home.join("lib"))?.into_iter().filter(|f| !f.to_string_lossy().contains("llvmjit")));
    for file in &needed[tools..] {
        root.file(file)?;
    }
    for library in libraries(&needed)? {
        root.file(&library)?;
    }
    let share = Path::new("/usr/share/postgresql").join(major);
    for folder in [share.as_path(), Path::new("/usr/lib/locale/C.utf8"), Path::new("/usr/share/zoneinfo")] {
        for file in files(folder)? {
            root.file(&file)?;
        }
    }
    root.text("etc/passwd", 0o644, "root:x:0:0::/root:/bin/sh\npostgres:x:999:999::/var/lib/postgresql:/bin/sh\n")?;
    root.text("etc/group", 0o644, "root:x:0:\npostgres:x:999:\n")?;
    root.text("etc/nsswitch.conf", 0o644, "passwd: files\ngroup: files\nhosts: files dns\n")?;
    root.text("usr/local/bin/docker-entrypoint.sh", 0o755, ENTRYPOINT)?;
    for (folder, mode) in [("tmp", 0o1777), ("var/run", 0o755), ("var/lib/postgresql", 0o755), ("root", 0o700)] {
        root.folder(folder, mode)?;
    }
    let mut file = root.tar.into_inner()?;
    file.rewind()?;
    Ok(file)
}

fn find(name: &str) -> Option<PathBuf> {
    ["/usr/bin", "/bin"].iter().map(|folder| Path::new(folder).join(name)).find(|file| file.exists())
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))? {
        let path = entry?.path();
        match path.metadata() {
            Ok(facts) if facts.is_dir() && !path.is_symlink() => found.extend(files(&path)?),
            Ok(facts) if facts.is_file() => found.push(path),
            _ => {} // a link that leads nowhere, or to a folder that is listed on its own
        }
    }
    Ok(found)
}

/// Returns the shared libraries that the programs name, the loader included.
fn libraries(programs: &[PathBuf]) -> Result<BTreeSet<PathBuf>> {
    let mut found = BTreeSet::new();
    for some in programs.chunks(50) {
        let listed = Command::new("ldd").args(some).env("LC_ALL", "C").output()?;
        for line in String::from_utf8_lossy(&listed.stdout).lines() {
            let path = line.split("=>").last().unwrap_or(line).trim().split(" (0x").next().unwrap_or_default();
            if path.starts_with('/') && path.contains(".so") && Path::new(path).is_file() {
                found.insert(PathBuf::from(path));
            }
        }
    }
    Ok(found)
}

/// A root file system in the making. Links are followed: every file is written under the name that was asked for.
struct Root {
    tar: tar::Builder<File>,
    written: BTreeSet<PathBuf>,
}

impl Root {
    fn file(&mut self, path: &Path) -> Result<()> {
        self.file_as(path, path.strip_prefix("/")?.to_owned())
    }

    fn file_as(&mut self, path: &Path, name: PathBuf) -> Result<()> {
        if !self.written.insert(name.clone()) {
            return Ok(());
        }
        let mut file = File::open(path).map_err(|e| format!("{}: {e}", path.display()))?;
        let facts = file.metadata()?;
        let mut header = header(facts.len(), if is_program(&facts) { 0o755 } else { 0o644 });
        Ok(self.tar.append_data(&mut header, name, &mut file)?)
    }

    fn text(&mut self, name: &str, mode: u32, text: &str) -> io::Result<()> {
        self.tar.append_data(&mut header(text.len() as u64, mode), name, text.as_bytes().take(u64::MAX))
    }

    fn link(&mut self, name: &str, to: &str) -> io::Result<()> {
        let mut header = header(0, 0o777);
        header.set_entry_type(tar::EntryType::Symlink);
        self.tar.append_link(&mut header, name, to)
    }

    fn folder(&mut self, name: &str, mode: u32) -> io::Result<()> {
        let mut header = header(0, mode);
        header.set_entry_type(tar::EntryType::Directory);
        self.tar.append_data(&mut header, name, io::empty())
    }
}

fn is_program(facts: &std::fs::Metadata) -> bool {
    std::os::unix::fs::MetadataExt::mode(facts) & 0o100 != 0
}

fn header(size: u64, mode: u32) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_size(size);
    header.set_mode(mode);
    header
}
