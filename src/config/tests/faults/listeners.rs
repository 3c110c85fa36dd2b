//! Listeners: addresses, Unix sockets, the PROXY protocol.

use super::*;

#[test]
fn addresses_are_whole_and_taken_once() {
    expect(
        "[[listener]]\naddress = ':8080'\n[[listener]]\naddress = '127.0.0.1'\n[[listener]]\n\
         address = 'localhost:80'\n\
         [[listener]]\naddress = '[::ffff:127.0.0.1]:8080'\n[[listener]]\naddress = '[::1]:8080'\n\
         [admin]\naddress = '127.0.0.1:8080'\nsocket = ''\n",
        &[
            "2:11: \"address\" must be an IP address with a port, as in \"127.0.0.1:8080\" \
             or \"[::1]:8080\", or a Unix socket, as in \"unix:/run/keyward.sock\", \
             found \":8080\": for all addresses write \"0.0.0.0:8080\" or \"[::]:8080\"",
            "4:11: \"address\" must be an IP address with a port, as in \"127.0.0.1:8080\" \
             or \"[::1]:8080\", or a Unix socket, as in \"unix:/run/keyward.sock\", \
             found \"127.0.0.1\": it has no port",
            "6:11: \"address\" must be an IP address with a port, as in \"127.0.0.1:8080\" \
             or \"[::1]:8080\", or a Unix socket, as in \"unix:/run/keyward.sock\", \
             found \"localhost:80\"",
            "8:11: \"address\" [::ffff:127.0.0.1]:8080 is taken by the [[listener]] on line 2 \
             (127.0.0.1:8080)",
            "12:11: [admin] address 127.0.0.1:8080 is that of the [[listener]] on line 2 \
             (127.0.0.1:8080): health and metrics are not public; give them another port",
            "13:10: \"socket\" must be the path of a Unix socket, found \"\": it is empty",
        ],
    );
    // A connection belongs to the most specific address; health and metrics are beside none of
    // them.
    let listener = |ip: &str| format!("[[listener]]\naddress = '{ip}:8080'\n");
    expect(&[listener("0.0.0.0"), listener("[::]"), listener("10.0.0.1")].concat(), &[]);
    let line = SMALL.lines().count() + 2;
    for wild in ["0.0.0.0", "[::]"] {
        expect(
            &format!("[[listener]]\naddress = '{wild}:9090'\n"),
            &[&format!(
                "2:11: [admin] address 127.0.0.1:9090 is that of the [[listener]] on line {line} \
                 ({wild}:9090): health and \
                 metrics are not public; give them another port"
            )],
        );
    }
    let long = "s".repeat(108);
    expect(
        &format!("[admin]\nsocket = '{long}'\n"),
        &[&format!(
            "2:10: \"socket\" must be the path of a Unix socket, found \"{}\"…: it is longer than \
             107 bytes",
            "s".repeat(80)
        )],
    );
}

#[test]
fn a_listener_on_a_unix_socket_has_a_path_of_its_own_and_no_tls() {
    expect(
        "[[listener]]\naddress = 'unix:/run/a.sock'\nmode = '660'\ntls = []\n\
         [[listener]]\naddress = 'unix:///run/a.sock'\nmode = '0688'\n\
         proxy_protocol = 'required'\ntrusted_proxies = ['::1']\n\
         [[listener]]\naddress = '127.0.0.1:1'\nmode = '0660'\ntrusted_proxies = ['unix']\n\
         [[listener]]\naddress = 'unix:a.sock'\n[[listener]]\naddress = '/run/b.sock'\n\
         [admin]\nsocket = '/run/a.sock'\n",
        &[
            "4:7: \"tls\" must be { certificate = \"…\", key = \"…\" } or an array of those (left \
             out for plain HTTP), found an empty array",
            "4:7: TLS is not spoken on Unix sockets: nothing that is sent there leaves the machine",
            "6:11: \"address\" unix:/run/a.sock is taken by the [[listener]] on line 15 \
             (unix:/run/a.sock)",
            "7:8: \"mode\" must be three octal digits, as in \"0660\", found \"0688\"",
            "9:19: \"proxy_protocol\" \"required\" on a Unix socket needs \"unix\" \
             in \"trusted_proxies\": otherwise no client could connect",
            "12:8: \"mode\" is for the file of a Unix socket: \"address\" is none",
            "13:20: \"unix\" is for a [[listener]] on a Unix socket: peers of this one have \
             addresses",
            "15:11: \"address\" must be an IP address with a port, as in \"127.0.0.1:8080\" \
             or \"[::1]:8080\", or a Unix socket, as in \"unix:/run/keyward.sock\", \
             found \"unix:a.sock\": the path of a Unix socket is absolute, as \
             in \"unix:/run/app.sock\"",
            "17:11: \"address\" must be an IP address with a port, as in \"127.0.0.1:8080\" \
             or \"[::1]:8080\", or a Unix socket, as in \"unix:/run/keyward.sock\", \
             found \"/run/b.sock\": for a Unix socket write \"unix:/run/b.sock\"",
            "19:10: [admin] socket is that of the [[listener]] on line 15: whoever reaches it \
             administers keyward",
        ],
    );
}

#[test]
fn the_proxy_protocol_needs_trusted_proxies() {
    expect(
        "[[listener]]\naddress = '127.0.0.1:1'\nproxy_protocol = 'required'\n\
         [[listener]]\naddress = '127.0.0.1:2'\nproxy_protocol = 'required'\n\
         trusted_proxies = ['10.0.0.1/8']\n",
        &[
            "3:18: \"proxy_protocol\" \"required\" needs \"trusted_proxies\": otherwise no client \
             could connect",
            "7:20: each item of \"trusted_proxies\" must be an IP address, a network, as \
             in \"10.0.0.0/8\", or \"unix\", found \"10.0.0.1/8\": its address has bits behind the \
             prefix; the network is 10.0.0.0/8",
        ],
    );
}
