//! The operations there are, as their description says.

use serde_json::Value;

use super::{examples, tenant::Ids};
use crate::{
    openapi::OPEN,
    support::{Call, call},
};

/// An operation.
#[derive(Clone, Debug)]
pub(super) struct Operation {
    pub(super) method: String,
    pub(super) path: String,
    /// Names of query parameters.
    pub(super) query: Vec<String>,
    /// Names of headers.
    pub(super) headers: Vec<String>,
    /// Whether it answers a list.
    pub(super) lists: bool,
    body: Option<Value>,
}

/// Which ids stand behind which part of a path.
const KINDS: [(&str, &str); 38] = [
    ("api-keys", "api_key"),
    ("audit", "event"),
    ("by-slug", "slug"),
    ("certificate-bindings", "certificate_binding"),
    ("credentials", "project_credential"),
    ("customers", "customer"),
    ("decisions", "decision"),
    ("domains", "domain"),
    ("entitlements", "entitlement"),
    ("gateways", "gateway"),
    ("groups", "group"),
    ("help-requests", "help_request"),
    ("hostnames", "hostname"),
    ("identities", "identity"),
    ("identity-providers", "identity_provider"),
    ("identity-verifications", "identity_verification"),
    ("invitations", "invitation"),
    ("issuers", "issuer"),
    ("machine-clients", "machine_client"),
    ("members", "member"),
    ("menus", "menu"),
    ("org-units", "org_unit"),
    ("passkeys", "passkey"),
    ("products", "product"),
    ("projects", "project"),
    ("qr", "qr_login"),
    ("requests", "request"),
    ("role-bindings", "role_binding"),
    ("roles", "role"),
    ("routes", "route"),
    ("services", "service"),
    ("sessions", "session"),
    ("signing-keys", "signing_key"),
    ("assertion-key", "signing_key"),
    ("tenants", "tenant"),
    ("upstreams", "upstream"),
    ("users", "user"),
    ("webhooks", "webhook"),
];

/// All operations but the open ones: what reads first, what deletes last.
pub(super) fn all() -> Vec<Operation> {
    let described = serde_json::to_value(control_api::router::openapi()).unwrap();
    let mut found = Vec::new();
    for (path, item) in described["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            found.push(Operation::of(&described, method, path, operation));
        }
    }
    found.retain(|it| !OPEN.contains(&(it.method.to_lowercase().as_str(), it.path.as_str())));
    let rank = |it: &Operation| match it.method.as_str() {
        "GET" => 0,
        // What ends the caller's own session comes after all else.
        _ if it.path.contains("/auth/logout") || it.path.ends_with("/sign-out-everywhere") => 6,
        // One of somebody's sessions before all of them, and what is given to somebody before them.
        "DELETE" if it.path.ends_with("/sessions/{sid}") => 1,
        "DELETE" if it.path.contains("-bindings/") => 4,
        "DELETE" => 5,
        _ if it.path.contains("/auth/") || it.path.starts_with("/v1/me/") => 3,
        _ => 2,
    };
    // Of deletions, those of parts before those of the whole.
    let depth = |it: &Operation| if it.method == "DELETE" { usize::MAX - it.path.matches('/').count() } else { 0 };
    found.sort_by_key(|it| (rank(it), depth(it), it.path.clone(), it.method.clone()));
    found
}

impl Operation {
    fn of(described: &Value, method: &str, path: &str, operation: &Value) -> Self {
        let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
        let named = |place: &str| {
            let these = parameters.iter().filter(|it| it["in"] == place);
            these.map(|it| it["name"].as_str().unwrap().to_owned()).collect()
        };
        let content = |it: &Value| resolved(described, &it["content"]["application/json"]["schema"]);
        let body = content(&operation["requestBody"]);
        Self {
            method: method.to_uppercase(),
            path: path.into(),
            query: named("query"),
            headers: named("header"),
            lists: !content(&operation["responses"]["200"])["properties"]["next_cursor"].is_null(),
            body: (!body.is_null()).then_some(body),
        }
    }

    pub(super) fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    /// Of what the ids in its path are, in their order.
    pub(super) fn places(&self) -> Vec<&'static str> {
        let parts: Vec<&str> = self.path.split('/').collect();
        let of = |pair: &[&str]| {
            let named = KINDS.iter().find(|(part, _)| *part == pair[0]);
            named.unwrap_or_else(|| panic!("{}: say in KINDS what {} is of, and make one", self.path, pair[1])).1
        };
        parts.windows(2).filter(|pair| pair[1].starts_with('{')).map(of).collect()
    }

    /// Its path, with these in their places.
    pub(super) fn at(&self, ids: &[&str]) -> String {
        let mut ids = ids.iter();
        let fill = |part| if str::starts_with(part, '{') { *ids.next().unwrap() } else { part };
        self.path.split('/').map(fill).collect::<Vec<_>>().join("/")
    }

    /// Its path about things of one tenant.
    pub(super) fn within(&self, ids: &Ids) -> String {
        let places = self.places();
        self.at(&places.iter().map(|kind| ids[kind].as_str()).collect::<Vec<_>>())
    }

    /// A body that it takes, if it takes one, with these ids wherever there is place for one.
    pub(super) fn body(&self, ids: &Ids) -> Option<Value> {
        self.body.as_ref().map(|schema| examples::body(&self.name(), schema, ids))
    }

    /// A request with this body.
    pub(super) fn request(&self, target: &str, body: Option<&Value>) -> Call {
        let request = call(&self.method, target);
        match body {
            Some(body) => request.json(body),
            None => request,
        }
    }
}

/// A schema with what it refers to in place.
fn resolved(described: &Value, schema: &Value) -> Value {
    match schema["$ref"].as_str() {
        Some(reference) => described.pointer(reference.strip_prefix('#').unwrap()).unwrap().clone(),
        None => schema.clone(),
    }
}
