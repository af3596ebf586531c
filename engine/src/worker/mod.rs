//! Decides what one worker does next: which attempt runs, which input is fetched from whom, what is forgotten.
//!
//! It holds no values: the shell keeps them by task, and is told when to store, send and drop one.

use std::time::Duration;

use crate::{
    id::{Attempt, FunctionId, TaskId},
    message::{Address, Arguments, Constants, Failure, FromWorker, ToWorker},
    time::Time,
    value::Value,
};

mod attempts;
mod machine;
mod memory;
mod record;
mod stage;
#[cfg(test)]
mod tests;

pub use machine::Worker;
pub use record::Counters;

/// What can happen to a worker.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The scheduler said something.
    Scheduler(ToWorker),
    /// A task's function returned, and its thread is free. The shell has *not* stored the result: the store changes
    /// by [`Command::Store`] and [`Command::Drop`] only, so the late result of a cancelled attempt can never shadow or
    /// delete that of a live one. Said exactly once for each [`Command::Run`], cancelled or not.
    Ran {
        /// The task.
        task: TaskId,
        /// Which try at it.
        attempt: Attempt,
        /// How long the function ran, in nanoseconds.
        run_ns: u64,
        /// What came of it: the result, or why there is none.
        outcome: Result<Value, Failure>,
    },
    /// A peer sent a result that was asked for. The shell has *not* stored it; where it is still wanted, the machine
    /// answers with [`Command::Store`].
    Fetched {
        /// From whom.
        peer: Address,
        /// The task whose result it is.
        task: TaskId,
        /// The result.
        value: Value,
    },
    /// A peer does not have a result that was asked for.
    NotThere {
        /// From whom.
        peer: Address,
        /// The task whose result it is.
        task: TaskId,
    },
    /// A peer has a result that was asked for, and is busy sending it to others.
    PeerBusy {
        /// From whom.
        peer: Address,
        /// The task whose result it is.
        task: TaskId,
    },
    /// A peer is in the middle of sending something large that was asked of it.
    PeerSending {
        /// Which.
        peer: Address,
    },
    /// A connection to a peer could not be made or broke: whatever was asked of it will not come. Not said of a
    /// connection that was closed by [`Command::Close`].
    PeerLost {
        /// Which.
        peer: Address,
    },
    /// A deadline has come; see [`Worker::deadline`].
    Tick,
    /// A task's function waits for something, and a spare thread is there for another task.
    Seceded {
        /// The task.
        task: TaskId,
        /// Which try at it.
        attempt: Attempt,
    },
    /// A task's function no longer waits. It goes on at once, be there more functions then than threads: what it waited
    /// for may be held up by one of those that would have to end first.
    Rejoined {
        /// The task.
        task: TaskId,
        /// Which try at it.
        attempt: Attempt,
    },
    /// The connection to the scheduler broke. What did not run yet is given up, and results stay.
    SchedulerLost {
        /// Whether what runs goes on. It must not where it waits for something that is lost with the connection.
        keeps_running: bool,
    },
    /// The scheduler that was lost is there again: the same cluster, so what is here still means something. Answered by
    /// [`FromWorker::Announce`].
    SchedulerBack,
    /// A result is on disk as well now. Said, or [`SpillFailed`](Self::SpillFailed), exactly once for each
    /// [`Command::Spill`], also where the result was dropped meanwhile.
    Spilled {
        /// The task whose result it is.
        task: TaskId,
    },
    /// A result could not be written; it is where it was.
    SpillFailed {
        /// The task whose result it is.
        task: TaskId,
        /// Why, for people: a full disk, or a value that cannot be made bytes.
        reason: String,
    },
    /// A result was read from disk. The shell has *not* stored it; where it is still wanted, the machine answers with
    /// [`Command::Store`]. Said, or [`UnspillFailed`](Self::UnspillFailed), exactly once for each [`Command::Unspill`].
    Unspilled {
        /// The task whose result it is.
        task: TaskId,
        /// The result.
        value: Value,
    },
    /// A result could not be read from disk, or was dropped meanwhile.
    UnspillFailed {
        /// The task whose result it is.
        task: TaskId,
        /// Why, for people.
        reason: String,
    },
    /// A thread says when it called a function, before [`Event::Ran`]; needed only where [`Worker::is_recording`].
    Timed {
        /// The task.
        task: TaskId,
        /// Which try at it.
        attempt: Attempt,
        /// Which thread, from 0.
        thread: u32,
        /// When the function was called.
        start: Time,
    },
}

/// What a worker wants done. Commands are carried out in the order in which they are given.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Tell the scheduler.
    ToScheduler(FromWorker),
    /// Put this result into the store, from where peers get it. Given once for a task until it is dropped or evicted.
    Store {
        /// The task whose result it is.
        task: TaskId,
        /// The result.
        value: Value,
    },
    /// Run a function on a thread; a thread is free. All inputs that `arguments` name are in the store: the shell takes
    /// them out of it while it carries out this command, since a [`Command::Drop`] may follow before the thread starts.
    Run(Run),
    /// Ask a peer for results, in one request; nothing else is asked of it until all of them are answered.
    Fetch {
        /// Whom.
        peer: Address,
        /// For the results of which tasks.
        tasks: Vec<TaskId>,
    },
    /// Take these results out of the store, and delete their files. They are in it, in memory or on disk.
    Drop {
        /// The tasks whose results they are.
        tasks: Vec<TaskId>,
    },
    /// A peer was silent too long: close the connection to it. What it still sends on that connection is not wanted;
    /// the next [`Command::Fetch`] from it makes a new one.
    Close {
        /// Whom.
        peer: Address,
    },
    /// The scheduler said to go: close everything. Or it was silent too long: close the connection to it; this is as if
    /// [`Event::SchedulerLost`] had been said.
    Stop {
        /// Why, for people.
        reason: StopReason,
    },
    /// Write this result to disk. It is in memory, and stays there until [`Evict`](Self::Evict).
    Spill {
        /// The task whose result it is.
        task: TaskId,
    },
    /// Take these results out of memory: they are on disk, from where peers get them from now on.
    Evict {
        /// The tasks whose results they are.
        tasks: Vec<TaskId>,
    },
    /// Read this result, which is on disk only; its file stays.
    Unspill {
        /// The task whose result it is.
        task: TaskId,
    },
}

/// Why a worker ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// The scheduler said so.
    Told,
    /// The scheduler was silent for this long.
    SchedulerSilent(Duration),
}

/// A function call with everything in place.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// The task.
    pub task: TaskId,
    /// Which try at it.
    pub attempt: Attempt,
    /// The function, by this program's table.
    pub function: FunctionId,
    /// As in [`Compute`](crate::message::Compute).
    pub arguments: Arguments,
    /// The values that arguments name.
    pub constants: Constants,
    /// Its place in its gang, where it is a member of one.
    pub gang: Option<Box<crate::message::GangCall>>,
}

/// What a worker waits for, and until when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// A heartbeat to the scheduler is due.
    Heartbeat,
    /// The scheduler has to say something, or it counts as dead.
    SchedulerSilent,
    /// A peer has to send something that was asked of it, or it counts as lost.
    PeerSilent(Address),
    /// A peer that was busy is asked again.
    PeerBusy(Address),
}

/// How a worker behaves.
///
/// | name | default | purpose | range |
/// |---|---|---|---|
/// | `n_threads` | 1 | tasks that run at once | 1 or more |
/// | `heartbeat` | 1 s | how often it speaks (the scheduler's greeting says) | above 0 |
/// | `silence` | 30 s | a scheduler that says nothing for so long counts as dead; a busy machine may well be silent for seconds | above `heartbeat` |
/// | `peer_silence` | 10 s | a peer from which nothing asked for comes in this time counts as lost | above 0 |
/// | `max_fetches` | 50 | peers that are asked at the same time | 1 or more |
/// | `inline_bytes` | 64 KiB | wanted results up to this size are sent along with the answer | any |
/// | `memory_limit` | none | bytes that results and running tasks may take; beyond, results go to disk | 1 or more |
/// | `spill_from` | 4 KiB | smaller results never go to disk: a file costs more | any |
/// | `max_incoming` | 64 MiB | bytes of inputs on their way at the same time, at most a 32nd of the memory limit; one input always may be | any |
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Tasks that run at once.
    pub n_threads: u32,
    /// How often it speaks.
    pub heartbeat: Duration,
    /// How long the scheduler may say nothing.
    pub silence: Duration,
    /// How long a peer may be silent while something is asked of it.
    pub peer_silence: Duration,
    /// Peers asked at the same time.
    pub max_fetches: u32,
    /// Wanted results up to this size are sent along.
    pub inline_bytes: u64,
    /// Bytes that results and running tasks may take.
    pub memory_limit: Option<u64>,
    /// Smaller results never go to disk.
    pub spill_from: u64,
    /// Bytes of inputs on their way at the same time.
    pub max_incoming: u64,
}

/// What of a worker's budget is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MemoryUse {
    /// The budget in bytes, where there is one.
    pub limit: Option<u64>,
    /// Bytes of results in memory, and of dropped ones that a running task still takes.
    pub stored: u64,
    /// Bytes of results that are on disk only.
    pub spilled: u64,
    /// Whether no further task starts until memory is free again.
    pub is_paused: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            n_threads: 1,
            heartbeat: Duration::from_secs(1),
            silence: Duration::from_secs(30),
            peer_silence: Duration::from_secs(10),
            max_fetches: 50,
            inline_bytes: 64 << 10,
            memory_limit: None,
            spill_from: 4 << 10,
            max_incoming: 64 << 20,
        }
    }
}
