//! The scheduler's rules, each as a short conversation. Every answer is compared whole, so silence is tested too.

use std::time::Duration;

use super::{Command, Config, Event, Reason, Scheduler};
use crate::{
    event::{Event as Happened, Kind, Record},
    graph::{ArgumentCode, Graph, TaskOptions},
    id::{Attempt, ClientId, ConnectionId, FunctionId, TaskId, WorkerId},
    message::{
        Address, Compute, Failure, FromClient, FromWorker, Greeting, Hello, PROTOCOL, Priority, Remote, Role, ToClient,
        ToWorker, WaitReason, WorkerInfo,
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
        let mut commands = self.told(hello(Role::Worker { n_threads, address, name: format!("w{number}") }));
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
        hello: Hello {
            protocol: PROTOCOL,
            version: "1.0".into(),
            instruction_set: "x86_64+avx2".into(),
            functions: vec![entry("inc", "(f64) -> f64"), entry("sum", "(&[Arc<f64>]) -> f64")],
            role,
        },
    }
}

fn address(worker: u32) -> Address {
    Address(format!("tcp://w{worker}"))
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
            priority: Priority { user: 0, submission, node },
            wanted,
            arguments: inputs.iter().map(|input| ArgumentCode::Task(task(*input))).collect(),
            fetch,
            constants: vec![],
            n_constants: 0,
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

fn release(sequences: &[u64]) -> FromClient {
    FromClient::Release { tasks: sequences.iter().map(|s| task(*s)).collect() }
}

/// A task without inputs and one that takes it.
fn pair() -> Graph {
    graph(&[(INC, &[]), (INC, &[node(0)])])
}

#[test]
fn a_graph_waits_for_a_worker_and_runs_in_its_order() {
    let mut world = World::new(&[]);
    assert_eq!(world.submits(pair(), &[1]), []);
    assert_eq!(world.joins(0, 1), [compute(0, 0, 0, INC, &[], vec![])]);
    assert_eq!(world.finishes(0, 0), [wanted(compute(0, 1, 0, INC, &[0], vec![]))]);
    assert_eq!(world.finishes(0, 1), [done(1, 8, &[0]), dropped(0, &[0])]);
    assert_eq!(world.client(release(&[1])), [dropped(0, &[1])]);
    assert_eq!(world.scheduler.n_tasks(), 0);
}

#[test]
fn constants_travel_with_the_task_that_names_them() {
    let mut world = World::new(&[1]);
    let mut graph = graph(&[(SUM, &[ArgumentCode::List(2), ArgumentCode::Constant(1), ArgumentCode::Constant(1)])]);
    graph.constants = vec![Value::new(1.0), Value::new(2.0)];
    let commands = world.submits(graph, &[0]);
    let [Command::ToWorker { message: ToWorker::Compute(compute), .. }] = &*commands else { panic!("{commands:?}") };
    assert_eq!(compute.arguments, [ArgumentCode::List(2), ArgumentCode::Constant(0), ArgumentCode::Constant(0)]);
    assert_eq!((&compute.constants, compute.n_constants), (&vec![Value::new(2.0)], 1));
}

#[test]
fn a_small_result_comes_with_the_answer() {
    let mut world = World::new(&[1]);
    world.submits(graph(&[(INC, &[])]), &[0]);
    let value = Some(Value::new(3.0));
    let told = world.worker(0, FromWorker::finished(task(0), Attempt(0), 8, 1000, value.clone()));
    let message = ToClient::finished(task(0), 8, vec![address(0)], value);
    assert_eq!(told, [Command::ToClient { client: CLIENT, message }]);
}

#[test]
fn a_lost_worker_gives_its_task_back() {
    let mut world = World::new(&[1]);
    world.submits(graph(&[(INC, &[])]), &[0]);
    assert_eq!(world.joins(1, 1), []);
    assert_eq!(world.leaves(0), [wanted(compute(1, 0, 1, INC, &[], vec![]))]);
}

#[test]
fn only_what_was_running_is_suspected_and_three_deaths_are_enough() {
    let mut world = World::new(&[1]);
    world.submits(graph(&[(INC, &[])]), &[0]);
    for death in 0..3 {
        if death > 0 {
            assert_eq!(world.leaves(death - 1), []);
            assert_eq!(world.joins(death, 1), [wanted(compute(death, 0, death, INC, &[], vec![]))]);
        }
        if death != 1 {
            world.starts(death, 0, death);
        }
    }
    // It died of the first and may die of the third, but the second had not begun to run it.
    assert_eq!(world.leaves(2), []);
    world.joins(3, 1);
    world.starts(3, 0, 3);
    let error =
        TaskError::KilledWorkers { function: "inc".into(), workers: vec![WorkerId(0), WorkerId(2), WorkerId(3)] };
    assert_eq!(world.leaves(3), [failed(0, error)]);
}

#[test]
fn what_only_the_lost_worker_had_is_made_again_and_nothing_else() {
    let mut world = World::new(&[1]);
    // 0 and 1 feed 2; 3 takes 2 and 1.
    world.submits(graph(&[(INC, &[]), (INC, &[]), (SUM, &[node(0), node(1)]), (SUM, &[node(2), node(1)])]), &[3]);
    world.finishes(0, 0);
    world.finishes(0, 1);
    assert_eq!(world.finishes(0, 2), [dropped(0, &[0]), wanted(compute(0, 3, 0, SUM, &[2, 1], vec![]))]);
    assert_eq!(world.joins(1, 4), []);
    // 3 needs 2 and 1 again, and 2 needs 0 again: 0 and 1 can run at once.
    assert_eq!(world.leaves(0), [compute(1, 0, 1, INC, &[], vec![]), compute(1, 1, 1, INC, &[], vec![])]);
    world.finishes_after(1, 0, 1, 8, 1000);
    assert_eq!(world.finishes_after(1, 1, 1, 8, 1000), [compute(1, 2, 1, SUM, &[0, 1], vec![])]);
    assert_eq!(
        world.finishes_after(1, 2, 1, 8, 1000),
        [dropped(1, &[0]), wanted(compute(1, 3, 1, SUM, &[2, 1], vec![]))]
    );
}

#[test]
fn a_held_result_that_was_lost_is_made_again_and_told_again() {
    let mut world = World::new(&[1]);
    world.submits(pair(), &[1]);
    world.finishes(0, 0);
    world.finishes(0, 1);
    assert_eq!(world.joins(1, 1), []);
    assert_eq!(world.leaves(0), [compute(1, 0, 1, INC, &[], vec![])]);
    world.finishes_after(1, 0, 1, 8, 1000);
    assert_eq!(world.finishes_after(1, 1, 1, 8, 1000), [done(1, 8, &[1]), dropped(1, &[0])]);
}

#[test]
fn a_copy_elsewhere_saves_the_work() {
    let mut world = World::new(&[1]);
    world.submits(pair(), &[0, 1]);
    world.finishes(0, 0);
    world.joins(1, 1);
    world.worker(1, FromWorker::Holds { tasks: vec![task(0)] });
    assert_eq!(world.leaves(0), [wanted(compute(1, 1, 1, INC, &[0], vec![]))]);
}

#[test]
fn a_copy_that_is_announced_late_ends_the_recomputation() {
    let mut world = World::new(&[1]);
    world.submits(pair(), &[1]);
    world.finishes(0, 0);
    world.joins(1, 1);
    assert_eq!(world.leaves(0), [compute(1, 0, 1, INC, &[], vec![])]);
    world.joins(2, 1);
    assert_eq!(
        world.worker(2, FromWorker::Holds { tasks: vec![task(0)] }),
        [cancelled(1, 0, 1), wanted(compute(2, 1, 1, INC, &[0], vec![]))]
    );
    // What the cancelled attempt answers is stray.
    assert_eq!(world.finishes_after(1, 0, 1, 8, 1000), [dropped(1, &[0])]);
}

#[test]
fn a_copy_on_the_worker_that_makes_the_result_again_counts_at_once() {
    let mut world = World::new(&[1]);
    world.submits(pair(), &[1]);
    // Fetched before the worker that had it died, for a task that was cancelled since.
    assert_eq!(
        world.worker(0, FromWorker::Holds { tasks: vec![task(0)] }),
        [cancelled(0, 0, 0), wanted(compute(0, 1, 0, INC, &[0], vec![]))]
    );
    assert_eq!(world.finishes(0, 0), [], "the attempt may have ended before it was cancelled");
    // Otherwise nobody would know of the copy, and it would stay for ever.
    assert_eq!(world.client(release(&[1])), [cancelled(0, 1, 0), dropped(0, &[0])]);
}

#[test]
fn an_error_is_tried_again_as_often_as_asked_and_then_told() {
    let mut world = World::new(&[1]);
    let mut graph = graph(&[(INC, &[])]);
    graph.options = vec![(0, TaskOptions { retries: 1, ..TaskOptions::default() })];
    world.submits(graph, &[0]);
    let failure = |attempt| FromWorker::Failed { task: task(0), attempt, failure: Failure::Error("no disk".into()) };
    assert_eq!(world.worker(0, failure(Attempt(0))), [wanted(compute(0, 0, 1, INC, &[], vec![]))]);
    assert_eq!(world.worker(0, failure(Attempt(0))), []); // said twice
    let error = TaskError::Failed { function: "inc".into(), worker: WorkerId(0), tries: 2, message: "no disk".into() };
    assert_eq!(world.worker(0, failure(Attempt(1))), [failed(0, error)]);
}

#[test]
fn an_error_reaches_everyone_who_waits_for_it_and_stops_work_done_for_them() {
    let mut world = World::new(&[2]);
    // 2 needs 0 and 1; 3 needs 2.
    world.submits(graph(&[(INC, &[]), (INC, &[]), (SUM, &[node(0), node(1)]), (INC, &[node(2)])]), &[2, 3]);
    let panic = FromWorker::Failed { task: task(0), attempt: Attempt(0), failure: Failure::Panic("oh".into()) };
    let error = TaskError::Panicked { function: "inc".into(), worker: WorkerId(0), tries: 1, message: "oh".into() };
    assert_eq!(world.worker(0, panic), [failed(2, error.clone()), cancelled(0, 1, 0), failed(3, error.clone())]);
    // Who comes later to a failed task hears the same at once.
    assert_eq!(world.submits(graph(&[(INC, &[ArgumentCode::Task(task(3))])]), &[0]), [failed(4, error)]);
    assert_eq!(world.client(release(&[2, 3, 4])), []);
    assert_eq!(world.scheduler.n_tasks(), 0);
}

#[test]
fn what_nobody_wants_any_more_is_stopped_and_forgotten() {
    let mut world = World::new(&[1]);
    world.submits(graph(&[(INC, &[]), (INC, &[node(0)]), (INC, &[node(1)])]), &[2]);
    assert_eq!(world.client(release(&[2])), [cancelled(0, 0, 0)]);
    assert_eq!(world.scheduler.n_tasks(), 0);
    assert_eq!(world.finishes(0, 0), [dropped(0, &[0])]);
}

#[test]
fn a_cancelled_task_says_so_to_all_that_need_it() {
    let mut world = World::new(&[1]);
    world.submits(pair(), &[0, 1]);
    assert_eq!(
        world.client(FromClient::Cancel { tasks: vec![task(0)] }),
        [cancelled(0, 0, 0), failed(0, TaskError::Cancelled), failed(1, TaskError::Cancelled)]
    );
}

#[test]
fn a_client_that_leaves_leaves_nothing() {
    let mut world = World::new(&[1]);
    world.submits(pair(), &[0, 1]);
    world.finishes(0, 0);
    assert_eq!(world.told(Event::ClientLeft { client: CLIENT }), [cancelled(0, 1, 0), dropped(0, &[0])]);
    assert_eq!(world.scheduler.n_tasks(), 0);
}

#[test]
fn a_task_goes_where_the_larger_input_is() {
    let mut world = World::new(&[1, 1]);
    let told = world.submits(graph(&[(INC, &[]), (INC, &[]), (SUM, &[node(0), node(1)])]), &[2]);
    assert_eq!(told, [compute(1, 0, 0, INC, &[], vec![]), compute(0, 1, 0, INC, &[], vec![])]);
    assert_eq!(world.finishes_after(1, 0, 0, 1 << 20, 1000), []);
    assert_eq!(
        world.finishes_after(0, 1, 0, 1 << 24, 1000),
        [wanted(compute(0, 2, 0, SUM, &[0, 1], vec![remote(0, 1 << 20, &[1])]))]
    );
    assert_eq!(world.worker(0, FromWorker::Holds { tasks: vec![task(0)] }), []);
    assert_eq!(world.finishes(0, 2), [done(2, 8, &[0]), dropped(0, &[1, 0]), dropped(1, &[0])]);
}

#[test]
fn an_idle_worker_counts_where_the_holder_is_busy_for_longer_than_the_move_takes() {
    let mut world = World::new(&[1, 1]);
    // 0 makes what 1, 2 and 3 take; each takes 50 ms.
    let three = graph(&[(INC, &[]), (INC, &[node(0)]), (INC, &[node(0)]), (INC, &[node(0)])]);
    world.submits(three, &[1, 2, 3]);
    let told = world.finishes(1, 0);
    let there = wanted(compute(1, 1, 0, INC, &[0], vec![]));
    let elsewhere = |sequence| wanted(compute(0, sequence, 0, INC, &[0], vec![remote(0, 8, &[1])]));
    assert!(
        told.contains(&there) || told.contains(&wanted(compute(1, 2, 0, INC, &[0], vec![]))) || told.len() == 2,
        "{told:?}"
    );
    assert_eq!(told.iter().filter(|c| (1..=3).any(|s| **c == elsewhere(s))).count(), 1, "{told:?}");
}

#[test]
fn a_worker_that_joins_late_takes_from_the_longest_queue() {
    let mut world = World::new(&[1]);
    let wide = graph(&[(INC, &[]), (INC, &[node(0)]), (INC, &[node(0)]), (INC, &[node(0)])]);
    world.submits(wide, &[1, 2, 3]);
    assert_eq!(world.finishes(0, 0), [wanted(compute(0, 1, 0, INC, &[0], vec![]))]);
    // The last in order goes: the one before it is next where it is.
    assert_eq!(world.joins(1, 1), [wanted(compute(1, 3, 0, INC, &[0], vec![remote(0, 8, &[0])]))]);
}

#[test]
fn short_tasks_are_sent_ahead_and_long_ones_are_not() {
    let mut world = World::new(&[1]);
    let many: Vec<(FunctionId, &[ArgumentCode])> = vec![(INC, &[]); 1000];
    let all: Vec<u32> = (0..1000).collect();
    assert_eq!(world.submits(graph(&many), &all).len(), 1); // nothing is known yet
    assert_eq!(world.finishes_after(0, 0, 0, 8, 1_000).len(), 1 + 256); // 1 us each: as many as one thread is ever sent
    let mut world = World::new(&[1]);
    world.submits(graph(&many), &all);
    assert_eq!(world.finishes_after(0, 0, 0, 8, 30_000_000).len(), 1 + 1);
}

#[test]
fn the_users_priority_comes_before_the_order_of_submission() {
    let mut world = World::new(&[1]);
    world.submits(graph(&[(INC, &[]), (INC, &[])]), &[0, 1]);
    let mut urgent = graph(&[(INC, &[])]);
    urgent.options = vec![(0, TaskOptions { priority: 1, ..TaskOptions::default() })];
    assert_eq!(world.submits(urgent, &[0]), []);
    let told = world.finishes(0, 0);
    let [_, Command::ToWorker { message: ToWorker::Compute(next), .. }] = &*told else { panic!("{told:?}") };
    assert_eq!((next.task, next.priority), (task(2), Priority { user: -1, submission: 1, node: 0 }));
}

#[test]
fn an_input_that_is_not_where_it_was_said_to_be_is_made_again() {
    let mut world = World::new(&[1, 1]);
    world.submits(graph(&[(INC, &[]), (INC, &[]), (SUM, &[node(0), node(1)])]), &[2]);
    world.finishes_after(1, 0, 0, 8, 1000);
    world.finishes_after(0, 1, 0, 1 << 24, 1000);
    // The copy on worker 1 cannot be had: it is dropped there, and the task runs again. What waited for it on worker 0
    // is taken back, or it would keep the thread that may have to make it.
    let missing = FromWorker::Missing { task: task(0), tried: vec![address(1)] };
    assert_eq!(world.worker(0, missing), [cancelled(0, 2, 0), dropped(1, &[0]), compute(0, 0, 1, INC, &[], vec![])]);
    assert_eq!(world.finishes_after(0, 0, 1, 8, 1000), [wanted(compute(0, 2, 1, SUM, &[0, 1], vec![]))]);
}

#[test]
fn an_input_that_is_elsewhere_now_is_told_at_once() {
    let mut world = World::new(&[1, 1]);
    world.submits(graph(&[(INC, &[]), (INC, &[]), (SUM, &[node(0), node(1)])]), &[2]);
    world.finishes_after(1, 0, 0, 8, 1000);
    world.finishes_after(0, 1, 0, 1 << 24, 1000);
    assert_eq!(
        world.worker(0, FromWorker::Missing { task: task(0), tried: vec![address(7)] }),
        [to_worker(0, ToWorker::Located { task: task(0), holders: vec![address(1)] })]
    );
}

#[test]
fn the_only_thread_is_free_to_make_an_input_again() {
    // Worker 1 holds an input of what worker 0 is to run, and dies while that is being fetched.
    let mut world = World::new(&[1, 1]);
    world.submits(graph(&[(INC, &[]), (INC, &[]), (SUM, &[node(0), node(1)])]), &[2]);
    world.finishes_after(1, 0, 0, 8, 1000);
    world.finishes_after(0, 1, 0, 1 << 24, 1000);
    assert_eq!(world.leaves(1), []);
    let missing = FromWorker::Missing { task: task(0), tried: vec![address(1)] };
    assert_eq!(world.worker(0, missing), [cancelled(0, 2, 0), compute(0, 0, 1, INC, &[], vec![])]);
    assert_eq!(world.finishes_after(0, 0, 1, 8, 1000), [wanted(compute(0, 2, 1, SUM, &[0, 1], vec![]))]);
}

#[test]
fn a_result_that_can_never_be_fetched_fails_its_task_in_the_end() {
    let mut world = World::new(&[1]);
    world.submits(graph(&[(INC, &[])]), &[0]);
    let locate = || FromClient::Locate { task: task(0), tried: vec![address(0)] };
    for attempt in 0..20 {
        assert_eq!(world.finishes_after(0, 0, attempt, 8, 1000), [done(0, 8, &[0])]);
        assert_eq!(world.client(locate()), [dropped(0, &[0]), wanted(compute(0, 0, attempt + 1, INC, &[], vec![]))]);
    }
    world.finishes_after(0, 0, 20, 8, 1000);
    let error = TaskError::Unreachable { function: "inc".into(), at: "tcp://w0".into() };
    assert_eq!(world.client(locate()), [failed(0, error), dropped(0, &[0])]);
}

#[test]
fn without_workers_clients_are_told_what_waits_and_how_long() {
    let mut world = World::new(&[]);
    world.submits(pair(), &[1]);
    assert_eq!(world.scheduler.deadline(), Some((Time::ZERO + Duration::from_secs(1), Reason::Heartbeat)));
    let waiting = |for_ms| Command::ToClient {
        client: CLIENT,
        message: ToClient::Waiting { reason: WaitReason::NoWorkers, n_tasks: 2, for_ms },
    };
    let beat = Command::ToClient { client: CLIENT, message: ToClient::Heartbeat };
    assert_eq!(world.ticks(Duration::from_secs(2)), [beat.clone(), waiting(2000)]);
    assert_eq!(world.ticks(Duration::from_secs(1)), std::slice::from_ref(&beat));
    assert_eq!(world.ticks(Duration::from_millis(1500)), [beat]);
    world.client(FromClient::Heartbeat);
    assert_eq!(world.ticks(Duration::from_millis(1500)).last(), Some(&waiting(6000)));
}

#[test]
fn silence_of_five_heartbeats_is_death() {
    let mut world = World::new(&[1]);
    world.submits(graph(&[(INC, &[])]), &[0]);
    for _ in 0..4 {
        let beats =
            [Command::ToClient { client: CLIENT, message: ToClient::Heartbeat }, to_worker(0, ToWorker::Heartbeat)];
        assert_eq!(world.ticks(Duration::from_secs(1)), beats);
        world.client(FromClient::Heartbeat);
    }
    let told = world.ticks(Duration::from_secs(1));
    assert_eq!(told[0], Command::CloseWorker { worker: WorkerId(0) });
    assert_eq!(told[1], Command::ToClient { client: CLIENT, message: ToClient::Workers { workers: vec![] } });
    // What it says later is from a stranger.
    assert_eq!(world.finishes(0, 0), []);
}

#[test]
fn newcomers_are_introduced() {
    let mut world = World::new(&[]);
    let told = world.told(hello(Role::Worker { n_threads: 2, address: address(5), name: "five".into() }));
    let info = WorkerInfo { worker: WorkerId(0), name: "five".into(), address: address(5), n_threads: 2 };
    assert_eq!(
        told,
        [
            Command::Greet {
                connection: ConnectionId(9),
                greeting: Greeting::Worker { worker: WorkerId(0), heartbeat_ms: 1000 }
            },
            Command::ToClient { client: CLIENT, message: ToClient::Workers { workers: vec![info] } },
        ]
    );
}

#[test]
fn programs_that_do_not_fit_are_refused_with_the_reason() {
    let mut world = World::new(&[1]);
    let mut refused = |change: &dyn Fn(&mut Hello)| {
        let Event::Hello { connection, mut hello } =
            hello(Role::Worker { n_threads: 1, address: address(1), name: "w1".into() })
        else {
            unreachable!()
        };
        change(&mut hello);
        match &*world.told(Event::Hello { connection, hello }) {
            [Command::Greet { greeting: Greeting::Refused { reason }, .. }] => reason.clone(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(
        refused(&|hello| hello.functions[0].signature = "(f32) -> f32".into()),
        "the task inc is (f32) -> f32 in this program but (f64) -> f64 in others of the cluster; build both from one source"
    );
    assert!(
        refused(&|hello| hello.protocol = 99)
            .starts_with("it speaks protocol 99 (phalanx 1.0), this cluster protocol 1")
    );
    assert!(
        refused(&|hello| hello.instruction_set = "x86_64".into())
            .starts_with("its kernels use x86_64, those of worker w0 use")
    );
    assert!(refused(&|hello| hello.functions.reverse()).contains("not sorted by name"));
}

#[test]
fn a_task_that_no_worker_knows_fails_by_name() {
    let mut world = World::new(&[]);
    world.submits(graph(&[(SUM, &[])]), &[0]);
    let Event::Hello { connection, mut hello } =
        hello(Role::Worker { n_threads: 1, address: address(0), name: "w0".into() })
    else {
        unreachable!()
    };
    hello.functions.truncate(1);
    let told = world.told(Event::Hello { connection, hello });
    assert_eq!(told[1], failed(0, TaskError::UnknownFunction { function: "sum".into() }));
    // One that knows it comes: new tasks go there, however busy it is, and never to the other.
    world.joins(1, 1);
    let told = world.submits(graph(&[(SUM, &[]), (SUM, &[])]), &[0, 1]);
    assert_eq!(told, [compute_of(1, 1, 0, SUM, &[], vec![], (1, 0), true)]);
}

#[test]
fn a_malformed_submission_fails_and_changes_nothing() {
    let mut world = World::new(&[1]);
    let bad = [
        (0, graph(&[(FunctionId(7), &[])]), "it calls function-7 of a table of 2"),
        (0, graph(&[(INC, &[node(0)])]), "node 0 needs node 0, which is not before it"),
        (0, graph(&[(INC, &[ArgumentCode::Constant(0)])]), "node 0 names constant 0 of 0"),
        (0, graph(&[(INC, &[ArgumentCode::Task(task(5))])]), "it needs task-0.5, which this client does not hold"),
        (3, graph(&[(INC, &[])]), "its tasks count from 3, but 0 is the client's next"),
    ];
    for (first, graph, message) in bad {
        let told = world.client(FromClient::submit(first, graph, vec![0]));
        assert_eq!(told, [failed(first, TaskError::Malformed { message: message.into() })]);
    }
    let told = world.client(FromClient::submit(0, graph(&[(INC, &[])]), vec![1]));
    let message = "the wanted nodes are not nodes of the graph, each once".into();
    assert_eq!(told, [failed(1, TaskError::Malformed { message })]);
    assert_eq!(world.scheduler.n_tasks(), 0);
}

#[test]
fn late_doubled_and_strange_messages_change_nothing() {
    let mut world = World::new(&[1]);
    world.submits(pair(), &[1]);
    assert_eq!(world.finishes_after(0, 0, 7, 8, 1000), []); // an attempt that never was, of what runs there
    assert_eq!(world.finishes(0, 99), [dropped(0, &[99])]); // a task that never was
    world.finishes(0, 0);
    assert_eq!(world.finishes(0, 0), []); // said twice, rightly held
    assert_eq!(world.worker(0, FromWorker::Holds { tasks: vec![task(42)] }), [dropped(0, &[42])]);
    assert_eq!(world.worker(0, FromWorker::Missing { task: task(42), tried: vec![] }), []);
    assert_eq!(world.worker(7, FromWorker::Heartbeat), []);
    assert_eq!(world.client(release(&[0])), []); // never wanted
    assert_eq!(world.told(Event::WorkerLeft { worker: WorkerId(9) }), []);
    assert_eq!(world.told(Event::ClientLeft { client: ClientId(9) }), []);
}

#[test]
fn what_happens_is_written_down_when_asked_for() {
    let config = Config { record: Record::Tasks, ..Config::default() };
    let mut world = World { scheduler: Scheduler::new(config, Time::ZERO), now: Time::ZERO, submitted: 0 };
    world.told(hello(Role::Client));
    world.joins(0, 1);
    world.submits(pair(), &[1]);
    world.starts(0, 0, 0);
    world.now += Duration::from_millis(50);
    world.finishes(0, 0);
    world.leaves(0);
    let worker = WorkerId(0);
    let at = |ms, kind| Happened { time: Time::ZERO + Duration::from_millis(ms), kind };
    let started = Kind::TaskStarted { task: task(0), attempt: Attempt(0), worker };
    let (function, run_ns, n_bytes) = ("inc".into(), 50_000_000, 8);
    let finished = Kind::TaskFinished { task: task(0), attempt: Attempt(0), worker, function, run_ns, n_bytes };
    assert_eq!(
        world.scheduler.take_events(),
        [
            at(0, Kind::ClientJoined { client: CLIENT }),
            at(0, Kind::WorkerJoined { worker, name: "w0".into(), n_threads: 1 }),
            at(0, started),
            at(50, finished),
            at(50, Kind::WorkerLeft { worker, name: "w0".into(), n_tasks: 1, n_lost: 1 }),
        ]
    );
    assert_eq!(world.scheduler.take_events(), []);
}

#[test]
fn a_long_chain_is_lost_and_let_go_without_recursion() {
    let n = 200_000;
    let mut chain = graph(&[(INC, &[])]);
    for i in 1..n {
        chain.functions.push(INC);
        chain.arguments.push(node(i - 1));
        chain.ends.push(chain.arguments.len() as u32);
    }
    let mut scheduler = Scheduler::new(Config::default(), Time::ZERO);
    let mut out = Vec::new();
    scheduler.handle(Time::ZERO, hello(Role::Client), &mut out);
    let submit = FromClient::submit(0, chain, vec![n - 1]);
    scheduler.handle(Time::ZERO, Event::Client { client: CLIENT, message: submit }, &mut out);
    assert_eq!(scheduler.n_tasks(), n as usize);
    let released = Event::Client { client: CLIENT, message: release(&[u64::from(n) - 1]) };
    scheduler.handle(Time::ZERO, released, &mut out);
    assert_eq!(scheduler.n_tasks(), 0);
}
