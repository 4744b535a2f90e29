//! How much memory the machine has for this process.

use std::fs;
use std::path::{Path, PathBuf};

use crate::config::MemoryBound;

/// How much memory is assumed where the system does not say.
const UNKNOWN: u64 = 1 << 30;

impl MemoryBound {
    /// In bytes; looks at the machine for a percentage of it.
    pub(crate) fn resolve(self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Percent(part) => {
                let all = [machine(), group()].into_iter().flatten().min().unwrap_or(UNKNOWN);
                usize::try_from(all / 100 * u64::from(part)).unwrap_or(usize::MAX)
            }
        }
    }
}

fn machine() -> Option<u64> {
    total(&fs::read_to_string("/proc/meminfo").ok()?)
}

/// MemTotal, in bytes.
fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// The least limit of this process's control group and those that it is in.
fn group() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    limit_files(&groups).iter().filter_map(|file| limit(&fs::read_to_string(file).ok()?)).min()
}

/// A limit as the kernel writes it; `None` if there is none. Version 1 writes a number beyond all
/// memory for that, which is as good.
fn limit(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// The files that may hold a limit for a process whose /proc/self/cgroup says this.
fn limit_files(groups: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) =
            (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        let (root, names): (_, &[_]) = match controllers {
            "" => ("/sys/fs/cgroup", &["memory.max", "memory.high"]),
            list if list.split(',').any(|name| name == "memory") => {
                ("/sys/fs/cgroup/memory", &["memory.limit_in_bytes"])
            }
            _ => continue,
        };
        for group in Path::new(path).ancestors() {
            let folder = Path::new(root).join(group.strip_prefix("/").unwrap_or(group));
            files.extend(names.iter().map(|name| folder.join(name)));
        }
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machines_memory_is_found_and_a_part_of_it_taken() {
        assert_eq!(total("MemFree: 3 kB\nMemTotal:       1000 kB\n"), Some(1_024_000));
        assert_eq!(total("MemFree: 3 kB\n"), None);
        let all = usize::try_from(machine().unwrap()).unwrap();
        assert!((1..=all / 4).contains(&MemoryBound::Percent(25).resolve()));
        assert_eq!(MemoryBound::Bytes(7).resolve(), 7);
    }

    #[test]
    fn control_groups_of_both_versions_limit_it() {
        let text = |groups| {
            let files = limit_files(groups);
            files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>()
        };
        assert_eq!(
            text("0::/a.slice/b.service\n"),
            [
                "/sys/fs/cgroup/a.slice/b.service/memory.max",
                "/sys/fs/cgroup/a.slice/b.service/memory.high",
                "/sys/fs/cgroup/a.slice/memory.max",
                "/sys/fs/cgroup/a.slice/memory.high",
                "/sys/fs/cgroup/memory.max",
                "/sys/fs/cgroup/memory.high",
            ]
        );
        assert_eq!(
            text("3:cpu,cpuacct:/x\n4:hugetlb,memory:/box\n"),
            [
                "/sys/fs/cgroup/memory/box/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/memory.limit_in_bytes"
            ]
        );
        assert_eq!((limit("max\n"), limit("1048576\n")), (None, Some(1_048_576)));
    }
}
