//! Where in a file something stands.

use std::fmt;

/// A place in a document, shown as `hostnames[0].tenant`.
#[derive(Clone, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct KeyPath(Vec<Step>);

#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
enum Step {
    Index(usize),
    Key(String),
}

impl KeyPath {
    /// From a JSON pointer (RFC 6901). A segment of digits is taken for an index.
    pub fn from_pointer(pointer: &str) -> Self {
        let steps = pointer.split('/').skip(1).map(|segment| match segment.parse() {
            Ok(index) => Step::Index(index),
            Err(_) => Step::Key(segment.replace("~1", "/").replace("~0", "~")),
        });
        Self(steps.collect())
    }

    /// The JSON pointer.
    pub fn pointer(&self) -> String {
        let escaped = |step: &Step| match step {
            Step::Index(index) => format!("/{index}"),
            Step::Key(key) => format!("/{}", key.replace('~', "~0").replace('/', "~1")),
        };
        self.0.iter().map(escaped).collect()
    }

    /// The place of a key in the mapping at this place.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        let mut path = self.clone();
        path.0.push(Step::Key(key.into()));
        path
    }

    /// The place of an element of the list at this place.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        let mut path = self.clone();
        path.0.push(Step::Index(index));
        path
    }

    /// The place this one is in; none for the whole document.
    pub fn parent(&self) -> Option<Self> {
        let mut path = self.clone();
        path.0.pop().map(|_| path)
    }

    /// Whether this is the whole document.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn from_serde(path: &serde_path_to_error::Path) -> Self {
        use serde_path_to_error::Segment;
        let steps = path.iter().filter_map(|segment| match segment {
            Segment::Seq { index } => Some(Step::Index(*index)),
            Segment::Map { key } => Some(Step::Key(key.clone())),
            // The value stands where its variant is named.
            Segment::Enum { .. } | Segment::Unknown => None,
        });
        Self(steps.collect())
    }

    /// The keys, when no step is an index.
    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|step| match step {
            Step::Key(key) => Some(key.as_str()),
            Step::Index(_) => None,
        })
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, step) in self.0.iter().enumerate() {
            match step {
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Key(key) if at == 0 => f.write_str(key)?,
                Step::Key(key) => write!(f, ".{key}")?,
            }
        }
        Ok(())
    }
}

#[test]
fn a_place_is_shown_as_people_write_it() {
    let path = KeyPath::from_pointer("/hostnames/0/a~1b");
    assert_eq!(path.to_string(), "hostnames[0].a/b");
    assert_eq!(path.pointer(), "/hostnames/0/a~1b");
    assert_eq!(path.parent(), Some(KeyPath::from_pointer("/hostnames/0")));
    assert!(KeyPath::from_pointer("").is_root());
}
