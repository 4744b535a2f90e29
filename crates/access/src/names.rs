//! Who the users and groups of the machine are.

use std::ffi::CString;

use nix::unistd::{Group, Uid, User, getgrouplist};

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

impl SystemNames {
    /// All groups of a user, as a process has them that the user starts; none if the machine has no such
    /// user.
    pub fn groups_of(&self, uid: u32) -> Vec<u32> {
        let user = User::from_uid(Uid::from_raw(uid)).ok().flatten();
        let groups =
            user.and_then(|user| getgrouplist(&CString::new(user.name).ok()?, user.gid).ok());
        groups.unwrap_or_default().into_iter().map(nix::unistd::Gid::as_raw).collect()
    }
}

impl Names for SystemNames {
    fn user(&self, name: &str) -> Option<u32> {
        User::from_name(name).ok().flatten().map(|user| user.uid.as_raw())
    }

    fn group(&self, name: &str) -> Option<u32> {
        Group::from_name(name).ok().flatten().map(|group| group.gid.as_raw())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_knows_root_and_its_groups() {
        assert_eq!(SystemNames.user("root"), Some(0));
        assert_eq!(SystemNames.group("no-such-group"), None);
        assert!(SystemNames.groups_of(0).contains(&0));
        assert!(SystemNames.groups_of(u32::MAX - 7).is_empty());
    }
}
