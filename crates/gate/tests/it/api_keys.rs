//! API keys, sent and signed with: what they are good for, and what ends them.

use std::time::Duration;

use authn::{
    api_key::{NewKey, RANDOM_BYTES},
    signature::{SignedParts, sign},
};
use domain::{
    ApiKeyScheme, ApiKeyState, Clock as _, Decision, Fact, History, Seq, Timestamp, UserId,
    api_key::Verifier,
    decision::Stage,
    fact::Bindings,
    snapshot::{RateLimit, Tenant, TenantStatus},
};
use gate::{
    Denial,
    forward::{IdentityHeader, UpstreamHead, prepare},
};
use http::{HeaderMap, HeaderValue};

use crate::world::{ADMIN, MEMBER, Sent, World, id, tenant};

/// SHA-256 of nothing.
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn new_key(scheme: ApiKeyScheme, byte: u8) -> NewKey {
    NewKey::make(scheme, &[byte; RANDOM_BYTES]).unwrap()
}

fn state(new: &NewKey, owner: u128) -> ApiKeyState {
    ApiKeyState {
        history: History::default(),
        as_of: Seq::ZERO,
        id: id(900),
        prefix: new.prefix.clone(),
        project: id(10),
        tenant: id(1),
        owner: id(owner),
        owner_name: Some("mia".into()),
        verifiers: vec![Verifier { secret: new.verifier(), until: None }],
        scopes: vec!["demo:order:list".parse().unwrap()],
        networks: Vec::new(),
        rate_limit: None,
        expires_at: None,
        disabled: false,
    }
}

/// A world that knows the key; it is the member's.
pub(crate) fn with_key(scheme: ApiKeyScheme) -> (World, NewKey) {
    let (world, new) = (World::new(), new_key(scheme, 1));
    world.link.know(state(&new, MEMBER));
    (world, new)
}

pub(crate) fn get(target: &str, key: &NewKey) -> Sent {
    Sent::get("acme.localhost", target).bearer(key.text.expose())
}

/// A request to `/orders?a=1` as it was signed, at a time and with a nonce.
fn signed(world: &World, key: &NewKey, nonce: &str) -> Sent {
    signed_at(key, nonce, world.clock.unix_now())
}

fn signed_at(key: &NewKey, nonce: &str, at: Timestamp) -> Sent {
    let parts = SignedParts { method: "GET", host: "acme.localhost", path: "/orders", query: "a=1" };
    let at = at.to_string();
    let tag = sign(key.text.expose(), &parts, EMPTY, &at, nonce);
    Sent::get("acme.localhost", "/orders?a=1")
        .with("x-api-key-id", &key.prefix)
        .with("x-timestamp", &at)
        .with("x-nonce", nonce)
        .with("x-content-sha256", EMPTY)
        .with("x-signature", &tag)
}

/// Applies a change of the key as the log brings it.
fn change(world: &World, key: ApiKeyState) {
    let as_of = world.say(Fact::KeyChanged { key: key.id });
    world.link.know(ApiKeyState { as_of, ..key });
}

#[test]
fn a_key_acts_as_its_owner_and_within_its_scopes() {
    let (world, key) = with_key(ApiKeyScheme::Bearer);
    let permit = world.send(&get("/orders", &key)).unwrap();
    let principal = permit.identity.as_ref().unwrap();
    assert_eq!(*principal.subject, *UserId::to_string(&id(MEMBER)));
    assert!(!principal.is_admin);
    assert_eq!(world.code(&get("/me", &key)), "permit");
    assert_eq!(world.code(&get("/admin-only-in-demo", &key)), "permission_denied");
    let asked = world.link.keys_asked();
    assert_eq!(world.code(&get("/orders", &key)), "permit");
    assert_eq!(world.link.keys_asked(), asked, "a key that is known costs no question");
}

#[test]
fn an_administrators_key_is_no_administrator() {
    let (world, key) = with_key(ApiKeyScheme::Bearer);
    world.link.know(state(&key, ADMIN));
    let own_api = world.token(&world.acme, ADMIN);
    assert_eq!(world.code(&Sent::get("acme.localhost", "/api/v1/tenant/users").bearer(&own_api)), "permit");
    assert_eq!(world.code(&get("/api/v1/tenant/users", &key)), "permission_denied");
    assert_eq!(world.code(&get("/orders", &key)), "permit", "what a role of the owner's grants, within the scopes");
    let post = Sent::new("POST", "acme.localhost", "/orders").bearer(key.text.expose());
    assert_eq!(world.code(&post), "permission_denied", "what a role grants beyond them");
}

/// Defect 1 of `requirements.md` §1.7.
#[test]
fn s0_1_a_disabled_key_is_refused_at_the_next_request_and_good_again_once_enabled() {
    for scheme in [ApiKeyScheme::Bearer, ApiKeyScheme::Hmac] {
        let (world, key) = with_key(scheme);
        let call = |nonce: &str| match scheme {
            ApiKeyScheme::Bearer => get("/orders", &key),
            ApiKeyScheme::Hmac => signed(&world, &key, nonce),
        };
        assert_eq!(world.code(&call("n-00000001")), "permit");
        change(&world, ApiKeyState { disabled: true, ..state(&key, MEMBER) });
        assert_eq!(world.code(&call("n-00000002")), "api_key_disabled", "{scheme:?}");
        change(&world, state(&key, MEMBER));
        assert_eq!(world.code(&call("n-00000003")), "permit", "{scheme:?}");
        world.say(Fact::KeyChanged { key: id(900) });
        world.link.forget_keys();
        assert_eq!(world.code(&call("n-00000004")), "api_key_invalid", "revoked, {scheme:?}");
    }
}

/// Defect 5 of `requirements.md` §1.7.
#[test]
fn s0_5_a_key_loses_what_its_owner_loses() {
    let (world, key) = with_key(ApiKeyScheme::Bearer);
    assert_eq!(world.code(&get("/orders", &key)), "permit");
    let as_of = world.say(Fact::BindingsChanged { tenant: id(1), user: id(MEMBER) });
    world.link.bindings.lock().unwrap().insert(id(MEMBER), Bindings { active: true, as_of, ..Bindings::default() });
    assert_eq!(world.code(&get("/orders", &key)), "permission_denied");
    let as_of = world.say(Fact::BindingsChanged { tenant: id(1), user: id(MEMBER) });
    world.link.bindings.lock().unwrap().insert(id(MEMBER), Bindings { as_of, ..Bindings::default() });
    assert_eq!(world.code(&get("/me", &key)), "principal_inactive", "the owner was disabled");
}

#[test]
fn signing_out_does_not_touch_a_key_and_a_suspended_tenant_does() {
    let (world, key) = with_key(ApiKeyScheme::Bearer);
    assert_eq!(world.code(&get("/me", &key)), "permit");
    world.say(Fact::UserGeneration { tenant: id(1), user: id(MEMBER), generation: 7, cutoff: None });
    world.say(Fact::TenantGeneration { tenant: id(1), generation: 7, cutoff: None });
    assert_eq!(world.code(&get("/me", &key)), "permit");
    let row = Tenant { generation: 7, ..tenant(1, world.acme.project, "acme") };
    world.put_one(domain::snapshot::Entity::Tenant(row.clone()));
    assert_eq!(world.code(&get("/me", &key)), "permit");
    world.put_one(domain::snapshot::Entity::Tenant(Tenant { status: TenantStatus::Suspended, ..row }));
    assert_eq!(world.code(&get("/me", &key)), "tenant_suspended");
}

#[test]
fn a_key_ends_by_itself_and_an_old_secret_with_its_overlap() {
    let (world, old) = with_key(ApiKeyScheme::Bearer);
    assert_eq!(world.code(&get("/orders", &old)), "permit");
    let new = NewKey::again(old.prefix.clone(), &[2; RANDOM_BYTES]).unwrap();
    let soon = world.clock.unix_now() + Duration::from_secs(60);
    let verifiers =
        vec![Verifier { secret: new.verifier(), until: None }, Verifier { secret: old.verifier(), until: Some(soon) }];
    let later = soon + Duration::from_secs(60);
    change(&world, ApiKeyState { verifiers, expires_at: Some(later), ..state(&new, MEMBER) });
    assert_eq!((world.code(&get("/orders", &old)), world.code(&get("/orders", &new))), ("permit", "permit"));
    assert_eq!(world.send(&get("/orders", &old)).unwrap().lasting.ends_at, Some(soon));
    assert_eq!(world.send(&get("/orders", &new)).unwrap().lasting.ends_at, Some(later));
    world.clock.advance(Duration::from_secs(61));
    world.prove();
    assert_eq!((world.code(&get("/orders", &old)), world.code(&get("/orders", &new))), ("api_key_invalid", "permit"));
    world.clock.advance(Duration::from_secs(60));
    world.prove();
    assert_eq!(world.code(&get("/orders", &new)), "api_key_expired");
}

#[test]
fn a_stream_that_a_key_opened_ends_with_the_key() {
    let (world, key) = with_key(ApiKeyScheme::Bearer);
    let sent = get("/me", &key);
    let permit = world.send(&sent).unwrap();
    assert_eq!(world.still_holds(&permit, &sent), Ok(()));
    change(&world, ApiKeyState { disabled: true, ..state(&key, MEMBER) });
    assert_eq!(world.still_holds(&permit, &sent).unwrap_err().public().1, "api_key_disabled");
}

#[test]
fn every_stream_of_a_key_ends_with_it_whoever_heard_first() {
    let (world, key) = with_key(ApiKeyScheme::Bearer);
    let sent = get("/me", &key);
    let permits = [(); 3].map(|()| world.send(&sent).unwrap());
    change(&world, ApiKeyState { disabled: true, ..state(&key, MEMBER) });
    assert_eq!(world.code(&sent), "api_key_disabled", "a new request hears first");
    for permit in &permits {
        assert_eq!(world.still_holds(permit, &sent).unwrap_err().public().1, "api_key_disabled");
    }
}

#[test]
fn what_a_limit_refuses_uses_up_no_nonce() {
    let (world, key) = with_key(ApiKeyScheme::Hmac);
    world.link.know(ApiKeyState { rate_limit: Some(RateLimit { rps: 1, burst: 3 }), ..state(&key, MEMBER) });
    for at in 0..100 {
        world.code(&signed(&world, &key, &format!("n-{at:08}")));
    }
    assert_eq!(world.link.nonces_taken(), 3);
}

#[test]
fn those_who_ask_at_once_have_one_budget() {
    use futures::FutureExt as _;
    let (world, _) = with_key(ApiKeyScheme::Bearer);
    world.link.never_answer();
    let keys: Vec<_> = (0..200_u8)
        .map(|byte| NewKey::make(ApiKeyScheme::Bearer, &std::array::from_fn(|at| byte.wrapping_mul(at as u8))).unwrap())
        .collect();
    let sent: Vec<_> = keys.iter().map(|key| get("/me", key)).collect();
    let heads: Vec<_> = sent.iter().map(Sent::head).collect();
    let mut traces: Vec<_> = sent.iter().map(|_| gate::Trace::default()).collect();
    let deciding =
        heads.iter().zip(&mut traces).map(|(head, trace)| Box::pin(world.gate.decide(head, &world.clock, trace)));
    let waiting: Vec<_> =
        deciding.filter_map(|mut decide| (&mut decide).now_or_never().is_none().then_some(decide)).collect();
    assert!(waiting.len() <= 100 && world.link.keys_asked() <= 100, "{}", world.link.keys_asked());
}

#[test]
fn a_flood_of_unknown_keys_from_many_addresses_is_looked_up_seldom() {
    let config =
        gate::GateConfig { hostname_signature_budget: RateLimit { rps: 1, burst: 10 }, ..gate::GateConfig::default() };
    let world = World::with_config(config);
    let unknown = new_key(ApiKeyScheme::Bearer, 9);
    let flood = || {
        let from = |address| Sent { client: [192, 0, 2, address].into(), ..get("/me", &unknown) };
        (0..50).filter(|address| world.code(&from(*address)) == "api_key_invalid").count()
    };
    assert_eq!([flood(), flood()], [50, 0]);
    world.clock.advance(Duration::from_secs(1));
    assert_eq!([flood(), flood()], [50, 0], "once a second each");
}

#[test]
fn a_key_is_used_from_its_networks_only() {
    let (world, key) = with_key(ApiKeyScheme::Bearer);
    world.link.know(ApiKeyState { networks: vec!["198.51.100.0/24".parse().unwrap()], ..state(&key, MEMBER) });
    assert_eq!(world.code(&get("/me", &key)), "address_refused");
    let inside = Sent { client: [198, 51, 100, 7].into(), ..get("/me", &key) };
    assert_eq!(world.code(&inside), "permit");
    assert_eq!(world.code(&get("/me", &key)), "address_refused", "kept from inside, used from outside");
}

#[test]
fn c1_a_key_cached_at_one_hostname_is_not_believed_at_another() {
    let (world, key) = with_key(ApiKeyScheme::Bearer);
    assert_eq!(world.code(&get("/me", &key)), "permit");
    let elsewhere = Sent::get("globex.localhost", "/me").bearer(key.text.expose());
    assert_eq!(world.code(&elsewhere), "api_key_invalid", "another project does not know it");
    // A tenant of the project's other hostname.
    world.link.know(ApiKeyState { project: id(13), tenant: id(5), ..state(&new_key(ApiKeyScheme::Bearer, 3), MEMBER) });
    let beta = Sent::get("alpha.localhost", "/me").bearer(new_key(ApiKeyScheme::Bearer, 3).text.expose());
    assert_eq!(world.code(&beta), "tenant_mismatch");
}

#[test]
fn j9_two_credentials_of_any_kinds_are_refused() {
    let (world, key) = with_key(ApiKeyScheme::Bearer);
    let token = world.token(&world.acme, MEMBER);
    let signing = new_key(ApiKeyScheme::Hmac, 2);
    let base = || signed(&world, &signing, "n-00000001");
    for (what, sent) in [
        ("a key twice", get("/me", &key).bearer(key.text.expose())),
        ("a key and a token", get("/me", &key).bearer(&token)),
        ("a signature and a token", base().bearer(&token)),
        ("a signature and a key", base().bearer(key.text.expose())),
        ("two key ids", base().with("x-api-key-id", &signing.prefix)),
    ] {
        assert_eq!(world.code(&sent), "credential_ambiguous", "{what}");
    }
    assert_eq!(world.code(&Sent::get("acme.localhost", "/public/x").bearer(key.text.expose())), "permit");
}

/// Defect 10 of `requirements.md` §1.7.
#[test]
fn s0_10_an_unknown_key_a_wrong_secret_and_a_wrong_signature_are_one_answer() {
    let (world, key) = with_key(ApiKeyScheme::Bearer);
    let unknown = new_key(ApiKeyScheme::Bearer, 9);
    let wrong = NewKey::again(key.prefix.clone(), &[9; RANDOM_BYTES]).unwrap();
    let expected = world.denial(&get("/me", &unknown));
    assert_eq!(world.denial(&get("/me", &wrong)), expected);
    let signing = new_key(ApiKeyScheme::Hmac, 4);
    assert_eq!(world.denial(&signed(&world, &signing, "n-00000001")), expected, "unknown");
    world.link.know(ApiKeyState { id: id(901), ..state(&signing, MEMBER) });
    let other = NewKey::again(signing.prefix.clone(), &[9; RANDOM_BYTES]).unwrap();
    assert_eq!(world.denial(&signed(&world, &other, "n-00000002")), expected, "wrong");
    assert_eq!(expected.public().1, "api_key_invalid");
}

#[test]
fn a_flood_of_invented_keys_is_refused_before_anybody_is_asked() {
    let (world, key) = with_key(ApiKeyScheme::Bearer);
    for byte in 0..=255 {
        world.code(&get("/me", &NewKey::make(ApiKeyScheme::Bearer, &[byte; RANDOM_BYTES]).unwrap()));
        let random = std::array::from_fn(|at| byte.wrapping_add(at as u8));
        world.code(&get("/me", &NewKey::make(ApiKeyScheme::Bearer, &random).unwrap()));
    }
    assert!(world.link.keys_asked() <= 110, "{}", world.link.keys_asked());
    assert_eq!(world.code(&get("/me", &new_key(ApiKeyScheme::Bearer, 77))), "rate_limited");
    let text = key.text.expose().replace("_b", "_c");
    let elsewhere = Sent { client: [198, 51, 100, 7].into(), ..Sent::get("acme.localhost", "/me").bearer(&text) };
    let asked = world.link.keys_asked();
    assert_eq!(world.code(&elsewhere), "api_key_invalid");
    assert_eq!(world.link.keys_asked(), asked, "a wrong checksum asks nobody");
}

/// Defect 2 of `requirements.md` §1.7.
#[test]
fn s0_2_a_signature_covers_host_query_body_and_time_and_is_good_once() {
    let (world, key) = with_key(ApiKeyScheme::Hmac);
    let permit = world.send(&signed(&world, &key, "n-00000001")).unwrap();
    assert!(permit.body_digest.is_some(), "the proxy is to compare the body");
    assert_eq!(world.code(&signed(&world, &key, "n-00000001")), "signature_replayed");
    let with = |change: &dyn Fn(&mut Sent)| {
        let mut sent = signed(&world, &key, "n-00000002");
        change(&mut sent);
        world.code(&sent)
    };
    let set = |name: &'static str, value: &str| {
        let value = HeaderValue::from_str(value).unwrap();
        with(&move |sent| _ = sent.headers.insert(name, value.clone()))
    };
    assert_eq!(with(&|sent| sent.target = "/orders?a=2".into()), "api_key_invalid");
    assert_eq!(with(&|sent| sent.target = "/orders".into()), "api_key_invalid");
    assert_eq!(with(&|sent| sent.target = "/me?a=1".into()), "api_key_invalid");
    assert_eq!(with(&|sent| sent.method = "POST"), "api_key_invalid");
    assert_eq!(set("host", "alpha.localhost"), "api_key_invalid");
    assert_eq!(set("x-content-sha256", &"0".repeat(64)), "api_key_invalid");
    assert_eq!(set("x-nonce", "n-00000003"), "api_key_invalid");
    assert_eq!(set("x-nonce", "bad nonce"), "signature_malformed");
    assert_eq!(with(&|sent| _ = sent.headers.remove("x-signature")), "signature_malformed");
    let now = world.clock.unix_now();
    for (at, code) in [
        (now + Duration::from_secs(299), "permit"),
        (now - Duration::from_secs(299), "permit"),
        (now + Duration::from_secs(301), "signature_timestamp"),
        (now - Duration::from_secs(301), "signature_timestamp"),
    ] {
        assert_eq!(world.code(&signed_at(&key, &format!("n-{}", at.millis()), at)), code, "{at}");
    }
    assert_eq!(world.link.nonces_taken(), 3, "only who has the key uses up nonces");
}

#[test]
fn without_a_place_for_nonces_nothing_that_is_signed_is_accepted() {
    let (world, key) = with_key(ApiKeyScheme::Hmac);
    world.link.lose_nonces();
    assert_eq!(world.code(&signed(&world, &key, "n-00000001")), "nonces_unavailable");
}

#[test]
fn a_key_has_a_limit_of_its_own_and_shares_its_owners() {
    let (world, key) = with_key(ApiKeyScheme::Bearer);
    let rate_limit = Some(RateLimit { rps: 1, burst: 2 });
    world.link.know(ApiKeyState { rate_limit, ..state(&key, MEMBER) });
    let codes: Vec<_> = (0..3).map(|_| world.code(&get("/me", &key))).collect();
    assert_eq!(codes, ["permit", "permit", "rate_limited"]);
    let token = Sent::get("acme.localhost", "/me").bearer(&world.token(&world.acme, MEMBER));
    let permit = world.send(&token).unwrap();
    let other = new_key(ApiKeyScheme::Bearer, 5);
    world.link.know(ApiKeyState { id: id(905), ..state(&other, MEMBER) });
    let by_key = world.send(&get("/me", &other)).unwrap();
    assert_eq!(permit.identity.unwrap().number, by_key.identity.unwrap().number, "one principal, one limit");
}

struct Head(HeaderMap);

impl UpstreamHead for Head {
    fn fields(&mut self) -> &mut HeaderMap {
        &mut self.0
    }
    fn set_path(&mut self, _: &str) {}
}

#[test]
fn s9_the_upstream_learns_the_method_and_the_owner_and_never_the_key() {
    for (scheme, method) in [(ApiKeyScheme::Bearer, "api_key"), (ApiKeyScheme::Hmac, "signature")] {
        let (world, key) = with_key(scheme);
        let sent = match scheme {
            ApiKeyScheme::Bearer => get("/orders", &key),
            ApiKeyScheme::Hmac => signed(&world, &key, "n-00000001"),
        };
        let permit = world.send(&sent).unwrap();
        // As when `Connection` nominated it.
        let held = sent
            .headers
            .iter()
            .filter(|(name, _)| *name != "x-api-key-id")
            .map(|(name, value)| (name.clone(), value.clone()));
        let mut head = Head(held.collect());
        prepare(&permit, &mut head, "/orders", &world.clock).unwrap();
        let named = |name: &str| head.0.get(name).map(|value| value.to_str().unwrap());
        assert_eq!(named(IdentityHeader::AuthMethod.name().as_str()), Some(method));
        assert_eq!(named("x-md-global-user-id"), Some(&*UserId::to_string(&id(MEMBER))));
        assert_eq!(named("x-md-global-username"), Some("mia"));
        assert_eq!(named("x-md-global-roles"), None, "a role is more than a scope");
        for gone in authn::signature::FIELDS.iter().chain(&["authorization"]) {
            assert_eq!(named(gone), None, "{gone}");
        }
    }
}

/// Each refusal of keys, for the accounts: its code, its stage, the account, the credential's kind.
pub(crate) fn refusals() -> Vec<(&'static str, Stage, (Decision, Denial), &'static str)> {
    let (bearer, key) = with_key(ApiKeyScheme::Bearer);
    let (hmac, signing) = with_key(ApiKeyScheme::Hmac);
    let unknown = bearer.refused(&get("/me", &new_key(ApiKeyScheme::Bearer, 9)));
    let late = hmac.refused(&signed_at(&signing, "n-00000001", Timestamp::from_secs(1)));
    let malformed = hmac.refused(&signed(&hmac, &signing, "short"));
    hmac.send(&signed(&hmac, &signing, "n-00000002")).unwrap();
    let again = hmac.refused(&signed(&hmac, &signing, "n-00000002"));
    hmac.link.lose_nonces();
    let unremembered = hmac.refused(&signed(&hmac, &signing, "n-00000003"));
    bearer.link.know(ApiKeyState { disabled: true, ..state(&key, MEMBER) });
    let disabled = bearer.refused(&get("/me", &key));
    let (other, old) = with_key(ApiKeyScheme::Bearer);
    other.link.know(ApiKeyState { expires_at: Some(Timestamp::from_secs(1)), ..state(&old, MEMBER) });
    let expired = other.refused(&get("/me", &old));
    other.link.lose_keys();
    let unasked = other.refused(&get("/me", &new_key(ApiKeyScheme::Bearer, 9)));
    vec![
        ("api_key_invalid", Stage::Verify, unknown, "api_key"),
        ("api_key_disabled", Stage::Revoke, disabled, "api_key"),
        ("api_key_expired", Stage::Revoke, expired, "api_key"),
        ("api_keys_unavailable", Stage::Verify, unasked, "api_key"),
        ("signature_malformed", Stage::Verify, malformed, "signature"),
        ("signature_timestamp", Stage::Verify, late, "signature"),
        ("signature_replayed", Stage::Authorize, again, "signature"),
        ("nonces_unavailable", Stage::Authorize, unremembered, "signature"),
    ]
}

#[test]
fn a_key_is_told_of_by_its_public_part_alone() {
    let (world, key) = with_key(ApiKeyScheme::Bearer);
    let account = serde_json::to_string(&world.explained(&get("/orders", &key))).unwrap();
    assert!(account.contains(&*key.prefix) && account.contains("\"api_key\""), "{account}");
    assert!(!account.contains(key.text.expose()), "{account}");
}
