//! `--access` and `--allow-everyone`: which clients are served, and what they may do.

use std::path::PathBuf;

use clap::{Args, ValueHint};
use sspc_access::SystemNames;
use sspc_policy::{Policy, Severity};
use sspc_proxy::{AccessRules, Handle, ListenAddress};

use crate::access_file::{self, LoadError};
use crate::console::Console;
use crate::exit::Failure;

/// Who may do what.
#[derive(Debug, Args)]
pub(crate) struct AccessArgs {
    /// Who may do what, as TOML: which clients may open which streamtypes and set which metadata, and how much
    /// they get; read again at SIGHUP
    ///
    /// docs/access.md has the format, `sspc access check` finds mistakes in it. Without a file the files of
    /// sockets decide, which are for owner and group (0660) unless an address says `mode`; a socket without a
    /// file, such as the default one, is for the proxy's own user and root.
    #[arg(long = "access", value_name = "FILE", value_hint = ValueHint::FilePath)]
    file: Option<PathBuf>,

    /// Serve every user of this machine at sockets without a file, such as the default one
    #[arg(long, conflicts_with = "file")]
    allow_everyone: bool,
}

impl AccessArgs {
    /// The rules, as they are now.
    pub(super) fn load(&self, policy: &Policy, console: Console) -> Result<AccessRules, LoadError> {
        match &self.file {
            Some(path) => {
                let access = access_file::load(path, &SystemNames)?;
                console.mistakes(Severity::Warning, access.warnings());
                console.mistakes(Severity::Warning, &access.warnings_about(policy));
                Ok(AccessRules::Rules(access))
            }
            None if self.allow_everyone => Ok(AccessRules::Everyone),
            None => Ok(AccessRules::OwnUser),
        }
    }

    /// The same at start.
    pub(super) fn first(&self, policy: &Policy, console: Console) -> Result<AccessRules, Failure> {
        self.load(policy, console).map_err(|error| access_file::refuse(error, console))
    }

    /// Reads the file again; keeps the old rules if it is wrong.
    pub(super) fn reload(&self, handle: &Handle, console: Console) {
        if self.file.is_none() {
            return;
        }
        match self.load(&handle.policy(), console) {
            Ok(rules) => handle.set_access(rules),
            Err(error) => {
                let why = access_file::refuse(error, console).message;
                console.say(&format!("sspc proxy: the old rules of access stay: {why}"));
            }
        }
    }

    /// Says who is served, where others might expect to be.
    pub(super) fn tell<'a>(
        &self,
        mut addresses: impl Iterator<Item = &'a ListenAddress>,
        console: Console,
    ) {
        let is_open = |address: &&ListenAddress| matches!(address, ListenAddress::Abstract { .. });
        let Some(open) = addresses.find(is_open) else { return };
        if self.allow_everyone {
            tracing::warn!("every user of this machine may use {open}: --allow-everyone");
        } else if self.file.is_none() {
            let own = rustix::process::geteuid();
            let who =
                if own.is_root() { "root".to_owned() } else { format!("user {own} and root") };
            console.say(&format!(
                "sspc proxy: {open} is for {who} alone; --allow-everyone or --access FILE lets others in"
            ));
        }
    }
}
