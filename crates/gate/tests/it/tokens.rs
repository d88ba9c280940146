//! Stages 6 and 8: whose token, of which tenant, in which context.

use std::collections::BTreeSet;

use domain::{
    Id,
    snapshot::{Entity, Issuer, RateLimit, TenantBinding},
};
use gate::GateConfig;
use testkit::hostile;
use uuid::Uuid;

use crate::world::{ADMIN, MEMBER, ROLE_PLATFORM, STAFF, Sent, UNIT, World, id, routes};

#[test]
fn a_token_of_another_project_is_of_an_unknown_issuer() {
    let world = World::new();
    let acme = world.token(&world.acme, MEMBER);
    assert_eq!(world.code(&Sent::get("globex.localhost", "/me").bearer(&acme)), "issuer_unknown");
    assert_eq!(world.code(&Sent::get("acme.localhost", "/me").bearer(&acme)), "permit");
    assert_eq!(world.code(&Sent::get("globex.localhost", "/me").bearer(&acme)), "issuer_unknown", "also when cached");
}

#[test]
fn a_token_of_another_tenant_of_the_project_is_refused() {
    let world = World::new();
    let beta = world.cloud.issuer.mint(world.claims(&world.cloud, MEMBER).set("tid", Uuid::from_u128(5)));
    assert_eq!(world.code(&Sent::get("alpha.localhost", "/me").bearer(&beta)), "tenant_mismatch");
    let permit = world.send(&Sent::get("cloud.localhost", "/me").bearer(&beta)).unwrap();
    assert_eq!(permit.tenant.unwrap().id, id(5), "a hostname without tenant takes any of its project");
    let nobody = world.cloud.issuer.mint(world.claims(&world.cloud, MEMBER).set("tid", Uuid::from_u128(1)));
    assert_eq!(world.code(&Sent::get("cloud.localhost", "/me").bearer(&nobody)), "tenant_unknown");
}

#[test]
fn system_context_counts_on_platform_hostnames_and_for_the_root_project_only() {
    let world = World::new();
    assert_eq!(world.code(&Sent::get("console.localhost", "/platform").bearer(&world.staff_token())), "permit");
    assert_eq!(world.code(&Sent::get("console.localhost", "/me").bearer(&world.staff_token())), "permit");
    assert_eq!(world.code(&Sent::get("acme.localhost", "/me").bearer(&world.staff_token())), "issuer_unknown");
    // An issuer of a tenant's project that writes `ctx: sys` gets nothing by it.
    let forged = world.acme.issuer.mint(world.claims(&world.acme, STAFF).set("ctx", "sys"));
    assert_eq!(world.code(&Sent::get("acme.localhost", "/me").bearer(&forged)), "context_mismatch");
    // And a tenant's token is no staff token, whatever roles its user holds.
    let tenant = world.root.issuer.mint(world.claims(&world.root, STAFF));
    assert_eq!(world.code(&Sent::get("console.localhost", "/platform").bearer(&tenant)), "context_mismatch");
}

#[test]
fn every_hostile_token_is_refused_with_401() {
    let world = World::new();
    for hostile in hostile::all(&world.acme.issuer, world.claims(&world.acme, MEMBER)) {
        if http::HeaderValue::from_str(&hostile.token).is_err() {
            continue; // No HTTP parser lets it come this far.
        }
        let denial = world.denial(&Sent::get("acme.localhost", "/me").bearer(&hostile.token));
        assert_eq!(denial.public().0, 401, "{}: {denial}", hostile.attack);
    }
}

/// J4: by another audience, by another issuer's key under the same `kid`, by another issuer's name, of another kind.
#[test]
fn j4_a_token_is_good_for_its_issuer_audience_and_kind_only() {
    let world = World::new();
    let me = |token: &str| world.code(&Sent::get("acme.localhost", "/me").bearer(token));
    let claims = || world.claims(&world.acme, MEMBER);
    let namesake =
        testkit::TestKey::generate(domain::snapshot::Algorithm::EdDsa).with_kid(world.acme.issuer.key().kid());
    let namesake = testkit::TestIssuer::with_key(world.acme.issuer.issuer(), namesake);
    for (what, token, code) in [
        ("another audience", world.acme.issuer.mint(claims().set("aud", "https://globex.localhost")), "token_audience"),
        ("no audience", world.acme.issuer.mint(claims().set("aud", serde_json::json!([]))), "token_audience"),
        (
            "another issuer's name",
            world.acme.issuer.mint(claims().set("iss", "https://globex.localhost")),
            "issuer_unknown",
        ),
        ("another key of the same kid", namesake.mint(claims()), "token_signature"),
        ("an ID token", world.acme.issuer.mint_as("id+jwt", claims()), "token_type"),
        ("a token of no kind", world.acme.issuer.mint_as("JWT", claims()), "token_type"),
        ("an assertion", world.acme.issuer.mint_as("assertion+jwt", claims()), "token_type"),
    ] {
        assert_eq!(me(&token), code, "{what}");
        assert_eq!(me(&token), code, "{what}, again");
    }
    assert_eq!(me(&world.token(&world.acme, MEMBER)), "permit");
}

#[test]
fn c1_a_token_cached_at_one_hostname_is_not_believed_at_another() {
    let world = World::new();
    let token = world.token(&world.acme, MEMBER);
    for _ in 0..3 {
        assert_eq!(world.code(&Sent::get("acme.localhost", "/me").bearer(&token)), "permit");
        assert_eq!(world.code(&Sent::get("cloud.localhost", "/me").bearer(&token)), "issuer_unknown");
        assert_eq!(world.code(&Sent::get("console.localhost", "/me").bearer(&token)), "issuer_unknown");
    }
    assert!(world.gate.token_cache().hits >= 2);
}

/// Everything that may be asked of this world, by everybody: each host, route, method and credential.
fn everything(world: &World) -> Vec<Sent> {
    let expired = world.claims(&world.acme, ADMIN).set("exp", 1);
    let tokens = [
        world.token(&world.acme, MEMBER),
        world.token(&world.acme, ADMIN),
        world.token(&world.cloud, ADMIN),
        world.staff_token(),
        world.acme.issuer.mint(expired),
        String::new(),
    ];
    let hosts = ["acme.localhost", "console.localhost", "alpha.localhost"];
    let mut all = Vec::new();
    for (host, token) in hosts.iter().flat_map(|host| tokens.iter().map(move |token| (*host, token))) {
        for route in routes() {
            let unit = id::<()>(UNIT).to_string();
            let path = route.path.to_string().replace("{ou}", &unit).replace("**", "x");
            for method in ["GET", "POST"] {
                if route.methods.is_empty() || route.methods.iter().any(|declared| declared == method) {
                    let sent = Sent::new(method, host, &path);
                    all.push(if token.is_empty() { sent } else { sent.bearer(token) });
                }
            }
        }
    }
    all
}

/// A gate that refuses nobody for coming often.
fn patient() -> World {
    let unlimited = RateLimit { rps: u32::MAX, burst: u32::MAX };
    World::with_config(GateConfig { address_limit: unlimited, tenant_limit: unlimited, ..GateConfig::default() })
}

/// Whatever was asked before, by whomever and wherever, the answer is the one that a gate gives that was asked nothing.
#[test]
fn c1_no_answer_depends_on_what_was_asked_before() {
    let alone = |at: usize| {
        let world = patient();
        world.code(&everything(&world)[at])
    };
    let world = patient();
    let all = everything(&world);
    let cold: Vec<&str> = (0..all.len()).map(alone).collect();
    assert!(cold.iter().collect::<BTreeSet<_>>().len() > 6, "{cold:?}");
    // Each before each, both ways.
    for one in 0..all.len() {
        for other in one..all.len() {
            for at in [one, other] {
                assert_eq!(world.code(&all[at]), cold[at], "{:?} after {:?}", all[at].target, all[one].target);
            }
        }
    }
}

#[test]
fn c3_a_key_taken_from_the_set_ends_its_tokens_though_they_are_cached() {
    let mut world = World::new();
    let token = world.token(&world.acme, MEMBER);
    let me = Sent::get("acme.localhost", "/me").bearer(&token);
    assert_eq!(world.code(&me), "permit");
    world.acme.issuer.rotate(testkit::key::TestKey::generate(domain::snapshot::Algorithm::EdDsa));
    let both = Issuer { id: id(30), ..world.acme.issuer.row(world.acme.project) };
    world.put_one(Entity::Issuer(both));
    assert_eq!(world.code(&me), "permit", "the old key is still published");
    world.acme.issuer.retire_former_keys();
    let new_only = Issuer { id: id(30), ..world.acme.issuer.row(world.acme.project) };
    world.put_one(Entity::Issuer(new_only));
    assert_eq!(world.code(&me), "key_unknown");
}

#[test]
fn an_unrelated_change_leaves_cached_tokens_warm() {
    let world = World::new();
    let me = Sent::get("acme.localhost", "/me").bearer(&world.token(&world.acme, MEMBER));
    assert_eq!(world.code(&me), "permit");
    let misses = world.gate.token_cache().misses;
    world.put_one(Entity::Tenant(crate::world::tenant(8, world.acme.project, "newcomer")));
    world.put_one(Entity::Upstream(crate::world::upstream()));
    assert_eq!(world.code(&me), "permit");
    assert_eq!(world.gate.token_cache().misses, misses);
}

#[test]
fn a_token_expires_while_it_is_cached() {
    let world = World::new();
    let me = Sent::get("acme.localhost", "/me").bearer(&world.token(&world.acme, MEMBER));
    assert_eq!(world.code(&me), "permit");
    world.clock.advance(std::time::Duration::from_secs(900 + 29));
    world.prove();
    assert_eq!(world.code(&me), "permit", "within the skew");
    world.clock.advance(std::time::Duration::from_secs(1));
    assert_eq!(world.code(&me), "token_expired");
}

#[test]
fn an_external_issuer_counts_by_its_binding_only() {
    let world = World::new();
    let issuer = testkit::TestIssuer::new("https://idp.example", domain::snapshot::Algorithm::Es256);
    let binding = TenantBinding::Claim("org".into());
    world.put_one(Entity::Issuer(Issuer { id: id(39), ..issuer.external_row(world.acme.project, binding) }));
    let now = domain::Clock::unix_now(&world.clock);
    let claims = |org: &str, roles: &[&str]| {
        issuer.mint_as(
            "JWT",
            issuer
                .external_claims(now)
                .set("org", org)
                .set("roles", roles)
                .set("is_admin", true)
                .set("is_super_admin", true)
                .set("ctx", "sys"),
        )
    };
    let orders = |token: &str| world.code(&Sent::get("acme.localhost", "/orders").bearer(token));
    assert_eq!(orders(&claims("acme", &["member"])), "permit");
    assert_eq!(orders(&claims("00000000-0000-0000-0000-000000000001", &["member"])), "permit");
    assert_eq!(orders(&claims("globex", &["member"])), "tenant_mismatch");
    assert_eq!(orders(&claims("acme", &["nobody", "platform_admin"])), "permission_denied");
    let users = Sent::get("acme.localhost", "/api/v1/tenant/users").bearer(&claims("acme", &["admin"]));
    assert_eq!(world.code(&users), "permission_denied", "an external role never makes an administrator");
    let _: Id<domain::id::kind::Role> = id(ROLE_PLATFORM);
}

#[test]
fn failed_signatures_have_a_budget_of_their_own() {
    let config = gate::GateConfig {
        signature_budget: domain::snapshot::RateLimit { rps: 1, burst: 2 },
        ..gate::GateConfig::default()
    };
    let world = World::with_config(config);
    let forged = hostile::foreign_key(&world.acme.issuer, world.claims(&world.acme, MEMBER));
    let codes: Vec<_> = (0..3).map(|_| world.code(&Sent::get("acme.localhost", "/me").bearer(&forged))).collect();
    assert_eq!(codes[2], "rate_limited", "{codes:?}");
    let good = world.token(&world.acme, MEMBER);
    let elsewhere = Sent { client: [192, 0, 2, 77].into(), ..Sent::get("acme.localhost", "/me").bearer(&good) };
    assert_eq!(world.code(&elsewhere), "permit", "another address is not touched");
}

#[test]
fn a_flood_from_many_addresses_has_few_signatures_checked_and_keeps_out_nobody_else() {
    let rate = |rps, burst| domain::snapshot::RateLimit { rps, burst };
    let config = gate::GateConfig {
        signature_budget: rate(20, 100),
        hostname_signature_budget: rate(1, 10),
        ..gate::GateConfig::default()
    };
    let world = World::with_config(config);
    let forged = hostile::foreign_key(&world.acme.issuer, world.claims(&world.acme, MEMBER));
    let from = |address: u8, token: &str| {
        world.code(&Sent { client: [192, 0, 2, address].into(), ..Sent::get("acme.localhost", "/me").bearer(token) })
    };
    let flood = || (0..50).filter(|address| from(*address, &forged) != "rate_limited").count();
    assert_eq!(
        [flood(), flood(), flood()],
        [50, 0, 0],
        "each address once in a second, when the hostname's ten are used up"
    );
    assert_eq!(from(0, &world.token(&world.acme, MEMBER)), "rate_limited", "who failed in this second waits");
    assert_eq!(from(200, &world.token(&world.acme, MEMBER)), "permit", "who did not is judged");
    let globex = world.token(&world.globex, MEMBER);
    let elsewhere = Sent { client: [192, 0, 2, 0].into(), ..Sent::get("globex.localhost", "/me").bearer(&globex) };
    assert_eq!(world.code(&elsewhere), "permit", "another hostname is not touched");
}
