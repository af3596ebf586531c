//! The world: one scheduler, its workers and clients, the network between them, and virtual time.
//!
//! The shells here do what the runtime's do, at once and without threads: they carry messages, keep stores, run
//! functions, and check on the way that every command may be given as it is.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use phalanx_engine::{
    client::{self, Client},
    id::{Attempt, ClientId, ConnectionId, TaskId, WorkerId},
    message::{Address, Failure, FromClient, FromWorker, Greeting, Hello, PROTOCOL, Role, ToClient, ToWorker},
    scheduler::{self, Scheduler},
    time::Time,
    value::Value,
    worker::{self, Worker},
};

use crate::{
    dice::Dice,
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
    Hear { connection: usize, message: Up },
    Tell { connection: usize, message: Down },
    SchedulerLearnsOfLoss { connection: usize },
    ProgramLearnsOfLoss { connection: usize },
    Ran { worker: usize, task: TaskId, attempt: Attempt, outcome: Result<Value, Failure>, run_ns: u64 },
    Get { owner: Node, target: usize, epoch: u64, tasks: Vec<TaskId> },
    Answer { owner: Node, target: usize, epoch: u64, task: TaskId, value: Option<Value> },
    LinkLost { owner: Node, target: usize, epoch: u64 },
    SchedulerTick(Time),
    Tick(Node, Time),
    Act(usize),
    Fault,
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
    table: Vec<&'static str>,
    id: Option<WorkerId>,
    machine: Option<Worker>,
    store: BTreeMap<TaskId, Value>,
    running: BTreeSet<(TaskId, Attempt)>,
    links: BTreeMap<usize, Link>,
    tick_at: Option<Time>,
}

#[derive(Debug)]
struct ClientShell {
    connection: usize,
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
    agenda: BTreeMap<(Time, u64), Happening>,
    n_happenings: u64,
    config: scheduler::Config,
    scheduler: Scheduler,
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
    slowness: Duration,
    /// How long people and faults are busy.
    pub(crate) busy_for: Duration,
    /// How often a link breaks while it answers, in percent.
    fragility: usize,
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
    pub(crate) ended: Time,
}

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
        ended: world.now,
    }
}

impl World {
    fn new(seed: u64, trace: Trace) -> Self {
        let mut dice = Dice::new(seed);
        let (allowed_failures, allowed_misses) = (dice.between(1, 3) as u32, dice.between(3, 20) as u32);
        let config = scheduler::Config { allowed_failures, allowed_misses, ..scheduler::Config::default() };
        let scheduler = Scheduler::new(config.clone(), Time::ZERO);
        let has_rare = dice.chance(25);
        let slowness = dice.pick(&[20, 300, 5_000, 40_000]);
        let busy_for = Duration::from_secs(dice.pick(&[1, 3, 11]));
        let fragility = dice.pick(&[0, 0, 3, 15]);
        Self {
            now: Time::ZERO,
            dice,
            oracle: Oracle::default(),
            agenda: BTreeMap::new(),
            n_happenings: 0,
            config,
            scheduler,
            scheduler_tick_at: None,
            connections: Vec::new(),
            workers: Vec::new(),
            clients: Vec::new(),
            known_workers: BTreeMap::new(),
            runs: BTreeSet::new(),
            is_healed: false,
            is_evening: false,
            has_rare,
            slowness: Duration::from_micros(slowness),
            busy_for,
            fragility,
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
        for place in 0..self.clients.len() {
            self.let_user(place, User::gather_everything);
        }
        let limit = self.now + ANSWERS_WITHIN;
        while self.clients.iter().any(|client| client.user.is_waiting()) {
            assert!(self.now < limit, "answers are still open: {:?}", self.open_answers());
            self.live_until(self.now + Duration::from_millis(500));
        }
        for place in 0..self.clients.len() {
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
        for (place, shell) in self.workers.iter().enumerate() {
            if let Some(machine) = &shell.machine {
                let left = (machine.n_held(), machine.n_waiting(), machine.n_running(), shell.store.len());
                if left != (0, 0, 0, 0) {
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
                if let Some(client) = client {
                    self.tell_scheduler(scheduler::Event::ClientLeft { client });
                }
            }
            Happening::ProgramLearnsOfLoss { connection } => match self.connections[connection].node {
                Node::Worker(place) => self.worker_dies(place, false),
                Node::Client(place) => {
                    self.clients[place].user.scheduler_is_lost();
                    self.tell_client(place, client::Event::SchedulerLost);
                }
            },
            Happening::Ran { worker, task, attempt, outcome, run_ns } => {
                if self.workers[worker].running.remove(&(task, attempt)) {
                    if outcome.is_err() {
                        *self.oracle.failures.entry(task).or_default() += 1;
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
            Happening::Ran { worker, .. } => Some(*worker),
            Happening::Get { target, .. } => Some(*target),
            Happening::Answer { owner: Node::Worker(place), .. }
            | Happening::LinkLost { owner: Node::Worker(place), .. }
            | Happening::Tick(Node::Worker(place), _) => Some(*place),
            _ => None,
        }
    }
}

// Programs come and go.
impl World {
    fn worker_joins(&mut self) {
        let place = self.workers.len();
        let mut table = oracle::FUNCTIONS.to_vec();
        if self.has_rare && self.dice.chance(60) {
            table.retain(|name| *name != RARE);
        }
        if self.dice.chance(50) {
            table.insert(0, "sim.another"); // so that one function has several numbers
        }
        let config = worker::Config {
            n_threads: self.dice.between(1, 3) as u32,
            peer_silence: Duration::from_secs(2),
            max_fetches: self.dice.between(1, 3) as u32,
            inline_bytes: self.dice.pick(&[0, 64, 64 << 10]),
            ..worker::Config::default()
        };
        let role = Role::Worker { n_threads: config.n_threads, address: address(place), name: format!("w{place}") };
        let connection = self.connect(Node::Worker(place));
        self.workers.push(WorkerShell {
            alive: true,
            silent: false,
            stalled_until: Time::ZERO,
            connection,
            config,
            table: table.clone(),
            id: None,
            machine: None,
            store: BTreeMap::new(),
            running: BTreeSet::new(),
            links: BTreeMap::new(),
            tick_at: None,
        });
        self.say_hello(connection, &table, role);
    }

    fn client_joins(&mut self) {
        let place = self.clients.len();
        let connection = self.connect(Node::Client(place));
        let config = client::Config {
            peer_silence: Duration::from_secs(2),
            max_fetches: self.dice.between(1, 3) as u32,
            ..client::Config::default()
        };
        let mut table = oracle::FUNCTIONS.to_vec();
        if self.dice.chance(50) {
            table.push("sim.zoo");
        }
        let user = User::new(table.clone());
        self.clients.push(ClientShell {
            connection,
            config,
            machine: None,
            links: BTreeMap::new(),
            tick_at: None,
            user,
        });
        self.say_hello(connection, &table, Role::Client);
    }

    fn connect(&mut self, node: Node) -> usize {
        let slowness = self.slowness.as_micros() as u64;
        let delay = self.dice.micros(slowness / 2, slowness * 2);
        let last = [self.now; 2];
        self.connections.push(Connection { node, open: true, delay, last, worker: None, client: None });
        self.connections.len() - 1
    }

    fn say_hello(&mut self, connection: usize, table: &[&str], role: Role) {
        let hello = Hello {
            protocol: PROTOCOL,
            version: "simulated".into(),
            instruction_set: "virtual".into(),
            functions: oracle::table(table),
            role,
        };
        self.send_up(connection, Up::Hello(hello));
    }

    fn send_up(&mut self, connection: usize, message: Up) {
        let at = self.arrival(connection, 0);
        self.plan_at(at, Happening::Hear { connection, message });
    }

    fn send_down(&mut self, connection: usize, message: Down) {
        let at = self.arrival(connection, 1);
        self.plan_at(at, Happening::Tell { connection, message });
    }

    /// When a message sent now arrives: never before one that was sent earlier.
    fn arrival(&mut self, connection: usize, direction: usize) -> Time {
        let delay = self.connections[connection].delay;
        let extra = self.dice.micros(0, delay.as_micros() as u64 * 2);
        let last = &mut self.connections[connection].last[direction];
        *last = (*last).max(self.now + delay + extra);
        *last
    }

    /// A connection to the scheduler breaks; both ends learn of it in their own time, what is under way is lost.
    fn disconnect(&mut self, connection: usize, scheduler_learns: bool, program_learns: bool) {
        if !std::mem::replace(&mut self.connections[connection].open, false) {
            return;
        }
        let slowness = self.slowness.as_micros() as u64;
        let (up, down) = (self.dice.micros(0, slowness * 10), self.dice.micros(0, slowness * 10));
        if scheduler_learns {
            self.plan(up, Happening::SchedulerLearnsOfLoss { connection });
        }
        if program_learns {
            self.plan(down, Happening::ProgramLearnsOfLoss { connection });
        }
    }

    /// A worker's process ends, and with it all that it held.
    fn worker_dies(&mut self, place: usize, silent: bool) {
        let shell = &mut self.workers[place];
        if !std::mem::replace(&mut shell.alive, false) {
            return;
        }
        shell.silent = silent;
        shell.machine = None;
        shell.store.clear();
        shell.running.clear();
        shell.links.clear();
        shell.tick_at = None;
        let connection = shell.connection;
        self.disconnect(connection, !silent, false);
        for owner in self.owners() {
            self.break_link(owner, place, !silent);
        }
    }

    fn owners(&self) -> Vec<Node> {
        let clients = (0..self.clients.len()).map(Node::Client);
        (0..self.workers.len()).map(Node::Worker).chain(clients).collect()
    }

    fn fault(&mut self) {
        let place = if self.workers.is_empty() { None } else { Some(self.dice.below(self.workers.len())) };
        let (kind, Some(place)) = (self.dice.below(100), place) else { return self.worker_joins() };
        match kind {
            0..15 => self.worker_dies(place, false),
            15..25 => self.worker_dies(place, true),
            25..35 => {
                let (scheduler_learns, worker_learns) = (self.dice.chance(60), self.dice.chance(60));
                self.disconnect(self.workers[place].connection, scheduler_learns, worker_learns);
            }
            35..55 => {
                let longest = self.dice.pick(&[50_000, 1_000_000, 9_000_000]);
                let time = self.dice.micros(10_000, longest);
                // A stall is not made longer: what it holds back would get out of order.
                if self.workers[place].stalled_until <= self.now {
                    self.workers[place].stalled_until = self.now + time;
                }
            }
            55..60 => {
                let client = self.dice.below(self.clients.len());
                let (scheduler_learns, client_learns) = (self.dice.chance(60), self.dice.chance(60));
                self.disconnect(self.clients[client].connection, scheduler_learns, client_learns);
            }
            60..75 => {
                for owner in self.owners() {
                    if self.dice.chance(70) {
                        self.break_link(owner, place, true);
                    }
                }
            }
            75..85 => self.client_joins(),
            _ => self.worker_joins(),
        }
    }
}

// The scheduler's shell.
impl World {
    fn scheduler_hears(&mut self, connection: usize, message: Up) {
        let Connection { open: true, worker, client, .. } = self.connections[connection] else { return };
        match (message, worker, client) {
            (Up::Hello(hello), None, None) => {
                self.tell_scheduler(scheduler::Event::Hello { connection: ConnectionId(connection as u64), hello });
            }
            (Up::Worker(message), Some(worker), _) => {
                self.tell_scheduler(scheduler::Event::Worker { worker, message });
            }
            (Up::Client(message), _, Some(client)) => {
                self.tell_scheduler(scheduler::Event::Client { client, message });
            }
            (message, ..) => panic!("{message:?} on connection {connection}"),
        }
    }

    fn tell_scheduler(&mut self, event: scheduler::Event) {
        let left = if let scheduler::Event::WorkerLeft { worker } = event { Some(worker) } else { None };
        let mut commands = Vec::new();
        self.scheduler.handle(self.now, event, &mut commands);
        self.scheduler.check_invariants();
        for command in commands {
            self.trace.note(|| format!("    scheduler: {command:?}"));
            self.carry_out_for_scheduler(command);
        }
        self.worker_is_gone(left);
        let due = self.scheduler.deadline().map(|(at, _)| at);
        if due != self.scheduler_tick_at {
            self.scheduler_tick_at = due;
            if let Some(due) = due {
                let late = self.dice.micros(0, 2_000);
                self.plan_at(due.max(self.now) + late, Happening::SchedulerTick(due));
            }
        }
    }

    fn worker_is_gone(&mut self, worker: Option<WorkerId>) {
        if let Some(worker) = worker {
            self.oracle.dead.insert(worker);
            self.known_workers.remove(&worker);
            self.look_for_the_rare();
        }
    }

    fn look_for_the_rare(&mut self) {
        let nobody = !self.known_workers.is_empty() && self.known_workers.values().all(|knows| !knows);
        self.oracle.rare_was_unknown |= nobody;
    }

    fn carry_out_for_scheduler(&mut self, command: scheduler::Command) {
        match command {
            scheduler::Command::Greet { connection, greeting } => {
                let connection = connection.0 as usize;
                match (&greeting, self.connections[connection].node) {
                    (Greeting::Worker { worker, .. }, Node::Worker(place)) => {
                        self.connections[connection].worker = Some(*worker);
                        self.known_workers.insert(*worker, self.workers[place].table.contains(&RARE));
                        self.look_for_the_rare();
                    }
                    (Greeting::Client { client, .. }, Node::Client(_)) => {
                        self.connections[connection].client = Some(*client);
                    }
                    (greeting, node) => panic!("{node:?} is greeted with {greeting:?}"),
                }
                self.send_down(connection, Down::Greeting(greeting));
            }
            scheduler::Command::ToClient { client, message } => {
                let connection = self.connections.iter().position(|c| c.client == Some(client));
                self.send_down(connection.expect("clients are known by greeting"), Down::Client(message));
            }
            scheduler::Command::ToWorker { worker, message } => {
                self.send_down(self.connection_of(worker), Down::Worker(message));
            }
            scheduler::Command::CloseClient { client } => {
                let connection = self.connections.iter().position(|c| c.client == Some(client));
                let again = self.dice.chance(50);
                self.disconnect(connection.expect("clients are known by greeting"), again, true);
            }
            scheduler::Command::CloseWorker { worker } => {
                let again = self.dice.chance(50);
                self.disconnect(self.connection_of(worker), again, true);
                self.worker_is_gone(Some(worker));
            }
        }
    }

    fn connection_of(&self, worker: WorkerId) -> usize {
        let connection = self.connections.iter().position(|c| c.worker == Some(worker));
        connection.expect("workers are known by greeting")
    }
}

// The shells of workers and clients.
impl World {
    fn program_hears(&mut self, connection: usize, message: Down) {
        let Connection { open: true, node, .. } = self.connections[connection] else { return };
        match (message, node) {
            (Down::Greeting(Greeting::Worker { worker, heartbeat_ms }), Node::Worker(place)) => {
                let shell = &mut self.workers[place];
                shell.config.heartbeat = Duration::from_millis(heartbeat_ms);
                shell.id = Some(worker);
                shell.machine = Some(Worker::new(shell.config.clone(), address(place), self.now));
                self.set_tick(node);
            }
            (Down::Greeting(Greeting::Client { client, heartbeat_ms }), Node::Client(place)) => {
                let shell = &mut self.clients[place];
                shell.config.heartbeat = Duration::from_millis(heartbeat_ms);
                shell.machine = Some(Client::new(client, shell.config.clone(), self.now));
                self.set_tick(node);
                self.let_user(place, |user, world, machine, _| user.start(world, machine));
            }
            (Down::Worker(message), Node::Worker(place)) => {
                self.tell_worker(place, worker::Event::Scheduler(message));
            }
            (Down::Client(message), Node::Client(place)) => {
                self.tell_client(place, client::Event::Scheduler(message));
            }
            (message, node) => panic!("{message:?} to {node:?}"),
        }
    }

    /// Plans when a program's machine next wants to be told the time.
    fn set_tick(&mut self, node: Node) {
        let (due, tick_at) = match node {
            Node::Worker(place) => {
                let shell = &mut self.workers[place];
                (shell.machine.as_ref().and_then(Worker::deadline).map(|(at, _)| at), &mut shell.tick_at)
            }
            Node::Client(place) => {
                let shell = &mut self.clients[place];
                (shell.machine.as_ref().and_then(Client::deadline).map(|(at, _)| at), &mut shell.tick_at)
            }
        };
        if *tick_at != due {
            *tick_at = due;
            if let Some(due) = due {
                let at = due.max(self.now) + self.dice.micros(0, 2_000);
                self.plan_at(at, Happening::Tick(node, due));
            }
        }
    }

    fn tell_worker(&mut self, place: usize, event: worker::Event) {
        let Some(machine) = &mut self.workers[place].machine else { return };
        let mut commands = Vec::new();
        machine.handle(self.now, event, &mut commands);
        machine.check_invariants();
        for command in commands {
            self.trace.note(|| format!("    worker {place}: {command:?}"));
            self.carry_out_for_worker(place, command);
        }
        let shell = &self.workers[place];
        if let Some(machine) = &shell.machine {
            assert_eq!(machine.n_held(), shell.store.len(), "what worker {place} holds");
            assert_eq!(machine.n_running() as usize, shell.running.len(), "what worker {place} runs");
        }
        self.set_tick(Node::Worker(place));
    }

    fn carry_out_for_worker(&mut self, place: usize, command: worker::Command) {
        match command {
            worker::Command::ToScheduler(message) => {
                if let FromWorker::Missing { task, .. } = &message {
                    *self.oracle.misses.entry(*task).or_default() += 1;
                }
                self.send_up(self.workers[place].connection, Up::Worker(message));
            }
            worker::Command::Store { task, value } => {
                self.oracle.check_value(task, &value);
                self.oracle.stored.insert(task);
                let before = self.workers[place].store.insert(task, value);
                assert!(before.is_none(), "{task} is stored twice on worker {place}");
            }
            worker::Command::Run(run) => self.run(place, run),
            worker::Command::Fetch { peer, tasks } => self.fetch(Node::Worker(place), &peer, tasks),
            worker::Command::Drop { tasks } => {
                for task in tasks {
                    let before = self.workers[place].store.remove(&task);
                    assert!(before.is_some(), "{task} is dropped from worker {place}, which does not have it");
                }
            }
            worker::Command::Close { peer } => self.close_link(Node::Worker(place), &peer),
            worker::Command::Stop { .. } => self.worker_dies(place, false),
        }
    }

    fn run(&mut self, place: usize, run: worker::Run) {
        let worker::Run { task, attempt, function, arguments, constants } = run;
        let shell = &mut self.workers[place];
        assert!(self.runs.insert((task, attempt)), "{task} {attempt} runs twice");
        shell.running.insert((task, attempt));
        assert!(shell.running.len() <= shell.config.n_threads as usize, "worker {place} has no thread for {task}");
        let function = shell.table[function.0 as usize];
        let payload = self.oracle.run(task, function, &arguments, &constants, &shell.store);
        self.oracle.ran_on.insert((task, shell.id.expect("a worker that runs was greeted")));
        let time = match function {
            "sim.quick" => self.dice.micros(1, 50),
            "sim.slow" => self.dice.micros(200_000, 2_500_000),
            _ => self.dice.micros(100, 20_000),
        };
        let says = format!("{task} says so");
        let outcome = match payload {
            None if function == "sim.panic" => Err(Failure::Panic(says)),
            None => Err(Failure::Error(says)),
            Some(_) if function == "sim.flaky" && self.dice.chance(40) => Err(Failure::Error(says)),
            Some(payload) => Ok(Value::new(payload)),
        };
        let run_ns = time.as_nanos() as u64;
        self.plan(time, Happening::Ran { worker: place, task, attempt, outcome, run_ns });
    }

    fn tell_client(&mut self, place: usize, event: client::Event) {
        let Some(machine) = &mut self.clients[place].machine else { return };
        let mut commands = Vec::new();
        machine.handle(self.now, event, &mut commands);
        machine.check_invariants();
        for command in commands {
            self.trace.note(|| format!("    client {place}: {command:?}"));
            self.carry_out_for_client(place, command);
        }
        self.set_tick(Node::Client(place));
    }

    fn carry_out_for_client(&mut self, place: usize, command: client::Command) {
        match command {
            client::Command::ToScheduler(message) => {
                if let FromClient::Locate { task, .. } = &message {
                    *self.oracle.misses.entry(*task).or_default() += 1;
                }
                self.send_up(self.clients[place].connection, Up::Client(message));
            }
            client::Command::Fetch { peer, tasks } => self.fetch(Node::Client(place), &peer, tasks),
            client::Command::Close { peer } => self.close_link(Node::Client(place), &peer),
            client::Command::CloseScheduler => {
                self.clients[place].user.scheduler_is_lost();
                self.disconnect(self.clients[place].connection, true, false);
            }
            client::Command::Deliver { ticket, value } => {
                let task = self.clients[place].user.answered(ticket, true);
                self.oracle.check_value(task, &value);
            }
            client::Command::Done { ticket } => {
                let task = self.clients[place].user.answered(ticket, false);
                assert!(self.oracle.stored.contains(&task), "{task} is said to be done");
            }
            client::Command::Fail { ticket, trouble } => {
                let task = self.clients[place].user.failed(ticket);
                match trouble {
                    client::Trouble::Task(error) => {
                        let (failures, misses) = (self.config.allowed_failures, self.config.allowed_misses);
                        self.oracle.check_error(task, &error, failures, misses);
                    }
                    client::Trouble::SchedulerLost => {
                        let connection = &self.connections[self.clients[place].connection];
                        assert!(!connection.open || !self.is_healed, "client {place} lost a scheduler that is there");
                        self.clients[place].user.scheduler_is_lost();
                    }
                    trouble => panic!("client {place} is told {trouble:?} of {task}"),
                }
            }
            client::Command::Workers(_) | client::Command::Waiting { .. } => {}
        }
    }

    /// Lets a user do something with his client, and carries out what he asks for.
    fn let_user(&mut self, place: usize, act: impl FnOnce(&mut User, &mut Self, &Client, ClientId) -> UserActs) {
        let Some(machine) = self.clients[place].machine.take() else { return };
        let Some(client) = self.connections[self.clients[place].connection].client else { return };
        let mut user = std::mem::take(&mut self.clients[place].user);
        let acts = act(&mut user, self, &machine, client);
        self.clients[place].user = user;
        self.clients[place].machine = Some(machine);
        for after in acts.later {
            self.plan(after, Happening::Act(place));
        }
        for event in acts.now {
            self.trace.note(|| format!("  user {place}: {event:?}"));
            self.tell_client(place, event);
        }
    }
}

/// What a user does: events for his client, and times to look at it again.
#[derive(Debug, Default)]
pub(crate) struct UserActs {
    pub(crate) now: Vec<client::Event>,
    pub(crate) later: Vec<Duration>,
}

// Connections to workers' data ports.
impl World {
    fn link(&mut self, owner: Node, target: usize) -> &mut Link {
        match owner {
            Node::Worker(place) => self.workers[place].links.entry(target).or_default(),
            Node::Client(place) => self.clients[place].links.entry(target).or_default(),
        }
    }

    fn fetch(&mut self, owner: Node, peer: &Address, tasks: Vec<TaskId>) {
        let target = place(peer);
        assert_ne!(owner, Node::Worker(target), "a worker fetches from itself");
        let slowness = self.slowness.as_micros() as u64;
        let delay = self.dice.micros(slowness / 2, slowness * 2);
        let now = self.now;
        let link = self.link(owner, target);
        assert!(link.asked.is_empty(), "{owner:?} asks {target} while it still owes {:?}", link.asked);
        link.asked.extend(tasks.iter().copied());
        assert_eq!(link.asked.len(), tasks.len(), "{owner:?} asks {target} for something twice");
        if !link.open {
            *link = Link { epoch: link.epoch + 1, open: true, last: [now; 2], delay, asked: link.asked.clone() };
        }
        let epoch = link.epoch;
        let (links, max_fetches) = match owner {
            Node::Worker(place) => (&self.workers[place].links, self.workers[place].config.max_fetches),
            Node::Client(place) => (&self.clients[place].links, self.clients[place].config.max_fetches),
        };
        let n_busy = links.values().filter(|link| !link.asked.is_empty()).count();
        assert!(n_busy <= max_fetches as usize, "{owner:?} asks {n_busy} peers at once");
        if self.workers[target].alive {
            let at = self.arrival_on(owner, target, 0);
            self.plan_at(at, Happening::Get { owner, target, epoch, tasks });
        } else if !self.workers[target].silent {
            self.plan(delay, Happening::LinkLost { owner, target, epoch });
        }
    }

    fn serve(&mut self, owner: Node, target: usize, epoch: u64, tasks: Vec<TaskId>) {
        let link = self.link(owner, target);
        if link.epoch != epoch || !link.open {
            return;
        }
        for task in tasks {
            if !self.is_healed && self.dice.chance(self.fragility) {
                return self.break_link(owner, target, true);
            }
            let value = self.workers[target].store.get(&task).cloned();
            let at = self.arrival_on(owner, target, 1);
            self.plan_at(at, Happening::Answer { owner, target, epoch, task, value });
        }
    }

    fn answered(&mut self, owner: Node, target: usize, task: TaskId, value: Option<Value>) {
        let peer = address(target);
        match (owner, value) {
            (Node::Worker(place), Some(value)) => self.tell_worker(place, worker::Event::Fetched { peer, task, value }),
            (Node::Worker(place), None) => self.tell_worker(place, worker::Event::NotThere { peer, task }),
            (Node::Client(place), Some(value)) => self.tell_client(place, client::Event::Fetched { peer, task, value }),
            (Node::Client(place), None) => self.tell_client(place, client::Event::NotThere { peer, task }),
        }
    }

    fn arrival_on(&mut self, owner: Node, target: usize, direction: usize) -> Time {
        let delay = self.link(owner, target).delay;
        let sent = self.now + delay + self.dice.micros(0, delay.as_micros() as u64 * 2);
        let last = &mut self.link(owner, target).last[direction];
        *last = (*last).max(sent);
        *last
    }

    /// A link breaks: what is under way on it is lost, and its owner may learn of it.
    fn break_link(&mut self, owner: Node, target: usize, owner_learns: bool) {
        let delay = self.dice.micros(0, self.slowness.as_micros() as u64 * 10);
        let link = self.link(owner, target);
        if std::mem::replace(&mut link.open, false) {
            let epoch = link.epoch;
            if owner_learns {
                self.plan(delay, Happening::LinkLost { owner, target, epoch });
            }
        }
    }

    fn close_link(&mut self, owner: Node, peer: &Address) {
        let link = self.link(owner, place(peer));
        link.epoch += 1;
        link.open = false;
        link.asked.clear();
    }
}

fn address(place: usize) -> Address {
    Address(format!("sim://{place}"))
}

fn place(address: &Address) -> usize {
    let place = address.0.strip_prefix("sim://").and_then(|place| place.parse().ok());
    place.expect("addresses are made by `address`")
}
