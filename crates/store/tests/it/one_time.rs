//! What is shown once: links and codes, their pace and their end; passwords of before; login policies.

use std::time::Duration;

use authz::Scope;
use domain::{
    Secret, Timestamp,
    model::{
        CodeKind, CodeShown, GuessPolicy, LoginPolicy, MailPace, MailTurn, OneTimeToken, PasswordPolicy, TokenKind,
        UserStatus, Version,
    },
};
use futures::future::join_all;
use store::{Replaced, Store, StoreError, read::*};

use crate::{
    harness::{Database, NOW},
    isolation::scope_settings,
    world::*,
};

const POLICY: GuessPolicy = GuessPolicy { after: 5, lock_for: Duration::from_secs(900) };
const ANYWHERE: Scope = Scope::Project(CLOUD);

fn token(n: u8, kind: TokenKind) -> OneTimeToken {
    OneTimeToken {
        hash: [n; 32],
        project_id: CLOUD,
        kind,
        user_id: Some(ANN),
        email: "Ann@Example.com".into(),
        payload: serde_json::json!({ "n": n }),
        expires_at: NOW + Duration::from_secs(60),
    }
}

async fn show(store: &Store, now: Timestamp, code: &str) -> CodeShown {
    let code = &Secret::new(code.to_owned());
    let shown = store.write_session(ANYWHERE, now, |tx| async move {
        tx.show_one_time_code((CLOUD, CodeKind::Email), " ANN@example.com", code, POLICY).await
    });
    shown.await.unwrap()
}

async fn put(store: &Store, now: Timestamp, code: &str) {
    let code = &Secret::new(code.to_owned());
    let put = store.write_session(ANYWHERE, now, |tx| async move {
        let end = now + Duration::from_secs(300);
        tx.put_one_time_code((CLOUD, CodeKind::Email), "ann@Example.com", code, end).await
    });
    put.await.unwrap();
}

async fn keep(store: &Store, token: &OneTimeToken) {
    let kept = store.write_session(ANYWHERE, NOW, |tx| async move { tx.insert_one_time_token(token).await });
    kept.await.unwrap();
}

async fn take(store: &Store, now: Timestamp, kind: TokenKind, n: u8) -> Option<OneTimeToken> {
    let taken = store.write_session(ANYWHERE, now, |tx| async move { tx.use_one_time_token(kind, [n; 32]).await });
    taken.await.unwrap()
}

pub(crate) async fn of_fifty_that_show_a_link_at_once_one_has_it(db: Database) {
    let store = world(&db).await;
    keep(&store, &token(1, TokenKind::Magic)).await;
    let tries = (0..50).map(|_| {
        let store = store.clone();
        tokio::spawn(async move { take(&store, NOW, TokenKind::Magic, 1).await })
    });
    let won: Vec<OneTimeToken> = join_all(tries).await.into_iter().filter_map(Result::unwrap).collect();
    assert_eq!(won, [token(1, TokenKind::Magic)]);
    assert!(store.one_time_token(TokenKind::Magic, [1; 32]).await.unwrap().is_none());
}

pub(crate) async fn a_link_is_good_for_one_thing_and_for_a_while(db: Database) {
    let store = world(&db).await;
    keep(&store, &token(1, TokenKind::Reset)).await;
    assert!(take(&store, NOW, TokenKind::Magic, 1).await.is_none(), "of another kind");
    assert!(take(&store, NOW, TokenKind::Reset, 2).await.is_none(), "unknown");
    assert!(take(&store, NOW + Duration::from_secs(60), TokenKind::Reset, 1).await.is_none(), "too late");
    assert!(take(&store, NOW + Duration::from_secs(59), TokenKind::Reset, 1).await.is_some());
    keep(&store, &token(3, TokenKind::Reset)).await;
    keep(&store, &token(4, TokenKind::Verify)).await;
    let dropped =
        store.write_session(ANYWHERE, NOW, |tx| async move { tx.drop_one_time_tokens(ANN, TokenKind::Reset).await });
    dropped.await.unwrap();
    assert!(take(&store, NOW, TokenKind::Reset, 3).await.is_none());
    assert!(take(&store, NOW, TokenKind::Verify, 4).await.is_some());
}

pub(crate) async fn of_fifty_that_show_a_code_at_once_one_has_it(db: Database) {
    let store = world(&db).await;
    put(&store, NOW, "123456").await;
    let tries = (0..50).map(|_| {
        let store = store.clone();
        tokio::spawn(async move { show(&store, NOW, "123456").await })
    });
    let shown: Vec<CodeShown> = join_all(tries).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(shown.iter().filter(|it| **it == CodeShown::Right).count(), 1, "{shown:?}");
}

pub(crate) async fn wrong_codes_lock_an_address_and_guesses_made_at_once_are_counted(db: Database) {
    let store = world(&db).await;
    assert_eq!(show(&store, NOW, "123456").await, CodeShown::Wrong, "none was sent");
    put(&store, NOW, "123456").await;
    let tries = (0..20).map(|n| {
        let store = store.clone();
        tokio::spawn(async move { show(&store, NOW, &format!("00000{n}")).await })
    });
    let shown: Vec<CodeShown> = join_all(tries).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(shown.iter().filter(|it| **it == CodeShown::Wrong).count(), 5, "{shown:?}");
    let until = NOW + Duration::from_secs(900);
    assert_eq!(show(&store, NOW, "123456").await, CodeShown::Locked(until), "the right one, too");
    // Another code does not help before the time is over.
    put(&store, NOW, "654321").await;
    assert_eq!(show(&store, NOW, "654321").await, CodeShown::Locked(until));
    put(&store, until, "654321").await;
    assert_eq!(show(&store, until, "000000").await, CodeShown::Wrong);
    assert_eq!(show(&store, until, "654321").await, CodeShown::Right);
    put(&store, until, "111111").await;
    assert_eq!(show(&store, until + Duration::from_secs(300), "111111").await, CodeShown::Wrong, "too old");
}

pub(crate) async fn a_code_is_not_kept_as_it_is_and_the_next_takes_its_place(db: Database) {
    let store = world(&db).await;
    put(&store, NOW, "123456").await;
    put(&store, NOW, "654321").await;
    assert_eq!(db.number("SELECT COUNT(*) FROM one_time_codes").await, 1);
    let plain = "SELECT COUNT(*) FROM one_time_codes WHERE CAST(hash AS TEXT) LIKE '%654321%'";
    assert_eq!(db.number(plain).await, 0);
    assert_eq!(show(&store, NOW, "123456").await, CodeShown::Wrong);
    assert_eq!(show(&store, NOW, "654321").await, CodeShown::Right);
    assert_eq!(show(&store, NOW, "654321").await, CodeShown::Wrong, "once");
}

pub(crate) async fn an_address_is_written_to_at_a_pace(db: Database) {
    let store = world(&db).await;
    let pace = MailPace { cooldown: Duration::from_secs(60), a_day: 3 };
    let ask = async |kind: &'static str, now: Timestamp| {
        let asked = store.write_session(ANYWHERE, now, |tx| async move {
            tx.take_mail_turn((CLOUD, kind), "ann@example.com", pace).await
        });
        asked.await.unwrap()
    };
    assert_eq!(ask("a", NOW).await, MailTurn::Now);
    assert_eq!(ask("a", NOW).await, MailTurn::Wait(NOW + Duration::from_secs(60)));
    assert_eq!(ask("b", NOW).await, MailTurn::Now, "another kind of letter");
    assert_eq!(ask("a", NOW + Duration::from_secs(60)).await, MailTurn::Now);
    assert_eq!(ask("a", NOW + Duration::from_secs(120)).await, MailTurn::Now);
    let day = Duration::from_secs(86_400);
    assert_eq!(ask("a", NOW + Duration::from_secs(180)).await, MailTurn::Wait(NOW + day));
    assert_eq!(ask("a", NOW + day).await, MailTurn::Now);
    let tries = (0..20).map(|_| {
        let store = store.clone();
        tokio::spawn(async move {
            let asked = store.write_session(ANYWHERE, NOW, |tx| async move {
                tx.take_mail_turn((CLOUD, "c"), "ann@example.com", pace).await
            });
            asked.await.unwrap()
        })
    });
    let turns: Vec<MailTurn> = join_all(tries).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(turns.iter().filter(|it| **it == MailTurn::Now).count(), 1, "{turns:?}");
}

pub(crate) async fn letters_to_strangers_are_bounded_over_all_projects(db: Database) {
    let store = world(&db).await;
    let ask = async |project, address: &'static str, now: Timestamp| {
        let asked = store.write_session(Scope::Project(project), now, |tx| async move {
            tx.count_strangers_letter(address, 3).await
        });
        asked.await.map_err(|error: StoreError| error).unwrap()
    };
    for project in [CLOUD, ROOT, CLOUD] {
        assert!(ask(project, "ann@example.com", NOW).await);
    }
    assert!(ask(ROOT, "bob@example.com", NOW).await, "another address");
    for project in [CLOUD, ROOT] {
        assert!(!ask(project, " Ann@Example.com", NOW + Duration::from_secs(60)).await);
    }
    assert!(ask(CLOUD, "ann@example.com", NOW + Duration::from_secs(86_400)).await);
    assert_eq!(db.number("SELECT COUNT(*) FROM mail_addresses").await, 2);
    let plain = "SELECT COUNT(*) FROM mail_addresses WHERE CAST(address_digest AS TEXT) LIKE '%ann%'";
    assert_eq!(db.number(plain).await, 0, "the address is not kept");
    let tries = (0..20).map(|n| {
        let store = store.clone();
        tokio::spawn(async move {
            let project = if n % 2 == 0 { CLOUD } else { ROOT };
            let asked = store.write_session(Scope::Project(project), NOW, |tx| async move {
                tx.count_strangers_letter("eve@example.com", 5).await
            });
            asked.await.map_err(|error: StoreError| error).unwrap()
        })
    });
    let sent: Vec<bool> = join_all(tries).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(sent.iter().filter(|it| **it).count(), 5, "{sent:?}");
}

pub(crate) async fn what_has_expired_is_swept_in_parts(db: Database) {
    let store = world(&db).await;
    for n in 0..5 {
        keep(&store, &token(n, TokenKind::Magic)).await;
    }
    put(&store, NOW, "123456").await;
    let sweep = async |before: Timestamp, limit: u32| {
        let swept =
            store.write_session(Scope::Platform, NOW, |tx| async move { tx.sweep_one_time(before, limit).await });
        swept.await.map_err(|error: StoreError| error).unwrap()
    };
    assert_eq!(sweep(NOW + Duration::from_secs(60), 2).await, 0, "nothing is over yet");
    let later = NOW + Duration::from_secs(301);
    assert_eq!(
        [sweep(later, 2).await, sweep(later, 2).await, sweep(later, 2).await, sweep(later, 2).await],
        [3, 2, 1, 0]
    );
}

pub(crate) async fn what_is_shown_once_is_invisible_to_other_projects(db: Database) {
    let store = world(&db).await;
    keep(&store, &token(1, TokenKind::Magic)).await;
    put(&store, NOW, "123456").await;
    let Some(client) = db.postgres().await else { return };
    for (scope, expected) in [
        (scope_settings("project", Some(CLOUD), None), 1),
        (scope_settings("tenant", Some(CLOUD), Some(GLOBEX)), 1),
        (scope_settings("project", Some(ROOT), None), 0),
        (String::new(), 0),
    ] {
        client.batch_execute(&format!("BEGIN; SET LOCAL ROLE portcullis_runtime; {scope}")).await.unwrap();
        for table in ["one_time_tokens", "one_time_codes"] {
            let row = client.query_one(&format!("SELECT COUNT(*) FROM {table}"), &[]).await.unwrap();
            assert_eq!(row.get::<_, i64>(0), expected, "{table} under `{scope}`");
        }
        client.batch_execute("ROLLBACK").await.unwrap();
    }
}

pub(crate) async fn passwords_of_before_are_remembered_and_one_of_many_is_replaced(db: Database) {
    let store = world(&db).await;
    let replace = async |replaced: Replaced<'_>, new: &str| {
        let new = &Secret::new(new.to_owned());
        let done =
            store.write_session(ANYWHERE, NOW, |tx| async move { tx.replace_password(ANN, replaced, new).await });
        done.await.map_err(|error: StoreError| error).unwrap()
    };
    assert!(replace(Replaced::Any, "first").await.is_some());
    let first = Secret::new("first".to_owned());
    let tries = (0..8).map(|n| {
        let (store, first) = (store.clone(), first.clone());
        tokio::spawn(async move {
            let (first, new) = (&first, &Secret::new(format!("second-{n}")));
            let done = store.write_session(ANYWHERE, NOW, |tx| async move {
                tx.replace_password(ANN, Replaced::Known(first), new).await
            });
            done.await.map_err(|error: StoreError| error).unwrap()
        })
    });
    let won = join_all(tries).await.into_iter().filter_map(Result::unwrap).count();
    assert_eq!(won, 1);
    let known = store.password_history(ANN, 10).await.unwrap();
    assert_eq!(known.iter().map(|it| it.expose().as_str()).collect::<Vec<_>>(), ["first"]);
    for n in 0..15 {
        replace(Replaced::Any, &format!("next-{n}")).await.unwrap();
    }
    assert_eq!(store.password_history(ANN, 100).await.unwrap().len(), 10, "and no more than that");
}

pub(crate) async fn the_first_proof_of_an_address_voids_what_was_set_before(db: Database) {
    let store = world(&db).await;
    let hash = &Secret::new("planted".to_owned());
    let set =
        store.write_session(ANYWHERE, NOW, |tx| async move { tx.replace_password(ANN, Replaced::Any, hash).await });
    set.await.map_err(|error: StoreError| error).unwrap();
    let prove = async |address: &'static str, kept: bool| {
        let done = store.write_session(ANYWHERE, NOW, |tx| async move { tx.prove_email(ANN, address, kept).await });
        done.await.map_err(|error: StoreError| error).unwrap()
    };
    assert!(prove("gus@example.com", false).await.is_none(), "not the account's");
    assert!(store.user(ANN).await.unwrap().unwrap().password_hash.is_some());
    let tick = store.tick(NOW).await.unwrap();
    drop(tick);
    let proven = prove("ANN@example.com ", false).await.unwrap();
    assert_eq!((proven.password_hash, proven.email_verified_at), (None, Some(NOW)));
    assert!(store.password_history(ANN, 10).await.unwrap().is_empty());
    assert!(!store.tick(NOW).await.unwrap().facts.is_empty(), "tokens of before are refused");
    assert!(prove("ann@example.com", false).await.is_none(), "the first is one");
}

pub(crate) async fn an_address_that_somebody_has_is_nobody_elses(db: Database) {
    let store = world(&db).await;
    let change = async |address: &'static str| {
        let done = store.write_session(ANYWHERE, NOW, |tx| async move { tx.change_email(ANN, address).await });
        done.await.map_err(|error: StoreError| error).unwrap()
    };
    assert!(change("GUS@example.com").await.is_none());
    let changed = change("Ann.New@example.com").await.unwrap();
    assert_eq!((changed.email.as_deref(), changed.email_verified_at), (Some("Ann.New@example.com"), Some(NOW)));
    assert!(store.user_by_login(CLOUD, "ann@example.com").await.unwrap().is_none());
}

pub(crate) async fn a_login_policy_is_a_tenants_own(db: Database) {
    let store = world(&db).await;
    let said = LoginPolicy {
        require_2fa: true,
        idle_s: Some(600),
        ..LoginPolicy::unset(CLOUD, ACME, PasswordPolicy { min_length: 12, ..PasswordPolicy::default() })
    };
    change!(store, |tx, said| tx.put_login_policy(&system(), said.clone())).unwrap();
    let kept = store.login_policy(ACME).await.unwrap().unwrap();
    let expected = LoginPolicy { version: Version(1), updated_at: Some(NOW), ..said.clone() };
    assert_eq!(kept, expected);
    let stale = change!(store, |tx, said| tx.put_login_policy(&system(), said.clone()));
    assert!(matches!(stale, Err(StoreError::VersionMismatch { .. })), "{stale:?}");
    assert_eq!(store.login_policies_of_user(ANN).await.unwrap(), [kept]);
    assert!(store.login_policies_of_user(GUS).await.unwrap().is_empty());
    if db.postgres().await.is_some() {
        let globex = store.within(Scope::Tenant(CLOUD, GLOBEX));
        assert!(globex.login_policy(ACME).await.unwrap().is_none());
    }
    change!(store, |tx| tx.delete_login_policy(&system(), ACME, Some(Version(1)))).unwrap();
    assert!(store.login_policy(ACME).await.unwrap().is_none());
}

pub(crate) async fn an_account_on_hold_comes_back_or_goes(db: Database) {
    use authz::{Caller, Context, PermissionSet};
    use domain::audit::{Actor, ActorKind, Origin};
    let store = world(&db).await;
    let ann = Caller {
        actor: Actor { kind: ActorKind::User, id: Some(ANN.uuid()), name: "ann".into() },
        origin: Origin::default(),
        context: Context::Tenant(CLOUD, ACME),
        permissions: PermissionSet::default(),
        is_admin: false,
        is_super_admin: false,
    };
    let due = NOW + Duration::from_secs(3600);
    let by = &ann.own_account();
    let hold = async |id| {
        let held = store
            .write(by, NOW, |tx| async move { tx.done("held", tx.begin_account_deletion(by, id, due).await?).await });
        held.await.map(|(user, _)| user)
    };
    assert!(matches!(hold(GUS).await, Err(StoreError::OutOfScope)), "nobody else's");
    assert_eq!(hold(ANN).await.unwrap().status, UserStatus::PendingDeletion);
    assert!(store.due_account_deletions(NOW, 10).await.unwrap().is_empty());
    assert_eq!(store.due_account_deletions(due, 10).await.unwrap(), [(ANN, CLOUD)]);
    let tries = (0..8).map(|_| {
        let store = store.clone();
        tokio::spawn(async move {
            let back = store.write_session(ANYWHERE, NOW, |tx| async move { tx.cancel_account_deletion(ANN).await });
            back.await.map_err(|error: StoreError| error).unwrap()
        })
    });
    let back = join_all(tries).await.into_iter().filter_map(Result::unwrap).count();
    assert_eq!(back, 1);
    assert_eq!(store.user(ANN).await.unwrap().unwrap().status, UserStatus::Active);
    hold(ANN).await.unwrap();
    let late = store.write_session(ANYWHERE, due, |tx| async move { tx.cancel_account_deletion(ANN).await });
    assert!(late.await.map_err(|error: StoreError| error).unwrap().is_none(), "too late");
    let put_off = store.write_session(ANYWHERE, due, |tx| async move {
        tx.put_off_account_deletion(ANN, due + Duration::from_secs(60)).await
    });
    put_off.await.map_err(|error: StoreError| error).unwrap();
    assert!(store.due_account_deletions(due, 10).await.unwrap().is_empty());
}
