//! Path → permission, by rule (`requirements.md` §4.2): what a route asks for when it does not say.
//!
//! `GET /api/v1/tenant/users` asks for `tenant:user:list`: the module is the first segment after `/api/v1`, the
//! resource the next one made singular, and a trailing parameter decides between `list` and `get`.

use domain::{PathPattern, Permission, path::Segment};

/// The permission that the rule gives a route, or none where the rule does not reach (no `/api/v1` before it, no
/// resource, a method without an action).
pub fn derive(method: &str, pattern: &PathPattern) -> Option<Permission> {
    let mut segments = pattern.segments().iter();
    for expected in ["api", "v1"] {
        match segments.next()? {
            Segment::Literal(text) if **text == *expected => {}
            _ => return None,
        }
    }
    let (Segment::Literal(module), Segment::Literal(resource)) = (segments.next()?, segments.next()?) else {
        return None;
    };
    let action = match (method, segments.next(), segments.next(), segments.next()) {
        ("GET" | "HEAD", None, ..) => "list",
        ("GET" | "HEAD", Some(Segment::Parameter(_)), None, _) => "get",
        ("POST", None, ..) => "create",
        ("PUT" | "PATCH", Some(Segment::Parameter(_)), None, _) => "update",
        ("DELETE", Some(Segment::Parameter(_)), None, _) => "delete",
        ("POST", Some(Segment::Parameter(_)), Some(Segment::Literal(verb)), None) => verb,
        _ => return None,
    };
    format!("{module}:{}:{action}", singular(resource)).parse().ok()
}

/// English plurals as they occur in paths: `users`, `policies`, `addresses`.
fn singular(plural: &str) -> String {
    if let Some(stem) = plural.strip_suffix("ies") {
        format!("{stem}y")
    } else if let Some(stem) =
        ["sses", "xes", "ches", "shes"].iter().find(|s| plural.ends_with(**s)).and_then(|_| plural.strip_suffix("es"))
    {
        stem.into()
    } else if plural.ends_with("ss") {
        plural.into()
    } else {
        plural.strip_suffix('s').unwrap_or(plural).into()
    }
}

#[test]
fn derives_the_permissions_of_the_requirements_table() {
    for (method, path, expected) in [
        ("GET", "/api/v1/tenant/users", Some("tenant:user:list")),
        ("GET", "/api/v1/tenant/users/{id}", Some("tenant:user:get")),
        ("POST", "/api/v1/tenant/users", Some("tenant:user:create")),
        ("PUT", "/api/v1/tenant/users/{id}", Some("tenant:user:update")),
        ("PATCH", "/api/v1/tenant/users/{id}", Some("tenant:user:update")),
        ("DELETE", "/api/v1/tenant/users/{id}", Some("tenant:user:delete")),
        ("POST", "/api/v1/tenant/users/{id}/disable", Some("tenant:user:disable")),
        ("GET", "/api/v1/tenant/policies", Some("tenant:policy:list")),
        ("GET", "/api/v1/tenant/addresses", Some("tenant:address:list")),
        ("DELETE", "/api/v1/tenant/users", None),
        ("GET", "/api/v2/tenant/users", None),
        ("GET", "/api/v1/tenant", None),
        ("GET", "/api/v1/{module}/users", None),
    ] {
        let derived = derive(method, &path.parse().unwrap());
        assert_eq!(derived.as_ref().map(Permission::as_str), expected, "{method} {path}");
    }
}
