//! What goes on beside requests: the feed, the log, the copy on disk, the metrics listener.

use std::{path::Path, sync::Arc, time::Duration};

use authn::Lease;
use domain::{BootInstant, Clock};
use link::{
    log::{ControlPlane, FactCarrier, FollowerSettings, GatewayStatus, LogFollower},
    redis_record::RedisRecord,
};
use tokio::{
    runtime::Handle,
    sync::{mpsc, watch},
    time::{sleep, timeout},
};

use super::{
    EdgeError, identity,
    stage::{Stage, while_serving},
};
use crate::{
    config::GatewayConfig,
    feed::{
        Applier,
        control_api::ControlApiFeed,
        disk::{Disk, Kept},
        file::{self, FileFeed},
    },
    handover::{HandoverError, Inherited},
    listen::Bound,
    permissions::Permissions,
    record::RecordFollower,
    status::{self, Status},
};

/// How long a control plane may take before the state on disk is used instead.
const BEFORE_DISK: Duration = Duration::from_secs(2);

/// A changed state is kept on disk this long after the change, with those that follow it.
const BEFORE_SAVE: Duration = Duration::from_secs(2);

/// How often it is kept when the state was confirmed and freshness proven.
const SEEN: Duration = Duration::from_secs(5);

/// How often a process that takes over looks whether it may.
const FIT_STEP: Duration = Duration::from_millis(10);

/// How often refusals of expired tokens are forgotten.
const FORGET: Duration = Duration::from_secs(60);

/// Starts the tasks of an edge.
pub(super) struct Tasks<'e> {
    pub(super) config: &'e GatewayConfig,
    pub(super) applier: &'e Arc<Applier>,
    pub(super) clock: &'e Arc<dyn Clock>,
    pub(super) permissions: &'e Arc<Permissions>,
    pub(super) stage: watch::Receiver<Stage>,
    /// What the process has applied whose place this one takes.
    pub(super) beside: Option<watch::Receiver<Option<GatewayStatus>>>,
}

impl Tasks<'_> {
    /// Serves the metrics listener.
    pub(super) fn status(
        &self,
        on: &Handle,
        bound: Bound,
        revocations: bool,
        record: Option<RedisRecord>,
        leaving: watch::Receiver<bool>,
    ) -> Result<(), EdgeError> {
        let status = Arc::new(Status {
            applier: Arc::clone(self.applier),
            metrics: Arc::clone(&self.permissions.metrics),
            clock: Arc::clone(self.clock),
            revocations,
            record,
            leaving,
        });
        let _context = on.enter();
        for socket in bound.into_sockets() {
            on.spawn(Arc::clone(&status).serve(status::listener(socket)?, self.stage.clone()));
        }
        Ok(())
    }

    /// Follows a control plane: feed, log, copy on disk.
    pub(super) async fn control_plane(
        &self,
        on: &Handle,
        plane: Arc<dyn ControlPlane>,
        carrier: Arc<dyn FactCarrier>,
    ) -> Result<(), EdgeError> {
        let disk = self.config.data_dir.as_deref().map(Disk::open).transpose()?.map(Arc::new);
        let follower = LogFollower::new(
            Arc::clone(&self.permissions.mirror),
            Arc::clone(&plane),
            carrier,
            Arc::clone(self.clock),
            self.applier.version(),
            identity(self.config),
            FollowerSettings::default(),
        );
        let follower = Arc::new(match &self.beside {
            Some(other) => follower.beside(other.clone()),
            None => follower,
        });
        // Set once, here: an edge has one log.
        drop(self.permissions.follower.set(Arc::clone(&follower)));
        on.spawn(async move { follower.run().await });

        let feed = on.spawn(ControlApiFeed::new(Arc::clone(&plane), Arc::clone(self.applier), None).run());
        if let Some(disk) = disk {
            if timeout(BEFORE_DISK, self.applier.loaded()).await.is_err() && self.serve_from_disk(&disk) {
                // What is held now need not be sent again.
                feed.abort();
                let held = Some(*self.applier.version().borrow());
                on.spawn(ControlApiFeed::new(plane, Arc::clone(self.applier), held).run());
            }
            let saving = save_changes(Arc::clone(self.applier), Arc::clone(&disk));
            on.spawn(while_serving(self.stage.clone(), saving));
            let saving = save_seen(Arc::clone(self.applier), disk, Arc::clone(self.clock));
            on.spawn(while_serving(self.stage.clone(), saving));
        }
        let (applier, max_age) = (Arc::clone(self.applier), self.config.snapshot.max_age.get());
        on.spawn(async move { applier.expire(max_age).await });
        let (mirror, clock) = (Arc::clone(&self.permissions.mirror), Arc::clone(self.clock));
        on.spawn(async move {
            loop {
                sleep(FORGET).await;
                mirror.forget_expired(clock.unix_now());
            }
        });
        Ok(())
    }

    /// Follows the record of revocations. Where there is none, nothing can become unproven.
    pub(super) fn revocations(&self, on: &Handle, record: Option<RedisRecord>) {
        let (mirror, clock) = (Arc::clone(&self.permissions.mirror), Arc::clone(self.clock));
        match record {
            Some(record) => drop(on.spawn(RecordFollower::new(record, mirror, clock).run())),
            None => {
                tracing::warn!("there is no revocation list: tokens are good until they expire");
                mirror.grant(clock.boot_now(), BootInstant::from_nanos(u64::MAX));
            }
        }
    }

    /// Reads a declarative file now and whenever it changes.
    pub(super) fn file(
        &self,
        on: &Handle,
        path: &Path,
        changed: mpsc::Sender<()>,
        changes: mpsc::Receiver<()>,
    ) -> Result<(), EdgeError> {
        let feed = FileFeed::start(path, Arc::clone(self.applier))?;
        let watcher = file::watch(path, changed)?;
        on.spawn(async move {
            feed.run(changes).await;
            drop(watcher);
        });
        Ok(())
    }

    /// Waits until this process would refuse nothing that the one whose place it takes would serve.
    pub(super) async fn fit_to_take_over(&self, inherited: &Inherited) -> Result<(), HandoverError> {
        let mirror = &self.permissions.mirror;
        let proven = || matches!(mirror.lease(self.clock.boot_now()), Lease::Proven { .. });
        let fit = async {
            self.applier.loaded().await;
            while inherited.proven && !proven() {
                sleep(FIT_STEP).await;
            }
        };
        match timeout(self.config.snapshot.wait.get(), fit).await {
            Ok(()) => Ok(()),
            Err(_) if self.applier.age().is_none() => Err(HandoverError::NotReady("there is no snapshot")),
            Err(_) => Err(HandoverError::NotReady("freshness of revocations cannot be proven")),
        }
    }

    /// Takes the state on disk into force, if there is one and it is young enough.
    fn serve_from_disk(&self, disk: &Disk) -> bool {
        match disk.load(self.config.snapshot.max_age.get(), &**self.clock) {
            Ok(Some(Kept { changes, version, confirmed_ago, proven_at })) => {
                self.applier.replace(changes, version);
                self.applier.confirmed_before(confirmed_ago);
                if let Some(proven_at) = proven_at {
                    self.permissions.mirror.remember_proof(proven_at);
                }
                tracing::warn!(
                    snapshot.revision = version.revision,
                    snapshot.age_s = confirmed_ago.as_secs(),
                    "the control API does not answer; serving the state on disk"
                );
                true
            }
            Ok(None) => false,
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "the state on disk is not used");
                false
            }
        }
    }
}

async fn save_changes(applier: Arc<Applier>, disk: Arc<Disk>) {
    let mut version = applier.version();
    // The first state may be in force already.
    version.mark_changed();
    applier.loaded().await;
    while version.changed().await.is_ok() {
        sleep(BEFORE_SAVE).await;
        // The version first: a change between the two is in the entities, and is sent again.
        let version = *version.borrow_and_update();
        let (gate, disk) = (Arc::clone(applier.gate()), Arc::clone(&disk));
        let saved = tokio::task::spawn_blocking(move || disk.save(gate.snapshot().entities(), version));
        match saved.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(error = &error as &dyn std::error::Error, "the state is not on disk"),
            Err(error) => tracing::error!(%error, "the state is not on disk"),
        }
    }
}

async fn save_seen(applier: Arc<Applier>, disk: Arc<Disk>, clock: Arc<dyn Clock>) {
    applier.loaded().await;
    loop {
        if let Some(age) = applier.age() {
            let proven_at = applier.gate().mirror().last_proven();
            let saved = disk.save_seen(clock.unix_now() - age, proven_at);
            if let Err(error) = saved {
                tracing::error!(error = &error as &dyn std::error::Error, "when the state was seen is not on disk");
            }
        }
        sleep(SEEN).await;
    }
}
