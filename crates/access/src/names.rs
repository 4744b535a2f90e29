//! Who the users and groups of the machine are.

use nix::unistd::{Group, User};

/// Finds users and groups by their names.
pub trait Names {
    /// The user's number.
    fn user(&self, name: &str) -> Option<u32>;

    /// The group's number.
    fn group(&self, name: &str) -> Option<u32>;
}

/// Those of this machine, as its name service has them.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemNames;

impl Names for SystemNames {
    fn user(&self, name: &str) -> Option<u32> {
        User::from_name(name).ok().flatten().map(|user| user.uid.as_raw())
    }

    fn group(&self, name: &str) -> Option<u32> {
        Group::from_name(name).ok().flatten().map(|group| group.gid.as_raw())
    }
}
