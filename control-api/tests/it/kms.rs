//! Keys of AWS KMS, against a stub of its JSON API that checks who asks.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use aws_lc_rs::{
    digest,
    encoding::AsDer,
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair},
};
use axum::{Json, Router, body::Bytes, extract::State, http::HeaderMap, response::IntoResponse, routing::post};
use base64::{Engine, engine::general_purpose::STANDARD};
use control_api::{
    Config,
    config::KmsAwsConfig,
    signer::sigv4::{Credentials, Request, Scope, authorization},
};
use domain::Secret;
use http::StatusCode;
use link::file::SecretRef;
use serde_json::{Value, json};

use crate::support::{World, call, get, post as ask};

const KEY: &str = "arn:aws:kms:eu-central-1:111122223333:key/1234";

/// KMS with one P-256 key. It signs digests, as told by `MessageType`.
struct Stub {
    pair: EcdsaKeyPair,
    down: AtomicBool,
    signed: Mutex<usize>,
}

fn refused(kind: &str) -> axum::response::Response {
    (StatusCode::BAD_REQUEST, Json(json!({ "__type": kind, "message": "no" }))).into_response()
}

async fn serve(State(stub): State<Arc<Stub>>, headers: HeaderMap, body: Bytes) -> axum::response::Response {
    let text = |name: &str| headers[name].to_str().unwrap();
    let names = ["content-type", "host", "x-amz-date", "x-amz-security-token", "x-amz-target"];
    let signed: Vec<(&str, &str)> = names.iter().map(|name| (*name, text(name))).collect();
    let request = Request { method: "POST", path: "/", query: "", headers: &signed, body: &body };
    let scope = Scope { region: "eu-central-1", service: "kms" };
    let credentials = Credentials {
        access_key_id: "AKIDEXAMPLE".into(),
        secret_access_key: Secret::new("wJalr".into()),
        session_token: None,
    };
    if text("authorization") != authorization(&request, text("x-amz-date"), scope, &credentials) {
        return refused("IncompleteSignatureException");
    }
    if stub.down.load(Ordering::SeqCst) {
        return (StatusCode::INTERNAL_SERVER_ERROR, Json(json!({ "__type": "KMSInternalException" }))).into_response();
    }
    let asked: Value = serde_json::from_slice(&body).unwrap();
    if asked["KeyId"] != KEY {
        return refused("NotFoundException");
    }
    match text("x-amz-target") {
        "TrentService.GetPublicKey" => {
            let der = AsDer::<aws_lc_rs::encoding::PublicKeyX509Der<'_>>::as_der(stub.pair.public_key()).unwrap();
            let public = STANDARD.encode(der.as_ref());
            Json(json!({ "KeyId": KEY, "PublicKey": public, "KeySpec": "ECC_NIST_P256", "KeyUsage": "SIGN_VERIFY",
                "SigningAlgorithms": ["ECDSA_SHA_256"] }))
            .into_response()
        }
        "TrentService.Sign" => {
            assert_eq!(
                (&asked["SigningAlgorithm"], &asked["MessageType"]),
                (&json!("ECDSA_SHA_256"), &json!("DIGEST"))
            );
            let digest = STANDARD.decode(asked["Message"].as_str().unwrap()).unwrap();
            let digest = digest::Digest::import_less_safe(&digest, &digest::SHA256).unwrap();
            *stub.signed.lock().unwrap() += 1;
            let signature = STANDARD.encode(stub.pair.sign_digest(&digest).unwrap().as_ref());
            Json(json!({ "KeyId": KEY, "Signature": signature, "SigningAlgorithm": "ECDSA_SHA_256" })).into_response()
        }
        other => refused(other),
    }
}

async fn stub() -> (Arc<Stub>, Config, tempfile::TempDir) {
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &SystemRandom::new()).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8.as_ref()).unwrap();
    let stub = Arc::new(Stub { pair, down: AtomicBool::new(false), signed: Mutex::new(0) });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().route("/", post(serve)).with_state(Arc::clone(&stub));
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let folder = tempfile::tempdir().unwrap();
    let secret = |name: &str, value: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, value).unwrap();
        SecretRef::File(path)
    };
    let mut config = Config::default();
    config.signing.kms_aws = Some(KmsAwsConfig {
        region: "eu-central-1".into(),
        endpoint: Some(format!("http://{address}/")),
        access_key_id: secret("id", "AKIDEXAMPLE"),
        secret_access_key: secret("key", "wJalr"),
        session_token: Some(secret("token", "temporary")),
    });
    (stub, config, folder)
}

#[tokio::test]
async fn a_key_of_kms_signs_tokens_that_verify_by_the_published_set() {
    let (stub, config, _folder) = stub().await;
    let world = World::with(config).await;
    let staff = world.staff().await;
    let tenant = world.tenant(&staff, "acme").await;
    world.user(&staff, &tenant, "ada", &[]).await;
    let found = get(&format!("/v1/tenants/{tenant}")).bearer(&staff).send(&world.admin).await.expect(200);
    let take = |body: Value| {
        let mut whole = json!({ "project_id": found.text("project_id") });
        whole.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
        ask("/v1/signing-keys", &whole).bearer(&staff).send(&world.admin)
    };
    take(json!({ "kms_key_id": "arn:unknown" })).await.refused(422, "validation_failed");
    take(json!({ "kms_key_id": KEY, "algorithm": "RS256" })).await.refused(422, "validation_failed");
    take(json!({ "kms_key_id": KEY, "purpose": "assertions" })).await.refused(422, "validation_failed");
    let made = take(json!({ "kms_key_id": KEY })).await.expect(201);
    assert_eq!((made.text("algorithm"), made.text("signer")), ("ES256".into(), "kms_aws".into()));
    let path = format!("/v1/signing-keys/{}/activate", made.text("kid"));
    call("POST", &path).bearer(&staff).send(&world.admin).await.expect(200);

    let token = world.login("acme", "ada").await;
    assert_eq!(*stub.signed.lock().unwrap(), 2, "once when it was taken up, once for the token");
    get("/api/v1/tenant/auth/info").bearer(&token).send(&world.admin).await.expect(200);
    stub.down.store(true, Ordering::SeqCst);
    let refused = world.try_login("acme", "ada", crate::support::PASSWORD).await;
    assert_eq!(refused.status, StatusCode::INTERNAL_SERVER_ERROR);
    get("/api/v1/tenant/auth/info").bearer(&token).send(&world.admin).await.expect(200);
}
