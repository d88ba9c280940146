//! Path patterns of routes: `/orders`, `/orders/{id}`, `/demo/public/**`.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A pattern over canonical paths. `{name}` is exactly one non-empty segment; `/**` at the end is the path before it
/// and everything below it, so `/x/**` is `/x` and `/x/…`, never `/x2`.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct PathPattern {
    text: Box<str>,
    segments: Box<[Segment]>,
}

/// One segment of a [`PathPattern`].
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Segment {
    /// Exactly this text, in canonical form.
    Literal(Box<str>),
    /// Any one non-empty segment; the name is what the route's settings call it.
    Parameter(Box<str>),
    /// What the pattern ends in when it ends in `/**`.
    Rest,
}

impl PathPattern {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.text
    }
    /// The segments after the leading slash.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }
    /// Which segment, counted from 0, the parameter of this name is.
    pub fn parameter(&self, name: &str) -> Option<usize> {
        self.segments.iter().position(|s| matches!(s, Segment::Parameter(n) if &**n == name))
    }
    /// The pattern with its parameters' names left out: two patterns of one shape match the same paths.
    pub fn shape(&self) -> String {
        self.segments
            .iter()
            .map(|s| match s {
                Segment::Literal(text) => format!("/{text}"),
                Segment::Parameter(_) => "/{}".into(),
                Segment::Rest => "/**".into(),
            })
            .collect()
    }
}

impl FromStr for PathPattern {
    type Err = PathPatternError;
    fn from_str(text: &str) -> Result<Self, PathPatternError> {
        let fail = |reason| PathPatternError { text: text.into(), reason };
        let Some(rest) = text.strip_prefix('/') else {
            return Err(fail("it starts with `/`"));
        };
        if text.len() > 1024 {
            return Err(fail("at most 1024 bytes are allowed"));
        }
        let count = rest.split('/').count();
        let mut names = Vec::new();
        let mut segments = Vec::with_capacity(count);
        for (at, part) in rest.split('/').enumerate() {
            let last = at + 1 == count;
            segments.push(match part {
                "**" if last => Segment::Rest,
                "" if last => Segment::Literal("".into()),
                "" => return Err(fail("empty segments are refused in requests")),
                "." | ".." => return Err(fail("dot segments are refused in requests")),
                _ => match part.strip_prefix('{').and_then(|p| p.strip_suffix('}')) {
                    Some(name) if name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') && !name.is_empty() => {
                        if names.contains(&name) {
                            return Err(fail("a parameter is named twice"));
                        }
                        names.push(name);
                        Segment::Parameter(name.into())
                    }
                    Some(_) => return Err(fail("a parameter is `{name}` of letters, digits and `_`")),
                    None if part.bytes().all(is_unreserved) => Segment::Literal(part.into()),
                    None => {
                        return Err(fail(
                            "a segment is letters, digits, `-._~!$&'()+,=:@`, or `{name}`, or `**` at the end",
                        ));
                    }
                },
            });
        }
        Ok(Self { text: text.into(), segments: segments.into() })
    }
}

/// Bytes that may stand for themselves in a literal: `pchar` of RFC 3986 §3.3 without `%`, `;` and `*`.
const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'+' | b',' | b'=' | b':' | b'@'
        )
}

/// Why a text is not a [`PathPattern`].
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{text}` is not a path pattern: {reason}")]
pub struct PathPatternError {
    text: String,
    reason: &'static str,
}

impl TryFrom<String> for PathPattern {
    type Error = PathPatternError;
    fn try_from(text: String) -> Result<Self, PathPatternError> {
        text.parse()
    }
}
impl From<PathPattern> for String {
    fn from(pattern: PathPattern) -> Self {
        pattern.text.into()
    }
}
impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_of_one_shape_differ_in_names_only() {
        let shape = |text: &str| text.parse::<PathPattern>().unwrap().shape();
        assert_eq!(shape("/a/{x}/b"), shape("/a/{y}/b"));
        assert_ne!(shape("/a/{x}"), shape("/a/**"));
        assert_ne!(shape("/a"), shape("/a/"));
    }

    #[test]
    fn refuses_what_no_canonical_path_can_match() {
        for bad in
            ["", "a", "//a", "/a//b", "/a/../b", "/a/**/b", "/a;b", "/%61", "/a*", "/{}", "/{a}/{a}", "/a b", "/ä"]
        {
            assert!(bad.parse::<PathPattern>().is_err(), "{bad}");
        }
        for good in ["/", "/**", "/a", "/a/", "/a/{id}", "/a/{id}/**", "/v1/a.b-c_d~e"] {
            assert_eq!(good.parse::<PathPattern>().unwrap().as_str(), good);
        }
    }
}
