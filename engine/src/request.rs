//! What a client asks of the scheduler beside submitting work, and what it is answered.
//!
//! Each question carries a ticket that the client chose, and gets exactly one answer with that ticket, however long
//! it takes; none once the connection is gone. What answering needs is the scheduler's.

use serde::{Deserialize, Serialize};

use crate::{
    adaptive::Load,
    id::{TaskId, WorkerId},
    inspect::{Answer, Question},
};

/// What a client asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Request {
    /// Let these workers go: they get no new task, finish what they run, and what only they hold moves to others.
    /// Answered by [`Reply::Retired`] when all of them are gone or stay.
    Retire {
        /// Which.
        workers: Vec<WorkerId>,
        /// After so many milliseconds they leave anyway; what they ran and what only they held is made again.
        grace_ms: Option<u64>,
    },
    /// Keep each of these results on so many workers, as long as it exists. Answered by [`Reply::Replicated`] when
    /// all are there, on as many workers as take copies where those are fewer.
    Replicate {
        /// Results that the client holds.
        tasks: Vec<TaskId>,
        /// On how many workers, 1 or more.
        n_copies: u32,
    },
    /// Move results from workers that hold much to workers that hold little. Answered by [`Reply::Rebalanced`] when
    /// that is done.
    Rebalance,
    /// How loaded is the cluster? Answered by [`Reply::Load`] at once.
    Load,
    /// How does the scheduler see this? Answered at once by [`Reply::Inspected`].
    Inspect {
        /// What.
        question: Question,
    },
}

/// What it is answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Reply {
    /// What became of the workers of [`Request::Retire`], in the order of the request.
    Retired {
        /// Each with its end.
        workers: Vec<(WorkerId, Retirement)>,
    },
    /// What became of [`Request::Replicate`].
    Replicated {
        /// On how many workers each result is, in the order of the request; 0 where it is gone.
        copies: Vec<u32>,
    },
    /// What became of [`Request::Rebalance`].
    Rebalanced {
        /// Results that changed their place.
        n_moved: u64,
        /// Their bytes.
        n_bytes: u64,
    },
    /// How loaded the cluster is.
    Load {
        /// That is it.
        load: Load,
    },
    /// What there is to say to [`Request::Inspect`].
    Inspected {
        /// That.
        answer: Box<Answer>,
    },
}

/// How retiring a worker ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Retirement {
    /// It is gone, and nothing was lost.
    Done {
        /// Results that were moved to other workers.
        n_moved: u64,
        /// Their bytes.
        n_bytes: u64,
    },
    /// Its time was over before it was done: it is gone, and what was lost is made again where it is needed.
    TimedOut {
        /// Tasks that it was still running.
        n_running: u64,
        /// Results that only it had.
        n_lost: u64,
    },
    /// It was lost on the way.
    Died,
    /// It stays, and works on.
    Refused {
        /// Why, in a sentence that says what to do.
        reason: String,
    },
    /// No worker of that number is connected.
    Unknown,
}
