//! Which rows hang on which: kept with every row that comes and goes, so that a change looks at what it touches and at
//! nothing else.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    hash::Hash,
};

use domain::{
    CertificateId, HostnameId, IssuerId, ProjectId, RoleId, TenantId,
    snapshot::{Entity, EntityKey},
};

/// See the module's text.
#[derive(Default)]
pub(super) struct Index {
    pub(super) hosts_by_project: Sets<ProjectId, HostnameId>,
    pub(super) hosts_by_tenant: Sets<TenantId, HostnameId>,
    pub(super) hosts_by_certificate: Sets<CertificateId, HostnameId>,
    pub(super) issuers_by_project: Sets<ProjectId, IssuerId>,
    /// Under none: roles that every tenant has.
    pub(super) roles_by_tenant: Sets<Option<TenantId>, RoleId>,
    /// Rows this build cannot read, with the reader that they need.
    pub(super) unreadable: BTreeMap<EntityKey, u32>,
}

impl Index {
    /// A row that came.
    pub(super) fn add(&mut self, key: &EntityKey, entity: Option<&Entity>, min_reader: u32) {
        match entity {
            None => _ = self.unreadable.insert(key.clone(), min_reader),
            Some(Entity::Hostname(it)) => {
                self.hosts_by_project.add(it.project_id, it.id);
                it.tenant_id.into_iter().for_each(|tenant| self.hosts_by_tenant.add(tenant, it.id));
                it.certificate_id.into_iter().for_each(|certificate| self.hosts_by_certificate.add(certificate, it.id));
            }
            Some(Entity::Issuer(it)) => self.issuers_by_project.add(it.project_id, it.id),
            Some(Entity::Role(it)) => self.roles_by_tenant.add(it.tenant_id, it.id),
            Some(
                Entity::Project(_)
                | Entity::Tenant(_)
                | Entity::Certificate(_)
                | Entity::Upstream(_)
                | Entity::Service(_),
            ) => {}
        }
    }

    /// A row that goes.
    pub(super) fn remove(&mut self, key: &EntityKey, entity: Option<&Entity>) {
        match entity {
            None => _ = self.unreadable.remove(key),
            Some(Entity::Hostname(it)) => {
                self.hosts_by_project.remove(it.project_id, it.id);
                it.tenant_id.into_iter().for_each(|tenant| self.hosts_by_tenant.remove(tenant, it.id));
                it.certificate_id
                    .into_iter()
                    .for_each(|certificate| self.hosts_by_certificate.remove(certificate, it.id));
            }
            Some(Entity::Issuer(it)) => self.issuers_by_project.remove(it.project_id, it.id),
            Some(Entity::Role(it)) => self.roles_by_tenant.remove(it.tenant_id, it.id),
            Some(
                Entity::Project(_)
                | Entity::Tenant(_)
                | Entity::Certificate(_)
                | Entity::Upstream(_)
                | Entity::Service(_),
            ) => {}
        }
    }
}

/// Sets by key; an empty one is none.
pub(super) struct Sets<K, V>(HashMap<K, BTreeSet<V>>);

impl<K, V> Default for Sets<K, V> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Eq + Hash, V: Copy + Ord> Sets<K, V> {
    /// In order.
    pub(super) fn of(&self, key: K) -> impl Iterator<Item = V> {
        self.0.get(&key).into_iter().flatten().copied()
    }

    fn add(&mut self, key: K, value: V) {
        self.0.entry(key).or_default().insert(value);
    }

    fn remove(&mut self, key: K, value: V) {
        if let Some(set) = self.0.get_mut(&key) {
            set.remove(&value);
            if set.is_empty() {
                self.0.remove(&key);
            }
        }
    }
}
