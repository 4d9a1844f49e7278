//! Names of models: given, listed, taken away, and shown as a gateway would read them.

use catalog::{Catalog, Lane, Model, Resolution, Scope, ServiceTier, is_known, name};
use policy::{PricedBy, Rows, Tables, Tariff};
use serde::Serialize;
use store::{MappingRow, Store, Timestamp, config};

use crate::{
    args::{
        Args,
        rows::{AddMapping, Mapping, TestMapping},
    },
    failure::Failure,
    values::usd,
    view::{self, Answer, Form},
};

/// Where a gateway calls when nothing names a region.
const REGION: &str = "us-east-1";

pub(crate) async fn run(
    args: &Args,
    store: &dyn Store,
    what: &Mapping,
    form: Form,
    now: Timestamp,
) -> Result<Answer, Failure> {
    match what {
        Mapping::Add(wanted) => add(store, wanted, form, now).await,
        Mapping::List => listed(&config::list(store).await?, form),
        Mapping::Remove { model } => {
            config::remove::<MappingRow>(store, model.trim(), None).await?;
            view::removed(model.trim(), form)
        }
        Mapping::Test(wanted) => test(args, store, wanted, form).await,
    }
}

async fn add(store: &dyn Store, wanted: &AddMapping, form: Form, now: Timestamp) -> Result<Answer, Failure> {
    // The parser lets either form through, and nothing else.
    let either = |a: &Option<String>, b: &Option<String>| {
        let text = a.as_ref().or(b.as_ref());
        text.map(|text| text.trim().to_owned()).unwrap_or_default()
    };
    let row = MappingRow {
        model_id: either(&wanted.model, &wanted.anthropic_id),
        bedrock_model_id: either(&wanted.target, &wanted.bedrock_id),
        base_model_id: wanted.base_model.as_deref().map(|id| id.trim().to_owned()),
        updated_at: now,
        updated_by: Some("cli".to_owned()),
        version: 0,
    };
    let stored =
        config::list::<MappingRow>(store).await?.into_iter().find(|old| old.model_id == row.model_id);
    let version = match stored {
        Some(old) if wanted.replace => old.version,
        Some(old) => {
            let message = format!(
                "{} is a name for {} already; --replace changes it",
                old.model_id, old.bedrock_model_id
            );
            return Err(Failure::conflict(message));
        }
        None => 0,
    };
    let row = config::put(store, &MappingRow { version, ..row }).await?;
    let text = match form {
        Form::Json => view::json(&row)?,
        Form::Quiet => format!("{}\n", row.model_id),
        Form::People => format!("{} is a name for {} now.\n", row.model_id, row.bedrock_model_id),
    };
    Ok(Answer { text, notes: hidden_note(&row).into_iter().collect() })
}

/// A target whose model nobody can tell.
fn hidden_note(row: &MappingRow) -> Option<String> {
    let hidden = name::arn(&row.bedrock_model_id) == Some(name::Arn::Hidden)
        && name::application_profile_region(&row.bedrock_model_id).is_none();
    (hidden && row.base_model_id.is_none()).then(|| {
        "This target hides its model: it is treated as an unknown one without a price. Name it with --base-model.".to_owned()
    })
}

#[derive(Serialize)]
struct Listed<'a> {
    mappings: &'a [MappingRow],
}

fn listed(rows: &[MappingRow], form: Form) -> Result<Answer, Failure> {
    let text = match form {
        Form::Json => view::json(&Listed { mappings: rows })?,
        Form::Quiet => rows.iter().fold(String::new(), |text, row| text + &row.model_id + "\n"),
        Form::People => {
            let head = ["MODEL", "TARGET", "BASE MODEL", "CHANGED", "BY"].map(String::from);
            let line = |row: &MappingRow| {
                let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "–".to_owned());
                [
                    row.model_id.clone(),
                    row.bedrock_model_id.clone(),
                    or_dash(&row.base_model_id),
                    view::day(row.updated_at),
                    or_dash(&row.updated_by),
                ]
            };
            view::columns(&[head].into_iter().chain(rows.iter().map(line)).collect::<Vec<_>>())
        }
    };
    Ok(Answer { text, notes: Vec::new() })
}

/// What a gateway makes of a name.
#[derive(Serialize)]
struct Tested {
    requested: String,
    normal_form: String,
    source: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    id: String,
    base_id: String,
    family: String,
    lane: &'static str,
    scope: String,
    long_context: bool,
    tiers: Vec<&'static str>,
    price: Option<Price>,
}

/// USD per million tokens.
#[derive(Serialize)]
struct Price {
    source: &'static str,
    input: String,
    output: String,
    cache_read: String,
    cache_write_5m: String,
    cache_write_1h: String,
    regional_percent: u16,
    applies_regional: bool,
    above_input_tokens: Option<u64>,
}

async fn test(args: &Args, store: &dyn Store, wanted: &TestMapping, form: Form) -> Result<Answer, Failure> {
    let names = &wanted.default_model_mapping;
    let settings = Catalog::builtin().with_mapping(&names.targets()).with_base_models(&names.base_models());
    let rows = Rows::read(store).await?;
    let tables = Tables::new(settings, &rows);
    let region = wanted.bedrock_region.as_deref().or(args.region.as_deref()).unwrap_or(REGION);
    let scope = wanted.bedrock_inference_scope;
    let resolution = tables
        .catalog()
        .resolve(&wanted.model, scope, region, wanted.allow_unknown_models)
        .map_err(|_| Failure::not_found("nothing knows this name, and ALLOW_UNKNOWN_MODELS is false"))?;
    let (normal_form, _) = name::normalise(&wanted.model);
    let is_name = |name: &str| name == normal_form || name == wanted.model.trim();
    let source = if rows.mappings.iter().any(|row| is_name(&row.model_id)) {
        "store"
    } else if names.targets().iter().any(|(name, _)| is_name(name)) {
        "DEFAULT_MODEL_MAPPING"
    } else if is_known(resolution.model) {
        "catalogue"
    } else {
        "pass-through"
    };
    let target =
        tables.catalog().mapping().find(|(name, _)| is_name(name)).map(|(_, target)| target.to_owned());
    let asked_for = tables.catalog().hidden_profile(&wanted.model);
    let tested = Tested {
        requested: wanted.model.clone(),
        normal_form,
        source,
        target,
        id: resolution.upstream_id.clone(),
        base_id: resolution.base_id.clone(),
        family: format!("{:?}", resolution.model.family).to_lowercase(),
        lane: lane(&resolution),
        scope: scope_of(&resolution, scope),
        long_context: resolution.wants_1m,
        tiers: tiers(resolution.model),
        price: tables.tariff(&resolution).map(|(tariff, by)| price(&tariff, by, &resolution)),
    };
    let note = asked_for
        .map(|_| "A gateway asks AWS for the model behind this profile, which is not done here.".to_owned());
    let text = match form {
        Form::Json => view::json(&tested)?,
        Form::Quiet => format!("{}\n", tested.id),
        Form::People => view::aligned(&lines(&tested)),
    };
    Ok(Answer { text, notes: note.into_iter().collect() })
}

fn lane(resolution: &Resolution) -> &'static str {
    match resolution.lane() {
        Lane::Native => "native",
        Lane::Converse => "converse",
    }
}

/// The profile that will be called, or that there is none.
fn scope_of(resolution: &Resolution, setting: Scope) -> String {
    let called = match name::arn(&resolution.upstream_id) {
        Some(name::Arn::Named(id)) => id,
        Some(name::Arn::Hidden) => return "hidden".to_owned(),
        None => &resolution.upstream_id,
    };
    let prefix = name::split_prefix(called).map_or("base", |(prefix, _)| prefix);
    let setting = match setting {
        Scope::Global => "global",
        Scope::Geo => "geo",
        Scope::Base => "base",
    };
    format!("{prefix} (BEDROCK_INFERENCE_SCOPE={setting})")
}

fn tiers(model: &Model) -> Vec<&'static str> {
    ServiceTier::ALL.into_iter().filter(|tier| model.tiers.take(*tier)).map(ServiceTier::name).collect()
}

fn price(tariff: &Tariff, by: PricedBy, resolution: &Resolution) -> Price {
    let figures = tariff.figures;
    Price {
        source: match by {
            PricedBy::Row => "store",
            PricedBy::Catalogue => "catalogue",
        },
        input: usd(figures.input),
        output: usd(figures.output),
        cache_read: usd(figures.cache_read),
        cache_write_5m: usd(figures.cache_write_5m),
        cache_write_1h: usd(figures.cache_write_1h),
        regional_percent: tariff.regional_percent,
        applies_regional: resolution.is_regional(),
        above_input_tokens: tariff.band.map(|(bound, _)| bound),
    }
}

fn lines(tested: &Tested) -> Vec<(&'static str, String)> {
    let price = tested.price.as_ref().map_or_else(
        || "none: its use is marked as unpriced (UNPRICED_MODELS)".to_owned(),
        |price| {
            let regional = if price.applies_regional && price.regional_percent > 100 {
                format!(", × {} % here", price.regional_percent)
            } else {
                String::new()
            };
            let band = price.above_input_tokens.map_or_else(String::new, |bound| {
                format!(", other figures above {bound} input tokens")
            });
            format!(
                "{} in, {} out, {} read, {} / {} written (5m / 1h), USD per million tokens{regional}{band}; by the {}",
                price.input, price.output, price.cache_read, price.cache_write_5m, price.cache_write_1h, price.source
            )
        },
    );
    let lines = [
        ("requested", Some(tested.requested.clone())),
        ("normal form", Some(tested.normal_form.clone())),
        ("source", Some(tested.source.to_owned())),
        ("target", tested.target.clone()),
        ("id", Some(tested.id.clone())),
        ("base id", Some(tested.base_id.clone())),
        ("family", Some(tested.family.clone())),
        ("lane", Some(tested.lane.to_owned())),
        ("scope", Some(tested.scope.clone())),
        ("1M context", Some(if tested.long_context { "asked for" } else { "not asked for" }.to_owned())),
        ("tiers", Some(tested.tiers.join(", "))),
        ("price", Some(price)),
    ];
    lines.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}
