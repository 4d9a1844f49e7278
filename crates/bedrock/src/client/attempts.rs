//! The attempts of one call: what each is signed with, and whether there is another.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::Shared;
use crate::credentials::{Auth, Credentials, Held};
use crate::error::Error;
use crate::http1::Signer;
use crate::retry;

/// What one attempt is authenticated with; credentials are looked up anew for each.
pub(super) enum Signed<'a> {
    Bearer(&'a crate::Secret),
    Held(&'a Arc<Credentials>, Arc<Held>),
}

impl Signed<'_> {
    pub(super) fn as_signer(&self) -> Signer<'_> {
        match self {
            Self::Bearer(value) => Signer::Bearer(value),
            Self::Held(_, held) => Signer::Identity(&held.identity),
        }
    }
}

/// The attempts of one call.
pub(super) struct Attempts<'a> {
    shared: &'a Shared,
    policy: retry::Policy,
    pub(super) made: u32,
    /// The clock's correction with which the last attempt was signed.
    correction: i64,
    /// Signing was mended once, and is not a second time.
    mended: bool,
}

impl<'a> Attempts<'a> {
    pub(super) fn new(shared: &'a Shared, most: u32) -> Self {
        shared.budget.earn();
        let max_attempts = shared.policy.max_attempts.min(most.max(1));
        let policy = retry::Policy { max_attempts, ..shared.policy };
        Self { shared, policy, made: 0, correction: 0, mended: false }
    }

    pub(super) async fn begin(&mut self) -> Result<Signed<'a>, Error> {
        let signed = match &self.shared.auth {
            Auth::Bearer(value) => Signed::Bearer(value),
            Auth::Signed(credentials) => {
                let held = credentials.get().await;
                Signed::Held(credentials, held.map_err(|error| Error { attempts: self.made, ..error })?)
            }
        };
        self.made += 1;
        self.correction = self.shared.clock.correction();
        Ok(signed)
    }

    /// Waits until the next attempt may begin, or returns the error with which the call ends.
    pub(super) async fn after(&mut self, mut error: Error, signed: Signed<'a>) -> Result<(), Error> {
        error.attempts = self.made;
        let policy = &self.policy;
        if let Signed::Held(credentials, held) = signed
            && !self.mended
            && self.made < policy.max_attempts
        {
            self.mended = true;
            if error.is_expired_token() {
                return credentials.replace(&held).await.map(|_| ()).map_err(|_| error);
            }
            if error.may_be_clock() && self.shared.clock.correction() != self.correction {
                tracing::warn!(
                    seconds = self.shared.clock.correction(),
                    "the upstream's clock differs from this host's"
                );
                return Ok(());
            }
            self.mended = false;
        }
        match retry::wait(policy, &error, self.made, rand::random()) {
            Some(wait) if self.shared.budget.spend() => {
                tracing::debug!(kind = ?error.kind, attempt = self.made, ?wait, "an attempt failed and is repeated");
                if wait > Duration::ZERO {
                    sleep(wait).await;
                }
                Ok(())
            }
            Some(_) | None => Err(error),
        }
    }
}
