//! An identity provider of this machine that tells the truth, or lies as it is told to. It speaks OpenID Connect, and GitHub's API.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use authn::{SigningKey, mint::generate};
use aws_lc_rs::{encoding::AsDer, hmac, rsa::PublicKeyComponents};
use axum::{
    Json, Router,
    extract::State,
    http::HeaderMap,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use domain::{Clock, snapshot::Algorithm};
use reqwest::Url;
use serde_json::{Value, json};
use testkit::FixedClock;
use tokio::{net::TcpListener, task::JoinHandle};

const JSON: [(&str, &str); 1] = [("content-type", "application/json")];

/// What is wrong with it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Lie {
    /// Nothing.
    #[default]
    None,
    /// A claim of the ID token is this, or missing where it is null.
    Claim(&'static str, Value),
    /// The ID token is of another key of the same name.
    OtherKey,
    /// It is signed by nothing.
    AlgNone,
    /// A member of the discovery document is this.
    Document(&'static str, Value),
    /// The token endpoint answers this.
    Token(u16, &'static str),
    /// It answers after so long.
    Slow(Duration),
    /// What its token endpoint answers is true, and so many bytes long.
    Long(usize),
    /// What its token endpoint answers comes byte by byte, and never ends.
    Drips,
    /// Its key set is this.
    Keys(Value),
    /// The ID token has this `kid`, and is signed with this by HMAC (`HS256`).
    Hmac(&'static str, Vec<u8>),
}

/// Somebody who signs in there.
#[derive(Clone, Debug)]
pub(crate) struct Person {
    pub(crate) subject: String,
    pub(crate) claims: Value,
}

#[derive(Clone)]
struct Begun {
    nonce: Option<String>,
    challenge: String,
    redirect_uri: String,
    client: String,
    person: Person,
}

struct Shared {
    issuer: String,
    key: SigningKey,
    other: SigningKey,
    clock: Mutex<Option<Arc<FixedClock>>>,
    lie: Mutex<Lie>,
    person: Mutex<Person>,
    codes: Mutex<HashMap<String, Begun>>,
    /// Forms that came to the token endpoint, each with its `Authorization`.
    asked: Mutex<Vec<Asked>>,
}

/// A form, and the `Authorization` it came with.
type Asked = (HashMap<String, String>, Option<String>);

/// It serves until it is dropped.
pub(crate) struct Fake {
    pub(crate) issuer: String,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Fake {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let key = || SigningKey::from_pkcs8("k1", Algorithm::Rs256, &generate(Algorithm::Rs256).unwrap()).unwrap();
        let person = Person {
            subject: "248289761001".into(),
            claims: json!({ "email": super::ADA, "email_verified": true, "given_name": "Ada", "family_name": "L" }),
        };
        let shared = Arc::new(Shared {
            issuer: issuer.clone(),
            key: key(),
            other: key(),
            clock: Mutex::new(None),
            lie: Mutex::default(),
            person: Mutex::new(person),
            codes: Mutex::default(),
            asked: Mutex::default(),
        });
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(document))
            .route("/common/v2.0/.well-known/openid-configuration", get(document))
            .route("/jwks", get(keys))
            .route("/token", post(token))
            .route("/login/oauth/access_token", post(github_token))
            .route("/api/user", get(github_user))
            .route("/api/user/emails", get(github_emails))
            .with_state(Arc::clone(&shared));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { issuer, shared, task }
    }

    pub(crate) fn keep_time_with(&self, clock: &Arc<FixedClock>) {
        *self.shared.clock.lock().unwrap() = Some(Arc::clone(clock));
    }

    pub(crate) fn lies(&self, lie: Lie) {
        *self.shared.lie.lock().unwrap() = lie;
    }

    /// Who signs in from now on.
    pub(crate) fn is_used_by(&self, subject: &str, claims: Value) {
        *self.shared.person.lock().unwrap() = Person { subject: subject.into(), claims };
    }

    /// What a browser comes back with that was sent here by this address.
    pub(crate) fn signs_in(&self, url: &Url) -> String {
        let query: HashMap<String, String> = url.query_pairs().into_owned().collect();
        assert_eq!((&*query["response_type"], &*query["code_challenge_method"]), ("code", "S256"));
        let code = format!("code-{}", uuid::Uuid::new_v4());
        let begun = Begun {
            nonce: query.get("nonce").cloned(),
            challenge: query["code_challenge"].clone(),
            redirect_uri: query["redirect_uri"].clone(),
            client: query["client_id"].clone(),
            person: self.shared.person.lock().unwrap().clone(),
        };
        self.shared.codes.lock().unwrap().insert(code.clone(), begun);
        code
    }

    /// An ID token as a program on a device is given one.
    pub(crate) fn id_token(&self, client: &str, nonce: &str) -> String {
        let person = self.shared.person.lock().unwrap().clone();
        self.shared.id_token(client, Some(nonce), &person)
    }

    /// The key that it signs with.
    pub(crate) fn key(&self) -> Value {
        self.shared.key.public_jwk()
    }

    /// Another one, which nobody signs with, under this name.
    pub(crate) fn other_key(&self, kid: &str) -> Value {
        let mut key = self.shared.other.public_jwk();
        key["kid"] = json!(kid);
        key
    }

    /// The same as `SubjectPublicKeyInfo` in DER.
    pub(crate) fn spki(&self) -> Vec<u8> {
        let jwk = self.key();
        let bytes = |name: &str| URL_SAFE_NO_PAD.decode(jwk[name].as_str().unwrap()).unwrap();
        let (n, e) = (bytes("n"), bytes("e"));
        PublicKeyComponents { n: n.as_slice(), e: e.as_slice() }.as_der().unwrap().as_ref().to_vec()
    }

    /// What came to the token endpoint.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().unwrap().clone()
    }
}

impl Shared {
    fn lie(&self) -> Lie {
        self.lie.lock().unwrap().clone()
    }

    fn id_token(&self, client: &str, nonce: Option<&str>, person: &Person) -> String {
        let now = self.clock.lock().unwrap().as_ref().unwrap().unix_now().secs();
        let mut claims = person.claims.clone();
        for (name, value) in [
            ("iss", json!(self.issuer)),
            ("aud", json!(client)),
            ("sub", json!(person.subject)),
            ("iat", json!(now)),
            ("exp", json!(now + 300)),
            ("nonce", json!(nonce)),
        ] {
            claims[name] = value;
        }
        let lie = self.lie();
        if let Lie::Claim(name, value) = &lie {
            match value {
                Value::Null => drop(claims.as_object_mut().unwrap().remove(*name)),
                value => claims[*name] = value.clone(),
            }
        }
        match lie {
            Lie::OtherKey => self.other.sign("JWT", &claims).unwrap(),
            Lie::AlgNone => authn::mint::compact(input("none", "k1", &claims.to_string()), &[]),
            Lie::Hmac(kid, secret) => {
                let input = input("HS256", kid, &claims.to_string());
                let key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
                let tag = hmac::sign(&key, input.as_bytes());
                authn::mint::compact(input, tag.as_ref())
            }
            _ => self.key.sign("JWT", &claims).unwrap(),
        }
    }

    /// What it answers for a code, once.
    fn tokens(&self, form: &HashMap<String, String>) -> Option<Value> {
        let begun = self.redeem(form)?;
        let token = self.id_token(&begun.client, begun.nonce.as_deref(), &begun.person);
        Some(json!({ "access_token": "opaque", "token_type": "Bearer", "id_token": token }))
    }

    /// What stands for a code, once, to who shows what it was asked for with.
    fn redeem(&self, form: &HashMap<String, String>) -> Option<Begun> {
        let begun = self.codes.lock().unwrap().remove(form.get("code")?)?;
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, form.get("code_verifier")?.as_bytes());
        let proven = URL_SAFE_NO_PAD.encode(digest) == begun.challenge;
        (proven && form.get("redirect_uri") == Some(&begun.redirect_uri)).then_some(begun)
    }
}

/// What is signed of an ID token.
fn input(algorithm: &str, kid: &str, claims: &str) -> String {
    let header = json!({ "alg": algorithm, "kid": kid, "typ": "JWT" });
    format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims))
}

async fn document(State(it): State<Arc<Shared>>) -> Json<Value> {
    let mut document = json!({
        "issuer": it.issuer,
        "authorization_endpoint": format!("{}/authorize", it.issuer),
        "token_endpoint": format!("{}/token", it.issuer),
        "jwks_uri": format!("{}/jwks", it.issuer),
        "code_challenge_methods_supported": ["S256"],
    });
    if let Lie::Document(name, value) = it.lie() {
        document[name] = value;
    }
    Json(document)
}

async fn keys(State(it): State<Arc<Shared>>) -> Json<Value> {
    match it.lie() {
        Lie::Keys(keys) => Json(keys),
        _ => Json(json!({ "keys": [it.key.public_jwk()] })),
    }
}

async fn token(State(it): State<Arc<Shared>>, headers: HeaderMap, body: String) -> Response {
    let form = read(&body);
    let login = headers.get("authorization").map(|value| value.to_str().unwrap().to_owned());
    it.asked.lock().unwrap().push((form.clone(), login));
    match it.lie() {
        Lie::Token(status, body) => {
            let status = axum::http::StatusCode::from_u16(status).unwrap();
            return (status, JSON, body).into_response();
        }
        Lie::Slow(time) => tokio::time::sleep(time).await,
        Lie::Drips => {
            let drops = futures::stream::unfold((), |()| async {
                tokio::time::sleep(Duration::from_millis(20)).await;
                Some((Ok::<_, std::convert::Infallible>(" "), ()))
            });
            return (JSON, axum::body::Body::from_stream(drops)).into_response();
        }
        _ => {}
    }
    let Some(tokens) = it.tokens(&form) else {
        return (axum::http::StatusCode::BAD_REQUEST, Json(json!({ "error": "invalid_grant" }))).into_response();
    };
    match it.lie() {
        Lie::Long(bytes) => {
            let text = tokens.to_string();
            let padding = " ".repeat(bytes - text.len());
            (JSON, text + &padding).into_response()
        }
        _ => Json(tokens).into_response(),
    }
}

async fn github_token(State(it): State<Arc<Shared>>, body: String) -> Json<Value> {
    let form = read(&body);
    it.asked.lock().unwrap().push((form.clone(), None));
    match it.redeem(&form) {
        Some(_) => Json(json!({ "access_token": "gho_opaque", "token_type": "bearer" })),
        // It refuses with a 200.
        None => Json(json!({ "error": "bad_verification_code" })),
    }
}

async fn github_user(State(it): State<Arc<Shared>>, headers: HeaderMap) -> Json<Value> {
    assert_eq!(headers["authorization"], "Bearer gho_opaque");
    let subject: u64 = it.person.lock().unwrap().subject.parse().unwrap();
    Json(json!({ "id": subject, "login": "ada", "name": "Ada Lovelace" }))
}

async fn github_emails(State(it): State<Arc<Shared>>) -> Json<Value> {
    let claims = it.person.lock().unwrap().claims.clone();
    Json(json!([
        { "email": "old@mail.example", "primary": false, "verified": true },
        { "email": claims["email"], "primary": true, "verified": claims["email_verified"] },
    ]))
}

fn read(form: &str) -> HashMap<String, String> {
    form_urlencoded::parse(form.as_bytes()).into_owned().collect()
}
