//! A gateway's proxy at the end of a cable, and the bridge at the other.

use std::process::{Child, Output, Stdio};

use sspc_sim::Cable;
use tempfile::TempDir;

use crate::support::origin::Origin;
use crate::support::{Proxy, Stderr, random_address, run, sspc, wait};

/// Finds out soon that the other end is gone. A busy machine may be taken for a dead one.
pub(crate) const FAST: &str = "?baud=40000000&profile=fast";
/// Takes no busy machine for a dead one.
pub(crate) const PATIENT: &str = "?baud=40000000";

/// A proxy at one end of a cable whose other end is free.
pub(crate) struct Gateway {
    pub(crate) proxy: Proxy,
    pub(crate) cable: Cable,
    pub(crate) origin: Origin,
    options: &'static str,
    _dir: TempDir,
}

impl Gateway {
    pub(crate) fn start(options: &'static str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let cable = Cable::new(dir.path()).unwrap();
        let origin = Origin::start();
        let address = serial(&cable, 1, options);
        let proxy = Proxy::start_at(&origin.policy(), &address, &["-v"]);
        Self { proxy, cable, origin, options, _dir: dir }
    }

    /// The device's port.
    pub(crate) fn device(&self) -> String {
        serial(&self.cable, 0, self.options)
    }

    /// Kills the proxy and starts another.
    pub(crate) fn restart(&mut self) {
        self.proxy.child.kill().unwrap();
        wait(&mut self.proxy.child);
        let address = serial(&self.cable, 1, self.options);
        self.proxy = Proxy::start_at(&self.origin.policy(), &address, &["-v"]);
    }
}

/// The port at a side of a cable.
pub(crate) fn serial(cable: &Cable, side: usize, options: &str) -> String {
    format!("serial:{}{options}", cable.port(side).display())
}

/// A running bridge; killed when dropped.
pub(crate) struct Bridge {
    pub(crate) child: Child,
    pub(crate) stderr: Stderr,
    pub(crate) address: String,
}

impl Bridge {
    /// At a random address, to the device's port of a gateway.
    pub(crate) fn start(gateway: &Gateway) -> Self {
        Self::start_at(&random_address(), gateway, &[])
    }

    pub(crate) fn start_at(address: &str, gateway: &Gateway, more: &[&str]) -> Self {
        Self::start_to(address, &gateway.device(), more)
    }

    /// At this address, to this port.
    pub(crate) fn start_to(address: &str, device: &str, more: &[&str]) -> Self {
        let mut command = sspc(&["bridge", "--listen", address, "--proxy", device, "-v"]);
        let mut child = command.args(more).stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = Stderr::of(&mut child);
        let ready = stderr.wait_for("sspc bridge: ready: listening on ");
        assert!(ready.contains(device), "{ready}");
        Self { child, stderr, address: address.to_owned() }
    }

    /// Kills it and starts another.
    pub(crate) fn restart(&mut self, gateway: &Gateway) {
        self.child.kill().unwrap();
        wait(&mut self.child);
        *self = Self::start_at(&self.address, gateway, &[]);
    }

    /// `sspc cat` through it, to its end.
    pub(crate) fn cat(&self, args: &[&str]) -> Output {
        run(&[&["cat", "--proxy", &self.address, "--timeout", "40"], args].concat())
    }

    /// `sspc cat` through it, running.
    pub(crate) fn cat_spawn(&self, args: &[&str]) -> Child {
        let mut command = sspc(&["cat", "--proxy", &self.address]);
        command.args(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
