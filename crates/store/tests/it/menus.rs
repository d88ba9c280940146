//! Menus and favorites.

use authz::{Caller, Context, PermissionSet, Scope, action::ManageMenus};
use domain::{
    MenuId,
    audit::{Actor, ActorKind, Origin},
    model::{Menu, MenuOwner, NewMenu, menu::MAX_DEPTH},
};
use store::{Store, StoreError, read::*};

use crate::{
    harness::{Database, NOW},
    world::*,
};

const ACMES: MenuOwner = MenuOwner::Tenant(CLOUD, ACME);
const GLOBEXS: MenuOwner = MenuOwner::Tenant(CLOUD, GLOBEX);

fn entry(owner: MenuOwner, key: &str, parent_id: Option<MenuId>) -> NewMenu {
    NewMenu {
        id: fresh(),
        owner,
        key: key.parse().unwrap(),
        parent_id,
        title: key.into(),
        path: Some(format!("/{key}").parse().unwrap()),
        permission: Some("shop:order:list".parse().unwrap()),
        order: 3,
    }
}

async fn made(store: &Store, new: NewMenu) -> Result<Menu, StoreError> {
    change!(store, |tx, new| tx.insert_menu(&system(), new.clone())).map(|(menu, _)| menu)
}

async fn moved(store: &Store, menu: &Menu, parent_id: Option<MenuId>) -> Result<Menu, StoreError> {
    let changed = Menu { parent_id, ..menu.clone() };
    change!(store, |tx, changed| tx.update_menu(&system(), changed.clone())).map(|(menu, _)| menu)
}

fn broken(outcome: &Result<Menu, StoreError>, rule: &str) -> bool {
    matches!(outcome, Err(StoreError::Rule { code, .. }) if *code == rule)
}

pub(crate) async fn an_entry_reads_back_as_it_was_written(db: Database) {
    let store = world(&db).await;
    let shop = made(&store, entry(ACMES, "shop", None)).await.unwrap();
    let staff = made(&store, entry(MenuOwner::System, "shop", None)).await.unwrap();
    assert_eq!(store.menu(shop.id).await.unwrap().unwrap(), shop);
    assert_eq!(store.menus(MenuOwner::System).await.unwrap(), [staff]);
    let changed = Menu { title: "Shop".into(), path: None, permission: None, order: 0, ..shop.clone() };
    let changed = &changed;
    change!(store, |tx, changed| tx.update_menu(&system(), (*changed).clone())).unwrap();
    let after = store.menu(shop.id).await.unwrap().unwrap();
    assert_eq!((after.title.as_str(), after.path, after.permission, after.order), ("Shop", None, None, 0));
    let stale = moved(&store, &shop, None).await;
    assert!(matches!(stale, Err(StoreError::VersionMismatch { .. })), "{stale:?}");
    let twice = made(&store, entry(ACMES, "shop", None)).await;
    assert!(
        matches!(&twice, Err(StoreError::Conflict { columns, .. }) if columns.contains(&"key".to_owned())),
        "{twice:?}"
    );
}

pub(crate) async fn a_tree_takes_no_cycle_no_stranger_and_no_ninth_level(db: Database) {
    let store = world(&db).await;
    let top = made(&store, entry(ACMES, "l1", None)).await.unwrap();
    let mut lowest = top.clone();
    for level in 2..=MAX_DEPTH {
        lowest = made(&store, entry(ACMES, &format!("l{level}"), Some(lowest.id))).await.unwrap();
    }
    assert!(broken(&made(&store, entry(ACMES, "l9", Some(lowest.id))).await, "menu_depth"));
    assert!(broken(&moved(&store, &top, Some(lowest.id)).await, "menu_cycle"));
    let theirs = made(&store, entry(GLOBEXS, "theirs", None)).await.unwrap();
    assert!(broken(&made(&store, entry(ACMES, "under-theirs", Some(theirs.id))).await, "menu_parent"));
    let staff = made(&store, entry(MenuOwner::System, "staff", None)).await.unwrap();
    assert!(broken(&moved(&store, &theirs, Some(staff.id)).await, "menu_parent"));
    let id = top.id;
    let held = change!(store, |tx| tx.delete_menu(&system(), id)).map(drop);
    assert!(matches!(held, Err(StoreError::Reference)), "{held:?}");
}

/// Two moves that are each fine alone, at once.
pub(crate) async fn moves_made_at_once_close_no_cycle(db: Database) {
    let store = world(&db).await;
    for round in 0..8 {
        let one = made(&store, entry(ACMES, &format!("one{round}"), None)).await.unwrap();
        let two = made(&store, entry(ACMES, &format!("two{round}"), None)).await.unwrap();
        let (a, b) = tokio::join!(moved(&store, &one, Some(two.id)), moved(&store, &two, Some(one.id)));
        let outcomes = [a, b];
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1, "{outcomes:?}");
        assert!(outcomes.iter().any(|outcome| broken(outcome, "menu_cycle")), "{outcomes:?}");
    }
}

pub(crate) async fn a_menu_is_invisible_to_other_tenants(db: Database) {
    let store = world(&db).await;
    let ours = made(&store, entry(ACMES, "ours", None)).await.unwrap();
    let staff = made(&store, entry(MenuOwner::System, "staff", None)).await.unwrap();
    assert!(store.menus(GLOBEXS).await.unwrap().is_empty());
    let admin = Caller {
        actor: Actor { kind: ActorKind::User, id: None, name: "gus".into() },
        origin: Origin::default(),
        context: Context::Tenant(CLOUD, GLOBEX),
        permissions: PermissionSet::default(),
        is_admin: true,
        is_super_admin: false,
    };
    let scope = Scope::Tenant(CLOUD, GLOBEX);
    let by = admin.authorize::<ManageMenus>(&"tenant:menu:update".parse().unwrap(), scope).unwrap();
    for foreign in [&ours, &staff] {
        let by = &by;
        let outcomes = [
            store
                .write(by, NOW, |tx| async move {
                    tx.deleted(tx.delete_menu(by, foreign.id).await?).await.map(|it| it.map(drop))
                })
                .await,
            store
                .write(by, NOW, |tx| async move {
                    tx.updated(tx.update_menu(by, foreign.clone()).await?).await.map(|it| it.map(drop))
                })
                .await,
            store
                .write(by, NOW, |tx| async move {
                    let new = entry(foreign.owner, "planted", None);
                    tx.created(tx.insert_menu(by, new).await?).await.map(|it| it.map(drop))
                })
                .await,
        ];
        for outcome in outcomes {
            assert!(matches!(outcome, Err(StoreError::OutOfScope | StoreError::NotFound { .. })), "{outcome:?}");
        }
    }
    if db.postgres().await.is_some() {
        let globex = store.within(scope);
        assert!(globex.menu(ours.id).await.unwrap().is_none());
        assert!(globex.menu(staff.id).await.unwrap().is_none(), "the staff's tree is the staff's");
        assert!(globex.menus(ACMES).await.unwrap().is_empty());
    }
}

pub(crate) async fn favorites_are_a_members_own_and_go_with_what_they_name(db: Database) {
    let store = world(&db).await;
    let scope = Scope::Tenant(CLOUD, ACME);
    let one = made(&store, entry(ACMES, "one", None)).await.unwrap();
    let two = made(&store, entry(ACMES, "two", None)).await.unwrap();
    let theirs = made(&store, entry(GLOBEXS, "one", None)).await.unwrap();
    let add = async |user, menu| {
        let added = store.write_session(scope, NOW, async |tx| tx.insert_favorite(CLOUD, ACME, user, menu).await);
        added.await
    };
    assert!(add(ANN, two.id).await.unwrap());
    assert!(add(ANN, one.id).await.unwrap());
    assert!(!add(ANN, one.id).await.unwrap(), "it is one already");
    for (user, menu) in [(ANN, theirs.id), (GUS, one.id)] {
        let foreign = add(user, menu).await;
        assert!(matches!(foreign, Err(StoreError::Reference)), "{foreign:?}");
    }
    let keys = async |store: &Store, user| -> Vec<String> {
        store.favorites(ACME, user).await.unwrap().iter().map(ToString::to_string).collect()
    };
    assert_eq!(keys(&store, ANN).await, ["one", "two"]);
    assert!(keys(&store, GUS).await.is_empty());
    if db.postgres().await.is_some() {
        assert!(keys(&store.within(Scope::Tenant(CLOUD, GLOBEX)), ANN).await.is_empty());
    }
    let removed = store.write_session(scope, NOW, async |tx| tx.delete_favorite(ACME, ANN, two.id).await);
    assert!(removed.await.unwrap());
    change!(store, |tx| tx.delete_menu(&system(), one.id)).unwrap();
    assert!(keys(&store, ANN).await.is_empty());
    assert!(add(ANN, two.id).await.unwrap());
    change!(store, |tx| tx.delete_membership(&system(), ACME, ANN)).unwrap();
    assert_eq!(db.number("SELECT COUNT(*) FROM menu_favorites").await, 0);
}
