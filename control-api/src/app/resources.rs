//! The resources there are, and what can be done to them: the permissions that routes ask for, seen from the thing.

use std::collections::{BTreeMap, BTreeSet};

use super::permissions::{PermissionContext, asked};
use crate::{
    App,
    caller::{Principal, Site},
    error::AppError,
};

/// Something that permissions are about.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Resource {
    /// Module and resource, such as `tenant:user`.
    pub name: String,
    /// Where its permissions count.
    pub context: PermissionContext,
    /// What can be done to it.
    pub verbs: BTreeSet<String>,
}

/// What can be done to what, by routes that the caller might use. Whoever is signed in may know; staff sees what is the
/// platform's, too.
pub async fn list_resources(app: &App, principal: &Principal, site: Site) -> Result<Vec<Resource>, AppError> {
    let mut found: BTreeMap<(String, PermissionContext), BTreeSet<String>> = BTreeMap::new();
    for (permission, context) in asked(app, principal, site).await? {
        if let Some((name, verb)) = permission.as_str().rsplit_once(':') {
            found.entry((name.to_owned(), context)).or_default().insert(verb.to_owned());
        }
    }
    Ok(found.into_iter().map(|((name, context), verbs)| Resource { name, context, verbs }).collect())
}
