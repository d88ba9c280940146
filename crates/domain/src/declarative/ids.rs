//! Ids made of names.
//!
//! A UUIDv8 (RFC 9562 §5.8) whose 122 free bits are the FNV-1a hash of kind and name, each led by its length. The same
//! name gives the same id on every machine and in every version: this is part of the file format. It is no
//! cryptographic hash; names come from the operator, and an id that comes up twice is refused when a file is compiled.

use crate::Id;

const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;

/// The id of the thing of kind `kind` with this name. Names of several parts are given part by part.
pub fn named<K>(kind: &str, name: &[&str]) -> Id<K> {
    let mut hash = OFFSET;
    for part in [kind].iter().chain(name) {
        for byte in (part.len() as u64).to_be_bytes().iter().chain(part.as_bytes()) {
            hash = (hash ^ u128::from(*byte)).wrapping_mul(PRIME);
        }
    }
    Id::new(uuid::Builder::from_custom_bytes(hash.to_be_bytes()).into_uuid())
}

/// The id of the project that tenants and hostnames belong to when they do not say.
pub fn default_project() -> crate::ProjectId {
    named("project", &[DEFAULT_PROJECT])
}

/// Its name.
pub const DEFAULT_PROJECT: &str = "default";

#[test]
fn an_id_made_of_a_name_never_changes() {
    use crate::{RoleId, TenantId};
    let acme: TenantId = named("tenant", &["acme"]);
    assert_eq!(acme.to_string(), named::<crate::id::kind::Tenant>("tenant", &["acme"]).to_string());
    assert_eq!(acme.uuid().get_version_num(), 8);
    assert_ne!(acme.uuid(), named::<crate::id::kind::Role>("role", &["acme"]).uuid());
    let (split, joined): (RoleId, RoleId) = (named("role", &["a", "b"]), named("role", &["ab"]));
    assert_ne!(split, joined);
    assert_ne!(acme.uuid(), uuid::Uuid::nil());
}
