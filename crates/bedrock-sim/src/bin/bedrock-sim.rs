//! The simulator as a process of its own, for load tests.
//!
//! `cargo run --release -p outcrop-bedrock-sim -- --port 9000 --gather --events 50`
//!
//! | flag | meaning |
//! | --- | --- |
//! | `--port N` | port on 127.0.0.1; 0, the default, asks the system |
//! | `--events N` | text deltas of every plain answer |
//! | `--gather` | write all events of a stream at once |
//! | `--delay-ms N` | pause between the events of a stream |
//! | `--workers N` | worker threads; default 1 |
//! | `--bearer TOKEN` | an API key to accept, besides `bench` |
//! | `--access-key ID`, `--secret-key SECRET`, `--region NAME` | for signed requests |
//! | `--profile ARN=ID` | an application inference profile and what is behind it |
use std::io::{Error, Write as _};
use std::time::Duration;

use outcrop_bedrock_sim::{Config, Sim};

fn config(mut args: impl Iterator<Item = String>) -> Result<Config, Error> {
    let mut config = Config { bearer_tokens: vec!["bench".to_owned()], workers: 1, ..Config::default() };
    while let Some(flag) = args.next() {
        if flag == "--gather" {
            config.gather = true;
            continue;
        }
        let value = args.next().ok_or_else(|| Error::other(format!("{flag} needs a value")))?;
        let number =
            || value.parse::<u32>().map_err(|_| Error::other(format!("{flag} takes a number: {value}")));
        match flag.as_str() {
            "--port" => config.port = u16::try_from(number()?).map_err(Error::other)?,
            "--events" => config.events = Some(number()? as usize),
            "--delay-ms" => config.delay = Duration::from_millis(number()?.into()),
            "--workers" => config.workers = number()? as usize,
            "--bearer" => config.bearer_tokens.push(value),
            "--access-key" => config.access_key_id = value,
            "--secret-key" => config.secret_access_key = value,
            "--region" => config.region = Some(value),
            "--profile" => {
                let (arn, id) =
                    value.split_once('=').ok_or_else(|| Error::other("--profile takes ARN=ID"))?;
                config.profiles.push((arn.to_owned(), id.to_owned()));
            }
            _ => return Err(Error::other(format!("unknown flag {flag}"))),
        }
    }
    Ok(config)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let sim = Sim::start(config(std::env::args().skip(1))?).await?;
    let mut out = std::io::stdout();
    writeln!(out, "{}", sim.url())?;
    out.flush()?;
    sim.wait().await
}
