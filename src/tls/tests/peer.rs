//! Names in certificates of clients.

use std::net::IpAddr;

use rcgen::string::Ia5String;
use rcgen::{DistinguishedName, SanType, date_time_ymd};

use super::*;

fn certificate(change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
    let mut parameters = CertificateParams::new(Vec::new()).expect("parameters");
    parameters.distinguished_name = DistinguishedName::new();
    change(&mut parameters);
    Authority::new("authority").sign(&parameters).der.to_vec()
}

fn text(text: &str) -> Ia5String {
    Ia5String::try_from(text).expect("ASCII")
}

fn read(der: &[u8]) -> Result<PeerCertificate, PeerCertificateError> {
    PeerCertificate::read(der, SystemTime::now())
}

#[test]
fn the_subject_is_written_as_rfc_4514_has_it() {
    let der = certificate(|parameters| {
        let name = &mut parameters.distinguished_name;
        name.push(DnType::CountryName, "DE");
        name.push(DnType::OrganizationName, "Sue, Grabbit and Runn");
        name.push(DnType::OrganizationalUnitName, " #a+b=\"c\";<d>\\ ");
        name.push(DnType::CommonName, "Lučić");
    });
    let expected = r#"CN=Lučić,OU=\ #a\+b=\"c\"\;\<d\>\\\ ,O=Sue\, Grabbit and Runn,C=DE"#;
    assert_eq!(read(&der).expect("names").subject, expected);
    assert_eq!(
        read(&certificate(|_| {})).expect("names"),
        PeerCertificate { subject: String::new(), names: Vec::new() }
    );
}

#[test]
fn a_subject_cannot_break_out_of_its_line() {
    let der = certificate(|parameters| {
        parameters.distinguished_name.push(DnType::CommonName, "a\r\nX-Admin: 1\0")
    });
    assert_eq!(read(&der).expect("names").subject, r"CN=a\0d\0aX-Admin: 1\00");
    // C1 controls are not escaped by RFC 4514.
    let der = certificate(|parameters| {
        parameters.distinguished_name.push(DnType::CommonName, "a\u{85}b")
    });
    assert_eq!(read(&der), Err(PeerCertificateError::Unreadable));
}

#[test]
fn alternative_names_stand_in_their_order_after_their_kind() {
    let der = certificate(|parameters| {
        parameters.subject_alt_names = vec![
            SanType::URI(text("spiffe://cluster.local/ns/a/sa/b")),
            SanType::DnsName(text("a.example")),
            SanType::OtherName((
                vec![1, 3, 6, 1],
                rcgen::OtherNameValue::Utf8String("left out".to_owned()),
            )),
            SanType::Rfc822Name(text("a@b.example")),
            SanType::IpAddress("192.0.2.1".parse::<IpAddr>().expect("an address")),
            SanType::IpAddress("2001:db8::1".parse::<IpAddr>().expect("an address")),
        ];
    });
    let expected = [
        "URI:spiffe://cluster.local/ns/a/sa/b",
        "DNS:a.example",
        "email:a@b.example",
        "IP:192.0.2.1",
        "IP:2001:db8::1",
    ];
    assert_eq!(read(&der).expect("names").names, expected);
}

#[test]
fn a_name_with_characters_that_names_do_not_have_makes_the_certificate_unusable() {
    for name in ["a.example\r\nX-Admin: 1", "a b", "a\0b", "a\u{7f}"] {
        let der = certificate(|parameters| {
            parameters.subject_alt_names = vec![SanType::DnsName(text(name))];
        });
        assert_eq!(read(&der), Err(PeerCertificateError::Unreadable), "{name:?}");
    }
}

#[test]
fn a_certificate_counts_from_its_first_moment_to_its_last() {
    let der = certificate(|parameters| {
        parameters.not_before = date_time_ymd(2020, 1, 1);
        parameters.not_after = date_time_ymd(2021, 1, 1);
    });
    let at = |seconds: u64| {
        PeerCertificate::read(&der, SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)).map(drop)
    };
    let (first, last) = (1_577_836_800, 1_609_459_200);
    assert_eq!((at(first), at(last)), (Ok(()), Ok(())));
    let refused = Err(PeerCertificateError::NotValidNow);
    assert_eq!((at(first - 1), at(last + 1)), (refused, refused));
}

#[test]
fn what_is_no_certificate_has_no_names() {
    let der = certificate(|_| {});
    for cut in [0, 1, 30, der.len() - 1] {
        assert_eq!(read(&der[..cut]), Err(PeerCertificateError::Unreadable), "{cut}");
    }
    assert_eq!(read(&[der.as_slice(), &[0]].concat()), Err(PeerCertificateError::Unreadable));
}
