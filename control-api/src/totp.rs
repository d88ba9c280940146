//! Time-based one-time passwords (RFC 6238): SHA-1, six digits, 30 s, as authenticators have them, one step to either side.

use domain::{Secret, Timestamp};
use subtle::ConstantTimeEq as _;
use totp_rs::{Builder, Totp};

use crate::error::AppError;

/// A time step, in seconds (RFC 6238 §5.2).
const STEP_SECS: i64 = 30;

/// How many steps a code may be early or late: what clocks differ, and the time it takes to type.
const WINDOW: i64 = 1;

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

    /// The time step whose code this is, if it is one of now or beside. Every candidate is compared, in constant time.
    pub fn step_of(&self, shown: &str, now: Timestamp) -> Option<i64> {
        let current = now.secs() / STEP_SECS;
        let mut found = None;
        for step in current - WINDOW..=current + WINDOW {
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

    /// The secret as authenticators take it (base32, RFC 4648 §6).
    pub fn base32(&self) -> Secret<String> {
        Secret::new(self.0.secret().to_base32())
    }
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
        let at = |steps: i64| codes.step_of(&code, Timestamp::from_secs((step + steps) * STEP_SECS));
        assert_eq!([at(-2), at(-1), at(0), at(1), at(2)], [None, Some(step), Some(step), Some(step), None]);
        for wrong in ["", "00592", "0059244", "005925", "ABCDEF"] {
            assert_eq!(codes.step_of(wrong, Timestamp::from_secs(step * STEP_SECS)), None, "{wrong}");
        }
    }

    #[test]
    fn a_secret_reads_in_base32() {
        assert_eq!(codes().base32().expose(), "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
        assert!(Codes::of(&Secret::new(vec![1; 9])).is_err());
    }
}
