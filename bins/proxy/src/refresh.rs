//! The operator's rows: read at the start and every few seconds, swapped whole. While they cannot be read, those that were
//! read last hold on.

use std::sync::Arc;

use catalog::Catalog;
use policy::{Policy, Rows, Tables};
use store::Store;
use tokio::time::{MissedTickBehavior, interval};

use crate::gateway::Shared;
use crate::settings::Settings;
use crate::start::StartError;

/// Has the policy go by the rows as they are now, which are returned. Without them the gateway would be another one than
/// its operator made: it does not start.
pub(crate) async fn begin(
    settings: &Settings,
    store: &dyn Store,
    policy: &Policy,
) -> Result<Rows, StartError> {
    let rows = Rows::read(store).await.map_err(|error| {
        StartError::Failed(format!("names of models, prices and beta flags cannot be read: {error}"))
    })?;
    policy.use_tables(Tables::new(catalog(settings), &rows));
    Ok(rows)
}

/// The catalogue, and the names of the settings.
pub(crate) fn catalog(settings: &Settings) -> Catalog {
    let mapping = &settings.models.default_model_mapping;
    Catalog::builtin().with_mapping(&mapping.targets()).with_base_models(&mapping.base_models())
}

/// Reads the rows again and again. `rows` are those that hold at the beginning.
pub(crate) async fn run(shared: Arc<Shared>, mut rows: Rows) {
    let mut pace = interval(shared.settings.store.config_refresh.0);
    // A store that was slow is not asked the more often afterwards.
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first tick is at once.
    pace.tick().await;
    loop {
        pace.tick().await;
        match Rows::read(shared.store.as_ref()).await {
            Ok(read) if read == rows => {}
            Ok(read) => {
                shared.policy.use_tables(Tables::new(catalog(&shared.settings), &read));
                tracing::info!(
                    names = read.mappings.len(),
                    prices = read.prices.len(),
                    flags = read.betas.len(),
                    "the operator's rows have changed"
                );
                rows = read;
            }
            Err(error) => {
                tracing::warn!(%error, "the operator's rows cannot be read; those that were read last hold");
            }
        }
    }
}
