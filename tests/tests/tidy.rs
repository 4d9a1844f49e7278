//! House rules that a compiler does not hold, as tests. Each failure says the rule and its reason.
#![expect(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use clap::ArgAction;
use outcrop_proxy::settings;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn packages() -> Vec<PathBuf> {
    let mut found = vec![root().join("tests")];
    for group in ["crates", "bins"] {
        for entry in fs::read_dir(root().join(group)).unwrap() {
            let path = entry.unwrap().path();
            if path.join("Cargo.toml").exists() {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Names in the `[dependencies]` of a manifest; `[dev-dependencies]` may be anything.
fn dependencies(package: &Path) -> Vec<String> {
    let manifest = fs::read_to_string(package.join("Cargo.toml")).unwrap();
    let mut inside = false;
    let mut names = Vec::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = line == "[dependencies]";
        } else if inside && let Some((name, _)) = line.split_once(['=', '.']) {
            names.push(name.trim().to_owned());
        }
    }
    names
}

fn name(package: &Path) -> String {
    package.file_name().unwrap().to_str().unwrap().to_owned()
}

/// Who may depend on whom: the layers of the house. Nothing else may.
const LAYERS: &[(&str, &[&str])] = &[
    ("protocol", &[]),
    ("catalog", &[]),
    ("store", &[]),
    ("httpd", &[]),
    ("boot", &[]),
    ("bedrock", &[]),
    ("bedrock-sim", &["httpd"]),
    ("convert", &["protocol", "catalog"]),
    ("policy", &["catalog", "store"]),
    ("keys", &["boot", "catalog", "policy", "store"]),
    (
        "proxy",
        &["bedrock", "bedrock-sim", "boot", "catalog", "convert", "httpd", "policy", "protocol", "store"],
    ),
];

#[test]
fn crates_depend_downwards_only() {
    for package in packages().iter().filter(|package| name(package) != "tests") {
        let own = name(package);
        let layer = LAYERS.iter().find(|(name, _)| *name == own);
        let (_, allowed) =
            layer.unwrap_or_else(|| panic!("{own} has no place among the layers: give it one"));
        for dependency in dependencies(package) {
            let ours = LAYERS.iter().any(|(name, _)| *name == dependency);
            assert!(
                !ours || allowed.contains(&dependency.as_str()),
                "{own} must not depend on {dependency}: the layers point the other way (README, the map)"
            );
        }
    }
}

/// One owner for each outside thing, so that a change of it touches one crate.
const OWNERS: &[(&str, &[&str])] = &[
    ("hyper", &["httpd"]),
    ("hyper-util", &["httpd"]),
    ("rusqlite", &["store"]),
    ("clap", &["proxy", "keys", "boot"]),
    ("tracing-subscriber", &["boot"]),
    ("metrics-exporter-prometheus", &["boot"]),
    ("dotenvy", &["boot"]),
    ("aws-config", &["bedrock", "store"]),
    ("aws-sdk-bedrockruntime", &["bedrock"]),
    ("aws-sdk-dynamodb", &["store"]),
    // The simulator judges signatures with AWS's own code, so that it does not share our mistakes.
    ("aws-sigv4", &["bedrock-sim"]),
    ("rustls", &["bedrock", "proxy"]),
    ("httparse", &["bedrock", "proxy"]),
];

#[test]
fn each_outside_thing_has_its_owner() {
    for package in packages() {
        let own = name(&package);
        for dependency in dependencies(&package) {
            if let Some((_, owners)) = OWNERS.iter().find(|(thing, _)| *thing == dependency) {
                assert!(
                    owners.contains(&own.as_str()),
                    "{own} must not use {dependency}: it belongs to {owners:?}"
                );
            }
        }
    }
}

#[test]
fn the_converter_crates_pull_in_no_aws_and_no_io() {
    for own in ["protocol", "convert", "catalog"] {
        for dependency in dependencies(&root().join("crates").join(own)) {
            let heavy = ["aws-", "tokio", "hyper", "http", "tracing", "rand", "time"];
            assert!(!heavy.iter().any(|name| dependency.starts_with(name)), "{own} is pure: no {dependency}");
        }
    }
}

/// What each package of `Cargo.lock` depends on, tests and examples of our own packages included.
fn locked() -> BTreeMap<String, Vec<String>> {
    let lock = fs::read_to_string(root().join("Cargo.lock")).unwrap();
    let mut all = BTreeMap::new();
    for package in lock.split("[[package]]").skip(1) {
        let lines = package.lines().filter(|line| line.starts_with("name = ") || line.starts_with(" \""));
        // `"name 1.2"` where two versions are there.
        let mut quoted =
            lines.filter_map(|line| line.split('"').nth(1)?.split(' ').next().map(str::to_owned));
        let name = quoted.next().unwrap();
        all.entry(name).or_insert_with(Vec::new).extend(quoted);
    }
    all
}

#[test]
fn nothing_below_the_converter_crates_is_aws_or_a_runtime() {
    let locked = locked();
    let mut open = vec!["outcrop-convert", "outcrop-protocol", "outcrop-catalog"];
    let mut seen: Vec<&str> = Vec::new();
    while let Some(name) = open.pop() {
        let heavy = ["aws-", "tokio", "hyper", "rustls", "reqwest", "ring"];
        assert!(!heavy.iter().any(|heavy| name.starts_with(heavy)), "the converter crates pull in {name}");
        if !seen.contains(&name) {
            seen.push(name);
            open.extend(locked[name].iter().map(String::as_str));
        }
    }
    assert!(seen.contains(&"serde_json"), "the lock file was read");
}

/// Every `.rs` file below a folder.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn files_stay_short_enough_to_be_read_at_once() {
    for package in packages().iter().filter(|package| name(package) != "tests") {
        let mut files = Vec::new();
        sources(&package.join("src"), &mut files);
        for file in files.iter().filter(|file| !file.ends_with("tests.rs")) {
            let text = fs::read_to_string(file).unwrap();
            let lines = text.lines().take_while(|line| !line.starts_with("#[cfg(test)]")).count();
            let limit = if file.ends_with("main.rs") { 60 } else { 420 };
            assert!(
                lines <= limit,
                "{} has {lines} lines without its tests; would a reader split it?",
                file.display()
            );
            let header = text.lines().next().unwrap_or_default();
            assert!(header.starts_with("//!"), "{} does not say what it is for", file.display());
        }
    }
}

#[test]
fn no_fixture_lacks_its_expectation() {
    let mut folders = vec![root().join("fixtures")];
    let mut cases = 0;
    while let Some(folder) = folders.pop() {
        let mut names: Vec<String> = Vec::new();
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { names.push(name(&path)) }
        }
        if names.iter().any(|name| name.starts_with("in.")) {
            cases += 1;
            assert!(names.iter().any(|name| name.starts_with("out.")), "{} has no out.*", folder.display());
        }
    }
    assert!(cases > 100, "the cases were not found");
}

/// What `.env.example` should say, from the declarations themselves.
fn env_example() -> String {
    let command = settings::command();
    let mut topics: Vec<(String, String)> = Vec::new();
    for argument in command.get_arguments().filter(|argument| matches!(argument.get_action(), ArgAction::Set))
    {
        let Some(variable) = argument.get_env().and_then(|name| name.to_str()) else { continue };
        let topic = argument.get_help_heading().unwrap_or("Other").to_owned();
        let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
        let default = argument.get_default_values().first().map(|value| value.to_string_lossy().into_owned());
        let mut entry = format!("# {help}\n");
        let _ = writeln!(entry, "# {variable}={}", default.unwrap_or_default());
        match topics.iter_mut().find(|(name, _)| *name == topic) {
            Some((_, text)) => text.push_str(&entry),
            None => topics.push((topic, entry)),
        }
    }
    let mut text = String::from(
        "# Every setting of Outcrop with its default and its meaning. Copy to .env and uncomment what you change; the real\n\
         # environment wins. AWS credentials come from the standard AWS chain: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY,\n\
         # AWS_SESSION_TOKEN, AWS_PROFILE, web identity, container and instance roles (roles preferred).\n",
    );
    for (topic, entries) in topics {
        let _ = write!(text, "\n# --- {topic} ---\n\n{entries}");
    }
    text
}

#[test]
fn the_env_example_says_what_the_code_reads() {
    let path = root().join(".env.example");
    let expected = env_example();
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, &expected).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        found, expected,
        "run `UPDATE=1 cargo test -p outcrop-tests --test tidy` and read the difference"
    );
}

#[test]
fn the_readme_names_every_crate_and_its_two_commands() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    for package in packages() {
        let folder = package.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
        assert!(readme.contains(&folder), "the map in README.md does not show {folder}");
    }
    assert!(readme.contains("cargo run --release --bin outcrop-proxy -- --simulate"));
    assert!(readme.contains("cargo test --workspace"));
}

#[test]
fn every_setting_is_explained_once() {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for argument in settings::command().get_arguments() {
        let Some(variable) = argument.get_env().and_then(|name| name.to_str()) else { continue };
        *seen.entry(variable.to_owned()).or_default() += 1;
        assert!(argument.get_help().is_some(), "{variable} has no help");
    }
    assert!(seen.values().all(|count| *count == 1), "{seen:?}");
}

#[test]
fn the_readme_says_what_becomes_of_each_member_of_an_openai_request() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    for api in ["chat", "responses"] {
        let path = format!("crates/protocol/src/openai/{api}/request.rs");
        let source = fs::read_to_string(root().join(&path)).unwrap();
        let (_, rest) = source.split_once("    Request {\n").expect(&path);
        let (members, _) = rest.split_once("\n    }\n").expect(&path);
        let names: Vec<_> =
            members.lines().filter_map(|line| line.split_once("= \"")?.1.strip_suffix("\",")).collect();
        assert!(names.len() > 20, "{path} is written in another way than this test reads it");
        for name in names {
            let told = [format!("`{name}`"), format!("`{name}.")].iter().any(|told| readme.contains(told));
            assert!(told, "README.md does not say what becomes of `{name}` of {api}");
        }
    }
}
