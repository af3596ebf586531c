//! The most memory that this program and what it started have taken, and what it has read, as Linux counts them.

use std::{collections::BTreeMap, fs};

/// Forgets the highest marks so far, so that the next row has its own.
pub(super) fn reset() {
    for process in family() {
        // 5 asks Linux to set the mark back to what is taken now.
        let _ = fs::write(format!("/proc/{process}/clear_refs"), "5");
    }
}

/// The sum of the highest marks of this program and its children, in MiB; `None` where Linux's `/proc` is not there.
pub(super) fn peak_mb() -> Option<f64> {
    let of =
        |process: &u32| status(*process, "VmHWM:").and_then(|text| text.trim_end_matches(" kB").parse::<f64>().ok());
    let marks: Vec<f64> = family().iter().filter_map(of).collect();
    (!marks.is_empty()).then(|| marks.iter().sum::<f64>() / 1024.)
}

/// What a process has in memory now, in bytes.
pub(super) fn resident(process: u32) -> Option<u64> {
    status(process, "VmRSS:")?.trim_end_matches(" kB").parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

/// The bytes that this program has read so far, from disk or from what Linux keeps of files in memory; `None` where
/// Linux's `/proc` is not there.
pub(super) fn bytes_read() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/io").ok()?;
    text.lines().find_map(|line| line.strip_prefix("rchar: "))?.trim().parse().ok()
}

/// This program and everything below it.
fn family() -> Vec<u32> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let processes = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let parents: BTreeMap<u32, u32> =
        processes.filter_map(|process| Some((process, status(process, "PPid:")?.parse().ok()?))).collect();
    let mut family = vec![std::process::id()];
    let mut next = 0;
    while let Some(&parent) = family.get(next) {
        family.extend(parents.iter().filter(|(_, found)| **found == parent).map(|(process, _)| *process));
        next += 1;
    }
    family
}

fn status(process: u32, field: &str) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    text.lines().find_map(|line| line.strip_prefix(field)).map(|rest| rest.trim().to_owned())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_child_counts() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().expect("a child");
        assert_eq!((family()[0], family().contains(&child.id())), (std::process::id(), true));
        assert!(peak_mb().is_some_and(|peak| peak > 0.5));
        let before = bytes_read().expect("a number");
        let n_bytes = fs::read("/proc/self/maps").expect("a file").len() as u64;
        assert!(bytes_read().is_some_and(|bytes| bytes >= before + n_bytes));
        child.kill().and_then(|()| child.wait()).expect("it ends");
    }
}
