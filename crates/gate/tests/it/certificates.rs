//! Client certificates as credentials and as what a hostname demands.

use std::{sync::Arc, time::Duration};

use authn::{Authorities, ClientCertificate};
use domain::{
    CertificateBinding, CertificateMode, CertificateName, ClientCertificates, Clock as _, CredentialKind, Credentials,
    Fact, NameKind,
    client_certificate::CertificatePrincipal,
    fact::Bindings,
    snapshot::{Access, ClientAuthentication, Entity, Hostname, Route, Service, Tenant, TenantStatus},
};
use gate::{Denial, Permit, RawHead, ShownCertificate, Stop, Trace};
use serde_json::json;
use testkit::{Leaf, TestCa};

use crate::{
    fact_table, forward,
    world::{ADMIN, MEMBER, Sent, World, hostname, id, tenant},
};

const BILLING: &str = "spiffe://acme.example/billing";

fn settings(mode: CertificateMode, ca: &str, crl: &[String]) -> ClientCertificates {
    ClientCertificates { mode, ca: ca.into(), crl: crl.to_vec() }
}

fn binding(n: u128, kind: NameKind, value: &str, user: u128) -> CertificateBinding {
    let name = CertificateName::new(kind, value).unwrap();
    CertificateBinding { id: id(n), name, principal: CertificatePrincipal::User(id(user)) }
}

/// What a handshake leaves behind that these authorities verified.
pub(crate) fn shown(world: &World, leaf: &Leaf, by: &ClientCertificates) -> Arc<ShownCertificate> {
    let by = Arc::new(Authorities::compile(by).unwrap());
    let certificate = ClientCertificate::verified(leaf.chain(), by, world.clock.unix_now()).unwrap();
    Arc::new(ShownCertificate::new(certificate))
}

/// `acme.localhost` with these client certificates; of `/me` and `/orders`, certificates are taken.
pub(crate) fn put(world: &World, certificates: Option<ClientCertificates>, bindings: Vec<CertificateBinding>) {
    let row = hostname(20, "acme.localhost", world.acme.project, Some(world.acme.tenant));
    let client_certificates = certificates.map(|certificates| ClientAuthentication { certificates, bindings });
    world.put_one(Entity::Hostname(Hostname { client_certificates, ..row }));
}

fn take_certificates(world: &World) {
    let credentials = Credentials::of([CredentialKind::Token, CredentialKind::Certificate]).unwrap();
    let route = |n, path, access| Route { credentials, ..crate::world::route(n, path, &[], access) };
    let tokens = |n, path, access| crate::world::route(n, path, &[], access);
    let orders = Access::Permission("demo:order:list".parse().unwrap());
    world.put_one(Entity::Service(Service {
        id: id(400),
        name: "demo".into(),
        upstream_id: id(300),
        routes: vec![
            route(1, "/me", Access::Authenticated),
            route(2, "/orders", orders),
            route(3, "/optional", Access::Optional),
            tokens(4, "/tokens", Access::Authenticated),
            tokens(5, "/public", Access::Public),
        ],
    }));
}

struct Fixture {
    world: World,
    ca: TestCa,
    shown: Arc<ShownCertificate>,
}

impl Fixture {
    fn new(mode: CertificateMode) -> Self {
        let (world, ca) = (World::new(), TestCa::new());
        take_certificates(&world);
        let settings = settings(mode, &ca.ca_pem(), &[]);
        let shown = shown(&world, &ca.client_uri(BILLING), &settings);
        put(&world, Some(settings), vec![binding(900, NameKind::Uri, BILLING, MEMBER)]);
        Self { world, ca, shown }
    }

    fn send(&self, sent: &Sent) -> Result<Permit, Stop> {
        use futures::FutureExt as _;
        let head = RawHead { certificate: Some(&self.shown), ..sent.head() };
        let mut trace = Trace::default();
        self.world.gate.decide(&head, &self.world.clock, &mut trace).now_or_never().expect("nothing here waits")
    }

    fn code(&self, sent: &Sent) -> &'static str {
        match self.send(sent) {
            Ok(_) => "permit",
            Err(Stop::Deny(denial)) => denial.public().1,
            Err(Stop::Answer(_)) => "answer",
        }
    }

    /// With another certificate on the same connection's place.
    fn showing(&self, leaf: &Leaf, by: &ClientCertificates) -> Self {
        let world = World::new();
        Self { shown: shown(&world, leaf, by), world, ca: TestCa::new() }
    }
}

fn at(path: &str) -> Sent {
    Sent::get("acme.localhost", path)
}

#[test]
fn a_bound_certificate_acts_as_its_user_where_the_route_takes_it() {
    let it = Fixture::new(CertificateMode::Optional);
    let permit = it.send(&at("/orders")).unwrap();
    let principal = permit.identity.as_ref().unwrap();
    assert_eq!(&*principal.subject, domain::UserId::new(uuid::Uuid::from_u128(MEMBER)).to_string());
    assert_eq!(permit.tenant.as_ref().unwrap().id, it.world.acme.tenant);
    assert!(!permit.refresh_advised, "only a token can be had anew");
    let forged = at("/orders").with("x-ssl-client-s-dn", "CN=admin").with("x-forwarded-client-cert", "Hash=abc");
    let upstream = forward::prepared(&it.world, &forged, &permit).headers;
    let said = |name: &str| upstream.get(name);
    assert_eq!((said("x-ssl-client-s-dn"), said("x-forwarded-client-cert")), (None, None));
    assert_eq!(said("x-md-global-auth-method").unwrap(), "certificate");
    assert_eq!(said("x-md-global-roles").unwrap(), "member");
    assert_eq!(said("x-md-global-session-id"), None);

    // By certificate or by token, it is one principal.
    let by_token = it.world.send(&at("/me").bearer(&it.world.token(&it.world.acme, MEMBER))).unwrap();
    assert_eq!(by_token.identity.unwrap().number, principal.number);

    for (path, code) in [
        ("/me", "permit"),
        ("/optional", "permit"),
        ("/public", "permit"),
        ("/tokens", "credential_missing"),
        ("/nothing", "route_not_found"),
    ] {
        assert_eq!(it.code(&at(path)), code, "{path}");
    }
    assert_eq!(it.world.code(&at("/me")), "credential_missing", "another connection shows nothing");
}

#[test]
fn a_warm_decision_by_certificate_allocates_nothing() {
    use futures::FutureExt as _;
    for mode in [CertificateMode::Optional, CertificateMode::Required] {
        let it = Fixture::new(mode);
        let sent = at("/orders");
        let head = RawHead { certificate: Some(&it.shown), ..sent.head() };
        let decide = || {
            let mut trace = Trace::default();
            it.world.gate.decide(&head, &it.world.clock, &mut trace).now_or_never().is_some_and(|it| it.is_ok())
        };
        assert!(decide(), "warms up");
        let mut permitted = false;
        let info = allocation_counter::measure(|| permitted = decide());
        assert!(permitted);
        assert_eq!(info.count_total, 0, "{mode:?}");
    }
}

#[test]
fn what_else_is_shown_counts_and_the_certificate_beside_it_does_not() {
    let it = Fixture::new(CertificateMode::Optional);
    let admin = it.send(&at("/me").bearer(&it.world.token(&it.world.acme, ADMIN))).unwrap();
    assert!(admin.identity.unwrap().is_admin);
    assert_eq!(it.code(&at("/me").bearer("a.b.c")), "token_malformed", "a bad token is not made good by a certificate");
    assert_eq!(it.code(&at("/me").with("authorization", "Basic YTpi")), "credential_refused");
}

#[test]
fn headers_that_speak_of_certificates_are_nobodys() {
    let it = Fixture::new(CertificateMode::Optional);
    for name in [
        "x-forwarded-client-cert",
        "x-client-cert",
        "x-ssl-client-verify",
        "ssl-client-cert",
        "client-cert",
        "x-arr-clientcert",
    ] {
        assert_eq!(
            it.world.code(&at("/me").with(name, "Hash=abc;URI=spiffe://acme.example/billing")),
            "credential_missing"
        );
    }
}

#[test]
fn exactly_one_binding_must_have_a_name_of_the_certificate() {
    let it = Fixture::new(CertificateMode::Optional);
    let by = settings(CertificateMode::Optional, &it.ca.ca_pem(), &[]);
    let code = |bindings: Vec<CertificateBinding>| {
        put(&it.world, Some(by.clone()), bindings);
        it.code(&at("/me"))
    };
    let uri = || binding(900, NameKind::Uri, BILLING, MEMBER);
    assert_eq!(code(vec![uri()]), "permit");
    assert_eq!(code(Vec::new()), "certificate_refused");
    assert_eq!(code(vec![binding(901, NameKind::Uri, "spiffe://acme.example/billin", MEMBER)]), "certificate_refused");
    assert_eq!(code(vec![binding(901, NameKind::Dns, "billing.acme.example", MEMBER)]), "certificate_refused");
    let leaf = it.ca.client_uri(BILLING);
    let both = || vec![uri(), binding(902, NameKind::Sha256, &leaf.fingerprint(), MEMBER)];
    let other = it.showing(&leaf, &by);
    take_certificates(&other.world);
    put(&other.world, Some(by.clone()), both());
    assert_eq!(other.code(&at("/me")), "certificate_refused", "bound twice, be it to one user");
    put(&other.world, Some(by.clone()), both().split_off(1));
    assert_eq!(other.code(&at("/me")), "permit", "by its fingerprint");
    assert_eq!(code(both()), "permit", "the fingerprint is another certificate's");
}

#[test]
fn another_tenants_certificate_is_nobodys_here() {
    let it = Fixture::new(CertificateMode::Optional);
    let theirs = TestCa::new();
    let by = settings(CertificateMode::Optional, &theirs.ca_pem(), &[]);
    // As if the handshake of another hostname had been carried over.
    let carried = shown(&it.world, &theirs.client_uri(BILLING), &by);
    let carried = Fixture { shown: carried, ..it };
    assert_eq!(carried.code(&at("/me")), "certificate_refused");
    // Of the right authority, at a hostname that asks for none.
    let it = Fixture::new(CertificateMode::Optional);
    put(&it.world, None, Vec::new());
    assert_eq!(it.code(&at("/me")), "certificate_refused");
}

#[test]
fn a_demanded_certificate_is_demanded_of_every_request() {
    let it = Fixture::new(CertificateMode::Required);
    let token = it.world.token(&it.world.acme, MEMBER);
    for sent in [at("/public"), at("/tokens").bearer(&token), at("/me")] {
        assert_eq!(it.code(&sent), "permit");
        assert_eq!(it.world.code(&sent), "certificate_missing", "of a connection made before it was demanded");
    }
    let revoked = it.ca.crl(&[]);
    put(&it.world, Some(settings(CertificateMode::Required, &TestCa::new().ca_pem(), &[])), Vec::new());
    for sent in [at("/public"), at("/tokens").bearer(&token), at("/me")] {
        assert_eq!(it.code(&sent), "certificate_refused", "its authority is gone");
    }
    put(&it.world, Some(settings(CertificateMode::Required, &it.ca.ca_pem(), &[revoked])), Vec::new());
    assert_eq!(it.code(&at("/public")), "permit", "it is back, and has revoked nothing");
}

#[test]
fn what_lasts_ends_with_its_certificate() {
    let leaf_of = |it: &Fixture| it.ca.client_uri(BILLING);
    let it = Fixture::new(CertificateMode::Required);
    let leaf = leaf_of(&it);
    let bindings = || vec![binding(900, NameKind::Uri, BILLING, MEMBER)];
    let rules = |crl: &[String]| settings(CertificateMode::Required, &it.ca.ca_pem(), crl);
    let it = Fixture { shown: shown(&it.world, &leaf, &rules(&[])), world: it.world, ca: it.ca };
    let rules = |crl: &[String]| settings(CertificateMode::Required, &it.ca.ca_pem(), crl);
    let token = it.world.token(&it.world.acme, MEMBER);
    let (me, tokens, public) = (at("/me"), at("/tokens").bearer(&token), at("/public"));
    let streams: Vec<_> = [&me, &tokens, &public].map(|sent| (it.send(sent).unwrap(), sent)).into();
    let all = |expected: Result<(), &str>| {
        for (permit, sent) in &streams {
            let said = it.world.still_holds(permit, sent).map_err(|denial| denial.public().1);
            assert_eq!(said, expected, "{}", sent.target);
        }
    };
    all(Ok(()));
    put(&it.world, Some(rules(&[it.ca.crl(&[])])), bindings());
    all(Ok(()));
    put(&it.world, Some(rules(&[it.ca.crl(&[&leaf])])), bindings());
    all(Err("certificate_refused"));
    put(&it.world, Some(rules(&[])), bindings());
    all(Ok(()));
    // Who acts by it ends with the binding; the others do not.
    put(&it.world, Some(rules(&[])), Vec::new());
    let codes: Vec<_> = streams.iter().map(|(permit, sent)| it.world.still_holds(permit, sent).is_ok()).collect();
    assert_eq!(codes, [false, true, true]);
}

#[test]
fn a_list_that_goes_out_of_date_ends_what_stood_on_it() {
    let it = Fixture::new(CertificateMode::Required);
    let year = 1970 + it.world.clock.unix_now().secs() / 31_556_952;
    let list = it.ca.crl_until(&[], i32::try_from(year + 2).unwrap());
    let rules = settings(CertificateMode::Required, &it.ca.ca_pem(), &[list]);
    put(&it.world, Some(rules), vec![binding(900, NameKind::Uri, BILLING, MEMBER)]);
    let permit = it.send(&at("/me")).unwrap();
    let public = it.send(&at("/public")).unwrap();
    assert_eq!(permit.lasting.ends_at, public.lasting.ends_at);
    assert!(permit.lasting.ends_at.is_some());
    it.world.clock.advance(Duration::from_secs(3 * 31_556_952));
    it.world.prove();
    assert_eq!(it.world.still_holds(&permit, &at("/me")).unwrap_err().public().1, "certificate_refused");
    assert_eq!(it.code(&at("/public")), "certificate_refused");
}

/// A list that is renewed in time cuts nobody off.
#[test]
fn what_lasts_outlives_a_list_that_was_replaced() {
    let it = Fixture::new(CertificateMode::Required);
    let year = i32::try_from(1970 + it.world.clock.unix_now().secs() / 31_556_952).unwrap();
    let rules = |until| settings(CertificateMode::Required, &it.ca.ca_pem(), &[it.ca.crl_until(&[], until)]);
    let bindings = || vec![binding(900, NameKind::Uri, BILLING, MEMBER)];
    put(&it.world, Some(rules(year + 2)), bindings());
    let streams = ["/me", "/public"].map(|path| (it.send(&at(path)).unwrap(), at(path)));
    put(&it.world, Some(rules(year + 9)), bindings());
    it.world.clock.advance(Duration::from_secs(3 * 31_556_952));
    it.world.prove();
    for (permit, sent) in &streams {
        assert_eq!(it.world.still_holds(permit, sent), Ok(()), "{}", sent.target);
        assert!(permit.lasting.ends_at.unwrap() > it.world.clock.unix_now());
    }
}

#[test]
fn the_user_the_tenant_and_the_lease_bind_a_certificate_as_they_do_others() {
    let it = Fixture::new(CertificateMode::Optional);
    assert_eq!(it.code(&at("/me")), "permit");
    // Signing out everywhere ends tokens and sessions.
    it.world.say(Fact::UserGeneration { tenant: it.world.acme.tenant, user: id(MEMBER), generation: 5, cutoff: None });
    assert_eq!(it.code(&at("/me")), "permit");
    let seq = it.world.say(Fact::BindingsChanged { tenant: it.world.acme.tenant, user: id(MEMBER) });
    let disabled = Bindings { active: false, as_of: seq, ..Bindings::default() };
    it.world.link.bindings.lock().unwrap().insert(id(MEMBER), disabled);
    assert_eq!(it.code(&at("/me")), "principal_inactive");

    let it = Fixture::new(CertificateMode::Optional);
    let mut acme: Tenant = tenant(1, it.world.acme.project, "acme");
    acme.status = TenantStatus::Suspended;
    it.world.put_one(Entity::Tenant(acme));
    assert_eq!(it.code(&at("/me")), "tenant_suspended");

    let it = Fixture::new(CertificateMode::Optional);
    it.world.clock.advance(Duration::from_secs(3600));
    assert_eq!(it.code(&at("/me")), "revocation_unproven");
}

/// The table of `docs/revocation.md`: these end tokens and sessions.
#[test]
fn no_fact_about_tokens_ends_a_certificate() {
    for (fact, ..) in fact_table::facts() {
        let it = Fixture::new(CertificateMode::Optional);
        let permit = it.send(&at("/me")).unwrap();
        it.world.say(fact.clone());
        assert_eq!(it.code(&at("/me")), "permit", "{fact:?}");
        assert_eq!(it.world.still_holds(&permit, &at("/me")), Ok(()), "{fact:?}");
    }
}

/// H5: no other authority is trusted instead, and no other hostname suffers.
#[test]
fn h5_a_hostname_without_readable_authorities_is_not_served_and_the_others_are() {
    let world = World::new();
    let ca = TestCa::new();
    let good = settings(CertificateMode::Optional, &ca.ca_pem(), &[]);
    let broken = |ca: &str, crl: &[&str]| {
        let crl: Vec<String> = crl.iter().map(|&text| text.to_owned()).collect();
        settings(CertificateMode::Optional, ca, &crl)
    };
    for (certificates, reason) in [
        (broken("", &[]), "`ca` holds no PEM block"),
        (broken("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n", &[]), "`ca`, block 1, is no PEM"),
        (broken(&ca.client("x").chain_pem, &[]), "`ca`, block 1, is no authority's"),
        (broken(&ca.ca_pem(), &["x"]), "`crl` 1 is neither PEM nor DER"),
    ] {
        let row = hostname(20, "acme.localhost", world.acme.project, Some(world.acme.tenant));
        let client_certificates = Some(ClientAuthentication { certificates, bindings: Vec::new() });
        let report = world.put_one(Entity::Hostname(Hostname { client_certificates, ..row }));
        let [(_, said)] = report.refused.as_slice() else { panic!("{report:?}") };
        assert!(said.starts_with("hostname `acme.localhost`: ") && said.contains(reason), "{said}");
        assert_eq!(world.code(&at("/public/x")), "snapshot_unsupported");
        assert!(world.gate.snapshot().handshake("acme.localhost").is_none());
        let unserved: Vec<_> = world.gate.snapshot().unserved().into_iter().collect();
        assert_eq!(unserved.iter().map(|host| &**host).collect::<Vec<_>>(), ["acme.localhost"]);
        assert_eq!(world.code(&Sent::get("globex.localhost", "/public/x")), "permit");
    }
    put(&world, Some(good), Vec::new());
    assert_eq!(world.code(&at("/public/x")), "permit");
    assert!(world.gate.snapshot().unserved().is_empty());
}

#[test]
fn bindings_that_cannot_be_told_apart_are_not_served() {
    let world = World::new();
    let certificates = settings(CertificateMode::Optional, &TestCa::new().ca_pem(), &[]);
    let twice = vec![binding(1, NameKind::Uri, BILLING, MEMBER), binding(2, NameKind::Uri, BILLING, ADMIN)];
    put(&world, Some(certificates.clone()), twice);
    assert_eq!(world.code(&at("/public/x")), "snapshot_unsupported");
    // Of no tenant, a user is nobody.
    let bindings = vec![binding(1, NameKind::Uri, BILLING, MEMBER)];
    let client_certificates = Some(ClientAuthentication { certificates, bindings });
    let row = hostname(23, "cloud.localhost", world.cloud.project, None);
    let report = world.put_one(Entity::Hostname(Hostname { client_certificates, ..row }));
    assert!(report.refused[0].1.contains("it has no tenant"), "{report:?}");
}

#[test]
fn an_account_names_the_certificate_and_the_binding() {
    let it = Fixture::new(CertificateMode::Optional);
    let sent = at("/me");
    let head = RawHead { certificate: Some(&it.shown), ..sent.head() };
    let (told, denial) = it.world.told(&head);
    assert_eq!(denial, None);
    let told = json!(told);
    assert_eq!(told["credential"]["kind"], "certificate");
    assert_eq!(told["credential"]["believed"], true);
    assert_eq!(told["credential"]["certificate"]["binding_id"], json!(uuid::Uuid::from_u128(900)));
    assert_eq!(told["credential"]["certificate"]["sha256"].as_str().unwrap().len(), 64);
    assert_eq!(told["principal"]["subject"], json!(uuid::Uuid::from_u128(MEMBER)));
}

#[test]
fn a_denial_of_a_certificate_says_why_to_operators_only() {
    let it = Fixture::new(CertificateMode::Optional);
    put(&it.world, Some(settings(CertificateMode::Optional, &it.ca.ca_pem(), &[])), Vec::new());
    let Err(Stop::Deny(denial)) = it.send(&at("/me")) else { panic!("not denied") };
    assert_eq!(denial, Denial::Certificate(authn::CertificateError::Unbound));
    assert_eq!((denial.public().0.as_u16(), denial.title()), (401, "A valid credential is needed"));
}
