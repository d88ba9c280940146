//! The loads, by generators that nobody here wrote: wrk over HTTP/1.1, h2load over HTTP/2.

use std::{process::Command, time::Duration};

use anyhow::{Context as _, ensure};
use load_tests::{job::KEPT, world::World};

use crate::peers::{Peer, Running};

/// What is asked, and over what.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum Load {
    /// HTTP/1.1, 1,000 tokens in turn, ES256.
    KeptEs256,
    /// The same, RS256.
    KeptRs256,
    /// HTTP/2, one token.
    Http2,
    /// 20,000 tokens in turn, ES256: as if each were new to a smaller cache.
    FreshEs256,
    /// The same, RS256.
    FreshRs256,
    /// A connection for each request.
    Connections,
    /// No token.
    NoToken,
    /// A token that has expired.
    Expired,
    /// A token of an issuer that nobody knows.
    Elsewhere,
    /// A signature that does not hold.
    BadSignature,
}

/// What came of a run.
pub(crate) struct Outcome {
    pub(crate) requests: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
}

/// Requests over HTTP/1.1 as wrk sends them.
#[derive(Clone, Copy)]
pub(crate) struct Requests<'a> {
    /// A file of tokens or API keys, which are sent in turn.
    pub(crate) credentials: &'a str,
    /// What becomes of each before it is sent, in Lua.
    change: &'a str,
    /// Whether each is the only one of its connection.
    close: bool,
    /// Whether every answer must be a refusal, instead of none.
    refused: bool,
}

impl<'a> Requests<'a> {
    /// Good ones.
    pub(crate) const fn good(credentials: &'a str) -> Self {
        Self { credentials, change: AS_IT_IS, close: false, refused: false }
    }

    /// Runs for a time. Every answer must be 2xx, or none may be.
    pub(crate) fn run(self, world: &World, peer: &Running, cores: &str, lasting: Duration) -> anyhow::Result<Outcome> {
        let text = self.wrk(world, peer, cores, lasting)?;
        self.read_wrk(&text).with_context(|| format!("{} answered:\n{text}", peer.title))
    }

    fn wrk(self, world: &World, peer: &Running, cores: &str, lasting: Duration) -> anyhow::Result<String> {
        let Self { credentials, change, close, .. } = self;
        let (close, host, path) = (if close { "Connection: close\\r\\n" } else { "" }, &peer.host, peer.path);
        let script = format!(
            "local requests, n = {{}}, 0\n\
             function init()\n  for token in io.lines(\"{}\") do\n    \
             requests[#requests + 1] = \"GET {path} HTTP/1.1\\r\\nHost: {host}\\r\\n{close}\" .. {change} .. \"\\r\\n\"\n  end\nend\n\
             function request()\n  n = n % #requests + 1\n  return requests[n]\nend\n",
            world.credentials(credentials)?.display()
        );
        let place = world.log("load.lua");
        std::fs::write(&place, script)?;
        let mut command = generator(world, cores, "wrk");
        command.args(["-t", "1", "-c", "64", "-d", &format!("{}s", lasting.as_secs()), "--latency", "-s"]).arg(place);
        output(command.arg(format!("https://{host}:{}{path}", peer.address.port())))
    }

    fn read_wrk(self, text: &str) -> anyhow::Result<Outcome> {
        let requests = before(text, " requests in ").context("no count of requests")?;
        let refused = after(text, "Non-2xx or 3xx responses: ").unwrap_or(0.0);
        if self.refused {
            ensure!((refused - requests).abs() < 0.5, "answers that should be refusals were none");
        } else {
            ensure!(refused == 0.0, "answers were refusals");
        }
        Ok(Outcome {
            requests,
            p50_us: percentile(text, "50%").context("no p50")?,
            p99_us: percentile(text, "99%").context("no p99")?,
        })
    }
}

/// The field that is made of a credential, in Lua.
const AS_IT_IS: &str = "\"Authorization: Bearer \" .. token .. \"\\r\\n\"";

/// The same with another signature: the last character of 86 carries two bits only; the one before it carries six.
const FORGED: &str = "\"Authorization: Bearer \" .. token:sub(1, -3) .. (token:sub(-2, -2) == \"A\" and \"B\" or \"A\") .. \
    token:sub(-1) .. \"\\r\\n\"";

/// None at all, in Lua.
const NOTHING: &str = "\"\"";

impl Load {
    pub(crate) const ALL: [Self; 10] = [
        Self::KeptEs256,
        Self::KeptRs256,
        Self::Http2,
        Self::FreshEs256,
        Self::FreshRs256,
        Self::Connections,
        Self::NoToken,
        Self::Expired,
        Self::Elsewhere,
        Self::BadSignature,
    ];

    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::KeptEs256 => "tokens seen before, HTTP/1.1, ES256",
            Self::KeptRs256 => "tokens seen before, HTTP/1.1, RS256",
            Self::Http2 => "a token seen before, HTTP/2, ES256",
            Self::FreshEs256 => "20,000 tokens in turn, HTTP/1.1, ES256",
            Self::FreshRs256 => "20,000 tokens in turn, HTTP/1.1, RS256",
            Self::Connections => "a new TLS connection for each request, ES256",
            Self::NoToken => "refused: no token",
            Self::Expired => "refused: an expired token",
            Self::Elsewhere => "refused: a token of an unknown issuer",
            Self::BadSignature => "refused: a signature that does not hold, ES256",
        }
    }

    /// Whether a peer can be asked so: who checks nothing refuses nothing.
    pub(crate) const fn suits(self, peer: Peer) -> bool {
        peer.checks() || !self.is_refused()
    }

    const fn is_refused(self) -> bool {
        matches!(self, Self::NoToken | Self::Expired | Self::Elsewhere | Self::BadSignature)
    }

    /// Runs for a time. Every answer must be 2xx, or none may be.
    pub(crate) fn run(self, world: &World, peer: &Running, cores: &str, lasting: Duration) -> anyhow::Result<Outcome> {
        if self == Self::Http2 {
            let text = h2load(world, peer, cores, lasting)?;
            return read_h2load(&text).with_context(|| format!("{} answered:\n{text}", peer.title));
        }
        let credentials = match self {
            Self::KeptRs256 => "rs256.kept",
            Self::FreshEs256 => "es256.fresh",
            Self::FreshRs256 => "rs256.fresh",
            Self::Expired => "es256.expired",
            Self::Elsewhere => "es256.elsewhere",
            _ => KEPT,
        };
        let change = match self {
            Self::NoToken => NOTHING,
            Self::BadSignature => FORGED,
            _ => AS_IT_IS,
        };
        let (close, refused) = (self == Self::Connections, self.is_refused());
        Requests { credentials, change, close, refused }.run(world, peer, cores, lasting)
    }
}

fn h2load(world: &World, peer: &Running, cores: &str, lasting: Duration) -> anyhow::Result<String> {
    let tokens = std::fs::read_to_string(world.credentials(KEPT)?)?;
    let token = tokens.lines().next().context("no token")?;
    let mut command = generator(world, cores, "h2load");
    command.args(["-t", "1", "-c", "8", "-m", "16", "-D", &lasting.as_secs().to_string()]);
    command.args(["-H", &format!("authorization: Bearer {token}")]);
    output(command.arg(format!("https://{}:{}{}", peer.host, peer.address.port(), peer.path)))
}

fn read_h2load(text: &str) -> anyhow::Result<Outcome> {
    let requests = before(text, " done, ").context("no count of requests")?;
    // Of answers whose end it did not wait for it counts the status, too.
    let good = after(text, "status codes: ").context("no status codes")?;
    ensure!(good >= requests && text.contains(" 2xx, 0 3xx, 0 4xx, 0 5xx"), "answers were refusals");
    // h2load gives the mean, and no percentiles.
    let line = text.lines().find(|line| line.starts_with("time for request:")).context("no times")?;
    let mean = line.split_whitespace().nth(5).and_then(microseconds).context("no mean")?;
    Ok(Outcome { requests, p50_us: mean, p99_us: f64::NAN })
}

/// A generator on its cores that finds the hostname at this machine.
fn generator(world: &World, cores: &str, program: &str) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", cores, program]);
    let wrapper = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib"]
        .map(|folder| format!("{folder}/libnss_wrapper.so"))
        .into_iter()
        .find(|path| std::path::Path::new(path).exists());
    if let Some(wrapper) = wrapper {
        command.env("LD_PRELOAD", wrapper).env("NSS_WRAPPER_HOSTS", world.path("hosts"));
    }
    command
}

fn output(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    Ok(text)
}

/// The number that stands before a text.
fn before(text: &str, mark: &str) -> Option<f64> {
    text.split_once(mark)?.0.rsplit([' ', '\n']).next()?.parse().ok()
}

/// The number that stands after a text.
fn after(text: &str, mark: &str) -> Option<f64> {
    text.split_once(mark)?.1.split([' ', '\n']).next()?.parse().ok()
}

fn percentile(text: &str, name: &str) -> Option<f64> {
    let line = text.lines().map(str::trim).find(|line| line.starts_with(name))?;
    microseconds(line.split_whitespace().nth(1)?)
}

/// A time as the generators write it, such as `1.52ms`.
fn microseconds(text: &str) -> Option<f64> {
    let (number, factor) = if let Some(number) = text.strip_suffix("us") {
        (number, 1.0)
    } else if let Some(number) = text.strip_suffix("ms") {
        (number, 1e3)
    } else {
        (text.strip_suffix('s')?, 1e6)
    };
    Some(number.parse::<f64>().ok()? * factor)
}
