//! Lists: what they find, in which order, and that pages hold together while others write.

use std::collections::BTreeSet;

use domain::{TenantId, model::NewGroup};
use store::{
    Store, StoreError,
    list::{CustomerList, GroupList, Listing, Selection, TenantList, UserList},
    read::*,
};

use crate::{
    harness::{Database, NOW},
    world::*,
};

fn asked<L: Listing>(query: &[(&str, &str)]) -> Selection<L> {
    Selection::read(query.iter().copied()).unwrap()
}

async fn group(store: &Store, tenant: TenantId, name: &str) {
    let new =
        NewGroup { id: fresh(), project_id: CLOUD, tenant_id: tenant, name: name.into(), description: String::new() };
    change!(store, |tx, new| tx.insert_group(&system(), new.clone())).unwrap();
}

async fn names(store: &Store, query: &[(&str, &str)]) -> Vec<String> {
    let found = store.list::<GroupList>(ACME, &asked(query)).await.unwrap();
    found.rows.into_iter().map(|group| group.name).collect()
}

/// Both databases fold as we do, and neither as its locale says.
pub(crate) async fn what_is_searched_for_is_found_in_any_case_of_any_script(db: Database) {
    let store = world(&db).await;
    for name in ["Équipe Nord", "ΩΜΕΓΑ", "Straße 50%", "ДЕЖУРНЫЕ", "plain_name"] {
        group(&store, ACME, name).await;
    }
    for (search, found) in [
        ("équipe", vec!["Équipe Nord"]),
        ("ÉQUIPE NORD", vec!["Équipe Nord"]),
        ("ωμεγα", vec!["ΩΜΕΓΑ"]),
        ("дежурные", vec!["ДЕЖУРНЫЕ"]),
        ("STRASSE", vec![]),
        ("straße", vec!["Straße 50%"]),
        ("0%", vec!["Straße 50%"]),
        ("%", vec!["Straße 50%"]),
        ("p_ain", vec![]),
        ("n_name", vec!["plain_name"]),
        ("PLAIN", vec!["plain_name"]),
        ("nobody", vec![]),
    ] {
        assert_eq!(names(&store, &[("search", search)]).await, found, "{search}");
    }
    // A name that is changed is found by what it is now.
    let first = store.list::<GroupList>(ACME, &asked(&[("search", "équipe")])).await.unwrap().rows.remove(0);
    let changed = domain::model::Group { name: "Süd".into(), ..first };
    change!(store, |tx, changed| tx.update_group(&system(), changed.clone())).unwrap();
    assert_eq!(names(&store, &[("search", "SÜD")]).await, ["Süd"]);
    assert!(names(&store, &[("search", "équipe")]).await.is_empty());
}

pub(crate) async fn a_list_is_sorted_and_paged_either_way(db: Database) {
    let store = world(&db).await;
    // Of one name in its folded form there are several.
    let all = ["b", "C", "a", "B ", "É", "A", "é", "z"].map(str::trim);
    for (n, name) in all.iter().enumerate() {
        group(&store, ACME, &format!("{name}{}", if n % 2 == 0 { "" } else { "!" })).await;
    }
    let mut whole = names(&store, &[]).await;
    whole.sort_by_key(|name| name.to_lowercase());
    for (sort, limit) in [("name", "1"), ("name", "3"), ("-name", "1"), ("-name", "3"), ("created_at", "2")] {
        let (mut seen, mut cursor, mut later) = (Vec::new(), None::<String>, 0..3);
        loop {
            let mut query = vec![("sort", sort), ("limit", limit)];
            query.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
            let slice = store.list::<GroupList>(ACME, &asked(&query)).await.unwrap();
            seen.extend(slice.rows.into_iter().map(|group| group.name));
            // Who writes meanwhile neither hides nor repeats what is there.
            if let Some(n) = later.next() {
                group(&store, ACME, &format!("later {sort} {limit} {n}")).await;
            }
            match slice.next {
                Some(next) => cursor = Some(next),
                None => break,
            }
            assert!(seen.len() < 100, "{sort} {limit} does not end");
        }
        let distinct: BTreeSet<&String> = seen.iter().collect();
        assert_eq!(distinct.len(), seen.len(), "{sort} {limit}: {seen:?}");
        let mut old: Vec<String> = seen.iter().filter(|name| !name.starts_with("later")).cloned().collect();
        let folded = |names: &[String]| names.iter().map(|name| name.to_lowercase()).collect::<Vec<_>>();
        match sort {
            "name" => assert_eq!(folded(&old), folded(&whole)),
            "-name" => {
                old.reverse();
                assert_eq!(folded(&old), folded(&whole));
            }
            _ => assert_eq!(old.len(), whole.len()),
        }
    }
}

pub(crate) async fn filters_leave_what_fits_and_only_the_tenants_own(db: Database) {
    let store = world(&db).await;
    group(&store, ACME, "ours").await;
    assert!(store.list::<GroupList>(GLOBEX, &asked(&[])).await.unwrap().rows.is_empty());
    let slugs = async |query: &[(&str, &str)]| -> Vec<String> {
        let found = store.list::<TenantList>((), &asked(query)).await.unwrap();
        found.rows.into_iter().map(|tenant| tenant.slug.as_str().to_owned()).collect()
    };
    assert!(slugs(&[("search", "ACM")]).await.contains(&"acme".to_owned()));
    assert!(slugs(&[("status", "suspended")]).await.is_empty());
    let later = serde_json::to_value(NOW + std::time::Duration::from_secs(60)).unwrap();
    assert!(slugs(&[("created_since", later.as_str().unwrap())]).await.is_empty());
    assert!(!slugs(&[("created_until", later.as_str().unwrap())]).await.is_empty());
    let nobody = uuid::Uuid::from_u128(1).to_string();
    let none: Selection<UserList> = asked(&[("external_id", &nobody)]);
    assert!(store.list(ACME, &none).await.unwrap().rows.is_empty());
    assert!(!store.list::<UserList>(ACME, &asked(&[("sort", "-name")])).await.unwrap().rows.is_empty());
    for query in [&[("kind", "company"), ("kyc", "none"), ("payment", "ok"), ("sort", "-code")][..], &[("search", "x")]]
    {
        store.list::<CustomerList>((), &asked(query)).await.unwrap();
    }
    assert!(asked::<UserList>(&[]).only("tenant_id", "x").is_err(), "what is no filter leaves nothing out");
}

/// Rows of an older release have no folded name: a start gives them one, as often as it is asked.
pub(crate) async fn names_of_an_older_release_are_folded_at_a_start(db: Database) {
    let store = world(&db).await;
    group(&store, ACME, "Équipe").await;
    db.behind("UPDATE user_groups SET name_fold = ''").await;
    db.behind("UPDATE users SET name_fold = ''").await;
    assert!(names(&store, &[("search", "équipe")]).await.is_empty());
    for _ in 0..2 {
        store.migrate().await.unwrap();
        assert_eq!(names(&store, &[("search", "équipe")]).await, ["Équipe"]);
    }
}

/// Every list there is can be asked for by each of its filters and sorted by each of its columns.
pub(crate) async fn every_list_takes_what_it_says_it_takes(db: Database) {
    use store::list::*;
    let store = world(&db).await;
    macro_rules! each {
        ($($list:ty: $of:expr),* $(,)?) => {$(
            for query in queries::<$list>() {
                let query: Vec<(&str, &str)> = query.iter().map(|(name, text)| (*name, text.as_str())).collect();
                let found: Result<_, StoreError> = store.list::<$list>($of, &asked(&query)).await;
                assert!(found.is_ok(), "{}: {query:?}: {found:?}", stringify!($list));
            }
        )*};
    }
    each! {
        ApiKeyList: ACME, CatalogList: (), CustomerList: (), CustomerTenantList: fresh(), DeletedOrgUnitList: ACME,
        GroupList: ACME, InvitationList: ACME, IssuerList: CLOUD, OrgUnitList: ACME, ProductList: (), ProjectList: (),
        RoleBindingList: ACME, RoleList: ACME, RouteList: (), ServiceList: (), TenantList: (), UpstreamList: (),
        UserList: ACME, WebhookList: ACME,
    }
    for query in queries::<HostnameList>() {
        let query: Vec<(&str, &str)> = query.iter().map(|(name, text)| (*name, text.as_str())).collect();
        store.list_hostnames(&asked(&query)).await.unwrap();
    }
}

/// Each filter and each order, and all of them with a page of one, which has a cursor.
fn queries<L: Listing>() -> Vec<Vec<(&'static str, String)>> {
    use store::list::Takes;
    let value = |takes| match takes {
        Takes::Part | Takes::Folded | Takes::Text => "x".to_owned(),
        Takes::Word(words) => words[0].to_owned(),
        Takes::Id => uuid::Uuid::nil().to_string(),
        Takes::Flag => "true".into(),
        Takes::Time => "2020-01-01T00:00:00Z".into(),
    };
    let filters = L::FILTERS.iter().map(|filter| vec![(filter.name, value(filter.takes))]);
    let sorts = L::SORTS.iter().flat_map(|by| [by.name.to_owned(), format!("-{}", by.name)]);
    let sorts = sorts.map(|sort| vec![("sort", sort), ("limit", "1".to_owned())]);
    filters.chain(sorts).collect()
}
