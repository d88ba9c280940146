//! Refresh tokens: used once, by one.

use std::{collections::BTreeMap, time::Duration};

use serde_json::json;

use crate::support::{Answer, PASSWORD, World, get, on_postgres, post};

async fn refresh(world: &World, token: &str) -> Answer {
    let call = post("/api/v1/tenant/auth/refresh", &json!({ "refresh_token": token }));
    call.host("acme.localhost").send(&world.admin).await
}

async fn signed_in(world: &World) -> Answer {
    let staff = world.staff().await;
    let tenant = world.tenant(&staff, "acme").await;
    world.user(&staff, &tenant, "ada", &[]).await;
    world.try_login("acme", "ada", PASSWORD).await.expect(200)
}

async fn is_believed(world: &World, access_token: &str) -> bool {
    get("/api/v1/tenant/auth/info").bearer(access_token).send(&world.admin).await.status == 200
}

#[tokio::test]
async fn a_refresh_token_gives_a_new_pair() {
    let world = World::new().await;
    let first = signed_in(&world).await;
    let second = refresh(&world, &first.text("refresh_token")).await.expect(200);
    assert_ne!(first.text("refresh_token"), second.text("refresh_token"));
    assert!(is_believed(&world, &second.text("access_token")).await);
    refresh(&world, &second.text("refresh_token")).await.expect(200);
}

#[tokio::test]
async fn an_unknown_or_expired_refresh_token_is_refused() {
    let world = World::new().await;
    let tokens = signed_in(&world).await;
    refresh(&world, "x").await.refused(401, "refresh_invalid");
    refresh(&world, &tokens.text("access_token")).await.refused(401, "refresh_invalid");
    world.clock.advance(Duration::from_secs(7 * 86_400 + 1));
    refresh(&world, &tokens.text("refresh_token")).await.refused(401, "refresh_invalid");
}

#[tokio::test]
async fn a_refresh_token_is_never_an_access_token() {
    let world = World::new().await;
    let tokens = signed_in(&world).await;
    let call = get("/api/v1/tenant/auth/info").bearer(&tokens.text("refresh_token"));
    call.send(&world.admin).await.refused(401, "token_malformed");
}

#[tokio::test]
async fn a_second_use_within_the_grace_leaves_the_session_alone() {
    let world = World::new().await;
    let first = signed_in(&world).await;
    let second = refresh(&world, &first.text("refresh_token")).await.expect(200);
    refresh(&world, &first.text("refresh_token")).await.refused(401, "refresh_superseded");
    assert!(is_believed(&world, &second.text("access_token")).await);
}

#[tokio::test]
async fn a_replay_ends_every_session_of_the_user() {
    let world = World::new().await;
    let first = signed_in(&world).await;
    let other = world.try_login("acme", "ada", PASSWORD).await.expect(200);
    let second = refresh(&world, &first.text("refresh_token")).await.expect(200);
    world.clock.advance(Duration::from_secs(11));
    refresh(&world, &first.text("refresh_token")).await.refused(401, "refresh_replayed");
    for tokens in [&first, &second, &other] {
        assert!(!is_believed(&world, &tokens.text("access_token")).await);
    }
    refresh(&world, &second.text("refresh_token")).await.refused(401, "refresh_invalid");
    refresh(&world, &other.text("refresh_token")).await.refused(401, "refresh_invalid");
}

#[tokio::test]
async fn a_refresh_token_works_on_its_own_tenants_hostname_only() {
    let world = World::new().await;
    let tokens = signed_in(&world).await;
    let staff = world.staff().await;
    world.tenant(&staff, "globex").await;
    let body = json!({ "refresh_token": tokens.text("refresh_token") });
    let elsewhere = post("/api/v1/tenant/auth/refresh", &body).host("globex.localhost");
    elsewhere.send(&world.admin).await.refused(401, "refresh_invalid");
    post("/api/v1/auth/refresh", &body).send(&world.admin).await.refused(401, "refresh_invalid");
    refresh(&world, &tokens.text("refresh_token")).await.expect(200);
}

async fn one_winner(world: &World) {
    let tokens = signed_in(world).await;
    let token = tokens.text("refresh_token");
    let all = futures::future::join_all((0..16).map(|_| refresh(world, &token))).await;
    let mut counts = BTreeMap::new();
    for answer in &all {
        let outcome = if answer.status == 200 { "won" } else { answer.code() };
        *counts.entry(outcome.to_owned()).or_insert(0) += 1;
    }
    assert_eq!(counts, BTreeMap::from([("won".to_owned(), 1), ("refresh_superseded".to_owned(), 15)]));
    let winner = all.iter().find(|answer| answer.status == 200).unwrap();
    assert!(is_believed(world, &winner.text("access_token")).await);
}

#[tokio::test]
async fn of_many_at_once_one_wins_on_sqlite() {
    one_winner(&World::new().await).await;
}

#[tokio::test]
async fn of_many_at_once_one_wins_on_postgres() {
    on_postgres(async |world| one_winner(&world).await).await;
}

/// The threshold at the edge is an advice; here no refresh is too early.
#[tokio::test]
async fn a_refresh_is_never_refused_for_being_early() {
    let world = World::new().await;
    let mut tokens = signed_in(&world).await;
    for _ in 0..5 {
        tokens = refresh(&world, &tokens.text("refresh_token")).await.expect(200);
        assert!(is_believed(&world, &tokens.text("access_token")).await);
    }
}

#[tokio::test]
async fn how_long_a_lost_race_is_forgiven_is_a_setting() {
    let mut config = control_api::Config::default();
    config.sessions.refresh_grace = domain::HumanDuration::from_secs(2);
    let world = World::with(config).await;
    let first = signed_in(&world).await;
    let second = refresh(&world, &first.text("refresh_token")).await.expect(200);
    world.clock.advance(Duration::from_secs(1));
    refresh(&world, &first.text("refresh_token")).await.refused(401, "refresh_superseded");
    assert!(is_believed(&world, &second.text("access_token")).await);
    world.clock.advance(Duration::from_secs(1));
    refresh(&world, &first.text("refresh_token")).await.refused(401, "refresh_replayed");
    assert!(!is_believed(&world, &second.text("access_token")).await);
}

#[tokio::test]
async fn a_replay_is_in_the_trail() {
    let world = World::new().await;
    let first = signed_in(&world).await;
    refresh(&world, &first.text("refresh_token")).await.expect(200);
    world.clock.advance(Duration::from_secs(11));
    refresh(&world, &first.text("refresh_token")).await.refused(401, "refresh_replayed");
    let staff = world.staff().await;
    let trail = get("/v1/audit").bearer(&staff).send(&world.admin).await.expect(200);
    let events = trail.body["items"].as_array().unwrap();
    let replay = events.iter().find(|event| event["action"] == "refresh_replayed").unwrap();
    assert_eq!((&replay["is_failure"], &replay["actor"]["name"]), (&json!(true), &json!("ada")));
}

/// Whichever comes first, nothing of the session is alive afterwards.
async fn nothing_survives_logout(world: &World) {
    let mut tokens = signed_in(world).await;
    for _ in 0..10 {
        let logout = post("/api/v1/tenant/auth/logout", &json!({})).bearer(&tokens.text("access_token"));
        let token = tokens.text("refresh_token");
        let (refreshed, ended) = tokio::join!(refresh(world, &token), logout.send(&world.admin));
        ended.expect(200);
        assert!(!is_believed(world, &tokens.text("access_token")).await);
        if refreshed.status == 200 {
            assert!(!is_believed(world, &refreshed.text("access_token")).await);
            refresh(world, &refreshed.text("refresh_token")).await.refused(401, "refresh_invalid");
        } else {
            assert_eq!(refreshed.code(), "refresh_invalid", "{refreshed:?}");
        }
        tokens = world.try_login("acme", "ada", PASSWORD).await.expect(200);
    }
}

#[tokio::test]
async fn a_refresh_and_a_logout_at_once_leave_nothing_alive_on_sqlite() {
    nothing_survives_logout(&World::new().await).await;
}

#[tokio::test]
async fn a_refresh_and_a_logout_at_once_leave_nothing_alive_on_postgres() {
    on_postgres(async |world| nothing_survives_logout(&world).await).await;
}
