//! Free text that people write: how long it may be.

use std::ops::RangeInclusive;

use crate::{error::AppError, mail::letter::is_odd};

/// Lengths of a name, or of what people are called, in characters.
pub const NAME: RangeInclusive<usize> = 0..=128;

/// Lengths of a phone number, in characters.
pub const PHONE: RangeInclusive<usize> = 0..=32;

/// Lengths of the name of a thing, and of what is said of it, in characters.
const TITLE: RangeInclusive<usize> = 1..=128;
const DESCRIPTION: RangeInclusive<usize> = 0..=1024;

/// Refuses what a thing cannot be called.
///
/// # Errors
/// [`AppError::Invalid`] at `/name` or `/description`.
pub fn named(name: &str, description: &str) -> Result<(), AppError> {
    if name.trim() != name || name.contains('\n') {
        return Err(AppError::field("/name", "invalid", "is one line, and begins and ends with something"));
    }
    check("/name", name, TITLE)?;
    check("/description", description, DESCRIPTION)
}

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

/// The same of what a stranger writes and an administrator reads: nothing in it changes how the rest is shown.
///
/// # Errors
/// [`AppError::Invalid`] at `pointer`.
pub fn of_stranger(pointer: &str, text: &str, lengths: RangeInclusive<usize>) -> Result<(), AppError> {
    check(pointer, text, lengths)?;
    if text.chars().any(is_odd) {
        return Err(AppError::field(pointer, "invalid", "holds characters that nobody sees, or marks of direction"));
    }
    Ok(())
}

/// Whether JSON holds NUL in any of its texts, which no database keeps.
pub fn holds_nul(json: &str) -> bool {
    json.contains("\\u0000")
}

/// Most bytes of settings that are kept as they are written.
const SETTINGS: usize = 64 * 1024;

/// Refuses settings that are too much, or hold what no database keeps.
///
/// # Errors
/// [`AppError::Invalid`] at `pointer`.
pub fn settings(pointer: &str, value: &serde_json::Value) -> Result<(), AppError> {
    let text = value.to_string();
    if !value.is_object() || text.len() > SETTINGS || holds_nul(&text) {
        return Err(AppError::field(pointer, "invalid", "an object of 64 KiB at most, without NUL"));
    }
    Ok(())
}
