//! The only place that knows every part: puts them together from a configuration, runs them,
//! reloads and stops them.

mod administration;
mod assemble;
mod control;
mod demo;
mod echo;
mod explain;
mod hand_over;
mod issuers;
mod keys;
mod lease;
mod memory;
mod neighbour;
mod open_store;
mod parts;
mod process_reader;
mod run;
mod service_manager;
mod status;
mod store_backup;
mod store_check;
mod store_migrate;
mod validate;

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::admin::Administration;
use crate::api::openapi;
use crate::cli::{
    BackupReport, Beginning, Failure, OpenRefusal, Replace, RestoreReport, Runtime, Settings,
};
use crate::config;
use crate::gateway::mounted;
use crate::store::embedded::backup::Existing;
use crate::store::key_directory;
use crate::tokens::finding::Finding;
use crate::tokens::migration::{Migration, Step};
use crate::tokens::signed::SigningAlgorithm;
use control::now;
use parts::Parts;

/// The program, as the command line sees it.
pub struct App;

impl Runtime for App {
    fn run(&self, config: &Path, beginning: Beginning) -> Result<(), Failure> {
        run::run(config, beginning)
    }

    fn demo(&self, address: SocketAddr) -> Result<(), Failure> {
        demo::demo(address)
    }

    fn validate(&self, path: &Path) -> Result<Settings, Failure> {
        validate::validate(path)
    }

    fn openapi(&self, path: &Path) -> Result<String, Failure> {
        let document = openapi::document(&mounted(&assemble::token_apis(&config::load(path)?)));
        Ok(serde_json::to_string_pretty(&document).map_err(|fault| fault.to_string())?)
    }

    fn check_store(&self, path: &Path) -> Result<Vec<Finding>, Failure> {
        Ok(store_check::check(&config::load(path)?)?)
    }

    fn create_keys(
        &self,
        path: &Path,
        directory: &Path,
        algorithms: &[SigningAlgorithm],
    ) -> Result<Vec<PathBuf>, Failure> {
        let algorithms = match (algorithms, path.try_exists()) {
            ([], Ok(true)) => {
                let config = config::load(path).map_err(|faults| {
                    format!(
                        "{faults}\nto make keys without this configuration, name what is signed \
                         with --algorithm"
                    )
                })?;
                keys::signing_algorithms(&config)
            }
            ([], _) => vec![SigningAlgorithm::Hs256],
            (named, _) => named.to_vec(),
        };
        let made = key_directory::create::create(directory, &algorithms, now());
        Ok(made.map_err(|fault| fault.to_string())?)
    }

    fn back_up_store(
        &self,
        path: &Path,
        file: &Path,
        replace: Replace,
    ) -> Result<BackupReport, Failure> {
        let existing = match replace {
            Replace::Nothing => Existing::Refuse,
            Replace::EarlierBackup => Existing::Replace,
        };
        Ok(store_backup::back_up(&config::load(path)?, file, existing)?)
    }

    fn restore_store(&self, path: &Path, file: &Path) -> Result<RestoreReport, Failure> {
        Ok(store_backup::restore(&config::load(path)?, file)?)
    }

    fn migrate_store(
        &self,
        from: &Path,
        to: &Path,
        step: &mut dyn FnMut(Step),
    ) -> Result<Migration, Failure> {
        Ok(store_migrate::migrate(&config::load(from)?, &config::load(to)?, step)?)
    }

    fn open_administration(&self, path: &Path) -> Result<Box<dyn Administration>, OpenRefusal> {
        let config = config::load(path).map_err(|faults| OpenRefusal::Other(faults.into()))?;
        let is_new = config.store.redis.is_none() && !config.store.path.exists();
        let parts = Parts::open_for_command(&config).map_err(|fault| {
            let words = fault.to_string();
            if fault.is_in_use() {
                OpenRefusal::InUse(words)
            } else {
                OpenRefusal::Other(words.into())
            }
        })?;
        let made = if is_new { ", which was made just now" } else { "" };
        // The operator may have meant another store. If it cannot be said, the work is done all the
        // same.
        let _ = writeln!(
            std::io::stderr(),
            "keyward: no keyward is running; using the store {}{made}",
            match &config.store.redis {
                None => config.store.path.display().to_string(),
                Some(redis) => format!("of the fleet {:?} in Redis", redis.options.settings.prefix),
            }
        );
        Ok(Box::new(administration::OwnAdministration::new(parts, &config, None)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn validate_loads_the_files_of_upstreams_as_run_does() {
        let folder = tempfile::tempdir().expect("a folder");
        let pair = |name: &str| {
            let made =
                rcgen::generate_simple_self_signed(["app.test".to_owned()]).expect("a certificate");
            let (pem, key) = (
                folder.path().join(format!("{name}.pem")),
                folder.path().join(format!("{name}.key")),
            );
            std::fs::write(&pem, made.cert.pem()).expect("written");
            std::fs::write(&key, made.signing_key.serialize_pem()).expect("written");
            (pem, key)
        };
        let ((pem, key), (_, other_key)) = (pair("a"), pair("b"));
        let path = folder.path().join("keyward.toml");
        let [socket, store, keys] =
            ["admin.sock", "keyward.db", "keys"].map(|name| folder.path().join(name));
        let validate = |key: &Path| {
            let text = format!(
                "listener = [{{ address = '127.0.0.1:0' }}]\n\
                 admin = {{ address = 'off', socket = {socket:?} }}\n\
                 store = {{ path = {store:?} }}\n\
                 keys = {{ directory = {keys:?} }}\n\
                 route = [{{ path = '/', upstream = 'app', public = true }}]\n\
                 [[upstream]]\nname = 'app'\nendpoints = ['https://app.test']\n\
                 tls = {{ ca_file = {pem:?}, certificate = {pem:?}, key = {key:?} }}\n"
            );
            std::fs::write(&path, text).expect("written");
            App.validate(&path).map(drop)
        };
        assert_eq!(validate(&key), Ok(()));
        let fault = validate(&other_key).expect_err("the key is another certificate's");
        assert!(fault.to_string().contains("b.key"), "{fault}");
        assert!(!socket.exists() && !store.exists() && !keys.exists(), "nothing is made");
    }
}
