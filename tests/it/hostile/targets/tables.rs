//! Targets with the same outcome, and those that have a normal form with it.

pub(super) const LONG: &str = concat!(
    "/public/",
    "abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz0123456789",
    "abcdefghijklmnopqrstuvwxyz0123456789/",
    "abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz0123456789",
    "abcdefghijklmnopqrstuvwxyz0123456789/",
    "abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz0123456789",
    "abcdefghijklmnopqrstuvwxyz0123456789"
);

/// A target as it is sent and its normal form.
pub(super) struct Pair(pub(super) &'static str, pub(super) &'static str);

impl std::fmt::Display for Pair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

/// What has one meaning, and its normal form.
pub(super) const NORMALISED: [(&str, Pair); 34] = [
    ("an encoded letter is decoded", Pair("/public/%78", "/public/x")),
    ("an encoded upper-case letter", Pair("/public/%41b", "/public/Ab")),
    ("an encoded digit", Pair("/public/%30", "/public/0")),
    ("an encoded tilde", Pair("/public/%7Euser", "/public/~user")),
    ("an encoded tilde in lower-case hex", Pair("/public/%7euser", "/public/~user")),
    ("an encoded hyphen and underscore", Pair("/public/%2D%5F", "/public/-_")),
    ("an encoded letter in the route's own name", Pair("/%70ublic/x", "/public/x")),
    ("lower-case hex becomes upper-case", Pair("/public/%c3%a4", "/public/%C3%A4")),
    ("mixed hex", Pair("/public/%c3%A4", "/public/%C3%A4")),
    ("an encoded space stays encoded", Pair("/public/a%20b", "/public/a%20b")),
    ("an encoded question mark stays encoded", Pair("/public/a%3fb", "/public/a%3Fb")),
    ("an encoded number sign stays encoded", Pair("/public/a%23b", "/public/a%23b")),
    ("an encoded percent sign stays encoded", Pair("/public/a%25b", "/public/a%25b")),
    (
        "an encoded percent sign before 2f stays one (no second decoding)",
        Pair("/public/a%252fb", "/public/a%252fb"),
    ),
    // What the WHATWG URL standard leaves as it is in a path, and clients hence send.
    ("a bar", Pair("/public/a|b", "/public/a%7Cb")),
    ("an encoded bar", Pair("/public/a%7Cb", "/public/a%7Cb")),
    ("an encoded bar in lower-case hex", Pair("/public/a%7cb", "/public/a%7Cb")),
    ("a caret", Pair("/public/a^b", "/public/a%5Eb")),
    ("an encoded caret", Pair("/public/a%5eb", "/public/a%5Eb")),
    ("JSON", Pair("/public/{\"a\":1}", "/public/%7B%22a%22:1%7D")),
    ("encoded JSON", Pair("/public/%7b%22a%22%3a1%7d", "/public/%7B%22a%22%3A1%7D")),
    ("an encoded backtick", Pair("/public/a%60b", "/public/a%60b")),
    ("encoded angle brackets", Pair("/public/%3cb%3e", "/public/%3Cb%3E")),
    ("a bar behind a route's name that comes back", Pair("/private/|/../../public/x", "/public/x")),
    ("a bar that is removed", Pair("/public/|/../x", "/public/x")),
    ("two dots and a bar are a name", Pair("/public/..|/x", "/public/..%7C/x")),
    ("brackets", Pair("/public/a[0]", "/public/a[0]")),
    ("a dot segment", Pair("/public/./x", "/public/x")),
    ("two dots inside the route", Pair("/public/a/../x", "/public/x")),
    ("two dots that come back", Pair("/private/../public/x", "/public/x")),
    ("three dots are a name", Pair("/public/.../x", "/public/.../x")),
    ("a name that starts with two dots", Pair("/public/..x", "/public/..x")),
    ("two slashes at the start", Pair("//public/x", "/public/x")),
    ("many slashes at the start", Pair("///public/x", "/public/x")),
];

/// What different servers read in different ways.
pub(super) const AMBIGUOUS: [(&str, &str); 27] = [
    ("two slashes", "/public//x"),
    ("two slashes at the end", "/public/x//"),
    ("an encoded slash", "/public/a%2fb"),
    ("an encoded slash in upper case", "/public/a%2Fb"),
    ("an encoded slash that climbs", "/public%2f..%2fprivate/x"),
    ("an encoded slash behind dots", "/public/..%2fprivate/x"),
    ("an encoded slash before the route's name", "/%2fpublic/x"),
    ("an encoded backslash", "/public/a%5cb"),
    ("an encoded backslash in upper case", "/public/a%5Cb"),
    ("an encoded backslash that climbs", "/public/..%5cprivate/x"),
    ("a backslash", "/public/a\\b"),
    ("a backslash that climbs", "/public/..\\private/x"),
    ("an encoded NUL", "/public/a%00b"),
    ("an encoded NUL at the end", "/public/x%00"),
    ("two dots with a parameter", "/public/..;/private/x"),
    ("two dots with a named parameter (CVE-2026-73551)", "/public/..;foo=bar/private/x"),
    ("encoded dots with a parameter", "/public/%2e%2e;/private/x"),
    ("two dots with an encoded semicolon", "/public/..%3b/private/x"),
    ("one dot with a parameter", "/public/.;/../private/x"),
    ("a percent sign with no hex", "/public/%zz"),
    ("a percent sign with half a hex", "/public/%2"),
    ("a percent sign at the end", "/public/%"),
    ("a percent sign with an odd second digit", "/public/%2g"),
    ("a percent sign before another", "/public/%%41"),
    ("a percent sign and u", "/public/%u0041"),
    ("an overlong slash in UTF-8 that climbs", "/public/..%2f%c0%af/private/x"),
    ("an encoded slash with a token in the query", "/public%2fx?access_token=x"),
];

/// Paths to the guarded route, in any spelling, without a token.
pub(super) const GUARDED: [(&str, &str); 26] = [
    ("the guarded route", "/private/x"),
    ("two dots (CVE-2026-33494)", "/public/../private/x"),
    ("two dots twice", "/public/a/../../private/x"),
    ("encoded dots", "/public/%2e%2e/private/x"),
    ("encoded dots in upper case", "/public/%2E%2E/private/x"),
    ("half-encoded dots", "/public/.%2e/private/x"),
    ("the other half", "/public/%2e./private/x"),
    ("dots behind two slashes", "/public//../private/x"),
    ("dots behind a dot", "/public/./../private/x"),
    ("dots behind an encoded dot", "/public/%2e/../private/x"),
    ("an encoded letter in the route's name", "/%70rivate/x"),
    ("two slashes at the start", "//private/x"),
    ("a dot at the start", "/./private/x"),
    ("an encoded dot at the start", "/%2e/private/x"),
    ("a query that looks public (CVE-2025-54576)", "/private/x?/public/"),
    ("a query with a path", "/private/x?x=/public/x"),
    ("a public name below it", "/private/public/x"),
    ("dots in the query", "/private/x?/../public/x"),
    ("a parameter", "/private/x;/public/y"),
    ("an asterisk (CVE-2025-46821)", "/private/*"),
    ("a token in the query", "/private/x?access_token=@TOKEN@"),
    ("a bar below it", "/private/a|b"),
    ("JSON below it", "/private/{\"a\":1}"),
    ("dots behind a bar", "/public/|/../../private/x"),
    ("dots behind a caret and braces", "/public/^{}/../../private/x"),
    ("every mark", "/private/!$&'()+,:=@"),
];

/// What leads to no route at all.
pub(super) const NOT_THERE: [(&str, &str); 15] = [
    ("the root", "/"),
    ("another name", "/other"),
    ("another name below the root", "/other/public/x"),
    ("the route's name in upper case", "/PUBLIC/x"),
    ("the guarded route's name in upper case", "/PRIVATE/x"),
    ("the route's name with more behind", "/publicx/x"),
    ("the route's name with a parameter", "/public;a/x"),
    ("two dots above the root", "/../public/../../etc/passwd"),
    ("two dots at the end", "/public/.."),
    ("two encoded dots at the end", "/public/%2e%2e"),
    ("two dots to the root", "/public/x/../.."),
    ("the liveness page is not public", "/livez"),
    ("the metrics are not public", "/metrics"),
    ("the readiness page is not public", "/readyz"),
    ("the pattern itself", "/{*rest}"),
];

/// What may be refused, and its normal form if it is not.
pub(super) const EITHER: [(&str, &str, &str); 17] = [
    ("dots above the root", "/../public/x", "/public/x"),
    ("an asterisk", "/public/*", "/public/*"),
    ("a parameter", "/public/x;a=b", "/public/x;a=b"),
    ("every other mark", "/public/!$&'()+,:=@", "/public/!$&'()+,:=@"),
    ("an encoded DEL", "/public/%7f", "/public/%7F"),
    ("an encoded CR and LF", "/public/%0d%0a", "/public/%0D%0A"),
    ("an overlong slash in UTF-8", "/public/%c0%af", "/public/%C0%AF"),
    ("a byte that is no UTF-8", "/public/%ff", "/public/%FF"),
    ("an encoded semicolon", "/public/a%3bb", "/public/a%3Bb"),
    ("an empty query", "/public/x?", "/public/x?"),
    ("two question marks", "/public/x??", "/public/x??"),
    ("an odd percent sign in the query", "/public/x?a=%zz", "/public/x?a=%zz"),
    ("an encoded slash in the query", "/public/x?a=%2f", "/public/x?a=%2f"),
    ("an encoded NUL in the query", "/public/x?a=%00", "/public/x?a=%00"),
    ("braces in the query", "/public/x?a={b}", "/public/x?a={b}"),
    ("a bar and a caret in the query", "/public/x?a=|^", "/public/x?a=|^"),
    ("a backslash in the query", "/public/x?a=\\", "/public/x?a=\\"),
];

/// Bytes that have no place in a target.
pub(super) const BAD_BYTES: [(&str, &[u8]); 21] = [
    ("a fragment (CVE-2021-32779)", b"/public/x#y"),
    ("a fragment behind a query", b"/public/x?a=b#y"),
    ("a fragment that climbs", b"/public/#/../private/x"),
    ("a fragment at once", b"#"),
    // The WHATWG URL standard has them encoded, and hyper takes them in no version.
    ("a backtick in the path", b"/public/a`b"),
    ("a less-than sign in the path", b"/public/a<b"),
    ("a greater-than sign in the path", b"/public/a>b"),
    ("a NUL in the path", b"/public/\0x"),
    ("a bell in the path", b"/public/\x07x"),
    ("an escape in the path", b"/public/\x1bx"),
    ("a DEL in the path", b"/public/\x7fx"),
    ("a tab in the path", b"/public/a\tb"),
    ("a vertical tab in the path", b"/public/a\x0bb"),
    ("a bare CR in the path", b"/public/a\rb"),
    ("a bare LF in the path", b"/public/a\nb"),
    ("an 8-bit byte in the path", b"/public/\xe4"),
    ("UTF-8 in the path", b"/public/\xc3\xa4"),
    ("an overlong slash, raw", b"/public/..\xc0\xafprivate"),
    ("an 8-bit byte in the query", b"/public/x?\xe4"),
    ("a NUL in the query", b"/public/x?\0"),
    ("a bell in the query", b"/public/x?\x07"),
];
