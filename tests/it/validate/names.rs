//! Values, keys and names of the configuration itself: no file and no socket is needed to refuse
//! them.

use super::case::{Case, case, issuer, typed, with, write};

pub(super) fn cases() -> Vec<Case> {
    let api = "[[token_api]]\nname = \"two\"\nstyle = \"allowlist-jwt\"\nmount = \"/two\"\n";
    vec![
        typed(
            "an unknown upstream",
            "19:12",
            &["no [[upstream]] has the name \"ap\"; did you mean \"app\"?"],
            "upstream = \"app\"",
            "upstream = \"ap\"",
        ),
        typed(
            "an unknown token API",
            "20:11",
            &["has the name \"absent\"", "api"],
            "public = true",
            "accept = [\"absent\"]",
        ),
        typed(
            "an unknown issuer",
            "14:10",
            &["no [[issuer]] has the name \"idp\""],
            "style = \"allowlist-jwt\"\nmount = \"/api\"",
            "style = \"agent-tokens\"\nmount = \"/api\"\nissuer = \"idp\"",
        ),
        typed(
            "an unknown key",
            "20:1",
            &["unknown key \"pubic\"; did you mean \"public\"?"],
            "public",
            "pubic",
        ),
        typed(
            "an unknown table",
            "8:2",
            &["unknown key \"kees\"; did you mean \"keys\"?"],
            "[keys]",
            "[kees]",
        ),
        typed("an unknown style", "12:9", &["allowlist-jwt"], "allowlist-jwt", "allowlist"),
        typed(
            "no TOML",
            "2:",
            &["this is not TOML"],
            "address = \"127.0.0.1:0\"",
            "address = 127.0.0.1:0",
        ),
        typed(
            "an undefined variable",
            "7:8",
            &["KEYWARD_NO_SUCH_VARIABLE"],
            "keyward.db",
            "${KEYWARD_NO_SUCH_VARIABLE}",
        ),
        typed(
            "a wrong type",
            "20:10",
            &["must be true or false"],
            "public = true",
            "public = \"yes\"",
        ),
        typed("a malformed endpoint", "16:", &["127.0.0.1:1"], "http://127.0.0.1:1", "127.0.0.1:1"),
        typed("a route that says neither", "17:", &["accepts nothing"], "public = true\n", ""),
        typed(
            "nothing to listen on",
            "",
            &["no [[listener]]"],
            "[[listener]]\naddress = \"127.0.0.1:0\"\n",
            "",
        ),
        case("a value out of range", "22:", &["must be an integer from 0 to 256"], |_| {
            with("[server]\nworkers = 9999\n")
        }),
        case("a malformed duration", "22:8", &["must be a duration"], |_| {
            with("[timeouts]\nidle = \"soon\"\n")
        }),
        case("two routes for one request", "21:", &["in common with the one on line"], |_| {
            with("[[route]]\npath = \"/{*all}\"\nupstream = \"app\"\npublic = true\n")
        }),
        case("a route at a call of a token API", "22:8", &["a call of the", "\"api\""], |_| {
            let route = "[[route]]\npath = \"/api/auth/tokens\"\nupstream = \"app\"\n";
            with(&format!("{route}public = true\n"))
        }),
        case("a route at the public keys", "22:8", &["keyward's public keys"], |_| {
            let route = "[[route]]\npath = \"/.well-known/jwks.json\"\nupstream = \"app\"\n";
            with(&format!("{route}public = true\n"))
        }),
        case("two mounts at one path", "24:9", &["is taken by the [[token_api]]"], move |_| {
            with(&api.replace("/two", "/api"))
        }),
        case("two token APIs of one name", "22:8", &["is taken on line 11"], move |_| {
            with(&api.replace("two", "api"))
        }),
        case("two upstreams of one name", "22:8", &["is taken on line 15"], |_| {
            with("[[upstream]]\nname = \"app\"\nendpoints = [\"http://127.0.0.1:2\"]\n")
        }),
        case(
            "prefixes that cannot be told apart",
            "",
            &["cannot be told from \"sk-\""],
            |folder| {
                write(folder, "secret", "0123456789abcdef0123456789abcdef0123456789abcdef\n");
                let more = |name: &str, prefix: &str| {
                    format!(
                        "[[token_api]]\nname = \"{name}\"\nstyle = \"tenant-tokens\"\n\
                         mount = \"/{name}\"\n\
                     issuer = \"idp\"\nprefix = \"{prefix}\"\n"
                    )
                };
                format!(
                    "{}{}{}",
                    issuer("secret_file = \"secret\""),
                    more("one", "sk-"),
                    more("two", "sk-a")
                )
            },
        ),
        case("two headers of one name", "22:", &["an upstream could not tell them apart"], |_| {
            with("[identity_headers]\nusername = \"X-Keyward-Subject\"\n")
        }),
    ]
}
