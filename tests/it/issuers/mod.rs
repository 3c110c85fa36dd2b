//! Outside issuers around the process: what keyward needs of them to start, to be ready and to
//! reload, which tokens it takes, and what it says of those that it refuses.

mod causes;
mod forms;
mod hand_over;
mod metadata;
mod readiness;
mod tokens;

use serde_json::{Value, json};

use crate::outside_jwts::forge::{document, header, merged, token};
use crate::support::{Plan, Reply, Upstream, World, now};

/// A plan with an issuer whose keys come from this line, and a route for its tokens.
fn plan(upstream: &Upstream, keys: &str) -> Plan {
    let issuer =
        format!("name = \"id\"\nissuer = \"https://id.example\"\naudience = [\"api\"]\n{keys}");
    Plan::usual(upstream).table("issuer", &issuer).route(ROUTE)
}

/// The route for tokens of the issuer.
const ROUTE: &str = "path = \"/outside/{*rest}\"\nupstream = \"app\"\naccept = [\"id\"]";

/// The line of an issuer whose keys are fetched.
fn url(id: &Upstream) -> String {
    format!("jwks_url = \"http://{}/keys\"", id.address())
}

/// An answer that publishes these keys.
fn keys_of(jwks: &[Value]) -> Reply {
    Reply::of("200 OK", "", document(jwks))
}

/// A keyward whose issuer publishes these keys.
fn world(upstream: &Upstream, id: &Upstream, keys: &[Value]) -> World {
    id.answer("/keys", keys_of(keys));
    plan(upstream, &url(id)).start()
}

/// Claims of a token that is accepted.
fn claims() -> Value {
    json!({"iss": "https://id.example", "aud": "api", "sub": "7d9f", "exp": now() + 300})
}

/// A token that is accepted but for these claims; null takes one away.
fn with(changed: Value) -> String {
    token("ES256", &header("ES256"), &merged(claims(), changed))
}

/// A token that names its key so.
fn by(algorithm: &str, kid: &str) -> String {
    token(algorithm, &json!({"alg": algorithm, "kid": kid}), &claims())
}

/// The cause in the access log of a request that is refused with this status.
fn cause_of(world: &World, target: &str, status: u16, fields: &str) -> String {
    assert_eq!(world.ask("GET", target, fields, "").status, status, "{target}");
    world.access_line(target)["cause"].as_str().unwrap_or_default().to_owned()
}

/// The cause in the access log of the refusal of this token.
fn cause(world: &World, target: &str, token: &str) -> String {
    cause_of(world, target, 401, &format!("Authorization: Bearer {token}\r\n"))
}

/// What `/readyz` says of issuers.
fn readiness(world: &World) -> String {
    world.admin_text("/readyz").replace('\\', "")
}
