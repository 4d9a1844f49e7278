//! The targets: accounts and regions that models are called in, in the order of failover.

mod connect;
mod plan;

use std::sync::Arc;
use std::time::Duration;

use bedrock::{Client, Readiness};
use catalog::{Resolution, name};
use policy::Place;

pub(crate) use connect::connect;
pub(crate) use plan::{Plan, plan};

/// The longest that a probe waits for credentials: one account whose STS is silent must not keep the others' state back.
const PROBE_LIMIT: Duration = Duration::from_secs(2);

/// One target, with the connections of one worker.
pub(crate) struct Target {
    pub(crate) place: Place,
    pub(crate) client: Client,
    rules: Arc<Rules>,
}

/// What goes to a target, and how much.
#[derive(Debug, Default)]
struct Rules {
    weight: u32,
    /// Patterns; none is every model.
    models: Option<Vec<String>>,
    context_tokens: Option<u64>,
    /// The account, where its role says it.
    account: Option<String>,
}

impl Target {
    /// How the calls of the last minute went; without any, whether one could be signed.
    pub(crate) async fn state(&self) -> State {
        match self.observed() {
            State::Idle if !self.ready().await => State::NoCredentials,
            state => state,
        }
    }

    /// The same without asking anybody.
    pub(crate) fn observed(&self) -> State {
        let seen = self.client.health();
        match (seen.succeeded, seen.failed) {
            (0, 0) => State::Idle,
            (0, _) => State::Unavailable,
            (succeeded, failed) if failed > succeeded => State::Degraded,
            (_, _) => State::Healthy,
        }
    }

    /// Whether its calls can be authenticated.
    pub(crate) async fn ready(&self) -> bool {
        matches!(tokio::time::timeout(PROBE_LIMIT, self.client.ready()).await, Ok(Readiness::Ready))
    }

    fn serves(&self, resolution: &Resolution) -> bool {
        let any = |patterns: &Vec<String>| {
            let fits = |id: &str| patterns.iter().any(|pattern| policy::glob::matches(pattern, id));
            resolution.fits(fits) || fits(&resolution.base_id)
        };
        self.rules.models.as_ref().is_none_or(any)
    }

    /// Whether an id can mean something here: a profile of this geography, an ARN of this region and account.
    fn reaches(&self, id: &str) -> bool {
        let region = &*self.place.region;
        match arn(id) {
            Some((arns, account)) => {
                let ours = |known: &String| account.is_empty() || known == account;
                (arns.is_empty() || arns == region) && self.rules.account.as_ref().is_none_or(ours)
            }
            None => name::split_prefix(id).is_none_or(|(prefix, _)| name::reaches(region, prefix)),
        }
    }

    /// Whether an id is an ARN of the account that this target is known to be.
    fn owns(&self, id: &str) -> bool {
        arn(id).is_some_and(|(_, account)| self.rules.account.as_deref() == Some(account))
    }
}

/// Region and account of an ARN.
fn arn(id: &str) -> Option<(&str, &str)> {
    let mut parts = id.strip_prefix("arn:")?.splitn(5, ':').skip(2);
    Some((parts.next()?, parts.next()?))
}

/// What is known of a target at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Nothing was called, and something could be.
    Idle,
    Healthy,
    /// More calls failed than went through.
    Degraded,
    /// None went through.
    Unavailable,
    NoCredentials,
}

impl State {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Unavailable => "unavailable",
            Self::NoCredentials => "no_credentials",
        }
    }

    /// For the gauge: 1 is well, 0 is out.
    pub(crate) fn level(self) -> f64 {
        match self {
            Self::Idle | Self::Healthy => 1.0,
            Self::Degraded => 0.5,
            Self::Unavailable | Self::NoCredentials => 0.0,
        }
    }
}

/// All targets, never none.
#[derive(Clone)]
pub(crate) struct Targets(Arc<[Target]>);

impl Targets {
    /// The same for another worker, with connections of its own.
    pub(crate) fn for_worker(&self) -> Self {
        let target = |target: &Target| Target {
            place: target.place.clone(),
            client: target.client.for_worker(),
            rules: Arc::clone(&target.rules),
        };
        Self(self.0.iter().map(target).collect())
    }

    /// By its place in the list.
    pub(crate) fn get(&self, index: usize) -> &Target {
        &self.0[index]
    }

    pub(crate) fn first(&self) -> &Target {
        self.get(0)
    }

    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = &Target> {
        self.0.iter()
    }

    /// Those that an ARN can be of: of its account, where that is one that we know, and of its region; the first where none
    /// is.
    pub(crate) fn of_arn(&self, arn: &str) -> Vec<&Target> {
        let reaching: Vec<&Target> = self.iter().filter(|target| target.reaches(arn)).collect();
        let owning: Vec<&Target> = reaching.iter().copied().filter(|target| target.owns(arn)).collect();
        match (owning.is_empty(), reaching.is_empty()) {
            (false, _) => owning,
            (true, false) => reaching,
            (true, true) => vec![self.first()],
        }
    }
}
