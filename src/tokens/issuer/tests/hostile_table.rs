//! Tokens that must not pass, each with the reason for which it must not. As [`super::forge`], it
//! is shown to an issuer in memory and to a whole keyward over TCP. It is one file because it is
//! one table, and because the tests over TCP include it by its path.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::forge::*;
use super::{MARGIN, OutsideFault, now};

/// What is expected of a token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Expected {
    /// Refused as no JWT.
    Malformed,
    /// Refused for its header.
    Header,
    /// Refused for exactly this.
    Fault(OutsideFault),
    /// Of an issuer that is not configured.
    Foreign,
}

use Expected::{Fault, Foreign, Header, Malformed};

/// Tokens with their names, and what is to become of them.
#[derive(Default)]
pub(super) struct Table(pub(super) Vec<(String, Vec<u8>, Expected)>);

impl Table {
    fn add(&mut self, name: impl std::fmt::Display, token: impl Into<Vec<u8>>, expected: Expected) {
        self.0.push((name.to_string(), token.into(), expected));
    }
}

/// All of them.
pub(super) fn hostile() -> Table {
    let tables = [
        algorithms(),
        keys(),
        headers(),
        signatures(),
        forms(),
        claims_of_others(),
        dates(),
        holders(),
    ];
    Table(tables.into_iter().flat_map(|table| table.0).collect())
}

fn algorithms() -> Table {
    let mut table = Table::default();
    let names = [
        "none",
        "None",
        "NONE",
        "nOnE",
        "",
        " RS256",
        "RS256 ",
        "rs256",
        "Rs256",
        "RS256\0",
        "HS256",
        "HS384",
        "HS512",
        "RS1",
        "ES512",
        "ES256K",
        "Ed25519",
        "A128KW",
        "dir",
        "RSA-OAEP",
        "RS256,ES256",
    ];
    let fault = Fault(OutsideFault::Algorithm);
    for name in names {
        let header = json!({"alg": name, "typ": "JWT", "kid": "rsa"});
        table.add(format!("alg {name:?}, well signed"), token("RS256", &header, &claims()), fault);
        table.add(
            format!("alg {name:?}, unsigned"),
            raw(header.to_string(), claims().to_string(), |_| Vec::new()),
            fault,
        );
    }
    for alg in [json!(null), json!(256), json!(true), json!(["RS256"]), json!({"alg": "RS256"})] {
        table.add(format!("alg {alg}"), with_header(json!({"alg": alg})), fault);
    }
    table.add("no alg", token("ES256", &json!({"kid": "p256"}), &claims()), fault);
    // Key confusion: the public key as a secret.
    let header = json!({"alg": "HS256", "typ": "JWT", "kid": "rsa"}).to_string();
    for (at, secret) in public_rsa_spellings().into_iter().enumerate() {
        let token = raw(&header, claims().to_string(), |message| hmac_sha256(&secret, message));
        table.add(format!("HS256 under spelling {at} of the public key"), token, fault);
    }
    // A key of one type with the algorithm of another.
    for named in ["RS256", "PS512", "ES256", "ES384", "EdDSA"] {
        for (owner, signer) in
            [("rsa", "RS256"), ("p256", "ES256"), ("p384", "ES384"), ("ed25519", "EdDSA")]
        {
            if kid(named) != owner {
                let header = json!({"alg": named, "typ": "JWT", "kid": owner});
                table.add(
                    format!("{named} with the key {owner}"),
                    token(signer, &header, &claims()),
                    fault,
                );
            }
        }
    }
    table
}

fn keys() -> Table {
    let mut table = Table::default();
    let long = "k".repeat(5000);
    for kid in [
        "",
        " p256",
        "p256 ",
        "P256",
        "p256\0",
        "../p256",
        "../../../../dev/null",
        "p256/../p256",
        "' OR '1'='1",
        "*",
        "{p256}",
        "https://evil.example/keys",
        "keyward:token:*\r\nFLUSHALL",
        "ｐ256",
        "%70256",
        "0",
        &long,
    ] {
        table.add(
            format!("kid {kid:.40?}"),
            with_header(json!({"kid": kid})),
            Fault(OutsideFault::UnknownKey),
        );
    }
    for kid in
        [json!(null), json!(0), json!(true), json!([]), json!(["p256"]), json!({"kid": "p256"})]
    {
        table.add(format!("kid {kid}"), with_header(json!({"kid": kid})), Header);
    }
    let unnamed = json!({"alg": "RS256", "typ": "JWT"});
    let forged = token("another RSA key", &unnamed, &claims());
    table.add("no kid, and an unknown key", forged, Fault(OutsideFault::Signature));
    // Its own key in its header, and signed with it.
    let own = rsa_jwk("rsa", &KEYS.other_rsa);
    for members in [
        json!({"jwk": own}),
        json!({"jku": "https://evil.example/keys"}),
        json!({"x5u": "https://evil.example/x5u"}),
        json!({"x5c": ["AAAA"]}),
        json!({}),
    ] {
        let header = merged(header("RS256"), members);
        table.add(
            format!("signed by another key with {header}"),
            token("another RSA key", &header, &claims()),
            Fault(OutsideFault::Signature),
        );
    }
    table
}

fn headers() -> Table {
    let mut table = Table::default();
    for crit in [
        json!([]),
        json!(["exp"]),
        json!(["b64"]),
        json!(["alg"]),
        json!(null),
        json!("exp"),
        json!({}),
        json!(false),
    ] {
        table.add(format!("crit {crit}"), with_header(json!({"crit": crit})), Header);
    }
    for b64 in [json!(false), json!(null), json!("true"), json!(0), json!([])] {
        table.add(format!("b64 {b64}"), with_header(json!({"b64": b64})), Header);
    }
    table.add("b64 false and crit", with_header(json!({"b64": false, "crit": ["b64"]})), Header);
    table.add("enc", with_header(json!({"enc": "A128GCM"})), Header);
    table.add("zip", with_header(json!({"zip": "DEF"})), Header);
    for typ in [
        json!(""),
        json!(" JWT"),
        json!("JWT "),
        json!("JWE"),
        json!("JOSE"),
        json!("JOSE+JSON"),
        json!("logout+jwt"),
        json!("dpop+jwt"),
        json!("secevent+jwt"),
        json!("id+jwt"),
        json!("token-introspection+jwt"),
        json!("text/jwt"),
        json!("application/application/jwt"),
        json!("at+jwt; v=1"),
        json!("jwt\0"),
        json!(null),
        json!(5),
        json!(["JWT"]),
    ] {
        table.add(format!("typ {typ}"), with_header(json!({"typ": typ})), Header);
    }
    table
}

fn signatures() -> Table {
    let mut table = Table::default();
    let fault = Fault(OutsideFault::Signature);
    for algorithm in ["RS256", "PS256", "ES256", "ES384", "EdDSA"] {
        let good = token(algorithm, &header(algorithm), &claims());
        let (signed, signature) = good.rsplit_once('.').expect("three parts");
        let signature = URL_SAFE_NO_PAD.decode(signature).expect("base64url");
        let mut add = |name: &str, signature: &[u8]| {
            table.add(
                format!("{algorithm}: {name}"),
                format!("{signed}.{}", b64(signature)),
                fault,
            );
        };
        let length = signature.len();
        add("no signature", b"");
        add("one byte", &[0]);
        add("all zeros", &vec![0; length]);
        add("all ones", &vec![0xff; length]);
        add("one byte less", &signature[..length - 1]);
        add("one byte more", &[signature.as_slice(), &[0]].concat());
        add("a zero before", &[&[0], signature.as_slice()].concat());
        add("twice", &[signature.as_slice(), &signature].concat());
        let other =
            token(algorithm, &header(algorithm), &merged(claims(), json!({"sub": "other"})));
        let (other_signed, other_signature) = other.rsplit_once('.').expect("three parts");
        table.add(
            format!("{algorithm}: another token's signature"),
            format!("{signed}.{other_signature}"),
            fault,
        );
        table.add(
            format!("{algorithm}: another token's claims"),
            format!("{other_signed}.{}", b64(&signature)),
            fault,
        );
        for at in [0, length / 2, length - 1] {
            let mut flipped = signature.clone();
            flipped[at] ^= 1;
            table.add(
                format!("{algorithm}: a bit of byte {at}"),
                format!("{signed}.{}", b64(flipped)),
                fault,
            );
        }
    }
    // CVE-2022-21449 and its neighbours: r and s of 0, 1 and the order of the curve.
    let mut one = vec![0; 64];
    (one[31], one[63]) = (1, 1);
    let order = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
    let order: Vec<u8> = (0..32)
        .map(|at| u8::from_str_radix(&order[at * 2..at * 2 + 2], 16).expect("hex"))
        .collect();
    let header_text = header("ES256").to_string();
    for (name, signature) in [
        ("1, 1", one),
        ("n, n", [order.clone(), order.clone()].concat()),
        ("0, n", [vec![0; 32], order].concat()),
    ] {
        table.add(
            format!("ES256: r and s {name}"),
            raw(&header_text, claims().to_string(), |_| signature),
            fault,
        );
    }
    // ASN.1 instead of r ‖ s.
    let der = raw(&header_text, claims().to_string(), |message| {
        let raw = sign("ES256", message);
        let integer = |bytes: &[u8]| [&[0x02, 33, 0][..], bytes].concat();
        let (r, s) = raw.split_at(32);
        [&[0x30, 70][..], &integer(r), &integer(s)].concat()
    });
    table.add("ES256 in DER", der, fault);
    // PKCS #1 signed, PSS named, and the other way round; another hash.
    for (named, signer) in [
        ("PS256", "RS256"),
        ("RS256", "PS256"),
        ("RS384", "RS256"),
        ("RS512", "RS384"),
        ("PS384", "PS256"),
    ] {
        table.add(
            format!("{named} signed as {signer}"),
            token(signer, &header(named), &claims()),
            fault,
        );
    }
    // The signature is checked first: a forger learns nothing of dates.
    let expired = merged(claims(), json!({"exp": 1}));
    table.add(
        "expired and not signed",
        token("another RSA key", &header("RS256"), &expired),
        fault,
    );
    table
}

fn forms() -> Table {
    let mut table = Table::default();
    let good = with_claims(json!({}));
    let parts: Vec<&str> = good.split('.').collect();
    let [header_part, claims_part, signature_part] = parts[..] else { panic!("three parts") };
    for (name, token) in [
        ("nothing", String::new()),
        ("a dot", ".".into()),
        ("two dots", "..".into()),
        ("three dots", "...".into()),
        ("ten thousand dots", ".".repeat(8000)),
        ("a word", "token".into()),
        ("two parts", format!("{header_part}.{claims_part}")),
        ("no header", format!(".{claims_part}.{signature_part}")),
        ("no claims", format!("{header_part}..{signature_part}")),
        ("a dot before", format!(".{good}")),
        ("a dot behind", format!("{good}.")),
        ("four parts", format!("{good}.{signature_part}")),
        ("five parts, as an encrypted one has", format!("{header_part}.a.b.c.d")),
        ("padding", format!("{good}=")),
        ("padded claims", format!("{header_part}.{claims_part}=.{signature_part}")),
        ("a space before", format!(" {good}")),
        ("a line end behind", format!("{good}\n")),
        ("a space inside", format!("{header_part} .{claims_part}.{signature_part}")),
        ("the other alphabet", format!("{header_part}.{claims_part}.+/{signature_part}")),
        ("percent encoding", good.replacen('.', "%2E", 1)),
        ("an overlong one", format!("{header_part}.{claims_part}.{}", "A".repeat(10_000))),
        ("a comma and another", format!("{good},{good}")),
        ("the JSON form", json!({"payload": claims_part, "signatures": []}).to_string()),
    ] {
        table.add(name, token, Malformed);
    }
    table.add("bytes that are no text", [good.as_bytes(), &[0xff]].concat(), Malformed);
    table.add("a NUL inside", good.replacen('.', "\0.", 1), Malformed);
    table.add("a NUL behind", format!("{good}\0"), Malformed);
    // 64 bytes end in a character with four bits too many: each other spelling of the same bytes.
    let last = good.chars().last().expect("not empty");
    for other in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".chars() {
        if other != last && !matches!(other, 'A' | 'Q' | 'g' | 'w') {
            table.add(
                format!("the last character as {other}"),
                format!("{}{other}", &good[..good.len() - 1]),
                Malformed,
            );
        }
    }
    let sign_es = |message: &[u8]| sign("ES256", message);
    let (header_text, claims_text) = (header("ES256").to_string(), claims().to_string());
    let deep = format!("{{\"a\":{}1{}}}", "[".repeat(200), "]".repeat(200));
    for text in [
        "",
        " ",
        "null",
        "true",
        "5",
        "\"ES256\"",
        "[]",
        "{",
        "}",
        "{}x",
        "{\"alg\":}",
        "{'alg':'ES256'}",
        "{\"alg\":\"ES256\",}",
        "{\"alg\":\"ES256\",\"alg\":\"none\",\"kid\":\"p256\"}",
        "{\"alg\":\"none\",\"a\\u006cg\":\"ES256\",\"kid\":\"p256\"}",
        "{\"alg\":\"ES256\",\"kid\":\"p256\",\"kid\":\"rsa\"}",
        "\u{feff}{\"alg\":\"ES256\",\"kid\":\"p256\"}",
        &deep,
    ] {
        table.add(format!("the header {text:.50}"), raw(text, &claims_text, sign_es), Malformed);
    }
    let twice = |more: &str| format!("{},{more}}}", claims_text.trim_end_matches('}'));
    for text in [
        "".to_owned(),
        "null".to_owned(),
        "[]".to_owned(),
        "\"\"".to_owned(),
        "{".to_owned(),
        format!("{claims_text}{claims_text}"),
        format!("[{claims_text}]"),
        twice("\"iss\":\"x\""),
        twice("\"sub\":\"admin\""),
        twice("\"exp\":9999999999"),
        twice("\"s\\u0075b\":\"admin\""),
        twice("\"x\":{\"a\":1,\"a\":2}"),
        twice("\"x\":1e999"),
        twice("\"x\":\"\\ud800\""),
        twice("\"x\":NaN"),
        twice("\"x\":01"),
        format!("\u{feff}{claims_text}"),
        deep.clone(),
    ] {
        table.add(format!("the claims {text:.60}"), raw(&header_text, &text, sign_es), Malformed);
    }
    table.add(
        "claims that are no UTF-8",
        raw(&header_text, [claims_text.as_bytes(), b"\xff"].concat(), sign_es),
        Malformed,
    );
    let wide: Vec<u8> = claims_text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    table.add("claims in UTF-16", raw(&header_text, wide, sign_es), Malformed);
    table.add("a token in a token", raw(&header_text, &good, sign_es), Malformed);
    table
}

fn claims_of_others() -> Table {
    let mut table = Table::default();
    let slash = format!("{ISS}/");
    for iss in [
        json!(null),
        json!(""),
        json!(5),
        json!([ISS]),
        json!({"iss": ISS}),
        json!(slash),
        json!(ISS.to_uppercase()),
        json!("https://id.example.com"),
        json!(format!(" {ISS}")),
        json!(format!("{ISS}\0")),
        json!("main"),
        json!("https://id.example.com/realms/other"),
    ] {
        table.add(format!("iss {iss}"), with_claims(json!({"iss": iss})), Foreign);
    }
    let nulled = |name: &str| {
        let mut members = claims();
        members[name] = Value::Null;
        token("ES256", &header("ES256"), &members)
    };
    table.add("iss null", nulled("iss"), Foreign);
    for aud in [
        json!("other"),
        json!(""),
        json!([]),
        json!(["other", "another"]),
        json!("ACCOUNT"),
        json!("account "),
        json!("account,api"),
        json!("account api"),
        json!("acc"),
        json!(["account\0"]),
        json!([""]),
    ] {
        table.add(
            format!("aud {aud}"),
            with_claims(json!({"aud": aud})),
            Fault(OutsideFault::Audience),
        );
    }
    for aud in [
        json!(null),
        json!(5),
        json!(true),
        json!({"account": 1}),
        json!(["account", 5]),
        json!([["account"]]),
        json!([null]),
    ] {
        table.add(
            format!("aud {aud}"),
            with_claims(json!({"aud": aud})),
            Fault(OutsideFault::Claim("aud")),
        );
    }
    table.add("aud null", nulled("aud"), Fault(OutsideFault::Claim("aud")));
    for typ in [
        json!(null),
        json!("ID"),
        json!("bearer"),
        json!("Bearer "),
        json!(["ID", "bearer"]),
        json!({"Bearer": 1}),
        json!(true),
    ] {
        table.add(
            format!("typ {typ}"),
            with_claims(json!({"typ": typ})),
            Fault(OutsideFault::RequiredClaim),
        );
    }
    table
}

fn dates() -> Table {
    let mut table = Table::default();
    for name in ["exp", "nbf", "iat"] {
        for date in [
            json!("1900000000"),
            json!("9999999999"),
            json!("x"),
            json!(""),
            json!(true),
            json!([1_900_000_000]),
            json!({}),
            json!(-1),
            json!(-0.5),
            json!(i64::MIN),
            json!(253_402_300_800_i64),
            json!(i64::MAX),
            json!(u64::MAX),
            json!(1e300),
        ] {
            let changed = merged(json!({"exp": now() + 300}), json!({name: date}));
            table.add(
                format!("{name} {date}"),
                with_claims(changed),
                Fault(OutsideFault::Claim(name)),
            );
        }
    }
    let mut members = claims();
    members["exp"] = Value::Null;
    table.add(
        "exp null",
        token("ES256", &header("ES256"), &members),
        Fault(OutsideFault::Claim("exp")),
    );
    table.add("no exp", with_claims(json!({"exp": null})), Fault(OutsideFault::Claim("exp")));
    for exp in [
        json!(0),
        json!(0.0),
        json!(1),
        json!(now() - 1),
        json!(now()),
        json!(now() as f64 - 0.0001),
        json!(now() as f64 + 0.0004),
    ] {
        table.add(
            format!("exp {exp}"),
            with_claims(json!({"exp": exp})),
            Fault(OutsideFault::Expired),
        );
    }
    for nbf in [
        json!(now() + MARGIN + 1),
        json!((now() + MARGIN) as f64 + 0.0001),
        json!(253_402_300_799_i64),
    ] {
        table.add(
            format!("nbf {nbf}"),
            with_claims(json!({"nbf": nbf})),
            Fault(OutsideFault::NotYet),
        );
    }
    table
}

fn holders() -> Table {
    let mut table = Table::default();
    let refused = Fault(OutsideFault::Claim("subject"));
    for subject in [
        json!(null),
        json!(""),
        json!(5.5),
        json!(1e30),
        json!(true),
        json!([]),
        json!(["7d9f", "8e0a"]),
        json!([["7d9f"]]),
        json!([null]),
        json!({"sub": 1}),
    ] {
        table.add(format!("sub {subject}"), with_claims(json!({"sub": subject})), refused);
    }
    for text in ["a\r\nX-Role: admin", "a\nb", "a\0b", "a\tb", "\u{7f}", "\u{85}", "\u{1b}[31m"] {
        table.add(format!("sub {text:?}"), with_claims(json!({"sub": text})), refused);
        table.add(format!("sub [{text:?}]"), with_claims(json!({"sub": [text]})), refused);
    }
    table
}
