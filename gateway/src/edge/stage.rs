//! Where a gateway is between its start and its end.

use tokio::sync::watch;

/// Only ever moves on.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Stage {
    /// Could accept connections, and waits until the process whose place it takes says so.
    Ready,
    /// Accepts connections.
    Serving,
    /// Another process accepts them. Clients are told to come again, and served until they do.
    Retiring,
    /// Nobody accepts them here. What is open may end, what is idle is closed.
    Stopping,
}

/// Runs a task of a gateway that serves: what two processes of one gateway should not both do.
pub(super) async fn while_serving(mut stage: watch::Receiver<Stage>, task: impl Future<Output = ()>) {
    tokio::select! {
        () = task => {}
        // An edge that is gone serves no more.
        _ = stage.wait_for(|stage| *stage > Stage::Serving) => {}
    }
}
