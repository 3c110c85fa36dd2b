//! Which media types are compressed.

use std::fmt;
use std::str::FromStr;

/// A media type, or some: `text/html`, `text/*`, `application/*+json`, `*/*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaTypeRule {
    /// In small letters.
    text: String,
}

impl MediaTypeRule {
    /// Whether it covers a media type, which has no parameters and may have capital letters.
    pub(super) fn matches(&self, media_type: &[u8]) -> bool {
        let Some((kind, subtype)) = split(media_type) else { return false };
        let Some((own_kind, own_subtype)) = split(self.text.as_bytes()) else { return false };
        let is_kind = own_kind == b"*" || own_kind.eq_ignore_ascii_case(kind);
        is_kind
            && match own_subtype.strip_prefix(b"*") {
                None => own_subtype.eq_ignore_ascii_case(subtype),
                Some(suffix) => {
                    let at = subtype.len().checked_sub(suffix.len());
                    let end = at.and_then(|at| subtype.get(at..));
                    end.is_some_and(|end| end.eq_ignore_ascii_case(suffix))
                }
            }
    }
}

fn split(media_type: &[u8]) -> Option<(&[u8], &[u8])> {
    let slash = media_type.iter().position(|&byte| byte == b'/')?;
    Some((media_type.get(..slash)?, media_type.get(slash + 1..)?))
}

impl FromStr for MediaTypeRule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_token = |part: &str| {
            let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte);
            !part.is_empty() && part.bytes().all(fits)
        };
        let Some((kind, subtype)) = text.split_once('/') else { return Err(String::new()) };
        let is_any = kind == "*" && subtype == "*";
        let suffix = subtype.strip_prefix('*');
        let is_subtype = suffix.map_or(is_token(subtype), |suffix| {
            suffix.is_empty() || suffix.strip_prefix('+').is_some_and(is_token)
        });
        if is_any || is_token(kind) && is_subtype {
            Ok(Self { text: text.to_ascii_lowercase() })
        } else {
            Err(String::new())
        }
    }
}

impl fmt::Display for MediaTypeRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_covers_one_type_a_kind_a_suffix_or_everything() {
        for (rule, covered, others) in [
            ("text/html", &["text/html", "Text/HTML"][..], &["text/htm", "text/html5", "text"][..]),
            ("text/*", &["text/plain", "text/event-stream", "text/"], &["texts/plain", "a/text/"]),
            (
                "application/*+json",
                &["application/problem+json", "application/LD+JSON"],
                &["application/json", "text/x+json", "application/+jsonx"],
            ),
            ("*/*", &["image/png", "a/b"], &["", "text"]),
        ] {
            let rule: MediaTypeRule = rule.parse().expect("a rule");
            for one in covered {
                assert!(rule.matches(one.as_bytes()), "{rule}: {one}");
            }
            for one in others {
                assert!(!rule.matches(one.as_bytes()), "{rule}: {one}");
            }
        }
    }

    #[test]
    fn what_is_no_rule_is_refused() {
        for text in [
            "",
            "text",
            "/",
            "text/",
            "/html",
            "*",
            "*/html",
            "text/*html",
            "te xt/*",
            "text/*+",
            "a/b;c",
        ] {
            assert!(text.parse::<MediaTypeRule>().is_err(), "{text}");
        }
    }
}
