//! Which heads are changed, and how; and that an encoder holds nothing back when it is flushed.

use bytes::BytesMut;
use compression_codecs::core::util::PartialBuffer;
use compression_codecs::{BrotliDecoder, Decode, GzipDecoder, ZstdDecoder};
use http::Response;

use super::encoder::Encoder;
use super::*;

fn rules() -> CompressionRules {
    CompressionRules {
        codings: vec![Coding::Zstd, Coding::Gzip],
        min_size: 100,
        types: vec!["text/*".parse().expect("a rule")],
    }
}

/// The coding and the fields of a response with this status and these fields.
fn applied(
    acceptance: Acceptance,
    status: u16,
    fields: &[(&'static str, &'static str)],
) -> (Option<Coding>, HeaderMap) {
    let rules = rules();
    let known_tags = vec![HeaderValue::from_static("\"a\", W/\"b\"")];
    let negotiation = Negotiation { rules: &rules, acceptance, known_tags };
    let mut response = Response::builder().status(status);
    for (name, value) in fields {
        response = response.header(*name, *value);
    }
    let mut head = response.body(()).expect("a response").into_parts().0;
    let coding = negotiation.apply(&mut head, false);
    (coding, head.headers)
}

const GZIP: Acceptance = Acceptance { coding: Some(Coding::Gzip), takes_identity: true };
const TEXT: (&str, &str) = ("content-type", "text/plain; charset=utf-8");

#[test]
fn only_a_head_whose_body_is_encoded_is_changed_and_every_one_that_could_be_varies() {
    let none = Acceptance::default();
    for (acceptance, status, fields, coding, varies) in [
        (GZIP, 200, &[TEXT][..], Some(Coding::Gzip), true),
        (GZIP, 404, &[TEXT, ("content-length", "100")], Some(Coding::Gzip), true),
        (GZIP, 200, &[TEXT, ("content-length", "99")], None, true),
        (none, 200, &[TEXT], None, true),
        (none, 200, &[TEXT, ("content-length", "0")], None, false),
        (GZIP, 200, &[], None, false),
        (GZIP, 200, &[("content-type", "image/png")], None, false),
        (GZIP, 206, &[TEXT], None, false),
        (GZIP, 205, &[TEXT], None, false),
        (GZIP, 204, &[TEXT], None, false),
        (GZIP, 304, &[], None, true),
        (GZIP, 200, &[TEXT, ("content-encoding", "br")], None, false),
        (GZIP, 200, &[TEXT, ("cache-control", "private, no-transform")], None, false),
        (GZIP, 200, &[TEXT, ("repr-digest", "x")], None, false),
    ] {
        let (found, headers) = applied(acceptance, status, fields);
        assert_eq!((found, headers.contains_key("vary")), (coding, varies), "{status} {fields:?}");
        if coding.is_none() {
            for (name, value) in fields {
                assert_eq!(headers.get(*name).expect("it stays"), value);
            }
        }
    }
}

#[test]
fn what_varies_already_is_said_once_and_what_varies_otherwise_stays() {
    let vary = |said| {
        let (_, headers) = applied(GZIP, 200, &[TEXT, ("vary", said)]);
        let all = headers.get_all("vary").iter().map(|value| value.to_str().unwrap().to_owned());
        all.collect::<Vec<_>>()
    };
    assert_eq!(vary("Origin"), ["Origin", "Accept-Encoding"]);
    assert_eq!(vary("origin, accept-encoding"), ["origin, accept-encoding"]);
    assert_eq!(vary("*"), ["*"]);
}

#[test]
fn a_strong_tag_becomes_weak_where_the_bytes_are_others() {
    let tag = |acceptance, status, tag| {
        let (_, headers) = applied(acceptance, status, &[TEXT, ("etag", tag)]);
        headers.get("etag").map(|tag| tag.to_str().unwrap().to_owned()).unwrap()
    };
    assert_eq!(tag(GZIP, 200, "\"x\""), "W/\"x\"");
    assert_eq!(tag(GZIP, 200, "W/\"x\""), "W/\"x\"");
    assert_eq!(tag(Acceptance::default(), 200, "\"x\""), "\"x\"");
    // The client has it as it was sent to it before.
    assert_eq!(tag(GZIP, 304, "\"b\""), "W/\"b\"");
    assert_eq!(tag(GZIP, 304, "\"a\""), "\"a\"");
    assert_eq!(tag(GZIP, 304, "\"c\""), "\"c\"");
}

/// Decodes what comes: what can be read of it by now, and whether that was the end.
type Decoding = Box<dyn FnMut(&[u8]) -> (Vec<u8>, bool)>;

fn decoder(coding: Coding) -> Decoding {
    fn run(mut decoder: impl Decode + 'static) -> Decoding {
        Box::new(move |bytes| {
            let mut input = PartialBuffer::new(bytes);
            let mut output = PartialBuffer::new(vec![0; 1 << 20]);
            let mut is_over = false;
            while !is_over && !input.unwritten().is_empty() {
                is_over = decoder.decode(&mut input, &mut output).unwrap();
            }
            if !is_over {
                decoder.flush(&mut output).unwrap();
            }
            (output.written().to_vec(), is_over)
        })
    }
    match coding {
        Coding::Zstd => run(ZstdDecoder::new()),
        Coding::Brotli => run(BrotliDecoder::new()),
        Coding::Gzip => run(GzipDecoder::new()),
    }
}

#[test]
fn what_is_flushed_can_be_read_and_only_a_finished_body_has_an_end() {
    for coding in [Coding::Zstd, Coding::Brotli, Coding::Gzip] {
        let (mut encoder, mut decode) = (Encoder::new(coding), decoder(coding));
        for piece in [&b"a"[..], b"", &b"data: x\n\n".repeat(10_000), b"b"] {
            let mut out = BytesMut::new();
            encoder.write(piece, &mut out).unwrap();
            encoder.flush(&mut out).unwrap();
            assert!(decode(&out) == (piece.to_vec(), false), "{coding:?}");
        }
        let mut out = BytesMut::new();
        encoder.write(b"the end", &mut out).unwrap();
        encoder.finish(&mut out).unwrap();
        assert_eq!(decode(&out), (b"the end".to_vec(), true), "{coding:?}");
        let mut empty = BytesMut::new();
        Encoder::new(coding).finish(&mut empty).unwrap();
        assert_eq!(decoder(coding)(&empty), (Vec::new(), true), "{coding:?}");
    }
}
