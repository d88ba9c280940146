//! A list, page by page, to its end or as far as it is wanted.

use anyhow::{Context as _, bail};
use reqwest::{Method, Url};
use serde_json::Value;

use crate::admin::{Failure, SignedIn, send};

/// The most items of a page.
const WIDEST: u64 = 500;

/// A list that is read.
pub(super) struct Pages<'a> {
    session: &'a SignedIn,
    what: &'a str,
    url: Url,
    /// Whether it comes in pages at all.
    paged: bool,
    /// How many are still wanted.
    left: u64,
    next: Next,
}

enum Next {
    First,
    After(String),
    None,
}

impl<'a> Pages<'a> {
    /// At most `limit` of the list at `url`, filters included.
    pub(super) const fn new(session: &'a SignedIn, what: &'a str, url: Url, paged: bool, limit: u64) -> Self {
        Self { session, what, url, paged, left: limit, next: Next::First }
    }

    /// All of a list at a path.
    pub(super) fn all(session: &'a SignedIn, what: &'a str, path: &str) -> Self {
        Self::new(session, what, session.at(path), true, u64::MAX)
    }

    /// The next items; none at the end.
    pub(super) async fn next(&mut self) -> anyhow::Result<Option<Vec<Value>>> {
        let mut url = self.url.clone();
        match std::mem::replace(&mut self.next, Next::None) {
            _ if self.left == 0 => return Ok(None),
            Next::None => return Ok(None),
            Next::First => {}
            Next::After(cursor) => {
                url.query_pairs_mut().append_pair("cursor", &cursor);
            }
        }
        if self.paged {
            url.query_pairs_mut().append_pair("limit", &self.left.min(WIDEST).to_string());
        }
        let what = self.what;
        let response = send(self.session.request(Method::GET, url), what, None).await?;
        let broke_off = |source| Failure::BrokeOff { what: what.into(), key: None, source };
        let body = response.bytes().await.map_err(broke_off)?;
        let strange = || format!("{what}: the answer is no list of this release");
        let mut page: Value = serde_json::from_slice(&body).with_context(strange)?;
        let Some(Value::Array(mut items)) = page.get_mut("items").map(Value::take) else { bail!(strange()) };
        items.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
        self.left = self.left.saturating_sub(u64::try_from(items.len()).unwrap_or(u64::MAX));
        if let Some(cursor) = page.get("next_cursor").and_then(Value::as_str) {
            self.next = Next::After(cursor.to_owned());
        }
        Ok(Some(items))
    }

    /// What is left of it.
    pub(super) async fn rest(mut self) -> anyhow::Result<Vec<Value>> {
        let mut all = Vec::new();
        while let Some(items) = self.next().await? {
            all.extend(items);
        }
        Ok(all)
    }
}
