//! Users with tokens: the calls of the token API `jarvispy`, made as an integration would make
//! them.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::message::Response;
use super::{World, eventually};

/// A user for whom tokens are made.
#[derive(Clone, Copy)]
pub(crate) struct TestUser {
    pub(crate) subject: &'static str,
    pub(crate) username: &'static str,
    pub(crate) organization: &'static str,
    pub(crate) role: &'static str,
}

impl TestUser {
    pub(crate) const ALICE: Self = Self::user("auth0|alice", "alice");
    pub(crate) const BOB: Self = Self::user("auth0|bob", "bob");
    pub(crate) const ADMIN: Self = Self { role: "admin", ..Self::user("auth0|root", "root") };

    pub(crate) const fn user(subject: &'static str, username: &'static str) -> Self {
        Self { subject, username, organization: "my-org", role: "user" }
    }
}

/// A token with the id that its record has.
#[derive(Clone, Debug)]
pub(crate) struct Issued {
    pub(crate) token: String,
    pub(crate) jti: String,
}

impl World {
    /// A bootstrap token, made by the administrator's command, good for this many mints. This
    /// prepares a test and is no test itself: where the machine was too busy for the store's
    /// deadlines, the command is given again.
    pub(crate) fn bootstrap(&self, person: TestUser, mints: usize) -> String {
        let mut made = Err(String::new());
        eventually(|| {
            made = self.try_bootstrap(person, mints);
            made.as_ref().err().is_none_or(|words| {
                let late = ["the store is unavailable", "the store did not answer in time"];
                !late.iter().any(|why| words.contains(why))
            })
        });
        made.unwrap_or_else(|words| panic!("bootstrap create: {words}"))
    }

    /// As [`bootstrap`](Self::bootstrap), where the store may be away.
    ///
    /// # Errors
    ///
    /// What the command wrote to its standard error.
    pub(crate) fn try_bootstrap(&self, person: TestUser, mints: usize) -> Result<String, String> {
        let mints = mints.to_string();
        let output = self.run(&[
            "bootstrap",
            "create",
            "--token-api",
            "jarvispy",
            "--sub",
            person.subject,
            "--username",
            person.username,
            "--organization",
            person.organization,
            "--role",
            person.role,
            "--mints",
            &mints,
        ]);
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        let text = String::from_utf8(output.stdout).expect("a token is ASCII");
        let token = text.trim_end_matches('\n');
        assert!(
            !token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic()),
            "standard output holds the token alone, not {text:?}"
        );
        Ok(token.to_owned())
    }

    /// The token API as this user calls it.
    pub(crate) fn api(&self, person: TestUser) -> TokenApi<'_> {
        TokenApi {
            world: self,
            mount: format!("/jarvispy/{}/{}/api/v1", person.organization, person.username),
        }
    }

    /// A first key of this user, made with a bootstrap token.
    pub(crate) fn key(&self, person: TestUser) -> Issued {
        self.api(person).mint(&self.bootstrap(person, 1))
    }
}

/// The token API below one mount.
pub(crate) struct TokenApi<'w> {
    world: &'w World,
    mount: String,
}

impl TokenApi<'_> {
    pub(crate) fn path(&self, call: &str) -> String {
        format!("{}{call}", self.mount)
    }

    /// Any call, with a JSON body if there is one.
    pub(crate) fn call(&self, method: &str, call: &str, token: &str, body: &str) -> Response {
        let mut fields = format!("Authorization: Bearer {token}\r\n");
        if !body.is_empty() {
            fields.push_str("Content-Type: application/json\r\n");
        }
        self.world.ask(method, &self.path(call), &fields, body)
    }

    pub(crate) fn issue(&self, token: &str, body: &str) -> Response {
        self.call("POST", "/auth/issue-token", token, body)
    }

    /// Issues a token and takes it out of the answer. This prepares a test and is no test itself:
    /// where the machine was too busy for the store's deadline, the answer is a 503 that asks to
    /// try again, and the call is made again.
    pub(crate) fn mint(&self, token: &str) -> Issued {
        let mut response = self.issue(token, "");
        eventually(|| {
            let is_late = response.status == 503 && response.fields.has("retry-after");
            if is_late {
                response = self.issue(token, "");
            }
            !is_late
        });
        issued(&response)
    }

    pub(crate) fn list(&self, token: &str) -> Response {
        self.call("GET", "/auth/tokens", token, "")
    }

    /// The ids in the list, in its order.
    pub(crate) fn jtis(&self, token: &str) -> Vec<String> {
        let response = self.list(token);
        assert_eq!(response.status, 200, "{response}");
        let tokens = json(&response)["data"]["tokens"].clone();
        let tokens = tokens.as_array().expect("an array of tokens").clone();
        tokens.iter().map(|entry| entry["jti"].as_str().expect("a jti").to_owned()).collect()
    }

    pub(crate) fn revoke(&self, token: &str) -> Response {
        self.call("POST", "/auth/revoke", token, "")
    }

    pub(crate) fn revoke_by_jti(&self, token: &str, jti: &str) -> Response {
        self.call("POST", &format!("/auth/revoke/{jti}"), token, "")
    }

    pub(crate) fn revoke_all(&self, token: &str) -> Response {
        self.call("POST", "/auth/revoke-all", token, "")
    }
}

/// The token of a successful issue call.
pub(crate) fn issued(response: &Response) -> Issued {
    assert_eq!(response.status, 200, "{response}");
    let data = &json(response)["data"];
    let text =
        |key: &str| data[key].as_str().unwrap_or_else(|| panic!("no {key} in {data}")).to_owned();
    Issued { token: text("token"), jti: text("jti") }
}

/// The body as JSON.
pub(crate) fn json(response: &Response) -> Value {
    serde_json::from_slice(&response.body).unwrap_or_else(|error| panic!("{error} in {response}"))
}

/// The claims that a token carries, unverified.
pub(crate) fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).expect("a JWT has three parts");
    let bytes = URL_SAFE_NO_PAD.decode(payload).expect("a payload is base64url");
    serde_json::from_slice(&bytes).expect("a payload is JSON")
}
