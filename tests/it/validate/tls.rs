//! Certificates, private keys and authorities that cannot be used.

use std::fs;

use super::case::{Case, case, listener, pair, with, write};

/// The first half of a text.
fn half(text: &str) -> &str {
    text.get(..text.len() / 2).expect("ASCII")
}

const TLS: &str = "tls = { certificate = \"a.pem\", key = \"a.key\" }";

pub(super) fn cases() -> Vec<Case> {
    vec![
        case(
            "a key that does not fit",
            "3:38",
            &["\"b.key\" does not fit \"a.pem\"", "Name the key"],
            |folder| {
                pair(folder, "a");
                pair(folder, "b");
                listener("tls = { certificate = \"a.pem\", key = \"b.key\" }")
            },
        ),
        case(
            "a chain in the wrong order",
            "3:23",
            &["is in the wrong order", "Put it first"],
            |folder| {
                let (own, other) = (pair(folder, "a").0, pair(folder, "b").0);
                write(folder, "a.pem", format!("{other}{own}"));
                listener(TLS)
            },
        ),
        case(
            "a cut certificate",
            "3:23",
            &["\"a.pem\" is broken: its last PEM section has no end"],
            |folder| {
                let (pem, _) = pair(folder, "a");
                write(folder, "a.pem", half(&pem));
                listener(TLS)
            },
        ),
        case(
            "a cut key",
            "3:38",
            &["\"a.key\" is broken: its last PEM section has no end"],
            |folder| {
                let (_, key) = pair(folder, "a");
                write(folder, "a.key", half(&key));
                listener(TLS)
            },
        ),
        case("no certificate", "3:23", &["\"a.pem\" cannot be read: No such file"], |folder| {
            pair(folder, "a");
            fs::remove_file(folder.join("a.pem")).expect("removed");
            listener(TLS)
        }),
        case("no key", "3:38", &["\"a.key\" cannot be read: No such file"], |folder| {
            pair(folder, "a");
            fs::remove_file(folder.join("a.key")).expect("removed");
            listener(TLS)
        }),
        case(
            "a folder for a certificate",
            "3:23",
            &["\"a.pem\" cannot be read: is a directory"],
            |folder| {
                pair(folder, "a");
                fs::remove_file(folder.join("a.pem")).expect("removed");
                fs::create_dir(folder.join("a.pem")).expect("made");
                listener(TLS)
            },
        ),
        case("an empty certificate", "3:23", &["\"a.pem\" holds no certificate"], |folder| {
            pair(folder, "a");
            write(folder, "a.pem", "");
            listener(TLS)
        }),
        case(
            "certificate and key swapped",
            "3:23",
            &["holds no certificate", "holds no private key"],
            |folder| {
                pair(folder, "a");
                listener("tls = { certificate = \"a.key\", key = \"a.pem\" }")
            },
        ),
        case(
            "an encrypted key",
            "3:38",
            &["holds an encrypted private key: decrypt it with"],
            |folder| {
                pair(folder, "a");
                let key = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n\
                           -----END ENCRYPTED PRIVATE KEY-----\n";
                write(folder, "a.key", key);
                listener(TLS)
            },
        ),
        case(
            "an encrypted key in the form of OpenSSL",
            "3:38",
            &["holds an encrypted private key: decrypt it with"],
            |folder| {
                pair(folder, "a");
                let key = "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\
                           DEK-Info: AES-128-CBC,00\n\nAAAA\n-----END EC PRIVATE KEY-----\n";
                write(folder, "a.key", key);
                listener(TLS)
            },
        ),
        case(
            "a certificate in DER form",
            "3:23",
            &["it is in DER form", "openssl x509 -inform DER"],
            |folder| {
                pair(folder, "a");
                let made = rcgen::generate_simple_self_signed(["a.test".to_owned()]).expect("one");
                write(folder, "a.pem", made.cert.der());
                listener(TLS)
            },
        ),
        case(
            "a key in DER form",
            "3:38",
            &["it is in DER form", "openssl pkey -inform DER"],
            |folder| {
                pair(folder, "a");
                let made = rcgen::generate_simple_self_signed(["a.test".to_owned()]).expect("one");
                write(folder, "a.key", made.signing_key.serialize_der());
                listener(TLS)
            },
        ),
        case("the second of two pairs", "3:81", &["\"b.key\" does not fit \"b.pem\""], |folder| {
            pair(folder, "a");
            let (_, key) = pair(folder, "c");
            pair(folder, "b");
            write(folder, "b.key", key);
            listener(
                "tls = [{ certificate = \"a.pem\", key = \"a.key\" }, { certificate = \"b.pem\", \
                 key = \"b.key\" }]",
            )
        }),
        case("no authority of clients", "4:35", &["\"none.pem\" cannot be read"], |folder| {
            pair(folder, "a");
            listener(&format!("{TLS}\nclient_certificates = {{ ca_file = \"none.pem\" }}"))
        }),
        case("a cut authority of clients", "4:35", &["\"cut.pem\" is broken"], |folder| {
            let (pem, _) = pair(folder, "a");
            write(folder, "cut.pem", half(&pem));
            listener(&format!("{TLS}\nclient_certificates = {{ ca_file = \"cut.pem\" }}"))
        }),
        case(
            "certificates of clients without TLS",
            "3:23",
            &["\"client_certificates\" needs \"tls\""],
            |folder| {
                pair(folder, "a");
                listener("client_certificates = { ca_file = \"a.pem\" }")
            },
        ),
        case(
            "an authority of an upstream",
            "24:19",
            &["\"ca_file\": \"none.pem\" cannot be read"],
            |_| {
                with(
                    "[[upstream]]\nname = \"tls\"\nendpoints = [\"https://a.test\"]\n\
                     tls = { ca_file = \"none.pem\" }\n",
                )
            },
        ),
        case("a key of an upstream", "24:57", &["\"b.key\" does not fit \"a.pem\""], |folder| {
            pair(folder, "a");
            pair(folder, "b");
            with(
                "[[upstream]]\nname = \"tls\"\nendpoints = [\"https://a.test\"]\n\
                 tls = { ca_file = \"a.pem\", certificate = \"a.pem\", key = \"b.key\" }\n",
            )
        }),
    ]
}
