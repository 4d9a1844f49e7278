//! Every form a model can be named in, and what it becomes.

#![expect(clippy::expect_used, reason = "helpers of a test may fail loudly")]

use catalog::{Catalog, Family, Lane, Resolution, Scope};
use outcrop_catalog as catalog;

fn resolve(name: &str, scope: Scope, region: &str) -> Resolution {
    Catalog::builtin().resolve(name, scope, region, true).expect(name)
}

fn global(name: &str) -> String {
    resolve(name, Scope::Global, "us-east-1").upstream_id
}

#[test]
fn every_public_name_becomes_its_default_id() {
    let table = [
        ("claude-opus-5-5", "global.anthropic.claude-opus-5-5"),
        ("claude-sonnet-5-5", "global.anthropic.claude-sonnet-5-5"),
        ("claude-haiku-5-5", "global.anthropic.claude-haiku-5-5"),
        ("claude-opus-5", "global.anthropic.claude-opus-5"),
        ("claude-sonnet-5", "global.anthropic.claude-sonnet-5"),
        ("claude-fable-5", "global.anthropic.claude-fable-5"),
        ("claude-fable-5-1", "global.anthropic.claude-fable-5-1"),
        ("claude-fable-5-us", "us.anthropic.claude-fable-5"),
        ("claude-mythos-5-1", "global.anthropic.claude-mythos-5-1"),
        ("claude-opus-4-8", "global.anthropic.claude-opus-4-8"),
        ("claude-opus-4-7", "global.anthropic.claude-opus-4-7"),
        ("claude-opus-4-6", "global.anthropic.claude-opus-4-6-v1"),
        ("claude-sonnet-4-6", "global.anthropic.claude-sonnet-4-6"),
        ("claude-opus-4-5", "global.anthropic.claude-opus-4-5-20251101-v1:0"),
        ("claude-sonnet-4-5", "global.anthropic.claude-sonnet-4-5-20250929-v1:0"),
        ("claude-sonnet-4-5-20250929", "global.anthropic.claude-sonnet-4-5-20250929-v1:0"),
        ("claude-sonnet-4-5-latest", "global.anthropic.claude-sonnet-4-5-20250929-v1:0"),
        ("claude-haiku-4-5@20251001", "global.anthropic.claude-haiku-4-5-20251001-v1:0"),
        ("claude-opus-4-1", "us.anthropic.claude-opus-4-1-20250805-v1:0"),
        ("claude-opus-4-0", "us.anthropic.claude-opus-4-20250514-v1:0"),
        ("claude-sonnet-4-20250514", "global.anthropic.claude-sonnet-4-20250514-v1:0"),
        ("claude-3-7-sonnet-latest", "us.anthropic.claude-3-7-sonnet-20250219-v1:0"),
        ("claude-3-5-haiku", "us.anthropic.claude-3-5-haiku-20241022-v1:0"),
        ("claude-3-5-sonnet", "anthropic.claude-3-5-sonnet-20241022-v2:0"),
        ("claude-3-5-sonnet-20240620", "anthropic.claude-3-5-sonnet-20240620-v1:0"),
        ("claude-3-haiku-20240307", "anthropic.claude-3-haiku-20240307-v1:0"),
        ("gpt-6.1-sol", "global.openai.gpt-6.1-sol"),
        ("gpt-oss-120b", "openai.gpt-oss-120b-1:0"),
        ("qwen.qwen3-coder-480b-a35b-v1:0", "qwen.qwen3-coder-480b-a35b-v1:0"),
        ("deepseek.r1-v1:0", "us.deepseek.r1-v1:0"),
        ("amazon.nova-lite-v1:0", "amazon.nova-lite-v1:0"),
        ("amazon.nova-2-lite-v1:0", "global.amazon.nova-2-lite-v1:0"),
        ("zai.glm-5.3", "global.zai.glm-5.3"),
        ("zai.glm-5", "zai.glm-5"),
        ("meta.llama4-scout-17b-instruct-v1:0", "us.meta.llama4-scout-17b-instruct-v1:0"),
    ];
    for (name, id) in table {
        assert_eq!(global(name), id, "{name}");
    }
}

#[test]
fn every_name_of_every_row_resolves_to_that_row_in_every_form() {
    let catalog = Catalog::builtin();
    for model in catalog.list() {
        for name in model.names.iter().copied().chain([model.id]) {
            for form in
                [name.to_owned(), format!(" {name} "), format!("{name}[1m]"), format!("{name}[1M][1m]")]
            {
                let got = catalog.resolve(&form, Scope::Global, "eu-west-1", false).expect(name);
                assert_eq!(got.model, model, "{form}");
                assert_eq!(got.base_id, model.id, "{form}");
                assert_eq!(got.wants_1m, form.contains("[1"), "{form}");
                assert_eq!(got.requested, form);
            }
        }
    }
}

#[test]
fn a_prefix_that_the_caller_wrote_is_kept_whatever_the_scope() {
    let catalog = Catalog::builtin();
    for model in catalog.list() {
        for prefix in catalog::name::PREFIXES {
            let id = format!("{prefix}.{}", model.id);
            for scope in [Scope::Global, Scope::Geo, Scope::Base] {
                let got = catalog.resolve(&id, scope, "eu-central-1", false).expect(&id);
                assert_eq!((got.upstream_id.as_str(), got.base_id.as_str()), (id.as_str(), model.id));
                assert_eq!(got.model, model);
            }
        }
    }
}

#[test]
fn every_region_takes_the_prefix_of_its_geography() {
    let table = [
        ("us-east-1", "us"),
        ("us-east-2", "us"),
        ("us-west-1", "us"),
        ("us-west-2", "us"),
        ("ca-central-1", "us"),
        ("ca-west-1", "us"),
        ("eu-central-1", "eu"),
        ("eu-central-2", "eu"),
        ("eu-north-1", "eu"),
        ("eu-south-1", "eu"),
        ("eu-south-2", "eu"),
        ("eu-west-1", "eu"),
        ("eu-west-2", "eu"),
        ("eu-west-3", "eu"),
        ("ap-northeast-1", "jp"),
        ("ap-northeast-3", "jp"),
        ("ap-northeast-2", "apac"),
        ("ap-south-1", "apac"),
        ("ap-south-2", "apac"),
        ("ap-southeast-1", "apac"),
        ("ap-southeast-3", "apac"),
        ("ap-southeast-2", "au"),
        ("ap-southeast-4", "au"),
        ("us-gov-west-1", "us-gov"),
    ];
    for (region, prefix) in table {
        let got = resolve("claude-opus-4-8", Scope::Geo, region).upstream_id;
        assert_eq!(got, format!("{prefix}.anthropic.claude-opus-4-8"), "{region}");
    }
    // Where the narrow geography has no profile, the wide one is taken.
    assert_eq!(
        resolve("claude-sonnet-4", Scope::Geo, "ap-northeast-1").upstream_id,
        "apac.anthropic.claude-sonnet-4-20250514-v1:0"
    );
    // Outside the United States a default of `us.` becomes the target's own geography.
    assert_eq!(
        resolve("claude-opus-4-1", Scope::Global, "eu-west-1").upstream_id,
        "eu.anthropic.claude-opus-4-1-20250805-v1:0"
    );
    assert_eq!(
        resolve("claude-fable-5-us", Scope::Global, "eu-west-1").upstream_id,
        "us.anthropic.claude-fable-5"
    );
}

#[test]
fn global_is_not_reachable_from_govcloud_and_never_chosen_for_a_geographic_scope() {
    assert_eq!(
        resolve("claude-sonnet-5", Scope::Global, "us-gov-west-1").upstream_id,
        "us-gov.anthropic.claude-sonnet-5"
    );
    for region in ["sa-east-1", "me-central-1", "af-south-1", "il-central-1"] {
        assert_eq!(
            resolve("claude-sonnet-5", Scope::Global, region).upstream_id,
            "global.anthropic.claude-sonnet-5"
        );
        assert!(!resolve("claude-sonnet-5", Scope::Geo, region).upstream_id.starts_with("global."));
    }
}

#[test]
fn scope_base_sends_the_base_id() {
    assert_eq!(resolve("claude-sonnet-5", Scope::Base, "us-east-1").upstream_id, "anthropic.claude-sonnet-5");
}

#[test]
fn a_base_id_gets_a_profile_only_where_it_cannot_be_called_itself() {
    assert_eq!(global("anthropic.claude-opus-4-6-v1"), "global.anthropic.claude-opus-4-6-v1");
    assert_eq!(
        global("anthropic.claude-3-7-sonnet-20250219-v1:0"),
        "anthropic.claude-3-7-sonnet-20250219-v1:0"
    );
}

#[test]
fn arns_are_kept_and_the_family_is_read_from_the_id_inside() {
    let profile = "arn:aws:bedrock:us-east-1:111122223333:inference-profile/us.anthropic.claude-sonnet-4-5-20250929-v1:0";
    let got = resolve(profile, Scope::Global, "us-east-1");
    assert_eq!((got.upstream_id.as_str(), got.lane()), (profile, Lane::Native));
    assert_eq!(got.base_id, "anthropic.claude-sonnet-4-5-20250929-v1:0");
    assert!(got.is_regional());

    let foundation = "arn:aws:bedrock:us-east-1::foundation-model/qwen.qwen3-32b-v1:0";
    let got = resolve(foundation, Scope::Global, "us-east-1");
    assert_eq!((got.upstream_id.as_str(), got.model.family), (foundation, Family::Qwen));
}

#[test]
fn an_arn_that_hides_its_model_is_unknown_until_a_mapping_names_the_model() {
    let catalog = Catalog::builtin();
    for kind in [
        "application-inference-profile/abc123",
        "provisioned-model/abc123",
        "custom-model/abc123",
        "imported-model/abc123",
        "prompt/ABC:1",
        "prompt-router/abc",
        "default-prompt-router/anthropic.claude:1",
    ] {
        let arn = format!("arn:aws:bedrock:eu-west-1:111122223333:{kind}");
        let got = catalog.resolve(&arn, Scope::Global, "eu-west-1", true).expect(kind);
        assert_eq!((got.model.family, got.lane()), (Family::Unknown, Lane::Converse), "{kind}");
        assert_eq!(got.upstream_id, arn);
        let got = catalog.resolve_target(&arn, Some("claude-sonnet-4-6"), Scope::Global, "eu-west-1");
        assert_eq!((got.upstream_id.as_str(), got.lane()), (arn.as_str(), Lane::Native), "{kind}");
        assert_eq!(got.base_id, "anthropic.claude-sonnet-4-6");
    }
}

const PROFILE: &str = "arn:aws:bedrock:eu-west-1:111122223333:application-inference-profile/abc123";

#[test]
fn only_a_well_formed_application_profile_can_be_asked_about() {
    assert_eq!(catalog::name::application_profile_region(PROFILE), Some("eu-west-1"));
    let gov = PROFILE.replace("aws:", "aws-us-gov:").replace("eu-west-1", "us-gov-west-1");
    assert_eq!(catalog::name::application_profile_region(&gov), Some("us-gov-west-1"));
    for other in [
        "arn:aws:bedrock:eu-west-1:111122223333:provisioned-model/abc123",
        "arn:aws:bedrock:eu-west-1:111122223333:inference-profile/eu.amazon.nova-lite-v1:0",
        "arn:aws:bedrock:evil.example/:111122223333:application-inference-profile/abc123",
        "arn:aws:bedrock::111122223333:application-inference-profile/abc123",
        "arn:aws:s3:eu-west-1:111122223333:application-inference-profile/abc123",
        "arn:aws:bedrock:eu-west-1:111122223333:application-inference-profile/",
        "arn:aws:bedrock:eu-west-1:111122223333:application-inference-profile/../x",
        "claude-opus-5",
        "",
    ] {
        assert_eq!(catalog::name::application_profile_region(other), None, "{other}");
    }
}

#[test]
fn a_hidden_profile_is_what_was_found_behind_it() {
    let catalog = Catalog::builtin();
    let written = format!(" {PROFILE}[1m]");
    assert_eq!(catalog.hidden_profile(&written).as_deref(), Some(PROFILE));
    let found = "arn:aws:bedrock:eu-west-1::foundation-model/anthropic.claude-sonnet-4-6";
    let got =
        catalog.resolve_behind(&written, Some(found), Scope::Global, "eu-west-1", false).expect("known");
    assert_eq!((got.upstream_id.as_str(), got.lane()), (PROFILE, Lane::Native));
    assert_eq!((got.base_id.as_str(), got.wants_1m), ("anthropic.claude-sonnet-4-6", true));
}

#[test]
fn what_was_found_cannot_change_the_meaning_of_a_name_that_hides_nothing() {
    for name in ["claude-opus-5", "qwen.qwen3-32b-v1:0", "eu.anthropic.claude-opus-5"] {
        let catalog = Catalog::builtin();
        assert_eq!(catalog.hidden_profile(name), None);
        let found = Some("anthropic.claude-haiku-4-5-20251001-v1:0");
        let got = catalog.resolve_behind(name, found, Scope::Global, "eu-west-1", false);
        assert_eq!(got, catalog.resolve(name, Scope::Global, "eu-west-1", false), "{name}");
    }
}

#[test]
fn what_the_operator_says_is_behind_a_target_counts_for_every_name_of_it() {
    let other = PROFILE.replace("abc123", "def456");
    let catalog = Catalog::builtin()
        .with_mapping(&[("team", PROFILE), ("blind", &other)])
        .with_base_models(&[(PROFILE, "claude-sonnet-4-6")]);
    for name in ["team", "team[1m]", PROFILE] {
        assert_eq!(catalog.hidden_profile(name), None, "{name}");
        let got = catalog.resolve(name, Scope::Global, "eu-west-1", false).expect(name);
        assert_eq!((got.upstream_id.as_str(), got.lane()), (PROFILE, Lane::Native), "{name}");
    }
    for name in ["blind", &other] {
        assert_eq!(catalog.hidden_profile(name).as_ref(), Some(&other), "{name}");
    }
}

#[test]
fn an_unknown_claude_name_goes_out_without_an_invented_date_in_the_native_lane() {
    let got = resolve("claude-opus-9[1m]", Scope::Global, "us-east-1");
    assert_eq!(got.upstream_id, "global.anthropic.claude-opus-9");
    assert_eq!(got.base_id, "anthropic.claude-opus-9");
    assert_eq!(got.lane(), Lane::Native);
    assert!(got.wants_1m);
    assert_eq!(resolve("claude-opus-9", Scope::Geo, "eu-west-1").upstream_id, "eu.anthropic.claude-opus-9");
    assert_eq!(resolve("jp.anthropic.claude-opus-9", Scope::Geo, "eu-west-1").lane(), Lane::Native);
    assert_eq!(global("anthropic.claude-opus-9"), "anthropic.claude-opus-9");
}

#[test]
fn other_unknown_names_pass_through_or_are_refused_by_setting() {
    let catalog = Catalog::builtin();
    let got = catalog.resolve("acme.large-v1:0", Scope::Global, "us-east-1", true).expect("passes");
    assert_eq!((got.upstream_id.as_str(), got.model.family), ("acme.large-v1:0", Family::Unknown));
    for name in ["acme.large-v1:0", "claude-opus-9", "us.acme.large", "Claude-Opus-5", ""] {
        let refused = catalog.resolve(name, Scope::Global, "us-east-1", false);
        assert_eq!(refused.expect_err(name).requested, name);
    }
    assert!(catalog.resolve("  ", Scope::Global, "us-east-1", true).is_err());
}

#[test]
fn an_operators_mapping_wins_over_the_rows_and_decides_the_lane() {
    let catalog = Catalog::builtin().with_mapping(&[
        ("claude-sonnet-4-6", "qwen.qwen3-32b-v1:0"),
        ("opus", "claude-opus-5"),
        ("a", "b"),
        ("b", "claude-opus-5"),
    ]);
    let got = catalog.resolve("claude-sonnet-4-6[1m]", Scope::Global, "us-east-1", false).expect("mapped");
    assert_eq!((got.upstream_id.as_str(), got.lane()), ("qwen.qwen3-32b-v1:0", Lane::Converse));
    let got = catalog.resolve("opus", Scope::Geo, "eu-west-1", false).expect("mapped");
    assert_eq!(got.upstream_id, "eu.anthropic.claude-opus-5");
    // A target is never mapped again.
    assert_eq!(catalog.resolve("a", Scope::Geo, "eu-west-1", false).expect("mapped").upstream_id, "b");
}

#[test]
fn only_global_profiles_are_not_regional() {
    assert!(!resolve("claude-opus-5", Scope::Global, "us-east-1").is_regional());
    assert!(resolve("claude-opus-5", Scope::Geo, "us-east-1").is_regional());
    assert!(resolve("claude-opus-5", Scope::Base, "us-east-1").is_regional());
    let catalog = Catalog::builtin();
    let regional = |base: &str| {
        let got = catalog.resolve_behind(PROFILE, Some(base), Scope::Global, "eu-west-1", false);
        got.expect("known").is_regional()
    };
    assert!(regional("eu.anthropic.claude-opus-5") && regional("anthropic.claude-opus-5"));
    assert!(!regional("global.anthropic.claude-opus-5"));
}

#[test]
fn a_row_is_found_by_any_of_its_names() {
    let catalog = Catalog::builtin();
    for id in [
        "claude-opus-4-6",
        "anthropic.claude-opus-4-6-v1",
        "au.anthropic.claude-opus-4-6-v1",
        "arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-opus-4-6-v1",
    ] {
        assert_eq!(catalog.find(id).map(|model| model.display_name), Some("Claude Opus 4.6"), "{id}");
    }
    assert_eq!(catalog.find("claude-opus-9"), None);
}
