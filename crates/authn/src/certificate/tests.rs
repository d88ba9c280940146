//! What is believed of a client certificate, and what is not (threats H5, H6).

use std::sync::Arc;

use domain::{CertificateMode, CertificateName, ClientCertificates, NameKind, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, CustomExtension, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType,
    SerialNumber, date_time_ymd,
};
use rustls::pki_types::CertificateDer;

use super::*;

type Ca = CertifiedIssuer<'static, KeyPair>;

fn ca_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn root() -> Ca {
    named("root")
}

fn named(name: &str) -> Ca {
    Ca::self_signed(ca_params(name), KeyPair::generate().unwrap()).unwrap()
}

fn leaf(by: &Issuer<'_, KeyPair>, adapt: impl FnOnce(&mut CertificateParams)) -> CertificateDer<'static> {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.serial_number = Some(SerialNumber::from(77_u64));
    adapt(&mut params);
    params.signed_by(&KeyPair::generate().unwrap(), by).unwrap().der().clone()
}

fn list(by: &Issuer<'_, KeyPair>, revoked: Option<u64>, year: i32) -> String {
    let revoked = revoked.map(|serial| RevokedCertParams {
        serial_number: SerialNumber::from(serial),
        revocation_time: date_time_ymd(2020, 1, 1),
        reason_code: None,
        invalidity_date: None,
    });
    let params = CertificateRevocationListParams {
        this_update: date_time_ymd(2000, 1, 1),
        next_update: date_time_ymd(year, 1, 1),
        crl_number: SerialNumber::from(1_u64),
        issuing_distribution_point: None,
        revoked_certs: revoked.into_iter().collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    params.signed_by(by).unwrap().pem().unwrap()
}

fn settings(ca: &str, crl: &[String]) -> ClientCertificates {
    ClientCertificates { mode: CertificateMode::Required, ca: ca.into(), crl: crl.to_vec() }
}

fn authorities(ca: &str, crl: &[String]) -> Arc<Authorities> {
    Arc::new(Authorities::compile(&settings(ca, crl)).unwrap())
}

/// 2026-06-01.
const NOW: Timestamp = Timestamp::from_secs(1_780_272_000);

fn verdict(by: &Authorities, chain: &[CertificateDer<'static>]) -> Result<(), CertificateError> {
    by.verify(chain, NOW).map(|_| ())
}

fn names(der: CertificateDer<'static>) -> Result<Vec<String>, CertificateError> {
    let (ca, der) = (root(), vec![der]);
    let shown = ClientCertificate::verified(der, authorities(&ca.pem(), &[]), NOW).unwrap();
    let names = shown.names()?.iter().filter(|name| name.kind() != NameKind::Sha256);
    Ok(names.map(CertificateName::to_string).collect())
}

#[test]
fn only_the_hostnames_own_authorities_are_believed() {
    let (ours, theirs) = (root(), root());
    let by = authorities(&ours.pem(), &[]);
    assert_eq!(verdict(&by, &[leaf(&ours, |_| ())]), Ok(()));
    assert_eq!(verdict(&by, &[leaf(&theirs, |_| ())]), Err(CertificateError::IssuerUnknown));
    // Of one name with ours.
    assert_eq!(verdict(&by, &[leaf(&theirs, |_| ()), theirs.der().clone()]), Err(CertificateError::IssuerUnknown));
}

#[test]
fn a_certificate_must_be_in_time_and_made_for_clients() {
    let ca = root();
    let by = authorities(&ca.pem(), &[]);
    let dated = |from: i32, to: i32| {
        leaf(&ca, |params| {
            params.not_before = date_time_ymd(from, 1, 1);
            params.not_after = date_time_ymd(to, 1, 1);
        })
    };
    assert_eq!(verdict(&by, &[dated(2000, 2001)]), Err(CertificateError::OutOfDate));
    assert_eq!(verdict(&by, &[dated(2900, 2901)]), Err(CertificateError::NotYetValid));
    let server = leaf(&ca, |params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]);
    assert_eq!(verdict(&by, &[server]), Err(CertificateError::Purpose));
    assert_eq!(verdict(&by, &[ca.der().clone()]), Err(CertificateError::Broken), "an authority is no client");
    assert_eq!(verdict(&by, &[CertificateDer::from(b"0".to_vec())]), Err(CertificateError::Broken));
    assert_eq!(verdict(&by, &[]), Err(CertificateError::Broken));
}

#[test]
fn an_intermediate_authority_signs_no_others_than_it_may() {
    let ca = root();
    let below = |by: &Ca, is_ca| {
        let mut params = ca_params("below");
        params.is_ca = is_ca;
        Ca::signed_by(params, KeyPair::generate().unwrap(), by).unwrap()
    };
    let one = below(&ca, IsCa::Ca(BasicConstraints::Constrained(0)));
    let by = authorities(&ca.pem(), &[]);
    let client = leaf(&one, |_| ());
    assert_eq!(verdict(&by, std::slice::from_ref(&client)), Err(CertificateError::IssuerUnknown), "it was not sent");
    assert_eq!(verdict(&by, &[client, one.der().clone()]), Ok(()));
    let two = below(&one, IsCa::Ca(BasicConstraints::Unconstrained));
    let chain = [leaf(&two, |_| ()), two.der().clone(), one.der().clone()];
    assert!(verdict(&by, &chain).is_err(), "no further authority may be below it");
    let no_ca = below(&ca, IsCa::NoCa);
    assert!(verdict(&by, &[leaf(&no_ca, |_| ()), no_ca.der().clone()]).is_err());
}

#[test]
fn a_revocation_list_counts_for_all_or_for_nobody() {
    let ca = root();
    let client = [leaf(&ca, |_| ())];
    let by = |crl: &[String]| authorities(&ca.pem(), crl);
    assert_eq!(verdict(&by(&[list(&ca, None, 3000)]), &client), Ok(()));
    assert_eq!(verdict(&by(&[list(&ca, Some(77), 3000)]), &client), Err(CertificateError::Revoked));
    assert_eq!(verdict(&by(&[list(&ca, Some(78), 3000)]), &client), Ok(()));
    assert_eq!(verdict(&by(&[list(&ca, None, 2001)]), &client), Err(CertificateError::OutOfDate));
    let other = named("other");
    let unknown = verdict(&by(&[list(&other, None, 3000)]), &client);
    assert_eq!(unknown, Err(CertificateError::RevocationUnknown), "no list covers it");
    let both = [ca.pem(), other.pem()].concat();
    let by = authorities(&both, &[list(&ca, None, 3000)]);
    assert_eq!(verdict(&by, &[leaf(&other, |_| ())]), Err(CertificateError::RevocationUnknown));
}

/// The verifier looks at the first list of an issuer that it finds, however old.
#[test]
fn two_lists_of_one_issuer_are_refused_in_any_order() {
    let (ca, other) = (root(), named("other"));
    let (old, new) = (list(&ca, None, 2030), list(&ca, Some(77), 2031));
    let said = |crl: &[String]| Authorities::compile(&settings(&ca.pem(), crl)).unwrap_err().to_string();
    let why = "is a second list of its issuer; give the newest of each only";
    assert_eq!(said(&[old.clone(), new.clone()]), format!("`crl` 2, block 1, {why}"));
    assert_eq!(said(&[new.clone(), old.clone()]), format!("`crl` 2, block 1, {why}"));
    assert_eq!(said(&[[old, new.clone()].concat()]), format!("`crl` 1, block 2, {why}"));
    // Of one authority's name with another key, too.
    assert!(said(&[new.clone(), list(&root(), None, 2030)]).ends_with(why));
    Authorities::compile(&settings(&ca.pem(), &[new, list(&other, None, 2030)])).unwrap();
}

#[test]
fn what_was_believed_is_judged_again_by_other_authorities_and_as_time_goes_on() {
    let ca = root();
    let first = authorities(&ca.pem(), &[list(&ca, None, 2030)]);
    let shown = ClientCertificate::verified(vec![leaf(&ca, |_| ())], Arc::clone(&first), NOW).unwrap();
    let end = shown.judge(&first, NOW).unwrap();
    assert!(end > Timestamp::from_secs(1_900_000_000), "its own; a list may be replaced before");
    let after = Timestamp::from_secs(1_900_000_000);
    assert_eq!(shown.judge(&first, after), Err(CertificateError::OutOfDate), "the list is, in 2030");
    shown.judge(&authorities(&ca.pem(), &[]), after).unwrap();
    let revoked = authorities(&ca.pem(), &[list(&ca, Some(77), 3000)]);
    assert_eq!(shown.judge(&revoked, NOW), Err(CertificateError::Revoked));
    assert_eq!(shown.judge(&authorities(&root().pem(), &[]), NOW), Err(CertificateError::IssuerUnknown));
    assert_eq!(shown.judge(&first, NOW), Ok(end));
}

#[test]
fn broken_settings_are_refused_by_block_and_reason() {
    let (ca, key) = (root(), KeyPair::generate().unwrap());
    let client = leaf(&ca, |_| ());
    let pem = |label: &str, der: &[u8]| {
        use base64::{Engine as _, engine::general_purpose::STANDARD};
        format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
    };
    let said = |ca: &str, crl: &[&str]| {
        let crl: Vec<String> = crl.iter().map(|&text| text.to_owned()).collect();
        Authorities::compile(&settings(ca, &crl)).unwrap_err().to_string()
    };
    let good = ca.pem();
    for (text, expected) in [
        (String::new(), "`ca` holds no PEM block"),
        ("nothing".into(), "`ca` holds no PEM block"),
        (good.clone() + &key.serialize_pem(), "`ca`, block 2, is no `CERTIFICATE`"),
        (good.clone() + &pem("CERTIFICATE", b"x"), "`ca`, block 2, is no X.509 certificate"),
        (good.clone() + &pem("CERTIFICATE", &[ca.der(), &b"x"[..]].concat()), "`ca`, block 2, is no X.509 certificate"),
        (pem("CERTIFICATE", &client), "`ca`, block 1, is no authority's: its basic constraints do not say so"),
        (good.replace("-----END CERTIFICATE-----", ""), "`ca`, block 1, is no PEM: its end or its base64 is broken"),
        (good.replace("\nM", "\n!"), "`ca`, block 1, is no PEM: its end or its base64 is broken"),
        (good.clone() + &pem("TRUSTED CERTIFICATE", ca.der()), "`ca` holds a PEM block that cannot be read"),
    ] {
        assert_eq!(said(&text, &[]), expected, "{text}");
    }
    let crl = list(&ca, None, 3000);
    for (text, expected) in [
        ("", "`crl` 2 is neither PEM nor DER in base64"),
        ("!!", "`crl` 2 is neither PEM nor DER in base64"),
        ("AAAA", "`crl` 2, block 1, is no X.509 revocation list"),
        (good.as_str(), "`crl` 2, block 1, is no `X509 CRL`"),
    ] {
        assert_eq!(said(&good, &[&crl, text]), expected, "{text}");
    }
    assert_eq!(said(&good, &vec![crl.as_str(); 33]), "`crl` 33 at most 32 lists are allowed");
    assert_eq!(Authorities::compile(&settings(&good, &["x".into()])).unwrap_err().pointer(), "/crl/0");
    // DER is as good as PEM.
    let bare: String = crl.lines().filter(|line| !line.starts_with("-----")).collect();
    Authorities::compile(&settings(&good, &[bare])).unwrap();
}

/// H6: nothing of a name is cut off, nothing is widened.
#[test]
fn a_name_counts_whole_or_not_at_all() {
    let ca = root();
    let with = |alternatives: Vec<SanType>| names(leaf(&ca, |params| params.subject_alt_names = alternatives));
    let dns = |text: &str| SanType::DnsName(text.try_into().unwrap());
    let uri = |text: &str| SanType::URI(text.try_into().unwrap());
    let mail = |text: &str| SanType::Rfc822Name(text.try_into().unwrap());

    assert_eq!(with(vec![dns("Billing.Acme.example")]).unwrap(), ["dns:billing.acme.example"]);
    assert_eq!(
        with(vec![uri("spiffe://a/B"), mail("Ann@a.example")]).unwrap(),
        ["uri:spiffe://a/B", "email:Ann@a.example"]
    );
    let twice = with(vec![dns("a.example"), dns("a.example"), dns("A.example")]);
    assert_eq!(twice.unwrap(), ["dns:a.example"], "said twice is said once");
    assert_eq!(with(vec![dns("*.acme.example")]).unwrap(), [""; 0], "a wildcard names no one");
    assert_eq!(with(vec![SanType::IpAddress([192, 0, 2, 1].into())]).unwrap(), [""; 0]);
    assert_eq!(with(vec![dns("192.0.2.1")]).unwrap(), [""; 0], "an address is no name");
    for broken in [
        vec![dns("billing.acme.example\0.evil.example")],
        vec![dns("billing.acme.example"), dns("\0")],
        vec![dns("a.example"), uri("")],
        vec![uri("spiffe://a/\0b")],
        vec![mail("ann@a.example\0@evil.example")],
        vec![dns("a b")],
        vec![uri(&format!("x:{}", "y".repeat(5000)))],
        (0..200).map(|n| dns(&format!("n{n}.example"))).collect(),
    ] {
        assert_eq!(with(broken.clone()).unwrap_err(), CertificateError::Names, "{broken:?}");
    }
}

#[test]
fn two_lists_of_names_are_none() {
    let ca = root();
    // SEQUENCE { [2] "b.example" }
    let second = [&[0x30, 11, 0x82, 9][..], b"b.example"].concat();
    let der = leaf(&ca, |params| {
        params.subject_alt_names = vec![SanType::DnsName("a.example".try_into().unwrap())];
        params.custom_extensions.push(CustomExtension::from_oid_content(&[2, 5, 29, 17], second));
    });
    assert_eq!(names(der).unwrap_err(), CertificateError::Names);
}

/// As `openssl x509 -noout -subject -nameopt RFC2253` of OpenSSL 3.0 wrote each of them.
#[test]
fn a_subject_is_written_as_openssl_writes_it() {
    let ca = root();
    let subject = |parts: &[(DnType, &str)]| {
        let der = leaf(&ca, |params| {
            for (kind, text) in parts {
                params.distinguished_name.push(kind.clone(), *text);
            }
        });
        names(der).unwrap().pop()
    };
    let said = |parts: &[(DnType, &str)]| subject(parts).unwrap_or_default();
    assert_eq!(
        said(&[(DnType::CountryName, "DE"), (DnType::OrganizationName, "Acme"), (DnType::CommonName, "billing")]),
        "subject:CN=billing,O=Acme,C=DE"
    );
    // One attribute is never two.
    assert_eq!(said(&[(DnType::CommonName, "a,O=Acme")]), r"subject:CN=a\,O=Acme");
    assert_eq!(said(&[(DnType::CommonName, r#" #a+b;<c>"\ "#)]), r#"subject:CN=\ #a\+b\;\<c\>\"\\\ "#);
    assert_eq!(said(&[(DnType::CommonName, "#a")]), r"subject:CN=\#a");
    assert_eq!(said(&[(DnType::CommonName, "Zoë")]), r"subject:CN=Zo\C3\AB");
    assert_eq!(subject(&[(DnType::CommonName, "a\0b")]), None);
    assert_eq!(subject(&[(DnType::CommonName, "a\nb")]), None);
    assert_eq!(subject(&[(DnType::from_oid(&[2, 5, 4, 99]), "a")]), None, "an attribute that we do not know");
    assert_eq!(subject(&[]), None, "an empty subject names everybody");
}
