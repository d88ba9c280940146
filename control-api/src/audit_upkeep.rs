//! What becomes of the audit trail by itself: personal data that was asked to be erased, and events that are old enough; and
//! that whoever keeps logs can tell whether all of it is still there. Any replica may; of several that do it at once, one does
//! each row.

use std::time::Duration;

use authz::Scope;
use aws_lc_rs::digest::{Context, SHA256};
use store::StoreError;
use tokio::time::MissedTickBehavior;

use crate::{App, error::AppError, upkeep::every};

/// How often it is looked whether something is to be erased.
const LOOK: Duration = Duration::from_secs(2);

/// How often it is looked whether it is time for the heads.
const HEADS_LOOK: Duration = Duration::from_secs(60);

/// Lines of heads, and the pause behind so many: what else is logged has its room.
const PACE: (usize, Duration) = (200, Duration::from_millis(100));

/// Looks after the trail for as long as it is polled.
pub(crate) async fn run(app: App) {
    let app = &app;
    tokio::join!(
        every(LOOK, "personal data was not taken out of the audit trail", || async move { erase(app).await }),
        every(HEADS_LOOK, "the heads of the audit chains were not logged", || async move {
            if is_time_for_heads(app).await? {
                log_heads(app).await?;
            }
            Ok(())
        }),
        cutting(app),
    );
}

async fn cutting(app: &App) {
    if app.config.audit.keep.is_none() {
        return;
    }
    let sweep = app.config.audit.sweep.get();
    every(sweep, "old events were not removed from the audit trail", || async move { cut(app).await.map(drop) }).await;
}

/// Whether it is this replica's turn to log the heads.
///
/// # Errors
/// Of the database.
pub async fn is_time_for_heads(app: &App) -> Result<bool, AppError> {
    let pause = app.config.audit.heads.get();
    let turn = app
        .store
        .write_session(Scope::Platform, app.now(), |tx| async move { tx.take_turn("audit_heads", pause).await });
    turn.await.map_err(|error: StoreError| error.into())
}

/// The heads of all chains, as one: how many there are, and hex SHA-256 over a line `CHAIN SEQ:HASH` for each, in the order
/// of their names.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Heads {
    /// Chains.
    pub chains: usize,
    /// Digest over their heads.
    pub digest: String,
}

/// Writes the head of each chain to the log, and of all of them as one.
///
/// # Errors
/// Of the database.
pub async fn log_heads(app: &App) -> Result<Heads, AppError> {
    let (lines, pause) = PACE;
    let mut pace = tokio::time::interval(pause);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut after, mut chains, mut digest) = (String::new(), 0, Context::new(&SHA256));
    loop {
        let heads = app.store.chain_heads(&after).await?;
        let Some((last, ..)) = heads.last() else { break };
        after.clone_from(last);
        for (chain, seq, hash) in heads {
            if chains % lines == 0 {
                pace.tick().await;
            }
            chains += 1;
            digest.update(format!("{chain} {seq}:{hash}\n").as_bytes());
            tracing::info!(audit.chain = chain, audit.head = format!("{seq}:{hash}"), "the head of an audit chain");
        }
    }
    let digest: String = digest.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    tracing::info!(audit.chains = chains, audit.digest = digest, "the heads of all audit chains");
    Ok(Heads { chains, digest })
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
