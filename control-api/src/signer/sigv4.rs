//! AWS Signature Version 4 of one kind of request: a POST of JSON to `/`.
//!
//! Everything a request says is in its signature: method, path, headers, body, time, region and service. This is the whole
//! of it for requests without a query; the crates that do it bring a runtime of their own and a second set of hashes.

use aws_lc_rs::{digest, hmac};
use domain::{Secret, Timestamp};

/// Who asks.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// Names the key.
    pub access_key_id: String,
    /// The key.
    pub secret_access_key: Secret<String>,
    /// With temporary credentials.
    pub session_token: Option<Secret<String>>,
}

/// Where and of whom something is asked.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// Such as `eu-central-1`.
    pub region: &'a str,
    /// Such as `kms`.
    pub service: &'a str,
}

/// A request to be signed. Header names are lower-case and come in alphabetical order, `host` and `x-amz-date` among them.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Such as `POST`.
    pub method: &'a str,
    /// Such as `/`.
    pub path: &'a str,
    /// The canonical query; empty for none.
    pub query: &'a str,
    /// Headers that are signed.
    pub headers: &'a [(&'a str, &'a str)],
    /// The body.
    pub body: &'a [u8],
}

/// An instant as SigV4 writes it: `20150830T123600Z`.
pub fn instant(at: Timestamp) -> String {
    Timestamp::from_secs(at.secs())
        .to_string()
        .chars()
        .take(19)
        .filter(|c| !matches!(c, '-' | ':'))
        .chain(['Z'])
        .collect()
}

/// The `Authorization` header of a request made at `at` ([`instant`]).
pub fn authorization(request: &Request<'_>, at: &str, scope: Scope<'_>, credentials: &Credentials) -> String {
    let headers: String = request.headers.iter().map(|(name, value)| format!("{name}:{}\n", value.trim())).collect();
    let names = request.headers.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
    let canonical = format!(
        "{}\n{}\n{}\n{headers}\n{names}\n{}",
        request.method,
        request.path,
        request.query,
        hex(digest::digest(&digest::SHA256, request.body).as_ref())
    );
    let day: String = at.chars().take(8).collect();
    let place = format!("{day}/{}/{}/aws4_request", scope.region, scope.service);
    let canonical = hex(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref());
    let to_sign = format!("AWS4-HMAC-SHA256\n{at}\n{place}\n{canonical}");
    let first = Secret::new(format!("AWS4{}", credentials.secret_access_key.expose()));
    let key = [day.as_str(), scope.region, scope.service, "aws4_request"]
        .iter()
        .fold(first.expose().as_bytes().to_vec(), |key, part| mac(&key, part.as_bytes()));
    let signature = hex(&mac(&key, to_sign.as_bytes()));
    let id = &credentials.access_key_id;
    format!("AWS4-HMAC-SHA256 Credential={id}/{place}, SignedHeaders={names}, Signature={signature}")
}

fn mac(key: &[u8], message: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message).as_ref().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The worked example of AWS's documentation of Signature Version 4.
    #[test]
    fn signs_the_documented_example() {
        let request = Request {
            method: "GET",
            path: "/",
            query: "Action=ListUsers&Version=2010-05-08",
            headers: &[
                ("content-type", "application/x-www-form-urlencoded; charset=utf-8"),
                ("host", "iam.amazonaws.com"),
                ("x-amz-date", "20150830T123600Z"),
            ],
            body: b"",
        };
        let credentials = Credentials {
            access_key_id: "AKIDEXAMPLE".into(),
            secret_access_key: Secret::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".into()),
            session_token: None,
        };
        let scope = Scope { region: "us-east-1", service: "iam" };
        assert_eq!(
            authorization(&request, "20150830T123600Z", scope, &credentials),
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, \
             SignedHeaders=content-type;host;x-amz-date, \
             Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
        );
    }

    #[test]
    fn an_instant_has_no_punctuation() {
        assert_eq!(instant(Timestamp::from_millis(1_440_938_160_999)), "20150830T123600Z");
    }
}
