//! The canonical form of a path, as the gateway decides on it, signs it and forwards it (RFC 3986 §6.2.2).
//!
//! The path that arrives at the service is already in this form. It is brought into it again because something between
//! the two (a sidecar, a framework) may have spelt it otherwise, and so that what has two readings matches nothing.

use std::borrow::Cow;

/// Why a path has no canonical form: two programs could read it in two ways.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PathError {
    /// It does not start with `/`.
    #[error("it does not start with `/`")]
    Relative,
    /// A `%` without two hexadecimal digits.
    #[error("a `%` without two hexadecimal digits")]
    Percent,
    /// An encoded `/`, `\`, `.`, `;` or control byte.
    #[error("an encoded `/`, `\\`, `.`, `;` or control byte")]
    Encoded,
    /// A byte that no path has.
    #[error("a byte that no path has")]
    Byte,
    /// `.`, `..` or an empty segment.
    #[error("a dot segment or an empty segment")]
    Segment,
}

/// The canonical form: unreserved characters decoded, percent-encodings in upper case. A path in canonical form is
/// borrowed.
///
/// ```
/// # use portcullis_assertion::canonical_path;
/// assert_eq!(canonical_path("/orders/%7eada%2a").unwrap(), "/orders/~ada%2A");
/// assert!(canonical_path("/orders/%2e%2e/admin").is_err());
/// ```
///
/// # Errors
/// [`PathError`] for what the gateway refuses, too.
pub fn canonical_path(path: &str) -> Result<Cow<'_, str>, PathError> {
    if !path.starts_with('/') {
        return Err(PathError::Relative);
    }
    let mut out = String::with_capacity(path.len());
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            if !is_path_byte(byte) {
                return Err(PathError::Byte);
            }
            out.push(char::from(byte));
            continue;
        }
        let (Some(high), Some(low)) = (bytes.next().and_then(hex), bytes.next().and_then(hex)) else {
            return Err(PathError::Percent);
        };
        match high * 16 + low {
            b'/' | b'\\' | b'.' | b';' | 0x00..=0x1f | 0x7f => return Err(PathError::Encoded),
            decoded if is_unreserved(decoded) => out.push(char::from(decoded)),
            _ => {
                out.push('%');
                for digit in [high, low] {
                    out.extend(char::from_digit(digit.into(), 16).map(|digit| digit.to_ascii_uppercase()));
                }
            }
        }
    }
    let mut segments = out.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        if matches!(segment, "." | "..") || (segment.is_empty() && segments.peek().is_some()) {
            return Err(PathError::Segment);
        }
    }
    Ok(if out == path { Cow::Borrowed(path) } else { Cow::Owned(out) })
}

const fn hex(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

/// RFC 3986 §2.3.
pub(crate) const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// `pchar` of RFC 3986 §3.3 and `/`, without `;`.
const fn is_path_byte(byte: u8) -> bool {
    is_unreserved(byte)
        || matches!(byte, b'/' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b'=' | b':' | b'@')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn spellings_of_one_path_are_one_path() {
        for (spelt, canonical) in [
            ("/", "/"),
            ("/a/", "/a/"),
            ("/%61", "/a"),
            ("/%e4", "/%E4"),
            ("/%E4%2a", "/%E4%2A"),
            ("/a:b@c,d=e", "/a:b@c,d=e"),
        ] {
            assert_eq!(canonical_path(spelt).unwrap(), canonical, "{spelt}");
        }
    }

    #[test]
    fn refuses_what_has_two_readings() {
        for (path, error) in [
            ("", PathError::Relative),
            ("*", PathError::Relative),
            ("/%", PathError::Percent),
            ("/%4", PathError::Percent),
            ("/%zz", PathError::Percent),
            ("/%2f", PathError::Encoded),
            ("/%2E%2e", PathError::Encoded),
            ("/%00", PathError::Encoded),
            ("/%3b", PathError::Encoded),
            ("/a;b", PathError::Byte),
            ("/a\\b", PathError::Byte),
            ("/a b", PathError::Byte),
            ("/a?b", PathError::Byte),
            ("/ä", PathError::Byte),
            ("//", PathError::Segment),
            ("/a//b", PathError::Segment),
            ("/./a", PathError::Segment),
            ("/a/..", PathError::Segment),
        ] {
            assert_eq!(canonical_path(path), Err(error), "{path}");
        }
    }

    proptest! {
        #[test]
        fn the_canonical_form_is_canonical(path in "/[a-z%0-9A-F/.;~!*]{0,24}") {
            if let Ok(canonical) = canonical_path(&path) {
                prop_assert_eq!(canonical_path(&canonical).unwrap(), canonical.clone());
            }
        }
    }
}
