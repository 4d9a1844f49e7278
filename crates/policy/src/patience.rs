//! How long requests wait for the store.

use std::pin::pin;
use std::time::Duration;

use tokio::time::timeout;

/// How long a store may say nothing before it counts as away for whoever waits for it. More than a healthy one ever needs, a
/// new connection over TLS and a slow disk included; less than callers wait before they give up by themselves. A disk that
/// hangs has no other deadline.
pub(crate) const SILENCE: Duration = Duration::from_secs(2);

/// What somebody waits for; `None` when it has not come and nothing else has: `answers` counts what the store has said, and who
/// stands in a line that moves waits on.
pub(crate) async fn in_time<T>(awaited: impl Future<Output = T>, answers: impl Fn() -> u64) -> Option<T> {
    let mut awaited = pin!(awaited);
    loop {
        let before = answers();
        if let Ok(done) = timeout(SILENCE, &mut awaited).await {
            return Some(done);
        }
        if answers() == before {
            return None;
        }
    }
}
