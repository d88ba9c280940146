//! What the echo received through the edge is verified by both libraries, in both modes; and is refused by both, with
//! one code, once anything that counts is swapped.

use std::time::{Duration, UNIX_EPOCH};

use domain::Clock as _;
use http::{HeaderMap, HeaderName, Method, Uri};
use link::clock::SystemClock;
use portcullis_assertion::{HEADER, KeySet, Verifier};
use serde_json::{Value, json};

use super::ask_go;
use crate::node::{Node, echo};

/// A request as the service received it, and what it is verified with.
#[derive(Clone)]
struct Received {
    /// The echo's answer.
    seen: Value,
    audience: &'static str,
    hmac: Option<(String, String)>,
    jwks: Option<Value>,
    now: u64,
}

/// The time, in whole seconds since the epoch.
pub(super) fn now() -> u64 {
    SystemClock.unix_now().secs().unsigned_abs()
}

/// The echo's answer as a library wants it: method, target, header fields.
pub(super) fn parts(seen: &Value) -> (Method, Uri, HeaderMap) {
    let mut headers = HeaderMap::new();
    for (name, values) in seen["headers"].as_object().unwrap() {
        for value in values.as_array().unwrap() {
            headers.append(HeaderName::try_from(name.as_str()).unwrap(), value.as_str().unwrap().parse().unwrap());
        }
    }
    let method = seen["method"].as_str().unwrap().parse().unwrap();
    (method, seen["target"].as_str().unwrap().parse().unwrap(), headers)
}

impl Received {
    fn rust(&self) -> String {
        let mut keys = KeySet::default();
        if let Some((kid, key)) = &self.hmac {
            keys = keys.hmac(kid, key).unwrap();
        }
        if let Some(jwks) = &self.jwks {
            keys = keys.jwks(&jwks.to_string()).unwrap();
        }
        let (method, target, headers) = parts(&self.seen);
        let now = UNIX_EPOCH + Duration::from_secs(self.now);
        match Verifier::new(self.audience, keys).verify(&method, &target, &headers, now) {
            Ok(_) => "ok".into(),
            Err(error) => error.code().into(),
        }
    }

    fn go(&self) -> Value {
        let mut question = json!({
            "Request": {
                "Method": self.seen["method"], "Target": self.seen["target"], "Host": "",
                "Header": self.seen["headers"],
            },
            "Audience": self.audience,
            "Now": self.now,
        });
        if let Some((kid, key)) = &self.hmac {
            question["HMAC"][kid] = json!(key);
        }
        if let Some(jwks) = &self.jwks {
            question["JWKS"] = jwks.clone();
        }
        question
    }

    fn with(&self, change: impl FnOnce(&mut Self)) -> Self {
        let mut changed = self.clone();
        change(&mut changed);
        changed
    }

    fn header(&self, name: &str, values: Value) -> Self {
        self.with(|it| it.seen["headers"][name] = values)
    }
}

/// Everything that can be swapped on the way, and how it is refused.
fn swaps(good: &Received, other: &Received) -> Vec<(&'static str, Received, &'static str)> {
    let field = |it: &Received, name: &str| it.seen["headers"][name].clone();
    let token = field(good, HEADER)[0].clone();
    let bypassed = good.with(|it| _ = it.seen["headers"].as_object_mut().unwrap().remove(HEADER));
    let mut broken = token.as_str().unwrap().to_owned();
    let end = broken.len() - 10;
    broken.replace_range(end..=end, if broken.as_bytes()[end] == b'A' { "B" } else { "A" });
    let mut swaps = vec![
        ("as it came", good.clone(), "ok"),
        ("a bypass of the gateway", bypassed, "assertion_missing"),
        ("method", good.with(|it| it.seen["method"] = json!("DELETE")), "assertion_method"),
        ("path", good.with(|it| it.seen["target"] = json!("/demo/echo/other")), "assertion_path"),
        ("host", good.header("host", json!(["globex.localhost"])), "assertion_host"),
        ("tenant", good.header("x-md-global-tenant-id", field(other, "x-md-global-tenant-id")), "assertion_tenant"),
        ("user", good.header("x-md-global-user-id", field(other, "x-md-global-user-id")), "assertion_subject"),
        ("two tenants", good.header("x-md-global-tenant-id", json!(["a", "b"])), "header_repeated"),
        ("two assertions", good.header(HEADER, json!([token, token])), "header_repeated"),
        ("another request's", good.header(HEADER, field(other, HEADER)), "assertion_path"),
        ("a minute later", good.with(|it| it.now += 95), "assertion_expired"),
        ("before it was made", good.with(|it| it.now -= 60), "assertion_not_yet_valid"),
        ("signature", good.header(HEADER, json!([broken])), "assertion_signature"),
        ("audience", good.with(|it| it.audience = "billing"), "assertion_audience"),
        ("no key", good.with(|it| (it.hmac, it.jwks) = (None, None)), "assertion_key_unknown"),
    ];
    if let Some((kid, _)) = good.hmac.clone() {
        let another = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc".to_owned();
        swaps.push(("key", good.with(|it| it.hmac = Some((kid, another))), "assertion_signature"));
    }
    if let Some(jwks) = &good.jwks {
        // RFC 8037 appendix A.2, under the fleet's name.
        let mut jwks = jwks.clone();
        jwks["keys"][0]["x"] = json!("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
        swaps.push(("key", good.with(|it| it.jwks = Some(jwks)), "assertion_signature"));
    }
    swaps
}

#[tokio::test]
async fn both_libraries_verify_what_the_gateway_sends_and_nothing_else() {
    let node = Node::start();
    let staff = node.staff().await.access;
    let ask = async |method: Method, path: &str, body: Option<&Value>| -> Value {
        let request = node.admin(method, path).bearer_auth(&staff);
        let request = if let Some(body) = body { request.json(body) } else { request };
        request.send().await.unwrap().error_for_status().unwrap().json().await.unwrap()
    };
    let list = ask(Method::GET, "/v1/upstreams", None).await;
    let mut upstream = list["items"].as_array().unwrap().iter().find(|item| item["name"] == "echo").unwrap().clone();
    let path = format!("/v1/upstreams/{}", upstream["id"].as_str().unwrap());
    let now = now();
    let (acme, globex) = (node.login("acme", "member").await.access, node.login("globex", "member").await.access);
    let key = ask(Method::GET, &format!("{path}/assertion-key"), None).await;
    let text = |name: &str| key[name].as_str().unwrap().to_owned();
    let hmac = (text("kid"), text("key"));
    let jwks = node.get("acme.localhost", "/.well-known/portcullis-assertion-jwks.json").send().await.unwrap();
    let jwks: Value = jwks.json().await.unwrap();

    let mut cases = Vec::new();
    for eddsa in [false, true] {
        if eddsa {
            upstream["assertion"] = json!("eddsa");
            for read_only in ["id", "created_at", "updated_at"] {
                upstream.as_object_mut().unwrap().remove(read_only);
            }
            ask(Method::PUT, &format!("{path}?wait=applied"), Some(&upstream)).await;
        }
        let received = |seen: Value| Received {
            seen,
            audience: "echo",
            hmac: (!eddsa).then(|| hmac.clone()),
            jwks: eddsa.then(|| jwks.clone()),
            now,
        };
        // The client spells the path in its own way; the service gets the gateway's.
        let sent = node.edge(Method::POST, "acme.localhost", "/demo/echo/%7eada/%c3%a4?page=%2e").bearer_auth(&acme);
        let good = received(echo(sent).await);
        assert_eq!(good.seen["target"], "/demo/echo/~ada/%C3%A4?page=%2e");
        let sent = node.edge(Method::POST, "globex.localhost", "/demo/echo/other").bearer_auth(&globex);
        let other = received(echo(sent).await);
        let public = received(echo(node.get("acme.localhost", "/demo/public/x")).await);
        cases.push(("an anonymous caller", public, "ok"));
        cases.extend(swaps(&good, &other));
    }
    let go = ask_go(&cases.iter().map(|(_, received, _)| received.go()).collect::<Vec<_>>());
    for ((what, received, expected), go) in cases.iter().zip(go) {
        assert_eq!((received.rust().as_str(), go.as_str()), (*expected, Some(*expected)), "{what}");
    }
}
