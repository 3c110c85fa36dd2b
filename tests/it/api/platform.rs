//! A keyward with a login of the site, keys for tenants, keys for agents, and what lies behind
//! them.

use serde_json::{Value, json};

use crate::support::{Login, Person, Plan, Response, Upstream, World, json as body_of};

pub(super) struct Platform {
    pub(super) world: World,
    pub(super) upstream: Upstream,
    pub(super) login: Login,
}

impl Platform {
    pub(super) fn open() -> Self {
        Self::open_with(|plan| plan)
    }

    pub(super) fn open_with(more: impl FnOnce(Plan) -> Plan) -> Self {
        Self::open_at(Login::open(), more)
    }

    pub(super) fn open_at(login: Login, more: impl FnOnce(Plan) -> Plan) -> Self {
        let upstream = Upstream::start();
        let world = more(Self::plan(&upstream, &login)).start();
        Self { world, upstream, login }
    }

    pub(super) fn plan(upstream: &Upstream, login: &Login) -> Plan {
        Plan::usual(upstream)
            .table("issuer", &login.table("keycloak"))
            .table(
                "token_api",
                "name = \"platform\"\nstyle = \"tenant-tokens\"\nmount = \"/api/v1\"\n\
                 issuer = \"keycloak\"",
            )
            .table(
                "token_api",
                "name = \"agents\"\nstyle = \"agent-tokens\"\nmount = \"/api/agent-tokens\"\n\
                 issuer = [\"keycloak\"]",
            )
            .route(
                "path = \"/api/v1/{tenant_id}/{*rest}\"\nupstream = \"app\"\n\
                 accept = [\"platform\", \"keycloak\"]\n\
                 resolve_tenant = true",
            )
            .route(
                "path = \"/seen/{tenant_id}/{*rest}\"\nupstream = \"app\"\n\
                    accept = [\"platform\", \"keycloak\"]",
            )
            .route("path = \"/agents/{*rest}\"\nupstream = \"app\"\naccept = [\"agents\"]")
            .route("path = \"/people/{*rest}\"\nupstream = \"app\"\naccept = [\"keycloak\"]")
    }

    /// Alice, who belongs to two tenants and acts for the first.
    pub(super) fn alice(&self) -> String {
        self.login.access(
            "alice",
            json!({
                "preferred_username": "alice", "email": "alice@example.com", "tenants": ["acme", "globex"],
                "active_tenant": "acme", "realm_access": { "roles": ["user", "editor"] }, "jti": "session-1",
            }),
        )
    }

    /// Bob, who belongs to one.
    pub(super) fn bob(&self) -> String {
        self.login.access("bob", json!({ "tenants": ["initech"] }))
    }

    /// A key of the token API of style `allowlist-jwt`.
    pub(super) fn foreign_key(&self) -> String {
        self.world.key(Person::ALICE).token
    }

    pub(super) fn call(&self, method: &str, target: &str, token: &str, body: &str) -> Response {
        let mut fields = format!("Authorization: Bearer {token}\r\n");
        if !body.is_empty() {
            fields.push_str("Content-Type: application/json\r\n");
        }
        self.world.ask(method, target, &fields, body)
    }

    pub(super) fn status(&self, target: &str, token: &str) -> u16 {
        self.call("GET", target, token, "").status
    }

    /// What the upstream saw of a request that passed.
    #[track_caller]
    pub(super) fn seen(&self, target: &str, token: &str) -> crate::support::Request {
        self.upstream.take();
        let response = self.call("GET", target, token, "");
        assert_eq!(response.status, 200, "{response}");
        self.upstream.take().requests.pop().expect("it was forwarded")
    }
}

/// The names of an object's members, in their order.
pub(super) fn members(body: &Value) -> Vec<&str> {
    body.as_object().expect("an object").keys().map(String::as_str).collect()
}

/// The body, whose answer must have this status and must not be kept.
#[track_caller]
pub(super) fn answered(response: &Response, status: u16) -> Value {
    assert_eq!(response.status, status, "{response}");
    assert_eq!(response.fields.one("cache-control").as_deref(), Some("no-store"), "{response}");
    if status == 401 {
        let challenge = response.fields.one("www-authenticate").unwrap_or_default();
        assert!(challenge.starts_with("Bearer"), "{response}");
    }
    if response.body.is_empty() { Value::Null } else { body_of(response) }
}
