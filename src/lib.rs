//! keyward: an authenticating reverse proxy.
//!
//! It stands in front of upstream services, checks the token on every request against a server-side
//! allowlist, serves the API that manages those tokens, and forwards what passes with identity
//! headers that the upstream can trust. This crate is the program; its interface is the command
//! line, the configuration and HTTP, and what is `pub` here is so for the tests.
//!
//! # The map
//!
//! A request passes these stages: accept → TLS → hyper → gate → route → authenticate → authorize →
//! forward → respond.
//!
//! * hyper speaks HTTP/1.1 and HTTP/2, to clients and to upstreams. keyward parses and writes no
//!   message itself.
//! * [`server`] has the sockets. It accepts, does TLS, and gives a connection to one worker, a
//!   thread per core, where it stays. `server::http1` and `server::http2` drive hyper, with
//!   deadlines and drain; `server::socket` tells what hyper does not, such as when a head begins
//!   and that a client has gone.
//! * [`gateway`] has the rest: [`gateway::run`] calls the stages in order, and each is a file with
//!   the verb as its name. `gateway::gate` judges the head of every request, of both versions, and
//!   brings it into one normal form.
//! * [`upstream`] connects to endpoints (names, TLS, Unix sockets) and has the worker's own pool of
//!   connections, of HTTP/1.1 and HTTP/2.
//! * [`wire`] has what HTTP means to all three: authorities, fields, paths, deadlines, problem
//!   details.
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
//! Around it: [`cli`] reads the arguments, [`config`] turns one file into checked data, [`admin`]
//! has the probes and the socket on which the command line talks to a running keyward,
//! [`telemetry`] the log, the access log and the metrics. Only [`app`] knows every part: it puts
//! them together, runs them, reloads them and stops them.
//!
//! The fuzz targets are in `fuzzing`, which tests have, and `make fuzz` by a feature.
//!
//! What operators hand over as files is read by [`files`]: its access rights, and the text in its
//! bytes, whatever editor wrote them.
//!
//! Imports go one way: `domain` ← `tokens` ← `store`, `api`; `wire` ← `upstream`, `api` ← `gateway`
//! ← `server`; `files` ← `tls` ← `config`, `store`, `upstream`, `server`; nobody but `cli` and
//! `app` imports `config`. A test reads the sources and keeps the arrows.
//!
//! # The glossary
//!
//! One word for one thing, in the code, the configuration, the logs, the metrics and the documents.
//!
//! | word | meaning |
//! |---|---|
//! | token | a credential that keyward issued; it leaves keyward once, in the answer that issues it |
//! | record | the server-side entry of a token. No record, no access: the records are the allowlist |
//! | API key | a token that its owner lists, uses and revokes |
//! | bootstrap token | a token from an administrator that makes a stated number of API keys, and opens nothing |
//! | account, user | somebody who registered with a username and a password; what an administrator calls a user |
//! | session | a login: it makes the calls of token APIs, and opens no route |
//! | hint | the first characters of an opaque token, which lists show so that its owner knows it again |
//! | origin | whose credential made a token, where that was not the token API's own: subjects are unique only within one |
//! | owner | whose an API key is: one subject of one origin within one token API |
//! | authorized by | what authorizes a change: the caller's record, or something outside the store |
//! | retired | of an API key: it opens nothing any more, and is still in its owner's list |
//! | credential | what a request carries to say who it is: a token, or a JWT of an issuer |
//! | issuer | an outside party whose JWTs are accepted |
//! | form | what a credential claims to be, by its first characters: a JWT, or a key with the prefix of a token API |
//! | opaque | of a token: random characters with a MAC, which say nothing of their holder |
//! | tenant | the organization that a request is about, where its path names one |
//! | sole key | the one key that an owner has at a token API of style `agent-tokens` |
//! | digest | what a token is known by where it is checked: an HMAC of it under a pepper |
//! | token id (`jti`) | what a token is known by where it is managed: a UUID, which opens nothing |
//! | pepper | a secret of the digests; it is in the directory of keys and not in the store |
//! | store key | what the store is sealed with and knows its fleet by; beside the peppers |
//! | identity | who a request is: subject, username, organization, role, email |
//! | token API | one of the REST faces that manage tokens, mounted at a path |
//! | style | which contract a token API speaks |
//! | face | the code that speaks one style |
//! | upstream, endpoint | a named group of servers, one of them |
//! | route | host, path and method → what is required, and which upstream |
//! | permit | the leave to forward one request; only the stage that authorizes can make one |
//! | refusal | a "no" that keyward itself answers |
//! | plan | a configuration, compiled; a reload makes a new one, and each request sees exactly one |
//! | head | request line or status line and header fields; in HTTP/2 the field section |
//! | gate | the check that the head of every request passes before anything else reads it |
//! | exchange | one request and its response; it leaves one line in the access log, however it ends |
//! | control | the deadline and the cut-off of an exchange: of a connection (HTTP/1.1) or of a stream (HTTP/2) |
//! | tunnel | an exchange that was switched to WebSocket and carries bytes both ways |
//! | worker | one thread with a runtime, connections, pools and counters of its own |
//! | fence | what is taken before a record is read, so that a revocation meanwhile is noticed |
//! | instance | one keyward process |
//! | fleet | all instances that share a store |
//! | link | the one connection on which an instance hears of removals, and earns its lease |
//! | lease | until when what the store said may be used |
//! | announcement | what tells the fleet of a removal; each instance confirms it |
//! | term | from the establishment of the link to its end |
//! | site | the master of the store as it was found for a term |
//! | generation | the data of a store, until it is lost or replaced |

pub mod admin;
pub mod api;
pub mod app;
pub mod cli;
pub mod config;
pub mod domain;
pub mod files;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
pub mod gateway;
pub mod server;
pub mod store;
pub mod telemetry;
pub mod tls;
pub mod tokens;
pub mod upstream;
pub mod wire;
