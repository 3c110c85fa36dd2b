//! The port, as every store must do it.

use super::*;

async fn fresh() -> (Place, Arc<dyn Store>) {
    let place = Place::new();
    let store = place.open();
    (place, store)
}

crate::store::conformance::conforms!(fresh);
