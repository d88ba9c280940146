//! Mail: what the product writes to people.
//!
//! ```text
//! change + Letter::event ─▶ commit ─▶ outbox ─▶ Postman: template filled in ─▶ Mailer: the first server that takes it
//!                                       ▲                                        │
//!                                       └── again, after a longer pause ◀── none does
//! ```
//!
//! A letter is left in the transaction of what it tells of, sealed, for it may hold a one-time secret; it is written when it
//! is sent, in the words of the project then. One whose secret has expired is not sent. The same letter keeps its
//! `Message-ID` over all attempts. What is logged of one is its id and its kind, never the address or the text.

pub mod letter;
pub mod mailbox;
pub mod smtp;
pub mod templates;

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use domain::outbox::{OutboxEvent, OutboxKind};
use store::read::*;

use self::{
    letter::{Letter, Mail},
    mailbox::DevMailbox,
    smtp::{Smtp, SmtpError},
};
use crate::{
    App,
    config::{Config, Environment},
    error::AppError,
    outbox::{self, Backoff, Outcome, Patience, Worker},
};

/// What takes letters to where they are read.
#[async_trait]
pub trait Mailer: fmt::Debug + Send + Sync {
    /// Sends one. Sent twice, by the same id, it is one.
    ///
    /// # Errors
    /// Why it was not taken.
    async fn send(&self, mail: &Mail) -> Result<(), MailError>;
}

/// Why a letter was not taken. Its text is logged and kept: it names servers and codes, no address and nothing of the letter.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum MailError {
    /// Not now.
    #[error("no mail server takes it now: {0}")]
    Unavailable(String),
    /// Never.
    #[error("the mail is refused: {0}")]
    Refused(String),
}

/// How letters leave this process.
#[derive(Clone, Debug)]
pub(crate) enum Post {
    /// By a mailer.
    Mailer(Arc<dyn Mailer>),
    /// Into the mailbox of a developer's machine.
    Mailbox(Arc<DevMailbox>),
    /// Not at all.
    None,
}

impl Post {
    /// As it is configured: by mail servers; in `dev` and without any, into the mailbox.
    pub(crate) fn of(config: &Config) -> Result<Self, SmtpError> {
        match Smtp::new(&config.mail)? {
            Some(smtp) => Ok(Self::Mailer(Arc::new(smtp))),
            None if config.environment == Environment::Dev => Ok(Self::Mailbox(Arc::default())),
            None => Ok(Self::None),
        }
    }

    async fn send(&self, mail: &Mail) -> Result<(), MailError> {
        match self {
            Self::Mailer(mailer) => mailer.send(mail).await,
            Self::Mailbox(mailbox) => mailbox.send(mail).await,
            Self::None => Err(MailError::Unavailable("there is none in the configuration".into())),
        }
    }
}

impl App {
    /// Whether this installation can send mail.
    ///
    /// # Errors
    /// [`AppError::Conflict`] (`mail_unavailable`), to be answered before anything is looked at that could tell who exists.
    pub fn mail_ready(&self) -> Result<(), AppError> {
        if matches!(self.post(), Post::None) {
            let detail = "this installation has no way to send mail".to_owned();
            return Err(AppError::Conflict { code: "mail_unavailable", detail });
        }
        Ok(())
    }

    /// The mailbox of a developer's machine, where letters lie in it.
    pub fn mailbox(&self) -> Option<Arc<DevMailbox>> {
        match self.post() {
            Post::Mailbox(mailbox) => Some(mailbox),
            Post::Mailer(_) | Post::None => None,
        }
    }

    /// Sends mail by another mailer from now on.
    pub fn send_mail_by(&self, mailer: Arc<dyn Mailer>) {
        self.set_post(Post::Mailer(mailer));
    }
}

/// Sends the letters of the outbox.
#[derive(Clone, Copy, Debug, Default)]
pub struct Postman;

impl Worker for Postman {
    const KIND: OutboxKind = OutboxKind::Mail;

    async fn attempt(&self, app: &App, event: &OutboxEvent) -> Outcome {
        let Ok(letter) = serde_json::from_str::<Letter>(event.payload.expose()) else {
            return Outcome::GivenUp("it is no letter of this release's".into());
        };
        if letter.is_stale(app.now()) {
            return Outcome::GivenUp("what it holds has expired".into());
        }
        let project = match event.project_id {
            Some(id) => app.store.project(id).await,
            None => app.store.root_project().await,
        };
        let project = match project {
            Ok(Some(project)) => project,
            Ok(None) => return Outcome::GivenUp("its project is gone".into()),
            Err(_) => return Outcome::Again("its project cannot be read".into()),
        };
        // What a project wrote for itself was checked when it was saved; should it not hold any more, ours does.
        let own = templates::of_config(&project.config).unwrap_or_else(|_| {
            tracing::warn!(mail.id = %event.id, project.id = %project.id, "the project's own letters cannot be used");
            templates::ProjectMail::default()
        });
        let written = templates::render(&letter, (&project.name, &own), (event.id, event.created_at));
        let mail = match written {
            Ok(mail) => mail,
            Err(error) => return Outcome::GivenUp(error.to_string()),
        };
        match app.post().send(&mail).await {
            Ok(()) => {
                tracing::info!(mail.id = %event.id, mail.kind = letter.kind().name(), "a letter was sent");
                Outcome::Done
            }
            Err(error @ MailError::Unavailable(_)) => Outcome::Again(error.to_string()),
            Err(error @ MailError::Refused(_)) => Outcome::GivenUp(error.to_string()),
        }
    }
}

/// How long and how often a letter is tried.
pub fn patience(app: &App) -> Patience {
    let config = &app.config.mail;
    Patience {
        at_once: config.at_once,
        lease: config.lease(),
        backoff: Backoff { first: config.retry.get(), longest: config.retry_most.get() },
        give_up_after: config.give_up_after.get(),
    }
}

/// Sends what is due for as long as it is polled.
pub(crate) async fn run(app: App) {
    match app.post() {
        Post::Mailer(_) => {}
        Post::Mailbox(_) => {
            tracing::warn!(
                "letters are not sent: whoever is on this machine reads them at /dev/mailbox on the admin listener"
            );
        }
        Post::None => tracing::warn!("no letter is sent: there is no mail server in the configuration"),
    }
    let patience = patience(&app);
    outbox::run(app, Arc::new(Postman), patience).await;
}
