//! Loops of what is looked after by itself. Each looks what is due; that one of several replicas does it, rows in the database
//! decide, not these.

use std::{sync::Arc, time::Duration};

use tokio::{sync::Semaphore, task::JoinSet, time::MissedTickBehavior};

use crate::{error::AppError, problem};

/// Looks every `pause`, at once at first, for as long as it is polled. A look that fails is logged as `failed` and keeps none
/// after it from being taken.
pub(crate) async fn every<F>(pause: Duration, failed: &'static str, mut look: impl FnMut() -> F)
where
    F: Future<Output = Result<(), AppError>>,
{
    let mut due = tokio::time::interval(pause);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        due.tick().await;
        if let Err(error) = look().await {
            tracing::error!(error = problem::chain(&error), "{failed}");
        }
    }
}

/// Looks every `pause` for as many things as there are places free of `at_once`, and does each beside the others, for as long
/// as it is polled. Dropped, it drops what is under way: what was claimed is due again when the claim has run out.
pub(crate) async fn each<T, L, D>(
    (pause, at_once): (Duration, usize),
    failed: &'static str,
    mut due: impl FnMut(u32) -> L,
    act: impl Fn(T) -> D,
) where
    L: Future<Output = Result<Vec<T>, AppError>>,
    D: Future<Output = ()> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(at_once));
    let mut look = tokio::time::interval(pause);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut under_way = JoinSet::new();
    loop {
        look.tick().await;
        while under_way.try_join_next().is_some() {}
        let free = u32::try_from(places.available_permits()).unwrap_or(u32::MAX);
        if free == 0 {
            continue;
        }
        let found = match due(free).await {
            Ok(found) => found,
            Err(error) => {
                tracing::error!(error = problem::chain(&error), "{failed}");
                continue;
            }
        };
        for thing in found {
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else { break };
            let doing = act(thing);
            under_way.spawn(async move {
                doing.await;
                drop(place);
            });
        }
    }
}
