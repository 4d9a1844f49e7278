//! The settings of the DynamoDB store, once for every program that opens it.
//!
//! A program that names flags after variables renames these too.

use clap::Args;

/// Where DynamoDB is and how its tables are called.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "DynamoDB")]
pub struct DynamoDb {
    /// Overrides the address of DynamoDB; over `http://` it is a stand-in, and no role or profile is asked for credentials
    #[arg(id = "dynamodb_endpoint_url", long = "endpoint-url", global = true, env = "DYNAMODB_ENDPOINT_URL",
        value_name = "URL", value_parser = url)]
    pub endpoint_url: Option<String>,
    /// Beginning of the names of all tables
    #[arg(id = "dynamodb_table_prefix", long = "table-prefix", global = true, env = "DYNAMODB_TABLE_PREFIX",
        default_value = "anthropic-proxy-", value_name = "PREFIX", value_parser = prefix)]
    pub table_prefix: String,
    /// Full name of the table of keys [default: the prefix and api-keys]
    #[arg(id = "dynamodb_api_keys_table", long = "api-keys-table", global = true,
        env = "DYNAMODB_API_KEYS_TABLE", value_name = "NAME", value_parser = name)]
    pub api_keys_table: Option<String>,
    /// Full name of the table of usage rows [default: the prefix and usage]
    #[arg(id = "dynamodb_usage_table", long = "usage-table", global = true, env = "DYNAMODB_USAGE_TABLE",
        value_name = "NAME", value_parser = name)]
    pub usage_table: Option<String>,
    /// Full name of the table of totals [default: the prefix and usage-stats]
    #[arg(id = "dynamodb_usage_stats_table", long = "usage-stats-table", global = true,
        env = "DYNAMODB_USAGE_STATS_TABLE", value_name = "NAME", value_parser = name)]
    pub usage_stats_table: Option<String>,
    /// Full name of the table of leases of budgets [default: the prefix and ledger]
    #[arg(id = "dynamodb_ledger_table", long = "ledger-table", global = true, env = "DYNAMODB_LEDGER_TABLE",
        value_name = "NAME", value_parser = name)]
    pub ledger_table: Option<String>,
    /// Full name of the table of models' names [default: the prefix and model-mapping]
    #[arg(id = "dynamodb_model_mapping_table", long = "model-mapping-table", global = true,
        env = "DYNAMODB_MODEL_MAPPING_TABLE", value_name = "NAME", value_parser = name)]
    pub model_mapping_table: Option<String>,
    /// Full name of the table of prices [default: the prefix and model-pricing] (alias DYNAMODB_PRICING_TABLE)
    #[arg(id = "dynamodb_model_pricing_table", long = "model-pricing-table", global = true,
        env = "DYNAMODB_MODEL_PRICING_TABLE", value_name = "NAME", value_parser = name)]
    pub model_pricing_table: Option<String>,
    /// Full name of the table of beta flags [default: the prefix and beta-headers]
    #[arg(id = "dynamodb_beta_headers_table", long = "beta-headers-table", global = true,
        env = "DYNAMODB_BETA_HEADERS_TABLE", value_name = "NAME", value_parser = name)]
    pub beta_headers_table: Option<String>,
    /// Full name of the table of kept responses [default: the prefix and response-context]
    #[arg(id = "dynamodb_response_context_table", long = "response-context-table", global = true,
        env = "DYNAMODB_RESPONSE_CONTEXT_TABLE", value_name = "NAME", value_parser = name)]
    pub response_context_table: Option<String>,
    /// Full name of the table of single values [default: the prefix and meta]
    #[arg(id = "dynamodb_meta_table", long = "meta-table", global = true, env = "DYNAMODB_META_TABLE",
        value_name = "NAME", value_parser = name)]
    pub meta_table: Option<String>,
}

impl DynamoDb {
    /// The tables that have a full name of their own: (name behind the prefix, full name).
    pub fn full_names(&self) -> Vec<(&'static str, String)> {
        [
            ("api-keys", &self.api_keys_table),
            ("usage", &self.usage_table),
            ("usage-stats", &self.usage_stats_table),
            ("ledger", &self.ledger_table),
            ("model-mapping", &self.model_mapping_table),
            ("model-pricing", &self.model_pricing_table),
            ("beta-headers", &self.beta_headers_table),
            ("response-context", &self.response_context_table),
            ("meta", &self.meta_table),
        ]
        .into_iter()
        .filter_map(|(table, full)| Some((table, full.clone()?)))
        .collect()
    }
}

fn url(text: &str) -> Result<String, String> {
    let host = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://")).unwrap_or_default();
    if host.trim_end_matches('/').is_empty() || host.contains(char::is_whitespace) {
        return Err("expected http://host or https://host".to_owned());
    }
    Ok(text.trim_end_matches('/').to_owned())
}

/// What every table's name may begin with; the longest name behind it has 16 characters.
fn prefix(text: &str) -> Result<String, String> {
    if text.len() <= 239 && text.bytes().all(is_of_names) { Ok(text.to_owned()) } else { Err(letters(239)) }
}

/// 3 to 255 characters: <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_CreateTable.html>.
fn name(text: &str) -> Result<String, String> {
    let fits = (3..=255).contains(&text.len()) && text.bytes().all(is_of_names);
    if fits { Ok(text.to_owned()) } else { Err(letters(255)) }
}

fn is_of_names(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_-.".contains(&byte)
}

fn letters(most: usize) -> String {
    format!("expected up to {most} letters, digits, `_`, `-` and `.`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_that_aws_would_refuse_are_refused() {
        assert!(prefix("").is_ok() && prefix("anthropic-proxy-dev-").is_ok());
        assert!(prefix("a b").is_err() && prefix("a/").is_err() && prefix(&"a".repeat(240)).is_err());
        assert!(name("abc").is_ok() && name("ab").is_err() && name("abc#").is_err());
        assert_eq!(url("http://127.0.0.1:8001/"), Ok("http://127.0.0.1:8001".to_owned()));
        for wrong in ["", "http://", "127.0.0.1:8001", "ftp://x", "http://a b"] {
            assert!(url(wrong).is_err(), "{wrong}");
        }
    }
}
