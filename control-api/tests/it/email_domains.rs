//! Domains of email addresses: proven by DNS, and who belongs to a tenant by them.

use std::sync::Arc;

use authz::{
    Authorized,
    action::{ManageEmailDomains, ManageUsers},
};
use axum::Router;
use control_api::{App, router};
use domain::{
    HumanDuration, Secret, TenantId, UserId,
    model::{Challenge, ClaimState, Finding, NewEmailDomain, NewUser, ProofRules, RoleSubject, UserStatus, builtin},
};
use serde_json::{Value, json};
use store::{Audited, Look, Noted, Page, StoreError, read::*};

use crate::{
    names::{Names, SECOND, record, state},
    require_2fa::demand,
    support::{Answer, PASSWORD, World, call, get, on_postgres, post},
};

impl Names {
    async fn claim_domain(&self, token: &str, tenant: &str, domain: &str) -> Answer {
        self.world.clock.advance(SECOND);
        let body = json!({ "domain": domain });
        post(&format!("/v1/tenants/{tenant}/domains"), &body).bearer(token).send(&self.world.admin).await
    }

    async fn verify_domain(&self, token: &str, id: &str) -> Answer {
        self.world.clock.advance(SECOND);
        call("POST", &format!("/v1/domains/{id}/verify")).bearer(token).send(&self.world.admin).await
    }

    /// A proven claim.
    async fn domain(&self, token: &str, tenant: &str, domain: &str) -> Answer {
        let claim = self.claim_domain(token, tenant, domain).await.expect(201);
        self.dns.serve(&[&record(&claim)]);
        let verified = self.verify_domain(token, &claim.id()).await.expect(200);
        assert_eq!(state(&verified), ("verified", None));
        claim
    }

    /// The same control API after its operator named a public provider, and started it again.
    fn knowing(&self, provider: &str) -> Router {
        let mut config = self.app().config.clone();
        config.email_domains.public_providers = vec![provider.parse().unwrap()];
        let (store, hub) = (self.app().store.clone(), Arc::clone(&self.app().hub));
        router::admin(&App::over(config, store, hub, Arc::clone(&self.app().clock)).unwrap())
    }

    async fn stranger(&self, tenant: &str, email: &str) -> UserId {
        stranger(&self.world, tenant, email).await
    }
}

/// A user of a tenant's project who is no member of it, with a proven address.
async fn stranger(world: &World, tenant: &str, email: &str) -> UserId {
    let password = world.app.passwords.hash(Secret::new(PASSWORD.to_owned())).await.unwrap();
    let project_id = world.app.store.tenant(tenant.parse().unwrap()).await.unwrap().unwrap().project_id;
    let new = &NewUser {
        id: control_api::context::new_id(&*world.clock),
        project_id,
        email: Some(email.into()),
        username: email.split('@').next().map(Into::into),
        first_name: String::new(),
        last_name: String::new(),
        phone: None,
        external_id: None,
        status: UserStatus::Active,
        password_hash: Some(password),
        must_change_password: false,
        is_break_glass: false,
    };
    let id = new.id;
    let by = &Authorized::<ManageUsers>::system("test");
    let proven = world.app.store.write(by, world.app.now(), |tx| async move {
        tx.created(tx.insert_user(by, new.clone()).await?).await?;
        let mut user = tx.user(id).await?.unwrap();
        user.email_verified_at = Some(world.app.now());
        tx.updated(tx.update_user(by, user).await?).await
    });
    proven.await.unwrap();
    id
}

fn field_code(answer: &Answer) -> &Value {
    &answer.body["errors"][0]["code"]
}

#[tokio::test]
async fn a_domain_is_claimed_proven_listed_and_given_up() {
    let it = Names::new().await;
    let ((acme, ada), (globex, gus)) = (it.tenant("acme").await, it.tenant("globex").await);
    let claim = it.claim_domain(&ada, &acme, "Bücher.TEST").await.expect(201);
    assert_eq!((claim.text("domain").as_str(), claim.text("method").as_str()), ("xn--bcher-kva.test", "dns_txt"));
    assert_eq!(state(&it.verify_domain(&ada, &claim.id()).await.expect(200)), ("failed", Some("record_missing")));
    it.dns.serve(&[&record(&claim)]);
    assert_eq!(state(&it.verify_domain(&ada, &claim.id()).await.expect(200)), ("verified", None));
    it.claim_domain(&ada, &acme, "xn--bcher-kva.test").await.refused(409, "already_exists");
    let list = get(&format!("/v1/tenants/{acme}/domains")).bearer(&ada).send(&it.world.admin).await.expect(200);
    assert_eq!(list.body["items"][0]["id"], claim.body["id"]);

    // M1: not for others.
    let domains = format!("/v1/tenants/{acme}/domains");
    for (method, path) in [
        ("GET", domains.clone()),
        ("POST", domains),
        ("POST", format!("/v1/domains/{}/verify", claim.id())),
        ("DELETE", format!("/v1/domains/{}", claim.id())),
    ] {
        let body = json!({ "domain": "other.test" });
        let answer = call(method, &path).json(&body).bearer(&gus).send(&it.world.admin).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (404, "not_found"), "{method} {path}: {answer:?}");
    }
    let list = get(&format!("/v1/tenants/{globex}/domains")).bearer(&gus).send(&it.world.admin).await.expect(200);
    assert_eq!(list.body["items"], json!([]));

    it.delete(&ada, &format!("/v1/domains/{}", claim.id())).await.expect(204);
    it.verify_domain(&ada, &claim.id()).await.refused(404, "not_found");
    let steps = ["created", "verify_failed", "verified", "deleted"].map(|step| format!("email-domain.{step}"));
    assert_eq!(it.trail("email-domain.").await, steps);
}

#[tokio::test]
async fn no_tenant_gets_the_domain_of_a_public_provider() {
    let it = Names::with(|config| config.email_domains.public_providers = vec!["mail.test".parse().unwrap()]).await;
    let (acme, ada) = it.tenant("acme").await;
    for domain in
        ["gmail.com", "GMAIL.com.", "mail.gmail.com", "outlook.com", "yahoo.co.uk", "mail.test", "a.mail.test"]
    {
        let refused = it.claim_domain(&ada, &acme, domain).await.refused(422, "validation_failed");
        assert_eq!(field_code(&refused), "public_provider", "{domain}");
    }
    for domain in ["notgmail.com", "gmail.com.test", "hotmail.test"] {
        it.claim_domain(&ada, &acme, domain).await.expect(201);
    }
}

#[tokio::test]
async fn who_has_an_address_in_the_domain_belongs_to_its_tenant_at_the_next_sign_in() {
    let it = Names::with(|config| {
        config.proofs.recheck = HumanDuration::from_secs(60);
        config.proofs.grace = HumanDuration::from_secs(0);
    })
    .await;
    let (acme, ada) = it.tenant("acme").await;
    let newcomer = it.stranger(&acme, "nina@company.test").await;
    let elsewhere = it.stranger(&acme, "olaf@sub.company.test").await;
    let sign_in = |name: &'static str| it.world.try_login("acme", name, PASSWORD);
    sign_in("nina").await.refused(401, "credentials_invalid");
    // Claimed is not proven.
    let claim = it.claim_domain(&ada, &acme, "company.test").await.expect(201);
    sign_in("nina").await.refused(401, "credentials_invalid");
    it.dns.serve(&[&record(&claim)]);
    it.verify_domain(&ada, &claim.id()).await.expect(200);
    let token = sign_in("nina").await.expect(200).text("access_token");
    sign_in("olaf").await.refused(401, "credentials_invalid");
    let list = get(&format!("/v1/tenants/{acme}/members")).bearer(&it.staff).send(&it.world.admin).await.expect(200);
    let members = list.body["items"].as_array().unwrap();
    let source = |id: UserId| members.iter().find(|it| it["user_id"] == id.to_string()).map(|it| it["source"].clone());
    assert_eq!((source(newcomer), source(elsewhere)), (Some(json!("domain")), None));
    get("/v1/me").bearer(&token).send(&it.world.admin).await.expect(200);

    // The domain is lost: so is what came by it.
    it.dns.serve(&[]);
    it.pass(SECOND * 70).await;
    get("/v1/me").bearer(&token).send(&it.world.admin).await.refused(401, "token_revoked");
    sign_in("nina").await.refused(401, "credentials_invalid");
    it.dns.serve(&[&record(&claim)]);
    it.verify_domain(&ada, &claim.id()).await.expect(200);
    sign_in("nina").await.expect(200);
    // And when it is given up.
    it.delete(&ada, &format!("/v1/domains/{}", claim.id())).await.expect(204);
    sign_in("nina").await.refused(401, "credentials_invalid");
}

#[tokio::test]
async fn a_stored_membership_beats_what_the_domain_says() {
    let it = Names::new().await;
    let (acme, ada) = it.tenant("acme").await;
    it.domain(&ada, &acme, "company.test").await;
    let nina = it.stranger(&acme, "nina@company.test").await;
    it.world.try_login("acme", "nina", PASSWORD).await.expect(200);
    let by = &Authorized::<ManageUsers>::system("test");
    let tenant = acme.parse().unwrap();
    let switched_off = it.app().store.write(by, it.app().now(), |tx| async move {
        let off = tx.update_membership(by, tenant, nina, domain::model::MembershipStatus::Inactive).await?;
        tx.done("disabled", off).await
    });
    switched_off.await.unwrap();
    it.world.try_login("acme", "nina", PASSWORD).await.refused(401, "credentials_invalid");
}

#[tokio::test]
async fn nobody_belongs_by_an_address_that_is_not_proven_or_anybodys() {
    let it = Names::with(|config| config.proofs.recheck = HumanDuration::from_secs(60)).await;
    let (acme, ada) = it.tenant("acme").await;
    it.domain(&ada, &acme, "company.test").await;
    let id = it.stranger(&acme, "nina@company.test").await;
    let by = &Authorized::<ManageUsers>::system("test");
    let unproven = it.app().store.write(by, it.app().now(), |tx| async move {
        let mut user = tx.user(id).await?.unwrap();
        user.email_verified_at = None;
        tx.updated(tx.update_user(by, user).await?).await
    });
    unproven.await.unwrap();
    it.world.try_login("acme", "nina", PASSWORD).await.refused(401, "credentials_invalid");
    // M4: what two programs read in two ways is in no domain.
    it.stranger(&acme, "mallory@evil.test@company.test").await;
    it.world.try_login("acme", "mallory", PASSWORD).await.refused(401, "credentials_invalid");
}

#[tokio::test]
async fn who_was_taken_out_does_not_come_back_by_the_domain() {
    let it = Names::new().await;
    let (acme, ada) = it.tenant("acme").await;
    it.domain(&ada, &acme, "company.test").await;
    let nina = it.stranger(&acme, "nina@company.test").await;
    it.world.try_login("acme", "nina", PASSWORD).await.expect(200);
    it.delete(&it.staff, &format!("/v1/tenants/{acme}/members/{nina}")).await.expect(204);
    it.world.try_login("acme", "nina", PASSWORD).await.refused(401, "credentials_invalid");
    // Until somebody takes them in again.
    it.world.join(&it.staff, &acme, &nina.to_string()).await;
    it.world.try_login("acme", "nina", PASSWORD).await.expect(200);
}

#[tokio::test]
async fn whom_somebody_vouched_for_stays_when_the_domain_is_lost() {
    let it = Names::new().await;
    let (acme, ada) = it.tenant("acme").await;
    let claim = it.domain(&ada, &acme, "company.test").await;
    for name in ["nina", "olaf"] {
        it.stranger(&acme, &format!("{name}@company.test")).await;
        it.world.try_login("acme", name, PASSWORD).await.expect(200);
    }
    let users = get("/api/v1/tenant/users").bearer(&ada).send(&it.world.admin).await.expect(200);
    let users = users.body["items"].as_array().unwrap();
    let nina = users.iter().find(|user| user["username"] == "nina").unwrap()["id"].clone();
    let body = json!({ "role_id": builtin::ADMIN, "user_id": nina });
    post("/v1/role-bindings", &body).bearer(&ada).send(&it.world.admin).await.expect(201);
    it.delete(&ada, &format!("/v1/domains/{}", claim.id())).await.expect(204);
    it.world.try_login("acme", "nina", PASSWORD).await.expect(200);
    it.world.try_login("acme", "olaf", PASSWORD).await.refused(401, "credentials_invalid");
}

/// Claimed, proven and used before it was known what it is.
#[tokio::test]
async fn a_provider_that_becomes_known_is_refused_at_each_gate() {
    let it = Names::with(|config| config.proofs.grace = HumanDuration::from_secs(0)).await;
    let (acme, ada) = it.tenant("acme").await;
    let claim = it.domain(&ada, &acme, "company.test").await;
    it.stranger(&acme, "nina@company.test").await;
    let knowing = it.knowing("company.test");
    let body = json!({ "username": "nina", "password": PASSWORD });
    let sign_in = post("/api/v1/tenant/auth/login", &body).host("acme.localhost").send(&knowing).await;
    sign_in.refused(401, "credentials_invalid");
    let path = format!("/v1/domains/{}/verify", claim.id());
    it.world.clock.advance(SECOND);
    let verified = call("POST", &path).bearer(&ada).send(&knowing).await.expect(200);
    assert_eq!(state(&verified), ("failed", Some("public_provider")));
    let body = json!({ "domain": "mail.company.test" });
    let again = post(&format!("/v1/tenants/{acme}/domains"), &body).bearer(&ada).send(&knowing).await;
    assert_eq!(field_code(&again.refused(422, "validation_failed")), "public_provider");
}

#[tokio::test]
async fn the_shared_project_is_joined_by_invitation_only() {
    let it = Names::new().await;
    let tenants = it.world.shared_tenants(&it.staff, &["ant", "bee"]).await;
    it.domain(&it.staff, &tenants["ant"], "company.test").await;
    it.stranger(&tenants["bee"], "nina@company.test").await;
    it.world.try_login("ant", "nina", PASSWORD).await.refused(401, "credentials_invalid");
}

/// A latent tenant with a proven domain, and many who come at once.
async fn the_first_who_comes(world: World) {
    let staff = world.staff().await;
    let other = world.tenant(&staff, "globex").await;
    let other = get(&format!("/v1/tenants/{other}")).bearer(&staff).send(&world.admin).await.expect(200);
    let mut body = json!({
        "slug": "acme", "name": "Acme", "customer_id": other.body["customer_id"], "issuer": "https://acme.localhost",
        "status": "active", "claim_state": "latent", "admin_email": "ann@company.test",
    });
    let refused = post("/v1/tenants", &body).bearer(&staff).send(&world.admin).await;
    assert_eq!(refused.refused(422, "validation_failed").body["errors"][0]["pointer"], "/claim_state");
    body.as_object_mut().unwrap().remove("admin_email");
    let made = post("/v1/tenants", &body).bearer(&staff).send(&world.admin).await.expect(201);
    assert_eq!(made.body["claim_state"], "latent");
    let tenant = made.id();
    let identity = world.identity(&staff).await;
    let body = json!({ "hostname": "acme.localhost", "tenant_id": tenant, "services": [identity] });
    post("/v1/hostnames", &body).bearer(&staff).send(&world.admin).await.expect(201);
    let id: TenantId = tenant.parse().unwrap();
    let app = &world.app;
    let found = app.store.tenant(id).await.unwrap().unwrap();
    let new = &NewEmailDomain {
        id: domain::Id::new(uuid::Uuid::from_u128(5)),
        project_id: found.project_id,
        tenant_id: id,
        domain: "company.test".parse().unwrap(),
        challenge: Challenge::new([7; 32]),
    };
    let by = &Authorized::<ManageEmailDomains>::system("test");
    let rules = &ProofRules { grace: SECOND, takeover_after: SECOND, quarantine: SECOND };
    let look = &Look { finding: Finding::Proven, asked_at: app.now(), next: app.now() + SECOND * 1000 };
    let made = app.store.write(by, app.now(), |tx| async move {
        tx.created(tx.insert_email_domain(by, new.clone()).await?).await?;
        match tx.note_email_domain_proof(by, new.id, look, rules).await? {
            Noted::Told { now, .. } => tx.done("verified", now).await,
            Noted::Quiet(domain) => panic!("{domain:?}"),
        }
    });
    made.await.map_err(|error: StoreError| error).unwrap();
    let names = ["ada", "ben", "cleo", "dan"];
    for name in names {
        stranger(&world, &tenant, &format!("{name}@company.test")).await;
    }
    let sign_ins = names.map(|name| world.try_login("acme", name, PASSWORD));
    for answer in futures::future::join_all(sign_ins).await {
        answer.expect(200);
    }
    let bindings = app.store.role_bindings(id, Page::FIRST).await.unwrap();
    let held = |role| bindings.iter().filter(|it| it.role_id == role).count();
    assert_eq!((held(builtin::OWNER), held(builtin::MEMBER)), (1, 3));
    assert_eq!(app.store.tenant(id).await.unwrap().unwrap().claim_state, ClaimState::Claimed);
    // The tenant stays theirs when the domain goes.
    let gone = app.store.write(by, app.now(), |tx| async move {
        tx.deleted(tx.delete_email_domain(by, new.id).await?).await?;
        for ended in tx.end_stray_memberships(by, (found.project_id, id)).await? {
            tx.deleted(ended).await?;
        }
        Ok::<_, StoreError>(Audited::unchanged(()))
    });
    gone.await.unwrap();
    let left = app.store.memberships(id, Page::FIRST).await.unwrap();
    let owner = bindings.iter().find(|it| it.role_id == builtin::OWNER).unwrap().subject;
    assert_eq!(left.iter().map(|it| RoleSubject::User(it.user_id)).collect::<Vec<_>>(), [owner]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_latent_tenant_is_owned_by_the_first_who_comes_on_sqlite() {
    the_first_who_comes(World::new().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_latent_tenant_is_owned_by_the_first_who_comes_on_postgres() {
    on_postgres(the_first_who_comes).await;
}

/// Who joins by the domain shows a second factor where the tenant demands one, before there is a session.
#[tokio::test]
async fn who_joins_by_a_domain_sets_a_second_factor_up_where_the_tenant_demands_one() {
    let it = Names::new().await;
    let (acme, ada) = it.tenant("acme").await;
    it.domain(&ada, &acme, "company.test").await;
    demand(&it.world, &it.staff, &acme, &json!({ "require_2fa": true })).await;
    let nina = it.stranger(&acme, "nina@company.test").await;
    let asked = it.world.try_login("acme", "nina", PASSWORD).await.expect(200);
    assert_eq!(asked.body["second_factor"]["methods"], json!(["totp_setup"]));
    assert!(asked.body.get("access_token").is_none(), "{asked:?}");
    let now = it.app().now();
    let sessions = it.app().store.open_sessions(acme.parse().unwrap(), nina, now, Page::WIDEST).await.unwrap();
    assert!(sessions.is_empty(), "{sessions:?}");
}
