//! How a worker runs, as its user says it. Nothing here knows what a worker does with it.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{handshake::instruction_set, memory::MemoryLimit, security::Security};

/// How a worker runs.
///
/// | name | default | purpose | range |
/// |---|---|---|---|
/// | `n_threads` | the machine's | tasks that run at once | 1 or more |
/// | `name` | `worker-` and the process number | for people | text |
/// | `instruction_set` | [`instruction_set()`] | compared with the other programs of the cluster | text |
/// | `connect_for` | 10 s | how long the scheduler is looked for at the start | any |
/// | `resources` | none | what it has for tasks that need resources | see [`parse_resources`](crate::parse_resources) |
/// | `reconnect_for` | 60 s | how long a lost scheduler is looked for; results stay, and count again where it knows of them | any |
/// | `security` | none | what scheduler and peers must know or have, and this worker too | [`Security`] |
/// | `listen` | this machine's address on the way to the scheduler | where peers and clients fetch results, `tcp://10.0.0.5:0` | loopback, or any with `security` |
/// | `memory_limit` | [`MemoryLimit::Auto`] | what results and running tasks may take; beyond, results go to disk | see there |
/// | `metrics` | none | where Prometheus finds counters at `/metrics`: `HOST:PORT`, or a port of loopback. The page has no password | an address of this machine |
/// | `spill_dir` | the system's folder for temporary files | where a folder for results on disk is made | a path |
///
/// ```
/// use phalanx_runtime::WorkerOptions;
/// let options = WorkerOptions { n_threads: 4, ..WorkerOptions::default() };
/// assert_eq!(options.reconnect_for.as_secs(), 60);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerOptions {
    /// Tasks that run at once.
    pub n_threads: usize,
    /// A name for people.
    pub name: String,
    /// What it has for tasks that need resources, by name.
    pub resources: BTreeMap<String, u64>,
    /// Compared with the other programs of the cluster.
    pub instruction_set: String,
    /// How long the scheduler is looked for at the start.
    pub connect_for: Duration,
    /// How long a lost scheduler is looked for.
    pub reconnect_for: Duration,
    /// What scheduler and peers must know or have, and this worker too. Not written by serde: it holds a secret.
    #[serde(skip)]
    pub security: Security,
    /// Where peers and clients fetch results. Where that is every address of the machine, the others are told the one on
    /// the way to the scheduler.
    pub listen: Option<String>,
    /// What results and running tasks may take.
    pub memory_limit: MemoryLimit,
    /// Where results go that memory has no room for.
    pub spill_dir: Option<PathBuf>,
    /// Where Prometheus finds counters.
    pub metrics: Option<String>,
}

impl Default for WorkerOptions {
    fn default() -> Self {
        Self {
            n_threads: n_cores(),
            name: format!("worker-{}", std::process::id()),
            resources: BTreeMap::new(),
            instruction_set: instruction_set(),
            connect_for: Duration::from_secs(10),
            reconnect_for: Duration::from_secs(60),
            security: Security::default(),
            listen: None,
            memory_limit: MemoryLimit::Auto,
            spill_dir: None,
            metrics: None,
        }
    }
}

impl WorkerOptions {
    pub(super) fn spill_dir(&self) -> PathBuf {
        self.spill_dir.clone().unwrap_or_else(std::env::temp_dir)
    }
}

/// Threads that the machine runs at once.
pub(crate) fn n_cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
