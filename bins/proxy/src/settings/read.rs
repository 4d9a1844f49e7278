//! Reading settings from arguments and the environment, with every problem named by its variable.

use std::ffi::OsString;
use std::fmt;

use clap::{Arg, ArgAction, ArgMatches, Command, CommandFactory as _, FromArgMatches as _};

use super::{Cli, Settings};

/// Other names of the same setting.
const ALIASES: &[(&str, &str)] = &[
    ("AWS_BEARER_TOKEN_BEDROCK", "BEDROCK_API_KEY"),
    ("DYNAMODB_MODEL_PRICING_TABLE", "DYNAMODB_PRICING_TABLE"),
    ("MASTER_API_KEY", "BEARER_TOKEN"),
    ("PROMPT_CACHING_ENABLED", "ENABLE_PROMPT_CACHING"),
];

/// A setting that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The variable, as it is set in the environment.
    pub name: String,
    /// What is wrong; never the value of a secret.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.message)
    }
}

/// The command line as clap knows it: for `--help` and for the test that compares it with `.env.example`. A setting's
/// flag is its variable's name, so that whoever knows one knows both.
pub fn command() -> Command {
    Cli::command().mut_args(|argument| {
        let variable = argument.get_env().and_then(|name| name.to_str()).map(str::to_owned);
        match variable {
            Some(variable) => argument.long(variable.to_ascii_lowercase().replace('_', "-")),
            None => argument,
        }
    })
}

/// Reads arguments and environment. `Err` holds every problem at once. Wrong arguments, `--help` and `--version`
/// end the program here, as clap does it.
pub fn read(
    arguments: impl IntoIterator<Item = OsString>,
    environment: impl Fn(&str) -> Option<OsString>,
) -> Result<Cli, Vec<Problem>> {
    let mut line: Vec<OsString> = arguments.into_iter().collect();
    let given = line.clone();
    let command = command();
    // Help names the variables, which the command that parses does not know.
    if given.iter().any(|text| text == "--help" || text == "-h" || text == "--version" || text == "-V") {
        command.clone().get_matches_from(&given);
    }
    let mut problems = Vec::new();
    for argument in command.get_arguments() {
        let Some((variable, value)) = value_of(argument, &environment) else { continue };
        let Some(flag) = argument.get_long().map(|long| format!("--{long}")) else { continue };
        // What the command line says, wins.
        let on_line = |text: &OsString| {
            text.to_str()
                .is_some_and(|t| t == flag || t.strip_prefix(&flag).is_some_and(|t| t.starts_with('=')))
        };
        if given.iter().any(on_line) {
            continue;
        }
        let mut assignment = OsString::from(format!("{flag}="));
        assignment.push(&value);
        match problem(argument, &variable, &assignment) {
            Some(problem) => problems.push(problem),
            None => line.insert(1.min(line.len()), assignment),
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    // The simulator is for trying things: nothing is left behind unless a store is named.
    if given.iter().any(|text| text == "--simulate") && !line.iter().any(names_store) {
        line.push("--store=memory".into());
    }
    let matches = without_environment(command).get_matches_from(line);
    let mut cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let mut crossed = cross_checks(&cli);
    crossed.extend(cli.settings.accounts.take_tokens(&environment));
    if crossed.is_empty() { Ok(cli) } else { Err(crossed) }
}

fn names_store(argument: &OsString) -> bool {
    argument.to_str().is_some_and(|text| text == "--store" || text.starts_with("--store="))
}

/// A variable that is set to something; an empty one counts as unset, as compose files write it.
fn value_of(argument: &Arg, environment: &impl Fn(&str) -> Option<OsString>) -> Option<(String, OsString)> {
    let name = argument.get_env()?.to_str()?;
    let alias = ALIASES.iter().find(|(main, _)| *main == name).map(|(_, alias)| *alias);
    [Some(name), alias].into_iter().flatten().find_map(|name| {
        environment(name).filter(|value| !value.is_empty()).map(|value| (name.to_owned(), value))
    })
}

/// clap would read the environment itself, fail on empty values, and name flags instead of variables.
fn without_environment(command: Command) -> Command {
    command.mut_args(|argument| argument.env(None::<&'static str>))
}

/// What is wrong with one value, judged alone so that all problems come out at once.
fn problem(argument: &Arg, variable: &str, assignment: &OsString) -> Option<Problem> {
    let alone = Command::new("setting")
        .no_binary_name(true)
        .disable_help_flag(true)
        .arg(argument.clone().env(None::<&'static str>));
    let error = alone.try_get_matches_from([assignment]).err()?;
    let text = error.to_string();
    let message = if argument.is_hide_env_values_set() {
        "the value cannot be used".to_owned()
    } else {
        let first = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
        let options = text.lines().map(str::trim).find(|line| line.starts_with("[possible values"));
        options.map_or_else(|| first.to_owned(), |options| format!("{first} {options}"))
    };
    Some(Problem { name: variable.to_owned(), message })
}

/// What is wrong between settings.
fn cross_checks(cli: &Cli) -> Vec<Problem> {
    let settings = &cli.settings;
    let mut problems = Vec::new();
    let mut say = |name: &str, message: &str| {
        problems.push(Problem { name: name.to_owned(), message: message.to_owned() });
    };
    if settings.listen.cors_allow_credentials.0 && settings.listen.cors_origins.is_any() {
        say("CORS_ALLOW_CREDENTIALS", "cannot be true while CORS_ORIGINS is *");
    }
    if settings.keys.key_hash_secret.as_ref().is_some_and(|secret| secret.expose().len() < 32) {
        say("KEY_HASH_SECRET", "must have 32 bytes or more");
    }
    if settings.store.store == "dynamodb" && settings.keys.key_hash_secret.is_none() {
        // Kept in the same tables as the hashes it would protect nothing.
        say("KEY_HASH_SECRET", "must be set with STORE=dynamodb, to the same for every program");
    }
    target_checks(settings, &mut say);
    if settings.general.environment.eq_ignore_ascii_case("production") {
        if !settings.keys.require_api_key.0 {
            say("REQUIRE_API_KEY", "cannot be false with ENVIRONMENT=production");
        }
        if settings.keys.master_api_key.as_ref().is_some_and(|key| weak(key.expose())) {
            say(
                "MASTER_API_KEY",
                "is too weak for production: 24 characters or more, and no well-known value",
            );
        }
        if cli.simulate {
            say("ENVIRONMENT", "production cannot run with --simulate");
        }
    }
    problems
}

/// What is wrong between the settings of the one target and the list of several.
fn target_checks(settings: &Settings, say: &mut impl FnMut(&str, &str)) {
    let (accounts, bedrock) = (&settings.accounts, &settings.bedrock);
    let alone = [
        ("BEDROCK_CROSS_ACCOUNT_ROLE_ARN", &accounts.role_arn),
        ("BEDROCK_CROSS_ACCOUNT_EXTERNAL_ID", &accounts.external_id),
        ("BEDROCK_ENDPOINT_URL", &bedrock.endpoint_url),
        ("BEDROCK_MANTLE_ENDPOINT_URL", &bedrock.mantle_endpoint_url),
        ("BEDROCK_CONTROL_ENDPOINT_URL", &bedrock.control_endpoint_url),
    ];
    if accounts.targets.is_some() {
        for (name, _) in alone.into_iter().filter(|(_, value)| value.is_some()) {
            say(name, "is of the one target without BEDROCK_TARGETS; say it in the list instead");
        }
    } else if accounts.role_arn.is_some() && bedrock.bearer_token.is_some() {
        say("BEDROCK_CROSS_ACCOUNT_ROLE_ARN", "cannot be used together with AWS_BEARER_TOKEN_BEDROCK");
    } else if accounts.role_arn.is_none() && accounts.external_id.is_some() {
        say("BEDROCK_CROSS_ACCOUNT_EXTERNAL_ID", "there is no BEDROCK_CROSS_ACCOUNT_ROLE_ARN that it is for");
    }
}

fn weak(secret: &str) -> bool {
    const KNOWN: &[&str] = &["change", "secret", "password", "example", "default", "test", "sk-1234"];
    let lower = secret.to_ascii_lowercase();
    let distinct = secret.bytes().collect::<std::collections::BTreeSet<_>>().len();
    secret.len() < 24 || distinct < 8 || KNOWN.iter().any(|word| lower.contains(word))
}

/// The values in effect, one `NAME=value` line a setting, secrets masked.
pub fn effective(
    arguments: impl IntoIterator<Item = OsString>,
    environment: impl Fn(&str) -> Option<OsString>,
) -> Vec<String> {
    let command = command();
    let settings = command.get_arguments().filter(|a| a.get_env().is_some());
    let names: Vec<_> = settings.cloned().collect();
    let matches = without_environment(command).ignore_errors(true).get_matches_from(arguments);
    let line = |argument: &Arg| {
        let name = argument.get_env().and_then(|name| name.to_str()).unwrap_or_default();
        let value = on_command_line(&matches, argument)
            .or_else(|| value_of(argument, &environment).map(|(_, value)| value))
            .or_else(|| argument.get_default_values().first().map(|value| value.as_os_str().to_owned()));
        match value {
            None => format!("{name}="),
            Some(_) if argument.is_hide_env_values_set() => format!("{name}=***"),
            Some(value) => format!("{name}={}", value.to_string_lossy()),
        }
    };
    names.iter().filter(|a| matches!(a.get_action(), ArgAction::Set)).map(line).collect()
}

fn on_command_line(matches: &ArgMatches, argument: &Arg) -> Option<OsString> {
    let id = argument.get_id().as_str();
    let given = matches.value_source(id) == Some(clap::parser::ValueSource::CommandLine);
    given.then(|| matches.get_raw(id)?.next().map(ToOwned::to_owned)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(arguments: &[&str], environment: &[(&str, &str)]) -> Result<Cli, Vec<Problem>> {
        let line = std::iter::once("outcrop-proxy").chain(arguments.iter().copied()).map(OsString::from);
        read(line, |name| environment.iter().find(|(n, _)| *n == name).map(|(_, v)| OsString::from(v)))
    }

    #[test]
    fn clap_accepts_the_declarations() {
        command().debug_assert();
    }

    #[test]
    fn defaults_hold_without_an_environment() {
        let cli = with(&[], &[]).unwrap();
        assert_eq!(cli.settings.listen.port, 8000);
        assert_eq!(cli.settings.limits.max_body_bytes, 33_554_432);
        assert!(cli.settings.keys.require_api_key.0);
    }

    #[test]
    fn an_argument_wins_over_the_environment_and_an_empty_variable_is_unset() {
        let cli = with(&["--port", "1"], &[("PORT", "2"), ("WORKERS", "")]).unwrap();
        assert_eq!((cli.settings.listen.port, cli.settings.listen.workers), (1, None));
        let cli = with(&["--simulate"], &[("PORT", "2"), ("BEARER_TOKEN", "alias")]).unwrap();
        assert_eq!(cli.settings.listen.port, 2);
        assert_eq!(cli.settings.keys.master_api_key.unwrap().expose(), "alias");
    }

    #[test]
    fn every_wrong_value_is_named_by_its_variable_at_once() {
        let problems = with(&[], &[("PORT", "eighty"), ("STORE", "mysql"), ("PING_INTERVAL_SECONDS", "99")])
            .unwrap_err();
        let names: Vec<_> = problems.iter().map(|problem| problem.name.as_str()).collect();
        assert_eq!(names, ["PORT", "PING_INTERVAL_SECONDS", "STORE"]);
        assert!(problems[2].message.contains("sqlite"), "{problems:?}");
    }

    #[test]
    fn dynamodb_needs_a_hash_secret_and_names_of_tables() {
        let problems = with(&[], &[("STORE", "dynamodb")]).unwrap_err();
        assert_eq!(problems[0].name, "KEY_HASH_SECRET");
        let secret = ("KEY_HASH_SECRET", "a-hash-secret-of-thirty-two-bytes-or-more");
        let wrong = [("DYNAMODB_TABLE_PREFIX", "a b"), ("DYNAMODB_ENDPOINT_URL", "nowhere"), secret];
        let names: Vec<_> = with(&[], &wrong).unwrap_err().into_iter().map(|problem| problem.name).collect();
        assert_eq!(names, ["DYNAMODB_ENDPOINT_URL", "DYNAMODB_TABLE_PREFIX"]);
        let names = [("DYNAMODB_USAGE_TABLE", "rows"), ("DYNAMODB_RESPONSE_CONTEXT_TABLE", "turns")];
        let right = [("STORE", "dynamodb"), names[0], names[1], secret];
        let cli = with(&["--dynamodb-table-prefix=p-"], &right).unwrap();
        assert_eq!(cli.settings.dynamodb.table_prefix, "p-");
        let full = [("usage", "rows".to_owned()), ("response-context", "turns".to_owned())];
        assert_eq!(cli.settings.dynamodb.full_names(), full);
    }

    #[test]
    fn the_one_target_and_the_list_of_several_exclude_each_other() {
        let list = r#"[{"name": "a", "region": "eu-west-1", "bearer_token_env": "A_TOKEN"}]"#;
        let role = "arn:aws:iam::123456789012:role/models";
        let names = |environment: &[(&str, &str)]| {
            let problems = with(&[], environment).err().unwrap_or_default();
            problems.into_iter().map(|problem| problem.name).collect::<Vec<_>>()
        };
        let (targets, token) = (("BEDROCK_TARGETS", list), ("A_TOKEN", "ABSK"));
        let assumed = ("BEDROCK_CROSS_ACCOUNT_ROLE_ARN", role);
        assert_eq!(names(&[targets, token]), [""; 0]);
        assert_eq!(names(&[targets]), ["BEDROCK_TARGETS"], "its API key is not there");
        assert_eq!(names(&[targets, token, assumed]), [assumed.0]);
        assert_eq!(names(&[assumed, ("BEDROCK_API_KEY", "ABSK")]), [assumed.0]);
        let external = ("BEDROCK_CROSS_ACCOUNT_EXTERNAL_ID", "x");
        assert_eq!(names(&[external]), [external.0]);
        assert_eq!(names(&[external, assumed]), [""; 0]);
    }

    #[test]
    fn production_refuses_what_is_weak() {
        let problems = with(
            &[],
            &[("ENVIRONMENT", "production"), ("REQUIRE_API_KEY", "false"), ("MASTER_API_KEY", "short")],
        )
        .unwrap_err();
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(problems.iter().all(|problem| !problem.message.contains("short")));
    }

    #[test]
    fn printed_values_are_those_in_effect_and_secrets_are_masked() {
        let line = ["outcrop-proxy", "--port=1"].map(OsString::from);
        let lines = effective(line, |name| (name == "MASTER_API_KEY").then(|| "hunter2".into()));
        assert!(lines.contains(&"PORT=1".to_owned()));
        assert!(lines.contains(&"MASTER_API_KEY=***".to_owned()));
        assert!(lines.contains(&"STORE=sqlite".to_owned()));
    }
}
