//! What of a configuration is fixed for the life of a process.

use crate::config::{Config, Store};
use crate::store::redis::settings::Servers;
use crate::tls::Trust;

/// What of the store is fixed for the life of a process.
fn without_secrets(store: &Store) -> Store {
    let mut store = store.clone();
    if let Some(redis) = &mut store.redis {
        let settings = &mut redis.options.settings;
        (settings.username, settings.password) = (None, None);
        if let Servers::Sentinel { username, password, .. } = &mut settings.servers {
            (*username, *password) = (None, None);
        }
        if let Some(tls) = &mut settings.tls {
            (tls.trust, tls.identity) = (Trust::System, None);
        }
    }
    store
}

/// What is fixed for the life of a process, and differs: the key at which that is said, and its
/// name.
pub(super) fn needs_restart(old: &Config, new: &Config) -> Vec<(&'static str, &'static str)> {
    let logs = |config: &Config| (config.log.format, config.log.access.clone());
    let cores = |config: &Config| (config.server.workers, config.server.pin);
    [
        (
            "store",
            "[store], but for passwords and certificates,",
            without_secrets(&old.store) != without_secrets(&new.store),
        ),
        ("keys", "[keys]", old.keys != new.keys),
        ("logins", "[logins]", old.logins != new.logins),
        ("admin", "[admin]", old.admin != new.admin),
        ("server", "[server] workers and pin", cores(old) != cores(new)),
        (
            "limits.connections",
            "[limits] connections",
            old.limits.connections != new.limits.connections,
        ),
        (
            "limits.cached_tokens",
            "[limits] cached_tokens",
            old.limits.cached_tokens != new.limits.cached_tokens,
        ),
        ("log", "[log] format and access", logs(old) != logs(new)),
    ]
    .into_iter()
    .filter_map(|(key, name, differs)| differs.then_some((key, name)))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_reload_cannot_change_is_named_at_its_table() {
        let old = Config::default();
        let mut new = old.clone();
        assert_eq!(needs_restart(&old, &new), []);
        new.keys.issuer = "another".to_owned();
        new.limits.connections += 1;
        let keys: Vec<_> = needs_restart(&old, &new).into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, ["keys", "limits.connections"]);
    }
}
