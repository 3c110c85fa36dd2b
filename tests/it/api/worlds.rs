//! The worlds of the tests of token APIs: a keyward, an upstream behind it, and what each style
//! needs beside them.

use std::ops::Deref;

use serde_json::{Value, json};

use crate::support::redis::RedisServer;
use crate::support::{
    Plan, Request, Response, TestIssuer, TestUser, Upstream, World, json as body_of,
};

/// The target of a key of style `agent-tokens`: it is shown (GET), made or renewed (POST) and
/// revoked (DELETE).
pub(super) const AGENT_KEY: &str = "/api/agent-tokens/me";
pub(super) const AGENT_KEY_ONCE: &str = "/api/agent-tokens/me/get-or-create";

/// A body that makes a key of style `tenant-tokens`.
pub(super) const NEW_TENANT_KEY: &str =
    r#"{ "name": "my-api-token", "expiry_date": "2099-12-31T23:59:59Z" }"#;

/// A keyward with an issuer, and a token API of each of the styles `allowlist-jwt`,
/// `tenant-tokens` and `agent-tokens`.
pub(super) struct IssuerWorld {
    pub(super) keyward: World,
    pub(super) upstream: Upstream,
    pub(super) issuer: TestIssuer,
}

impl IssuerWorld {
    pub(super) fn start() -> Self {
        Self::start_with(|plan| plan)
    }

    pub(super) fn start_with(more: impl FnOnce(Plan) -> Plan) -> Self {
        Self::start_with_issuer(TestIssuer::open(), more)
    }

    pub(super) fn start_with_issuer(issuer: TestIssuer, more: impl FnOnce(Plan) -> Plan) -> Self {
        let upstream = Upstream::start();
        let keyward = more(Self::plan(&upstream, &issuer)).start();
        Self { keyward, upstream, issuer }
    }

    fn plan(upstream: &Upstream, issuer: &TestIssuer) -> Plan {
        Plan::usual(upstream)
            .table("issuer", &issuer.table("keycloak"))
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
                 accept = [\"platform\", \"keycloak\"]\nresolve_tenant = true",
            )
            .route(
                "path = \"/seen/{tenant_id}/{*rest}\"\nupstream = \"app\"\n\
                 accept = [\"platform\", \"keycloak\"]",
            )
            .route("path = \"/agents/{*rest}\"\nupstream = \"app\"\naccept = [\"agents\"]")
            .route("path = \"/people/{*rest}\"\nupstream = \"app\"\naccept = [\"keycloak\"]")
    }

    /// An access token of Alice, who belongs to two tenants. The first is her active one.
    pub(super) fn alice(&self) -> String {
        self.issuer.access(
            "alice",
            json!({
                "preferred_username": "alice",
                "email": "alice@example.com",
                "tenants": ["acme", "globex"],
                "active_tenant": "acme",
                "realm_access": { "roles": ["user", "editor"] },
                "jti": "session-1",
            }),
        )
    }

    /// An access token of Bob, who belongs to one tenant.
    pub(super) fn bob(&self) -> String {
        self.issuer.access("bob", json!({ "tenants": ["initech"] }))
    }

    /// A key of the token API of style `allowlist-jwt`.
    pub(super) fn allowlist_jwt_key(&self) -> String {
        self.keyward.key(TestUser::ALICE).token
    }

    /// A key of Alice for one of her tenants, of style `tenant-tokens`, and its id.
    pub(super) fn tenant_key(&self, tenant: &str) -> (String, String) {
        let target = format!("/api/v1/{tenant}/tokens/");
        let made = expect_json(&self.call("POST", &target, &self.alice(), NEW_TENANT_KEY), 201);
        (text(&made, "token"), text(&made, "id"))
    }

    /// A new key of Alice of style `agent-tokens`. It takes the place of the one before.
    pub(super) fn agent_key(&self) -> String {
        text(&expect_json(&self.call("POST", AGENT_KEY, &self.alice(), ""), 200), "token")
    }

    /// A request with this bearer token.
    pub(super) fn call(&self, method: &str, target: &str, token: &str, body: &str) -> Response {
        let mut fields = bearer(token);
        if !body.is_empty() {
            fields.push_str("Content-Type: application/json\r\n");
        }
        self.keyward.ask(method, target, &fields, body)
    }

    /// The status of a GET with this bearer token.
    pub(super) fn status(&self, target: &str, token: &str) -> u16 {
        self.call("GET", target, token, "").status
    }

    /// The status of a GET with these field lines.
    pub(super) fn status_with(&self, target: &str, fields: &str) -> u16 {
        self.keyward.ask("GET", target, fields, "").status
    }

    /// The request that the upstream got for a GET with this bearer token.
    #[track_caller]
    pub(super) fn forwarded(&self, target: &str, token: &str) -> Request {
        self.forwarded_with(target, &bearer(token))
    }

    /// The request that the upstream got for a GET with these field lines.
    #[track_caller]
    pub(super) fn forwarded_with(&self, target: &str, fields: &str) -> Request {
        self.upstream.take();
        let response = self.keyward.ask("GET", target, fields, "");
        assert_eq!(response.status, 200, "{target}: {response}");
        self.upstream.take().requests.pop().expect("it was forwarded")
    }
}

/// An [`IssuerWorld`] that has a token API of style `accounts` too.
pub(super) struct AccountsWorld(IssuerWorld);

impl Deref for AccountsWorld {
    type Target = IssuerWorld;

    fn deref(&self) -> &IssuerWorld {
        &self.0
    }
}

impl AccountsWorld {
    pub(super) fn start() -> Self {
        Self::start_with(|plan| plan)
    }

    pub(super) fn start_with(more: impl FnOnce(Plan) -> Plan) -> Self {
        Self(IssuerWorld::start_with(|plan| more(Self::add_accounts(plan))))
    }

    fn add_accounts(plan: Plan) -> Plan {
        plan.table("token_api", "name = \"accounts\"\nstyle = \"accounts\"\nmount = \"/v1/auth\"")
            .route("path = \"/v1/me/{*rest}\"\nupstream = \"app\"\naccept = [\"accounts\"]")
            .route(
                "path = \"/mixed/{*rest}\"\nupstream = \"app\"\n\
                 accept = [\"accounts\", \"jarvispy\"]",
            )
            .route(
                "path = \"/live/{*rest}\"\nupstream = \"app\"\n\
                 accept = [\"accounts\", \"jarvispy\", \"platform\", \"agents\"]\n\
                 credentials.ticket = \"ticket\"",
            )
            .route(
                "path = \"/kept/{*rest}\"\nupstream = \"app\"\naccept = [\"accounts\"]\n\
                 forward_credential = true",
            )
    }

    /// A POST of a JSON body, with these field lines.
    pub(super) fn post(&self, target: &str, fields: &str, body: &str) -> Response {
        let fields = format!("{fields}Content-Type: application/json\r\n");
        self.keyward.ask("POST", target, &fields, body)
    }

    /// Registers an account with this password.
    pub(super) fn register(&self, username: &str, password: &str) -> Response {
        let body = json!({
            "username": username,
            "email": format!("{username}@example.com"),
            "password": password,
            "full_name": "A TestUser",
        });
        self.post("/v1/auth/register", "", &body.to_string())
    }

    pub(super) fn login(&self, username: &str, password: &str) -> Response {
        let body = json!({ "username": username, "password": password });
        self.post("/v1/auth/login", "", &body.to_string())
    }

    /// Registers an account with the password "correct horse", logs in and returns the session.
    pub(super) fn session(&self, username: &str) -> String {
        expect_json(&self.register(username, "correct horse"), 200);
        text(&expect_json(&self.login(username, "correct horse"), 200), "access_token")
    }

    /// A new API key of this session's account, and its id.
    pub(super) fn api_key(&self, session: &str) -> (String, String) {
        let made = self.post("/v1/auth/api-keys", &bearer(session), r#"{"name":"laptop"}"#);
        let made = expect_json(&made, 200);
        (text(&made, "raw_key"), text(&made, "id"))
    }
}

/// An [`AccountsWorld`], which has all four styles, with its records in either store.
pub(super) struct AllStylesWorld {
    // The order is that of the drops: keyward ends before its store.
    accounts: AccountsWorld,
    pub(super) redis: Option<RedisServer>,
}

impl Deref for AllStylesWorld {
    type Target = AccountsWorld;

    fn deref(&self) -> &AccountsWorld {
        &self.accounts
    }
}

impl AllStylesWorld {
    pub(super) fn with_embedded_store() -> Self {
        Self { accounts: AccountsWorld::start_with(Self::without_limits), redis: None }
    }

    pub(super) fn with_redis() -> Self {
        let redis = RedisServer::start();
        let accounts = AccountsWorld::start_with(|plan| Self::of_fleet(plan, &redis));
        Self { accounts, redis: Some(redis) }
    }

    /// Every account is registered from one address, and a hundred of them at once.
    fn without_limits(plan: Plan) -> Plan {
        plan.set("logins", "registrations_per_address", "1000").set(
            "logins",
            "hashing_threads",
            "4",
        )
    }

    /// The lease outlives the pauses of a busy machine: these tests judge no time.
    fn of_fleet(plan: Plan, redis: &RedisServer) -> Plan {
        Self::without_limits(plan).redis(&redis.url()).set("store", "coherence_lease", "\"10s\"")
    }

    /// Another instance of the same fleet.
    pub(super) fn second_instance(&self) -> World {
        let redis = self.redis.as_ref().expect("a fleet has Redis");
        let keys = format!("{:?}", self.keyward.keys().display().to_string());
        let plan = IssuerWorld::plan(&self.upstream, &self.issuer);
        let plan = Self::of_fleet(AccountsWorld::add_accounts(plan), redis);
        plan.set("keys", "directory", &keys).start()
    }
}

/// The field line of a bearer token.
pub(super) fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

/// The field line of an API key.
pub(super) fn api_key_field(key: &str) -> String {
    format!("X-API-Key: {key}\r\n")
}

/// The text of a member.
#[track_caller]
pub(super) fn text(body: &Value, member: &str) -> String {
    body[member].as_str().unwrap_or_else(|| panic!("no {member} in {body}")).to_owned()
}

/// The names of an object's members, in their order.
pub(super) fn members(body: &Value) -> Vec<&str> {
    body.as_object().expect("an object").keys().map(String::as_str).collect()
}

/// The JSON body of a response with this status; null where the body is empty. The response must
/// not be kept by caches, and a 401 must have a challenge.
#[track_caller]
pub(super) fn expect_json(response: &Response, status: u16) -> Value {
    assert_eq!(response.status, status, "{response}");
    assert_eq!(response.fields.one("cache-control").as_deref(), Some("no-store"), "{response}");
    if status == 401 {
        let challenge = response.fields.one("www-authenticate").unwrap_or_default();
        assert!(challenge.starts_with("Bearer"), "{response}");
    }
    if response.body.is_empty() { Value::Null } else { body_of(response) }
}
