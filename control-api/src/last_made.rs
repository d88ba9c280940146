//! What is made of what was read, kept while the same is read: reading a key takes longer than most of what it is asked for.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Most that are kept; then all are dropped, and each that is asked for is made anew. Each takes a few kilobytes.
const MOST: usize = 1_000;

/// What was made last under each name, and of what.
pub(crate) struct LastMade<Name, Read, Made>(Mutex<Table<Name, Read, Made>>);

type Table<Name, Read, Made> = HashMap<Name, (Read, Arc<Made>)>;

impl<Name, Read, Made> Default for LastMade<Name, Read, Made> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<Name: Eq + Hash, Read: PartialEq, Made> LastMade<Name, Read, Made> {
    /// What `make` makes of what was read now. What was made before serves only where the same was read, in all its parts: of a
    /// key that is no longer in force nothing is left.
    ///
    /// # Errors
    /// As `make`.
    pub(crate) fn of<E>(
        &self,
        name: Name,
        read: Read,
        make: impl FnOnce(&Read) -> Result<Made, E>,
    ) -> Result<Arc<Made>, E> {
        if let Some((of, made)) = self.kept().get(&name)
            && *of == read
        {
            return Ok(Arc::clone(made));
        }
        let made = Arc::new(make(&read)?);
        let mut kept = self.kept();
        if kept.len() >= MOST && !kept.contains_key(&name) {
            kept.clear();
        }
        kept.insert(name, (read, Arc::clone(&made)));
        Ok(made)
    }

    fn kept(&self) -> MutexGuard<'_, Table<Name, Read, Made>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use authn::{Issuer, IssuerError, SigningKey, mint};
    use domain::{
        Id, ProjectId,
        snapshot::{self, Algorithm, Origin},
    };
    use serde_json::json;

    use super::*;

    /// With a key of its own.
    fn issuer() -> snapshot::Issuer {
        let pkcs8 = mint::generate(Algorithm::Es256).unwrap();
        let key = SigningKey::from_pkcs8("k", Algorithm::Es256, &pkcs8).unwrap();
        snapshot::Issuer {
            id: Id::new(uuid::Uuid::from_u128(1)),
            issuer: "https://1.example".into(),
            project_id: Id::new(uuid::Uuid::from_u128(1)),
            origin: Origin::Own,
            audiences: vec!["a".into()],
            algorithms: vec![Algorithm::Es256],
            jwks: json!({ "keys": [key.public_jwk()] }),
        }
    }

    #[test]
    fn an_issuer_with_another_key_of_the_same_name_or_another_audience_is_another() {
        let known = LastMade::<ProjectId, _, Issuer>::default();
        let compiled =
            |read: snapshot::Issuer| -> Result<_, IssuerError> { known.of(read.project_id, read, Issuer::compile) };
        let first = issuer();
        let made = compiled(first.clone()).unwrap();
        assert!(Arc::ptr_eq(&made, &compiled(first.clone()).unwrap()));
        let other = compiled(snapshot::Issuer { jwks: issuer().jwks, ..first.clone() }).unwrap();
        assert!(!Arc::ptr_eq(&made, &other));
        let narrowed = compiled(snapshot::Issuer { audiences: vec!["b".into()], ..first.clone() }).unwrap();
        assert!(!narrowed.accepts_audience(["a"].into_iter()), "what counts is what was read");
        let again = compiled(first).unwrap();
        assert!(!Arc::ptr_eq(&made, &again), "only what was read last is kept");
    }

    /// Makes a text longer, and says how often it did.
    #[derive(Default)]
    struct Maker {
        kept: LastMade<u32, &'static str, String>,
        made: usize,
    }

    impl Maker {
        fn of(&mut self, name: u32, read: &'static str) -> Arc<String> {
            let made = self.kept.of(name, read, |read| {
                self.made += 1;
                Ok::<_, ()>(format!("{read}!"))
            });
            made.unwrap()
        }
    }

    #[test]
    fn what_is_read_again_is_made_once_and_what_changed_anew() {
        let mut maker = Maker::default();
        assert_eq!([maker.of(1, "a"), maker.of(1, "a")].map(|made| (*made).clone()), ["a!", "a!"]);
        assert_eq!(maker.made, 1);
        assert_eq!(*maker.of(1, "b"), "b!", "what counts is what was read");
        assert_eq!(*maker.of(1, "a"), "a!");
        assert_eq!(maker.made, 3, "only what was read last is kept");
        assert_eq!(*maker.of(2, "a"), "a!");
        assert_eq!((maker.made, *maker.of(1, "a") == "a!"), (4, true), "each by its name");
        assert_eq!(maker.made, 4);
    }

    #[test]
    fn what_cannot_be_made_leaves_what_was_there() {
        let mut maker = Maker::default();
        maker.of(1, "a");
        assert_eq!(maker.kept.of(1, "b", |_| Err("no")), Err("no"));
        maker.of(1, "a");
        assert_eq!(maker.made, 1);
    }

    #[test]
    fn only_so_many_are_kept() {
        let mut maker = Maker::default();
        for n in 0..=u32::try_from(MOST).unwrap() {
            maker.of(n, "a");
        }
        assert_eq!(maker.kept.kept().len(), 1);
    }
}
