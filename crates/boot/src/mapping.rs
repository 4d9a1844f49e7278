//! `DEFAULT_MODEL_MAPPING`, once for every program that resolves names of models.

use std::collections::BTreeMap;
use std::str::FromStr;

/// `{name: Bedrock id}`, or `{name: {"target": Bedrock id, "base_model": Bedrock id}}` for targets that hide their model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mapping(BTreeMap<String, Target>);

#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Target {
    target: String,
    base_model: Option<String>,
}

impl FromStr for Mapping {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        #[derive(serde::Deserialize)]
        #[serde(untagged)]
        enum Row {
            Id(String),
            Target(Target),
        }
        let json = json_or_file(text)?;
        let map: BTreeMap<String, Row> = serde_json::from_str(&json).map_err(|_| {
            r#"expected a JSON object {name: id} or {name: {"target": id, "base_model": id}}"#.to_owned()
        })?;
        let target = |row| match row {
            Row::Id(target) => Target { target, base_model: None },
            Row::Target(target) => target,
        };
        let map: BTreeMap<_, _> = map.into_iter().map(|(name, row)| (name, target(row))).collect();
        let empty = |text: &str| text.trim().is_empty();
        let odd = |(name, row): &(&String, &Target)| {
            empty(name) || empty(&row.target) || row.base_model.as_deref().is_some_and(empty)
        };
        match map.iter().find(odd) {
            Some((name, _)) => Err(format!("an empty name or id at {name:?}")),
            None => Ok(Self(map)),
        }
    }
}

impl Mapping {
    /// Names and where they lead.
    pub fn targets(&self) -> Vec<(&str, &str)> {
        self.0.iter().map(|(name, row)| (name.as_str(), row.target.as_str())).collect()
    }

    /// Targets and the models behind them, where that was said.
    pub fn base_models(&self) -> Vec<(&str, &str)> {
        self.0.values().filter_map(|row| Some((row.target.as_str(), row.base_model.as_deref()?))).collect()
    }
}

/// JSON text, or that of the file named after an `@`.
pub fn json_or_file(text: &str) -> Result<String, String> {
    match text.trim().strip_prefix('@') {
        Some(path) => std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}")),
        None => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_leads_to_an_id_or_to_one_that_hides_its_model() {
        assert!(r#"{"a": 1}"#.parse::<Mapping>().is_err());
        let mapping = r#"{"a": "b", "c": {"target": "d", "base_model": "e"}, "f": {"target": "g"}}"#;
        let mapping: Mapping = mapping.parse().unwrap();
        assert_eq!(mapping.targets(), [("a", "b"), ("c", "d"), ("f", "g")]);
        assert_eq!(mapping.base_models(), [("d", "e")]);
        for wrong in
            [r#"{"a": {"target": "b", "base": "c"}}"#, r#"{"a": {"base_model": "b"}}"#, r#"{"a": " "}"#]
        {
            assert!(wrong.parse::<Mapping>().is_err(), "{wrong}");
        }
    }
}
