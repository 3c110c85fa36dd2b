//! `GET /api-keys`.

use serde_json::Value;

use super::API_KEYS;
use crate::api::worlds::{AccountsWorld, expect_json, members};

#[test]
fn the_callers_own_keys_are_listed_oldest_first_and_without_the_keys_themselves() {
    let world = AccountsWorld::start();
    let (hershel, maggie) = (world.session("hershel"), world.session("maggie"));
    let keys: Vec<_> = (0..3).map(|_| world.api_key(&hershel)).collect();
    let (_, of_maggie) = world.api_key(&maggie);
    let response = world.call("GET", API_KEYS, &hershel, "");
    let listed = expect_json(&response, 200);
    let ids = |list: &Value| -> Vec<Value> {
        list.as_array().expect("an array").iter().map(|key| key["id"].clone()).collect()
    };
    assert_eq!(ids(&listed), keys.iter().map(|(_, id)| id.as_str()).collect::<Vec<_>>());
    assert_eq!(members(&listed[0]), ["id", "name", "prefix", "is_active", "created_at"]);
    for (key, _) in &keys {
        assert!(!response.text().contains(key), "{response}");
    }
    let listed = expect_json(&world.call("GET", API_KEYS, &maggie, ""), 200);
    assert_eq!(ids(&listed), [of_maggie]);
}
