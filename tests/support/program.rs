//! The program under test in a world of its own: a folder, a clean environment, its own temporary folder.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Longer than any run of a test: a run that hangs is a finding.
const DEADLINE: Duration = Duration::from_secs(240);

/// A folder in which the program runs.
pub struct World {
    program: PathBuf,
    folder: tempfile::TempDir,
    path: std::ffi::OsString,
    extra: Vec<(String, String)>,
}

/// How a run of the program ended.
pub struct Ended {
    /// The exit code; 128 and more for signals that killed it.
    pub code: i32,
    /// What it answered.
    pub stdout: String,
    /// What it told.
    pub stderr: String,
    /// The most memory that the process itself had, in KiB: VmHWM.
    pub peak_kib: u64,
}

impl World {
    /// Makes an empty world for a program.
    pub fn new(program: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        std::fs::create_dir(folder.path().join("tmp")).expect("a folder can be made");
        let path = std::env::var_os("PATH").unwrap_or_default();
        Self { program: program.into(), folder, path, extra: Vec::new() }
    }

    /// Runs the program with another PATH, for machines that lack things.
    pub fn with_path(mut self, path: &str) -> Self {
        self.path = path.into();
        self
    }

    /// Sets a variable.
    pub fn with_env(mut self, name: &str, value: &str) -> Self {
        self.extra.push((name.into(), value.into()));
        self
    }

    /// Writes a file.
    pub fn file(self, name: &str, text: &str) -> Self {
        self.write(name, text);
        self
    }

    /// Writes a file, also between two runs.
    pub fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("files lie in the world")).expect("a folder can be made");
        std::fs::write(path, text).expect("a file can be written");
    }

    /// Returns a path of the world.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Returns what is in a folder of the world, by name.
    pub fn names(&self, folder: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.path(folder)).into_iter().flatten();
        let mut names: Vec<_> = entries.filter_map(|e| e.ok()?.file_name().into_string().ok()).collect();
        names.sort();
        names
    }

    /// Runs the program to its end.
    pub fn run(&self, arguments: &[&str]) -> Ended {
        self.start(arguments).end()
    }

    /// Starts the program.
    pub fn start(&self, arguments: &[&str]) -> Started {
        let mut command = Command::new(&self.program);
        command.args(arguments).current_dir(self.folder.path()).env_clear();
        command.env("PATH", &self.path).env("HOME", self.folder.path()).env("TMPDIR", self.path("tmp"));
        command.env("LC_ALL", "C.UTF-8").envs(self.extra.iter().map(|(n, v)| (n, v)));
        if let Some(docker) = std::env::var_os("DOCKER_HOST") {
            command.env("DOCKER_HOST", docker);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let (told, lines) = channel();
        let stderr = BufReader::new(child.stderr.take().expect("stderr is piped"));
        std::thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|line| told.send(line)));
        let mut stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let answer = std::thread::spawn(move || {
            let mut text = String::new();
            std::io::Read::read_to_string(&mut stdout, &mut text).map(|_| text)
        });
        Started { child, lines, told: Vec::new(), answer, began: Instant::now() }
    }
}

/// A run of the program that has not ended.
pub struct Started {
    child: Child,
    lines: Receiver<String>,
    told: Vec<String>,
    answer: std::thread::JoinHandle<std::io::Result<String>>,
    began: Instant,
}

impl Started {
    /// Waits until it tells a line that holds `text`; returns whether it did before it ended.
    pub fn until(&mut self, text: &str) -> bool {
        while let Ok(line) = self.lines.recv_timeout(DEADLINE) {
            let found = line.contains(text);
            self.told.push(line);
            if found {
                return true;
            }
        }
        false
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let _ = kill(Pid::from_raw(self.child.id().cast_signed()), signal); // it may have ended meanwhile
    }

    /// Waits for the end.
    pub fn end(mut self) -> Ended {
        let mut peak_kib = 0;
        let status = loop {
            peak_kib = peak_kib.max(high_water(self.child.id()));
            if let Some(status) = self.child.try_wait().expect("the program can be waited for") {
                break status;
            }
            if self.began.elapsed() > DEADLINE {
                let _ = self.child.kill();
                panic!("the program hangs:\n{}", self.told.join("\n"));
            }
            // Lines are the clock: each one wakes us, and silence is looked at twice a second.
            if let Ok(line) = self.lines.recv_timeout(Duration::from_millis(20)) {
                self.told.push(line);
            }
        };
        self.told.extend(self.lines.iter());
        use std::os::unix::process::ExitStatusExt;
        Ended {
            code: status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0)),
            stdout: self.answer.join().expect("stdout is read").expect("stdout is text"),
            stderr: self.told.join("\n"),
            peak_kib,
        }
    }
}

impl Ended {
    /// Checks the exit code and shows what was told when it is another one.
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}\n{}", self.stderr, self.stdout);
        self
    }

    /// Checks that a text was told.
    pub fn told(self, text: &str) -> Self {
        assert!(self.stderr.contains(text), "nobody told «{text}»:\n{}", self.stderr);
        self
    }
}

fn high_water(pid: u32) -> u64 {
    let status = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("status")).unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    line.and_then(|l| l.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}
