//! Webhooks: where a tenant is told what happens, and about what.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

use super::Version;
use crate::{
    AuditEventId, ProjectId, Secret, TenantId, Timestamp, WebhookDeliveryId, WebhookId,
    audit::{is_action, is_action_part},
};

/// Webhooks of a tenant, at most.
pub const MAX_WEBHOOKS: u64 = 20;

/// Patterns of a webhook, at most.
pub const MAX_EVENTS: usize = 64;

/// Longest URL, in bytes.
pub const MAX_URL: usize = 2048;

/// Longest description, in characters.
pub const MAX_DESCRIPTION: usize = 256;

/// How long the old secret signs on beside the new one, where a rotation says nothing.
pub const OVERLAP: Duration = Duration::from_secs(24 * 3600);

/// How long it may at most.
pub const MAX_OVERLAP: Duration = Duration::from_secs(7 * 24 * 3600);

/// Which events: `*` for all, `user.*` for all of users, `user.created` for these.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String", extend("examples" = ["*", "user.*", "user.created"]))]
pub struct EventPattern(Box<str>);

impl EventPattern {
    /// Whether events of this action are meant.
    pub fn matches(&self, action: &str) -> bool {
        match self.beginning() {
            (whole, true) => whole == action,
            (beginning, false) => action.starts_with(beginning),
        }
    }

    /// What actions begin with that are meant, and whether that is the whole of them.
    pub fn beginning(&self) -> (&str, bool) {
        self.0.strip_suffix('*').map_or((&self.0, true), |beginning| (beginning, false))
    }
}

impl FromStr for EventPattern {
    type Err = EventPatternError;
    fn from_str(text: &str) -> Result<Self, EventPatternError> {
        let sound = match text.strip_suffix(".*") {
            Some(beginning) => beginning.split('.').all(is_action_part) && text.len() <= crate::audit::MAX_ACTION,
            None => text == "*" || is_action(text),
        };
        if sound { Ok(Self(text.into())) } else { Err(EventPatternError { text: text.into() }) }
    }
}

/// Why a text is not an [`EventPattern`].
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{text}` is not an event such as `user.created`, nor `user.*` or `*`")]
pub struct EventPatternError {
    text: String,
}

impl TryFrom<String> for EventPattern {
    type Error = EventPatternError;
    fn try_from(text: String) -> Result<Self, EventPatternError> {
        text.parse()
    }
}
impl From<EventPattern> for String {
    fn from(it: EventPattern) -> Self {
        it.0.into()
    }
}
impl fmt::Display for EventPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a tenant is told what happens. Its secrets are not part of this.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Webhook {
    /// Its id.
    pub id: WebhookId,
    /// Its project.
    pub project_id: ProjectId,
    /// Whose it is.
    pub tenant_id: TenantId,
    /// Where events are sent.
    pub url: String,
    /// What it is for.
    pub description: String,
    /// Which events are sent.
    pub events: Vec<EventPattern>,
    /// Until when the secret before the last rotation signs, too.
    pub previous_until: Option<Timestamp>,
    /// Since when every delivery has failed.
    pub failing_since: Option<Timestamp>,
    /// Since when nothing is sent.
    pub disabled: Option<(Timestamp, DisabledBy)>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Counts its changes.
    pub version: Version,
}

impl Webhook {
    /// Scheme and host of its URL, whose path is often a secret of the receiver's.
    pub fn origin(&self) -> String {
        self.url.split('/').take(3).collect::<Vec<_>>().join("/")
    }
}

/// Why nothing is sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DisabledBy {
    /// Nothing was taken for too long.
    Failures,
    /// Somebody wanted it so.
    Request,
}

/// A webhook to be made.
#[derive(Clone, Debug)]
pub struct NewWebhook {
    /// Its id.
    pub id: WebhookId,
    /// Its project.
    pub project_id: ProjectId,
    /// Whose it is.
    pub tenant_id: TenantId,
    /// Where events are sent.
    pub url: String,
    /// What it is for.
    pub description: String,
    /// Which events are sent.
    pub events: Vec<EventPattern>,
    /// What signs them.
    pub secret: Secret<Vec<u8>>,
}

/// What becomes of an event for a webhook.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    /// It is being tried.
    Pending,
    /// The receiver took it.
    Delivered,
    /// It was tried for too long.
    Failed,
}

/// One event for one webhook.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Delivery {
    /// Its id.
    pub id: WebhookDeliveryId,
    /// For which webhook.
    pub webhook_id: WebhookId,
    /// Its project.
    pub project_id: ProjectId,
    /// Its tenant.
    pub tenant_id: TenantId,
    /// The event; receivers know it by this id, however often it is sent.
    pub event_id: AuditEventId,
    /// What happened.
    pub action: String,
    /// What became of it.
    pub state: DeliveryState,
    /// How often it was tried.
    pub attempts: u32,
    /// When it is due, while it is pending.
    pub next_at: Timestamp,
    /// Since when it is tried, this time.
    pub since: Timestamp,
    /// When it was last tried.
    pub attempted_at: Option<Timestamp>,
    /// The status of the last answer, if there was one.
    pub status: Option<u32>,
    /// Why the last attempt failed.
    pub error: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Changes with each claim.
    pub epoch: u64,
}

#[test]
fn a_pattern_means_an_event_a_kind_of_thing_or_everything() {
    for (pattern, action, meant) in [
        ("*", "user.created", true),
        ("user.*", "user.created", true),
        ("user.*", "users.created", false),
        ("user.*", "user", false),
        ("user.created", "user.created", true),
        ("user.created", "user.created.twice", false),
    ] {
        assert_eq!(pattern.parse::<EventPattern>().unwrap().matches(action), meant, "{pattern} {action}");
    }
    for wrong in ["", ".", "user.", ".*", "us*", "user.*.x", "User.created", "user..created", "**"] {
        assert!(wrong.parse::<EventPattern>().is_err(), "{wrong}");
    }
}
