//! Names instead of ids: a tenant or a project may be given by its slug wherever its id is asked for.

use reqwest::Method;
use serde_json::{Map, Value};

use super::{catalog::Operation, pages::Pages};
use crate::admin::{Failure, SignedIn, answer};

/// A place that may hold a slug.
#[derive(Clone, Copy)]
enum Named {
    Tenant,
    Project,
}

impl Named {
    /// By the name of a member.
    fn by_member(name: &str) -> Option<Self> {
        match name {
            "tenant_id" => Some(Self::Tenant),
            "project_id" => Some(Self::Project),
            _ => None,
        }
    }

    /// By what stands before a parameter in a path.
    fn by_path(before: &str) -> Option<Self> {
        match before {
            "tenants" => Some(Self::Tenant),
            "projects" => Some(Self::Project),
            _ => None,
        }
    }
}

/// What was typed: places in the path, the query, members of the body.
type Typed<'t> = (&'t mut [String], &'t mut [(String, String)], &'t mut Map<String, Value>);

/// Puts ids where slugs were typed.
///
/// # Errors
/// A slug that there is not, and what the control API answers.
pub(super) async fn resolve(
    session: &SignedIn,
    it: &Operation,
    (places, query, body): Typed<'_>,
) -> anyhow::Result<()> {
    let segments: Vec<&str> = it.path.split('/').collect();
    let before = segments.windows(2).filter_map(|pair| match pair {
        [before, parameter] if parameter.starts_with('{') => Some(*before),
        _ => None,
    });
    for (before, value) in before.zip(places) {
        if let Some(kind) = Named::by_path(before) {
            *value = id(session, kind, value).await?;
        }
    }
    for (name, value) in query {
        if let Some(kind) = Named::by_member(name) {
            *value = id(session, kind, value).await?;
        }
    }
    for (name, value) in body {
        if let (Some(kind), Value::String(text)) = (Named::by_member(name), &mut *value) {
            *text = id(session, kind, text).await?;
        }
    }
    Ok(())
}

/// The id of a tenant by its slug.
///
/// # Errors
/// What the control API answers.
pub(crate) async fn tenant(session: &SignedIn, name: &str) -> anyhow::Result<String> {
    id(session, Named::Tenant, name).await
}

/// The id of a project by its slug.
///
/// # Errors
/// What the control API answers.
pub(crate) async fn project(session: &SignedIn, name: &str) -> anyhow::Result<String> {
    id(session, Named::Project, name).await
}

async fn id(session: &SignedIn, kind: Named, name: &str) -> anyhow::Result<String> {
    if name.parse::<uuid::Uuid>().is_ok() {
        return Ok(name.to_owned());
    }
    // It becomes part of a path.
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
        return Err(Failure::usage(format!("`{}` is neither an id nor a slug", crate::admin::text(name))).into());
    }
    match kind {
        Named::Tenant => {
            let path = format!("/v1/tenants/by-slug/{name}");
            let found: Value = answer(session.ask(Method::GET, &path), &format!("tenant `{name}`")).await?;
            Ok(text(&found, "id"))
        }
        Named::Project => by_listing(session, name).await,
    }
}

async fn by_listing(session: &SignedIn, slug: &str) -> anyhow::Result<String> {
    let mut pages = Pages::all(session, "projects", "/v1/projects");
    while let Some(projects) = pages.next().await? {
        if let Some(project) = projects.iter().find(|it| text(it, "slug") == slug) {
            return Ok(text(project, "id"));
        }
    }
    Err(Failure::usage(format!("there is no project `{slug}`")).into())
}

fn text(value: &Value, name: &str) -> String {
    value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}
