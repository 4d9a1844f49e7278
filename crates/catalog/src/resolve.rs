//! From the name that a caller typed to the id that goes upstream.

use std::collections::{BTreeMap, HashMap};

use crate::model::{Family, Lane, Model};
use crate::name::{self, Arn};
use crate::rows::{BETAS, FIXED, GROUPS, UNKNOWN, UNKNOWN_CLAUDE};

/// Which profile a model that exists only behind profiles is called through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// `global.` where the model has it, else the geography of the region.
    #[default]
    Global,
    /// The geography of the region: the request never leaves it.
    Geo,
    /// The base id as it is.
    Base,
}

/// What a name means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolution {
    /// As the caller sent it.
    pub requested: String,
    /// What Bedrock is called with: a base id, a profile id or an ARN.
    pub upstream_id: String,
    /// The id without a prefix, which prices and allow-lists are keyed by; the ARN where the model is hidden.
    pub base_id: String,
    /// The row that decides everything else.
    pub model: &'static Model,
    /// Whether the name carried `[1m]`.
    pub wants_1m: bool,
    /// What was named as the model behind an id that hides it, as it was named: its prefix tells the price.
    behind: Option<String>,
}

impl Resolution {
    /// The lane of the resolved family.
    pub fn lane(&self) -> Lane {
        self.model.lane
    }

    /// Whether a pattern on ids fits: on what is called or, where that hides its model, on the id behind it.
    pub fn fits(&self, pattern: impl Fn(&str) -> bool) -> bool {
        pattern(&self.upstream_id) || (self.behind.is_some() && pattern(&self.base_id))
    }

    /// Whether the id goes through a geographic profile or the region itself, which has a price of its own.
    pub fn is_regional(&self) -> bool {
        let id = self.behind.as_ref().unwrap_or(&self.upstream_id);
        let id = match name::arn(id) {
            Some(Arn::Named(id)) => id,
            Some(Arn::Hidden) => return false,
            None => id,
        };
        name::split_prefix(id).is_none_or(|(prefix, _)| prefix != "global")
    }
}

/// No row, no mapping, and unknown models are not let through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unresolved {
    /// As the caller sent it.
    pub requested: String,
}

/// The rows, an index over their names, and the operator's own mapping.
#[derive(Clone, Debug)]
pub struct Catalog {
    names: HashMap<&'static str, &'static Model>,
    mapping: BTreeMap<String, String>,
    /// Targets that hide their model, and the model that the operator says is there.
    behind: HashMap<String, String>,
    /// Whether a name of the operator's leads to a profile whose model nobody has named.
    hides: bool,
}

impl Catalog {
    /// The rows that come with this build.
    pub fn builtin() -> Self {
        let mut names = HashMap::new();
        for model in rows() {
            names.insert(model.id, model);
            names.extend(model.names.iter().map(|name| (*name, model)));
        }
        Self { names, mapping: BTreeMap::new(), behind: HashMap::new(), hides: false }
    }

    /// Adds names of the operator's own; they win over the rows.
    #[must_use]
    pub fn with_mapping<N: AsRef<str>, I: AsRef<str>>(mut self, pairs: &[(N, I)]) -> Self {
        let pairs = pairs.iter().map(|(name, id)| (name.as_ref().to_owned(), id.as_ref().to_owned()));
        self.mapping.extend(pairs);
        self.with_base_models::<&str, &str>(&[])
    }

    /// Names the models behind targets that hide them, by whatever name a caller comes to such a target.
    #[must_use]
    pub fn with_base_models<T: AsRef<str>, B: AsRef<str>>(mut self, pairs: &[(T, B)]) -> Self {
        let plain = |target: &T| name::normalise(target.as_ref()).0;
        self.behind.extend(pairs.iter().map(|(target, base)| (plain(target), base.as_ref().to_owned())));
        self.hides = self.mapping.values().any(|target| self.unnamed_profile(target).is_some());
        self
    }

    /// The operator's own names and their targets, in order.
    pub fn mapping(&self) -> impl Iterator<Item = (&str, &str)> {
        self.mapping.iter().map(|(name, id)| (name.as_str(), id.as_str()))
    }

    /// All rows, the newest first.
    pub fn list(&self) -> Vec<&'static Model> {
        let mut all: Vec<_> = rows().collect();
        all.sort_by(|a, b| b.released.cmp(a.released).then_with(|| a.id.cmp(b.id)));
        all
    }

    /// The row of a public name, a base id, a prefixed id or an ARN that names its model; no mapping is followed.
    pub fn find(&self, id: &str) -> Option<&'static Model> {
        let id = match name::arn(id) {
            Some(Arn::Named(inner)) => inner,
            Some(Arn::Hidden) => return None,
            None => id,
        };
        let base = name::split_prefix(id).map_or(id, |(_, base)| base);
        self.names.get(base).copied()
    }

    /// The ARN of the application inference profile that a name leads to, where its model has to be asked for before
    /// the name can be resolved. Costs a look at the first letters where the operator maps nothing to such profiles.
    pub fn hidden_profile(&self, requested: &str) -> Option<String> {
        if !self.hides && !requested.trim_start().starts_with("arn:") {
            return None;
        }
        let (plain, _) = name::normalise(requested);
        self.unnamed_profile(self.mapped(requested, &plain).unwrap_or(&plain))
    }

    fn unnamed_profile(&self, target: &str) -> Option<String> {
        let (plain, _) = name::normalise(target);
        let hidden = name::application_profile_region(&plain).is_some() && !self.behind.contains_key(&plain);
        hidden.then_some(plain)
    }

    fn mapped(&self, requested: &str, plain: &str) -> Option<&str> {
        let mapped = self.mapping.get(requested.trim()).or_else(|| self.mapping.get(plain));
        mapped.map(String::as_str)
    }

    /// Resolves what a caller typed: the operator's mapping, then the rows, then the id as given.
    pub fn resolve(
        &self,
        requested: &str,
        scope: Scope,
        region: &str,
        allow_unknown: bool,
    ) -> Result<Resolution, Unresolved> {
        self.resolve_behind(requested, None, scope, region, allow_unknown)
    }

    /// The same, where somebody has asked what is behind [`hidden_profile`](Self::hidden_profile). `base_model` counts
    /// for ids that hide their model alone: no other name can be made to mean another model by it.
    pub fn resolve_behind(
        &self,
        requested: &str,
        base_model: Option<&str>,
        scope: Scope,
        region: &str,
        allow_unknown: bool,
    ) -> Result<Resolution, Unresolved> {
        let (plain, wants_1m) = name::normalise(requested);
        let mapped = self.mapped(requested, &plain);
        let target = mapped.unwrap_or(&plain);
        let base_model = base_model.filter(|_| name::arn(target) == Some(Arn::Hidden));
        let mut resolution = self.resolve_target(target, base_model, scope, region);
        let known = mapped.is_some() || is_known(resolution.model);
        if plain.is_empty() || !(known || allow_unknown) {
            return Err(Unresolved { requested: requested.to_owned() });
        }
        requested.clone_into(&mut resolution.requested);
        resolution.wants_1m |= wants_1m;
        Ok(resolution)
    }

    /// Resolves the target of a mapping: the rows once, and no mapping again, so that there are no loops.
    /// `base_model` names the model behind a target that hides it; what the operator says about the target counts
    /// where it is not given.
    pub fn resolve_target(
        &self,
        target: &str,
        base_model: Option<&str>,
        scope: Scope,
        region: &str,
    ) -> Resolution {
        let (plain, wants_1m) = name::normalise(target);
        let mut resolution = self.by_id(&plain, scope, region);
        target.clone_into(&mut resolution.requested);
        resolution.wants_1m = wants_1m;
        let said = || self.behind.get(&plain).map(String::as_str);
        if let Some(base) = base_model.filter(|base| !base.trim().is_empty()).or_else(said) {
            let (base, _) = name::normalise(base);
            let behind = self.by_id(&base, Scope::Base, region);
            resolution.base_id = behind.base_id;
            resolution.model = behind.model;
            resolution.behind = Some(behind.upstream_id);
        }
        resolution
    }

    fn by_id(&self, id: &str, scope: Scope, region: &str) -> Resolution {
        if let Some((_, fixed)) = FIXED.iter().find(|(name, _)| *name == id) {
            return self.kept(id, fixed);
        }
        if name::arn(id).is_some() || name::split_prefix(id).is_some() {
            return self.kept(id, id);
        }
        if let Some(model) = self.names.get(id).copied() {
            let as_base =
                model.on_demand && (id == model.id || (model.prefer_base && scope == Scope::Global));
            let upstream_id =
                if as_base { model.id.to_owned() } else { with_prefix(model, model.id, scope, region) };
            return Resolution::new(id, upstream_id, model.id, model);
        }
        if id.starts_with("claude-") {
            let base = format!("anthropic.{id}");
            let upstream_id = with_prefix(&UNKNOWN_CLAUDE, &base, scope, region);
            return Resolution::new(id, upstream_id, &base, &UNKNOWN_CLAUDE);
        }
        self.kept(id, id)
    }

    /// An id that goes upstream as it is written.
    fn kept(&self, requested: &str, id: &str) -> Resolution {
        let inner = match name::arn(id) {
            Some(Arn::Hidden) => return Resolution::new(requested, id.to_owned(), id, &UNKNOWN),
            Some(Arn::Named(inner)) => inner,
            None => id,
        };
        let base = name::split_prefix(inner).map_or(inner, |(_, base)| base);
        let model = self.names.get(base).copied().filter(|model| model.id == base);
        let model = model.unwrap_or_else(|| stranger(base));
        Resolution::new(requested, id.to_owned(), base, model)
    }
}

impl Default for Catalog {
    fn default() -> Self {
        Self::builtin()
    }
}

impl Resolution {
    fn new(requested: &str, upstream_id: String, base_id: &str, model: &'static Model) -> Self {
        let base_id = base_id.to_owned();
        Self { requested: requested.to_owned(), upstream_id, base_id, model, wants_1m: false, behind: None }
    }
}

fn rows() -> impl Iterator<Item = &'static Model> {
    GROUPS.iter().flat_map(|group| group.iter())
}

/// The row of an id that no row has: the maker's name in front decides the family.
fn stranger(base: &str) -> &'static Model {
    if base.starts_with("anthropic.claude") { &UNKNOWN_CLAUDE } else { &UNKNOWN }
}

/// `<prefix>.<id>` as scope and region ask for it, or the id itself.
fn with_prefix(model: &Model, id: &str, scope: Scope, region: &str) -> String {
    match prefix(model, scope, region) {
        Some(prefix) => format!("{prefix}.{id}"),
        None => id.to_owned(),
    }
}

fn prefix(model: &Model, scope: Scope, region: &str) -> Option<&'static str> {
    let has = |prefix: &str| model.prefixes.iter().copied().find(|own| *own == prefix);
    match scope {
        Scope::Base => return None,
        Scope::Global if name::reaches_global(region) && has("global").is_some() => return has("global"),
        Scope::Global | Scope::Geo => {}
    }
    let own = name::geographies(region).iter().find_map(|geo| has(geo));
    // No profile for this geography: the base id where it can be called, else the model's first home. The upstream
    // then says no; `global` under `Scope::Geo` would say yes and take the data out of the geography.
    own.or_else(|| {
        let home = model.prefixes.iter().copied().find(|prefix| *prefix != "global");
        if model.on_demand { None } else { home }
    })
}

/// Whether a model has a row of its own.
pub fn is_known(model: &Model) -> bool {
    model.family != Family::Unknown && model.id != UNKNOWN_CLAUDE.id
}

/// Whether some row takes this `anthropic-beta` flag.
pub fn is_known_beta(flag: &str) -> bool {
    BETAS.contains(flag)
}
