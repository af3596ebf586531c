//! The client machine as a specification: what it is told, and all that it answers, so silence is tested too.

mod sharing;

use std::time::Duration;

use super::{Client, Command, Config, Event, Reason, Trouble};
use crate::{
    graph::{ArgumentCode, Graph},
    id::{ClientId, FunctionId, TaskId, WorkerId},
    message::{Address, FromClient, ToClient, WaitReason, WorkerInfo},
    task::TaskError,
    time::Time,
    value::Value,
};

/// A client, a clock, and short ways to say things.
struct World {
    client: Client,
    now: Time,
}

impl World {
    fn new() -> Self {
        Self { client: Client::new(ClientId(7), Config::default(), Time::ZERO), now: Time::ZERO }
    }

    /// With so many tasks submitted, all of them held.
    fn holding(n_tasks: u32) -> Self {
        let mut world = Self::new();
        world.told(Event::Submit { graph: graph(n_tasks), wanted: (0..n_tasks).collect(), parent: None });
        world
    }

    fn told(&mut self, event: Event) -> Vec<Command> {
        let mut out = Vec::new();
        self.client.handle(self.now, event, &mut out);
        self.client.check_invariants();
        out
    }

    fn hears(&mut self, message: ToClient) -> Vec<Command> {
        self.told(Event::Scheduler(message))
    }

    fn gathers(&mut self, sequence: u64, ticket: u64) -> Vec<Command> {
        self.told(Event::Gather { task: task(sequence), ticket })
    }

    fn awaits(&mut self, sequence: u64, ticket: u64) -> Vec<Command> {
        self.told(Event::Await { task: task(sequence), ticket })
    }

    fn releases(&mut self, sequence: u64) -> Vec<Command> {
        self.told(Event::Release { task: task(sequence) })
    }

    fn forgets(&mut self, ticket: u64) -> Vec<Command> {
        self.told(Event::Forget { ticket })
    }

    /// The scheduler says that a result is there, and who has it.
    fn finished(&mut self, sequence: u64, holders: &[u32]) -> Vec<Command> {
        self.hears(ToClient::finished(task(sequence), 8, peers(holders), None))
    }

    /// The scheduler sends a small result along.
    fn sent(&mut self, sequence: u64) -> Vec<Command> {
        self.hears(ToClient::finished(task(sequence), 8, peers(&[1]), Some(value(sequence))))
    }

    fn failed(&mut self, sequence: u64, error: TaskError) -> Vec<Command> {
        self.hears(ToClient::Failed { task: task(sequence), error })
    }

    fn fetched(&mut self, from: u32, sequence: u64) -> Vec<Command> {
        self.told(Event::Fetched { peer: peer(from), task: task(sequence), value: value(sequence) })
    }

    fn not_there(&mut self, from: u32, sequence: u64) -> Vec<Command> {
        self.told(Event::NotThere { peer: peer(from), task: task(sequence) })
    }

    fn ticks(&mut self, after: Duration) -> Vec<Command> {
        self.now += after;
        self.told(Event::Tick)
    }

    /// Waits while the scheduler is well.
    fn waits(&mut self, seconds: u64) -> Vec<Command> {
        let mut out = Vec::new();
        for _ in 0..seconds {
            assert_eq!(self.hears(ToClient::Heartbeat), []);
            out.extend(self.ticks(Duration::from_secs(1)));
        }
        out.retain(|command| *command != Command::ToScheduler(FromClient::Heartbeat));
        out
    }
}

const fn task(sequence: u64) -> TaskId {
    TaskId::new(ClientId(7), sequence)
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

fn graph(n_nodes: u32) -> Graph {
    let n_nodes = n_nodes as usize;
    Graph { functions: vec![FunctionId(0); n_nodes], ends: vec![0; n_nodes], ..Graph::default() }
}

fn deliver(ticket: u64, sequence: u64) -> Command {
    Command::Deliver { ticket, value: value(sequence) }
}

const fn done(ticket: u64) -> Command {
    Command::Done { ticket }
}

const fn fail(ticket: u64, trouble: Trouble) -> Command {
    Command::Fail { ticket, trouble }
}

fn fetch(from: u32, sequences: &[u64]) -> Command {
    Command::Fetch { peer: peer(from), tasks: sequences.iter().map(|sequence| task(*sequence)).collect() }
}

fn locate(sequence: u64, tried: &[u32]) -> Command {
    Command::ToScheduler(FromClient::Locate { task: task(sequence), tried: peers(tried) })
}

fn released(sequence: u64) -> Command {
    Command::ToScheduler(FromClient::Release { tasks: vec![task(sequence)] })
}

const fn not_held(sequence: u64) -> Trouble {
    Trouble::NotHeld { task: task(sequence) }
}

// What is submitted and held.

#[test]
fn submissions_count_up_without_gaps() {
    let mut world = World::new();
    for (first, n_nodes) in [(0, 3), (3, 1), (4, 2)] {
        assert_eq!(world.client.first_of_next(), first);
        let submitted = FromClient::submit(first, graph(n_nodes), vec![n_nodes - 1]);
        let event = Event::Submit { graph: graph(n_nodes), wanted: vec![n_nodes - 1], parent: None };
        assert_eq!(world.told(event), [Command::ToScheduler(submitted)]);
    }
    assert_eq!(world.client.n_held(), 3);
}

#[test]
fn only_what_is_held_can_be_asked_for() {
    let mut world = World::new();
    world.told(Event::Submit { graph: graph(2), wanted: vec![1], parent: None });
    assert_eq!(world.gathers(0, 1), [fail(1, Trouble::NotHeld { task: task(0) })]);
    assert_eq!(world.awaits(9, 2), [fail(2, not_held(9))]);
    assert_eq!(world.releases(1), [released(1)]);
    assert_eq!(world.gathers(1, 3), [fail(3, not_held(1))]);
    assert_eq!(world.releases(1), [], "once released is released");
}

#[test]
fn a_handle_may_go_before_the_answer_comes() {
    let mut world = World::holding(1);
    world.gathers(0, 1);
    world.awaits(0, 2);
    assert_eq!(world.releases(0), []);
    assert_eq!(world.gathers(0, 3), [fail(3, not_held(0))]);
    assert_eq!(world.finished(0, &[1]), [done(2), fetch(1, &[0])]);
    assert_eq!(world.fetched(1, 0), [deliver(1, 0), released(0)]);
    assert_eq!((world.client.n_held(), world.client.n_open()), (0, 0));
}

// How values come.

#[test]
fn a_small_value_comes_along_and_stays_while_it_is_held() {
    let mut world = World::holding(1);
    assert_eq!(world.gathers(0, 1), []);
    assert_eq!(world.sent(0), [deliver(1, 0)]);
    assert_eq!(world.gathers(0, 2), [deliver(2, 0)]);
    assert_eq!(world.finished(0, &[2]), [], "it is made again elsewhere");
    assert_eq!(world.gathers(0, 3), [deliver(3, 0)], "which is no reason to fetch it");
    assert_eq!(world.releases(0), [released(0)]);
}

#[test]
fn a_larger_value_is_fetched_once_for_all_who_ask() {
    let mut world = World::holding(1);
    world.gathers(0, 1);
    assert_eq!(world.finished(0, &[1]), [fetch(1, &[0])]);
    assert_eq!(world.gathers(0, 2), []);
    assert_eq!(world.fetched(1, 0), [deliver(1, 0), deliver(2, 0)]);
    assert_eq!(world.gathers(0, 3), [fetch(1, &[0])], "larger values are not kept");
}

#[test]
fn values_are_asked_for_in_one_request_a_worker() {
    let mut world = World::holding(3);
    for sequence in 0..3 {
        world.finished(sequence, &[1]);
    }
    assert_eq!(world.gathers(2, 1), [fetch(1, &[2])]);
    assert_eq!(world.gathers(1, 2), []);
    assert_eq!(world.gathers(0, 3), []);
    assert_eq!(world.fetched(1, 2), [deliver(1, 2), fetch(1, &[1, 0])]);
}

#[test]
fn every_holder_is_tried_and_then_the_scheduler_is_asked_once() {
    let mut world = World::holding(1);
    world.gathers(0, 1);
    let told = world.finished(0, &[1, 2]);
    let [Command::Fetch { peer: first, .. }] = &*told else { panic!("{told:?}") };
    let (first, second) = if *first == peer(1) { (1, 2) } else { (2, 1) };
    assert_eq!(world.not_there(first, 0), [fetch(second, &[0])]);
    assert_eq!(world.told(Event::PeerLost { peer: peer(second) }), [locate(0, &[1, 2])]);
    assert_eq!(world.gathers(0, 2), []);
    assert_eq!(world.finished(0, &[3]), [fetch(3, &[0])]);
    assert_eq!(world.fetched(3, 0), [deliver(1, 0), deliver(2, 0)]);
}

#[test]
fn a_result_that_nobody_has_any_more_is_asked_for() {
    let mut world = World::holding(1);
    assert_eq!(world.finished(0, &[]), []);
    assert_eq!(world.gathers(0, 1), [locate(0, &[])]);
    assert_eq!(world.sent(0), [deliver(1, 0)]);
}

#[test]
fn a_worker_that_is_silent_is_closed_and_another_is_asked() {
    let mut world = World::holding(1);
    world.gathers(0, 1);
    world.finished(0, &[1]);
    assert_eq!(world.waits(9), []);
    assert_eq!(world.waits(1), [Command::Close { peer: peer(1) }, locate(0, &[1])]);
    assert_eq!(world.fetched(1, 0), [deliver(1, 0)], "what comes late is welcome where it is still missing");
    assert_eq!(world.finished(0, &[2]), []);
}

// Answers without a value.

#[test]
fn who_awaits_is_told_when_it_is_done() {
    let mut world = World::holding(1);
    assert_eq!(world.awaits(0, 1), []);
    assert_eq!(world.finished(0, &[1]), [done(1)]);
    assert_eq!(world.awaits(0, 2), [done(2)]);
}

#[test]
fn a_failure_reaches_everybody_who_asked_or_asks_later() {
    let mut world = World::holding(1);
    let error = TaskError::UnknownFunction { function: "f".into() };
    world.gathers(0, 1);
    world.awaits(0, 2);
    let trouble = Trouble::Task(error.clone());
    assert_eq!(world.failed(0, error.clone()), [fail(1, trouble.clone()), fail(2, trouble.clone())]);
    assert_eq!(world.gathers(0, 3), [fail(3, trouble.clone())]);
    assert_eq!(world.awaits(0, 4), [fail(4, trouble)]);
    assert_eq!(world.finished(0, &[1]), [], "a failure is final");
    assert_eq!(world.releases(0), [released(0)]);
}

#[test]
fn a_result_that_was_lost_and_cannot_be_made_again_fails_who_fetches_it() {
    let mut world = World::holding(1);
    world.finished(0, &[1]);
    world.gathers(0, 1);
    world.not_there(1, 0);
    let error = TaskError::Failed { function: "f".into(), worker: WorkerId(2), tries: 1, message: "no".into() };
    assert_eq!(world.failed(0, error.clone()), [fail(1, Trouble::Task(error))]);
    assert_eq!(world.fetched(1, 0), []);
}

#[test]
fn cancelled_is_what_the_scheduler_says_is_cancelled() {
    let mut world = World::holding(2);
    world.gathers(0, 1);
    let cancel = Event::Cancel { tasks: vec![task(0), task(5)] };
    assert_eq!(world.told(cancel.clone()), [Command::ToScheduler(FromClient::Cancel { tasks: vec![task(0)] })]);
    assert_eq!(world.failed(0, TaskError::Cancelled), [fail(1, Trouble::Task(TaskError::Cancelled))]);
    assert_eq!(world.told(cancel), [], "it is cancelled already");
    // The other one was done before the scheduler heard of it.
    world.gathers(1, 2);
    world.told(Event::Cancel { tasks: vec![task(1)] });
    assert_eq!(world.sent(1), [deliver(2, 1)]);
    assert_eq!(world.releases(0), [released(0)]);
}

#[test]
fn a_forgotten_answer_is_not_given() {
    let mut world = World::holding(2);
    world.gathers(0, 1);
    world.awaits(0, 2);
    assert_eq!(world.forgets(2), []);
    assert_eq!(world.forgets(2), []);
    world.finished(0, &[1]);
    assert_eq!(world.forgets(1), []);
    assert_eq!(world.fetched(1, 0), [], "nor is its value kept");
    // The last answer of a released result ends it, given or forgotten.
    world.gathers(1, 3);
    world.releases(1);
    assert_eq!(world.forgets(3), [released(1)]);
    assert_eq!(world.client.n_held(), 1);
}

#[test]
fn news_is_passed_on() {
    let mut world = World::new();
    let workers = vec![WorkerInfo { worker: WorkerId(1), name: "a".into(), address: peer(1), n_threads: 2 }];
    assert_eq!(world.hears(ToClient::Workers { workers: workers.clone() }), [Command::Workers(workers)]);
    let waiting = ToClient::Waiting { reason: WaitReason::NoWorkers, n_tasks: 3, for_ms: 2500 };
    let waited = Duration::from_millis(2500);
    assert_eq!(world.hears(waiting), [Command::Waiting { reason: WaitReason::NoWorkers, n_tasks: 3, waited }]);
}

#[test]
fn what_is_late_doubled_or_unknown_changes_nothing() {
    let mut world = World::new();
    assert_eq!(world.finished(0, &[1]), []);
    assert_eq!(world.failed(0, TaskError::Cancelled), []);
    assert_eq!(world.fetched(1, 0), []);
    assert_eq!(world.not_there(1, 0), []);
    assert_eq!(world.told(Event::PeerLost { peer: peer(1) }), []);
    assert_eq!(world.releases(0), []);
    assert_eq!(world.forgets(0), []);
    assert_eq!(world.told(Event::Cancel { tasks: vec![task(0)] }), []);
}

// Time, and the loss of the scheduler.

#[test]
fn it_speaks_at_every_heartbeat() {
    let mut world = World::new();
    assert_eq!(world.client.deadline(), Some((Time::ZERO + Duration::from_secs(1), Reason::Heartbeat)));
    assert_eq!(world.ticks(Duration::from_secs(1)), [Command::ToScheduler(FromClient::Heartbeat)]);
    assert_eq!(world.ticks(Duration::from_millis(999)), []);
}

#[test]
fn without_the_scheduler_every_answer_is_a_failure() {
    let mut world = World::holding(2);
    world.sent(0);
    world.gathers(1, 1);
    world.awaits(1, 2);
    assert_eq!(world.told(Event::SchedulerLost), [1, 2].map(|ticket| fail(ticket, Trouble::SchedulerLost)));
    assert_eq!(world.gathers(0, 3), [fail(3, Trouble::SchedulerLost)]);
    assert_eq!(world.told(Event::Submit { graph: graph(1), wanted: vec![0], parent: None }), []);
    assert_eq!(world.awaits(2, 4), [fail(4, Trouble::SchedulerLost)]);
    assert_eq!(world.releases(0), []);
    assert_eq!(world.told(Event::Cancel { tasks: vec![task(0)] }), []);
    assert_eq!(world.told(Event::SchedulerLost), []);
    assert_eq!(world.client.deadline(), None);
}

#[test]
fn thirty_silent_heartbeats_are_the_loss_of_the_scheduler() {
    let mut world = World::holding(1);
    world.gathers(0, 1);
    for _ in 0..29 {
        assert_eq!(world.ticks(Duration::from_secs(1)), [Command::ToScheduler(FromClient::Heartbeat)]);
    }
    assert_eq!(world.ticks(Duration::from_secs(1)), [fail(1, Trouble::SchedulerLost), Command::CloseScheduler]);
    assert_eq!(world.ticks(Duration::from_secs(60)), []);
}

#[test]
fn what_is_cancelled_at_once_is_said_after_its_submission() {
    // test_client: cancel_before_known_to_scheduler.
    let mut world = World::new();
    let submitted = world.told(Event::Submit { graph: graph(1), wanted: vec![0], parent: None });
    let cancelled = world.told(Event::Cancel { tasks: vec![task(0)] });
    assert_eq!(submitted, [Command::ToScheduler(FromClient::submit(0, graph(1), vec![0]))]);
    assert_eq!(cancelled, [Command::ToScheduler(FromClient::Cancel { tasks: vec![task(0)] })]);
    assert_eq!(world.awaits(0, 5), []);
    let trouble = Trouble::Task(TaskError::Cancelled);
    assert_eq!(world.failed(0, TaskError::Cancelled), [Command::Fail { ticket: 5, trouble }]);
}

#[test]
fn handles_from_before_a_restart_let_go_of_nothing_that_came_after_it() {
    // test_failed_workers: forgotten_futures_dont_clean_up_new_futures.
    let mut world = World::holding(2);
    world.awaits(0, 5);
    let told = world.told(Event::Restarted { client: ClientId(9) });
    assert_eq!(told, [Command::Fail { ticket: 5, trouble: Trouble::SchedulerRestarted }, Command::NamesLost]);
    let again = world.told(Event::Submit { graph: graph(2), wanted: vec![0, 1], parent: None });
    assert_eq!(again, [Command::ToScheduler(FromClient::submit(2, graph(2), vec![0, 1]))]);
    for old in [TaskId::new(ClientId(7), 0), TaskId::new(ClientId(9), 0), TaskId::new(ClientId(7), 2)] {
        assert_eq!(world.told(Event::Release { task: old }), []);
    }
    let task = TaskId::new(ClientId(9), 2);
    assert_eq!(world.told(Event::Release { task }), [Command::ToScheduler(FromClient::Release { tasks: vec![task] })]);
}
