//! What several targets share: field lines as input, and the names that only keyward may set.

use http::header::{HeaderMap, HeaderName, HeaderValue};

/// Reads field lines. What is no field line is left out: the targets that use this are about what
/// follows.
pub(super) fn field_lines(input: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in input.split(|&byte| byte == b'\n').take(64) {
        let Some(colon) = line.iter().position(|&byte| byte == b':') else { continue };
        let (name, value) = line.split_at(colon);
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name), HeaderValue::from_bytes(value))
        {
            headers.append(name, value);
        }
    }
    headers
}

/// A name as CGI, WSGI and PHP pass it on: upper-case letters and digits stay, anything else
/// becomes `_`.
pub(super) fn cgi_name(name: &str) -> String {
    let fold = |letter: char| {
        if letter.is_ascii_alphanumeric() { letter.to_ascii_uppercase() } else { '_' }
    };
    name.chars().map(fold).collect()
}

/// Whether a name is one that a stranger may not set, by a reading of its own.
pub(super) fn is_ours(name: &str) -> bool {
    let name = cgi_name(name);
    BEGINNINGS.iter().any(|beginning| name.starts_with(beginning))
        || NAMES.split_ascii_whitespace().any(|known| known == name)
}

/// Whether it names the method of the request.
pub(super) fn names_method(name: &str) -> bool {
    ["X_HTTP_METHOD_OVERRIDE", "X_HTTP_METHOD", "X_METHOD_OVERRIDE"].contains(&&*cgi_name(name))
}

const BEGINNINGS: [&str; 9] = [
    "X_KEYWARD_",
    "X_FORWARDED_",
    "X_REMOTE_EXTRA_",
    "X_AUTHENTIK_",
    "SSL_CLIENT_",
    "X_SSL_CLIENT_",
    "X_AMZN_MTLS_",
    "X_MS_CLIENT_PRINCIPAL",
    "TAILSCALE_USER_",
];

const NAMES: &str = "
    X_REQUEST_ID FORWARDED X_REAL_IP X_FORWARDED
    SCRIPT_NAME PATH_INFO X_SCRIPT_NAME X_ORIGINAL_URL X_ORIGINAL_URI X_ORIGINAL_PATH
    X_ORIGINAL_METHOD X_REWRITE_URL X_ENVOY_ORIGINAL_PATH X_ENVOY_ORIGINAL_HOST
    REMOTE_USER REMOTE_GROUPS REMOTE_EMAIL REMOTE_NAME X_CONSUMER_ID X_CONSUMER_CUSTOM_ID
    X_CONSUMER_USERNAME X_CONSUMER_GROUPS X_CREDENTIAL_IDENTIFIER X_ANONYMOUS_CONSUMER
    X_REMOTE_USER X_REMOTE_UID X_REMOTE_GROUP X_REMOTE_GROUPS X_AUTH_REQUEST_USER
    X_AUTH_REQUEST_EMAIL X_AUTH_REQUEST_GROUPS X_AUTH_REQUEST_PREFERRED_USERNAME X_WEBAUTH_USER
    X_AUTHENTICATED_USERID X_AUTHENTICATED_SCOPE
    PROXY X_SENDFILE_TYPE X_ACCEL_MAPPING
    CLIENT_IP X_CLIENT_IP X_CLUSTER_CLIENT_IP TRUE_CLIENT_IP CF_CONNECTING_IP CF_CONNECTING_IPV6
    FASTLY_CLIENT_IP X_AZURE_CLIENTIP X_ENVOY_EXTERNAL_ADDRESS X_ORIGINAL_FOR X_ORIGINAL_HOST
    X_ORIGINAL_PROTO X_HOST X_HTTP_HOST_OVERRIDE X_SCHEME X_URL_SCHEME X_HTTPS FRONT_END_HTTPS
    CLIENT_CERT CLIENT_CERT_CHAIN X_CLIENT_CERT X_ARR_CLIENTCERT
    CF_ACCESS_AUTHENTICATED_USER_EMAIL X_AMZN_OIDC_IDENTITY X_GOOG_AUTHENTICATED_USER_EMAIL
    X_GOOG_AUTHENTICATED_USER_ID";
