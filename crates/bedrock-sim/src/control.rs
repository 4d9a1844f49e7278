//! The control plane's lists: foundation models and inference profiles.
//! <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_ListInferenceProfiles.html>

use httpd::Response;

use crate::json::{put, quote};
use crate::models::{MODELS, Model, bare, resolve};
use crate::reject::Reject;
use crate::routes::{Call, decoded};

const ACCOUNT: &str = "123456789012";
const WHEN: &str = "2025-01-01T00:00:00Z";

/// Answers.
pub(crate) fn answer(call: &Call<'_>, path: &str) -> Result<Response, Reject> {
    let region = call.state.accepted.region.as_deref().unwrap_or("us-east-1");
    let (list, id) =
        path.trim_start_matches('/').split_once('/').unwrap_or((path.trim_start_matches('/'), ""));
    let id = decoded(id).unwrap_or_default();
    let mut out = String::with_capacity(16_384);
    match (list, id.as_ref()) {
        ("foundation-models", "") => {
            out.push_str("{\"modelSummaries\":[");
            for (index, of) in MODELS.iter().enumerate() {
                comma(&mut out, index);
                model(&mut out, of, region);
            }
            out.push_str("]}");
        }
        ("foundation-models", id) => {
            let of = bare(id).ok_or_else(missing)?;
            out.push_str("{\"modelDetails\":");
            model(&mut out, of, region);
            out.push('}');
        }
        (_, "") => {
            out.push_str("{\"inferenceProfileSummaries\":[");
            let mut index = 0;
            for of in MODELS {
                for prefix in of.profiles {
                    let id = format!("{prefix}.{}", of.id);
                    if resolve(&id, Some(region)).is_ok() {
                        comma(&mut out, index);
                        profile(&mut out, &id, of, region);
                        index += 1;
                    }
                }
            }
            out.push_str("]}");
        }
        (_, id) => {
            let tail = id.rsplit_once('/').map_or(id, |(_, tail)| tail);
            let own = |(arn, _): &&(String, String)| arn == id || arn.ends_with(&format!("/{id}"));
            if let Some((arn, behind)) = call.state.profiles.iter().find(own) {
                let of = resolve(behind, Some(region)).map_err(|_| missing())?;
                application(&mut out, arn, behind, of, region);
            } else {
                let of = resolve(tail, Some(region)).map_err(|_| missing())?;
                profile(&mut out, tail, of, region);
            }
        }
    }
    Ok(call.json(out))
}

fn missing() -> Reject {
    Reject::new(404, "ResourceNotFoundException", "The requested resource was not found.")
}

fn comma(out: &mut String, index: usize) {
    if index > 0 {
        out.push(',');
    }
}

fn model(out: &mut String, of: &Model, region: &str) {
    let provider = of.id.split('.').next().unwrap_or_default();
    let inference = if of.on_demand { "ON_DEMAND" } else { "INFERENCE_PROFILE" };
    out.push_str("{\"modelArn\":");
    quote(out, &format!("arn:aws:bedrock:{region}::foundation-model/{}", of.id));
    put!(
        out,
        ",\"modelId\":\"{}\",\"modelName\":\"{}\",\"providerName\":\"{provider}\",\"inputModalities\":[\"TEXT\"],\
         \"outputModalities\":[\"TEXT\"],\"responseStreamingSupported\":true,\"customizationsSupported\":[],\
         \"inferenceTypesSupported\":[\"{inference}\"],\"modelLifecycle\":{{\"status\":\"ACTIVE\"}}}}",
        of.id,
        of.name
    );
}

/// A profile of the account's own, over one region or as many as the profile that it was copied from.
fn application(out: &mut String, arn: &str, behind: &str, of: &Model, region: &str) {
    let id = arn.rsplit_once('/').map_or(arn, |(_, tail)| tail);
    put!(
        out,
        "{{\"inferenceProfileName\":\"{id}\",\"createdAt\":\"{WHEN}\",\"updatedAt\":\"{WHEN}\",\
         \"inferenceProfileArn\":\"{arn}\",\"models\":["
    );
    let others: &[&str] = match behind.split_once('.') {
        _ if behind == of.id => &[],
        Some(("global", _)) => &[""],
        _ => &["us-west-2"],
    };
    for (index, region) in [region].iter().chain(others).enumerate() {
        comma(out, index);
        put!(out, "{{\"modelArn\":\"arn:aws:bedrock:{region}::foundation-model/{}\"}}", of.id);
    }
    put!(out, "],\"inferenceProfileId\":\"{id}\",\"status\":\"ACTIVE\",\"type\":\"APPLICATION\"}}");
}

fn profile(out: &mut String, id: &str, of: &Model, region: &str) {
    put!(
        out,
        "{{\"inferenceProfileName\":\"{} {}\",\"description\":\"Routes requests to {}.\",\"createdAt\":\"{WHEN}\",\
         \"updatedAt\":\"{WHEN}\",\"inferenceProfileArn\":\"arn:aws:bedrock:{region}:{ACCOUNT}:inference-profile/{id}\",\
         \"models\":[{{\"modelArn\":\"arn:aws:bedrock:{region}::foundation-model/{}\"}}],\"inferenceProfileId\":\"{id}\",\
         \"status\":\"ACTIVE\",\"type\":\"SYSTEM_DEFINED\"}}",
        id.split('.').next().unwrap_or_default().to_uppercase(),
        of.name,
        of.name,
        of.id
    );
}
