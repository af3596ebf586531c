//! The scheduler's rules, each as a short conversation. Every answer is compared whole, so silence is tested too.

mod actors;
mod deaths;
mod demand;
mod forget;
mod gangs;
mod life;
mod load;
mod memory;
mod peers;
mod place;
mod rebalance;
mod record;
mod recovery;
mod retire;
mod returns;
mod seceded;
mod sharing;
mod stragglers;

use std::time::Duration;

use super::{Command, Config, Event, Reason, Scheduler};
use crate::{
    death::{Death, End, Evidence},
    event::{Event as Happened, Kind, Record, Step},
    graph::{ArgumentCode, Graph, TaskOptions},
    id::{Attempt, ClientId, ClusterId, ConnectionId, FunctionId, TaskId, WorkerId},
    message::{
        Address, Compute, Constants, Failure, FromClient, FromWorker, Greeting, Hello, PROTOCOL, Priority, Remote,
        Report, Role, ToClient, ToWorker, WaitReason, WorkerHello, WorkerInfo,
    },
    task::{FunctionEntry, TaskError},
    time::Time,
    value::Value,
};

const INC: FunctionId = FunctionId(0);
const SUM: FunctionId = FunctionId(1);
const CLIENT: ClientId = ClientId(0);

/// A scheduler, a clock, and ways to say things briefly.
struct World {
    scheduler: Scheduler,
    now: Time,
    submitted: u64,
}

impl World {
    /// A scheduler with one client, and workers of these numbers of threads.
    fn new(threads: &[u32]) -> Self {
        let mut world =
            Self { scheduler: Scheduler::new(Config::default(), Time::ZERO), now: Time::ZERO, submitted: 0 };
        world.told(hello(Role::Client));
        for (i, n_threads) in threads.iter().enumerate() {
            world.joins(i as u32, *n_threads);
        }
        world
    }

    fn told(&mut self, event: Event) -> Vec<Command> {
        let mut out = Vec::new();
        self.scheduler.handle(self.now, event, &mut out);
        self.scheduler.check_invariants();
        out
    }

    fn joins(&mut self, number: u32, n_threads: u32) -> Vec<Command> {
        let address = address(number);
        let mut commands = self.told(hello(Role::Worker(WorkerHello::new(n_threads, address, format!("w{number}")))));
        commands.retain(|c| {
            !matches!(c, Command::Greet { .. } | Command::ToClient { message: ToClient::Workers { .. }, .. })
        });
        commands
    }

    fn leaves(&mut self, worker: u32) -> Vec<Command> {
        let mut commands = self.told(Event::WorkerLeft { worker: WorkerId(worker) });
        commands.retain(|c| !matches!(c, Command::ToClient { message: ToClient::Workers { .. }, .. }));
        commands
    }

    fn submits(&mut self, graph: Graph, wanted: &[u32]) -> Vec<Command> {
        let first = self.submitted;
        self.submitted += graph.len() as u64;
        self.client(FromClient::submit(first, graph, wanted.to_vec()))
    }

    fn client(&mut self, message: FromClient) -> Vec<Command> {
        self.told(Event::Client { client: CLIENT, message })
    }

    fn worker(&mut self, worker: u32, message: FromWorker) -> Vec<Command> {
        self.told(Event::Worker { worker: WorkerId(worker), message })
    }

    fn finishes(&mut self, worker: u32, sequence: u64) -> Vec<Command> {
        self.finishes_after(worker, sequence, 0, 8, 50_000_000)
    }

    fn finishes_after(&mut self, worker: u32, sequence: u64, attempt: u32, n_bytes: u64, run_ns: u64) -> Vec<Command> {
        self.worker(worker, FromWorker::finished(task(sequence), Attempt(attempt), n_bytes, run_ns, None))
    }

    fn starts(&mut self, worker: u32, sequence: u64, attempt: u32) {
        let message = FromWorker::Started { task: task(sequence), attempt: Attempt(attempt) };
        assert_eq!(self.worker(worker, message), []);
    }

    fn ticks(&mut self, after: Duration) -> Vec<Command> {
        self.now += after;
        self.told(Event::Tick)
    }
}

fn hello(role: Role) -> Event {
    let entry = |name: &str, signature: &str| FunctionEntry { name: name.into(), signature: signature.into() };
    Event::Hello {
        connection: ConnectionId(9),
        hello: Box::new(Hello {
            protocol: PROTOCOL,
            version: "1.0".into(),
            instruction_set: "x86_64+avx2".into(),
            functions: vec![entry("inc", "(f64) -> f64"), entry("sum", "(&[Arc<f64>]) -> f64")],
            role,
        }),
    }
}

fn address(worker: u32) -> Address {
    Address(format!("tcp://w{worker}").into())
}

const fn task(sequence: u64) -> TaskId {
    TaskId::new(CLIENT, sequence)
}

/// `graph(&[(INC, &[]), (SUM, &[node(0)])])`.
fn graph(nodes: &[(FunctionId, &[ArgumentCode])]) -> Graph {
    let mut graph = Graph::default();
    for (function, arguments) in nodes {
        graph.functions.push(*function);
        graph.arguments.extend_from_slice(arguments);
        graph.ends.push(graph.arguments.len() as u32);
    }
    graph
}

const fn node(place: u32) -> ArgumentCode {
    ArgumentCode::Node(place)
}

fn to_worker(worker: u32, message: ToWorker) -> Command {
    Command::ToWorker { worker: WorkerId(worker), message }
}

/// The command to run a task of the first submission whose inputs, if any, are its arguments in order.
fn compute(
    worker: u32,
    sequence: u64,
    attempt: u32,
    function: FunctionId,
    inputs: &[u64],
    fetch: Vec<Remote>,
) -> Command {
    compute_of(worker, sequence, attempt, function, inputs, fetch, (0, sequence as u32), false)
}

#[expect(clippy::too_many_arguments, reason = "spelled out once")]
fn compute_of(
    worker: u32,
    sequence: u64,
    attempt: u32,
    function: FunctionId,
    inputs: &[u64],
    fetch: Vec<Remote>,
    (submission, node): (u32, u32),
    wanted: bool,
) -> Command {
    to_worker(
        worker,
        ToWorker::Compute(Compute {
            task: task(sequence),
            attempt: Attempt(attempt),
            function,
            priority: Priority { user: 0, submission, node, ..Priority::default() },
            wanted,
            arguments: inputs.iter().map(|input| ArgumentCode::Task(task(*input))).collect(),
            fetch,
            constants: Constants::new(),
            n_constants: 0,
            gang: None,
            expected_bytes: 0,
        }),
    )
}

fn wanted(command: Command) -> Command {
    match command {
        Command::ToWorker { worker, message: ToWorker::Compute(compute) } => {
            Command::ToWorker { worker, message: ToWorker::Compute(Compute { wanted: true, ..compute }) }
        }
        other => other,
    }
}

fn remote(sequence: u64, n_bytes: u64, holders: &[u32]) -> Remote {
    Remote { task: task(sequence), n_bytes, holders: holders.iter().map(|h| address(*h)).collect() }
}

fn dropped(worker: u32, sequences: &[u64]) -> Command {
    to_worker(worker, ToWorker::Drop { tasks: sequences.iter().map(|s| task(*s)).collect() })
}

fn cancelled(worker: u32, sequence: u64, attempt: u32) -> Command {
    to_worker(worker, ToWorker::Cancel { task: task(sequence), attempt: Attempt(attempt) })
}

fn done(sequence: u64, n_bytes: u64, holders: &[u32]) -> Command {
    let holders = holders.iter().map(|h| address(*h)).collect();
    Command::ToClient { client: CLIENT, message: ToClient::finished(task(sequence), n_bytes, holders, None) }
}

fn failed(sequence: u64, error: TaskError) -> Command {
    Command::ToClient { client: CLIENT, message: ToClient::Failed { task: task(sequence), error } }
}

/// The tasks that were sent, and to whom.
fn sent(commands: &[Command]) -> Vec<(u64, u32)> {
    let compute = |command: &Command| match command {
        Command::ToWorker { worker, message: ToWorker::Compute(compute) } => Some((compute.task.sequence(), worker.0)),
        _ => None,
    };
    commands.iter().filter_map(compute).collect()
}

fn release(sequences: &[u64]) -> FromClient {
    FromClient::Release { tasks: sequences.iter().map(|s| task(*s)).collect() }
}

/// A task without inputs and one that takes it.
fn pair() -> Graph {
    graph(&[(INC, &[]), (INC, &[node(0)])])
}
