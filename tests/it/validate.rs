//! `validate` is `run` without serving: on every broken configuration and file both say the same,
//! with file, line and what to do, and neither starts half. A reload is judged alike.

use std::collections::BTreeSet;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Output;

use crate::support::redis::{RedisServer, free_port};
use crate::support::{Plan, Upstream, World, eventually};

/// The working configuration that each case breaks; its paths are relative to the folder of its
/// world.
const GOOD: &str = r#"[[listener]]
address = "127.0.0.1:0"
[admin]
address = "off"
socket = "admin.sock"
[store]
path = "keyward.db"
[keys]
directory = "keys"
[[token_api]]
name = "api"
style = "allowlist-jwt"
mount = "/api"
[[upstream]]
name = "app"
endpoints = ["http://127.0.0.1:1"]
[[route]]
path = "/{*rest}"
upstream = "app"
public = true
"#;

/// Breaks things in a folder, and returns the configuration, and what lives until the case is over.
type Breaks = Box<dyn Fn(&Path) -> (String, Held)>;

/// Something that is wrong.
struct Case {
    name: &'static str,
    breaks: Breaks,
    /// Where the fault is said; empty: about the whole file.
    place: &'static str,
    /// What is said, among other words.
    words: Vec<&'static str>,
}

/// What must stay open for a case.
#[derive(Default)]
struct Held {
    _tcp: Option<TcpListener>,
    _unix: Option<UnixListener>,
    _redis: Option<RedisServer>,
}

impl Held {
    fn tcp(listener: TcpListener) -> Self {
        Self { _tcp: Some(listener), ..Self::default() }
    }
}

fn case(
    name: &'static str,
    place: &'static str,
    words: &[&'static str],
    breaks: impl Fn(&Path) -> String + 'static,
) -> Case {
    holding(name, place, words, move |folder| (breaks(folder), Held::default()))
}

fn holding(
    name: &'static str,
    place: &'static str,
    words: &[&'static str],
    breaks: impl Fn(&Path) -> (String, Held) + 'static,
) -> Case {
    Case { name, breaks: Box::new(breaks), place, words: words.to_vec() }
}

/// A case of text alone: one part of the configuration in the place of another.
fn typed(
    name: &'static str,
    place: &'static str,
    words: &[&'static str],
    old: &'static str,
    new: &'static str,
) -> Case {
    case(name, place, words, move |_| swap(old, new))
}

/// The configuration with one part in the place of another.
fn swap(old: &str, new: &str) -> String {
    assert!(GOOD.contains(old), "{old}");
    GOOD.replacen(old, new, 1)
}

/// The configuration with the listener's second line, or an empty one.
fn listener(line: &str) -> String {
    swap("address = \"127.0.0.1:0\"\n", &format!("address = \"127.0.0.1:0\"\n{line}\n"))
}

/// The configuration with more tables at its end, which begin in line 21.
fn with(more: &str) -> String {
    format!("{GOOD}{more}")
}

fn write(folder: &Path, name: &str, text: impl AsRef<[u8]>) {
    fs::write(folder.join(name), text).expect("written");
}

/// A certificate and its key: `NAME.pem`, `NAME.key`.
fn pair(folder: &Path, name: &str) -> (String, String) {
    let made = rcgen::generate_simple_self_signed([format!("{name}.test")]).expect("a certificate");
    let (pem, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    write(folder, &format!("{name}.pem"), &pem);
    write(folder, &format!("{name}.key"), &key);
    (pem, key)
}

/// A pipe in a folder, which no process writes to or reads from.
fn pipe(folder: &Path, name: &str) {
    let path = folder.join(name);
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, mode).expect("made");
}

/// A write-ahead log that SQLite would replay into whatever database lies beside it.
fn log_of_another_program() -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("other.db");
    let connection = rusqlite::Connection::open(&path).expect("opened");
    connection
        .pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))
        .and_then(|()| connection.execute_batch("CREATE TABLE a (x); INSERT INTO a VALUES (1)"))
        .expect("written");
    fs::read(folder.path().join("other.db-wal")).expect("a log")
}

fn half(text: &str) -> &str {
    text.get(..text.len() / 2).expect("ASCII")
}

const TLS: &str = "tls = { certificate = \"a.pem\", key = \"a.key\" }";

fn of_tls() -> Vec<Case> {
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

/// A program that is not keyward, on a port of its own.
fn program(ip: &str) -> (TcpListener, u16) {
    let listener = TcpListener::bind(SocketAddr::new(ip.parse().expect("an address"), free_port()))
        .expect("bound");
    let port = listener.local_addr().expect("it is bound").port();
    (listener, port)
}

/// A listener on this address, whose port a program on the other one has.
fn taken(name: &'static str, wanted: &'static str, by: &'static str) -> Case {
    let words = [
        "\"address\" ",
        " cannot be listened on: another program has port ",
        "stop it, or take another port",
    ];
    holding(name, "2:11", &words, move |_| {
        let (program, port) = program(by);
        (swap("127.0.0.1:0", &format!("{wanted}:{port}")), Held::tcp(program))
    })
}

fn of_addresses() -> Vec<Case> {
    vec![
        taken("a port that is taken", "127.0.0.1", "127.0.0.1"),
        taken("a port that is taken on all addresses", "127.0.0.1", "0.0.0.0"),
        taken("all addresses, and one is taken", "0.0.0.0", "127.0.0.1"),
        taken("both families, and IPv4 is taken", "[::]", "127.0.0.1"),
        taken("both families, and IPv6 is taken", "[::]", "::1"),
        typed(
            "an address of another machine",
            "2:11",
            &["198.51.100.7:8080 cannot be listened on", "no such address", "take one of its own"],
            "127.0.0.1:0",
            "198.51.100.7:8080",
        ),
        typed("an address without a port", "2:11", &["it has no port"], "127.0.0.1:0", "127.0.0.1"),
        typed(
            "a name for an address",
            "2:11",
            &["must be an IP address with a port"],
            "127.0.0.1:0",
            "localhost:80",
        ),
        case("one address twice", "22:11", &["is taken by the [[listener]] on line 2"], |_| {
            let port = free_port();
            let more = format!("[[listener]]\naddress = \"127.0.0.1:{port}\"\n");
            format!("{}{more}", swap("127.0.0.1:0", &format!("127.0.0.1:{port}")))
        }),
        case(
            "one address in two spellings",
            "22:11",
            &["is taken by the [[listener]] on line 2"],
            |_| {
                let port = free_port();
                let more = format!("[[listener]]\naddress = \"[::ffff:127.0.0.1]:{port}\"\n");
                format!("{}{more}", swap("127.0.0.1:0", &format!("127.0.0.1:{port}")))
            },
        ),
        holding(
            "the admin port is taken",
            "4:11",
            &["[admin] address", "another program has port"],
            |_| {
                let (program, port) = program("127.0.0.1");
                (swap("\"off\"", &format!("\"127.0.0.1:{port}\"")), Held::tcp(program))
            },
        ),
        case(
            "the admin port is a listener's",
            "4:11",
            &["is that of the [[listener]] on line 2", "another port"],
            |_| {
                let port = free_port();
                swap("127.0.0.1:0", &format!("[::]:{port}"))
                    .replace("\"off\"", &format!("\"127.0.0.1:{port}\""))
            },
        ),
        case("a Unix socket in no folder", "2:11", &["none is not there: make it"], |folder| {
            swap("127.0.0.1:0", &format!("unix:{}", folder.join("none/a.sock").display()))
        }),
        case(
            "a file for a Unix socket",
            "2:11",
            &["is not a socket, so it is left alone"],
            |folder| {
                write(folder, "a.sock", "precious");
                swap("127.0.0.1:0", &format!("unix:{}", folder.join("a.sock").display()))
            },
        ),
        holding(
            "a Unix socket that is taken",
            "2:11",
            &["is in use", "another program listens on it"],
            |folder| {
                let path = folder.join("a.sock");
                let held = Held {
                    _unix: Some(UnixListener::bind(&path).expect("bound")),
                    ..Held::default()
                };
                (swap("127.0.0.1:0", &format!("unix:{}", path.display())), held)
            },
        ),
        case(
            "one Unix socket in two spellings",
            "22:11",
            &["is that of the address of a [[listener]]", "name another one"],
            |folder| {
                fs::create_dir(folder.join("x")).expect("made");
                let at = folder.display();
                let more = format!("[[listener]]\naddress = \"unix:{at}/x/../a\"\n");
                format!("{}{more}", swap("127.0.0.1:0", &format!("unix:{at}/a")))
            },
        ),
        case("the admin socket for a listener", "2:11", &["is that of [admin] socket"], |folder| {
            swap("127.0.0.1:0", &format!("unix:{}/admin.sock", folder.display()))
        }),
        case(
            "a folder for the lock of a Unix socket",
            "2:11",
            &["cannot lock", "Is a directory"],
            |folder| {
                fs::create_dir(folder.join("a.sock.lock")).expect("made");
                swap("127.0.0.1:0", &format!("unix:{}/a.sock", folder.display()))
            },
        ),
        typed(
            "an address of a group",
            "2:11",
            &["224.0.0.1:18080 is that of a group (multicast)"],
            "127.0.0.1:0",
            "224.0.0.1:18080",
        ),
        typed(
            "TLS on a Unix socket",
            "3:7",
            &["TLS is not spoken on Unix sockets"],
            "127.0.0.1:0\"",
            "unix:/a\"\ntls = []",
        ),
    ]
}

fn of_files() -> Vec<Case> {
    vec![
        case(
            "an access log in no folder",
            "22:10",
            &["the folder logs is not there: make it"],
            |_| with("[log]\naccess = \"logs/access.log\"\n"),
        ),
        case(
            "a folder for an access log",
            "22:10",
            &["[log] access: \"./logs\" cannot be opened", "is a folder"],
            |folder| {
                fs::create_dir(folder.join("logs")).expect("made");
                with("[log]\naccess = \"./logs\"\n")
            },
        ),
        case(
            "a pipe for an access log",
            "22:10",
            &["[log] access: \"./log\" cannot be opened", "is a named pipe that no process reads"],
            |folder| {
                pipe(folder, "log");
                with("[log]\naccess = \"./log\"\n")
            },
        ),
        holding(
            "a socket for an access log",
            "22:10",
            &["[log] access: \"./log\" cannot be opened", "is a socket: name a file"],
            |folder| {
                let held = UnixListener::bind(folder.join("log")).expect("bound");
                let held = Held { _unix: Some(held), ..Held::default() };
                (with("[log]\naccess = \"./log\"\n"), held)
            },
        ),
        case(
            "the store for an access log",
            "22:10",
            &["[log] access ./keyward.db is that of [store] path", "name another one"],
            |_| with("[log]\naccess = \"./keyward.db\"\n"),
        ),
        case(
            "the log of the store for an access log",
            "22:10",
            &["is that of [store] path, or of a file beside it"],
            |_| with("[log]\naccess = \"./keyward.db-wal\"\n"),
        ),
        case(
            "the configuration for an access log",
            "22:10",
            &["is that of the configuration"],
            |_| with("[log]\naccess = \"./keyward.toml\"\n"),
        ),
        case("the admin socket for an access log", "22:10", &["is that of [admin] socket"], |_| {
            with("[log]\naccess = \"./admin.sock\"\n")
        }),
        typed(
            "the store for the admin socket",
            "5:10",
            &["[admin] socket keyward.db is that of [store] path"],
            "admin.sock",
            "keyward.db",
        ),
        typed(
            "the store for the keys",
            "9:13",
            &["[keys] directory keyward.db is that of [store] path"],
            "\"keys\"",
            "\"keyward.db\"",
        ),
        case("an access log below a file", "22:10", &["file is not a folder"], |folder| {
            write(folder, "file", "");
            with("[log]\naccess = \"file/access.log\"\n")
        }),
        case(
            "a file for the admin socket",
            "5:10",
            &["[admin] socket", "is not a socket, so it is left alone"],
            |folder| {
                write(folder, "admin.sock", "precious");
                GOOD.to_owned()
            },
        ),
        case(
            "the admin socket below a file",
            "5:10",
            &["[admin] socket", "file is not a folder"],
            |folder| {
                write(folder, "file", "");
                swap("admin.sock", "file/admin.sock")
            },
        ),
        holding("the admin socket is taken", "5:10", &["[admin] socket", "is in use"], |folder| {
            let held = UnixListener::bind(folder.join("admin.sock")).expect("bound");
            (GOOD.to_owned(), Held { _unix: Some(held), ..Held::default() })
        }),
        case(
            "a folder for the store",
            "7:8",
            &["[store] path", "is a folder: name a file in it"],
            |folder| {
                fs::create_dir(folder.join("keyward.db")).expect("made");
                GOOD.to_owned()
            },
        ),
        case(
            "the store below a file",
            "7:8",
            &["[store] path", "file is not a folder"],
            |folder| {
                write(folder, "file", "");
                swap("keyward.db", "file/keyward.db")
            },
        ),
        case(
            "a folder for the lock of the store",
            "7:8",
            &["[store] path", "keyward.db.lock is a folder"],
            |folder| {
                fs::create_dir(folder.join("keyward.db.lock")).expect("made");
                GOOD.to_owned()
            },
        ),
        case(
            "a folder for the lock of the admin socket",
            "5:10",
            &["[admin] socket: cannot lock admin.sock: Is a directory"],
            |folder| {
                fs::create_dir(folder.join("admin.sock.lock")).expect("made");
                GOOD.to_owned()
            },
        ),
        case(
            "a link to itself for the store",
            "7:8",
            &["[store] path", "Too many levels of symbolic links"],
            |folder| {
                symlink("keyward.db", folder.join("keyward.db")).expect("made");
                GOOD.to_owned()
            },
        ),
        case(
            "the log of another program's database",
            "7:8",
            &["keyward.db-wal is not the log of the store", "another program"],
            |folder| {
                store(folder);
                write(folder, "keyward.db-wal", log_of_another_program());
                GOOD.to_owned()
            },
        ),
        case(
            "a foreign file for the store",
            "7:8",
            &["is not a store of keyward", "give another path"],
            |folder| {
                write(folder, "keyward.db", "a letter");
                GOOD.to_owned()
            },
        ),
        case(
            "an empty store",
            "7:8",
            &["is damaged: it is empty; restore it from a backup"],
            |folder| {
                write(folder, "keyward.db", "");
                GOOD.to_owned()
            },
        ),
        case(
            "the log of a store that is gone",
            "7:8",
            &["it is missing, and its -wal file is there"],
            |folder| {
                write(folder, "keyward.db-wal", "changes");
                GOOD.to_owned()
            },
        ),
        case(
            "the journal of another program",
            "7:8",
            &["keyward.db-journal lies beside the store"],
            |folder| {
                write(folder, "keyward.db-journal", "changes");
                GOOD.to_owned()
            },
        ),
        case("a store that was cut", "7:8", &["is damaged"], |folder| {
            store(folder);
            let path = folder.join("keyward.db");
            let whole = fs::read(&path).expect("read");
            write(folder, "keyward.db", whole.get(..whole.len() / 2).expect("half of it"));
            GOOD.to_owned()
        }),
        case(
            "the store of other keys",
            "7:8",
            &["was written with other keys", "the key directory that belongs"],
            |folder| {
                store(folder);
                fs::remove_dir_all(folder.join("keys")).expect("removed");
                GOOD.to_owned()
            },
        ),
        case(
            "keys that all could change",
            "9:13",
            &["can be replaced by every user", "chmod 700"],
            |folder| {
                keys(folder);
                fs::set_permissions(folder.join("keys"), fs::Permissions::from_mode(0o777))
                    .expect("chmod");
                GOOD.to_owned()
            },
        ),
        case(
            "a pepper that is none",
            "9:13",
            &["pepper.key: is not 64 hexadecimal digits"],
            |folder| {
                keys(folder);
                write(folder, "keys/pepper.key", "canary");
                GOOD.to_owned()
            },
        ),
        case(
            "a MAC key that was cut",
            "9:13",
            &["mac-1.key: is not 64 hexadecimal digits"],
            |folder| {
                keys(folder);
                write(folder, "keys/mac-1.key", "5e5e");
                GOOD.to_owned()
            },
        ),
        case(
            "a signing key of no algorithm",
            "9:13",
            &["names no algorithm: it should begin with"],
            |folder| {
                keys(folder);
                key(folder, "jwt-rot13-x.key", "canary");
                GOOD.to_owned()
            },
        ),
        case(
            "a signing key that is no PEM",
            "9:13",
            &["is not a PKCS#8 private key in PEM"],
            |folder| {
                keys(folder);
                key(folder, "jwt-es256-x.key", "canary");
                GOOD.to_owned()
            },
        ),
        case("a signing key of another sort", "9:13", &["keys"], |folder| {
            keys(folder);
            let rsa = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
            key(folder, "jwt-es256-x.key", rsa);
            GOOD.to_owned()
        }),
        case(
            "no key of the store",
            "9:13",
            &["store.key: is missing, although there are other keys"],
            |folder| {
                keys(folder);
                fs::remove_file(folder.join("keys/store.key")).expect("removed");
                fs::remove_file(folder.join("keys/pepper.key")).expect("removed");
                GOOD.to_owned()
            },
        ),
        case("a file for the keys", "9:13", &["[keys] directory"], |folder| {
            write(folder, "keys", "");
            GOOD.to_owned()
        }),
        case("the keys below a file", "9:13", &["[keys] directory", "file"], |folder| {
            write(folder, "file", "");
            swap("\"keys\"", "\"file/keys\"")
        }),
    ]
}

/// A store and its keys, as a keyward that ran here left them.
fn store(folder: &Path) {
    run(folder, GOOD, &["token", "list"]);
    assert!(folder.join("keyward.db").exists());
}

/// Keys alone.
fn keys(folder: &Path) {
    store(folder);
    for left in ["keyward.db", "keyward.db-wal", "keyward.db-shm"] {
        let _ = fs::remove_file(folder.join(left));
    }
}

fn key(folder: &Path, name: &str, text: &str) {
    let path = folder.join("keys").join(name);
    fs::write(&path, text).expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("chmod");
}

/// An issuer with these lines, the first of which is line 25.
fn issuer(lines: &str) -> String {
    with(&format!(
        "[[issuer]]\nname = \"idp\"\nissuer = \"https://idp.test\"\naudience = [\"a\"]\n{lines}\n"
    ))
}

fn of_issuers() -> Vec<Case> {
    vec![
        case("no key set", "25:13", &["\"none.json\" cannot be read"], |_| {
            issuer("jwks_file = \"none.json\"")
        }),
        case(
            "a key set that is no JSON",
            "25:13",
            &["[[issuer]] idp: set.json: not valid JSON"],
            |folder| {
                write(folder, "set.json", "garbage");
                issuer("jwks_file = \"set.json\"")
            },
        ),
        case(
            "a key set without a key that can be used",
            "25:13",
            &["it holds no key that can be used"],
            |folder| {
                write(folder, "set.json", r#"{"keys":[{"kty":"oct","k":"AAAA","kid":"a"}]}"#);
                issuer("jwks_file = \"set.json\"")
            },
        ),
        case("an empty key set", "25:13", &["set.json"], |folder| {
            write(folder, "set.json", r#"{"keys":[]}"#);
            issuer("jwks_file = \"set.json\"")
        }),
        case("an unreadable secret", "25:15", &["\"none\" cannot be read"], |_| {
            issuer("secret_file = \"none\"")
        }),
        case("a pipe for a secret", "25:15", &["it is a named pipe: name a file"], |folder| {
            pipe(folder, "secret");
            issuer("secret_file = \"secret\"")
        }),
        case("a pipe for a key set", "25:13", &["it is a named pipe: name a file"], |folder| {
            pipe(folder, "set.json");
            issuer("jwks_file = \"set.json\"")
        }),
        case("a folder for a secret", "25:15", &["cannot be read"], |folder| {
            fs::create_dir(folder.join("secret")).expect("made");
            issuer("secret_file = \"secret\"")
        }),
        case("an empty secret", "25:15", &["is empty"], |folder| {
            write(folder, "secret", "");
            issuer("secret_file = \"secret\"")
        }),
        case("a short secret", "25:15", &["the secret has 16 bytes"], |folder| {
            write(folder, "secret", "0123456789abcdef\n");
            issuer("secret_file = \"secret\"")
        }),
        case("no authority for a key set", "26:11", &["\"none.pem\" cannot be read"], |_| {
            issuer("jwks_url = \"https://idp.test/keys\"\nca_file = \"none.pem\"")
        }),
        case("a key set in clear", "25:12", &["is not https", "allow_insecure"], |_| {
            issuer("jwks_url = \"http://idp.test/keys\"")
        }),
        case("an unknown algorithm", "26:15", &["RS255", "there are"], |folder| {
            write(folder, "set.json", r#"{"keys":[]}"#);
            issuer("jwks_file = \"set.json\"\nalgorithms = [\"RS255\"]")
        }),
    ]
}

fn of_names() -> Vec<Case> {
    let api = "[[token_api]]\nname = \"two\"\nstyle = \"allowlist-jwt\"\nmount = \"/two\"\n";
    vec![
        typed(
            "an unknown upstream",
            "19:12",
            &["no [[upstream]] has the name \"ap\"; did you mean \"app\"?"],
            "upstream = \"app\"",
            "upstream = \"ap\"",
        ),
        typed(
            "an unknown token API",
            "20:11",
            &["has the name \"nobody\"", "api"],
            "public = true",
            "accept = [\"nobody\"]",
        ),
        typed(
            "an unknown issuer",
            "14:10",
            &["no [[issuer]] has the name \"idp\""],
            "style = \"allowlist-jwt\"\nmount = \"/api\"",
            "style = \"agent-tokens\"\nmount = \"/api\"\nissuer = \"idp\"",
        ),
        typed(
            "an unknown key",
            "20:1",
            &["unknown key \"pubic\"; did you mean \"public\"?"],
            "public",
            "pubic",
        ),
        typed(
            "an unknown table",
            "8:2",
            &["unknown key \"kees\"; did you mean \"keys\"?"],
            "[keys]",
            "[kees]",
        ),
        typed("an unknown style", "12:9", &["allowlist-jwt"], "allowlist-jwt", "allowlist"),
        typed(
            "no TOML",
            "2:",
            &["this is not TOML"],
            "address = \"127.0.0.1:0\"",
            "address = 127.0.0.1:0",
        ),
        typed(
            "an undefined variable",
            "7:8",
            &["KEYWARD_NO_SUCH_VARIABLE"],
            "keyward.db",
            "${KEYWARD_NO_SUCH_VARIABLE}",
        ),
        typed(
            "a wrong type",
            "20:10",
            &["must be true or false"],
            "public = true",
            "public = \"yes\"",
        ),
        typed("a malformed endpoint", "16:", &["127.0.0.1:1"], "http://127.0.0.1:1", "127.0.0.1:1"),
        typed("a route that says neither", "17:", &["accepts nothing"], "public = true\n", ""),
        typed(
            "nothing to listen on",
            "",
            &["no [[listener]]"],
            "[[listener]]\naddress = \"127.0.0.1:0\"\n",
            "",
        ),
        case("a value out of range", "22:", &["must be an integer from 0 to 256"], |_| {
            with("[server]\nworkers = 9999\n")
        }),
        case("a malformed duration", "22:8", &["must be a duration"], |_| {
            with("[timeouts]\nidle = \"soon\"\n")
        }),
        case("two routes for one request", "21:", &["in common with the one on line"], |_| {
            with("[[route]]\npath = \"/{*all}\"\nupstream = \"app\"\npublic = true\n")
        }),
        case("a route at a call of a token API", "22:8", &["a call of the", "\"api\""], |_| {
            let route = "[[route]]\npath = \"/api/auth/tokens\"\nupstream = \"app\"\n";
            with(&format!("{route}public = true\n"))
        }),
        case("a route at the public keys", "22:8", &["keyward's public keys"], |_| {
            let route = "[[route]]\npath = \"/.well-known/jwks.json\"\nupstream = \"app\"\n";
            with(&format!("{route}public = true\n"))
        }),
        case("two mounts at one path", "24:9", &["is taken by the [[token_api]]"], move |_| {
            with(&api.replace("/two", "/api"))
        }),
        case("two token APIs of one name", "22:8", &["is taken on line 11"], move |_| {
            with(&api.replace("two", "api"))
        }),
        case("two upstreams of one name", "22:8", &["is taken on line 15"], |_| {
            with("[[upstream]]\nname = \"app\"\nendpoints = [\"http://127.0.0.1:2\"]\n")
        }),
        case(
            "prefixes that cannot be told apart",
            "",
            &["cannot be told from \"sk-\""],
            |folder| {
                write(folder, "secret", "0123456789abcdef0123456789abcdef0123456789abcdef\n");
                let more = |name: &str, prefix: &str| {
                    format!(
                        "[[token_api]]\nname = \"{name}\"\nstyle = \"tenant-tokens\"\n\
                         mount = \"/{name}\"\n\
                     issuer = \"idp\"\nprefix = \"{prefix}\"\n"
                    )
                };
                format!(
                    "{}{}{}",
                    issuer("secret_file = \"secret\""),
                    more("one", "sk-"),
                    more("two", "sk-a")
                )
            },
        ),
        case("two headers of one name", "22:", &["an upstream could not tell them apart"], |_| {
            with("[identity_headers]\nusername = \"X-Keyward-Subject\"\n")
        }),
    ]
}

/// The configuration with a Redis that was started with these lines, and these of `[store]` after
/// its `url`, in line 9.
fn redis(
    name: &'static str,
    place: &'static str,
    words: &[&'static str],
    server: &'static str,
    lines: &'static str,
) -> Case {
    holding(name, place, words, move |_| {
        let redis = RedisServer::start_with(server);
        let store = format!("kind = \"redis\"\nurl = \"{}\"\n{lines}", redis.url());
        (swap("path = \"keyward.db\"", &store), Held { _redis: Some(redis), ..Held::default() })
    })
}

fn of_redis() -> Vec<Case> {
    const USER: &str = "user app on >right ~* &* +@all";
    vec![
        case("an unreadable password", "9:17", &["\"none\" cannot be read"], |_| {
            swap(
                "path = \"keyward.db\"",
                "kind = \"redis\"\nurl = \"redis://127.0.0.1\"\npassword_file = \"none\"",
            )
        }),
        redis(
            "a wrong password",
            "8:7",
            &["[store]", "WRONGPASS", "correct \"username\" and \"password\""],
            USER,
            "username = \"app\"\npassword = \"wrong\"",
        ),
        redis(
            "a wrong ACL",
            "8:7",
            &["[store]", "right to", "ACL rule"],
            "user app on >right ~* &* +@all -publish",
            "username = \"app\"\npassword = \"right\"",
        ),
        redis(
            "an ACL without keys",
            "8:7",
            &["[store]"],
            "user app on >right ~other:* &* +@all",
            "username = \"app\"\npassword = \"right\"",
        ),
        redis(
            "a Redis that may evict",
            "8:7",
            &["maxmemory-policy is allkeys-lru, wanted is noeviction"],
            "maxmemory-policy allkeys-lru",
            "",
        ),
        redis(
            "a Redis that forgets",
            "8:7",
            &["persistence is none", "allow_volatile"],
            "appendonly no",
            "",
        ),
        redis(
            "replicas that are not there",
            "8:7",
            &["revoke_acks = 2 asks for more replicas"],
            "",
            "revoke_acks = 2",
        ),
        redis("no Cluster", "8:7", &["[store]"], "", "topology = \"cluster\""),
        case("a Redis of no topology", "8:7", &["lists several servers"], |_| {
            swap("path = \"keyward.db\"", "kind = \"redis\"\nurl = [\"redis://a\", \"redis://b\"]")
        }),
        typed(
            "a path for a Redis",
            "8:",
            &["\"path\" is for \"kind\" \"embedded\""],
            "path = \"keyward.db\"",
            "kind = \"redis\"\npath = \"a\"\nurl = \"redis://a\"",
        ),
    ]
}

/// What is in a folder, but for the files of locks and what a case holds open.
fn listing(folder: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(at) = folders.pop() {
        for entry in fs::read_dir(&at).expect("a folder").flatten() {
            let path = entry.path();
            let name = path.strip_prefix(folder).expect("inside").display().to_string();
            if path.is_dir() {
                folders.push(path);
            }
            if !name.ends_with(".lock") && !name.starts_with("std") {
                found.insert(name);
            }
        }
    }
    found
}

fn run(folder: &Path, text: &str, arguments: &[&str]) -> Output {
    write(folder, "keyward.toml", text);
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_keyward"))
        .args(arguments)
        .args(["-c", "keyward.toml"])
        .current_dir(folder)
        .output();
    output.expect("it runs")
}

/// What was said, without the lines of the log.
fn said(output: &Output) -> BTreeSet<String> {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let is_said = |line: &&str| !line.starts_with('{') && !line.contains(": warning: ");
    text.lines().filter(is_said).map(str::to_owned).collect()
}

fn cases() -> Vec<Case> {
    let all = [of_tls(), of_addresses(), of_files(), of_issuers(), of_names(), of_redis()];
    all.into_iter().flatten().collect()
}

#[test]
fn validate_and_run_say_the_same_of_whatever_is_broken_and_nothing_starts_half() {
    let cases = cases();
    assert!(cases.len() >= 60, "{}", cases.len());
    let mut wrong = Vec::new();
    for Case { name, breaks, place, words } in cases {
        let folder = tempfile::Builder::new().prefix("kw").tempdir().expect("a folder");
        let folder = folder.path();
        let (text, _held) = breaks(folder);
        write(folder, "keyward.toml", &text);
        let before = listing(folder);
        let mut check = |holds: bool, what: String| {
            if !holds {
                wrong.push(format!("{name}: {what}"));
            }
        };
        let validated = run(folder, &text, &["validate"]);
        let after_validate = listing(folder);
        check(
            after_validate == before,
            format!("validate leaves {after_validate:?} of {before:?}"),
        );
        let ran = run_to_its_end(folder);
        let after = listing(folder);
        check(after == before, format!("run leaves {after:?} of {before:?}"));
        for (command, output) in [("validate", &validated), ("run", &ran)] {
            check(
                output.status.code() == Some(1),
                format!("{command} ends with {}", output.status),
            );
            check(
                output.stdout.is_empty(),
                format!("{command} says {:?}", String::from_utf8_lossy(&output.stdout)),
            );
        }
        let (one, other) = (said(&validated), said(&ran));
        check(one == other, format!("validate says {one:#?}, run says {other:#?}"));
        let whole: Vec<&str> = one.iter().map(String::as_str).collect();
        let whole = whole.join("\n");
        for word in words {
            check(whole.contains(word), format!("{word:?} is missing in {whole}"));
        }
        check(
            whole.contains(&format!("keyward.toml:{place}")),
            format!("{place:?} is not the place of {whole}"),
        );
        check(
            !one.is_empty() && one.iter().all(|line| line.starts_with("keyward.toml:")),
            format!("no file: {whole}"),
        );
        check(!whole.contains("canary"), format!("a secret is said: {whole}"));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// `run` on the configuration of a folder, which must end by itself.
fn run_to_its_end(folder: &Path) -> Output {
    let (stdout, stderr) = (
        tempfile::NamedTempFile::new().expect("a file"),
        tempfile::NamedTempFile::new().expect("a file"),
    );
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_keyward"))
        .args(["run", "-c", "keyward.toml"])
        .current_dir(folder)
        .stdout(stdout.reopen().expect("a handle"))
        .stderr(stderr.reopen().expect("a handle"))
        .spawn()
        .expect("it starts");
    let mut status = None;
    let is_over = eventually(|| {
        status = child.try_wait().expect("our child");
        // One that serves will not end: there is no need to wait for that.
        status.is_some()
            || fs::read_to_string(stderr.path()).is_ok_and(|text| text.contains("\"started\""))
    });
    let _ = child.kill();
    let ended = child.wait().expect("our child");
    assert!(is_over, "it neither starts nor ends");
    let read = |file: &tempfile::NamedTempFile| fs::read(file.path()).expect("read");
    Output { status: status.unwrap_or(ended), stdout: read(&stdout), stderr: read(&stderr) }
}

#[test]
fn what_is_good_is_valid_without_a_trace_and_runs() {
    let folder = tempfile::Builder::new().prefix("kw").tempdir().expect("a folder");
    let folder = folder.path();
    write(folder, "keyward.toml", GOOD);
    let before = listing(folder);
    let validated = run(folder, GOOD, &["validate"]);
    assert_eq!(validated.status.code(), Some(0), "{}", String::from_utf8_lossy(&validated.stderr));
    assert_eq!(listing(folder), before);
    let ran = run_to_its_end(folder);
    assert!(
        String::from_utf8_lossy(&ran.stderr).contains("\"started\""),
        "{}",
        String::from_utf8_lossy(&ran.stderr)
    );
}

#[test]
fn what_can_be_served_and_is_probably_not_meant_is_a_warning_of_both() {
    let folder = tempfile::Builder::new().prefix("kw").tempdir().expect("a folder");
    let folder = folder.path();
    keys(folder);
    key(folder, "old.key", "canary");
    let certificate = |name: &str, from: i32, until: i32| {
        let mut params = rcgen::CertificateParams::new([format!("{name}.test")]).expect("a name");
        params.not_before = rcgen::date_time_ymd(from, 1, 1);
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        let key = rcgen::KeyPair::generate().expect("a key");
        let made = params.self_signed(&key).expect("a certificate");
        write(folder, &format!("{name}.pem"), made.pem());
        write(folder, &format!("{name}.key"), key.serialize_pem());
        let path = folder.join(format!("{name}.key"));
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("chmod");
    };
    certificate("a", 2001, 2002);
    certificate("b", 2901, 2902);
    let text = listener(
        "tls = [{ certificate = \"a.pem\", key = \"a.key\" }, { certificate = \"b.pem\", \
         key = \"b.key\" }]",
    );
    let validated = run(folder, &text, &["validate"]);
    assert_eq!(validated.status.code(), Some(0));
    let ran = run_to_its_end(folder);
    for output in [validated, ran] {
        let words = String::from_utf8_lossy(&output.stderr).replace('\\', "");
        for part in [
            "keyward.toml:3:24: \"certificate\": \"a.pem\" expired on 2002-01-01T00:00:00Z",
            "keyward.toml:3:66: \"certificate\": \"b.pem\" is not valid before 2901-01-01T00:00:00",
            "keys/old.key is not used",
        ] {
            assert!(words.contains(part), "{part} in {words}");
        }
        assert!(!words.contains("canary"));
    }
}

/// What is wrong with each of several things is said in one go.
#[test]
fn faults_that_show_only_when_files_are_used_are_all_said_at_once() {
    let folder = tempfile::Builder::new().prefix("kw").tempdir().expect("a folder");
    let folder = folder.path();
    let (_program, port) = program("127.0.0.1");
    write(folder, "file", "");
    write(folder, "set.json", "garbage");
    let text = swap("127.0.0.1:0", &format!("127.0.0.1:{port}"))
        .replace("admin.sock", "file/admin.sock")
        .replace("\"keyward.db\"", "\"file/keyward.db\"");
    let issuer = "[[issuer]]\nname = \"idp\"\nissuer = \"https://idp.test\"\naudience = [\"a\"]\n\
                  jwks_file = \"set.json\"\n";
    let text = format!("{text}[log]\naccess = \"none/access.log\"\n{issuer}");
    let validated = run(folder, &text, &["validate"]);
    let places: Vec<String> = String::from_utf8_lossy(&validated.stderr)
        .lines()
        .filter_map(|line| Some(line.strip_prefix("keyward.toml:")?.split(": ").next()?.to_owned()))
        .collect();
    assert_eq!(
        places,
        ["2:11", "5:10", "7:8", "22:10", "27:13"],
        "{}",
        String::from_utf8_lossy(&validated.stderr)
    );
    assert_eq!(said(&run_to_its_end(folder)), said(&validated));
}

#[test]
fn beside_a_running_keyward_of_the_same_configuration_what_that_one_holds_is_no_fault() {
    let upstream = Upstream::start();
    let plan = Plan::usual(&upstream);
    let world = plan.clone().start();
    let notes = |output: &Output| String::from_utf8_lossy(&output.stderr).into_owned();
    let validated = world.run(&["validate"]);
    assert_eq!(validated.status.code(), Some(0), "{}", notes(&validated));
    let pid = world.pid().as_raw_nonzero();
    for held in [
        world.address().to_string(),
        world.admin_address().to_string(),
        "admin.sock".into(),
        "keyward.db".into(),
    ] {
        let note =
            format!("{held} is in use by a running keyward of this configuration (process {pid})");
        assert!(notes(&validated).contains(&note), "{note}: {}", notes(&validated));
    }
    // It goes on serving, and its listener may move.
    assert_eq!(world.ask("GET", "/public/x", "", "").status, 200);
    let path = world.folder().join("keyward.toml");
    let text = fs::read_to_string(&path).expect("read");
    let moved =
        text.replace(&world.address().to_string(), &format!("0.0.0.0:{}", world.address().port()));
    world.configure_raw(&moved);
    assert_eq!(world.run(&["validate"]).status.code(), Some(0));
    // What another program holds is a fault all the same.
    let (_program, port) = program("127.0.0.1");
    world.configure(&plan.table("listener", &format!("address = \"127.0.0.1:{port}\"")));
    let refused = world.run(&["validate"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        notes(&refused).contains(&format!("another program has port {port}")),
        "{}",
        notes(&refused)
    );
}

/// Another configuration that names the same store is no reload of the running one.
#[test]
fn a_store_that_another_keyward_has_open_is_a_fault() {
    let upstream = Upstream::start();
    let world = Plan::usual(&upstream).start();
    let other = Plan::usual(&upstream).set("admin", "address", "\"off\"").set(
        "admin",
        "socket",
        "\"second.sock\"",
    );
    world.write("second.toml", &other);
    for command in ["validate", "run"] {
        let output = world.run_on("second.toml", &[command]);
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{command}: {words}");
        assert!(
            words.contains("second.toml:") && words.contains("another keyward is using the store"),
            "{command}: {words}"
        );
    }
    assert_eq!(world.ask("GET", "/public/x", "", "").status, 200);
}

/// The one difference: `run` waits for a Redis that is away, lets nobody through and says why;
/// `validate` refuses.
#[test]
fn a_redis_that_cannot_be_reached_is_named_by_both() {
    let upstream = Upstream::start();
    let port = free_port();
    let mut world = Plan::usual(&upstream).redis(&format!("redis://127.0.0.1:{port}")).prepare();
    let validated = world.run(&["validate"]);
    let words = String::from_utf8_lossy(&validated.stderr).into_owned();
    assert_eq!(validated.status.code(), Some(1), "{words}");
    let fault = format!("127.0.0.1:{port} cannot be reached");
    assert!(
        words.contains("keyward.toml:")
            && words.contains(&fault)
            && words.contains("start it, or correct"),
        "{words}"
    );
    world.launch();
    assert!(
        eventually(|| world.output().contains(&fault) && world.ready() == Some(503)),
        "{}",
        world.output()
    );
}

/// The words in the log are those of `validate`, and nothing has changed.
#[test]
fn a_reload_is_judged_as_validate_judges() {
    let upstream = Upstream::start();
    let plan = Plan::usual(&upstream);
    let world = plan.clone().start();
    let folder = world.folder();
    pair(folder, "a");
    pair(folder, "b");
    write(folder, "set.json", "garbage");
    let (_program, port) = program("127.0.0.1");
    let file = |name: &str| format!("\"{}\"", folder.join(name).display());
    let idp = "name = \"idp\"\nissuer = \"https://idp.test\"\naudience = [\"a\"]";
    let app = "name = \"tls\"\nendpoints = [\"https://a.test\"]";
    for (table, lines) in [
        ("listener", format!("address = \"127.0.0.1:{port}\"")),
        (
            "listener",
            format!(
                "address = \"127.0.0.1:0\"\ntls = {{ certificate = {}, key = {} }}",
                file("a.pem"),
                file("b.key")
            ),
        ),
        ("issuer", format!("{idp}\njwks_file = {}", file("set.json"))),
        ("issuer", format!("{idp}\nsecret_file = {}", file("none"))),
        ("upstream", format!("{app}\ntls = {{ ca_file = {} }}", file("none"))),
        ("route", "path = \"/x\"\nupstream = \"nobody\"\npublic = true".to_owned()),
    ] {
        world.configure(&plan.clone().table(table, &lines));
        let validated = world.run(&["validate"]);
        assert_eq!(validated.status.code(), Some(1), "{lines}");
        let faults: Vec<String> =
            said(&validated).into_iter().filter(|line| !line.starts_with("keyward: ")).collect();
        assert!(!faults.is_empty());
        world.reload();
        for fault in faults {
            assert!(is_logged(&world, &fault), "{fault} is missing in {}", world.output());
        }
    }
    assert_eq!(world.metric("keyward_config_reloads_total", "outcome=\"refused\""), 6.0);
    assert_eq!(world.ask("GET", "/public/x", "", "").status, 200);
}

/// Whether a line of the log has these words in one of its fields.
fn is_logged(world: &World, words: &str) -> bool {
    fn holds(value: &serde_json::Value, words: &str) -> bool {
        match value {
            serde_json::Value::String(text) => text.contains(words),
            serde_json::Value::Object(fields) => fields.values().any(|value| holds(value, words)),
            _ => false,
        }
    }
    let output = world.output();
    let mut lines = output.lines().filter_map(|line| serde_json::from_str(line).ok());
    lines.any(|line| holds(&line, words))
}

/// A start waits for it, and says with file and line for what.
#[test]
fn a_start_that_waits_for_redis_says_so_in_the_words_of_validate() {
    let upstream = Upstream::start();
    let mut world = Plan::usual(&upstream).redis("redis://127.0.0.1:1").launch();
    assert!(eventually(|| world.output().contains("the store cannot be reached yet")));
    let validated = world.run(&["validate"]);
    assert_eq!(validated.status.code(), Some(1));
    let faults = said(&validated);
    let fault = faults.iter().find(|line| line.contains("127.0.0.1:1")).expect("it is named");
    assert!(fault.contains("start it, or correct"), "{fault}");
    assert!(is_logged(&world, fault), "{fault} is missing in {}", world.output());
    assert!(!world.has_ended());
}
