//! Invitations: how people join a tenant, and what nobody gets by one.

use std::{collections::BTreeSet, time::Duration};

use domain::outbox::OutboxKind;
use serde_json::{Value, json};
use store::read::*;

use crate::{
    mail::post_office,
    org_units::{Office, office},
    support::{Answer, PASSWORD, World, get, on_postgres, post},
};

async fn role(it: &Office, name: &str) -> Value {
    let roles = it.send(&it.admin, "GET", "/v1/roles", None).await.expect(200);
    roles.body["items"].as_array().unwrap().iter().find(|role| role["name"] == name).unwrap()["id"].clone()
}

fn token(made: &Answer) -> String {
    made.text("invite_url").split_once("#token=").unwrap().1.to_owned()
}

async fn accept(world: &World, body: &Value) -> Answer {
    post("/v1/invitations/accept", body).send(&world.admin).await
}

async fn invite(it: &Office, by: &str, email: &str, roles: &[Value]) -> Answer {
    let body = json!({ "email": email, "role_ids": roles });
    it.send(by, "POST", &format!("/v1/tenants/{}/invitations", it.tenant), Some(body)).await
}

#[tokio::test]
async fn somebody_joins_by_an_invitation_with_the_roles_in_it() {
    let it = office().await;
    let auditor = role(&it, "auditor").await;
    let made = invite(&it, &it.admin, "bob@new.example", &[auditor]).await.expect(201);
    assert!(made.text("invite_url").starts_with("https://acme.localhost/invitations/accept#token="), "{made:?}");
    invite(&it, &it.admin, "bob@new.example x", &[]).await.refused(422, "validation_failed");
    invite(&it, &it.admin, "BOB@new.example", &[]).await.refused(409, "invitation_pending");
    let body = json!({ "token": token(&made), "password": PASSWORD, "username": "bob", "first_name": "Bob" });
    let joined = accept(&it.world, &body).await.expect(200);
    assert_eq!(joined.body["tenant_slug"], "acme");
    accept(&it.world, &body).await.refused(404, "not_found");
    let bob = it.world.login("acme", "bob").await;
    let users = it.send(&bob, "GET", "/api/v1/tenant/users?email=bob@new.example", None).await.expect(200);
    assert_eq!(users.body["items"][0]["first_name"], "Bob");
    let listed = it.send(&it.admin, "GET", &format!("/v1/tenants/{}/invitations", it.tenant), None).await.expect(200);
    assert_eq!(
        (&listed.body["items"][0]["status"], &listed.body["items"][0]["accepted_by"]),
        (&json!("accepted"), &joined.body["user_id"])
    );
    // Nothing that anybody is shown later holds the token.
    let trail = it.send(&it.staff, "GET", &format!("/v1/audit?tenant_id={}", it.tenant), None).await.expect(200);
    assert!(!trail.body.to_string().contains(&token(&made)) && !listed.body.to_string().contains(&token(&made)));
}

#[tokio::test]
async fn an_invitation_is_written_to_its_address_with_its_change_or_not_at_all() {
    let it = office().await;
    let made = invite(&it, &it.admin, "bob@new.example", &[]).await.expect(201);
    invite(&it, &it.admin, "bob@new.example", &[]).await.refused(409, "invitation_pending");
    let app = &it.world.app;
    assert_eq!(
        app.store.outbox_counts(OutboxKind::Mail).await.unwrap(),
        (1, 0),
        "and none for the one that was refused"
    );
    assert_eq!(post_office(app).await, 1);
    let letters = get("/dev/mailbox?to=bob@new.example").host("localhost").send(&it.world.admin).await.expect(200);
    let letters = letters.body.to_string();
    let (written, tenant) =
        (token(&made), it.send(&it.staff, "GET", &format!("/v1/tenants/{}", it.tenant), None).await);
    assert!(letters.contains(&written) && letters.contains(&tenant.expect(200).text("name")), "{letters}");
    let shown = json!({ "token": written, "password": PASSWORD, "username": "bob", "first_name": "Bob" });
    accept(&it.world, &shown).await.expect(200);
    // Taken back and made again: each is a letter, and there are not many of them.
    for n in 0..6 {
        let made = invite(&it, &it.admin, "eve@new.example", &[]).await;
        if n == 5 {
            made.refused(409, "invitation_limit");
            break;
        }
        let path = format!("/v1/tenants/{}/invitations/{}", it.tenant, made.expect(201).id());
        it.send(&it.admin, "DELETE", &path, None).await;
    }
    assert_eq!(app.store.outbox_counts(OutboxKind::Mail).await.unwrap(), (5, 0));
}

#[tokio::test]
async fn an_invitation_that_is_asked_for_twice_says_its_token_once() {
    let it = office().await;
    let path = format!("/v1/tenants/{}/invitations", it.tenant);
    let body = json!({ "email": "bob@new.example", "role_ids": [] });
    let ask =
        async || post(&path, &body).bearer(&it.admin).header("idempotency-key", "i-1").send(&it.world.admin).await;
    let made = ask().await.expect(201);
    assert_eq!(made.headers["cache-control"], "no-store");
    ask().await.refused(409, "shown_once");
}

/// S2: identical answers whether the account exists.
#[tokio::test]
async fn an_inviter_does_not_learn_whether_an_address_has_an_account() {
    let it = office().await;
    let tenant = format!("una@{}.example", it.tenant);
    let answers = [invite(&it, &it.admin, &tenant, &[]).await, invite(&it, &it.admin, "nobody@new.example", &[]).await];
    let shape = |answer: &Answer| {
        let members: BTreeSet<String> = answer.body.as_object().unwrap().keys().cloned().collect();
        (answer.status, members, answer.body["status"].clone())
    };
    assert_eq!(shape(&answers[0]), shape(&answers[1]));
}

/// An account that somebody else once made with the address joins nothing: whoever joins shows its password, too.
#[tokio::test]
async fn an_account_joins_by_the_token_and_its_own_password_only() {
    let it = office().await;
    let shared = it.world.shared_tenants(&it.staff, &["one", "two"]).await;
    let bob = it.world.user(&it.staff, &shared["one"], "bob", &["member"]).await;
    let body = json!({ "email": format!("bob@{}.example", shared["one"]) });
    let path = format!("/v1/tenants/{}/invitations", shared["two"]);
    let made = it.send(&it.staff, "POST", &path, Some(body)).await.expect(201);
    let show = |password: &str| json!({ "token": token(&made), "password": password });
    accept(&it.world, &show("Another-horse-2")).await.refused(401, "credentials_invalid");
    let joined = accept(&it.world, &show(PASSWORD)).await.expect(200);
    assert_eq!(joined.body["user_id"], json!(bob));
    it.world.try_login("two", "bob", PASSWORD).await.expect(200);
    // Whom an administrator has switched off comes back by no invitation.
    it.world.user(&it.staff, &shared["two"], "tia", &["owner"]).await;
    let tia = it.world.login("two", "tia").await;
    it.send(&tia, "POST", &format!("/api/v1/tenant/users/{bob}/disable"), None).await.expect(200);
    let address = json!({ "email": format!("bob@{}.example", shared["one"]) });
    let back = it.send(&tia, "POST", &path, Some(address)).await.expect(201);
    accept(&it.world, &json!({ "token": token(&back), "password": PASSWORD })).await.refused(404, "not_found");
    it.world.try_login("two", "bob", PASSWORD).await.refused(401, "credentials_invalid");
    it.send(&tia, "DELETE", &format!("{path}/{}", back.id()), None).await.expect(204);
    // Guesses count as at signing in.
    let again =
        it.send(&it.staff, "POST", &path, Some(json!({ "email": format!("bob@{}.example", shared["one"]) }))).await;
    let again = token(&again.expect(201));
    for _ in 0..5 {
        let body = json!({ "token": again, "password": "Another-horse-2" });
        accept(&it.world, &body).await.refused(401, "credentials_invalid");
    }
    accept(&it.world, &json!({ "token": again, "password": PASSWORD })).await.refused(429, "login_locked");
}

#[tokio::test]
async fn a_token_that_is_unknown_used_late_revoked_or_elsewhere_looks_the_same() {
    let it = office().await;
    let show = |token: &str| json!({ "token": token, "password": PASSWORD });
    accept(&it.world, &show("x")).await.refused(404, "not_found");
    let revoked = invite(&it, &it.admin, "a@new.example", &[]).await.expect(201);
    let path = format!("/v1/tenants/{}/invitations/{}", it.tenant, revoked.id());
    it.send(&it.admin, "DELETE", &path, None).await.expect(204);
    it.send(&it.admin, "DELETE", &path, None).await.refused(404, "not_found");
    accept(&it.world, &show(&token(&revoked))).await.refused(404, "not_found");
    it.world.tenant(&it.staff, "globex").await;
    let elsewhere = invite(&it, &it.admin, "b@new.example", &[]).await.expect(201);
    let there = post("/v1/invitations/accept", &show(&token(&elsewhere))).host("globex.localhost");
    there.send(&it.world.admin).await.refused(404, "not_found");
    it.world.clock.advance(Duration::from_secs(7 * 86_400));
    accept(&it.world, &show(&token(&elsewhere))).await.refused(404, "not_found");
}

#[tokio::test]
async fn nobody_invites_with_more_than_they_may_give_and_what_they_lost_nobody_gets() {
    let it = office().await;
    let clerk = it.world.user(&it.staff, &it.tenant, "clerk", &["it_admin"]).await;
    let by = it.world.login("acme", "clerk").await;
    let plain = it.world.login("acme", "una").await;
    invite(&it, &plain, "x@new.example", &[]).await.refused(403, "permission_denied");
    for name in ["owner", "admin", "auditor"] {
        invite(&it, &by, "x@new.example", &[role(&it, name).await]).await.refused(403, "permission_escalation");
    }
    invite(&it, &it.admin, "x@new.example", &[role(&it, "ou_admin").await]).await.refused(422, "validation_failed");
    let platform = role(&it, "platform_admin").await;
    invite(&it, &it.admin, "x@new.example", &[platform]).await.refused(403, "permission_escalation");
    let made = invite(&it, &by, "x@new.example", &[role(&it, "member").await]).await.expect(201);
    it.send(&it.admin, "POST", &format!("/api/v1/tenant/users/{clerk}/disable"), None).await.expect(200);
    let body = json!({ "token": token(&made), "password": PASSWORD });
    accept(&it.world, &body).await.refused(404, "not_found");
    it.send(&it.admin, "POST", &format!("/api/v1/tenant/users/{clerk}/enable"), None).await.expect(200);
    // Another tenant's invitations do not exist.
    let globex = it.world.tenant(&it.staff, "globex").await;
    it.world.user(&it.staff, &globex, "gus", &["owner"]).await;
    let theirs = it.world.login("globex", "gus").await;
    let path = format!("/v1/tenants/{}/invitations", it.tenant);
    it.send(&theirs, "GET", &path, None).await.refused(404, "not_found");
    it.send(&theirs, "POST", &path, Some(json!({ "email": "y@new.example" }))).await.refused(404, "not_found");
    it.send(&theirs, "DELETE", &format!("{path}/{}", made.id()), None).await.refused(404, "not_found");
    // A suspended tenant takes nobody in.
    it.send(&it.staff, "POST", &format!("/v1/tenants/{}/suspend", it.tenant), None).await.expect(200);
    accept(&it.world, &body).await.refused(403, "tenant_suspended");
}

async fn one_joins(world: World) {
    let staff = world.staff().await;
    let tenant = world.tenant(&staff, "acme").await;
    let body = json!({ "email": "bob@new.example" });
    let made = post(&format!("/v1/tenants/{tenant}/invitations"), &body).bearer(&staff).send(&world.admin).await;
    let shown = token(&made.expect(201));
    let tries = (0..6).map(|n| {
        let body = json!({ "token": shown, "password": PASSWORD, "username": format!("bob-{n}") });
        let router = world.admin.clone();
        tokio::spawn(async move { post("/v1/invitations/accept", &body).send(&router).await })
    });
    let answers = futures::future::join_all(tries).await;
    let won = answers.iter().filter(|answer| answer.as_ref().unwrap().status == 200).count();
    assert_eq!(won, 1, "{answers:?}");
    let users = world.app.store.clone();
    let members =
        store::read::Users::users_of_tenant(&users, tenant.parse().unwrap(), store::Page::FIRST).await.unwrap();
    assert_eq!(members.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_that_show_one_token_at_once_one_joins() {
    one_joins(World::new().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_that_show_one_token_at_once_one_joins_on_postgres() {
    on_postgres(one_joins).await;
}
