//! Menus: what a front-end offers its users, as one tree for each tenant and one for the platform's staff.
//!
//! ```text
//! orders          "Orders"      order 1
//! ├─ orders.list  "All orders"  /orders      orders:order:list
//! └─ orders.new   "New order"   /orders/new  orders:order:create
//! ```
//!
//! A menu hides what its user may not do; it protects nothing. What a path answers is decided where it is asked for.

use std::{collections::HashMap, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::Version;
use crate::{MenuId, Permission, ProjectId, TenantId, Timestamp};

/// How many levels a tree has at most.
pub const MAX_DEPTH: usize = 8;

/// How many entries a tree has at most.
pub const MAX_ENTRIES: usize = 500;

/// The name of an entry in its tree, such as `orders.list`: 1 to 64 of `a-z`, `0-9`, `.`, `-` and `_`.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String", extend("pattern" = "^[a-z0-9._-]{1,64}$"))]
pub struct MenuKey(Box<str>);

impl MenuKey {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for MenuKey {
    type Err = MenuKeyError;
    fn from_str(text: &str) -> Result<Self, MenuKeyError> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'_');
        if (1..=64).contains(&text.len()) && text.bytes().all(plain) {
            Ok(Self(text.into()))
        } else {
            Err(MenuKeyError { text: text.into() })
        }
    }
}

/// Why a text is not a [`MenuKey`].
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{text}` is not a menu key: 1 to 64 of a-z, 0-9, `.`, `-` and `_`")]
pub struct MenuKeyError {
    text: String,
}

/// Where an entry leads: a path of the front-end that shows it, such as `/orders?state=open`.
///
/// It begins with one `/`, so that it stays on the hostname it is shown on: no scheme, no `//host`, no backslash that
/// browsers read as a slash. Up to 1,024 visible ASCII characters.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct MenuPath(Box<str>);

impl FromStr for MenuPath {
    type Err = MenuPathError;
    fn from_str(text: &str) -> Result<Self, MenuPathError> {
        let stays = text.starts_with('/') && !text.starts_with("//");
        let plain = text.bytes().all(|b| b.is_ascii_graphic() && b != b'\\');
        if stays && plain && text.len() <= 1024 {
            Ok(Self(text.into()))
        } else {
            Err(MenuPathError { text: text.into() })
        }
    }
}

/// Why a text is not a [`MenuPath`].
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{text}` is not a path such as `/orders`: one leading slash, visible ASCII, no backslash, at most 1024 bytes")]
pub struct MenuPathError {
    text: String,
}

macro_rules! text {
    ($($type:ident, $error:ident;)*) => {$(
        impl TryFrom<String> for $type {
            type Error = $error;
            fn try_from(text: String) -> Result<Self, $error> {
                text.parse()
            }
        }
        impl From<$type> for String {
            fn from(it: $type) -> Self {
                it.0.into()
            }
        }
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}

text! {
    MenuKey, MenuKeyError;
    MenuPath, MenuPathError;
}

/// Whose tree.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum MenuOwner {
    /// The platform's staff (`ctx: sys`).
    System,
    /// A tenant's principals.
    Tenant(ProjectId, TenantId),
}

impl MenuOwner {
    /// The tenant, where it is one.
    pub const fn tenant(self) -> Option<TenantId> {
        match self {
            Self::System => None,
            Self::Tenant(_, tenant) => Some(tenant),
        }
    }

    /// The tenant's project.
    pub const fn project(self) -> Option<ProjectId> {
        match self {
            Self::System => None,
            Self::Tenant(project, _) => Some(project),
        }
    }
}

/// One entry of a tree.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Menu {
    /// Its id.
    pub id: MenuId,
    /// Whose tree it is in.
    pub owner: MenuOwner,
    /// Its name in the tree. Never changes: favorites and front-ends know it by this.
    pub key: MenuKey,
    /// The entry it stands under; none at the top.
    pub parent_id: Option<MenuId>,
    /// What is shown.
    pub title: String,
    /// Where it leads; none for one that only holds others.
    pub path: Option<MenuPath>,
    /// What one must hold to see it; none: everybody does.
    pub permission: Option<Permission>,
    /// Its place among its siblings, small ones first; of equal ones the key decides.
    pub order: u32,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Its version.
    pub version: Version,
}

/// An entry to be made.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "as in `Menu`")]
pub struct NewMenu {
    pub id: MenuId,
    pub owner: MenuOwner,
    pub key: MenuKey,
    pub parent_id: Option<MenuId>,
    pub title: String,
    pub path: Option<MenuPath>,
    pub permission: Option<Permission>,
    pub order: u32,
}

/// An entry as a front-end gets it, with what stands under it.
#[derive(Clone, Debug, PartialEq, Serialize, schemars::JsonSchema)]
pub struct MenuNode {
    /// Its name in the tree.
    pub key: MenuKey,
    /// What is shown.
    pub title: String,
    /// Where it leads; none for one that only holds others.
    pub path: Option<MenuPath>,
    /// Its place among its siblings.
    pub order: u32,
    /// What stands under it, in order: entries of this same form.
    #[schemars(with = "Vec<std::collections::BTreeMap<String, serde_json::Value>>")]
    pub children: Vec<MenuNode>,
}

/// The tree as somebody sees it. What is hidden hides what stands under it; an entry that leads nowhere is shown only
/// over something that does.
pub fn tree(entries: &[Menu], may: impl Fn(&Permission) -> bool) -> Vec<MenuNode> {
    let mut below: HashMap<Option<MenuId>, Vec<&Menu>> = HashMap::new();
    for entry in entries.iter().filter(|entry| entry.permission.as_ref().is_none_or(&may)) {
        below.entry(entry.parent_id).or_default().push(entry);
    }
    below.values_mut().for_each(|siblings| siblings.sort_by(|a, b| (a.order, &a.key).cmp(&(b.order, &b.key))));
    grow(&below, None, MAX_DEPTH)
}

/// The nodes under `parent`. `levels` bounds the recursion whatever the rows say.
fn grow(below: &HashMap<Option<MenuId>, Vec<&Menu>>, parent: Option<MenuId>, levels: usize) -> Vec<MenuNode> {
    let Some(levels) = levels.checked_sub(1) else { return Vec::new() };
    let siblings = below.get(&parent).map(Vec::as_slice).unwrap_or_default();
    let node = |entry: &&Menu| MenuNode {
        key: entry.key.clone(),
        title: entry.title.clone(),
        path: entry.path.clone(),
        order: entry.order,
        children: grow(below, Some(entry.id), levels),
    };
    siblings.iter().map(node).filter(|node| node.path.is_some() || !node.children.is_empty()).collect()
}

/// Checks that an entry may stand under `parent` in its tree; `entries` is the whole tree, with or without the entry.
///
/// # Errors
/// [`MenuPlaceError`].
pub fn check_place(entries: &[Menu], id: MenuId, parent: Option<MenuId>) -> Result<(), MenuPlaceError> {
    let by_id: HashMap<MenuId, &Menu> = entries.iter().map(|entry| (entry.id, entry)).collect();
    // Levels from the top to the parent.
    let (mut above, mut next) = (0, parent);
    while let Some(up) = next {
        if up == id {
            return Err(MenuPlaceError::Cycle);
        }
        above += 1;
        if above >= MAX_DEPTH {
            return Err(MenuPlaceError::TooDeep);
        }
        next = by_id.get(&up).ok_or(MenuPlaceError::ParentUnknown)?.parent_id;
    }
    if above + height(entries, id) > MAX_DEPTH { Err(MenuPlaceError::TooDeep) } else { Ok(()) }
}

/// How many levels an entry takes with everything under it, at least one.
fn height(entries: &[Menu], id: MenuId) -> usize {
    let (mut levels, mut level) = (0, vec![id]);
    while !level.is_empty() && levels <= MAX_DEPTH {
        levels += 1;
        let under = |entry: &&Menu| entry.parent_id.is_some_and(|parent| level.contains(&parent));
        level = entries.iter().filter(under).map(|entry| entry.id).collect();
    }
    levels
}

/// Why an entry cannot stand where it is wanted.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum MenuPlaceError {
    /// It would stand under itself.
    #[error("an entry cannot stand under itself")]
    Cycle,
    /// The tree would be too deep.
    #[error("a tree has at most {MAX_DEPTH} levels")]
    TooDeep,
    /// There is no such parent in the tree.
    #[error("the tree has no such parent")]
    ParentUnknown,
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn id(number: u128) -> MenuId {
        MenuId::new(Uuid::from_u128(number))
    }

    fn entry(number: u128, parent: Option<u128>, path: Option<&str>, permission: Option<&str>, order: u32) -> Menu {
        Menu {
            id: id(number),
            owner: MenuOwner::System,
            key: format!("m{number}").parse().unwrap(),
            parent_id: parent.map(id),
            title: String::new(),
            path: path.map(|path| path.parse().unwrap()),
            permission: permission.map(|permission| permission.parse().unwrap()),
            order,
            created_at: Timestamp::from_millis(0),
            updated_at: Timestamp::from_millis(0),
            version: Version(1),
        }
    }

    fn keys(nodes: &[MenuNode]) -> Vec<String> {
        nodes
            .iter()
            .flat_map(|node| std::iter::once(node.key.to_string()).chain(keys(&node.children)))
            .collect::<Vec<_>>()
    }

    #[test]
    fn siblings_stand_in_their_order_and_then_by_key() {
        let entries = [
            entry(1, None, Some("/1"), None, 2),
            entry(3, None, Some("/3"), None, 1),
            entry(2, None, Some("/2"), None, 1),
            entry(4, Some(3), Some("/4"), None, 0),
        ];
        assert_eq!(keys(&tree(&entries, |_| true)), ["m2", "m3", "m4", "m1"]);
    }

    #[test]
    fn what_is_hidden_hides_what_stands_under_it() {
        let entries = [
            entry(1, None, Some("/1"), Some("a:b:c"), 0),
            entry(2, Some(1), Some("/2"), None, 0),
            entry(3, None, Some("/3"), None, 0),
        ];
        assert_eq!(keys(&tree(&entries, |_| false)), ["m3"]);
        assert_eq!(keys(&tree(&entries, |_| true)), ["m1", "m2", "m3"]);
    }

    #[test]
    fn an_entry_that_leads_nowhere_is_shown_over_something_that_does() {
        let entries = [
            entry(1, None, None, None, 0),
            entry(2, Some(1), None, None, 0),
            entry(3, Some(2), Some("/3"), Some("a:b:c"), 0),
            entry(4, None, None, None, 0),
        ];
        assert_eq!(keys(&tree(&entries, |_| true)), ["m1", "m2", "m3"]);
        assert_eq!(keys(&tree(&entries, |_| false)), Vec::<String>::new());
    }

    #[test]
    fn a_cycle_is_refused_and_hangs_nothing() {
        let entries =
            [entry(1, None, None, None, 0), entry(2, Some(1), None, None, 0), entry(3, Some(2), None, None, 0)];
        assert_eq!(check_place(&entries, id(1), Some(id(3))), Err(MenuPlaceError::Cycle));
        assert_eq!(check_place(&entries, id(1), Some(id(1))), Err(MenuPlaceError::Cycle));
        assert_eq!(check_place(&entries, id(9), Some(id(8))), Err(MenuPlaceError::ParentUnknown));
        assert_eq!(check_place(&entries, id(9), Some(id(3))), Ok(()));
        let around = [entry(1, Some(2), Some("/1"), None, 0), entry(2, Some(1), Some("/2"), None, 0)];
        assert_eq!(check_place(&around, id(9), Some(id(1))), Err(MenuPlaceError::TooDeep));
        assert!(tree(&around, |_| true).is_empty());
    }

    #[test]
    fn a_tree_has_a_bounded_number_of_levels() {
        let deep = |levels: u128| -> Vec<Menu> {
            (1..=levels).map(|n| entry(n, (n > 1).then(|| n - 1), Some("/x"), None, 0)).collect()
        };
        let full = deep(MAX_DEPTH as u128);
        assert_eq!(keys(&tree(&full, |_| true)).len(), MAX_DEPTH);
        assert_eq!(check_place(&full, id(99), Some(id(MAX_DEPTH as u128))), Err(MenuPlaceError::TooDeep));
        assert_eq!(check_place(&full, id(99), Some(id(MAX_DEPTH as u128 - 1))), Ok(()));
        // A move takes along what stands under it.
        let mut two = deep(5);
        two.push(entry(50, None, None, None, 0));
        two.push(entry(51, Some(50), None, None, 0));
        two.push(entry(52, Some(51), None, None, 0));
        assert_eq!(check_place(&two, id(50), Some(id(5))), Ok(()));
        two.push(entry(53, Some(52), None, None, 0));
        assert_eq!(check_place(&two, id(50), Some(id(5))), Err(MenuPlaceError::TooDeep));
    }

    #[test]
    fn a_path_stays_on_its_hostname() {
        for good in ["/", "/orders", "/orders?state=open#top"] {
            assert!(good.parse::<MenuPath>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "orders",
            "//evil.example",
            "/\\evil.example",
            "https://evil.example",
            "javascript:alert(1)",
            "/a b",
            "/é",
        ] {
            assert!(bad.parse::<MenuPath>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_key_is_short_and_plain() {
        for good in ["orders", "orders.list", "a_b-c"] {
            assert!(good.parse::<MenuKey>().is_ok(), "{good}");
        }
        for bad in ["", "Orders", "a b", "a/b", &"a".repeat(65)] {
            assert!(bad.parse::<MenuKey>().is_err(), "{bad}");
        }
    }
}
