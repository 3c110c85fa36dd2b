//! No file of keyward and no value in Redis holds a credential or a password.

use std::path::Path;

use super::over_both_stores;
use crate::api::worlds::{AllStylesWorld, api_key_field, bearer};
use crate::support::TestUser;

over_both_stores! {
    no_token_is_at_rest;
    no_password_session_or_api_key_of_an_account_is_at_rest;
}

/// None of these secrets is in a file of keyward (other than its keys), in Redis or in its files.
#[track_caller]
fn assert_none_at_rest(world: &AllStylesWorld, secrets: &[String]) {
    fn files(folder: &Path, visit: &mut dyn FnMut(String, Vec<u8>)) {
        for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
            let (path, kind) = (entry.path(), entry.file_type().expect("a file has a type"));
            if kind.is_dir() && !path.ends_with("keys") {
                files(&path, visit);
            } else if kind.is_file() {
                visit(
                    path.display().to_string(),
                    std::fs::read(&path).expect("a file can be read"),
                );
            }
        }
    }
    let mut places = Vec::new();
    files(world.keyward.folder(), &mut |path, bytes| places.push((path, bytes)));
    if let Some(redis) = &world.redis {
        files(redis.directory(), &mut |path, bytes| places.push((path, bytes)));
        let everything = redis.everything();
        assert!(everything.len() > 1000, "it holds something");
        places.push(("Redis".into(), everything));
    } else {
        assert!(
            places.iter().any(|(path, bytes)| path.ends_with("keyward.db") && bytes.len() > 4096)
        );
    }
    for secret in secrets {
        // The whole, and each part that would be of use: what is random, a signature, a payload.
        let parts = secret.split(['.', '_', '-', ' ']).filter(|part| part.len() >= 16);
        for part in parts.chain([secret.as_str()]) {
            let half = &part[part.len() / 2..];
            for word in [part, if half.len() >= 16 { half } else { part }] {
                for (place, bytes) in &places {
                    let is_there =
                        bytes.windows(word.len()).any(|window| window == word.as_bytes());
                    assert!(!is_there, "{place} holds {word} of {secret}");
                }
            }
        }
    }
}

fn no_token_is_at_rest(world: &AllStylesWorld) {
    let (alice, bootstrap) =
        (world.keyward.key(TestUser::ALICE), world.keyward.bootstrap(TestUser::ALICE, 2));
    let (tenant, id) = world.tenant_key("acme");
    let revoked = world.tenant_key("globex");
    let agent = world.agent_key();
    let renewed = world.agent_key();
    let outside = [world.alice(), world.bob(), world.issuer.identity("alice")];
    let secrets =
        [[alice.token, bootstrap, tenant, revoked.0, agent, renewed].as_slice(), &outside].concat();
    for token in &secrets {
        for target in ["/private/x", "/agents/x", "/api/v1/active/x", "/people/x"] {
            world.call("GET", target, token, "");
        }
    }
    let gone =
        world.call("DELETE", &format!("/api/v1/globex/tokens/{}", revoked.1), &world.alice(), "");
    assert_eq!((gone.status, id.len()), (204, 36));
    assert_none_at_rest(world, &secrets);
}

fn no_password_session_or_api_key_of_an_account_is_at_rest(world: &AllStylesWorld) {
    let session = world.session("hershel");
    let (key, id) = world.api_key(&session);
    let (revoked, _) = world.api_key(&session);
    assert_eq!(world.login("hershel", "a password that is wrong").status, 401);
    for fields in [bearer(&session), bearer(&key), api_key_field(&revoked)] {
        world.status_with("/v1/me/x", &fields);
    }
    assert_eq!(world.call("DELETE", &format!("/v1/auth/api-keys/{id}"), &session, "").status, 204);
    let passwords = ["correct horse", "a password that is wrong"].map(str::to_owned);
    assert_none_at_rest(
        world,
        &[session, key, revoked].into_iter().chain(passwords).collect::<Vec<_>>(),
    );
}
