//! The account of a decision names the code, the stage and what was found, for every refusal there is.

use std::{collections::BTreeSet, time::Duration};

use domain::{
    CertificateMode, ClientCertificates, Clock as _, Decision, Fact,
    decision::{BindingsLevel, DemandedAccess, MAX_BYTES, ShownKind, Stage},
    snapshot::{
        Change, Entity, EntityKey, EntityKind, KycStatus, PaymentStatus, Project, READER, RateLimit, Tenant,
        TenantStatus,
    },
};
use futures::FutureExt as _;
use gate::{About, Denial, GateConfig, RawHead, Trace};
use serde_json::{Value, json};
use testkit::{TestCa, hostile};
use uuid::Uuid;

use crate::{
    api_keys::refusals,
    certificates,
    codes::codes,
    world::{ADMIN, MEMBER, STAFF, STRANGER, Sent, UNIT, World, id, tenant},
};

/// The stages that refuse so. A new denial has to be added here, and a case of it below.
fn stages(denial: &Denial) -> &'static [Stage] {
    use Stage as S;
    match denial {
        Denial::RequestMalformed(_)
        | Denial::PathRefused(_)
        | Denial::HostInvalid(_)
        | Denial::HeaderRefused(_)
        | Denial::TargetTooLong
        | Denial::HeadTooLarge
        | Denial::MethodNotAllowed
        | Denial::HostMismatch => &[S::Canonical],
        Denial::HostnameUnknown
        | Denial::SnapshotUnavailable
        | Denial::SnapshotUnsupported
        | Denial::ProjectSuspended => &[S::Tenant],
        Denial::TenantSuspended | Denial::PaymentRequired => &[S::Tenant, S::Bind],
        Denial::TenantFrozen | Denial::KycRequired => &[S::Route, S::Bind],
        Denial::RateLimited(_) => &[S::Admit, S::Verify, S::Limit],
        Denial::QuotaExceeded(_) => &[S::Limit],
        Denial::AddressRefused => &[S::Admit, S::Verify, S::Revoke, S::Bind],
        Denial::CertificateMissing => &[S::Admit],
        Denial::Certificate(_) => &[S::Admit, S::Verify, S::Revoke],
        Denial::ConcurrencyLimited(_) => &[S::Authorize],
        Denial::CredentialMissing | Denial::CredentialAmbiguous | Denial::CredentialRefused => &[S::Credential],
        Denial::Token(_) => &[S::Verify],
        Denial::Key(_) => &[S::Verify, S::Revoke, S::Authorize, S::Forward],
        Denial::KeysUnavailable => &[S::Verify, S::Revoke],
        Denial::NoncesUnavailable => &[S::Authorize],
        Denial::TokenRevoked(_) => &[S::Revoke, S::Bind],
        Denial::RevocationUnproven | Denial::PermissionsUnavailable => &[S::Revoke],
        Denial::TenantMismatch | Denial::TenantUnknown | Denial::PrincipalInactive | Denial::NotEntitled { .. } => {
            &[S::Bind]
        }
        Denial::ContextMismatch => &[S::Bind, S::Authorize],
        Denial::RouteNotFound
        | Denial::PermissionDenied { .. }
        | Denial::OrgUnitNotFound
        | Denial::OrgUnitDenied
        | Denial::AuthenticationInsufficient(_) => &[S::Authorize],
        Denial::RequestTimeout => &[S::Canonical, S::Forward],
        Denial::BodyTooLarge
        | Denial::UpstreamUnreachable
        | Denial::UpstreamTimeout
        | Denial::UpstreamInvalid
        | Denial::StreamTooLong
        | Denial::StreamSilent
        | Denial::AssertionFailed => &[S::Forward],
    }
}

/// A refusal as it comes about, with what its account has to say.
struct Case {
    code: &'static str,
    stage: Stage,
    told: (Decision, Denial),
    /// By JSON pointer.
    facts: Vec<(&'static str, Value)>,
}

fn acme() -> Sent {
    Sent::get("acme.localhost", "/me")
}

fn changed(change: impl FnOnce(&mut Tenant)) -> World {
    let world = World::new();
    let mut acme = tenant(1, world.acme.project, "acme");
    change(&mut acme);
    world.put_one(Entity::Tenant(acme));
    world
}

fn before_the_credential() -> Vec<Case> {
    let world = World::new();
    let case = |code, stage, told, facts| Case { code, stage, told, facts };
    let nothing = || vec![("/host", json!(null)), ("/path", json!(null)), ("/tenant_id", json!(null))];
    let refused = |code, sent: &Sent| case(code, Stage::Canonical, world.refused(sent), nothing());
    let misdirected = acme();
    let misdirected = RawHead { sni: Some("globex.localhost"), ..misdirected.head() };
    let old = World::new();
    let key = EntityKey { kind: EntityKind::Tenant, id: Uuid::from_u128(1) };
    old.change(|revision| Change { revision, key, min_reader: READER + 1, entity: None });
    let expired = World::new();
    expired.gate.snapshot().expire();
    let suspended = World::new();
    let project = Project { id: id(10), slug: "acme".parse().unwrap(), root: false, suspended: true };
    suspended.put_one(Entity::Project(project));
    let busy =
        World::with_config(GateConfig { address_limit: RateLimit { rps: 1, burst: 1 }, ..GateConfig::default() });
    busy.code(&acme());
    let (demanding, ours, theirs) = (World::new(), TestCa::new(), TestCa::new());
    let by = |ca: &TestCa| ClientCertificates { mode: CertificateMode::Required, ca: ca.ca_pem(), crl: Vec::new() };
    certificates::put(&demanding, Some(by(&ours)), Vec::new());
    let shown = certificates::shown(&demanding, &theirs.client("billing"), &by(&theirs));
    let strange = acme();
    let strange = RawHead { certificate: Some(&shown), ..strange.head() };
    let asked = || vec![("/host", json!("acme.localhost")), ("/path", json!("/me")), ("/route", json!(null))];
    let tenants = || vec![("/tenant_id", json!(Uuid::from_u128(1))), ("/project_id", json!(Uuid::from_u128(10)))];
    let on_route =
        || vec![("/route/pattern", json!("/me")), ("/route/service", json!("demo")), ("/credential", json!(null))];
    let post = Sent::new("POST", "acme.localhost", "/me");
    vec![
        refused("request_malformed", &acme().with("content-length", "1").with("content-length", "2")),
        refused("path_refused", &Sent::get("acme.localhost", "/a/../me")),
        refused("host_invalid", &Sent::get("acme..localhost", "/me")),
        refused("header_refused", &acme().with("x_md_global_user_id", "1")),
        case(
            "method_not_allowed",
            Stage::Canonical,
            world.refused(&Sent::new("TRACE", "acme.localhost", "/me")),
            vec![("/method", json!("TRACE"))],
        ),
        case("host_mismatch", Stage::Canonical, world.refused_head(&misdirected), nothing()),
        case(
            "hostname_unknown",
            Stage::Tenant,
            world.refused(&Sent::get("nobody.localhost", "/me")),
            vec![("/host", json!("nobody.localhost")), ("/tenant_id", json!(null))],
        ),
        case("snapshot_unavailable", Stage::Tenant, expired.refused(&acme()), asked()),
        case("snapshot_unsupported", Stage::Tenant, old.refused(&acme()), asked()),
        case("project_suspended", Stage::Tenant, suspended.refused(&acme()), tenants()),
        case(
            "tenant_suspended",
            Stage::Tenant,
            changed(|t| t.status = TenantStatus::Suspended).refused(&acme()),
            tenants(),
        ),
        case(
            "payment_required",
            Stage::Tenant,
            changed(|t| t.payment = PaymentStatus::Blocked).refused(&acme()),
            tenants(),
        ),
        case("rate_limited", Stage::Admit, busy.refused(&acme()), tenants()),
        case(
            "address_refused",
            Stage::Admit,
            changed(|t| t.admission.deny = vec!["192.0.2.0/24".parse().unwrap()]).refused(&acme()),
            tenants(),
        ),
        case("certificate_missing", Stage::Admit, demanding.refused(&acme()), tenants()),
        case("certificate_refused", Stage::Admit, demanding.refused_head(&strange), tenants()),
        case("tenant_frozen", Stage::Route, changed(|t| t.status = TenantStatus::Frozen).refused(&post), on_route()),
        case(
            "kyc_required",
            Stage::Route,
            changed(|t| t.kyc = KycStatus::Pending).refused(&Sent::get("acme.localhost", "/crm")),
            vec![("/product/name", json!("crm")), ("/product/held", json!(null))],
        ),
    ]
}

/// The account of a token that is not believed at `acme.localhost`.
fn disbelieved(world: &World, code: &'static str, token: &str, facts: Vec<(&'static str, Value)>) -> Case {
    Case { code, stage: Stage::Verify, told: world.refused(&acme().bearer(token)), facts }
}

fn credentials() -> Vec<Case> {
    let world = World::new();
    let claims = || world.claims(&world.acme, MEMBER);
    let mint = |claims| world.acme.issuer.mint(claims);
    let header = |name: &str, value: &str| {
        let mut header = world.acme.issuer.header();
        header[name] = json!(value);
        world.acme.issuer.mint_with_header(&header, claims())
    };
    let now = world.clock.unix_now().secs();
    let good = mint(claims());
    let shown = |code, sent: &Sent, kind: &str| Case {
        code,
        stage: Stage::Credential,
        told: world.refused(sent),
        facts: vec![
            ("/credential/kind", json!(kind)),
            ("/credential/believed", json!(false)),
            ("/credential/claims", json!(null)),
        ],
    };
    let member = json!(Uuid::from_u128(MEMBER));
    vec![
        shown("credential_missing", &acme(), "none"),
        shown("credential_ambiguous", &acme().bearer(&good).bearer(&good), "several"),
        shown("credential_refused", &acme().with("authorization", "Basic YTpi"), "other"),
        disbelieved(
            &world,
            "token_malformed",
            "a.b.c",
            vec![("/credential/kind", json!("bearer")), ("/credential/issuer", json!(null))],
        ),
        disbelieved(
            &world,
            "issuer_unknown",
            &world.token(&world.globex, MEMBER),
            vec![
                ("/credential/issuer", json!("https://globex.localhost")),
                ("/credential/withheld", json!(true)),
                ("/credential/claims/sub", json!(null)),
                ("/credential/claims/tid", json!(null)),
            ],
        ),
        disbelieved(
            &world,
            "key_unknown",
            &header("kid", "retired-1"),
            vec![("/credential/key_id", json!("retired-1")), ("/credential/claims/sub", member.clone())],
        ),
        disbelieved(
            &world,
            "token_algorithm",
            &header("alg", "HS256"),
            vec![("/credential/algorithm", json!("HS256"))],
        ),
        disbelieved(&world, "token_type", &header("typ", "id+jwt"), vec![("/credential/typ", json!("id+jwt"))]),
        disbelieved(
            &world,
            "token_audience",
            &mint(claims().set("aud", "orders")),
            vec![("/credential/claims/aud", json!(["orders"]))],
        ),
        disbelieved(
            &world,
            "token_expired",
            &mint(claims().set("exp", now - 60)),
            vec![
                ("/credential/claims/exp", json!(domain::Timestamp::from_secs(now - 60))),
                ("/reason", json!("the token is not believed: the token has expired")),
                ("/credential/withheld", json!(false)),
            ],
        ),
        disbelieved(
            &world,
            "token_not_yet_valid",
            &mint(claims().set("nbf", now + 60)),
            vec![("/credential/believed", json!(false))],
        ),
        disbelieved(
            &world,
            "token_signature",
            &hostile::foreign_key(&world.acme.issuer, claims()),
            vec![
                ("/credential/key_id", json!(world.acme.issuer.key().kid())),
                ("/credential/seen_before", json!(false)),
            ],
        ),
        disbelieved(
            &world,
            "token_claim",
            &mint(claims().without("sid")),
            vec![
                ("/reason", json!("the token is not believed: claim `sid` is missing or not of its type")),
                ("/credential/claims/sid", json!(null)),
            ],
        ),
    ]
}

fn once_believed() -> Vec<Case> {
    let case = |code, stage, told, facts| Case { code, stage, told, facts };
    let world = World::new();
    let member = world.token(&world.acme, MEMBER);
    let believed =
        || vec![("/credential/believed", json!(true)), ("/credential/issuer", json!("https://acme.localhost"))];

    let revoked = World::new();
    let claims = revoked.claims(&revoked.acme, MEMBER);
    let jti = serde_json::from_value(claims.value("jti").clone()).unwrap();
    let token = revoked.acme.issuer.mint(&claims);
    revoked.say(Fact::TokenRefused { jti, exp: revoked.clock.unix_now() + Duration::from_secs(900) });

    let unproven = World::new();
    unproven.clock.advance(Duration::from_secs(3));
    let strict = Sent::get("acme.localhost", "/strict").bearer(&unproven.token(&unproven.acme, MEMBER));

    let inactive = World::new();
    inactive.link.bindings.lock().unwrap().get_mut(&id(MEMBER)).unwrap().active = false;

    let beta = world.cloud.issuer.mint(world.claims(&world.cloud, MEMBER).set("tid", Uuid::from_u128(5)));
    let nobody = world.cloud.issuer.mint(world.claims(&world.cloud, MEMBER).set("tid", Uuid::from_u128(77)));
    let forged = world.acme.issuer.mint(world.claims(&world.acme, STAFF).set("ctx", "sys"));
    let poor = changed(|t| t.products.clear());
    let used_up = changed(|t| {
        let one = domain::ProductQuota { per_day: Some(1), per_month: None };
        t.quotas = [("crm".to_owned(), one)].into();
    });
    used_up.code(&Sent::get("acme.localhost", "/crm").bearer(&used_up.token(&used_up.acme, MEMBER)));
    let orders = Sent::new("POST", "acme.localhost", "/orders").bearer(&member);
    vec![
        case(
            "token_revoked",
            Stage::Revoke,
            revoked.refused(&acme().bearer(&token)),
            vec![
                ("/credential/claims/jti", claims.value("jti").clone()),
                ("/freshness/applied_seq", json!(1)),
                ("/reason", json!("the token was revoked (Token)")),
            ],
        ),
        case(
            "revocation_unproven",
            Stage::Revoke,
            unproven.refused(&strict),
            vec![("/freshness/proven", json!(false)), ("/freshness/proof_age_ms", json!(3000))],
        ),
        case(
            "permissions_unavailable",
            Stage::Revoke,
            world.refused(&acme().bearer(&world.token(&world.acme, STRANGER))),
            believed(),
        ),
        case(
            "tenant_mismatch",
            Stage::Bind,
            world.refused(&Sent::get("alpha.localhost", "/me").bearer(&beta)),
            vec![
                ("/tenant_id", json!(Uuid::from_u128(4))),
                ("/credential/withheld", json!(true)),
                ("/credential/claims/sub", json!(null)),
                ("/credential/claims/sid", json!(null)),
                ("/credential/claims/jti", json!(null)),
                ("/principal", json!(null)),
                ("/credential/claims/tid", json!(null)),
            ],
        ),
        case(
            "tenant_unknown",
            Stage::Bind,
            world.refused(&Sent::get("cloud.localhost", "/me").bearer(&nobody)),
            vec![("/tenant_id", json!(null))],
        ),
        case(
            "principal_inactive",
            Stage::Bind,
            inactive.refused(&acme().bearer(&inactive.token(&inactive.acme, MEMBER))),
            vec![("/principal/bindings/active", json!(false)), ("/principal/bindings/level", json!("control_api"))],
        ),
        case(
            "entitlement_missing",
            Stage::Bind,
            poor.refused(&Sent::get("acme.localhost", "/crm").bearer(&poor.token(&poor.acme, MEMBER))),
            vec![("/product/name", json!("crm")), ("/product/held", json!(false))],
        ),
        case(
            "quota_exceeded",
            Stage::Limit,
            used_up.refused(&Sent::get("acme.localhost", "/crm").bearer(&used_up.token(&used_up.acme, MEMBER))),
            vec![("/product/name", json!("crm")), ("/reason", json!("the tenant's quota of the day is used up"))],
        ),
        case(
            "context_mismatch",
            Stage::Bind,
            world.refused(&acme().bearer(&forged)),
            vec![("/credential/believed", json!(true))],
        ),
        case(
            "permission_denied",
            Stage::Authorize,
            world.refused(&orders),
            vec![
                ("/permission/code", json!("demo:order:create")),
                ("/permission/held", json!(false)),
                ("/permission/by", json!([])),
                ("/principal/roles", json!(["member"])),
                ("/route/access", json!("permission")),
                ("/route/methods", json!(["POST"])),
            ],
        ),
        case(
            "org_unit_not_found",
            Stage::Authorize,
            world.refused(&Sent::get("acme.localhost", "/ou/nowhere/files").bearer(&member)),
            vec![("/permission/unit", json!(null)), ("/route/pattern", json!("/ou/{ou}/files"))],
        ),
        case(
            "org_unit_denied",
            Stage::Authorize,
            world.refused(
                &Sent::get("acme.localhost", &format!("/ou/{}/home", id::<domain::id::kind::OrgUnit>(UNIT + 1)))
                    .bearer(&member),
            ),
            vec![("/permission", json!(null)), ("/route/access", json!("authenticated"))],
        ),
        case(
            "insufficient_user_authentication",
            Stage::Authorize,
            world.refused(&Sent::get("acme.localhost", "/sure").bearer(&member)),
            vec![
                ("/route/require/acr", json!("aal2")),
                ("/route/require/max_age", json!("5m")),
                ("/credential/claims/acr", json!(null)),
                ("/credential/claims/amr", json!([])),
            ],
        ),
        case(
            "route_not_found",
            Stage::Authorize,
            world.refused(&Sent::get("acme.localhost", "/nothing").bearer(&member)),
            vec![("/route", json!(null)), ("/path", json!("/nothing"))],
        ),
    ]
}

/// What the proxy refuses by itself, before the gate is asked and after.
fn around_the_gate() -> Vec<Case> {
    let world = World::new();
    let orders = Sent::get("acme.localhost", "/orders").bearer(&world.token(&world.acme, MEMBER));
    let before = [Denial::TargetTooLong, Denial::HeadTooLarge].map(|denial| Case {
        code: denial.public().1,
        stage: Stage::Canonical,
        told: (world.explained_unread(&orders, &denial), denial),
        facts: vec![("/tenant_id", json!(null)), ("/credential", json!(null))],
    });
    let full = World::with_config(GateConfig {
        tenant_load: gate::load::LoadLimits { requests: 0, websockets: 0, connections: 10 },
        ..GateConfig::default()
    });
    let crowded = Case {
        code: "concurrency_limited",
        stage: Stage::Authorize,
        told: full.refused(&acme().bearer(&full.token(&full.acme, MEMBER))),
        facts: vec![("/tenant_id", json!(Uuid::from_u128(1)))],
    };
    let after = [
        Denial::RequestTimeout,
        Denial::BodyTooLarge,
        Denial::Key(authn::KeyError::SignatureBody),
        Denial::UpstreamUnreachable,
        Denial::UpstreamTimeout,
        Denial::UpstreamInvalid,
        Denial::StreamTooLong,
        Denial::StreamSilent,
        Denial::AssertionFailed,
    ];
    let after = after.map(|denial| Case {
        code: denial.public().1,
        stage: Stage::Forward,
        told: (world.explained_later(&orders, &denial), denial),
        facts: vec![("/permission/held", json!(true)), ("/permission/by/0/role", json!("member"))],
    });
    before.into_iter().chain([crowded]).chain(after).collect()
}

#[test]
fn every_refusal_is_told_with_its_code_its_stage_and_what_was_found() {
    let of_keys = refusals().into_iter().map(|(code, stage, told, kind)| Case {
        code,
        stage,
        told,
        facts: vec![("/credential/kind", json!(kind)), ("/credential/claims", json!(null))],
    });
    let cases = [before_the_credential(), credentials(), once_believed(), of_keys.collect(), around_the_gate()];
    let cases: Vec<Case> = cases.into_iter().flatten().collect();
    for Case { code, stage, told: (decision, denial), facts } in &cases {
        let account = serde_json::to_value(decision).unwrap();
        assert_eq!((&*decision.code, *code), (*code, denial.public().1), "{account:#}");
        assert_eq!(decision.stopped_at, Some(*stage), "{account:#}");
        assert!(stages(denial).contains(stage), "{denial:?} at {stage:?}");
        assert_eq!(decision.status, Some(denial.public().0.as_u16()), "{account:#}");
        assert!(decision.reason.as_ref().is_some_and(|reason| reason.starts_with(&denial.to_string())), "{account:#}");
        for (pointer, expected) in facts {
            assert_eq!(account.pointer(pointer), Some(expected), "{pointer} of {account:#}");
        }
        let json = serde_json::to_vec(decision).unwrap();
        assert!(json.len() <= MAX_BYTES, "{} bytes", json.len());
        assert_eq!(serde_json::from_slice::<Decision>(&json).unwrap(), *decision, "it reads back");
    }
    let told: BTreeSet<&str> = cases.iter().map(|case| case.code).collect();
    assert_eq!(told, codes().into_iter().collect(), "a case for every code");
}

#[test]
fn a_permit_is_told_with_who_passed_and_by_which_role() {
    let world = World::new();
    let member = world.token(&world.acme, MEMBER);
    let orders = Sent::get("acme.localhost", "/orders?page=2").bearer(&member);
    let first = world.explained(&orders);
    assert_eq!((&*first.code, first.status, first.stopped_at), ("permit", None, None));
    assert_eq!(first.path.as_deref(), Some("/orders"), "without its query");
    let route = first.route.unwrap();
    assert_eq!((&*route.pattern, route.access), ("/orders", DemandedAccess::Permission));
    let permission = first.permission.unwrap();
    assert_eq!((&*permission.code, permission.held, permission.bypass), ("demo:order:list", Some(true), false));
    assert_eq!(permission.by.iter().map(|by| &*by.role).collect::<Vec<_>>(), ["member"]);
    let credential = first.credential.unwrap();
    assert_eq!((credential.kind, credential.believed), (ShownKind::Bearer, true));
    assert_eq!((credential.seen_before, credential.verified_age_ms), (Some(false), Some(0)));
    assert_eq!(first.principal.unwrap().bindings.unwrap().level, BindingsLevel::ControlApi);

    world.clock.advance(Duration::from_millis(1500));
    let second = world.explained(&orders);
    let credential = second.credential.unwrap();
    assert_eq!((credential.seen_before, credential.verified_age_ms), (Some(true), Some(1500)));
    assert_eq!(second.principal.unwrap().bindings.unwrap().level, BindingsLevel::Token);
    assert_eq!((second.freshness.proven, second.freshness.proof_age_ms), (true, Some(1500)));
}

#[test]
fn a_permission_held_by_a_bypass_or_in_a_unit_is_told_so() {
    let world = World::new();
    let users = Sent::get("acme.localhost", "/api/v1/tenant/users").bearer(&world.token(&world.acme, ADMIN));
    let permission = world.explained(&users).permission.unwrap();
    assert!(permission.bypass && permission.by.is_empty() && permission.held == Some(true));
    let unit: domain::OrgUnitId = id(UNIT);
    let files = Sent::get("acme.localhost", &format!("/ou/{unit}/files")).bearer(&world.token(&world.acme, MEMBER));
    let permission = world.explained(&files).permission.unwrap();
    assert_eq!(permission.unit, Some(unit));
    assert_eq!(permission.by.iter().map(|by| (&*by.role, by.unit)).collect::<Vec<_>>(), [("ou_auditor", Some(unit))]);
}

#[test]
fn what_is_left_of_a_stream_that_was_cut_off_is_told_from_its_permit() {
    let world = World::new();
    let orders = Sent::get("acme.localhost", "/orders").bearer(&world.token(&world.acme, MEMBER));
    let mut trace = Trace::default();
    let decided = world.gate.decide(&orders.head(), &world.clock, &mut trace).now_or_never().unwrap();
    let permit = decided.unwrap();
    let denial = Denial::TokenRevoked(authn::Refusal::Session);
    let account = world.gate.explain(&About::Permit(&permit, "/orders"), &trace, Some(&denial), &world.clock);
    assert_eq!((&*account.code, account.stopped_at), ("token_revoked", Some(Stage::Forward)));
    assert_eq!(account.path.as_deref(), Some("/orders"));
    let credential = account.credential.unwrap();
    assert_eq!(credential.key_id.as_deref(), Some(world.acme.issuer.key().kid()));
    assert_eq!(credential.claims.unwrap().sub.as_deref(), Some(&*Uuid::from_u128(MEMBER).to_string()));
    let denied = Denial::PermissionDenied { permission: "demo:order:list".into() };
    let account = world.gate.explain(&About::Permit(&permit, "/orders"), &trace, Some(&denied), &world.clock);
    assert_eq!(account.permission.unwrap().held, Some(false), "what held once does not any more");
}
