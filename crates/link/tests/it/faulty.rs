//! A transport that loses, repeats, reorders, delays and cuts, as a seed decides.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use domain::{
    NumberedFact, Position, SnapshotVersion, TenantId, UserId,
    fact::{Bindings, Proof},
};
use futures::{StreamExt, stream, stream::BoxStream};
use link::{
    LinkError,
    log::{ControlPlane, FactCarrier, FeedMessage, GatewayIdentity, GatewayStatus, Hint, LiveFacts},
};

/// Between a gateway and everything it talks to.
#[derive(Clone)]
pub(crate) struct FaultyTransport<T: ?Sized> {
    dice: Dice,
    inner: Arc<T>,
}

impl<T: ?Sized> FaultyTransport<T> {
    /// The same seed makes the same mistakes, in the order in which they are asked for.
    pub(crate) fn new(inner: Arc<T>, seed: u64) -> Self {
        Self { dice: Dice(Arc::new(Mutex::new(seed))), inner }
    }
}

/// SplitMix64: enough for deciding what breaks.
#[derive(Clone)]
struct Dice(Arc<Mutex<u64>>);

impl Dice {
    fn roll(&self, sides: u64) -> u64 {
        let mut state = self.0.lock().unwrap();
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = *state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }

    /// One call in five is cut before it arrives, one in ten after it was answered; some take a while.
    async fn call<T>(&self, call: impl Future<Output = Result<T, LinkError>>) -> Result<T, LinkError> {
        let cut = || Err(LinkError::unreachable("the control API", "cut by the test"));
        match self.roll(10) {
            0 | 1 => return cut(),
            2 => {
                drop(call.await);
                return cut();
            }
            3 | 4 => tokio::time::sleep(Duration::from_millis(self.roll(4))).await,
            _ => {}
        }
        call.await
    }
}

#[async_trait]
impl<T: ControlPlane + ?Sized> ControlPlane for FaultyTransport<T> {
    async fn prove(&self, at: Position, gateway: &GatewayIdentity) -> Result<Proof, LinkError> {
        self.dice.call(self.inner.prove(at, gateway)).await
    }
    async fn facts_after(&self, at: Position) -> Result<Vec<NumberedFact>, LinkError> {
        self.dice.call(self.inner.facts_after(at)).await
    }
    async fn live_facts(&self) -> Result<LiveFacts, LinkError> {
        self.dice.call(self.inner.live_facts()).await
    }
    async fn bindings(&self, tenant: TenantId, user: UserId) -> Result<Bindings, LinkError> {
        self.dice.call(self.inner.bindings(tenant, user)).await
    }
    async fn feed(
        &self,
        from: Option<SnapshotVersion>,
    ) -> Result<BoxStream<'static, Result<FeedMessage, LinkError>>, LinkError> {
        self.dice.call(self.inner.feed(from)).await
    }
    async fn report(&self, status: GatewayStatus) -> Result<(), LinkError> {
        self.dice.call(self.inner.report(status)).await
    }
}

#[async_trait]
impl<T: FactCarrier + ?Sized> FactCarrier for FaultyTransport<T> {
    fn subscribe(&self) -> BoxStream<'static, Hint> {
        let dice = self.dice.clone();
        let mut held: Vec<Hint> = Vec::new();
        let broken = self.inner.subscribe().flat_map(move |hint| {
            let mut out = Vec::new();
            match dice.roll(6) {
                0 => {}
                1 => held.push(hint),
                2 => out.extend([hint.clone(), hint]),
                3 => {
                    out.push(hint);
                    out.append(&mut held);
                }
                _ => out.push(hint),
            }
            stream::iter(out)
        });
        broken.boxed()
    }

    /// What cannot be published is lost; nobody is told.
    async fn publish(&self, hints: &[Hint]) -> Result<(), LinkError> {
        if self.dice.roll(5) == 0 { Ok(()) } else { self.inner.publish(hints).await }
    }
}
