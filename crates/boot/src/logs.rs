//! Logs: one line an event, for people on a terminal and as JSON elsewhere.

use std::io::{self, IsTerminal as _, Write as _};
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tracing_subscriber::EnvFilter;

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Text on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "auto" => Ok(Self::Auto),
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err("expected auto, text or json".to_owned()),
        }
    }
}

/// A level (`info`) or a tracing filter (`info,outcrop_bedrock=debug`), checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Level(String);

impl FromStr for Level {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let lower = text.trim().to_ascii_lowercase();
        // The other ecosystem's words for the same levels.
        let filter = match lower.as_str() {
            "warning" => "warn",
            "critical" | "fatal" => "error",
            other => other,
        };
        EnvFilter::try_new(filter).map_err(|error| error.to_string())?;
        Ok(Self(filter.to_owned()))
    }
}

impl std::fmt::Display for Level {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Lines waiting to be written, so that a request never waits for the terminal or the log collector: one write a line
/// would cost more than the line.
static LINES: Lines =
    Lines { waiting: Mutex::new(Vec::new()), filled: Condvar::new(), lost: AtomicU64::new(0) };

/// Longest wait of a line.
const PACE: Duration = Duration::from_millis(100);
/// A collector that takes nothing must not cost memory without end: above this, lines are dropped and said to be.
const MOST: usize = 16 << 20;

struct Lines {
    waiting: Mutex<Vec<u8>>,
    filled: Condvar,
    /// Lines that nobody took.
    lost: AtomicU64,
}

impl Lines {
    fn push(&self, line: &[u8]) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let was_empty = waiting.is_empty();
        if waiting.len() < MOST {
            waiting.extend_from_slice(line);
            if waiting.len() >= MOST {
                waiting.extend_from_slice(b"log lines are being dropped: nobody takes them\n");
            }
        } else {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        if was_empty {
            self.filled.notify_one();
        }
    }

    fn write_out(&self) {
        let lines = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        let mut stderr = io::stderr().lock();
        // The disk behind stderr is full, or nobody reads it any more: requests are served on, and the metrics tell.
        if stderr.write_all(&lines).and_then(|()| stderr.flush()).is_err() {
            let lost = lines.split_inclusive(|byte| *byte == b'\n').count();
            self.lost.fetch_add(lost.try_into().unwrap_or(u64::MAX), Ordering::Relaxed);
        }
    }

    fn run(&self) {
        loop {
            let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            let ready = self.filled.wait_while(waiting, |waiting| waiting.is_empty());
            drop(ready.unwrap_or_else(PoisonError::into_inner));
            self.write_out();
            // Lines that come meanwhile leave together.
            std::thread::sleep(PACE);
        }
    }
}

/// Hands whole lines to [`LINES`]: the subscriber makes one write an event.
struct Queue;

impl io::Write for Queue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        LINES.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether lines are JSON; unset until the start.
static JSON: OnceLock<bool> = OnceLock::new();

/// A value of a [`line()`].
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    /// Text; escaped.
    Text(&'a str),
    /// A whole number.
    Number(u64),
    /// True or false.
    Flag(bool),
    /// Not known: the field is left out.
    Absent,
}

/// One line at level INFO, in the format of all others, without the subscriber: the line that every request writes. The
/// caller asks `tracing::enabled!(Level::INFO)` first.
pub fn line(at: &dyn std::fmt::Display, message: &str, fields: &[(&str, Value<'_>)]) {
    let Some(json) = JSON.get() else { return };
    let mut line = Vec::with_capacity(512);
    let written = if *json {
        json_line(&mut line, at, message, fields)
    } else {
        text_line(&mut line, at, message, fields)
    };
    if written.is_ok() {
        LINES.push(&line);
    }
}

fn json_line(
    out: &mut Vec<u8>,
    at: &dyn std::fmt::Display,
    message: &str,
    fields: &[(&str, Value<'_>)],
) -> io::Result<()> {
    write!(out, "{{\"timestamp\":\"{at}\",\"level\":\"INFO\",\"message\":\"{message}\"")?;
    for (name, value) in fields {
        match value {
            Value::Absent => {}
            Value::Text(text) => {
                write!(out, ",\"{name}\":\"")?;
                escaped(out, text)?;
                out.push(b'"');
            }
            Value::Number(number) => write!(out, ",\"{name}\":{number}")?,
            Value::Flag(flag) => write!(out, ",\"{name}\":{flag}")?,
        }
    }
    out.extend_from_slice(b"}\n");
    Ok(())
}

fn text_line(
    out: &mut Vec<u8>,
    at: &dyn std::fmt::Display,
    message: &str,
    fields: &[(&str, Value<'_>)],
) -> io::Result<()> {
    write!(out, "{at}  INFO {message}")?;
    for (name, value) in fields {
        match value {
            Value::Absent => {}
            Value::Text(text) => {
                write!(out, " {name}=")?;
                escaped(out, text)?;
            }
            Value::Number(number) => write!(out, " {name}={number}")?,
            Value::Flag(flag) => write!(out, " {name}={flag}")?,
        }
    }
    out.push(b'\n');
    Ok(())
}

/// Escapes what would end a JSON string, and every control character: a log line obeys no terminal code.
fn escaped(out: &mut Vec<u8>, text: &str) -> io::Result<()> {
    for c in text.chars() {
        match c {
            '"' | '\\' => write!(out, "\\{c}")?,
            c if c.is_control() => write!(out, "\\u{:04x}", u32::from(c))?,
            c => write!(out, "{c}")?,
        }
    }
    Ok(())
}

/// How many lines were lost: stderr did not take them, or not in time.
pub(crate) fn lost() -> u64 {
    LINES.lost.load(Ordering::Relaxed)
}

/// Writes out what is still waiting. For the end of a program.
pub fn flush() {
    LINES.write_out();
}

/// Starts logging to stderr: stdout is for what a program answers. A second start in one process keeps the first.
pub fn start(level: &Level, format: Format) {
    let filter = EnvFilter::new(&level.0);
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| Queue);
    let terminal = io::stderr().is_terminal();
    let json = match format {
        Format::Auto => !terminal,
        Format::Text => false,
        Format::Json => true,
    };
    let started = if json {
        builder.json().flatten_event(true).with_current_span(false).with_span_list(false).try_init().is_ok()
    } else {
        builder.with_ansi(terminal).with_target(false).try_init().is_ok()
    };
    if !started || JSON.set(json).is_err() {
        return;
    }
    let writer = std::thread::Builder::new().name("log-writer".to_owned()).spawn(|| LINES.run());
    if let Err(error) = writer {
        LINES.push(format!("the log writer cannot start: {error}\n").as_bytes());
        LINES.write_out();
    }
    let previous = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        LINES.write_out();
        previous(panic);
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_holds_what_it_was_given_and_obeys_nothing_in_it() {
        let fields = [
            ("a", Value::Text("x\"\n\u{1b}[31m")),
            ("n", Value::Number(7)),
            ("no", Value::Absent),
            ("f", Value::Flag(true)),
        ];
        let mut json = Vec::new();
        json_line(&mut json, &"now", "request", &fields).unwrap();
        assert_eq!(
            String::from_utf8(json).unwrap(),
            "{\"timestamp\":\"now\",\"level\":\"INFO\",\"message\":\"request\",\"a\":\"x\\\"\\u000a\\u001b[31m\",\"n\":7,\"f\":true}\n"
        );
        let mut text = Vec::new();
        text_line(&mut text, &"now", "request", &fields).unwrap();
        assert_eq!(
            String::from_utf8(text).unwrap(),
            "now  INFO request a=x\\\"\\u000a\\u001b[31m n=7 f=true\n"
        );
    }

    #[test]
    fn levels_filters_and_foreign_words_are_understood() {
        assert_eq!("INFO".parse::<Level>().unwrap().to_string(), "info");
        assert_eq!("WARNING".parse::<Level>().unwrap().to_string(), "warn");
        assert!("info,outcrop_bedrock=debug".parse::<Level>().is_ok());
        assert!("info,=,".parse::<Level>().is_err() || "a=b=c".parse::<Level>().is_err());
        assert!("yaml".parse::<Format>().is_err());
    }
}
