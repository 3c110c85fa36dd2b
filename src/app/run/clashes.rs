//! One path for two things: each would overwrite or refuse the other's file.
//!
//! Each path alone may be right, so all are compared before anything is made, whatever their
//! spelling, through symbolic links too.

use std::fs;
use std::path::{Path, PathBuf};

use crate::config::Config;
use crate::server::ListenAddress;
use crate::store::EmbeddedStore;
use crate::telemetry::access_log::AccessLogTarget;
use crate::wire::socket_file;

/// A file or a folder that keyward makes or writes, and what it is for.
struct UsedPath {
    /// The key of the configuration that names it.
    key: String,
    /// What it is, to be read after "is": "[store] path" for instance.
    name: String,
    /// The path as it is written.
    path: PathBuf,
    /// The one that is named, and those that belong to it.
    all: Vec<PathBuf>,
}

/// The keys whose path is also that of another thing, with words.
pub(super) fn clashes(config: &Config) -> Vec<(String, String)> {
    let places = places(config);
    let mut found = Vec::new();
    for (at, place) in places.iter().enumerate() {
        let taken = places.iter().take(at).find_map(|other| {
            place.all.iter().any(|path| other.all.contains(path)).then_some(&other.name)
        });
        if let Some(taken) = taken {
            let words = format!(
                "{} {} is that of {taken}, or of a file beside it: name another one",
                place.name,
                place.path.display()
            );
            found.push((place.key.clone(), words));
        }
    }
    found
}

fn places(config: &Config) -> Vec<UsedPath> {
    let mut places = Vec::new();
    let mut add = |key: &str, name: &str, path: &Path, all: Vec<PathBuf>| {
        let all = all.iter().map(|path| resolved(path)).collect();
        places.push(UsedPath { key: key.into(), name: name.into(), path: path.into(), all });
    };
    let file = Path::new(config.places.origin());
    add("", "the configuration", file, vec![file.to_owned()]);
    if config.store.redis.is_none() {
        let path = &config.store.path;
        add("store.path", "[store] path", path, EmbeddedStore::files_of(path).collect());
    }
    let keys = &config.keys.directory;
    add("keys.directory", "[keys] directory", keys, vec![keys.clone()]);
    let with_lock = |path: &Path| vec![path.to_owned(), socket_file::lock_path(path)];
    let socket = &config.admin.socket;
    add("admin.socket", "[admin] socket", socket, with_lock(socket));
    if let Some(AccessLogTarget::File(path)) = &config.log.access {
        add("log.access", "[log] access", path, vec![path.clone()]);
    }
    for (at, listener) in config.listeners.iter().enumerate() {
        if let ListenAddress::Unix(path) = &listener.address {
            let key = format!("listener[{at}].address");
            add(&key, "the address of a [[listener]]", path, with_lock(path));
        }
    }
    places
}

/// The path without links, as far as it is there.
fn resolved(path: &Path) -> PathBuf {
    if let Ok(found) = fs::canonicalize(path) {
        return found;
    }
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    match (path.parent(), path.file_name()) {
        (Some(folder), Some(name)) => resolved(folder).join(name),
        _ => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_the_same_in_every_spelling_be_it_there_or_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let inside = |name: &str| folder.path().join(name);
        fs::create_dir(inside("a")).expect("made");
        std::os::unix::fs::symlink("a", inside("link")).expect("made");
        assert_eq!(resolved(&inside("link/new/x")), resolved(&inside("a/new/x")));
        assert_eq!(resolved(&inside("a/../x")), resolved(&inside("x")));
        assert_ne!(resolved(&inside("a/x")), resolved(&inside("x")));
    }
}
