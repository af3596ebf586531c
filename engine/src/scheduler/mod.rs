//! Decides what runs where. Told what clients and workers say, it answers with what to tell them.
//!
//! It never waits, reads no clock, and remembers of a result only who has it and how large it is.
//!
//! | read | to learn |
//! |---|---|
//! | `tasks`, `queue` | the table of tasks, and ready tasks in order |
//! | `submit` | how a graph becomes tasks |
//! | `seceded` | tasks that wait for tasks they submitted, and hold no thread meanwhile |
//! | `life` | how a task comes to be needed, ready, done, failed, lost and forgotten |
//! | `place` | which worker runs a ready task, and when an idle one steals |
//! | `demand` | tasks that not every worker may run: resources, named workers, and what waits in vain |
//! | `memory` | what a worker is given while its memory is short |
//! | `peers` | who is connected, what they know, and when silence is death |
//! | `replicas`, `retire` | copies that are made on demand, and how a worker goes without losing anything |
//! | `requests` | who answers what clients ask beside submitting |
//! | `returns` | what becomes of those whose connection broke and who come back |
//! | `coordinate` | locks, events, queues: what [`crate::coordination`] decides, told to clients |
//! | `check` | what must be true after every event |

mod check;
mod coordinate;
mod demand;
mod life;
mod memory;
mod peers;
mod place;
mod queue;
mod replicas;
mod requests;
mod retire;
mod returns;
mod seceded;
mod submit;
mod tasks;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::{
    coordination::Coordination,
    event::{Kind, Record},
    id::{ClientId, ClusterId, ConnectionId, TaskId, WorkerId},
    message::{FromClient, FromWorker, Greeting, Hello, ToClient, ToWorker},
    time::Time,
};
use demand::Demands;
use peers::{Client, Functions, Lonely, Workers};
use queue::Queue;
use replicas::Replicas;
use retire::Retiring;
use submit::Submissions;
use tasks::Tasks;

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
    /// A heartbeat is due to everyone, and whoever was silent too long counts as dead.
    Heartbeat,
    /// There is work and no worker: clients are told.
    NoWorkers,
    /// A worker that is being retired leaves, whatever it still has.
    Retire(WorkerId),
    /// There are tasks that no connected worker can ever run: clients are told, or the tasks fail.
    NoSuitableWorker,
    /// Somebody waits for a lock, an event or a queue, and no longer than this.
    Coordination,
}

/// How the scheduler behaves.
///
/// | name | default | purpose | range |
/// |---|---|---|---|
/// | `version` | this crate's | shown when refusing a program | text |
/// | `heartbeat` | 1 s | how often everyone speaks | above 0 |
/// | `silence` | 30 s | who says nothing for so long counts as dead; a busy machine may well be silent for seconds | above `heartbeat` |
/// | `no_workers_after` | 2 s | when clients are first told that no worker is there; again after twice as long, at most every 30 s | above 0 |
/// | `allowed_failures` | 3 | workers that may die while running a task before it fails | 1 or more |
/// | `record` | nothing | what is written into [`Scheduler::take_events`] | see [`Record`] |
/// | `allowed_misses` | 20 | times that a result may not be where it was said to be before its task fails | 1 or more |
/// | `cluster` | 0 | inside which cluster all numbers mean something; a shell gives each a random one | any |
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Shown when refusing.
    pub version: String,
    /// How often everyone speaks.
    pub heartbeat: Duration,
    /// How long somebody may say nothing.
    pub silence: Duration,
    /// When clients are first told that no worker is there.
    pub no_workers_after: Duration,
    /// Workers that may die while running a task.
    pub allowed_failures: u32,
    /// Times that a result may not be where it should be.
    pub allowed_misses: u32,
    /// What is written down of what happens.
    pub record: Record,
    /// Which cluster this is.
    pub cluster: ClusterId,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").into(),
            heartbeat: Duration::from_secs(1),
            silence: Duration::from_secs(30),
            no_workers_after: Duration::from_secs(2),
            allowed_failures: 3,
            allowed_misses: 20,
            record: Record::Nothing,
            cluster: ClusterId::default(),
        }
    }
}

/// The scheduler machine.
///
/// Tell it what happens with [`handle`](Self::handle), in the order in which it happens, and carry out the commands it
/// appends; call again with [`Event::Tick`] no later than [`deadline`](Self::deadline) says.
///
/// ```
/// use phalanx_engine::{
///     id::{ClientId, ConnectionId},
///     message::{Greeting, Hello, PROTOCOL, Role, ToClient},
///     scheduler::{Command, Config, Event, Scheduler},
///     time::Time,
/// };
///
/// let mut scheduler = Scheduler::new(Config::default(), Time::ZERO);
/// let hello = Hello {
///     protocol: PROTOCOL,
///     version: "1.0".into(),
///     instruction_set: "x86_64".into(),
///     functions: vec![],
///     role: Role::Client,
/// };
/// let mut commands = Vec::new();
/// scheduler.handle(Time::ZERO, Event::Hello { connection: ConnectionId(7), hello }, &mut commands);
/// assert_eq!(commands, [
///     Command::Greet {
///         connection: ConnectionId(7),
///         greeting: Greeting::Client { client: ClientId(0), heartbeat_ms: 1000 },
///     },
///     Command::ToClient { client: ClientId(0), message: ToClient::Workers { workers: vec![] } },
/// ]);
/// ```
#[derive(Debug)]
pub struct Scheduler {
    config: Config,
    tasks: Tasks,
    submissions: Submissions,
    functions: Functions,
    clients: BTreeMap<ClientId, Client>,
    workers: Workers,
    /// Ready tasks that any worker may take.
    shared: Queue,
    /// Results to forget, collected during one event.
    drops: BTreeMap<WorkerId, Vec<TaskId>>,
    /// Workers whose room changed during one event.
    touched: BTreeSet<WorkerId>,
    /// The number that the next client gets.
    n_clients_ever: ClientId,
    next_beat: Time,
    lonely: Option<Lonely>,
    demands: Demands,
    /// The time of the event being handled.
    now: Time,
    events: Vec<crate::event::Event>,
    replicas: Replicas,
    retiring: Retiring,
    coordination: Coordination,
}

impl Scheduler {
    /// A scheduler without clients and workers.
    pub fn new(config: Config, now: Time) -> Self {
        let next_beat = now + config.heartbeat;
        Self {
            config,
            tasks: Tasks::default(),
            submissions: Submissions::default(),
            functions: Functions::default(),
            clients: BTreeMap::new(),
            workers: Workers::default(),
            shared: Queue::default(),
            drops: BTreeMap::new(),
            touched: BTreeSet::new(),
            n_clients_ever: ClientId(0),
            next_beat,
            lonely: None,
            demands: Demands::default(),
            now,
            events: Vec::new(),
            replicas: Replicas::default(),
            retiring: Retiring::default(),
            coordination: Coordination::default(),
        }
    }

    /// Takes in what happened and appends what must be done about it.
    ///
    /// Anything may be said by anyone at any time: what is late, doubled or about strangers is ignored.
    pub fn handle(&mut self, now: Time, event: Event, out: &mut Vec<Command>) {
        self.now = now;
        match event {
            Event::Hello { connection, hello } => self.greet(now, connection, hello, out),
            Event::Client { client, message } => self.client_said(now, client, message, out),
            Event::Worker { worker, message } => self.worker_said(now, worker, message, out),
            Event::ClientLeft { client } => self.client_left(client, out),
            Event::WorkerLeft { worker } => self.worker_left(worker, out),
            Event::Tick => self.tick(now, out),
        }
        if !self.retiring.is_empty() {
            self.retire_step(out);
        }
        // What is dropped is said before what is to be computed: a task may be both in one event.
        for (worker, tasks) in std::mem::take(&mut self.drops) {
            self.tell_worker(worker, ToWorker::Drop { tasks }, out);
        }
        if !self.replicas.is_settled() {
            self.say_copies(out);
        }
        self.dispatch(out);
        self.watch_for_loneliness(now);
        if !self.demands.is_unused() {
            self.watch_for_starvation();
        }
        if self.shared.len() > 2 * self.tasks.len() + 1024 {
            self.sweep_shared();
        }
    }

    /// When to call again even if nothing happens, and why.
    pub fn deadline(&self) -> Option<(Time, Reason)> {
        let beat =
            (!self.clients.is_empty() || !self.workers.is_empty()).then_some((self.next_beat, Reason::Heartbeat));
        let lonely = self.lonely.as_ref().map(|lonely| (lonely.next, Reason::NoWorkers));
        let retire = self.retiring.deadline().map(|(time, worker)| (time, Reason::Retire(worker)));
        let starved = self.demands.deadline().map(|time| (time, Reason::NoSuitableWorker));
        let wait = self.coordination.deadline().map(|time| (time, Reason::Coordination));
        let people = starved.into_iter().chain(wait);
        beat.into_iter().chain(lonely).chain(retire).chain(people).min_by_key(|(time, _)| *time)
    }

    /// What has happened since this was last called, as far as [`Config::record`] asks for it.
    pub fn take_events(&mut self) -> Vec<crate::event::Event> {
        std::mem::take(&mut self.events)
    }

    /// How many tasks are in the table: wanted, running, or kept because others may need them again.
    pub fn n_tasks(&self) -> usize {
        self.tasks.len()
    }

    /// How many workers are connected.
    pub fn n_workers(&self) -> usize {
        self.workers.len()
    }

    /// How many locks, semaphores, events, queues and variables there are.
    pub fn n_coordinated(&self) -> usize {
        self.coordination.len()
    }

    /// Writes something down, where `level` is asked for.
    fn note(&mut self, level: Record, kind: impl FnOnce(&Self) -> Kind) {
        if self.config.record >= level {
            let event = crate::event::Event { time: self.now, kind: kind(self) };
            self.events.push(event);
        }
    }

    /// Says something to a worker that is still there.
    fn tell_worker(&self, worker: WorkerId, message: ToWorker, out: &mut Vec<Command>) {
        if self.workers.get(worker).is_some() {
            out.push(Command::ToWorker { worker, message });
        }
    }

    fn client_said(&mut self, now: Time, client: ClientId, message: FromClient, out: &mut Vec<Command>) {
        let Some(state) = self.clients.get_mut(&client) else { return };
        state.last_heard = now;
        match message {
            FromClient::Submit { first, graph, wanted, parent } => {
                self.submit(client, first, graph, &wanted, parent, out);
            }
            FromClient::Release { tasks } => tasks.into_iter().for_each(|task| self.client_releases(client, task, out)),
            FromClient::Cancel { tasks } => tasks.into_iter().for_each(|task| self.client_cancels(client, task, out)),
            FromClient::Locate { task, tried } => self.client_misses(client, task, &tried, out),
            FromClient::Heartbeat => {}
            FromClient::Ask { ticket, request } => self.asked(now, client, ticket, request, out),
            FromClient::Coordinate { ticket, request, value, has_value: _ } => {
                self.coordinate(client, ticket, request, value, out);
            }
        }
    }

    fn worker_said(&mut self, now: Time, worker: WorkerId, message: FromWorker, out: &mut Vec<Command>) {
        let Some(state) = self.workers.get_mut(worker) else { return };
        state.last_heard = now;
        match message {
            FromWorker::Started { task, attempt } => self.attempt_started(worker, task, attempt),
            FromWorker::Finished { task, attempt, n_bytes, run_ns, value, has_value: _ } => {
                self.attempt_finished(worker, task, attempt, n_bytes, run_ns, value, out);
            }
            FromWorker::Failed { task, attempt, failure } => self.attempt_failed(worker, task, attempt, failure, out),
            FromWorker::Holds { tasks } => tasks.into_iter().for_each(|task| self.worker_holds(worker, task, out)),
            FromWorker::Missing { task, tried } => self.worker_misses(worker, task, &tried, out),
            FromWorker::Heartbeat => {}
            FromWorker::Seceded { task, attempt } => self.attempt_seceded(worker, task, attempt),
            FromWorker::Rejoined { task, attempt } => self.attempt_rejoined(worker, task, attempt),
            FromWorker::Announce { results, running, more } => self.announced(worker, results, running, more, out),
            FromWorker::Memory { resident: _, spilled, is_paused } => self.memory_used(worker, spilled, is_paused),
            FromWorker::NotKept { task, reason } => self.result_not_kept(worker, task, reason, out),
        }
    }
}
