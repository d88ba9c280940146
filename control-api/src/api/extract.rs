//! What handlers take: bodies, ids in paths, lists and pages, versions. Each refuses with a problem that names the place.

use std::marker::PhantomData;

use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Path, Request},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use domain::{Id, TenantId, Timestamp, model::Version};
use http::{header, request::Parts};
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use store::{
    Page,
    list::{Listing, MAX_SEARCH, Selection, Takes},
};
use utoipa::openapi::{
    KnownFormat, ObjectBuilder, Required, SchemaFormat,
    path::{Parameter, ParameterBuilder, ParameterIn},
    schema::Type,
};
use uuid::Uuid;

use crate::{
    App,
    app::permissions::PermissionContext,
    error::{AppError, FieldError},
};

/// Longest body, in bytes.
pub const MAX_BODY: usize = 1024 * 1024;

/// A JSON body. A text that is no JSON is 400; a JSON text of another form is 422 and names the field.
#[derive(Clone, Debug)]
pub struct Body<T>(pub T);

impl<T: DeserializeOwned> FromRequest<App> for Body<T> {
    type Rejection = AppError;
    async fn from_request(request: Request, app: &App) -> Result<Self, AppError> {
        let media = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
        let essence = media.split(';').next().unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case("application/json") {
            return Err(AppError::MediaType);
        }
        let bytes = Bytes::from_request(request, app).await.map_err(|_| AppError::TooLarge)?;
        read(&bytes).map(Self)
    }
}

/// Reads a JSON text.
pub(crate) fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, AppError> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let value: T = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let pointer = pointer(error.path());
        let inner = error.into_inner();
        match inner.classify() {
            serde_json::error::Category::Data => AppError::field(pointer, "invalid", without_place(&inner)),
            serde_json::error::Category::Io
            | serde_json::error::Category::Syntax
            | serde_json::error::Category::Eof => {
                AppError::Malformed(format!("line {}, column {}", inner.line(), inner.column()))
            }
        }
    })?;
    json.end().map_err(|error| AppError::Malformed(format!("line {}, column {}", error.line(), error.column())))?;
    Ok(value)
}

fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    path.iter()
        .map(|segment| match segment {
            Segment::Seq { index } => format!("/{index}"),
            Segment::Map { key } => format!("/{}", key.replace('~', "~0").replace('/', "~1")),
            Segment::Enum { .. } | Segment::Unknown => String::new(),
        })
        .collect()
}

/// The words of a serde error without the place, which the pointer says.
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.split(" at line ").next().unwrap_or_default().to_owned()
}

/// What a merge patch (RFC 7396) says of a member that can be cleared: nothing where it is absent, `Some(None)` for `null`.
///
/// # Errors
/// Of the value.
pub fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(from).map(Some)
}

/// The one parameter of a path. One that cannot be an id names nothing: 404.
#[derive(Clone, Copy, Debug)]
pub struct At<T>(pub T);

impl<T: DeserializeOwned + Send> FromRequestParts<App> for At<T> {
    type Rejection = AppError;
    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, AppError> {
        let path = Path::<T>::from_request_parts(parts, app).await;
        path.map(|Path(value)| Self(value)).map_err(|_| AppError::NotFound("thing"))
    }
}

/// The part of a list that is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Paging(pub Page);

/// Query parameters of lists.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// At most so many items, 1 to 500. Default 50.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

impl FromRequestParts<App> for Paging {
    type Rejection = AppError;
    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, AppError> {
        let Asked(query) = Asked::<PageQuery>::from_request_parts(parts, app).await?;
        let limit = query.limit.unwrap_or(Page::FIRST.limit);
        if !(1..=Page::WIDEST.limit).contains(&limit) {
            return Err(AppError::parameter("limit", "range", "1 to 500 are allowed"));
        }
        let after = query.cursor.map(|cursor| uncursor(&cursor)).transpose()?;
        Ok(Self(Page { after, limit }))
    }
}

/// A list that is asked for in some order, and what is left of it.
#[derive(Clone, Debug)]
pub struct Listed<L>(pub Selection<L>);

impl<L: Listing> FromRequestParts<App> for Listed<L> {
    type Rejection = AppError;
    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, AppError> {
        let query: Vec<(String, String)> = queried(parts)?;
        Ok(Self(Selection::read(query.iter().map(|(name, text)| (name.as_str(), text.as_str())))?))
    }
}

/// Query parameters of such a list, as its [`Listing`] says.
#[derive(Debug)]
pub struct ListQuery<L>(PhantomData<L>);

impl<L: Listing> utoipa::IntoParams for ListQuery<L> {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let sorts = L::SORTS.iter().flat_map(|by| [by.name.to_owned(), format!("-{}", by.name)]);
        let order = "What it is sorted by; `-` in front for the other way round. By id where nothing is said.";
        let page = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1)).maximum(Some(MOST));
        let mut all = vec![
            parameter("limit", "At most so many items, 1 to 500. Default 50.", page),
            parameter("cursor", "`next_cursor` of the page before, which was asked for alike.", text()),
            parameter("sort", order, text().enum_values(Some(sorts))),
        ];
        all.extend(L::FILTERS.iter().map(|filter| parameter(filter.name, filter.says, taken(filter.takes))));
        all
    }
}

/// Most items of one page.
const MOST: u32 = Page::WIDEST.limit;

fn parameter(name: &str, says: &str, schema: ObjectBuilder) -> Parameter {
    let parameter = ParameterBuilder::new().name(name).parameter_in(ParameterIn::Query).required(Required::False);
    parameter.description(Some(says)).schema(Some(schema)).build()
}

/// A header that a request may carry.
pub(crate) fn header_parameter(name: &str, says: &str) -> Parameter {
    let parameter = ParameterBuilder::new().name(name).parameter_in(ParameterIn::Header).required(Required::False);
    parameter.description(Some(says)).schema(Some(text())).build()
}

fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

fn taken(takes: Takes) -> ObjectBuilder {
    match takes {
        Takes::Part | Takes::Folded | Takes::Text => text().min_length(Some(1)).max_length(Some(MAX_SEARCH)),
        Takes::Word(words) => text().enum_values(Some(words.iter().copied())),
        Takes::Id => text().format(Some(SchemaFormat::KnownFormat(KnownFormat::Uuid))),
        Takes::Flag => ObjectBuilder::new().schema_type(Type::Boolean),
        Takes::Time => text().format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime))),
    }
}

/// The part of a list of names that is asked for. Names are all there is to such a list: it is sorted by them.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// At most so many.
    pub limit: usize,
    /// The last of the page before.
    pub after: Option<String>,
    /// A part of the name.
    pub search: Option<String>,
    /// Where it counts.
    pub context: Option<PermissionContext>,
    /// The other way round.
    pub descending: bool,
}

/// Query parameters of lists of names.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct NamesQuery {
    /// At most so many items, 1 to 500. Default 50.
    limit: Option<u32>,
    /// `next_cursor` of the page before, which was asked for alike.
    cursor: Option<String>,
    /// What it is sorted by: `name`, or `-name` for the other way round. By name where nothing is said.
    #[param(inline)]
    sort: Option<NameOrder>,
    /// Whose name holds this, in any case.
    search: Option<String>,
    /// Of this context: `tenant` or `sys`.
    #[param(inline)]
    context: Option<PermissionContext>,
}

/// In which order names are listed.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, utoipa::ToSchema)]
pub enum NameOrder {
    /// From a to z.
    #[default]
    #[serde(rename = "name")]
    Name,
    /// From z to a.
    #[serde(rename = "-name")]
    Backwards,
}

impl FromRequestParts<App> for Names {
    type Rejection = AppError;
    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, AppError> {
        let Asked(query) = Asked::<NamesQuery>::from_request_parts(parts, app).await?;
        let limit = query.limit.unwrap_or(Page::FIRST.limit);
        if !(1..=MOST).contains(&limit) {
            return Err(AppError::parameter("limit", "range", "1 to 500 are allowed"));
        }
        if let Some(search) = &query.search {
            if search.chars().any(char::is_control) {
                return Err(AppError::parameter("search", "invalid", "holds control characters"));
            }
            if !(1..=MAX_SEARCH).contains(&search.chars().count()) {
                return Err(AppError::parameter(
                    "search",
                    "range",
                    format!("1 to {MAX_SEARCH} characters are allowed"),
                ));
            }
        }
        Ok(Self {
            limit: usize::try_from(limit).unwrap_or(usize::MAX),
            after: query.cursor.map(|cursor| after(&cursor)).transpose()?,
            search: query.search.map(|search| search.to_lowercase()),
            context: query.context,
            descending: query.sort == Some(NameOrder::Backwards),
        })
    }
}

/// The name that a cursor of a list of names holds.
fn after(cursor: &str) -> Result<String, AppError> {
    let name = URL_SAFE_NO_PAD.decode(cursor).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    name.ok_or_else(|| AppError::parameter("cursor", "invalid", "is no `next_cursor` of a page"))
}

/// Query parameters. One that cannot be read is 400 and named.
#[derive(Clone, Copy, Debug)]
pub struct Asked<T>(pub T);

impl<T: DeserializeOwned> FromRequestParts<App> for Asked<T> {
    type Rejection = AppError;
    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, AppError> {
        queried(parts).map(Self)
    }
}

/// Reads the query of a request.
fn queried<T: DeserializeOwned>(parts: &Parts) -> Result<T, AppError> {
    let query = parts.uri.query().unwrap_or_default();
    // No database keeps this character, and nobody means it.
    let nul = query.split('&').find(|pair| pair.contains("%00"));
    if let Some((name, _)) = nul.map(|pair| pair.split_once('=').unwrap_or((pair, ""))) {
        return Err(AppError::parameter(&name.replace("%00", ""), "invalid", "holds NUL"));
    }
    let read = serde_urlencoded::Deserializer::new(form_urlencoded::parse(query.as_bytes()));
    serde_path_to_error::deserialize(read).map_err(|error| {
        let name = error.path().to_string();
        let detail = error.into_inner().to_string();
        match name.as_str() {
            "." | "?" => AppError::Parameter(FieldError::new("?", "invalid", detail)),
            name => AppError::parameter(name, "invalid", detail),
        }
    })
}

/// Which tenant, for staff; a tenant's principals act in their own.
#[derive(Clone, Copy, Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct TenantQuery {
    /// The tenant. Staff names one; others may name their own.
    #[param(value_type = Option<String>)]
    pub tenant_id: Option<TenantId>,
}

/// Whether a write waits for the gateways.
#[derive(Clone, Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "read by the envelope, described here")]
pub struct WaitQuery {
    /// `applied`: answer once every live gateway has applied it, or after 5 s with 202 and who has not.
    wait: Option<String>,
}

/// The version the caller changes (`If-Match`, RFC 9110 §13.1.1); none for whichever it is.
#[derive(Clone, Copy, Debug)]
pub struct IfMatch(pub Option<Version>);

impl IfMatch {
    /// The version to compare with: the caller's, else the one that was found.
    pub fn or(self, found: Version) -> Version {
        self.0.unwrap_or(found)
    }
}

impl utoipa::IntoParams for IfMatch {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let says = "The `ETag` of what was read: 412 when it was changed since. Whichever it is where nothing is said.";
        vec![header_parameter("If-Match", says)]
    }
}

impl FromRequestParts<App> for IfMatch {
    type Rejection = AppError;
    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, AppError> {
        let Some(value) = parts.headers.get(header::IF_MATCH) else { return Ok(Self(None)) };
        let text = value.to_str().unwrap_or_default().trim();
        if text == "*" {
            return Ok(Self(None));
        }
        let number = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).and_then(|text| text.parse().ok());
        // A tag that is none of ours matches no version.
        Ok(Self(Some(Version(number.unwrap_or(0)))))
    }
}

/// A place in a list, opaque to callers.
pub fn cursor(id: Uuid) -> String {
    URL_SAFE_NO_PAD.encode(id.as_bytes())
}

/// A place in a list by time, opaque to callers.
pub fn timed_cursor<K>(at: Timestamp, id: Id<K>) -> String {
    URL_SAFE_NO_PAD.encode(format!("{}:{id}", at.millis()))
}

/// The place that a [`timed_cursor`] names.
///
/// # Errors
/// [`AppError::Invalid`] for what is none.
pub fn untimed_cursor<K>(text: &str) -> Result<(Timestamp, Id<K>), AppError> {
    let read = || {
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
        let (millis, id) = text.split_once(':')?;
        Some((Timestamp::from_millis(millis.parse().ok()?), id.parse().ok()?))
    };
    read().ok_or_else(|| AppError::parameter("cursor", "invalid", "is no `next_cursor` of a page"))
}

/// A place in a list, as it was given out.
///
/// # Errors
/// [`AppError::Invalid`].
pub fn uncursor(text: &str) -> Result<Uuid, AppError> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok();
    bytes
        .and_then(|bytes| Uuid::from_slice(&bytes).ok())
        .ok_or_else(|| AppError::parameter("cursor", "invalid", "is no `next_cursor` of a page"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        #[expect(dead_code, reason = "only its errors are looked at")]
        items: Vec<Inner>,
    }
    #[derive(Debug, Deserialize)]
    struct Inner {
        #[expect(dead_code, reason = "only its errors are looked at")]
        count: u8,
    }

    #[test]
    fn a_wrong_field_is_named_and_broken_json_is_not_json() {
        let fields = |text: &str| read::<Outer>(text.as_bytes()).unwrap_err().fields();
        assert_eq!(fields(r#"{"items": [{"count": 1}, {"count": "x"}]}"#)[0].pointer, "/items/1/count");
        assert_eq!(fields(r#"{"items": [], "more": 1}"#)[0].pointer, "/more");
        for broken in ["", "{", "{\"items\": [}", "{\"items\": []} x"] {
            assert!(matches!(read::<Outer>(broken.as_bytes()), Err(AppError::Malformed(_))), "{broken}");
        }
    }

    #[test]
    fn a_cursor_reads_back_what_it_wrote() {
        let id = Uuid::from_u128(7);
        assert_eq!(uncursor(&cursor(id)).unwrap(), id);
        assert!(uncursor("x").is_err());
        let place = (Timestamp::from_millis(1_700_000_000_123), TenantId::new(id));
        assert_eq!(untimed_cursor(&timed_cursor(place.0, place.1)).unwrap(), place);
        assert!(untimed_cursor::<domain::id::kind::Tenant>("x").is_err());
    }
}
