//! Users taken over from another system with the hashes of their passwords.

use argon2::{
    Argon2, Params,
    password_hash::{PasswordHasher as _, phc::PasswordHash},
};
use serde_json::{Value, json};
use store::read::*;

use crate::{
    org_units::{Office, office},
    support::Answer,
};

const PASSWORD: &str = "Old-system-pass-1";

/// A hash as another system made it: at another cost than ours.
fn hash() -> String {
    let argon2 =
        Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, Params::new(9_216, 4, 1, None).unwrap());
    let made: PasswordHash = argon2.hash_password(PASSWORD.as_bytes()).unwrap();
    made.to_string()
}

async fn get_project(it: &Office) -> domain::ProjectId {
    it.world.app.store.tenant(it.tenant.parse().unwrap()).await.unwrap().unwrap().project_id
}

async fn import(it: &Office, by: &str, users: Value, dry_run: bool) -> Answer {
    let path = format!("/v1/tenants/{}/users/import", it.tenant);
    it.send(by, "POST", &path, Some(json!({ "users": users, "dry_run": dry_run }))).await
}

fn outcomes(answer: &Answer) -> Vec<&str> {
    answer.body["results"].as_array().unwrap().iter().map(|it| it["outcome"].as_str().unwrap()).collect()
}

async fn names(it: &Office) -> Vec<String> {
    let listed = it.send(&it.staff, "GET", &format!("/v1/tenants/{}/users?limit=500", it.tenant), None).await;
    let items = listed.expect(200).body["items"].as_array().unwrap().clone();
    items.iter().map(|it| it["username"].as_str().unwrap_or_default().to_owned()).collect()
}

#[tokio::test]
async fn who_was_imported_signs_in_with_the_password_they_had() {
    let it = office().await;
    let users = json!([
        { "username": "ike", "email": "ike@acme.example", "first_name": "Ike", "password_hash": hash(), "roles": ["member"] },
        { "username": "una", "password_hash": hash() },
        { "username": "bad", "password_hash": "$1$abc$def" },
        { "username": "worse", "roles": ["emperor"] },
        { "first_name": "Nameless" },
        { "username": "later", "external_id": "hr-7" },
        { "username": "old", "password_hash": bcrypt::hash(PASSWORD, 10).unwrap() },
    ]);
    let rehearsed = import(&it, &it.staff, users.clone(), true).await.expect(200);
    let expected = ["created", "present", "refused", "refused", "refused", "created", "created"];
    assert_eq!(outcomes(&rehearsed), expected);
    assert_eq!(rehearsed.body["results"][0]["id"], Value::Null);
    assert_eq!(names(&it).await.len(), 3, "a rehearsal keeps nothing");
    let trail = format!("/v1/audit?tenant_id={}&action=user.created", it.tenant);
    let before = it.send(&it.staff, "GET", &trail, None).await.expect(200).body["items"].as_array().unwrap().len();

    let done = import(&it, &it.staff, users.clone(), false).await.expect(200);
    assert_eq!(outcomes(&done), expected);
    let wrong = |at: usize| done.body["results"][at]["errors"][0]["pointer"].as_str().unwrap_or_default();
    assert_eq!((wrong(2), wrong(3), wrong(4)), ("/password_hash", "/roles/0", "/username"));
    assert_eq!(done.body["results"][1]["id"], json!(it.users[0]));
    let after = it.send(&it.staff, "GET", &trail, None).await.expect(200).body["items"].as_array().unwrap().len();
    assert_eq!(after, before + 3, "each has its row in the trail");
    // Whoever was made has no mistakes to tell of; the description promises no more than is there.
    let described = serde_json::to_value(control_api::router::openapi()).unwrap();
    let fate = &described["components"]["schemas"]["UsersImported"]["properties"]["results"]["items"];
    for needed in fate["required"].as_array().unwrap() {
        let missing = |it: &&Value| it.get(needed.as_str().unwrap()).is_none();
        assert!(!done.body["results"].as_array().unwrap().iter().any(|it| missing(&it)), "{needed}: {done:?}");
    }

    it.world.try_login("acme", "IKE@acme.example", PASSWORD).await.expect(200);
    it.world.try_login("acme", "ike", "Another-pass-1").await.refused(401, "credentials_invalid");
    it.world.try_login("acme", "una", PASSWORD).await.refused(401, "credentials_invalid");
    it.world.try_login("acme", "later", PASSWORD).await.refused(401, "credentials_invalid");

    // What was imported is ours once its password was shown.
    for name in ["ike", "old"] {
        let hash = async || {
            let project = get_project(&it).await;
            it.world.app.store.user_by_login(project, name).await.unwrap().unwrap().password_hash.unwrap()
        };
        it.world.try_login("acme", name, "Wrong-password-1").await.refused(401, "credentials_invalid");
        it.world.try_login("acme", name, PASSWORD).await.expect(200);
        assert!(control_api::passwords::is_ours(&hash().await), "{name}");
        it.world.try_login("acme", name, PASSWORD).await.expect(200);
    }

    let again = import(&it, &it.staff, users, false).await.expect(200);
    assert_eq!(outcomes(&again), ["present", "present", "refused", "refused", "refused", "present", "present"]);
}

#[tokio::test]
async fn an_id_that_is_taken_refuses_its_user_and_a_rehearsal_knows() {
    let it = office().await;
    let first = json!([{ "username": "one", "external_id": "hr-1" }]);
    import(&it, &it.staff, first, false).await.expect(200);
    let users = json!([{ "username": "two", "external_id": "hr-1" }, { "username": "three" }]);
    for dry_run in [true, false] {
        let done = import(&it, &it.staff, users.clone(), dry_run).await.expect(200);
        assert_eq!(outcomes(&done), ["refused", "created"]);
        assert_eq!(done.body["results"][0]["code"], "already_exists");
        assert_eq!(done.body["results"][0]["errors"][0]["pointer"], "/external_id");
    }
    assert_eq!(names(&it).await.iter().filter(|name| *name == "three").count(), 1);
}

#[tokio::test]
async fn users_are_imported_by_the_platforms_staff_and_so_many_at_once() {
    let it = office().await;
    let one = json!([{ "username": "x" }]);
    import(&it, &it.admin, one.clone(), false).await.refused(403, "context_mismatch");
    import(&it, &it.staff, json!([]), false).await.refused(422, "validation_failed");
    let many: Vec<Value> = (0..101).map(|n| json!({ "username": format!("u{n}") })).collect();
    import(&it, &it.staff, json!(many), false).await.refused(422, "validation_failed");
    let nowhere = format!("/v1/tenants/{}/users/import", uuid::Uuid::from_u128(9));
    it.send(&it.staff, "POST", &nowhere, Some(json!({ "users": one }))).await.refused(404, "not_found");
    assert_eq!(names(&it).await.len(), 3);
}
