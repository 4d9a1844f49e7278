//! `fixtures/rules.md` says what is known to go wrong and where it is shown; here it is held to that.
#![expect(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The names of all test functions below a folder.
fn tests(folder: &Path, found: &mut HashSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            tests(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let mut marked = false;
            for line in text.lines().map(str::trim) {
                if line == "#[test]" || line.starts_with("#[tokio::test") {
                    marked = true;
                } else if let Some((_, rest)) = line.split_once("fn ").filter(|_| marked) {
                    found.extend(rest.split_once('(').map(|(name, _)| name.to_owned()));
                    marked = false;
                }
            }
        }
    }
}

/// The laws of the store: each is a test for each database.
fn laws(found: &mut HashSet<String>) {
    let text = fs::read_to_string(root().join("crates/store/src/contract.rs")).unwrap();
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    // Every other word there is a short one.
    found.extend(words.filter(|word| word.matches('_').count() > 2).map(str::to_owned));
}

/// The names in the last cell of every line of every table, with what the line begins with.
fn lines(text: &str) -> Vec<(&str, Vec<&str>)> {
    let rows = text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| ---"));
    let cells = rows.map(|row| row.trim_matches(['|', ' ']).split(" | ").collect::<Vec<_>>());
    let lines = cells.filter(|cells| cells.last() != Some(&"shown by"));
    lines.map(|cells| (cells[0], cells.last().unwrap().split('`').skip(1).step_by(2).collect())).collect()
}

#[test]
fn every_rule_names_cases_and_tests_that_exist() {
    let mut known = HashSet::new();
    for folder in ["crates", "bins", "tests/tests"] {
        tests(&root().join(folder), &mut known);
    }
    laws(&mut known);
    let index = fs::read_to_string(root().join("fixtures/rules.md")).unwrap();
    let lines = lines(&index);
    assert!(lines.len() > 100, "the tables were not found");
    for (line, names) in lines {
        assert!(!names.is_empty(), "nothing shows \"{line}\"");
        for name in names {
            let exists = if name.contains('/') {
                root().join("fixtures").join(name).join("in.json").exists()
            } else {
                known.contains(name)
            };
            assert!(exists, "\"{line}\" names {name}, which is neither a case below fixtures/ nor a test");
        }
    }
}
