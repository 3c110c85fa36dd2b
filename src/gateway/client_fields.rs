//! The fields in which a client could tell the upstream of another request than the one that
//! keyward has judged: of another path, method, host, scheme, address or caller. Servers and
//! frameworks read them because a proxy in front of them sets them, and most do so by default or
//! where a program is told once to trust its proxy, which is keyward.
//!
//! docs/security.md lists them, and a test compares that list with these.

/// Of the path: only keyward says which one has been judged, so they are taken from everybody.
///
/// `SCRIPT_NAME` and `PATH_INFO` are `forwarder_headers` of gunicorn, which takes them from
/// 127.0.0.1 and Unix sockets. `X-Script-Name` is read by `mod_wsgi` and middleware of WSGI;
/// `X-Original-URL` and `X-Rewrite-URL`, of IIS, by frameworks of PHP (CVE-2018-14773); the other
/// `X-Original-…` are what nginx tells a server of authentication; `X-Envoy-Original-Path`:
/// CVE-2023-27487.
pub(super) const OF_THE_PATH: [&str; 10] = [
    "script-name",
    "path-info",
    "x-script-name",
    "x-original-url",
    "x-original-uri",
    "x-original-path",
    "x-original-method",
    "x-rewrite-url",
    "x-envoy-original-path",
    "x-envoy-original-host",
];

/// Of the caller, beside those that keyward may be told to write: what other authenticating proxies
/// call it. No client has a reason to send them, so they are taken from everybody.
pub(super) const OF_THE_CALLER: [&str; 21] = [
    // The presets of keyward, whichever is in use.
    "remote-user",
    "remote-groups",
    "remote-email",
    "x-consumer-id",
    "x-consumer-custom-id",
    "x-consumer-username",
    "x-consumer-groups",
    "x-credential-identifier",
    "x-anonymous-consumer",
    // Authelia, and programs that are told to trust a proxy.
    "remote-name",
    // Kubernetes, in front of its API server.
    "x-remote-user",
    "x-remote-uid",
    "x-remote-group",
    "x-remote-groups",
    // oauth2-proxy with nginx.
    "x-auth-request-user",
    "x-auth-request-email",
    "x-auth-request-groups",
    "x-auth-request-preferred-username",
    // Grafana, and Kong's OAuth 2.
    "x-webauth-user",
    "x-authenticated-userid",
    "x-authenticated-scope",
];

/// Beginnings of such names.
pub(super) const OF_THE_CALLER_BEGIN: [&str; 2] = ["x-remote-extra-", "x-authentik-"];

/// What is not of a request, but between a proxy and a server behind it. `Proxy` is `HTTP_PROXY` to
/// a program of CGI (CVE-2016-5385); the others make a server answer with the path of a file (Rack,
/// CVE-2025-61780).
pub(super) const OF_PROXIES: [&str; 3] = ["proxy", "x-sendfile-type", "x-accel-mapping"];

/// Of the address, host, scheme, certificate and caller, as a proxy in front of keyward may know
/// them: taken from all but `trusted_proxies`. (`X-Forwarded-…`, `X-Real-IP` and `Forwarded` are
/// written anew.)
pub(super) const OF_THE_EDGE: [&str; 26] = [
    "client-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "true-client-ip",
    "cf-connecting-ip",
    "cf-connecting-ipv6",
    "fastly-client-ip",
    "x-azure-clientip",
    "x-envoy-external-address",
    "x-original-for",
    "x-original-host",
    "x-original-proto",
    "x-host",
    "x-http-host-override",
    "x-scheme",
    "x-url-scheme",
    "x-https",
    "front-end-https",
    // RFC 9440, section 4: a proxy takes them from clients.
    "client-cert",
    "client-cert-chain",
    "x-client-cert",
    "x-arr-clientcert",
    "cf-access-authenticated-user-email",
    "x-amzn-oidc-identity",
    "x-goog-authenticated-user-email",
    "x-goog-authenticated-user-id",
];

/// Beginnings of such names.
pub(super) const OF_THE_EDGE_BEGIN: [&str; 5] =
    ["ssl-client-", "x-ssl-client-", "x-amzn-mtls-", "x-ms-client-principal", "tailscale-user-"];

/// Of the method: real clients send them, so they are judged: see `method_override`.
pub(super) const OF_THE_METHOD: [&str; 3] =
    ["x-http-method-override", "x-http-method", "x-method-override"];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The list in the page ends with the section.
    #[test]
    fn the_page_lists_these_fields_and_no_others() {
        let page = include_str!("../../docs/security.md");
        let (_, rest) =
            page.split_once("\n## Know which headers are taken from clients\n").unwrap();
        let section = rest.split("\n## ").next().unwrap_or_default();
        let mut shown = BTreeSet::new();
        for row in section.lines().filter(|line| line.starts_with("| `")) {
            let names = row.split('|').nth(1).unwrap_or_default();
            shown.extend(names.split('`').skip(1).step_by(2).map(str::to_ascii_lowercase));
        }
        let begin = OF_THE_CALLER_BEGIN.iter().chain(&OF_THE_EDGE_BEGIN);
        let mut listed: BTreeSet<String> = begin.map(|name| format!("{name}…")).collect();
        let whole = OF_THE_PATH.iter().chain(&OF_THE_CALLER).chain(&OF_PROXIES);
        let whole = whole.chain(&OF_THE_EDGE).chain(&OF_THE_METHOD);
        listed.extend(whole.map(|name| (*name).to_owned()));
        assert_eq!(shown, listed);
    }
}
