//! Decides what a client asks for: it numbers tasks, counts who holds their results, and finds results again.
//!
//! It holds no values but those the scheduler sent along; the shell fetches larger ones when told from whom.

use std::time::Duration;

use crate::{
    coordination::{self, Answer},
    graph::Graph,
    id::{ClientId, TaskId},
    message::{Address, FromClient, ToClient, WaitReason, WorkerInfo},
    request::{Reply, Request},
    task::TaskError,
    value::Value,
};

mod machine;
mod named;
mod outbox;
#[cfg(test)]
mod tests;

pub use machine::Client;
pub use outbox::Outbox;

/// What can happen to a client.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The user submits work and keeps a handle on each wanted node (a node is named once). Their tasks are told by
    /// [`Client::first_of_next`] before: node `i` becomes the `first + i`th.
    Submit {
        /// The work.
        graph: Graph,
        /// The nodes the user keeps.
        wanted: Vec<u32>,
        /// The task that submits it, where it is one.
        parent: Option<TaskId>,
    },
    /// The user dropped the last handle on a result. Answers that are still open are given, and only then does the
    /// scheduler learn that the result is no longer held.
    Release {
        /// The task.
        task: TaskId,
    },
    /// The user takes tasks back. Their answers become [`TaskError::Cancelled`] when the scheduler says so; the handles
    /// stay and are released as any other.
    Cancel {
        /// The tasks.
        tasks: Vec<TaskId>,
    },
    /// The user wants the value itself. Answered by one [`Command::Deliver`] or [`Command::Fail`] for this `ticket`.
    Gather {
        /// The task, one the user holds.
        task: TaskId,
        /// To tell answers apart; never used again.
        ticket: u64,
    },
    /// The user wants to know when the task is done, without its value. Answered by [`Command::Done`] or
    /// [`Command::Fail`].
    Await {
        /// The task, one the user holds.
        task: TaskId,
        /// To tell answers apart; never used again.
        ticket: u64,
    },
    /// The user asks something about the cluster. Answered by [`Command::Reply`] or [`Command::Fail`].
    Ask {
        /// What.
        request: Request,
        /// To tell answers apart; never used again.
        ticket: u64,
    },
    /// The user asks for something by name. Where it is of a kind that is answered, by one [`Command::Coordinated`] or
    /// [`Command::Fail`].
    Coordinate {
        /// To tell answers apart; never used again, also not for another kind of question.
        ticket: u64,
        /// What.
        request: coordination::Request,
        /// The value that goes along.
        value: Option<Value>,
    },
    /// The user wants the result of a call under a key that all clients share. Answered by [`Command::Reply`] with the
    /// task that counts, which the user then holds, or by [`Command::Fail`]. The graph's nodes count among the client's
    /// submissions whatever comes of it.
    Share {
        /// The key.
        key: String,
        /// A fingerprint of the call, [`Graph::recipe`].
        recipe: u64,
        /// The call and all that it needs.
        graph: Graph,
        /// The node that is the call.
        node: u32,
        /// The task that submits it, where it is one.
        parent: Option<TaskId>,
        /// To tell answers apart; never used again.
        ticket: u64,
    },
    /// The user is no longer interested in an answer.
    Forget {
        /// Which.
        ticket: u64,
    },
    /// The scheduler said something.
    Scheduler(ToClient),
    /// A worker sent a result that was asked for.
    Fetched {
        /// From whom.
        peer: Address,
        /// The task.
        task: TaskId,
        /// Its result.
        value: Value,
    },
    /// A worker does not have it.
    NotThere {
        /// From whom.
        peer: Address,
        /// The task.
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
    /// A connection to a worker could not be made or broke: whatever was asked of it will not come. Not said of a
    /// connection that was closed by [`Command::Close`].
    PeerLost {
        /// Which.
        peer: Address,
    },
    /// The connection to the scheduler is gone: every open answer is a failure with [`Trouble::SchedulerLost`].
    SchedulerLost,
    /// A deadline has come; see [`Client::deadline`].
    Tick,
    /// The connection to the scheduler broke, and the shell looks for it: answers stay open, and results are fetched as
    /// before. Whatever is to be said to the scheduler is for the shell to keep; see [`Outbox`].
    Cut,
    /// The scheduler is there again and knows this client.
    Resumed,
    /// It is another life of the scheduler, which knows nothing of what was held by name, and of what was asked for by
    /// name or about the cluster. Said before [`Event::Resumed`].
    NamesLost,
    /// A scheduler is there again that knows nothing of this client: every open answer is a failure with
    /// [`Trouble::SchedulerRestarted`], and so is every later one about work from before. New work runs.
    Restarted {
        /// The number it gave.
        client: ClientId,
    },
}

/// What a client wants done. Commands are carried out in the order in which they are given.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Tell the scheduler.
    ToScheduler(FromClient),
    /// Ask a worker for results, in one request; nothing else is asked of it until all of them are answered.
    Fetch {
        /// Whom.
        peer: Address,
        /// For what.
        tasks: Vec<TaskId>,
    },
    /// A worker was silent too long: close the connection to it. What it still sends on that connection is not wanted;
    /// the next [`Command::Fetch`] from it makes a new one.
    Close {
        /// Whom.
        peer: Address,
    },
    /// The scheduler was silent too long: close the connection to it. This is as if [`Event::Cut`] had been said, with
    /// [`Config::reconnects`]; otherwise every open answer has failed already, with [`Trouble::SchedulerLost`].
    CloseScheduler,
    /// Here is the value of a [`Event::Gather`].
    Deliver {
        /// Which.
        ticket: u64,
        /// The value.
        value: Value,
    },
    /// The task of an [`Event::Await`] has a result.
    Done {
        /// Which.
        ticket: u64,
    },
    /// The answer to a [`Event::Ask`].
    Reply {
        /// Which.
        ticket: u64,
        /// What.
        reply: Reply,
    },
    /// What an [`Event::Coordinate`] came to.
    Coordinated {
        /// Which.
        ticket: u64,
        /// What.
        answer: Answer,
        /// The value of an [`Answer::Value`].
        value: Option<Value>,
    },
    /// There will be no answer but this.
    Fail {
        /// Which.
        ticket: u64,
        /// Why.
        trouble: Trouble,
    },
    /// The cluster's workers changed.
    Workers(Vec<WorkerInfo>),
    /// Something the user should know: work waits for what only people can bring.
    Waiting {
        /// For what.
        reason: WaitReason,
        /// How many of this client's tasks.
        n_tasks: u64,
        /// For how long already.
        waited: Duration,
    },
    /// The scheduler was restarted: leases that were granted before are not held any more.
    NamesLost,
    /// The scheduler has taken in so many messages: for the shell's [`Outbox`].
    Heard {
        /// How many.
        n_messages: u64,
    },
}

/// Why there is no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Trouble {
    /// The task has none.
    #[error(transparent)]
    Task(#[from] TaskError),
    /// The scheduler is gone, and with it everything it knew.
    #[error("the connection to the scheduler was lost")]
    SchedulerLost,
    /// The handle is of a task that this client never submitted or has released.
    #[error("{task} is not held by this client")]
    NotHeld {
        /// The task.
        task: TaskId,
    },
    /// The scheduler that knew of this work is gone, or gave this client up, and with it all that it knew.
    #[error("the scheduler that this work was submitted to has forgotten it")]
    SchedulerRestarted,
}

/// What a client waits for, and until when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// A heartbeat to the scheduler is due.
    Heartbeat,
    /// The scheduler has to say something, or it counts as gone.
    SchedulerSilent,
    /// A worker has to send something that was asked of it, or it counts as lost.
    PeerSilent(Address),
    /// A peer that was busy is asked again.
    PeerBusy(Address),
}

/// How a client behaves.
///
/// | name | default | purpose | range |
/// |---|---|---|---|
/// | `heartbeat` | 1 s | how often it speaks (the scheduler's greeting says) | above 0 |
/// | `silence` | 30 s | a scheduler that says nothing for so long counts as dead; a busy machine may well be silent for seconds | above `heartbeat` |
/// | `peer_silence` | 10 s | a worker from which nothing asked for comes in this time counts as lost | above 0 |
/// | `max_fetches` | 50 | workers that are asked at the same time | 1 or more |
/// | `max_incoming` | 256 MiB | bytes of results on their way at the same time; one result always may be | any |
/// | `reconnects` | no | whether the shell looks for a scheduler that is gone | |
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// How often it speaks.
    pub heartbeat: Duration,
    /// How long the scheduler may say nothing.
    pub silence: Duration,
    /// How long a worker may be silent while something is asked of it.
    pub peer_silence: Duration,
    /// Workers asked at the same time.
    pub max_fetches: u32,
    /// Bytes of results on their way at the same time.
    pub max_incoming: u64,
    /// Whether the shell looks for a scheduler that is gone.
    pub reconnects: bool,
}

impl Default for Config {
    fn default() -> Self {
        let [heartbeat, silence, peer_silence] = [1, 30, 10].map(Duration::from_secs);
        Self { heartbeat, silence, peer_silence, max_fetches: 50, max_incoming: 256 << 20, reconnects: false }
    }
}
