//! Decisions that gateways told of, as those read them whom they concern.

use std::{sync::Arc, time::Duration};

use control_api::internal::Plane;
use domain::{
    Decision, FleetName, RequestId,
    decision::{Freshness, Shown, Stage},
};
use link::log::ControlPlane;
use serde_json::Value;
use store::read::*;
use testkit::eventually;

use crate::support::{Answer, World, get, on_postgres};

pub(crate) fn refusal(request: u128, host: &str, tenant: Option<&str>, project: Option<&str>) -> Decision {
    let shown = |text: &str| Shown::cut(text, Shown::MAX_BYTES);
    Decision {
        request_id: RequestId::new(uuid::Uuid::from_u128(request)),
        at: domain::Timestamp::from_secs(1_900_000_000),
        project_id: project.map(|id| id.parse().unwrap()),
        tenant_id: tenant.map(|id| id.parse().unwrap()),
        code: shown("credential_missing"),
        status: Some(401),
        reason: Some(shown("a credential is needed")),
        stopped_at: Some(Stage::Credential),
        method: shown("GET"),
        host: Some(shown(host)),
        path: Some(shown("/orders")),
        route: None,
        credential: None,
        principal: None,
        product: None,
        permission: None,
        freshness: Freshness { revision: 7, applied_seq: 3, proven: true, proof_age_ms: Some(12) },
    }
}

fn path(request: u128) -> String {
    format!("/v1/decisions/{}", uuid::Uuid::from_u128(request))
}

/// Two tenants, with what the edge refused at each and at a hostname that nobody has.
struct Two {
    world: World,
    staff: String,
    acme: String,
    globex: String,
}

impl Two {
    async fn on(world: World) -> Self {
        let staff = world.staff().await;
        let (acme, globex) = (world.tenant(&staff, "acme").await, world.tenant(&staff, "globex").await);
        let mut told = vec![refusal(3, "nobody.localhost", None, None)];
        for (request, slug, tenant) in [(1, "acme", &acme), (2, "globex", &globex)] {
            world.user(&staff, tenant, &format!("{slug}-admin"), &["admin"]).await;
            let known = get(&format!("/v1/tenants/{tenant}")).bearer(&staff).send(&world.admin).await.expect(200);
            let project = known.text("project_id");
            told.push(refusal(request, &format!("{slug}.localhost"), Some(tenant), Some(&project)));
        }
        let fleet = FleetName::default();
        Plane::of_fleet(Arc::clone(&world.app.hub), fleet).record(told).await.unwrap();
        Self { world, staff, acme, globex }
    }

    async fn read(&self, token: &str, path: &str) -> Answer {
        get(path).bearer(token).send(&self.world.admin).await
    }
}

async fn a_tenants_admin_reads_its_own_and_of_others_nothing(world: World) {
    let two = Two::on(world).await;
    let admin = two.world.login("acme", "acme-admin").await;
    let own = two.read(&admin, &path(1)).await.expect(200);
    assert_eq!((&own.body["gateway"], &own.body["fleet"]), (&Value::from("local"), &Value::from("default")));
    let decision = &own.body["decision"];
    assert_eq!(
        (&decision["code"], &decision["stopped_at"]),
        (&Value::from("credential_missing"), &Value::from("credential"))
    );
    assert_eq!(decision["tenant_id"], Value::from(two.acme.as_str()));
    let unknown = two.read(&admin, &path(4)).await;
    for foreign in [path(2), path(3), "/v1/decisions/no-id".into()] {
        let answer = two.read(&admin, &foreign).await.refused(404, "not_found");
        for part in ["type", "title", "status", "code"] {
            assert_eq!(answer.body[part], unknown.body[part], "{foreign} is as if it were not there");
        }
    }
    assert_eq!(two.read(&admin, &path(2)).await.body["detail"], unknown.body["detail"]);
    let named = format!("{}?tenant_id={}", path(2), two.globex);
    two.read(&admin, &named).await.refused(404, "not_found");

    for (name, roles, status) in [("auditor", "auditor", 200), ("member", "member", 403)] {
        two.world.user(&two.staff, &two.acme, name, &[roles]).await;
        let token = two.world.login("acme", name).await;
        two.read(&token, &path(1)).await.expect(status);
    }
    for request in [1, 2, 3] {
        two.read(&two.staff, &path(request)).await.expect(200);
    }
    two.read(&two.staff, &path(4)).await.refused(404, "not_found");
    two.read(&two.staff, &format!("{}?tenant_id={}", path(2), two.acme)).await.refused(404, "not_found");
    get(&path(1)).send(&two.world.admin).await.refused(401, "credential_missing");
}

#[tokio::test]
async fn a_tenants_admin_reads_its_own_and_of_others_nothing_on_sqlite() {
    a_tenants_admin_reads_its_own_and_of_others_nothing(World::new().await).await;
}

#[tokio::test]
async fn a_tenants_admin_reads_its_own_and_of_others_nothing_on_postgresql() {
    on_postgres(a_tenants_admin_reads_its_own_and_of_others_nothing).await;
}

#[tokio::test]
async fn a_gateway_of_another_fleet_tells_nothing_of_ours() {
    let two = Two::on(World::new().await).await;
    let known = two.world.app.store.decision(RequestId::new(uuid::Uuid::from_u128(1))).await.unwrap().unwrap();
    let forged = Decision { request_id: RequestId::new(uuid::Uuid::from_u128(9)), ..known.decision };
    let abroad = Plane::of_fleet(Arc::clone(&two.world.app.hub), "eu-1".parse().unwrap());
    abroad.record(vec![forged.clone()]).await.unwrap();
    two.read(&two.staff, &path(9)).await.refused(404, "not_found");
    let many = abroad.record(vec![forged; 257]).await;
    assert!(many.is_err(), "{many:?}");
}

#[tokio::test]
async fn what_is_too_old_is_forgotten_by_the_jobs() {
    let mut config = control_api::Config::default();
    config.decisions.sweep = "1s".parse().unwrap();
    let two = Two::on(World::with(config).await).await;
    two.world.clock.advance(Duration::from_secs(86_401));
    let app = &two.world.app;
    let jobs = tokio::spawn(Arc::clone(&app.hub).run_jobs(app.config.log.clone(), app.config.decisions.clone()));
    let first = RequestId::new(uuid::Uuid::from_u128(1));
    eventually("it is forgotten", async || app.store.decision(first).await.unwrap().is_none()).await;
    jobs.abort();
}
