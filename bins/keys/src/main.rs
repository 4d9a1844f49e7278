//! `outcrop-keys`: key management on the command line.

use std::{env, io, process::ExitCode};

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args_os().collect();
    // Before the arguments are parsed, because the file supplies their defaults.
    if let Err(error) = boot::env::load(boot::env::file_argument(arguments.iter().cloned()).as_deref()) {
        return outcrop_keys::complain(&mut io::stderr(), &error.to_string());
    }
    let secret = env::var("KEY_HASH_SECRET").ok().filter(|secret| !secret.is_empty());
    outcrop_keys::run(arguments, secret.as_deref(), &mut io::stdin(), &mut io::stdout(), &mut io::stderr())
}
