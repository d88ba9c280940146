//! How requests name an organisational unit: by a segment of the path, or by a header field.

use crate::{PathPattern, snapshot::Access};

/// Most units of a tenant, deleted ones not counted: the edge is told of all of them with each change of the tenant.
pub const MAX_ORG_UNITS: usize = 1000;

/// Names that the edge or others read, which therefore name no unit.
const TAKEN: [&str; 20] = [
    "x-api-key",
    "x-amzn-",
    "x-arr-",
    "x-client-",
    "x-cluster-",
    "x-content-",
    "x-forwarded",
    "x-http-",
    "x-md-",
    "x-method-",
    "x-middleware-",
    "x-nonce",
    "x-original-",
    "x-real-ip",
    "x-request-",
    "x-rewrite-",
    "x-signature",
    "x-ssl-",
    "x-timestamp",
    "x-tls-",
];

/// Whether a field of this name may hold a unit: `x-` and 1 to 62 of `a-z`, `0-9` and `-`, such as `x-workspace-id`, and
/// none that says something else already.
pub fn is_field(name: &str) -> bool {
    let rest = name.strip_prefix("x-").unwrap_or_default();
    (1..=62).contains(&rest.len())
        && rest.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !TAKEN.iter().any(|taken| name.starts_with(taken))
}

/// Checks what a route says of the unit that its requests are about.
///
/// # Errors
/// Which member is wrong, and why.
pub fn check_route(
    path: &PathPattern,
    access: &Access,
    parameter: Option<&str>,
    field: Option<&str>,
) -> Result<(), (&'static str, String)> {
    let member = if field.is_some() { "ou_header" } else { "ou_parameter" };
    match (parameter, field) {
        (None, None) => return Ok(()),
        (Some(_), Some(_)) => return Err((member, "a unit is named by a parameter or by a field, not by both".into())),
        (Some(name), None) if path.parameter(name).is_none() => {
            return Err((member, format!("`{path}` has no parameter `{{{name}}}`")));
        }
        (None, Some(name)) if !is_field(name) => {
            return Err((member, format!("`{name}` is no field that can name a unit, such as `x-workspace-id`")));
        }
        (Some(_), None) | (None, Some(_)) => {}
    }
    match access {
        Access::Authenticated | Access::Permission(_) => Ok(()),
        Access::Public | Access::Optional | Access::Platform(_) => {
            Err((member, "a route of units is for principals of the tenant".into()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_that_says_something_else_names_no_unit() {
        for good in ["x-workspace", "x-ou-id", "x-org-unit"] {
            assert!(is_field(good), "{good}");
        }
        for bad in [
            "workspace",
            "x-",
            "X-Workspace",
            "x_workspace",
            "x-md-global-ou-id",
            "x-forwarded-for",
            "x-real-ip",
            "x-request-id",
            "x-timestamp",
            "x-api-key-id",
            "x-http-method-override",
            "authorization",
        ] {
            assert!(!is_field(bad), "{bad}");
        }
        assert!(!is_field(&format!("x-{}", "a".repeat(63))));
    }

    #[test]
    fn a_route_names_its_unit_in_one_place_and_knows_its_callers() {
        let path: PathPattern = "/w/{workspace}/files".parse().unwrap();
        let check = |access, parameter, field| check_route(&path, &access, parameter, field);
        assert!(check(Access::Authenticated, Some("workspace"), None).is_ok());
        assert!(check(Access::Authenticated, None, Some("x-workspace")).is_ok());
        assert!(check(Access::Public, None, None).is_ok());
        for (access, parameter, field, member) in [
            (Access::Authenticated, Some("ou"), None, "ou_parameter"),
            (Access::Authenticated, Some("workspace"), Some("x-workspace"), "ou_header"),
            (Access::Authenticated, None, Some("cookie"), "ou_header"),
            (Access::Public, Some("workspace"), None, "ou_parameter"),
            (Access::Optional, None, Some("x-workspace"), "ou_header"),
        ] {
            assert_eq!(check(access, parameter, field).unwrap_err().0, member);
        }
    }
}
