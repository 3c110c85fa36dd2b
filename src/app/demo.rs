//! `keyward demo`: a whole keyward in a temporary folder, an echo upstream behind it, and the lines
//! to try it with.

use std::fs;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::control::{now, on_control_runtime};
use super::echo;
use super::run::{Process, Signals, Surroundings};
use crate::admin::BootstrapRequest;
use crate::cli::Failure;
use crate::config::{self, Config, Faults};
use crate::domain::Identity;
use crate::server::ListenAddress;
use crate::telemetry::log;

/// How many keys the printed bootstrap token can make: enough to repeat the lines.
const MINTS: u32 = 100;
/// The `iss` of the demo's login, and how long what it signs is good.
const LOGIN: &str = "https://login.demo.invalid";
const LOGIN_SECONDS: i64 = 24 * 60 * 60;
const LOGIN_SECRET: &str = "login-secret";

/// Runs until a signal ends it, and leaves nothing behind.
pub(super) fn demo(wanted: SocketAddr) -> Result<(), Failure> {
    let log = log::init(log::LogFormat::Human, log::LogLevel::Warn);
    let log = log.map_err(|fault| fault.to_string())?;
    let folder = TemporaryFolder::make()
        .map_err(|fault| format!("a temporary folder cannot be made: {fault}"))?;
    let address = free(wanted);
    on_control_runtime(async {
        let upstream = echo::start()
            .await
            .map_err(|fault| format!("the echo upstream cannot be started: {fault}"))?;
        let access = login(&folder.0)
            .map_err(|fault| format!("the demo's login cannot be made: {fault}"))?;
        let config = configuration(address, upstream, &folder.0)?;
        let mut signals = Signals::listen()?;
        let start = Process::start(config, None, Some(log), Surroundings::default());
        let Some(started) = signals.unless_told_to_end(start).await else { return Ok(()) };
        let mut process = started?;
        let issued = process
            .administration()
            .bootstrap_create(BootstrapRequest {
                token_api: "jarvispy".into(),
                identity: Identity {
                    subject: "auth0|demo".into(),
                    username: Some("demo-user".into()),
                    organization: Some("demo-org".into()),
                    role: Some("user".into()),
                    email: None,
                },
                mints: MINTS,
                expires_in: None,
                limits: None,
            })
            .await?;
        let listening = process.addresses().find_map(|listening| match listening {
            ListenAddress::Tcp(address) => Some(*address),
            ListenAddress::Unix(_) => None,
        });
        let listening = listening.unwrap_or(address);
        let guide = guide(listening, wanted, issued.token.expose(), &access);
        // The demo can be stopped without the guide.
        let _ =
            std::io::stdout().write_all(guide.as_bytes()).and_then(|()| std::io::stdout().flush());
        process.follow(signals, None).await;
        Ok(process.stop().await?)
    })
}

/// Makes a site's own login: a secret that keyward shares with it, in the folder, and what it signs
/// for its one user.
fn login(folder: &Path) -> std::io::Result<String> {
    let mut secret = [0; 32];
    aws_lc_rs::rand::fill(&mut secret).map_err(|_| std::io::Error::other("no randomness"))?;
    // Hexadecimal digits, as in a file that is edited by hand.
    let secret: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(folder.join(LOGIN_SECRET))?;
    file.write_all(secret.as_bytes())?;
    let now = now().unix_seconds();
    let claims = serde_json::json!({
        "iss": LOGIN, "sub": "demo|alice", "aud": "account", "typ": "Bearer", "iat": now, "exp": now + LOGIN_SECONDS,
        "preferred_username": "alice", "tenants": ["demo-org"], "active_tenant": "demo-org",
    });
    // RFC 7515, section 3.1.
    let encode = |part: &[u8]| URL_SAFE_NO_PAD.encode(part);
    let signed = format!(
        "{}.{}",
        encode(br#"{"alg":"HS256","typ":"JWT"}"#),
        encode(claims.to_string().as_bytes())
    );
    let signature =
        hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), signed.as_bytes());
    Ok(format!("{signed}.{}", encode(signature.as_ref())))
}

/// The address, or, if its port is taken, any free port beside it.
fn free(address: SocketAddr) -> SocketAddr {
    match TcpListener::bind(address) {
        Err(fault) if fault.kind() == std::io::ErrorKind::AddrInUse => {
            SocketAddr::new(address.ip(), 0)
        }
        // Any other fault is said when it is bound for good.
        Ok(_) | Err(_) => address,
    }
}

/// The configuration, with the places that are known only now.
fn configuration(
    address: SocketAddr,
    upstream: SocketAddr,
    folder: &Path,
) -> Result<Config, Faults> {
    let place = |name: &str| match name {
        "ADDRESS" => Some(address.to_string()),
        "UPSTREAM" => Some(upstream.to_string()),
        "FOLDER" => Some(folder.to_string_lossy().into_owned()),
        "LOGIN" => Some(LOGIN.to_owned()),
        _ => None,
    };
    config::parse(include_str!("demo.toml"), "demo", &place)
}

/// Each line can be pasted into a shell, in this order.
fn guide(listening: SocketAddr, wanted: SocketAddr, bootstrap: &str, access: &str) -> String {
    let moved = if listening == wanted || wanted.port() == 0 {
        String::new()
    } else {
        format!(
            "# Port {} is taken, so this demo listens on port {}.\n",
            wanted.port(),
            listening.port()
        )
    };
    let api = format!("http://{listening}/jarvispy/demo-org/demo-user/api/v1");
    let app = format!("http://{listening}");
    format!(
        r#"keyward is listening on {app}, in front of an echo server. Stop it with Ctrl-C; nothing is kept.
{moved}
# In another shell, line by line: the whole life of a token.

# 1. An administrator has made this bootstrap token. It is good for making keys and for nothing else.
BOOTSTRAP='{bootstrap}'

# And this is what a user of your site gets from its own login.
ACCESS='{access}'

# 2. Make a key. It is shown once.
TOKEN=$(curl -sS -X POST "{api}/auth/issue-token" -H "Authorization: Bearer $BOOTSTRAP" -H "Content-Type: application/json" -d '{{"name": "my first key", "expires_in_minutes": 60}}' | sed -n 's/.*"token":"\([^"]*\)".*/\1/p'); echo "$TOKEN"

# 3. Call the service behind keyward with it. The answer shows the identity headers that reached it.
curl -sS -i "{app}/hello?x=1" -H "Authorization: Bearer $TOKEN"

# 4. Without a token, or with a forged identity, nothing gets through; a public route lets through, without the forgery.
curl -sS -i "{app}/hello" -H "X-Keyward-Subject: root"; echo
curl -sS -i "{app}/public/hello" -H "X-Keyward-Subject: root"

# 5. List your keys.
curl -sS "{api}/auth/tokens" -H "Authorization: Bearer $TOKEN"; echo

# 6. Revoke the key. When this has answered, it is dead.
curl -sS -X POST "{api}/auth/revoke" -H "Authorization: Bearer $TOKEN"; echo

# 7. See: 401.
curl -sS -i "{app}/hello" -H "Authorization: Bearer $TOKEN"; echo

# 8. tenant-tokens: with what their login gave them, users make keys for a tenant. By clicks: {app}/api/v1/docs
TENANT_KEY=$(curl -sS -X POST "{app}/api/v1/active/tokens/" -H "Authorization: Bearer $ACCESS" -H "Content-Type: application/json" -d '{{"name": "my-api-token", "expiry_date": "2099-12-31T23:59:59Z"}}' | sed -n 's/.*"token":"\([^"]*\)".*/\1/p'); echo "$TENANT_KEY"
curl -sS -i "{app}/hello" -H "Authorization: Bearer $TENANT_KEY"

# 9. agent-tokens: one key for a user's agents.
AGENT_KEY=$(curl -sS -X POST "{app}/api/agent-tokens/me/get-or-create" -H "Authorization: Bearer $ACCESS" | sed -n 's/.*"token":"\([^"]*\)".*/\1/p'); echo "$AGENT_KEY"
curl -sS -i "{app}/hello" -H "Authorization: Bearer $AGENT_KEY"

# 10. accounts: register, log in, make a key.
curl -sS -X POST "{app}/v1/auth/register" -H "Content-Type: application/json" -d '{{"username": "alice", "email": "alice@example.com", "password": "correct horse", "full_name": "Alice Example"}}'; echo
SESSION=$(curl -sS -X POST "{app}/v1/auth/login" -H "Content-Type: application/json" -d '{{"username": "alice", "password": "correct horse"}}' | sed -n 's/.*"access_token":"\([^"]*\)".*/\1/p')
ACCOUNT_KEY=$(curl -sS -X POST "{app}/v1/auth/api-keys" -H "Authorization: Bearer $SESSION" -H "Content-Type: application/json" -d '{{"name": "script"}}' | sed -n 's/.*"raw_key":"\([^"]*\)".*/\1/p'); echo "$ACCOUNT_KEY"
curl -sS -i "{app}/hello" -H "X-API-Key: $ACCOUNT_KEY"

# The access log follows.
"#
    )
}

/// A folder that is gone when this is.
struct TemporaryFolder(PathBuf);

impl TemporaryFolder {
    fn make() -> std::io::Result<Self> {
        let mut random = [0; 8];
        aws_lc_rs::rand::fill(&mut random).map_err(|_| std::io::Error::other("no randomness"))?;
        let name = format!("keyward-demo-{:016x}", u64::from_be_bytes(random));
        let path = std::env::temp_dir().join(name);
        // Of this user alone, and not one that was there already.
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }
}

impl Drop for TemporaryFolder {
    fn drop(&mut self) {
        if let Err(fault) = fs::remove_dir_all(&self.0) {
            tracing::warn!(folder = %self.0.display(), %fault, "the temporary folder could not be \
             removed");
        }
    }
}
