//! What an edge tells its control plane of its decisions.

use domain::{
    Decision, Fact, RequestId,
    decision::{BindingsLevel, Stage},
    snapshot::RateLimit,
};
use testkit::eventually;

use super::*;

/// An edge that tells of permits, too, as often as `hostname` says.
async fn telling(hostname: RateLimit) -> Fleet {
    let world = World::new().await;
    let plane = Plane::new(world.full());
    let mut config = world.config();
    config.explain.permits = 1.0;
    config.explain.hostname = hostname;
    let source = Source::ControlPlane { plane: Arc::<Plane>::clone(&plane), carrier: Arc::new(NoCarrier) };
    let edge = Edge::start(EdgeParts::new(config, source, Arc::new(SystemClock))).await.unwrap();
    Fleet { edge, plane, world }
}

const MANY: RateLimit = RateLimit { rps: 1000, burst: 1000 };

/// The account of a request, once it was told.
async fn told(fleet: &Fleet, response: &Response) -> Decision {
    let id: RequestId = response.header("x-request-id").unwrap().parse().unwrap();
    let mut found = None;
    eventually("the decision is told", async || {
        found = fleet.plane.told.lock().iter().find(|decision| decision.request_id == id).cloned();
        found.is_some()
    })
    .await;
    found.unwrap()
}

#[tokio::test]
async fn permits_and_refusals_are_told_with_what_was_found() {
    let fleet = telling(MANY).await;
    let (jti, user, token) = fleet.member();
    let orders = async || fleet.ask(&Ask::get("/orders?secret=canary").bearer(&token)).await;
    let permit = told(&fleet, &orders().await).await;
    assert_eq!((&*permit.code, permit.path.as_deref()), ("permit", Some("/orders")));
    let principal = permit.principal.unwrap();
    assert_eq!(&*principal.subject, &user.to_string());
    assert_eq!(principal.bindings.unwrap().level, BindingsLevel::ControlApi);
    assert!(permit.freshness.proven && permit.freshness.revision >= 10);

    let again = told(&fleet, &orders().await).await;
    assert_eq!(again.principal.unwrap().bindings.unwrap().level, BindingsLevel::Token);
    assert_eq!(again.credential.unwrap().seen_before, Some(true));

    // Another token of the same user: its roles are in memory.
    let tenant: TenantId = ACME_ID.parse().unwrap();
    let claims = fleet.world.issuer.claims(SystemClock.unix_now()).for_user(tenant, user);
    let other = fleet.world.issuer.mint(claims.set("pid", fleet.world.project()));
    let other = told(&fleet, &fleet.ask(&Ask::get("/orders").bearer(&other)).await).await;
    assert_eq!(other.principal.unwrap().bindings.unwrap().level, BindingsLevel::Memory);

    let denied = fleet.ask(&Ask::get("/orders/7").bearer(&token)).await;
    assert_eq!(denied.status, 403);
    let denied = told(&fleet, &denied).await;
    assert_eq!((&*denied.code, denied.stopped_at), ("permission_denied", Some(Stage::Authorize)));

    let exp = domain::Timestamp::from_secs(SystemClock.unix_now().secs() + 900);
    fleet.plane.commit(Fact::TokenRefused { jti, exp });
    // The first may have been at the upstream's by then.
    eventually("the token is refused", async || orders().await.status == 401).await;
    let refused = told(&fleet, &orders().await).await;
    assert_eq!((&*refused.code, refused.stopped_at), ("token_revoked", Some(Stage::Revoke)));
    let all = serde_json::to_string(&*fleet.plane.told.lock()).unwrap();
    assert!(!all.contains("canary") && !all.contains(&token), "{all}");
}

#[tokio::test]
async fn an_upstream_that_fails_is_told_of_behind_the_gate() {
    let fleet = telling(MANY).await;
    let (_, _, token) = fleet.member();
    fleet.world.canary.answer_next("not HTTP at all\r\n\r\n");
    let response = fleet.ask(&Ask::get("/orders").bearer(&token)).await;
    assert_eq!(response.status, 502);
    let decision = told(&fleet, &response).await;
    assert_eq!((decision.status, decision.stopped_at), (Some(502), Some(Stage::Forward)));
    assert_eq!(decision.permission.unwrap().held, Some(true));
}

#[tokio::test]
async fn a_flood_is_told_of_within_its_budget_and_the_neighbours_are_heard() {
    let fleet = telling(RateLimit { rps: 1, burst: 5 }).await;
    let begin = SystemClock.boot_now();
    for _ in 0..200 {
        assert_eq!(fleet.ask(&Ask::get("/echo/x")).await.status, 401);
    }
    let neighbour = fleet.ask(&Ask::get("/echo/x").at(GLOBEX)).await;
    let (_, _, token) = fleet.member();
    let member = fleet.ask(&Ask::get("/orders/7").bearer(&token)).await;
    assert_eq!(&*told(&fleet, &neighbour).await.code, "credential_missing");
    assert_eq!(&*told(&fleet, &member).await.code, "permission_denied", "principals have a part of their own");
    let of_acme = fleet.plane.told.lock().iter().filter(|it| it.host.as_deref() == Some(ACME)).count();
    // What was there at once, one for each second it took, and the member's.
    let seconds = usize::try_from(SystemClock.boot_now().since(begin).as_secs()).unwrap();
    assert!((6..=7 + seconds).contains(&of_acme), "{of_acme} of 200 in {seconds} s");
}

#[tokio::test]
async fn a_control_plane_that_takes_nothing_holds_up_no_request() {
    let fleet = telling(MANY).await;
    fleet.plane.down.store(true, Ordering::SeqCst);
    for _ in 0..20 {
        assert_eq!(fleet.ask(&Ask::get("/echo/x")).await.status, 401);
    }
    fleet.plane.down.store(false, Ordering::SeqCst);
    eventually("it is told again", async || {
        fleet.ask(&Ask::get("/public/x")).await;
        fleet.plane.told.lock().iter().any(|decision| &*decision.code == "permit")
    })
    .await;
}
