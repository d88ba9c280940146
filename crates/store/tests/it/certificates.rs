//! Client certificates: what a hostname believes, and as whom their holders act.

use authz::{Caller, Context, PermissionSet, Scope, action::ManageCertificateBindings};
use domain::{
    CertificateMode, CertificateName, ClientCertificates, HostnameId, NameKind, TenantId, UserId,
    audit::{Actor, ActorKind, Origin},
    client_certificate::CertificatePrincipal,
    model::{BoundCertificate, NewBoundCertificate},
    snapshot::{Change, Entity, Hostname},
};
use futures::future::join_all;
use store::{Store, StoreError, list::CertificateBindingList, read::*};

use crate::{
    harness::{Database, NOW},
    world::*,
};

fn new(hostname_id: HostnameId, tenant_id: TenantId, user_id: UserId, value: &str) -> NewBoundCertificate {
    let name = CertificateName::new(NameKind::Uri, value).unwrap();
    NewBoundCertificate { id: fresh(), project_id: CLOUD, tenant_id, hostname_id, name, user_id }
}

async fn bind(store: &Store, new: NewBoundCertificate) -> Result<BoundCertificate, StoreError> {
    change!(store, |tx, new| tx.insert_certificate_binding(&system(), new.clone())).map(|(bound, _)| bound)
}

async fn ask_for(store: &Store, certificates: Option<ClientCertificates>) {
    let mut host = store.hostname(ACME_HOST).await.unwrap().unwrap();
    host.client_certificates = certificates;
    change!(store, |tx, host| tx.update_hostname(&system(), host.clone())).unwrap();
}

fn settings(ca: &str) -> ClientCertificates {
    ClientCertificates { mode: CertificateMode::Required, ca: ca.into(), crl: vec!["list".into()] }
}

/// What the edge is told of acme's hostname, and whether it had to know before it may prove anything.
async fn told(store: &Store) -> Option<(Change, Hostname, bool)> {
    let tick = store.tick(NOW).await.unwrap();
    let narrowed = tick.min_revision == tick.revision;
    tick.changes.into_iter().rev().find_map(|change| match change.entity.clone() {
        Some(Entity::Hostname(it)) if it.id == ACME_HOST => Some((change, it, narrowed)),
        _ => None,
    })
}

pub(crate) async fn what_a_hostname_believes_is_told_with_whom_it_binds(db: Database) {
    let store = world(&db).await;
    ask_for(&store, Some(settings("one"))).await;
    let bound = bind(&store, new(ACME_HOST, ACME, ANN, "spiffe://acme/billing")).await.unwrap();
    let (change, host, _) = told(&store).await.unwrap();
    let rules = host.client_certificates.unwrap();
    assert_eq!((change.min_reader, &rules.certificates), (3, &settings("one")));
    let [binding] = rules.bindings.as_slice() else { panic!("{rules:?}") };
    assert_eq!((binding.id, &binding.name), (bound.id, &bound.name));
    assert_eq!(binding.principal, CertificatePrincipal::User(ANN));
    assert_eq!(store.hostname(ACME_HOST).await.unwrap().unwrap().client_certificates, Some(settings("one")));

    ask_for(&store, Some(settings("two"))).await;
    let (_, host, narrowed) = told(&store).await.unwrap();
    assert!(narrowed, "an authority may be gone");
    assert_eq!(host.client_certificates.unwrap().bindings.len(), 1);
    let id = bound.id;
    change!(store, |tx| tx.delete_certificate_binding(&system(), id)).unwrap();
    let (_, host, narrowed) = told(&store).await.unwrap();
    assert!(narrowed && host.client_certificates.unwrap().bindings.is_empty());
    ask_for(&store, None).await;
    let (change, host, narrowed) = told(&store).await.unwrap();
    assert!(narrowed && host.client_certificates.is_none());
    assert_eq!(change.min_reader, 1);
}

pub(crate) async fn a_name_is_one_user_of_the_hostnames_tenant(db: Database) {
    let store = world(&db).await;
    let bound = bind(&store, new(ACME_HOST, ACME, ANN, "spiffe://acme/billing")).await.unwrap();
    let twice = bind(&store, new(ACME_HOST, ACME, ANN, "spiffe://acme/billing")).await.unwrap_err();
    assert!(matches!(twice, StoreError::Conflict { .. }), "{twice:?}");
    bind(&store, new(GLOBEX_HOST, GLOBEX, GUS, "spiffe://acme/billing")).await.unwrap();
    let stranger = bind(&store, new(ACME_HOST, ACME, GUS, "spiffe://acme/other")).await.unwrap_err();
    assert!(matches!(stranger, StoreError::Rule { .. }), "{stranger:?}");
    let elsewhere = bind(&store, new(GLOBEX_HOST, ACME, ANN, "spiffe://acme/other")).await.unwrap_err();
    assert!(matches!(elsewhere, StoreError::NotFound { what: "hostname" }), "{elsewhere:?}");
    assert_eq!(listed::<CertificateBindingList>(&store, ACME).await, [bound]);
    assert_eq!(listed::<CertificateBindingList>(&store, GLOBEX).await.len(), 1);
    // What belongs to another tenant from now on is bound to nobody of the old one.
    let mut host = store.hostname(ACME_HOST).await.unwrap().unwrap();
    host.tenant_id = Some(GLOBEX);
    change!(store, |tx, host| tx.update_hostname(&system(), host.clone())).unwrap();
    assert_eq!(store.certificate_bindings_of(ACME_HOST).await.unwrap(), []);
}

pub(crate) async fn who_leaves_a_tenant_leaves_the_certificates_behind(db: Database) {
    let store = world(&db).await;
    ask_for(&store, Some(settings("one"))).await;
    bind(&store, new(ACME_HOST, ACME, ANN, "spiffe://acme/billing")).await.unwrap();
    store.tick(NOW).await.unwrap();
    change!(store, |tx| tx.delete_membership(&system(), ACME, ANN)).unwrap();
    let (_, host, narrowed) = told(&store).await.unwrap();
    assert!(narrowed && host.client_certificates.unwrap().bindings.is_empty());
    change!(store, |tx| tx.insert_membership(&system(), membership(ACME, ANN))).unwrap();
    assert_eq!(store.certificate_bindings_of(ACME_HOST).await.unwrap(), []);
}

pub(crate) async fn of_those_who_bind_a_name_at_once_one_does(db: Database) {
    let store = world(&db).await;
    let tries = (0..8).map(|_| bind(&store, new(ACME_HOST, ACME, ANN, "spiffe://acme/billing")));
    let outcomes = join_all(tries).await;
    assert_eq!(outcomes.iter().filter(|it| it.is_ok()).count(), 1, "{outcomes:?}");
    assert_eq!(store.certificate_bindings_of(ACME_HOST).await.unwrap().len(), 1);
}

pub(crate) async fn a_tenants_administrator_binds_its_own_and_sees_no_others(db: Database) {
    let store = world(&db).await;
    let admin = Caller {
        actor: Actor { kind: ActorKind::User, id: None, name: "ann".into() },
        origin: Origin::default(),
        context: Context::Tenant(CLOUD, ACME),
        permissions: PermissionSet::default(),
        is_admin: true,
        is_super_admin: false,
    };
    let scope = Scope::Tenant(CLOUD, ACME);
    let permission = "tenant:certificate-binding:create".parse().unwrap();
    let by = admin.authorize::<ManageCertificateBindings>(&permission, scope).unwrap();
    let by = &by;
    ask_for(&store, Some(settings("one"))).await;
    let own = new(ACME_HOST, ACME, ANN, "spiffe://acme/billing");
    let own = &own;
    let written = store
        .write(by, NOW, |tx| async move { tx.created(tx.insert_certificate_binding(by, own.clone()).await?).await })
        .await;
    written.unwrap();
    let (_, host, _) = told(&store).await.unwrap();
    assert_eq!(host.client_certificates.unwrap().bindings.len(), 1);
    let theirs = bind(&store, new(GLOBEX_HOST, GLOBEX, GUS, "spiffe://globex/billing")).await.unwrap();
    let theirs = theirs.id;
    let refused = store
        .write(by, NOW, |tx| async move { tx.deleted(tx.delete_certificate_binding(by, theirs).await?).await })
        .await
        .unwrap_err();
    assert!(matches!(refused, StoreError::OutOfScope | StoreError::NotFound { .. }), "{refused:?}");
    if db.postgres().await.is_some() {
        assert!(store.within(scope).certificate_binding(theirs).await.unwrap().is_none());
    }
    assert!(store.certificate_binding(theirs).await.unwrap().is_some());
}
