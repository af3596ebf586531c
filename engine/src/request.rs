//! What a client asks of the scheduler beside submitting work, and what it is answered.
//!
//! Each question carries a ticket that the client chose, and gets exactly one answer with that ticket, however long
//! it takes; none once the connection is gone. What answering needs is the scheduler's.

use serde::{Deserialize, Serialize};

use crate::{
    adaptive::Load,
    graph::Graph,
    id::{TaskId, WorkerId},
    inspect::{Answer, Question},
    message::Carried,
    value::Value,
};

/// The most bytes that what is made of published results may take, beside them: 16 MiB.
pub const MAX_SHAPE: u64 = 16 << 20;

/// What a client asks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
    /// Run a call under a key that all clients share. Whoever asks for the same key while somebody wants the result
    /// gets that result, and nothing runs twice. Answered by [`Reply::Granted`] with one task, or [`Reply::Denied`].
    Share {
        /// The key.
        key: String,
        /// A fingerprint of the call: one key stands for one call.
        recipe: u64,
        /// The sequence number of the graph's first node, as in a submission.
        first: u64,
        /// The call and all that it needs.
        graph: Box<Graph>,
        /// The node that is the call.
        node: u32,
        /// The running task that submits it, where it is one.
        parent: Option<TaskId>,
    },
    /// Keep results that the client holds under a name, also when the client has gone. Answered by [`Reply::Done`] or
    /// [`Reply::Denied`].
    Publish {
        /// The name.
        name: String,
        /// The results.
        tasks: Vec<TaskId>,
        /// What is made of them, for whoever gets them back. Attached; at most [`MAX_SHAPE`] bytes.
        #[serde(skip)]
        shape: Option<Value>,
        /// Whether it takes the place of what has that name already.
        replace: bool,
    },
    /// Keep what has that name no longer. Answered by [`Reply::Done`] or [`Reply::Denied`].
    Unpublish {
        /// The name.
        name: String,
    },
    /// Which names are there? Answered by [`Reply::Names`].
    Published,
    /// Hold what is published under a name. Answered by [`Reply::Granted`] or [`Reply::Denied`].
    GetPublished {
        /// The name.
        name: String,
    },
}

/// What it is answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
    /// The client holds these results from now on, each once more than before.
    Granted {
        /// The results.
        tasks: Vec<TaskId>,
        /// What was published with them. Attached.
        #[serde(skip)]
        shape: Option<Value>,
        /// Whether `shape` is attached, since the body cannot show it.
        has_shape: bool,
    },
    /// It is done.
    Done,
    /// It cannot be.
    Denied {
        /// Why, in a sentence.
        reason: String,
    },
    /// The names of all that is published, sorted.
    Names {
        /// The names.
        names: Vec<String>,
    },
}

impl Request {
    /// Whether it is answered at once, and the answer outlives a scheduler with a journal: what is shared between clients.
    pub const fn is_lasting(&self) -> bool {
        matches!(
            self,
            Self::Share { .. }
                | Self::Publish { .. }
                | Self::Unpublish { .. }
                | Self::Published
                | Self::GetPublished { .. }
        )
    }

    /// Where its values belong.
    pub(crate) const fn carried(&mut self) -> Carried<'_> {
        match self {
            // `Graph::check` compares them with what its arguments name.
            Self::Share { graph, .. } => Carried::All(&mut graph.constants),
            Self::Publish { shape, .. } => Carried::One { value: shape, is_there: true },
            _ => Carried::Nothing,
        }
    }
}

impl Reply {
    /// Results that the client holds, and what was published with them.
    pub const fn granted(tasks: Vec<TaskId>, shape: Option<Value>) -> Self {
        let has_shape = shape.is_some();
        Self::Granted { tasks, shape, has_shape }
    }

    /// Whether it answers a [lasting](Request::is_lasting) question.
    pub(crate) const fn is_lasting(&self) -> bool {
        matches!(self, Self::Granted { .. } | Self::Done | Self::Denied { .. } | Self::Names { .. })
    }

    /// Where its values belong.
    pub(crate) const fn carried(&mut self) -> Carried<'_> {
        match self {
            Self::Granted { shape, has_shape, .. } => Carried::One { value: shape, is_there: *has_shape },
            _ => Carried::Nothing,
        }
    }
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
