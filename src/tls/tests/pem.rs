//! Files as they come: marks, line ends, orders, mix-ups.

use super::*;
use crate::tls::pem::certificates;

/// The words of the one fault.
fn fault(files: &CertificateFiles) -> String {
    let faults = faults_of_identity(files);
    assert_eq!(faults.len(), 1, "{faults:?}");
    faults[0].to_string()
}

fn utf_16(text: &str, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
    "\u{feff}".encode_utf16().chain(text.encode_utf16()).flat_map(bytes).collect()
}

#[tokio::test]
async fn byte_order_marks_and_line_ends_of_other_systems_are_understood() {
    let authority = Authority::new("authority");
    let issued = authority.issue(&["a.example"]);
    let chain = [issued.pem.as_str(), &authority.pem];
    let forms: [fn(&str) -> Vec<u8>; 5] = [
        |text| format!("\u{feff}{text}").into_bytes(),
        |text| text.replace('\n', "\r\n").into_bytes(),
        |text| format!("\u{feff}{}", text.replace('\n', "\r\n")).into_bytes(),
        |text| utf_16(text, u16::to_le_bytes),
        |text| utf_16(text, u16::to_be_bytes),
    ];
    for (at, form) in forms.into_iter().enumerate() {
        let folder = Folder::new();
        let files = CertificateFiles {
            certificate: folder.write("a.pem", form(&chain.concat())),
            key: folder.write("a.key", form(&issued.key)),
        };
        let ca_file = folder.write("ca.pem", form(&authority.pem));
        let server =
            Server::load(plain(files.clone())).unwrap_or_else(|fault| panic!("{at}: {fault}"));
        let met = meet(&server, &client(&ca_file), "a.example")
            .await
            .unwrap_or_else(|fault| panic!("{at}: {fault}"));
        assert!(met.leaf == issued.der, "{at}");
        let found = certificates(
            &files.certificate,
            &files::Contents::read(std::slice::from_ref(&files.certificate)),
        );
        assert_eq!(found.expect("certificates").len(), 2, "{at}: none is lost");
    }
    // Files with marks, one appended to the other.
    let folder = Folder::new();
    let path = folder.write("a.pem", format!("\u{feff}{}\u{feff}{}", chain[0], chain[1]));
    let found = certificates(&path, &files::Contents::read(std::slice::from_ref(&path)))
        .expect("certificates");
    assert_eq!(found.len(), 2);
}

#[test]
fn a_chain_whose_leaf_is_not_first_is_refused_with_its_place() {
    let (folder, authority) = (Folder::new(), Authority::new("authority"));
    let issued = authority.issue(&["a.example"]);
    let files = CertificateFiles {
        certificate: folder.write("a.pem", format!("{}{}", authority.pem, issued.pem)),
        key: folder.write("a.key", &issued.key),
    };
    let words = fault(&files);
    assert!(
        words.starts_with(&format!("{:?} is in the wrong order", files.certificate)),
        "{words}"
    );
    assert!(words.contains("a.key\" is number 2 in it. Put it first"), "{words}");
    assert_eq!(Server::load(plain(files)).expect_err("refused").to_string(), words);
}

#[test]
fn a_key_of_another_certificate_is_refused_with_both_names() {
    let (folder, authority) = (Folder::new(), Authority::new("authority"));
    let a = folder.write_pair("a", &authority.issue(&["a.example"]));
    let b = folder.write_pair("b", &authority.issue(&["b.example"]));
    let files = CertificateFiles { certificate: a.certificate.clone(), key: b.key.clone() };
    let words = fault(&files);
    assert!(words.starts_with(&format!("{:?} does not fit {:?}", b.key, a.certificate)), "{words}");
    assert_eq!(Server::load(plain(files)).expect_err("refused").to_string(), words);
    assert!(faults_of_identity(&a).is_empty() && faults_of_identity(&b).is_empty());
}

#[test]
fn what_is_wrong_with_a_file_is_said_without_what_is_in_it() {
    let (folder, authority) = (Folder::new(), Authority::new("authority"));
    let issued = authority.issue(&["a.example"]);
    let good = folder.write_pair("good", &issued);
    let with_key = |content: &str| {
        let words =
            fault(&CertificateFiles { key: folder.write("x.key", content), ..good.clone() });
        assert!(!words.contains("hunter2") && words.contains("x.key"), "{words}");
        words
    };
    assert!(with_key("").contains("holds no private key in PEM form"));
    assert!(with_key(&issued.pem).contains("holds no private key in PEM form"));
    assert!(
        with_key("-----BEGIN PRIVATE KEY-----\nhunter2\n")
            .contains("its last PEM section has no end")
    );
    assert!(
        with_key("-----BEGIN PRIVATE KEY-----\n§hunter2§\n-----END PRIVATE KEY-----\n")
            .contains("is broken")
    );
    let der = "-----BEGIN PRIVATE KEY-----\naHVudGVyMg==\n-----END PRIVATE KEY-----\n";
    assert!(with_key(der).contains("a private key that cannot be used"));
    let encrypted =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nhunter2=\n-----END ENCRYPTED PRIVATE KEY-----\n";
    assert!(with_key(encrypted).contains("encrypted private key: decrypt it"));
    let cut = issued.pem.split_at(issued.pem.len() / 2).0;
    let words =
        fault(&CertificateFiles { certificate: folder.write("cut.pem", cut), ..good.clone() });
    assert!(words.contains("cut.pem\" is broken"), "{words}");
    let both = CertificateFiles { certificate: good.key.clone(), key: good.certificate.clone() };
    assert_eq!(faults_of_identity(&both).len(), 2, "both faults at once");
}
