//! The world: one scheduler, its workers and clients, the network between them, and virtual time.
//!
//! The shells here do what the runtime's do, at once and without threads: they carry messages, keep stores, run
//! functions, and check on the way that every command may be given as it is.

mod disk;
mod links;
mod programs;
mod requests;
mod shells;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use phalanx_engine::{
    client::{self, Client, Outbox},
    id::{Attempt, ClientId, ConnectionId, TaskId, WorkerId},
    message::{
        Address, Failure, FromClient, FromWorker, Greeting, Hello, PROTOCOL, Rejoin, Resume, Role, Session, ToClient,
        ToWorker, WorkerHello,
    },
    request::Request,
    scheduler::{self, Scheduler},
    time::Time,
    value::Value,
    worker::{self, Worker},
};

use crate::{
    dice::Dice,
    names,
    oracle::{self, Oracle, RARE},
    user::User,
};

/// A program, by its place in the world. Programs that die leave their place empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Node {
    Worker(usize),
    Client(usize),
}

/// Something that will happen.
#[derive(Debug)]
enum Happening {
    Hear {
        connection: usize,
        message: Up,
    },
    Tell {
        connection: usize,
        message: Down,
    },
    SchedulerLearnsOfLoss {
        connection: usize,
    },
    ProgramLearnsOfLoss {
        connection: usize,
    },
    Ran {
        worker: usize,
        task: TaskId,
        attempt: Attempt,
        outcome: Result<Value, Failure>,
        run_ns: u64,
    },
    Get {
        owner: Node,
        target: usize,
        epoch: u64,
        tasks: Vec<TaskId>,
    },
    Answer {
        owner: Node,
        target: usize,
        epoch: u64,
        task: TaskId,
        value: Option<Value>,
    },
    LinkLost {
        owner: Node,
        target: usize,
        epoch: u64,
    },
    /// A worker without a scheduler looks for it.
    Rejoin {
        worker: usize,
    },
    /// A client without a scheduler looks for it.
    Return {
        client: usize,
    },
    SchedulerTick(Time),
    Tick(Node, Time),
    Act(usize),
    Fault,
    /// A function begins to wait, or goes on.
    Turn {
        worker: usize,
        task: TaskId,
        attempt: Attempt,
        waits: bool,
    },
    Disk {
        worker: usize,
        done: disk::Done,
    },
    Busy {
        owner: Node,
        target: usize,
        epoch: u64,
        task: TaskId,
    },
    /// A user lets go of a lease.
    LetGo {
        client: usize,
        lease: u64,
    },
}

/// What programs say to the scheduler.
#[derive(Debug)]
enum Up {
    Hello(Hello),
    Worker(FromWorker),
    Client(FromClient),
}

/// What the scheduler says to programs.
#[derive(Debug)]
enum Down {
    Greeting(Greeting),
    Worker(ToWorker),
    Client(ToClient),
}

/// A connection between a program and the scheduler. Messages on it stay in order; those on different ones do not.
#[derive(Debug)]
struct Connection {
    node: Node,
    open: bool,
    /// No message takes less.
    delay: Duration,
    /// When the last message sent arrives, up and down.
    last: [Time; 2],
    worker: Option<WorkerId>,
    client: Option<ClientId>,
}

/// A connection from a program that fetches to a worker.
#[derive(Debug, Default)]
struct Link {
    /// Which connection between the two this is: what belongs to an earlier one is lost.
    epoch: u64,
    open: bool,
    last: [Time; 2],
    delay: Duration,
    /// What was asked and not yet answered.
    asked: BTreeSet<TaskId>,
}

#[derive(Debug)]
struct WorkerShell {
    alive: bool,
    /// Dead without a word: the machine is gone and the network says nothing.
    silent: bool,
    stalled_until: Time,
    connection: usize,
    config: worker::Config,
    name: String,
    resources: BTreeMap<String, u64>,
    table: Vec<&'static str>,
    id: Option<WorkerId>,
    /// Whether it looks for the scheduler that it lost.
    is_alone: bool,
    machine: Option<Worker>,
    store: BTreeMap<TaskId, Value>,
    disk: BTreeMap<TaskId, Value>,
    /// Writes under way, and whether the result was dropped meanwhile.
    writing: BTreeMap<TaskId, bool>,
    drive: disk::Disk,
    running: BTreeSet<(TaskId, Attempt)>,
    /// Those of them that ever gave their thread back.
    waited: BTreeSet<(TaskId, Attempt)>,
    links: BTreeMap<usize, Link>,
    tick_at: Option<Time>,
}

#[derive(Debug)]
struct ClientShell {
    connection: usize,
    table: Vec<&'static str>,
    /// What it takes to come back, where it would.
    session: Option<Session>,
    outbox: Outbox,
    /// Whether it looks for the scheduler.
    is_cut: bool,
    /// The scheduler's life, as its last greeting said.
    life: u32,
    config: client::Config,
    machine: Option<Client>,
    links: BTreeMap<usize, Link>,
    tick_at: Option<Time>,
    user: User,
}

/// Everything there is.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) now: Time,
    pub(crate) dice: Dice,
    pub(crate) oracle: Oracle,
    pub(crate) names: names::Known,
    agenda: BTreeMap<(Time, u64), Happening>,
    n_happenings: u64,
    config: scheduler::Config,
    scheduler: Scheduler,
    /// What the scheduler wrote down.
    journal: Vec<u8>,
    /// How often it died.
    n_deaths: u32,
    scheduler_tick_at: Option<Time>,
    connections: Vec<Connection>,
    workers: Vec<WorkerShell>,
    clients: Vec<ClientShell>,
    /// Workers as the scheduler knows them, and whether they know the rare function.
    known_workers: BTreeMap<WorkerId, bool>,
    /// Every attempt that ever ran: none may run twice.
    runs: BTreeSet<(TaskId, Attempt)>,
    is_healed: bool,
    /// Whether people only wait for answers.
    is_evening: bool,
    /// Whether some workers lack a function.
    has_rare: bool,
    /// Whether some workers have little memory.
    has_budgets: bool,
    n_spills: u64,
    n_unspills: u64,
    n_pauses: u64,
    /// Results of others that users were given by key or by name.
    n_shared: u64,
    /// How often all members of a gang began together.
    n_gangs: u64,
    slowness: Duration,
    /// How long people and faults are busy.
    pub(crate) busy_for: Duration,
    /// How often people share by key or name rather than do something else, in percent.
    pub(crate) sociability: usize,
    /// How often a link breaks while it answers, in percent.
    fragility: usize,
    /// How often a worker says that it is busy sending what it is asked for, in percent.
    crowding: usize,
    trace: Trace,
}

/// What happened, as a number to compare and as lines to read.
#[derive(Debug)]
pub(crate) struct Trace {
    wanted: Option<usize>,
    hash: u64,
    lines: VecDeque<String>,
}

impl Trace {
    /// Keeps nothing.
    pub(crate) fn none() -> Self {
        Self { wanted: None, hash: 0, lines: VecDeque::new() }
    }

    /// Hashes everything and keeps the last lines.
    pub(crate) fn last(n_lines: usize) -> Self {
        Self { wanted: Some(n_lines), hash: 0, lines: VecDeque::new() }
    }

    fn note(&mut self, line: impl FnOnce() -> String) {
        let Some(n_lines) = self.wanted else { return };
        let line = line();
        self.hash = oracle::hash([self.hash].into_iter().chain(line.bytes().map(u64::from)));
        self.lines.push_back(line);
        if self.lines.len() > n_lines {
            self.lines.pop_front();
        }
    }
}

/// What the end of a world says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Summary {
    pub(crate) trace: u64,
    pub(crate) n_happenings: u64,
    pub(crate) n_runs: usize,
    pub(crate) n_tasks: usize,
    pub(crate) n_misses: u32,
    pub(crate) n_dead: usize,
    pub(crate) n_spills: u64,
    pub(crate) n_unspills: u64,
    pub(crate) n_pauses: u64,
    pub(crate) n_shared: u64,
    /// How often the scheduler died.
    pub(crate) n_deaths: u32,
    /// Calls of actors.
    pub(crate) n_calls: usize,
    /// How often somebody was told that his actor was lost.
    pub(crate) n_actors_lost: u64,
    /// How often all members of a gang began together.
    pub(crate) n_gangs: u64,
    pub(crate) ended: Time,
}

/// Shorter than in production, so that worlds are.
const SILENCE: Duration = Duration::from_secs(5);
const FAULTS_END: Time = Time(12_000_000_000);
const ACTS_END: Time = Time(20_000_000_000);
/// Everything that was asked must be answered this long after people stop asking.
const ANSWERS_WITHIN: Duration = Duration::from_secs(400);
/// Everything that was released must be forgotten everywhere after this long.
const FORGOTTEN_WITHIN: Duration = Duration::from_secs(20);

/// Lives a whole world through. Panics with what is wrong, where something is.
pub(crate) fn live(seed: u64, trace: Trace) -> Summary {
    let mut world = World::new(seed, trace);
    let reporter = std::panic::AssertUnwindSafe(&mut world);
    let result = std::panic::catch_unwind(|| {
        let world = reporter;
        world.0.live();
    });
    if let Err(panic) = result {
        for line in &world.trace.lines {
            eprintln!("{line}");
        }
        std::panic::resume_unwind(panic);
    }
    Summary {
        trace: world.trace.hash,
        n_happenings: world.n_happenings,
        n_runs: world.runs.len(),
        n_tasks: world.oracle.tasks.len(),
        n_misses: world.oracle.misses.values().sum(),
        n_dead: world.oracle.dead.len(),
        n_spills: world.n_spills,
        n_unspills: world.n_unspills,
        n_pauses: world.n_pauses,
        n_shared: world.n_shared,
        n_deaths: world.n_deaths,
        n_calls: world.oracle.n_calls(),
        n_actors_lost: world.oracle.n_actors_lost,
        n_gangs: world.n_gangs,
        ended: world.now,
    }
}

impl World {
    fn new(seed: u64, trace: Trace) -> Self {
        let mut dice = Dice::new(seed);
        let (allowed_failures, allowed_misses) = (dice.between(1, 3) as u32, dice.between(3, 20) as u32);
        let config = scheduler::Config {
            allowed_failures,
            allowed_misses,
            silence: SILENCE,
            straggler_factor: dice.pick(&[0., 1.5, 3.]),
            straggler_floor: Duration::from_millis(dice.pick(&[30, 300, 1_000])),
            allowed_reschedules: dice.between(1, 100) as u32,
            journal: true,
            ..scheduler::Config::default()
        };
        let mut scheduler = Scheduler::new(config.clone(), Time::ZERO);
        let journal = programs::bytes(&scheduler.take_log());
        let has_rare = dice.chance(25);
        let has_budgets = dice.chance(40);
        let slowness = dice.pick(&[20, 300, 5_000, 40_000]);
        let busy_for = Duration::from_secs(dice.pick(&[1, 3, 11]));
        let sociability = dice.pick(&[0, 0, 15, 50]);
        let fragility = dice.pick(&[0, 0, 3, 15]);
        let crowding = dice.pick(&[0, 20, 60]);
        Self {
            now: Time::ZERO,
            dice,
            oracle: Oracle::default(),
            names: names::Known::default(),
            agenda: BTreeMap::new(),
            n_happenings: 0,
            config,
            scheduler,
            journal,
            n_deaths: 0,
            scheduler_tick_at: None,
            connections: Vec::new(),
            workers: Vec::new(),
            clients: Vec::new(),
            known_workers: BTreeMap::new(),
            runs: BTreeSet::new(),
            is_healed: false,
            is_evening: false,
            has_rare,
            has_budgets,
            n_spills: 0,
            n_unspills: 0,
            n_pauses: 0,
            n_shared: 0,
            n_gangs: 0,
            slowness: Duration::from_micros(slowness),
            busy_for,
            sociability,
            fragility,
            crowding,
            trace,
        }
    }

    fn live(&mut self) {
        for _ in 0..self.dice.between(0, 4) {
            self.worker_joins();
        }
        for _ in 0..self.dice.between(1, 3) {
            self.client_joins();
        }
        let most = self.dice.pick(&[0, 4, 12, 30]);
        for _ in 0..self.dice.between(0, most) {
            let at = self.dice.micros(0, self.busy_for.as_micros() as u64);
            self.plan(at, Happening::Fault);
        }
        self.live_until(FAULTS_END);
        self.heal();
        self.live_until(ACTS_END);
        self.is_evening = true;
        // Three have every name and what tasks need, and nobody sends them away any more.
        for _ in 0..3 {
            self.worker_joins();
        }
        // People may have sent the last worker away.
        self.worker_joins();
        for place in 0..self.clients.len() {
            self.let_user(place, User::gather_everything);
        }
        let limit = self.now + ANSWERS_WITHIN;
        while self.clients.iter().any(|client| client.user.is_waiting()) {
            assert!(self.now < limit, "answers are still open: {:?}", self.open_answers());
            self.live_until(self.now + Duration::from_millis(500));
        }
        for place in 0..self.clients.len() {
            self.let_user(place, User::unpublish_everything);
            self.let_user(place, User::release_everything);
        }
        let limit = self.now + FORGOTTEN_WITHIN;
        while let Err(left) = self.is_forgotten() {
            assert!(self.now < limit, "not everything is forgotten: {left}");
            self.live_until(self.now + Duration::from_millis(500));
        }
    }

    fn open_answers(&self) -> Vec<String> {
        self.clients.iter().flat_map(|client| client.user.waits_for()).collect()
    }

    /// Whether nothing is left of what was released.
    fn is_forgotten(&self) -> Result<(), String> {
        if self.scheduler.n_tasks() > 0 {
            return Err(format!("the scheduler knows {} tasks", self.scheduler.n_tasks()));
        }
        if self.scheduler.n_coordinated() > 0 {
            return Err(format!("the scheduler knows {} names", self.scheduler.n_coordinated()));
        }
        if self.scheduler.n_published() > 0 {
            return Err(format!("{} collections are published", self.scheduler.n_published()));
        }
        for (place, shell) in self.workers.iter().enumerate() {
            if let Some(machine) = &shell.machine {
                let n_waiting = machine.n_waiting() + machine.n_acquiring();
                let left = (machine.n_held(), n_waiting, machine.n_running(), shell.store.len());
                if left != (0, 0, 0, 0) || !shell.disk.is_empty() {
                    return Err(format!("worker {place} holds, awaits, runs and stores {left:?}: {:?}", shell.store));
                }
            }
        }
        for (place, shell) in self.clients.iter().enumerate() {
            if let Some(machine) = &shell.machine
                && (machine.n_held(), machine.n_open()) != (0, 0)
            {
                return Err(format!("client {place} holds {} and awaits {}", machine.n_held(), machine.n_open()));
            }
            if shell.machine.is_some() && shell.user.news.is_open() {
                return Err(format!("client {place} waits for the last of its events"));
            }
        }
        Ok(())
    }

    /// No fault happens any more, and what people would repair is repaired.
    fn heal(&mut self) {
        self.is_healed = true;
        self.trace.note(|| "the faults have healed".into());
        self.has_rare = false;
        self.worker_joins();
        self.client_joins();
    }

    fn plan(&mut self, after: Duration, what: Happening) {
        self.plan_at(self.now + after, what);
    }

    fn plan_at(&mut self, at: Time, what: Happening) {
        self.agenda.insert((at, self.n_happenings), what);
        self.n_happenings += 1;
    }

    fn live_until(&mut self, until: Time) {
        while let Some(entry) = self.agenda.first_entry()
            && entry.key().0 <= until
        {
            let ((at, _), what) = entry.remove_entry();
            self.now = at;
            self.trace.note(|| format!("{at:?} {what:?}"));
            self.happen(what);
        }
        self.now = self.now.max(until);
    }

    fn happen(&mut self, what: Happening) {
        if let Some(place) = self.busy(&what)
            && self.workers[place].stalled_until > self.now
        {
            self.plan_at(self.workers[place].stalled_until, what);
            return;
        }
        match what {
            Happening::Hear { connection, message } => self.scheduler_hears(connection, message),
            Happening::Tell { connection, message } => self.program_hears(connection, message),
            Happening::SchedulerLearnsOfLoss { connection } => {
                let Connection { worker, client, .. } = self.connections[connection];
                if let Some(worker) = worker {
                    self.tell_scheduler(scheduler::Event::WorkerLeft { worker });
                }
                if let Some(client) = client
                    && self.connections.iter().rposition(|c| c.client == Some(client)) == Some(connection)
                {
                    self.tell_scheduler(scheduler::Event::ClientLeft { client });
                }
            }
            Happening::ProgramLearnsOfLoss { connection } => match self.connections[connection].node {
                Node::Worker(place) => self.worker_loses_scheduler(place, connection),
                Node::Client(place) => self.client_is_cut(place, connection),
            },
            Happening::Ran { worker, task, attempt, outcome, run_ns } => {
                if self.workers[worker].running.remove(&(task, attempt)) {
                    self.workers[worker].waited.remove(&(task, attempt));
                    if outcome.is_err() {
                        *self.oracle.failures.entry(task).or_default() += 1;
                    } else {
                        self.oracle.call_ends(task, attempt);
                    }
                    self.tell_worker(worker, worker::Event::Ran { task, attempt, run_ns, outcome });
                }
            }
            Happening::Get { owner, target, epoch, tasks } => self.serve(owner, target, epoch, tasks),
            Happening::Answer { owner, target, epoch, task, value } => {
                let link = self.link(owner, target);
                if link.epoch == epoch && link.open {
                    link.asked.remove(&task);
                    self.answered(owner, target, task, value);
                }
            }
            Happening::Busy { owner, target, epoch, task } => {
                let link = self.link(owner, target);
                if link.epoch == epoch && link.open {
                    link.asked.remove(&task);
                    let peer = address(target);
                    match owner {
                        Node::Worker(place) => self.tell_worker(place, worker::Event::PeerBusy { peer, task }),
                        Node::Client(place) => self.tell_client(place, client::Event::PeerBusy { peer, task }),
                    }
                }
            }
            Happening::LinkLost { owner, target, epoch } => {
                let link = self.link(owner, target);
                if link.epoch == epoch {
                    link.open = false;
                    link.asked.clear();
                    let peer = address(target);
                    match owner {
                        Node::Worker(place) => self.tell_worker(place, worker::Event::PeerLost { peer }),
                        Node::Client(place) => self.tell_client(place, client::Event::PeerLost { peer }),
                    }
                }
            }
            Happening::SchedulerTick(at) => {
                if self.scheduler_tick_at == Some(at) {
                    self.scheduler_tick_at = None;
                    self.tell_scheduler(scheduler::Event::Tick);
                    let next = self.scheduler.deadline();
                    assert!(next.is_none_or(|(next, _)| next > self.now), "a tick of the scheduler left {next:?}");
                }
            }
            Happening::Tick(Node::Worker(place), at) => {
                if self.workers[place].tick_at == Some(at) {
                    self.workers[place].tick_at = None;
                    self.tell_worker(place, worker::Event::Tick);
                    let next = self.workers[place].machine.as_ref().and_then(Worker::deadline);
                    assert!(next.as_ref().is_none_or(|(next, _)| *next > self.now), "a worker's tick left {next:?}");
                }
            }
            Happening::Tick(Node::Client(place), at) => {
                if self.clients[place].tick_at == Some(at) {
                    self.clients[place].tick_at = None;
                    self.tell_client(place, client::Event::Tick);
                    let next = self.clients[place].machine.as_ref().and_then(Client::deadline);
                    assert!(next.as_ref().is_none_or(|(next, _)| *next > self.now), "a client's tick left {next:?}");
                }
            }
            Happening::Act(place) => {
                if !self.is_evening {
                    self.let_user(place, User::act);
                }
            }
            Happening::Fault => self.fault(),
            Happening::LetGo { client, lease } => {
                let shell = &mut self.clients[client];
                let ticket = shell.user.ticket();
                if let Some(event) = shell.user.names.let_go(client, lease, ticket, &mut self.names) {
                    self.tell_client(client, event);
                }
            }
            Happening::Turn { worker, task, attempt, waits } => {
                if self.workers[worker].running.contains(&(task, attempt)) {
                    self.workers[worker].waited.insert((task, attempt));
                    let event = match waits {
                        true => worker::Event::Seceded { task, attempt },
                        false => worker::Event::Rejoined { task, attempt },
                    };
                    self.tell_worker(worker, event);
                }
            }
            Happening::Rejoin { worker } => self.worker_rejoins(worker),
            Happening::Disk { worker, done } => self.disk_is_done(worker, done),
            Happening::Return { client } => self.client_returns(client),
        }
    }

    /// The worker that has to be awake for this to happen.
    fn busy(&self, what: &Happening) -> Option<usize> {
        match what {
            Happening::Tell { connection, .. } | Happening::ProgramLearnsOfLoss { connection } => {
                match self.connections[*connection].node {
                    Node::Worker(place) => Some(place),
                    Node::Client(_) => None,
                }
            }
            Happening::Ran { worker, .. }
            | Happening::Turn { worker, .. }
            | Happening::Rejoin { worker }
            | Happening::Disk { worker, .. } => Some(*worker),
            Happening::Get { target, .. } => Some(*target),
            Happening::Answer { owner: Node::Worker(place), .. }
            | Happening::Busy { owner: Node::Worker(place), .. }
            | Happening::LinkLost { owner: Node::Worker(place), .. }
            | Happening::Tick(Node::Worker(place), _) => Some(*place),
            _ => None,
        }
    }
}

/// What a user does: events for his client, and times to look at it again.
#[derive(Debug, Default)]
pub(crate) struct UserActs {
    pub(crate) now: Vec<client::Event>,
    pub(crate) later: Vec<Duration>,
}

fn address(place: usize) -> Address {
    Address(format!("sim://{place}").into())
}

fn place(address: &Address) -> usize {
    let place = address.0.strip_prefix("sim://").and_then(|place| place.parse().ok());
    place.expect("addresses are made by `address`")
}
