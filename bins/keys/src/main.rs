//! `outcrop-keys`: key management on the command line.

use std::{
    env,
    ffi::{OsStr, OsString},
    io,
    process::ExitCode,
};

fn main() -> ExitCode {
    let mut arguments: Vec<_> = env::args_os().collect();
    // Before the arguments are parsed, because the file supplies their defaults.
    if let Err(error) = boot::env::load(boot::env::file_argument(arguments.iter().cloned()).as_deref()) {
        return outcrop_keys::complain(&mut io::stderr(), &error.to_string());
    }
    arguments.extend(other_name(&arguments));
    let secret = env::var("KEY_HASH_SECRET").ok().filter(|secret| !secret.is_empty());
    outcrop_keys::run(arguments, secret.as_deref(), &mut io::stdin(), &mut io::stdout(), &mut io::stderr())
}

/// The one setting whose variable has two names, of which the parser knows one.
fn other_name(arguments: &[OsString]) -> Option<OsString> {
    const FLAG: &str = "--model-pricing-table";
    let given = arguments.iter().any(|argument| argument.to_str().is_some_and(|text| text.starts_with(FLAG)));
    let set = |name| env::var_os(name).filter(|value| !value.is_empty());
    if given || set("DYNAMODB_MODEL_PRICING_TABLE").is_some() {
        return None;
    }
    let table = set("DYNAMODB_PRICING_TABLE")?;
    Some([OsStr::new(FLAG), &table].join(OsStr::new("=")))
}
