//! One verb: what was typed becomes a request, what is answered is printed.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{ArgMatches, FromArgMatches as _};
use domain::Clock;
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use serde_json::{Map, Value};

use super::{
    catalog::{Answers, Field, Operation, Shape},
    command::{BODY, CLEAR, IF_VERSION, KEY, LIMIT, takes_version},
    names,
    pages::Pages,
    print::{Output, Printer},
};
use crate::admin::{Connection, Failure, SignedIn, read_secret, read_text, send};

/// The member by which a thing that was read says its version; a body that is given back may hold it.
const VERSION: &str = "version";

/// What was typed, put together.
struct Wish {
    /// Of the path, in order.
    places: Vec<String>,
    query: Vec<(String, String)>,
    /// None: there is nothing but flags.
    file: Option<Map<String, Value>>,
    flags: Map<String, Value>,
    clear: Vec<String>,
    if_version: Option<u64>,
    key: Option<String>,
    limit: Option<u64>,
}

/// Does it.
///
/// # Errors
/// A [`Failure`], or what cannot be read.
pub(super) async fn perform(
    what: &str,
    it: &Operation,
    columns: &'static [&'static str],
    typed: &ArgMatches,
    clock: &dyn Clock,
) -> anyhow::Result<()> {
    let connection = Connection::from_arg_matches(typed)?;
    let output = Output::from_arg_matches(typed)?;
    let mut wish = Wish::read(it, typed)?;
    let session = connection.sign_in(clock).await?;
    names::resolve(&session, it, (&mut wish.places, &mut wish.query, &mut wish.flags)).await?;
    let url = address(session.url(), &it.path, &wish.places)?;
    let printer = Printer::new(output, columns);
    let done = match it.answers {
        Answers::List { paged } => list(what, &session, &url, (wish, paged), printer).await,
        Answers::Text => copy(what, &session, &url, &wish, printer).await,
        Answers::One | Answers::Nothing => one(what, it, &session, &url, wish, printer).await,
    };
    match done {
        // Who reads it has read enough.
        Err(error) if broken_pipe(&error) => Ok(()),
        done => done,
    }
}

fn broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|it| it.kind() == std::io::ErrorKind::BrokenPipe)
}

impl Wish {
    fn read(it: &Operation, typed: &ArgMatches) -> anyhow::Result<Self> {
        let one = |name: &str| typed.try_get_one::<String>(name).ok().flatten().cloned();
        let number = |name: &str| typed.try_get_one::<u64>(name).ok().flatten().copied();
        let mut places = Vec::new();
        for place in &it.places {
            let value = one(&place.key).unwrap_or_default();
            // These would name what is above.
            if value.is_empty() || value == "." || value == ".." {
                return Err(Failure::usage(format!("`{value}` names nothing")).into());
            }
            places.push(value);
        }
        let (mut query, mut flags) = (Vec::new(), Map::new());
        for field in &it.fields {
            let Some(value) = value(field, typed)? else { continue };
            if field.in_query {
                let plain = value.as_str().map_or_else(|| value.to_string(), Into::into);
                query.push((field.name.clone(), plain));
            }
            if field.in_body {
                flags.insert(field.name.clone(), value);
            }
        }
        let file = typed.try_get_one::<PathBuf>(BODY).ok().flatten().map(|path| body(path)).transpose()?;
        let clear = typed.try_get_many::<String>(CLEAR).ok().flatten().into_iter().flatten().cloned().collect();
        let key = it.makes.then(|| one(KEY).unwrap_or_else(|| uuid::Uuid::new_v4().to_string()));
        let mut wish =
            Self { places, query, file, flags, clear, if_version: number(IF_VERSION), key, limit: number(LIMIT) };
        if takes_version(it) {
            // A thing as it was read says which version it is a change of.
            let read = wish.file.as_mut().and_then(|file| file.remove(VERSION)).and_then(|it| it.as_u64());
            wish.if_version = wish.if_version.or(read);
        }
        if let Some(file) = &mut wish.file {
            // What only answers have is left behind; what nobody knows is left for the control API to refuse.
            file.retain(|name, _| !it.members.contains(name) || it.fields.is_empty() || takes(it, name));
        }
        Ok(wish)
    }

    /// The body: what was read, then the file, then flags, less what is cleared.
    fn body(&self, it: &Operation, before: Map<String, Value>) -> anyhow::Result<Option<Map<String, Value>>> {
        if !it.takes_body {
            return Ok(None);
        }
        let mut body = before;
        body.extend(self.file.clone().unwrap_or_default());
        body.extend(self.flags.clone());
        for name in &self.clear {
            if it.method == Method::PATCH {
                body.insert(name.clone(), Value::Null);
            } else {
                body.remove(name);
            }
        }
        let missing = it.fields.iter().find(|field| field.in_body && field.required && !body.contains_key(&field.name));
        match missing {
            Some(field) => Err(Failure::usage(format!("--{} is needed, or a --body that has it", field.flag)).into()),
            None => Ok(Some(body)),
        }
    }
}

fn takes(it: &Operation, name: &str) -> bool {
    it.fields.iter().any(|field| field.in_body && field.name == name)
}

/// What was given for a field.
fn value(field: &Field, typed: &ArgMatches) -> anyhow::Result<Option<Value>> {
    if field.from_file {
        let Some(path) = typed.get_one::<PathBuf>(&field.key) else { return Ok(None) };
        let text = read_secret(path)?;
        // What serde says of a mistake could quote what stands there.
        return Ok(Some(match field.shape {
            Shape::Texts | Shape::Json => serde_json::from_str(text.expose()).map_err(|error| {
                let (line, column) = (error.line(), error.column());
                Failure::usage(format!("--{} is no JSON: line {line}, column {column}", field.flag))
            })?,
            Shape::Text | Shape::Words(_) | Shape::Integer | Shape::Boolean => text.expose().as_str().into(),
        }));
    }
    let text = || typed.get_one::<String>(&field.key);
    Ok(match field.shape {
        Shape::Text | Shape::Words(_) => text().map(|it| it.as_str().into()),
        Shape::Integer => typed.get_one::<i64>(&field.key).map(|it| (*it).into()),
        Shape::Boolean => typed.get_one::<bool>(&field.key).map(|it| (*it).into()),
        Shape::Texts => typed.get_many::<String>(&field.key).map(|it| it.cloned().collect::<Vec<_>>().into()),
        Shape::Json => match text() {
            Some(text) => {
                Some(serde_json::from_str(text).map_err(|error| Failure::usage(format!("--{}: {error}", field.flag)))?)
            }
            None => None,
        },
    })
}

fn body(path: &std::path::Path) -> anyhow::Result<Map<String, Value>> {
    let text = read_text(path)?;
    serde_json::from_str(&text).map_err(|error| {
        Failure::usage(format!("--body is no JSON object: line {}, column {}", error.line(), error.column())).into()
    })
}

/// Under `base`, with each parameter as one segment of its own, whatever it holds.
fn address(base: &Url, path: &str, places: &[String]) -> anyhow::Result<Url> {
    let mut url = base.clone();
    let mut values = places.iter();
    let mut segments = url.path_segments_mut().ok().context("the address of the control API has no path")?;
    segments.pop_if_empty();
    for segment in path.split('/').skip(1) {
        match segment.starts_with('{') {
            true => segments.push(values.next().context("a parameter of the path is missing")?),
            false => segments.push(segment),
        };
    }
    drop(segments);
    Ok(url)
}

fn with_query(url: &Url, query: &[(String, String)]) -> Url {
    let mut url = url.clone();
    if !query.is_empty() {
        url.query_pairs_mut().extend_pairs(query);
    }
    url
}

async fn list(
    what: &str,
    session: &SignedIn,
    url: &Url,
    (wish, paged): (Wish, bool),
    mut printer: Printer,
) -> anyhow::Result<()> {
    let url = with_query(url, &wish.query);
    let mut pages = Pages::new(session, what, url, paged, wish.limit.unwrap_or(u64::MAX));
    while let Some(items) = pages.next().await? {
        printer.items(items)?;
    }
    Ok(printer.end()?)
}

/// What is a text goes on as it comes.
async fn copy(what: &str, session: &SignedIn, url: &Url, wish: &Wish, mut printer: Printer) -> anyhow::Result<()> {
    let ask = session.request(Method::GET, with_query(url, &wish.query));
    let mut response = send(ask, what, None).await?;
    let broke_off = |source| Failure::BrokeOff { what: what.into(), key: None, source };
    while let Some(part) = response.chunk().await.map_err(broke_off)? {
        printer.raw(&part)?;
    }
    Ok(printer.end_raw()?)
}

async fn one(
    what: &str,
    it: &Operation,
    session: &SignedIn,
    url: &Url,
    mut wish: Wish,
    printer: Printer,
) -> anyhow::Result<()> {
    let mut before = Map::new();
    // To replace a part is to read the whole, and to replace that and no later one.
    if it.readable && wish.file.is_none() {
        match send(session.request(Method::GET, with_query(url, &wish.query)), what, None).await {
            Ok(found) => {
                wish.if_version = wish.if_version.or(version(&found));
                before = kept(it, read(found).await?)?;
            }
            Err(failure) if failure.code().is_some() && failure.exit_code() == 3 => {}
            Err(failure) => return Err(failure.into()),
        }
    }
    let mut ask = session.request(it.method.clone(), with_query(url, &wish.query));
    if let Some(body) = wish.body(it, before)? {
        ask = ask.json(&body);
    }
    ask = conditional(ask, wish.if_version, wish.key.as_deref());
    let response = send(ask, what, wish.key.as_deref()).await?;
    let (status, version) = (response.status(), version(&response));
    let bytes = response.bytes().await;
    let bytes = bytes.map_err(|source| Failure::BrokeOff { what: what.into(), key: wish.key.clone(), source })?;
    let mut answered = match bytes.is_empty() {
        true => Value::Null,
        false => serde_json::from_slice(&bytes).with_context(|| format!("{what}: the answer is no JSON"))?,
    };
    if status == StatusCode::ACCEPTED {
        remark("accepted; not every gateway has applied it yet");
    }
    if let (Some(version), Value::Object(members)) = (version, &mut answered) {
        members.entry(VERSION).or_insert_with(|| version.into());
    }
    match answered {
        Value::Null => Ok(()),
        answered => Ok(printer.one(&answered)?),
    }
}

/// What of a thing that was read belongs into the body that replaces it. A member that this release does not know could
/// be a restriction: it is not dropped by who does not mean to.
fn kept(it: &Operation, read: Map<String, Value>) -> anyhow::Result<Map<String, Value>> {
    if it.members.is_empty() {
        return Err(Failure::usage("a part of this cannot be changed: give all of it by --body").into());
    }
    let strange = read.keys().find(|name| !takes(it, name) && !it.members.contains(name));
    if let Some(name) = strange {
        let name = crate::admin::text(name);
        return Err(
            Failure::usage(format!("the control API knows more of this than this release does: `{name}`")).into()
        );
    }
    Ok(read.into_iter().filter(|(name, value)| !value.is_null() && takes(it, name)).collect())
}

fn conditional(ask: RequestBuilder, if_version: Option<u64>, key: Option<&str>) -> RequestBuilder {
    let ask = match if_version {
        Some(version) => ask.header("if-match", format!("\"{version}\"")),
        None => ask,
    };
    match key {
        Some(key) => ask.header("idempotency-key", key),
        None => ask,
    }
}

/// The version that an answer's `ETag` names.
fn version(response: &Response) -> Option<u64> {
    response.headers().get("etag")?.to_str().ok()?.trim_matches('"').parse().ok()
}

async fn read<T: serde::de::DeserializeOwned>(response: Response) -> anyhow::Result<T> {
    serde_json::from_slice(&response.bytes().await?).context("the answer is not what this release expects")
}

#[expect(clippy::print_stderr, reason = "what an operator reads")]
fn remark(text: &str) {
    eprintln!("portcullis: {text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_this_release_does_not_know_of_a_thing_is_not_replaced_away() {
        let it = crate::resources::catalog::operation("replace_role").unwrap();
        let read = |text: &str| kept(it, serde_json::from_str(text).unwrap());
        let body =
            read(r#"{"id": "1", "name": "x", "description": null, "permissions": [], "builtin": false}"#).unwrap();
        assert_eq!(body.keys().collect::<Vec<_>>(), ["name", "permissions"]);
        let refused = read(r#"{"name": "x", "permissions": [], "require": {"acr": "aal2"}}"#).unwrap_err();
        assert!(refused.to_string().contains("`require`"), "{refused}");
        assert!(kept(crate::resources::catalog::operation("replace_issuer").unwrap(), Map::new()).is_err());
    }

    #[test]
    fn a_parameter_is_one_segment_whatever_it_holds() {
        let base: Url = "https://api.example.com/behind/".parse().unwrap();
        let url = address(&base, "/v1/tenants/{id}/users/{uid}", &["a/../b?c".into(), "ü#".into()]).unwrap();
        assert_eq!(url.as_str(), "https://api.example.com/behind/v1/tenants/a%2F..%2Fb%3Fc/users/%C3%BC%23");
        assert!(address(&base, "/v1/tenants/{id}", &[]).is_err());
    }
}
