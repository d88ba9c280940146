//! How deliveries are signed: Standard Webhooks 1.0, symmetric.
//!
//! ```text
//! webhook-id: 0190…                  the event's id, however often it is sent
//! webhook-timestamp: 1900000000      of this attempt, in seconds
//! webhook-signature: v1,base64…      HMAC-SHA256 of `{id}.{timestamp}.{body}`; two while the secret is being rotated
//! ```

use aws_lc_rs::{
    hmac,
    rand::{SecureRandom, SystemRandom},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use domain::{Secret, Timestamp};

use crate::error::AppError;

/// What a secret's text begins with.
pub const PREFIX: &str = "whsec_";

/// Bytes of a secret.
const SECRET_BYTES: usize = 32;

/// A new secret.
///
/// # Errors
/// [`AppError::Internal`] when there is no randomness.
pub fn new_secret() -> Result<Secret<Vec<u8>>, AppError> {
    let mut bytes = vec![0; SECRET_BYTES];
    SystemRandom::new().fill(&mut bytes).map_err(|_| AppError::internal("no random bytes", "none are to be had"))?;
    Ok(Secret::new(bytes))
}

/// A secret as receivers are given it.
pub fn shown(secret: &Secret<Vec<u8>>) -> Secret<String> {
    Secret::new(format!("{PREFIX}{}", STANDARD.encode(secret.expose())))
}

/// The value of `webhook-signature`: one signature for each secret.
pub fn signature(secrets: &[Secret<Vec<u8>>], id: &str, at: Timestamp, body: &[u8]) -> String {
    let one = |secret: &Secret<Vec<u8>>| {
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, secret.expose()));
        context.update(format!("{id}.{}.", at.secs()).as_bytes());
        context.update(body);
        format!("v1,{}", STANDARD.encode(context.sign().as_ref()))
    };
    secrets.iter().map(one).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vector that the Standard Webhooks libraries share.
    #[test]
    fn signs_as_the_libraries_of_standard_webhooks_do() {
        let secret = Secret::new(STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap());
        let at = Timestamp::from_secs(1_614_265_330);
        let signed = signature(&[secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", at, br#"{"test": 2432232314}"#);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn while_a_secret_is_rotated_both_sign() {
        let (new, old) = (Secret::new(vec![1; 32]), Secret::new(vec![2; 32]));
        let at = Timestamp::from_secs(1);
        let one = |secret: &Secret<Vec<u8>>| signature(std::slice::from_ref(secret), "a", at, b"{}");
        let both = signature(&[new.clone(), old.clone()], "a", at, b"{}");
        assert_eq!(both, format!("{} {}", one(&new), one(&old)));
        assert!(shown(&new).expose().starts_with("whsec_"));
    }
}
