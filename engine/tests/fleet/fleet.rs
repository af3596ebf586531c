//! A cluster in virtual time: the scheduler's and the workers' machines as in production, a network of fixed latency,
//! and tasks that take as long and make as much as a test says. Nothing is left to chance.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
    time::Duration,
};

use phalanx_engine::{
    graph::{Graph, TaskOptions},
    id::{Attempt, ClientId, ConnectionId, FunctionId, TaskId, WorkerId},
    message::{
        Address, Failure, FromClient, FromWorker, Greeting, Hello, PROTOCOL, Role, ToClient, ToWorker, WorkerHello,
    },
    request::{Reply, Request},
    scheduler::{Command, Config, Event, Scheduler},
    task::{FunctionEntry, TaskError},
    time::Time,
    value::Value,
    worker::{self, Worker},
};

/// How long a message takes.
const LATENCY: Duration = Duration::from_micros(100);
/// How long a byte takes from worker to worker: 1 GB/s.
const NS_PER_BYTE: u64 = 1;

/// What a task takes and makes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    pub(crate) time: Duration,
    pub(crate) n_bytes: u64,
}

enum What {
    ToWorker(usize, ToWorker),
    ToScheduler(usize, FromWorker),
    Ended(usize, TaskId, Attempt, u64),
    Fetched(usize, Address, Vec<TaskId>),
    WorkerTick(usize),
    SchedulerTick,
}

pub(crate) struct Fleet {
    pub(crate) scheduler: Scheduler,
    pub(crate) now: Time,
    /// By place; the dead leave theirs empty.
    workers: Vec<Option<Worker>>,
    /// What each of them has in its store.
    stores: Vec<BTreeSet<TaskId>>,
    places: BTreeMap<WorkerId, usize>,
    ids: Vec<WorkerId>,
    agenda: BinaryHeap<Reverse<(Time, u64)>>,
    happenings: BTreeMap<u64, What>,
    n_happenings: u64,
    submitted: u64,
    costs: Box<dyn Fn(u64) -> Cost>,
    /// By the task's sequence number: the worker of its last run.
    pub(crate) ran: BTreeMap<u64, usize>,
    pub(crate) done: BTreeSet<u64>,
    /// By the task's sequence number: how often it was begun.
    pub(crate) n_runs: BTreeMap<u64, u32>,
    /// Tasks whose function fails.
    pub(crate) failing: BTreeSet<u64>,
    /// What the client was told of those and of what needs them.
    pub(crate) failed: BTreeMap<u64, TaskError>,
    /// What the client's questions were answered.
    pub(crate) replies: Vec<Reply>,
    /// Results that were moved between workers.
    pub(crate) n_moved: u64,
    heartbeat: Duration,
    pub(crate) checks: bool,
}

impl Fleet {
    pub(crate) fn new(costs: impl Fn(u64) -> Cost + 'static) -> Self {
        let mut fleet = Self {
            scheduler: Scheduler::new(Config::default(), Time::ZERO),
            now: Time::ZERO,
            workers: Vec::new(),
            stores: Vec::new(),
            places: BTreeMap::new(),
            ids: Vec::new(),
            agenda: BinaryHeap::new(),
            happenings: BTreeMap::new(),
            n_happenings: 0,
            submitted: 0,
            costs: Box::new(costs),
            ran: BTreeMap::new(),
            done: BTreeSet::new(),
            n_runs: BTreeMap::new(),
            failing: BTreeSet::new(),
            failed: BTreeMap::new(),
            replies: Vec::new(),
            n_moved: 0,
            heartbeat: Config::default().heartbeat,
            checks: true,
        };
        fleet.tell(hello(Role::Client));
        fleet.plan(LATENCY, What::SchedulerTick);
        fleet
    }

    /// Workers of these numbers of threads join; returns their places.
    pub(crate) fn join(&mut self, threads: &[u32]) -> Vec<usize> {
        threads.iter().map(|n_threads| self.join_one(*n_threads)).collect()
    }

    fn join_one(&mut self, n_threads: u32) -> usize {
        let place = self.workers.len();
        let address = address(place);
        let config = worker::Config { n_threads, heartbeat: self.heartbeat, ..worker::Config::default() };
        self.workers.push(Some(Worker::new(config, address.clone(), self.now)));
        self.stores.push(BTreeSet::new());
        self.ids.push(WorkerId(u32::MAX));
        let role = Role::Worker(WorkerHello::new(n_threads, address, format!("w{place}")));
        let connection = ConnectionId(place as u64 + 1);
        self.tell(Event::Hello { connection, hello: Box::new(hello_of(role)) });
        self.plan(self.heartbeat, What::WorkerTick(place));
        place
    }

    /// A worker is gone with all it had.
    pub(crate) fn kill(&mut self, place: usize) {
        if self.workers[place].take().is_some() {
            self.tell(Event::WorkerLeft { worker: self.ids[place] });
        }
    }

    pub(crate) fn is_alive(&self, place: usize) -> bool {
        self.workers[place].is_some()
    }

    /// Submits work and wants all nodes in `wanted`; returns the number of its first task.
    pub(crate) fn submit(&mut self, graph: Graph, wanted: &[u32]) -> u64 {
        let first = self.submitted;
        self.submitted += graph.len() as u64;
        let message = FromClient::submit(first, graph, wanted.to_vec());
        self.client(message);
        first
    }

    /// The client lets go of results, in one message.
    pub(crate) fn release(&mut self, sequences: impl IntoIterator<Item = u64>) {
        let tasks = sequences.into_iter().map(task).collect();
        self.client(FromClient::Release { tasks });
    }

    /// The client asks something about the cluster.
    pub(crate) fn ask(&mut self, request: Request) {
        self.client(FromClient::Ask { ticket: self.replies.len() as u64, request });
    }

    /// A worker says that it pauses, or goes on.
    pub(crate) fn pause(&mut self, place: usize, is_paused: bool) {
        let message = FromWorker::Memory { resident: 0, spilled: 0, is_paused };
        self.tell(Event::Worker { worker: self.ids[place], message });
    }

    pub(crate) fn id(&self, place: usize) -> WorkerId {
        self.ids[place]
    }

    /// Panics where anybody remembers anything.
    pub(crate) fn check_forgotten(&self) {
        assert_eq!(self.scheduler.n_tasks(), 0, "tasks that the scheduler knows");
        for (place, worker) in self.workers.iter().enumerate() {
            let Some(worker) = worker else { continue };
            let left = (worker.n_held(), worker.n_waiting(), worker.n_acquiring(), worker.n_running());
            assert_eq!(left, (0, 0, 0, 0), "what w{place} holds, awaits, fetches and runs");
            assert_eq!(self.stores[place], BTreeSet::new(), "what w{place} stores");
        }
    }

    /// Lives until so many tasks are done for the client, or nothing happens for an hour of its time.
    pub(crate) fn run_until_done(&mut self, n: usize) {
        let limit = self.now + Duration::from_secs(3600 * 24);
        while self.done.len() < n && self.now < limit {
            self.step();
        }
        assert!(self.done.len() >= n, "{} of {n} are done after a day", self.done.len());
    }

    /// Lives until the client knows of so many tasks what became of them.
    pub(crate) fn run_until_settled(&mut self, n: usize) {
        let limit = self.now + Duration::from_secs(3600);
        while self.done.len() + self.failed.len() < n {
            assert!(self.now < limit, "{} done, {} failed, {n} asked for", self.done.len(), self.failed.len());
            self.step();
        }
    }

    pub(crate) fn run_for(&mut self, time: Duration) {
        let until = self.now + time;
        while self.agenda.peek().is_some_and(|Reverse((at, _))| *at <= until) {
            self.step();
        }
        self.now = until;
    }

    /// How many tasks each worker ran last.
    pub(crate) fn n_ran(&self) -> Vec<usize> {
        let mut counts = vec![0; self.workers.len()];
        self.ran.values().for_each(|worker| counts[*worker] += 1);
        counts
    }

    fn step(&mut self) {
        let Some(Reverse((at, number))) = self.agenda.pop() else { return };
        self.now = at;
        match self.happenings.remove(&number).expect("what is planned is known") {
            What::ToWorker(place, message) => self.tell_worker(place, worker::Event::Scheduler(message)),
            What::ToScheduler(place, message) => {
                if self.workers[place].is_some() {
                    self.tell(Event::Worker { worker: self.ids[place], message });
                }
            }
            What::Ended(place, task, attempt, run_ns) => {
                let outcome = match self.failing.contains(&task.sequence()) {
                    true => Err(Failure::Error("it always does".into())),
                    false => Ok(Value::new(task.sequence())),
                };
                self.tell_worker(place, worker::Event::Ran { task, attempt, run_ns, outcome });
            }
            What::Fetched(place, peer, tasks) => {
                for task in tasks {
                    let (peer, value) = (peer.clone(), Value::new(task.sequence()));
                    let holder: usize = peer.0.trim_start_matches("fleet://").parse().expect("made by `address`");
                    if self.workers[holder].is_none() {
                        self.tell_worker(place, worker::Event::PeerLost { peer });
                        break;
                    } else if self.stores[holder].contains(&task) {
                        self.tell_worker(place, worker::Event::Fetched { peer, task, value });
                    } else {
                        self.tell_worker(place, worker::Event::NotThere { peer, task });
                    }
                }
            }
            What::WorkerTick(place) => {
                self.tell_worker(place, worker::Event::Tick);
                if let Some(due) = self.workers[place].as_ref().and_then(Worker::deadline) {
                    self.plan_at(due.0.max(self.now), What::WorkerTick(place));
                }
            }
            What::SchedulerTick => {
                self.client(FromClient::Heartbeat);
                self.tell(Event::Tick);
                let due = self.scheduler.deadline().map_or(self.now + self.heartbeat, |(at, _)| at);
                // What is to be done sooner comes up with the next event at the latest.
                self.plan_at(due.min(self.now + self.heartbeat).max(self.now + LATENCY), What::SchedulerTick);
            }
        }
    }

    fn client(&mut self, message: FromClient) {
        self.tell(Event::Client { client: ClientId(0), message });
    }

    fn tell(&mut self, event: Event) {
        let mut commands = Vec::new();
        self.scheduler.handle(self.now, event, &mut commands);
        if self.checks {
            self.scheduler.check_invariants();
        }
        for command in commands {
            match command {
                Command::Greet { connection, greeting: Greeting::Worker { worker, .. } } => {
                    let place = connection.0 as usize - 1;
                    self.ids[place] = worker;
                    self.places.insert(worker, place);
                }
                Command::ToWorker { worker, message } => {
                    let place = self.places[&worker];
                    self.plan(LATENCY, What::ToWorker(place, message));
                }
                Command::ToClient { message: ToClient::Finished { task, .. }, .. } => {
                    self.done.insert(task.sequence());
                }
                Command::ToClient { message: ToClient::Failed { task, error }, .. } => {
                    assert!(!self.failing.is_empty(), "{task}: {error}");
                    self.failed.insert(task.sequence(), error);
                }
                Command::ToClient { message: ToClient::Reply { reply, .. }, .. } => self.replies.push(reply),
                Command::CloseWorker { worker } => panic!("{worker} is thought dead"),
                Command::Greet { .. } | Command::ToClient { .. } | Command::CloseClient { .. } => {}
            }
        }
    }

    fn tell_worker(&mut self, place: usize, event: worker::Event) {
        let Some(machine) = &mut self.workers[place] else { return };
        let mut commands = Vec::new();
        machine.handle(self.now, event, &mut commands);
        for command in commands {
            match command {
                worker::Command::ToScheduler(mut message) => {
                    if let FromWorker::Finished { task, n_bytes, .. } = &mut message {
                        *n_bytes = (self.costs)(task.sequence()).n_bytes;
                    }
                    self.plan(LATENCY, What::ToScheduler(place, message));
                }
                worker::Command::Run(run) => {
                    let time = (self.costs)(run.task.sequence()).time;
                    self.ran.insert(run.task.sequence(), place);
                    *self.n_runs.entry(run.task.sequence()).or_default() += 1;
                    self.plan(time, What::Ended(place, run.task, run.attempt, time.as_nanos() as u64));
                }
                worker::Command::Fetch { peer, tasks } => {
                    let n_bytes: u64 = tasks.iter().map(|task| (self.costs)(task.sequence()).n_bytes).sum();
                    self.n_moved += tasks.len() as u64;
                    let time = 2 * LATENCY + Duration::from_nanos(n_bytes * NS_PER_BYTE);
                    self.plan(time, What::Fetched(place, peer, tasks));
                }
                worker::Command::Store { task, .. } => {
                    self.stores[place].insert(task);
                }
                worker::Command::Drop { tasks } => self.stores[place].retain(|task| !tasks.contains(task)),
                worker::Command::Stop { .. } => self.workers[place] = None,
                _ => {}
            }
        }
    }

    fn plan(&mut self, after: Duration, what: What) {
        self.plan_at(self.now + after, what);
    }

    fn plan_at(&mut self, at: Time, what: What) {
        self.agenda.push(Reverse((at, self.n_happenings)));
        self.happenings.insert(self.n_happenings, what);
        self.n_happenings += 1;
    }
}

/// Nodes that call the function at that place with the results of those nodes.
pub(crate) fn graph(nodes: &[(u32, Vec<u32>)]) -> Graph {
    let mut graph = Graph::default();
    for (function, inputs) in nodes {
        graph.functions.push(FunctionId(*function));
        graph.arguments.extend(inputs.iter().map(|input| phalanx_engine::graph::ArgumentCode::Node(*input)));
        graph.ends.push(graph.arguments.len() as u32);
    }
    graph
}

/// Lets a node run on the workers at these places only, or on others while none of them is there.
pub(crate) fn pin(graph: &mut Graph, node: u32, places: &[usize], allow_other_workers: bool) {
    let workers = places.iter().map(|place| format!("w{place}")).collect();
    graph.push_options(node, TaskOptions { workers, allow_other_workers, ..TaskOptions::default() });
}

/// The client's task of that number.
pub(crate) const fn task(sequence: u64) -> TaskId {
    TaskId::new(ClientId(0), sequence)
}

fn hello(role: Role) -> Event {
    Event::Hello { connection: ConnectionId(0), hello: Box::new(hello_of(role)) }
}

fn hello_of(role: Role) -> Hello {
    let entry = |name: &str| FunctionEntry { name: name.into(), signature: "(..) -> u64".into() };
    Hello {
        protocol: PROTOCOL,
        version: "fleet".into(),
        instruction_set: "virtual".into(),
        functions: ["a.make", "b.use", "c.join"].map(entry).to_vec(),
        role,
    }
}

fn address(place: usize) -> Address {
    Address(format!("fleet://{place}").into())
}

/// A moment, by how long it is after the start.
pub(crate) fn at(time: Duration) -> Time {
    Time::ZERO + time
}
