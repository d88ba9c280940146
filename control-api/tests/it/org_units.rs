//! Organisational units: made, changed, deleted for a while, restored, removed for good; who is in them; what was asked of
//! them.

use std::time::Duration;

use control_api::app;
use domain::Clock as _;
use domain::{
    OrgUnitId, RequestId, TenantId, UserId,
    access::{AccessRecord, AccessReport, UnitCount, UnitUsage},
    decision::Shown,
    quota::{Period, Span},
};
use serde_json::{Value, json};

use crate::support::{Answer, World, call, get, post};

const UNITS: &str = "/v1/org-units";

/// A tenant with an administrator, two plain members, and a unit.
pub(crate) struct Office {
    pub(crate) world: World,
    pub(crate) staff: String,
    pub(crate) tenant: String,
    pub(crate) admin: String,
    /// Users by the order of their making: `una`, `ulf`.
    pub(crate) users: [String; 2],
    pub(crate) unit: String,
}

pub(crate) async fn office() -> Office {
    let world = World::new().await;
    let staff = world.staff().await;
    let tenant = world.tenant(&staff, "acme").await;
    world.user(&staff, &tenant, "ada", &["owner"]).await;
    let users =
        [world.user(&staff, &tenant, "una", &["member"]).await, world.user(&staff, &tenant, "ulf", &["member"]).await];
    let admin = world.login("acme", "ada").await;
    let unit = post(UNITS, &json!({ "name": "sales" })).bearer(&admin).send(&world.admin).await.expect(201).id();
    Office { world, staff, tenant, admin, users, unit }
}

impl Office {
    pub(crate) async fn send(&self, token: &str, method: &str, path: &str, body: Option<Value>) -> Answer {
        let call = call(method, path).bearer(token);
        let call = if let Some(body) = &body { call.json(body) } else { call };
        call.send(&self.world.admin).await
    }

    /// Makes a user something in the unit.
    pub(crate) async fn place(&self, user: &str, role: &str) {
        let path = format!("{UNITS}/{}/members/{user}", self.unit);
        self.send(&self.admin, "PUT", &path, Some(json!({ "role": role }))).await.expect(200);
    }
}

#[tokio::test]
async fn a_unit_is_made_changed_deleted_and_restored() {
    let it = office().await;
    let path = format!("{UNITS}/{}", it.unit);
    let read = get(&path).bearer(&it.admin).send(&it.world.admin).await.expect(200);
    assert_eq!((&read.body["name"], &read.body["status"]), (&json!("sales"), &json!("active")));
    let taken = it.send(&it.admin, "POST", UNITS, Some(json!({ "name": "sales" }))).await;
    taken.refused(409, "already_exists");
    for name in ["", " sales", "a\nb", &"x".repeat(129)] {
        it.send(&it.admin, "POST", UNITS, Some(json!({ "name": name }))).await.refused(422, "validation_failed");
    }
    let renamed = json!({ "name": "sales north", "description": "north of the river" });
    it.send(&it.admin, "PUT", &path, Some(renamed.clone())).await.expect(200);
    let stale = call("PUT", &path).json(&renamed).header("if-match", "\"1\"").bearer(&it.admin);
    stale.send(&it.world.admin).await.refused(412, "version_mismatch");

    it.send(&it.admin, "DELETE", &path, None).await.expect(204);
    it.send(&it.admin, "DELETE", &path, None).await.expect(204);
    it.send(&it.admin, "GET", &path, None).await.refused(404, "not_found");
    it.send(&it.admin, "PUT", &path, Some(renamed)).await.refused(404, "not_found");
    let gone = it.send(&it.admin, "GET", "/v1/org-units?deleted=true", None).await.expect(200);
    assert_eq!(gone.body["items"][0]["status"], "deleted");
    let restored = it.send(&it.admin, "POST", &format!("{path}/restore"), None).await.expect(200);
    assert_eq!((&restored.body["name"], &restored.body["purge_after"]), (&json!("sales north"), &Value::Null));
    it.send(&it.admin, "POST", &format!("{path}/restore"), None).await.refused(404, "not_found");

    it.send(&it.admin, "DELETE", &path, None).await.expect(204);
    it.world.clock.advance(Duration::from_secs(30 * 86_400 - 1));
    assert_eq!(app::org_units::purge(&it.world.app).await.unwrap(), 0);
    it.world.clock.advance(Duration::from_secs(1));
    assert_eq!(app::org_units::purge(&it.world.app).await.unwrap(), 1);
    let staff = it.world.staff().await;
    let all = format!("{UNITS}?deleted=true&tenant_id={}", it.tenant);
    assert_eq!(it.send(&staff, "GET", &all, None).await.expect(200).body["items"], json!([]));
    let trail = it.send(&staff, "GET", &format!("/v1/audit?tenant_id={}", it.tenant), None).await.expect(200);
    let actions: Vec<&str> =
        trail.body["items"].as_array().unwrap().iter().filter_map(|event| event["action"].as_str()).collect();
    for action in ["created", "updated", "deleted", "restored", "purged"] {
        assert!(actions.contains(&format!("org-unit.{action}").as_str()), "{action} in {actions:?}");
    }
}

/// S0's defect 11: user lists of a unit showed made-up names.
#[tokio::test]
async fn members_of_a_unit_are_listed_with_their_real_names() {
    let it = office().await;
    let members = format!("{UNITS}/{}/members", it.unit);
    let body = json!({ "user_id": it.users[0], "role": "ou_admin" });
    let made = it.send(&it.admin, "POST", &members, Some(body.clone())).await.expect(201);
    assert_eq!(made.body["username"], "una");
    it.send(&it.admin, "POST", &members, Some(body)).await.refused(409, "already_exists");
    it.place(&it.users[1], "ou_default").await;
    it.place(&it.users[1], "ou_auditor").await;
    let listed = it.send(&it.admin, "GET", &members, None).await.expect(200);
    let items = listed.body["items"].as_array().unwrap();
    // Listed by id, and ids that were made within one millisecond have no order.
    let mut seen: Vec<_> =
        items.iter().map(|it| (it["username"].as_str().unwrap(), it["role"].as_str().unwrap())).collect();
    seen.sort_unstable();
    assert_eq!(seen, [("ulf", "ou_auditor"), ("una", "ou_admin")]);
    for (role, user) in [("ou_owner", it.users[0].as_str()), ("owner", it.users[0].as_str())] {
        let body = json!({ "user_id": user, "role": role });
        it.send(&it.admin, "POST", &members, Some(body)).await.refused(422, "validation_failed");
    }
    let globex = it.world.tenant(&it.staff, "globex").await;
    let stranger = it.world.user(&it.staff, &globex, "gus", &["owner"]).await;
    let body = json!({ "user_id": stranger, "role": "ou_default" });
    it.send(&it.admin, "POST", &members, Some(body)).await.refused(404, "not_found");
    it.send(&it.admin, "DELETE", &format!("{members}/{}", it.users[1]), None).await.expect(204);
    it.send(&it.admin, "DELETE", &format!("{members}/{}", it.users[1]), None).await.refused(404, "not_found");
    // Another tenant's administrator finds nothing at any of these.
    let theirs = it.world.login("globex", "gus").await;
    for (method, path) in [
        ("GET", format!("{UNITS}/{}", it.unit)),
        ("DELETE", format!("{UNITS}/{}", it.unit)),
        ("POST", format!("{UNITS}/{}/restore", it.unit)),
        ("GET", members.clone()),
        ("DELETE", format!("{members}/{}", it.users[0])),
        ("GET", format!("{UNITS}/{}/access-logs", it.unit)),
    ] {
        it.send(&theirs, method, &path, None).await.refused(404, "not_found");
    }
    let tenant = format!("{UNITS}?tenant_id={}", it.tenant);
    it.send(&theirs, "GET", &tenant, None).await.refused(404, "not_found");
    it.send(&it.staff, "GET", &tenant, None).await.expect(200);
}

#[tokio::test]
async fn a_units_administrator_has_a_say_over_its_members_its_auditor_sees_them_and_others_nothing() {
    let it = office().await;
    let other = it.send(&it.admin, "POST", UNITS, Some(json!({ "name": "other" }))).await.expect(201).id();
    let (una, ulf) = (it.world.login("acme", "una").await, it.world.login("acme", "ulf").await);
    let members = |unit: &str| format!("{UNITS}/{unit}/members");
    let own = members(&it.unit);
    let ulf_there = |unit: &str| format!("{}/{}", members(unit), it.users[1]);
    for role in ["ou_default", "ou_auditor", "ou_admin"] {
        it.place(&it.users[0], role).await;
        let sees = role != "ou_default";
        let listed = it.send(&una, "GET", &own, None).await;
        assert_eq!(listed.status == 200, sees, "{role}: {listed:?}");
        let put = it.send(&una, "PUT", &ulf_there(&it.unit), Some(json!({ "role": "ou_admin" }))).await;
        assert_eq!(put.status == 200, role == "ou_admin", "{role}: {put:?}");
        let log = it.send(&una, "GET", &format!("{UNITS}/{}/access-logs", it.unit), None).await;
        assert_eq!(log.status == 200, role == "ou_admin", "{role}: {log:?}");
        // In another unit, and in the tenant, nothing.
        it.send(&una, "GET", &members(&other), None).await.refused(403, "permission_denied");
        it.send(&una, "PUT", &ulf_there(&other), Some(json!({ "role": "ou_default" })))
            .await
            .refused(403, "permission_denied");
        it.send(&una, "GET", UNITS, None).await.refused(403, "permission_denied");
        it.send(&una, "DELETE", &format!("{UNITS}/{}", it.unit), None).await.refused(403, "permission_denied");
    }
    it.send(&ulf, "DELETE", &format!("{own}/{}", it.users[0]), None).await.expect(204);
    it.send(&una, "GET", &own, None).await.refused(403, "permission_denied");
}

/// Whoever may manage members of units without being an administrator of anything gives no more than that.
#[tokio::test]
async fn nobody_gives_more_in_a_unit_than_they_hold() {
    let it = office().await;
    let clerk_id = it.world.user(&it.staff, &it.tenant, "clerk", &["it_admin"]).await;
    let clerk = it.world.login("acme", "clerk").await;
    let path = format!("{UNITS}/{}/members/{}", it.unit, it.users[0]);
    for role in ["ou_admin", "ou_auditor"] {
        it.send(&clerk, "PUT", &path, Some(json!({ "role": role }))).await.refused(403, "permission_escalation");
    }
    let own = format!("{UNITS}/{}/members/{clerk_id}", it.unit);
    for path in [&path, &own] {
        it.send(&clerk, "PUT", path, Some(json!({ "role": "ou_default" }))).await.refused(403, "permission_escalation");
    }
    it.place(&clerk_id, "ou_default").await;
    it.send(&clerk, "PUT", &path, Some(json!({ "role": "ou_default" }))).await.expect(200);
    it.place(&it.users[0], "ou_admin").await;
    it.send(&clerk, "PUT", &path, Some(json!({ "role": "ou_default" }))).await.refused(403, "permission_escalation");
    it.send(&clerk, "DELETE", &path, None).await.refused(403, "permission_escalation");
    // Nor by the other door, nor over who holds it.
    let roles = it.send(&it.admin, "GET", "/v1/roles", None).await.expect(200);
    let role =
        roles.body["items"].as_array().unwrap().iter().find(|role| role["name"] == "ou_admin").unwrap()["id"].clone();
    let body = json!({ "role_id": role, "user_id": it.users[1], "ou_id": it.unit });
    it.send(&clerk, "POST", "/v1/role-bindings", Some(body)).await.refused(403, "permission_escalation");
    let disable = format!("/api/v1/tenant/users/{}/disable", it.users[0]);
    it.send(&clerk, "POST", &disable, None).await.refused(403, "permission_escalation");
}

#[tokio::test]
async fn one_sees_ones_own_units_and_says_which_one_works_in() {
    let it = office().await;
    let una = it.world.login("acme", "una").await;
    let mine = async |token: &str| {
        let listed = it.send(token, "GET", "/v1/me/org-units", None).await.expect(200);
        listed.body["items"].as_array().unwrap().clone()
    };
    assert!(mine(&una).await.is_empty());
    let choose = |unit: Value| it.send(&una, "PUT", "/v1/me/default-org-unit", Some(json!({ "ou_id": unit })));
    choose(json!(it.unit)).await.refused(404, "not_found");
    it.place(&it.users[0], "ou_default").await;
    choose(json!(it.unit)).await.expect(204);
    let units = mine(&una).await;
    assert_eq!((&units[0]["roles"], &units[0]["is_default"]), (&json!(["ou_default"]), &json!(true)));
    let claim = |token: &str| {
        use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
        let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
        serde_json::from_slice::<Value>(&claims).unwrap()["ou"].clone()
    };
    assert_eq!(claim(&una), Value::Null);
    assert_eq!(claim(&it.world.login("acme", "una").await), json!(it.unit));
    for path in [
        format!("/api/v1/tenant/users/{}/org-units", it.users[0]),
        format!("/v1/tenants/{}/users/{}/org-units", it.tenant, it.users[0]),
    ] {
        let by = if path.starts_with("/api") { &it.admin } else { &it.staff };
        let listed = it.send(by, "GET", &path, None).await.expect(200);
        assert_eq!(listed.body["items"][0]["id"], json!(it.unit));
    }
    choose(Value::Null).await.expect(204);
    assert_eq!(claim(&it.world.login("acme", "una").await), Value::Null);
    // Out of the unit, it is no default any more.
    choose(json!(it.unit)).await.expect(204);
    it.send(&it.admin, "DELETE", &format!("{UNITS}/{}/members/{}", it.unit, it.users[0]), None).await.expect(204);
    assert_eq!(claim(&it.world.login("acme", "una").await), Value::Null);
    it.send(&it.staff, "GET", "/v1/me/org-units", None).await.refused(403, "context_mismatch");
}

/// S0's stub showed fixed sample rows.
#[tokio::test]
async fn the_access_log_of_a_unit_is_what_gateways_told() {
    let it = office().await;
    let unit: OrgUnitId = it.unit.parse().unwrap();
    let tenant: TenantId = it.tenant.parse().unwrap();
    let una: UserId = it.users[0].parse().unwrap();
    let now = it.world.clock.unix_now();
    let record = |n: u128| AccessRecord {
        request_id: RequestId::new(uuid::Uuid::from_u128(n)),
        at: now - Duration::from_secs(u64::try_from(100 - n).unwrap()),
        tenant_id: tenant,
        ou_id: unit,
        subject: Shown::cut(&una.to_string(), 64),
        ip: [192, 0, 2, 9].into(),
        method: Shown::cut("POST", 16),
        path: Shown::cut("/w/notes", 64),
        status: 201,
        user_agent: Some(Shown::cut("curl/8", 64)),
        latency_us: 1500,
    };
    let usage = UnitUsage { requests: 3, bytes_received: 30, bytes_sent: 300 };
    let day = Span::at(Period::Day, now).number();
    let counts = vec![UnitCount { tenant_id: tenant, ou_id: unit, day, usage }];
    let report = AccessReport { records: (1..=3).map(record).collect(), counts, ..AccessReport::default() };
    it.world.app.hub.record_access(None, &report).await.unwrap();
    let path = format!("{UNITS}/{}/access-logs", it.unit);
    let first = it.send(&it.admin, "GET", &format!("{path}?limit=2"), None).await.expect(200);
    let row = &first.body["items"][0];
    assert_eq!((&row["user_id"], &row["method"], &row["path"]), (&json!(una), &json!("POST"), &json!("/w/notes")));
    assert_eq!((&row["status"], &row["ip"], &row["user_agent"]), (&json!(201), &json!("192.0.2.9"), &json!("curl/8")));
    let next = format!("{path}?limit=2&cursor={}", first.text("next_cursor"));
    let rest = it.send(&it.admin, "GET", &next, None).await.expect(200);
    assert_eq!(rest.body["items"].as_array().unwrap().len(), 1);
    let row = rest.body["items"][0]["time"].as_str().unwrap().to_owned();
    let before = it.send(&it.admin, "GET", &format!("{path}?to={row}"), None).await.expect(200);
    assert_eq!(before.body["items"], json!([]));
    it.send(&it.admin, "GET", &format!("{path}?from=yesterday"), None).await.refused(400, "parameter_invalid");
    let plain = it.world.login("acme", "ulf").await;
    it.send(&plain, "GET", &path, None).await.refused(403, "permission_denied");

    let used = it.send(&it.admin, "GET", "/v1/usage?group_by=org_unit", None).await.expect(200);
    let expected = json!({ "ou_id": it.unit, "requests": 3, "bytes_received": 30, "bytes_sent": 300 });
    assert_eq!(used.body["items"], json!([expected]));
    let past = "/v1/usage?group_by=org_unit&from=2020-01-01&to=2020-02-01";
    assert_eq!(it.send(&it.admin, "GET", past, None).await.expect(200).body["items"], json!([]));
    for bad in ["from=2020-01", "from=2020-02-30", "from=2020-01-02&to=2020-01-02", "from=2000-01-01"] {
        let path = format!("/v1/usage?group_by=org_unit&{bad}");
        it.send(&it.admin, "GET", &path, None).await.refused(400, "parameter_invalid");
    }
    it.send(&plain, "GET", "/v1/usage?group_by=org_unit", None).await.refused(403, "permission_denied");
}
