//! Bodies that operations take, made from their description; and by hand where it does not say enough.

use std::sync::OnceLock;

use serde_json::{Value, json};
use testkit::TestCa;

use super::tenant::Ids;

/// A body for the operation of this name.
pub(super) fn body(operation: &str, schema: &Value, ids: &Ids) -> Value {
    by_hand(operation, ids).unwrap_or_else(|| example(schema, "", ids))
}

/// What a schema has no words for: which of its members belong together, and what is there.
fn by_hand(operation: &str, ids: &Ids) -> Option<Value> {
    let slug = &ids["slug"];
    let upstream = json!({ "name": "other", "peers": ["127.0.0.1:3001"], "plaintext": true });
    let issuer = json!({
        "project_id": ids["project"], "tenant": ids["tenant"], "issuer": "https://id.example.com", "audiences": ["a"],
        "algorithms": ["ES256"], "jwks_url": "https://id.example.com/jwks",
    });
    Some(match operation {
        "POST /v1/api-keys" => {
            json!({ "name": "k", "scopes": [], "owner_id": ids["user"], "tenant_id": ids["tenant"] })
        }
        "POST /v1/apply" => json!({ "entities": [] }),
        "POST /v1/catalog/request" | "POST /v1/catalog/trial-request" => json!({ "product": format!("orders-{slug}") }),
        "POST /v1/certificate-bindings" => json!({
            "hostname_id": ids["hostname"], "user_id": ids["user"], "kind": "dns", "value": "other.example",
        }),
        "POST /v1/customers" => json!({ "code": "other", "name": "Other" }),
        "PATCH /v1/customers/{id}" => json!({ "name": "Other" }),
        "PUT /v1/customers/{id}/artifacts" => {
            json!({ "kind": "passport", "reference": "r1", "sha256": "ab".repeat(32) })
        }
        "PUT /v1/entitlements" => {
            json!({ "tenant_id": ids["tenant"], "product": format!("stock-{slug}"), "source": "sale" })
        }
        "POST /v1/hostnames" => json!({
            "hostname": "other.example", "tenant_id": ids["tenant"], "kind": "custom",
        }),
        "PATCH /v1/hostnames/{id}" => json!({ "services": [ids["service"]] }),
        "POST /v1/identity-providers" => json!({
            "tenant_id": ids["tenant"], "key": "other", "type": "oidc", "name": "Other", "client_id": "us",
            "options": { "issuer": "https://id.example.com" },
        }),
        "PUT /v1/identity-providers/{key}" => json!({
            "type": "oidc", "name": "Other", "client_id": "us", "options": { "issuer": "https://id.example.com" },
        }),
        "POST /v1/issuers" | "PUT /v1/issuers/{id}" => issuer,
        "PUT /v1/me/default-org-unit" => json!({ "ou_id": ids["org_unit"] }),
        "PUT /v1/me/preferences" => json!({ "values": { "theme": "dark" } }),
        "POST /v1/auth/qr/{sid}/approve" => json!({ "approve": false }),
        "POST /v1/menus" => json!({ "key": "other", "title": "Other", "order": 2 }),
        "PUT /v1/menus/{id}" => json!({ "key": "orders", "title": "Other", "path": "/orders", "order": 2 }),
        "POST /api/v1/tenant/auth/favorite" => json!({ "menu_key": "orders", "favorite": true }),
        "POST /api/v1/tenant/users" | "POST /v1/tenants/{id}/users" => {
            json!({ "username": operation.len().to_string() + "-other", "role_ids": [ids["role"]] })
        }
        "POST /v1/tenants/{id}/users/import" => json!({ "users": [{ "username": "imported" }] }),
        "POST /v1/audit" => json!({
            "action": "order.approved", "crud": "u", "actor": { "id": "emp-7" }, "group": { "id": "eu" },
            "tenant_id": ids["tenant"],
        }),
        "PUT /v1/hostnames/{id}/client-certificates" => client_certificates(),
        "PATCH /v1/products/{id}" => json!({ "name": "Other" }),
        "POST /v1/projects" => {
            json!({ "slug": "other", "name": "Other", "issuer": "https://other.example", "kind": "dedicated" })
        }
        "PATCH /v1/projects/{id}" => json!({ "name": "Other" }),
        "POST /v1/role-bindings" => {
            json!({ "role_id": ids["role"], "group_id": ids["group"], "ou_id": Value::Null })
        }
        "POST /v1/routes" | "PUT /v1/routes/{id}" => {
            json!({ "service_id": ids["service"], "path": "/other/**", "access": "authenticated" })
        }
        "POST /v1/signing-keys" => json!({ "project_id": ids["project"], "algorithm": "ES256" }),
        "POST /v1/tenants" => json!({ "slug": "other", "name": "Other", "customer_id": ids["customer"],
            "project_id": ids["project"] }),
        "PATCH /v1/tenants/{id}" => json!({ "name": "Other" }),
        "POST /v1/tenants/{id}/domains" => json!({ "domain": "other-mail.example" }),
        "POST /v1/upstreams" | "PUT /v1/upstreams/{id}" => upstream,
        "POST /v1/webhooks/{id}/replay" => json!({ "since": "2020-01-01T00:00:00.000Z" }),
        "POST /v1/webhooks" => {
            json!({ "url": "https://example.com/y", "events": ["*"], "tenant_id": ids["tenant"] })
        }
        _ => return None,
    })
}

/// Whose client certificates a hostname believes.
pub(super) fn client_certificates() -> Value {
    static CA: OnceLock<String> = OnceLock::new();
    json!({ "mode": "optional", "ca": CA.get_or_init(|| TestCa::new().ca_pem()), "crl": [] })
}

/// Something that a schema takes, with ids of `ids` wherever there is place for one.
fn example(schema: &Value, name: &str, ids: &Ids) -> Value {
    if let Some(words) = schema["enum"].as_array() {
        return words[0].clone();
    }
    for choice in ["oneOf", "anyOf"] {
        if let Some(branches) = schema[choice].as_array() {
            let first = branches.iter().find(|it| it["type"] != "null").unwrap();
            return example(first, name, ids);
        }
    }
    if let Some(parts) = schema["allOf"].as_array() {
        return example(&parts[0], name, ids);
    }
    let kind = match &schema["type"] {
        Value::Array(kinds) => kinds.iter().find(|it| *it != "null").and_then(Value::as_str),
        other => other.as_str(),
    };
    match kind {
        Some("object") => object(schema, ids),
        Some("array") => json!([example(&schema["items"], name, ids)]),
        Some("integer" | "number") => schema["minimum"].as_i64().map_or(json!(1), |least| json!(least.max(1))),
        Some("boolean") => json!(true),
        Some("string") => text(name, ids),
        _ => json!({}),
    }
}

/// What is needed of an object, and every id that it takes.
fn object(schema: &Value, ids: &Ids) -> Value {
    let needed = schema["required"].as_array().cloned().unwrap_or_default();
    let is_id = |name: &str| name.ends_with("_id") && ids.contains_key(name.trim_end_matches("_id"));
    let wanted = |name: &String| needed.contains(&json!(name)) || is_id(name) || name.ends_with("_ids");
    let properties = schema["properties"].as_object().into_iter().flatten().filter(|(name, _)| wanted(name));
    Value::Object(properties.map(|(name, it)| (name.clone(), example(it, name, ids))).collect())
}

fn text(name: &str, ids: &Ids) -> Value {
    let kind = name.trim_end_matches('s').trim_end_matches("_id");
    if (name.ends_with("_id") || name.ends_with("_ids")) && ids.contains_key(kind) {
        return json!(ids[kind]);
    }
    json!(match name {
        "url" => "https://example.com/x",
        "email" => "x@example.com",
        "password" | "new_password" => crate::support::PASSWORD,
        "permission" | "permissions" => "orders:order:list",
        "events" => "*",
        "action" => "order.approved",
        "host" => "acme.localhost",
        "method" => "GET",
        "path" => "/x",
        _ => "x1-name",
    })
}
