//! One broken configuration: how it is made from a working one, and what must be said of it.

use std::any::Any;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use crate::support::redis::free_port;

/// The working configuration that each case changes; its paths are relative to the case's folder.
pub(super) const GOOD: &str = r#"[[listener]]
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

/// Prepares a folder, and returns the configuration and what must stay open during the case.
type Prepare = Box<dyn Fn(&Path) -> (String, Box<dyn Any>)>;

/// A configuration or a file that must be refused.
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) prepare: Prepare,
    /// Line and column of the fault; empty: the fault is about the whole file.
    pub(super) place: &'static str,
    /// Parts that the messages contain.
    pub(super) words: Vec<&'static str>,
}

/// A case of files and of the configuration, which the closure returns.
pub(super) fn case(
    name: &'static str,
    place: &'static str,
    words: &[&'static str],
    prepare: impl Fn(&Path) -> String + 'static,
) -> Case {
    holding(name, place, words, move |folder| (prepare(folder), ()))
}

/// A case with something that must stay open until the case is over.
pub(super) fn holding<H: Any>(
    name: &'static str,
    place: &'static str,
    words: &[&'static str],
    prepare: impl Fn(&Path) -> (String, H) + 'static,
) -> Case {
    let prepare = move |folder: &Path| {
        let (text, held) = prepare(folder);
        (text, Box::new(held) as Box<dyn Any>)
    };
    Case { name, prepare: Box::new(prepare), place, words: words.to_vec() }
}

/// A case of the configuration alone: one part of it is replaced.
pub(super) fn typed(
    name: &'static str,
    place: &'static str,
    words: &[&'static str],
    old: &'static str,
    new: &'static str,
) -> Case {
    case(name, place, words, move |_| swap(old, new))
}

/// The working configuration with one part replaced.
pub(super) fn swap(old: &str, new: &str) -> String {
    assert!(GOOD.contains(old), "{old}");
    GOOD.replacen(old, new, 1)
}

/// The working configuration with another line in its listener, line 3.
pub(super) fn listener(line: &str) -> String {
    swap("address = \"127.0.0.1:0\"\n", &format!("address = \"127.0.0.1:0\"\n{line}\n"))
}

/// The working configuration with more tables at its end, from line 21 on.
pub(super) fn with(more: &str) -> String {
    format!("{GOOD}{more}")
}

pub(super) fn write(folder: &Path, name: &str, text: impl AsRef<[u8]>) {
    fs::write(folder.join(name), text).expect("written");
}

/// Writes a certificate and its key as `NAME.pem` and `NAME.key`, and returns both.
pub(super) fn pair(folder: &Path, name: &str) -> (String, String) {
    let made = rcgen::generate_simple_self_signed([format!("{name}.test")]).expect("a certificate");
    let (pem, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    write(folder, &format!("{name}.pem"), &pem);
    write(folder, &format!("{name}.key"), &key);
    (pem, key)
}

/// A named pipe that no process has open.
pub(super) fn pipe(folder: &Path, name: &str) {
    let path = folder.join(name);
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, mode).expect("made");
}

/// A listener of another program, and its port.
pub(super) fn program(ip: &str) -> (TcpListener, u16) {
    let listener = TcpListener::bind(SocketAddr::new(ip.parse().expect("an address"), free_port()))
        .expect("bound");
    let port = listener.local_addr().expect("it is bound").port();
    (listener, port)
}

/// An issuer with these lines, the first of which is line 25.
pub(super) fn issuer(lines: &str) -> String {
    with(&format!(
        "[[issuer]]\nname = \"idp\"\nissuer = \"https://idp.test\"\naudience = [\"a\"]\n{lines}\n"
    ))
}
