//! Switching the tenant.

use std::{collections::BTreeMap, time::Duration};

use control_api::Config;
use domain::HumanDuration;
use serde_json::{Value, json};

use crate::support::{Answer, PASSWORD, World, get, on_postgres, post};

const INFO: &str = "/api/v1/tenant/auth/info";

/// Tenants of the shared project, and `ada`, who is a member of the first two.
struct Shared {
    world: World,
    staff: String,
    tenants: BTreeMap<&'static str, String>,
    ada: String,
}

async fn shared(world: World) -> Shared {
    let staff = world.staff().await;
    let tenants = world.shared_tenants(&staff, &["north", "south", "east"]).await;
    let ada = world.user(&staff, &tenants["north"], "ada", &["admin"]).await;
    let shared = Shared { world, staff, tenants, ada };
    shared.join("south").await;
    shared
}

impl Shared {
    async fn join(&self, tenant: &str) {
        self.world.join(&self.staff, &self.tenants[tenant], &self.ada).await;
    }

    async fn sign_in(&self, tenant: &str) -> Pair {
        Pair::of(&self.world.try_login(tenant, "ada", PASSWORD).await.expect(200))
    }

    async fn switch(&self, pair: &Pair, tenant: &str) -> Answer {
        let body = json!({ "tenant": tenant, "refresh_token": pair.refresh });
        post("/api/v1/tenant/auth/switch", &body).bearer(&pair.access).send(&self.world.admin).await
    }

    async fn refresh(&self, tenant: &str, pair: &Pair) -> Answer {
        let call = post("/api/v1/tenant/auth/refresh", &json!({ "refresh_token": pair.refresh }));
        call.host(&format!("{tenant}.localhost")).send(&self.world.admin).await
    }

    async fn info(&self, pair: &Pair) -> Answer {
        get(INFO).bearer(&pair.access).send(&self.world.admin).await
    }

    async fn sessions(&self, pair: &Pair) -> Vec<Value> {
        let answer = get("/v1/me/sessions").bearer(&pair.access).send(&self.world.admin).await.expect(200);
        answer.body["items"].as_array().unwrap().clone()
    }
}

struct Pair {
    access: String,
    refresh: String,
}

impl Pair {
    fn of(answer: &Answer) -> Self {
        Self { access: answer.text("access_token"), refresh: answer.text("refresh_token") }
    }
}

#[tokio::test]
async fn a_switch_gives_a_pair_for_the_other_tenant_and_refuses_the_old_one() {
    let it = shared(World::new().await).await;
    let old = it.sign_in("north").await;
    it.world.clock.advance(Duration::from_secs(60));
    let answer = it.switch(&old, "south").await.expect(200);
    assert_eq!(answer.headers["cache-control"], "no-store");
    assert_eq!(answer.body["token_type"], "Bearer");
    let new = Pair::of(&answer);
    let info = it.info(&new).await.expect(200);
    assert_eq!(info.body["tenant"]["slug"], "south");
    assert_eq!(
        (&info.body["user"]["is_admin"], &info.body["roles"]),
        (&json!(false), &json!([])),
        "roles are the tenant's"
    );
    it.info(&old).await.refused(401, "token_revoked");
    it.refresh("north", &old).await.refused(401, "refresh_superseded");
    let renewed = Pair::of(&it.refresh("south", &new).await.expect(200));
    // Back again, by id.
    let back = it.switch(&renewed, &it.tenants["north"]).await.expect(200);
    let info = it.info(&Pair::of(&back)).await.expect(200);
    assert_eq!((&info.body["tenant"]["slug"], &info.body["user"]["is_admin"]), (&json!("north"), &json!(true)));
}

/// J5: what an exchange may lead to. Whatever is not the user's own looks the same, and costs the session nothing.
#[tokio::test]
async fn j5_a_switch_leads_to_the_users_own_tenants_of_the_project_only() {
    let it = shared(World::new().await).await;
    it.world.tenant(&it.staff, "acme").await;
    let pair = it.sign_in("north").await;
    for tenant in
        ["east", "acme", "root", "nowhere", "00000000-0000-0000-0000-000000000009", it.tenants["east"].as_str(), ""]
    {
        it.switch(&pair, tenant).await.refused(404, "not_found");
    }
    let suspend = post(&format!("/v1/tenants/{}/suspend", it.tenants["south"]), &json!({})).bearer(&it.staff);
    suspend.send(&it.world.admin).await.expect(200);
    it.switch(&pair, "south").await.refused(403, "tenant_suspended");
    it.info(&pair).await.expect(200);
    it.refresh("north", &pair).await.expect(200);
    let staff = Pair { access: it.staff.clone(), refresh: "x".into() };
    it.switch(&staff, "south").await.refused(403, "context_mismatch");
}

#[tokio::test]
async fn a_switch_takes_the_refresh_token_of_the_same_session() {
    let it = shared(World::new().await).await;
    let (one, two) = (it.sign_in("north").await, it.sign_in("north").await);
    for refresh in ["", "x", &one.access, &two.refresh] {
        let mixed = Pair { access: one.access.clone(), refresh: refresh.into() };
        it.switch(&mixed, "south").await.refused(401, "refresh_invalid");
    }
    let body = json!({ "tenant": "south" });
    let call = post("/api/v1/tenant/auth/switch", &body).bearer(&one.access);
    call.send(&it.world.admin).await.refused(422, "validation_failed");
    for pair in [one, two] {
        it.switch(&pair, "south").await.expect(200);
    }
}

#[tokio::test]
async fn who_is_no_member_any_more_switches_nowhere() {
    let it = shared(World::new().await).await;
    let pair = it.sign_in("north").await;
    let member = format!("/v1/tenants/{}/members/{}", it.tenants["south"], it.ada);
    crate::support::call("DELETE", &member).bearer(&it.staff).send(&it.world.admin).await.expect(204);
    it.switch(&pair, "south").await.refused(404, "not_found");
    it.join("south").await;
    it.switch(&pair, "south").await.expect(200);
}

#[tokio::test]
async fn a_switched_session_is_as_old_as_the_one_it_replaces() {
    let mut config = Config::default();
    config.sessions.session = HumanDuration::from_secs(3600);
    config.sessions.refresh_token = HumanDuration::from_secs(3600);
    let it = shared(World::with(config).await).await;
    let mut pair = it.sign_in("north").await;
    let before = it.sessions(&pair).await[0].clone();
    for tenant in ["south", "north", "south", "north"] {
        it.world.clock.advance(Duration::from_secs(840));
        let answer = it.switch(&pair, tenant).await.expect(200);
        pair = Pair::of(&answer);
        let after = it.sessions(&pair).await;
        assert_eq!(after.len(), 1);
        assert_eq!((&after[0]["auth_time"], &after[0]["expires_at"]), (&before["auth_time"], &before["expires_at"]));
        assert_ne!(after[0]["id"], before["id"]);
    }
    // 3,360 s have passed: not even the access token outlives the session.
    let last = Pair::of(&it.refresh("north", &pair).await.expect(200));
    it.info(&last).await.expect(200);
    it.world.clock.advance(Duration::from_secs(241));
    it.info(&last).await.refused(401, "token_revoked");
    it.refresh("north", &last).await.refused(401, "refresh_invalid");
}

#[tokio::test]
async fn a_spent_refresh_token_shown_to_switch_ends_every_session_of_the_user() {
    let it = shared(World::new().await).await;
    let (first, elsewhere) = (it.sign_in("north").await, it.sign_in("south").await);
    let second = Pair::of(&it.refresh("north", &first).await.expect(200));
    it.switch(&first, "south").await.refused(401, "refresh_superseded");
    it.world.clock.advance(Duration::from_secs(11));
    it.switch(&first, "south").await.refused(401, "refresh_replayed");
    for pair in [&first, &second, &elsewhere] {
        it.info(pair).await.refused(401, "token_revoked");
    }
}

#[tokio::test]
async fn both_trails_say_that_somebody_switched_and_neither_says_where() {
    let it = shared(World::new().await).await;
    let pair = it.sign_in("north").await;
    it.switch(&pair, "south").await.expect(200);
    for (here, there, action) in
        [("north", "south", "session_switched_away"), ("south", "north", "session_switched_in")]
    {
        let path = format!("/v1/audit?tenant_id={}", it.tenants[here]);
        let trail = get(&path).bearer(&it.staff).send(&it.world.admin).await.expect(200).body.to_string();
        assert!(trail.contains(action), "{trail}");
        assert!(!trail.contains(&it.tenants[there]), "{trail}");
    }
}

async fn one_switch_wins(world: World) {
    let it = shared(world).await;
    let pair = it.sign_in("north").await;
    let all = futures::future::join_all((0..8).map(|_| it.switch(&pair, "south"))).await;
    let winners: Vec<&Answer> = all.iter().filter(|answer| answer.status == 200).collect();
    assert_eq!(winners.len(), 1, "{all:?}");
    for answer in all.iter().filter(|answer| answer.status != 200) {
        assert!(matches!(answer.code(), "refresh_superseded" | "token_revoked"), "{answer:?}");
    }
    let new = Pair::of(winners[0]);
    assert_eq!(it.sessions(&new).await.len(), 1);
    it.info(&pair).await.refused(401, "token_revoked");
}

#[tokio::test]
async fn of_many_switches_at_once_one_wins_on_sqlite() {
    one_switch_wins(World::new().await).await;
}

#[tokio::test]
async fn of_many_switches_at_once_one_wins_on_postgres() {
    on_postgres(async |world| one_switch_wins(world).await).await;
}

/// A switch opens a session: what ends all of them must not miss it, whichever comes first.
async fn nothing_survives_signing_out_everywhere(world: World) {
    let it = shared(world).await;
    for round in 0..10 {
        let (pair, other) = (it.sign_in("north").await, it.sign_in("north").await);
        let everywhere = post("/v1/me/sign-out-everywhere", &json!({ "password": PASSWORD })).bearer(&other.access);
        let (switched, ended) = tokio::join!(it.switch(&pair, "south"), everywhere.send(&it.world.admin));
        ended.expect(200);
        if switched.status == 200 {
            let new = Pair::of(&switched);
            it.info(&new).await.refused(401, "token_revoked");
            it.refresh("south", &new).await.refused(401, "refresh_invalid");
        }
        it.info(&pair).await.refused(401, "token_revoked");
        for tenant in ["north", "south"] {
            let fresh = it.sign_in(tenant).await;
            let open = it.sessions(&fresh).await;
            assert_eq!(open.len(), 1, "round {round}, {tenant}: {open:?}");
        }
    }
}

#[tokio::test]
async fn a_switch_and_signing_out_everywhere_at_once_leave_nothing_alive_on_sqlite() {
    nothing_survives_signing_out_everywhere(World::new().await).await;
}

#[tokio::test]
async fn a_switch_and_signing_out_everywhere_at_once_leave_nothing_alive_on_postgres() {
    on_postgres(async |world| nothing_survives_signing_out_everywhere(world).await).await;
}
