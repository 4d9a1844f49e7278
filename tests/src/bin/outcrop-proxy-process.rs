//! `outcrop-proxy` as a program that the tests of this package may start, kill and measure: only a package's own programs
//! are built for its tests.

use std::process::ExitCode;

fn main() -> ExitCode {
    outcrop_proxy::main()
}
