//! How much memory a worker may use: what people write, and what the machine has.

use std::{fmt, fs, path::Path, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::worker::n_cores;

/// A worker's memory budget: what its results and running tasks may take before results go to disk.
///
/// | written | means |
/// |---|---|
/// | `auto` | the machine's memory, or what its control group allows, times the worker's share of the cores |
/// | `none` | no limit, and nothing ever goes to disk |
/// | `4GiB`, `512MB`, `1.5GiB`, `1000000` | so many bytes; units are B, kB, MB, GB, TB and KiB, MiB, GiB, TiB |
///
/// ```
/// use phalanx_runtime::MemoryLimit;
/// assert_eq!("1.5GiB".parse(), Ok(MemoryLimit::Bytes(3 << 29)));
/// assert_eq!("auto".parse(), Ok(MemoryLimit::Auto));
/// let error = "4 buckets".parse::<MemoryLimit>().unwrap_err();
/// assert_eq!(error, "the memory limit is \"4 buckets\", expected auto, none or a size such as 4GiB or 500MB");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum MemoryLimit {
    /// The machine's memory times the worker's share of the cores.
    #[default]
    Auto,
    /// No limit.
    None,
    /// So many bytes, 1 or more.
    Bytes(u64),
}

impl MemoryLimit {
    /// The budget in bytes of a worker with so many threads; none where there is no limit, or the machine's memory is
    /// not known.
    pub fn bytes(self, n_threads: usize) -> Option<u64> {
        match self {
            Self::Auto => {
                let share = n_threads.min(n_cores()) as u128;
                Some((u128::from(machine_memory()?) * share / n_cores() as u128) as u64)
            }
            Self::None => None,
            Self::Bytes(n_bytes) => Some(n_bytes),
        }
    }
}

const UNITS: [(&str, u64); 10] = [
    ("", 1),
    ("B", 1),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

impl FromStr for MemoryLimit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => return Ok(Self::Auto),
            "none" => return Ok(Self::None),
            _ => {}
        }
        let digits = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let unit = UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit.trim_start()));
        let n_bytes = number.parse::<f64>().ok().zip(unit).map(|(number, (_, unit))| number * *unit as f64);
        match n_bytes {
            Some(n_bytes) if n_bytes >= 1. && n_bytes < u64::MAX as f64 => Ok(Self::Bytes(n_bytes as u64)),
            Some(_) => Err(format!("the memory limit is {text:?}, expected 1 byte or more, or none for no limit")),
            None => Err(format!("the memory limit is {text:?}, expected auto, none or a size such as 4GiB or 500MB")),
        }
    }
}

impl fmt::Display for MemoryLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::None => f.write_str("none"),
            Self::Bytes(n_bytes) => match UNITS.iter().rev().find(|(_, unit)| n_bytes.is_multiple_of(*unit)) {
                Some((name, unit)) if *unit > 1 => write!(f, "{}{name}", n_bytes / unit),
                _ => write!(f, "{n_bytes}"),
            },
        }
    }
}

/// The memory of this machine, or of the control group that this process is in, in bytes; none where the system does
/// not say, as outside of Linux.
fn machine_memory() -> Option<u64> {
    let total = total_in(&fs::read_to_string("/proc/meminfo").ok()?)?;
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limits = group_limits(Path::new("/sys/fs/cgroup"), &groups);
    limits.into_iter().chain([total]).min()
}

/// `MemTotal:       16384000 kB`
fn total_in(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// What the control groups of a process and all above them allow.
fn group_limits(root: &Path, groups: &str) -> Vec<u64> {
    let mut limits = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(kinds), Some(path)) = (parts.next(), parts.next()) else { continue };
        let (folder, file) = if kinds.is_empty() {
            (root.to_path_buf(), "memory.max")
        } else if kinds.split(',').any(|kind| kind == "memory") {
            (root.join("memory"), "memory.limit_in_bytes")
        } else {
            continue;
        };
        for ancestor in Path::new(path.trim_start_matches('/')).ancestors() {
            // A group without a limit says `max`, which is no number.
            let text = fs::read_to_string(folder.join(ancestor).join(file)).unwrap_or_default();
            limits.extend(text.trim().parse::<u64>());
        }
    }
    limits
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn limits_are_written_as_they_are_read() {
        for text in ["auto", "none", "4GiB", "500MB", "64MiB", "1234567", "3kB"] {
            assert_eq!(text.parse::<MemoryLimit>().map(|limit| limit.to_string()), Ok(text.to_owned()));
        }
        assert_eq!("2 gib".parse(), Ok(MemoryLimit::Bytes(2 << 30)));
    }

    #[test]
    fn what_is_no_limit_is_refused_with_what_is_expected() {
        for text in ["", "GiB", "-1GiB", "4XB", "1.2.3GB", "much"] {
            let error = text.parse::<MemoryLimit>().unwrap_err();
            let expected = "expected auto, none or a size such as 4GiB or 500MB";
            assert_eq!(error, format!("the memory limit is {text:?}, {expected}"));
        }
        assert!("0".parse::<MemoryLimit>().unwrap_err().contains("none for no limit"));
    }

    #[test]
    fn a_worker_gets_its_share_of_the_cores() {
        let all = MemoryLimit::Auto.bytes(n_cores());
        assert_eq!(MemoryLimit::Auto.bytes(1000), all);
        let one = MemoryLimit::Auto.bytes(1);
        assert_eq!(one, all.map(|all| all / n_cores() as u64));
        assert_eq!(MemoryLimit::Bytes(7).bytes(1), Some(7));
        assert_eq!(MemoryLimit::None.bytes(1), None);
    }

    #[test]
    fn the_system_s_own_files_are_read() {
        assert_eq!(total_in("MemTotal:       16384000 kB\nMemFree: 1 kB\n"), Some(16_384_000 * 1024));
        let root = std::env::temp_dir().join(format!("phalanx-groups-{}", std::process::id()));
        let group = root.join("user.slice/job");
        fs::create_dir_all(&group).unwrap();
        fs::create_dir_all(root.join("memory/job")).unwrap();
        fs::write(group.join("memory.max"), "max\n").unwrap();
        fs::write(root.join("user.slice/memory.max"), "1000\n").unwrap();
        fs::write(root.join("memory/job/memory.limit_in_bytes"), "900\n").unwrap();
        let limits = group_limits(&root, "0::/user.slice/job\n5:cpu,memory:/job\n3:pids:/job\n");
        fs::remove_dir_all(&root).unwrap();
        assert_eq!(limits, [1000, 900]);
    }
}
