//! Waiting for conditions instead of sleeping.

use std::time::Duration;

/// How long anything here waits before the test fails. Generous: it is only ever used up by a failure.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Asks `condition` again and again until it holds.
///
/// # Panics
/// When it does not hold within [`PATIENCE`]; `what` says what was waited for.
pub async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    if tokio::time::timeout(PATIENCE, wait).await.is_err() {
        panic!("waited {PATIENCE:?} for: {what}");
    }
}

#[tokio::test]
async fn a_condition_that_comes_true_is_waited_for() {
    let mut asked = 0;
    eventually("three questions", async || {
        asked += 1;
        asked == 3
    })
    .await;
    assert_eq!(asked, 3);
}
