//! What every program that is measured in front of an upstream is given: certificates, keys, tokens, configurations.

use std::{fs, net::SocketAddr, ops::Range, path::PathBuf};

use anyhow::{Context as _, bail};
use jsonwebtoken::{Algorithm, EncodingKey, Header, jwk::Jwk};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, RsaKeySize,
};
use serde_json::{Value, json};

use crate::upstream;

/// The one hostname that is loaded.
pub const HOST: &str = "acme.example.test";

/// The hostname of a demo's tenant, at a node.
pub const DEMO: &str = "acme.localhost";

/// Who issues the tokens.
pub const ISSUER: &str = "https://id.example.test";
/// For whom.
pub const AUDIENCE: &str = "orders";

/// The tenant's id.
pub const TENANT: &str = "00000000-0000-0000-0000-000000000001";

/// Tokens that are seen again and again, and tokens of which each is new for a long time.
const KEPT: usize = 1_000;
const FRESH: usize = 20_000;

/// A signing key.
pub struct Key {
    kid: &'static str,
    /// What it signs with.
    pub algorithm: Algorithm,
    private: EncodingKey,
    public_pem: String,
    /// Its public half.
    pub jwk: Value,
}

impl Key {
    fn new(kid: &'static str, algorithm: Algorithm, pair: &KeyPair) -> anyhow::Result<Self> {
        let pem = pair.serialize_pem();
        let private = match algorithm {
            Algorithm::RS256 => EncodingKey::from_rsa_pem(pem.as_bytes())?,
            _ => EncodingKey::from_ec_pem(pem.as_bytes())?,
        };
        let mut jwk = serde_json::to_value(Jwk::from_encoding_key(&private, algorithm)?)?;
        jwk["kid"] = json!(kid);
        jwk["use"] = json!("sig");
        jwk["alg"] = json!(algorithm);
        Ok(Self { kid, algorithm, private, public_pem: pair.public_key_pem(), jwk })
    }

    /// A token of a user's, good for an hour from now.
    ///
    /// # Errors
    /// It cannot be signed.
    pub fn token(&self, user: usize, change: impl Fn(&mut Value)) -> anyhow::Result<String> {
        let now = now();
        let mut claims = json!({
            "iss": ISSUER, "aud": AUDIENCE, "sub": format!("user-{user:06}"), "tid": "acme", "roles": ["member"],
            "iat": now, "nbf": now, "exp": now + 3600, "jti": format!("{user:032x}"),
        });
        change(&mut claims);
        let header = Header { kid: Some(self.kid.into()), ..Header::new(self.algorithm) };
        Ok(jsonwebtoken::encode(&header, &claims, &self.private)?)
    }
}

/// Seconds since 1970.
pub fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

/// Everything that peers have in common.
pub struct World {
    folder: tempfile::TempDir,
    /// Apart from what a gateway reads again whenever something changes beside it.
    logs: tempfile::TempDir,
    /// Who signs the hostnames' certificates.
    ca: CertifiedIssuer<'static, KeyPair>,
    /// A key of the issuer's.
    pub es256: Key,
    /// Another one.
    pub rs256: Key,
    /// Answers at once, with two bytes.
    pub fast: SocketAddr,
    /// Answers with what reached it, on `/echo`.
    pub echo: SocketAddr,
    _echo: tokio::task::JoinHandle<()>,
}

impl World {
    /// One whose upstream that answers at once is to be started there.
    ///
    /// # Errors
    /// A file cannot be written, a port not be bound.
    pub async fn build(fast: SocketAddr) -> anyhow::Result<Self> {
        let (folder, logs) = (tempfile::tempdir()?, tempfile::tempdir()?);
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new([HOST.to_owned()])?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let leaf = params.signed_by(&key, &ca)?;
        let es256 = Key::new("es256", Algorithm::ES256, &KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?)?;
        let rsa = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)?;
        let rs256 = Key::new("rs256", Algorithm::RS256, &rsa)?;
        let (echo, serving) = upstream::start().await?;
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text);
        write("edge.crt", &leaf.pem())?;
        write("edge.key", &key.serialize_pem())?;
        write("edge.pem", &format!("{}{}", leaf.pem(), key.serialize_pem()))?;
        write("jwks.json", &json!({ "keys": [es256.jwk, rs256.jwk] }).to_string())?;
        write("es256.pub", &es256.public_pem)?;
        write("rs256.pub", &rs256.public_pem)?;
        write("hosts", &format!("127.0.0.1 {HOST} {DEMO}\n"))?;
        Ok(Self { ca, es256, rs256, fast, echo, _echo: serving, folder, logs })
    }

    /// Who signs the hostnames' certificates.
    pub const fn ca(&self) -> &CertifiedIssuer<'static, KeyPair> {
        &self.ca
    }

    /// The path of a file of tokens or API keys, one a line. Tokens are signed when they are asked for first: `es256.kept`, `rs256.kept` are
    /// some that are seen again and again, `es256.fresh`, `rs256.fresh` many of which each is new for a long time,
    /// `es256.expired` and `es256.elsewhere` one that is refused. Others are what was written.
    ///
    /// # Errors
    /// One cannot be signed or written, or there is no such file.
    pub fn credentials(&self, name: &str) -> anyhow::Result<PathBuf> {
        let path = self.path(name);
        if path.exists() {
            return Ok(path);
        }
        let (key, kind) = name.split_once('.').context("credentials are named `KEY.KIND`")?;
        let key = if key == "rs256" { &self.rs256 } else { &self.es256 };
        let several = |users: Range<usize>| users.map(|user| key.token(user, |_| ())).collect::<anyhow::Result<_>>();
        let tokens: Vec<String> = match kind {
            "kept" => several(0..KEPT)?,
            "fresh" => several(KEPT..KEPT + FRESH)?,
            "expired" => vec![key.token(0, |claims| claims["exp"] = json!(now() - 3600))?],
            "elsewhere" => vec![key.token(0, |claims| claims["iss"] = json!("https://elsewhere.example.test"))?],
            _ => bail!("there are no credentials {name}"),
        };
        self.write(name, &(tokens.join("\n") + "\n"))?;
        Ok(path)
    }

    /// A file of this run's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Where a program's log goes, or anything else that is written while it runs.
    pub fn log(&self, name: &str) -> PathBuf {
        self.logs.path().join(name)
    }

    /// The path of a file, for configurations.
    pub fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// Writes a file into this run's folder, and says where that is.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, name: &str, text: &str) -> anyhow::Result<String> {
        fs::write(self.path(name), text)?;
        Ok(self.text(name))
    }
}
