//! The credential of a request, read from its header fields.
//!
//! A credential comes in `Authorization: Bearer`. On routes that accept a token API of style
//! `accounts` its keys also come in `X-API-Key`; on other routes that field is not read. Routes
//! that take it from further places read them with `credential_places`.

use http::header::{self, HeaderMap, HeaderName};

use super::refusal::Refusal;
use crate::tokens::authenticator::Refused;

/// Where the credential of a request may come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CredentialSource {
    /// `Authorization: Bearer`.
    Bearer,
    /// That, or `X-API-Key`.
    BearerOrApiKey,
}

impl CredentialSource {
    /// Of what accepts the keys of a token API, one of which may come in `X-API-Key`, or none.
    pub(super) const fn of(takes_api_key_field: bool) -> Self {
        if takes_api_key_field { Self::BearerOrApiKey } else { Self::Bearer }
    }
}

/// The field of the keys of `accounts`.
pub static X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// Where a credential was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CredentialField {
    /// `Authorization: Bearer`.
    Authorization,
    /// `X-API-Key`, which takes the keys of `accounts` alone.
    ApiKey,
    /// A header that the route names.
    Header,
    /// `Authorization: Basic`.
    Basic,
    /// `Sec-WebSocket-Protocol`.
    WebSocketProtocol,
    Cookie,
    /// A parameter of the query.
    Query,
    /// Another one, which holds a ticket.
    Ticket,
}

/// The value of the one `Authorization` field.
pub(super) struct AuthorizationValue<'a>(&'a [u8]);

/// The one credential of a request. Two are refused: keyward and the upstream could each go by
/// another one.
pub(super) fn presented(
    headers: &HeaderMap,
    source: CredentialSource,
) -> Result<(&[u8], CredentialField), Refusal> {
    let bearer = bearer(headers);
    if source == CredentialSource::Bearer {
        return match bearer {
            Err(Refusal::NoCredential { .. }) if headers.contains_key(&X_API_KEY) => {
                let cause = "it has X-API-Key, which is read only on routes that accept a token \
                             API of style \"accounts\"";
                Err(Refusal::NoCredential { cause: Some(cause) })
            }
            token => Ok((token?, CredentialField::Authorization)),
        };
    }
    match (in_field(headers, &X_API_KEY)?, bearer) {
        (None, token) => Ok((token?, CredentialField::Authorization)),
        // No `Authorization`, or one of another scheme, which is not read.
        (Some(key), Err(Refusal::NoCredential { .. })) => Ok((key, CredentialField::ApiKey)),
        (Some(_), _) => {
            let cause = "it has both X-API-Key and Authorization: Bearer".into();
            Err(Refusal::AmbiguousCredential { cause })
        }
    }
}

/// What the one field of this name holds, which is nothing but a credential, if there is one.
pub(super) fn in_field<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> Result<Option<&'a [u8]>, Refusal> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        let name = if *name == X_API_KEY { "X-API-Key" } else { name.as_str() };
        let cause = format!("it has {name} more than once");
        return Err(Refusal::AmbiguousCredential { cause: cause.into() });
    }
    Ok(Some(value.as_bytes().trim_ascii()))
}

/// The token of the one `Authorization` field (RFC 6750, section 2.1; the scheme in any case, RFC
/// 9110, section 11.1). Its characters are not checked: what is no token has no record or
/// signature.
pub(super) fn bearer(headers: &HeaderMap) -> Result<&[u8], Refusal> {
    let Some(field) = authorization(headers)? else {
        return Err(Refusal::NoCredential { cause: None });
    };
    let (scheme, token) = field.scheme();
    if !scheme.eq_ignore_ascii_case(b"bearer") {
        return Err(no_bearer());
    }
    if token.is_empty() {
        return Err(Refusal::BadCredential(Refused::Empty));
    }
    Ok(token)
}

/// The one `Authorization` field, if there is one.
pub(super) fn authorization(
    headers: &HeaderMap,
) -> Result<Option<AuthorizationValue<'_>>, Refusal> {
    let mut fields = headers.get_all(header::AUTHORIZATION).iter();
    let Some(field) = fields.next() else { return Ok(None) };
    if fields.next().is_some() {
        let cause = "it has Authorization more than once".into();
        return Err(Refusal::AmbiguousCredential { cause });
    }
    Ok(Some(AuthorizationValue(field.as_bytes())))
}

impl<'a> AuthorizationValue<'a> {
    /// The scheme, and what follows it without white space around it.
    pub(super) fn scheme(&self) -> (&'a [u8], &'a [u8]) {
        let (scheme, rest) = match self.0.iter().position(|&byte| byte == b' ') {
            Some(space) => self.0.split_at(space),
            None => (self.0, &[][..]),
        };
        (scheme, rest.trim_ascii())
    }
}

/// `Authorization` is of another scheme. It is not repeated: without a scheme, it may be the token.
pub(super) const fn no_bearer() -> Refusal {
    let cause = "its Authorization field does not begin with \"Bearer \"";
    Refusal::NoCredential { cause: Some(cause) }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn read(fields: &[&[u8]]) -> Result<Vec<u8>, &'static str> {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(header::AUTHORIZATION, HeaderValue::from_bytes(field).expect("a value"));
        }
        bearer(&headers).map(<[u8]>::to_vec).map_err(|refusal| refusal.reason().as_str())
    }

    #[test]
    fn an_api_key_counts_only_where_it_may_and_never_beside_another_credential() {
        let read = |source, fields: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.append(*name, HeaderValue::from_static(value));
            }
            let read = presented(&headers, source).map(|(token, field)| (token.to_vec(), field));
            read.map_err(|refusal| refusal.reason().as_str())
        };
        let bearer = |token: &str| Ok((token.as_bytes().to_vec(), CredentialField::Authorization));
        let key = |token: &str| Ok((token.as_bytes().to_vec(), CredentialField::ApiKey));
        let ambiguous = || Err("ambiguous_credential");
        let (authorization, api_key) = (("authorization", "Bearer a"), ("x-api-key", "k"));
        assert_eq!(read(CredentialSource::Bearer, &[authorization, api_key]), bearer("a"));
        assert_eq!(read(CredentialSource::Bearer, &[api_key]), Err("no_credential"));
        assert_eq!(read(CredentialSource::Bearer, &[authorization, api_key, api_key]), bearer("a"));
        assert_eq!(read(CredentialSource::BearerOrApiKey, &[authorization]), bearer("a"));
        assert_eq!(read(CredentialSource::BearerOrApiKey, &[api_key]), key("k"));
        assert_eq!(read(CredentialSource::BearerOrApiKey, &[("x-api-key", " k ")]), key("k"));
        assert_eq!(
            read(CredentialSource::BearerOrApiKey, &[("authorization", "Basic x"), api_key]),
            key("k")
        );
        assert_eq!(read(CredentialSource::BearerOrApiKey, &[]), Err("no_credential"));
        assert_eq!(read(CredentialSource::BearerOrApiKey, &[authorization, api_key]), ambiguous());
        assert_eq!(
            read(CredentialSource::BearerOrApiKey, &[("authorization", "Bearer"), api_key]),
            ambiguous()
        );
        assert_eq!(read(CredentialSource::BearerOrApiKey, &[api_key, api_key]), ambiguous());
        assert_eq!(
            read(CredentialSource::BearerOrApiKey, &[authorization, authorization]),
            ambiguous()
        );
        assert_eq!(
            read(
                CredentialSource::BearerOrApiKey,
                &[("authorization", "Basic x"), authorization, api_key]
            ),
            ambiguous()
        );
    }

    #[test]
    fn one_bearer_token_is_read_and_nothing_else() {
        assert_eq!(read(&[b"Bearer a.b-c_d~e+f/g="]), Ok(b"a.b-c_d~e+f/g=".to_vec()));
        assert_eq!(read(&[b"bEARER   x"]), Ok(b"x".to_vec()));
        assert_eq!(read(&[]), Err("no_credential"));
        assert_eq!(read(&[b"Basic x"]), Err("no_credential"));
        assert_eq!(read(&[b""]), Err("no_credential"));
        assert_eq!(read(&[b"Bearer x", b"Bearer x"]), Err("ambiguous_credential"));
        for bad in [&b"Bearer"[..], b"Bearer ", b"Bearer \t "] {
            assert_eq!(read(&[bad]), Err("bad_credential"), "{bad:?}");
        }
        assert_eq!(read(&[b"Bearer\ta"]), Err("no_credential"));
    }
}
