//! How a value that many workers want comes to all of them: in about as many rounds as a tree of them is high, and
//! nobody sends it to more than a few at once. Real machines, virtual time, no chance.

#![allow(clippy::unwrap_used)]

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use phalanx_engine::{
    graph::{ArgumentCode, Graph},
    id::{ClientId, ConnectionId, FunctionId, TaskId, WorkerId},
    message::{Address, FromClient, Hello, PROTOCOL, Role, ToClient, WorkerHello},
    request::{Reply, Request},
    scheduler::{self, Scheduler},
    serve::Serves,
    task::FunctionEntry,
    time::Time,
    value::Value,
    worker::{self, Worker},
};

const CLIENT: ClientId = ClientId(0);
const MESSAGE: Duration = Duration::from_micros(200);
/// One transfer of the value.
const TRANSFER: Duration = Duration::from_millis(100);
/// One run of a task: so long that each is worth a worker of its own.
const RUN: Duration = Duration::from_secs(2);

#[derive(Debug)]
enum Happening {
    ToScheduler(Box<scheduler::Event>),
    ToWorker(usize, Box<worker::Event>),
    Get { owner: usize, target: usize, tasks: Vec<TaskId> },
    Sent { owner: usize, target: usize, task: TaskId },
}

struct World {
    now: Time,
    agenda: BTreeMap<(Time, u64), Happening>,
    n: u64,
    scheduler: Scheduler,
    workers: Vec<Worker>,
    serves: Vec<Serves>,
    stores: Vec<BTreeMap<TaskId, Value>>,
    told: VecDeque<ToClient>,
    most_at_once: u32,
}

impl World {
    fn new(n_workers: usize) -> Self {
        let mut world = Self {
            now: Time::ZERO,
            agenda: BTreeMap::new(),
            n: 0,
            scheduler: Scheduler::new(scheduler::Config::default(), Time::ZERO),
            workers: Vec::new(),
            serves: vec![Serves::default(); n_workers],
            stores: vec![BTreeMap::new(); n_workers],
            told: VecDeque::new(),
            most_at_once: 0,
        };
        world.hello(Role::Client);
        for place in 0..n_workers {
            world.workers.push(Worker::new(worker::Config::default(), address(place), Time::ZERO));
            world.hello(Role::Worker(WorkerHello::new(1, address(place), format!("w{place}"))));
        }
        world
    }

    fn hello(&mut self, role: Role) {
        let hello = Hello {
            protocol: PROTOCOL,
            version: "simulated".into(),
            instruction_set: "virtual".into(),
            functions: vec![FunctionEntry { name: "f".into(), signature: "()".into() }],
            role,
        };
        self.tell_scheduler(scheduler::Event::Hello { connection: ConnectionId(0), hello: Box::new(hello) });
    }

    fn client(&mut self, message: FromClient) {
        self.tell_scheduler(scheduler::Event::Client { client: CLIENT, message });
    }

    fn plan(&mut self, after: Duration, what: Happening) {
        self.n += 1;
        self.agenda.insert((self.now + after, self.n), what);
    }

    fn tell_scheduler(&mut self, event: scheduler::Event) {
        let mut commands = Vec::new();
        self.scheduler.handle(self.now, event, &mut commands);
        self.scheduler.check_invariants();
        for command in commands {
            match command {
                scheduler::Command::ToWorker { worker, message } => {
                    let event = Box::new(worker::Event::Scheduler(message));
                    self.plan(MESSAGE, Happening::ToWorker(worker.0 as usize, event));
                }
                scheduler::Command::ToClient { message, .. } => self.told.push_back(message),
                scheduler::Command::Greet { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    }

    fn tell_worker(&mut self, place: usize, event: worker::Event) {
        let mut commands = Vec::new();
        self.workers[place].handle(self.now, event, &mut commands);
        self.workers[place].check_invariants();
        for command in commands {
            match command {
                worker::Command::ToScheduler(message) => {
                    let worker = WorkerId(place as u32);
                    let event = Box::new(scheduler::Event::Worker { worker, message });
                    self.plan(MESSAGE, Happening::ToScheduler(event));
                }
                worker::Command::Store { task, value } => drop(self.stores[place].insert(task, value)),
                worker::Command::Drop { tasks } => tasks.iter().for_each(|task| drop(self.stores[place].remove(task))),
                worker::Command::Fetch { peer, tasks } => {
                    let target = peer.0.trim_start_matches("w").parse().unwrap();
                    self.plan(MESSAGE, Happening::Get { owner: place, target, tasks });
                }
                worker::Command::Run(run) => {
                    let outcome = Ok(Value::new(vec![7_u8; 2000]));
                    let ran = worker::Event::Ran {
                        task: run.task,
                        attempt: run.attempt,
                        run_ns: RUN.as_nanos() as u64,
                        outcome,
                    };
                    self.plan(RUN, Happening::ToWorker(place, Box::new(ran)));
                }
                other => panic!("{other:?}"),
            }
        }
    }

    /// Lives until `is_over`, and says how long that took.
    fn live_until(&mut self, is_over: impl Fn(&Self) -> bool) -> Duration {
        let start = self.now;
        while !is_over(self) {
            let ticks = self.workers.iter().enumerate().map(|(place, worker)| (worker.deadline().unwrap().0, place));
            let (tick_at, place) = ticks.min().unwrap();
            let scheduler_at = self.scheduler.deadline().unwrap().0;
            let next = self.agenda.first_key_value().map_or(Time(u64::MAX), |((at, _), _)| *at);
            if next <= tick_at && next <= scheduler_at {
                let ((at, _), what) = self.agenda.pop_first().unwrap();
                self.now = at;
                self.happen(what);
            } else if scheduler_at <= tick_at {
                self.now = self.now.max(scheduler_at);
                self.tell_scheduler(scheduler::Event::Tick);
                self.client(FromClient::Heartbeat);
            } else {
                self.now = self.now.max(tick_at);
                self.tell_worker(place, worker::Event::Tick);
            }
            assert!(self.now - start < Duration::from_secs(60), "it never ends");
        }
        self.now - start
    }

    fn happen(&mut self, what: Happening) {
        match what {
            Happening::ToScheduler(event) => self.tell_scheduler(*event),
            Happening::ToWorker(place, event) => self.tell_worker(place, *event),
            Happening::Get { owner, target, tasks } => {
                for task in tasks {
                    let peer = address(target);
                    if !self.stores[target].contains_key(&task) {
                        let event = Box::new(worker::Event::NotThere { peer, task });
                        self.plan(MESSAGE, Happening::ToWorker(owner, event));
                    } else if self.serves[target].begin(task) {
                        self.plan(TRANSFER, Happening::Sent { owner, target, task });
                    } else {
                        let event = Box::new(worker::Event::PeerBusy { peer, task });
                        self.plan(MESSAGE, Happening::ToWorker(owner, event));
                    }
                    self.most_at_once = self.most_at_once.max(self.serves[target].n_all());
                }
            }
            Happening::Sent { owner, target, task } => {
                self.serves[target].end(task);
                let value = self.stores[target][&task].clone();
                self.tell_worker(owner, worker::Event::Fetched { peer: address(target), task, value });
            }
        }
    }

    fn n_holders(&self, task: TaskId) -> usize {
        self.stores.iter().filter(|store| store.contains_key(&task)).count()
    }
}

fn address(place: usize) -> Address {
    Address(format!("w{place}").into())
}

/// One task that makes the value and `n` that take it.
fn fan(n: u32) -> Graph {
    let mut graph = Graph { functions: vec![FunctionId(0)], ends: vec![0], ..Graph::default() };
    for _ in 0..n {
        graph.functions.push(FunctionId(0));
        graph.arguments.push(ArgumentCode::Node(0));
        graph.ends.push(graph.arguments.len() as u32);
    }
    graph
}

#[test]
fn copies_on_64_workers_take_about_log_n_rounds() {
    let mut world = World::new(64);
    let task = TaskId::new(CLIENT, 0);
    world.client(FromClient::submit(0, fan(0), vec![0]));
    world.live_until(|world| world.n_holders(task) == 1);
    world.client(FromClient::Ask { ticket: 1, request: Request::Replicate { tasks: vec![task], n_copies: 64 } });
    let took = world.live_until(|world| {
        world
            .told
            .iter()
            .any(|told| *told == ToClient::Reply { ticket: 1, reply: Reply::Replicated { copies: vec![64] } })
    });
    assert_eq!(world.n_holders(task), 64);
    assert!(world.most_at_once <= 2, "a worker sent it to {} at once", world.most_at_once);
    let rounds = took.as_secs_f64() / TRANSFER.as_secs_f64();
    assert!(rounds < 6.5, "{rounds:.1} rounds");
}

#[test]
fn tasks_on_64_workers_that_take_one_value_have_it_in_about_log_n_rounds() {
    let mut world = World::new(64);
    let task = TaskId::new(CLIENT, 0);
    let all: Vec<u32> = (0..=64).collect();
    world.client(FromClient::submit(0, fan(64), all));
    world.live_until(|world| world.n_holders(task) == 1);
    let start = world.now;
    world.live_until(|world| world.n_holders(task) == 64);
    assert!(world.most_at_once <= 2, "a worker sent it to {} at once", world.most_at_once);
    let rounds = (world.now - start).as_secs_f64() / TRANSFER.as_secs_f64();
    assert!(rounds < 8.0, "{rounds:.1} rounds");
}

#[test]
fn extra_copies_are_dropped_when_nothing_takes_them_any_more() {
    let mut world = World::new(16);
    let task = TaskId::new(CLIENT, 0);
    let all: Vec<u32> = (0..=64).collect();
    world.client(FromClient::submit(0, fan(64), all));
    world.live_until(|world| world.told.iter().filter(|told| matches!(told, ToClient::Finished { .. })).count() == 65);
    assert!(world.n_holders(task) > 1);
    world.live_until(|world| world.n_holders(task) == 1);
    // What is wished for stays, and one that is let go goes everywhere.
    world.client(FromClient::Ask { ticket: 1, request: Request::Replicate { tasks: vec![task], n_copies: 4 } });
    world.live_until(|world| world.n_holders(task) == 4);
    let later = world.now + Duration::from_secs(10);
    world.live_until(|world| world.now > later);
    assert_eq!(world.n_holders(task), 4);
    world.client(FromClient::Release { tasks: (0..=64).map(|s| TaskId::new(CLIENT, s)).collect() });
    world.live_until(|world| world.stores.iter().all(BTreeMap::is_empty));
    assert_eq!(world.scheduler.n_tasks(), 0);
}
