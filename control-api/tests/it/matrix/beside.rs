//! M1, where two tenants share a project: somebody is in both. What an administrator of the one does with them stays in the
//! one, and says nothing of the other.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use tokio_postgres::Client;

use super::{
    boundary::{Between, Door, Two},
    golden,
    operations::all,
};
use crate::support::{call, get, on_postgres_beside, post};

/// All that is a tenant's, and all that is a user's and no tenant's, line by line.
async fn kept(client: &Client, tenant: &str, user: &str) -> BTreeSet<String> {
    let tables = client
        .query(
            "SELECT table_name::text, bool_or(column_name = 'tenant_id'), bool_or(column_name = 'user_id')
             FROM information_schema.columns WHERE table_schema = current_schema() GROUP BY table_name ORDER BY 1",
            &[],
        )
        .await
        .unwrap();
    let of = |row: &tokio_postgres::Row| {
        let (table, has_tenant, has_user): (String, bool, bool) = (row.get(0), row.get(1), row.get(2));
        let theirs = match (has_tenant, has_user) {
            (true, _) => format!("tenant_id = '{tenant}'"),
            (false, true) => format!("user_id = '{user}'"),
            (false, false) if table == "users" => format!("id = '{user}'"),
            (false, false) => return None,
        };
        Some(format!("SELECT '{table} ' || to_jsonb(it)::text FROM {table} AS it WHERE {theirs}"))
    };
    let sql = tables.iter().filter_map(of).collect::<Vec<_>>().join(" UNION ALL ");
    client.query(&sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn m1_what_is_done_with_a_user_of_two_tenants_stays_in_the_one() {
    on_postgres_beside(|world, client| async move {
        let mut two = Two::of(world, Between::Tenants).await;
        let (staff, other) = (two.staff.clone(), two.globex["tenant"].clone());
        let both = two.world.user(&staff, &two.acme["tenant"], "both", &["member"]).await;
        two.world.join(&staff, &other, &both).await;
        let bound = json!({ "role_id": two.globex["role"], "user_id": both });
        let path = format!("/v1/role-bindings?tenant_id={other}");
        post(&path, &bound).bearer(&staff).send(&two.world.admin).await.expect(201);
        two.world.login("globex", "both").await;
        two.world.login("acme", "both").await;
        for (path, body) in [
            (format!("/v1/groups/{}/members", two.acme["group"]), json!({ "user_id": both })),
            (format!("/v1/org-units/{}/members", two.acme["org_unit"]), json!({ "user_id": both, "role": "ou_default" })),
        ] {
            post(&path, &body).bearer(&two.ada).send(&two.world.admin).await.expect(201);
        }
        let session = async |tenant: &str| {
            let path = format!("/v1/tenants/{tenant}/users/{both}/sessions");
            let open = get(&path).bearer(&staff).send(&two.world.admin).await.expect(200);
            open.body["items"][0]["id"].as_str().unwrap().to_owned()
        };
        let (own, theirs) = (session(&two.acme["tenant"]).await, session(&other).await);
        two.acme.insert("session", own);
        for kind in ["user", "member"] {
            two.acme.insert(kind, both.clone());
        }
        let before = kept(&client, &other, &both).await;
        // Their session in the other tenant is none here, whatever it is called.
        let path = format!("/api/v1/tenant/users/{both}/sessions/{theirs}");
        call("DELETE", &path).bearer(&two.ada).send(&two.world.admin).await.refused(404, "not_found");
        two.theirs.insert("session", theirs);
        assert!(before.len() > 20, "{} rows are looked at", before.len());
        let mut found: BTreeMap<String, BTreeSet<u16>> = BTreeMap::new();
        let is_of_one = |kind: &&str| matches!(*kind, "user" | "member");
        let mut asked: Vec<_> = all().into_iter().filter(|it| it.places().iter().any(is_of_one)).collect();
        // Who is taken out of the tenant is in no group and no unit of it any more: that comes last.
        asked.sort_by_key(|it| it.method == "DELETE" && it.path.ends_with("/users/{id}"));
        for operation in asked {
            for door in [Door::Admin, Door::Public] {
                let (target, body) = (operation.within(&two.acme), operation.body(&two.acme));
                let answer = two.ask(door, &operation, &target, body.as_ref()).await;
                assert!(answer.status.as_u16() < 500, "{door:?} {}: {answer:?}", operation.name());
                two.shows_none(&operation.name(), &both, &answer);
                found.entry(operation.name()).or_default().insert(answer.status.as_u16());
            }
            let after = kept(&client, &other, &both).await;
            let changed: Vec<&String> = before.symmetric_difference(&after).collect();
            assert!(changed.is_empty(), "{} changed {changed:#?}", operation.name());
        }
        let mut text = String::from(
            "# What the owner of one tenant is answered, on this machine and through the edge, who asks about a user that is in\n\
             # another tenant of the same project, too. In no case anything of the other tenant changed or is named, nor anything\n\
             # that is the user's own in both.\n",
        );
        for (name, statuses) in &found {
            let statuses: Vec<String> = statuses.iter().map(u16::to_string).collect();
            text.push_str(&format!("{name:<60} {}\n", statuses.join(",")));
        }
        golden("cross-tenant-user-of-both.txt", &text);
    })
    .await;
}
