//! The estate that is backed up: a database in a container, models, configuration, a volume, a git repository.

use std::fmt;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use runner::postgres::tools;
use runner::process;

/// Articles at scale 1.
const ARTICLES: f64 = 300_000.0;
/// pgbench's own scale at scale 1: each is 100,000 accounts.
const PGBENCH: f64 = 10.0;
/// Bytes of models that do not pack at scale 1, and of the volume, which is half text.
const MODELS: f64 = 200e6;
const VOLUME: f64 = 100e6;
/// Rows of the table whose versions are verified; as many as the seeds' production has.
const VERSIONS: u32 = 68;

const SCHEMA: &str = "create table authors (id int primary key, name text not null); \
    create table articles (id bigint not null, author int not null, url text not null, title text not null, \
        body text not null, meta jsonb not null, published timestamptz not null); \
    create table ml_model_versions (id int primary key, name text not null, version text not null, \
        metrics jsonb not null, accuracy double precision, created_at timestamptz not null);";
const INDEXES: &str = "alter table articles add primary key (id); alter table articles add unique (url); \
    create index articles_published on articles (published); create index articles_author on articles (author); \
    alter table articles add foreign key (author) references authors (id); vacuum analyze";

/// What is backed up, and where. It goes when it is dropped.
pub struct Estate {
    folder: tempfile::TempDir,
    container: String,
    image: String,
    volume: String,
    host: String,
    pgbench: u32,
    articles: u64,
}

impl Estate {
    /// Builds an estate of a size, with the backups of others where their lines are to run, too.
    pub fn build(scale: f64, others: bool) -> Result<Self, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
        let image = runtime.block_on(runner_test_support::docker_image()).ok_or("there is no Docker")?;
        let folder = tempfile::Builder::new().prefix("runner-bench-").tempdir().map_err(|e| e.to_string())?;
        let name = format!("runner-bench-{}", std::process::id());
        let mut estate = Self {
            folder,
            container: name.clone(),
            image,
            volume: name,
            host: String::new(),
            pgbench: (PGBENCH * scale).max(1.0) as u32,
            articles: (ARTICLES * scale) as u64,
        };
        estate.server()?;
        estate.database()?;
        estate.files(scale).map_err(|e| e.to_string())?;
        estate.volume(scale)?;
        estate.repository()?;
        estate.backups(others)?;
        Ok(estate)
    }

    /// Returns the folder in which lines run.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Returns a line with the estate's names in place of `{container}`, `{image}`, `{volume}`, `{url}`, ….
    pub fn fill(&self, line: &str) -> String {
        line.replace("{container}", &self.container)
            .replace("{image}", &self.image)
            .replace("{volume}", &self.volume)
            .replace("{url}", &self.url("shop"))
            .replace("{copy}", &self.url("copied"))
            .replace("{seeds}", &self.url("seeds"))
            .replace("{admin}", &self.url("postgres"))
            .replace("{bin}", &program("pg_dump").parent().unwrap_or(Path::new("/usr/bin")).to_string_lossy())
            .replace("{here}", &self.folder().to_string_lossy())
            .replace("{runner}", env!("CARGO_BIN_EXE_runner"))
    }

    fn url(&self, database: &str) -> String {
        format!("postgres://postgres:secret@{}:5432/{database}", self.host)
    }

    fn sh(&self, line: &str) -> Result<String, String> {
        sh(&self.fill(line), self.folder())
    }

    /// Writes pg_dump's text of the database.
    pub fn write_text(&self, to: &Path) -> Result<(), String> {
        let to = std::path::absolute(to).map_err(|e| e.to_string())?;
        self.sh(&format!("{{bin}}/pg_dump '{{url}}' > '{}'", to.display())).map(drop)
    }

    /// A server as users have it: nothing about it is tuned. Docker's own 64 MiB of shared memory end a VACUUM of this size.
    fn server(&mut self) -> Result<(), String> {
        self.sh("docker run -d --shm-size=256m --name {container} -e POSTGRES_PASSWORD=secret {image}")?;
        let inspect = "docker inspect -f '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' ";
        self.host = self.sh(&format!("{inspect}{}", self.container))?.trim().to_owned();
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.sh("{bin}/psql -qAt '{admin}' -c 'select 1'").is_err() {
            if Instant::now() > deadline {
                return Err("the server does not answer".into());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        self.sh("{bin}/psql -q '{admin}' -c 'create database shop'")?;
        Ok(())
    }

    fn database(&self) -> Result<(), String> {
        self.sh(&format!("{{bin}}/pgbench -q -i -s {} '{{url}}'", self.pgbench))?;
        self.psql(SCHEMA)?;
        self.copy("authors", |to, words| {
            (1..=1000).try_for_each(|id| writeln!(to, "{id}\t{} {}", words.one(), words.one()))
        })?;
        let articles = self.articles;
        self.copy("articles", move |to, words| {
            let sites = sites(words);
            (1..=articles).try_for_each(|id| article(to, words, &sites, id))
        })?;
        self.copy("ml_model_versions", |to, words| {
            (1..=VERSIONS).try_for_each(|id| {
                let (name, rate) = (words.one(), f64::from(words.next() as u32 % 1000) / 1000.0);
                writeln!(
                    to,
                    "{id}\t{name}\tv{id}\t{{\"f1\": {rate}, \"loss\": [1, 2]}}\t{rate}\t2026-01-01 00:00:00+00"
                )
            })
        })?;
        self.psql(INDEXES)
    }

    fn psql(&self, sql: &str) -> Result<(), String> {
        sql.split("; ").try_for_each(|one| self.sh(&format!("{{bin}}/psql -q '{{url}}' -c \"{one}\"")).map(drop))
    }

    fn copy(
        &self,
        table: &str,
        fill: impl FnOnce(&mut dyn Write, &mut Words) -> std::io::Result<()>,
    ) -> Result<(), String> {
        let mut psql = Command::new(program("psql"));
        psql.args(["-q", &self.url("shop"), "-c", &format!("copy {table} from stdin")]).stdin(Stdio::piped());
        let mut child = psql.spawn().map_err(|e| e.to_string())?;
        let mut to = BufWriter::with_capacity(1 << 20, child.stdin.take().ok_or("psql has no input")?);
        fill(&mut to, &mut Words::new(table.len() as u64)).and_then(|()| to.flush()).map_err(|e| e.to_string())?;
        drop(to);
        let status = child.wait().map_err(|e| e.to_string())?;
        if status.success() { Ok(()) } else { Err(format!("copy {table}: {status}")) }
    }

    fn files(&self, scale: f64) -> std::io::Result<()> {
        let mut words = Words::new(7);
        let (models, config) = (self.folder().join("models"), self.folder().join("config"));
        fs::create_dir_all(&models)?;
        fs::create_dir_all(&config)?;
        fs::create_dir_all(self.folder().join("out"))?;
        for at in 0..20 {
            words.bytes(&models.join(format!("model_{at:02}.pkl")), (MODELS * scale / 20.0) as usize)?;
        }
        for at in 0..200 {
            words.text(&config.join(format!("service_{at:03}.yml")), 20_000)?;
        }
        for (name, script) in super::jobs::SCRIPTS {
            fs::write(self.folder().join(name), script)?;
        }
        Ok(())
    }

    fn volume(&self, scale: f64) -> Result<(), String> {
        let (mut words, data) = (Words::new(9), self.folder().join("data"));
        fs::create_dir_all(&data).map_err(|e| e.to_string())?;
        for at in 0..10 {
            let half = (VOLUME * scale / 20.0) as usize;
            let filled = words.bytes(&data.join(format!("blob_{at}.bin")), half);
            filled.and_then(|()| words.text(&data.join(format!("log_{at}.txt")), half)).map_err(|e| e.to_string())?;
        }
        self.sh("docker volume create {volume}")?;
        self.sh(
            "docker run --rm -v {volume}:/to -v {here}/data:/from:ro --entrypoint sh {image} -c 'cp -r /from/. /to/'",
        )?;
        fs::remove_dir_all(data).map_err(|e| e.to_string())
    }

    fn repository(&self) -> Result<(), String> {
        let mut words = Words::new(11);
        self.sh(
            "git init -q repo && cd repo && git config user.email bench@example.com && git config user.name bench",
        )?;
        for at in 0..40 {
            let fill = (0..5)
                .try_for_each(|file| words.text(&self.folder().join(format!("repo/file_{file}_{at}.py")), 50_000));
            fill.map_err(|e| e.to_string())?;
            self.sh(&format!("cd repo && git add . && git commit -qm 'Change {at}'"))?;
        }
        Ok(())
    }

    /// The backups that restores begin with, and the restored copy that comparisons read.
    fn backups(&self, others: bool) -> Result<(), String> {
        if others {
            self.sh("{bin}/pg_dump -Fc '{url}' > shop.dump")?;
            self.sh("docker exec {container} pg_dump -U postgres shop | gzip > seeds.sql.gz")?;
        }
        self.sh("{runner} -q dump.rhai --set 'source={url}' --set to=shop.sql.gz")?;
        self.sh("{bin}/psql -q '{admin}' -c 'create database copied'")?;
        self.sh("{runner} -q into.rhai --set backup=shop.sql.gz --set 'copy={copy}'").map(drop)
    }
}

impl Drop for Estate {
    fn drop(&mut self) {
        let _ = self.sh("docker rm -fv {container}");
        let _ = self.sh("docker volume rm {volume}");
    }
}

impl fmt::Display for Estate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = self.sh("{bin}/psql -qAt '{url}' -c 'select pg_size_pretty(pg_database_size(current_database()))'");
        write!(
            f,
            "database of {}: {} articles, {} accounts, {VERSIONS} model versions; models, configuration, volume, repository",
            size.unwrap_or_default().trim(),
            self.articles,
            self.pgbench * 100_000
        )
    }
}

/// Runs a preparation.
pub fn sh(line: &str, folder: &Path) -> Result<String, String> {
    let mut bash = Command::new("bash");
    bash.args(["-c", &format!("set -euo pipefail; {line}")]).current_dir(folder).stdin(Stdio::null());
    let out = bash.output().map_err(|e| e.to_string())?;
    match out.status.success() {
        true => Ok(String::from_utf8_lossy(&out.stdout).into_owned()),
        false => Err(format!("{}: {line}\n{}", out.status, String::from_utf8_lossy(&out.stderr))),
    }
}

fn program(name: &str) -> PathBuf {
    process::find(name, &tools::folders()).unwrap_or_else(|| PathBuf::from(name))
}

/// How many sites the articles were taken from.
const SITES: u64 = 50;

/// What surrounds the articles of one site: markup, navigation, a footer.
struct Site {
    head: String,
    foot: String,
}

/// The sites, each with its own surroundings.
fn sites(words: &mut Words) -> Vec<Site> {
    let mut site = || Site {
        head: format!("<article class=\"{} {}\"><nav>{}</nav>", words.one(), words.one(), words.some(15)),
        foot: format!("<footer>{}</footer></article>", words.some(40)),
    };
    (0..SITES).map(|_| site()).collect()
}

/// A wide row, as an archive of articles from several sites has them: paragraphs between what all pages of a site repeat,
/// and a document.
fn article(to: &mut dyn Write, words: &mut Words, sites: &[Site], id: u64) -> std::io::Result<()> {
    let (author, at) = (words.next() % 1000 + 1, words.next() % SITES);
    let (slug, title, body) = (words.some(4).replace(' ', "-"), words.some(8), words.some(100));
    let Site { head, foot } = &sites[at as usize];
    let score = words.next() % 10_000;
    let (day, hour) = (words.next() % 28 + 1, words.next() % 24);
    writeln!(
        to,
        "{id}\t{author}\thttps://site{at}.example.com/{slug}/{id}\t{title}\t{head}<p>{body}</p>{foot}\t\
         {{\"lang\": \"en\", \"score\": {score}, \"site\": {at}, \"tags\": [\"{}\", \"{}\"], \"words\": 100}}\t\
         2026-05-{day:02} {hour:02}:00:00+00",
        words.one(),
        words.one(),
    )
}

/// Text and bytes that are the same in each run.
struct Words {
    state: u64,
    vocabulary: Vec<String>,
}

impl Words {
    fn new(seed: u64) -> Self {
        let mut new = Self { state: seed | 1, vocabulary: Vec::new() };
        for _ in 0..4096 {
            let length = 2 + new.next() as usize % 9;
            let word = (0..length).map(|_| char::from(b'a' + (new.next() % 26) as u8)).collect();
            new.vocabulary.push(word);
        }
        new
    }

    /// Marsaglia's xorshift64*: its high bits pass for random, which is enough for bytes that do not pack.
    fn next(&mut self) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        self.state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16
    }

    /// Some words are frequent, as in real text.
    fn one(&mut self) -> String {
        let (a, b) = (self.next() % 4096, self.next() % 4096);
        self.vocabulary[(a * b / 4096) as usize].clone()
    }

    fn some(&mut self, count: usize) -> String {
        (0..count).map(|_| self.one()).collect::<Vec<_>>().join(" ")
    }

    fn bytes(&mut self, to: &Path, count: usize) -> std::io::Result<()> {
        let mut file = BufWriter::with_capacity(1 << 20, File::create(to)?);
        for _ in 0..count / 4 {
            file.write_all(&(self.next() as u32).to_le_bytes())?;
        }
        file.flush()
    }

    fn text(&mut self, to: &Path, count: usize) -> std::io::Result<()> {
        let mut file = BufWriter::with_capacity(1 << 20, File::create(to)?);
        let mut written = 0;
        while written < count {
            let line = self.some(12);
            writeln!(file, "{line}")?;
            written += line.len() + 1;
        }
        file.flush()
    }
}
