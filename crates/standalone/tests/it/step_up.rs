//! A route that demands a second factor and a recent sign-in, through the edge.

use control_api::totp::Codes;
use domain::{Secret, Timestamp};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};

use crate::node::{Node, echo, problem};

const ACME: &str = "acme.localhost";

/// RFC 4648 §6.
pub(crate) fn unbase32(text: &str) -> Vec<u8> {
    let bits: String = text
        .bytes()
        .map(|c| format!("{:05b}", if c.is_ascii_uppercase() { c - b'A' } else { c - b'2' + 26 }))
        .collect();
    bits.as_bytes()
        .chunks_exact(8)
        .map(|byte| u8::from_str_radix(std::str::from_utf8(byte).unwrap(), 2).unwrap())
        .collect()
}

pub(crate) fn now() -> Timestamp {
    crate::world::unix_now()
}

pub(crate) async fn answer(request: RequestBuilder) -> Value {
    let answer = request.send().await.unwrap();
    let status = answer.status();
    let body: Value = answer.json().await.unwrap();
    assert_eq!(status, StatusCode::OK, "{body}");
    body
}

#[tokio::test]
async fn a_second_factor_is_asked_for_by_the_edge_and_shown_in_the_same_session() {
    let node = Node::start();
    let staff = node.staff().await.access;
    let services = answer(node.admin(Method::GET, "/v1/services").bearer_auth(&staff)).await;
    let demo = services["items"].as_array().unwrap().iter().find(|it| it["name"] == "demo").unwrap()["id"].clone();
    let sure = json!({
        "service_id": demo, "path": "/demo/sure", "access": "authenticated",
        "require": { "acr": "aal2", "max_age": "5m" },
    });
    let made =
        node.admin(Method::POST, "/v1/routes?wait=applied").bearer_auth(&staff).json(&sure).send().await.unwrap();
    assert_eq!(made.status(), StatusCode::CREATED, "{}", made.text().await.unwrap());

    let user =
        node.tenant("acme")["users"].as_array().unwrap().iter().find(|it| it["role"] == "member").unwrap().clone();
    let credentials = json!({ "username": user["username"], "password": user["password"] });
    let post = |path: &str, body: &Value| node.edge(Method::POST, ACME, path).json(body);
    let pair = answer(post("/api/v1/tenant/auth/login", &credentials)).await;
    let (access, refresh) = (pair["access_token"].as_str().unwrap(), pair["refresh_token"].as_str().unwrap());
    let at = |access: &str| node.get(ACME, "/demo/sure").bearer_auth(access);
    let refused = at(access).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    let challenge = refused.headers()["www-authenticate"].to_str().unwrap().to_owned();
    assert!(challenge.contains(r#"error="insufficient_user_authentication""#), "{challenge}");
    assert!(challenge.ends_with(r#"acr_values="aal2", max_age="300""#), "{challenge}");
    assert_eq!(problem(at(access)).await, (401, "insufficient_user_authentication".into()));
    // Neither does the member's key show one.
    let key = node.tenant("acme")["api_key"].as_str().unwrap().to_owned();
    assert_eq!(problem(at(&key)).await.0, 401);

    let set_up = answer(post("/v1/auth/totp/setup", &json!({})).bearer_auth(access)).await;
    let codes = Codes::of(&Secret::new(unbase32(set_up["secret"].as_str().unwrap()))).unwrap();
    let code = |steps: i64| codes.code(now().secs() / 30 + steps).unwrap();
    let confirmed = answer(post("/v1/auth/totp/confirm", &json!({ "code": code(0) })).bearer_auth(access)).await;
    let recovery = confirmed["recovery_codes"][0].clone();
    let body = json!({ "password": user["password"], "recovery_code": recovery, "refresh_token": refresh });
    let stepped = answer(post("/v1/auth/step-up", &body).bearer_auth(access)).await;
    echo(at(stepped["access_token"].as_str().unwrap())).await;
    assert_eq!(problem(at(access)).await, (401, "token_revoked".into()));

    // And from now on a sign-in asks for it.
    let asked = answer(post("/api/v1/tenant/auth/login", &credentials)).await;
    assert!(asked.get("access_token").is_none(), "{asked}");
    let id = &asked["second_factor"]["login_challenge_id"];
    let body = json!({ "login_challenge_id": id, "recovery_code": confirmed["recovery_codes"][1] });
    let pair = answer(post("/v1/auth/totp/verify", &body)).await;
    echo(at(pair["access_token"].as_str().unwrap())).await;
}

#[tokio::test]
async fn a_passkey_is_asked_for_by_the_edge_and_shown_in_the_same_session() {
    let node = Node::start();
    let staff = node.staff().await.access;
    let services = answer(node.admin(Method::GET, "/v1/services").bearer_auth(&staff)).await;
    let demo = services["items"].as_array().unwrap().iter().find(|it| it["name"] == "demo").unwrap()["id"].clone();
    let sure = json!({
        "service_id": demo, "path": "/demo/sure", "access": "authenticated", "require": { "amr": ["user"], "max_age": "5m" },
    });
    let made =
        node.admin(Method::POST, "/v1/routes?wait=applied").bearer_auth(&staff).json(&sure).send().await.unwrap();
    assert_eq!(made.status(), StatusCode::CREATED, "{}", made.text().await.unwrap());
    let user =
        node.tenant("acme")["users"].as_array().unwrap().iter().find(|it| it["role"] == "member").unwrap().clone();
    let credentials = json!({ "username": user["username"], "password": user["password"] });
    let post = |path: &str, body: &Value| node.edge(Method::POST, ACME, path).json(body);
    let pair = answer(post("/api/v1/tenant/auth/login", &credentials)).await;
    let (access, refresh) = (pair["access_token"].as_str().unwrap(), pair["refresh_token"].as_str().unwrap());
    let at = |access: &str| node.get(ACME, "/demo/sure").bearer_auth(access);

    let begun = answer(post("/v1/auth/passkeys/register/begin", &json!({})).bearer_auth(access)).await;
    let port = node.address("edge_https").port();
    let mut passkey = testkit::SoftPasskey::new(&format!("https://{ACME}:{port}"));
    let body = json!({ "challenge_id": begun["challenge_id"], "credential": passkey.create(&begun["options"]) });
    let kept = post("/v1/auth/passkeys/register/complete", &body).bearer_auth(access).send().await.unwrap();
    assert_eq!(kept.status(), StatusCode::CREATED, "{}", kept.text().await.unwrap());
    // It is there, and this session has not shown it.
    let refused = at(access).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    let challenge = refused.headers()["www-authenticate"].to_str().unwrap().to_owned();
    assert!(challenge.contains(r#"error="insufficient_user_authentication""#), "{challenge}");

    let begun = answer(post("/v1/auth/passkeys/step-up/begin", &json!({})).bearer_auth(access)).await;
    let body = json!({
        "challenge_id": begun["challenge_id"], "credential": passkey.get(&begun["options"]), "refresh_token": refresh,
    });
    let stepped = answer(post("/v1/auth/passkeys/step-up/complete", &body).bearer_auth(access)).await;
    echo(at(stepped["access_token"].as_str().unwrap())).await;
    assert_eq!(problem(at(access)).await, (401, "token_revoked".into()));
    // What was signed once is good for nothing else.
    let again =
        post("/v1/auth/passkeys/step-up/complete", &body).bearer_auth(stepped["access_token"].as_str().unwrap());
    assert_eq!(problem(again).await.0, 401);
}
