//! keyward: an authenticating reverse proxy.
//!
//! It is put in front of upstream services, checks the token on every request against a server-side
//! allowlist, serves the API that manages those tokens, and forwards what passes with identity
//! headers that the upstream can trust. This crate is the program; its interface is the command
//! line, the configuration and HTTP. Items are `pub` for the tests.
//!
//! # The map
//!
//! A request passes these stages: accept → TLS → hyper → gate → route → cors → authenticate →
//! authorize → limit → forward or own answer → respond.
//!
//! * hyper speaks HTTP/1.1 and HTTP/2, to clients and to upstreams. keyward parses and writes no
//!   message itself.
//! * [`server`] has the sockets. It accepts, does TLS, and gives a connection to one worker, a
//!   thread per core, where it stays. `server::http1` and `server::http2` drive hyper, with
//!   deadlines and drain; `server::socket` notices what hyper does not report, such as when a head
//!   begins and that a client has gone.
//! * [`gateway`] has the rest: [`gateway::run`] calls the stages in order, and each is a file with
//!   the verb as its name. `gateway::gate` judges the head of every request, of both versions, and
//!   brings it into one normal form.
//! * [`upstream`] connects to endpoints (TLS, Unix sockets) and has the worker's own pool of
//!   connections, of HTTP/1.1 and HTTP/2. It resolves names on the control thread.
//! * [`wire`] has what these three share: authorities, fields, paths, deadlines, problem details,
//!   socket files.
//!
//! A call of a token API takes the same line up to authenticate, and then goes to a face in
//! [`api`], which turns the request into a command and the outcome into a response, and decides
//! nothing. The commands are carried out in [`tokens`]: there tokens are signed and verified,
//! remembered by the cache, issued and revoked. It knows neither HTTP nor a database: it asks for a
//! [`tokens::store::Store`], and [`store`] has two: SQLite for one instance, Redis for a fleet,
//! with the directory of keys beside them. JWTs of outside issuers are judged there too
//! ([`tokens::issuer`]); their keys are fetched by [`upstream::document`], on the control thread.
//! The rules that need neither a clock nor I/O are in [`domain`].
//!
//! TLS is set up in [`tls`] for listeners, upstreams, issuers and Redis alike; the files of its
//! certificates and keys are watched. It reads the names in a client's certificate, too.
//!
//! Around it: [`cli`] reads the arguments, [`config`] turns one file into checked data by what the
//! parts declare with [`settings`], [`admin`] has the probes and the socket on which the command
//! line talks to a running keyward, [`telemetry`] the log, the access log and the metrics. Only
//! [`app`] knows every part: it puts them together, runs them, reloads them, hands them over to
//! another process and stops them.
//!
//! How many requests may be made, and be under way, is counted by [`limits`], which knows neither
//! HTTP nor a store.
//!
//! What operators hand over as files is read by [`files`]: it checks their access rights and
//! decodes their text.
//!
//! The fuzz targets are in `fuzzing`. Tests have them, and `make fuzz` by a feature.
//!
//! Imports go one way: `domain` ← `tokens` ← `store`, `api`; `wire` ← `upstream`, `api` ← `gateway`
//! ← `server`; `files` ← `tls` ← `store`, `upstream`, `server`; `limits` ← `store`, `gateway`;
//! `settings` ← all parts whose settings are declared with it ← `config` ← `cli`, `app`. Files
//! within one part make no circle either. A test reads the sources and checks both.
//!
//! # The glossary
//!
//! One word for one thing, in the code, the configuration, the logs, the metrics and the documents.
//!
//! | word | meaning |
//! |---|---|
//! | token | a credential that keyward issued; only the answer that issues it holds it |
//! | record | the server-side entry of a token. No record, no access: the allowlist |
//! | API key | a token that its owner lists, uses and revokes |
//! | bootstrap token | a token from an administrator that makes a stated number of API keys |
//! | account, user | a registered username and password; administrators say user |
//! | session | a login: it makes the calls of token APIs, and opens no route |
//! | identity | the holder: subject, username, organization, role, email |
//! | caller | the holder of a credential that was found good, during one request |
//! | hint | the first characters of an opaque token, shown in lists |
//! | origin | the issuer or token API whose credential made a token, if another one did |
//! | owner | of an API key: one subject of one origin within one token API |
//! | authorized by | what permits a change: the caller's record, or something outside the store |
//! | retired | of an API key: it opens nothing any more, and is still listed |
//! | credential | what a request carries to be authenticated: a token, or a JWT of an issuer |
//! | issuer | an outside party whose JWTs are accepted |
//! | credential form | a JWT, or a key with the prefix of a token API, by the first characters |
//! | opaque | of a token: random characters with a MAC, without claims |
//! | tenant | the organization that a request is about, where its path names one |
//! | sole key | the one key that an owner has at a token API of style `agent-tokens` |
//! | digest | an HMAC of a token under a pepper; the records are found by it |
//! | token id (`jti`) | a UUID that names a token for lists and revocations, and opens nothing |
//! | pepper | a secret of the digests, in the directory of keys and not in the store |
//! | store key | the secret that seals the store and identifies it, beside the peppers |
//! | token API | one of the REST interfaces that manage tokens, mounted at a path |
//! | style | the contract that a token API speaks |
//! | face | the code that speaks one style |
//! | upstream, endpoint | a named group of servers, one of them: one address, where it has a name |
//! | route | host, path, method and conditions → what is required, and what answers |
//! | condition | what a header or a parameter of the query must be for a route |
//! | own answer | a redirect or a fixed answer of a route that leads to no upstream |
//! | preflight | the request by which a browser asks what CORS allows before it sends another |
//! | permit | the permission to forward one request, made by `authorize`; of a quota, one of it |
//! | quota | a rate and its burst |
//! | scope | of a limit: by what it counts, such as by token |
//! | counter | what is left of a quota, for one value of a scope |
//! | allowance | what one instance may let pass of a counter of the fleet before it asks again |
//! | refusal | a "no" that keyward itself answers |
//! | plan | a compiled configuration; each request sees exactly one |
//! | head | request or status line and header fields; in HTTP/2 the field section |
//! | gate | the check that the head of every request passes first |
//! | spelling | a path as it came, where that is not its normal form |
//! | exchange | one request and its response; it leaves one line in the access log |
//! | control | deadline and cut-off of an HTTP/1.1 connection or an HTTP/2 stream |
//! | tunnel | an exchange that was switched to another protocol and carries bytes both ways |
//! | worker | one thread with a runtime, connections, pools and counters of its own |
//! | instance | one keyward process |
//! | load | what an instance has under way, and how much it may have |
//! | share | how many requests one token may have under way at the moment |
//! | fleet | all instances that share a store |
//! | hand-over | another process takes sockets and store over, and serves in the place of this one |
//! | service manager | systemd, or what does its work: it starts keyward, and may listen for it |
//! | fence | taken before a record is read; a revocation in between breaks it |
//! | epoch | a number that is raised when an instance forgets all that it remembers |
//! | link | the connection on which an instance learns of removals and earns its lease |
//! | lease | until when the answers of the store may be used |
//! | announcement | the message that tells the fleet of a removal; each instance confirms it |
//! | term | from the establishment of the link to its end |
//! | primary | the Redis node that takes the writes, as it was found for a term |
//! | generation | the data of a store, until it is lost or replaced |

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests measure what takes real time"))]

pub mod admin;
pub mod api;
#[allow(
    clippy::disallowed_methods,
    reason = "the control thread starts, watches and stops parts, each with a deadline of its own"
)]
pub mod app;
pub mod cli;
pub mod config;
pub mod domain;
pub mod files;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
pub mod gateway;
pub mod limits;
pub mod server;
pub mod settings;
#[allow(
    clippy::disallowed_methods,
    reason = "calls of a store have deadlines of their own, and its threads may wait"
)]
pub mod store;
pub mod telemetry;
pub mod tls;
pub mod tokens;
pub mod upstream;
pub mod wire;
