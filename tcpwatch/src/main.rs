//! The `tcpwatch` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    tcpwatch::cli::main()
}
