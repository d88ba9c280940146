//! Lists: what they find, in which order, and that pages hold together while others write.

use std::collections::BTreeSet;

use domain::{
    TenantId,
    model::{MenuOwner, NewGroup},
};
use futures::future::join_all;
use store::{
    Store, StoreError,
    list::{CustomerList, GroupList, Listing, Selection, TenantList, UpstreamList, UserList},
    read::*,
};

use crate::{
    harness::{Database, NOW, on_postgres_of},
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

/// Rows of an older release have no folded name. Until they have, they are found by what the database makes of them; and a row
/// without a name is looked at once.
pub(crate) async fn names_of_an_older_release_are_found_before_they_are_folded_and_after(db: Database) {
    let store = world(&db).await;
    group(&store, ACME, "Plain Name").await;
    group(&store, ACME, "Équipe").await;
    db.behind("UPDATE user_groups SET name_fold = ''").await;
    db.behind("UPDATE users SET name_fold = '', first_name = '', last_name = ''").await;
    for table in ["user_groups", "users"] {
        assert!(db.number(&format!("SELECT COUNT(*) FROM {table} WHERE name_fold = ''")).await > 1);
    }
    assert_eq!(names(&store, &[("search", "pLAIN")]).await, ["Plain Name"]);
    store.migrate().await.unwrap();
    assert_eq!(db.number("SELECT COUNT(*) FROM user_groups WHERE name_fold = ''").await, 2, "no start waits for them");
    let folded = join_all((0..4).map(|_| {
        let store = store.clone();
        tokio::spawn(async move {
            let mut rows = 0;
            loop {
                match store.fold_names().await.unwrap() {
                    0 => break rows,
                    some => rows += some,
                }
            }
        })
    }));
    let folded: usize = folded.await.into_iter().map(Result::unwrap).sum();
    let users = usize::try_from(db.number("SELECT COUNT(*) FROM users").await).unwrap();
    assert_eq!(folded, 2 + users, "of several that fold at once each row has one");
    assert_eq!(names(&store, &[("search", "équipe")]).await, ["Équipe"]);
    assert_eq!(names(&store, &[("sort", "name")]).await, ["Plain Name", "Équipe"]);
    assert_eq!(store.fold_names().await.unwrap(), 0);
}

/// What a locale sorts otherwise: in Danish `aa` is a letter behind `z`.
#[tokio::test(flavor = "multi_thread")]
async fn lists_sort_as_bytes_do_in_a_database_of_another_locale() {
    on_postgres_of("da", async |db| {
        let store = world(&db).await;
        let sorted = async |sql: &str| {
            db.text(&format!("SELECT string_agg(x, ' ' {sql}) FROM (VALUES ('aarhus'), ('zoo')) AS t(x)")).await
        };
        assert_eq!(sorted("ORDER BY x").await, "zoo aarhus", "the database is Danish");
        let all = ["aarhus", "ab", "zoo"];
        for name in all {
            change!(store, |tx| tx.insert_upstream(&system(), upstream(fresh(), name))).unwrap();
        }
        for (sort, expected) in [("name", all.to_vec()), ("-name", all.into_iter().rev().collect())] {
            let (mut seen, mut cursor) = (Vec::new(), None::<String>);
            loop {
                let mut query = vec![("sort", sort), ("limit", "1")];
                query.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
                let page = store.list::<UpstreamList>((), &asked(&query)).await.unwrap();
                seen.extend(
                    page.rows.into_iter().map(|it| it.name.to_string()).filter(|it| all.contains(&it.as_str())),
                );
                match page.next {
                    Some(next) => cursor = Some(next),
                    None => break,
                }
            }
            assert_eq!(seen, expected, "{sort}");
        }
        // Every text that a list is sorted by, in the column itself: so in its indexes, too.
        for (table, column) in [
            ("api_keys", "name_fold"),
            ("customer_artifacts", "kind"),
            ("customers", "code"),
            ("customers", "name_fold"),
            ("email_domains", "domain"),
            ("enrolments", "fleet"),
            ("enrolments", "name"),
            ("gateways", "fleet"),
            ("gateways", "name"),
            ("hostnames", "hostname"),
            ("issuers", "issuer"),
            ("menus", "key"),
            ("org_units", "name_fold"),
            ("products", "key"),
            ("products", "name_fold"),
            ("projects", "slug"),
            ("roles", "name_fold"),
            ("services", "name"),
            ("tenants", "name_fold"),
            ("tenants", "slug"),
            ("upstreams", "name"),
            ("user_groups", "name_fold"),
            ("users", "name_fold"),
        ] {
            let sql = format!(
                "SELECT collation_name::text FROM information_schema.columns
                 WHERE table_schema = current_schema() AND table_name = '{table}' AND column_name = '{column}'"
            );
            assert_eq!(db.text(&sql).await, "C", "{table}.{column}");
        }
    })
    .await;
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
        ApiKeyList: ACME, ArtifactList: fresh(), AuditErasureList: (), CatalogList: (), CertificateBindingList: ACME,
        CertificateList: (), CustomerHistory: fresh(), CustomerList: (), CustomerTenantList: fresh(),
        DeletedOrgUnitList: ACME, EmailDomainList: ACME, EntitlementList: ACME, GatewayList: (NOW, NOW),
        GroupList: ACME, GroupMemberList: (ACME, fresh()), InvitationList: ACME, IssuerList: CLOUD,
        MachineClientList: ACME, MemberList: ACME, MenuList: MenuOwner::System, MenuList: MenuOwner::Tenant(CLOUD, ACME),
        OrgUnitList: ACME, ProductList: (), ProductRequestList: (), ProjectCredentialList: CLOUD, ProjectList: (),
        RoleBindingList: ACME, RoleList: ACME, RouteList: (), ServiceList: (), SessionList: (ACME, ANN, NOW),
        SigningKeyList: CLOUD, TenantList: (), UnitMemberList: (ACME, fresh()), UpstreamList: (), UserList: ACME,
        UserUnitList: (ACME, ANN), WebhookList: ACME,
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
