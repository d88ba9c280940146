//! What can still be read of a document with mistakes of form, so that those of meaning are named in the same run.
//!
//! Each broken part is left out, with as little around it as makes the rest readable. A later complaint about a part
//! that was left out, or about what it stood in, is not made: it would follow from the mistake that was named.

use std::collections::{BTreeSet, HashMap};

use serde_json::{Map, Value};

use super::KeyPath;

/// What was left out. Places are JSON pointers (RFC 6901) into the document as it was written.
#[derive(Clone, Debug, Default)]
pub(super) struct Salvage {
    dropped: BTreeSet<String>,
    /// What may have been meant by a key that nobody knows.
    meant: BTreeSet<String>,
    /// For each list that lost elements, the places of those that are left.
    kept: HashMap<String, Vec<usize>>,
}

impl Salvage {
    /// Leaves out a place, or what it stands in when it is left out already or was never there. False when that would
    /// be everything.
    pub(super) fn drop(&mut self, at: &KeyPath, document: &Value) -> bool {
        let mut place = at.clone();
        while !place.is_root() {
            let pointer = place.pointer();
            if document.pointer(&pointer).is_some() && self.dropped.insert(pointer) {
                return true;
            }
            match place.parent() {
                Some(parent) => place = parent,
                None => break,
            }
        }
        false
    }

    /// Whether a place is left out.
    pub(super) fn covers(&self, at: &KeyPath) -> bool {
        self.dropped.iter().any(|dropped| within(&at.pointer(), dropped))
    }

    /// Notes that a key that nobody knows may have been meant for this place.
    pub(super) fn doubt(&mut self, at: &KeyPath) {
        self.meant.insert(at.pointer());
    }

    /// The document without what is left out.
    pub(super) fn prune(&mut self, document: &Value) -> Value {
        let mut kept = HashMap::new();
        let pruned = self.pruned("", document, &mut kept);
        self.kept = kept;
        pruned
    }

    fn pruned(&self, at: &str, value: &Value, kept: &mut HashMap<String, Vec<usize>>) -> Value {
        match value {
            Value::Object(map) => {
                let left = map.iter().filter_map(|(key, value)| {
                    let place = KeyPath::from_pointer(at).key(key).pointer();
                    let left = !self.dropped.contains(&place);
                    left.then(|| (key.clone(), self.pruned(&place, value, kept)))
                });
                Value::Object(left.collect::<Map<_, _>>())
            }
            Value::Array(items) => {
                let (mut left, mut places) = (Vec::new(), Vec::new());
                for (index, item) in items.iter().enumerate() {
                    let place = format!("{at}/{index}");
                    if !self.dropped.contains(&place) {
                        left.push(self.pruned(&place, item, kept));
                        places.push(index);
                    }
                }
                if places.len() < items.len() {
                    kept.insert(at.to_owned(), places);
                }
                Value::Array(left)
            }
            other => other.clone(),
        }
    }

    /// Where a place of the pruned document stands in the document as it was written.
    pub(super) fn original(&self, pruned: &KeyPath) -> KeyPath {
        let mut original = KeyPath::default();
        for step in pruned.pointer().split('/').skip(1) {
            let list = original.pointer();
            let index = self.kept.get(&list).and_then(|places| places.get(step.parse::<usize>().ok()?));
            let step = index.map_or_else(|| step.to_owned(), usize::to_string);
            original = KeyPath::from_pointer(&format!("{list}/{step}"));
        }
        original
    }

    /// Whether a complaint about a place may follow from what was left out.
    pub(super) fn explains(&self, at: &KeyPath) -> bool {
        let pointer = at.pointer();
        let related = |other: &String| within(&pointer, other) || within(other, &pointer);
        self.dropped.iter().chain(&self.meant).any(related)
    }

    /// Whether a list of the document's first level lost elements, or all of itself.
    pub(super) fn thinned(&self, list: &str) -> bool {
        let pointer = format!("/{list}");
        self.kept.contains_key(&pointer) || self.dropped.contains(&pointer) || self.meant.contains(&pointer)
    }
}

/// Whether a pointer is another or leads into it.
fn within(inner: &str, outer: &str) -> bool {
    inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(pointer: &str) -> KeyPath {
        KeyPath::from_pointer(pointer)
    }

    #[test]
    fn what_is_left_knows_where_it_stood() {
        let document = json!({ "a": [{ "b": 1 }, { "b": 2, "c": [7, 8, 9] }, { "b": 3 }], "d/e": { "f": 1, "g": 2 } });
        let mut salvage = Salvage::default();
        for place in ["/a/0", "/a/1/c/1", "/d~1e/f"] {
            assert!(salvage.drop(&at(place), &document));
        }
        let pruned = salvage.prune(&document);
        assert_eq!(pruned, json!({ "a": [{ "b": 2, "c": [7, 9] }, { "b": 3 }], "d/e": { "g": 2 } }));
        for (pruned, original) in
            [("/a/0/c/1", "/a/1/c/2"), ("/a/1/b", "/a/2/b"), ("/d~1e/g", "/d~1e/g"), ("/none", "/none")]
        {
            assert_eq!(salvage.original(&at(pruned)).pointer(), original, "{pruned}");
        }
        assert!(salvage.thinned("a") && !salvage.thinned("d/e"));
    }

    #[test]
    fn what_cannot_be_read_alone_takes_what_it_stands_in_with_it() {
        let document = json!({ "a": [{ "b": 1 }] });
        let mut salvage = Salvage::default();
        assert!(salvage.drop(&at("/a/0/b"), &document));
        assert!(salvage.drop(&at("/a/0/b"), &document), "then the element");
        assert_eq!(salvage.prune(&document), json!({ "a": [] }));
        assert!(salvage.drop(&at("/a/0/missing"), &document), "then the list");
        assert!(!salvage.drop(&at("/a"), &document), "never everything");
    }

    #[test]
    fn complaints_about_what_is_left_out_and_around_it_follow_from_it() {
        let document = json!({ "feed": { "fil": "x" }, "listn": {}, "a": 1 });
        let mut salvage = Salvage::default();
        assert!(salvage.drop(&at("/feed/fil"), &document));
        salvage.doubt(&at("/listen"));
        for place in ["", "/feed", "/feed/fil", "/feed/fil/x", "/listen/port"] {
            assert!(salvage.explains(&at(place)), "{place}");
        }
        for place in ["/feed/file", "/a", "/feeds"] {
            assert!(!salvage.explains(&at(place)), "{place}");
        }
    }
}
