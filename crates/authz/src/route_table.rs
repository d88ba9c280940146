//! Which route a path and method belong to.
//!
//! A tree over path segments. At each segment a literal beats a parameter and a parameter beats `**`, so the longest
//! literal match wins; two routes of one shape and method are a [`Tie`], refused when routes are written. The path is
//! chosen first: when the most specific pattern has no route for the method, no broader pattern stands in, so that a
//! catch-all never opens what a narrower route left closed.

use std::collections::HashMap;

use domain::PathPattern;

/// Routes by path and method. `R` is what a route is to its user.
#[derive(Debug)]
pub struct RouteTable<R> {
    root: Node<R>,
}

#[derive(Debug)]
struct Node<R> {
    literals: HashMap<Box<str>, Node<R>>,
    parameter: Option<Box<Node<R>>>,
    here: Methods<R>,
    rest: Methods<R>,
}

/// What a pattern does with each method.
#[derive(Debug)]
struct Methods<R> {
    by_name: Vec<(Box<str>, R)>,
    any: Option<R>,
}

impl<R> Methods<R> {
    fn is_empty(&self) -> bool {
        self.by_name.is_empty() && self.any.is_none()
    }

    /// `HEAD` goes where `GET` goes unless it has a route of its own (RFC 9110 §9.3.2).
    fn find(&self, method: &str) -> Option<&R> {
        let named = |name: &str| self.by_name.iter().find(|(m, _)| **m == *name).map(|(_, route)| route);
        named(method).or_else(|| if method == "HEAD" { named("GET") } else { None }).or(self.any.as_ref())
    }
}

impl<R> Default for Node<R> {
    fn default() -> Self {
        Self { literals: HashMap::new(), parameter: None, here: Methods::default(), rest: Methods::default() }
    }
}
impl<R> Default for Methods<R> {
    fn default() -> Self {
        Self { by_name: Vec::new(), any: None }
    }
}
impl<R> Default for RouteTable<R> {
    fn default() -> Self {
        Self { root: Node::default() }
    }
}

impl<R> RouteTable<R> {
    /// The route for a canonical path (with its leading slash, without query) and method.
    pub fn find(&self, method: &str, path: &str) -> Option<&R> {
        let path = path.strip_prefix('/')?;
        self.root.find(Some(path))?.find(method)
    }
}

impl<R> Node<R> {
    /// `path` is what is left below this node; none once every segment was taken.
    fn find(&self, path: Option<&str>) -> Option<&Methods<R>> {
        let Some(path) = path else {
            return Some(&self.here).filter(|m| !m.is_empty()).or(Some(&self.rest).filter(|m| !m.is_empty()));
        };
        let (segment, below) = match path.split_once('/') {
            Some((segment, below)) => (segment, Some(below)),
            None => (path, None),
        };
        self.literals
            .get(segment)
            .and_then(|node| node.find(below))
            .or_else(|| self.parameter.as_ref().filter(|_| !segment.is_empty()).and_then(|node| node.find(below)))
            .or_else(|| Some(&self.rest).filter(|m| !m.is_empty()))
    }
}

/// Collects routes and finds ties.
#[derive(Debug)]
pub struct RouteTableBuilder<R> {
    table: RouteTable<R>,
    taken: HashMap<(String, Box<str>), (Rank, PathPattern)>,
}

/// Of two routes of one shape and method the one of higher rank stands; of equal rank they are a [`Tie`].
pub type Rank = u8;

/// Two routes that match the same requests equally well.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("routes `{first}` and `{second}` match the same paths for {method}")]
pub struct Tie {
    /// The pattern that was there.
    pub first: PathPattern,
    /// The pattern that came later.
    pub second: PathPattern,
    /// The method both serve; `any method` for all.
    pub method: String,
}

/// How a route that serves every method is entered in the list of what is taken.
const ANY_METHOD: &str = "any method";

impl<R> Default for RouteTableBuilder<R> {
    fn default() -> Self {
        Self { table: RouteTable::default(), taken: HashMap::new() }
    }
}

impl<R: Clone> RouteTableBuilder<R> {
    /// Adds a route for `methods` (empty for every method that has no route of its own on the pattern).
    ///
    /// # Errors
    /// A [`Tie`] with a route of the same rank; the table then keeps the first.
    pub fn insert(&mut self, pattern: &PathPattern, methods: &[String], rank: Rank, route: R) -> Result<(), Tie> {
        let any = [String::from(ANY_METHOD)];
        let names = if methods.is_empty() { &any[..] } else { methods };
        let shape = pattern.shape();
        let mut tie = None;
        for name in names {
            let key = (shape.clone(), Box::from(name.as_str()));
            match self.taken.get(&key) {
                Some((held, first)) if *held == rank => {
                    tie.get_or_insert(Tie { first: first.clone(), second: pattern.clone(), method: name.clone() });
                    continue;
                }
                Some((held, _)) if *held > rank => continue,
                _ => {}
            }
            self.taken.insert(key, (rank, pattern.clone()));
            let slot = self.table.root.slot(pattern.segments());
            if methods.is_empty() {
                slot.any = Some(route.clone());
            } else {
                slot.by_name.retain(|(m, _)| **m != **name);
                slot.by_name.push((name.as_str().into(), route.clone()));
            }
        }
        tie.map_or(Ok(()), Err)
    }

    /// The finished table.
    pub fn build(self) -> RouteTable<R> {
        self.table
    }
}

impl<R> Node<R> {
    fn slot(&mut self, segments: &[domain::path::Segment]) -> &mut Methods<R> {
        use domain::path::Segment;
        match segments.split_first() {
            None => &mut self.here,
            Some((Segment::Rest, _)) => &mut self.rest,
            Some((Segment::Literal(text), below)) => self.literals.entry(text.clone()).or_default().slot(below),
            Some((Segment::Parameter(_), below)) => self.parameter.get_or_insert_default().slot(below),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(routes: &[(&str, &[&str])]) -> RouteTable<String> {
        let mut builder = RouteTableBuilder::default();
        for (pattern, methods) in routes {
            let methods: Vec<_> = methods.iter().map(|m| (*m).to_owned()).collect();
            builder.insert(&pattern.parse().unwrap(), &methods, 0, (*pattern).to_owned()).unwrap();
        }
        builder.build()
    }

    #[test]
    fn the_longest_literal_match_wins() {
        let table = table(&[
            ("/**", &[]),
            ("/a/**", &[]),
            ("/a/{x}", &[]),
            ("/a/b", &[]),
            ("/a/{x}/c", &[]),
            ("/a/b/{y}", &[]),
        ]);
        for (path, expected) in [
            ("/", "/**"),
            ("/b", "/**"),
            ("/a", "/a/**"),
            ("/a/", "/a/**"),
            ("/a/b", "/a/b"),
            ("/a/z", "/a/{x}"),
            ("/a/z/c", "/a/{x}/c"),
            ("/a/b/c", "/a/b/{y}"),
            ("/a/z/d", "/a/**"),
            ("/a/b/c/d", "/a/**"),
        ] {
            assert_eq!(table.find("GET", path).map(String::as_str), Some(expected), "{path}");
        }
    }

    #[test]
    fn a_prefix_pattern_ends_at_a_segment() {
        let table = table(&[("/x/**", &[])]);
        assert!(table.find("GET", "/x").is_some());
        assert!(table.find("GET", "/x/").is_some());
        assert!(table.find("GET", "/x/y").is_some());
        assert!(table.find("GET", "/x2").is_none());
        assert!(table.find("GET", "/").is_none());
    }

    #[test]
    fn a_trailing_slash_is_another_path() {
        let table = table(&[("/a", &[]), ("/b/{id}", &[])]);
        assert!(table.find("GET", "/a/").is_none());
        assert!(table.find("GET", "/b/").is_none());
        assert!(table.find("GET", "/b/1/").is_none());
    }

    #[test]
    fn a_broader_pattern_never_stands_in_for_a_missing_method() {
        let table = table(&[("/**", &[]), ("/a", &["GET"])]);
        assert_eq!(table.find("GET", "/a").map(String::as_str), Some("/a"));
        assert_eq!(table.find("HEAD", "/a").map(String::as_str), Some("/a"));
        assert_eq!(table.find("DELETE", "/a"), None);
    }

    #[test]
    fn routes_of_one_shape_and_method_are_a_tie_unless_one_ranks_higher() {
        let mut builder = RouteTableBuilder::default();
        let get = [String::from("GET")];
        builder.insert(&"/a/{x}".parse().unwrap(), &get, 0, 1).unwrap();
        let tie = builder.insert(&"/a/{y}".parse().unwrap(), &get, 0, 2).unwrap_err();
        assert_eq!(tie.to_string(), "routes `/a/{x}` and `/a/{y}` match the same paths for GET");
        builder.insert(&"/a/{y}".parse().unwrap(), &[String::from("POST")], 0, 3).unwrap();
        builder.insert(&"/a/{z}".parse().unwrap(), &get, 1, 4).unwrap();
        let table = builder.build();
        assert_eq!(table.find("GET", "/a/1"), Some(&4));
        assert_eq!(table.find("POST", "/a/1"), Some(&3));
    }
}
