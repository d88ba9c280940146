//! Two replicas of the control API and some gateways over one database and one Redis, each a process of its own.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use reqwest::{Client, Method};
use serde_json::{Value, json};
use testkit::eventually;

use super::{prober::Recorder, proxy::Proxy, redis::Redis};
use crate::{
    installation::{Installation, Replica, apply},
    process::{Process, free_port},
    staff::{Admin, PASSWORD},
    world::{HOST, World, listen},
};

/// See the module's documentation.
pub(crate) struct Cluster<'w> {
    world: &'w World,
    pub(crate) recorder: Recorder,
    pub(crate) redis: Redis,
    /// What all processes take for Redis.
    pub(crate) proxy: Proxy,
    installation: Installation<'w>,
    /// The replica that the gateways follow, and its process unless it was killed.
    followed: (Replica, Option<Process>),
    /// The replica that staff talk to.
    staffed: (Replica, Process),
    pub(crate) gateways: Vec<Process>,
    /// The configuration file of each gateway.
    configs: Vec<String>,
    /// Where each gateway is, and a client of its own.
    pub(crate) edges: Vec<(SocketAddr, Client)>,
    /// The path of ann's revocation.
    revoke: String,
}

/// What edge tests share, with a recorder where the canary would be.
pub(crate) async fn world() -> (World, Recorder) {
    let recorder = Recorder::start().await;
    let mut world = World::new().await;
    world.upstream = recorder.address;
    world.edge_file("");
    (world, recorder)
}

impl<'w> Cluster<'w> {
    /// Starts everything, and waits until every gateway serves.
    pub(crate) async fn start(world: &'w World, recorder: Recorder, gateways: usize) -> Self {
        let redis = Redis::start(world.folder.path()).await;
        let proxy = Proxy::to(redis.address).await;
        let installation = Installation::new(world, format!("redis://{}/9", proxy.address())).await;
        let (followed, staffed) = (installation.replica("control-api-1"), installation.replica("control-api-2"));
        let edges: Vec<SocketAddr> =
            std::iter::once(world.https).chain(std::iter::repeat_with(free_port)).take(gateways).collect();
        let configs: Vec<String> = edges
            .iter()
            .zip(1..)
            .map(|(https, number)| {
                let name = format!("edge-{number}");
                let listen = listen(*https, free_port());
                let handover = format!("handover: {{ socket: {name}.sock }}\nshutdown_notice: 8s");
                installation.enroll(&followed, &name, followed.internal, &format!("{listen}\n{handover}"))
            })
            .collect();
        let (first, second) = (installation.start(&followed), installation.start(&staffed));
        let staff = Admin::sign_in(staffed.admin).await;
        drop(Admin::sign_in(followed.admin).await);
        let gateways = configs.iter().map(|config| installation.start_gateway(config)).collect();
        apply(world, staffed.admin, &installation.password);
        for (https, number) in edges.iter().zip(1..) {
            let (client, url) = (world.client_at(*https), format!("https://{HOST}:{}/public/x", https.port()));
            eventually(&format!("gateway {number} serves"), async || {
                client.get(&url).send().await.is_ok_and(|answer| answer.status().is_success())
            })
            .await;
        }
        staff.complete(world).await;
        let tenant = staff.find("/v1/tenants", "slug", "acme").await["id"].as_str().unwrap().to_owned();
        let ann = staff.find(&format!("/v1/tenants/{tenant}/users"), "username", "ann").await;
        let revoke = format!("/v1/tenants/{tenant}/users/{}/logout", ann["id"].as_str().unwrap());
        let edges = edges.into_iter().map(|https| (https, world.client_at(https))).collect();
        let (followed, staffed) = ((followed, Some(first)), (staffed, second));
        Self { world, recorder, redis, proxy, installation, followed, staffed, gateways, configs, edges, revoke }
    }

    /// Signs ann in, through the first gateway.
    pub(crate) async fn sign_in(&self) -> String {
        let login = json!({ "username": "ann", "password": PASSWORD });
        let answer = self.world.call(Method::POST, "/api/v1/tenant/auth/login").json(&login).send().await.unwrap();
        let (status, body) = (answer.status(), answer.json::<Value>().await.unwrap());
        assert!(status.is_success(), "{status} {body}");
        body["access_token"].as_str().unwrap().to_owned()
    }

    /// Staff at the replica that is never killed.
    pub(crate) async fn staff(&self) -> Admin {
        Admin::sign_in(self.staffed.0.admin).await
    }

    /// The path that signs ann out everywhere.
    pub(crate) fn revoke(&self) -> &str {
        &self.revoke
    }

    /// Kills the replica that the gateways follow.
    pub(crate) fn kill_control_api(&mut self) {
        if let Some(process) = self.followed.1.take() {
            process.kill();
        }
    }

    /// Starts it again.
    pub(crate) async fn restart_control_api(&mut self) {
        let (replica, process) = &mut self.followed;
        *process = Some(self.installation.start(replica));
        let health = format!("http://{}/healthz", replica.admin);
        eventually("the control API is back", async || {
            reqwest::get(&health).await.is_ok_and(|answer| answer.status().is_success())
        })
        .await;
    }

    /// Kills a gateway and starts it again.
    pub(crate) fn restart_gateway(&mut self, index: usize) {
        self.gateways.remove(index).kill();
        self.gateways.insert(index, self.installation.start_gateway(&self.configs[index]));
    }

    /// Starts a process that takes the place of a gateway; the one that was there.
    pub(crate) fn take_over(&mut self, index: usize) -> Process {
        std::mem::replace(&mut self.gateways[index], self.installation.take_over(&self.configs[index]))
    }

    /// Ends both replicas and puts a backup in the database's place, as `docs/revocation.md` says. What the command for
    /// that answered.
    pub(crate) async fn restore(&mut self, backup: &Path) -> Value {
        self.kill_control_api();
        self.staffed.1.signal("KILL");
        eventually("both replicas have ended", async || self.staffed.1.has_ended()).await;
        self.installation.database.restore(backup).await;
        let said = self.installation.command(&self.staffed.0, &["log", "new-history"]);
        self.staffed.1 = self.installation.start(&self.staffed.0);
        self.restart_control_api().await;
        serde_json::from_str(&said).unwrap()
    }

    /// What is in the database, in a file.
    pub(crate) fn backup(&self) -> PathBuf {
        let file = self.world.folder.path().join("backup.dump");
        self.installation.database.dump(&file);
        file
    }

    /// Where staff sign in at the replica that the gateways follow.
    pub(crate) const fn followed(&self) -> SocketAddr {
        self.followed.0.admin
    }

    /// Ends everything.
    pub(crate) async fn end(self) {
        let Self { installation, gateways, followed, staffed, .. } = self;
        drop((gateways, followed, staffed));
        installation.database.drop().await;
    }
}
