//! Addresses of listeners and of the admin listener that cannot be listened on.

use std::fs;
use std::os::unix::net::UnixListener;

use crate::support::redis::free_port;

use super::case::{Case, case, holding, program, swap, typed, write};

/// A listener on this address, whose port a program on the other one has.
fn taken(name: &'static str, wanted: &'static str, by: &'static str) -> Case {
    let words = [
        "\"address\" ",
        " cannot be listened on: another program has port ",
        "stop it, or take another port",
    ];
    holding(name, "2:11", &words, move |_| {
        let (program, port) = program(by);
        (swap("127.0.0.1:0", &format!("{wanted}:{port}")), program)
    })
}

pub(super) fn cases() -> Vec<Case> {
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
                (swap("\"off\"", &format!("\"127.0.0.1:{port}\"")), program)
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
                let held = UnixListener::bind(&path).expect("bound");
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
