//! What has happened on a cluster, in order: one stream, of which a log, a timeline or a dashboard is a fold.
//!
//! The scheduler machine writes it for who subscribes ([`Record`]); nothing is decided by it, and where nobody has
//! subscribed it costs one comparison. What tasks went through is also kept for a while in few bytes each
//! ([`Step`]), so that a task can tell its story afterwards.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    id::{Attempt, ClientId, TaskId, WorkerId},
    message::Address,
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
    /// A worker connected. Who subscribes is told of those that are there already, with the time of telling.
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
    /// A worker joined under a new number that had lost its connection, with what it held and ran.
    WorkerReturned {
        /// Its number now.
        worker: WorkerId,
        /// Its number before.
        before: WorkerId,
    },
    /// The supervisor of a worker says how its process died. It starts another, which joins under the same name.
    WorkerDied {
        /// The worker's last number.
        worker: WorkerId,
        /// Its name.
        name: String,
        /// Exit code or signal, memory, and its last lines; at most [`MAX_TEXT`] bytes of it.
        evidence: String,
    },
    /// A worker takes no new task until its memory is free.
    WorkerPaused {
        /// Its number.
        worker: WorkerId,
    },
    /// A worker that was paused takes tasks again.
    WorkerResumed {
        /// Its number.
        worker: WorkerId,
    },
    /// A worker was told to leave: it finishes what it runs and hands over what only it holds.
    WorkerRetiring {
        /// Its number.
        worker: WorkerId,
    },
    /// A worker moved results to disk, or back.
    Spilled {
        /// Its number.
        worker: WorkerId,
        /// Bytes that are on disk only, after that.
        n_bytes: u64,
    },
    /// The scheduler died and went on from its journal. Who subscribes to one that did is told so first, with the
    /// time of telling, which may be less than what was told before: each life counts from its own start.
    SchedulerRestarted,
    /// A client submitted tasks.
    Submitted {
        /// The first; the others follow it without gaps.
        first: TaskId,
        /// How many.
        n_tasks: u64,
    },
    /// A task went one step on, or back.
    Task {
        /// The task.
        task: TaskId,
        /// The step; never one that has an event of its own here.
        step: Step,
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
        function: Arc<str>,
        /// How long the function ran, in nanoseconds.
        run_ns: u64,
        /// The size of the result.
        n_bytes: u64,
    },
    /// A try at a task ended without a result.
    AttemptFailed {
        /// The task.
        task: TaskId,
        /// Which try at it.
        attempt: Attempt,
        /// Where.
        worker: WorkerId,
        /// The function it called.
        function: Arc<str>,
        /// What it said, at most [`MAX_TEXT`] bytes of it.
        error: String,
        /// Whether it is tried again.
        again: bool,
    },
    /// A task will have no result.
    TaskFailed {
        /// The task.
        task: TaskId,
        /// Why, at most [`MAX_TEXT`] bytes of it.
        error: String,
    },
    /// What a thread of a worker did, told by the worker when it was over; its clock is mapped to the scheduler's.
    Ran {
        /// Where.
        worker: WorkerId,
        /// What.
        run: RunSpan,
        /// The function it called.
        function: Arc<str>,
    },
    /// A result that a worker got from another as an input, told by the worker that got it; its clock is mapped to the
    /// scheduler's.
    Fetched {
        /// Who got it.
        worker: WorkerId,
        /// What.
        fetch: FetchSpan,
        /// From which worker, where it is still there.
        from: Option<WorkerId>,
    },
}

/// At most so many bytes of an error are in an event.
pub const MAX_TEXT: usize = 1_024;

/// What can happen to a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Step {
    /// Its result is needed, and some input is not there.
    Waiting,
    /// All inputs are there; it is queued.
    Ready {
        /// For which worker; none where any may take it.
        worker: Option<WorkerId>,
    },
    /// A worker was told to run it.
    Assigned {
        /// Who.
        worker: WorkerId,
        /// Which try at it.
        attempt: Attempt,
        /// How many inputs the worker has to get from others.
        n_fetched: u32,
    },
    /// A thread began to run it.
    Started {
        /// Whose.
        worker: WorkerId,
        /// Which try at it.
        attempt: Attempt,
    },
    /// It has a result ([`Kind::TaskFinished`]).
    Finished {
        /// Who has it.
        worker: WorkerId,
        /// Which try at it.
        attempt: Attempt,
    },
    /// A try ended with an error or a panic ([`Kind::AttemptFailed`]).
    AttemptFailed {
        /// Where.
        worker: WorkerId,
        /// Which try at it.
        attempt: Attempt,
    },
    /// An idle worker took it out of another's queue.
    Stolen {
        /// Whose queue.
        from: WorkerId,
    },
    /// A worker was told to stop trying.
    Cancelled {
        /// Who.
        worker: WorkerId,
        /// Which try at it.
        attempt: Attempt,
    },
    /// The worker that had been told to run it is gone.
    WorkerLost {
        /// Who.
        worker: WorkerId,
        /// Which try at it.
        attempt: Attempt,
        /// Whether it was running there, as far as was known.
        running: bool,
    },
    /// It asked to be run elsewhere.
    Rescheduled {
        /// Where it did.
        worker: WorkerId,
        /// Which try at it.
        attempt: Attempt,
    },
    /// Another worker has a copy of the result.
    Copied {
        /// Who.
        worker: WorkerId,
    },
    /// A worker was told to drop its copy of the result, while another has one.
    CopyDropped {
        /// Who.
        worker: WorkerId,
    },
    /// The result was not where it was said to be.
    Missed {
        /// Where not.
        worker: WorkerId,
    },
    /// No worker has the result any more; it is made again where it is needed.
    Lost,
    /// It will have no result ([`Kind::TaskFailed`]).
    Failed,
    /// A worker that came back has the result.
    Found {
        /// Who.
        worker: WorkerId,
    },
    /// It runs far longer than its kind does, so another attempt is begun beside it.
    Straggles,
    /// Nobody needs the result any more: it was dropped, or is no longer made.
    Released,
}

/// One function call on a thread of a worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunSpan {
    /// The task.
    pub task: TaskId,
    /// Which try at it.
    pub attempt: Attempt,
    /// On which of the worker's threads, from 0.
    pub thread: u32,
    /// When the function was called.
    pub start: Time,
    /// For how long it ran.
    pub duration: Duration,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a function call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Outcome {
    /// A result.
    Finished {
        /// Its size.
        n_bytes: u64,
    },
    /// An error or a panic.
    Failed,
    /// Nobody wanted it any more when it was there.
    Cancelled,
}

/// One result on its way from one worker to another, from the request until all of it was there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchSpan {
    /// The task whose result it is.
    pub task: TaskId,
    /// From where.
    pub from: Address,
    /// Its size.
    pub n_bytes: u64,
    /// When it was asked for.
    pub start: Time,
    /// How long it took.
    pub duration: Duration,
}

/// What of all that is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub enum Record {
    /// Nothing.
    #[default]
    Nothing,
    /// Who comes and goes, and which tasks fail.
    Cluster,
    /// Every task's steps as well.
    Tasks,
    /// What workers say of each run and each fetch as well: everything that a timeline shows.
    Timeline,
}

/// An error's text as events hold it: cut at [`MAX_TEXT`] bytes.
pub(crate) fn cut(mut text: String) -> String {
    if text.len() > MAX_TEXT {
        let end = (0..=MAX_TEXT - 3).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
        text += "...";
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_error_is_cut_between_letters() {
        assert_eq!(cut("short".into()), "short");
        let text = cut("ä".repeat(MAX_TEXT));
        assert!(text.len() <= MAX_TEXT && text.ends_with("ä..."), "{text}");
    }
}
