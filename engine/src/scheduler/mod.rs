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
//! | `gangs` | tasks that run together or not at all |
//! | `estimate` | how long a function can be expected to run, by the size of what it is given |
//! | `stragglers` | second attempts at tasks that run far longer than their kind does |
//! | `peers` | who is connected, what they know, and when silence is death |
//! | `replicas` | copies that workers are told to fetch, for the next three |
//! | `retire`, `replicate`, `rebalance` | how a worker goes without losing anything, how results come to lie on several workers, and are spread evenly |
//! | `trim`, `seekers` | which copies are dropped, and how a value that many want spreads |
//! | `sharing` | results that others want than who submitted them, by key or by name |
//! | `requests` | who answers what clients ask beside submitting |
//! | `recovery` | how a scheduler that died is made again from its journal |
//! | `returns` | what becomes of those whose connection broke and who come back |
//! | `actors` | results that stay where they are, and the calls that stand in line for each |
//! | `coordinate` | locks, events, queues: what [`crate::coordination`] decides, told to clients |
//! | `deaths` | which task is to blame for a worker's death, and what its supervisor saw |
//! | `load` | how much there is to do, for those who add and remove workers |
//! | `touched` | workers whose room changed during one event |
//! | `record` | what is counted, kept for a while, and told to who subscribes |
//! | `inspect` | what can be asked: a task's story, who is there, what waits for what |
//! | `check` | what must be true after every event |

mod actors;
mod check;
mod coordinate;
mod deaths;
mod demand;
mod estimate;
mod functions;
mod gangs;
mod inspect;
mod life;
mod load;
mod memory;
mod peers;
mod place;
mod queue;
mod rebalance;
mod record;
mod recovery;
mod replicas;
mod replicate;
mod requests;
mod retire;
mod returns;
mod seceded;
mod seekers;
mod sharing;
mod stragglers;
mod submit;
mod tasks;
#[cfg(test)]
mod tests;
mod touched;
mod trim;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::{
    coordination::Coordination,
    event::Record,
    id::{ClientId, ClusterId, ConnectionId, TaskId, WorkerId},
    journal::{Entry, Log},
    message::{FromClient, FromWorker, Greeting, Hello, PROTOCOL, ToClient, ToWorker},
    time::Time,
};
use actors::Actors;
use deaths::Deaths;
use demand::Demands;
use functions::Functions;
use gangs::Gangs;
use peers::{Client, Lonely, Workers};
use queue::Queue;
use rebalance::Moves;
use record::Recorder;
use recovery::Recovering;
pub use recovery::Recovery;
use replicas::Replicas;
use replicate::Wishes;
use retire::Retiring;
use seekers::Seekers;
use sharing::Sharing;
use stragglers::Stragglers;
use submit::Submissions;
use tasks::Tasks;
use touched::Touched;

/// What can happen to the scheduler.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Somebody introduced himself. Answered by one [`Command::Greet`].
    Hello {
        /// On which connection.
        connection: ConnectionId,
        /// As whom. In a box of its own, as all other events are far smaller.
        hello: Box<Hello>,
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
    /// A client's connection is gone. Said of its last connection only, where it came back on another.
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
    /// A client was silent too long, or is back on another connection: close this one. Where it cannot come back, it is
    /// forgotten already.
    CloseClient {
        /// Whose.
        client: ClientId,
    },
    /// A worker was silent too long, or is back on another connection: close this one. It is forgotten already.
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
    /// Someone has nothing to do: what runs far longer than its kind does is begun a second time there.
    Stragglers,
    /// Copies that nobody needs are dropped.
    ExtraCopies,
    /// Somebody waits for a lock, an event or a queue, and no longer than this.
    Coordination,
    /// The workers that were there before a restart have had time to come back.
    Recovery,
    /// The supervisor of a worker that died has to say how; tasks that wait for that are judged without it.
    DeathReport(WorkerId),
    /// What has happened is told to who subscribes.
    Events,
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
/// | `straggler_factor` | 3 | an attempt that runs for so many times what three of four of its kind take is begun a second time on an idle worker | 1 or more; 0: never |
/// | `straggler_floor` | 1 s | no attempt is begun a second time before it is seen running for so long | above 0 |
/// | `allowed_reschedules` | 100 | times that a task may ask to be run elsewhere before it fails | 1 or more |
/// | `trim_every` | 2 s | how often copies that nobody needs are dropped, while there are any | above 0 |
/// | `allowed_misses` | 20 | times that a result may not be where it was said to be before its task fails | 1 or more |
/// | `client_grace` | 10 s | how long the work of a client goes on whose connection broke without a goodbye, and which may come back | any; 0 is not at all |
/// | `journal` | no | whether [`Scheduler::take_log`] has something | |
/// | `cluster` | 0 | inside which cluster all numbers mean something; a shell gives each a random one | any |
/// | `history` | 100,000 | steps of tasks that are kept, the newest, at 24 bytes each; a task takes five or more | any |
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
    /// How far beyond what its kind takes an attempt must run to be begun a second time; 0 for never.
    pub straggler_factor: f64,
    /// For how long an attempt must be seen running before it is begun a second time.
    pub straggler_floor: Duration,
    /// Times that a task may ask to be run elsewhere.
    pub allowed_reschedules: u32,
    /// What is written down of what happens.
    pub record: Record,
    /// Which cluster this is.
    pub cluster: ClusterId,
    /// How often copies that nobody needs are dropped.
    pub trim_every: Duration,
    /// How long a client may be away.
    pub client_grace: Duration,
    /// Whether what must survive the scheduler is written down.
    pub journal: bool,
    /// Steps of tasks that are kept.
    pub history: usize,
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
            straggler_factor: 3.,
            straggler_floor: Duration::from_secs(1),
            allowed_reschedules: 100,
            record: Record::Nothing,
            cluster: ClusterId::default(),
            trim_every: Duration::from_secs(2),
            client_grace: Duration::from_secs(10),
            journal: false,
            history: 100_000,
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
/// scheduler.handle(Time::ZERO, Event::Hello { connection: ConnectionId(7), hello: Box::new(hello) }, &mut commands);
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
    touched: Touched,
    /// Clients whose connection broke and who may come back.
    away: BTreeSet<ClientId>,
    /// Who is waited for after a restart, until all of them are there.
    recovering: Option<Recovering>,
    /// What is to be written down.
    log: Log,
    /// The number that the next client gets.
    n_clients_ever: ClientId,
    next_beat: Time,
    lonely: Option<Lonely>,
    demands: Demands,
    stragglers: Stragglers,
    deaths: Deaths,
    /// The time of the event being handled.
    now: Time,
    events: Vec<crate::event::Event>,
    replicas: Replicas,
    retiring: Retiring,
    wishes: Wishes,
    moves: Moves,
    seekers: Seekers,
    /// When copies that nobody needs are dropped next; while there may be any.
    trim_at: Option<Time>,
    coordination: Coordination,
    /// Which of the lives that a journal connects; 0 is the first.
    life: u32,
    actors: Actors,
    recorder: Recorder,
    sharing: Sharing,
    gangs: Gangs,
}

impl Scheduler {
    /// A scheduler without clients and workers.
    pub fn new(config: Config, now: Time) -> Self {
        let next_beat = now + config.heartbeat;
        let mut log = Log::default();
        if config.journal {
            log.push(&Entry::Cluster { cluster: config.cluster, protocol: PROTOCOL });
        }
        let recorder = Recorder::new(config.record, config.history);
        Self {
            config,
            tasks: Tasks::default(),
            submissions: Submissions::default(),
            functions: Functions::default(),
            clients: BTreeMap::new(),
            workers: Workers::default(),
            shared: Queue::default(),
            drops: BTreeMap::new(),
            touched: Touched::default(),
            away: BTreeSet::new(),
            recovering: None,
            log,
            n_clients_ever: ClientId(0),
            next_beat,
            lonely: None,
            demands: Demands::default(),
            stragglers: Stragglers::default(),
            deaths: Deaths::default(),
            now,
            events: Vec::new(),
            replicas: Replicas::default(),
            retiring: Retiring::default(),
            wishes: Wishes::default(),
            moves: Moves::default(),
            seekers: Seekers::default(),
            trim_at: None,
            coordination: Coordination::default(),
            life: 0,
            actors: Actors::default(),
            recorder,
            sharing: Sharing::default(),
            gangs: Gangs::default(),
        }
    }

    /// Takes in what happened and appends what must be done about it.
    ///
    /// Anything may be said by anyone at any time: what is late, doubled or about strangers is ignored.
    pub fn handle(&mut self, now: Time, event: Event, out: &mut Vec<Command>) {
        self.now = now;
        let n_before = out.len();
        match event {
            Event::Hello { connection, hello } => self.greet(now, connection, *hello, out),
            Event::Client { client, message } => self.client_said(now, client, message, out),
            Event::Worker { worker, message } => self.worker_said(now, worker, message, out),
            Event::ClientLeft { client } => self.client_cut(client, out),
            Event::WorkerLeft { worker } => self.worker_left(worker, out),
            Event::Tick => self.tick(now, out),
        }
        self.end_recovery_in_time(out);
        self.settle_calls(out);
        self.keep_copies_right(now, out);
        // A worker that goes may take tasks along for which results were kept.
        if self.settle_calls(out) {
            self.keep_copies_right(now, out);
        }
        // What is dropped is said before what is to be computed: a task may be both in one event.
        for (worker, tasks) in std::mem::take(&mut self.drops) {
            self.tell_worker(worker, ToWorker::Drop { tasks }, out);
        }
        if !self.replicas.is_settled() {
            self.say_copies(out);
        }
        self.dispatch(out);
        self.mind_the_absent(n_before.., out);
        self.watch_for_loneliness(now);
        if !self.demands.is_unused() {
            self.watch_for_starvation();
        }
        self.watch_for_stragglers();
        self.flush_events(out);
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
        let look = self.stragglers.deadline().map(|time| (time, Reason::Stragglers));
        let trim = self.trim_at.map(|time| (time, Reason::ExtraCopies));
        let gang = self.gangs.deadline().map(|time| (time, Reason::NoSuitableWorker));
        let wait = self.coordination.deadline().map(|time| (time, Reason::Coordination));
        let people = starved.into_iter().chain(wait).chain(gang);
        let recovering = self.recovering.as_ref().map(|recovering| (recovering.until, Reason::Recovery));
        let events = self.recorder.deadline().map(|time| (time, Reason::Events));
        let rare = retire.into_iter().chain(trim).chain(people).chain(recovering).chain(self.deaths.deadline());
        let rare = rare.chain(events);
        beat.into_iter().chain(look).chain(lonely).chain(rare).min_by_key(|(time, _)| *time)
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

    /// How many collections are published.
    pub fn n_published(&self) -> usize {
        self.sharing.n_published()
    }

    /// Whatever an event did to results and workers: copies that are wished for, moved or given up follow it.
    fn keep_copies_right(&mut self, now: Time, out: &mut Vec<Command>) {
        if !self.replicas.is_empty() {
            // Who is to drop a result no longer fetches it either.
            for (worker, tasks) in &self.drops {
                for task in tasks.iter().filter(|task| self.replicas.ended(**task, *worker)) {
                    self.wishes.touch(*task);
                }
            }
        }
        if !self.retiring.is_empty() {
            self.retire_step(out);
        }
        if !self.moves.is_empty() {
            self.moves_step(out);
        }
        if self.wishes.has_touched() {
            self.replicate_step(out);
        }
        self.plan_trim(now);
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
        state.count(&message);
        self.write_down_said(client, &message);
        match message {
            FromClient::Submit { first, graph, wanted, parent } => {
                self.submit(client, first, *graph, &wanted, parent, out);
            }
            FromClient::Release { tasks } => tasks.into_iter().for_each(|task| self.client_releases(client, task, out)),
            FromClient::Cancel { tasks } => tasks.into_iter().for_each(|task| self.client_cancels(client, task, out)),
            FromClient::Locate { task, tried } => self.client_misses(client, task, &tried, out),
            FromClient::Heartbeat => {}
            FromClient::Goodbye => self.client_left(client, out),
            FromClient::Ask { ticket, request } => self.asked(now, client, ticket, request, out),
            FromClient::Coordinate { ticket, request, value, has_value: _ } => {
                self.coordinate(client, ticket, request, value, out);
            }
            FromClient::Subscribe { number, record } => self.subscribe(client, number, record, out),
            FromClient::EventsSeen { number, next } => self.events_seen(client, number, next),
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
            FromWorker::Seeks { tasks } => tasks.into_iter().for_each(|task| self.worker_seeks(worker, task, out)),
            FromWorker::Seceded { task, attempt } => self.attempt_seceded(worker, task, attempt),
            FromWorker::Rejoined { task, attempt } => self.attempt_rejoined(worker, task, attempt),
            FromWorker::Announce { results, running, more } => self.announced(worker, results, running, more, out),
            FromWorker::Memory { resident: _, spilled, is_paused } => {
                self.record_memory(worker, spilled, is_paused);
                self.memory_used(worker, spilled, is_paused);
            }
            FromWorker::NotKept { task, reason } => self.result_not_kept(worker, task, reason, out),
            FromWorker::Recording { now } => self.worker_records(worker, now),
            FromWorker::Spans { runs, fetches } => self.worker_told(worker, runs, fetches),
            FromWorker::Ended { task, attempt } => self.attempt_ended(worker, task, attempt),
        }
    }
}
