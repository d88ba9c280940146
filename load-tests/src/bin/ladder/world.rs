//! What all peers are given: certificates, keys, tokens, upstreams.

use std::{fs, net::SocketAddr, path::PathBuf, process::Stdio};

use anyhow::Context as _;
use jsonwebtoken::{Algorithm, EncodingKey, Header, jwk::Jwk};
use load_tests::{process, process::Child, upstream};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, RsaKeySize,
};
use serde_json::{Value, json};

/// The one hostname that is loaded.
pub(crate) const HOST: &str = "acme.example.test";

/// Who issues the tokens, and for whom.
pub(crate) const ISSUER: &str = "https://id.example.test";
pub(crate) const AUDIENCE: &str = "orders";

/// The tenant's id.
pub(crate) const TENANT: &str = "00000000-0000-0000-0000-000000000001";

/// Tokens that are seen again and again, and tokens of which each is new for a long time.
const KEPT: usize = 1_000;
const FRESH: usize = 20_000;

/// A signing key.
pub(crate) struct Key {
    pub(crate) kid: &'static str,
    pub(crate) algorithm: Algorithm,
    private: EncodingKey,
    pub(crate) public_pem: String,
    pub(crate) jwk: Value,
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

    /// A token of a user's, good for an hour from `now`.
    pub(crate) fn token(&self, user: usize, change: impl Fn(&mut Value)) -> anyhow::Result<String> {
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

pub(crate) fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

/// Everything that peers have in common.
pub(crate) struct World {
    folder: tempfile::TempDir,
    pub(crate) ca_pem: String,
    pub(crate) es256: Key,
    pub(crate) rs256: Key,
    /// Answers at once, with two bytes.
    pub(crate) fast: SocketAddr,
    /// Answers with what reached it, on `/echo`.
    pub(crate) echo: SocketAddr,
    _fast: Child,
    _echo: tokio::task::JoinHandle<()>,
}

impl World {
    pub(crate) async fn build(cores: &str) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
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
        let fast = process::free_address()?;
        let (echo, serving) = upstream::start().await?;
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text);
        write("edge.crt", &leaf.pem())?;
        write("edge.key", &key.serialize_pem())?;
        write("edge.pem", &format!("{}{}", leaf.pem(), key.serialize_pem()))?;
        write("jwks.json", &json!({ "keys": [es256.jwk, rs256.jwk] }).to_string())?;
        write("es256.pub", &es256.public_pem)?;
        write("rs256.pub", &rs256.public_pem)?;
        write("hosts", &format!("127.0.0.1 {HOST}\n"))?;
        write("upstream.conf", &fast_upstream(fast))?;
        for (key, name) in [(&es256, "es256"), (&rs256, "rs256")] {
            let tokens = |count: usize, from: usize| {
                (from..from + count).map(|user| key.token(user, |_| ())).collect::<anyhow::Result<Vec<_>>>()
            };
            write(&format!("{name}.kept"), &(tokens(KEPT, 0)?.join("\n") + "\n"))?;
            write(&format!("{name}.fresh"), &(tokens(FRESH, KEPT)?.join("\n") + "\n"))?;
        }
        let path = folder.path().join("upstream.conf");
        let mut command = std::process::Command::new("taskset");
        command.args(["-c", cores, "nginx", "-p"]).arg(folder.path()).arg("-c").arg(path).stderr(Stdio::null());
        let started = Child::start(command.stdout(Stdio::null())).context("nginx, as the upstream")?;
        Ok(Self { ca_pem: ca.pem(), es256, rs256, fast, echo, _fast: started, _echo: serving, folder })
    }

    /// A file of this run's folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The path of a file, for configurations.
    pub(crate) fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> anyhow::Result<String> {
        fs::write(self.path(name), text)?;
        Ok(self.text(name))
    }
}

fn fast_upstream(address: SocketAddr) -> String {
    format!(
        "daemon off;\nworker_processes 1;\npid upstream.pid;\nerror_log /dev/null;\n\
         events {{ worker_connections 8192; }}\n\
         http {{ access_log off; keepalive_requests 100000000; keepalive_timeout 1h;\n\
         server {{ listen {address}; default_type text/plain; location / {{ return 200 \"ok\"; }} }} }}\n"
    )
}
