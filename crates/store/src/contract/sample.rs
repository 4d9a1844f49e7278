//! Records and rows to test with.

use crate::{
    BetaKind, BetaRow, BudgetChange, BudgetExtension, BudgetReset, ByPeriod, CacheTtl, KeyHash, KeyId,
    KeyRecord, MappingRow, PicoUsd, Previous, PriceBand, PriceFigures, PriceRow, PriceSource, PriceStatus,
    RowStatus, ServiceTier, StoredTurn, Timestamp, UsageRow,
};

/// Noon of 21 November 2026.
pub fn noon() -> Timestamp {
    Timestamp::from_unix_millis(1_795_262_400_000)
}

/// The `n`th id.
pub fn key_id(n: u32) -> KeyId {
    format!("key_{n:016}").parse().unwrap()
}

/// The `n`th hash.
pub fn hash(n: u32) -> KeyHash {
    let mut bytes = [0_u8; 32];
    bytes[..4].copy_from_slice(&n.to_be_bytes());
    KeyHash::from_bytes(bytes)
}

/// The `n`th key, made `n` milliseconds after noon, with every field filled.
pub fn record(n: u32) -> KeyRecord {
    KeyRecord {
        key_id: key_id(n),
        user_id: "amalia".to_owned(),
        name: format!("laptop {n}"),
        owner_name: Some("Amalia Ø.".to_owned()),
        prefix: "sk-oc-Ab3d".to_owned(),
        last4: "9zZ0".to_owned(),
        is_active: true,
        deactivated_reason: Some("none yet".to_owned()),
        created_at: noon().plus_millis(i64::from(n)),
        created_by: Some("cli".to_owned()),
        updated_at: noon().plus_millis(i64::from(n)),
        last_used_at: None,
        expires_at: Some(noon().plus_millis(86_400_000)),
        version: 1,
        allowed_models: Some(vec!["anthropic.*".to_owned(), "qwen.*".to_owned()]),
        denied_models: Some(vec!["*opus*".to_owned()]),
        rate_limit: Some(0),
        tpm_limit: Some(1_000_000_000_000),
        concurrency_limit: Some(u32::MAX),
        target: Some("virginia".to_owned()),
        allowed_ips: Some(vec!["10.0.0.0/8".parse().unwrap(), "2001:db8::/32".parse().unwrap()]),
        service_tier: Some(ServiceTier::Priority),
        cache_ttl: Some(CacheTtl::None),
        budget_total: Some(1_000_000_000_000),
        budget_daily: Some(1),
        budget_monthly: Some(5_000_000),
        budget_changes: ByPeriod {
            total: BudgetChange {
                reset: Some(BudgetReset { at: noon(), spent: PicoUsd(u128::MAX) }),
                extension: None,
            },
            monthly: BudgetChange {
                reset: None,
                extension: Some(BudgetExtension { by: 1_000_000_000_000, until: noon().plus_millis(1) }),
            },
            daily: BudgetChange::default(),
        },
        metadata: [("team".to_owned(), "geology".to_owned())].into(),
        previous: vec![Previous {
            prefix: "sk-oc-Zz9y".to_owned(),
            last4: "0aA1".to_owned(),
            valid_until: noon(),
            rotated_at: noon().plus_millis(-86_400_000),
            idempotency_key: Some("deploy-7".to_owned()),
        }],
        valid_until: None,
    }
}

/// A row of the first key at noon, with every field filled.
pub fn row(request_id: &str) -> UsageRow {
    UsageRow {
        key_id: key_id(1),
        user_id: "amalia".to_owned(),
        ts: noon(),
        request_id: request_id.to_owned(),
        round: 0,
        surface: "messages".to_owned(),
        requested_model: "claude-opus-5".to_owned(),
        resolved_model: "global.anthropic.claude-opus-5".to_owned(),
        base_model: "anthropic.claude-opus-5".to_owned(),
        lane: "native".to_owned(),
        target: "default".to_owned(),
        region: "eu-central-1".to_owned(),
        stream: true,
        input_tokens: 3,
        output_tokens: 550,
        cache_read_tokens: 7,
        cache_write_5m_tokens: 12_304,
        cache_write_1h_tokens: 11,
        reasoning_tokens: Some(120),
        tier_requested: ServiceTier::Priority,
        tier_served: ServiceTier::Flex,
        cache_ttl: Some(CacheTtl::OneHour),
        cost_pico_usd: Some(PicoUsd(54_399_000_000)),
        estimated: true,
        status: RowStatus::ClientClosed,
        http_status: 200,
        error_type: Some("overloaded_error".to_owned()),
        stop_reason: Some("end_turn".to_owned()),
        attempts: 2,
        latency_ms: 4_321,
        ttft_ms: Some(210),
        upstream_request_id: Some("b5c0".to_owned()),
        session: Some("s-1".to_owned()),
    }
}

/// The same of a call that nothing is special about: it went well, by default, and only wrote to its cache.
pub fn plain_row(request_id: &str) -> UsageRow {
    UsageRow {
        stream: false,
        cache_read_tokens: 0,
        cache_write_1h_tokens: 0,
        reasoning_tokens: None,
        tier_requested: ServiceTier::Default,
        tier_served: ServiceTier::Default,
        cache_ttl: None,
        estimated: false,
        status: RowStatus::Ok,
        error_type: None,
        stop_reason: None,
        attempts: 1,
        ttft_ms: None,
        upstream_request_id: None,
        session: None,
        ..row(request_id)
    }
}

/// A name with every member filled.
pub fn mapping_row(id: &str) -> MappingRow {
    MappingRow {
        model_id: id.to_owned(),
        bedrock_model_id: "arn:aws:bedrock:us-east-1:123456789012:provisioned-model/x".to_owned(),
        base_model_id: Some("anthropic.claude-opus-5".to_owned()),
        updated_at: noon(),
        updated_by: Some("cli".to_owned()),
        version: 0,
    }
}

/// A price with every member filled.
pub fn price_row(id: &str) -> PriceRow {
    let figures = PriceFigures {
        input: 3_000_000,
        output: 15_000_000,
        cache_read: Some(300_000),
        cache_write_5m: Some(3_750_000),
        cache_write_1h: Some(6_000_000),
    };
    PriceRow {
        model_id: id.to_owned(),
        provider: "anthropic".to_owned(),
        display_name: "Claude Sonnet 4.5".to_owned(),
        figures,
        regional_multiplier: 110,
        band: Some(PriceBand {
            above_input_tokens: 200_000,
            figures: PriceFigures { output: 22_500_000, cache_read: None, ..figures },
        }),
        source: PriceSource::Manual,
        status: PriceStatus::Active,
        updated_at: noon(),
        version: 0,
    }
}

/// A mapping of a flag with every member filled.
pub fn beta_row(id: &str) -> BetaRow {
    BetaRow {
        header_name: id.to_owned(),
        header_type: BetaKind::Mapping,
        mapped_to: vec!["tool-search-tool-2025-10-19".to_owned()],
        models: vec!["*claude*".to_owned(), "us.anthropic.*".to_owned()],
        description: Some("for the team in Bergen".to_owned()),
        updated_at: noon(),
        version: 0,
    }
}

/// An answer of the first key, put at noon and there for an hour and a bit.
pub fn turn(id: &str) -> StoredTurn {
    StoredTurn {
        id: id.to_owned(),
        key_id: key_id(1),
        created_at: noon(),
        expires_at: noon().plus_millis(3_600_007),
        payload: "[]".to_owned(),
    }
}

/// Text that nothing makes shorter, as pictures are.
pub fn noise(bytes: usize) -> String {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(
            b" !#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]^_`a"[(state >> 58) as usize],
        )
    };
    (0..bytes).map(|_| next()).collect()
}
