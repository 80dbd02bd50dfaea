//! The binary `avouch`: arguments, then the command.

use std::process::ExitCode;

fn main() -> ExitCode {
    avouch_runtime::cli::main()
}
