//! Accounts: the port, and what only this store promises.

use super::*;
use crate::tokens::accounts::AccountStore;

async fn fresh() -> (RedisServer, Arc<dyn Store>, Arc<dyn AccountStore>) {
    let world = World::new().await;
    (world.server, Arc::clone(&world.store) as _, world.store)
}

mod conforms {
    use super::*;
    crate::store::account_conformance::conforms_accounts! { fresh }
}
