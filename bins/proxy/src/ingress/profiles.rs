//! The inference profiles that a key may use, in the shape of Bedrock's control plane:
//! <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_ListInferenceProfiles.html>.

use catalog::{Model, Resolution, Scope, is_known, name};
use http::StatusCode;
use httpd::Response;
use serde_json::{Value, json};

use crate::error::{ApiError, Kind};
use crate::gateway::Gateway;
use crate::handle::{self, Context};
use crate::profiles;
use crate::route::percent_decoded;

/// The list, the newest models first.
pub(crate) async fn list(gateway: &Gateway, context: &Context) -> Result<Response, ApiError> {
    let caller = gateway.authenticate(context).await?;
    let query = context.query.as_deref().unwrap_or_default();
    let parameter = |name: &str| {
        let found = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        found.map(percent_decoded)
    };
    let of_the_system = parameter("type").is_none_or(|kind| kind == "SYSTEM_DEFINED");
    let models = gateway.shared.policy.tables().catalog().list();
    let mut all: Vec<Value> = Vec::new();
    for model in models.into_iter().filter(|model| of_the_system && caller.may_use(model.id)) {
        let reachable = model.prefixes.iter().filter_map(|prefix| Some((prefix, region(gateway, prefix)?)));
        all.extend(reachable.map(|(prefix, region)| profile(region, prefix, model)));
    }
    let from = parameter("nextToken").map_or(Ok(0), |token| token.parse()).unwrap_or(all.len());
    let most = match parameter("maxResults").map(|text| text.parse::<usize>()) {
        None => all.len(),
        Some(Ok(most @ 1..=1000)) => most,
        Some(_) => return Err(ApiError::new(Kind::Invalid, "maxResults must be between 1 and 1000")),
    };
    let to = from.saturating_add(most).min(all.len());
    let mut body = json!({ "inferenceProfileSummaries": all.get(from..to).unwrap_or_default() });
    if to < all.len() {
        body["nextToken"] = to.to_string().into();
    }
    Ok(handle::private(handle::json(StatusCode::OK, body.to_string())))
}

/// One profile: a system-defined one by its id or its ARN, an application's by its ARN.
pub(crate) async fn get(gateway: &Gateway, context: &Context, id: &str) -> Result<Response, ApiError> {
    let caller = gateway.authenticate(context).await?;
    if let Some(region) = name::application_profile_region(id) {
        let tables = gateway.shared.policy.tables();
        let catalog = tables.catalog();
        let behind = profiles::behind(gateway, catalog, id, context.now.mono).await;
        let behind = behind.map_err(|error| if error.kind == Kind::Invalid { missing() } else { error })?;
        let resolution = catalog.resolve_behind(id, behind.as_deref(), Scope::Global, region, true);
        let resolution =
            resolution.ok().filter(|found| caller.may_use(&found.base_id)).ok_or_else(missing)?;
        let body = application(id, region, &resolution).to_string();
        return Ok(handle::private(handle::json(StatusCode::OK, body)));
    }
    let plain = match name::arn(id) {
        Some(name::Arn::Named(inner)) => inner,
        Some(name::Arn::Hidden) => "",
        None => id,
    };
    let found = name::split_prefix(plain).and_then(|(prefix, base)| {
        let model = gateway.shared.policy.tables().catalog().find(base)?;
        let known = model.id == base && model.prefixes.contains(&prefix) && caller.may_use(model.id);
        let region = region(gateway, prefix).unwrap_or(&gateway.targets.first().place.region);
        known.then(|| profile(region, prefix, model))
    });
    Ok(handle::private(handle::json(StatusCode::OK, found.ok_or_else(missing)?.to_string())))
}

/// The region of the first target that can call profiles with this prefix.
fn region<'a>(gateway: &'a Gateway, prefix: &str) -> Option<&'a str> {
    let mut regions = gateway.targets.iter().map(|target| &*target.place.region);
    regions.find(|region| name::reaches(region, prefix))
}

fn missing() -> ApiError {
    ApiError::new(Kind::ModelNotFound, "The requested inference profile was not found.")
}

/// A profile of the account's own, as far as it matters to a caller that knows its ARN: the model behind it.
fn application(arn: &str, region: &str, resolution: &Resolution) -> Value {
    let id = arn.rsplit_once('/').map_or(arn, |(_, id)| id);
    let (model, base) = (resolution.model, &resolution.base_id);
    let released = format!("{}T00:00:00Z", model.released);
    json!({
        "inferenceProfileName": id,
        "description": format!("Routes requests to {}.", if is_known(model) { model.display_name } else { base }),
        "createdAt": released,
        "updatedAt": released,
        "inferenceProfileArn": arn,
        "models": [{ "modelArn": format!("arn:aws:bedrock:{region}::foundation-model/{base}") }],
        "inferenceProfileId": id,
        "status": "ACTIVE",
        "type": "APPLICATION",
    })
}

/// No account stands in these ARNs: whose profile it is, is not the caller's affair.
fn profile(region: &str, prefix: &str, model: &Model) -> Value {
    let id = format!("{prefix}.{}", model.id);
    let name = format!("{} {}", prefix.to_uppercase(), model.display_name);
    let released = format!("{}T00:00:00Z", model.released);
    json!({
        "inferenceProfileName": name,
        "description": format!("Routes requests to {}.", model.display_name),
        "createdAt": released,
        "updatedAt": released,
        "inferenceProfileArn": format!("arn:aws:bedrock:{region}::inference-profile/{id}"),
        "models": [{ "modelArn": format!("arn:aws:bedrock:{region}::foundation-model/{}", model.id) }],
        "inferenceProfileId": id,
        "status": "ACTIVE",
        "type": "SYSTEM_DEFINED",
    })
}
