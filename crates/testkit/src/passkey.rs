//! An authenticator in software (WebAuthn Level 2 §6): what a browser would answer to `navigator.credentials.create()` and
//! `get()`, honest or not.

use aws_lc_rs::{
    digest,
    rand::{SecureRandom, SystemRandom},
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

/// User present, user verified, may be backed up, is backed up, holds a new credential (§6.1).
const FLAGS: [u8; 5] = [0x01, 0x04, 0x08, 0x10, 0x40];

/// An authenticator with at most one passkey.
pub struct SoftPasskey {
    key: EcdsaKeyPair,
    id: Vec<u8>,
    user: Vec<u8>,
    rp_id: String,
    /// Where its browser is.
    pub origin: String,
    /// How often it signed; 0 for one that does not count.
    pub count: u32,
    /// Whether it knows its user.
    pub verifies: bool,
    /// Whether its passkey may be backed up.
    pub backup_eligible: bool,
    /// Whether it is.
    pub backed_up: bool,
}

impl SoftPasskey {
    /// In a browser at `origin`, such as `https://acme.localhost`.
    ///
    /// # Panics
    /// Without randomness.
    pub fn new(origin: &str) -> Self {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).unwrap();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8.as_ref()).unwrap();
        let mut id = vec![0; 32];
        random.fill(&mut id).unwrap();
        Self {
            key,
            id,
            user: Vec::new(),
            rp_id: String::new(),
            origin: origin.into(),
            count: 1,
            verifies: true,
            backup_eligible: false,
            backed_up: false,
        }
    }

    /// Makes a passkey as `options` ask (`publicKey` of `create()`); answers what `toJSON()` has.
    ///
    /// # Panics
    /// For options that are none.
    pub fn create(&mut self, options: &Value) -> Value {
        self.rp_id = options["rp"]["id"].as_str().unwrap().to_owned();
        self.user = bytes(&options["user"]["id"]);
        let client = self.client_data("webauthn.create", options);
        let mut data = self.authenticator_data(true);
        data.extend([0; 16]);
        data.extend(u16::try_from(self.id.len()).unwrap().to_be_bytes());
        data.extend(&self.id);
        data.extend(self.cose_key());
        // {"fmt": "none", "attStmt": {}, "authData": bytes} (RFC 8949)
        let mut object = vec![0xa3];
        object.extend(b"\x63fmt\x64none");
        object.extend(b"\x67attStmt\xa0");
        object.extend(b"\x68authData");
        object.extend(cbor_bytes(&data));
        json!({
            "id": text(&self.id), "rawId": text(&self.id), "type": "public-key",
            "response": { "clientDataJSON": text(&client), "attestationObject": text(&object), "transports": ["internal"] },
            "clientExtensionResults": {},
        })
    }

    /// Signs what `options` ask (`publicKey` of `get()`); answers what `toJSON()` has.
    ///
    /// # Panics
    /// Without a passkey, or for options that are none.
    pub fn get(&mut self, options: &Value) -> Value {
        if self.count > 0 {
            self.count += 1;
        }
        let client = self.client_data("webauthn.get", options);
        let data = self.authenticator_data(false);
        let mut signed = data.clone();
        signed.extend(digest::digest(&digest::SHA256, &client).as_ref());
        let signature = self.key.sign(&SystemRandom::new(), &signed).unwrap();
        json!({
            "id": text(&self.id), "rawId": text(&self.id), "type": "public-key",
            "response": {
                "clientDataJSON": text(&client), "authenticatorData": text(&data),
                "signature": text(signature.as_ref()), "userHandle": text(&self.user),
            },
            "clientExtensionResults": {},
        })
    }

    /// Says that it is somebody else's.
    pub fn claim_to_be_of(&mut self, user: &[u8]) {
        self.user = user.to_vec();
    }

    fn client_data(&self, kind: &str, options: &Value) -> Vec<u8> {
        let challenge = options["challenge"].as_str().unwrap();
        json!({ "type": kind, "challenge": challenge, "origin": self.origin, "crossOrigin": false }).to_string().into()
    }

    fn authenticator_data(&self, made: bool) -> Vec<u8> {
        let set = [true, self.verifies, self.backup_eligible, self.backed_up, made];
        let flags = FLAGS.iter().zip(set).filter(|(_, set)| *set).fold(0, |flags, (flag, _)| flags | flag);
        let mut data = digest::digest(&digest::SHA256, self.rp_id.as_bytes()).as_ref().to_vec();
        data.push(flags);
        data.extend(self.count.to_be_bytes());
        data
    }

    /// Its public key: {1: 2 (EC2), 3: -7 (ES256), -1: 1 (P-256), -2: x, -3: y} (RFC 9053 §7.1.1).
    fn cose_key(&self) -> Vec<u8> {
        let point = self.key.public_key().as_ref();
        let mut key = vec![0xa5, 0x01, 0x02, 0x03, 0x26, 0x20, 0x01, 0x21];
        key.extend(cbor_bytes(&point[1..33]));
        key.push(0x22);
        key.extend(cbor_bytes(&point[33..65]));
        key
    }
}

fn text(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn bytes(value: &Value) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(value.as_str().unwrap()).unwrap()
}

/// A byte string (RFC 8949 §3.1), shorter than 64 KiB.
fn cbor_bytes(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).unwrap();
    let mut text = match u8::try_from(length) {
        Ok(length @ ..24) => vec![0x40 | length],
        Ok(length) => vec![0x58, length],
        Err(_) => [&[0x59][..], &length.to_be_bytes()].concat(),
    };
    text.extend(bytes);
    text
}
