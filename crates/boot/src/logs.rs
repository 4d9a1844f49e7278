//! Logs: one line an event, for people on a terminal and as JSON elsewhere.

use std::io::IsTerminal as _;
use std::str::FromStr;

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

/// Writes out what is still buffered. For the end of a program.
pub fn flush() {
    // Nothing is buffered here; stderr is.
    let _ = std::io::Write::flush(&mut std::io::stderr());
}

/// Starts logging to stderr: stdout is for what a program answers.
pub fn start(level: &Level, format: Format) {
    let filter = EnvFilter::new(&level.0);
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let terminal = std::io::stderr().is_terminal();
    let json = match format {
        Format::Auto => !terminal,
        Format::Text => false,
        Format::Json => true,
    };
    // A second start in one process (tests) keeps the first.
    let _ = if json {
        builder.json().flatten_event(true).with_current_span(false).with_span_list(false).try_init()
    } else {
        builder.with_ansi(terminal).with_target(false).try_init()
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_filters_and_foreign_words_are_understood() {
        assert_eq!("INFO".parse::<Level>().unwrap().to_string(), "info");
        assert_eq!("WARNING".parse::<Level>().unwrap().to_string(), "warn");
        assert!("info,outcrop_bedrock=debug".parse::<Level>().is_ok());
        assert!("info,=,".parse::<Level>().is_err() || "a=b=c".parse::<Level>().is_err());
        assert!("yaml".parse::<Format>().is_err());
    }
}
