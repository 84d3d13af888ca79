//! Git repositories by the git program: bundled with every ref, verified, and made again from a bundle alone.
//!
//! Nothing here talks to a remote. A repository's own hooks and file system monitor are not run: looking at a repository
//! must not execute what lies in it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

use crate::error::{Error, Kind, Result};
use crate::files::atomic::{self, AtomicFile};
use crate::files::checksums;
use crate::files::digest::{Digest, Hasher};
use crate::files::{extract, shown, with_suffix};
use crate::process::{self, Program};
use crate::progress::Progress;

/// What the manifest beside a bundle calls itself.
const FORMAT: &str = "runner git bundle 1";
/// The most changed files that are listed by name.
const LISTED: usize = 20;
/// A larger manifest is none of ours.
const MANIFEST_LIMIT: u64 = 64 << 20;

/// The refs of a repository with the objects that they name.
pub type Refs = BTreeMap<String, String>;

/// Work that a bundle, or a remote, does not hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loose {
    /// How many files are changed, staged or not tracked.
    pub uncommitted: u64,
    /// The first of them.
    pub files: Vec<String>,
    /// Branches with how many of their commits no remote had when it was last asked.
    pub unpushed: BTreeMap<String, u64>,
    /// How many stashes there are. A bundle holds the newest only.
    pub stashes: u64,
    /// Submodules, whose repositories are not in the bundle.
    pub submodules: u64,
    /// Whether files are kept by Git LFS, whose contents are not in the bundle.
    pub lfs: bool,
}

/// What is known of a bundle, kept beside it as `NAME.manifest.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    format: String,
    /// When it was made.
    pub made_at: jiff::Timestamp,
    /// The file's digest.
    pub sha256: Digest,
    /// The branch that was checked out, or the commit.
    pub head: String,
    /// Every ref in the bundle.
    pub refs: Refs,
    /// What is not in it.
    pub loose: Loose,
}

/// A bundle that was written and verified.
#[derive(Debug, Clone)]
pub struct Bundled {
    /// The file.
    pub path: PathBuf,
    /// How many bytes it holds.
    pub size: u64,
    /// What its manifest says.
    pub manifest: Manifest,
}

/// A repository that was made from a bundle.
#[derive(Debug, Clone)]
pub struct Restored {
    /// The folder.
    pub folder: PathBuf,
    /// The branch or commit that is checked out.
    pub head: String,
    /// Every ref, equal to those of the bundle.
    pub refs: Refs,
    /// How many commits they lead to.
    pub commits: u64,
    /// Whether the bundle agreed with a checksum or manifest beside it.
    pub proven: bool,
}

/// Returns whether this folder is a repository that can be bundled whole.
pub async fn look(repo: &Path) -> Result<()> {
    let git = Git::inside(repo)?;
    git.ask(&["rev-parse", "--git-dir"]).await.map_err(|e| {
        Error::new(Kind::Missing, format!("{} is no git repository that can be read", shown(repo)))
            .on(shown(repo))
            .caused_by_error(e)
    })?;
    if git.ask(&["rev-parse", "--is-shallow-repository"]).await? == "true" {
        return Err(Error::new(Kind::Refused, format!("{} is a shallow clone: its history is cut", shown(repo)))
            .on(shown(repo))
            .hint("git fetch --unshallow brings the rest"));
    }
    Ok(())
}

/// Writes every ref of a repository with its whole history into `to`, verifies that the file needs nothing else, and
/// reports what it does not hold.
pub async fn bundle(repo: &Path, to: &Path) -> Result<Bundled> {
    look(repo).await?;
    let git = Git::inside(repo)?;
    let manifest_path = with_suffix(to, ".manifest.json");
    let mut listed = AtomicFile::create(&manifest_path)?;
    let file = AtomicFile::create(to)?;
    let loose = loose(&git).await?;
    let head = head(&git).await?;
    let mut running = git.program(&["bundle", "create", "--quiet", "-", "--all"]).start()?;
    let mut hasher = Hasher::default();
    if let Some(stdout) = running.stdout() {
        let out = tokio::fs::File::from_std(file.file()?);
        write_out(stdout, out, &mut hasher).await.map_err(|e| Error::io("write", to, &e))?;
    }
    running.finish().await.map_err(|e| {
        let error = Error::new(Kind::Process, format!("could not bundle {}", shown(repo))).on(shown(repo));
        error.caused_by_error(e).hint("a repository without a commit has nothing to bundle; git fsck finds damage")
    })?;
    verify(file.path()).await?;
    let refs = refs_of_bundle(file.path()).await?;
    let (size, sha256) = (hasher.bytes(), hasher.finish());
    let made_at = jiff::Timestamp::now();
    let manifest = Manifest { format: FORMAT.to_owned(), made_at, sha256, head, refs, loose };
    serde_json::to_writer_pretty(&mut listed, &manifest).map_err(|e| Error::io("write", &manifest_path, &e.into()))?;
    // The bundle is named last: whoever finds it finds the other two.
    checksums::write_sidecar(to, sha256)?;
    listed.commit()?;
    file.commit()?;
    Ok(Bundled { path: to.to_owned(), size, manifest })
}

/// Makes a repository of a bundle in a folder that is new or empty: with every ref, checked by `git fsck --full`, with
/// the branch checked out that was. Nothing has the folder's name before all of that is done.
pub async fn restore(bundle: &Path, into: &Path) -> Result<Restored> {
    extract::refuse_full(into)?;
    let manifest = manifest(bundle)?;
    let proven = prove(bundle, manifest.as_ref()).await?;
    verify(bundle).await?;
    let refs = refs_of_bundle(bundle).await?;
    if let Some(manifest) = manifest.as_ref().filter(|m| m.refs != refs) {
        return Err(differ(bundle, &manifest.refs, &refs, "its manifest"));
    }
    let parent = into.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    atomic::create_folder(parent)?;
    let staging = tempfile::Builder::new()
        .prefix(atomic::partial_prefix())
        .tempdir_in(parent)
        .map_err(|e| Error::io("create a folder in", parent, &e))?;
    let git = Git::inside(staging.path())?;
    let from = std::path::absolute(bundle).map_err(|e| Error::io("find", bundle, &e))?;
    git.ask(&["init", "--quiet", "--template=", "--initial-branch=runner-restores", "."]).await?;
    let fetched = git.program(&["-c", "fetch.fsckObjects=true", "fetch", "--quiet", "--update-head-ok"]);
    let fetched = fetched.arg(&from).arg("+refs/*:refs/*").output().await;
    fetched.map_err(|e| failed(bundle, e))?;
    let head = set_head(&git, bundle, &refs, manifest.as_ref().map(|m| m.head.as_str())).await?;
    git.ask(&["reset", "--quiet", "--hard"]).await.map_err(|e| failed(bundle, e))?;
    git.ask(&["fsck", "--full", "--no-dangling"]).await.map_err(|e| failed(bundle, e))?;
    let found = refs_of(&git).await?;
    let wanted: Refs = refs.iter().filter(|(name, _)| *name != "HEAD").map(|(n, o)| (n.clone(), o.clone())).collect();
    if found != wanted {
        return Err(differ(bundle, &wanted, &found, "the bundle"));
    }
    let commits = git.ask(&["rev-list", "--all", "--count"]).await?.parse().unwrap_or(0);
    std::fs::rename(staging.path(), into).map_err(|e| Error::io("name", into, &e))?;
    let _ = staging.keep(); // it has its name now
    atomic::sync_folder(parent)?;
    Ok(Restored { folder: into.to_owned(), head, refs: found, commits, proven })
}

/// Checks out what was checked out: the branch of the manifest, or one that stands where the bundle's HEAD stands.
async fn set_head(git: &Git, bundle: &Path, refs: &Refs, known: Option<&str>) -> Result<String> {
    let at = refs.get("HEAD");
    let same = |name: &String| name.starts_with("refs/heads/") && (at.is_none() || refs.get(name) == at);
    let branch = match known {
        Some(head) if refs.contains_key(head) => Some(head.to_owned()),
        Some(_) => None,
        None => refs.keys().find(|name| same(name)).cloned(),
    };
    match (branch, at) {
        (Some(branch), _) => {
            git.ask(&["symbolic-ref", "HEAD", &branch]).await?;
            Ok(branch)
        }
        (None, Some(commit)) => {
            git.ask(&["update-ref", "--no-deref", "HEAD", commit]).await?;
            Ok(commit.clone())
        }
        (None, None) => {
            Err(Error::new(Kind::Damaged, format!("{} holds no branch to check out", shown(bundle))).on(shown(bundle)))
        }
    }
}

fn failed(bundle: &Path, cause: Error) -> Error {
    let name = shown(bundle);
    Error::new(Kind::Damaged, format!("could not make a repository of {name}")).on(name).caused_by_error(cause)
}

fn differ(bundle: &Path, wanted: &Refs, found: &Refs, of: &str) -> Error {
    let differs = |name: &&String| wanted.get(*name) != found.get(*name);
    let names: Vec<_> = wanted.keys().chain(found.keys()).filter(differs).take(3).cloned().collect();
    Error::new(Kind::Damaged, format!("{} has other refs than {of} says", shown(bundle)))
        .on(shown(bundle))
        .caused_by(format!("for instance {}", names.join(", ")))
}

/// Checks a bundle against the digests beside it; returns whether there was one.
async fn prove(bundle: &Path, manifest: Option<&Manifest>) -> Result<bool> {
    let sidecar = match checksums::read_sidecar(bundle) {
        Ok(digest) => Some(digest),
        Err(e) if e.kind() == Kind::Missing => None,
        Err(e) => return Err(e),
    };
    let found = digest(bundle).await?;
    for (expected, list) in [(sidecar, "checksum"), (manifest.map(|m| m.sha256), "manifest")] {
        if expected.is_some_and(|expected| expected != found) {
            let name = shown(bundle);
            return Err(Error::new(Kind::Damaged, format!("{name} is not the file that its {list} speaks of")).on(name));
        }
    }
    Ok(sidecar.is_some() || manifest.is_some())
}

/// Reads the manifest beside a bundle, if there is one.
fn manifest(bundle: &Path) -> Result<Option<Manifest>> {
    let path = with_suffix(bundle, ".manifest.json");
    let (file, facts) = match crate::files::open(&path) {
        Ok(open) => open,
        Err(e) if e.kind() == Kind::Missing => return Ok(None),
        Err(e) => return Err(e),
    };
    let damaged = |why: String| {
        let name = shown(&path);
        Error::new(Kind::Damaged, format!("{name} is not the manifest of a bundle")).on(name).caused_by(why)
    };
    if facts.len() > MANIFEST_LIMIT {
        return Err(damaged("it is larger than 64 MiB".into()));
    }
    let read: Manifest = serde_json::from_reader(std::io::BufReader::new(file)).map_err(|e| damaged(e.to_string()))?;
    if read.format == FORMAT { Ok(Some(read)) } else { Err(damaged(format!("its format is {:?}", read.format))) }
}

/// Verifies a bundle in an empty repository, where nothing can stand in for what it lacks.
async fn verify(bundle: &Path) -> Result<()> {
    let (_, _) = crate::files::open(bundle)?;
    let empty = tempfile::tempdir().map_err(|e| Error::io("create a folder for", bundle, &e))?;
    let git = Git::inside(empty.path())?;
    git.ask(&["init", "--quiet", "--bare", "--template=", "."]).await?;
    let path = std::path::absolute(bundle).map_err(|e| Error::io("find", bundle, &e))?;
    let verified = git.program(&["bundle", "verify", "--quiet"]).arg(path).output().await;
    verified.map(|_| ()).map_err(|e| {
        let name = shown(bundle);
        Error::new(Kind::Damaged, format!("{name} is not a whole bundle")).on(name).caused_by_error(e)
    })
}

async fn refs_of_bundle(bundle: &Path) -> Result<Refs> {
    let path = std::path::absolute(bundle).map_err(|e| Error::io("find", bundle, &e))?;
    let listed = Git::anywhere()?.program(&["bundle", "list-heads"]).arg(path).output().await?;
    Ok(refs(&String::from_utf8_lossy(&listed)))
}

async fn refs_of(git: &Git) -> Result<Refs> {
    Ok(refs(&git.ask(&["for-each-ref", "--format=%(objectname) %(refname)"]).await?))
}

fn refs(lines: &str) -> Refs {
    lines.lines().filter_map(|l| l.split_once(' ')).map(|(object, name)| (name.to_owned(), object.to_owned())).collect()
}

/// Returns the full name of the branch that is checked out, or else the commit.
async fn head(git: &Git) -> Result<String> {
    match git.ask(&["symbolic-ref", "--quiet", "HEAD"]).await {
        Ok(branch) => Ok(branch),
        Err(_) => git.ask(&["rev-parse", "HEAD"]).await,
    }
}

/// Looks for what a bundle, or a remote, does not hold.
async fn loose(git: &Git) -> Result<Loose> {
    let mut loose = Loose::default();
    if git.ask(&["rev-parse", "--is-bare-repository"]).await? == "false" {
        let status = git.ask(&["status", "--porcelain=v1", "-z", "--no-renames", "--untracked-files=all"]).await?;
        let files = || status.split('\0').filter(|line| line.len() > 3);
        loose.uncommitted = files().count() as u64;
        loose.files = files().take(LISTED).map(|line| line[3..].to_owned()).collect();
        loose.submodules =
            git.ask(&["ls-files", "--stage"]).await?.lines().filter(|l| l.starts_with("160000 ")).count() as u64;
    }
    let branches = git.ask(&["for-each-ref", "--format=%(refname)", "refs/heads"]).await?;
    if git.ask(&["rev-list", "--count", "--branches", "--not", "--remotes"]).await? != "0" {
        for branch in branches.lines() {
            let count = git.ask(&["rev-list", "--count", branch, "--not", "--remotes"]).await?.parse().unwrap_or(0);
            if count > 0 {
                loose.unpushed.insert(branch.trim_start_matches("refs/heads/").to_owned(), count);
            }
        }
    }
    loose.stashes = git.ask(&["stash", "list"]).await.map_or(0, |list| list.lines().count() as u64);
    let lfs = git.ask(&["rev-parse", "--path-format=absolute", "--git-path", "lfs/objects"]).await?;
    loose.lfs = Path::new(&lfs).is_dir();
    Ok(loose)
}

/// Writes what git says to a file, and digests it on its way.
async fn write_out(
    mut from: impl AsyncRead + Unpin,
    mut out: tokio::fs::File,
    hasher: &mut Hasher,
) -> std::io::Result<()> {
    let mut block = vec![0; 256 << 10];
    loop {
        match from.read(&mut block).await? {
            0 => return out.flush().await,
            n => {
                hasher.update(&block[..n]);
                out.write_all(&block[..n]).await?;
            }
        }
    }
}

async fn digest(path: &Path) -> Result<Digest> {
    let path = path.to_owned();
    let cancel = CancellationToken::new();
    let _ends_with_us = cancel.clone().drop_guard();
    let digesting = tokio::task::spawn_blocking(move || Digest::of_file(&path, &Progress::default(), &cancel));
    digesting.await.map_err(|e| Error::new(Kind::Bug, "digesting a bundle panicked").because(&e))?
}

/// The git program in one folder.
struct Git {
    program: PathBuf,
    folder: Option<PathBuf>,
}

impl Git {
    fn anywhere() -> Result<Self> {
        let program = process::find("git", &[]).ok_or_else(|| {
            Error::new(Kind::Missing, "the program git is not on this machine").hint("install git, or set PATH")
        })?;
        Ok(Self { program, folder: None })
    }

    fn inside(folder: &Path) -> Result<Self> {
        Ok(Self { folder: Some(folder.to_owned()), ..Self::anywhere()? })
    }

    fn program(&self, arguments: &[&str]) -> Program {
        let mut program = Program::new(&self.program)
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_OPTIONAL_LOCKS", "0") // reading a repository does not write to it
            .env("GIT_NO_LAZY_FETCH", "1")
            .env("GIT_LFS_SKIP_SMUDGE", "1");
        if let Some(folder) = &self.folder {
            // Without a ceiling a folder that is no repository would be taken for a part of the one above it.
            program = program.folder(folder);
            if let Some(parent) = folder.canonicalize().ok().and_then(|f| f.parent().map(Path::to_owned)) {
                program = program.env("GIT_CEILING_DIRECTORIES", parent);
            }
        }
        program.args(["--no-pager", "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false"]).args(arguments)
    }

    /// Returns what git answers, without the line's end.
    async fn ask(&self, arguments: &[&str]) -> Result<String> {
        let out = self.program(arguments).output().await?;
        Ok(String::from_utf8_lossy(&out).trim_end_matches(['\n', '\r']).to_owned())
    }
}
