//! What rules have to know about a client.

use std::ffi::CString;
use std::fs;
use std::io::Read as _;

use nix::unistd::{Gid, Uid, User, getgrouplist};
use sspc_access::{Asks, Certificate, Client};

use crate::session::Peer;

/// The most of a process's cgroup file that is read, in bytes.
const CGROUP_MAX: u64 = 64 * 1024;

/// What was found out about a client.
#[derive(Debug, Default)]
pub(super) struct About {
    gids: Vec<u32>,
    unit: Option<String>,
    executable: Option<String>,
}

impl About {
    /// Finds out what the rules ask for.
    pub(super) fn of(peer: &Peer, asks: Asks) -> Self {
        let Peer::Process { pid, uid, gid, .. } = peer else { return Self::default() };
        let mut about = Self::default();
        if asks.groups {
            about.gids = groups(*uid, *gid);
        }
        if let Some(pid) = pid {
            if asks.unit {
                about.unit = unit(*pid);
            }
            if asks.executable {
                let path = fs::read_link(format!("/proc/{pid}/exe")).ok();
                about.executable = path.and_then(|path| path.into_os_string().into_string().ok());
            }
        }
        about
    }

    /// The client, as rules see it.
    pub(super) fn client<'a>(&'a self, peer: &'a Peer) -> Client<'a> {
        let mut client = Client {
            gids: &self.gids,
            unit: self.unit.as_deref(),
            executable: self.executable.as_deref(),
            ..Client::default()
        };
        match peer {
            Peer::Process { uid, .. } => client.uid = Some(*uid),
            Peer::Address(address) => client.address = Some(address.ip()),
            Peer::Certified { address, certificate, .. } => {
                client.address = Some(address.ip());
                let (names, sha256) = (&certificate.names[..], certificate.sha256);
                client.certificate = Some(Certificate { names, sha256 });
            }
            Peer::Channel { line, .. } => {
                client.line = line.port.as_deref();
                client.address = line.address;
                client.key = line.device.as_deref();
            }
            Peer::Pipe { name, .. } => client.line = Some(name),
            Peer::Unknown => {}
        }
        client
    }
}

/// The group that the process runs as, and those that its user is in.
fn groups(uid: u32, gid: u32) -> Vec<u32> {
    let mut gids = vec![gid];
    let name = User::from_uid(Uid::from_raw(uid)).ok().flatten().map(|user| user.name);
    if let Some(name) = name.and_then(|name| CString::new(name).ok())
        && let Ok(more) = getgrouplist(&name, Gid::from_raw(gid))
    {
        gids.extend(more.into_iter().map(Gid::as_raw));
    }
    gids
}

/// The systemd unit that a process belongs to.
fn unit(pid: i32) -> Option<String> {
    let mut text = String::new();
    let file = fs::File::open(format!("/proc/{pid}/cgroup")).ok()?;
    file.take(CGROUP_MAX).read_to_string(&mut text).ok()?;
    unit_of(&text)
}

/// The innermost unit of a process's control group: slices hold units, and are none here.
fn unit_of(cgroups: &str) -> Option<String> {
    let path = cgroups.lines().find_map(|line| line.strip_prefix("0::")).or_else(|| {
        cgroups.lines().find_map(|line| line.split_once(":name=systemd:").map(|(_, path)| path))
    })?;
    let is_unit = |part: &&str| [".service", ".scope"].iter().any(|kind| part.ends_with(kind));
    path.split('/').rev().find(is_unit).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_is_the_innermost_one_of_the_control_group() {
        let of = |text: &str| unit_of(text);
        assert_eq!(of("0::/system.slice/meter.service\n").as_deref(), Some("meter.service"));
        let user = "0::/user.slice/user-1000.slice/user@1000.service/app.slice/a.scope/sub\n";
        assert_eq!(of(user).as_deref(), Some("a.scope"));
        let old = "12:cpu:/\n1:name=systemd:/system.slice/x@1.service\n";
        assert_eq!(of(old).as_deref(), Some("x@1.service"));
        assert_eq!(of("0::/\n"), None);
        assert_eq!(of(""), None);
    }

    #[test]
    fn what_is_asked_is_found_out_about_this_process() {
        let pid = i32::try_from(std::process::id()).ok();
        let peer = Peer::Process { pid, uid: 0, gid: 7, is_abstract: false };
        let asks = Asks { groups: true, unit: true, executable: true };
        let about = About::of(&peer, asks);
        let client = about.client(&peer);
        let executable = std::env::current_exe().unwrap();
        assert_eq!(client.executable, executable.to_str());
        assert!(client.gids.contains(&7));
        assert_eq!(client.uid, Some(0));
        let nothing = About::of(&peer, Asks::default());
        assert_eq!((nothing.client(&peer).executable, nothing.gids.len()), (None, 0));
    }
}
