//! A tenant with one of everything, and the ids of it all.

use std::{collections::BTreeMap, sync::Arc};

use control_api::internal::Plane;
use domain::FleetName;
use link::log::ControlPlane;
use serde_json::{Value, json};
use testkit::SoftPasskey;

use super::examples;
use crate::{
    decisions::refusal,
    support::{World, call, get, post},
};

/// Ids by what they are of, such as `tenant`, `user` or `role`.
pub(super) type Ids = BTreeMap<&'static str, String>;

/// Who makes what, in one world.
struct Maker<'w> {
    world: &'w World,
    token: String,
}

impl Maker<'_> {
    async fn make(&self, path: &str, body: Value) -> String {
        post(path, &body).bearer(&self.token).send(&self.world.admin).await.expect(201).id()
    }

    /// The first item of a list: its `id`, or its member of that name.
    async fn first(&self, path: &str, member: &str) -> String {
        let page = get(path).bearer(&self.token).send(&self.world.admin).await.expect(200);
        page.body["items"][0][member].as_str().unwrap_or_else(|| panic!("{path}: {page:?}")).to_owned()
    }
}

/// A tenant with an owner and one of everything that there is in a tenant, or for it.
pub(super) async fn populated(world: &World, staff: &str, slug: &'static str, owner: &'static str) -> Ids {
    let tenant = world.tenant(staff, slug).await;
    filled(world, staff, (&tenant, slug, &format!("{slug}.localhost")), owner).await
}

/// The same of a tenant that is there, with hostname `{slug}.localhost`, whose users have passkeys for `host`.
pub(super) async fn filled(
    world: &World,
    staff: &str,
    (tenant, slug, host): (&str, &'static str, &str),
    owner: &'static str,
) -> Ids {
    let tenant = tenant.to_owned();
    world.user(staff, &tenant, owner, &["owner"]).await;
    let second = format!("{owner}-2");
    let user = world.user(staff, &tenant, &second, &["member"]).await;
    let member = world.user(staff, &tenant, &format!("{owner}-3"), &["member"]).await;
    let mine = Maker { world, token: world.login(slug, owner).await };
    world.login(slug, &second).await;
    let staff = Maker { world, token: staff.to_owned() };
    let mut ids = BTreeMap::from([("tenant", tenant), ("user", user), ("member", member), ("slug", slug.to_owned())]);
    platform(&staff, slug, &mut ids).await;
    own(&mine, slug, &mut ids).await;
    requested(&staff, &mine, slug, &mut ids).await;
    told(world, slug, &mut ids).await;
    signs_in(&mine, (slug, host), &mut ids).await;
    while world.app.store.chain_audit(500).await.unwrap() > 0 {}
    ids.insert("session", mine.first(&format!("/api/v1/tenant/users/{}/sessions", ids["user"]), "id").await);
    ids.insert("event", mine.first("/v1/audit", "id").await);
    ids
}

/// A passkey of the owner's, and a sign-in that another device asks for.
async fn signs_in(mine: &Maker<'_>, (slug, host): (&str, &str), ids: &mut Ids) {
    let send =
        async |path: &str, body: Value| post(path, &body).host(host).bearer(&mine.token).send(&mine.world.admin).await;
    let begun = send("/v1/auth/passkeys/register/begin", json!({})).await.expect(200);
    let made = SoftPasskey::new(&format!("https://{host}")).create(&begun.body["options"]);
    let body = json!({ "challenge_id": begun.text("challenge_id"), "credential": made });
    ids.insert("passkey", send("/v1/auth/passkeys/register/complete", body).await.expect(201).id());
    let host = format!("{slug}.localhost");
    ids.insert("qr_login", post("/v1/auth/qr", &json!({})).host(&host).send(&mine.world.admin).await.expect(200).id());
}

/// What staff makes: upstreams, services, routes, issuers; and what came with the tenant.
async fn platform(staff: &Maker<'_>, slug: &str, ids: &mut Ids) {
    let read = get(&format!("/v1/tenants/{}", ids["tenant"])).bearer(&staff.token).send(&staff.world.admin).await;
    let read = read.expect(200);
    ids.insert("project", read.text("project_id"));
    ids.insert("customer", read.text("customer_id"));
    let hostnames = format!("/v1/hostnames?tenant_id={}", ids["tenant"]);
    ids.insert("hostname", staff.first(&hostnames, "id").await);
    let path = format!("/v1/hostnames/{}/client-certificates", ids["hostname"]);
    let asks = call("PUT", &path).json(&examples::client_certificates()).bearer(&staff.token);
    asks.send(&staff.world.admin).await.expect(200);
    let path = format!("/v1/projects/{}/credentials", ids["project"]);
    let credential = json!({ "kind": "publishable", "name": "pages" });
    ids.insert("project_credential", staff.make(&path, credential).await);
    let keys = format!("/v1/signing-keys?project_id={}", ids["project"]);
    ids.insert("signing_key", staff.first(&keys, "kid").await);
    let upstream = json!({ "name": format!("{slug}-up"), "peers": ["127.0.0.1:3000"], "plaintext": true });
    ids.insert("upstream", staff.make("/v1/upstreams", upstream).await);
    let service = json!({ "name": format!("{slug}-svc"), "upstream_id": ids["upstream"] });
    ids.insert("service", staff.make("/v1/services", service).await);
    let route = json!({ "service_id": ids["service"], "path": "/x/**", "access": "authenticated" });
    ids.insert("route", staff.make("/v1/routes", route).await);
    let issuer = json!({
        "project_id": ids["project"], "tenant": ids["tenant"], "issuer": format!("https://id.{slug}.example"),
        "audiences": ["a"], "algorithms": ["ES256"], "jwks_url": format!("https://id.{slug}.example/jwks"),
    });
    ids.insert("issuer", staff.make("/v1/issuers", issuer).await);
    // There is none; nobody but staff asks for one.
    ids.insert("gateway", uuid::Uuid::from_u128(0xdead).to_string());
}

/// What an owner makes.
async fn own(mine: &Maker<'_>, slug: &str, ids: &mut Ids) {
    let (tenant, user, among) = (ids["tenant"].clone(), ids["user"].clone(), ids["member"].clone());
    let role = json!({ "name": "clerk", "permissions": ["orders:order:list"] });
    ids.insert("role", mine.make("/v1/roles", role).await);
    let binding = json!({ "role_id": ids["role"], "user_id": user });
    ids.insert("role_binding", mine.make("/v1/role-bindings", binding).await);
    ids.insert(
        "menu",
        mine.make("/v1/menus", json!({ "key": "orders", "title": "Orders", "path": "/orders", "order": 1 })).await,
    );
    ids.insert("api_key", mine.make("/v1/api-keys", json!({ "name": "k", "scopes": [] })).await);
    let hook = json!({ "url": "https://example.com/x", "events": ["*"] });
    ids.insert("webhook", mine.make("/v1/webhooks", hook).await);
    ids.insert("org_unit", mine.make("/v1/org-units", json!({ "name": "north" })).await);
    let path = format!("/v1/org-units/{}/members", ids["org_unit"]);
    for who in [&user, &among] {
        let member = json!({ "user_id": who, "role": "ou_default" });
        post(&path, &member).bearer(&mine.token).send(&mine.world.admin).await.expect(201);
    }
    ids.insert("group", mine.make("/v1/groups", json!({ "name": "night shift" })).await);
    let path = format!("/v1/groups/{}/members", ids["group"]);
    post(&path, &json!({ "user_id": among })).bearer(&mine.token).send(&mine.world.admin).await.expect(201);
    let path = format!("/v1/tenants/{tenant}/invitations");
    ids.insert("invitation", mine.make(&path, json!({ "email": format!("new@{slug}.example") })).await);
    let path = format!("/v1/tenants/{tenant}/domains");
    ids.insert("domain", mine.make(&path, json!({ "domain": format!("{slug}-mail.example") })).await);
    let binding = json!({ "hostname_id": ids["hostname"], "kind": "dns", "value": "robot.example", "user_id": user });
    ids.insert("certificate_binding", mine.make("/v1/certificate-bindings", binding).await);
    let provider = json!({
        "key": format!("corp-{slug}"), "type": "oidc", "name": "Corp", "client_id": "us",
        "options": { "issuer": "https://id.example.com" },
    });
    // Tenants of the shared project have none: it is asked for by the name it would have.
    let made = post("/v1/identity-providers", &provider).bearer(&mine.token).send(&mine.world.admin).await;
    assert!(made.status == 201 || made.code() == "managed_by_platform", "{made:?}");
    ids.insert("identity_provider", format!("corp-{slug}"));
    // There is no provider here that somebody could have signed in through.
    ids.insert("identity", uuid::Uuid::new_v4().to_string());
    let help = json!({ "email": format!("lost@{slug}.example"), "message": "help" });
    let host = format!("{slug}.localhost");
    post("/v1/help-requests", &help).host(&host).send(&mine.world.admin).await.expect(202);
    ids.insert("help_request", mine.first("/v1/help-requests", "id").await);
    let verification = mine.make("/v1/identity-verifications", json!({ "user_id": user })).await;
    ids.insert("identity_verification", verification);
    ids.insert("machine_client", mine.make("/v1/machine-clients", json!({ "name": "billing" })).await);
}

/// A product that the tenant has and one that it asked for; both are there for all tenants.
async fn requested(staff: &Maker<'_>, mine: &Maker<'_>, slug: &str, ids: &mut Ids) {
    for key in ["orders", "stock"] {
        let key = format!("{key}-{slug}");
        let product = json!({ "key": key, "name": key, "requestable": true, "trialable": true });
        ids.insert("product", staff.make("/v1/products", product).await);
    }
    let given = json!({ "tenant_id": ids["tenant"], "product": format!("orders-{slug}"), "source": "sale" });
    let given = call("PUT", "/v1/entitlements").json(&given).bearer(&staff.token).send(&staff.world.admin).await;
    ids.insert("entitlement", given.expect(200).id());
    let wish = json!({ "product": format!("stock-{slug}") });
    ids.insert("request", mine.make("/v1/catalog/request", wish).await);
}

/// What a gateway told of the tenant.
async fn told(world: &World, slug: &str, ids: &mut Ids) {
    let request = u128::from(slug.bytes().fold(0_u64, |sum, byte| sum * 31 + u64::from(byte)));
    let decision = refusal(request, &format!("{slug}.localhost"), Some(&ids["tenant"]), Some(&ids["project"]));
    let plane = Plane::of_fleet(Arc::clone(&world.app.hub), FleetName::default());
    plane.record(vec![decision]).await.unwrap();
    ids.insert("decision", uuid::Uuid::from_u128(request).to_string());
}
