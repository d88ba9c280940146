//! The end of one's own account: who keeps it, and what does not.

use std::time::Duration;

use control_api::app::account::delete_due;
use domain::model::UserStatus;
use futures::future::join_all;
use serde_json::{Value, json};
use store::read::*;

use crate::{
    letters, second_factor,
    support::{Answer, PASSWORD, World, call, get, on_postgres, post},
};

const PATH: &str = "/v1/me/deletion";

async fn status(world: &World, user: &str) -> UserStatus {
    world.app.store.user(user.parse().unwrap()).await.unwrap().unwrap().status
}

async fn keep(world: &World, host: &str, token: &str) -> Answer {
    call("DELETE", PATH).json(&json!({ "token": token })).host(host).send(&world.admin).await
}

/// How often an account was kept, as the trail of its one tenant says.
async fn cancelled(world: &World, staff: &str) -> usize {
    let trail = get("/v1/audit?action=account_deletion_cancelled").bearer(staff).send(&world.admin).await.expect(200);
    let items = trail.body["items"].as_array().unwrap();
    assert!(items.iter().all(|it| it["tenant_id"].is_string()), "{items:?}");
    items.len()
}

/// A sign-in is more than its first factor: what is refused after it has kept nothing.
#[tokio::test]
async fn an_account_is_kept_by_a_session_and_by_no_sign_in_that_is_refused() {
    let it = second_factor::Acme::new(World::new().await).await;
    let token = it.sign_in().await.text("access_token");
    let delete = post(PATH, &json!({ "password": PASSWORD })).bearer(&token).host("acme.localhost");
    delete.send(&it.world.admin).await.expect(202);
    let pending = async || {
        assert_eq!(status(&it.world, &it.ann).await, UserStatus::PendingDeletion);
        assert_eq!(cancelled(&it.world, &it.staff).await, 0);
    };
    let challenge = it.asked().await;
    pending().await;
    it.verify(&challenge, "code", "000000").await.refused(401, "credentials_invalid");
    pending().await;
    let challenge = it.asked().await;
    let tenant = async |verb: &str| {
        let path = format!("/v1/tenants/{}/{verb}", it.tenant);
        post(&path, &Value::Null).bearer(&it.staff).send(&it.world.admin).await.expect(200);
    };
    tenant("suspend").await;
    it.verify(&challenge, "code", &it.code(0)).await.refused(403, "tenant_suspended");
    pending().await;
    tenant("resume").await;
    it.sign_in().await;
    assert_eq!(status(&it.world, &it.ann).await, UserStatus::Active);
    assert_eq!(cancelled(&it.world, &it.staff).await, 1);
    it.world.clock.advance(Duration::from_secs(31 * 86_400));
    assert_eq!(delete_due(&it.world.app).await.unwrap(), 0);
}

#[tokio::test]
async fn an_account_is_kept_by_the_token_that_was_given_for_it_which_opens_nothing() {
    let it = letters::Acme::new().await;
    it.world.tenant(&it.staff, "globex").await;
    let id = it.proven("ada").await;
    let token = it.world.login("acme", "ada").await;
    let held = it.ask_as(&token, PATH, &json!({ "password": PASSWORD })).await.expect(202);
    assert_eq!(held.headers["cache-control"], "no-store");
    let given = held.text("token");
    let letter = it.letters("ada@acme.example").await[0]["text"].as_str().unwrap().to_owned();
    assert!(letter.contains(&format!("/account/keep#token={given}")), "{letter}");
    keep(&it.world, "acme.localhost", "x").await.refused(401, "link_invalid");
    keep(&it.world, "globex.localhost", &given).await.refused(401, "link_invalid");
    assert_eq!(status(&it.world, &id).await, UserStatus::PendingDeletion);
    let kept = keep(&it.world, "acme.localhost", &given).await.expect(204);
    assert_eq!(kept.body, Value::Null);
    assert_eq!(status(&it.world, &id).await, UserStatus::Active);
    get("/v1/me").bearer(&token).send(&it.world.admin).await.refused(401, "token_revoked");
    keep(&it.world, "acme.localhost", &given).await.refused(401, "link_invalid");
    assert_eq!(cancelled(&it.world, &it.staff).await, 1);
    // Of an earlier request it is worth nothing for a later one.
    let ask = async || {
        let token = it.world.login("acme", "ada").await;
        it.ask_as(&token, PATH, &json!({ "password": PASSWORD })).await.expect(202).text("token")
    };
    let earlier = ask().await;
    let later = ask().await;
    keep(&it.world, "acme.localhost", &earlier).await.refused(401, "link_invalid");
    it.world.clock.advance(Duration::from_secs(30 * 86_400));
    keep(&it.world, "acme.localhost", &later).await.refused(401, "link_invalid");
    assert_eq!(delete_due(&it.world.app).await.unwrap(), 1);
}

async fn many_at_once(world: World) {
    let it = letters::Acme::in_world(world).await;
    let id = it.member("ada").await;
    let token = it.world.login("acme", "ada").await;
    let given = it.ask_as(&token, PATH, &json!({ "password": PASSWORD })).await.expect(202).text("token");
    let all = join_all((0..50).map(|_| keep(&it.world, "acme.localhost", &given))).await;
    let (kept, refused): (Vec<_>, Vec<_>) = all.into_iter().partition(|answer| answer.status == 204);
    assert_eq!(kept.len(), 1);
    assert!(refused.iter().all(|answer| answer.code() == "link_invalid"), "{refused:?}");
    assert_eq!(status(&it.world, &id).await, UserStatus::Active);
    assert_eq!(cancelled(&it.world, &it.staff).await, 1);
}

#[tokio::test]
async fn of_fifty_who_keep_an_account_at_once_one_does_on_sqlite() {
    many_at_once(World::new().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_fifty_who_keep_an_account_at_once_one_does_on_postgres() {
    on_postgres(many_at_once).await;
}

/// Failures are counted over all hostnames of a project: the count is the strictest, and does not tell who is a member where.
#[tokio::test]
async fn a_name_is_locked_as_the_strictest_tenant_of_the_project_says_whoever_has_it() {
    let world = World::new().await;
    let staff = world.staff().await;
    let tenants = world.shared_tenants(&staff, &["red", "blue"]).await;
    let ann = world.user(&staff, &tenants["red"], "ann", &["member"]).await;
    world.join(&staff, &tenants["blue"], &ann).await;
    world.user(&staff, &tenants["red"], "bob", &["member"]).await;
    let policy = call("PUT", &format!("/v1/tenants/{}/login-policy", tenants["blue"]));
    let policy = policy.json(&json!({ "lock_after": 3, "lock_s": 1800 })).bearer(&staff);
    policy.send(&world.admin).await.expect(200);
    for name in ["ann", "bob", "nobody"] {
        for _ in 0..3 {
            world.try_login("red", name, "wrong").await.refused(401, "credentials_invalid");
        }
        let locked = world.try_login("red", name, PASSWORD).await.refused(429, "login_locked");
        assert_eq!(locked.headers["retry-after"], "1800", "{name}");
    }
}
