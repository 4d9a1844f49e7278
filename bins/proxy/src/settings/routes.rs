//! By which routes models of the native lane are called.

use std::fmt;
use std::str::FromStr;

use catalog::{Resolution, Route};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

use super::values::json_or_file;

/// `{pattern: [route]}`, in the order of the text: the first pattern that fits decides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Routes(Vec<(String, Vec<Route>)>);

impl Routes {
    /// The routes to a model, the preferred one first.
    pub(crate) fn of(&self, resolution: &Resolution) -> &[Route] {
        let fits = |pattern: &str| resolution.fits(|id| policy::glob::matches(pattern, id));
        let chosen = self.0.iter().find(|(pattern, _)| fits(pattern));
        chosen.map_or(resolution.model.routes, |(_, routes)| routes)
    }
}

impl FromStr for Routes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = Route::ALL.map(Route::name).join(", ");
        let Pairs(pairs) = serde_json::from_str(&json_or_file(text)?)
            .map_err(|_| format!("expected a JSON object {{pattern: [route]}} with routes of {names}"))?;
        let route = |name: &String| {
            let known = Route::ALL.into_iter().find(|route| route.name() == name);
            known.ok_or_else(|| format!("{name:?} is none of {names}"))
        };
        let mut routes = Vec::with_capacity(pairs.len());
        for (pattern, chosen) in pairs {
            let chosen = chosen.iter().map(route).collect::<Result<Vec<_>, _>>()?;
            if chosen.is_empty() || chosen.iter().enumerate().any(|(at, route)| chosen[..at].contains(route))
            {
                return Err(format!("{pattern:?} needs at least one route, and each once"));
            }
            routes.push((pattern, chosen));
        }
        Ok(Self(routes))
    }
}

/// A map whose order counts.
struct Pairs(Vec<(String, Vec<String>)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Pairs;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of lists")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

#[cfg(test)]
mod tests {
    use catalog::{Catalog, Scope};

    use super::*;

    #[test]
    fn the_first_pattern_that_fits_decides_and_the_row_otherwise() {
        let routes: Routes = r#"{"*opus*": ["mantle", "invoke"], "*claude*": ["messages"]}"#.parse().unwrap();
        let catalog = Catalog::builtin();
        let arn = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc";
        let resolved = |id: &str| {
            let behind = Some("anthropic.claude-opus-5");
            catalog.resolve_behind(id, behind, Scope::Global, "us-east-1", true).unwrap()
        };
        let of = |id: &str| routes.of(&resolved(id)).to_vec();
        assert_eq!(of("global.anthropic.claude-opus-5"), [Route::Mantle, Route::InvokeModel]);
        assert_eq!(of(arn), of("global.anthropic.claude-opus-5"), "an ARN goes by the model behind it");
        assert_eq!(of("eu.anthropic.claude-sonnet-5"), [Route::Messages]);
        assert_eq!(of("qwen.qwen3"), resolved("qwen.qwen3").model.routes);
        assert_eq!(Routes::default().of(&resolved("claude-opus-5")), [Route::InvokeModel]);
    }

    #[test]
    fn what_is_no_list_of_routes_is_refused() {
        for wrong in [
            "[]",
            r#"{"a": "invoke"}"#,
            r#"{"a": []}"#,
            r#"{"a": ["converse"]}"#,
            r#"{"a": ["invoke","invoke"]}"#,
        ] {
            assert!(wrong.parse::<Routes>().is_err(), "{wrong}");
        }
    }
}
