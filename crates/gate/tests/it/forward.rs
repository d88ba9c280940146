//! Stage 11: what arrives at the upstream.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use domain::{
    Fact,
    fact::Bindings,
    snapshot::{Assertion, Entity, Upstream},
};
use gate::{
    Permit,
    forward::{self, IdentityHeader, UpstreamHead},
};
use http::{HeaderMap, HeaderValue};
use serde_json::Value;
use testkit::claims::Claims;

use crate::world::{ADMIN, ASSERTION_KEY, MEMBER, ROLE_ADMIN, Sent, UNIT, World, id, upstream};

#[derive(Default)]
pub(crate) struct Head {
    pub(crate) headers: HeaderMap,
    path: Option<String>,
}

impl UpstreamHead for Head {
    fn fields(&mut self) -> &mut HeaderMap {
        &mut self.headers
    }
    fn set_path(&mut self, path: &str) {
        self.path = Some(path.into());
    }
}

/// Decides and forwards; the header names and values that arrive.
fn forwarded(world: &World, sent: &Sent) -> Head {
    prepared(world, sent, &world.send(sent).unwrap())
}

pub(crate) fn prepared(world: &World, sent: &Sent, permit: &Permit) -> Head {
    let mut head = Head { headers: sent.headers.clone(), path: None };
    let path = permit.path.as_deref().unwrap_or(&sent.target).to_owned();
    forward::prepare(permit, &mut head, &path, &world.clock).unwrap();
    head
}

fn values<'h>(head: &'h Head, name: &str) -> Vec<&'h str> {
    head.headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
}

#[test]
fn the_identity_is_injected_once_each_and_nothing_empty() {
    let world = World::new();
    let head = forwarded(&world, &Sent::get("acme.localhost", "/me").bearer(&world.token(&world.acme, MEMBER)));
    for (name, expected) in [
        ("x-md-global-user-id", "00000000-0000-0000-0000-0000000001f5"),
        ("x-md-global-tenant-id", "00000000-0000-0000-0000-000000000001"),
        ("x-md-global-tenant-slug", "acme"),
        ("x-md-global-username", "ada"),
        ("x-md-global-roles", "member"),
        ("x-md-global-is-admin", "false"),
        ("x-md-global-is-super-admin", "false"),
        ("x-md-global-auth-method", "jwt"),
        ("x-md-global-plan", "gold"),
        ("x-md-global-products", "crm,erp"),
        ("x-md-global-request-id", "00000000-0000-0000-0000-000000000063"),
        ("x-request-id", "00000000-0000-0000-0000-000000000063"),
        ("x-forwarded-for", "192.0.2.1"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "acme.localhost"),
        ("host", "acme.localhost"),
    ] {
        assert_eq!(values(&head, name), [expected], "{name}");
    }
    assert!(values(&head, "x-md-global-ou-id").is_empty());
    assert!(values(&head, "authorization").is_empty());
    assert!(head.headers.values().all(|value| !value.is_empty()));
}

#[test]
fn tokens_of_one_user_have_one_principal_and_each_is_told_by_its_own_ids() {
    let world = World::new();
    let claims = || world.claims(&world.acme, MEMBER);
    let sent = |claims: Claims| Sent::get("acme.localhost", "/orders").bearer(&world.acme.issuer.mint(claims));
    let (first, second) = (sent(claims().set("username", "ann")), sent(claims().set("username", "Zoë")));
    let of_unit = sent(claims().set("ou", id::<()>(UNIT).to_string()));
    let permit = |sent: &Sent| world.send(sent).unwrap();
    let principal = |permit: &Permit| permit.identity.clone().unwrap();
    let one = principal(&permit(&first));
    for sent in [&first, &second, &of_unit] {
        assert!(Arc::ptr_eq(&principal(&permit(sent)), &one));
    }
    let admin = Sent::get("acme.localhost", "/orders").bearer(&world.token(&world.acme, ADMIN));
    assert!(!Arc::ptr_eq(&principal(&permit(&admin)), &one), "another user");

    let said = |sent: &Sent, name: &str| -> Vec<String> {
        let head = prepared(&world, sent, &permit(sent));
        values(&head, name).into_iter().map(str::to_owned).collect()
    };
    assert_eq!(said(&first, "x-md-global-username"), ["ann"]);
    assert_eq!(said(&second, "x-md-global-username"), ["Zo%C3%AB"]);
    assert_eq!(said(&first, "x-md-global-user-id"), said(&second, "x-md-global-user-id"));
    assert_ne!(said(&first, "x-md-global-token-id"), said(&second, "x-md-global-token-id"));
    assert_eq!(said(&of_unit, "x-md-global-ou-id"), [id::<()>(UNIT).to_string()]);
    assert!(said(&first, "x-md-global-ou-id").is_empty(), "its token names no unit");

    // A change of what the user may do is one for all of them.
    let seq = world.say(Fact::BindingsChanged { tenant: world.acme.tenant, user: id(MEMBER) });
    let bindings = Bindings { active: true, roles: vec![id(ROLE_ADMIN)], as_of: seq, ..Bindings::default() };
    world.bind(MEMBER, bindings);
    let changed = principal(&permit(&second));
    assert!(changed.is_admin && !Arc::ptr_eq(&changed, &one));
    assert!(Arc::ptr_eq(&principal(&permit(&first)), &changed));
}

#[test]
fn s3_forged_identity_vanishes_for_anonymous_callers_too() {
    let world = World::new();
    let mut sent = Sent::get("acme.localhost", "/public/x");
    for header in IdentityHeader::ALL {
        sent.headers.append(header.name(), HeaderValue::from_static("forged"));
        sent.headers.append(header.name(), HeaderValue::from_static("forged-again"));
    }
    for name in [
        "x-md-local-x",
        "x-md-anything",
        "x-forwarded-for",
        "x-forwarded-prefix",
        "x-forwarded",
        "forwarded",
        "x-real-ip",
        "x-original-host",
        "x-rewrite-url",
        "proxy-authorization",
        "x-middleware-subrequest",
    ] {
        sent = sent.with(name, "forged");
    }
    let head = forwarded(&world, &sent);
    let forged: Vec<_> = head.headers.iter().filter(|(_, value)| value.as_bytes().starts_with(b"forged")).collect();
    assert!(forged.is_empty(), "{forged:?}");
    assert!(values(&head, "x-md-global-user-id").is_empty());
    assert_eq!(values(&head, "x-md-global-tenant-slug"), ["acme"]);
}

#[test]
fn the_canonical_path_is_what_is_sent() {
    let world = World::new();
    let head = forwarded(&world, &Sent::get("acme.localhost", "/public/%7efoo%c3%a9"));
    assert_eq!(head.path.as_deref(), Some("/public/~foo%C3%A9"));
    assert_eq!(forwarded(&world, &Sent::get("acme.localhost", "/public/x")).path, None);
}

fn assertion_claims(head: &Head) -> (Value, Value, String, Vec<u8>) {
    let token = values(head, "x-md-global-assertion")[0].to_owned();
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let (header, claims) = signed.split_once('.').unwrap();
    let decode = |part: &str| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap();
    (decode(header), decode(claims), signed.to_owned(), URL_SAFE_NO_PAD.decode(signature).unwrap())
}

#[test]
fn the_hmac_assertion_binds_tenant_subject_method_path_host_request_and_client() {
    let world = World::new();
    let sent = Sent::get("acme.localhost", "/me").bearer(&world.token(&world.acme, MEMBER));
    let (header, claims, signed, signature) = assertion_claims(&forwarded(&world, &sent));
    assert_eq!(header, serde_json::json!({"alg": "HS256", "kid": "echo-1", "typ": "assertion+jwt"}));
    for (name, expected) in [
        ("aud", "echo"),
        ("tid", "00000000-0000-0000-0000-000000000001"),
        ("sub", "00000000-0000-0000-0000-0000000001f5"),
        ("htm", "GET"),
        ("htu", "/me"),
        ("host", "acme.localhost"),
        ("rid", "00000000-0000-0000-0000-000000000063"),
        ("cip", "192.0.2.1"),
    ] {
        assert_eq!(claims[name], expected, "{name}");
    }
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 60);
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &URL_SAFE_NO_PAD.decode(ASSERTION_KEY).unwrap());
    aws_lc_rs::hmac::verify(&key, signed.as_bytes(), &signature).unwrap();
}

#[test]
fn the_eddsa_assertion_verifies_under_the_published_key() {
    let world = World::new();
    let pkcs8 = authn::mint::generate(domain::snapshot::Algorithm::EdDsa).unwrap();
    let key = authn::SigningKey::from_pkcs8("fleet-1", domain::snapshot::Algorithm::EdDsa, &pkcs8).unwrap();
    let encoded = domain::Secret::new(URL_SAFE_NO_PAD.encode(pkcs8.expose()));
    let assertion = Assertion::Eddsa { key: encoded, kid: "fleet-1".into() };
    world.put_one(Entity::Upstream(Upstream { assertion, ..upstream() }));
    let (header, _, signed, signature) =
        assertion_claims(&forwarded(&world, &Sent::get("acme.localhost", "/public/x")));
    assert_eq!(header["kid"], "fleet-1");
    let jwks = authn::Jwks::parse(&serde_json::json!({"keys": [key.public_jwk()]})).unwrap();
    assert!(jwks.key("fleet-1").unwrap().verifies(signed.as_bytes(), &signature));
}

#[test]
fn an_upstream_gets_the_headers_it_lists_and_credentials_only_when_it_says_so() {
    let world = World::new();
    let headers = Some(vec!["x-md-global-user-id".to_owned()]);
    world.put_one(Entity::Upstream(Upstream {
        headers,
        forward_credentials: true,
        assertion: Assertion::Off,
        ..upstream()
    }));
    let head = forwarded(&world, &Sent::get("acme.localhost", "/me").bearer(&world.token(&world.acme, MEMBER)));
    let identity: Vec<_> = head.headers.keys().filter(|name| name.as_str().starts_with("x-md-")).collect();
    assert_eq!(identity, ["x-md-global-user-id"]);
    assert_eq!(values(&head, "authorization").len(), 1);
}
