//! The docker program, for what a test needs of an Engine beside the program under test.

use std::io::Write;
use std::process::{Command, Stdio};

/// Runs the docker program and returns what it said, or what it told when it failed.
pub fn try_docker(arguments: &[&str], input: &[u8]) -> Result<String, String> {
    let mut docker = Command::new("docker");
    docker.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = docker.spawn().expect("there is a docker program");
    let _ = child.stdin.take().expect("stdin is piped").write_all(input); // it may have ended with an error already
    let out = child.wait_with_output().expect("docker can be waited for");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if out.status.success() { Ok(text(&out.stdout)) } else { Err(text(&out.stderr)) }
}

/// Runs the docker program, which must succeed, and returns what it said.
pub fn docker(arguments: &[&str]) -> String {
    try_docker(arguments, b"").unwrap_or_else(|e| panic!("docker {arguments:?}: {e}"))
}
