//! Permission sets: what roles grant, compiled so that asking costs a few look-ups and allocates nothing.

use std::collections::HashSet;

use domain::{Permission, permission::EVERYTHING};

/// The compiled grants of a role, or of a principal's roles together.
///
/// | granted | covers |
/// |---|---|
/// | `tenant:user:list` | itself |
/// | `tenant:user:*` | every action on `tenant:user` |
/// | `tenant:*` | every resource and action of module `tenant` |
/// | `*:*:*` | everything |
#[derive(Clone, Debug, Default)]
pub struct PermissionSet {
    everything: bool,
    /// Whole modules (`tenant`), whole resources (`tenant:user`) and single permissions, told apart by their colons.
    granted: HashSet<Box<str>>,
}

impl PermissionSet {
    /// Compiles grants.
    pub fn new<'p>(grants: impl IntoIterator<Item = &'p Permission>) -> Self {
        let mut set = Self::default();
        for grant in grants {
            let text = grant.as_str();
            match text.strip_suffix(":*") {
                _ if text == EVERYTHING => set.everything = true,
                Some(stem) => _ = set.granted.insert(stem.into()),
                None => _ = set.granted.insert(text.into()),
            }
        }
        set
    }

    /// Whether the set covers `asked`. A wildcard can be asked for only by who holds one that covers it.
    pub fn covers(&self, asked: &Permission) -> bool {
        if self.everything {
            return true;
        }
        let text = asked.as_str();
        if text == EVERYTHING {
            return false;
        }
        let stem = text.strip_suffix(":*").unwrap_or(text);
        // From the narrowest to the widest: `a:b:c`, `a:b`, `a`. A stem asked for by its wildcard must be held as such.
        let mut prefix = stem;
        loop {
            if self.granted.contains(prefix) {
                return true;
            }
            match prefix.rfind(':').and_then(|colon| prefix.get(..colon)) {
                Some(shorter) => prefix = shorter,
                None => return false,
            }
        }
    }

    /// Whether the set grants nothing.
    pub fn is_empty(&self) -> bool {
        !self.everything && self.granted.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permission(text: &str) -> Permission {
        text.parse().unwrap()
    }

    fn covers(grants: &[&str], asked: &str) -> bool {
        let grants: Vec<_> = grants.iter().map(|g| permission(g)).collect();
        PermissionSet::new(&grants).covers(&permission(asked))
    }

    #[test]
    fn a_wildcard_covers_what_stands_under_it_and_nothing_beside_it() {
        for (grants, asked, expected) in [
            (&["tenant:user:list"][..], "tenant:user:list", true),
            (&["tenant:user:list"], "tenant:user:get", false),
            (&["tenant:user:*"], "tenant:user:get", true),
            (&["tenant:user:*"], "tenant:users:get", false),
            (&["tenant:user:*"], "tenant:role:get", false),
            (&["tenant:*"], "tenant:role:get", true),
            (&["tenant:*"], "tenants:role:get", false),
            (&["*:*:*"], "orders:order:delete", true),
            (&["tenant:user:list"], "tenant:user:*", false),
            (&["tenant:user:*"], "tenant:user:*", true),
            (&["tenant:user:*"], "tenant:*", false),
            (&["tenant:*"], "*:*:*", false),
            (&[], "tenant:user:list", false),
        ] {
            assert_eq!(covers(grants, asked), expected, "{grants:?} {asked}");
        }
    }

    proptest::proptest! {
        /// The compiled set equals a slow reading of the grants one by one.
        #[test]
        fn the_compiled_set_equals_its_slow_twin(
            grants in proptest::collection::vec("(a|b):(x|y|\\*)(:(p|q|\\*))?", 0..6),
            asked in "(a|b):(x|y):(p|q)",
        ) {
            let grants: Vec<Permission> = grants.iter().filter_map(|g| g.parse().ok()).collect();
            let asked = permission(&asked);
            let slow = grants.iter().any(|g| match g.as_str().strip_suffix('*') {
                Some(stem) => asked.as_str().starts_with(stem),
                None => g == &asked,
            });
            proptest::prop_assert_eq!(PermissionSet::new(&grants).covers(&asked), slow);
        }
    }
}
