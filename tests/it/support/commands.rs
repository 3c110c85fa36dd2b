//! Subcommands of the real binary, on the configuration of a world.

use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::process::{Command, Output, Stdio};

use tempfile::tempfile;

use super::{World, eventually};

impl World {
    /// Runs a subcommand on this world's configuration.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.run_on("keyward.toml", arguments)
    }

    /// Runs a subcommand on a configuration of this name in this world's folder. It has to end by
    /// itself.
    pub(crate) fn run_on(&self, config: &str, arguments: &[&str]) -> Output {
        self.run_on_with(config, arguments, &[], Stdio::null())
    }

    /// As [`run`](Self::run), with these variables in its environment.
    pub(crate) fn run_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
        self.run_on_with("keyward.toml", arguments, variables, Stdio::null())
    }

    /// As [`run`](Self::run), with these bytes on its standard input.
    pub(crate) fn run_reading(&self, arguments: &[&str], input: impl AsRef<[u8]>) -> Output {
        let mut file = tempfile().expect("a file");
        file.write_all(input.as_ref())
            .and_then(|()| file.rewind())
            .expect("what is to be read can be written");
        self.run_on_with("keyward.toml", arguments, &[], file.into())
    }

    fn run_on_with(
        &self,
        config: &str,
        arguments: &[&str],
        variables: &[(&str, &str)],
        input: Stdio,
    ) -> Output {
        let (mut stdout, mut stderr) = (tempfile().expect("a file"), tempfile().expect("a file"));
        let mut child = Command::new(env!("CARGO_BIN_EXE_keyward"))
            .args(arguments)
            .arg("-c")
            .arg(self.folder().join(config))
            .current_dir(self.folder())
            .envs(variables.iter().copied())
            .stdin(input)
            .stdout(stdout.try_clone().expect("a handle"))
            .stderr(stderr.try_clone().expect("a handle"))
            .spawn()
            .expect("the binary starts");
        let mut status = None;
        let ended = eventually(|| {
            status = child.try_wait().expect("our child can be waited for");
            status.is_some()
        });
        if !ended {
            let _ = child.kill();
            let _ = child.wait();
        }
        let said = |file: &mut File| {
            let mut bytes = Vec::new();
            file.rewind()
                .and_then(|()| file.read_to_end(&mut bytes))
                .expect("what was written can be read");
            bytes
        };
        let (stdout, stderr) = (said(&mut stdout), said(&mut stderr));
        let status = status.unwrap_or_else(|| {
            panic!(
                "keyward {arguments:?} does not end by itself:\n{}",
                String::from_utf8_lossy(&stderr)
            )
        });
        Output { status, stdout, stderr }
    }
}
