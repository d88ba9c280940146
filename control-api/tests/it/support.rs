//! A control API in memory, and a client that talks to its routers without a socket.

use std::{collections::BTreeMap, panic::AssertUnwindSafe, sync::Arc};

use axum::{Router, body::Body};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use control_api::{
    App, Config,
    bootstrap::{self, WayIn},
    internal::Plane,
    router,
};
use domain::{Clock, Id, Secret, model::AssertionKey, snapshot::Peer};
use futures::FutureExt;
use http::{HeaderMap, Method, Request, StatusCode, header};
use link::{
    log::{GatewayIdentity, MemoryCarrier},
    rpc::AdmitAll,
};
use serde_json::{Value, json};
use store::{PostgresConfig, Sealer, Store};
use testkit::FixedClock;
use tower::ServiceExt;

/// The platform administrator's password is made by the bootstrap; everyone else has this one.
pub(crate) const PASSWORD: &str = "Correct-horse-1";

/// A control API with a platform administrator.
pub(crate) struct World {
    pub(crate) app: App,
    pub(crate) clock: Arc<FixedClock>,
    pub(crate) admin: Router,
    pub(crate) public: Router,
    pub(crate) internal: Router,
    pub(crate) staff_password: String,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Answer {
    pub(crate) fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }
    pub(crate) fn id(&self) -> String {
        self.body["id"].as_str().unwrap_or_else(|| panic!("no id in {self:?}")).to_owned()
    }
    pub(crate) fn text(&self, name: &str) -> String {
        self.body[name].as_str().unwrap_or_else(|| panic!("no `{name}` in {self:?}")).to_owned()
    }
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{self:?}");
        self
    }
    #[track_caller]
    pub(crate) fn refused(self, status: u16, code: &str) -> Self {
        assert_eq!((self.status.as_u16(), self.code()), (status, code), "{self:?}");
        self
    }
}

/// A request to be.
pub(crate) struct Call {
    method: Method,
    path: String,
    headers: Vec<(String, String)>,
    body: Option<String>,
}

pub(crate) fn call(method: &str, path: &str) -> Call {
    Call { method: method.parse().unwrap(), path: path.into(), headers: Vec::new(), body: None }
}
pub(crate) fn get(path: &str) -> Call {
    call("GET", path)
}
pub(crate) fn post(path: &str, body: &Value) -> Call {
    call("POST", path).json(body)
}

impl Call {
    pub(crate) fn json(mut self, body: &Value) -> Self {
        self.body = Some(body.to_string());
        self.header("content-type", "application/json")
    }
    pub(crate) fn form(mut self, body: &str) -> Self {
        self.body = Some(body.into());
        self.header("content-type", "application/x-www-form-urlencoded")
    }
    pub(crate) fn raw(mut self, body: &str) -> Self {
        self.body = Some(body.into());
        self.header("content-type", "application/json")
    }
    pub(crate) fn raw_as(mut self, body: &str, media: &str) -> Self {
        self.body = Some(body.into());
        self.header("content-type", media)
    }
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }
    pub(crate) fn bearer(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }
    pub(crate) fn host(self, host: &str) -> Self {
        self.header("host", host)
    }

    /// Sends it and gives back the text of a 200.
    pub(crate) async fn text(self, router: &Router) -> String {
        let (parts, bytes) = self.exchange(router).await;
        assert_eq!(parts.status, StatusCode::OK, "{}", String::from_utf8_lossy(&bytes));
        String::from_utf8(bytes.into()).unwrap()
    }

    pub(crate) async fn send(self, router: &Router) -> Answer {
        let (parts, bytes) = self.exchange(router).await;
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Answer { status: parts.status, headers: parts.headers, body }
    }

    async fn exchange(self, router: &Router) -> (http::response::Parts, axum::body::Bytes) {
        let mut request = Request::builder().method(self.method).uri(self.path);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let request = request.body(self.body.map_or_else(Body::empty, Body::from)).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        (parts, axum::body::to_bytes(body, 1 << 24).await.unwrap())
    }
}

/// A gateway.
pub(crate) fn edge() -> GatewayIdentity {
    GatewayIdentity { id: Id::new(uuid::Uuid::from_u128(1)), name: "gw-1".into(), fleet: "default".into() }
}

/// The `internal` listener's router, for services; it lets every gateway in.
pub(crate) fn internal(app: &App) -> Router {
    router::internal(app, Arc::new(AdmitAll(Arc::new(Plane::new(Arc::clone(&app.hub))))))
}

pub(crate) fn sealer() -> Sealer {
    Sealer::new(&Secret::new(vec![7; 32]), &[]).unwrap()
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(Config::default()).await
    }

    pub(crate) async fn with(config: Config) -> Self {
        Self::on(Store::sqlite_in_memory(sealer()).unwrap(), config).await
    }

    async fn on(store: Store, config: Config) -> Self {
        store.migrate().await.unwrap();
        let clock = Arc::new(FixedClock::default());
        let carrier = Arc::new(MemoryCarrier::default());
        let app = App::new(config, store, carrier, Arc::clone(&clock) as Arc<dyn Clock>).unwrap();
        let peer = Peer::Socket("127.0.0.1:9081".parse().unwrap());
        let made = bootstrap::ensure(&app, Some(WayIn { peer, tls: None })).await.unwrap();
        let (_, password) = made.platform_admin.expect("the first start makes an administrator");
        Self::over(app, clock, password.expose())
    }

    /// The routers of a control API that was started already.
    pub(crate) fn over(app: App, clock: Arc<FixedClock>, staff_password: &str) -> Self {
        let (admin, public, internal) = (router::admin(&app), router::public(&app), internal(&app));
        Self { admin, public, internal, staff_password: staff_password.to_owned(), app, clock }
    }

    /// The platform administrator's access token.
    pub(crate) async fn staff(&self) -> String {
        let body = json!({ "username": "platform-admin", "password": self.staff_password });
        post("/api/v1/auth/login", &body).send(&self.admin).await.expect(200).text("access_token")
    }

    /// A dedicated tenant with hostname `{slug}.localhost`, and its id.
    pub(crate) async fn tenant(&self, staff: &str, slug: &str) -> String {
        let customer = post("/v1/customers", &json!({ "code": slug, "name": slug })).bearer(staff);
        let customer = customer.send(&self.admin).await.expect(201).id();
        let kyc = call("PUT", &format!("/v1/customers/{customer}/kyc")).json(&json!({ "status": "completed" }));
        kyc.bearer(staff).send(&self.admin).await.expect(200);
        let issuer = format!("https://{slug}.localhost");
        let body = json!({ "slug": slug, "name": slug, "customer_id": customer, "issuer": issuer, "status": "active" });
        let tenant = post("/v1/tenants", &body).bearer(staff).send(&self.admin).await.expect(201).id();
        let identity = self.identity(staff).await;
        let body = json!({ "hostname": format!("{slug}.localhost"), "tenant_id": tenant, "services": [identity] });
        post("/v1/hostnames", &body).bearer(staff).send(&self.admin).await.expect(201);
        tenant
    }

    /// Tenants of the shared project, each with hostname `{slug}.localhost`, and their ids by slug.
    pub(crate) async fn shared_tenants(&self, staff: &str, slugs: &[&'static str]) -> BTreeMap<&'static str, String> {
        let body = json!({ "code": "shared", "name": "shared", "tenancy": "shared" });
        let customer = post("/v1/customers", &body).bearer(staff).send(&self.admin).await.expect(201).id();
        let kyc = call("PUT", &format!("/v1/customers/{customer}/kyc")).json(&json!({ "status": "completed" }));
        kyc.bearer(staff).send(&self.admin).await.expect(200);
        let mut tenants = BTreeMap::new();
        for slug in slugs {
            let body = json!({ "slug": slug, "name": slug, "customer_id": customer, "status": "active" });
            let tenant = post("/v1/tenants", &body).bearer(staff).send(&self.admin).await.expect(201).id();
            let body = json!({ "hostname": format!("{slug}.localhost"), "tenant_id": tenant });
            post("/v1/hostnames", &body).bearer(staff).send(&self.admin).await.expect(201);
            tenants.insert(*slug, tenant);
        }
        tenants
    }

    /// Makes a user of the tenant's project a member.
    pub(crate) async fn join(&self, staff: &str, tenant: &str, user: &str) {
        let member = call("PUT", &format!("/v1/tenants/{tenant}/members/{user}"));
        member.bearer(staff).send(&self.admin).await.expect(200);
    }

    pub(crate) async fn identity(&self, staff: &str) -> String {
        let services = get("/v1/services").bearer(staff).send(&self.admin).await.expect(200);
        let items = services.body["items"].as_array().unwrap().clone();
        items.iter().find(|it| it["name"] == "identity").unwrap()["id"].as_str().unwrap().to_owned()
    }

    /// A user of a tenant with built-in roles, and their id.
    pub(crate) async fn user(&self, staff: &str, tenant: &str, name: &str, roles: &[&str]) -> String {
        let known = get(&format!("/v1/roles?tenant_id={tenant}")).bearer(staff).send(&self.admin).await.expect(200);
        let id = |role: &&str| {
            let items = known.body["items"].as_array().unwrap();
            items.iter().find(|it| it["name"] == **role).unwrap_or_else(|| panic!("no role {role}"))["id"].clone()
        };
        let roles: Vec<Value> = roles.iter().map(id).collect();
        let body = json!({
            "username": name, "email": format!("{name}@{tenant}.example"), "password": PASSWORD, "role_ids": roles,
        });
        let made = post(&format!("/v1/tenants/{tenant}/users"), &body).bearer(staff).send(&self.admin).await;
        made.expect(201).id()
    }

    pub(crate) async fn try_login(&self, slug: &str, name: &str, password: &str) -> Answer {
        let body = json!({ "username": name, "password": password });
        post("/api/v1/tenant/auth/login", &body).host(&format!("{slug}.localhost")).send(&self.admin).await
    }

    /// The access token of a tenant's user.
    pub(crate) async fn login(&self, slug: &str, name: &str) -> String {
        self.try_login(slug, name, PASSWORD).await.expect(200).text("access_token")
    }

    /// The assertion the edge would send with a request.
    pub(crate) async fn assertion(&self, method: &str, path: &str, host: &str, tenant: Option<&str>) -> String {
        self.assertion_for("192.0.2.7", (method, path), host, tenant).await
    }

    /// The same for a client of that address.
    pub(crate) async fn assertion_for(
        &self,
        client: &str,
        (method, path): (&str, &str),
        host: &str,
        tenant: Option<&str>,
    ) -> String {
        use store::read::*;
        let upstream = self.app.store.upstream_by_name(bootstrap::CONTROL_API).await.unwrap().unwrap();
        let AssertionKey { kid, key } = self.app.store.upstream_assertion_keys(upstream.id).await.unwrap().active;
        let now = self.clock.unix_now().secs();
        let header = json!({ "alg": "HS256", "typ": "assertion+jwt", "kid": kid });
        let mut claims = json!({
            "iss": "portcullis-edge", "aud": "control-api", "iat": now, "exp": now + 60, "htm": method, "htu": path,
            "host": host, "rid": uuid::Uuid::from_u128(77), "cip": client,
        });
        if let Some(tenant) = tenant {
            claims["tid"] = json!(tenant);
        }
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", encode(&header), encode(&claims));
        let key = URL_SAFE_NO_PAD.decode(key.expose()).unwrap();
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &key);
        let tag = aws_lc_rs::hmac::sign(&key, signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag.as_ref()))
    }
}

/// Media type of an answer.
pub(crate) fn media(answer: &Answer) -> &str {
    answer.headers[header::CONTENT_TYPE].to_str().unwrap()
}

/// Runs a case on a database of its own of the PostgreSQL at `DATABASE_URL`, and drops it afterwards.
pub(crate) async fn on_postgres<F: Future<Output = ()>>(case: impl FnOnce(World) -> F) {
    on_empty_postgres(async |store| case(World::on(store, Config::default()).await).await).await;
}

/// The same with another configuration.
pub(crate) async fn on_postgres_with<F: Future<Output = ()>>(config: Config, case: impl FnOnce(World) -> F) {
    on_empty_postgres(async |store| case(World::on(store, config).await).await).await;
}

/// The same with a connection of the database's owner beside it, to look at what is there.
pub(crate) async fn on_postgres_beside<F: Future<Output = ()>>(case: impl FnOnce(World, tokio_postgres::Client) -> F) {
    on_postgres_at(async |store, url| {
        let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        case(World::on(store, Config::default()).await, client).await;
    })
    .await;
}

/// On a PostgreSQL database of its own in which there is nothing.
pub(crate) async fn on_empty_postgres<F: Future<Output = ()>>(case: impl FnOnce(Store) -> F) {
    on_postgres_at(|store, _| case(store)).await;
}

async fn on_postgres_at<F: Future<Output = ()>>(case: impl FnOnce(Store, String) -> F) {
    let server =
        std::env::var("DATABASE_URL").expect("DATABASE_URL is not set: run `make test`, which starts PostgreSQL");
    let name = format!("control_api_test_{}", uuid::Uuid::new_v4().simple());
    execute(&server, &format!("CREATE DATABASE {name}")).await;
    let url = with_database(&server, &name);
    let outcome = AssertUnwindSafe(async {
        let store = Store::postgres(PostgresConfig::new(Secret::new(url.clone())), sealer()).unwrap();
        case(store, url).await;
    })
    .catch_unwind()
    .await;
    execute(&server, &format!("DROP DATABASE {name} WITH (FORCE)")).await;
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

/// The same server, another database: in a URL the path, in a list of settings the last `dbname`.
fn with_database(server: &str, name: &str) -> String {
    if !server.starts_with("postgres") {
        return format!("{server} dbname={name}");
    }
    let (address, settings) = server.split_once('?').map_or((server, String::new()), |(a, s)| (a, format!("?{s}")));
    let (scheme, rest) = address.split_once("://").unwrap();
    let authority = rest.split('/').next().unwrap();
    format!("{scheme}://{authority}/{name}{settings}")
}

async fn execute(url: &str, sql: &str) {
    let connected = tokio_postgres::connect(url, tokio_postgres::NoTls).await;
    let (client, connection) =
        connected.expect("PostgreSQL at DATABASE_URL cannot be reached: run `make test`, which starts it");
    tokio::spawn(connection);
    client.batch_execute(sql).await.unwrap();
}
