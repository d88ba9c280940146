//! What is kept of people, handed to them.

use std::{collections::BTreeSet, time::Duration};

use authz::Scope;
use domain::model::{AuthMethod, NewSession};
use serde_json::Value;
use store::{PersonalPlace, Store, StoreError, read::*};

use crate::{
    harness::{Database, NOW},
    world::*,
};

async fn handed_out(store: &Store, user: domain::UserId) -> Vec<Value> {
    let (mut all, mut place) = (Vec::new(), Some(PersonalPlace::default()));
    while let Some(at) = place {
        let (lines, next) = store.personal_data((user, ACME), at).await.unwrap();
        assert!(lines.len() <= 200, "a page is a page");
        all.extend(lines);
        place = next;
    }
    all
}

/// However much there is, it comes a page at a time, each thing once, and of nobody else.
pub(crate) async fn what_is_kept_of_somebody_comes_page_by_page_and_once(db: Database) {
    let store = world(&db).await;
    let opened = store.write_session(Scope::Tenant(CLOUD, ACME), NOW, |tx| async move {
        for n in 0..401 {
            let user = if n % 40 == 0 { GUS } else { ANN };
            let (user_generation, tenant_generation) = tx.generations(CLOUD, ACME, user).await?;
            let new = NewSession {
                sid: fresh(),
                project_id: CLOUD,
                tenant_id: ACME,
                user_id: user,
                system: false,
                method: AuthMethod::Qr,
                approved_by: Some(AuthMethod::Passkey),
                provider_id: None,
                lent: true,
                amr: domain::AmrSet::default(),
                auth_time: NOW,
                ip: None,
                user_agent: None,
                user_generation,
                tenant_generation,
                created_at: NOW,
                expires_at: NOW + Duration::from_secs(60),
                token_exp: NOW,
            };
            let session = tx.open_session(new).await?;
            assert_eq!(tx.session(session.sid).await?.as_ref(), Some(&session), "it is read as it was written");
        }
        Ok::<_, StoreError>(())
    });
    opened.await.unwrap();
    for reader in [store.clone(), store.within(Scope::Project(CLOUD))] {
        let all = handed_out(&reader, ANN).await;
        let sessions: Vec<&Value> = all.iter().filter(|line| line["part"] == "session").collect();
        let ids: BTreeSet<&str> = sessions.iter().map(|line| line["sid"].as_str().unwrap()).collect();
        assert_eq!((sessions.len(), ids.len()), (390, 390));
        assert!(sessions.iter().all(|line| line["approved_by"] == "passkey" && line["ip"].is_null()), "{all:?}");
        assert_eq!(all.iter().filter(|line| line["part"] == "account").count(), 1);
    }
}

/// Who adds a table of people says what of it is handed out, or that nothing is.
pub(crate) async fn no_table_of_people_is_forgotten(db: Database) {
    let known: Vec<String> = store::tables_of_people().map(|table| format!("'{table}'")).collect();
    let known = known.join(", ");
    let sql = if db.postgres().await.is_some() {
        format!(
            "SELECT COUNT(DISTINCT table_name) FROM information_schema.columns
             WHERE table_schema = current_schema() AND column_name = 'user_id' AND table_name NOT IN ({known})"
        )
    } else {
        format!(
            "SELECT COUNT(DISTINCT t.name) FROM sqlite_master AS t JOIN pragma_table_info(t.name) AS c
             WHERE t.type = 'table' AND c.name = 'user_id' AND t.name NOT IN ({known})"
        )
    };
    assert_eq!(db.number(&sql).await, 0, "tables with `user_id` that are neither handed out nor said not to be");
}
