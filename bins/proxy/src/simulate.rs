//! `--simulate`: an answering gateway without an AWS account.

use std::net::SocketAddr;

use bedrock_sim::{Config, Sim};
use store::{KeyHasher, KeyId, KeyRecord, NewKey, Store, Timestamp};

use crate::start::StartError;

/// Starts the simulator on a thread of its own, so that it does not share a core's runtime with the gateway.
pub(crate) async fn start() -> Result<Sim, StartError> {
    let config = Config { workers: 1, ..Config::default() };
    Sim::start(config)
        .await
        .map_err(|error| StartError::Failed(format!("the simulator cannot start: {error}")))
}

/// Sends the gateway's calls to the simulator, signed with the credentials that it accepts.
pub(crate) fn point_at(settings: &mut bedrock::Settings, simulator: &Sim) {
    let accepted = Config::default();
    settings.endpoint_url = Some(simulator.url());
    settings.mantle_endpoint_url = Some(simulator.mantle_url());
    settings.control_endpoint_url = Some(simulator.url());
    settings.bearer_token = None;
    settings.region.get_or_insert_with(|| "us-east-1".to_owned());
    settings.credentials = bedrock::CredentialsSource::Static {
        access_key_id: accepted.access_key_id,
        secret_access_key: accepted.secret_access_key.into(),
        session_token: None,
    };
}

/// A key to try the gateway with.
pub(crate) async fn fresh_key(store: &dyn Store, hasher: &KeyHasher) -> Result<NewKey, StartError> {
    let (key, record) = {
        let mut rng = rand::rng();
        let key = NewKey::generate(&mut rng);
        let key_id = KeyId::generate(&mut rng);
        let record = KeyRecord {
            created_by: Some("outcrop-proxy --simulate".to_owned()),
            ..KeyRecord::new(key_id, &key, "simulate", "made by --simulate", Timestamp::now())
        };
        (key, record)
    };
    store
        .put_new_key(&hasher.hash_new(&key), &record)
        .await
        .map_err(|error| StartError::Failed(format!("the key of --simulate cannot be stored: {error}")))?;
    Ok(key)
}

/// What is printed once: the key, and lines to paste.
pub(crate) fn welcome(addr: SocketAddr, key: &str) -> String {
    let base = format!("http://{addr}");
    format!(
        r#"
Outcrop is listening on {base}, with a simulated Bedrock behind it.

Your key (shown once):

    {key}

Ask something:

    curl -s {base}/v1/messages -H 'x-api-key: {key}' -H 'content-type: application/json' \
      -d '{{"model":"claude-sonnet-4-6","max_tokens":200,"messages":[{{"role":"user","content":"Hello"}}]}}'

The Anthropic SDK for Python (pip install anthropic):

    export ANTHROPIC_BASE_URL={base} ANTHROPIC_API_KEY={key}
    python3 -c 'import anthropic; print(anthropic.Anthropic().messages.create(model="claude-sonnet-4-6", max_tokens=200, messages=[{{"role": "user", "content": "Hello"}}]).content[0].text)'

Claude Code:

    export ANTHROPIC_BASE_URL={base}
    export ANTHROPIC_AUTH_TOKEN={key}
    export CLAUDE_CODE_AUTO_MODE_SERVER=0
    claude -p "run echo hi" --allowedTools Bash

"#
    )
}
