//! How a model is named: suffixes, prefixes, ARNs, and which geography a region belongs to.

/// Profile prefixes that Bedrock uses.
/// <https://docs.aws.amazon.com/bedrock/latest/userguide/inference-profiles-support.html>
pub const PREFIXES: &[&str] = &["us", "eu", "apac", "jp", "au", "global", "us-gov", "ca", "in", "sa"];

/// A name without its `[1m]` suffixes, with `@date` as `-date`, and whether the long context was asked for.
pub fn normalise(name: &str) -> (String, bool) {
    let mut rest = name.trim();
    let mut wants_1m = false;
    while let Some(head) = strip_1m(rest) {
        rest = head.trim_end();
        wants_1m = true;
    }
    let plain = match rest.split_once('@') {
        Some((head, date)) if !date.is_empty() && date.bytes().all(|b| b.is_ascii_digit()) => {
            format!("{head}-{date}")
        }
        Some((head, "latest")) => format!("{head}-latest"),
        _ => rest.to_owned(),
    };
    (plain, wants_1m)
}

fn strip_1m(name: &str) -> Option<&str> {
    name.strip_suffix("[1m]").or_else(|| name.strip_suffix("[1M]"))
}

/// The profile prefix that an id is written with, and the id behind it.
pub fn split_prefix(id: &str) -> Option<(&'static str, &str)> {
    let (head, base) = id.split_once('.')?;
    let prefix = PREFIXES.iter().find(|prefix| **prefix == head)?;
    // `us.` must be followed by a maker: `us.anthropic.…`.
    base.contains('.').then_some((*prefix, base))
}

/// What an ARN says about the model behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arn<'a> {
    /// A foundation model or a system-defined inference profile: the id is in the ARN.
    Named(&'a str),
    /// An application profile, provisioned or custom model, prompt or router: the model is hidden.
    Hidden,
}

/// Reads a Bedrock (or other) ARN; `None` for anything else.
pub fn arn(id: &str) -> Option<Arn<'_>> {
    if !id.starts_with("arn:") {
        return None;
    }
    let resource = id.splitn(6, ':').nth(5)?;
    Some(match resource.split_once('/') {
        Some(("foundation-model" | "inference-profile", model)) if !model.is_empty() => Arn::Named(model),
        _ => Arn::Hidden,
    })
}

/// The region of an application inference profile's ARN; `None` for everything else. Of the ids that hide their model
/// this is the one that AWS can be asked about, in the form of
/// <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_GetInferenceProfile.html>.
pub fn application_profile_region(id: &str) -> Option<&str> {
    let rest = id.strip_prefix("arn:aws").filter(|_| id.len() <= 2048)?;
    let mut parts = rest.splitn(5, ':');
    let (_partition, service, region) = (parts.next()?, parts.next()?, parts.next()?);
    let (account, resource) = (parts.next()?, parts.next()?);
    let plain = |text: &str, more: &[u8]| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || more.contains(&b))
    };
    let profile = resource.strip_prefix("application-inference-profile/")?;
    let whole = service == "bedrock" && plain(region, b"-") && plain(account, b"") && plain(profile, b"-:.");
    whole.then_some(region)
}

/// Geographic prefixes that a region may use, the narrowest first; empty where only `global` exists.
pub fn geographies(region: &str) -> &'static [&'static str] {
    match region {
        _ if region.starts_with("us-gov-") => &["us-gov"],
        _ if region.starts_with("us-") => &["us"],
        _ if region.starts_with("ca-") => &["ca", "us"],
        _ if region.starts_with("eu-") => &["eu"],
        "ap-northeast-1" | "ap-northeast-3" => &["jp", "apac"],
        "ap-southeast-2" | "ap-southeast-4" => &["au", "apac"],
        "ap-south-1" | "ap-south-2" => &["in", "apac"],
        "ap-northeast-2" | "ap-southeast-1" | "ap-southeast-3" => &["apac"],
        "sa-east-1" => &["sa"],
        _ => &[],
    }
}

/// Whether profiles with a prefix can be called from a region.
pub fn reaches(region: &str, prefix: &str) -> bool {
    match prefix {
        "global" => reaches_global(region),
        geography => geographies(region).contains(&geography),
    }
}

/// Whether `global` profiles can be called from a region.
pub fn reaches_global(region: &str) -> bool {
    !region.starts_with("us-gov-") && !region.starts_with("cn-")
}
