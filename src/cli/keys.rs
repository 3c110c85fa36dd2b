//! `keyward keys create`: a directory of keys, made before anything runs.

use std::path::PathBuf;

use clap::Subcommand;

use super::context::Context;
use super::failure::Failure;
use crate::tokens::signed::SigningAlgorithm;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a directory with all the keys that a keyward needs, and print the paths of the files.
    ///
    /// It is for keys that are mounted: a Secret of Kubernetes, secrets of Docker, credentials of
    /// systemd, or a folder that the instances of a fleet share. A directory that holds anything is
    /// refused. Without --algorithm, the signing keys are those that the token APIs of the
    /// configuration need; without a configuration, one for HS256.
    Create(Create),
}

#[derive(Debug, clap::Args)]
pub(super) struct Create {
    /// The directory: not there yet, or empty.
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// Make a signing key for this algorithm: HS256, EdDSA, ES256 or RS256. May be given several
    /// times.
    #[arg(long, value_name = "NAME", value_parser = algorithm)]
    algorithm: Vec<SigningAlgorithm>,
}

fn algorithm(text: &str) -> Result<SigningAlgorithm, String> {
    SigningAlgorithm::ALL
        .into_iter()
        .find(|known| known.name().eq_ignore_ascii_case(text))
        .ok_or_else(|| {
            let known = SigningAlgorithm::ALL.map(SigningAlgorithm::name);
            format!("there are {}", known.join(", "))
        })
}

impl Command {
    pub(super) fn execute(self, context: &mut Context<'_>) -> Result<(), Failure> {
        let Self::Create(Create { directory, mut algorithm }) = self;
        algorithm.sort_unstable();
        algorithm.dedup();
        let made = context.runtime.create_keys(context.config, &directory, &algorithm)?;
        for path in made {
            context.print(path.display())?;
        }
        context.note(
            "set \"directory\" in [keys] to where all of these files are mounted together, \
             read-only if you like; every instance of a fleet needs the same ones. Keep a copy in \
             a safe place: without them no token works, and no backup of the store can be read",
        );
        Ok(())
    }
}
