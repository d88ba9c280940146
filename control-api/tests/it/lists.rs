//! Lists over HTTP: what is found, in which order, and what is said of a query that is wrong.

use serde_json::{Value, json};

use crate::support::{World, call, get, post};

fn names(answer: &Value) -> Vec<String> {
    answer["items"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_list_is_searched_filtered_sorted_and_paged() {
    let world = World::new().await;
    let staff = world.staff().await;
    for (code, name, kind) in [("c1", "Żubr", "company"), ("c2", "alpha", "person"), ("c3", "Beta", "company")] {
        let body = json!({ "code": code, "name": name, "kind": kind });
        post("/v1/customers", &body).bearer(&staff).send(&world.admin).await.expect(201);
    }
    let list = async |query: &str| {
        get(&format!("/v1/customers?{query}")).bearer(&staff).send(&world.admin).await.expect(200).body
    };
    assert_eq!(names(&list("search=%C5%BBUBR").await), ["Żubr"]);
    assert_eq!(names(&list("kind=person").await), ["alpha"]);
    assert_eq!(names(&list("search=c&kind=company&sort=name").await), ["Beta", "Żubr"]);
    let first = list("search=c&sort=-name&limit=2").await;
    assert_eq!(names(&first), ["Żubr", "Beta"]);
    let cursor = first["next_cursor"].as_str().unwrap();
    let second = list(&format!("search=c&sort=-name&limit=2&cursor={cursor}")).await;
    assert_eq!((names(&second), &second["next_cursor"]), (vec!["alpha".to_owned()], &Value::Null));
}

#[tokio::test]
async fn a_query_that_is_wrong_is_400_and_the_parameter_named() {
    let world = World::new().await;
    let staff = world.staff().await;
    let tenant = world.tenant(&staff, "acme").await;
    for (path, parameter) in [
        ("/v1/customers?limit=0", "?limit"),
        ("/v1/customers?limit=x", "?limit"),
        ("/v1/customers?sort=address", "?sort"),
        ("/v1/customers?kyc=maybe", "?kyc"),
        ("/v1/customers?cursor=x", "?cursor"),
        ("/v1/customers?search=", "?search"),
        ("/v1/customers?search=a%01", "?search"),
        ("/v1/customers?search=a%00", "?search"),
        ("/v1/customers?search=%FF%00", "?search"),
        ("/v1/customers?created_since=today", "?created_since"),
        ("/v1/customers?kind=person&kind=company", "?kind"),
        ("/v1/certificates?limit=x", "?limit"),
        ("/v1/certificates?cursor=x", "?cursor"),
        ("/v1/groups?tenant_id=x", "?tenant_id"),
        ("/v1/groups", "?tenant_id"),
        ("/v1/audit?limit=501&tenant_id=TENANT", "?limit"),
        ("/v1/audit?order=sideways&tenant_id=TENANT", "?order"),
    ] {
        let answer = get(&path.replace("TENANT", &tenant)).bearer(&staff).send(&world.admin).await;
        let answer = answer.refused(400, "parameter_invalid");
        assert_eq!(answer.body["errors"][0]["pointer"], parameter, "{path}: {answer:?}");
    }
    // Who may not ask is told that first.
    get("/v1/customers?limit=0").send(&world.admin).await.refused(401, "credential_missing");
}

#[tokio::test]
async fn who_sees_only_their_own_keys_finds_no_others_by_any_filter() {
    let world = World::new().await;
    let staff = world.staff().await;
    let tenant = world.tenant(&staff, "acme").await;
    let owner = world.user(&staff, &tenant, "ada", &["owner"]).await;
    world.user(&staff, &tenant, "mia", &["member"]).await;
    let (ada, mia) = (world.login("acme", "ada").await, world.login("acme", "mia").await);
    for (token, name) in [(&ada, "of ada"), (&mia, "of mia")] {
        let key = json!({ "name": name, "scopes": [] });
        post("/v1/api-keys", &key).bearer(token).send(&world.admin).await.expect(201);
    }
    for (query, found) in [("", vec!["of mia"]), ("?search=of", vec!["of mia"]), ("?owner_id=OWNER", vec![])] {
        let path = format!("/v1/api-keys{}", query.replace("OWNER", &owner));
        assert_eq!(names(&get(&path).bearer(&mia).send(&world.admin).await.expect(200).body), found, "{query}");
    }
}

#[tokio::test]
async fn hostnames_of_others_are_found_by_no_filter() {
    let world = World::new().await;
    let staff = world.staff().await;
    let acme = world.tenant(&staff, "acme").await;
    let globex = world.tenant(&staff, "globex").await;
    world.user(&staff, &acme, "ada", &["owner"]).await;
    let ada = world.login("acme", "ada").await;
    for query in ["", "?search=localhost", "?sort=-hostname", "?state=verified"] {
        let answer = get(&format!("/v1/hostnames{query}")).bearer(&ada).send(&world.admin).await.expect(200);
        let found: Vec<&Value> = answer.body["items"].as_array().unwrap().iter().map(|it| &it["hostname"]).collect();
        assert_eq!(found, [&json!("acme.localhost")], "{query}");
    }
    world.user(&staff, &acme, "guest", &["guest"]).await;
    let guest = world.login("acme", "guest").await;
    let claim = post("/v1/hostnames", &json!({ "hostname": "shop.example" })).bearer(&guest);
    claim.send(&world.admin).await.refused(403, "permission_denied");
    let theirs = get(&format!("/v1/hostnames?tenant_id={globex}")).bearer(&ada).send(&world.admin).await;
    theirs.refused(404, "not_found");
    let both = call("GET", "/v1/hostnames?sort=-hostname&search=localhost").bearer(&staff);
    let both = both.send(&world.admin).await.expect(200);
    assert!(both.body["items"].as_array().unwrap().len() >= 2);
}
