//! `/dev/mailbox`: the letters of a developer's machine, which go nowhere else.

use std::net::IpAddr;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use domain::{OutboxEventId, Timestamp};
use http::{HeaderValue, header};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{answer::List, extract::Asked, schema::wire};
use crate::{App, context::RequestContext, error::AppError, mail::letter::Mail};

/// A letter that was not sent.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "DevLetter")]
pub struct DevLetterView {
    /// Its id.
    id: OutboxEventId,
    /// Whose address.
    to: String,
    /// One line.
    subject: String,
    /// In plain text.
    text: String,
    /// As HTML.
    html: String,
    /// When it was left.
    at: Timestamp,
}

wire!(DevLetterView);

/// Which letters.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct MailboxQuery {
    /// To this address, in any case. Default all.
    to: Option<String>,
}

impl From<Mail> for DevLetterView {
    fn from(mail: Mail) -> Self {
        Self {
            id: mail.id,
            to: mail.to,
            subject: mail.subject,
            text: mail.text.expose().clone(),
            html: mail.html.expose().clone(),
            at: mail.at,
        }
    }
}

/// Lists the letters in the development mailbox, newest first. There is one with `environment: dev` and without a mail server only.
///
/// The letters hold one-time secrets, and there is no token: so it is served on this machine's own names only, which no page
/// from elsewhere can make a browser believe it came from.
#[utoipa::path(get, path = "/dev/mailbox", tag = "development", params(MailboxQuery),
    responses((status = 200, body = List<DevLetterView>)))]
pub async fn list_dev_letters(
    context: RequestContext,
    State(app): State<App>,
    Asked(query): Asked<MailboxQuery>,
) -> Result<Response, AppError> {
    let loopback = |host: &str| host == "localhost" || host.parse::<IpAddr>().is_ok_and(|host| host.is_loopback());
    let here = context.host.as_ref().is_none_or(|host| loopback(host.as_str()));
    let mailbox = app.mailbox().filter(|_| here).ok_or(AppError::NoRoute)?;
    let letters = mailbox.letters(query.to.as_deref(), app.now()).into_iter().map(DevLetterView::from).collect();
    let mut response = Json(List::whole(letters)).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}
