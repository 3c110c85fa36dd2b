//! The client side: trust, names, its own certificate.

use super::*;

#[tokio::test]
async fn only_a_server_of_a_trusted_authority_with_the_right_name_will_do() {
    let (folder, authority, other) =
        (Folder::new(), Authority::new("authority"), Authority::new("other"));
    let server =
        Server::load(plain(folder.write_pair("a", &authority.issue(&["a.example", "127.0.0.1"]))))
            .unwrap();
    let (trusted, stranger) =
        (folder.write("ca.pem", &authority.pem), folder.write("other.pem", &other.pem));
    for name in ["a.example", "127.0.0.1"] {
        assert!(meet(&server, &client(&trusted), name).await.is_ok(), "{name}");
    }
    let fault =
        meet(&server, &client(&trusted), "b.example").await.expect_err("another name").to_string();
    assert!(fault.contains("not valid for name"), "{fault}");
    let fault = meet(&server, &client(&stranger), "a.example")
        .await
        .expect_err("another authority")
        .to_string();
    assert!(fault.contains("UnknownIssuer"), "{fault}");
    let both = folder.write("both.pem", format!("{}\n{}", other.pem, authority.pem));
    assert!(
        meet(&server, &client(&both), "a.example").await.is_ok(),
        "the second certificate of a file counts, too"
    );
}

#[tokio::test]
async fn a_changed_trust_counts_from_the_next_handshake_on_for_sessions_too() {
    let (folder, authority, other) =
        (Folder::new(), Authority::new("authority"), Authority::new("other"));
    let server =
        Server::load(plain(folder.write_pair("a", &authority.issue(&["a.example"])))).unwrap();
    let client = Client::load(trusting(&folder.write("ca.pem", &authority.pem))).expect("a client");
    assert!(!meet(&server, &client.config(), "a.example").await.unwrap().is_resumed);
    assert!(!client.refresh(later()).is_reloaded);
    assert!(meet(&server, &client.config(), "a.example").await.unwrap().is_resumed);
    folder.write("ca.pem", &other.pem);
    assert!(client.refresh(later()).is_reloaded);
    assert!(meet(&server, &client.config(), "a.example").await.is_err());
}

#[tokio::test]
async fn a_broken_certificate_of_its_own_keeps_no_change_of_trust_from_counting() {
    let (folder, authority, other) =
        (Folder::new(), Authority::new("authority"), Authority::new("other"));
    let files = folder.write_pair("a", &authority.issue(&["a.example"]));
    let server = Server::load(plain(files)).expect("a server");
    let identity = Some(folder.write_pair("client", &authority.issue(&["client.example"])));
    let trusting = trusting(&folder.write("ca.pem", &other.pem));
    let client = Client::load(ClientSettings { identity, ..trusting }).expect("a client");
    assert!(meet(&server, &client.config(), "a.example").await.is_err());
    folder.write("client.key", "no key");
    folder.write("ca.pem", &authority.pem);
    let refreshed = client.refresh(later());
    assert_eq!((refreshed.is_reloaded, refreshed.faults.len()), (true, 1));
    assert!(meet(&server, &client.config(), "a.example").await.is_ok());
}

#[test]
fn files_that_cannot_be_used_are_refused_with_their_names() {
    let (folder, authority) = (Folder::new(), Authority::new("authority"));
    let ca_file = folder.write("ca.pem", &authority.pem);
    let good = folder.write_pair("good", &authority.issue(&["a.example"]));
    let broken = folder
        .write("broken.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let refused = |settings: ClientSettings| {
        let fault = Client::load(settings).expect_err("refused");
        (fault.path().expect("a file").to_owned(), fault.to_string())
    };
    let (path, words) = refused(trusting(&folder.path("none.pem")));
    assert!(
        path.ends_with("none.pem") && words.contains("none.pem\" cannot be read: No such file"),
        "{words}"
    );
    let (path, words) = refused(trusting(&good.key));
    assert!(path == good.key && words.contains("holds no certificate in PEM form"), "{words}");
    let (path, words) = refused(trusting(&broken));
    assert!(path == broken && words.contains("certificate 1 in it cannot be used"), "{words}");
    let (path, words) = refused(trusting(folder.0.path()));
    assert!(path == folder.0.path() && words.contains("directory"), "{words}");
    let identity = Some(CertificateFiles { certificate: ca_file.clone(), ..good.clone() });
    let (path, words) = refused(ClientSettings { identity, ..trusting(&ca_file) });
    assert!(path == good.key && words.contains("does not fit"), "{words}");
}
