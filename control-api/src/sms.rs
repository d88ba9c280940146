//! Texts to phones: codes, and nothing else.
//!
//! A text is left in the outbox in the transaction of what it tells, sealed, and sent by a signed request to the operator's own
//! service, which speaks to whoever carries it (`docs/identity.md`). On a developer's machine it lies in the mailbox. One whose
//! code has expired is not sent. What is logged of one is its id, never the number or the text.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use domain::{
    OutboxEventId, PhoneNumber, ProjectId, Secret, TenantId, Timestamp,
    outbox::{NewOutboxEvent, OutboxEvent, OutboxKind},
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    App,
    context::new_id,
    error::AppError,
    mail::letter::Mail,
    outbound::Reach,
    outbox::{self, Backoff, Outcome, Patience, Worker},
    problem,
    webhooks::{
        send::{Message, SendError, Sender},
        sign,
    },
};

/// A text that is to be sent.
#[derive(Clone, Serialize, Deserialize)]
pub struct Text {
    to: PhoneNumber,
    text: String,
    expires_at: Timestamp,
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Text").finish_non_exhaustive()
    }
}

impl Text {
    /// A code. Of the project's name what is no letter, digit or space is left out: phones make links of the rest.
    pub fn code(to: &PhoneNumber, project: &str, code: &Secret<String>, expires_at: Timestamp) -> Self {
        let project: String = project.chars().filter(|c| c.is_alphanumeric() || *c == ' ').take(40).collect();
        let text = format!("{} is your code for {project}. Tell it to nobody.", code.expose());
        Self { to: to.clone(), text, expires_at }
    }

    /// As what is left in the outbox.
    ///
    /// # Errors
    /// [`AppError::Internal`].
    pub fn event(&self, app: &App, project: ProjectId, tenant: Option<TenantId>) -> Result<NewOutboxEvent, AppError> {
        let payload = serde_json::to_string(self);
        let payload = payload.map_err(|error| AppError::internal("a text cannot be written", error))?;
        Ok(NewOutboxEvent {
            id: new_id(&*app.clock),
            kind: OutboxKind::Sms,
            project_id: Some(project),
            tenant_id: tenant,
            payload: Secret::new(payload),
        })
    }
}

/// What takes texts to phones.
#[async_trait]
pub trait Sms: fmt::Debug + Send + Sync {
    /// Sends one. Sent twice, by the same id, it is one.
    ///
    /// # Errors
    /// Why it was not taken; names neither number nor text.
    async fn send(&self, app: &App, id: OutboxEventId, text: &Text) -> Result<(), SmsError>;
}

/// Why a text was not taken.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the service for texts did not take it: {0}")]
pub struct SmsError(String);

/// By a signed request to the operator's service.
#[derive(Debug)]
struct ByWebhook {
    url: String,
    key: Secret<Vec<u8>>,
    sender: Sender,
}

#[async_trait]
impl Sms for ByWebhook {
    async fn send(&self, app: &App, id: OutboxEventId, text: &Text) -> Result<(), SmsError> {
        let body = json!({
            "type": "sms", "id": id, "to": text.to, "text": text.text, "expires_at": text.expires_at,
        });
        let (body, id, now) = (body.to_string().into_bytes(), id.to_string(), app.now());
        let signature = sign::signature(std::slice::from_ref(&self.key), &id, now, &body);
        let message = Message { url: self.url.clone(), id, timestamp: now.secs(), signature, body };
        let sent = self.sender.send(app, message).await;
        sent.map(drop).map_err(|error: SendError| SmsError(problem::chain(&error)))
    }
}

/// Into the mailbox of a developer's machine.
#[derive(Debug)]
struct IntoMailbox;

#[async_trait]
impl Sms for IntoMailbox {
    async fn send(&self, app: &App, id: OutboxEventId, text: &Text) -> Result<(), SmsError> {
        let mailbox = app.mailbox().ok_or_else(|| SmsError("there is no mailbox".into()))?;
        let mail = Mail {
            id,
            at: app.now(),
            expires_at: Some(text.expires_at),
            to: text.to.to_string(),
            subject: text.text.clone(),
            text: Secret::new(text.text.clone()),
            html: Secret::new(String::new()),
        };
        let kept = crate::mail::Mailer::send(&*mailbox, &mail).await;
        kept.map_err(|error| SmsError(error.to_string()))
    }
}

/// How texts leave this process; none where they do not.
///
/// # Errors
/// [`AppError::Internal`] for a key or authorities that cannot be read.
pub(crate) fn of(config: &crate::Config) -> Result<Option<Arc<dyn Sms>>, AppError> {
    let failed = |reason: String| AppError::internal("texts cannot be set up", reason);
    let Some(webhook) = &config.sms.webhook else {
        let dev = config.environment == crate::config::Environment::Dev;
        return Ok(dev.then(|| Arc::new(IntoMailbox) as Arc<dyn Sms>));
    };
    let key = webhook.key.resolve(std::path::Path::new(".")).map_err(|error| failed(problem::chain(&error)))?;
    if key.expose().len() < 32 {
        return Err(failed("its key is shorter than 32 bytes".into()));
    }
    let reach = Reach { allow: &webhook.allow, ca: webhook.ca.as_deref(), on_loopback: webhook.on_loopback };
    let sender = Sender::reaching(reach, webhook.timeout.get()).map_err(|error| failed(problem::chain(&error)))?;
    let key = Secret::new(key.expose().as_bytes().to_vec());
    Ok(Some(Arc::new(ByWebhook { url: webhook.url.clone(), key, sender })))
}

impl App {
    /// Whether this installation can send texts.
    ///
    /// # Errors
    /// [`AppError::Conflict`] (`sms_unavailable`), to be answered before anything is looked at that could tell who exists.
    pub fn sms_ready(&self) -> Result<(), AppError> {
        let mailbox_only = self.config.sms.webhook.is_none();
        if self.sms.is_none() || (mailbox_only && self.mailbox().is_none()) {
            let detail = "this installation has no way to send texts".to_owned();
            return Err(AppError::Conflict { code: "sms_unavailable", detail });
        }
        Ok(())
    }
}

/// Sends the texts of the outbox.
#[derive(Clone, Copy, Debug, Default)]
pub struct Messenger;

impl Worker for Messenger {
    const KIND: OutboxKind = OutboxKind::Sms;

    async fn attempt(&self, app: &App, event: &OutboxEvent) -> Outcome {
        let Ok(text) = serde_json::from_str::<Text>(event.payload.expose()) else {
            return Outcome::GivenUp("it is no text of this release's".into());
        };
        if text.expires_at <= app.now() {
            return Outcome::GivenUp("what it holds has expired".into());
        }
        let Some(sms) = &app.sms else { return Outcome::Again("there is no service for texts".into()) };
        match sms.send(app, event.id, &text).await {
            Ok(()) => {
                tracing::info!(sms.id = %event.id, "a text was sent");
                Outcome::Done
            }
            Err(error) => Outcome::Again(error.to_string()),
        }
    }
}

/// How long and how often a text is tried: codes are good for minutes.
pub const PATIENCE: Patience = Patience {
    backoff: Backoff { first: std::time::Duration::from_secs(2), longest: std::time::Duration::from_secs(30) },
    give_up_after: std::time::Duration::from_secs(3600),
    ..Patience::USUAL
};

/// Sends what is due for as long as it is polled.
pub(crate) async fn run(app: App) {
    outbox::run(app, Arc::new(Messenger), PATIENCE).await;
}
