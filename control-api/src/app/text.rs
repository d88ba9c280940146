//! Free text that people write: how long it may be.

use std::ops::RangeInclusive;

use crate::error::AppError;

/// Lengths of a name, or of what people are called, in characters.
pub const NAME: RangeInclusive<usize> = 0..=128;

/// Lengths of a phone number, in characters.
pub const PHONE: RangeInclusive<usize> = 0..=32;

/// Refuses a text that is too long or too short, or holds control characters other than line feeds.
///
/// # Errors
/// [`AppError::Invalid`] at `pointer`.
pub fn check(pointer: &str, text: &str, lengths: RangeInclusive<usize>) -> Result<(), AppError> {
    let plain = !text.chars().any(|c| c.is_control() && c != '\n');
    if plain && lengths.contains(&text.chars().count()) {
        return Ok(());
    }
    let (least, most) = (lengths.start(), lengths.end());
    Err(AppError::field(pointer, "invalid", format!("{least} to {most} characters, none of control")))
}
