//! Names for the things a cluster counts: small integers that cannot be mixed up.
//!
//! An id is never used again, so a message that arrives late can only be stale, not wrong.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($int:ty), $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub $int);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

id! {
    /// A program that submits work. The scheduler gives the number at the handshake.
    ///
    /// ```compile_fail
    /// use phalanx_engine::id::{ClientId, WorkerId};
    /// let client: ClientId = WorkerId(1); // a worker is not a client
    /// ```
    ClientId(u32), "client-"
}

id! {
    /// A process (or a part of one) that runs tasks. A worker that comes back gets a new number.
    ///
    /// ```compile_fail
    /// use phalanx_engine::id::{ConnectionId, WorkerId};
    /// let worker: WorkerId = ConnectionId(1); // a connection is not a worker
    /// ```
    WorkerId(u32), "worker-"
}

/// One scheduler's memory, from its first start on: a random number.
///
/// Every other number is given by a scheduler and means something inside of its cluster only. A scheduler that comes
/// back with its journal is the same cluster; one that comes back without is another.
///
/// ```
/// use phalanx_engine::id::ClusterId;
/// assert_eq!(ClusterId(255).to_string(), "cluster-000000000000000000000000000000ff");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct ClusterId(pub u128);

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cluster-{:032x}", self.0)
    }
}

impl fmt::Debug for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

id! {
    /// A connection to the scheduler, before it is known who is at its other end.
    ///
    /// ```compile_fail
    /// use phalanx_engine::id::{ClientId, ConnectionId};
    /// let connection: ConnectionId = ClientId(1); // a client is not a connection
    /// ```
    ConnectionId(u64), "connection-"
}

id! {
    /// One try at running a task. Tries of one task count from 0.
    ///
    /// ```compile_fail
    /// use phalanx_engine::id::{Attempt, TaskId};
    /// let attempt: Attempt = TaskId(1); // a task is not one of its attempts
    /// ```
    Attempt(u32), "attempt-"
}

id! {
    /// A function, by its place in the table that one program sent in its handshake.
    ///
    /// The scheduler translates between the tables of clients and workers.
    ///
    /// ```compile_fail
    /// use phalanx_engine::id::{FunctionId, TaskId};
    /// let function: FunctionId = TaskId(1); // a task is not the function it calls
    /// ```
    FunctionId(u32), "function-"
}

/// A task: the client that submitted it and its place among all that client ever submitted.
///
/// Clients number their own tasks, so a submission needs no answer before the next one. Within a client the
/// numbers are dense and follow the order in which tasks should run.
///
/// ```
/// use phalanx_engine::id::{ClientId, TaskId};
/// let task = TaskId::new(ClientId(3), 14);
/// assert_eq!(task.to_string(), "task-3.14");
/// assert_eq!((task.client(), task.sequence()), (ClientId(3), 14));
/// ```
///
/// ```compile_fail
/// use phalanx_engine::id::{Attempt, TaskId};
/// let task: TaskId = Attempt(1); // an attempt is not a task
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TaskId(pub u64);

impl TaskId {
    /// How many tasks one client can submit in its life: 2^40.
    pub const MAX_SEQUENCE: u64 = (1 << 40) - 1;
    /// How many clients a scheduler can number: 2^24.
    pub const MAX_CLIENT: u32 = (1 << 24) - 1;

    /// The task that `client` submitted as its `sequence`th. Bits beyond [`Self::MAX_SEQUENCE`] are cut off.
    pub const fn new(client: ClientId, sequence: u64) -> Self {
        Self(((client.0 as u64) << 40) | (sequence & Self::MAX_SEQUENCE))
    }

    /// Who submitted it.
    pub const fn client(self) -> ClientId {
        ClientId((self.0 >> 40) as u32)
    }

    /// Its place in everything that client submitted.
    pub const fn sequence(self) -> u64 {
        self.0 & Self::MAX_SEQUENCE
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "task-{}.{}", self.client().0, self.sequence())
    }
}

impl fmt::Debug for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
