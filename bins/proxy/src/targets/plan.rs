//! Which targets a request may go to, and in which order.

use catalog::Resolution;
use http::HeaderMap;
use policy::Admission;

use super::{Target, Targets};
use crate::error::{ApiError, Kind};
use crate::gateway::Gateway;

/// Forbids a second way to the model.
const NO_FALLBACK: &str = "x-outcrop-no-fallback";

/// A target, and what the model's name means in its region.
pub(crate) struct Stop {
    target: usize,
    resolution: Resolution,
}

/// The order of the targets for one request. What the name means at the first of them is kept by whoever holds the plan.
pub(crate) struct Plan {
    first: usize,
    behind: Vec<Stop>,
    /// Whether the caller wants its first way or none.
    pub(crate) single: bool,
}

impl Plan {
    /// The targets in order, by their places in the list; `first` is what the name means at the first.
    pub(crate) fn stops<'a>(
        &'a self,
        first: &'a Resolution,
    ) -> impl Iterator<Item = (usize, &'a Resolution)> + Clone {
        let behind = self.behind.iter().map(|stop| (stop.target, &stop.resolution));
        std::iter::once((self.first, first)).chain(behind)
    }

    /// What the name means at a target behind the first; `None` for the first itself.
    pub(crate) fn moved(&self, target: usize) -> Option<&Resolution> {
        self.behind.iter().find(|stop| stop.target == target).map(|stop| &stop.resolution)
    }
}

/// Plans an admitted request, and tells the admission where it goes first.
///
/// A key that is bound goes to its own target. The others' order is the list's, but for the first: among the targets with a
/// weight one is drawn, for a session always the same.
pub(crate) fn plan(
    gateway: &Gateway,
    admission: &mut Admission,
    headers: &HeaderMap,
) -> Result<(Resolution, Plan), ApiError> {
    let single = headers.get(NO_FALLBACK).is_some_and(|value| value == "1");
    let targets = &gateway.targets;
    let bound = admission.caller().target();
    // The usual installation: there is nothing to choose.
    if targets.iter().len() == 1 && targets.first().rules.models.is_none() && bound.is_none() {
        let plan = Plan { first: 0, behind: Vec::new(), single };
        return Ok((admission.resolution().clone(), plan));
    }
    let mut stops = eligible(gateway, admission)?;
    let home = home(targets, &stops, seed(gateway, admission));
    let first = stops.remove(home);
    admission.goes_to(&targets.get(first.target).place, &first.resolution);
    Ok((first.resolution, Plan { first: first.target, behind: stops, single }))
}

/// At least one target.
fn eligible(gateway: &Gateway, admission: &Admission) -> Result<Vec<Stop>, ApiError> {
    let Gateway { targets, shared, .. } = gateway;
    let (bound, admitted) = (admission.caller().target(), admission.resolution());
    let open = |target: &Target| bound.is_none_or(|name| *name == *target.place.target);
    if !targets.iter().any(open) {
        return Err(ApiError::new(
            Kind::Permission,
            "This API key is bound to a target that this gateway does not have",
        ));
    }
    let stop = |(index, target): (usize, &Target)| {
        let resolution = shared
            .policy
            .in_region(admission.tables(), admitted, &target.place.region)
            .filter(|_| open(target))?;
        target.serves(&resolution).then_some(Stop { target: index, resolution })
    };
    let mut stops: Vec<Stop> = targets.iter().enumerate().filter_map(stop).collect();
    if stops.is_empty() {
        let model: String = admitted.requested.chars().take(128).collect();
        let message = format!("model: {model} is served by no target of this gateway");
        return Err(ApiError {
            path: Some("model".to_owned()),
            ..ApiError::new(Kind::ModelNotFound, message)
        });
    }
    let of = |stop: &Stop| targets.get(stop.target);
    keep(&mut stops, |stop| of(stop).owns(&stop.resolution.upstream_id));
    if !keep(&mut stops, |stop| of(stop).reaches(&stop.resolution.upstream_id)) {
        // It may be that nobody can call it: the first one's upstream says so.
        stops.truncate(1);
    }
    let size = admission.input_estimate();
    keep(&mut stops, |stop| of(stop).rules.context_tokens.is_none_or(|most| size <= most));
    Ok(stops)
}

/// Keeps what fits, if anything does.
fn keep(stops: &mut Vec<Stop>, fits: impl Fn(&Stop) -> bool) -> bool {
    let any = stops.iter().any(&fits);
    if any {
        stops.retain(fits);
    }
    any
}

/// What decides where a request begins: its session, else its key; or chance.
fn seed(gateway: &Gateway, admission: &Admission) -> u64 {
    if !gateway.shared.settings.accounts.session_affinity.0 {
        return rand::random();
    }
    hash(admission.session().unwrap_or(admission.caller().key_id().as_str()), 0)
}

/// Which of the stops to begin at: the first, or one drawn by weight where any has one. Each target draws its own lot
/// (weighted rendezvous hashing), so that a session stays where it is when targets are added or taken away.
fn home(targets: &Targets, stops: &[Stop], seed: u64) -> usize {
    let lot = |stop: &Stop| {
        let target = targets.get(stop.target);
        lot(seed, &target.place.target, target.rules.weight)
    };
    let lots = stops.iter().map(lot).enumerate();
    // Of equal lots the earlier one: without weights that is the first.
    lots.fold((0, 0.0), |best, (at, lot)| if lot > best.1 { (at, lot) } else { best }).0
}

/// The greatest lot wins, with a chance in proportion to the weight.
fn lot(seed: u64, target: &str, weight: u32) -> f64 {
    const ALL: f64 = (1_u64 << 53) as f64;
    // Between 0 and 1, and neither.
    let drawn = ((hash(target, seed) >> 11) as f64 + 0.5) / ALL;
    f64::from(weight) / -drawn.ln()
}

/// FNV-1a with a last stir, so that all replicas agree, whatever they were built with.
fn hash(text: &str, seed: u64) -> u64 {
    let fold = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325 ^ seed, fold);
    let hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn winner(session: u32, weights: &[(&str, u32)]) -> usize {
        let seed = hash(&format!("session-{session}"), 0);
        let lots = weights.iter().map(|(name, weight)| lot(seed, name, *weight)).enumerate();
        lots.fold((0, 0.0), |best, (at, lot)| if lot > best.1 { (at, lot) } else { best }).0
    }

    #[test]
    fn sessions_are_shared_out_by_weight() {
        let mut begun = [0_u32; 3];
        for session in 0..10_000 {
            begun[winner(session, &[("a", 6), ("b", 3), ("c", 1)])] += 1;
        }
        let expected = [6_000_u32, 3_000, 1_000];
        assert!(begun.iter().zip(expected).all(|(begun, share)| begun.abs_diff(share) < 200), "{begun:?}");
    }

    #[test]
    fn without_weights_the_first_is_home_and_a_weight_of_nought_is_never_drawn() {
        for session in 0..100 {
            assert_eq!(winner(session, &[("a", 0), ("b", 0)]), 0);
            assert_eq!(winner(session, &[("a", 0), ("b", 1)]), 1);
        }
    }

    #[test]
    fn a_target_more_draws_sessions_to_itself_and_moves_no_other() {
        for session in 0..1_000 {
            let before = winner(session, &[("a", 1), ("b", 1)]);
            let after = winner(session, &[("a", 1), ("b", 1), ("c", 1)]);
            assert!(after == before || after == 2);
        }
    }
}
