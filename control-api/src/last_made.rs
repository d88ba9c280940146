//! Projects' own issuers, compiled: reading a key takes longer than most of what a token is asked for.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use authn::{Issuer, IssuerError};
use domain::{ProjectId, snapshot};

/// Most that are kept; then all are dropped, and each that is asked for is compiled anew. Each takes a few kilobytes.
const MOST: usize = 1_000;

/// What was compiled last of each project, and of what.
#[derive(Debug, Default)]
pub(crate) struct OwnIssuers(Mutex<HashMap<ProjectId, (snapshot::Issuer, Arc<Issuer>)>>);

impl OwnIssuers {
    /// What was read now, compiled. What was compiled before serves only where the same was read, in all its parts: of a key that is
    /// no longer published nothing is left.
    ///
    /// # Errors
    /// As [`Issuer::compile`].
    pub(crate) fn compiled(&self, read: snapshot::Issuer) -> Result<Arc<Issuer>, IssuerError> {
        let project = read.project_id;
        if let Some((of, compiled)) = self.kept().get(&project)
            && *of == read
        {
            return Ok(Arc::clone(compiled));
        }
        let compiled = Arc::new(Issuer::compile(&read)?);
        let mut kept = self.kept();
        if kept.len() >= MOST && !kept.contains_key(&project) {
            kept.clear();
        }
        kept.insert(project, (read, Arc::clone(&compiled)));
        Ok(compiled)
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, HashMap<ProjectId, (snapshot::Issuer, Arc<Issuer>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use authn::{SigningKey, mint};
    use domain::{
        Id,
        snapshot::{Algorithm, Origin},
    };
    use serde_json::json;

    use super::*;

    /// With a key of its own.
    fn read(n: u128) -> snapshot::Issuer {
        let pkcs8 = mint::generate(Algorithm::Es256).unwrap();
        let key = SigningKey::from_pkcs8("k", Algorithm::Es256, &pkcs8).unwrap();
        snapshot::Issuer {
            id: Id::new(uuid::Uuid::from_u128(n)),
            issuer: format!("https://{n}.example"),
            project_id: Id::new(uuid::Uuid::from_u128(n)),
            origin: Origin::Own,
            audiences: vec!["a".into()],
            algorithms: vec![Algorithm::Es256],
            jwks: json!({ "keys": [key.public_jwk()] }),
        }
    }

    #[test]
    fn what_is_read_again_word_for_word_is_compiled_once_and_what_changed_anew() {
        let known = OwnIssuers::default();
        let first = read(1);
        let compiled = known.compiled(first.clone()).unwrap();
        assert!(Arc::ptr_eq(&compiled, &known.compiled(first.clone()).unwrap()));
        // Another key of the same name, then another audience.
        let other = known.compiled(snapshot::Issuer { jwks: read(1).jwks, ..first.clone() }).unwrap();
        assert!(!Arc::ptr_eq(&compiled, &other));
        let narrowed = known.compiled(snapshot::Issuer { audiences: vec!["b".into()], ..first.clone() }).unwrap();
        assert!(!narrowed.accepts_audience(["a"].into_iter()), "what counts is what was read");
        let again = known.compiled(first).unwrap();
        assert!(!Arc::ptr_eq(&compiled, &again), "only what was read last is kept");
    }

    #[test]
    fn only_so_many_are_kept() {
        let known = OwnIssuers::default();
        let one = read(0);
        for n in 0..=MOST as u128 {
            let id = Id::new(uuid::Uuid::from_u128(n));
            known.compiled(snapshot::Issuer { project_id: id, ..one.clone() }).unwrap();
        }
        assert_eq!(known.kept().len(), 1);
    }
}
