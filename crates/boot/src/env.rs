//! The environment file.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// An environment file that cannot be used.
#[derive(Debug)]
pub struct EnvFileError {
    path: PathBuf,
    source: dotenvy::Error,
}

impl std::fmt::Display for EnvFileError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let path = self.path.display();
        match &self.source {
            // dotenvy's own text repeats the whole line, and the line may hold a secret.
            dotenvy::Error::LineParse(_, at) => {
                write!(f, "{path}: a line cannot be read (at character {at})")
            }
            other => write!(f, "{path}: {other}"),
        }
    }
}

impl std::error::Error for EnvFileError {}

/// Reads `path`, or `.env` in the working directory when it is there. What the real environment sets, wins.
///
/// Call it before any thread starts: it changes the process environment.
pub fn load(path: Option<&Path>) -> Result<(), EnvFileError> {
    let wanted = path.unwrap_or(Path::new(".env"));
    match dotenvy::from_path(wanted) {
        Ok(()) => Ok(()),
        Err(dotenvy::Error::Io(error)) if path.is_none() && error.kind() == ErrorKind::NotFound => Ok(()),
        Err(source) => Err(EnvFileError { path: wanted.to_owned(), source }),
    }
}

/// The value of `--env-file` among raw arguments: needed before the arguments are parsed, because the file supplies
/// their defaults.
pub fn file_argument(arguments: impl IntoIterator<Item = std::ffi::OsString>) -> Option<PathBuf> {
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        if argument == "--env-file" {
            return arguments.next().map(PathBuf::from);
        }
        if let Some(value) = argument.to_str().and_then(|text| text.strip_prefix("--env-file=")) {
            return Some(PathBuf::from(value));
        }
    }
    None
}

/// Names that older configuration files of such gateways hold and Outcrop does not: (name, what to use instead).
const FOREIGN: &[(&str, &str)] = &[
    ("STREAMING_TIMEOUT", "BEDROCK_IDLE_TIMEOUT_SECONDS; streams have no total cap"),
    ("STREAMING_CHUNK_SIZE", "nothing: every event leaves as it comes"),
    ("DYNAMODB_TIMEOUT", "nothing: the store is never waited for on the request path"),
    ("BEDROCK_THREAD_POOL_SIZE", "WORKERS"),
    ("BEDROCK_SEMAPHORE_SIZE", "BEDROCK_MAX_CONCURRENCY"),
    ("RELOAD", "nothing"),
    ("DEBUG", "LOG_LEVEL=debug"),
    ("SENTRY_DSN", "the JSON log and /metrics"),
    ("REQUIRE_IAM_ROLES", "nothing: the AWS chain prefers roles by itself"),
    ("ADMIN_DEV_MODE", "nothing"),
    ("SKIP_AUTH", "REQUIRE_API_KEY=false"),
    ("BETA_HEADERS_PASSTHROUGH", "BETA_UNKNOWN=pass"),
    ("BETA_HEADERS_REQUIRING_INVOKE_MODEL", "nothing: Claude always runs on InvokeModel"),
    ("STRIP_CACHE_SCOPE", "nothing: the scope is always removed"),
];

/// One line a foreign setting that is present, to be logged at the start.
pub fn foreign_settings() -> Vec<String> {
    let set = FOREIGN.iter().filter(|(name, _)| std::env::var_os(name).is_some());
    set.map(|(name, instead)| format!("{name} is not a setting of Outcrop; use {instead}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_argument_is_found_in_both_forms() {
        let find = |list: &[&str]| file_argument(list.iter().map(std::ffi::OsString::from));
        assert_eq!(find(&["x", "--env-file", "a.env"]), Some("a.env".into()));
        assert_eq!(find(&["x", "--env-file=b.env"]), Some("b.env".into()));
        assert_eq!(find(&["x", "--port", "1"]), None);
    }

    #[test]
    fn a_named_file_must_exist_and_its_text_is_never_shown() {
        let missing = load(Some(Path::new("/nonexistent/.env"))).unwrap_err();
        assert!(missing.to_string().contains("/nonexistent/.env"));
        let file = std::env::temp_dir().join(format!("outcrop-env-{}", std::process::id()));
        std::fs::write(&file, "SECRET='hunter2\n").unwrap();
        let broken = load(Some(&file)).unwrap_err().to_string();
        std::fs::remove_file(&file).unwrap();
        assert!(!broken.contains("hunter2"), "{broken}");
    }
}
