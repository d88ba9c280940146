//! Phone numbers, how many texts are sent, and requests for help.

use std::time::Duration;

use authz::Scope;
use domain::{
    PhoneNumber, Timestamp, UserId,
    model::{HelpRequest, NewHelpRequest, help_request::MAX_PENDING},
};
use futures::future::join_all;
use store::{PhoneProven, SessionTx, SpentBound, Store, StoreError, TextBound, read::*};

use crate::{
    harness::{Database, NOW},
    isolation::scope_settings,
    world::*,
};

const HOUR: Duration = Duration::from_secs(3600);
const YEAR: Duration = Duration::from_secs(365 * 86_400);

async fn at<T, F>(store: &Store, now: Timestamp, change: impl Fn(SessionTx) -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    store.write_session(Scope::Project(CLOUD), now, change).await
}

fn number() -> PhoneNumber {
    "+14155550100".parse().unwrap()
}

async fn prove(store: &Store, user: UserId, now: Timestamp) -> PhoneProven {
    at(store, now, |tx| async move { tx.prove_phone((CLOUD, user), &number(), now - YEAR).await }).await.unwrap()
}

pub(crate) async fn a_number_is_one_accounts_until_its_proof_counts_no_more(db: Database) {
    let store = world(&db).await;
    let holder =
        async |now: Timestamp| store.user_by_phone(CLOUD, &number(), now - YEAR).await.unwrap().map(|user| user.id);
    assert_eq!(prove(&store, ANN, NOW).await, PhoneProven::Now);
    assert_eq!(prove(&store, GUS, NOW).await, PhoneProven::Taken);
    assert_eq!(holder(NOW).await, Some(ANN));
    assert!(store.user_by_phone(ROOT, &number(), NOW - YEAR).await.unwrap().is_none(), "in its project");
    // Proven again, it counts anew.
    assert_eq!(prove(&store, ANN, NOW + HOUR).await, PhoneProven::Now);
    assert_eq!(holder(NOW + YEAR).await, Some(ANN));
    assert_eq!(holder(NOW + YEAR + HOUR).await, None, "who has it now is not who had it");
    assert_eq!(prove(&store, GUS, NOW + YEAR + HOUR).await, PhoneProven::Lapsed(ANN));
    assert_eq!(store.phone_of(ANN).await.unwrap(), None);
    assert_eq!(store.phone_of(GUS).await.unwrap(), Some((number(), NOW + YEAR + HOUR)));
}

pub(crate) async fn a_number_that_alone_signs_in_stays(db: Database) {
    let store = world(&db).await;
    prove(&store, ANN, NOW).await;
    let drop = async || at(&store, NOW, |tx| async move { tx.drop_phone(ANN).await }).await;
    db.behind(&format!("UPDATE users SET password_hash = NULL WHERE id = '{ANN}'")).await;
    let refused = drop().await;
    assert!(matches!(refused, Err(StoreError::Rule { code: "last_credential", .. })), "{refused:?}");
    assert!(store.phone_of(ANN).await.unwrap().is_some());
    db.behind(&format!("UPDATE users SET password_hash = 'x' WHERE id = '{ANN}'")).await;
    assert!(drop().await.unwrap());
    assert!(!drop().await.unwrap(), "there is none");
}

pub(crate) async fn numbers_are_invisible_to_other_projects(db: Database) {
    let store = world(&db).await;
    prove(&store, ANN, NOW).await;
    ask(&store, "eve@example.com", false, NOW).await.unwrap();
    let Some(client) = db.postgres().await else { return };
    for (scope, numbers, requests) in [
        (scope_settings("tenant", Some(CLOUD), Some(ACME)), 1, 1),
        (scope_settings("tenant", Some(CLOUD), Some(GLOBEX)), 1, 0),
        (scope_settings("project", Some(ROOT), None), 0, 0),
        (scope_settings("tenant", Some(ROOT), Some(STAFF)), 0, 0),
        (String::new(), 0, 0),
    ] {
        client.batch_execute(&format!("BEGIN; SET LOCAL ROLE portcullis_runtime; {scope}")).await.unwrap();
        for (table, expected) in [("phone_numbers", numbers), ("help_requests", requests)] {
            let row = client.query_one(&format!("SELECT COUNT(*) FROM {table}"), &[]).await.unwrap();
            assert_eq!(row.get::<_, i64>(0), expected, "{table} under `{scope}`");
        }
        client.batch_execute("ROLLBACK").await.unwrap();
    }
}

fn bounds(project: &str, number: &str) -> Vec<TextBound> {
    let bound = |of, which: &str, most| TextBound { of, which: which.to_owned(), within: HOUR, most };
    vec![bound("number", number, 2), bound("project", project, 3), bound("all", "", 5)]
}

async fn count(store: &Store, (project, number): (&str, &str), now: Timestamp) -> Option<SpentBound> {
    let bounds = &bounds(project, number);
    at(store, now, |tx| async move { tx.count_text(bounds).await }).await.unwrap()
}

pub(crate) async fn texts_are_counted_under_every_bound_or_under_none(db: Database) {
    let store = world(&db).await;
    assert_eq!(count(&store, ("p", "1"), NOW).await, None);
    assert_eq!(count(&store, ("p", "1"), NOW).await, None);
    assert_eq!(count(&store, ("p", "1"), NOW).await, Some(SpentBound { of: "number", first: true }));
    assert_eq!(count(&store, ("p", "1"), NOW).await, Some(SpentBound { of: "number", first: false }));
    // What was not sent was not counted: the project has one left.
    assert_eq!(count(&store, ("p", "2"), NOW).await, None);
    assert_eq!(count(&store, ("p", "3"), NOW).await, Some(SpentBound { of: "project", first: true }));
    assert_eq!(count(&store, ("q", "2"), NOW).await, None, "another project's");
    assert_eq!(
        count(&store, ("q", "2"), NOW).await,
        Some(SpentBound { of: "number", first: true }),
        "over all projects"
    );
    assert_eq!(count(&store, ("q", "4"), NOW).await, None);
    assert_eq!(count(&store, ("r", "5"), NOW).await, Some(SpentBound { of: "all", first: true }));
    assert_eq!(count(&store, ("r", "5"), NOW + HOUR).await, None, "counted anew");
    let plain = "SELECT COUNT(*) FROM text_counts WHERE CAST(digest AS TEXT) LIKE '%number%'";
    assert_eq!(db.number(plain).await, 0, "what is counted by is not kept");
    // At once, in both orders of what they share.
    let later = NOW + HOUR * 3;
    let tries = (0..20).map(|n| {
        let store = store.clone();
        tokio::spawn(async move {
            let mut bounds = bounds("s", &n.to_string());
            if n % 2 == 0 {
                bounds.reverse();
            }
            let bounds = &bounds;
            at(&store, later, |tx| async move { tx.count_text(bounds).await }).await.unwrap()
        })
    });
    let counted: Vec<_> = join_all(tries).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(counted.iter().filter(|it| it.is_none()).count(), 3, "{counted:?}");
    assert_eq!(counted.iter().flatten().filter(|it| it.first && it.of == "project").count(), 1, "{counted:?}");
}

async fn ask(store: &Store, email: &str, known: bool, now: Timestamp) -> Option<HelpRequest> {
    let new = &NewHelpRequest {
        id: fresh(),
        project_id: CLOUD,
        tenant_id: ACME,
        email: email.to_owned(),
        message: "help".to_owned(),
        known,
    };
    at(store, now, |tx| async move { tx.insert_help_request(new).await }).await.unwrap()
}

pub(crate) async fn strangers_give_way_where_many_ask_for_help(db: Database) {
    let store = world(&db).await;
    let member = ask(&store, "ann@example.com", true, NOW).await.unwrap();
    let first = ask(&store, "eve@example.com", false, NOW).await.unwrap();
    // As many more as may wait.
    let project = first.project_id;
    let more: Vec<String> = (2..MAX_PENDING)
        .map(|n| {
            let id: domain::HelpRequestId = fresh();
            let at = NOW.millis() + i64::try_from(n).unwrap();
            format!("('{id}', '{project}', '{ACME}', 'x@example.com', 'm', FALSE, 'pending', '', {at}, 1)")
        })
        .collect();
    db.behind(&format!(
        "INSERT INTO help_requests (id, project_id, tenant_id, email, message, known, status, note, created_at, version)
         VALUES {}",
        more.join(", ")
    ))
    .await;
    let newest = ask(&store, "eve@example.com", false, NOW + HOUR).await.unwrap();
    assert_eq!(store.help_request(first.id).await.unwrap(), None, "the oldest of strangers");
    assert!(store.help_request(member.id).await.unwrap().is_some());
    assert!(store.help_request(newest.id).await.unwrap().is_some());
    assert_eq!(db.number("SELECT COUNT(*) FROM help_requests").await, i64::try_from(MAX_PENDING).unwrap());
    db.behind("UPDATE help_requests SET known = TRUE").await;
    assert_eq!(ask(&store, "eve@example.com", false, NOW + HOUR).await, None, "never a member's for a stranger's");
    assert!(ask(&store, "bob@example.com", true, NOW + HOUR).await.is_some());
    assert_eq!(store.help_request(member.id).await.unwrap(), None, "the oldest of members' for a member's");
    // What nobody answers goes at last.
    assert!(ask(&store, "eve@example.com", false, NOW + HOUR * 24 * 200).await.is_some());
    assert_eq!(db.number("SELECT COUNT(*) FROM help_requests").await, 1);
}
