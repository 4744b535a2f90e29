//! Two pseudo-terminals joined like two serial ports by a cable, for processes and threads that
//! want a device to open.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

use crate::link::Runs;
use crate::{Counts, Noise, Rng};

/// How long until a change of the cable is noticed at the latest.
const TICK: Duration = Duration::from_millis(2);

/// Two ports and the cable between them, in real time. What is on a cut cable is lost; both ports
/// stay there. [`Cable::unplug`] makes one vanish.
#[derive(Debug)]
pub struct Cable {
    folder: PathBuf,
    shared: Arc<Shared>,
    pump: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    whole: AtomicBool,
    over: AtomicBool,
    /// Bits per second, 8N1; 0 for no limit.
    rate: AtomicU64,
    passed: AtomicU64,
    noise: Mutex<Noise>,
    ends: Mutex<[Option<End>; 2]>,
}

/// One pseudo-terminal. Its slave is held too, so that the master outlives those who open it.
#[derive(Debug)]
struct End {
    master: OwnedFd,
    _slave: OwnedFd,
}

impl Shared {
    fn ends(&self) -> MutexGuard<'_, [Option<End>; 2]> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cable {
    /// Two ports in a folder that must be there, joined.
    ///
    /// # Errors
    /// The system has no pseudo-terminals, or the folder cannot be written.
    pub fn new(folder: &Path) -> io::Result<Self> {
        let folder = folder.to_owned();
        let ends = [make(&folder.join("a"))?, make(&folder.join("b"))?];
        let shared = Arc::new(Shared {
            whole: AtomicBool::new(true),
            over: AtomicBool::new(false),
            rate: AtomicU64::new(0),
            passed: AtomicU64::new(0),
            noise: Mutex::new(Noise::NONE),
            ends: Mutex::new(ends.map(Some)),
        });
        let for_pump = Arc::clone(&shared);
        let pump = std::thread::spawn(move || run(&for_pump));
        Ok(Self { folder, shared, pump: Some(pump) })
    }

    /// The port of side 0 or 1.
    pub fn port(&self, side: usize) -> PathBuf {
        self.folder.join(if side == 0 { "a" } else { "b" })
    }

    /// Nothing passes any more.
    pub fn cut(&self) {
        self.shared.whole.store(false, Ordering::SeqCst);
    }

    /// Bytes pass again.
    pub fn restore(&self) {
        self.shared.whole.store(true, Ordering::SeqCst);
    }

    /// Limits the cable to so many bit/s, 8N1; 0 for no limit.
    pub fn set_rate(&self, rate: u64) {
        self.shared.rate.store(rate, Ordering::SeqCst);
    }

    /// What happens to bytes from now on, both ways.
    pub fn set_noise(&self, noise: Noise) {
        *self.shared.noise.lock().unwrap_or_else(PoisonError::into_inner) = noise;
    }

    /// Bytes that have passed, both ways together.
    pub fn passed(&self) -> u64 {
        self.shared.passed.load(Ordering::SeqCst)
    }

    /// Makes the port of a side vanish, as an adapter does that is pulled out.
    ///
    /// # Errors
    /// The folder is gone.
    pub fn unplug(&self, side: usize) -> io::Result<()> {
        fs::remove_file(self.port(side))?;
        self.shared.ends()[side] = None;
        Ok(())
    }

    /// Makes it be there again.
    ///
    /// # Errors
    /// The system has no more pseudo-terminals, or the port is there.
    pub fn plug(&self, side: usize) -> io::Result<()> {
        let end = make(&self.port(side))?;
        self.shared.ends()[side] = Some(end);
        Ok(())
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        if let Some(pump) = self.pump.take() {
            let _ = pump.join();
        }
    }
}

fn make(path: &Path) -> io::Result<End> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = openpt(flags)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    let name = ptsname(&master, Vec::new())?;
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let slave = rustix::fs::open(name.as_c_str(), flags, Mode::empty())?;
    let mut settings = tcgetattr(&slave)?;
    settings.make_raw();
    tcsetattr(&slave, OptionalActions::Now, &settings)?;
    rustix::io::ioctl_fionbio(&master, true)?;
    symlink(name.to_string_lossy().as_ref(), path)?;
    Ok(End { master, _slave: slave })
}

/// Moves bytes until the cable is dropped.
fn run(shared: &Shared) {
    let mut ways = [Way::new(1), Way::new(2)];
    while !shared.over.load(Ordering::SeqCst) {
        let whole = shared.whole.load(Ordering::SeqCst);
        let rate = shared.rate.load(Ordering::SeqCst);
        let noise = *shared.noise.lock().unwrap_or_else(PoisonError::into_inner);
        let mut moved = 0;
        {
            let ends = shared.ends();
            let masters = [0, 1].map(|side: usize| ends[side].as_ref().map(|end| &end.master));
            for (from, way) in ways.iter_mut().enumerate() {
                moved += way.pass(masters[from], masters[1 - from], whole, rate, noise);
            }
            if moved == 0 {
                let waits = ways.iter().all(|way| way.held.is_empty());
                let mut polled: Vec<_> =
                    masters.iter().flatten().map(|m| PollFd::new(m, PollFlags::IN)).collect();
                let limit = Timespec { tv_sec: 0, tv_nsec: TICK.subsec_nanos().into() };
                if waits {
                    let _ = poll(&mut polled, Some(&limit));
                } else {
                    std::thread::sleep(TICK / 8);
                }
            }
        }
        shared.passed.fetch_add(moved, Ordering::SeqCst);
    }
}

/// One direction.
struct Way {
    held: Vec<u8>,
    rng: Rng,
    runs: Runs,
    /// When the bytes that passed have all been sent at the cable's rate.
    free_at: Option<Instant>,
}

impl Way {
    fn new(seed: u64) -> Self {
        Self { held: Vec::new(), rng: Rng::new(seed), runs: Runs::default(), free_at: None }
    }

    fn pass(
        &mut self,
        from: Option<&OwnedFd>,
        to: Option<&OwnedFd>,
        whole: bool,
        rate: u64,
        noise: Noise,
    ) -> u64 {
        let now = Instant::now();
        if rate > 0 && self.free_at.is_some_and(|at| at > now) {
            return 0;
        }
        if self.held.is_empty() {
            let mut room = [0; 512];
            if let Some(Ok(length)) = from.map(|from| rustix::io::read(from, &mut room)) {
                let (rng, runs) = (&mut self.rng, &mut self.runs);
                self.held.extend(noise.harm(rng, runs, &mut Counts::default(), &room[..length]));
            }
        }
        let (Some(to), true) = (to, whole) else {
            self.held.clear();
            return 0;
        };
        if self.held.is_empty() {
            return 0;
        }
        let Ok(length) = rustix::io::write(to, &self.held) else { return 0 };
        self.held.drain(..length);
        if let Some(us) = (length as u64 * 10_000_000).checked_div(rate) {
            // A pump that was late may catch up a little.
            let from = self.free_at.unwrap_or(now).max(now - TICK * 2);
            self.free_at = Some(from + Duration::from_micros(us));
        }
        length as u64
    }
}
