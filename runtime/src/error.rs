//! What can go wrong between a program and its cluster, in sentences that say what to do.

use std::time::Duration;

use phalanx_engine::{
    client::Trouble, coordination::CoordinationError, data::DataError, graph::GraphError, task::RegistryError,
    task::TaskError,
};

/// Why something on the cluster did not happen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The task has no result.
    #[error("{source}")]
    Task {
        /// Why.
        source: TaskError,
    },
    /// A value is not of the type it should be, or cannot travel.
    #[error("{source}")]
    Data {
        /// Why.
        source: DataError,
    },
    /// The work cannot be submitted.
    #[error("{source}")]
    Graph {
        /// Why.
        source: GraphError,
    },
    /// The functions of this program cannot be told apart.
    #[error("{source}")]
    Registry {
        /// Why.
        source: RegistryError,
    },
    /// Nobody answers where the scheduler should be.
    #[error("no scheduler answers at {url} ({reason}); start one with `phalanx scheduler`")]
    Unreachable {
        /// Where it was looked for.
        url: String,
        /// What the last try met with.
        reason: String,
    },
    /// Somebody answers, but does not speak Phalanx's protocol.
    #[error("what answers at {url} is not a Phalanx scheduler ({reason})")]
    NotAScheduler {
        /// Where.
        url: String,
        /// What it said.
        reason: String,
    },
    /// The scheduler does not let this program join; trying again gives the same answer.
    #[error("the scheduler at {url} refuses this program: {reason}")]
    Refused {
        /// Where the scheduler is.
        url: String,
        /// Why it refuses.
        reason: String,
    },
    /// The connection to the scheduler was lost, and with it everything it knew of this client's work.
    #[error("the connection to the scheduler was lost; its work has to be submitted again on a new connection")]
    SchedulerLost,
    /// The scheduler that this work was submitted to went away, and the one that is there now knows nothing of it.
    #[error(
        "the scheduler was restarted without a memory of this work, or gave this client up while it was away: submit it \
         again through the same client; a scheduler that is started with --journal DIR remembers"
    )]
    SchedulerRestarted,
    /// The handle is of a task that this client never submitted or has released.
    #[error("{task} is not held by this client; a result can be used only through the client that submitted it")]
    NotHeld {
        /// The task.
        task: String,
    },
    /// Work stands on a handle whose own work could not be submitted.
    #[error("an argument is the handle of work that could not be submitted; awaiting that handle says why")]
    NotSubmitted,
    /// A worker process that is supervised could not go on.
    #[error("{reason}")]
    WorkerEnded {
        /// What it said.
        reason: String,
    },
    /// A worker process crashes again and again.
    #[error("worker {name} crashed too often ({often}) and is not started again; the last time {last}")]
    CrashLoop {
        /// The worker's name.
        name: String,
        /// How often is too often.
        often: String,
        /// How it died the last time.
        last: String,
    },
    /// A worker that was to go stays, because what it holds or runs can be nowhere else.
    #[error("worker {name} stays: {reason}")]
    WorkerStays {
        /// The worker's name.
        name: String,
        /// Why.
        reason: String,
    },
    /// A worker lost its scheduler, which did not come back.
    #[error("the scheduler at {url} was lost and did not come back within {waited:?} ({reason})")]
    SchedulerGone {
        /// Where it was.
        url: String,
        /// How long the worker waited.
        waited: Duration,
        /// What the last try met with.
        reason: String,
    },
    /// A journal cannot be read or written. Nothing in it was changed.
    #[error("the journal {path} cannot be used: {reason}")]
    Journal {
        /// Which file.
        path: String,
        /// Why.
        reason: String,
    },
    /// An address cannot be read.
    #[error("{url:?} is not an address: {reason}; it looks like tcp://127.0.0.1:8786")]
    Address {
        /// What was given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A port cannot be listened on.
    #[error("cannot listen on {url}: {reason}")]
    Listen {
        /// Where.
        url: String,
        /// Why.
        reason: String,
    },
    /// Listening anywhere but on loopback needs a token or TLS.
    #[error(
        "{url} is not a loopback address, and anybody who reaches it could run tasks here: give a cluster token \
         (--token-file FILE or PHALANX_TOKEN) or --tls-cert, --tls-key and --tls-ca; `phalanx cluster keys DIR` makes them"
    )]
    NotLoopback {
        /// Where it was asked to listen.
        url: String,
    },
    /// Fewer workers than wished for came.
    #[error("{found} of {expected} workers are connected after {waited:?}; start more with `phalanx worker`")]
    TooFewWorkers {
        /// How many were wished for.
        expected: usize,
        /// How many there are.
        found: usize,
        /// How long was waited.
        waited: Duration,
    },
    /// Worker processes cannot be started, because they would not know that they are workers.
    #[error(
        "worker processes run this same program, so its main (or test harness) must begin with phalanx::init(); \
         call it there, or use threads"
    )]
    InitMissing,
    /// Only a task has a client of the cluster that runs it.
    #[error("this thread runs no task; outside of tasks, connect with Client::connect or start a cluster")]
    NotInTask,
    /// A worker has no thread left on which one more task could wait.
    #[error(
        "{limit} tasks of this worker already wait for others, each on a thread of its own; submit less work from \
         inside of tasks, or let fewer tasks wait at a time"
    )]
    TooManyWaiting {
        /// How many may wait.
        limit: usize,
    },
    /// What was asked for by name cannot be.
    #[error("{source}")]
    Coordination {
        /// Why.
        source: CoordinationError,
    },
    /// A wait for a lock, a semaphore, an event, a queue or a variable took as long as it may.
    #[error("waited {waited:?} for {what} in vain")]
    TimedOut {
        /// For what.
        what: String,
        /// How long.
        waited: Duration,
    },
    /// A worker process was asked to start worker processes.
    #[error("this process is itself a worker of a local cluster and starts no workers of its own")]
    InsideWorker,
    /// A thread or a process cannot be started.
    #[error("cannot start {what}: {reason}")]
    Start {
        /// What.
        what: String,
        /// Why.
        reason: String,
    },
    /// No worker, or more than one, is called so.
    #[error("{n_named} workers are named {text:?}, expected one; connected are {known}")]
    NoSuchWorker {
        /// What was given.
        text: String,
        /// How many have that name.
        n_named: usize,
        /// All workers.
        known: String,
    },
    /// A key or a name stands for something else, or for nothing.
    #[error("{reason}")]
    NotShared {
        /// Why.
        reason: String,
    },
    /// An option is out of its range.
    #[error("{name} is {value}, expected {expected}")]
    Option {
        /// Which option.
        name: &'static str,
        /// What it was.
        value: String,
        /// What it can be.
        expected: &'static str,
    },
    /// The two ends do not know each other as programs of one cluster; trying again gives the same answer.
    #[error("cannot join {url}: {reason}")]
    NotLetIn {
        /// Where.
        url: String,
        /// Why.
        reason: String,
    },
    /// A token or a certificate cannot be used.
    #[error("cannot use {what}: {reason}")]
    Security {
        /// Which.
        what: String,
        /// Why.
        reason: String,
    },
}

impl From<CoordinationError> for Error {
    fn from(source: CoordinationError) -> Self {
        Self::Coordination { source }
    }
}

impl From<TaskError> for Error {
    fn from(source: TaskError) -> Self {
        Self::Task { source }
    }
}

impl From<DataError> for Error {
    fn from(source: DataError) -> Self {
        Self::Data { source }
    }
}

impl From<GraphError> for Error {
    fn from(source: GraphError) -> Self {
        Self::Graph { source }
    }
}

impl From<RegistryError> for Error {
    fn from(source: RegistryError) -> Self {
        Self::Registry { source }
    }
}

impl From<Trouble> for Error {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Task(source) => Self::Task { source },
            Trouble::SchedulerRestarted => Self::SchedulerRestarted,
            Trouble::NotHeld { task } => Self::NotHeld { task: task.to_string() },
            // `Trouble` may grow; whatever it says then, this client's work is lost.
            _ => Self::SchedulerLost,
        }
    }
}

/// A result whose error is an [`enum@Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;
