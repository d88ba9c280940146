//! Invitations: one for each address, one winner, and nothing of the token but its hash.

use std::time::Duration;

use domain::model::{InvitationStatus, NewInvitation, builtin};
use store::{
    StoreError,
    list::{InvitationList, Selection},
    read::*,
};

use crate::{
    harness::{Database, NOW},
    world::*,
};

fn new(email: &str, token: u8) -> NewInvitation {
    NewInvitation {
        id: fresh(),
        project_id: CLOUD,
        tenant_id: ACME,
        email: email.into(),
        roles: vec![builtin::MEMBER],
        invited_by: ANN,
        by_staff: false,
        token_hash: [token; 32],
        expires_at: NOW + Duration::from_secs(60),
    }
}

pub(crate) async fn one_invitation_waits_for_each_address_of_a_tenant(db: Database) {
    let store = world(&db).await;
    let first = new("Bob@Example.com", 1);
    change!(store, |tx, first| tx.insert_invitation(&system(), first.clone())).unwrap();
    let again = new(" bob@example.COM ", 2);
    let taken = change!(store, |tx, again| tx.insert_invitation(&system(), again.clone()));
    assert!(taken.unwrap_err().is_conflict("invitations", "email_fold"));
    let elsewhere = NewInvitation { tenant_id: GLOBEX, ..new("bob@example.com", 3) };
    change!(store, |tx, elsewhere| tx.insert_invitation(&system(), elsewhere.clone())).unwrap();
    change!(store, |tx| tx.revoke_invitation(&system(), ACME, first.id)).unwrap();
    change!(store, |tx, again| tx.insert_invitation(&system(), again.clone())).unwrap();
    let kept = store.invitation_by_token([2; 32]).await.unwrap().unwrap();
    assert_eq!((kept.id, kept.roles.as_slice()), (again.id, &[builtin::MEMBER][..]));
    assert_eq!(kept.status(NOW), InvitationStatus::Pending);
    assert_eq!(kept.status(kept.expires_at), InvitationStatus::Expired);
    assert_eq!(store.list::<InvitationList>(ACME, &Selection::default()).await.unwrap().rows.len(), 2);
    assert!(store.invitation(GLOBEX, again.id).await.unwrap().is_none());
    if db.postgres().await.is_some() {
        let globex = store.within(authz::Scope::Tenant(CLOUD, GLOBEX));
        assert!(globex.list::<InvitationList>(ACME, &Selection::default()).await.unwrap().rows.is_empty());
    }
}

pub(crate) async fn an_invitation_that_nobody_accepted_in_time_makes_room(db: Database) {
    let store = world(&db).await;
    let late = NewInvitation { expires_at: NOW, ..new("bob@example.com", 1) };
    change!(store, |tx, late| tx.insert_invitation(&system(), late.clone())).unwrap();
    let refused = change!(store, |tx| tx.accept_invitation(&system(), (ACME, late.id), ANN));
    assert!(matches!(refused, Err(StoreError::NotFound { .. })), "{refused:?}");
    let next = new("bob@example.com", 2);
    change!(store, |tx, next| tx.insert_invitation(&system(), next.clone())).unwrap();
    assert_eq!(store.invitation(ACME, late.id).await.unwrap().unwrap().noted, InvitationStatus::Expired);
}

pub(crate) async fn of_many_that_accept_an_invitation_at_once_one_joins(db: Database) {
    let store = world(&db).await;
    let waiting = new("bob@example.com", 1);
    change!(store, |tx, waiting| tx.insert_invitation(&system(), waiting.clone())).unwrap();
    let id = waiting.id;
    let tries = (0..8).map(|n| {
        let (store, revoked) = (store.clone(), n == 7);
        tokio::spawn(async move {
            if revoked {
                return change!(store, |tx| tx.revoke_invitation(&system(), ACME, id));
            }
            change!(store, |tx| tx.accept_invitation(&system(), (ACME, id), fresh()))
        })
    });
    let mut settled = Vec::new();
    for outcome in futures::future::join_all(tries).await {
        match outcome.unwrap() {
            Ok((invitation, _)) => settled.push(invitation),
            Err(error) => assert!(matches!(error, StoreError::NotFound { .. }), "{error:?}"),
        }
    }
    assert_eq!(settled.len(), 1, "{settled:?}");
    let kept = store.invitation(ACME, id).await.unwrap().unwrap();
    assert_eq!((kept.noted, kept.accepted_by), (settled[0].noted, settled[0].accepted_by));
}

pub(crate) async fn preferences_are_a_members_own_and_go_with_them(db: Database) {
    use authz::{Caller, Context, PermissionSet};
    use domain::{
        audit::{Actor, ActorKind, Origin},
        model::{Preferences, Version},
    };
    let store = world(&db).await;
    let by = |user: domain::UserId| {
        let caller = Caller {
            actor: Actor { kind: ActorKind::User, id: Some(user.uuid()), name: "somebody".into() },
            origin: Origin::default(),
            context: Context::Tenant(CLOUD, ACME),
            permissions: PermissionSet::default(),
            is_admin: false,
            is_super_admin: false,
        };
        caller.oneself()
    };
    let wanted = |version| Preferences {
        user_id: ANN,
        tenant_id: ACME,
        project_id: CLOUD,
        values: [("theme".to_owned(), serde_json::json!("dark"))].into_iter().collect(),
        updated_at: None,
        version: Version(version),
    };
    let put = async |by: authz::Authorized<authz::action::ManageOwnAccount>, version| {
        let by = &by;
        let put = store.write(by, NOW, |tx| async move {
            let change = tx.put_preferences(by, wanted(version)).await?;
            tx.updated(change).await
        });
        put.await.map(|(kept, _)| kept.version)
    };
    assert!(store.preferences(ACME, ANN).await.unwrap().is_none());
    assert_eq!(put(by(ANN), 0).await.unwrap(), Version(1));
    assert_eq!(put(by(ANN), 1).await.unwrap(), Version(2));
    assert!(matches!(put(by(ANN), 1).await, Err(StoreError::VersionMismatch { .. })));
    assert!(matches!(put(by(GUS), 2).await, Err(StoreError::OutOfScope)));
    assert_eq!(store.preferences(ACME, ANN).await.unwrap().unwrap().values["theme"], "dark");
    change!(store, |tx| tx.delete_membership(&system(), ACME, ANN)).unwrap();
    assert!(store.preferences(ACME, ANN).await.unwrap().is_none());
}
