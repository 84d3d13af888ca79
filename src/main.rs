//! The program: reads the command line and leaves with the run's exit code.

fn main() {}
