//! What tests of sign-in share: a tenant that lets people in, and the letters that come.

use serde_json::{Value, json};
use store::read::*;

use crate::{
    mail::post_office,
    support::{Answer, World, call, get, post},
};

/// A tenant `acme` with `acme.localhost`.
pub(crate) struct Acme {
    pub(crate) world: World,
    pub(crate) staff: String,
    pub(crate) tenant: String,
}

impl Acme {
    pub(crate) async fn new() -> Self {
        Self::in_world(World::new().await).await
    }

    pub(crate) async fn in_world(world: World) -> Self {
        let staff = world.staff().await;
        let tenant = world.tenant(&staff, "acme").await;
        Self { world, staff, tenant }
    }

    /// A tenant that lets everybody in.
    pub(crate) async fn open() -> Self {
        let it = Self::new().await;
        it.admit(&json!({ "mode": "open" })).await.expect(200);
        it
    }

    /// Says who may get an account.
    pub(crate) async fn admit(&self, access: &Value) -> Answer {
        let tenant = self.world.app.store.tenant(self.tenant.parse().unwrap()).await.unwrap().unwrap();
        let body = json!({ "config": { "access": access } });
        let patch = call("PATCH", &format!("/v1/projects/{}", tenant.project_id)).json(&body);
        patch.bearer(&self.staff).send(&self.world.admin).await
    }

    /// Asks at `acme.localhost`.
    pub(crate) async fn ask(&self, path: &str, body: &Value) -> Answer {
        post(path, body).host("acme.localhost").send(&self.world.admin).await
    }

    /// The same as who is signed in.
    pub(crate) async fn ask_as(&self, token: &str, path: &str, body: &Value) -> Answer {
        post(path, body).host("acme.localhost").bearer(token).send(&self.world.admin).await
    }

    /// A member whose address is `{name}@acme.example`, not proven.
    pub(crate) async fn member(&self, name: &str) -> String {
        let id = self.world.user(&self.staff, &self.tenant, name, &["member"]).await;
        let body = json!({ "email": format!("{name}@acme.example") });
        let patch = call("PATCH", &format!("/v1/tenants/{}/users/{id}", self.tenant)).json(&body);
        patch.bearer(&self.staff).send(&self.world.admin).await.expect(200);
        id
    }

    /// The same, proven.
    pub(crate) async fn proven(&self, name: &str) -> String {
        let id = self.member(name).await;
        let user = id.parse().unwrap();
        let email = &format!("{name}@acme.example");
        let project = self.world.app.store.user(user).await.unwrap().unwrap().project_id;
        let now = self.world.app.now();
        let proven = self.world.app.store.write_session(authz::Scope::Project(project), now, |tx| async move {
            tx.prove_email(user, email, true).await
        });
        proven.await.map_err(|error: store::StoreError| error).unwrap().unwrap();
        id
    }

    /// The letters to an address, newest first.
    pub(crate) async fn letters(&self, to: &str) -> Vec<Value> {
        post_office(&self.world.app).await;
        let kept = get(&format!("/dev/mailbox?to={to}")).send(&self.world.admin).await.expect(200);
        kept.body["items"].as_array().unwrap().clone()
    }

    /// The token of the newest link that was sent to an address.
    pub(crate) async fn link(&self, to: &str) -> String {
        let letters = self.letters(to).await;
        let text = letters.first().unwrap_or_else(|| panic!("no letter to {to}"))["text"].as_str().unwrap();
        text.split_once("#token=").unwrap().1.split_whitespace().next().unwrap().to_owned()
    }

    /// The newest code that was sent to an address.
    pub(crate) async fn code(&self, to: &str) -> String {
        let letters = self.letters(to).await;
        letters.first().unwrap_or_else(|| panic!("no letter to {to}"))["subject"].as_str().unwrap()[..6].to_owned()
    }

    /// Events of the audit trail with this action.
    pub(crate) async fn events(&self, action: &str) -> Vec<Value> {
        let path = format!("/v1/audit?tenant_id={}&action={action}", self.tenant);
        // The token of the start may have expired: tests turn the clock.
        let found = get(&path).bearer(&self.world.staff().await).send(&self.world.admin).await.expect(200);
        found.body["items"].as_array().unwrap().clone()
    }
}
