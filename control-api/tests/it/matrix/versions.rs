//! Nobody overwrites what they have not seen: what has a version is changed with `If-Match`.

use super::{exceptions, operations::all, tenant::populated};
use crate::support::World;

#[tokio::test(flavor = "multi_thread")]
async fn whatever_has_a_version_is_changed_by_who_has_seen_it() {
    let world = World::new().await;
    let staff = world.staff().await;
    let ids = populated(&world, &staff, "acme", "ada").await;
    let ada = world.login("acme", "ada").await;
    let (mut without, mut wrong) = (Vec::new(), Vec::new());
    for operation in all().into_iter().filter(|it| it.method == "PUT" || it.method == "PATCH") {
        if !operation.headers.iter().any(|name| name == "If-Match") {
            without.push(operation.name());
            continue;
        }
        let mut statuses = Vec::new();
        let query = |name: &str| operation.query.iter().any(|it| it == name);
        for bearer in [&ada, &staff] {
            let tenant = bearer == &staff && query("tenant_id");
            let suffix = if tenant { format!("?tenant_id={}", ids["tenant"]) } else { String::new() };
            let target = format!("{}{suffix}", operation.within(&ids));
            let stale = operation.request(&target, operation.body(&ids).as_ref()).header("if-match", "\"999999\"");
            let answer = stale.bearer(bearer).send(&world.admin).await;
            assert!(!answer.status.is_success(), "{}: {answer:?}", operation.name());
            statuses.push((answer.status.as_u16(), answer.code().to_owned()));
        }
        let stale = (412, "version_mismatch".to_owned());
        if !statuses.contains(&stale) {
            wrong.push((operation.name(), statuses));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    // What one does to oneself is asked last.
    without.sort_unstable();
    assert_eq!(without, exceptions("takes no version"));
}
