//! Limits and quotas of a tenant over two gateways and a Redis of their own, as processes: what `docs/limits.md` says of
//! both, and of a Redis that goes away and comes back.

use std::{net::SocketAddr, time::Duration};

use reqwest::{Client, RequestBuilder, Response};
use serde_json::Value;
use testkit::eventually;
use tokio::time::Instant;

use crate::{
    probing::redis::Redis,
    process::{Process, free_port},
    world::{HOST, ISSUERS, World, listen},
};

/// A gateway that reads the world's file.
struct Gateway {
    https: SocketAddr,
    metrics: SocketAddr,
    config: String,
    client: Client,
    process: Process,
}

struct Fleet {
    world: World,
    redis: Redis,
    gateways: Vec<Gateway>,
    token: String,
}

impl Fleet {
    /// Two gateways; `acme` is as `more` says. They share limits.
    async fn start(more: &str) -> Self {
        let world = World::new().await;
        let file = std::fs::read_to_string(world.edge_file(ISSUERS)).unwrap();
        let acme = "project: acme, status: active }\n  - { slug: other";
        assert!(file.contains(acme));
        let file = file.replacen(acme, &acme.replacen("status: active", more, 1), 1);
        let file = file + "      - { path: /metered/**, access: authenticated, product: orders }\n";
        world.write("edge/edge.yaml", &file);
        world.write("cache.key", &"5a".repeat(32));
        let redis = Redis::start(world.folder.path()).await;
        let token = world.token("acme", &["clerk"]);
        let mut fleet = Self { world, redis, gateways: Vec::new(), token };
        for name in ["one", "two"] {
            let gateway = fleet.gateway(name);
            fleet.gateways.push(gateway);
        }
        fleet.serves().await;
        fleet.shares(2).await;
        fleet
    }

    fn gateway(&self, name: &str) -> Gateway {
        let (https, metrics) = (free_port(), free_port());
        let config = format!(
            "{}\nenvironment: dev\nfeed: {{ file: edge/edge.yaml }}\nlimits: {{ gateways: 2 }}\n\
             redis: {{ cache: \"redis://{}\", cache_key: \"file:{}\" }}\n",
            listen(https, metrics),
            self.redis.address,
            self.world.path("cache.key"),
        );
        let config = self.world.write(&format!("{name}.yaml"), &config);
        let process = Self::run(&self.world, &config);
        Gateway { https, metrics, client: self.world.client_at(https), config, process }
    }

    fn run(world: &World, config: &str) -> Process {
        Process::start("gateway", world.folder.path(), &["--config", config], &[])
    }

    fn restart(&mut self, at: usize) {
        let gateway = self.gateways.remove(at);
        gateway.process.terminate();
        let process = Self::run(&self.world, &gateway.config);
        self.gateways.insert(at, Gateway { process, ..gateway });
    }

    fn get(&self, at: usize, path: &str) -> RequestBuilder {
        let gateway = &self.gateways[at];
        gateway.client.get(format!("https://{HOST}:{}{path}", gateway.https.port())).bearer_auth(&self.token)
    }

    async fn serves(&self) {
        for at in 0..self.gateways.len() {
            eventually("the gateway serves", async || {
                self.get(at, "/public/x").send().await.is_ok_and(|answer| answer.status() == 200)
            })
            .await;
        }
    }

    /// Each shares its limits with so many, itself among them; with 0, none does.
    async fn shares(&self, with: u32) {
        for gateway in &self.gateways {
            let url = format!("http://{}/metrics", gateway.metrics);
            let line = format!("portcullis_gateway_limit_gateways {with}\n");
            eventually("the gateways know of each other", async || {
                let Ok(answer) = gateway.client.get(&url).send().await else { return false };
                answer.text().await.is_ok_and(|metrics| metrics.contains(&line))
            })
            .await;
        }
    }

    /// Asks both in turns for so long; how many requests were let through, and how long it took in the end.
    async fn flood(&self, path: &str, time: Duration) -> (usize, Duration) {
        let (began, mut through) = (Instant::now(), 0);
        while began.elapsed() < time {
            for at in 0..self.gateways.len() {
                through += usize::from(self.get(at, path).send().await.unwrap().status() == 200);
            }
        }
        (through, began.elapsed())
    }

    /// Asks both in turns until the quota is used up for each.
    async fn use_up(&self) -> usize {
        let mut through = 0;
        eventually("the quota is used up", async || {
            let mut used_up = 0;
            for at in 0..self.gateways.len() {
                let (status, code) = code(self.get(at, "/metered/x").send().await.unwrap()).await;
                match (status, code.as_str()) {
                    (200, _) => through += 1,
                    (429, "quota_exceeded") => used_up += 1,
                    // It has to tell first.
                    (429, "rate_limited") => {}
                    other => panic!("{other:?}"),
                }
            }
            used_up == self.gateways.len()
        })
        .await;
        through
    }
}

async fn code(answer: Response) -> (u16, String) {
    let status = answer.status().as_u16();
    let body: Value = answer.json().await.unwrap_or_default();
    (status, body["code"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn a_quota_holds_over_two_gateways_their_restart_and_a_redis_that_forgets() {
    let mut fleet =
        Fleet::start("status: active, products: { orders: null }, quotas: { orders: { per_day: 40 } }").await;
    let through = fleet.use_up().await;
    // Two gateways, each ahead by a twentieth at most.
    assert!((40..40 + 2 * 2).contains(&through), "{through} of 40");
    let refused = fleet.get(0, "/metered/x").send().await.unwrap();
    let wait: u64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    let told = refused.headers()["ratelimit"].to_str().unwrap().to_owned();
    assert!((1..=86_400).contains(&wait) && told.starts_with("\"quota-day\";r=0;t="), "{wait} {told}");
    assert_eq!(refused.headers()["ratelimit-policy"], "\"quota-day\";q=40;w=86400");
    assert_eq!(fleet.get(0, "/echo/x").send().await.unwrap().status(), 200, "a route without the product");

    // A gateway that starts is told by Redis before it serves.
    fleet.restart(1);
    fleet.serves().await;
    assert_eq!(code(fleet.get(1, "/metered/x").send().await.unwrap()).await, (429, "quota_exceeded".into()));

    // Redis loses everything: who runs knows, tells it again, and who starts then is told.
    fleet.redis.restart(&[]).await;
    fleet.shares(2).await;
    for at in 0..2 {
        assert_eq!(code(fleet.get(at, "/metered/x").send().await.unwrap()).await, (429, "quota_exceeded".into()));
    }
    fleet.redis.kill();
    fleet.shares(0).await;
    for at in 0..2 {
        assert_eq!(code(fleet.get(at, "/metered/x").send().await.unwrap()).await, (429, "quota_exceeded".into()));
    }
}

#[tokio::test]
async fn a_rate_holds_over_two_gateways_with_redis_without_it_and_with_it_again() {
    let (rps, burst) = (5, 20);
    let mut fleet = Fleet::start(&format!("status: active, rate_limit: {{ rps: {rps}, burst: {burst} }}")).await;
    let time = Duration::from_secs(3);
    let at_most = |took: Duration, bursts: u32| f64::from(rps) * took.as_secs_f64() + f64::from(burst * bursts);
    let slack = burst.div_ceil(2);
    let (through, took) = fleet.flood("/echo/x", time).await;
    let bound = at_most(took, 1) + f64::from(2 * slack);
    assert!(through as f64 <= bound, "{through} in {took:?}, at most {bound}");
    assert!(through >= usize::try_from(burst).unwrap(), "{through}: at least the burst");

    // Each keeps to its part; what was owed may be forgotten once.
    fleet.redis.kill();
    fleet.shares(0).await;
    let (through, took) = fleet.flood("/echo/x", time).await;
    let bound = at_most(took, 2);
    assert!(through as f64 <= bound, "alone: {through} in {took:?}, at most {bound}");
    assert!(through > 0);

    fleet.redis.restart(&[]).await;
    fleet.shares(2).await;
    let (through, took) = fleet.flood("/echo/x", time).await;
    let bound = at_most(took, 2) + f64::from(2 * slack);
    assert!(through as f64 <= bound, "again: {through} in {took:?}, at most {bound}");
    assert!(through > 0);
}
