//! What can be seen of a process from outside: its last words, its memory, how it ended.

use std::{
    io::{ErrorKind, Read, Write},
    process::ExitStatus,
    sync::Mutex,
};

use phalanx_engine::death::{End, Evidence};

use crate::io::lock;

/// Lines that are kept of what a process says.
const LINES: usize = 20;

/// The last words of a process.
#[derive(Debug, Default)]
pub(super) struct Tail(Mutex<Vec<u8>>);

impl Tail {
    /// Passes on what comes and keeps the end of it, until there is no more.
    pub(super) fn pass_on(&self, mut from: impl Read, mut to: impl Write) {
        let mut bytes = [0; 4 << 10];
        loop {
            match from.read(&mut bytes) {
                Ok(0) => break,
                Ok(n) => {
                    // Kept first: whoever reads on may be slow.
                    self.keep(&bytes[..n]);
                    // Where nobody reads it any more, it is kept all the same.
                    let _ = to.write_all(&bytes[..n]);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
    }

    fn keep(&self, bytes: &[u8]) {
        let mut kept = lock(&self.0);
        kept.extend_from_slice(bytes);
        let excess = kept.len().saturating_sub(Evidence::MAX_LINES);
        kept.drain(..excess);
    }

    /// The last lines; the first one of them may be cut off at its beginning.
    pub(super) fn lines(&self) -> String {
        let kept = lock(&self.0);
        let text = String::from_utf8_lossy(&kept);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LINES)..].join("\n")
    }
}

/// How a process ended.
pub(super) fn end(status: ExitStatus) -> End {
    #[cfg(unix)]
    if let Some(number) = std::os::unix::process::ExitStatusExt::signal(&status) {
        return End::Signal { number, name: signal_name(number).into() };
    }
    status.code().map_or(End::Unknown, End::Code)
}

/// The largest amount of memory that a process that lives has had resident, in bytes.
pub(super) fn peak_memory(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kib| kib << 10)
}

/// How many processes the system has killed for want of memory, where it counts them.
pub(super) fn n_out_of_memory() -> Option<u64> {
    let counters = std::fs::read_to_string("/proc/vmstat").ok()?;
    counters.lines().find_map(|line| line.strip_prefix("oom_kill "))?.parse().ok()
}

/// The name of a signal by Linux' numbers, which most systems share where it matters here.
const fn signal_name(number: i32) -> &'static str {
    match number {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        5 => "SIGTRAP",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        10 => "SIGUSR1",
        11 => "SIGSEGV",
        12 => "SIGUSR2",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        24 => "SIGXCPU",
        25 => "SIGXFSZ",
        31 => "SIGSYS",
        _ => "no common one",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_kept_and_everything_is_passed_on() {
        let said: String = (0..1000).map(|line| format!("line {line}\n")).collect();
        let (tail, mut passed) = (Tail::default(), Vec::new());
        tail.pass_on(said.as_bytes(), &mut passed);
        assert_eq!(passed, said.as_bytes());
        let expected: Vec<String> = (980..1000).map(|line| format!("line {line}")).collect();
        assert_eq!(tail.lines(), expected.join("\n"));
        assert!(lock(&tail.0).len() <= Evidence::MAX_LINES);
    }

    #[test]
    fn words_that_are_no_text_are_kept_as_far_as_they_are() {
        let tail = Tail::default();
        tail.pass_on(&b"broken \xFF line"[..], std::io::sink());
        assert_eq!(tail.lines(), "broken \u{FFFD} line");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_peak_of_this_process_is_known() {
        assert!(peak_memory(std::process::id()).is_some_and(|peak| peak > 1 << 16));
        assert_eq!(peak_memory(u32::MAX), None);
    }
}
