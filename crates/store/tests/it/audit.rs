//! The audit trail.

use std::time::Duration;

use authz::{Caller, Context, PermissionSet, Scope, action::*};
use domain::{
    TenantId,
    audit::{Actor, ActorKind, AuditEntry, Crud, Flaw, Origin, Report, ReportedActor, Target},
};
use serde_json::json;
use store::{
    AuditQuery, Broken, ChainReport, Reported, Store, StoreError, Verifier,
    list::{AuditErasureList, Selection},
    read::*,
};
use uuid::Uuid;

use crate::{
    harness::{Database, NOW},
    world::*,
};

pub(crate) async fn every_change_is_in_the_trail_with_who_did_it(db: Database) {
    let store = world(&db).await;
    let actor = Actor { kind: ActorKind::User, id: Some(Uuid::from_u128(7)), name: "root".into() };
    let origin = Origin { source_ip: Some("192.0.2.1".parse().unwrap()), user_agent: None, request_id: Some(fresh()) };
    let staff = Caller {
        actor: actor.clone(),
        origin: origin.clone(),
        context: Context::System,
        permissions: PermissionSet::default(),
        is_admin: false,
        is_super_admin: true,
    };
    let permission = "platform:tenant:update".parse().unwrap();
    let by = staff.authorize::<ManageTenants>(&permission, Scope::Platform).unwrap();
    store
        .write(&by, NOW, |tx| {
            let by = by.clone();
            async move {
                let mut tenant = tx.tenant(ACME).await?.ok_or(StoreError::NotFound { what: "tenant" })?;
                tenant.plan = Some("basic".into());
                tx.updated(tx.update_tenant(&by, tenant).await?).await
            }
        })
        .await
        .unwrap();
    let query =
        AuditQuery { action: Some("tenant.updated".into()), tenant: Some(ACME), limit: 10, ..AuditQuery::default() };
    let [event] = &store.audit_events(&query).await.unwrap()[..] else { panic!("one event") };
    assert_eq!((event.actor.id.clone(), &event.actor.name), (actor.id.map(|id| id.to_string()), &actor.name));
    assert_eq!((&event.origin, event.received), (&origin, NOW));
    assert_eq!(event.entry.fields["plan"], json!("basic"));
    assert_eq!((event.entry.target.id.clone(), event.chain.is_none()), (ACME.to_string(), true));
}

/// Chains everything.
pub(crate) async fn chain_all(store: &Store) {
    while store.chain_audit(100).await.unwrap() > 0 {}
}

pub(crate) async fn a_list_of_heads_to_be_sealed_that_is_not_ours_seals_none(db: Database) {
    let store = world(&db).await;
    chain_all(&store).await;
    db.behind(&format!("UPDATE audit_chains SET proof_enc = NULL WHERE chain = '{ACME}'")).await;
    db.behind("DELETE FROM unsealed_heads_proof").await;
    let list = "INSERT INTO unsealed_heads (chain, seq, hash) SELECT chain, seq, hash FROM audit_chains";
    db.behind(&format!("{list} WHERE proof_enc IS NULL")).await;
    for proof in ["", "'x'"] {
        if !proof.is_empty() {
            let proof = if db.postgres().await.is_some() { "'x'::bytea" } else { "x'00'" };
            db.behind(&format!("INSERT INTO unsealed_heads_proof (id, proof_enc) VALUES (1, {proof})")).await;
        }
        store.migrate().await.unwrap();
        assert_eq!(broken(&store, ACME).await.map(|(_, flaw)| flaw), Some(Flaw::Head));
    }
    assert!(broken(&store, GLOBEX).await.is_none());
    let heads = store.chain_heads("").await.unwrap();
    let globex = report(&store, Some(GLOBEX)).await;
    assert!(heads.contains(&(GLOBEX.to_string(), globex.head.0, globex.head.1)), "{heads:?}");
    let after: Vec<_> = heads.iter().filter(|(chain, ..)| *chain > ACME.to_string()).cloned().collect();
    assert_eq!(store.chain_heads(&ACME.to_string()).await.unwrap(), after, "in the order of their names");
}

pub(crate) async fn of_many_that_want_a_turn_one_gets_it_and_the_next_after_the_pause(db: Database) {
    let store = world(&db).await;
    let hour = Duration::from_secs(3600);
    let turn = async |at| {
        let taken =
            store.write_session(Scope::Platform, at, |tx| async move { tx.take_turn("audit_heads", hour).await });
        taken.await.map_err(|error: StoreError| error).unwrap()
    };
    let all = futures::future::join_all((0..8).map(|_| turn(NOW))).await;
    assert_eq!(all.into_iter().filter(|it| *it).count(), 1);
    assert!(!turn(NOW + hour - Duration::from_millis(1)).await);
    assert!(turn(NOW + hour).await);
    db.behind(&format!("UPDATE turns SET next_at = {}", (NOW + hour * 1000).millis())).await;
    assert!(turn(NOW + hour).await, "nobody puts it off for longer");
}

async fn report(store: &Store, tenant: Option<TenantId>) -> ChainReport {
    store.verify_audit(tenant).await.unwrap()
}

async fn broken(store: &Store, tenant: TenantId) -> Option<(u64, Flaw)> {
    report(store, Some(tenant)).await.broken.map(|Broken { seq, flaw }| (seq, flaw))
}

pub(crate) async fn the_chain_of_each_tenant_holds_and_tampering_breaks_it(db: Database) {
    let store = world(&db).await;
    let (a, b) = tokio::join!(store.chain_audit(5), store.chain_audit(100));
    assert!(a.unwrap() + b.unwrap() > 5);
    chain_all(&store).await;
    for tenant in [None, Some(ACME), Some(GLOBEX)] {
        let report = report(&store, tenant).await;
        assert!(report.broken.is_none() && report.sealed && report.rows > 0, "{report:?}");
    }
    db.behind(&format!("UPDATE audit_events SET action = 'nothing' WHERE chain = '{ACME}' AND chain_seq = 2")).await;
    assert_eq!(broken(&store, ACME).await, Some((2, Flaw::Changed)));
    assert_eq!(broken(&store, GLOBEX).await, None);
    db.behind(&format!("DELETE FROM audit_events WHERE chain = '{ACME}' AND chain_seq >= 2")).await;
    assert_eq!(broken(&store, ACME).await, Some((2, Flaw::Head)), "the end was cut off");
}

/// Threat: whoever can write to the database changes a row.
pub(crate) async fn a_change_of_any_column_of_a_row_is_found(db: Database) {
    let store = world(&db).await;
    append(&store, &reported("r-1")).await.unwrap();
    chain_all(&store).await;
    let rows = report(&store, Some(ACME)).await.rows;
    let other = Uuid::from_u128(0xbad);
    for (column, value) in [
        ("id", format!("'{other}'")),
        ("chain", "'nobody'".into()),
        ("project_id", "NULL".into()),
        ("project_id", format!("'{ROOT}'")),
        ("tenant_id", "NULL".into()),
        ("tenant_id", format!("'{GLOBEX}'")),
        ("action", "'x'".into()),
        ("crud", "'d'".into()),
        ("target", r#"'{"kind":"x","id":"x","name":"x"}'"#.into()),
        ("actor", r#"'{"kind":"user","id":null,"name":""}'"#.into()),
        ("origin", r#"'{"source_ip":null,"user_agent":"x","request_id":null}'"#.into()),
        ("is_failure", "NOT is_failure".into()),
        ("fields", r#"'{"x":1}'"#.into()),
        ("received", "received + 1".into()),
        ("chain_seq", "chain_seq + 1000".into()),
        ("prev_hash", "hash".into()),
        ("hash", "prev_hash".into()),
        ("report", "NULL".into()),
        ("reporter", "'x'".into()),
        ("external_id", "'x'".into()),
        ("form", "1".into()),
        ("form", "3".into()),
        ("actor_salt", "target_salt".into()),
        ("actor_salt", "NULL".into()),
        ("actor_digest", "target_digest".into()),
        ("target_salt", "NULL".into()),
        ("target_digest", "NULL".into()),
        ("erased_at", "1".into()),
    ] {
        for seq in [2, rows] {
            let place = format!("chain = '{ACME}' AND chain_seq = {seq}");
            let id = db.text(&format!("SELECT CAST(id AS TEXT) FROM audit_events WHERE {place}")).await;
            db.behind("DROP TABLE IF EXISTS kept; CREATE TABLE kept AS SELECT * FROM audit_events").await;
            db.behind(&format!("UPDATE audit_events SET {column} = {value} WHERE {place}")).await;
            // A row that had nothing there has nothing to lose.
            let same = db.number(&same_rows(column)).await;
            let found = broken(&store, ACME).await;
            assert!(found.is_some() || same == 0, "{column} = {value} of row {seq} ({id})");
            db.behind("DELETE FROM audit_events; INSERT INTO audit_events SELECT * FROM kept").await;
            assert_eq!(broken(&store, ACME).await, None, "put back: {column}");
        }
    }
    // Two rows that change places.
    db.behind(&format!(
        "UPDATE audit_events SET chain_seq = 1000 WHERE chain = '{ACME}' AND chain_seq = 1;
         UPDATE audit_events SET chain_seq = 1 WHERE chain = '{ACME}' AND chain_seq = 2;
         UPDATE audit_events SET chain_seq = 2 WHERE chain = '{ACME}' AND chain_seq = 1000;"
    ))
    .await;
    assert_eq!(broken(&store, ACME).await, Some((1, Flaw::Order)));
}

/// How many rows differ in a column from what was kept.
fn same_rows(column: &str) -> String {
    if column == "id" {
        return "SELECT CAST(1 AS BIGINT)".into();
    }
    format!(
        "SELECT COUNT(*) FROM audit_events AS it JOIN kept ON kept.id = it.id
         WHERE CAST(it.{column} AS TEXT) IS DISTINCT FROM CAST(kept.{column} AS TEXT)"
    )
}

/// Threat: whoever can write to the database cuts off the end, and makes the head fit.
pub(crate) async fn a_head_that_was_moved_does_not_fit_its_seal_and_never_will(db: Database) {
    let store = world(&db).await;
    for n in 0..4 {
        append(&store, &reported(&format!("r-{n}"))).await.unwrap();
    }
    chain_all(&store).await;
    let (head, _) = store.chain_ends(Some(ACME)).await.unwrap();
    let last = head.0 - 2;
    db.behind(&format!(
        "DELETE FROM audit_events WHERE chain = '{ACME}' AND chain_seq > {last};
         UPDATE audit_chains SET seq = {last}, hash = (SELECT hash FROM audit_events WHERE chain = '{ACME}'
             AND chain_seq = {last}) WHERE chain = '{ACME}'"
    ))
    .await;
    assert!(matches!(broken(&store, ACME).await, Some((_, Flaw::Head))));
    // What is appended to it does not heal it, not even when there are as many rows again.
    for n in 10..16 {
        append(&store, &reported(&format!("r-{n}"))).await.unwrap();
        chain_all(&store).await;
        assert!(matches!(broken(&store, ACME).await, Some((_, Flaw::Head))), "after {n}");
    }
    assert!(!report(&store, Some(ACME)).await.sealed);
    // Nor does taking the seal away, or that of another chain.
    db.behind(&format!(
        "UPDATE audit_chains SET proof_enc = (SELECT proof_enc FROM audit_chains WHERE chain = '{GLOBEX}')
         WHERE chain = '{ACME}'"
    ))
    .await;
    assert!(matches!(broken(&store, ACME).await, Some((_, Flaw::Head))));
    db.behind(&format!("UPDATE audit_chains SET proof_enc = NULL WHERE chain = '{ACME}'")).await;
    append(&store, &reported("r-99")).await.unwrap();
    chain_all(&store).await;
    assert!(!report(&store, Some(ACME)).await.sealed, "a seal that was taken away is not put back");
}

pub(crate) async fn rows_of_an_older_release_still_hold(db: Database) {
    let store = world(&db).await;
    chain_all(&store).await;
    // As they were before there were digests: taken from a database of that release.
    let (id, chain) = (Uuid::from_u128(0x77), Uuid::from_u128(0x78));
    db.behind(&format!(
        "INSERT INTO audit_events (id, chain, project_id, tenant_id, action, crud, target, actor, origin, is_failure,
             fields, received, chain_seq, prev_hash, hash)
         VALUES ('{id}', '{chain}', NULL, NULL, 'tenant.created', 'c', '{}', '{}', '{}', {}, '{}', 1900000000000, 1,
             '{}', '{}');
         INSERT INTO audit_chains (chain, seq, hash) VALUES ('{chain}', 1, '{}')",
        r#"{"kind":"tenant","id":"t","name":"acme"}"#,
        r#"{"kind":"system","id":null,"name":"bootstrap"}"#,
        r#"{"source_ip":null,"user_agent":null,"request_id":null}"#,
        if db.postgres().await.is_some() { "FALSE" } else { "0" },
        r#"{"plan":"pro","generation":0}"#,
        "0".repeat(64),
        OLD_HASH,
        OLD_HASH,
    ))
    .await;
    let tenant = Some(TenantId::new(chain));
    let judge = async || {
        let rows = store.chained_rows(tenant, 0).await.unwrap();
        let mut verifier = Verifier::default();
        rows.iter().try_for_each(|row| verifier.take(row)).and_then(|()| verifier.finish())
    };
    assert_eq!(judge().await, Ok(()));
    // Heads are sealed when the schema is brought up to date; later a seal that is missing was taken away.
    assert_eq!(report(&store, tenant).await.broken, Some(Broken { seq: 1, flaw: Flaw::Head }));
    db.behind(&format!("UPDATE audit_events SET action = 'x' WHERE id = '{id}'")).await;
    assert!(judge().await.is_err());
}

/// SHA-256 over the row above, as that release made it.
const OLD_HASH: &str = "9a9f5da578e7b22e32e31bc38dfb9de4207026c62ab5e6c06c54d02076e28de1";

fn reported(external_id: &str) -> Reported {
    Reported {
        entry: AuditEntry {
            action: "order.approved".into(),
            crud: Crud::U,
            target: Target { kind: "order".into(), id: "o-1".into(), name: "the first".into() },
            project_id: Some(CLOUD),
            tenant_id: Some(ACME),
            is_failure: false,
            fields: json!({ "sum": "12" }),
        },
        actor: ReportedActor { kind: ActorKind::User, id: Some(ANN.to_string()), name: "Ann".into(), href: None },
        origin: Origin { source_ip: Some("192.0.2.9".parse().unwrap()), ..Origin::default() },
        report: Report { created: NOW, description: "Ann approved it".into(), ..Report::default() },
        reporter: "service:orders".into(),
        external_id: Some(external_id.into()),
    }
}

async fn append(store: &Store, reported: &Reported) -> Result<domain::audit::AuditEvent, StoreError> {
    let by = system::<AppendAudit>();
    let by = &by;
    store.write(by, NOW, |tx| async move { tx.append_audit(by, fresh(), reported).await }).await.map(|(event, _)| event)
}

pub(crate) async fn of_those_who_report_one_event_at_once_one_does(db: Database) {
    let store = world(&db).await;
    let event = reported("r-1");
    let all = futures::future::join_all((0..8).map(|_| append(&store, &event))).await;
    let ids: std::collections::BTreeSet<_> = all.into_iter().map(|it| it.unwrap().id).collect();
    assert_eq!(ids.len(), 1);
    assert_eq!(db.number("SELECT COUNT(*) FROM audit_events WHERE external_id = 'r-1'").await, 1);
    let mut other = event.clone();
    other.entry.fields = json!({ "sum": "13" });
    let refused = append(&store, &other).await;
    assert!(matches!(refused, Err(StoreError::Rule { code: "external_id_reused", .. })), "{refused:?}");
    // Another reporter's ids are its own.
    other.reporter = "service:billing".into();
    append(&store, &other).await.unwrap();
}

pub(crate) async fn the_trail_is_asked_by_who_what_when_and_whether_it_failed(db: Database) {
    let store = world(&db).await;
    let event = append(&store, &reported("r-1")).await.unwrap();
    let all = AuditQuery { tenant: Some(ACME), limit: 500, ..AuditQuery::default() };
    let ids = async |query: AuditQuery| {
        store.audit_events(&query).await.unwrap().into_iter().map(|event| event.id).collect::<Vec<_>>()
    };
    let whole = ids(all.clone()).await;
    assert!(whole.len() > 3 && whole.contains(&event.id));
    for (what, query) in [
        ("pattern", AuditQuery { pattern: Some("order.*".parse().unwrap()), ..all.clone() }),
        ("action", AuditQuery { pattern: Some("order.approved".parse().unwrap()), ..all.clone() }),
        ("actor", AuditQuery { actor: Some(ANN.to_string()), ..all.clone() }),
        ("target", AuditQuery { target: Some("o-1".into()), ..all.clone() }),
        ("kind", AuditQuery { target_kind: Some("order".into()), ..all.clone() }),
        ("reporter", AuditQuery { reporter: Some("service:orders".into()), ..all.clone() }),
        ("external", AuditQuery { external_id: Some("r-1".into()), ..all.clone() }),
    ] {
        assert_eq!(ids(query).await, [event.id], "{what}");
    }
    let everything = AuditQuery { pattern: Some("*".parse().unwrap()), ..all.clone() };
    assert_eq!(ids(everything).await, whole);
    assert_eq!(ids(AuditQuery { is_failure: Some(true), ..all.clone() }).await, []);
    assert_eq!(ids(AuditQuery { crud: Some(Crud::D), ..all.clone() }).await, []);
    assert_eq!(ids(AuditQuery { since: Some(NOW), until: Some(NOW), ..all.clone() }).await, []);
    let mut oldest = ids(AuditQuery { ascending: true, ..all.clone() }).await;
    oldest.reverse();
    assert_eq!(oldest, whole);
}

pub(crate) async fn what_is_cut_off_the_beginning_leaves_a_chain_that_can_be_checked(db: Database) {
    let store = world(&db).await;
    let later = NOW + std::time::Duration::from_secs(100);
    chain_all(&store).await;
    let by = system::<AppendAudit>();
    let (by, event) = (&by, &reported("late"));
    store.write(by, later, |tx| async move { tx.append_audit(by, fresh(), event).await }).await.unwrap();
    chain_all(&store).await;
    let before = report(&store, Some(ACME)).await;
    let (one, two) = tokio::join!(store.cut_audit(later, later), store.cut_audit(later, later));
    let removed = one.unwrap() + two.unwrap();
    assert!(removed > 0);
    let after = report(&store, Some(ACME)).await;
    let checkpoint = after.checkpoint.clone().unwrap();
    assert_eq!((after.broken, after.rows, &after.head), (None, 1, &before.head));
    assert_eq!((checkpoint.removed, checkpoint.seq), (before.rows - 1, before.rows - 1));
    // A whole chain may go.
    store.cut_audit(later, later + std::time::Duration::from_secs(1)).await.unwrap();
    let empty = report(&store, Some(ACME)).await;
    assert_eq!((empty.broken, empty.rows), (None, 0));
    // It goes on from there.
    append(&store, &reported("r-2")).await.unwrap();
    chain_all(&store).await;
    assert_eq!(broken(&store, ACME).await, None);
    // Who takes away more cannot say that it was kept long enough.
    append(&store, &reported("r-3")).await.unwrap();
    chain_all(&store).await;
    let (head, _) = store.chain_ends(Some(ACME)).await.unwrap();
    let first = head.0 - 1;
    db.behind(&format!(
        "UPDATE audit_checkpoints SET seq = {first}, hash = (SELECT hash FROM audit_events WHERE chain = '{ACME}'
             AND chain_seq = {first}) WHERE chain = '{ACME}';
         DELETE FROM audit_events WHERE chain = '{ACME}' AND chain_seq = {first}"
    ))
    .await;
    assert_eq!(broken(&store, ACME).await, Some((first, Flaw::Checkpoint)));
}

pub(crate) async fn a_users_personal_data_goes_and_the_chain_holds(db: Database) {
    let store = world(&db).await;
    append(&store, &reported("r-1")).await.unwrap();
    chain_all(&store).await;
    // Not yet in its chain.
    append(&store, &reported("r-2")).await.unwrap();
    let by = system::<AppendAudit>();
    let ask = || {
        let by = &by;
        store.write(by, NOW, move |tx| async move {
            let erasure = tx.request_audit_erasure(by, fresh(), ANN).await?;
            let entry = AuditEntry { action: "audit.erasure_requested".into(), ..reported("x").entry };
            tx.audit(entry, erasure).await
        })
    };
    let refused = ask().await;
    assert!(matches!(refused, Err(StoreError::Rule { code: "user_exists", .. })), "{refused:?}");
    let users = system::<ManageUsers>();
    let users = &users;
    store.write(users, NOW, |tx| async move { tx.deleted(tx.delete_user(users, ANN).await?).await }).await.unwrap();
    ask().await.unwrap();
    let rounds = async {
        let open = || async {
            store.list::<AuditErasureList>((), &Selection::default()).await.unwrap().rows[0].done_at.is_none()
        };
        while open().await {
            let (one, two) = tokio::join!(store.erase_audit(NOW), store.erase_audit(NOW));
            one.unwrap();
            two.unwrap();
            assert_eq!(broken(&store, ACME).await, None, "while it is being erased, too");
            chain_all(&store).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), rounds).await.unwrap();
    for tenant in [None, Some(ACME)] {
        let report = report(&store, tenant).await;
        assert!(report.broken.is_none() && report.sealed && report.erased > 0, "{report:?}");
    }
    let left = store.audit_events(&AuditQuery { limit: 500, ..AuditQuery::default() }).await.unwrap();
    let acted = left.iter().filter(|event| event.actor.id == Some(ANN.to_string())).count();
    assert_eq!(acted, 0);
    let erased: Vec<_> = left.iter().filter(|event| event.erased_at.is_some()).collect();
    let text = serde_json::to_string(&erased).unwrap();
    for gone in ["Ann", "192.0.2.9", &ANN.to_string(), "the first"] {
        assert!(!text.contains(gone), "{gone} in {text}");
    }
    // Whoever takes a part away themselves is found: no event names the row.
    db.behind(&format!(
        "UPDATE audit_events SET actor = '{}', origin = '{}', actor_salt = NULL, erased_at = 1
         WHERE chain = '{GLOBEX}' AND chain_seq = 1",
        r#"{"kind":"user","id":null,"name":""}"#, r#"{"source_ip":null,"user_agent":null,"request_id":null}"#,
    ))
    .await;
    assert_eq!(broken(&store, GLOBEX).await, Some((1, Flaw::Erased)));
    // And an event of theirs that names it does not help: it has no seal.
    db.behind(&format!(
        "INSERT INTO audit_events (id, chain, tenant_id, project_id, action, crud, target, actor, origin, is_failure, fields,
             received)
         SELECT '{}', chain, tenant_id, project_id, 'audit.erased', 'd', target, actor, origin, is_failure,
             '{}', received FROM audit_events WHERE chain = '{GLOBEX}' AND chain_seq = 1",
        Uuid::from_u128(0x99),
        r#"{"rows":[1]}"#,
    ))
    .await;
    chain_all(&store).await;
    assert_eq!(broken(&store, GLOBEX).await, Some((1, Flaw::Erased)));
    db.behind(&format!("UPDATE audit_events SET form = 1, action = 'x' WHERE chain = '{GLOBEX}' AND chain_seq = 1"))
        .await;
    assert_eq!(broken(&store, GLOBEX).await, Some((1, Flaw::Erased)), "an older form is no way around it");
    // Nor is it cut, and so sealed, by us.
    let late = NOW + std::time::Duration::from_secs(9);
    store.cut_audit(late, late).await.unwrap();
    assert_eq!(broken(&store, GLOBEX).await, Some((1, Flaw::Erased)));
}

pub(crate) async fn an_export_is_checked_without_the_database(db: Database) {
    let store = world(&db).await;
    for n in 0..3 {
        append(&store, &reported(&format!("r-{n}"))).await.unwrap();
    }
    chain_all(&store).await;
    let rows = store.chained_rows(Some(ACME), 0).await.unwrap();
    let lines: Vec<String> = rows.iter().map(|row| serde_json::to_string(row).unwrap()).collect();
    let judge = |lines: &[String]| {
        let mut verifier = Verifier::default();
        for line in lines {
            verifier.take(&serde_json::from_str(line).unwrap())?;
        }
        verifier.finish().map(|()| verifier.head().0)
    };
    assert_eq!(judge(&lines), Ok(u64::try_from(rows.len()).unwrap()));
    for at in 0..lines.len() {
        let mut forged = lines.clone();
        forged[at] = forged[at].replace("\"is_failure\":false", "\"is_failure\":true");
        assert!(judge(&forged).is_err());
        let mut without = lines.clone();
        without.remove(at);
        assert!(at + 1 == lines.len() || judge(&without).is_err());
    }
}

pub(crate) async fn the_trail_is_read_newest_first_by_cursor(db: Database) {
    let store = world(&db).await;
    let entry = AuditEntry {
        action: "login.failed".into(),
        crud: domain::audit::Crud::C,
        target: domain::audit::Target { kind: "user".into(), id: "?".into(), name: "nobody".into() },
        project_id: Some(CLOUD),
        tenant_id: None,
        is_failure: true,
        fields: json!({ "b": 1, "a": [1.5, null] }),
    };
    let nobody = Actor { kind: ActorKind::Anonymous, id: None, name: "nobody".into() };
    for n in 0..5 {
        let at = NOW + std::time::Duration::from_secs(n);
        let (entry, nobody) = (entry.clone(), nobody.clone());
        store
            .write_session(Scope::Tenant(CLOUD, ACME), at, |tx| {
                let (entry, nobody) = (entry.clone(), nobody.clone());
                async move { tx.record(&nobody, &Origin::default(), &entry).await }
            })
            .await
            .unwrap();
    }
    let mut query = AuditQuery { action: Some("login.failed".into()), limit: 2, ..AuditQuery::default() };
    let mut seen = Vec::new();
    loop {
        let page = store.audit_events(&query).await.unwrap();
        let Some(last) = page.last() else { break };
        query.before = Some((last.received, last.id));
        seen.extend(page.iter().map(|event| event.received.since(NOW).as_secs()));
    }
    assert_eq!(seen, [4, 3, 2, 1, 0]);
    chain_all(&store).await;
    assert_eq!(report(&store, None).await.broken, None, "whatever order JSON members are kept in");
}
