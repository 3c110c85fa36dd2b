//! A Redis that refuses keyward or is not configured as a store of tokens needs it.

use crate::support::redis::RedisServer;

use super::case::{Case, case, holding, swap, typed};

/// The configuration with a Redis that was started with these lines, and these of `[store]` after
/// its `url`, in line 9.
fn redis(
    name: &'static str,
    place: &'static str,
    words: &[&'static str],
    server: &'static str,
    lines: &'static str,
) -> Case {
    holding(name, place, words, move |_| {
        let redis = RedisServer::start_with(server);
        let store = format!("kind = \"redis\"\nurl = \"{}\"\n{lines}", redis.url());
        (swap("path = \"keyward.db\"", &store), redis)
    })
}

pub(super) fn cases() -> Vec<Case> {
    const USER: &str = "user app on >right ~* &* +@all";
    vec![
        case("an unreadable password", "9:17", &["\"none\" cannot be read"], |_| {
            swap(
                "path = \"keyward.db\"",
                "kind = \"redis\"\nurl = \"redis://127.0.0.1\"\npassword_file = \"none\"",
            )
        }),
        redis(
            "a wrong password",
            "8:7",
            &["[store]", "WRONGPASS", "correct \"username\" and \"password\""],
            USER,
            "username = \"app\"\npassword = \"wrong\"",
        ),
        redis(
            "a wrong ACL",
            "8:7",
            &["[store]", "right to", "ACL rule"],
            "user app on >right ~* &* +@all -publish",
            "username = \"app\"\npassword = \"right\"",
        ),
        redis(
            "an ACL without keys",
            "8:7",
            &["[store]"],
            "user app on >right ~other:* &* +@all",
            "username = \"app\"\npassword = \"right\"",
        ),
        redis(
            "a Redis that may evict",
            "8:7",
            &["maxmemory-policy is allkeys-lru, wanted is noeviction"],
            "maxmemory-policy allkeys-lru",
            "",
        ),
        redis(
            "a Redis that forgets",
            "8:7",
            &["persistence is none", "allow_volatile"],
            "appendonly no",
            "",
        ),
        redis(
            "replicas that are not there",
            "8:7",
            &["revoke_acks = 2 asks for more replicas"],
            "",
            "revoke_acks = 2",
        ),
        redis("no Cluster", "8:7", &["[store]"], "", "topology = \"cluster\""),
        case("a Redis of no topology", "8:7", &["lists several servers"], |_| {
            swap("path = \"keyward.db\"", "kind = \"redis\"\nurl = [\"redis://a\", \"redis://b\"]")
        }),
        typed(
            "a path for a Redis",
            "8:",
            &["\"path\" is for \"kind\" \"embedded\""],
            "path = \"keyward.db\"",
            "kind = \"redis\"\npath = \"a\"\nurl = \"redis://a\"",
        ),
    ]
}
