//! What must hold of every row.

#![expect(clippy::expect_used, reason = "helpers of a test may fail loudly")]

use std::collections::HashSet;

use catalog::{Catalog, Effort, Family, Lane, Model, Price, Sampling, Thinking, TopK};
use outcrop_catalog as catalog;

fn rows() -> Vec<&'static Model> {
    Catalog::builtin().list()
}

fn row(name: &str) -> &'static Model {
    Catalog::builtin().find(name).expect(name)
}

#[test]
fn ids_and_names_are_unique() {
    let mut seen = HashSet::new();
    for model in rows() {
        for name in model.names.iter().chain([&model.id]) {
            assert!(seen.insert(*name), "{name} is given twice");
        }
    }
}

#[test]
fn the_lane_follows_the_family() {
    for model in rows() {
        let native = matches!(model.family, Family::Claude);
        assert_eq!(model.lane == Lane::Native, native, "{}", model.id);
        assert_ne!(model.family, Family::Unknown, "{}", model.id);
    }
}

#[test]
fn limits_dates_and_prefixes_are_sane() {
    for model in rows() {
        let id = model.id;
        assert!(model.max_output >= model.min_output && model.max_output <= model.context_window, "{id}");
        assert!(!model.display_name.is_empty() && id.contains('.'), "{id}");
        assert!(model.on_demand || !model.prefixes.is_empty(), "{id} cannot be called");
        assert!(model.prefixes.iter().all(|prefix| catalog::name::PREFIXES.contains(prefix)), "{id}");
        let day: Vec<&str> = model.released.split('-').collect();
        assert!(matches!(day[..], [y, m, d] if y.len() == 4 && m.len() == 2 && d.len() == 2), "{id}");
    }
}

#[test]
fn output_burns_five_times_from_claude_3_7_on() {
    for model in rows() {
        let newer = model.family == Family::Claude && model.released >= row("claude-3-7-sonnet").released;
        assert_eq!(model.output_weight, if newer { 5 } else { 1 }, "{}", model.id);
    }
    let unheard = Catalog::builtin().resolve("claude-opus-9", catalog::Scope::Global, "us-east-1", true);
    assert_eq!(unheard.expect("a Claude").model.output_weight, 5);
}

#[test]
fn the_list_is_ordered_by_release_then_id() {
    let keys: Vec<_> = rows().iter().map(|model| (std::cmp::Reverse(model.released), model.id)).collect();
    assert!(keys.is_sorted());
}

fn sane(id: &str, price: &Price) {
    // Nothing costs more than 1000 USD per million, and nothing is free.
    assert!((1..=1_000_000_000).contains(&price.input) && price.output <= 1_000_000_000, "{id}");
    assert!(price.output >= price.input, "{id}");
    assert!(price.cache_read.is_none_or(|read| read > 0 && read < price.input), "{id}");
    assert!(price.cache_write_5m.is_none_or(|write| write > price.input), "{id}");
    assert!(price.cache_write_1h == price.cache_write_5m.map(|_| price.input * 2), "{id}");
    assert!((100..=150).contains(&price.regional_percent), "{id}");
    if let Some(band) = price.band {
        assert!(band.price.input > price.input && band.price.band.is_none(), "{id}");
        sane(id, &band.price);
    }
}

#[test]
fn prices_are_sane_and_only_claude_has_cache_prices() {
    for model in rows() {
        let Some(price) = &model.price else { continue };
        sane(model.id, price);
        assert_eq!(price.cache_read.is_some(), model.family == Family::Claude, "{}", model.id);
    }
    let haiku = row("claude-haiku-5-5").price.expect("priced");
    assert_eq!(
        (haiku.input, haiku.cache_write_5m, haiku.cache_write_1h),
        (100_000, Some(125_000), Some(200_000))
    );
    let band = haiku.band.expect("band");
    assert_eq!((band.above_input_tokens, band.price.output), (100_000, 2_500_000));
    let sonnet = row("claude-sonnet-4-5").price.expect("priced");
    assert_eq!(sonnet.band.expect("band").price.output, 22_500_000);
    assert_eq!(
        (sonnet.regional_percent, row("claude-sonnet-4").price.expect("priced").regional_percent),
        (110, 100)
    );
    assert_eq!(row("claude-3-haiku-20240307").price.expect("priced").cache_write_5m, Some(300_000));
    assert_eq!(row("claude-mythos-preview").price, None);
}

#[test]
fn each_generation_thinks_and_samples_in_its_own_way() {
    let table = [
        ("claude-3-5-haiku", Thinking::None, Sampling::Both, TopK::Plain, true, None),
        ("claude-3-7-sonnet", Thinking::Budget, Sampling::Both, TopK::Plain, true, None),
        ("claude-sonnet-4", Thinking::Budget, Sampling::Both, TopK::Plain, true, None),
        ("claude-opus-4-1", Thinking::Budget, Sampling::OneOf, TopK::Plain, true, None),
        ("claude-opus-4-5", Thinking::Budget, Sampling::OneOf, TopK::Plain, true, Some(Effort::High)),
        ("claude-haiku-4-5", Thinking::Budget, Sampling::OneOf, TopK::Plain, true, None),
        (
            "claude-opus-4-6",
            Thinking::BudgetOrAdaptive,
            Sampling::OneOf,
            TopK::Plain,
            false,
            Some(Effort::Max),
        ),
        ("claude-opus-4-8", Thinking::Adaptive, Sampling::Neither, TopK::Refused, false, Some(Effort::Max)),
        ("claude-haiku-5-5", Thinking::Adaptive, Sampling::Neither, TopK::Refused, false, Some(Effort::Max)),
        ("claude-opus-5-5", Thinking::Always, Sampling::Neither, TopK::Refused, false, Some(Effort::Max)),
        ("claude-fable-5", Thinking::Always, Sampling::Neither, TopK::Refused, false, Some(Effort::Max)),
    ];
    for (name, thinking, sampling, top_k, prefill, effort) in table {
        let model = row(name);
        assert_eq!(
            (model.thinking, model.sampling, model.top_k, model.prefill, model.max_effort),
            (thinking, sampling, top_k, prefill, effort),
            "{name}"
        );
        assert_eq!(model.forced_tool_choice, thinking != Thinking::Always, "{name}");
    }
    assert!(row("claude-opus-4-6").no_xhigh && !row("claude-opus-4-7").no_xhigh);
    assert!(row("claude-opus-4-5").effort_needs_beta && !row("claude-opus-4-6").effort_needs_beta);
}

#[test]
fn flags_are_dated_and_agree_with_the_fields_they_open() {
    for model in rows() {
        let unique: HashSet<_> = model.betas.iter().collect();
        assert_eq!(unique.len(), model.betas.len(), "{}", model.id);
        for flag in model.betas {
            let date = &flag[flag.len() - 10..];
            assert!(date.starts_with("202") && date.matches('-').count() == 2, "{flag}");
        }
        let opens = |field: &str, flag: &str| {
            assert_eq!(model.fields.contains(&field), model.betas.contains(&flag), "{}: {field}", model.id);
        };
        opens("context_management", "context-management-2025-06-27");
        opens("safeguards", "dangerous-tool-use-2026-09-03");
        assert!(!model.effort_needs_beta || model.betas.contains(&"effort-2025-11-24"));
        assert!(model.lane == Lane::Native || model.betas.is_empty(), "{}", model.id);
    }
}

#[test]
fn structured_output_and_strict_tools_are_native_for_4_5_and_4_6_alone() {
    for model in rows().into_iter().filter(|model| model.family == Family::Claude) {
        let native = ["-4-5-", "-4-6"].iter().any(|part| model.id.contains(part));
        assert_eq!((model.structured_output, model.strict_tools), (native, native), "{}", model.id);
    }
}

#[test]
fn caching_minima_are_those_of_the_vendors_table() {
    let table = [
        ("claude-opus-5", 512, false),
        ("claude-sonnet-5-5", 512, false),
        ("claude-sonnet-5", 1024, false),
        ("claude-sonnet-4-6", 1024, false),
        ("claude-opus-4-7", 4096, false),
        ("claude-opus-4-1", 1024, true),
        ("claude-3-5-haiku", 2048, true),
    ];
    for (name, min_tokens, no_1h) in table {
        let caching = row(name).caching.expect(name);
        assert_eq!((caching.min_tokens, caching.tools, caching.no_1h), (min_tokens, true, no_1h), "{name}");
    }
    assert!(!row("amazon.nova-pro-v1:0").caching.expect("nova").tools);
    for name in ["moonshotai.kimi-k3", "gpt-6-sol", "xai.grok-4.7", "minimax.minimax-m2"] {
        assert_eq!(row(name).caching, None, "{name}");
    }
}

#[test]
fn other_families_state_what_they_refuse() {
    for name in ["gpt-oss-20b", "gpt-6-sol", "xai.grok-4.7", "zai.glm-5", "qwen.qwen3-32b-v1:0"] {
        assert_eq!(row(name).stop_sequences, 0, "{name}");
    }
    for name in ["gpt-5.4", "xai.grok-4.6", "moonshotai.kimi-k3"] {
        assert_eq!(row(name).min_output, 16, "{name}");
    }
    assert!(!row("deepseek.r1-v1:0").tools);
    assert!(!row("meta.llama3-3-70b-instruct-v1:0").streaming_tools);
    assert!(!row("meta.llama4-scout-17b-instruct-v1:0").forced_tool_choice);
    assert!(row("amazon.nova-pro-v1:0").tiers.flex && !row("amazon.nova-lite-v1:0").tiers.flex);
    assert!(rows().iter().filter(|model| model.embedding.is_some()).all(|model| !model.tools));
}
