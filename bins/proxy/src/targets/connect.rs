//! From the settings to clients.

use std::sync::Arc;

use bedrock::{Client, CredentialsSource, Role};
use policy::Place;

use super::{Rules, Target, Targets, arn};
use crate::settings::{self, Secret, Settings};
use crate::simulate;
use crate::start::StartError;

/// What the one target is called where no list names any.
const DEFAULT: &str = "default";

/// A client for each target of the settings. Credentials are loaded with the first call or probe, so that an account that
/// is out of reach does not keep the others from starting.
pub(crate) async fn connect(
    settings: &Settings,
    simulator: Option<&bedrock_sim::Sim>,
) -> Result<Targets, StartError> {
    let mut made: Vec<Target> = Vec::new();
    for wanted in wanted(settings) {
        let name = wanted.name.clone();
        let mut own = client_settings(settings, &wanted);
        if let Some(simulator) = simulator {
            simulate::point_at(&mut own, simulator);
        }
        let client = match made.first() {
            Some(first) => first.client.beside(own).await,
            None => Client::connect(own).await,
        };
        let client = client
            .map_err(|error| StartError::Setting(format!("Bedrock, target {name:?}: {}", error.message)))?;
        let place = Place { target: name.into(), region: client.region().into() };
        made.push(Target { place, client, rules: Arc::new(rules(wanted)) });
    }
    Ok(Targets(made.into()))
}

/// The list, or the one target that the settings beside it make.
fn wanted(settings: &Settings) -> Vec<settings::Target> {
    if let Some(settings::Targets(list)) = &settings.accounts.targets {
        return list.clone();
    }
    let (accounts, bedrock) = (&settings.accounts, &settings.bedrock);
    vec![settings::Target {
        name: DEFAULT.to_owned(),
        // Empty where the SDK's chain is to say it.
        region: bedrock.region.clone().or_else(|| bedrock.aws_region.clone()).unwrap_or_default(),
        role_arn: accounts.role_arn.clone(),
        external_id: accounts.external_id.clone(),
        endpoint_url: bedrock.endpoint_url.clone(),
        mantle_endpoint_url: bedrock.mantle_endpoint_url.clone(),
        control_endpoint_url: bedrock.control_endpoint_url.clone(),
        bearer_token_env: None,
        weight: 0,
        models: None,
        context_tokens: None,
        bearer_token: None,
    }]
}

fn client_settings(settings: &Settings, target: &settings::Target) -> bedrock::Settings {
    let (own, accounts) = (&settings.bedrock, &settings.accounts);
    let role = target.role_arn.clone().map(|arn| Role {
        arn,
        external_id: target.external_id.clone(),
        session_name: accounts.session_name.clone(),
        duration: accounts.role_duration.0,
    });
    // The key of all targets is of one account: a role leads to another.
    let common = own.bearer_token.as_ref().filter(|_| role.is_none());
    let token = target.bearer_token.as_ref().or(common).map(Secret::expose);
    bedrock::Settings {
        region: Some(target.region.clone()).filter(|region| !region.is_empty()),
        endpoint_url: target.endpoint_url.clone(),
        mantle_endpoint_url: target.mantle_endpoint_url.clone(),
        control_endpoint_url: target.control_endpoint_url.clone(),
        bearer_token: token.map(Into::into),
        credentials: role.map_or(CredentialsSource::DefaultChain, CredentialsSource::Role),
        connect_timeout: own.connect_timeout.0,
        first_byte_timeout: own.first_byte_timeout.0,
        idle_timeout: own.idle_timeout.0,
        total_timeout: own.total_timeout.0,
        max_attempts: own.max_attempts,
        retry_base: own.retry_base.0,
        retry_max_wait: own.retry_max_wait.0,
        retry_budget_percent: own.retry_budget_percent,
        pool_idle: own.pool_idle.0,
        max_concurrency: own.max_concurrency,
    }
}

fn rules(target: settings::Target) -> Rules {
    let account = target.role_arn.as_deref().and_then(|role| Some(arn(role)?.1.to_owned()));
    Rules { weight: target.weight, models: target.models, context_tokens: target.context_tokens, account }
}
