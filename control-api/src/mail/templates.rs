//! How letters read: ours, or a project's own in their place (`config.mail` of the project).
//!
//! A template is text with `{{ name }}` in it, and no more: no conditions, loops or expressions, so that it takes no more time or
//! memory than its length says. In HTML what is filled in is escaped; a subject is one line whatever is filled in.

use std::collections::BTreeMap;

use domain::{OutboxEventId, Secret, Timestamp};
use serde::{Deserialize, Serialize};

use super::letter::{Letter, LetterKind, MAX_NAME, Mail, plain};
use crate::error::{AppError, FieldError};

/// Longest template of a project's, in bytes.
const MAX_TEMPLATE: usize = 64 * 1024;

/// Longest letter, in bytes.
const MAX_LETTER: usize = 256 * 1024;

/// What people called things.
const NAMES: [&str; 3] = ["inviter_tenant", "project", "title"];

/// Longest subject, in characters.
const MAX_SUBJECT: usize = 200;

/// How a project's letters read, in `config.mail`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProjectMail {
    /// By the name of the letter.
    pub letters: BTreeMap<LetterKind, OwnLetter>,
}

/// A letter as a project writes it. What is absent is ours.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OwnLetter {
    /// One line.
    pub subject: Option<String>,
    /// In plain text.
    pub text: Option<String>,
    /// As HTML.
    pub html: Option<String>,
}

/// Why a letter cannot be written. Its text holds nothing of the letter.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TemplateError {
    /// A template is wrong, or asks for what is not filled in.
    #[error("the template of `{0}` cannot be filled in")]
    Template(&'static str),
    /// It is too long.
    #[error("the letter `{0}` is too long")]
    TooLong(&'static str),
}

/// Our own: subject, and text.
fn ours(kind: LetterKind) -> (&'static str, &'static str) {
    let text = match kind {
        LetterKind::Invitation => include_str!("letters/invitation.txt"),
        LetterKind::Signup => include_str!("letters/signup.txt"),
        LetterKind::AccountExists => include_str!("letters/account_exists.txt"),
        LetterKind::EmailVerification => include_str!("letters/email_verification.txt"),
        LetterKind::EmailChange => include_str!("letters/email_change.txt"),
        LetterKind::EmailChangeNotice => include_str!("letters/email_change_notice.txt"),
        LetterKind::EmailChanged => include_str!("letters/email_changed.txt"),
        LetterKind::PasswordReset => include_str!("letters/password_reset.txt"),
        LetterKind::PasswordChanged => include_str!("letters/password_changed.txt"),
        LetterKind::LoginCode => include_str!("letters/login_code.txt"),
        LetterKind::SignupCode => include_str!("letters/signup_code.txt"),
        LetterKind::MagicLink => include_str!("letters/magic_link.txt"),
        LetterKind::FactorChanged => include_str!("letters/factor_changed.txt"),
        LetterKind::QrLogin => include_str!("letters/qr_login.txt"),
        LetterKind::PasswordVoided => include_str!("letters/password_voided.txt"),
        LetterKind::AccountDeletion => include_str!("letters/account_deletion.txt"),
        LetterKind::Notice => include_str!("letters/notice.txt"),
    };
    text.split_once("\n\n").unwrap_or((text, ""))
}

/// A letter of a project that is called `project`, as it goes out.
///
/// # Errors
/// [`TemplateError`].
pub fn render(
    letter: &Letter,
    (project, own): (&str, &ProjectMail),
    (id, at): (OutboxEventId, Timestamp),
) -> Result<Mail, TemplateError> {
    let kind = letter.kind();
    let mut values = letter.values().clone();
    values.insert("project".into(), project.into());
    if kind == LetterKind::AccountDeletion {
        // One that an older release left has no link.
        values.entry("url".into()).or_default();
    }
    for (name, value) in &mut values {
        if NAMES.contains(&name.as_str()) {
            *value = plain(value, MAX_NAME);
        }
    }
    let (subject, text) = ours(kind);
    let own = own.letters.get(&kind);
    let subject = own.and_then(|own| own.subject.as_deref()).unwrap_or(subject);
    let text = own.and_then(|own| own.text.as_deref()).unwrap_or(text);
    let subject = one_line(&fill(kind, subject, &values, str::to_owned)?);
    let text = fill(kind, text, &values, str::to_owned)?;
    let html = match own.and_then(|own| own.html.as_deref()) {
        Some(html) => fill(kind, html, &values, escape)?,
        None => around(&subject, &text, &values),
    };
    let (text, html) = (Secret::new(text), Secret::new(html));
    Ok(Mail { id, at, expires_at: letter.expires_at(), to: letter.to().to_owned(), subject, text, html })
}

/// The text of a letter as HTML: its link is one, and its code stands out.
fn around(subject: &str, text: &str, values: &BTreeMap<String, String>) -> String {
    let is = |name: &str, line: &str| values.get(name).is_some_and(|value| value == line);
    let line = |line: &str| {
        let shown = escape(line);
        if is("url", line) {
            format!("<p><a href=\"{shown}\">{shown}</a></p>\n")
        } else if is("code", line) {
            format!("<p style=\"font-family: monospace; font-size: 28px; letter-spacing: 4px\">{shown}</p>\n")
        } else {
            format!("<p>{shown}</p>\n")
        }
    };
    let body: String = text.split("\n\n").map(str::trim).filter(|it| !it.is_empty()).map(line).collect();
    let title = escape(subject);
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>{title}</title></head>\n\
         <body style=\"font-family: sans-serif; font-size: 16px; line-height: 1.5; max-width: 36em; margin: 2em auto\">\n\
         {body}</body>\n</html>\n"
    )
}

/// How a project's letters read, from its settings.
///
/// # Errors
/// [`AppError::Invalid`] for templates that are too long, cannot be read, or ask for what is not filled in.
pub fn of_config(config: &serde_json::Value) -> Result<ProjectMail, AppError> {
    let Some(mail) = config.get("mail") else { return Ok(ProjectMail::default()) };
    let own: ProjectMail = serde_json::from_value(mail.clone())
        .map_err(|error| AppError::field("/config/mail", "invalid", error.to_string()))?;
    let mut wrong = Vec::new();
    for (kind, letter) in &own.letters {
        let pointer = format!("/config/mail/letters/{}", kind.name());
        let parts = [&letter.subject, &letter.text, &letter.html];
        if parts.into_iter().flatten().any(|part| part.len() > MAX_TEMPLATE) {
            let detail = format!("a template has at most {MAX_TEMPLATE} bytes");
            wrong.push(FieldError::new(pointer, "too_long", detail));
            continue;
        }
        let sample =
            kind.values().iter().fold(Letter::new(*kind, "ada@example.com"), |letter, name| letter.with(name, "x"));
        let rendered = render(&sample, ("x", &own), (OutboxEventId::new(uuid::Uuid::nil()), Timestamp::from_secs(0)));
        if rendered.is_err() {
            let known = kind.values().join(", ");
            let detail = format!("cannot be filled in; there are: project, {known}");
            wrong.push(FieldError::new(pointer, "invalid", detail));
        }
    }
    if wrong.is_empty() { Ok(own) } else { Err(AppError::Invalid(wrong)) }
}

/// A template with its values in place of their names.
fn fill(
    kind: LetterKind,
    template: &str,
    values: &BTreeMap<String, String>,
    shown: impl Fn(&str) -> String,
) -> Result<String, TemplateError> {
    let wrong = || TemplateError::Template(kind.name());
    let (mut filled, mut rest) = (String::new(), template);
    while let Some((before, after)) = rest.split_once("{{") {
        let (name, after) = after.split_once("}}").ok_or_else(wrong)?;
        filled.push_str(before);
        filled.push_str(&shown(values.get(name.trim()).ok_or_else(wrong)?));
        if filled.len() > MAX_LETTER {
            return Err(TemplateError::TooLong(kind.name()));
        }
        rest = after;
    }
    filled.push_str(rest);
    // What looks like more than names is a mistake of who expects more.
    if template.contains("{%") || template.contains("{#") {
        return Err(wrong());
    }
    if filled.len() > MAX_LETTER { Err(TemplateError::TooLong(kind.name())) } else { Ok(filled) }
}

/// As text of HTML, or in an attribute's quotes.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// As a header can hold it.
fn one_line(text: &str) -> String {
    plain(text, MAX_SUBJECT)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sent(letter: &Letter, own: &ProjectMail) -> Mail {
        render(letter, ("Acme", own), (OutboxEventId::new(uuid::Uuid::nil()), Timestamp::from_secs(0))).unwrap()
    }

    #[test]
    fn every_letter_can_be_filled_in_and_shows_all_that_is() {
        for kind in LetterKind::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
            let letter = kind
                .values()
                .iter()
                .fold(Letter::new(kind, "a@b.example"), |letter, name| letter.with(name, format!("<<{name}>")));
            let mail = sent(&letter, &ProjectMail::default());
            assert!(!mail.subject.is_empty() && !mail.subject.contains('{'), "{}", mail.subject);
            for name in kind.values() {
                let shown = format!("{}\n{}", mail.subject, mail.text.expose());
                assert!(shown.contains(&format!("<<{name}>")), "{name} in {shown}");
                assert!(!mail.html.expose().contains(&format!("<<{name}>")), "{name} is not escaped in {kind:?}");
            }
        }
    }

    #[test]
    fn a_subject_is_one_line_whatever_is_filled_in() {
        let letter = Letter::new(LetterKind::Notice, "a@b.example")
            .with("title", "Hello\r\nBcc: eve@evil.example\u{0}")
            .with("text", "x");
        assert_eq!(sent(&letter, &ProjectMail::default()).subject, "Hello  Bcc: eve@evil.example");
    }

    #[test]
    fn what_strangers_are_called_is_no_link_and_turns_nothing_around() {
        let name = "Your account is locked: https://evil.example/ www.evil.example\u{202e}\u{2028}x".to_owned()
            + &"y".repeat(100);
        let letter = Letter::new(LetterKind::Invitation, "a@b.example").with("inviter_tenant", name);
        let mail =
            sent(&letter.with("url", "https://a.example/").until(Timestamp::from_secs(0)), &ProjectMail::default());
        let shown = format!("{}{}", mail.subject, mail.text.expose());
        assert!(!shown.contains("://evil") && !shown.contains("www.evil") && !shown.contains('\u{202e}'), "{shown}");
        assert!(!shown.contains("yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy"), "{shown}");
    }

    #[test]
    fn a_link_is_a_link_and_a_code_stands_alone() {
        let letter = Letter::new(LetterKind::MagicLink, "a@b.example").with("url", "https://a.example/?t=1&u=2");
        let html = sent(&letter.until(Timestamp::from_secs(0)), &ProjectMail::default()).html;
        assert!(html.expose().contains("<a href=\"https://a.example/?t=1&amp;u=2\">"), "{}", html.expose());
        let letter = Letter::new(LetterKind::LoginCode, "a@b.example").with("code", "123456");
        let html = sent(&letter.until(Timestamp::from_secs(0)), &ProjectMail::default()).html;
        assert!(html.expose().contains("4px\">123456</p>"), "{}", html.expose());
    }

    #[test]
    fn a_project_writes_letters_of_its_own_and_mistakes_are_named() {
        let config = json!({ "mail": { "letters": { "login_code": { "subject": "{{ code }}!", "html": "<b>{{ code }}</b>" } } } });
        let own = of_config(&config).unwrap();
        let letter =
            Letter::new(LetterKind::LoginCode, "a@b.example").with("code", "<1>").until(Timestamp::from_secs(0));
        let mail = sent(&letter, &own);
        assert_eq!((mail.subject.as_str(), mail.html.expose().as_str()), ("<1>!", "<b>&lt;1&gt;</b>"));
        assert!(mail.text.expose().contains("Your code to sign in at Acme"), "what is absent is ours");
        for (wrong, at) in [
            (json!({ "letters": { "login_code": { "text": "{{ password }}" } } }), "/config/mail/letters/login_code"),
            (json!({ "letters": { "login_code": { "text": "{{" } } }), "/config/mail/letters/login_code"),
            (
                json!({ "letters": { "signup": { "html": "{% set a = 'x' %}{% set a = a ~ a %}" } } }),
                "/config/mail/letters/signup",
            ),
            (json!({ "letters": { "signup": { "html": "{{ url ~ url }}" } } }), "/config/mail/letters/signup"),
            (
                json!({ "letters": { "notice": { "text": "x".repeat(MAX_TEMPLATE + 1) } } }),
                "/config/mail/letters/notice",
            ),
            (json!({ "letters": { "greeting": {} } }), "/config/mail"),
        ] {
            let error = of_config(&json!({ "mail": wrong })).unwrap_err();
            assert_eq!(error.fields()[0].pointer, at);
        }
    }
}
