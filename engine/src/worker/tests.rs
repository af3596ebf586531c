//! The worker machine as a specification: what it is told, and all that it answers, so silence is tested too.

mod fetch;
mod in_hand;
mod memory;
mod seceded;

use std::time::Duration;

use super::{Command, Config, Event, Reason, Run, StopReason, Worker};
use crate::{
    actor::ActorState,
    graph::ArgumentCode,
    id::{Attempt, ClientId, FunctionId, TaskId},
    message::{Address, Compute, Constants, Failure, FromWorker, Priority, Remote, ToWorker},
    time::Time,
    value::Value,
};

const INLINE: u64 = 8;

/// A worker, a clock, and short ways to say things.
struct World {
    worker: Worker,
    now: Time,
}

impl World {
    /// A worker of this many threads that asks two peers at a time.
    fn new(n_threads: u32) -> Self {
        let config = Config { n_threads, max_fetches: 2, inline_bytes: INLINE, ..Config::default() };
        Self { worker: Worker::new(config, own(), Time::ZERO), now: Time::ZERO }
    }

    fn told(&mut self, event: Event) -> Vec<Command> {
        let mut out = Vec::new();
        self.worker.handle(self.now, event, &mut out);
        self.worker.check_invariants();
        out
    }

    fn hears(&mut self, message: ToWorker) -> Vec<Command> {
        self.told(Event::Scheduler(message))
    }

    fn computes(&mut self, compute: Compute) -> Vec<Command> {
        self.hears(ToWorker::Compute(compute))
    }

    fn cancels(&mut self, sequence: u64, attempt: u32) -> Vec<Command> {
        self.hears(ToWorker::Cancel { task: task(sequence), attempt: Attempt(attempt) })
    }

    fn drops(&mut self, sequences: &[u64]) -> Vec<Command> {
        self.hears(ToWorker::Drop { tasks: tasks(sequences) })
    }

    fn locates(&mut self, sequence: u64, holders: &[u32]) -> Vec<Command> {
        self.hears(ToWorker::Located { task: task(sequence), holders: peers(holders) })
    }

    fn ran(&mut self, sequence: u64, attempt: u32) -> Vec<Command> {
        self.returned(sequence, attempt, Ok(value(sequence)))
    }

    fn returned(&mut self, sequence: u64, attempt: u32, outcome: Result<Value, Failure>) -> Vec<Command> {
        self.told(Event::Ran { task: task(sequence), attempt: Attempt(attempt), run_ns: 5, outcome })
    }

    fn fetched(&mut self, from: u32, sequence: u64) -> Vec<Command> {
        self.told(Event::Fetched { peer: peer(from), task: task(sequence), value: value(sequence) })
    }

    fn not_there(&mut self, from: u32, sequence: u64) -> Vec<Command> {
        self.told(Event::NotThere { peer: peer(from), task: task(sequence) })
    }

    fn loses(&mut self, number: u32) -> Vec<Command> {
        self.told(Event::PeerLost { peer: peer(number) })
    }

    fn ticks(&mut self, after: Duration) -> Vec<Command> {
        self.now += after;
        self.told(Event::Tick)
    }

    /// Waits while the scheduler is well.
    fn waits(&mut self, seconds: u64) -> Vec<Command> {
        let mut out = Vec::new();
        for _ in 0..seconds {
            assert_eq!(self.hears(ToWorker::Heartbeat), []);
            out.extend(self.ticks(Duration::from_secs(1)));
        }
        out.retain(|command| *command != heartbeat());
        out
    }

    /// Has computed a task without inputs.
    fn having(mut self, sequence: u64) -> Self {
        self.computes(compute(sequence, 0, &[]));
        self.ran(sequence, 0);
        self
    }
}

const fn task(sequence: u64) -> TaskId {
    TaskId::new(ClientId(0), sequence)
}

fn tasks(sequences: &[u64]) -> Vec<TaskId> {
    sequences.iter().map(|sequence| task(*sequence)).collect()
}

fn own() -> Address {
    Address("tcp://own".into())
}

fn peer(number: u32) -> Address {
    Address(format!("tcp://w{number}").into())
}

fn peers(numbers: &[u32]) -> Vec<Address> {
    numbers.iter().map(|number| peer(*number)).collect()
}

fn value(sequence: u64) -> Value {
    Value::new(sequence)
}

/// An attempt at a task, with its inputs and who has them; an input that nobody has is one that should be here.
fn compute(sequence: u64, attempt: u32, inputs: &[(u64, &[u32])]) -> Compute {
    let elsewhere = inputs.iter().filter(|(_, holders)| !holders.is_empty());
    Compute {
        task: task(sequence),
        attempt: Attempt(attempt),
        function: FunctionId(3),
        priority: Priority { user: 0, submission: 0, node: sequence as u32, ..Priority::default() },
        wanted: false,
        arguments: inputs.iter().map(|(input, _)| ArgumentCode::Task(task(*input))).collect(),
        fetch: elsewhere.map(|(i, h)| Remote { task: task(*i), n_bytes: 8, holders: peers(h) }).collect(),
        constants: Constants::new(),
        n_constants: 0,
        gang: None,
        expected_bytes: 0,
    }
}

fn urgent(mut compute: Compute) -> Compute {
    compute.priority.user = -1;
    compute
}

fn wanted(mut compute: Compute) -> Compute {
    compute.wanted = true;
    compute
}

fn started(sequence: u64, attempt: u32) -> Command {
    Command::ToScheduler(FromWorker::Started { task: task(sequence), attempt: Attempt(attempt) })
}

fn run(sequence: u64, attempt: u32, inputs: &[u64]) -> Command {
    let arguments = inputs.iter().map(|input| ArgumentCode::Task(task(*input))).collect();
    let (task, attempt) = (task(sequence), Attempt(attempt));
    Command::Run(Run { task, attempt, function: FunctionId(3), arguments, constants: Constants::new(), gang: None })
}

fn store(sequence: u64) -> Command {
    Command::Store { task: task(sequence), value: value(sequence) }
}

fn finished(sequence: u64, attempt: u32) -> Command {
    Command::ToScheduler(FromWorker::finished(task(sequence), Attempt(attempt), 8, 5, None))
}

fn failed(sequence: u64, attempt: u32, failure: Failure) -> Command {
    Command::ToScheduler(FromWorker::Failed { task: task(sequence), attempt: Attempt(attempt), failure })
}

fn fetch(from: u32, sequences: &[u64]) -> Command {
    Command::Fetch { peer: peer(from), tasks: tasks(sequences) }
}

fn holds(sequence: u64) -> Command {
    Command::ToScheduler(FromWorker::Holds { tasks: vec![task(sequence)] })
}

fn missing(sequence: u64, tried: Vec<Address>) -> Command {
    Command::ToScheduler(FromWorker::Missing { task: task(sequence), tried })
}

fn dropped(sequences: &[u64]) -> Command {
    Command::Drop { tasks: tasks(sequences) }
}

fn heartbeat() -> Command {
    Command::ToScheduler(FromWorker::Heartbeat)
}

fn error() -> Failure {
    Failure::Error("no".into())
}

// What runs, and in which order.

#[test]
fn a_task_without_inputs_runs_at_once_and_its_result_is_kept() {
    let mut world = World::new(1);
    assert_eq!(world.computes(compute(0, 0, &[])), [started(0, 0), run(0, 0, &[])]);
    assert_eq!(world.ran(0, 0), [store(0), finished(0, 0)]);
    assert_eq!((world.worker.n_held(), world.worker.n_running(), world.worker.n_waiting()), (1, 0, 0));
}

#[test]
fn a_small_result_that_is_waited_for_comes_along() {
    let mut world = World::new(1);
    let answer = |value: &Value, inline: bool| {
        let inline = inline.then(|| value.clone());
        Command::ToScheduler(FromWorker::finished(task(0), Attempt(0), value.n_bytes(), 5, inline))
    };
    for (value, is_wanted, inline) in
        [(Value::new(7_u64), true, true), (Value::new(7_u64), false, false), (Value::new([7_u64; 2]), true, false)]
    {
        world.drops(&[0]);
        world.computes(if is_wanted { wanted(compute(0, 0, &[])) } else { compute(0, 0, &[]) });
        let kept = Command::Store { task: task(0), value: value.clone() };
        assert_eq!(world.returned(0, 0, Ok(value.clone())), [kept, answer(&value, inline)]);
    }
}

#[test]
fn a_failure_is_told_and_frees_the_thread() {
    let mut world = World::new(1);
    world.computes(compute(0, 0, &[]));
    assert_eq!(world.computes(compute(1, 0, &[])), []);
    let panic = Failure::Panic("index".into());
    assert_eq!(world.returned(0, 0, Err(panic.clone())), [failed(0, 0, panic), started(1, 0), run(1, 0, &[])]);
    assert_eq!(world.returned(1, 0, Err(error())), [failed(1, 0, error())]);
    assert_eq!(world.worker.n_held(), 0);
}

#[test]
fn as_many_run_as_there_are_threads_and_the_most_urgent_is_next() {
    let mut world = World::new(2);
    world.computes(compute(0, 0, &[]));
    assert_eq!(world.computes(compute(1, 0, &[])), [started(1, 0), run(1, 0, &[])]);
    for waiting in [compute(5, 0, &[]), compute(3, 0, &[]), urgent(compute(9, 0, &[]))] {
        assert_eq!(world.computes(waiting), []);
    }
    assert_eq!(world.ran(0, 0), [store(0), finished(0, 0), started(9, 0), run(9, 0, &[])]);
    assert_eq!(world.ran(1, 0), [store(1), finished(1, 0), started(3, 0), run(3, 0, &[])]);
    assert_eq!(world.ran(3, 0), [store(3), finished(3, 0), started(5, 0), run(5, 0, &[])]);
}

#[test]
fn among_equals_the_first_to_arrive_runs_first() {
    let mut world = World::new(1);
    world.computes(compute(0, 0, &[]));
    let same = Priority::default();
    for sequence in [7, 2, 4] {
        world.computes(Compute { priority: same, ..compute(sequence, 0, &[]) });
    }
    assert_eq!(world.ran(0, 0)[2..], [started(7, 0), run(7, 0, &[])]);
    assert_eq!(world.ran(7, 0)[2..], [started(2, 0), run(2, 0, &[])]);
}

#[test]
fn an_attempt_that_is_told_twice_runs_once() {
    let mut world = World::new(2);
    world.computes(compute(0, 0, &[]));
    assert_eq!(world.computes(compute(0, 0, &[])), []);
    world.ran(0, 0);
    assert_eq!(world.ran(0, 0), []);
}

// From whom inputs come.

#[test]
fn inputs_are_fetched_and_announced_before_the_task_runs() {
    let mut world = World::new(1);
    assert_eq!(world.computes(compute(2, 0, &[(0, &[1]), (1, &[1])])), [fetch(1, &[0, 1])]);
    assert_eq!(world.fetched(1, 1), [store(1), holds(1)]);
    assert_eq!(world.fetched(1, 0), [store(0), holds(0), started(2, 0), run(2, 0, &[0, 1])]);
}

#[test]
fn what_is_here_is_not_fetched() {
    let mut world = World::new(1).having(0);
    assert_eq!(world.computes(compute(1, 0, &[(0, &[1])])), [started(1, 0), run(1, 0, &[0])]);
}

#[test]
fn an_input_of_several_tasks_is_fetched_once() {
    let mut world = World::new(2);
    assert_eq!(world.computes(compute(1, 0, &[(0, &[1])])), [fetch(1, &[0])]);
    assert_eq!(world.computes(compute(2, 0, &[(0, &[1, 2])])), []);
    let both = [store(0), holds(0), started(1, 0), run(1, 0, &[0]), started(2, 0), run(2, 0, &[0])];
    assert_eq!(world.fetched(1, 0), both);
}

#[test]
fn a_peer_owes_one_request_at_a_time_and_the_next_takes_all_that_waits() {
    let mut world = World::new(1);
    assert_eq!(world.computes(compute(10, 0, &[(0, &[1])])), [fetch(1, &[0])]);
    assert_eq!(world.computes(compute(12, 0, &[(2, &[1])])), []);
    assert_eq!(world.computes(compute(11, 0, &[(1, &[1])])), []);
    // The inputs of what should run sooner are asked for first.
    let answer = [store(0), holds(0), started(10, 0), run(10, 0, &[0]), fetch(1, &[1, 2])];
    assert_eq!(world.fetched(1, 0), answer);
}

#[test]
fn an_idle_holder_is_asked_before_a_busy_one() {
    let mut world = World::new(1);
    world.computes(compute(10, 0, &[(0, &[1])]));
    assert_eq!(world.computes(compute(11, 0, &[(1, &[1, 2])])), [fetch(2, &[1])]);
}

#[test]
fn a_new_holder_is_asked_while_the_others_are_busy() {
    let mut world = World::new(1);
    world.computes(compute(10, 0, &[(0, &[1])]));
    assert_eq!(world.computes(compute(11, 0, &[(1, &[1])])), []);
    assert_eq!(world.locates(1, &[2]), [fetch(2, &[1])]);
}

#[test]
fn several_holders_share_what_is_asked() {
    let mut world = World::new(1);
    let inputs: Vec<(u64, &[u32])> = (0..8).map(|input| (input, &[1, 2][..])).collect();
    let told = world.computes(compute(10, 0, &inputs));
    let [Command::Fetch { tasks: one, .. }, Command::Fetch { tasks: two, .. }] = &*told else { panic!("{told:?}") };
    assert_eq!((one.len(), two.len()), (4, 4));
}

#[test]
fn so_many_peers_are_asked_at_once_and_the_most_urgent_comes_next() {
    let mut world = World::new(1);
    world.computes(compute(10, 0, &[(0, &[1]), (1, &[2])]));
    assert_eq!(world.computes(compute(11, 0, &[(2, &[3])])), []);
    assert_eq!(world.computes(urgent(compute(12, 0, &[(3, &[4])]))), []);
    assert_eq!(world.fetched(1, 0), [store(0), holds(0), fetch(4, &[3])]);
    assert_eq!(world.not_there(2, 1), [fetch(3, &[2]), missing(1, peers(&[2]))]);
}

#[test]
fn a_task_becomes_as_urgent_as_the_most_urgent_that_needs_it() {
    let mut world = World::new(1);
    world.computes(compute(10, 0, &[(0, &[1])]));
    world.computes(compute(11, 0, &[(1, &[1])]));
    world.computes(compute(12, 0, &[(2, &[1])]));
    world.computes(urgent(compute(13, 0, &[(2, &[1])])));
    assert_eq!(world.fetched(1, 0).last(), Some(&fetch(1, &[2, 1])));
}

#[test]
fn every_holder_is_tried_and_then_the_scheduler_is_asked_once() {
    let mut world = World::new(1);
    let told = world.computes(compute(10, 0, &[(0, &[1, 2])]));
    let [Command::Fetch { peer: first, .. }] = &*told else { panic!("{told:?}") };
    let (first, second) = if *first == peer(1) { (1, 2) } else { (2, 1) };
    assert_eq!(world.not_there(first, 0), [fetch(second, &[0])]);
    assert_eq!(world.not_there(second, 0), [missing(0, peers(&[1, 2]))]);
    assert_eq!(
        world.computes(compute(11, 0, &[(0, &[])])),
        [missing(0, [own()].into_iter().chain(peers(&[1, 2])).collect())]
    );
    assert_eq!(world.locates(0, &[]), []);
    assert_eq!(world.locates(0, &[1]), [fetch(1, &[0])]);
    assert_eq!(world.fetched(1, 0), [store(0), holds(0), started(10, 0), run(10, 0, &[0])]);
}

#[test]
fn a_lost_peer_is_asked_for_nothing_more() {
    let mut world = World::new(1);
    world.computes(compute(10, 0, &[(0, &[1]), (1, &[1])]));
    world.computes(compute(11, 0, &[(2, &[1])]));
    assert_eq!(world.loses(1), [missing(0, peers(&[1])), missing(1, peers(&[1])), missing(2, peers(&[1]))]);
    assert_eq!(world.loses(1), []);
    assert_eq!(world.locates(0, &[2]), [fetch(2, &[0])]);
    assert_eq!(world.fetched(1, 1), [store(1), holds(1)], "what comes late is welcome where it is still missing");
}

#[test]
fn a_silent_peer_is_closed_and_another_is_asked() {
    let mut world = World::new(1);
    let told = world.computes(compute(10, 0, &[(0, &[1, 2])]));
    let [Command::Fetch { peer: silent, .. }] = &*told else { panic!("{told:?}") };
    let (silent, other) = if *silent == peer(1) { (1, 2) } else { (2, 1) };
    assert_eq!(world.waits(9), []);
    assert_eq!(world.waits(1), [Command::Close { peer: peer(silent) }, fetch(other, &[0])]);
    assert_eq!(world.fetched(other, 0), [store(0), holds(0), started(10, 0), run(10, 0, &[0])]);
    assert_eq!(world.fetched(silent, 0), [], "and its late answer is not stored again");
}

#[test]
fn a_peer_that_sends_something_is_not_silent() {
    let mut world = World::new(1);
    world.computes(compute(10, 0, &[(0, &[1]), (1, &[1])]));
    world.waits(9);
    world.fetched(1, 0);
    assert_eq!(world.waits(9), []);
    assert_eq!(world.waits(1), [Command::Close { peer: peer(1) }, missing(1, peers(&[1]))]);
}

#[test]
fn a_peer_in_the_middle_of_a_large_result_is_not_silent() {
    let mut world = World::new(1);
    world.computes(compute(10, 0, &[(0, &[1])]));
    for _ in 0..5 {
        assert_eq!(world.waits(9), []);
        assert_eq!(world.told(Event::PeerSending { peer: peer(1) }), []);
    }
    assert_eq!(world.told(Event::PeerSending { peer: peer(2) }), [], "one that was asked for nothing may say so too");
    assert_eq!(world.waits(10), [Command::Close { peer: peer(1) }, missing(0, peers(&[1]))]);
}

#[test]
fn an_input_that_should_be_here_and_is_not_is_told() {
    let mut world = World::new(1);
    assert_eq!(world.computes(compute(10, 0, &[(0, &[])])), [missing(0, vec![own()])]);
    let mut located = ToWorker::Located { task: task(0), holders: vec![own()] };
    assert_eq!(world.hears(located.clone()), [missing(0, vec![own()])]);
    if let ToWorker::Located { holders, .. } = &mut located {
        holders.push(peer(1));
    }
    assert_eq!(world.hears(located), [fetch(1, &[0])]);
}

#[test]
fn a_result_that_is_made_here_meanwhile_need_not_be_fetched() {
    let mut world = World::new(1);
    world.computes(compute(1, 0, &[(0, &[1])]));
    world.computes(compute(0, 1, &[]));
    assert_eq!(world.ran(0, 1), [store(0), finished(0, 1), started(1, 0), run(1, 0, &[0])]);
    assert_eq!(world.fetched(1, 0), []);
}

// Attempts that are cancelled.

#[test]
fn what_was_fetched_for_a_cancelled_attempt_is_not_kept() {
    let mut world = World::new(1);
    world.computes(compute(1, 0, &[(0, &[1])]));
    assert_eq!(world.cancels(1, 0), []);
    assert_eq!(world.fetched(1, 0), []);
    assert_eq!((world.worker.n_held(), world.worker.n_waiting()), (0, 0));
}

#[test]
fn an_input_that_is_wanted_again_while_it_is_under_way_is_not_fetched_again() {
    let mut world = World::new(1);
    world.computes(compute(1, 0, &[(0, &[1])]));
    world.cancels(1, 0);
    assert_eq!(world.computes(compute(1, 1, &[(0, &[2])])), []);
    assert_eq!(world.fetched(1, 0), [store(0), holds(0), started(1, 1), run(1, 1, &[0])]);
}

#[test]
fn an_input_under_way_for_nobody_that_is_not_there_is_fetched_elsewhere_for_the_next() {
    let mut world = World::new(1);
    world.computes(compute(1, 0, &[(0, &[1])]));
    world.cancels(1, 0);
    world.computes(compute(2, 0, &[(0, &[2])]));
    assert_eq!(world.not_there(1, 0), [fetch(2, &[0])]);
    world.cancels(2, 0);
    assert_eq!(world.not_there(2, 0), []);
}

#[test]
fn a_cancelled_attempt_leaves_the_queue_of_a_busy_peer() {
    let mut world = World::new(1);
    world.computes(compute(10, 0, &[(0, &[1])]));
    world.computes(compute(11, 0, &[(1, &[1])]));
    world.cancels(11, 0);
    assert_eq!(world.fetched(1, 0), [store(0), holds(0), started(10, 0), run(10, 0, &[0])]);
}

#[test]
fn a_ready_attempt_that_is_cancelled_never_runs() {
    let mut world = World::new(1);
    world.computes(compute(0, 0, &[]));
    world.computes(compute(1, 0, &[]));
    assert_eq!(world.cancels(1, 0), []);
    assert_eq!(world.ran(0, 0), [store(0), finished(0, 0)]);
}

#[test]
fn a_running_attempt_that_is_cancelled_keeps_its_thread_and_says_nothing() {
    let mut world = World::new(1);
    world.computes(compute(0, 0, &[]));
    assert_eq!(world.cancels(0, 0), []);
    assert_eq!(world.computes(compute(1, 0, &[])), []);
    assert_eq!(world.ran(0, 0), [started(1, 0), run(1, 0, &[])]);
    world.cancels(1, 0);
    assert_eq!(world.returned(1, 0, Err(error())), []);
    assert_eq!((world.worker.n_held(), world.worker.n_running()), (0, 0));
}

#[test]
fn the_end_of_an_attempt_is_said_to_who_waits_for_it_and_when_it_is_there() {
    let mut world = World::new(1);
    let await_end = |sequence| Event::Scheduler(ToWorker::AwaitEnd { task: task(sequence), attempt: Attempt(0) });
    let ended = |sequence| Command::ToScheduler(FromWorker::Ended { task: task(sequence), attempt: Attempt(0) });
    world.computes(compute(0, 0, &[]));
    world.computes(compute(1, 0, &[]));
    world.cancels(0, 0);
    world.cancels(1, 0);
    assert_eq!(world.told(await_end(1)), [ended(1)], "it never ran");
    assert_eq!(world.told(await_end(0)), []);
    assert_eq!(world.ran(0, 0), [ended(0)]);
    assert_eq!(world.told(await_end(0)), [ended(0)], "it has ended already");
}

#[test]
fn a_second_attempt_lives_beside_a_cancelled_first_one() {
    for first_ends_first in [true, false] {
        let mut world = World::new(2);
        world.computes(compute(0, 0, &[]));
        world.cancels(0, 0);
        assert_eq!(world.computes(compute(0, 1, &[])), [started(0, 1), run(0, 1, &[])]);
        if first_ends_first {
            assert_eq!(world.returned(0, 0, Ok(Value::new(666_u64))), []);
            assert_eq!(world.ran(0, 1), [store(0), finished(0, 1)]);
        } else {
            assert_eq!(world.ran(0, 1), [store(0), finished(0, 1)]);
            assert_eq!(world.returned(0, 0, Ok(Value::new(666_u64))), [], "it shadows nothing");
        }
        assert_eq!((world.worker.n_held(), world.worker.n_running()), (1, 0));
    }
}

#[test]
fn the_first_value_of_a_task_stays_its_value() {
    let mut world = World::new(2).having(0);
    let here = Command::ToScheduler(FromWorker::finished(task(0), Attempt(1), 8, 0, None));
    assert_eq!(world.computes(compute(0, 1, &[])), [here]);
    // A copy may also come while the task runs here, as an input of another; then even a failure does not matter.
    world.computes(compute(1, 0, &[]));
    world.computes(compute(2, 0, &[(1, &[1])]));
    assert_eq!(world.fetched(1, 1), [store(1), holds(1), started(2, 0), run(2, 0, &[1])]);
    assert_eq!(world.returned(1, 0, Err(error())), [finished(1, 0)]);
}

// What is forgotten.

#[test]
fn a_dropped_result_leaves_the_store_once() {
    let mut world = World::new(1).having(0).having(1);
    assert_eq!(world.drops(&[0, 7, 1]), [dropped(&[0, 1])]);
    assert_eq!(world.drops(&[0, 1]), []);
    assert_eq!(world.worker.n_held(), 0);
}

#[test]
fn an_attempt_whose_input_is_dropped_waits_for_it_again() {
    let mut world = World::new(1).having(0);
    world.computes(compute(1, 0, &[]));
    assert_eq!(world.computes(compute(2, 0, &[(0, &[]), (5, &[3])])), [fetch(3, &[5])], "still fetching");
    assert_eq!(world.computes(compute(3, 0, &[(0, &[])])), [], "ready");
    assert_eq!(world.drops(&[0]), [dropped(&[0]), missing(0, vec![own()])]);
    assert_eq!(world.ran(1, 0), [store(1), finished(1, 0)], "nothing runs without its input");
    assert_eq!(world.locates(0, &[2]), [fetch(2, &[0])]);
    assert_eq!(world.fetched(2, 0), [store(0), holds(0), started(3, 0), run(3, 0, &[0])]);
}

#[test]
fn a_running_attempt_keeps_the_inputs_it_has_taken() {
    let mut world = World::new(1).having(0);
    world.computes(compute(1, 0, &[(0, &[])]));
    assert_eq!(world.drops(&[0]), [dropped(&[0])]);
    assert_eq!(world.ran(1, 0), [store(1), finished(1, 0)]);
}

#[test]
fn what_is_late_doubled_or_unknown_changes_nothing() {
    let mut world = World::new(1);
    assert_eq!(world.ran(0, 0), []);
    assert_eq!(world.fetched(1, 0), []);
    assert_eq!(world.not_there(1, 0), []);
    assert_eq!(world.loses(1), []);
    assert_eq!(world.locates(0, &[1]), []);
    assert_eq!(world.cancels(0, 0), []);
    assert_eq!(world.drops(&[0]), []);
    world.computes(compute(1, 0, &[(0, &[1])]));
    assert_eq!(world.not_there(2, 0), [], "it was asked of another");
    world.cancels(1, 0);
    assert_eq!(world.cancels(1, 0), []);
}

// Time.

#[test]
fn it_speaks_at_every_heartbeat() {
    let mut world = World::new(1);
    assert_eq!(world.worker.deadline(), Some((Time::ZERO + Duration::from_secs(1), Reason::Heartbeat)));
    assert_eq!(world.ticks(Duration::from_millis(999)), []);
    assert_eq!(world.ticks(Duration::from_millis(1)), [heartbeat()]);
    assert_eq!(world.worker.deadline(), Some((Time::ZERO + Duration::from_secs(2), Reason::Heartbeat)));
}

#[test]
fn it_gives_up_a_scheduler_that_is_silent_for_thirty_heartbeats() {
    let mut world = World::new(1);
    world.computes(compute(0, 0, &[]));
    for _ in 0..29 {
        assert_eq!(world.ticks(Duration::from_secs(1)), [heartbeat()]);
    }
    assert_eq!(
        world.ticks(Duration::from_secs(1)),
        [Command::Stop { reason: StopReason::SchedulerSilent(Duration::from_secs(30)) }]
    );
    assert_eq!(world.worker.deadline(), None);
    assert_eq!(world.ran(0, 0), [store(0)], "what it had begun is kept for whoever is scheduler next");
}

#[test]
fn it_stops_when_told() {
    let mut world = World::new(1);
    world.computes(compute(0, 0, &[]));
    assert_eq!(world.hears(ToWorker::Shutdown), [Command::Stop { reason: StopReason::Told }]);
    assert_eq!(world.computes(compute(1, 0, &[])), []);
}

#[test]
fn the_deadline_names_whom_it_waits_for() {
    let config = Config { peer_silence: Duration::from_millis(100), ..Config::default() };
    let mut world = World { worker: Worker::new(config, own(), Time::ZERO), now: Time::ZERO };
    world.computes(compute(1, 0, &[(0, &[4])]));
    let at = Time::ZERO + Duration::from_millis(100);
    assert_eq!(world.worker.deadline(), Some((at, Reason::PeerSilent(peer(4)))));
    let config = Config { heartbeat: Duration::from_secs(60), ..Config::default() };
    let silent = Worker::new(config, own(), Time::ZERO);
    assert_eq!(silent.deadline(), Some((Time::ZERO + Duration::from_secs(30), Reason::SchedulerSilent)));
}

fn announce(results: &[(u64, u64)], running: &[(u64, u32)]) -> Command {
    Command::ToScheduler(FromWorker::Announce {
        results: results.iter().map(|(sequence, n_bytes)| (task(*sequence), *n_bytes)).collect(),
        running: running.iter().map(|(sequence, attempt)| (task(*sequence), Attempt(*attempt))).collect(),
        more: false,
    })
}

#[test]
fn without_a_scheduler_it_keeps_what_it_holds_and_finishes_what_it_runs() {
    let mut world = World::new(3);
    for sequence in 0..3 {
        world.computes(compute(sequence, 0, &[]));
    }
    world.computes(compute(3, 0, &[]));
    world.computes(compute(10, 0, &[(0, &[1])]));
    world.cancels(2, 0);
    assert_eq!(world.told(Event::SchedulerLost { keeps_running: true }), []);
    assert_eq!((world.worker.n_running(), world.worker.n_waiting()), (3, 0));
    assert_eq!(world.ran(0, 0), [store(0)]);
    assert_eq!(world.ran(2, 0), [], "nobody wants what was cancelled");
    assert_eq!(world.ticks(Duration::from_secs(8)), [], "there is nobody to tell that it is here");
    let n_bytes = value(0).n_bytes();
    assert_eq!(world.told(Event::SchedulerBack), [announce(&[(0, n_bytes)], &[(1, 0)])]);
    assert_eq!(world.drops(&[0]), [Command::Drop { tasks: tasks(&[0]) }]);
    let told = world.ran(1, 0);
    assert!(
        matches!(&told[..], [Command::Store { .. }, Command::ToScheduler(FromWorker::Finished { .. })]),
        "{told:?}"
    );
    assert_eq!(world.ticks(Duration::from_secs(1)), [heartbeat()]);
}

#[test]
fn what_was_cancelled_and_is_sent_again_under_its_number_goes_on() {
    let mut world = World::new(1);
    world.computes(compute(0, 0, &[]));
    world.cancels(0, 0);
    world.told(Event::SchedulerLost { keeps_running: true });
    assert_eq!(world.told(Event::SchedulerBack), [announce(&[], &[])]);
    assert_eq!(world.computes(compute(0, 0, &[])), [started(0, 0)]);
    assert_eq!(world.ran(0, 0)[0], store(0));
}

#[test]
fn an_actor_that_a_call_was_changing_for_nobody_is_given_up() {
    let actor = || Value::new(ActorState::new(1_u64));
    let mut world = World::new(2);
    for sequence in 0..2 {
        world.computes(compute(sequence, 0, &[]));
        let told = world.returned(sequence, 0, Ok(actor()));
        let finished = FromWorker::finished(task(sequence), Attempt(0), 8, 5, None);
        assert_eq!(told[1..], [Command::ToScheduler(finished)], "it is never sent along");
    }
    world.computes(compute(2, 0, &[(0, &[])]));
    assert_eq!(world.told(Event::SchedulerLost { keeps_running: false }), [Command::Drop { tasks: tasks(&[0]) }]);
    assert_eq!(world.told(Event::SchedulerBack), [announce(&[(1, 8)], &[])]);
}
