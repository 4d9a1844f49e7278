//! Silence in a stream: told apart from its end and from the gateway's.

use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::Sleep;

use crate::gateway::Phase;

/// What a wait ended with.
pub(crate) enum Met<T> {
    Came(T),
    Silence,
    Ending,
}

/// Watches for silence while something is waited for. One timer a stream, moved only when it fires.
pub(crate) struct Quiet {
    interval: Duration,
    since: Instant,
    timer: Pin<Box<Sleep>>,
    phase: watch::Receiver<Phase>,
}

impl Quiet {
    pub(crate) fn new(interval: Duration, phase: watch::Receiver<Phase>) -> Self {
        Self { interval, since: Instant::now(), timer: Box::pin(tokio::time::sleep(interval)), phase }
    }

    /// Something was written: silence begins anew.
    pub(crate) fn broken(&mut self) {
        self.since = Instant::now();
    }

    pub(crate) async fn during<F: Future + Unpin>(&mut self, mut wait: F) -> Met<F::Output> {
        let Self { interval, since, timer, phase } = self;
        loop {
            tokio::select! {
                biased;
                came = &mut wait => return Met::Came(came),
                () = timer.as_mut() => {
                    let now = Instant::now();
                    let silent = now >= *since + *interval;
                    if silent {
                        *since = now;
                    }
                    timer.as_mut().reset((*since + *interval).into());
                    if silent {
                        return Met::Silence;
                    }
                }
                _ = phase.wait_for(|phase| *phase == Phase::Ending) => return Met::Ending,
            }
        }
    }
}
