//! What becomes of the audit trail by itself: personal data that was asked to be erased, and events that are old enough. Any
//! replica may; of several that do it at once, one does each row.

use std::time::Duration;

use tokio::time::MissedTickBehavior;

use crate::{App, error::AppError, problem};

/// How often it is looked whether something is to be erased.
const LOOK: Duration = Duration::from_secs(2);

/// Looks after the trail for as long as it is polled.
pub(crate) async fn run(app: App) {
    tokio::join!(erasing(&app), cutting(&app));
}

async fn erasing(app: &App) {
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        look.tick().await;
        if let Err(error) = erase(app).await {
            tracing::error!(error = problem::chain(&error), "personal data was not taken out of the audit trail");
        }
    }
}

async fn cutting(app: &App) {
    if app.config.audit.keep.is_none() {
        return;
    }
    let mut sweep = tokio::time::interval(app.config.audit.sweep.get());
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        sweep.tick().await;
        if let Err(error) = cut(app).await {
            tracing::error!(error = problem::chain(&error), "old events were not removed from the audit trail");
        }
    }
}

/// Takes out what was asked to be erased, as far as it has joined its chain.
///
/// # Errors
/// Of the database.
pub async fn erase(app: &App) -> Result<(), AppError> {
    while app.store.erase_audit(app.now()).await? {}
    Ok(())
}

/// Removes events that are older than `audit.keep`; says how many.
///
/// # Errors
/// Of the database.
pub async fn cut(app: &App) -> Result<u64, AppError> {
    let Some(keep) = app.config.audit.keep else { return Ok(0) };
    let now = app.now();
    let removed = app.store.cut_audit(now, now - keep.get()).await?;
    if removed > 0 {
        tracing::info!(audit.removed = removed, "old events were removed from the audit trail");
    }
    Ok(removed)
}
