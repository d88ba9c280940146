//! Upstreams: where the edge sends requests, and where it never may.

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf, absolute},
};

use authz::action::ManageUpstreams;
use domain::{
    UpstreamId,
    model::{AssertionKeys, NewUpstream, Upstream, UpstreamSpec, Version},
    snapshot::Peer,
};
use store::{
    Commit,
    list::{Selection, Slice, UpstreamList},
    read::*,
};

use crate::{
    App, bootstrap,
    caller::Principal,
    config::Environment,
    error::{AppError, FieldError},
};

/// A page of upstreams.
pub async fn list_upstreams(
    app: &App,
    principal: &Principal,
    asked: &Selection<UpstreamList>,
) -> Result<Slice<Upstream>, AppError> {
    principal.may::<ManageUpstreams>("list")?;
    Ok(app.store.list((), asked).await?)
}

/// One upstream.
pub async fn read_upstream(app: &App, principal: &Principal, id: UpstreamId) -> Result<Upstream, AppError> {
    principal.may::<ManageUpstreams>("get")?;
    app.store.upstream(id).await?.ok_or(AppError::NotFound("upstream"))
}

/// The keys its operator checks assertions with: one, and two while it is exchanged.
pub async fn read_assertion_key(app: &App, principal: &Principal, id: UpstreamId) -> Result<AssertionKeys, AppError> {
    principal.may::<ManageUpstreams>("assertion-key")?;
    Ok(app.store.upstream_assertion_keys(id).await?)
}

/// Makes the key that will sign next, for the operator to install beside the one that signs.
pub async fn prepare_assertion_key(app: &App, principal: &Principal, id: UpstreamId) -> Result<Commit, AppError> {
    let by = principal.may::<ManageUpstreams>("rotate-key")?;
    let by = &by;
    let prepared = app.store.write(by, app.now(), |tx| async move {
        Ok::<_, AppError>(tx.done("assertion_key_prepared", tx.prepare_assertion_key(by, id).await?).await?)
    });
    prepared.await.map(|(_, commit)| commit)
}

/// Lets the next key sign; the one that did stays valid until it is removed.
pub async fn activate_assertion_key(app: &App, principal: &Principal, id: UpstreamId) -> Result<Commit, AppError> {
    let by = principal.may::<ManageUpstreams>("rotate-key")?;
    let by = &by;
    let activated = app.store.write(by, app.now(), |tx| async move {
        Ok::<_, AppError>(tx.done("assertion_key_activated", tx.activate_assertion_key(by, id).await?).await?)
    });
    activated.await.map(|(_, commit)| commit)
}

/// Removes the key that does not sign.
pub async fn delete_assertion_key(
    app: &App,
    principal: &Principal,
    id: UpstreamId,
    kid: &str,
) -> Result<Commit, AppError> {
    let by = principal.may::<ManageUpstreams>("rotate-key")?;
    let by = &by;
    let removed = app.store.write(by, app.now(), |tx| async move {
        Ok::<_, AppError>(tx.done("assertion_key_removed", tx.remove_assertion_key(by, id, kid).await?).await?)
    });
    removed.await.map(|(_, commit)| commit)
}

/// Makes an upstream.
pub async fn create_upstream(
    app: &App,
    principal: &Principal,
    new: NewUpstream,
) -> Result<(Upstream, Commit), AppError> {
    let by = principal.may::<ManageUpstreams>("create")?;
    reachable(app, &new.spec).await?;
    app.store
        .write(&by, app.now(), |tx| {
            let (by, new) = (by.clone(), new.clone());
            async move { Ok(tx.created(tx.insert_upstream(&by, new).await?).await?) }
        })
        .await
}

/// Changes an upstream's settings. The one that leads to this API is the platform's own.
pub async fn update_upstream(
    app: &App,
    principal: &Principal,
    id: UpstreamId,
    version: Option<Version>,
    edit: impl Fn(&mut Upstream) + Send + Sync,
) -> Result<(Upstream, Commit), AppError> {
    let by = principal.may::<ManageUpstreams>("update")?;
    let mut preview = app.store.upstream(id).await?.ok_or(AppError::NotFound("upstream"))?;
    refuse_built_in(&preview.name)?;
    edit(&mut preview);
    reachable(app, &preview.spec).await?;
    let edit = &edit;
    app.store
        .write(&by, app.now(), |tx| {
            let by = by.clone();
            async move {
                let mut upstream = tx.upstream(id).await?.ok_or(AppError::NotFound("upstream"))?;
                upstream.version = version.unwrap_or(upstream.version);
                edit(&mut upstream);
                Ok(tx.updated(tx.update_upstream(&by, upstream).await?).await?)
            }
        })
        .await
}

/// Deletes an upstream that nothing leads to.
pub async fn delete_upstream(app: &App, principal: &Principal, id: UpstreamId) -> Result<Commit, AppError> {
    let by = principal.may::<ManageUpstreams>("delete")?;
    refuse_built_in(&app.store.upstream(id).await?.ok_or(AppError::NotFound("upstream"))?.name)?;
    let deleted = app.store.write(&by, app.now(), |tx| {
        let by = by.clone();
        async move { Ok::<_, AppError>(tx.deleted(tx.delete_upstream(&by, id).await?).await?) }
    });
    deleted.await.map(|(_, commit)| commit)
}

/// Refuses to touch the upstream that leads to this API.
pub(super) fn refuse_built_in(name: &str) -> Result<(), AppError> {
    if name == bootstrap::CONTROL_API {
        let detail = "it leads to this API and follows its listeners".to_owned();
        return Err(AppError::Conflict { code: "upstream_is_builtin", detail });
    }
    Ok(())
}

/// Refuses peers that are doors of ours, and plain HTTP where it is not allowed.
///
/// # Errors
/// [`AppError::Invalid`] names each.
pub async fn reachable(app: &App, spec: &UpstreamSpec) -> Result<(), AppError> {
    let mut wrong = Vec::new();
    if spec.peers.is_empty() {
        wrong.push(FieldError::new("/peers", "required", "an upstream has at least one address"));
    }
    for (at, peer) in spec.peers.iter().enumerate() {
        let pointer = format!("/peers/{at}");
        let addresses = addresses(peer).await;
        if addresses.iter().any(|address| app.is_own_door(*address)) || is_own_socket(app, peer) {
            wrong.push(FieldError::new(&pointer, "own_listener", "is a listener of the control plane"));
        }
        let local = match peer {
            Peer::Unix(_) => true,
            Peer::Socket(address) => address.ip().is_loopback(),
            Peer::Name(..) => !addresses.is_empty() && addresses.iter().all(|address| address.ip().is_loopback()),
        };
        if spec.tls.is_none() && !plaintext_allowed(app, local) {
            let detail = "plain HTTP is not allowed to this address here";
            wrong.push(FieldError::new(&pointer, "plaintext_refused", detail));
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(AppError::Invalid(wrong)) }
}

fn plaintext_allowed(app: &App, local: bool) -> bool {
    match app.config.environment {
        Environment::Dev => true,
        Environment::Stage => local && app.config.upstreams.plaintext_on_loopback,
        Environment::Prod => false,
    }
}

/// What a peer resolves to now. A name that does not resolve may do so later; the gateway asks again then.
async fn addresses(peer: &Peer) -> Vec<SocketAddr> {
    match peer {
        Peer::Socket(address) => vec![*address],
        Peer::Name(name, port) => {
            tokio::net::lookup_host((name.as_str(), *port)).await.map(Iterator::collect).unwrap_or_default()
        }
        Peer::Unix(_) => Vec::new(),
    }
}

fn is_own_socket(app: &App, peer: &Peer) -> bool {
    matches!(peer, Peer::Unix(path) if app.is_own_socket(path))
}

/// Whether two addresses lead to the same socket: unspecified and loopback addresses of a port do.
pub fn same_door(door: SocketAddr, asked: SocketAddr) -> bool {
    let canonical = |ip: IpAddr| ip.to_canonical();
    let (own, other) = (canonical(door.ip()), canonical(asked.ip()));
    let near = |ip: IpAddr| ip.is_loopback() || ip.is_unspecified();
    door.port() == asked.port() && (own == other || own.is_unspecified() || (near(own) && near(other)))
}

/// Whether two paths lead to the same socket: by other spellings, by links in the path, by a link to the socket.
pub fn same_socket(door: &Path, asked: &Path) -> bool {
    let file = |path: &Path| fs::metadata(path).map(|found| (found.dev(), found.ino())).ok();
    resolved(door) == resolved(asked) || file(door).is_some_and(|own| file(asked) == Some(own))
}

/// A path without links and dots, as far as it exists.
fn resolved(path: &Path) -> PathBuf {
    if let Ok(path) = fs::canonicalize(path) {
        return path;
    }
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) if !parent.as_os_str().is_empty() => resolved(parent).join(name),
        (_, _) => absolute(path).unwrap_or_else(|_| path.into()),
    }
}

#[test]
fn a_socket_is_recognised_under_its_other_names() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("inside")).unwrap();
    let door = at("inside/door.sock");
    let names = ["inside/./door.sock", "inside/../inside/door.sock", "linked/door.sock", "inside//door.sock"];
    std::os::unix::fs::symlink(at("inside"), at("linked")).unwrap();
    let recognised = || names.iter().all(|name| same_socket(&door, &at(name)));
    assert!(recognised(), "before the socket is there");
    let _listener = std::os::unix::net::UnixListener::bind(&door).unwrap();
    assert!(recognised());
    std::os::unix::fs::symlink(&door, at("symbolic")).unwrap();
    fs::hard_link(&door, at("hard")).unwrap();
    assert!(same_socket(&door, &at("symbolic")) && same_socket(&door, &at("hard")));
    assert!(!same_socket(&door, &at("inside/other.sock")) && !same_socket(&door, &at("none/door.sock")));
}

#[test]
fn a_door_is_recognised_under_its_other_addresses() {
    let door: SocketAddr = "127.0.0.1:9080".parse().unwrap();
    for same in ["127.0.0.1:9080", "0.0.0.0:9080", "[::1]:9080", "[::ffff:127.0.0.1]:9080", "127.0.0.2:9080"] {
        assert!(same_door(door, same.parse().unwrap()), "{same}");
    }
    for other in ["127.0.0.1:9081", "192.0.2.1:9080"] {
        assert!(!same_door(door, other.parse().unwrap()), "{other}");
    }
    assert!(same_door("0.0.0.0:9080".parse().unwrap(), "192.0.2.1:9080".parse().unwrap()));
}
