//! `DELETE /api-keys/{key_id}`.

use super::API_KEYS;
use crate::api::worlds::{AccountsWorld, api_key_field, expect_json};

#[test]
fn keys_of_other_accounts_are_as_unknown_as_ids_never_given() {
    let world = AccountsWorld::start();
    let (hershel, maggie) = (world.session("hershel"), world.session("maggie"));
    let (key, id) = world.api_key(&hershel);
    let never_given = "00000000-0000-4000-8000-000000000000";
    let answers = [id.as_str(), never_given].map(|id| {
        let refused = world.call("DELETE", &format!("{API_KEYS}/{id}"), &maggie, "");
        expect_json(&refused, 404)
    });
    assert_eq!(answers[0], answers[1]);
    assert_eq!(world.status_with("/v1/me/x", &api_key_field(&key)), 200);
}

#[test]
fn an_id_that_is_no_uuid_gets_422() {
    let world = AccountsWorld::start();
    let session = world.session("hershel");
    expect_json(&world.call("DELETE", &format!("{API_KEYS}/7"), &session, ""), 422);
}
