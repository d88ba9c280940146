//! Lists: which rows, in which order, and where the next page begins.
//!
//! What a list can be asked for stands beside its aggregate as a [`Listing`]: its statement, a table of filters and one of
//! columns it can be sorted by. Everything else is here, once for all: reading what was asked ([`Selection::read`]), the
//! conditions, the order, the cursor. A cursor names the last row of a page by its sort key and id, so pages neither
//! repeat nor leave out a row that stays where it is, whatever is written meanwhile.
//!
//! ```text
//! ?search=nord&status=active&sort=-name&limit=20            → 20 rows and `next_cursor`
//! ?search=nord&status=active&sort=-name&cursor=eyJ…          → the next ones
//! ```
//!
//! Texts that people write are compared in their folded form ([`domain::model::fold`]), which is kept beside them
//! (`name_fold`), so that both databases find the same.

use std::marker::PhantomData;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use domain::{
    CustomerId, GroupId, ProjectId, TenantId, Timestamp, UserId,
    model::{MenuOwner, fold},
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::page::Page;
use crate::{
    StoreError,
    tx::Reader,
    value::{Row, Value, values},
};

/// Longest text that is searched for, in characters.
pub const MAX_SEARCH: usize = 128;

/// Longest folded name, in characters. What people name is shorter; what an older release let pass is cut.
const FOLDED_CHARS: usize = 300;

/// Longest sort key that a cursor may bring, in bytes.
const MAX_KEY_BYTES: usize = 4096;

/// What a filter takes.
#[derive(Clone, Copy, Debug)]
pub enum Takes {
    /// A part of a text, in any case.
    Part,
    /// A text, in any case.
    Folded,
    /// A text, exactly.
    Text,
    /// One of these words.
    Word(&'static [&'static str]),
    /// An id.
    Id,
    /// `true` or `false`.
    Flag,
    /// An instant (RFC 3339).
    Time,
}

/// A query parameter that leaves rows out.
#[derive(Clone, Copy, Debug)]
pub struct Filter {
    /// Its name in the query.
    pub name: &'static str,
    /// What it says of the rows that are left.
    pub says: &'static str,
    /// What it takes.
    pub takes: Takes,
    /// The condition, with `?` for the value.
    pub(crate) sql: &'static str,
}

impl Filter {
    pub(crate) const fn new(name: &'static str, says: &'static str, takes: Takes, sql: &'static str) -> Self {
        Self { name, says, takes, sql }
    }

    /// Whose name holds something, in any case.
    pub(crate) const fn search(says: &'static str, sql: &'static str) -> Self {
        Self::new("search", says, Takes::Part, sql)
    }

    /// Made at an instant or later.
    pub(crate) const fn since(sql: &'static str) -> Self {
        Self::new("created_since", "Made at this instant or later.", Takes::Time, sql)
    }

    /// Made before an instant.
    pub(crate) const fn until(sql: &'static str) -> Self {
        Self::new("created_until", "Made before this instant.", Takes::Time, sql)
    }

    fn value(&self, text: &str) -> Result<Value, WrongParameter> {
        let wrong = |code, detail: String| Err(WrongParameter { name: self.name, code, detail });
        if text.chars().any(char::is_control) {
            return wrong("invalid", "holds control characters".into());
        }
        if text.is_empty() || text.chars().count() > MAX_SEARCH {
            return wrong("range", format!("1 to {MAX_SEARCH} characters are allowed"));
        }
        match self.takes {
            Takes::Part => {
                let literal = fold(text).replace('!', "!!").replace('%', "!%").replace('_', "!_");
                Ok(format!("%{literal}%").into())
            }
            Takes::Folded => Ok(fold(text).into()),
            Takes::Text => Ok(text.into()),
            Takes::Word(words) if words.contains(&text) => Ok(text.into()),
            Takes::Word(words) => wrong("choice", format!("`{}` are allowed", words.join("`, `"))),
            Takes::Id => text.parse::<Uuid>().map(Value::from).or_else(|_| wrong("invalid", "is no id".into())),
            Takes::Flag => match text {
                "true" => Ok(true.into()),
                "false" => Ok(false.into()),
                _ => wrong("choice", "`true` and `false` are allowed".into()),
            },
            Takes::Time => serde_json::from_value::<Timestamp>(text.into())
                .map(Value::from)
                .or_else(|_| wrong("invalid", "is no RFC 3339 instant".into())),
        }
    }
}

/// A column that a list can be sorted by. It is never `NULL`.
#[derive(Clone, Copy, Debug)]
pub struct Sortable {
    /// Its name in the query.
    pub name: &'static str,
    /// The column, as the statement names it.
    pub(crate) column: &'static str,
    /// Whether it holds numbers (instants), not texts.
    numbers: bool,
}

impl Sortable {
    /// A column of texts.
    pub(crate) const fn new(name: &'static str, column: &'static str) -> Self {
        Self { name, column, numbers: false }
    }

    /// A column of instants.
    pub(crate) const fn time(name: &'static str, column: &'static str) -> Self {
        Self { name, column, numbers: true }
    }

    /// A column of numbers.
    pub(crate) const fn number(name: &'static str, column: &'static str) -> Self {
        Self { name, column, numbers: true }
    }

    /// Whether the column can hold this. A cursor comes back from outside.
    fn holds(self, key: &Key) -> bool {
        match key {
            Key::Number(_) => self.numbers,
            Key::Text(text) => !self.numbers && text.len() <= MAX_KEY_BYTES && !text.chars().any(char::is_control),
        }
    }
}

/// A list, and what it can be asked for.
pub trait Listing: Send + Sync + 'static {
    /// One of its rows.
    type Item: Send;
    /// Of what it is a list, such as a tenant's; `()` for all there is.
    type Of: Owner;
    /// Which parameters leave rows out.
    const FILTERS: &'static [Filter];
    /// What it can be sorted by. By id, which is about the order in which things were made, when nothing is asked for.
    const SORTS: &'static [Sortable];
    /// The column of its ids, as the statement names it.
    #[doc(hidden)]
    const ID: &'static str = "id";

    /// Its statement, ending in conditions; `$1` is what it is a list of.
    #[doc(hidden)]
    fn sql() -> String;

    #[doc(hidden)]
    fn item(row: &sealed::Cells<'_>) -> Result<Self::Item, StoreError>;
}

/// What lists are of.
pub trait Owner: Copy + Send + sealed::Owner {}

pub(crate) mod sealed {
    use super::{Row, Value};

    /// A row as it was read.
    #[derive(Debug)]
    pub struct Cells<'r>(pub(crate) &'r Row);

    pub trait Owner {
        #[doc(hidden)]
        fn values(self) -> Values;
    }

    /// Parameters of a statement.
    #[derive(Debug)]
    pub struct Values(pub(crate) Vec<Value>);
}

impl sealed::Owner for () {
    fn values(self) -> sealed::Values {
        sealed::Values(Vec::new())
    }
}
impl Owner for () {}

macro_rules! owners {
    ($($owner:ty: $it:pat => $($value:expr),*;)*) => {$(
        impl sealed::Owner for $owner {
            fn values(self) -> sealed::Values {
                let $it = self;
                sealed::Values(values![$($value),*])
            }
        }
        impl Owner for $owner {}
    )*};
}
owners! {
    TenantId: tenant => tenant;
    CustomerId: customer => customer;
    ProjectId: project => project;
    (Timestamp, Timestamp): (now, since) => now, since;
    MenuOwner: owner => owner.tenant();
    (TenantId, GroupId): (tenant, group) => tenant, group;
    (TenantId, UserId): (tenant, user) => tenant, user;
    (TenantId, UserId, Timestamp): (tenant, user, now) => tenant, user, now;
}

/// The folded form of a name, as lists are searched and sorted by it. As much of it as an index holds.
pub(crate) fn folded(name: &str) -> Value {
    fold(name).chars().take(FOLDED_CHARS).collect::<String>().into()
}

/// A query parameter that cannot be what it is.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{name}` {detail}")]
pub struct WrongParameter {
    /// Its name.
    pub name: &'static str,
    /// Stable code of what is wrong.
    pub code: &'static str,
    /// What is wrong, in words.
    pub detail: String,
}

/// What is asked of a list.
#[derive(Debug)]
pub struct Selection<L> {
    conditions: Vec<(&'static str, Value)>,
    sort: Option<Sort>,
    after: Option<Place>,
    limit: u32,
    list: PhantomData<fn() -> L>,
}

impl<L> Clone for Selection<L> {
    fn clone(&self) -> Self {
        let Self { conditions, sort, after, limit, list } = self;
        Self { conditions: conditions.clone(), sort: *sort, after: after.clone(), limit: *limit, list: *list }
    }
}

#[derive(Clone, Copy, Debug)]
struct Sort {
    by: Sortable,
    descending: bool,
}

impl Sort {
    fn text(self) -> String {
        format!("{}{}", if self.descending { "-" } else { "" }, self.by.name)
    }
}

/// The last row of a page.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Place {
    /// What the list was sorted by.
    sort: String,
    key: Key,
    id: Uuid,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Key {
    Number(i64),
    Text(String),
}

/// A part of a list.
#[derive(Clone, Debug)]
pub struct Slice<T> {
    /// Its rows.
    pub rows: Vec<T>,
    /// Where the next part begins; none at the end.
    pub next: Option<String>,
}

impl<L> Default for Selection<L> {
    fn default() -> Self {
        Self { conditions: Vec::new(), sort: None, after: None, limit: Page::FIRST.limit, list: PhantomData }
    }
}

impl<L: Listing> Selection<L> {
    /// Reads a query. Names that are none of this list's are left to others.
    ///
    /// # Errors
    /// [`WrongParameter`].
    pub fn read<'q>(query: impl IntoIterator<Item = (&'q str, &'q str)>) -> Result<Self, WrongParameter> {
        let (mut read, mut cursor, mut seen) = (Self::default(), None, Vec::new());
        for (name, text) in query {
            let Some(name) = Self::known(name) else { continue };
            if seen.contains(&name) {
                return Err(WrongParameter { name, code: "repeated", detail: "may be given once".into() });
            }
            seen.push(name);
            match name {
                "limit" => read.limit = limit(text)?,
                "cursor" => cursor = Some(text),
                "sort" => read.sort = Some(Self::sort(text)?),
                _ => read.filter(name, text)?,
            }
        }
        read.after = cursor.map(|text| read.place(text)).transpose()?;
        Ok(read)
    }

    /// The name, if it is one of this list's parameters.
    fn known(name: &str) -> Option<&'static str> {
        let own = L::FILTERS.iter().map(|filter| filter.name);
        ["limit", "cursor", "sort"].into_iter().chain(own).find(|known| *known == name)
    }

    fn filter(&mut self, name: &'static str, text: &str) -> Result<(), WrongParameter> {
        for filter in L::FILTERS.iter().filter(|filter| filter.name == name) {
            self.conditions.push((filter.sql, filter.value(text)?));
        }
        Ok(())
    }

    fn sort(text: &str) -> Result<Sort, WrongParameter> {
        let (name, descending) = text.strip_prefix('-').map_or((text, false), |name| (name, true));
        let by = L::SORTS.iter().find(|it| it.name == name).copied().ok_or_else(|| {
            let names: Vec<&str> = L::SORTS.iter().map(|it| it.name).collect();
            let detail = format!("`{}` are allowed, with `-` in front for the other way round", names.join("`, `"));
            WrongParameter { name: "sort", code: "choice", detail }
        })?;
        Ok(Sort { by, descending })
    }

    /// The place that a cursor of this list in this order names.
    fn place(&self, text: &str) -> Result<Place, WrongParameter> {
        let wrong = |detail: &str| WrongParameter { name: "cursor", code: "invalid", detail: detail.into() };
        let none = || wrong("is no `next_cursor` of a page");
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| none())?;
        let place = match Uuid::from_slice(&bytes) {
            Ok(id) => Place { sort: String::new(), key: Key::Number(0), id },
            Err(_) => serde_json::from_slice::<Place>(&bytes).map_err(|_| none())?,
        };
        if self.sort.is_some_and(|sort| place.sort == sort.text() && !sort.by.holds(&place.key)) {
            return Err(none());
        }
        if place.sort != self.sort.map_or_else(String::new, Sort::text) {
            return Err(wrong("is of a page in another order"));
        }
        Ok(place)
    }

    /// Those of it that a filter leaves, whatever was asked.
    ///
    /// # Errors
    /// [`WrongParameter`] for what is no filter of this list.
    pub fn only(mut self, name: &'static str, text: &str) -> Result<Self, WrongParameter> {
        let before = self.conditions.len();
        self.filter(name, text)?;
        if self.conditions.len() == before {
            return Err(WrongParameter { name, code: "choice", detail: "is no filter of this list".into() });
        }
        Ok(self)
    }

    /// The conditions, the order and the bound, behind a statement whose parameters are `all`.
    pub(crate) fn clauses(&self, all: &mut Vec<Value>) -> String {
        let mut sql = String::new();
        let mut is = |condition: &str, values: Vec<Value>| {
            let mut condition = condition.to_owned();
            for (mark, value) in ["?", "!id"].into_iter().zip(values) {
                all.push(value);
                condition = condition.replace(mark, &format!("${}", all.len()));
            }
            sql.push_str(" AND ");
            sql.push_str(&condition);
        };
        for (condition, value) in &self.conditions {
            is(condition, vec![value.clone()]);
        }
        let (id, descending) = (L::ID, self.sort.is_some_and(|sort| sort.descending));
        let (beyond, way) = if descending { ("<", "DESC") } else { (">", "ASC") };
        let column = self.sort.map(|sort| sort.by.column);
        match (&self.after, column) {
            (Some(place), None) => is(&format!("{id} {beyond} ?"), values![place.id]),
            (Some(Place { key, id: last, .. }), Some(column)) => {
                let key = match key {
                    Key::Number(number) => Value::from(*number),
                    Key::Text(text) => Value::from(text),
                };
                is(&format!("({column}, {id}) {beyond} (?, !id)"), vec![key, (*last).into()]);
            }
            (None, _) => {}
        }
        let order = column.map_or_else(String::new, |column| format!("{column} {way}, "));
        all.push(self.limit.into());
        format!("{sql} ORDER BY {order}{id} {way} LIMIT ${}", all.len())
    }

    /// Rows that were read with [`Selection::clauses`], as a part of the list. Each names its id and the value that it is
    /// sorted by.
    pub(crate) fn slice<T>(
        &self,
        rows: Vec<T>,
        place: impl Fn(&T, Option<&str>) -> Result<(Uuid, Option<Value>), StoreError>,
    ) -> Result<Slice<T>, StoreError> {
        let full = rows.len() >= usize::try_from(self.limit).unwrap_or(usize::MAX);
        let last = rows.last().filter(|_| full);
        let next = last.map(|last| self.cursor(place(last, self.sort.map(|sort| sort.by.column))?)).transpose()?;
        Ok(Slice { rows, next })
    }

    fn cursor(&self, (id, key): (Uuid, Option<Value>)) -> Result<String, StoreError> {
        let Some(sort) = self.sort else { return Ok(URL_SAFE_NO_PAD.encode(id.as_bytes())) };
        let key = match key {
            Some(Value::Int(number)) => Key::Number(number),
            Some(Value::Text(text)) => Key::Text(text),
            _ => return Err(StoreError::corrupt(sort.by.column, "cannot be sorted by")),
        };
        let place = serde_json::to_vec(&Place { sort: sort.text(), key, id });
        Ok(URL_SAFE_NO_PAD.encode(place.map_err(|error| StoreError::corrupt("cursor", error))?))
    }
}

fn limit(text: &str) -> Result<u32, WrongParameter> {
    let most = Page::WIDEST.limit;
    text.parse().ok().filter(|limit| (1..=most).contains(limit)).ok_or_else(|| WrongParameter {
        name: "limit",
        code: "range",
        detail: format!("1 to {most} are allowed"),
    })
}

/// Reads of lists.
pub trait Lists: Reader {
    /// The part of a list that was asked for.
    fn list<L: Listing>(
        &self,
        of: L::Of,
        asked: &Selection<L>,
    ) -> impl Future<Output = Result<Slice<L::Item>, StoreError>> + Send {
        async move {
            let sealed::Values(mut all) = sealed::Owner::values(of);
            let sql = format!("{}{}", L::sql(), asked.clauses(&mut all));
            let rows = self.view().await?.query(&sql, all).await?;
            // Within a row, columns have no table before them.
            let plain = |column: &str| column.rsplit('.').next().unwrap_or_default().to_owned();
            let read = asked.slice(rows, |row, column| {
                let key = column.map(|column| row.at::<Value>(&plain(column))).transpose()?;
                Ok((row.at(&plain(L::ID))?, key))
            })?;
            let rows = read.rows.iter().map(|row| L::item(&sealed::Cells(row))).collect::<Result<_, _>>()?;
            Ok(Slice { rows, next: read.next })
        }
    }
}
impl<R: Reader> Lists for R {}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    enum Things {}
    impl Listing for Things {
        type Item = ();
        type Of = ();
        const FILTERS: &'static [Filter] = &[
            Filter::new("search", "", Takes::Part, "name_fold LIKE ? ESCAPE '!'"),
            Filter::new("state", "", Takes::Word(&["new", "old"]), "state = ?"),
            Filter::new("owner_id", "", Takes::Id, "owner_id = ?"),
            Filter::new("created_since", "", Takes::Time, "created_at >= ?"),
        ];
        const SORTS: &'static [Sortable] =
            &[Sortable::new("name", "name_fold"), Sortable::time("created_at", "created_at")];
        fn sql() -> String {
            "SELECT * FROM things WHERE TRUE".into()
        }
        fn item(_: &sealed::Cells<'_>) -> Result<(), StoreError> {
            Ok(())
        }
    }

    fn read(query: &[(&str, &str)]) -> Result<Selection<Things>, WrongParameter> {
        Selection::read(query.iter().copied())
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (query, code) in [
            (("limit", "0"), "range"),
            (("limit", "501"), "range"),
            (("limit", "x"), "range"),
            (("cursor", "x"), "invalid"),
            (("cursor", ""), "invalid"),
            (("sort", "state"), "choice"),
            (("sort", "--name"), "choice"),
            (("search", ""), "range"),
            (("search", "a\0b"), "invalid"),
            (("state", "gone"), "choice"),
            (("owner_id", "7"), "invalid"),
            (("created_since", "yesterday"), "invalid"),
        ] {
            let wrong = read(&[query]).unwrap_err();
            assert_eq!((wrong.name, wrong.code), (query.0, code), "{query:?}");
        }
        let twice = read(&[("state", "new"), ("state", "old")]).unwrap_err();
        assert_eq!((twice.name, twice.code), ("state", "repeated"));
        assert!(read(&[("tenant_id", "x"), ("wait", "applied")]).is_ok(), "names of others are left to them");
    }

    #[test]
    fn a_cursor_goes_with_its_order_only() {
        let by_name = read(&[("sort", "-name"), ("limit", "1")]).unwrap();
        let key = |_: &(), _: Option<&str>| Ok((Uuid::from_u128(7), Some(Value::from("émile"))));
        let next = by_name.slice(vec![()], key).unwrap().next.unwrap();
        let again = read(&[("cursor", &next), ("sort", "-name")]).unwrap();
        let mut all = Vec::new();
        let sql = again.clauses(&mut all);
        assert_eq!(sql, " AND (name_fold, id) < ($1, $2) ORDER BY name_fold DESC, id DESC LIMIT $3");
        assert_eq!(all, values!["émile", Uuid::from_u128(7), 50_u32]);
        for other in [vec![("cursor", next.as_str())], vec![("cursor", &next), ("sort", "name")]] {
            assert_eq!(read(&other).unwrap_err().name, "cursor");
        }
        let by_id = read(&[("limit", "1")]).unwrap().slice(vec![()], |(), _| Ok((Uuid::from_u128(7), None))).unwrap();
        let by_id = by_id.next.unwrap();
        assert!(read(&[("cursor", &by_id)]).is_ok());
        assert_eq!(read(&[("cursor", &by_id), ("sort", "name")]).unwrap_err().name, "cursor");
    }

    #[test]
    fn a_cursor_that_somebody_made_holds_what_its_column_holds() {
        for (sort, key) in [("name", "5"), ("created_at", "\"x\""), ("name", "\"a\\u0000b\"")] {
            let made = format!(r#"{{"sort": "{sort}", "key": {key}, "id": "00000000-0000-0000-0000-000000000001"}}"#);
            let made = URL_SAFE_NO_PAD.encode(made);
            assert_eq!(read(&[("cursor", &made), ("sort", sort)]).unwrap_err().name, "cursor", "{sort} {key}");
        }
    }

    #[test]
    fn signs_of_patterns_are_searched_for_as_they_are() {
        let asked = read(&[("search", "50%_Ä!"), ("state", "new")]).unwrap();
        let mut all = Vec::new();
        let sql = asked.clauses(&mut all);
        assert_eq!(sql, " AND name_fold LIKE $1 ESCAPE '!' AND state = $2 ORDER BY id ASC LIMIT $3");
    }
}
