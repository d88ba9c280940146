//! An event as others report it: Retraced's shape, with bounds on everything.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use domain::{
    TenantId, Timestamp,
    audit::{ActorKind, Crud, Origin, Report, ReportedActor, ReportedGroup, Target},
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::schema::wire;
use crate::{
    app::{audit::Draft, text},
    error::AppError,
};

/// Longest id, name, component and version, in characters.
const SHORT: usize = 256;
/// Longest description and link, in characters.
const LONG: usize = 2048;
/// Most fields.
const MAX_FIELDS: usize = 64;
/// Longest name of a field, in characters.
const FIELD_NAME: usize = 64;
/// Longest value of a field, in characters.
const FIELD_VALUE: usize = 1024;
/// How far ahead of ours a reporter's clock may be.
const AHEAD: Duration = Duration::from_secs(24 * 3600);

/// An event as it is reported.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReportEvent {
    /// What happened, such as `order.approved`: at most 128 of `a-z`, `0-9`, `-`, `_` and at least one dot. Names of our own
    /// events, such as `user.created`, are refused.
    action: String,
    /// Created, read, updated or deleted.
    crud: Crud,
    /// The tenant. Services name it here or as the id of `group`; others mean their own.
    tenant_id: Option<TenantId>,
    /// Where it happened, as the reporter names it.
    group: Option<GroupOf>,
    /// Who did it. Needed unless `is_anonymous`.
    actor: Option<ActorOf>,
    /// What it was done to.
    target: Option<TargetOf>,
    /// When it happened, at most a day ahead. Default: now.
    created: Option<Timestamp>,
    /// From which address.
    #[schemars(with = "Option<String>")]
    source_ip: Option<IpAddr>,
    /// In words, at most 2048 characters.
    #[serde(default)]
    description: String,
    /// Nobody known did it.
    #[serde(default)]
    is_anonymous: bool,
    /// It was tried and failed.
    #[serde(default)]
    is_failure: bool,
    /// What changed: at most 64 names of at most 64 characters, with values of at most 1024.
    #[serde(default)]
    fields: BTreeMap<String, String>,
    /// Which part of the service.
    component: Option<String>,
    /// Which version of it.
    version: Option<String>,
    /// The event's id there: the same one twice is one event.
    external_id: Option<String>,
}

/// A group as it is reported.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GroupOf {
    /// Its id.
    id: String,
    /// Its name.
    #[serde(default)]
    name: String,
}

/// An actor as it is reported.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ActorOf {
    /// Its id.
    id: String,
    /// Its name.
    #[serde(default)]
    name: String,
    /// Where more is to be found of it: a path, or a URL of http or https.
    href: Option<String>,
}

/// A target as it is reported.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TargetOf {
    /// Its id.
    id: String,
    /// Kind of thing.
    #[serde(rename = "type", default)]
    kind: String,
    /// Its name.
    #[serde(default)]
    name: String,
    /// Where more is to be found of it: a path, or a URL of http or https.
    href: Option<String>,
}

wire!(ReportEvent);

impl ReportEvent {
    /// The tenant that it, or its group, names.
    pub(crate) fn tenant_or_group(&self) -> Option<TenantId> {
        self.tenant_id.or_else(|| self.group.as_ref().and_then(|group| group.id.parse().ok()))
    }

    /// The tenant it names, and the event.
    ///
    /// # Errors
    /// [`AppError::Invalid`].
    pub(crate) fn draft(self, now: Timestamp) -> Result<(Option<TenantId>, Draft), AppError> {
        let named = self.tenant_id;
        let short = |pointer: &str, it: &str| text::check(pointer, it, 0..=SHORT);
        text::check("/description", &self.description, 0..=LONG)?;
        for (pointer, it) in [("/component", &self.component), ("/version", &self.version)] {
            short(pointer, it.as_deref().unwrap_or_default())?;
        }
        if let Some(id) = &self.external_id {
            text::check("/external_id", id, 1..=SHORT)?;
        }
        if self.created.is_some_and(|at| at > now + AHEAD) {
            return Err(AppError::field("/created", "range", "is more than a day ahead"));
        }
        let group = self.group.map(|GroupOf { id, name }| {
            short("/group/id", &id).and_then(|()| short("/group/name", &name))?;
            Ok::<_, AppError>(ReportedGroup { id, name })
        });
        let target =
            self.target.unwrap_or(TargetOf { id: String::new(), kind: String::new(), name: String::new(), href: None });
        short("/target/id", &target.id).and_then(|()| short("/target/name", &target.name))?;
        short("/target/type", &target.kind)?;
        let report = Report {
            created: self.created.unwrap_or(now),
            description: self.description,
            target_href: link("/target/href", target.href)?,
            group: group.transpose()?,
            component: self.component,
            version: self.version,
        };
        let draft = Draft {
            action: self.action,
            crud: self.crud,
            target: Target { kind: target.kind, id: target.id, name: target.name },
            actor: actor(self.actor, self.is_anonymous)?,
            origin: Origin { source_ip: self.source_ip, ..Origin::default() },
            is_failure: self.is_failure,
            fields: fields(self.fields)?,
            report,
            external_id: self.external_id,
        };
        Ok((named, draft))
    }
}

fn actor(reported: Option<ActorOf>, is_anonymous: bool) -> Result<ReportedActor, AppError> {
    let Some(ActorOf { id, name, href }) = reported else {
        if is_anonymous {
            return Ok(ReportedActor { kind: ActorKind::Anonymous, id: None, name: String::new(), href: None });
        }
        return Err(AppError::field("/actor", "required", "name the actor, or say `is_anonymous`"));
    };
    text::check("/actor/id", &id, 1..=SHORT)?;
    text::check("/actor/name", &name, 0..=SHORT)?;
    let kind = if is_anonymous { ActorKind::Anonymous } else { ActorKind::User };
    Ok(ReportedActor { kind, id: Some(id), name, href: link("/actor/href", href)? })
}

/// A link that leads somewhere and does nothing.
fn link(pointer: &str, href: Option<String>) -> Result<Option<String>, AppError> {
    let leads = |href: &str| ["https://", "http://", "/"].iter().any(|beginning| href.starts_with(beginning));
    match href {
        Some(href) if !leads(&href) => {
            Err(AppError::field(pointer, "invalid", "is no path and no URL of http or https"))
        }
        Some(href) => text::check(pointer, &href, 1..=LONG).map(|()| Some(href)),
        None => Ok(None),
    }
}

fn fields(fields: BTreeMap<String, String>) -> Result<serde_json::Value, AppError> {
    if fields.len() > MAX_FIELDS {
        return Err(AppError::field("/fields", "range", format!("at most {MAX_FIELDS} are allowed")));
    }
    for (name, value) in &fields {
        text::check("/fields", name, 1..=FIELD_NAME)?;
        text::check("/fields", value, 0..=FIELD_VALUE)?;
    }
    Ok(json!(fields))
}
