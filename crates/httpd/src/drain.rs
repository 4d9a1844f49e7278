//! Stopping in two steps: finish what is open, then cut what is left.

use tokio::sync::watch;

/// How far the stop has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    Running,
    /// No new connections; each open one closes after its current reply.
    Draining,
    /// Everything is dropped.
    Cut,
}

/// Starts and ends the drain of a [`crate::Server`].
#[derive(Clone, Debug)]
pub struct DrainHandle(watch::Sender<Phase>);

/// The server's side of a [`DrainHandle`].
#[derive(Clone, Debug)]
pub struct Drain(watch::Receiver<Phase>);

impl Drain {
    /// A handle and the side that listens to it.
    #[must_use]
    pub fn new() -> (DrainHandle, Self) {
        let (sender, receiver) = watch::channel(Phase::Running);
        (DrainHandle(sender), Self(receiver))
    }

    /// Resolves when the phase has come at least this far; also when the handle is gone.
    pub(crate) async fn reached(&mut self, phase: Phase) {
        // An error means that nobody can drain any more: the program is ending.
        let _ = self.0.wait_for(|now| *now >= phase).await;
    }
}

impl DrainHandle {
    /// No new connections; open requests finish.
    pub fn start(&self) {
        self.advance(Phase::Draining);
    }

    /// Drops what is still open.
    pub fn cut(&self) {
        self.advance(Phase::Cut);
    }

    fn advance(&self, phase: Phase) {
        self.0.send_if_modified(|now| {
            let further = phase > *now;
            if further {
                *now = phase;
            }
            further
        });
    }
}
