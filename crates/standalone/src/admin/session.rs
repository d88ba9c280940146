//! Signing in: for one command, or kept in a context between commands.

use std::{
    fs,
    io::{self, IsTerminal as _, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use clap::Args;
use domain::{Clock, Secret};
use reqwest::{Client, Method, RequestBuilder, Url, redirect::Policy};
use serde::Deserialize;
use serde_json::json;

use super::{
    Connection, Place, STAFF,
    context::{Context, Contexts, Locked, Tokens},
    failure::{Failure, answer, send},
    given, is_here, read_secret,
};

/// So many seconds before its end an access token is no longer begun with.
const MARGIN: i64 = 30;

/// The name of a context that was given none.
const DEFAULT: &str = "default";

/// Somebody who has signed in.
pub struct SignedIn {
    client: Client,
    url: Url,
    token: Secret<String>,
}

/// What sign-in and refresh answer.
#[derive(Deserialize)]
struct Opened {
    #[serde(default)]
    access_token: Option<Secret<String>>,
    #[serde(default)]
    refresh_token: Option<Secret<String>>,
    #[serde(default)]
    expires_in: i64,
    #[serde(default)]
    second_factor: Option<SecondFactor>,
}

/// That it waits for a second factor.
#[derive(Deserialize)]
struct SecondFactor {
    login_challenge_id: Secret<String>,
    #[serde(default)]
    methods: Vec<String>,
}

impl Opened {
    fn tokens(self, clock: &dyn Clock) -> anyhow::Result<Tokens> {
        if self.second_factor.is_some() {
            bail!("sign-in asks for a second factor: `portcullis login` asks for its code, and keeps the session");
        }
        let missing = "sign-in gave no tokens";
        Ok(Tokens {
            access_token: self.access_token.context(missing)?,
            refresh_token: self.refresh_token.context(missing)?,
            expires_at: clock.unix_now().millis() / 1000 + self.expires_in,
        })
    }
}

impl SignedIn {
    /// With a token that somebody else got.
    pub(super) fn with(place: &Place, token: Secret<String>) -> anyhow::Result<Self> {
        Ok(Self { client: client(place)?, url: place.url.clone(), token })
    }

    /// For this command alone.
    pub(super) async fn by_password(
        place: &Place,
        username: &str,
        password: &Secret<String>,
        clock: &dyn Clock,
    ) -> anyhow::Result<Self> {
        let tokens = open(place, username, password, clock).await?;
        Self::with(place, tokens.access_token)
    }

    /// With the session that a context keeps; where its access token ends soon, with the next one. Two commands at once
    /// do not both show the refresh token, which would end the session: one waits for the other.
    pub(super) async fn kept(place: &Place, name: &str, clock: &dyn Clock) -> anyhow::Result<Self> {
        let locked = Locked::take()?;
        let mut contexts = Contexts::read(&locked.path)?;
        let gone = || format!("context `{name}` keeps no session: `portcullis login`");
        let kept = contexts.get_mut(name).and_then(|context| context.tokens.as_mut()).with_context(gone)?;
        if clock.unix_now().millis() / 1000 + MARGIN < kept.expires_at {
            return Self::with(place, kept.access_token.clone());
        }
        let body = json!({ "refresh_token": kept.refresh_token.expose() });
        let ask = client(place)?.post(join(&place.url, &format!("{}/refresh", place.door.path()))).json(&body);
        let opened: Opened = answer(ask, "refreshing the session; `portcullis login` opens another").await?;
        *kept = opened.tokens(clock)?;
        let token = kept.access_token.clone();
        contexts.write(&locked)?;
        Self::with(place, token)
    }

    /// A request to be. `path` is in normal form, and may have a query.
    pub fn ask(&self, method: Method, path: &str) -> RequestBuilder {
        self.request(method, self.at(path))
    }

    /// The address of a path, which may have a query.
    pub(crate) fn at(&self, path: &str) -> Url {
        join(&self.url, path)
    }

    /// A request to be, to an address under [`Self::url`].
    pub(crate) fn request(&self, method: Method, url: Url) -> RequestBuilder {
        self.client.request(method, url).bearer_auth(self.token.expose())
    }

    /// The control API.
    pub(crate) const fn url(&self) -> &Url {
        &self.url
    }
}

/// `base` with a path behind its own.
fn join(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
    url.set_path(&format!("{}{path}", base.path().trim_end_matches('/')));
    url.set_query(query);
    url
}

async fn open(place: &Place, username: &str, password: &Secret<String>, clock: &dyn Clock) -> anyhow::Result<Tokens> {
    begun(place, username, password).await?.tokens(clock)
}

async fn begun(place: &Place, username: &str, password: &Secret<String>) -> anyhow::Result<Opened> {
    let login = json!({ "username": username, "password": password.expose() });
    let ask = client(place)?.post(join(&place.url, &format!("{}/login", place.door.path()))).json(&login);
    answer(ask, "sign-in").await
}

/// Shows a sign-in that waits for it its second factor.
async fn shown(place: &Place, waits: SecondFactor, code: &Secret<String>) -> anyhow::Result<Opened> {
    // Nothing else than the code of an authenticator is six digits.
    let is_digits = code.expose().bytes().all(|byte| byte.is_ascii_digit());
    let name = if is_digits && code.expose().len() == 6 { "code" } else { "recovery_code" };
    let body = json!({ "login_challenge_id": waits.login_challenge_id.expose(), name: code.expose() });
    answer(client(place)?.post(join(&place.url, "/v1/auth/totp/verify")).json(&body), "the second factor").await
}

/// The code that a sign-in waits for: from where it was said to come from, else of whoever sits at the terminal.
fn asked_for(waits: &SecondFactor, from: Option<&Path>) -> anyhow::Result<Secret<String>> {
    if !waits.methods.iter().any(|method| method == "totp" || method == "recovery_code") {
        let methods = waits.methods.join(", ");
        bail!("sign-in asks for what cannot be given here ({}): sign in elsewhere first", super::text(&methods));
    }
    let code = match from {
        Some(file) => read_secret(file)?,
        None if io::stdin().is_terminal() => {
            prompt("code of the authenticator, or a recovery code: ")?;
            let mut line = String::new();
            io::stdin().read_line(&mut line).context("the terminal cannot be read")?;
            Secret::new(line)
        }
        None => bail!("sign-in asks for a second factor: give its code by --code-from, or sign in at a terminal"),
    };
    Ok(Secret::new(code.expose().trim().to_owned()))
}

fn prompt(text: &str) -> io::Result<()> {
    let mut to = io::stderr();
    to.write_all(text.as_bytes())?;
    to.flush()
}

fn client(place: &Place) -> anyhow::Result<Client> {
    // A redirect could lead a password or a token elsewhere, and so could a proxy that stands between us and ourselves.
    let mut builder = Client::builder().redirect(Policy::none());
    if is_here(&place.url) {
        builder = builder.no_proxy();
        if let Some(host) = place.url.host_str().filter(|host| host.ends_with(".localhost")) {
            // This machine, whatever a resolver says (RFC 6761 §6.3).
            builder = builder.resolve(host, ([127, 0, 0, 1], 0).into());
        }
    }
    if let Some(file) = &place.ca {
        let pem = fs::read(file).with_context(|| format!("`{}` cannot be read", file.display()))?;
        let authorities = reqwest::Certificate::from_pem_bundle(&pem);
        builder = builder.tls_certs_only(authorities.with_context(|| format!("`{}` is no PEM", file.display()))?);
    }
    Ok(builder.build()?)
}

/// What `portcullis login` is told.
#[derive(Args, Debug)]
pub struct Login {
    /// File that holds the code of an authenticator, or a recovery code, `-` for the standard input; read once the sign-in asks for it.
    /// Without it, it is asked for at the terminal.
    #[arg(long, value_name = "FILE")]
    code_from: Option<PathBuf>,
    #[command(flatten)]
    connection: Connection,
}

/// What `portcullis logout` is told.
#[derive(Args, Debug)]
pub struct Logout {
    #[command(flatten)]
    connection: Connection,
}

/// Opens a session and keeps it in a context, which is made where it is not there: the one that is named, else the one
/// in use, else `default`.
///
/// # Errors
/// What the control API answers, and of the file of contexts.
pub async fn login(login: Login, clock: &dyn Clock) -> anyhow::Result<String> {
    let Login { code_from, connection: it } = login;
    // Whoever reads it first takes all of it.
    let from_stdin = |file: &Option<PathBuf>| file.as_deref() == Some(Path::new("-"));
    if from_stdin(&code_from) && from_stdin(&it.password_file) {
        return Err(Failure::usage("the standard input holds the password or the code, not both").into());
    }
    let contexts = Contexts::open()?;
    let known = match it.context.as_deref() {
        Some(name) => contexts.named(Some(name)).ok().flatten(),
        None => contexts.named(None)?,
    };
    let context = known.map(|(_, context)| context);
    let place = it.place(context)?;
    let name = it.context.as_deref().or(known.map(|(name, _)| name)).unwrap_or(DEFAULT);
    let username = it.sign_in_as.clone().or_else(|| context?.username.clone()).unwrap_or_else(|| STAFF.into());
    let file = context.and_then(|context| context.password_file.clone());
    let password = match given(it.password_file.as_deref(), "PORTCULLIS_PASSWORD")? {
        Some(password) => password,
        None => read_secret(&file.clone().context("no password: give --password-file, or set PORTCULLIS_PASSWORD")?)?,
    };
    let mut opened = begun(&place, &username, &password).await?;
    if let Some(waits) = opened.second_factor.take() {
        let code = asked_for(&waits, code_from.as_deref())?;
        opened = shown(&place, waits, &code).await?;
    }
    let tokens = opened.tokens(clock)?;
    let ca = place.ca.as_ref().map(std::path::absolute).transpose()?;
    let kept = Context {
        url: place.url.to_string(),
        ca,
        door: place.door,
        username: Some(username.clone()),
        password_file: file,
        tokens: Some(tokens),
    };
    Contexts::change(|contexts| {
        contexts.put(name, kept);
        Ok(())
    })?;
    Ok(format!("`{username}` is signed in at {}; context `{name}` keeps the session", place.url))
}

/// Ends the session that a context keeps, and forgets it.
///
/// # Errors
/// What the control API answers; the tokens are forgotten all the same.
pub async fn logout(logout: Logout, clock: &dyn Clock) -> anyhow::Result<String> {
    let it = logout.connection;
    let contexts = Contexts::open()?;
    let (name, context) = contexts.named(it.context.as_deref())?.context("there is no context")?;
    // Its own place, whatever flags say: a token is shown to nobody else.
    let own = Connection::default().place(Some(context))?;
    let ended = async {
        let session = SignedIn::kept(&own, name, clock).await?;
        let ask = session.ask(Method::POST, &format!("{}/logout", own.door.path()));
        send(ask, "sign-out", None).await.map_err(anyhow::Error::from)
    };
    let ended = ended.await;
    Contexts::change(|contexts| {
        if let Some(context) = contexts.get_mut(name) {
            context.tokens = None;
        }
        Ok(())
    })?;
    ended.map(|_| format!("the session of context `{name}` has ended"))
}
