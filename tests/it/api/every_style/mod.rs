//! What holds for every style and over both stores; one file for each guarantee.

mod at_rest;
mod key_rotation;
mod lifecycle;
mod limits;
mod one_winner;
mod rate_limits;
mod tickets;
mod trailing_slash;
mod wrong_credentials;

use crate::api::worlds::AllStylesWorld;
use crate::support::TestUser;

/// Makes each case a test over each store.
macro_rules! over_both_stores {
    ($($case:ident;)+) => {
        mod embedded {
            $(#[test] fn $case() {
                super::$case(&super::AllStylesWorld::with_embedded_store());
            })+
        }
        mod redis {
            $(#[test] fn $case() { super::$case(&super::AllStylesWorld::with_redis()); })+
        }
    };
}
use over_both_stores;

/// One credential of each kind, in the order of the columns in [`wrong_credentials`].
fn credentials(world: &AllStylesWorld) -> Vec<(&'static str, String)> {
    let bootstrap = world.keyward.bootstrap(TestUser::ALICE, 2);
    vec![
        ("a key of allowlist-jwt", world.keyward.key(TestUser::ALICE).token),
        ("a bootstrap token", bootstrap),
        ("a key of tenant-tokens", world.tenant_key("acme").0),
        ("a key of agent-tokens", world.agent_key()),
        ("an access token", world.alice()),
        ("an ID token", world.issuer.identity("alice")),
    ]
}
