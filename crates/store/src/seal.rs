//! Secrets at rest: AES-256-GCM under a master key that the database never sees (NIST SP 800-38D).
//!
//! `version 1 ‖ key id (4) ‖ nonce (12) ‖ ciphertext ‖ tag (16)`, bound to where it is stored: a sealed value copied to
//! another row or column does not open. The key id is the beginning of the key's SHA-256, so that a new master key can
//! be put in front of the older ones and rows be sealed anew at leisure.

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    digest, hmac,
    rand::{SecureRandom, SystemRandom},
};
use domain::Secret;

/// Bytes of a master key.
pub const MASTER_KEY_BYTES: usize = 32;

const FORM: u8 = 1;
const KEY_ID_BYTES: usize = 4;
const HEADER_BYTES: usize = 1 + KEY_ID_BYTES + NONCE_LEN;

type KeyName = [u8; KEY_ID_BYTES];

/// Seals and opens secrets.
pub struct Sealer {
    current: (KeyName, LessSafeKey),
    older: Vec<(KeyName, LessSafeKey)>,
    digests: hmac::Key,
    random: SystemRandom,
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sealer").field("current", &self.current.0).finish_non_exhaustive()
    }
}

/// Reads a master key as operators write it: 64 hexadecimal digits and nothing else.
///
/// # Errors
/// [`SealError::MasterKeyForm`].
pub fn read_master_key(text: &Secret<String>) -> Result<Secret<Vec<u8>>, SealError> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let byte = |pair: &[u8]| match pair {
        [high, low] => Some(digit(high)? << 4 | digit(low)?),
        _ => None,
    };
    let bytes: Option<Vec<u8>> = text.expose().as_bytes().chunks(2).map(byte).collect();
    bytes.filter(|bytes| bytes.len() == MASTER_KEY_BYTES).map(Secret::new).ok_or(SealError::MasterKeyForm)
}

/// A new master key, as [`read_master_key`] reads it.
///
/// # Errors
/// [`SealError::Random`].
pub fn new_master_key() -> Result<Secret<String>, SealError> {
    let mut bytes = [0; MASTER_KEY_BYTES];
    SystemRandom::new().fill(&mut bytes).map_err(|_| SealError::Random)?;
    Ok(Secret::new(bytes.iter().map(|byte| format!("{byte:02x}")).collect()))
}

impl Sealer {
    /// Seals with `current`; opens what was sealed with it or any of `older`.
    ///
    /// # Errors
    /// [`SealError::MasterKey`] for a key that is not [`MASTER_KEY_BYTES`] long.
    pub fn new(current: &Secret<Vec<u8>>, older: &[Secret<Vec<u8>>]) -> Result<Self, SealError> {
        let older = older.iter().map(named).collect::<Result<_, _>>()?;
        let derived = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, current.expose()), b"digests");
        let digests = hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref());
        Ok(Self { current: named(current)?, older, digests, random: SystemRandom::new() })
    }

    /// What tells texts of a place apart without saying them, to nobody who has not the master key. Another under another key.
    pub(crate) fn digest(&self, place: &str, text: &[u8]) -> Vec<u8> {
        let mut context = hmac::Context::with_key(&self.digests);
        context.update(place.as_bytes());
        context.update(&[0]);
        context.update(text);
        context.sign().as_ref().to_vec()
    }

    /// Seals `plain` for `place`, such as `certificates.key_enc:{id}`.
    pub(crate) fn seal(&self, place: &str, plain: &[u8]) -> Result<Vec<u8>, SealError> {
        let nonce: [u8; NONCE_LEN] = self.bytes()?;
        let (name, key) = &self.current;
        let mut sealed = Vec::with_capacity(HEADER_BYTES + plain.len() + 16);
        sealed.push(FORM);
        sealed.extend_from_slice(name);
        sealed.extend_from_slice(&nonce);
        let mut body = plain.to_vec();
        key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(place), &mut body)
            .map_err(|_| SealError::Sealing)?;
        sealed.append(&mut body);
        Ok(sealed)
    }

    /// Opens what was sealed for `place`.
    pub(crate) fn open(&self, place: &str, sealed: &[u8]) -> Result<Secret<Vec<u8>>, SealError> {
        let fail = || SealError::Opening { place: place.into() };
        let (form, rest) = sealed.split_first().ok_or_else(fail)?;
        let (name, rest) = rest.split_first_chunk::<KEY_ID_BYTES>().ok_or_else(fail)?;
        let (nonce, body) = rest.split_first_chunk::<NONCE_LEN>().ok_or_else(fail)?;
        if *form != FORM {
            return Err(fail());
        }
        let (_, key) = std::iter::once(&self.current)
            .chain(&self.older)
            .find(|(known, _)| known == name)
            .ok_or_else(|| SealError::UnknownKey { place: place.into() })?;
        let mut body = body.to_vec();
        let plain = key
            .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(place), &mut body)
            .map_err(|_| fail())?
            .to_vec();
        Ok(Secret::new(plain))
    }

    /// The id of the key that seals, as every sealed value carries it after its first byte.
    pub(crate) fn key_id(&self) -> &[u8] {
        &self.current.0
    }

    /// Random bytes, for tags and keys.
    pub(crate) fn bytes<const N: usize>(&self) -> Result<[u8; N], SealError> {
        let mut bytes = [0; N];
        self.random.fill(&mut bytes).map_err(|_| SealError::Random)?;
        Ok(bytes)
    }
}

fn named(key: &Secret<Vec<u8>>) -> Result<(KeyName, LessSafeKey), SealError> {
    let bytes = key.expose();
    let name = digest::digest(&digest::SHA256, bytes).as_ref().first_chunk().copied();
    let unbound = UnboundKey::new(&AES_256_GCM, bytes).map_err(|_| SealError::MasterKey { bytes: bytes.len() })?;
    Ok((name.ok_or(SealError::Sealing)?, LessSafeKey::new(unbound)))
}

/// Why a secret could not be sealed or opened.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SealError {
    /// The master key has the wrong size.
    #[error("a master key has {MASTER_KEY_BYTES} bytes, not {bytes}")]
    MasterKey {
        /// What it has.
        bytes: usize,
    },
    /// The text is no master key.
    #[error("a master key is 64 hexadecimal digits")]
    MasterKeyForm,
    /// Sealed with a master key we were not given.
    #[error("`{place}` was sealed with an unknown master key")]
    UnknownKey {
        /// Where it is stored.
        place: String,
    },
    /// Not what was sealed there.
    #[error("`{place}` does not open: it was changed or moved")]
    Opening {
        /// Where it is stored.
        place: String,
    },
    /// The cipher refused.
    #[error("the secret cannot be sealed")]
    Sealing,
    /// The system has no randomness.
    #[error("no random bytes are to be had")]
    Random,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> Secret<Vec<u8>> {
        Secret::new(vec![byte; MASTER_KEY_BYTES])
    }

    #[test]
    fn a_sealed_secret_opens_only_where_it_was_stored() {
        let sealer = Sealer::new(&key(1), &[]).unwrap();
        let sealed = sealer.seal("a:1", b"secret").unwrap();
        assert!(!sealed.windows(6).any(|w| w == b"secret"));
        assert_eq!(sealer.open("a:1", &sealed).unwrap().expose(), b"secret");
        assert_eq!(sealer.open("a:2", &sealed).unwrap_err(), SealError::Opening { place: "a:2".into() });
        let mut forged = sealed;
        *forged.last_mut().unwrap() ^= 1;
        assert!(sealer.open("a:1", &forged).is_err());
    }

    #[test]
    fn an_older_master_key_still_opens() {
        let sealed = Sealer::new(&key(1), &[]).unwrap().seal("a", b"secret").unwrap();
        let rotated = Sealer::new(&key(2), &[key(1)]).unwrap();
        assert_eq!(rotated.open("a", &sealed).unwrap().expose(), b"secret");
        let lost = Sealer::new(&key(2), &[]).unwrap();
        assert_eq!(lost.open("a", &sealed).unwrap_err(), SealError::UnknownKey { place: "a".into() });
    }

    #[test]
    fn a_master_key_is_64_hexadecimal_digits() {
        let read = |text: &str| read_master_key(&Secret::new(text.into()));
        assert_eq!(read(&"0f".repeat(32)).unwrap().expose(), &vec![15; 32]);
        assert_eq!(read(&"0F".repeat(32)).unwrap().expose(), &vec![15; 32]);
        for wrong in
            ["0f".repeat(31), "zz".repeat(32), "0f".repeat(33), format!("{}f", "0f".repeat(31)), "+f".repeat(32)]
        {
            assert_eq!(read(&wrong).unwrap_err(), SealError::MasterKeyForm, "{wrong}");
        }
        assert!(read(&format!("{}\n", "0f".repeat(32))).is_err());
        let (one, two) = (new_master_key().unwrap(), new_master_key().unwrap());
        assert_ne!(read_master_key(&one).unwrap().expose(), read_master_key(&two).unwrap().expose());
    }

    #[test]
    fn refuses_a_master_key_of_the_wrong_size() {
        let short = Secret::new(vec![0; 16]);
        assert_eq!(Sealer::new(&short, &[]).unwrap_err(), SealError::MasterKey { bytes: 16 });
    }
}
