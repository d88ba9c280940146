//! Sending by SMTP (RFC 5321): one server after the other until one takes the letter.
//!
//! TLS is not optional: by STARTTLS (RFC 3207) or from the first byte (RFC 8314 §3.3), with the server's certificate checked;
//! without it to this machine only, and only where the configuration says so. Each server has its own time.

use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use domain::Secret;
use lettre::{
    Address, AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor,
    message::{
        Mailbox, MultiPart,
        header::{HeaderName, HeaderValue},
    },
    transport::smtp::{
        authentication::Credentials,
        client::{Certificate, CertificateStore, Tls, TlsParameters},
        extension::ClientId,
    },
};

use super::{MailError, Mailer, letter::Mail};
use crate::config::{MailConfig, MailServer, MailTls};

/// What a server says of the address or the letter, and no other day changes (RFC 5321 §4.2.3, RFC 7504). Everything else may be
/// about us, such as a password that somebody is to mend, or a list our address is on: the letter is tried again.
const FOR_GOOD: [u16; 6] = [511, 550, 551, 552, 553, 556];

/// What it says of how we sign in (RFC 4954 §6).
const OURS: [u16; 4] = [530, 534, 535, 538];

/// Why mail cannot be set up.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the error text of each says it")]
pub enum SmtpError {
    #[error("`mail.from` is missing or no address")]
    From,
    #[error("the password of mail server `{server}` cannot be had")]
    Password { server: String, source: link::file::SecretRefError },
    #[error("TLS to mail server `{server}` cannot be set up")]
    Tls { server: String, source: lettre::transport::smtp::Error },
    #[error("the authorities for mail server `{server}` cannot be read")]
    Ca { server: String, source: std::io::Error },
}

/// Mail servers, tried in their order.
#[derive(Debug)]
pub struct Smtp {
    from: Mailbox,
    servers: Vec<Server>,
    timeout: Duration,
}

struct Server {
    /// As it is named in logs.
    name: String,
    transport: AsyncSmtpTransport<Tokio1Executor>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Smtp {
    /// As it is configured; none without servers.
    ///
    /// # Errors
    /// [`SmtpError`].
    pub fn new(config: &MailConfig) -> Result<Option<Self>, SmtpError> {
        let servers = config.all_servers();
        if servers.is_empty() {
            return Ok(None);
        }
        let from = config.from.as_deref().and_then(|from| from.parse::<Mailbox>().ok()).ok_or(SmtpError::From)?;
        let hello = from.email.domain().to_owned();
        let servers = servers.iter().map(|server| Server::new(server, &hello)).collect::<Result<_, _>>()?;
        Ok(Some(Self { from, servers, timeout: config.timeout.get() }))
    }

    fn message(&self, mail: &Mail) -> Result<Message, MailError> {
        let refused = |what: &str| MailError::Refused(what.to_owned());
        let to: Address = mail.to.parse().map_err(|_| refused("the address is none"))?;
        let id = format!("<{}@{}>", mail.id, self.from.email.domain());
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(mail.at.millis()).unwrap_or(0));
        // Nobody's answering machine is to answer (RFC 3834 §5).
        let automatic = HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".into());
        let message = Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, to))
            .subject(mail.subject.clone())
            .date(at)
            .message_id(Some(id))
            .raw_header(automatic)
            .multipart(MultiPart::alternative_plain_html(mail.text.expose().clone(), mail.html.expose().clone()));
        message.map_err(|_| refused("it cannot be written as a message"))
    }
}

#[async_trait]
impl Mailer for Smtp {
    async fn send(&self, mail: &Mail) -> Result<(), MailError> {
        let message = self.message(mail)?;
        let mut said = Vec::new();
        let mut for_good = true;
        for server in &self.servers {
            let sent = tokio::time::timeout(self.timeout, server.transport.send(message.clone())).await;
            let (outcome, code) = match sent {
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(error)) => (word(&error), error.status().map(u16::from)),
                Err(_) => ("did not answer in time".to_owned(), None),
            };
            if code.is_some_and(|code| OURS.contains(&code)) {
                tracing::error!(mail.server = server.name, mail.code = code, "a mail server does not let us in");
            }
            for_good &= code.is_some_and(|code| FOR_GOOD.contains(&code));
            said.push(format!("{} {outcome}", server.name));
        }
        let said = said.join("; ");
        Err(if for_good { MailError::Refused(said) } else { MailError::Unavailable(said) })
    }
}

/// What a server said, without its text: that may repeat the address.
fn word(error: &lettre::transport::smtp::Error) -> String {
    match error.status() {
        Some(code) => format!("answered {code}"),
        None if error.is_tls() => "is not believed: TLS failed".into(),
        None if error.is_timeout() => "did not answer in time".into(),
        None if error.is_response() => "answered what is no SMTP".into(),
        None => "cannot be reached, or offers nothing we may use".into(),
    }
}

impl Server {
    fn new(server: &MailServer, hello: &str) -> Result<Self, SmtpError> {
        let name = format!("{}:{}", server.host, server.port());
        let tls = || {
            let failed = |source| SmtpError::Tls { server: name.clone(), source };
            let mut parameters = TlsParameters::builder(server.host.clone());
            if let Some(path) = &server.ca {
                let pem = std::fs::read(path).map_err(|source| SmtpError::Ca { server: name.clone(), source })?;
                let own = Certificate::from_pem(&pem).map_err(failed)?;
                parameters = parameters.certificate_store(CertificateStore::None).add_root_certificate(own);
            }
            parameters.build_rustls().map_err(failed)
        };
        let tls = match server.tls {
            MailTls::Starttls => Tls::Required(tls()?),
            MailTls::Implicit => Tls::Wrapper(tls()?),
            MailTls::None => Tls::None,
        };
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&server.host)
            .port(server.port())
            .tls(tls)
            .hello_name(ClientId::Domain(hello.to_owned()));
        let password: Option<Secret<String>> =
            server.secret().map_err(|source| SmtpError::Password { server: name.clone(), source })?;
        if let (Some(user), Some(password)) = (&server.username, password) {
            builder = builder.credentials(Credentials::new(user.clone(), password.expose().clone()));
        }
        Ok(Self { name, transport: builder.build() })
    }
}
