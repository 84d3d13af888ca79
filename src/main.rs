//! The program: reads the command line and leaves with the run's exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    // A panic becomes an error of the run, which still cleans up. What it says may hold a secret.
    std::panic::set_hook(Box::new(|panic| {
        eprintln!("runner: this is our bug: {}", runner::secret::redact(&panic.to_string()));
    }));
    ExitCode::from(runner::cli::main(std::env::args_os()))
}
