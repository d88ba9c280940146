//! What is kept of a person, for that person: part by part, a page at a time, as JSON.
//!
//! An aggregate that keeps something of people adds its part to [`PARTS`]; what is beside a user and in none is named in
//! [`NOT_HANDED_OUT`], and a test finds the table that is in neither. Secrets, hashes of them and what is sealed are in no part, nor is
//! what tells of other people.

use domain::{TenantId, Timestamp, UserId};
use serde_json::{Map, Value as Json};
use uuid::Uuid;

use crate::{
    StoreError,
    tx::Reader,
    value::{Row, values},
};

/// Most rows of a page.
const PAGE: u32 = 200;

/// How a column is written.
#[derive(Clone, Copy, Debug)]
enum As {
    Id,
    Text,
    Flag,
    Time,
    Number,
    Json,
}

/// Something that is kept of people. Its statement takes the user, the key behind which it goes on, how many rows and, of what is a
/// tenant's, the tenant.
struct Part {
    name: &'static str,
    of_tenant: bool,
    tables: &'static [&'static str],
    sql: &'static str,
    /// Whose order it is in; always an id.
    key: &'static str,
    columns: &'static [(&'static str, As)],
}

const PARTS: &[Part] = &[
    Part {
        name: "account",
        of_tenant: false,
        tables: &["users"],
        sql: "SELECT * FROM users WHERE id = $1 AND id > $2 ORDER BY id LIMIT $3",
        key: "id",
        columns: &[
            ("id", As::Id),
            ("email", As::Text),
            ("email_verified_at", As::Time),
            ("username", As::Text),
            ("first_name", As::Text),
            ("last_name", As::Text),
            ("phone", As::Text),
            ("external_id", As::Text),
            ("quota_bytes", As::Number),
            ("status", As::Text),
            ("password_changed_at", As::Time),
            ("must_change_password", As::Flag),
            ("last_login_at", As::Time),
            ("created_at", As::Time),
            ("updated_at", As::Time),
        ],
    },
    Part {
        name: "account_deletion",
        of_tenant: false,
        tables: &["account_deletions"],
        sql: "SELECT * FROM account_deletions WHERE user_id = $1 AND user_id > $2 ORDER BY user_id LIMIT $3",
        key: "user_id",
        columns: &[("asked_at", As::Time), ("due_at", As::Time)],
    },
    Part {
        name: "membership",
        of_tenant: false,
        tables: &["memberships"],
        sql: "SELECT * FROM memberships WHERE user_id = $1 AND id > $2 ORDER BY id LIMIT $3",
        key: "id",
        columns: &[
            ("tenant_id", As::Id),
            ("source", As::Text),
            ("status", As::Text),
            ("default_ou_id", As::Id),
            ("created_at", As::Time),
        ],
    },
    Part {
        name: "group",
        of_tenant: true,
        tables: &["group_members"],
        sql: "SELECT g.tenant_id, g.group_id, g.added_at, u.name
              FROM memberships m
              JOIN group_members g ON g.tenant_id = m.tenant_id AND g.user_id = m.user_id
              JOIN user_groups u ON u.id = g.group_id
              WHERE m.user_id = $1 AND m.tenant_id = $4 AND g.group_id > $2 ORDER BY g.group_id LIMIT $3",
        key: "group_id",
        columns: &[("tenant_id", As::Id), ("group_id", As::Id), ("name", As::Text), ("added_at", As::Time)],
    },
    Part {
        name: "role",
        of_tenant: true,
        tables: &["role_bindings"],
        sql: "SELECT b.id, b.tenant_id, b.ou_id, b.role_id, b.created_at, r.name
              FROM memberships m
              JOIN role_bindings b ON b.tenant_id = m.tenant_id AND b.subject_kind = 'user' AND b.subject_id = m.user_id
              JOIN roles r ON r.id = b.role_id
              WHERE m.user_id = $1 AND m.tenant_id = $4 AND b.id > $2 ORDER BY b.id LIMIT $3",
        key: "id",
        columns: &[
            ("tenant_id", As::Id),
            ("ou_id", As::Id),
            ("role_id", As::Id),
            ("name", As::Text),
            ("created_at", As::Time),
        ],
    },
    Part {
        name: "preferences",
        of_tenant: true,
        tables: &["preferences"],
        sql: "SELECT p.tenant_id, p.body, p.updated_at
              FROM memberships m JOIN preferences p ON p.tenant_id = m.tenant_id AND p.user_id = m.user_id
              WHERE m.user_id = $1 AND m.tenant_id = $4 AND p.tenant_id > $2 ORDER BY p.tenant_id LIMIT $3",
        key: "tenant_id",
        columns: &[("tenant_id", As::Id), ("body", As::Json), ("updated_at", As::Time)],
    },
    Part {
        name: "favorite",
        of_tenant: true,
        tables: &["menu_favorites"],
        sql: "SELECT f.tenant_id, f.menu_id, f.created_at, e.key
              FROM memberships m
              JOIN menu_favorites f ON f.tenant_id = m.tenant_id AND f.user_id = m.user_id
              JOIN menus e ON e.id = f.menu_id
              WHERE m.user_id = $1 AND m.tenant_id = $4 AND f.menu_id > $2 ORDER BY f.menu_id LIMIT $3",
        key: "menu_id",
        columns: &[("tenant_id", As::Id), ("key", As::Text), ("created_at", As::Time)],
    },
    Part {
        name: "session",
        of_tenant: true,
        tables: &["sessions"],
        sql: "SELECT * FROM sessions WHERE user_id = $1 AND tenant_id = $4 AND sid > $2 ORDER BY sid LIMIT $3",
        key: "sid",
        columns: &[
            ("sid", As::Id),
            ("tenant_id", As::Id),
            ("method", As::Text),
            ("approved_by", As::Text),
            ("amr", As::Text),
            ("auth_time", As::Time),
            ("ip", As::Text),
            ("user_agent", As::Text),
            ("created_at", As::Time),
            ("last_used_at", As::Time),
            ("expires_at", As::Time),
            ("ended_at", As::Time),
            ("end_reason", As::Text),
        ],
    },
    Part {
        name: "passkey",
        of_tenant: false,
        tables: &["passkeys"],
        sql: "SELECT * FROM passkeys WHERE user_id = $1 AND id > $2 ORDER BY id LIMIT $3",
        key: "id",
        columns: &[
            ("id", As::Id),
            ("name", As::Text),
            ("rp_id", As::Text),
            ("backup_eligible", As::Flag),
            ("backup_state", As::Flag),
            ("created_at", As::Time),
            ("last_used_at", As::Time),
        ],
    },
    Part {
        name: "linked_identity",
        of_tenant: false,
        tables: &["federated_identities"],
        sql: "SELECT * FROM federated_identities WHERE user_id = $1 AND id > $2 ORDER BY id LIMIT $3",
        key: "id",
        columns: &[
            ("id", As::Id),
            ("tenant_id", As::Id),
            ("provider_id", As::Id),
            ("subject", As::Text),
            ("email_at_link", As::Text),
            ("linked_at", As::Time),
            ("last_used_at", As::Time),
        ],
    },
    Part {
        name: "phone",
        of_tenant: false,
        tables: &["phone_numbers"],
        sql: "SELECT * FROM phone_numbers WHERE user_id = $1 AND user_id > $2 ORDER BY user_id LIMIT $3",
        key: "user_id",
        columns: &[("number", As::Text), ("verified_at", As::Time)],
    },
    Part {
        name: "identity_verification",
        of_tenant: true,
        tables: &["identity_verifications"],
        sql: "SELECT * FROM identity_verifications WHERE user_id = $1 AND tenant_id = $4 AND id > $2 ORDER BY id LIMIT $3",
        key: "id",
        columns: &[
            ("tenant_id", As::Id),
            ("state", As::Text),
            ("reason", As::Text),
            ("ends_at", As::Time),
            ("created_at", As::Time),
            ("changed_at", As::Time),
        ],
    },
    Part {
        name: "authenticator",
        of_tenant: false,
        tables: &["totp_secrets"],
        sql: "SELECT * FROM totp_secrets WHERE user_id = $1 AND user_id > $2 ORDER BY user_id LIMIT $3",
        key: "user_id",
        columns: &[("created_at", As::Time), ("confirmed_at", As::Time)],
    },
    Part {
        name: "api_key",
        of_tenant: true,
        tables: &["api_keys"],
        sql: "SELECT * FROM api_keys WHERE owner_id = $1 AND tenant_id = $4 AND id > $2 ORDER BY id LIMIT $3",
        key: "id",
        columns: &[
            ("id", As::Id),
            ("tenant_id", As::Id),
            ("name", As::Text),
            ("prefix", As::Text),
            ("scopes", As::Json),
            ("networks", As::Json),
            ("expires_at", As::Time),
            ("disabled_at", As::Time),
            ("revoked_at", As::Time),
            ("last_used_at", As::Time),
            ("created_at", As::Time),
        ],
    },
    Part {
        name: "certificate",
        of_tenant: true,
        tables: &["certificate_bindings"],
        sql: "SELECT * FROM certificate_bindings
              WHERE user_id = $1 AND tenant_id = $4 AND id > $2 ORDER BY id LIMIT $3",
        key: "id",
        columns: &[
            ("id", As::Id),
            ("tenant_id", As::Id),
            ("hostname_id", As::Id),
            ("kind", As::Text),
            ("value", As::Text),
            ("created_at", As::Time),
        ],
    },
    Part {
        name: "invitation_received",
        of_tenant: true,
        tables: &["invitations"],
        // Who has not proven the address is not told who wrote to it.
        sql: "SELECT i.* FROM users u
              JOIN invitations i ON i.project_id = u.project_id AND i.email_fold = u.email_fold
              WHERE u.id = $1 AND u.email_verified_at IS NOT NULL AND i.tenant_id = $4 AND i.id > $2
              ORDER BY i.id LIMIT $3",
        key: "id",
        columns: INVITATION,
    },
    Part {
        name: "invitation_sent",
        of_tenant: true,
        tables: &["invitations"],
        sql: "SELECT * FROM invitations WHERE invited_by = $1 AND tenant_id = $4 AND id > $2 ORDER BY id LIMIT $3",
        key: "id",
        columns: INVITATION,
    },
];

/// To whom one was sent is that person's.
const INVITATION: &[(&str, As)] = &[
    ("id", As::Id),
    ("tenant_id", As::Id),
    ("status", As::Text),
    ("created_at", As::Time),
    ("expires_at", As::Time),
    ("settled_at", As::Time),
];

/// Tables with a `user_id` of which nothing is handed out, and why.
const NOT_HANDED_OUT: &[&str] = &[
    // Secrets, hashes of them, and what waits for minutes.
    "break_glass",
    "login_challenges",
    "oauth_codes",
    "oauth_states",
    "one_time_tokens",
    "password_history",
    "qr_logins",
    "recovery_codes",
    // Numbers that say which tokens are refused, and that somebody is not to come back by their address alone.
    "user_generations",
    "left_memberships",
    // The tenant's record of who used its units: it tells of the tenant, and goes within days.
    "access_log",
    // Of who is gone.
    "audit_erasures",
    // Programs are nobody.
    "machine_clients",
];

/// How far the handing out is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct PersonalPlace {
    part: usize,
    behind: Uuid,
}

/// Reads of what is kept of a person.
pub trait PersonalData: Reader {
    /// The next rows, each with the name of its part, and where it goes on; none at the end. Of what is a tenant's, what is this one's.
    fn personal_data(
        &self,
        (user, tenant): (UserId, TenantId),
        place: PersonalPlace,
    ) -> impl Future<Output = Result<(Vec<Json>, Option<PersonalPlace>), StoreError>> + Send {
        async move {
            let Some(part) = PARTS.get(place.part) else { return Ok((Vec::new(), None)) };
            let mut all = values![user, place.behind, PAGE];
            if part.of_tenant {
                all.extend(values![tenant]);
            }
            let rows = self.view().await?.query(part.sql, all).await?;
            let next = match rows.last() {
                Some(last) if u32::try_from(rows.len()).is_ok_and(|read| read >= PAGE) => {
                    PersonalPlace { behind: last.at(part.key)?, ..place }
                }
                _ => PersonalPlace { part: place.part + 1, behind: Uuid::nil() },
            };
            let lines = rows.iter().map(|row| line(part, row)).collect::<Result<_, _>>()?;
            Ok((lines, Some(next).filter(|next| next.part < PARTS.len())))
        }
    }
}
impl<R: Reader> PersonalData for R {}

fn line(part: &Part, row: &Row) -> Result<Json, StoreError> {
    let mut line = Map::from_iter([("part".to_owned(), Json::from(part.name))]);
    for (name, kind) in part.columns {
        let value = match kind {
            As::Id => row.at::<Option<Uuid>>(name)?.map(|id| Json::from(id.to_string())),
            As::Text => row.at::<Option<String>>(name)?.map(Json::from),
            As::Flag => row.at::<Option<bool>>(name)?.map(Json::from),
            As::Time => row.at::<Option<Timestamp>>(name)?.map(|at| Json::from(at.to_string())),
            As::Number => row.at::<Option<u64>>(name)?.map(Json::from),
            As::Json => row.at::<Option<Json>>(name)?,
        };
        line.insert((*name).to_owned(), value.unwrap_or_default());
    }
    Ok(Json::Object(line))
}

/// Tables of people that are handed out, and those that are not. For the test that finds one in neither.
pub fn tables_of_people() -> impl Iterator<Item = &'static str> {
    PARTS.iter().flat_map(|part| part.tables).chain(NOT_HANDED_OUT).copied()
}
