//! Locks, semaphores, events, queues and variables that a whole cluster knows by name.
//!
//! A machine of its own inside of the scheduler's: told what clients ask for and which of them are gone, it says who
//! is answered what. There are no leases that run out: who is connected is known, and whoever is gone has let go.
//! Waiters are served in the order in which they came.
//!
//! | what | how long it lives |
//! |---|---|
//! | lock, semaphore | while somebody holds or awaits it |
//! | event | while it is set or somebody waits for it |
//! | queue, variable | while there is a value in it or somebody waits for one: until it is deleted or the cluster ends |
//!
//! ```
//! use phalanx_engine::{
//!     coordination::{Answer, Coordination, Request, Told},
//!     id::ClientId,
//!     time::Time,
//! };
//!
//! let (mut coordination, mut out) = (Coordination::default(), Vec::new());
//! let lock = || Request::Lock { name: "the printer".into(), timeout: None };
//! coordination.request(Time::ZERO, ClientId(0), 5, lock(), None, &mut out);
//! coordination.request(Time::ZERO, ClientId(1), 9, lock(), None, &mut out);
//! coordination.client_left(ClientId(0), &mut out);
//! let told = |client, ticket| Told { client: ClientId(client), ticket, answer: Answer::Acquired, value: None };
//! assert_eq!(out, [told(0, 5), told(1, 9)]);
//! ```

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{id::ClientId, value::Value};

mod machine;
#[cfg(test)]
mod tests;

pub use machine::Coordination;

/// The largest value that a queue or a variable takes, in bytes: 1 MiB.
pub const MAX_VALUE: u64 = 1 << 20;
/// The most that all queues and variables of a cluster hold, in bytes: 256 MiB.
pub const MAX_VALUES: u64 = 1 << 28;
/// The longest name, in bytes.
pub const MAX_NAME: usize = 256;

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// To hold a lock. The ticket names the lease. Answered by [`Answer::Acquired`].
    Lock {
        /// Which.
        name: String,
        /// How long to wait for it; for ever if none.
        timeout: Option<Duration>,
    },
    /// To hold one of a semaphore's places. The ticket names the lease. Answered by [`Answer::Acquired`].
    Acquire {
        /// Which.
        name: String,
        /// How many may hold it at a time; the same for all who use it.
        limit: u32,
        /// How long to wait for it; for ever if none.
        timeout: Option<Duration>,
    },
    /// To let go of a lock or a semaphore's place. Not answered; of one that is not held it means nothing.
    Release {
        /// The ticket by which it was acquired.
        lease: u64,
    },
    /// To set an event.
    Set {
        /// Which.
        event: String,
    },
    /// To clear an event.
    Clear {
        /// Which.
        event: String,
    },
    /// Whether an event is set. Answered by [`Answer::Is`].
    IsSet {
        /// Which.
        event: String,
    },
    /// To wait until an event is set.
    Wait {
        /// Which.
        event: String,
        /// How long; for ever if none.
        timeout: Option<Duration>,
    },
    /// To append the attached value to a queue.
    Put {
        /// Which.
        queue: String,
        /// How many values it holds; 0 for any number; the same for all who use it.
        maxsize: u32,
        /// How long to wait for room; for ever if none.
        timeout: Option<Duration>,
    },
    /// To put the attached value, which was got and not used, back to the front of a queue. Not answered.
    PutBack {
        /// Which.
        queue: String,
        /// As for those who put.
        maxsize: u32,
    },
    /// To take the first value of a queue. Answered by [`Answer::Value`].
    Get {
        /// Which.
        queue: String,
        /// As for those who put.
        maxsize: u32,
        /// How long to wait for one; for ever if none.
        timeout: Option<Duration>,
    },
    /// How many values are in a queue. Answered by [`Answer::Count`].
    Len {
        /// Which.
        queue: String,
    },
    /// To give a variable the attached value.
    Store {
        /// Which.
        variable: String,
    },
    /// A variable's value. Answered by [`Answer::Value`].
    Load {
        /// Which.
        variable: String,
        /// How long to wait until it has one; for ever if none.
        timeout: Option<Duration>,
    },
    /// To throw a queue's values away. Who waits for it is refused.
    DeleteQueue {
        /// Which.
        queue: String,
    },
    /// To throw a variable's value away. Who waits for one waits on.
    DeleteVariable {
        /// Which.
        variable: String,
    },
    /// To leave the line. Not answered itself: the request of that ticket gets [`Answer::Left`], unless it was answered
    /// before.
    Forget {
        /// The ticket of the request that waits.
        ticket: u64,
    },
}

impl Request {
    /// Whether there will be an answer to its ticket.
    pub const fn is_answered(&self) -> bool {
        !matches!(self, Self::Release { .. } | Self::PutBack { .. } | Self::Forget { .. })
    }

    /// Whether a value goes along.
    const fn takes_value(&self) -> bool {
        matches!(self, Self::Put { .. } | Self::PutBack { .. } | Self::Store { .. })
    }

    fn name(&self) -> &str {
        match self {
            Self::Lock { name, .. } | Self::Acquire { name, .. } => name,
            Self::Set { event } | Self::Clear { event } | Self::IsSet { event } | Self::Wait { event, .. } => event,
            Self::Put { queue, .. }
            | Self::PutBack { queue, .. }
            | Self::Get { queue, .. }
            | Self::Len { queue }
            | Self::DeleteQueue { queue } => queue,
            Self::Store { variable } | Self::Load { variable, .. } | Self::DeleteVariable { variable } => variable,
            Self::Release { .. } | Self::Forget { .. } => "",
        }
    }
}

/// What a request comes to. Each is answered once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// It is done, or has happened.
    Done,
    /// The lease is held from now on.
    Acquired,
    /// Whether it is.
    Is(bool),
    /// How many.
    Count(u64),
    /// Here is the value, attached.
    Value,
    /// It did not come in time.
    TimedOut,
    /// The line was left, as asked.
    Left,
    /// It cannot be.
    Refused(CoordinationError),
}

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum CoordinationError {
    /// Two users of one name mean different things by it.
    #[error("{name:?} is in use with a limit of {limit}, and asked for with {asked}; one name has one limit")]
    Limit {
        /// Which name.
        name: String,
        /// The limit it is used with.
        limit: u32,
        /// The limit it was asked for with.
        asked: u32,
    },
    /// Nobody could ever hold it.
    #[error("a semaphore {name:?} with 0 places would never be acquired; give it 1 or more")]
    NoPlaces {
        /// Which name.
        name: String,
    },
    /// A value is not small.
    #[error(
        "a value of {n_bytes} bytes is too large for {name:?}: queues and variables take {limit} bytes; leave it on the \
         workers (scatter or persist it, and publish it by name) and send what says where it is"
    )]
    TooLarge {
        /// Of which queue or variable.
        name: String,
        /// Its size.
        n_bytes: u64,
        /// The largest that is taken.
        limit: u64,
    },
    /// All values together are too much.
    #[error("the queues and variables of this cluster are full: {limit} bytes in all; take values out, or delete some")]
    Full {
        /// The most they hold.
        limit: u64,
    },
    /// The queue was deleted while somebody waited for it.
    #[error("the queue {name:?} was deleted")]
    Deleted {
        /// Which.
        name: String,
    },
    /// A name is too long.
    #[error("a name of {n_bytes} bytes is too long, the longest has {limit}")]
    Name {
        /// Its length.
        n_bytes: usize,
        /// The longest.
        limit: usize,
    },
    /// A request without the value it needs.
    #[error("a request came without its value")]
    NoValue,
}

/// An answer, and for whom.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// Who asked.
    pub client: ClientId,
    /// By which ticket.
    pub ticket: u64,
    /// The answer.
    pub answer: Answer,
    /// The value of an [`Answer::Value`].
    pub value: Option<Value>,
}
