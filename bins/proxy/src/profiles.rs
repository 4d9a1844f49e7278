//! Which model is behind an application inference profile: asked of the control plane once, and remembered.
//!
//! The ARN of such a profile hides its model, and everything goes by the model: lane, rules, price, caching, a key's
//! lists. Names that hide nothing pass here without a look at any of this.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bedrock::Kind as Cause;
use catalog::{Catalog, name};
use quick_cache::sync::Cache;
use tokio::sync::{OnceCell, Semaphore};

use crate::error::{ApiError, Kind};
use crate::gateway::Gateway;
use crate::refusal::scrubbed;

/// Profiles remembered, those that could not be looked up included; an account has 1000 at most.
const MOST: usize = 2048;
/// How long a failure is believed, a denial too.
const FAILURE_HOLDS: Duration = Duration::from_mins(1);
/// Questions under way at once: the control plane's quotas are small, and callers can name any ARN.
const AT_ONCE: usize = 8;

/// The answers of the last while.
pub(crate) struct Profiles {
    ttl: Duration,
    known: Cache<String, Arc<Flight>>,
    places: Semaphore,
}

/// One question, shared by all who have it at the time.
#[derive(Default)]
struct Flight {
    answer: OnceCell<Answer>,
    /// The answer to the question before.
    before: Option<Arc<str>>,
}

struct Answer {
    at: Instant,
    holds: Duration,
    base_model: Result<Arc<str>, ApiError>,
}

impl Profiles {
    pub(crate) fn new(ttl: Duration) -> Self {
        Self { ttl, known: Cache::new(MOST), places: Semaphore::new(AT_ONCE) }
    }

    /// The answer for this ARN, from memory or from `ask`.
    async fn find<F>(&self, arn: &str, now: Instant, ask: impl FnOnce() -> F) -> Result<Arc<str>, ApiError>
    where
        F: Future<Output = Result<Arc<str>, ApiError>>,
    {
        let flight = self.flight(arn, now);
        // If the one who asks leaves, the next one who waits asks.
        let answered = flight.answer.get_or_init(|| async {
            let _place = self.places.acquire().await;
            match (ask().await, &flight.before) {
                (Ok(found), _) => Answer { at: now, holds: self.ttl, base_model: Ok(found) },
                // What is behind a profile does not change. It may be gone, but to be out of reach says nothing.
                (Err(error), Some(before)) if error.kind == Kind::BadGateway => {
                    Answer { at: now, holds: FAILURE_HOLDS, base_model: Ok(Arc::clone(before)) }
                }
                (Err(error), _) => Answer { at: now, holds: FAILURE_HOLDS, base_model: Err(error) },
            }
        });
        answered.await.base_model.clone()
    }

    /// The question that is open or has an answer that still holds; else a new one.
    fn flight(&self, arn: &str, now: Instant) -> Arc<Flight> {
        let mut before = None;
        if let Some(flight) = self.known.get(arn) {
            match flight.answer.get() {
                Some(answer) if now.saturating_duration_since(answer.at) >= answer.holds => {
                    before = answer.base_model.clone().ok();
                }
                Some(_) | None => return flight,
            }
            self.known.remove_if(arn, |known| Arc::ptr_eq(known, &flight));
        }
        let fresh = || Ok::<_, Infallible>(Arc::new(Flight { before, ..Flight::default() }));
        self.known.get_or_insert_with(arn, fresh).unwrap_or_else(|never| match never {})
    }
}

/// What is behind the profile that a model's name leads to: an id or an ARN that names a model. `None` where the name
/// hides nothing, which costs no allocation and no wait.
pub(crate) async fn behind(
    gateway: &Gateway,
    catalog: &Catalog,
    model: &str,
    now: Instant,
) -> Result<Option<Arc<str>>, ApiError> {
    let Some(arn) = catalog.hidden_profile(model) else { return Ok(None) };
    // Boxed: every request's future has room for this one's, and few need it.
    Box::pin(gateway.shared.profiles.find(&arn, now, || look_up(gateway, &arn))).await.map(Some)
}

async fn look_up(gateway: &Gateway, arn: &str) -> Result<Arc<str>, ApiError> {
    let region = name::application_profile_region(arn).unwrap_or_default();
    let shown = without_account(arn);
    let mut answer = Err(by_hand(&shown, "there is no target"));
    // Only its own account knows it: where that is none that we know, each of the region is asked.
    for (asked, target) in gateway.targets.of_arn(arn).into_iter().enumerate() {
        match target.client.models_behind(arn, region).await {
            Ok(models) => {
                answer = Ok(models);
                break;
            }
            Err(error) => {
                tracing::warn!(profile = shown, target = %target.place.target, kind = ?error.kind,
                    code = error.code.as_deref(), message = %scrubbed(&error.message),
                    "an inference profile could not be looked up");
                if asked == 0 {
                    answer = Err(refused(&shown, &error));
                }
            }
        }
    }
    let models = answer?;
    let found = base_model(&models).ok_or_else(|| by_hand(&shown, "it names none"))?;
    tracing::info!(profile = shown, model = found, "an inference profile was looked up");
    Ok(found.into())
}

/// The first model, with the prefix of the profile that this one was copied from where that changes the price: a global
/// one also names its model [without a
/// region](https://docs.aws.amazon.com/bedrock/latest/userguide/global-cross-region-inference.html).
fn base_model(models: &[String]) -> Option<String> {
    let first = models.first()?;
    let Some(name::Arn::Named(id)) = name::arn(first) else { return Some(first.clone()) };
    let global = models.iter().any(|arn| arn.split(':').nth(3) == Some(""));
    Some(if global && name::split_prefix(id).is_none() { format!("global.{id}") } else { id.to_owned() })
}

fn refused(shown: &str, error: &bedrock::Error) -> ApiError {
    let reason = match error.kind {
        Cause::Validation | Cause::NotFound => {
            let message = format!("the inference profile {shown} is not there: {}", scrubbed(&error.message));
            return ApiError::field("model", &message);
        }
        Cause::AccessDenied => "AWS denies the gateway bedrock:GetInferenceProfile".to_owned(),
        Cause::Credentials => "the gateway's own AWS credentials were refused".to_owned(),
        Cause::Connect => "the control plane cannot be reached".to_owned(),
        _ => scrubbed(&error.message),
    };
    by_hand(shown, &reason)
}

/// A failure that the operator can get around.
fn by_hand(shown: &str, reason: &str) -> ApiError {
    let message = format!(
        "The model behind the inference profile {shown} could not be looked up: {reason}. The gateway's operator can \
         name it: DEFAULT_MODEL_MAPPING={{\"NAME\": {{\"target\": \"ARN\", \"base_model\": \"MODEL ID\"}}}}"
    );
    ApiError::new(Kind::BadGateway, message)
}

/// An ARN without its account, which is nobody's business.
fn without_account(arn: &str) -> String {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let [scheme, partition, service, region, _account, resource] = parts[..] else { return scrubbed(arn) };
    let resource: String = resource.chars().take(200).collect();
    [scheme, partition, service, region, "", &resource].join(":")
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    const HOUR: Duration = Duration::from_hours(1);

    /// Counts how often it was asked.
    #[derive(Default)]
    struct Control(AtomicUsize);

    impl Control {
        async fn say(&self, answer: Result<&str, Kind>) -> Result<Arc<str>, ApiError> {
            self.0.fetch_add(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            answer.map(Arc::from).map_err(|kind| ApiError::new(kind, "no"))
        }

        fn asked(&self) -> usize {
            self.0.load(Ordering::SeqCst)
        }
    }

    #[tokio::test]
    async fn a_crowd_asks_once_and_the_answer_holds_for_its_time() {
        let (profiles, control, start) = (Profiles::new(HOUR), Control::default(), Instant::now());
        let find = |after| profiles.find("arn", start + after, || control.say(Ok("a")));
        let crowd = futures::future::join_all((0..20).map(|_| find(Duration::ZERO))).await;
        assert!(crowd.iter().all(|found| found.as_deref().is_ok_and(|found| found == "a")));
        assert_eq!(control.asked(), 1);
        find(Duration::from_secs(3599)).await.unwrap();
        assert_eq!(control.asked(), 1);
        find(HOUR).await.unwrap();
        assert_eq!(control.asked(), 2);
    }

    #[tokio::test]
    async fn a_failure_is_believed_for_a_minute_whatever_the_time_of_answers() {
        for ttl in [Duration::ZERO, HOUR] {
            let (profiles, control, start) = (Profiles::new(ttl), Control::default(), Instant::now());
            let fail = |after| profiles.find("arn", start + after, || control.say(Err(Kind::BadGateway)));
            for after in [0, 30, 59] {
                assert!(fail(Duration::from_secs(after)).await.is_err());
            }
            assert_eq!(control.asked(), 1);
            assert!(fail(FAILURE_HOLDS).await.is_err());
            assert_eq!(control.asked(), 2);
        }
    }

    #[tokio::test]
    async fn what_was_known_is_used_on_while_the_control_plane_is_away_but_not_when_the_profile_is_gone() {
        let (profiles, control, start) = (Profiles::new(HOUR), Control::default(), Instant::now());
        profiles.find("arn", start, || control.say(Ok("a"))).await.unwrap();
        let away = profiles.find("arn", start + HOUR, || control.say(Err(Kind::BadGateway))).await;
        assert_eq!(&*away.unwrap(), "a");
        let later = start + HOUR + FAILURE_HOLDS;
        let again = profiles.find("arn", later, || control.say(Err(Kind::BadGateway))).await;
        assert_eq!((&*again.unwrap(), control.asked()), ("a", 3));
        let gone = profiles.find("arn", later + FAILURE_HOLDS, || control.say(Err(Kind::Invalid))).await;
        assert_eq!(gone.unwrap_err().kind, Kind::Invalid);
    }

    #[tokio::test]
    async fn one_who_leaves_while_asking_leaves_the_question_to_the_others() {
        let (profiles, control, now) = (Profiles::new(HOUR), Control::default(), Instant::now());
        let mut leaving = Box::pin(profiles.find("arn", now, std::future::pending));
        let staying = profiles.find("arn", now, || control.say(Ok("a")));
        assert!(futures::poll!(&mut leaving).is_pending());
        let mut staying = Box::pin(staying);
        assert!(futures::poll!(&mut staying).is_pending());
        drop(leaving);
        assert_eq!(&*staying.await.unwrap(), "a");
    }

    #[tokio::test]
    async fn no_more_than_so_many_are_remembered() {
        let (profiles, control, now) = (Profiles::new(HOUR), Control::default(), Instant::now());
        for n in 0..MOST + 500 {
            profiles.find(&n.to_string(), now, || control.say(Ok("a"))).await.unwrap();
        }
        assert!(profiles.known.len() <= MOST);
    }

    #[test]
    fn the_first_model_counts_and_a_global_profile_is_told_by_what_has_no_region() {
        let of = |arns: &[&str]| base_model(&arns.iter().map(ToString::to_string).collect::<Vec<_>>());
        let model =
            |region: &str| format!("arn:aws:bedrock:{region}::foundation-model/anthropic.claude-opus-5");
        let geographic = of(&[&model("eu-west-1"), &model("eu-north-1")]);
        assert_eq!(geographic.as_deref(), Some("anthropic.claude-opus-5"));
        let global = of(&[&model("eu-west-1"), &model("")]);
        assert_eq!(global.as_deref(), Some("global.anthropic.claude-opus-5"));
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn an_account_does_not_show() {
        let arn = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc";
        assert_eq!(without_account(arn), "arn:aws:bedrock:us-east-1::application-inference-profile/abc");
        let error = bedrock::Error::new(Cause::AccessDenied, "User: arn:aws:sts::123456789012:x may not");
        let said = refused(&without_account(arn), &error).message;
        assert!(!said.contains("123456789012") && said.contains("base_model"), "{said}");
    }
}
