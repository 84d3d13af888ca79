//! The command line: words on the terminal, options and exit code.

pub mod output;
pub mod watch;
