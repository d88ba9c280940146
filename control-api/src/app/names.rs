//! Names that an older release wrote, folded while others are served, so that no start waits for them.

use std::time::Duration;

use authz::Scope;
use store::StoreError;
use tokio::time::MissedTickBehavior;

use crate::{App, error::AppError, upkeep::every};

/// How often it is looked whether there are any: a replica of an older release may write more.
const LOOK: Duration = Duration::from_secs(60);

/// How often all names are looked at from the beginning, by one replica.
const ANEW: Duration = Duration::from_secs(24 * 3600);

/// Pause between two batches: others write, too.
const PACE: Duration = Duration::from_millis(50);

/// Folds names for as long as it is polled.
pub(crate) async fn run(app: App) {
    let app = &app;
    every(LOOK, "names of an older release were not folded", || async move {
        let turn =
            app.store.write_session(Scope::Platform, app.now(), |tx| async move { tx.take_turn("names", ANEW).await });
        if turn.await.map_err(|error: StoreError| AppError::from(error))? {
            app.store.fold_anew().await?;
        }
        fold(app).await.map(drop)
    })
    .await;
}

/// Folds what is not folded; says of how many rows.
///
/// # Errors
/// Of the database. What was folded before stays.
pub async fn fold(app: &App) -> Result<usize, AppError> {
    let mut pace = tokio::time::interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut rows = 0;
    loop {
        pace.tick().await;
        match app.store.fold_names().await? {
            0 => break,
            some => rows += some,
        }
    }
    if rows > 0 {
        tracing::info!(names.rows = rows, "names of an older release were folded: lists find and sort by them");
    }
    Ok(rows)
}
