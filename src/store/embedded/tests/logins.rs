//! The use-cases of accounts, with this store, a cheap hash and the counters of a single keyward.
//! They are tested with this store because the use-cases know none.

mod accounts;
mod guessing;
mod hashes;

use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use uuid::Uuid;

use crate::domain::{
    Account, Email, FullName, Moment, NewPassword, Password, RawToken, Record, RecordKind,
    Timestamp, TokenDigest, TokenId, Username,
};
use crate::store::{EmbeddedOptions, EmbeddedStore, RecordKey, StoreIdentity};
use crate::tokens::accounts::{
    AccountCommand, AccountError, AccountOutcome, AccountParts, AccountTerms, AccountsService,
    ClientGroup, Enrolment, HashingCost, HashingPool, KeyCommand, Logins, MemoryCounters,
    PasswordHash, Registration,
};
use crate::tokens::authenticator::{Authenticator, Verdict};
use crate::tokens::cache::TokenCache;
use crate::tokens::keyring::{CredentialSort, Peppers, SecretBytes};
use crate::tokens::lease::Lease;
use crate::tokens::opaque::{Alphabet, OpaqueApi, OpaqueApis, OpaqueFormat, OpaqueTokens};
use crate::tokens::parts::TokenParts;
use crate::tokens::signed::{KeyMaterial, SignedTokens, SigningAlgorithm};
use crate::tokens::store::Listed;
use crate::tokens::verified::{Caller, Power};

const CHEAP: HashingCost = HashingCost { memory_kib: 64, passes: 1, lanes: 1 };
const NOW: Timestamp = Timestamp::from_unix_millis(1_771_237_800_000);

struct AccountsBench {
    service: AccountsService,
    parts: AccountParts,
    authenticator: Authenticator,
    terms: AccountTerms,
    _directory: tempfile::TempDir,
}

fn bench() -> AccountsBench {
    bench_with(CHEAP)
}

fn bench_with(cost: HashingCost) -> AccountsBench {
    let directory = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(
        &directory.path().join("db"),
        &StoreIdentity { key: &RecordKey::new(&[1; 32]), fingerprint: b"fingerprint" },
        EmbeddedOptions::default(),
    )
    .unwrap();
    let algorithm = SigningAlgorithm::Hs256;
    let signed = [("k1".into(), algorithm, KeyMaterial::new(vec![7; 32]))];
    let two = NonZeroUsize::new(2).unwrap();
    let parts = AccountParts {
        tokens: TokenParts {
            store: store.clone(),
            cache: Arc::new(TokenCache::new(100, Lease::endless())),
            signed: Arc::new(SignedTokens::new("keyward".into(), signed).unwrap()),
            opaque: Arc::new(OpaqueTokens::new([&SecretBytes::new([2; 32])])),
            peppers: Arc::new(Peppers::new(&SecretBytes::new([3; 32]), [])),
            deadline: Duration::from_secs(10),
        },
        accounts: store,
        counters: Arc::new(MemoryCounters::default()),
        counter_key: Arc::new(SecretBytes::new([4; 32])),
        hashing: Arc::new(HashingPool::start(two, NonZeroUsize::new(64).unwrap(), cost).unwrap()),
        limits: Logins::default(),
    };
    let authenticator = Authenticator::new(parts.tokens.clone());
    let terms = AccountTerms {
        token_api: "accounts".into(),
        algorithm,
        session: Duration::from_secs(3600),
        enrolment: Enrolment::Open,
        format: OpaqueFormat { prefix: "rst_".into(), alphabet: Alphabet::Base36 },
    };
    AccountsBench {
        service: AccountsService::new(parts.clone()),
        parts,
        authenticator,
        terms,
        _directory: directory,
    }
}

fn registration(username: &str) -> Registration {
    Registration {
        username: Username::new(username).unwrap(),
        email: Email::new(&format!("{username}@example.com")).unwrap(),
        password: new_password("correct horse"),
        full_name: FullName::new("A Person").unwrap(),
    }
}

fn new_password(text: &str) -> NewPassword {
    NewPassword::new(Password::presented(text.into())).unwrap()
}

fn name(text: &str) -> Username {
    Username::new(text).unwrap()
}

fn from(address: &str) -> ClientGroup {
    address.parse::<IpAddr>().unwrap().into()
}

impl AccountsBench {
    async fn ask(
        &self,
        caller: Option<&Caller>,
        command: AccountCommand,
    ) -> Result<AccountOutcome, AccountError> {
        self.service.execute(&self.terms, from("192.0.2.1"), caller, command, NOW).await
    }

    async fn keys(
        &self,
        caller: &Caller,
        command: KeyCommand,
    ) -> Result<AccountOutcome, AccountError> {
        self.ask(Some(caller), AccountCommand::Keys(command)).await
    }

    async fn register(&self, username: &str) -> Account {
        match self.ask(None, AccountCommand::Register(registration(username))).await {
            Ok(AccountOutcome::Registered(account)) => account,
            other => panic!("{other:?}"),
        }
    }

    async fn login_from(
        &self,
        client: &str,
        username: &str,
        password: &str,
    ) -> Result<RawToken, AccountError> {
        let (username, password) = (username.to_owned(), Password::presented(password.to_owned()));
        let command = AccountCommand::Login { username, password };
        match self.service.execute(&self.terms, from(client), None, command, NOW).await? {
            AccountOutcome::LoggedIn { token } => Ok(token),
            other => panic!("{other:?}"),
        }
    }

    async fn login(&self, username: &str, password: &str) -> Result<RawToken, AccountError> {
        self.login_from("192.0.2.1", username, password).await
    }

    /// The caller with this token, as the gateway finds out.
    async fn caller(&self, token: &RawToken) -> Option<Caller> {
        let apis = OpaqueApis::new(vec![OpaqueApi {
            token_api: Arc::clone(&self.terms.token_api),
            format: self.terms.format.clone(),
            takes_api_key_field: true,
        }]);
        let form = apis.form_of(token.expose().as_bytes());
        let digest = self.authenticator.digest(form.sort(), token.expose().as_bytes());
        let now = Moment { wall: NOW, uptime: crate::tokens::clock::uptime() };
        if let Some(Verdict::Passed(caller)) = self.authenticator.recall(form, digest, now) {
            return Some(caller);
        }
        match self.authenticator.check(form, token.expose().as_bytes(), digest, now).await.unwrap()
        {
            Verdict::Passed(caller) => Some(caller),
            Verdict::Refused(_) => None,
        }
    }

    async fn session(&self, username: &str) -> Caller {
        let token = self.login(username, "correct horse").await.unwrap();
        self.caller(&token).await.unwrap()
    }

    async fn issue(&self, caller: &Caller) -> (RawToken, Record) {
        match self.keys(caller, KeyCommand::Issue { name: "laptop".into(), limits: None }).await {
            Ok(AccountOutcome::KeyIssued { key, record }) => (key, *record),
            other => panic!("{other:?}"),
        }
    }

    async fn list(&self, caller: &Caller) -> Vec<Listed> {
        match self.keys(caller, KeyCommand::List).await {
            Ok(AccountOutcome::Keys(keys)) => keys,
            other => panic!("{other:?}"),
        }
    }

    async fn is_recorded(&self, digest: TokenDigest) -> bool {
        self.parts.tokens.store.find(digest).await.unwrap().is_some()
    }
}
