//! Time-based one-time passwords (RFC 6238): SHA-1, six digits, 30 s, as authenticators have them.

use domain::{Secret, Timestamp};
use qrcode::{EcLevel, QrCode, render::svg};
use subtle::ConstantTimeEq as _;
use totp_rs::{Builder, Totp};

use crate::error::AppError;

/// A time step, in seconds (RFC 6238 §5.2).
const STEP_SECS: i64 = 30;

/// Longest name in an authenticator, in characters: the rest would not fit a QR code.
const MAX_LABEL: usize = 64;

/// Width of a QR code, in pixels, at least.
const QR_PIXELS: u32 = 200;

/// The codes that a secret makes.
pub struct Codes(Totp);

impl Codes {
    /// Of a secret of 16 bytes or more.
    ///
    /// # Errors
    /// [`AppError::Internal`] for a shorter one.
    pub fn of(secret: &Secret<Vec<u8>>) -> Result<Self, AppError> {
        let totp = Builder::new().with_secret(secret.expose().as_slice()).build();
        totp.map(Self).map_err(|error| AppError::internal("codes cannot be made", error.to_string()))
    }

    /// The time step whose code this is, if it is one of now or up to `window` beside. Every candidate is compared, in
    /// constant time.
    pub fn step_of(&self, shown: &str, now: Timestamp, window: u8) -> Option<i64> {
        let (current, window) = (now.secs() / STEP_SECS, i64::from(window));
        let mut found = None;
        for step in current - window..=current + window {
            let code = Secret::new(self.code(step)?);
            if bool::from(code.expose().as_bytes().ct_eq(shown.as_bytes())) {
                found = Some(step);
            }
        }
        found
    }

    /// The code of a time step; none before 1970.
    pub fn code(&self, step: i64) -> Option<String> {
        let at = u64::try_from(step.checked_mul(STEP_SECS)?).ok()?;
        Some(self.0.generate(at).to_string())
    }

    /// What an authenticator reads off a screen: the secret with whose it is, for whom.
    pub fn url(&self, issuer: &str, account: &str) -> Secret<String> {
        // A colon parts the two, and a strange one would move the border.
        let label = |text: &str| {
            let cut: String = text.chars().take(MAX_LABEL).map(|c| if c == ':' { ' ' } else { c }).collect();
            percent_encode(&cut)
        };
        let (issuer, account) = (label(issuer), label(account));
        let secret = self.base32();
        let secret = secret.expose();
        Secret::new(format!(
            "otpauth://totp/{issuer}:{account}?secret={secret}&issuer={issuer}&algorithm=SHA1&digits=6&period=30"
        ))
    }

    /// The secret as authenticators take it (base32, RFC 4648 §6).
    pub fn base32(&self) -> Secret<String> {
        Secret::new(self.0.secret().to_base32())
    }
}

/// A text as the image of a QR code, in SVG.
///
/// # Errors
/// [`AppError::Internal`] for one that is too long.
pub fn qr_code(text: &Secret<String>) -> Result<Secret<String>, AppError> {
    let code = QrCode::with_error_correction_level(text.expose(), EcLevel::M);
    let code = code.map_err(|error| AppError::internal("a QR code cannot be made", error))?;
    Ok(Secret::new(code.render::<svg::Color<'_>>().min_dimensions(QR_PIXELS, QR_PIXELS).build()))
}

/// Percent-encodes UTF-8 so that only unreserved characters stand for themselves (RFC 3986 §2.1).
fn percent_encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes() -> Codes {
        Codes::of(&Secret::new(b"12345678901234567890".to_vec())).unwrap()
    }

    /// RFC 6238 appendix B; of its eight digits the last six.
    #[test]
    fn codes_are_those_of_the_rfc() {
        for (secs, code) in
            [(59, "287082"), (1_111_111_109, "081804"), (1_111_111_111, "050471"), (1_234_567_890, "005924")]
        {
            assert_eq!(codes().code(secs / STEP_SECS).unwrap(), code, "{secs}");
        }
    }

    #[test]
    fn a_code_is_good_for_its_step_and_the_ones_beside() {
        let (codes, step) = (codes(), 1_234_567_890 / STEP_SECS);
        let code = codes.code(step).unwrap();
        let at = |steps: i64| codes.step_of(&code, Timestamp::from_secs((step + steps) * STEP_SECS), 1);
        assert_eq!([at(-2), at(-1), at(0), at(1), at(2)], [None, Some(step), Some(step), Some(step), None]);
        for wrong in ["", "00592", "0059244", "005925", "ABCDEF"] {
            assert_eq!(codes.step_of(wrong, Timestamp::from_secs(step * STEP_SECS), 1), None, "{wrong}");
        }
    }

    #[test]
    fn a_secret_reads_in_base32() {
        assert_eq!(codes().base32().expose(), "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
        assert!(Codes::of(&Secret::new(vec![1; 9])).is_err());
    }
    #[test]
    fn an_authenticator_reads_whose_a_secret_is_and_for_whom() {
        let url = codes().url("Acme & Söhne: x", "ann@acme.example");
        assert_eq!(
            url.expose(),
            "otpauth://totp/Acme%20%26%20S%C3%B6hne%20%20x:ann%40acme.example?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ\
             &issuer=Acme%20%26%20S%C3%B6hne%20%20x&algorithm=SHA1&digits=6&period=30"
        );
        let image = qr_code(&url).unwrap();
        assert!(image.expose().contains("<svg") && !image.expose().contains("GEZDGNBV"));
        assert!(qr_code(&Secret::new("x".repeat(5000))).is_err());
        let longest = codes().url(&"語".repeat(128), &"語".repeat(254));
        assert!(qr_code(&longest).is_ok(), "{} bytes", longest.expose().len());
    }
}
