//! The port, as every store must do it.

use super::*;

async fn fresh() -> (StoreDirectory, Arc<dyn Store>) {
    let directory = StoreDirectory::new();
    let store = directory.open();
    (directory, store)
}

crate::store::tests::conformance::conforms!(fresh);
