//! The one question to the control plane: which models are behind an inference profile.

use std::time::Duration;

use serde::Deserialize;
use tokio::time::timeout;

use super::Client;
use super::attempts::{Attempts, Signed};
use crate::call::push_escaped;
use crate::error::{Error, Kind};
use crate::http1::{Broken, Connector, Outgoing, Signer};

/// For the whole question: a request waits for it that has not begun yet.
const LONGEST: Duration = Duration::from_secs(10);
/// Whoever asks remembers failures too, so one repetition is enough.
const MOST_ATTEMPTS: u32 = 2;

/// The part of the answer that is read.
#[derive(Deserialize)]
struct Profile {
    models: Vec<Model>,
}

#[derive(Deserialize)]
struct Model {
    #[serde(rename = "modelArn")]
    arn: String,
}

impl Client {
    /// The ARNs of the models behind an inference profile, in the profile's order:
    /// [GetInferenceProfile](https://docs.aws.amazon.com/bedrock/latest/APIReference/API_GetInferenceProfile.html).
    ///
    /// `profile` is an id or an ARN, `region` the one that it is of. Takes 10 seconds at most and is repeated once at most.
    pub async fn models_behind(&self, profile: &str, region: &str) -> Result<Vec<String>, Error> {
        if matches!(profile, "" | "." | "..") {
            return Err(Error::new(Kind::Validation, "The inference profile's id is not valid."));
        }
        let endpoint = self.shared.control.of(region)?;
        let connector = self.shared.mantle.beside(endpoint, self.shared.settings.connect_timeout)?;
        let mut path = String::from("/inference-profiles/");
        push_escaped(&mut path, profile.as_bytes());
        let mut attempts = Attempts::new(&self.shared, MOST_ATTEMPTS);
        let limit = self.shared.settings.total_timeout.min(LONGEST);
        let asking = async {
            loop {
                let signed = attempts.begin().await?;
                match self.get(&connector, &path, region, &signed).await {
                    Ok(models) => return Ok(models),
                    Err(error) => attempts.after(error, signed).await?,
                }
            }
        };
        timeout(limit, asking).await.unwrap_or_else(|_| {
            let late = Error::new(Kind::TotalTimeout, "Bedrock's control plane did not answer in time.");
            Err(Error { attempts: attempts.made, ..late })
        })
    }

    async fn get(
        &self,
        connector: &Connector,
        path: &str,
        region: &str,
        signed: &Signed<'_>,
    ) -> Result<Vec<String>, Error> {
        let elsewhere = match signed {
            Signed::Held(_, held) if region != self.shared.region => Some(held.identity.in_region(region)),
            Signed::Held(..) | Signed::Bearer(_) => None,
        };
        let who = elsewhere.as_ref().map_or_else(|| signed.as_signer(), Signer::Identity);
        let now = self.shared.clock.now();
        let outgoing = Outgoing::get(path, &connector.endpoint, &who, now);
        let mut connection = connector.connect().await?;
        let mut head = connection.exchange(&outgoing).await.map_err(Broken::into_error)?;
        let body = connection.read_whole(&mut head.body, self.shared.settings.idle_timeout).await?;
        if !head.is_success() {
            return Err(self.shared.refused(head, &body));
        }
        let profile: Profile = serde_json::from_slice(&body).map_err(|_| {
            Error::new(Kind::Protocol, "The answer of Bedrock's control plane cannot be read.")
        })?;
        Ok(profile.models.into_iter().map(|model| model.arn).collect())
    }
}
