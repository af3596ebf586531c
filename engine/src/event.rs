//! What has happened on a cluster, in order: one stream, of which a log, a timeline or a dashboard is a fold.
//!
//! The scheduler machine writes it when asked to ([`Record`]); nothing is decided by it.

use serde::{Deserialize, Serialize};

use crate::{
    id::{Attempt, ClientId, TaskId, WorkerId},
    time::Time,
};

/// One thing that happened, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When the scheduler learned of it.
    pub time: Time,
    /// What.
    pub kind: Kind,
}

/// What can happen on a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Kind {
    /// A client connected.
    ClientJoined {
        /// Its number.
        client: ClientId,
    },
    /// A client is gone, and with it all that only it wanted.
    ClientLeft {
        /// Its number.
        client: ClientId,
    },
    /// A worker connected.
    WorkerJoined {
        /// Its number.
        worker: WorkerId,
        /// Its name.
        name: String,
        /// How many tasks it runs at once.
        n_threads: u32,
    },
    /// A worker is gone.
    WorkerLeft {
        /// Its number.
        worker: WorkerId,
        /// Its name.
        name: String,
        /// Tasks it had been sent, which go elsewhere.
        n_tasks: u64,
        /// Results that only it had.
        n_lost: u64,
    },
    /// A program was not let in.
    Refused {
        /// Why.
        reason: String,
    },
    /// A thread of a worker began to run a task.
    TaskStarted {
        /// The task.
        task: TaskId,
        /// Which try at it.
        attempt: Attempt,
        /// Where.
        worker: WorkerId,
    },
    /// A task has a result.
    TaskFinished {
        /// The task.
        task: TaskId,
        /// Which try at it.
        attempt: Attempt,
        /// Where.
        worker: WorkerId,
        /// The function it called.
        function: String,
        /// How long the function ran, in nanoseconds.
        run_ns: u64,
        /// The size of the result.
        n_bytes: u64,
    },
    /// A task will have no result.
    TaskFailed {
        /// The task.
        task: TaskId,
        /// Why.
        error: String,
    },
}

/// What of all that is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub enum Record {
    /// Nothing.
    #[default]
    Nothing,
    /// Who comes and goes, and which tasks fail.
    Cluster,
    /// Every task's beginning and end as well.
    Tasks,
}
