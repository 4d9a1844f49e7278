//! `outcrop-proxy`: the data plane. `lib.rs` says how it is put together.

use std::process::ExitCode;

fn main() -> ExitCode {
    outcrop_proxy::main()
}
