//! M1: a tenant's administrator asks every operation about another tenant's things, by each of their ids, in path, query
//! and body: by token on this machine and through the edge, and by API key. The answer is that there are none, or that it is
//! not allowed, and the same as for an id that nobody has; it names nothing of the other tenant's, whatever its status; and
//! nothing of the other tenant has changed.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use tokio_postgres::Client;

use super::{
    golden,
    operations::{Operation, all},
    tenant::{Ids, filled, populated},
};
use crate::support::{Answer, Call, World, call, get, on_postgres_beside, post};

/// What there is for all tenants: a product in the catalog is nobody's, and its name may hold a slug.
const OF_ALL: [&str; 2] = ["product", "slug"];

/// What is called something that only the other tenant knows, as it would stand in an answer.
const NAMES: [&str; 10] = [
    "\"gus\"",
    "gus-2",
    "gus-3",
    "gus@",
    "@globex.example",
    "globex.localhost",
    "globex-up",
    "globex-svc",
    "globex-mail",
    "id.globex",
];

/// What lies between the two tenants.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Between {
    /// Each has a project of its own.
    Projects,
    /// They share one, with its users and keys; the asking owner owns both.
    Tenants,
}

/// How somebody of `acme` asks.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Door {
    /// An owner by token, on this machine.
    Admin,
    /// The same through the edge, at the tenant's own hostname.
    Public,
    /// A program with an API key that may do whatever its owner may, through the edge.
    Key,
}

const DOORS: [Door; 3] = [Door::Admin, Door::Public, Door::Key];

/// Both tenants, each with one of everything.
pub(super) struct Two {
    pub(super) world: World,
    pub(super) staff: String,
    pub(super) acme: Ids,
    /// All of the other's.
    pub(super) globex: Ids,
    /// What is the other's alone.
    pub(super) theirs: Ids,
    /// Ids that nobody has.
    nobody: Ids,
    /// An owner of `acme`.
    pub(super) ada: String,
    /// An API key of hers, good for all that takes one.
    key: String,
}

impl Two {
    pub(super) async fn of(world: World, between: Between) -> Self {
        let staff = world.staff().await;
        let (acme, globex) = match between {
            Between::Projects => {
                (populated(&world, &staff, "acme", "ada").await, populated(&world, &staff, "globex", "gus").await)
            }
            Between::Tenants => in_one_project(&world, &staff).await,
        };
        let mut theirs = globex.clone();
        theirs.retain(|kind, id| between == Between::Projects || acme[kind] != *id);
        let mut nobody = globex.clone();
        for (place, id) in nobody.values_mut().enumerate() {
            let is_uuid = id.parse::<uuid::Uuid>().is_ok();
            *id = if is_uuid { uuid::Uuid::from_u128(0xabc_0000 + place as u128).to_string() } else { "nobody".into() };
        }
        let ada = world.login("acme", "ada").await;
        let info = get("/api/v1/tenant/auth/info").bearer(&ada).send(&world.admin).await.expect(200);
        let scopes = info.body["permissions"].as_array().unwrap();
        assert!(!scopes.is_empty(), "{info:?}");
        let key = json!({ "name": "program", "scopes": scopes });
        let key = post("/v1/api-keys", &key).bearer(&ada).send(&world.admin).await.expect(201).text("secret");
        Self { world, staff, acme, globex, theirs, nobody, ada, key }
    }

    pub(super) async fn ask(&self, door: Door, operation: &Operation, target: &str, body: Option<&Value>) -> Answer {
        let request = operation.request(target, body);
        match door {
            Door::Admin => request.bearer(&self.ada).send(&self.world.admin).await,
            Door::Public => {
                self.through_edge(request.bearer(&self.ada), (operation, target), ("acme", &self.acme)).await
            }
            Door::Key => self.through_edge(request.bearer(&self.key), (operation, target), ("acme", &self.acme)).await,
        }
    }

    /// Sends a request as the edge would that decided it for a tenant, at its hostname.
    async fn through_edge(
        &self,
        request: Call,
        (operation, target): (&Operation, &str),
        (slug, of): (&str, &Ids),
    ) -> Answer {
        let path = target.split('?').next().unwrap();
        let host = format!("{slug}.localhost");
        let assertion = self.world.assertion(&operation.method, path, &host, Some(&of["tenant"])).await;
        request.header("x-md-global-assertion", &assertion).send(&self.world.public).await
    }

    /// An answer without what is new in each, and without the id that was asked about.
    fn told(answer: &Answer, id: &str) -> String {
        let mut body = answer.body.clone();
        if let Some(members) = body.as_object_mut() {
            members.remove("request_id");
        }
        format!("{} {}", answer.status, body.to_string().replace(id, "ID"))
    }

    /// Asks about a thing of the other tenant and about one that is nowhere. Refuses two answers; gives back the status.
    fn same(&self, name: &str, kind: &str, theirs: &Answer, nowhere: &Answer) -> u16 {
        let told = [Self::told(theirs, &self.globex[kind]), Self::told(nowhere, &self.nobody[kind])];
        assert_eq!(told[0], told[1], "{name} tells whether a {kind} is there");
        theirs.status.as_u16()
    }

    /// Whether an answer, whatever it is, names anything that is the other tenant's but what was `asked` about.
    pub(super) fn shows_none(&self, name: &str, asked: &str, answer: &Answer) {
        let headers = answer.headers.values().filter_map(|value| value.to_str().ok());
        let text = headers.chain([answer.body.to_string().as_str()]).collect::<Vec<_>>().join("\n");
        let theirs = self.theirs.iter().filter(|(kind, id)| id.as_str() != asked && !OF_ALL.contains(*kind));
        for (kind, id) in theirs {
            assert!(!text.contains(id.as_str()), "{name} shows a {kind}: {text}");
        }
        for theirs in NAMES {
            assert!(!text.contains(theirs), "{name} shows what is called {theirs}: {text}");
        }
    }
}

/// Both as tenants of the shared project. The owner of the one owns the other, too, and is signed in there.
async fn in_one_project(world: &World, staff: &str) -> (Ids, Ids) {
    let tenants = world.shared_tenants(staff, &["acme", "globex"]).await;
    let read = get(&format!("/v1/tenants/{}", tenants["acme"])).bearer(staff).send(&world.admin).await.expect(200);
    let signing_in = json!({ "hostname": "in.localhost", "project_id": read.body["project_id"], "purpose": "auth" });
    post("/v1/hostnames", &signing_in).bearer(staff).send(&world.admin).await.expect(201);
    let acme = filled(world, staff, (&tenants["acme"], "acme", "in.localhost"), "ada").await;
    let globex = filled(world, staff, (&tenants["globex"], "globex", "in.localhost"), "gus").await;
    let ada = world.login("acme", "ada").await;
    let ada = get("/v1/me").bearer(&ada).send(&world.admin).await.expect(200).id();
    world.join(staff, &globex["tenant"], &ada).await;
    let bound = json!({ "role_id": role(world, staff, &globex["tenant"], "owner").await, "user_id": ada });
    let path = format!("/v1/role-bindings?tenant_id={}", globex["tenant"]);
    post(&path, &bound).bearer(staff).send(&world.admin).await.expect(201);
    world.login("globex", "ada").await;
    (acme, globex)
}

/// The id of a role that a tenant can give.
async fn role(world: &World, staff: &str, tenant: &str, name: &str) -> Value {
    let known =
        get(&format!("/v1/roles?tenant_id={tenant}&limit=500")).bearer(staff).send(&world.admin).await.expect(200);
    known.body["items"].as_array().unwrap().iter().find(|role| role["name"] == name).unwrap()["id"].clone()
}

/// Everything that names one of these ids and is not the asking tenant's own, line by line.
async fn dump(client: &Client, theirs: &Ids, own: &Ids) -> BTreeSet<String> {
    let tables = client
        .query(
            "SELECT table_name::text, bool_or(column_name = 'tenant_id') FROM information_schema.columns
             WHERE table_schema = current_schema() AND table_name <> 'refinery_schema_history'
             GROUP BY table_name ORDER BY 1",
            &[],
        )
        .await
        .unwrap();
    let ids: Vec<&str> = theirs.values().map(String::as_str).collect();
    let ids = ids.join("|");
    let of = |row: &tokio_postgres::Row| {
        let (table, has_tenant): (String, bool) = (row.get(0), row.get(1));
        let not_ours =
            if has_tenant { format!("AND tenant_id IS DISTINCT FROM '{}'", own["tenant"]) } else { String::new() };
        format!(
            "SELECT '{table} ' || to_jsonb(it)::text FROM {table} AS it
             WHERE to_jsonb(it)::text ~ '{ids}' {not_ours}"
        )
    };
    let sql = tables.iter().map(of).collect::<Vec<_>>().join(" UNION ALL ");
    client.query(&sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

/// What an operation answered to foreign ids.
#[derive(Default)]
struct Answers {
    path: BTreeSet<u16>,
    query: BTreeSet<u16>,
    body: BTreeSet<u16>,
}

#[tokio::test(flavor = "multi_thread")]
async fn m1_no_operation_reaches_another_tenant_by_any_of_its_ids() {
    nothing_is_reached(Between::Projects, "cross-tenant.txt").await;
}

/// The same where nothing but the tenant is between them, though the one who asks owns both: a token is for one tenant.
#[tokio::test(flavor = "multi_thread")]
async fn m1_no_operation_reaches_another_tenant_of_the_same_project_not_even_an_owners_of_both() {
    nothing_is_reached(Between::Tenants, "cross-tenant-one-project.txt").await;
}

async fn nothing_is_reached(between: Between, file: &str) {
    on_postgres_beside(|world, client| async move {
        let two = Two::of(world, between).await;
        let before = dump(&client, &two.theirs, &two.acme).await;
        assert!(before.len() > 60, "{} rows are looked at", before.len());
        let mut found = BTreeMap::new();
        for operation in all() {
            for door in DOORS {
                let answers = Answers {
                    path: by_path(&two, door, &operation).await,
                    query: by_query(&two, door, &operation).await,
                    body: by_body(&two, door, &operation).await,
                };
                found.insert((operation.name(), door), answers);
            }
            let after = dump(&client, &two.theirs, &two.acme).await;
            let changed: Vec<&String> = before.symmetric_difference(&after).collect();
            assert!(changed.is_empty(), "{} changed {changed:#?}", operation.name());
        }
        golden(file, &report(&found));
    })
    .await;
}

/// A token or key of one tenant, shown at another's hostname, with ids of either: it is not known there.
#[tokio::test(flavor = "multi_thread")]
async fn m1_no_credential_of_one_tenant_is_good_at_anothers_hostname() {
    nothing_is_good_elsewhere(Between::Projects).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn m1_no_credential_of_one_tenant_is_good_at_the_hostname_of_another_of_the_same_project() {
    nothing_is_good_elsewhere(Between::Tenants).await;
}

async fn nothing_is_good_elsewhere(between: Between) {
    on_postgres_beside(|world, client| async move {
        let two = Two::of(world, between).await;
        let before = dump(&client, &two.theirs, &two.acme).await;
        for operation in all() {
            for (credential, ids) in [(&two.ada, &two.globex), (&two.ada, &two.acme), (&two.key, &two.globex)] {
                let (target, body) = (operation.within(ids), operation.body(ids));
                let request = operation.request(&target, body.as_ref()).bearer(credential);
                let answer = two.through_edge(request, (&operation, &target), ("globex", &two.globex)).await;
                let refused = matches!(
                    (answer.status.as_u16(), answer.code()),
                    (401 | 403, _) | (404 | 405, "route_not_found" | "method_not_allowed")
                );
                assert!(refused, "{}: {answer:?}", operation.name());
                two.shows_none(&operation.name(), "", &answer);
            }
        }
        let after = dump(&client, &two.theirs, &two.acme).await;
        let changed: Vec<&String> = before.symmetric_difference(&after).collect();
        assert!(changed.is_empty(), "{changed:#?}");
    })
    .await;
}

/// Whether a status says that there is nothing, or that it is not allowed. Most operations take no API key at all.
fn is_refusal(door: Door, status: u16) -> bool {
    // What is not served through the edge may share its path with what is.
    matches!((door, status), (_, 403 | 404) | (Door::Public | Door::Key, 405) | (Door::Key, 401))
}

/// Each foreign id in each place of the path, own ones in the others; on this machine also ids of other kinds than the place's.
async fn by_path(two: &Two, door: Door, operation: &Operation) -> BTreeSet<u16> {
    let (places, mut statuses) = (operation.places(), BTreeSet::new());
    let body = operation.body(&two.acme);
    for place in 0..places.len() {
        for kind in two.theirs.keys().filter(|kind| door == Door::Admin || **kind == places[place]) {
            let with = |ids: &Ids| {
                let mut all: Vec<&str> = places.iter().map(|kind| two.acme[kind].as_str()).collect();
                let id = ids[kind].clone();
                all[place] = &id;
                operation.at(&all)
            };
            let theirs = two.ask(door, operation, &with(&two.globex), body.as_ref()).await;
            let status = theirs.status.as_u16();
            assert!(is_refusal(door, status), "{door:?} {} at a {kind}: {theirs:?}", operation.name());
            two.shows_none(&operation.name(), &two.globex[kind], &theirs);
            if *kind == places[place] {
                let nowhere = two.ask(door, operation, &with(&two.nobody), body.as_ref()).await;
                two.same(&operation.name(), kind, &theirs, &nowhere);
            }
            statuses.insert(status);
        }
    }
    statuses
}

/// Each foreign id as the query parameter that takes one. A filter that finds nothing is an answer.
async fn by_query(two: &Two, door: Door, operation: &Operation) -> BTreeSet<u16> {
    let mut statuses = BTreeSet::new();
    let body = operation.body(&two.acme);
    for name in &operation.query {
        let Some(kind) = kind_of(name, &two.theirs) else { continue };
        let with = |ids: &Ids| format!("{}?{name}={}", operation.within(&two.acme), ids[kind]);
        let theirs = two.ask(door, operation, &with(&two.globex), body.as_ref()).await;
        let nowhere = two.ask(door, operation, &with(&two.nobody), body.as_ref()).await;
        two.shows_none(&operation.name(), &two.globex[kind], &theirs);
        let status = two.same(&operation.name(), kind, &theirs, &nowhere);
        assert!(name != "tenant_id" || is_refusal(door, status), "{door:?} {}: {theirs:?}", operation.name());
        assert!(status < 500 && (operation.method == "GET" || status >= 400), "{}: {theirs:?}", operation.name());
        statuses.insert(status);
    }
    statuses
}

/// Each foreign id in a body that would do with own ones.
async fn by_body(two: &Two, door: Door, operation: &Operation) -> BTreeSet<u16> {
    let mut statuses = BTreeSet::new();
    let Some(body) = operation.body(&two.acme) else { return statuses };
    let target = operation.within(&two.acme);
    for (kind, own) in two.acme.iter().filter(|(kind, _)| two.theirs.contains_key(*kind)) {
        let with = |ids: &Ids| replaced(&body, own, &ids[kind]);
        let theirs = with(&two.globex);
        if theirs == body {
            continue;
        }
        let answer = two.ask(door, operation, &target, Some(&theirs)).await;
        let nowhere = two.ask(door, operation, &target, Some(&with(&two.nobody))).await;
        // A problem may repeat what was asked.
        let asked = if answer.status.is_success() { "" } else { &two.globex[kind] };
        two.shows_none(&operation.name(), asked, &answer);
        let status = two.same(&operation.name(), kind, &answer, &nowhere);
        assert!((400..500).contains(&status), "{door:?} {} with a {kind}: {answer:?}", operation.name());
        statuses.insert(status);
    }
    statuses
}

/// Of what a query parameter of this name takes the id.
fn kind_of<'i>(name: &str, ids: &'i Ids) -> Option<&'i str> {
    let kind = match name.strip_suffix("_id")? {
        "owner" | "actor" | "target" => "user",
        kind => kind,
    };
    ids.keys().copied().find(|known| *known == kind)
}

/// A JSON text with one string in another's place.
fn replaced(value: &Value, from: &str, to: &str) -> Value {
    match value {
        Value::String(text) if text == from => Value::String(to.into()),
        Value::Array(items) => items.iter().map(|it| replaced(it, from, to)).collect(),
        Value::Object(members) => {
            Value::Object(members.iter().map(|(name, it)| (name.clone(), replaced(it, from, to))).collect())
        }
        other => other.clone(),
    }
}

fn report(found: &BTreeMap<(String, Door), Answers>) -> String {
    let mut text = String::from(
        "# What the owner of one tenant is answered who asks about another's things: by each of their ids in each place of\n\
         # the path, in the query and in the body. The same is answered to ids that nobody has, and in no case anything\n\
         # of the other tenant changed or is named. A 200 by query is a filter that found nothing. `Admin` is by token on\n\
         # this machine, `Public` the same through the edge, `Key` an API key through the edge.\n",
    );
    let list = |statuses: &BTreeSet<u16>| {
        let all: Vec<String> = statuses.iter().map(u16::to_string).collect();
        if all.is_empty() { "-".to_owned() } else { all.join(",") }
    };
    for ((name, door), answers) in found {
        let (path, query, body) = (list(&answers.path), list(&answers.query), list(&answers.body));
        if [&path, &query, &body].into_iter().any(|it| it != "-") {
            let door = format!("{door:?}");
            text.push_str(&format!("{name:<60} {door:<6} path {path:<8} query {query:<12} body {body}\n"));
        }
    }
    text
}

/// Asked about nothing in particular, nothing of another tenant is shown.
#[tokio::test]
async fn a_call_without_ids_shows_nothing_of_another_tenant() {
    let two = Two::of(World::new().await, Between::Projects).await;
    for operation in all().into_iter().filter(|it| it.method == "GET" && it.places().is_empty()) {
        let answer = call("GET", &operation.path).bearer(&two.ada).send(&two.world.admin).await;
        two.shows_none(&operation.name(), "", &answer);
    }
}
