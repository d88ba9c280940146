//! A control API that asks a real name server.

use std::time::Duration;

use control_api::{App, Config, reproof};
use domain::HumanDuration;
use serde_json::{Value, json};
use store::read::*;
use testkit::DnsServer;

use crate::support::{Answer, World, call, get, post};

pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// A control API, a name server, and tenants of the shared project with an administrator each.
pub(crate) struct Names {
    pub(crate) world: World,
    pub(crate) dns: DnsServer,
    pub(crate) staff: String,
}

impl Names {
    pub(crate) async fn new() -> Self {
        Self::with(|_| ()).await
    }

    pub(crate) async fn with(set: impl FnOnce(&mut Config)) -> Self {
        let dns = DnsServer::start().await;
        let mut config = Config::default();
        config.dns.resolvers = vec![dns.address()];
        config.dns.timeout = HumanDuration::from_millis(500);
        config.dns.attempts = 1;
        set(&mut config);
        let world = World::with(config).await;
        let staff = world.staff().await;
        Self { world, dns, staff }
    }

    pub(crate) fn app(&self) -> &App {
        &self.world.app
    }

    /// A dedicated tenant and its administrator's token.
    pub(crate) async fn tenant(&self, slug: &str) -> (String, String) {
        let tenant = self.world.tenant(&self.staff, slug).await;
        self.world.user(&self.staff, &tenant, &format!("{slug}-admin"), &["owner"]).await;
        let token = self.world.login(slug, &format!("{slug}-admin")).await;
        (tenant, token)
    }

    // Each step is a moment later, so that the trail has an order.

    pub(crate) async fn claim(&self, token: &str, name: &str) -> Answer {
        self.world.clock.advance(SECOND);
        post("/v1/hostnames", &json!({ "hostname": name })).bearer(token).send(&self.world.admin).await
    }

    pub(crate) async fn verify(&self, token: &str, id: &str) -> Answer {
        self.world.clock.advance(SECOND);
        call("POST", &format!("/v1/hostnames/{id}/verify")).bearer(token).send(&self.world.admin).await
    }

    pub(crate) async fn delete(&self, token: &str, path: &str) -> Answer {
        self.world.clock.advance(SECOND);
        call("DELETE", path).bearer(token).send(&self.world.admin).await
    }

    /// As staff sees it, however late it is.
    pub(crate) async fn read(&self, id: &str) -> Answer {
        let staff = self.world.staff().await;
        get(&format!("/v1/hostnames/{id}")).bearer(&staff).send(&self.world.admin).await.expect(200)
    }

    /// Looks again for what is due by then; how many looks that were.
    pub(crate) async fn pass(&self, time: Duration) -> usize {
        self.world.clock.advance(time);
        let due = self.app().store.due_proofs(self.app().now(), 100).await.unwrap();
        let mut looks = 0;
        for seen in due {
            looks += usize::from(reproof::look_again(self.app(), &seen).await.unwrap());
        }
        looks
    }

    /// What the audit trail says, oldest first, of things of this kind.
    pub(crate) async fn trail(&self, kind: &str) -> Vec<String> {
        let staff = self.world.staff().await;
        let page = get("/v1/audit?limit=500").bearer(&staff).send(&self.world.admin).await.expect(200);
        let mut actions: Vec<String> = page.body["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|event| event["action"].as_str().unwrap().to_owned())
            .filter(|action| action.starts_with(kind))
            .collect();
        actions.reverse();
        actions
    }
}

/// The record that proves a claim.
pub(crate) fn record(claim: &Answer) -> String {
    let proof = &claim.body["proof"];
    format!("{}. 1 TXT \"{}\"", proof["record"].as_str().unwrap(), proof["value"].as_str().unwrap())
}

/// State and failure of a hostname or domain.
pub(crate) fn state(answer: &Answer) -> (&str, Option<&str>) {
    let state = &answer.body["verify_state"];
    let state = if state.is_null() { &answer.body["state"] } else { state };
    (state.as_str().unwrap(), answer.body["proof"]["failure"].as_str())
}

pub(crate) fn names_of(list: &Answer) -> Vec<&str> {
    let items = list.body["items"].as_array().unwrap();
    items.iter().map(|item: &Value| item["hostname"].as_str().unwrap()).collect()
}
