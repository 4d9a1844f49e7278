//! What the operator's rows say at one moment: names of models, prices, beta flags. Read whole and swapped whole; a request
//! goes by the tables it was admitted under, to its end.

use std::collections::HashMap;

use catalog::{Catalog, Resolution, name};
use store::{BetaRow, MappingRow, PriceRow, PriceStatus, Store, config};

use crate::Tariff;

/// The rows of the store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rows {
    /// Names of models.
    pub mappings: Vec<MappingRow>,
    /// Prices.
    pub prices: Vec<PriceRow>,
    /// Beta flags.
    pub betas: Vec<BetaRow>,
}

impl Rows {
    /// Reads all of them. One that cannot be read fails the whole.
    pub async fn read(store: &dyn Store) -> store::Result<Self> {
        Ok(Self {
            mappings: config::list(store).await?,
            prices: config::list(store).await?,
            betas: config::list(store).await?,
        })
    }
}

/// Where a price comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PricedBy {
    /// A row of the store.
    Row,
    /// The catalogue.
    Catalogue,
}

/// The rows, ready to be asked.
#[derive(Debug)]
pub struct Tables {
    catalog: Catalog,
    tariffs: HashMap<String, Tariff>,
    betas: Vec<BetaRow>,
}

impl Tables {
    /// The rows on top of what the settings and the catalogue say.
    pub fn new(settings: Catalog, rows: &Rows) -> Self {
        let mapped = |row: &MappingRow| (row.model_id.clone(), row.bedrock_model_id.clone());
        let behind = |row: &MappingRow| Some((row.bedrock_model_id.clone(), row.base_model_id.clone()?));
        let targets: Vec<_> = rows.mappings.iter().map(mapped).collect();
        let base_models: Vec<_> = rows.mappings.iter().filter_map(behind).collect();
        let active = rows.prices.iter().filter(|row| row.status == PriceStatus::Active);
        Self {
            catalog: settings.with_mapping(&targets).with_base_models(&base_models),
            tariffs: active.map(|row| (row.model_id.clone(), Tariff::from(row))).collect(),
            betas: rows.betas.clone(),
        }
    }

    /// Names and what they mean.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// What was decided about beta flags.
    pub fn betas(&self) -> &[BetaRow] {
        &self.betas
    }

    /// What a model costs; `None` where it has no price. A row of the store wins over the catalogue, and the id that is
    /// called over the id without its prefix.
    pub fn tariff(&self, resolution: &Resolution) -> Option<(Tariff, PricedBy)> {
        let called = &resolution.upstream_id;
        let named = match name::arn(called) {
            Some(name::Arn::Named(id)) => Some(id),
            Some(name::Arn::Hidden) | None => None,
        };
        let ids = [Some(called.as_str()), named, Some(resolution.base_id.as_str())];
        let row = ids.into_iter().flatten().find_map(|id| self.tariffs.get(id));
        let listed = || resolution.model.price.map(|price| (Tariff::from(&price), PricedBy::Catalogue));
        row.map(|tariff| (*tariff, PricedBy::Row)).or_else(listed)
    }
}

/// What becomes of a model without a price: `UNPRICED_MODELS`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnpricedModels {
    /// A key with a budget may not use it: what it spends could not be counted.
    #[default]
    RefuseWithBudget,
    /// Nobody may.
    Refuse,
    /// Everybody may. Its use is marked, as everywhere.
    Flag,
}

impl UnpricedModels {
    /// Whether a key may run a model without a price.
    pub fn may_run_unpriced(self, has_budget: bool) -> bool {
        match self {
            Self::RefuseWithBudget => !has_budget,
            Self::Refuse => false,
            Self::Flag => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use catalog::{Scope, ServiceTier};
    use store::{PriceFigures, PriceSource, Timestamp};

    use super::*;
    use crate::{Tokens, cost};

    fn price(id: &str, input: u64, status: PriceStatus) -> PriceRow {
        let figures =
            PriceFigures { input, output: 0, cache_read: None, cache_write_5m: None, cache_write_1h: None };
        PriceRow {
            model_id: id.to_owned(),
            provider: "p".to_owned(),
            display_name: "n".to_owned(),
            figures,
            regional_multiplier: 110,
            band: None,
            source: PriceSource::Manual,
            status,
            updated_at: Timestamp::EPOCH,
            version: 1,
        }
    }

    fn mapping(name: &str, target: &str, base: Option<&str>) -> MappingRow {
        MappingRow {
            model_id: name.to_owned(),
            bedrock_model_id: target.to_owned(),
            base_model_id: base.map(str::to_owned),
            updated_at: Timestamp::EPOCH,
            updated_by: None,
            version: 1,
        }
    }

    /// What a token of input costs under a name.
    fn input(tables: &Tables, name: &str) -> Option<(u128, PricedBy)> {
        let resolution = tables.catalog().resolve(name, Scope::Global, "us-east-1", true).unwrap();
        let (tariff, by) = tables.tariff(&resolution)?;
        let tokens = Tokens { input: 1, ..Tokens::default() };
        Some((cost(&tariff, &resolution, &tokens, ServiceTier::Default).0, by))
    }

    #[test]
    fn a_row_wins_over_the_catalogue_and_the_id_that_is_called_over_its_base() {
        let sonnet = "anthropic.claude-sonnet-4-6";
        let eu = format!("eu.{sonnet}");
        let rows = Rows {
            prices: vec![
                price(sonnet, 1_000_000, PriceStatus::Active),
                price(&eu, 500_000, PriceStatus::Active),
                price("some.new-model", 7, PriceStatus::Active),
                price("anthropic.claude-opus-5", 1, PriceStatus::Disabled),
            ],
            ..Rows::default()
        };
        let tables = Tables::new(Catalog::builtin(), &rows);
        assert_eq!(input(&tables, "claude-sonnet-4-6"), Some((1_000_000, PricedBy::Row)));
        assert_eq!(input(&tables, &format!("us.{sonnet}")), Some((1_100_000, PricedBy::Row)), "110 %");
        assert_eq!(input(&tables, &eu), Some((550_000, PricedBy::Row)));
        let arn = format!("arn:aws:bedrock:eu-west-1:1:inference-profile/{eu}");
        assert_eq!(input(&tables, &arn), Some((550_000, PricedBy::Row)));
        assert_eq!(input(&tables, "some.new-model").unwrap().1, PricedBy::Row);
        assert_eq!(input(&tables, "claude-opus-5"), Some((5_000_000, PricedBy::Catalogue)), "disabled");
        assert_eq!(input(&tables, "some.other-model"), None);
    }

    #[test]
    fn a_row_wins_over_the_settings_and_what_it_says_is_behind_a_target_is_priced() {
        let arn = "arn:aws:bedrock:us-east-1:123456789012:provisioned-model/x";
        let settings =
            Catalog::builtin().with_mapping(&[("team", "amazon.nova-pro-v1:0"), ("own", "own.id")]);
        let rows = Rows {
            mappings: vec![
                mapping("team", "qwen.qwen3-coder-480b-a35b-v1:0", None),
                mapping("hidden", arn, Some("global.anthropic.claude-opus-5")),
            ],
            ..Rows::default()
        };
        let tables = Tables::new(settings, &rows);
        let resolve = |name: &str| tables.catalog().resolve(name, Scope::Global, "us-east-1", false).unwrap();
        assert_eq!(resolve("team").base_id, "qwen.qwen3-coder-480b-a35b-v1:0");
        assert_eq!(resolve("own").upstream_id, "own.id");
        assert_eq!(resolve("hidden").upstream_id, arn);
        assert_eq!(resolve("hidden").base_id, "anthropic.claude-opus-5");
        assert_eq!(input(&tables, "hidden"), Some((5_000_000, PricedBy::Catalogue)));
    }

    #[test]
    fn an_unpriced_model_runs_as_the_setting_and_the_budget_say() {
        for (setting, without, with) in [
            (UnpricedModels::RefuseWithBudget, true, false),
            (UnpricedModels::Refuse, false, false),
            (UnpricedModels::Flag, true, true),
        ] {
            assert_eq!((setting.may_run_unpriced(false), setting.may_run_unpriced(true)), (without, with));
        }
    }
}
