//! How tenants come to be, and what the directory of their people is told.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use control_api::{
    App, Config,
    provisioning::{self, Directory, DirectoryError},
};
use domain::{
    Clock,
    model::{ProvisioningStep, Tenant},
};
use futures::future::join_all;
use serde_json::{Value, json};
use store::read::*;

use crate::support::{World, call, get, on_postgres, post};

/// A customer that was identified.
async fn customer(world: &World, staff: &str, code: &str, tenancy: &str) -> String {
    let body = json!({ "code": code, "name": code, "tenancy": tenancy });
    let customer = post("/v1/customers", &body).bearer(staff).send(&world.admin).await.expect(201).id();
    let kyc = call("PUT", &format!("/v1/customers/{customer}/kyc")).json(&json!({ "status": "completed" }));
    kyc.bearer(staff).send(&world.admin).await.expect(200);
    customer
}

fn with_domain() -> Config {
    let mut config = Config::default();
    config.tenants.platform_domain = Some("apps.example".parse().unwrap());
    config
}

#[tokio::test]
async fn a_dedicated_tenant_is_made_whole_and_its_password_is_said_once() {
    let world = World::with(with_domain()).await;
    let staff = world.staff().await;
    let customer = customer(&world, &staff, "acme", "dedicated").await;
    let body = json!({
        "slug": "acme", "name": "Acme", "customer_id": customer, "admin_email": "ann@acme.example", "admin_name": "Ann Lee",
    });
    let ask = || {
        let ask = post("/v1/tenants?wait=applied", &body).bearer(&staff).header("idempotency-key", "once");
        ask.send(&world.admin)
    };
    let made = ask().await.expect(201);
    assert_eq!(made.headers["cache-control"], "no-store");
    ask().await.refused(409, "shown_once");
    assert_eq!(made.body["hostname"], "acme.apps.example");
    assert_eq!(made.body["status"], "trial");
    let password = made.body["admin"]["password"].as_str().unwrap().to_owned();
    assert_eq!(made.body["admin"]["username"], "admin");
    let trial = domain::Timestamp::from_millis(world.clock.unix_now().millis()) + Duration::from_secs(14 * 86_400);
    assert_eq!(made.body["trial_ends_at"], trial.to_string());

    let tenant = made.id();
    let again = get(&format!("/v1/tenants/{tenant}")).bearer(&staff).send(&world.admin).await.expect(200);
    assert!(!again.body.to_string().contains(&password));
    let found = get("/v1/hostnames").bearer(&staff).send(&world.admin).await.expect(200);
    let host = found.body["items"].as_array().unwrap().iter().find(|it| it["hostname"] == "acme.apps.example").unwrap();
    assert_eq!((&host["verify_state"], &host["is_primary"]), (&json!("verified"), &json!(true)));
    let project = get(&format!("/v1/projects/{}", made.text("project_id"))).bearer(&staff).send(&world.admin).await;
    assert_eq!(project.expect(200).body["issuer"], "https://acme.apps.example");

    let login = json!({ "username": "admin", "password": password });
    let login = post("/api/v1/tenant/auth/login", &login).host("acme.apps.example");
    login.send(&world.admin).await.refused(403, "password_change_required");
    let change = |old: &str, new: &str| {
        let body = json!({ "username": "admin", "password": old, "new_password": new });
        post("/v1/auth/password/complete", &body).host("acme.apps.example").send(&world.admin)
    };
    world.clock.advance(Duration::from_secs(7 * 86_400) - Duration::from_secs(1));
    let staff = world.staff().await;
    change("wrong", "Correct-horse-1").await.refused(401, "credentials_invalid");
    change(&password, "weak").await.refused(422, "validation_failed");
    change(&password, &password).await.refused(422, "validation_failed");
    let (one, other) = futures::join!(change(&password, "Correct-horse-1"), change(&password, "Correct-horse-2"));
    let mut statuses = [one.status.as_u16(), other.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [204, 401], "a one-time password is used once");
    let own = if one.status == 204 { "Correct-horse-1" } else { "Correct-horse-2" };
    change(own, "Correct-horse-3").await.refused(409, "password_change_not_due");
    let login = post("/api/v1/tenant/auth/login", &json!({ "username": "admin", "password": own }));
    login.host("acme.apps.example").send(&world.admin).await.expect(200);
    let users = get(&format!("/v1/tenants/{tenant}/users")).bearer(&staff).send(&world.admin).await.expect(200);
    let admin = &users.body["items"][0];
    assert_eq!((&admin["first_name"], &admin["must_change_password"]), (&json!("Ann"), &json!(false)));
    let events = get(&format!("/v1/audit?tenant_id={tenant}")).bearer(&staff).send(&world.admin).await.expect(200);
    assert!(!events.body.to_string().contains(&password));

    // One that nobody used in time is good for nothing.
    let body = json!({ "slug": "beta", "name": "Beta", "customer_id": customer, "admin_email": "bea@acme.example" });
    let made = post("/v1/tenants", &body).bearer(&staff).send(&world.admin).await.expect(201);
    world.clock.advance(Duration::from_secs(7 * 86_400));
    let late = json!({
        "username": "admin", "password": made.body["admin"]["password"], "new_password": "Correct-horse-1",
    });
    let late = post("/v1/auth/password/complete", &late).host("beta.apps.example").send(&world.admin).await;
    late.refused(409, "password_expired");
}

#[tokio::test]
async fn a_tenant_that_cannot_be_made_whole_is_not_made_at_all() {
    let world = World::with(with_domain()).await;
    let staff = world.staff().await;
    let acme = customer(&world, &staff, "acme", "dedicated").await;
    let wish = |slug: &str, email: &str| {
        let body = json!({ "slug": slug, "name": "Acme", "customer_id": acme, "admin_email": email });
        post("/v1/tenants", &body).bearer(&staff).send(&world.admin)
    };
    // Somebody has the hostname already: the last of what is made.
    let project = wish("first", "ann@acme.example").await.expect(201).text("project_id");
    let taken = json!({ "hostname": "acme.apps.example", "project_id": project, "kind": "platform" });
    post("/v1/hostnames", &taken).bearer(&staff).send(&world.admin).await.expect(201);
    wish("acme", "ann@acme.example").await.refused(409, "already_exists");
    assert!(world.app.store.project_by_slug("acme").await.unwrap().is_none());
    assert!(world.app.store.tenant_by_slug("acme").await.unwrap().is_none());
    wish("second", "nobody").await.refused(422, "validation_failed");
    for reserved in ["console", "www", "xn--acme"] {
        let refused = wish(reserved, "ann@acme.example").await.refused(422, "validation_failed");
        assert_eq!(refused.body["errors"][0]["code"], "reserved", "{reserved}");
    }
}

#[tokio::test]
async fn people_of_a_shared_tenant_are_not_made_by_the_tenant() {
    let world = World::new().await;
    let staff = world.staff().await;
    let shared = customer(&world, &staff, "shared", "shared").await;
    let body = json!({ "slug": "acme", "name": "Acme", "customer_id": shared, "admin_email": "ann@acme.example" });
    let refused = post("/v1/tenants", &body).bearer(&staff).send(&world.admin).await.refused(422, "validation_failed");
    assert_eq!(refused.body["errors"][0]["code"], "managed_by_platform");
    let body = json!({ "slug": "acme", "name": "Acme", "customer_id": shared, "status": "active" });
    let made = post("/v1/tenants", &body).bearer(&staff).send(&world.admin).await.expect(201);
    let cloud = world.app.store.project_by_slug("cloud").await.unwrap().unwrap();
    assert_eq!(made.text("project_id"), cloud.id.to_string());
    let body = json!({ "hostname": "acme.localhost", "tenant_id": made.id() });
    post("/v1/hostnames", &body).bearer(&staff).send(&world.admin).await.expect(201);
    world.user(&staff, &made.id(), "ann", &["admin"]).await;
    let ann = world.login("acme", "ann").await;
    let body = json!({ "username": "bob", "password": "Correct-horse-2" });
    let made = post("/api/v1/tenant/users", &body).bearer(&ann).host("acme.localhost").send(&world.admin).await;
    made.refused(403, "managed_by_platform");
}

#[tokio::test]
async fn a_tenant_lives_in_a_project_of_its_customers_kind() {
    let world = World::new().await;
    let staff = world.staff().await;
    let (own, shared) =
        (customer(&world, &staff, "own", "dedicated").await, customer(&world, &staff, "shared", "shared").await);
    let root = world.app.store.root_project().await.unwrap().unwrap().id;
    let cloud = world.app.store.project_by_slug("cloud").await.unwrap().unwrap().id;
    let other = customer(&world, &staff, "other", "dedicated").await;
    let body = json!({ "slug": "other", "name": "Other", "customer_id": other, "issuer": "https://other.localhost" });
    let theirs = post("/v1/tenants", &body).bearer(&staff).send(&world.admin).await.expect(201).text("project_id");
    let theirs = theirs.parse().unwrap();
    for (customer, project) in [(&own, root), (&own, cloud), (&shared, root), (&own, theirs)] {
        let body = json!({ "slug": "acme", "name": "Acme", "customer_id": customer, "project_id": project });
        let refused = post("/v1/tenants", &body).bearer(&staff).send(&world.admin).await;
        assert_eq!(refused.refused(422, "validation_failed").body["errors"][0]["pointer"], "/project_id");
    }
}

#[tokio::test]
async fn who_does_not_pay_gets_no_tenant() {
    let world = World::new().await;
    let staff = world.staff().await;
    let acme = customer(&world, &staff, "acme", "dedicated").await;
    let payment = call("PUT", &format!("/v1/customers/{acme}/payment")).json(&json!({ "status": "blocked" }));
    payment.bearer(&staff).send(&world.admin).await.expect(200);
    let body = json!({ "slug": "acme", "name": "Acme", "customer_id": acme, "issuer": "https://acme.localhost" });
    post("/v1/tenants", &body).bearer(&staff).send(&world.admin).await.refused(409, "payment_required");
}

/// A directory that fails at a step until it has been asked so often.
#[derive(Debug)]
struct Flaky {
    at: ProvisioningStep,
    failures: AtomicUsize,
    taken: AtomicUsize,
}

impl Flaky {
    fn new(at: ProvisioningStep, failures: usize) -> Arc<Self> {
        Arc::new(Self { at, failures: AtomicUsize::new(failures), taken: AtomicUsize::new(0) })
    }
}

#[async_trait]
impl Directory for Flaky {
    async fn take(&self, step: ProvisioningStep, _: &Tenant) -> Result<(), DirectoryError> {
        let left = |left: usize| left.checked_sub(1);
        let fails = step == self.at && self.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, left).is_ok();
        if fails {
            return Err(DirectoryError::Unreachable("connection refused".into()));
        }
        self.taken.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

/// Takes what is due by several at once, as replicas do; how many of them it was for to take.
async fn provision(app: &App) -> usize {
    let due = app.store.due_provisionings(app.now(), 10).await.unwrap();
    let all = due.iter().flat_map(|seen| std::iter::repeat_n(seen, 4));
    join_all(all.map(|seen| provisioning::provision_due(app, seen)))
        .await
        .into_iter()
        .filter(|it| *it.as_ref().unwrap())
        .count()
}

async fn steps(world: &World, staff: &str, tenant: &str) -> Value {
    let path = format!("/v1/tenants/{tenant}/provisioning");
    get(&path).bearer(staff).send(&world.admin).await.expect(200).body
}

async fn a_failure_is_noted_and_tried_again(world: World) {
    let staff = world.staff().await;
    let directory = Flaky::new(ProvisioningStep::Client, 2);
    world.app.keep_people_in(directory.clone());
    let tenant = world.tenant(&staff, "acme").await;
    let begun = steps(&world, &staff, &tenant).await;
    assert_eq!((&begun["steps"][0]["state"], &begun["attempts"]), (&json!("pending"), &json!(0)));

    assert_eq!(provision(&world.app).await, 1, "one of those who try at once");
    let failed = steps(&world, &staff, &tenant).await;
    let states: Vec<_> = failed["steps"].as_array().unwrap().iter().map(|it| it["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["done", "failed", "pending", "pending"]);
    assert!(failed["steps"][1]["error"].as_str().unwrap().contains("connection refused"), "{failed}");
    let events = format!("/v1/audit?tenant_id={tenant}&action=keycloak.provision_failed");
    let failures = async || {
        let found = get(&events).bearer(&staff).send(&world.admin).await.expect(200);
        found.body["items"].as_array().unwrap().len()
    };
    assert_eq!(failures().await, 1);
    // The tenant is there all the same.
    get(&format!("/v1/tenants/{tenant}")).bearer(&staff).send(&world.admin).await.expect(200);

    assert_eq!(provision(&world.app).await, 0, "not before the pause is over");
    world.clock.advance(Duration::from_secs(5));
    assert_eq!(provision(&world.app).await, 1);
    assert_eq!(failures().await, 2);
    world.clock.advance(Duration::from_secs(5));
    assert_eq!(provision(&world.app).await, 0, "the second pause is longer");
    let retry = call("POST", &format!("/v1/tenants/{tenant}/provisioning/retry"));
    retry.bearer(&staff).send(&world.admin).await.expect(200);
    assert_eq!(provision(&world.app).await, 1, "unless somebody asks");
    let done = steps(&world, &staff, &tenant).await;
    assert!(done["steps"].as_array().unwrap().iter().all(|it| it["state"] == "done"), "{done}");
    assert_eq!(
        (&done["next_at"], directory.taken.load(Ordering::SeqCst)),
        (&Value::Null, 4),
        "no step was taken twice"
    );
    let retry = call("POST", &format!("/v1/tenants/{tenant}/provisioning/retry"));
    retry.bearer(&staff).send(&world.admin).await.refused(409, "provisioning_done");
}

#[tokio::test]
async fn a_failure_is_noted_and_tried_again_on_sqlite() {
    a_failure_is_noted_and_tried_again(World::new().await).await;
}

#[tokio::test]
async fn a_failure_is_noted_and_tried_again_on_postgres() {
    on_postgres(a_failure_is_noted_and_tried_again).await;
}
