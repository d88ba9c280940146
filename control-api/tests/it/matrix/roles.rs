//! Each role asks every operation, in its own tenant and about things that are there. What is refused to whom is a golden
//! file. There is no operation that a guest passes, but those about oneself; and none that nobody passes, which would
//! mean that something else than the right stood in the way.

use std::collections::BTreeMap;

use super::{
    exceptions, golden,
    operations::{Operation, all},
    tenant::{Ids, populated},
};
use crate::support::{Answer, World};

/// Roles of a tenant, from the widest to the narrowest.
const ROLES: [&str; 6] = ["owner", "admin", "it_admin", "auditor", "member", "guest"];

/// Staff.
const STAFF: &str = "platform_admin";

/// What an answer says of the right to ask.
fn cell(answer: &Answer) -> &'static str {
    match (answer.status.as_u16(), answer.code()) {
        (401, _) => "401",
        (403, "permission_denied" | "context_mismatch" | "permission_escalation") => "-",
        (403, _) => "403",
        (404, _) => "404",
        (400 | 415 | 422, _) => "422",
        (500.., _) => "5xx",
        (_, _) => "+",
    }
}

type Table = BTreeMap<String, BTreeMap<&'static str, &'static str>>;

#[tokio::test(flavor = "multi_thread")]
async fn each_role_passes_where_it_may_and_a_guest_nowhere() {
    let mut table = Table::new();
    for role in ROLES.into_iter().chain([STAFF]) {
        let world = World::new().await;
        let staff = world.staff().await;
        let ids = populated(&world, &staff, "acme", "ada").await;
        let token = if role == STAFF {
            staff
        } else {
            world.user(&staff, &ids["tenant"], "who", &[role]).await;
            world.login("acme", "who").await
        };
        for operation in all() {
            let answer = asked(&world, role, &operation, &ids, &token).await;
            table.entry(operation.name()).or_default().insert(role, cell(&answer));
            assert_ne!(cell(&answer), "5xx", "{role}: {}: {answer:?}", operation.name());
        }
    }
    let text = report(&table);
    let those = |fits: &dyn Fn(&BTreeMap<&str, &str>) -> bool| -> Vec<String> {
        table.iter().filter(|(_, cells)| fits(cells)).map(|(name, _)| name.clone()).collect()
    };
    let open = those(&|cells| cells["guest"] != "-");
    let closed = those(&|cells| cells.values().all(|cell| *cell != "+"));
    // Both at once, so that one run says all.
    let found = (open, closed);
    let known = (exceptions("a guest passes"), exceptions("nobody passes"));
    assert_eq!(found, known, "who is not refused is no test of authorization; nor is what nobody passes\n{text}");
    golden("roles.txt", &text);
}

/// Asks about the thing of the caller's own tenant that the path is about.
async fn asked(world: &World, role: &str, operation: &Operation, ids: &Ids, token: &str) -> Answer {
    let mut target = operation.within(ids);
    let takes = |name: &str| operation.query.iter().any(|it| it == name);
    for (name, kind) in [("project_id", "project"), ("tenant_id", "tenant")] {
        // Where either is meant, people mean their own tenant.
        if takes(name) && (role == STAFF || (name == "project_id" && !takes("tenant_id"))) {
            target.push_str(if target.contains('?') { "&" } else { "?" });
            target.push_str(&format!("{name}={}", ids[kind]));
        }
    }
    operation.request(&target, operation.body(ids).as_ref()).bearer(token).send(&world.admin).await
}

fn report(table: &Table) -> String {
    let columns: Vec<&str> = ROLES.into_iter().chain([STAFF]).collect();
    let mut text = String::from(
        "# What each role is answered, asking about things of its own tenant that are there: `+` it passes, `-` it is\n\
         # refused; 401, 404 and 422 what stood in the way before a right was asked for. Staff is `platform_admin`.\n",
    );
    let row = |cells: &mut dyn Iterator<Item = &str>| cells.map(|it| format!("{it:<9}")).collect::<String>();
    text.push_str(&format!("{:<60} {}\n", "", row(&mut columns.iter().copied()).trim_end()));
    for (name, cells) in table {
        let cells = row(&mut columns.iter().map(|column| cells[column]));
        text.push_str(&format!("{name:<60} {}\n", cells.trim_end()));
    }
    text
}
