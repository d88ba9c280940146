//! Tells the rest of the fleet what this gateway let through, beside the requests: see [`gate::share`].

use std::{sync::Arc, time::Duration};

use domain::{BootInstant, Clock};
use gate::{Gate, share::Untold};
use link::shared_limits::{Cost, SharedLimits};
use tokio::time::sleep;

use crate::metrics::Metrics;

/// How often the fleet is told at the latest.
const EVERY: Duration = Duration::from_millis(500);

/// How often it is looked whether it has to be told sooner.
const LOOK: Duration = Duration::from_millis(25);

/// One gateway's exchange with its fleet.
pub(crate) struct LimitExchange {
    pub(crate) gate: Arc<Gate>,
    pub(crate) limits: SharedLimits,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: Arc<Metrics>,
}

impl LimitExchange {
    /// Goes on for as long as the edge.
    pub(crate) async fn run(self) {
        let mut answered = true;
        loop {
            let asked = self.clock.boot_now();
            match (self.exchange(asked).await, answered) {
                (Ok(()), _) => answered = true,
                (Err(error), true) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "limits are not shared: this gateway keeps to its part"
                    );
                    self.metrics.limit_gateways.set(0);
                    answered = false;
                }
                (Err(_), false) => {}
            }
            while self.clock.boot_now().since(asked) < EVERY && !self.gate.share().is_pressing() {
                sleep(LOOK).await;
            }
        }
    }

    async fn exchange(&self, asked: BootInstant) -> Result<(), link::LinkError> {
        let share = self.gate.share();
        let untold = share.take_untold();
        let gateways = share.gateways();
        let cost = |it: &Untold| Cost { bucket: it.key.to_string(), cost: it.cost(), most: it.most(gateways) };
        let costs: Vec<Cost> = untold.iter().map(cost).collect();
        match self.limits.count(&costs).await {
            Ok(counted) => {
                let now = self.clock.boot_now();
                for (it, owed) in untold.into_iter().zip(counted.owed) {
                    share.told(it, owed, now);
                }
                share.heard(counted.gateways, asked);
                self.metrics.limit_gateways.set(counted.gateways.into());
                Ok(())
            }
            Err(error) => {
                share.not_told(untold);
                Err(error)
            }
        }
    }
}
