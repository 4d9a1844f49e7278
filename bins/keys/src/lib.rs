//! Key management on the command line, as a library, so that tests can call it.
//!
//! `args` is what can be typed, `values` what it means, `verbs`, `rotate`, `usage` and `setup` what is done, `view` what is shown;
//! `copy`, `mapping`, `pricing` and `beta` do and show what is about the rows of that name.

mod args;
mod beta;
mod budgets;
mod copy;
mod failure;
mod mapping;
mod pricing;
mod rotate;
mod setup;
mod usage;
mod values;
mod verbs;
mod view;

use std::{
    ffi::OsString,
    io::{Read, Write},
    process::ExitCode,
};

use clap::Parser;
use store::Timestamp;

use args::Args;
use failure::Failure;

/// Runs the program: parses `arguments`, does what they say, and returns the exit code. `hash_secret` is
/// `KEY_HASH_SECRET`; it has no flag, because flags are visible to every user of the machine.
pub fn run(
    arguments: impl IntoIterator<Item = OsString>,
    hash_secret: Option<&str>,
    stdin: &mut dyn Read,
    stdout: &mut dyn Write,
    stderr: &mut dyn Write,
) -> ExitCode {
    let args = match Args::try_parse_from(arguments) {
        Ok(args) => args,
        Err(message) => {
            // A request for help is answered, a slip is complained about.
            let slip = message.use_stderr();
            let _ = if slip { write!(stderr, "{message}") } else { write!(stdout, "{message}") };
            return ExitCode::from(if slip { 2 } else { 0 });
        }
    };
    boot::logs::start(&args.log_level, args.log_format);
    let done = answer(&args, hash_secret, stdin).and_then(|answer| {
        for note in &answer.notes {
            // Without a stderr there is nobody to tell.
            let _ = writeln!(stderr, "{note}");
        }
        stdout
            .write_all(answer.text.as_bytes())
            .and_then(|()| stdout.flush())
            .map_err(|error| Failure::failed(format!("cannot write the answer: {error}")))
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let _ = writeln!(stderr, "error: {failure}");
            ExitCode::from(failure.code())
        }
    }
}

/// Says what is wrong with the set-up; the exit code of wrong usage.
pub fn complain(stderr: &mut dyn Write, message: &str) -> ExitCode {
    let failure = Failure::usage(message);
    let _ = writeln!(stderr, "error: {failure}");
    ExitCode::from(failure.code())
}

fn answer(args: &Args, hash_secret: Option<&str>, stdin: &mut dyn Read) -> Result<view::Answer, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .map_err(|error| Failure::failed(format!("cannot start: {error}")))?;
    runtime.block_on(async {
        if let args::Verb::Setup { check, prices } = args.verb {
            return setup::run(args, check, prices, Timestamp::now()).await;
        }
        let store = verbs::open(args, hash_secret).await?;
        verbs::run(args, store.as_ref(), hash_secret, stdin, Timestamp::now()).await
    })
}
