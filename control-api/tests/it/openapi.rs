//! The description of the API is what the router serves, and what is committed.

use std::{collections::BTreeSet, path::Path};

use control_api::router;
use serde_json::Value;

use crate::support::{World, call, get};

/// Operations that need no token. A list that changes by hand only.
pub(crate) const OPEN: [(&str, &str); 46] = [
    ("get", "/healthz"),
    ("get", "/readyz"),
    ("get", "/.well-known/jwks.json"),
    ("get", "/.well-known/portcullis-assertion-jwks.json"),
    ("get", "/api/v1/realm.json"),
    ("post", "/api/v1/tenant/auth/login"),
    ("post", "/api/v1/tenant/auth/refresh"),
    ("post", "/api/v1/auth/login"),
    ("post", "/v1/auth/password/complete"),
    ("post", "/v1/auth/totp/setup"),
    ("post", "/v1/auth/totp/confirm"),
    ("post", "/v1/auth/totp/verify"),
    ("post", "/v1/break-glass/login"),
    ("post", "/api/v1/auth/refresh"),
    ("post", "/v1/invitations/accept"),
    ("get", "/dev/mailbox"),
    ("post", "/v1/auth/login"),
    ("post", "/v1/auth/signup"),
    ("post", "/v1/auth/password/reset/request"),
    ("post", "/v1/auth/password/reset/confirm"),
    ("post", "/v1/auth/email/verify"),
    ("post", "/v1/auth/email/change/confirm"),
    ("post", "/v1/auth/otp/request"),
    ("post", "/v1/auth/otp/verify"),
    ("post", "/v1/auth/magic-link/request"),
    ("post", "/v1/auth/magic-link/redeem"),
    ("get", "/oauth/start/{provider}"),
    ("get", "/oauth/callback/{provider}"),
    ("post", "/oauth/callback/{provider}"),
    ("post", "/v1/auth/oauth/begin"),
    ("post", "/v1/auth/oauth/login"),
    ("post", "/v1/auth/oauth/redeem"),
    ("post", "/v1/auth/phone/request"),
    ("post", "/v1/auth/phone/verify"),
    ("post", "/v1/help-requests"),
    ("post", "/v1/identity-verifications/events"),
    ("post", "/oauth/token"),
    ("post", "/oauth/introspect"),
    ("post", "/oauth/revoke"),
    ("delete", "/v1/me/deletion"),
    ("post", "/v1/auth/passkeys/login/begin"),
    ("post", "/v1/auth/passkeys/login/complete"),
    ("post", "/v1/auth/passkeys/signup/begin"),
    ("post", "/v1/auth/passkeys/signup/complete"),
    ("post", "/v1/auth/qr"),
    ("post", "/v1/auth/qr/{sid}/poll"),
];

fn described() -> Value {
    serde_json::to_value(router::openapi()).unwrap()
}

fn operations(described: &Value) -> Vec<(String, String, Value)> {
    let paths = described["paths"].as_object().unwrap();
    let of = |(path, item): (&String, &Value)| {
        let methods = item.as_object().unwrap().iter();
        methods.map(|(method, operation)| (method.clone(), path.clone(), operation.clone())).collect::<Vec<_>>()
    };
    paths.iter().flat_map(of).collect()
}

#[test]
fn the_committed_descriptions_are_the_routers() {
    for (name, described) in [
        ("openapi.json", described()),
        ("openapi-internal.json", serde_json::to_value(router::internal_openapi()).unwrap()),
    ] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
        let text = serde_json::to_string_pretty(&described).unwrap() + "\n";
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(committed == text, "control-api/{name} is not what the router serves: run `make bless`");
    }
}

#[test]
fn every_operation_says_whether_it_needs_a_token() {
    let open: BTreeSet<(String, String)> = OPEN.iter().map(|(m, p)| ((*m).into(), (*p).into())).collect();
    let described = described();
    let without: BTreeSet<(String, String)> = operations(&described)
        .into_iter()
        .filter(|(_, _, operation)| operation.get("security").is_none())
        .map(|(method, path, _)| (method, path))
        .collect();
    assert_eq!(without, open);
}

#[tokio::test]
async fn every_operation_without_a_token_is_401() {
    let world = World::new().await;
    let id = "00000000-0000-0000-0000-000000000001";
    let mut asked = 0;
    for (method, path, _) in operations(&described()) {
        if OPEN.contains(&(method.as_str(), path.as_str())) {
            continue;
        }
        let filled: String =
            path.split('/').map(|part| if part.starts_with('{') { id } else { part }).collect::<Vec<_>>().join("/");
        for token in [None, Some("garbage"), Some("a.b.c")] {
            let mut request = call(&method.to_uppercase(), &filled);
            if let Some(token) = token {
                request = request.bearer(token);
            }
            let answer = request.send(&world.admin).await;
            assert_eq!(answer.status, 401, "{method} {path} {token:?}: {answer:?}");
            assert_eq!(answer.headers["www-authenticate"], "Bearer");
        }
        asked += 1;
    }
    assert!(asked > 60, "{asked} operations are described");
}

#[tokio::test]
async fn the_paths_other_systems_rely_on_are_described_and_served() {
    let described = described();
    for path in [
        "/api/v1/tenant/auth/login",
        "/api/v1/tenant/auth/logout",
        "/api/v1/tenant/auth/refresh",
        "/api/v1/tenant/auth/info",
        "/api/v1/auth/login",
        "/api/v1/auth/logout",
        "/api/v1/auth/refresh",
        "/api/v1/auth/userinfo",
        "/api/v1/tenant/users",
        "/api/v1/tenant/users/{id}",
        "/v1/tenants",
        "/v1/tenants/{id}",
        "/v1/tenants/by-slug/{slug}",
        "/v1/tenants/{id}/activate",
        "/v1/tenants/{id}/cancel",
        "/v1/entitlements",
        "/v1/catalog",
        "/v1/catalog/request",
        "/v1/catalog/trial-request",
        "/v1/api-keys",
        "/v1/api-keys/{id}",
        "/v1/audit",
        "/healthz",
        "/readyz",
    ] {
        assert!(described["paths"].get(path).is_some(), "{path}");
    }
    let world = World::new().await;
    let served = get("/openapi.json").send(&world.admin).await.expect(200);
    assert_eq!(served.body, described);
}
