//! Migrations that are refused, and write nothing.

use super::{BACK, EMBEDDED, MigrationWorld, REDIS, fill, keys, refused, summary, words};

#[test]
fn other_keys_are_refused_and_nothing_is_written() {
    let (world, _) = MigrationWorld::of(fill);
    let other = MigrationWorld::plan(&world.upstream).start();
    let directory = format!("{:?}", other.folder().join("keys").display().to_string());
    let plan = MigrationWorld::plan(&world.upstream).redis(&world.redis.url()).set(
        "keys",
        "directory",
        &directory,
    );
    world.keyward.write(REDIS, &plan);
    refused(&world.migrate(EMBEDDED, REDIS), "different [keys]");
    assert_eq!(keys(&world.redis, "*"), [""; 0]);
    refused(&world.migrate(EMBEDDED, EMBEDDED), "the same store");
    assert_eq!(world.migrate(EMBEDDED, "nowhere.toml").status.code(), Some(1));
    // The same store's key, but one of what makes its tokens is missing.
    let (whole, partial) =
        (world.keyward.folder().join("keys"), world.keyward.folder().join("partial"));
    let plan = MigrationWorld::plan(&world.upstream).set("store", "path", "\"back.db\"").set(
        "keys",
        "directory",
        &format!("{:?}", partial.display().to_string()),
    );
    world.keyward.write(BACK, &plan);
    for (missing, added, word) in [
        ("jwt-", None, "is missing: tokens that it has signed"),
        (
            "mac-",
            Some("mac-2.key"),
            "a mac-….key of the source is missing: opaque tokens that were made with it",
        ),
        (
            "pepper",
            Some("pepper-2.key"),
            "a pepper-….key of the source is missing: tokens that are known under it",
        ),
    ] {
        std::fs::create_dir(&partial).expect("a folder");
        for entry in std::fs::read_dir(&whole).expect("the keys").flatten() {
            let name = entry.file_name().into_string().expect("a name");
            if !name.starts_with(missing) {
                std::fs::copy(entry.path(), partial.join(name)).expect("copied");
            }
        }
        if let Some(name) = added {
            std::fs::copy(whole.join("store.key"), partial.join(name)).expect("copied");
        }
        refused(&world.migrate(EMBEDDED, BACK), word);
        assert!(!world.keyward.folder().join("back.db").exists(), "{missing}");
        std::fs::remove_dir_all(&partial).expect("removed");
    }
}

#[test]
fn a_target_that_holds_anything_else_is_refused_and_the_differences_are_named() {
    let (world, (_, key, _)) = MigrationWorld::of(fill);
    summary(&world.migrate(EMBEDDED, REDIS), 0);
    let issued = world.keyward.run_on(
        REDIS,
        &[
            "bootstrap",
            "create",
            "--token-api",
            "jarvispy",
            "--sub",
            "s",
            "--username",
            "u",
            "--organization",
            "o",
            "--role",
            "r",
        ],
    );
    assert!(issued.status.success(), "{}", words(&issued));
    let record = keys(&world.redis, "{keyward}:r:*").into_iter().find(|record| {
        let id = world.redis.command(&["HGET", record, "i"]).text();
        id == key.jti.replace('-', "")
    });
    let digest = record.expect("the key's record")["{keyward}:r:".len()..].to_owned();
    world.redis.command(&["HSET", "{keyward}:used", &digest, "9000000000000"]);
    let before = keys(&world.redis, "*").len();
    let output = world.migrate(EMBEDDED, REDIS);
    let found = summary(&output, 1);
    assert_eq!(found["differing"], 2, "{found}");
    let said = words(&output);
    assert!(
        said.contains(&format!("API key {} of \"jarvispy\" differs: last use", key.jti)),
        "{said}"
    );
    assert!(said.contains("bootstrap token ") && said.contains("is only at the target"), "{said}");
    assert!(!said.contains(&digest) && !found.to_string().contains(&digest));
    assert_eq!(keys(&world.redis, "*").len(), before);
}

#[test]
fn a_store_that_is_served_or_not_there_is_refused() {
    let (mut world, _) = MigrationWorld::of(fill);
    refused(&world.migrate(BACK, REDIS), "there is no store at");
    refused(&world.migrate(REDIS, BACK), "there is no store of the fleet");
    assert!(!world.keyward.folder().join("back.db").exists());
    world.keyward.write("embedded.toml", &MigrationWorld::plan(&world.upstream));
    world.keyward.restart();
    refused(&world.migrate(EMBEDDED, REDIS), "the source");
    world.keyward.stop();
    summary(&world.migrate("embedded.toml", REDIS), 0);
    world.serve_from_redis();
    refused(&world.migrate(REDIS, BACK), "a keyward is running");
    refused(&world.migrate("embedded.toml", REDIS), "a keyward is running");
    // One that was killed has left its entry, but does not renew it.
    world.keyward.kill();
    assert_eq!(world.redis.command(&["HLEN", "{keyward}:instances"]).integer(), 1);
    summary(&world.migrate(REDIS, BACK), 0);
}
