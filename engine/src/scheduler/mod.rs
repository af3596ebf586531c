//! Decides what runs where. Told what clients and workers say, it answers with what to tell them.
//!
//! It never waits, reads no clock, and remembers of a result only who has it and how large it is.

use std::time::Duration;

use crate::{
    id::{ClientId, ConnectionId, WorkerId},
    message::{FromClient, FromWorker, Greeting, Hello, ToClient, ToWorker},
    task::FunctionEntry,
    time::Time,
};

/// What can happen to the scheduler.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Somebody introduced himself. Answered by one [`Command::Greet`].
    Hello {
        /// On which connection.
        connection: ConnectionId,
        /// As whom.
        hello: Hello,
    },
    /// A client said something.
    Client {
        /// Who.
        client: ClientId,
        /// What.
        message: FromClient,
    },
    /// A worker said something.
    Worker {
        /// Who.
        worker: WorkerId,
        /// What.
        message: FromWorker,
    },
    /// A client's connection is gone.
    ClientLeft {
        /// Who.
        client: ClientId,
    },
    /// A worker's connection is gone.
    WorkerLeft {
        /// Who.
        worker: WorkerId,
    },
    /// A deadline has come; see [`Scheduler::deadline`].
    Tick,
}

/// What the scheduler wants done.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Answer a [`Hello`]. After [`Greeting::Refused`] the shell closes the connection once this is sent.
    Greet {
        /// On which connection.
        connection: ConnectionId,
        /// With what.
        greeting: Greeting,
    },
    /// Tell a client.
    ToClient {
        /// Whom.
        client: ClientId,
        /// What.
        message: ToClient,
    },
    /// Tell a worker.
    ToWorker {
        /// Whom.
        worker: WorkerId,
        /// What.
        message: ToWorker,
    },
    /// A client was silent too long: close its connection. It is forgotten already.
    CloseClient {
        /// Whose.
        client: ClientId,
    },
    /// A worker was silent too long: close its connection. It is forgotten already.
    CloseWorker {
        /// Whose.
        worker: WorkerId,
    },
}

/// What the scheduler waits for, and until when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// A heartbeat is due to everyone.
    Heartbeat,
    /// A worker has to say something, or it counts as dead.
    WorkerSilent(WorkerId),
    /// A client has to say something, or it counts as gone.
    ClientSilent(ClientId),
    /// There is work and no worker: clients are told.
    NoWorkers,
}

/// How the scheduler behaves.
///
/// | name | default | purpose | range |
/// |---|---|---|---|
/// | `protocol` | [`PROTOCOL`](crate::message::PROTOCOL) | refuse programs of another one | any |
/// | `version` | this crate's | shown when refusing | text |
/// | `heartbeat` | 1 s | how often everyone speaks; silence of five times that is death | above 0 |
/// | `no_workers_after` | 2 s | when clients are first told that no worker is there; repeated at twice the interval, at most every 30 s | above 0 |
/// | `allowed_failures` | 3 | workers that may die while running a task before it fails | 1 or more |
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Refuse programs of another protocol.
    pub protocol: u32,
    /// Shown when refusing.
    pub version: String,
    /// How often everyone speaks.
    pub heartbeat: Duration,
    /// When clients are first told that no worker is there.
    pub no_workers_after: Duration,
    /// Workers that may die while running a task.
    pub allowed_failures: u32,
}
