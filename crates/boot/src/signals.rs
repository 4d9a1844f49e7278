//! Signals that end the program.

/// Resolves at the first SIGTERM or SIGINT. They are caught from the call on, whether the future is polled yet or not: a
/// program that says that it serves must not die of a signal that comes in the same instant.
///
/// Called within a runtime.
#[cfg(unix)]
pub fn terminated() -> impl Future<Output = ()> {
    use tokio::signal::unix::{SignalKind, signal};
    let caught = |kind, name| match signal(kind) {
        Ok(caught) => Some(caught),
        Err(error) => {
            tracing::warn!(%error, "{name} cannot be caught");
            None
        }
    };
    let mut terminate = caught(SignalKind::terminate(), "SIGTERM");
    let mut interrupt = caught(SignalKind::interrupt(), "SIGINT");
    async move {
        tokio::select! {
            () = received(terminate.as_mut()) => {}
            () = received(interrupt.as_mut()) => {}
        }
    }
}

#[cfg(unix)]
async fn received(caught: Option<&mut tokio::signal::unix::Signal>) {
    match caught {
        Some(caught) => {
            caught.recv().await;
        }
        None => std::future::pending().await,
    }
}

/// Resolves at the first Ctrl-C.
#[cfg(not(unix))]
pub async fn terminated() {
    if let Err(error) = tokio::signal::ctrl_c().await {
        tracing::warn!(%error, "Ctrl-C cannot be caught");
        std::future::pending::<()>().await;
    }
}
