//! `portcullis explain`: why the edge decided a request as it did, stage by stage.

use std::time::Duration;

use clap::Args;
use control_api::api::decisions::DecisionView;
use domain::{
    Clock, Decision, RequestId,
    decision::{
        AskedPermission, BindingsLevel, BoundPrincipal, DecidedRoute, DemandedAccess, KnownBindings, ShownCertificate,
        ShownClaims, ShownCredential, ShownKind, Stage,
    },
};
use reqwest::Method;

use crate::admin::{Admin, answer};

/// What `portcullis explain` is told.
#[derive(Args, Debug)]
pub struct Explain {
    /// The request: what its answer named in `x-request-id`.
    request_id: RequestId,
    /// Prints what is known as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: Admin,
}

/// Asks, and gives back what there is to print.
///
/// # Errors
/// What the control API answers: of a request that it was not told of, 404.
pub async fn run(explain: Explain, clock: &dyn Clock) -> anyhow::Result<String> {
    let admin = explain.admin.sign_in(clock).await?;
    let path = format!("/v1/decisions/{}", explain.request_id);
    let told: DecisionView = answer(admin.ask(Method::GET, &path), "explain").await?;
    Ok(if explain.json { serde_json::to_string_pretty(&told)? } else { account(&told) })
}

/// The whole account, a line a stage.
fn account(told: &DecisionView) -> String {
    let it = &told.decision;
    let mut lines = vec![format!("request {}: {}", it.request_id, outcome(it))];
    lines.push(format!("decided {} by gateway `{}` of fleet `{}`", it.at, told.gateway, told.fleet));
    lines.push(String::new());
    for stage in Stage::ALL {
        let (mark, found) = match it.stopped_at {
            Some(stopped) if stage > stopped => ("-", String::from("not reached")),
            Some(stopped) if stage == stopped => ("refused", refusal(it, stage)),
            Some(_) | None => ("passed", found(it, stage)),
        };
        lines.push(format!("  {mark:<8} {:<11} {found}", stage.name()).trim_end().to_owned());
    }
    lines.join("\n")
}

fn outcome(it: &Decision) -> String {
    match (it.status, &it.reason) {
        (Some(status), Some(reason)) => format!("{status} {}, {reason}", it.code),
        _ => it.code.to_string(),
    }
}

fn refusal(it: &Decision, stage: Stage) -> String {
    let reason = it.reason.as_deref().unwrap_or_default();
    match found(it, stage) {
        found if found.is_empty() => reason.to_owned(),
        found => format!("{reason}; {found}"),
    }
}

/// What a stage found, as far as it is known.
fn found(it: &Decision, stage: Stage) -> String {
    let or_none = |text: Option<String>| text.unwrap_or_default();
    match stage {
        Stage::Canonical => {
            let path = it.path.as_deref().unwrap_or_default();
            format!("{} {}{path}", it.method, it.host.as_deref().unwrap_or_default())
        }
        Stage::Tenant => match (it.tenant_id, it.project_id) {
            (Some(tenant), Some(project)) => format!("tenant {tenant} of project {project}"),
            (None, Some(project)) => format!("no tenant of its own, project {project}"),
            (_, None) => String::new(),
        },
        Stage::Admit | Stage::Limit | Stage::Forward => String::new(),
        Stage::Route => it.route.as_ref().map_or_else(|| "none is here".into(), route),
        Stage::Credential => or_none(it.credential.as_ref().map(|shown| kind(shown.kind).into())),
        Stage::Verify => or_none(it.credential.as_ref().map(verified)),
        Stage::Revoke => {
            let (seq, age) = (it.freshness.applied_seq, it.freshness.proof_age_ms);
            let age = age.map_or_else(|| "never".into(), |age| format!("{} ago", millis(age)));
            let proof = if it.freshness.proven { "proven" } else { "NOT proven now, last" };
            format!("log applied up to {seq}, {proof} {age}; snapshot revision {}", it.freshness.revision)
        }
        Stage::Bind => {
            let product = it.product.as_ref().map(|asked| {
                let held = asked.held.map_or("not judged", |held| if held { "entitled" } else { "NOT entitled" });
                format!("product `{}`: {held}", asked.name)
            });
            sentence([it.principal.as_ref().map(principal), product])
        }
        Stage::Authorize => or_none(it.permission.as_ref().map(permission)),
    }
}

fn route(it: &DecidedRoute) -> String {
    let methods: Vec<&str> = it.methods.iter().map(|method| &**method).collect();
    let methods = if methods.is_empty() { "any method".into() } else { methods.join(", ") };
    let service = it.service.as_deref().map_or_else(|| "the hostname's own".into(), |name| format!("service `{name}`"));
    let access = match it.access {
        DemandedAccess::Public => "public",
        DemandedAccess::Optional => "a credential is optional",
        DemandedAccess::Authenticated => "any principal",
        DemandedAccess::Permission => "by permission",
        DemandedAccess::Platform => "platform's staff by permission",
    };
    format!("{methods} {} ({service}), {access}", it.pattern)
}

const fn kind(kind: ShownKind) -> &'static str {
    match kind {
        ShownKind::None => "none",
        ShownKind::Bearer => "bearer token",
        ShownKind::ApiKey => "API key",
        ShownKind::Signature => "signed request",
        ShownKind::Certificate => "client certificate",
        ShownKind::Several => "more than one",
        ShownKind::Other => "one of another kind",
    }
}

fn certificate(it: &ShownCertificate) -> String {
    let bound = it.binding_id.map(|id| format!(" by binding {id}")).unwrap_or_default();
    format!("SHA-256 {}{bound}", &*it.sha256)
}

fn verified(it: &ShownCredential) -> String {
    let named = |name: &str, text: Option<&str>| text.map(|text| format!("{name} `{text}`"));
    let age = it.verified_age_ms.map(millis);
    let seen = match (it.seen_before, age) {
        (Some(true), Some(age)) => Some(format!("seen before, verified {age} ago")),
        (Some(false), Some(_)) => Some("verified for the first time".into()),
        (_, _) => None,
    };
    sentence([
        named("issuer", it.issuer.as_deref()),
        named("key", it.key_id.as_deref()),
        it.certificate.as_ref().map(certificate),
        named("alg", it.algorithm.as_deref()),
        named("typ", it.media_type.as_deref()),
        seen,
        it.claims.as_ref().map(claims),
        it.withheld.then(|| "claims that name somebody are withheld".into()),
    ])
}

fn claims(it: &ShownClaims) -> String {
    let text = |name: &str, value: Option<String>| value.map(|value| format!("{name} {value}"));
    let audiences: Vec<&str> = it.aud.iter().map(|audience| &**audience).collect();
    sentence([
        text("sub", it.sub.as_ref().map(ToString::to_string)),
        text("tid", it.tid.as_ref().map(ToString::to_string)),
        text("sid", it.sid.as_ref().map(ToString::to_string)),
        text("jti", it.jti.as_ref().map(ToString::to_string)),
        text("aud", (!audiences.is_empty()).then(|| audiences.join(" "))),
        text("iat", it.iat.map(|at| at.to_string())),
        text("exp", it.exp.map(|at| at.to_string())),
        text("ug", it.ug.map(|number| number.to_string())),
        text("tg", it.tg.map(|number| number.to_string())),
        text("ctx", it.ctx.as_ref().map(ToString::to_string)),
    ])
}

fn principal(it: &BoundPrincipal) -> String {
    let roles: Vec<&str> = it.roles.iter().map(|role| &**role).collect();
    let roles = if roles.is_empty() { "no roles".into() } else { format!("roles {}", roles.join(" ")) };
    sentence([
        Some(format!("principal {}", it.subject)),
        it.system.then(|| "platform's staff".into()),
        it.is_admin.then(|| "administers the tenant".into()),
        it.is_super_admin.then(|| "administers the platform".into()),
        Some(roles),
        it.bindings.as_ref().map(bindings),
    ])
}

fn bindings(it: &KnownBindings) -> String {
    let level = match it.level {
        BindingsLevel::Token => "kept with the token",
        BindingsLevel::Memory => "from memory (L1)",
        BindingsLevel::Shared => "from the shared cache (L2)",
        BindingsLevel::ControlApi => "from the control API (L3)",
    };
    let active = if it.active { "" } else { ", which say that it is NOT active" };
    format!("bindings {level}, {} old, as of {}{active}", millis(it.age_ms), it.as_of_seq)
}

fn permission(it: &AskedPermission) -> String {
    let by = it.by.iter().map(|by| match by.unit {
        Some(unit) => format!("role `{}` in unit {unit}", by.role),
        None => format!("role `{}`", by.role),
    });
    let bypass = it.bypass.then(|| "an administrator's bypass".into());
    let by: Vec<String> = by.chain(bypass).collect();
    let held = match it.held {
        Some(true) => format!("held by {}", by.join(" and ")),
        Some(false) => "NOT held by any role".into(),
        None => "not judged".into(),
    };
    let unit = it.unit.map(|unit| format!("in unit {unit} ")).unwrap_or_default();
    format!("permission `{}` {unit}{held}", it.code)
}

fn sentence(parts: impl IntoIterator<Item = Option<String>>) -> String {
    let parts: Vec<String> = parts.into_iter().flatten().filter(|part| !part.is_empty()).collect();
    parts.join(", ")
}

fn millis(millis: u64) -> String {
    format!("{:?}", Duration::from_millis(millis))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn told(change: impl FnOnce(&mut Value)) -> String {
        let mut it = json!({
            "gateway": "gw-1", "fleet": "eu", "received": "2030-01-01T00:00:01Z",
            "decision": {
                "request_id": "00000000-0000-7000-8000-000000000001", "at": "2030-01-01T00:00:00Z",
                "project_id": "00000000-0000-0000-0000-000000000010",
                "tenant_id": "00000000-0000-0000-0000-000000000001",
                "code": "permit", "status": null, "reason": null, "stopped_at": null,
                "method": "GET", "host": "acme.localhost", "path": "/orders",
                "route": {
                    "id": "00000000-0000-0000-0000-000000000004", "service": "demo", "pattern": "/orders",
                    "methods": ["GET"], "access": "permission",
                },
                "credential": {
                    "kind": "bearer", "believed": true, "issuer": "https://acme.localhost", "key_id": "k1",
                    "typ": "at+jwt", "algorithm": "ES256", "seen_before": true, "verified_age_ms": 1500,
                    "claims": { "sub": "00000000-0000-0000-0000-0000000001f5", "tid": null, "sid": null, "jti": null,
                                "aud": ["orders"], "exp": null, "iat": null, "ug": 3, "tg": null, "ctx": "tenant" },
                    "withheld": false,
                },
                "principal": {
                    "subject": "00000000-0000-0000-0000-0000000001f5", "system": false, "is_admin": false,
                    "is_super_admin": false, "roles": ["member"],
                    "bindings": { "level": "memory", "age_ms": 20, "as_of_seq": 41, "active": true },
                },
                "product": null,
                "permission": {
                    "code": "demo:order:list", "unit": null, "held": true, "by": [{ "role": "member", "unit": null }],
                    "bypass": false,
                },
                "freshness": { "revision": 57, "applied_seq": 41, "proven": true, "proof_age_ms": 312 },
            },
        });
        change(&mut it);
        account(&serde_json::from_value(it).unwrap())
    }

    #[test]
    fn an_account_reads_top_to_bottom_a_line_a_stage() {
        assert_eq!(
            told(|_| {}),
            "request 00000000-0000-7000-8000-000000000001: permit\n\
             decided 2030-01-01T00:00:00.000Z by gateway `gw-1` of fleet `eu`\n\n  \
             passed   canonical   GET acme.localhost/orders\n  \
             passed   tenant      tenant 00000000-0000-0000-0000-000000000001 of project \
             00000000-0000-0000-0000-000000000010\n  \
             passed   admit\n  \
             passed   route       GET /orders (service `demo`), by permission\n  \
             passed   credential  bearer token\n  \
             passed   verify      issuer `https://acme.localhost`, key `k1`, alg `ES256`, typ `at+jwt`, seen before, \
             verified 1.5s ago, sub 00000000-0000-0000-0000-0000000001f5, aud orders, ug 3, ctx tenant\n  \
             passed   revoke      log applied up to 41, proven 312ms ago; snapshot revision 57\n  \
             passed   bind        principal 00000000-0000-0000-0000-0000000001f5, roles member, bindings from memory \
             (L1), 20ms old, as of 41\n  \
             passed   limit\n  \
             passed   authorize   permission `demo:order:list` held by role `member`\n  \
             passed   forward"
        );
    }

    #[test]
    fn a_refusal_is_told_at_its_stage_and_nothing_after_it() {
        let text = told(|it| {
            let it = &mut it["decision"];
            it["code"] = json!("credential_missing");
            it["status"] = json!(401);
            it["reason"] = json!("a credential is needed");
            it["stopped_at"] = json!("credential");
            it["credential"]["kind"] = json!("none");
        });
        assert!(text.contains(": 401 credential_missing, a credential is needed\n"), "{text}");
        assert!(text.contains("\n  refused  credential  a credential is needed; none\n"), "{text}");
        assert!(text.ends_with("\n  -        forward     not reached"), "{text}");
    }
}
