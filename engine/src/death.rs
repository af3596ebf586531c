//! How a worker's process ended, as whoever supervised it saw it: what makes "three workers died" an answer.
//!
//! Evidence and nothing else: who is to blame is the scheduler's decision.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::{Attempt, TaskId, WorkerId};

/// A worker that died while it ran a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Death {
    /// Its number.
    pub worker: WorkerId,
    /// Its name, for people.
    pub name: String,
    /// What its supervisor saw; none where it had no supervisor, or where that one said nothing in time.
    pub evidence: Option<Evidence>,
}

/// What a supervisor saw of a worker's process.
///
/// ```
/// use phalanx_engine::death::{End, Evidence};
///
/// let evidence = Evidence { end: End::Code(3), peak_memory: Some(3 << 20), ..Evidence::default() };
/// assert_eq!(evidence.to_string(), "it exited with code 3; its peak memory was 3.0 MiB");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Evidence {
    /// How the process ended.
    pub end: End,
    /// The largest amount of resident memory that was seen, in bytes.
    pub peak_memory: Option<u64>,
    /// Whether the system killed a process for want of memory meanwhile, where it counts that.
    pub out_of_memory: Option<bool>,
    /// The last lines that it wrote to stderr or stdout, at most a few KiB.
    pub last_lines: String,
    /// What its threads were running at that very moment, where it kept a note of that.
    pub running: Option<Vec<(TaskId, Attempt)>>,
}

/// How a process ended.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum End {
    /// It exited by itself, or `main` returned.
    Code(i32),
    /// A signal ended it.
    Signal {
        /// The signal's number.
        number: i32,
        /// Its name, `SIGKILL`.
        name: String,
    },
    /// Nobody could say.
    #[default]
    Unknown,
}

impl Evidence {
    /// Bytes of a worker's last words that are kept.
    pub const MAX_LINES: usize = 4 << 10;
}

impl fmt::Display for Evidence {
    /// One line, and then the last lines, each indented by four blanks and a bar.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.end {
            End::Code(code) => write!(f, "it exited with code {code}")?,
            End::Signal { number, name } => write!(f, "it was ended by signal {number} ({name})")?,
            End::Unknown => write!(f, "it ended in an unknown way")?,
        }
        match (&self.end, self.out_of_memory) {
            (End::Signal { number: 9, .. }, Some(true)) => {
                write!(f, ", and the system was killing for want of memory at that time")?;
            }
            (End::Signal { number: 9, .. }, None) => {
                write!(f, ", as happens where the system runs out of memory")?;
            }
            _ => {}
        }
        if let Some(peak) = self.peak_memory {
            write!(f, "; its peak memory was {}", Bytes(peak))?;
        }
        let lines = self.last_lines.trim_end();
        if !lines.is_empty() {
            write!(f, "; its last lines:")?;
            for line in lines.lines() {
                write!(f, "\n    | {line}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Death {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.worker)?;
        match &self.evidence {
            Some(evidence) => write!(f, ": {evidence}"),
            None => write!(f, ": its connection was lost; nobody supervised it"),
        }
    }
}

/// Several deaths, one a line, under a sentence that ends before them.
pub(crate) fn list(deaths: &[Death]) -> String {
    deaths.iter().map(|death| format!("\n  {death}")).collect()
}

/// What to do after such deaths.
pub(crate) fn advice(deaths: &[Death]) -> &'static str {
    let evidence = || deaths.iter().filter_map(|death| death.evidence.as_ref());
    let is_kill = |evidence: &Evidence| matches!(evidence.end, End::Signal { number: 9, .. });
    if evidence().any(|evidence| is_kill(evidence) && evidence.out_of_memory != Some(false)) {
        "it is not tried again; give it smaller inputs, or workers with more memory or fewer threads"
    } else if evidence().next().is_some() {
        "it is not tried again; call the function in a program of its own to see what ends the process"
    } else {
        "it is not tried again; supervised workers (`phalanx worker` without --no-supervise) would say how they died"
    }
}

/// A number of bytes as people read it.
struct Bytes(u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = self.0 as f64 / f64::from(1 << 20);
        if mib < 1024. { write!(f, "{mib:.1} MiB") } else { write!(f, "{:.2} GiB", mib / 1024.) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::TaskError;

    #[test]
    fn a_killed_worker_error_is_read_from_top_to_bottom() {
        let death = |worker, evidence| Death { worker: WorkerId(worker), name: format!("local-{worker}"), evidence };
        let killed = Evidence {
            end: End::Signal { number: 9, name: "SIGKILL".into() },
            peak_memory: Some(3 << 30),
            out_of_memory: Some(true),
            last_lines: "reading rows\nallocating\n".into(),
            running: None,
        };
        let exited = Evidence { end: End::Code(3), peak_memory: Some(5 << 19), ..Evidence::default() };
        let error = TaskError::KilledWorkers {
            function: "my.solve".into(),
            deaths: vec![death(0, Some(killed)), death(2, Some(exited)), death(5, None)],
        };
        assert_eq!(
            error.to_string(),
            "task my.solve was running on 3 workers when they died; it is not tried again; give it smaller inputs, or \
             workers with more memory or fewer threads:
  local-0 (worker-0): it was ended by signal 9 (SIGKILL), and the system was killing for want of memory at that time; \
             its peak memory was 3.00 GiB; its last lines:
    | reading rows
    | allocating
  local-2 (worker-2): it exited with code 3; its peak memory was 2.5 MiB
  local-5 (worker-5): its connection was lost; nobody supervised it"
        );
    }
}
