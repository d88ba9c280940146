//! What handlers answer: things that were made, changed and deleted, and lists.

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use domain::model::Version;
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use store::{Commit, Page, list::Slice};
use uuid::Uuid;

use super::extract::{Names, cursor};
use crate::{app::permissions::PermissionContext, envelope::Settle};

/// One page of a list.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct List<T> {
    /// The items, in the order that was asked for: of their ids where there is no other.
    pub items: Vec<T>,
    /// Where the next page begins; none at the end.
    pub next_cursor: Option<String>,
}

impl<T> List<T> {
    /// From rows, of which a full page may have a next one.
    pub fn page<R>(rows: Vec<R>, page: Page, id: impl Fn(&R) -> Uuid, view: impl Fn(R) -> T) -> Self {
        let full = rows.len() >= usize::try_from(page.limit).unwrap_or(usize::MAX);
        let next_cursor = rows.last().filter(|_| full).map(|last| cursor(id(last)));
        Self { items: rows.into_iter().map(view).collect(), next_cursor }
    }

    /// A part of a list that the store has found.
    pub fn of<R>(found: Slice<R>, view: impl Fn(R) -> T) -> Self {
        Self { items: found.rows.into_iter().map(view).collect(), next_cursor: found.next }
    }

    /// Those of a list of names that were asked for. `named` says what an item is called, once in each context, and where it
    /// counts.
    pub fn named<R>(
        items: impl IntoIterator<Item = R>,
        asked: &Names,
        named: impl Fn(&R) -> (String, PermissionContext),
        view: impl Fn(R) -> T,
    ) -> Self {
        let mut found: Vec<(String, R)> = Vec::new();
        for item in items {
            let (name, context) = named(&item);
            let wanted = asked.context.is_none_or(|wanted| wanted == context)
                && asked.search.as_ref().is_none_or(|part| name.to_lowercase().contains(part));
            // No name holds a space.
            let place = format!("{name} {}", context.name());
            let beyond =
                asked.after.as_ref().is_none_or(|after| (place < *after) == asked.descending && place != *after);
            if wanted && beyond {
                found.push((place, item));
            }
        }
        found.sort_by(|(a, _), (b, _)| if asked.descending { b.cmp(a) } else { a.cmp(b) });
        let more = found.len() > asked.limit;
        found.truncate(asked.limit);
        let last = found.last().filter(|_| more);
        let next_cursor = last.map(|(place, _)| URL_SAFE_NO_PAD.encode(place));
        Self { items: found.into_iter().map(|(_, item)| view(item)).collect(), next_cursor }
    }

    /// All there is, where that is little and bounded.
    pub const fn whole(items: Vec<T>) -> Self {
        Self { items, next_cursor: None }
    }
}

/// One thing that was read, with its version as `ETag`.
#[derive(Debug)]
pub struct One<T> {
    /// Its version.
    pub version: Version,
    /// It.
    pub body: T,
}

impl<T: Serialize> IntoResponse for One<T> {
    fn into_response(self) -> Response {
        tagged(Json(self.body).into_response(), self.version)
    }
}

/// 201: something was made.
#[derive(Debug)]
pub struct Created<T> {
    /// Where it can be read.
    pub location: String,
    /// Its version, where it can be changed.
    pub version: Option<Version>,
    /// It.
    pub body: T,
    /// What was committed.
    pub commit: Commit,
}

impl<T: Serialize> IntoResponse for Created<T> {
    fn into_response(self) -> Response {
        let mut response = (StatusCode::CREATED, Json(self.body)).into_response();
        if let Ok(location) = HeaderValue::from_str(&self.location) {
            response.headers_mut().insert(header::LOCATION, location);
        }
        if let Some(version) = self.version {
            response = tagged(response, version);
        }
        settling(response, Settle { commit: Some(self.commit), revokes: false })
    }
}

/// 200: something was changed.
#[derive(Debug)]
pub struct Changed<T> {
    /// Its version now, where it has one.
    pub version: Option<Version>,
    /// It, as it is now.
    pub body: T,
    /// What was committed.
    pub commit: Commit,
    /// Whether the change takes something away.
    pub revokes: bool,
}

impl<T: Serialize> IntoResponse for Changed<T> {
    fn into_response(self) -> Response {
        let mut response = Json(self.body).into_response();
        if let Some(version) = self.version {
            response = tagged(response, version);
        }
        settling(response, Settle { commit: Some(self.commit), revokes: self.revokes })
    }
}

/// An answer that shows something this once: nobody keeps it, caches and idempotency keys among them.
#[derive(Debug)]
pub struct ShownOnce<T>(pub T);

impl<T: IntoResponse> IntoResponse for ShownOnce<T> {
    fn into_response(self) -> Response {
        let mut response = self.0.into_response();
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

/// 204: something is gone.
#[derive(Clone, Copy, Debug)]
pub struct Gone(pub Settle);

impl Gone {
    /// By a change of configuration.
    pub const fn by(commit: Commit) -> Self {
        Self(Settle { commit: Some(commit), revokes: true })
    }
}

impl IntoResponse for Gone {
    fn into_response(self) -> Response {
        settling(StatusCode::NO_CONTENT.into_response(), self.0)
    }
}

/// An answer that the envelope holds back until the gateways have heard.
pub fn settling(mut response: Response, settle: Settle) -> Response {
    response.extensions_mut().insert(settle);
    response
}

fn tagged(mut response: Response, version: Version) -> Response {
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{}\"", version.0)) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_names_is_searched_and_paged_either_way() {
        use PermissionContext::{Sys, Tenant};
        let all = [("b:x:get", Tenant), ("a:x:get", Sys), ("a:x:get", Tenant), ("c:y:get", Tenant)];
        let page = |asked: &Names| List::named(all, asked, |it| (it.0.to_owned(), it.1), |it| it);
        for (descending, mut order) in [
            (false, vec![("a:x:get", Sys), ("a:x:get", Tenant), ("b:x:get", Tenant), ("c:y:get", Tenant)]),
            (true, vec![("c:y:get", Tenant), ("b:x:get", Tenant), ("a:x:get", Tenant), ("a:x:get", Sys)]),
        ] {
            let mut asked = Names { limit: 1, descending, ..Names::default() };
            while !order.is_empty() {
                let found = page(&asked);
                assert_eq!(found.items, [order.remove(0)]);
                assert_eq!(found.next_cursor.is_none(), order.is_empty(), "the last page says so");
                asked.after =
                    found.next_cursor.map(|it| String::from_utf8(URL_SAFE_NO_PAD.decode(it).unwrap()).unwrap());
            }
        }
        let some = Names { limit: 9, search: Some(":x:".into()), context: Some(Tenant), ..Names::default() };
        assert_eq!(page(&some).items, [("a:x:get", Tenant), ("b:x:get", Tenant)]);
    }
}
