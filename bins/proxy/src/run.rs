//! The program: settings, logs, start, serve, drain.

use std::io::Write as _;
use std::process::ExitCode;

use crate::settings::{self, Cli, Command, Problem};
use crate::start::{Gate, StartError};
use crate::{healthcheck, simulate};

/// Wrong usage or a wrong setting.
const EXIT_USAGE: u8 = 2;

/// Runs the program that the arguments and the environment ask for.
pub fn main() -> ExitCode {
    // Before any thread starts: it changes the environment.
    let file = boot::env::file_argument(std::env::args_os());
    if let Err(error) = boot::env::load(file.as_deref()) {
        return complain(&error.to_string(), EXIT_USAGE);
    }
    let cli = match settings::read(std::env::args_os(), |name| std::env::var_os(name)) {
        Ok(cli) => cli,
        Err(problems) => return complain(&listed(&problems), EXIT_USAGE),
    };
    if cli.check_config {
        return say("The settings are usable.\n");
    }
    if cli.print_config {
        let lines = settings::effective(std::env::args_os(), |name| std::env::var_os(name));
        return say(&(lines.join("\n") + "\n"));
    }
    if let Some(Command::Healthcheck) = cli.command {
        return healthcheck::run(&cli.settings);
    }
    serve(cli)
}

fn serve(cli: Cli) -> ExitCode {
    let general = &cli.settings.general;
    boot::logs::start(&general.log_level, general.log_format);
    for line in boot::env::foreign_settings() {
        tracing::warn!("{line}");
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return complain(&format!("the runtime cannot start: {error}"), 1),
    };
    let served = runtime.block_on(async {
        // On the heap: it carries every setting.
        let gate = Box::pin(Gate::start(cli)).await?;
        if let Some(welcome) = gate.welcome() {
            say(&welcome);
        }
        gate.serve(boot::signals::terminated()).await
    });
    boot::logs::flush();
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error @ StartError::Setting(_)) => complain(&error.to_string(), EXIT_USAGE),
        Err(error) => complain(&error.to_string(), 1),
    }
}

fn listed(problems: &[Problem]) -> String {
    let lines: Vec<_> = problems.iter().map(|problem| format!("  {problem}")).collect();
    format!("these settings cannot be used:\n{}", lines.join("\n"))
}

fn complain(message: &str, code: u8) -> ExitCode {
    // A closed stderr leaves nobody to tell.
    let _ = writeln!(std::io::stderr(), "outcrop-proxy: {message}");
    ExitCode::from(code)
}

fn say(text: &str) -> ExitCode {
    let mut out = std::io::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

impl Gate {
    fn welcome(&self) -> Option<String> {
        self.fresh_key().map(|key| simulate::welcome(self.addr(), key))
    }
}
