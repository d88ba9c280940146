//! An upstream's assertion key is exchanged, by API, while requests come: each is verified.

use std::time::{Duration, UNIX_EPOCH};

use portcullis_assertion::{AssertionError, HEADER, KeySet, Verifier};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::requests::{now, parts};
use crate::node::{Node, echo};

/// The control API as platform staff sees it.
struct Staff<'n> {
    node: &'n Node,
    token: String,
}

impl Staff<'_> {
    async fn ask(&self, method: Method, path: &str) -> (StatusCode, Value) {
        let answer = self.node.admin(method, path).bearer_auth(&self.token).send().await.unwrap();
        (answer.status(), answer.json().await.unwrap_or_default())
    }
}

fn verifier(keys: &[&Value]) -> Verifier {
    let text = |key: &Value, name: &str| key[name].as_str().unwrap().to_owned();
    let add = |set: KeySet, key: &&Value| set.hmac(&text(key, "kid"), &text(key, "key")).unwrap();
    Verifier::new("echo", keys.iter().fold(KeySet::default(), add))
}

fn verified(verifier: &Verifier, seen: &Value) -> Result<(), AssertionError> {
    let (method, target, headers) = parts(seen);
    verifier.verify(&method, &target, &headers, UNIX_EPOCH + Duration::from_secs(now())).map(drop)
}

#[tokio::test]
async fn an_upstreams_key_is_exchanged_without_an_outage() {
    let node = Node::start();
    let staff = Staff { node: &node, token: node.staff().await.access };
    let (_, list) = staff.ask(Method::GET, "/v1/upstreams").await;
    let upstream = list["items"].as_array().unwrap().iter().find(|item| item["name"] == "echo").unwrap().clone();
    let path = format!("/v1/upstreams/{}/assertion-key", upstream["id"].as_str().unwrap());
    let seen = async || echo(node.get("acme.localhost", "/demo/public/x")).await;

    let (_, first) = staff.ask(Method::GET, &path).await;
    assert_eq!(first["other"], Value::Null);
    verified(&verifier(&[&first]), &seen().await).unwrap();
    let (status, refused) = staff.ask(Method::POST, &format!("{path}/activate")).await;
    assert_eq!((status.as_u16(), &refused["code"]), (409, &json!("assertion_key_state")));

    let (status, ids) = staff.ask(Method::POST, &format!("{path}/next")).await;
    assert_eq!((status.as_u16(), &ids["kid"]), (200, &first["kid"]));
    assert_eq!(ids.get("key"), None, "keys are read, never repeated");
    let (_, both) = staff.ask(Method::GET, &path).await;
    let next = &both["other"];
    assert_eq!(next["state"], "next");
    verified(&verifier(&[&first]), &seen().await).unwrap();

    // The service has both, and requests go on while the keys change.
    let overlapping = verifier(&[&first, next]);
    let activate_path = format!("{path}/activate?wait=applied");
    let activation = staff.ask(Method::POST, &activate_path);
    let requests = async {
        for _ in 0..20 {
            verified(&overlapping, &seen().await).unwrap();
        }
    };
    let ((status, ids), ()) = tokio::join!(activation, requests);
    assert_eq!((status.as_u16(), &ids["kid"], &ids["previous"]), (200, &next["kid"], &first["kid"]));
    verified(&overlapping, &seen().await).unwrap();
    let after = seen().await;
    assert_eq!(verified(&verifier(&[&first]), &after), Err(AssertionError::KeyUnknown));
    assert_eq!(after["headers"][HEADER].as_array().unwrap().len(), 1);

    let kid = |key: &Value| key["kid"].as_str().unwrap().to_owned();
    let (status, refused) = staff.ask(Method::DELETE, &format!("{path}/{}", kid(next))).await;
    assert_eq!((status.as_u16(), &refused["code"]), (409, &json!("assertion_key_state")));
    let (status, _) = staff.ask(Method::DELETE, &format!("{path}/{}", kid(&first))).await;
    assert!(status.is_success(), "{status}");
    verified(&verifier(&[next]), &seen().await).unwrap();
    let (_, one) = staff.ask(Method::GET, &path).await;
    assert_eq!((&one["kid"], &one["other"]), (&next["kid"], &Value::Null));
}

/// The control API checks what comes through the edge by the same rules, and its own key can be exchanged.
#[tokio::test]
async fn the_control_apis_own_key_is_exchanged_while_people_sign_in() {
    let node = Node::start();
    let staff = Staff { node: &node, token: node.staff().await.access };
    let (_, list) = staff.ask(Method::GET, "/v1/upstreams").await;
    let upstream = list["items"].as_array().unwrap().iter().find(|item| item["name"] == "control-api").unwrap().clone();
    let path = format!("/v1/upstreams/{}/assertion-key", upstream["id"].as_str().unwrap());
    let (status, ids) = staff.ask(Method::POST, &format!("{path}/next")).await;
    assert_eq!(status.as_u16(), 200, "{ids}");
    let old = ids["kid"].as_str().unwrap().to_owned();
    let activate_path = format!("{path}/activate?wait=applied");
    let (activated, _) = tokio::join!(staff.ask(Method::POST, &activate_path), node.login("acme", "member"));
    assert_eq!(activated.0.as_u16(), 200, "{}", activated.1);
    node.login("acme", "admin").await;
    let (status, _) = staff.ask(Method::DELETE, &format!("{path}/{old}")).await;
    assert!(status.is_success(), "{status}");
    node.login("globex", "member").await;
}
