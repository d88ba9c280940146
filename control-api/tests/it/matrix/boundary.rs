//! M1: a tenant's administrator asks every operation about another tenant's things, by each of their ids, in path, query
//! and body. The answer is that there are none, or that it is not allowed, and the same as for an id that nobody has;
//! and nothing of the other tenant has changed.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use tokio_postgres::Client;

use super::{
    golden,
    operations::{Operation, all},
    tenant::{Ids, populated},
};
use crate::support::{Answer, World, call, on_postgres_beside};

/// What there is for all tenants: a product in the catalog is nobody's, and its name may hold a slug.
const OF_ALL: [&str; 2] = ["product", "slug"];

/// Both tenants, each with one of everything.
struct Two {
    world: World,
    acme: Ids,
    globex: Ids,
    /// Ids that nobody has.
    nobody: Ids,
    /// An owner of `acme`.
    ada: String,
}

impl Two {
    async fn of(world: World) -> Self {
        let staff = world.staff().await;
        let acme = populated(&world, &staff, "acme", "ada").await;
        let globex = populated(&world, &staff, "globex", "gus").await;
        let mut nobody = globex.clone();
        for (place, id) in nobody.values_mut().enumerate() {
            let is_uuid = id.parse::<uuid::Uuid>().is_ok();
            *id = if is_uuid { uuid::Uuid::from_u128(0xabc_0000 + place as u128).to_string() } else { "nobody".into() };
        }
        let ada = world.login("acme", "ada").await;
        Self { world, acme, globex, nobody, ada }
    }

    async fn ask(&self, operation: &Operation, target: &str, body: Option<&Value>) -> Answer {
        operation.request(target, body).bearer(&self.ada).send(&self.world.admin).await
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

    /// Whether an answer names anything that is the other tenant's.
    fn shows_none(&self, name: &str, asked: &str, answer: &Answer) {
        let text = answer.body.to_string();
        let theirs = self.globex.iter().filter(|(kind, id)| id.as_str() != asked && !OF_ALL.contains(*kind));
        for (kind, id) in theirs {
            assert!(!answer.status.is_success() || !text.contains(id.as_str()), "{name} shows a {kind}: {text}");
        }
    }
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
    on_postgres_beside(|world, client| async move {
        let two = Two::of(world).await;
        let before = dump(&client, &two.globex, &two.acme).await;
        assert!(before.len() > 60, "{} rows are looked at", before.len());
        let mut found = BTreeMap::new();
        for operation in all() {
            let answers = Answers {
                path: by_path(&two, &operation).await,
                query: by_query(&two, &operation).await,
                body: by_body(&two, &operation).await,
            };
            let after = dump(&client, &two.globex, &two.acme).await;
            let changed: Vec<&String> = before.symmetric_difference(&after).collect();
            assert!(changed.is_empty(), "{} changed {changed:#?}", operation.name());
            found.insert(operation.name(), answers);
        }
        golden("cross-tenant.txt", &report(&found));
    })
    .await;
}

/// Each foreign id in each place of the path, own ones in the others.
async fn by_path(two: &Two, operation: &Operation) -> BTreeSet<u16> {
    let (places, mut statuses) = (operation.places(), BTreeSet::new());
    let body = operation.body(&two.acme);
    for place in 0..places.len() {
        for kind in two.globex.keys() {
            let with = |ids: &Ids| {
                let mut all: Vec<&str> = places.iter().map(|kind| two.acme[kind].as_str()).collect();
                let id = ids[kind].clone();
                all[place] = &id;
                operation.at(&all)
            };
            let theirs = two.ask(operation, &with(&two.globex), body.as_ref()).await;
            let status = theirs.status.as_u16();
            assert!(matches!(status, 403 | 404), "{} at a {kind}: {theirs:?}", operation.name());
            if *kind == places[place] {
                let nowhere = two.ask(operation, &with(&two.nobody), body.as_ref()).await;
                two.same(&operation.name(), kind, &theirs, &nowhere);
            }
            statuses.insert(status);
        }
    }
    statuses
}

/// Each foreign id as the query parameter that takes one. A filter that finds nothing is an answer.
async fn by_query(two: &Two, operation: &Operation) -> BTreeSet<u16> {
    let mut statuses = BTreeSet::new();
    let body = operation.body(&two.acme);
    for name in &operation.query {
        let Some(kind) = kind_of(name, &two.globex) else { continue };
        let with = |ids: &Ids| format!("{}?{name}={}", operation.within(&two.acme), ids[kind]);
        let theirs = two.ask(operation, &with(&two.globex), body.as_ref()).await;
        let nowhere = two.ask(operation, &with(&two.nobody), body.as_ref()).await;
        two.shows_none(&operation.name(), &two.globex[kind], &theirs);
        let status = two.same(&operation.name(), kind, &theirs, &nowhere);
        assert!(name != "tenant_id" || matches!(status, 403 | 404), "{}: {theirs:?}", operation.name());
        assert!(status < 500 && (operation.method == "GET" || status >= 400), "{}: {theirs:?}", operation.name());
        statuses.insert(status);
    }
    statuses
}

/// Each foreign id in a body that would do with own ones.
async fn by_body(two: &Two, operation: &Operation) -> BTreeSet<u16> {
    let mut statuses = BTreeSet::new();
    let Some(body) = operation.body(&two.acme) else { return statuses };
    let target = operation.within(&two.acme);
    for (kind, own) in &two.acme {
        let with = |ids: &Ids| replaced(&body, own, &ids[kind]);
        let theirs = with(&two.globex);
        if theirs == body {
            continue;
        }
        let answer = two.ask(operation, &target, Some(&theirs)).await;
        let nowhere = two.ask(operation, &target, Some(&with(&two.nobody))).await;
        two.shows_none(&operation.name(), "", &answer);
        let status = two.same(&operation.name(), kind, &answer, &nowhere);
        assert!((400..500).contains(&status), "{} with a {kind}: {answer:?}", operation.name());
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

fn report(found: &BTreeMap<String, Answers>) -> String {
    let mut text = String::from(
        "# What the owner of one tenant is answered who asks about another's things: by each of their ids in each place of\n\
         # the path, in the query and in the body. The same is answered to ids that nobody has, and in no case anything\n\
         # of the other tenant changed. A 200 by query is a filter that found nothing.\n",
    );
    let list = |statuses: &BTreeSet<u16>| {
        let all: Vec<String> = statuses.iter().map(u16::to_string).collect();
        if all.is_empty() { "-".to_owned() } else { all.join(",") }
    };
    for (name, answers) in found {
        let (path, query, body) = (list(&answers.path), list(&answers.query), list(&answers.body));
        text.push_str(&format!("{name:<60} path {path:<8} query {query:<12} body {body}\n"));
    }
    text
}

/// Asked about nothing in particular, nothing of another tenant is shown.
#[tokio::test]
async fn a_call_without_ids_shows_nothing_of_another_tenant() {
    let two = Two::of(World::new().await).await;
    for operation in all().into_iter().filter(|it| it.method == "GET" && it.places().is_empty()) {
        let answer = call("GET", &operation.path).bearer(&two.ada).send(&two.world.admin).await;
        two.shows_none(&operation.name(), "", &answer);
    }
}
