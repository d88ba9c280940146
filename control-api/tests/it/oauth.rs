//! Signing in through identity providers.

mod admin;
mod flows;
mod identities;
mod kinds;
mod lasting;
mod lies;
mod matching;
mod provider;
mod real;
mod tenants;

use authz::{Authorized, action::ManageEmailDomains};
use control_api::{Config, config::OauthConfig};
use domain::{
    HumanDuration, TenantId,
    model::{Challenge, Finding, IdentityProvider, NewEmailDomain, ProofRules},
};
use reqwest::Url;
use serde_json::{Value, json};
use store::{Audited, Look, Noted, StoreError, read::*};

use self::provider::Fake;
use crate::{
    letters::Acme,
    support::{Answer, World, call, get, post},
};

pub(crate) const ADA: &str = "ada@acme.example";
const APP: &str = "https://app.acme.example/in";

/// What asks our control API to believe a provider of this machine.
pub(crate) fn trusting(fake: &Fake) -> Config {
    let mut config = Config {
        oauth: OauthConfig {
            on_loopback: true,
            timeout: HumanDuration::from_secs(1),
            google: fake.issuer.clone(),
            apple: fake.issuer.clone(),
            microsoft: fake.issuer.clone(),
            ..OauthConfig::default()
        },
        ..Config::default()
    };
    config.oauth.github.site = fake.issuer.clone();
    config.oauth.github.api = format!("{}/api", fake.issuer);
    config
}

/// A tenant `acme` that admits everybody, and a provider.
pub(crate) struct Oauth {
    pub(crate) acme: Acme,
    pub(crate) fake: Fake,
}

/// A browser under way.
#[derive(Clone, Debug)]
pub(crate) struct Browser {
    pub(crate) cookie: String,
    pub(crate) url: Url,
}

impl Browser {
    pub(crate) fn parameter(&self, name: &str) -> String {
        let found = self.url.query_pairs().find(|(key, _)| key == name);
        found.unwrap_or_else(|| panic!("no `{name}` in {}", self.url)).1.into_owned()
    }
}

impl Oauth {
    /// With the provider `corp` of the tenant.
    pub(crate) async fn new() -> Self {
        let it = Self::bare().await;
        it.provider("corp", "oidc", &json!({ "options": { "issuer": it.fake.issuer } })).await.expect(201);
        it
    }

    pub(crate) async fn bare() -> Self {
        let fake = Fake::start().await;
        let world = World::with(trusting(&fake)).await;
        Self::over(world, fake).await
    }

    pub(crate) async fn over(world: World, fake: Fake) -> Self {
        fake.keep_time_with(&world.clock);
        let it = Self { acme: Acme::in_world(world).await, fake };
        it.configure(&json!({ "access": { "mode": "open" }, "oauth": { "return_to": ["https://app.acme.example"] } }))
            .await;
        it
    }

    pub(crate) async fn configure(&self, config: &Value) {
        let project = self.project().await;
        let patch = call("PATCH", &format!("/v1/projects/{project}")).json(&json!({ "config": config }));
        patch.bearer(&self.acme.staff).send(&self.acme.world.admin).await.expect(200);
    }

    pub(crate) async fn project(&self) -> domain::ProjectId {
        let tenant: TenantId = self.acme.tenant.parse().unwrap();
        self.acme.world.app.store.tenant(tenant).await.unwrap().unwrap().project_id
    }

    /// Makes a provider of the tenant; `more` over what most have.
    pub(crate) async fn provider(&self, key: &str, kind: &str, more: &Value) -> Answer {
        let mut body = json!({
            "tenant_id": self.acme.tenant, "key": key, "type": kind, "name": "Corp", "client_id": "us",
            "client_secret": "hunter2",
        });
        for (name, value) in more.as_object().unwrap() {
            body[name] = value.clone();
        }
        if body.get("project_id").is_some() {
            body.as_object_mut().unwrap().remove("tenant_id");
        }
        post("/v1/identity-providers", &body).bearer(&self.acme.staff).send(&self.acme.world.admin).await
    }

    /// The tenant proves a domain.
    pub(crate) async fn proves(&self, tenant: &str, domain: &str) {
        let app = &self.acme.world.app;
        let tenant: TenantId = tenant.parse().unwrap();
        let new = &NewEmailDomain {
            id: control_api::context::new_id(&*self.acme.world.clock),
            project_id: app.store.tenant(tenant).await.unwrap().unwrap().project_id,
            tenant_id: tenant,
            domain: domain.parse().unwrap(),
            challenge: Challenge::new([7; 32]),
        };
        let by = &Authorized::<ManageEmailDomains>::system("test");
        let rules = &ProofRules {
            grace: std::time::Duration::from_secs(1),
            takeover_after: std::time::Duration::from_secs(1),
            quarantine: std::time::Duration::from_secs(1),
        };
        let now = app.now();
        let look = &Look { finding: Finding::Proven, asked_at: now, next: now + std::time::Duration::from_secs(3600) };
        let made = app.store.write(by, now, |tx| async move {
            let made = tx.created(tx.insert_email_domain(by, new.clone()).await?).await?;
            match tx.note_email_domain_proof(by, new.id, look, rules).await? {
                Noted::Told { now, .. } => tx.done("verified", now).await.map(|_| made.map(|_| ())),
                Noted::Quiet(_) => Ok::<_, StoreError>(Audited::unchanged(())),
            }
        });
        made.await.unwrap();
    }

    /// A provider of the tenant's, as it is kept.
    pub(crate) async fn of_acme(&self, key: &str) -> IdentityProvider {
        let store = &self.acme.world.app.store;
        let (project, tenant) = (self.project().await, self.acme.tenant.parse().unwrap());
        store.identity_provider_by_key(project, Some(tenant), &key.parse().unwrap()).await.unwrap().unwrap()
    }

    pub(crate) async fn start(&self, key: &str, return_to: &str, cookie: Option<&str>) -> Answer {
        let return_to: String = form_urlencoded::byte_serialize(return_to.as_bytes()).collect();
        let request = get(&format!("/oauth/start/{key}?return_to={return_to}")).host("acme.localhost");
        let request = match cookie {
            Some(cookie) => request.header("cookie", cookie),
            None => request,
        };
        request.send(&self.acme.world.admin).await
    }

    /// A browser that was sent to a provider.
    pub(crate) async fn browser(&self, key: &str) -> Browser {
        under_way(self.start(key, APP, None).await)
    }

    /// Where a browser is sent that comes back with this.
    pub(crate) async fn come_back(&self, key: &str, cookie: &str, answer: &[(&str, &str)]) -> Answer {
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(answer).finish();
        let request = get(&format!("/oauth/callback/{key}?{query}")).host("acme.localhost").header("cookie", cookie);
        request.send(&self.acme.world.admin).await
    }

    /// The whole way of a browser to where it goes on to.
    pub(crate) async fn onward(&self, key: &str) -> (Browser, String) {
        let browser = self.browser(key).await;
        let code = self.fake.signs_in(&browser.url);
        let back =
            self.come_back(key, &browser.cookie, &[("state", &browser.parameter("state")), ("code", &code)]).await;
        (browser, went_on(&back))
    }

    pub(crate) async fn redeem(&self, browser: &Browser, code: &str) -> Answer {
        let request = post("/v1/auth/oauth/redeem", &json!({ "code": code })).host("acme.localhost");
        request.header("cookie", &browser.cookie).send(&self.acme.world.admin).await
    }

    /// The whole way of a browser to its session, or to why there is none.
    pub(crate) async fn sign_in(&self, key: &str) -> Answer {
        let (browser, onward) = self.onward(key).await;
        match onward.strip_prefix("oauth_code=") {
            Some(code) => self.redeem(&browser, code).await,
            None => panic!("{onward}"),
        }
    }

    /// Why the whole way of a browser ends without a session.
    pub(crate) async fn refused(&self, key: &str) -> String {
        let (_, onward) = self.onward(key).await;
        onward.strip_prefix("error=").unwrap_or_else(|| panic!("{onward}")).to_owned()
    }

    pub(crate) async fn identities(&self, token: &str) -> Vec<Value> {
        let list = get("/v1/auth/identities").host("acme.localhost").bearer(token);
        list.send(&self.acme.world.admin).await.expect(200).body["items"].as_array().unwrap().clone()
    }
}

/// A browser that was sent to a provider by this.
pub(crate) fn under_way(started: Answer) -> Browser {
    let started = started.expect(303);
    let header = |name: &str| started.headers[name].to_str().unwrap().to_owned();
    assert_eq!((header("cache-control"), header("referrer-policy")), ("no-store".into(), "no-referrer".into()));
    let cookie = header("set-cookie").split(';').next().unwrap().to_owned();
    Browser { cookie, url: header("location").parse().unwrap() }
}

/// What a browser takes to the app it goes on to.
pub(crate) fn went_on(back: &Answer) -> String {
    assert_eq!(back.status, 303, "{back:?}");
    let location = back.headers["location"].to_str().unwrap();
    location.strip_prefix(&format!("{APP}#")).unwrap_or_else(|| panic!("{location}")).to_owned()
}
