//! Tasks that not every worker may run.

use std::collections::BTreeMap;

use super::*;

impl World {
    /// A worker with resources joins.
    fn joins_with(&mut self, number: u32, n_threads: u32, resources: &[(&str, u64)]) -> Vec<Command> {
        let resources = resources.iter().map(|(name, amount)| ((*name).into(), *amount)).collect();
        let hello_of = WorkerHello::new(n_threads, address(number), format!("w{number}"));
        let mut told = self.told(hello(Role::Worker(WorkerHello { resources, ..hello_of })));
        told.retain(|c| {
            !matches!(c, Command::Greet { .. } | Command::ToClient { message: ToClient::Workers { .. }, .. })
        });
        told
    }
}

fn gpu() -> TaskOptions {
    TaskOptions { resources: BTreeMap::from([("gpu".into(), 1)]), ..TaskOptions::default() }
}

fn only_on(names: &[&str]) -> TaskOptions {
    TaskOptions { workers: names.iter().map(|name| (*name).into()).collect(), ..TaskOptions::default() }
}

/// Independent tasks, each with its options.
fn roots(options: &[TaskOptions]) -> Graph {
    let mut graph = graph(&vec![(INC, &[] as &[ArgumentCode]); options.len()]);
    for (node, options) in options.iter().enumerate().filter(|(_, options)| **options != TaskOptions::default()) {
        graph.push_options(node as u32, options.clone());
    }
    graph
}

fn run(worker: u32, sequence: u64) -> Command {
    wanted(compute(worker, sequence, 0, INC, &[], vec![]))
}

fn waiting(missing: &str, n_tasks: u64, for_ms: u64) -> Command {
    let reason = WaitReason::NoSuitableWorker { missing: missing.into() };
    Command::ToClient { client: CLIENT, message: ToClient::Waiting { reason, n_tasks, for_ms } }
}

#[test]
fn a_resource_is_taken_when_a_task_is_sent_and_free_when_it_ends() {
    let mut world = World::new(&[]);
    world.joins_with(0, 4, &[("gpu", 2)]);
    let plain = TaskOptions::default();
    // Two at a time have a gpu; the plain one behind them does not wait for the third.
    let told = world.submits(roots(&[gpu(), gpu(), gpu(), plain]), &[0, 1, 2, 3]);
    assert_eq!(told, [run(0, 0), run(0, 1), run(0, 3)]);
    assert_eq!(world.finishes(0, 3), [done(3, 8, &[0])]);
    assert_eq!(world.finishes(0, 1), [done(1, 8, &[0]), run(0, 2)]);
}

fn await_end(sequence: u64) -> Command {
    to_worker(0, ToWorker::AwaitEnd { task: task(sequence), attempt: Attempt(0) })
}

fn ended(sequence: u64) -> FromWorker {
    FromWorker::Ended { task: task(sequence), attempt: Attempt(0) }
}

#[test]
fn what_a_cancelled_function_uses_is_free_when_it_has_ended_and_not_before() {
    // test_cancelled_state: cancelled_error_with_resources, resumed_task_releases_resources.
    let mut world = World::new(&[]);
    world.joins_with(0, 4, &[("gpu", 1)]);
    assert_eq!(world.submits(roots(&[gpu(), gpu(), TaskOptions::default()]), &[0, 1, 2]), [run(0, 0), run(0, 2)]);
    world.starts(0, 0, 0);
    // Nobody wants it, nothing remembers it, and its function runs on all the same.
    assert_eq!(world.client(release(&[0])), [cancelled(0, 0, 0), await_end(0)]);
    assert_eq!(world.scheduler.n_tasks(), 2);
    assert_eq!(world.finishes(0, 2), [done(2, 8, &[0])]);
    assert_eq!(world.worker(0, ended(0)), [run(0, 1)]);
    assert_eq!(world.worker(0, ended(0)), []);
    // What was made on a worker that is gone is awaited no longer.
    assert_eq!(world.client(release(&[1])), [cancelled(0, 1, 0), await_end(1)]);
    world.leaves(0);
    assert_eq!(world.worker(0, ended(1)), []);
}

#[test]
fn an_attempt_that_fails_or_is_cancelled_gives_back_what_it_had() {
    let mut world = World::new(&[]);
    world.joins_with(0, 2, &[("gpu", 1)]);
    assert_eq!(world.submits(roots(&[gpu(), gpu(), gpu()]), &[0, 1, 2]), [run(0, 0)]);
    let failure = Failure::Error("no".into());
    let told = world.worker(0, FromWorker::Failed { task: task(0), attempt: Attempt(0), failure });
    let error = TaskError::Failed { function: "inc".into(), worker: WorkerId(0), tries: 1, message: "no".into() };
    assert_eq!(told, [failed(0, error), run(0, 1)]);
    let told = world.client(FromClient::Cancel { tasks: vec![task(1)] });
    assert_eq!(told, [cancelled(0, 1, 0), await_end(1), failed(1, TaskError::Cancelled)]);
    assert_eq!(world.worker(0, ended(1)), [run(0, 2)]);
}

#[test]
fn what_a_lost_worker_gave_is_taken_of_another() {
    let mut world = World::new(&[]);
    world.joins_with(0, 1, &[("gpu", 1)]);
    world.joins_with(1, 1, &[]);
    assert_eq!(world.submits(roots(&[gpu()]), &[0]), [run(0, 0)]);
    assert_eq!(world.leaves(0), []);
    // Amounts count: this one has too little of another thing as well.
    assert_eq!(world.joins_with(2, 1, &[("gpu", 0), ("big", 1)]), []);
    assert_eq!(world.joins_with(3, 1, &[("gpu", 1)]), [wanted(compute(3, 0, 1, INC, &[], vec![]))]);
}

#[test]
fn restricted_tasks_wait_for_their_worker_and_are_never_stolen() {
    let mut world = World::new(&[1, 1]);
    let here = only_on(&["w0"]);
    // By name or by address, and the idle worker gets none of them.
    let options = [here.clone(), only_on(&["tcp://w0", "nobody"]), here];
    assert_eq!(world.submits(roots(&options), &[0, 1, 2]), [run(0, 0)]);
    assert_eq!(world.joins(2, 4), []);
    assert_eq!(world.finishes(0, 0), [done(0, 8, &[0]), run(0, 1)]);
    assert_eq!(world.finishes(0, 1), [done(1, 8, &[0]), run(0, 2)]);
}

#[test]
fn a_restriction_holds_wherever_the_input_is() {
    let mut world = World::new(&[1, 1]);
    let mut pair = pair();
    pair.push_options(0, only_on(&["w0"]));
    pair.push_options(1, only_on(&["w1"]));
    assert_eq!(world.submits(pair, &[1]), [compute(0, 0, 0, INC, &[], vec![])]);
    let fetch = vec![remote(0, 1 << 30, &[0])];
    assert_eq!(world.finishes_after(0, 0, 0, 1 << 30, 1000), [wanted(compute(1, 1, 0, INC, &[0], fetch))]);
}

#[test]
fn of_those_that_may_the_one_with_the_input_runs_it() {
    let mut world = World::new(&[1, 1, 1]);
    let mut graph = graph(&[(INC, &[]), (INC, &[node(0)])]);
    graph.push_options(0, only_on(&["w1"]));
    graph.push_options(1, only_on(&["w0", "w1", "w2"]));
    assert_eq!(world.submits(graph, &[1]), [compute(1, 0, 0, INC, &[], vec![])]);
    assert_eq!(world.finishes(1, 0), [wanted(compute(1, 1, 0, INC, &[0], vec![]))]);
}

#[test]
fn a_loose_restriction_lets_others_run_it_while_none_of_its_workers_is_there() {
    let mut world = World::new(&[1]);
    let loose = TaskOptions { allow_other_workers: true, ..only_on(&["w5"]) };
    assert_eq!(world.submits(roots(&[loose.clone(), loose.clone(), loose]), &[0, 1, 2]), [run(0, 0)]);
    assert_eq!(world.joins(5, 1), [wanted(compute(1, 1, 0, INC, &[], vec![]))]);
    assert_eq!(world.finishes(0, 0), [done(0, 8, &[0])]); // the third waits for w5 now
    assert_eq!(world.leaves(1), [wanted(compute(0, 1, 1, INC, &[], vec![]))]);
}

#[test]
fn the_order_of_tasks_holds_between_those_with_needs_and_those_without() {
    let mut world = World::new(&[]);
    world.joins_with(0, 1, &[("gpu", 1)]);
    let urgent = TaskOptions { priority: 1, ..gpu() };
    let plain = TaskOptions::default();
    let told = world.submits(roots(&[plain.clone(), gpu(), plain, urgent]), &[0, 1, 2, 3]);
    // A kind with needs looks at once for who can give them, so its first is sent before the shared queue's.
    assert!(
        matches!(&*told, [Command::ToWorker { message: ToWorker::Compute(c), .. }] if c.task == task(3)),
        "{told:?}"
    );
    for (ends, next) in [(3, 0), (0, 1), (1, 2)] {
        assert_eq!(world.finishes(0, ends), [done(ends, 8, &[0]), run(0, next)]);
    }
}

#[test]
fn what_nobody_can_run_waits_with_a_word_and_the_rest_runs() {
    let mut world = World::new(&[1]);
    let both = TaskOptions { workers: only_on(&["a", "b"]).workers, ..gpu() };
    assert_eq!(world.submits(roots(&[both.clone(), both, TaskOptions::default()]), &[0, 1, 2]), [run(0, 2)]);
    assert_eq!(world.scheduler.deadline(), Some((Time::ZERO + Duration::from_secs(1), Reason::Heartbeat)));
    world.ticks(Duration::from_millis(1_000));
    world.worker(0, FromWorker::Heartbeat);
    world.client(FromClient::Heartbeat);
    assert_eq!(world.finishes(0, 2), [done(2, 8, &[0])]);
    let told = world.ticks(Duration::from_millis(999));
    assert_eq!(told, []);
    assert_eq!(world.scheduler.deadline().map(|(_, reason)| reason), Some(Reason::Heartbeat));
    let told = world.ticks(Duration::from_millis(1));
    assert_eq!(told.last(), Some(&waiting("a worker named a or b with gpu = 1", 2, 2000)));
    // It is never too late.
    let resources = BTreeMap::from([("gpu".to_owned(), 1)]);
    let told = world.told(hello(Role::Worker(WorkerHello { resources, ..WorkerHello::new(1, address(1), "b") })));
    assert_eq!(told.last(), Some(&run(1, 0)));
}

#[test]
fn only_tasks_with_a_timeout_fail_for_want_of_a_worker_and_each_after_its_own() {
    let mut world = World::new(&[1]);
    let seconds = Duration::from_secs;
    let brief = TaskOptions { wait_timeout: Some(seconds(1)), ..gpu() };
    world.submits(roots(&[brief.clone(), gpu()]), &[0, 1]);
    world.now += Duration::from_millis(600);
    world.submits(roots(std::slice::from_ref(&brief)), &[0]);
    let error = || TaskError::NoSuitableWorker {
        function: "inc".into(),
        missing: "a worker with gpu = 1".into(),
        waited: seconds(1),
    };
    let told = world.ticks(Duration::from_millis(400));
    assert!(told.contains(&failed(0, error())), "{told:?}"); // beside the heartbeats
    assert_eq!(world.scheduler.deadline(), Some((Time::ZERO + Duration::from_millis(1600), Reason::NoSuitableWorker)));
    assert_eq!(world.ticks(Duration::from_millis(599)), []);
    assert_eq!(world.ticks(Duration::from_millis(1)), [failed(2, error())]);
    // One that could run it stops the clock, however busy it is.
    world.joins_with(1, 1, &[("gpu", 1)]);
    assert_eq!(world.submits(roots(&[brief]), &[0]), []);
    world.client(FromClient::Heartbeat);
    for worker in [0, 1] {
        world.worker(worker, FromWorker::Heartbeat);
    }
    let told = world.ticks(seconds(2));
    assert!(!told.iter().any(|c| matches!(c, Command::ToClient { message: ToClient::Failed { .. }, .. })), "{told:?}");
    assert_eq!(world.finishes(1, 1)[1], compute_of(1, 3, 0, INC, &[], vec![], (2, 0), true));
}

#[test]
fn without_any_worker_a_timeout_counts_too() {
    let mut world = World::new(&[]);
    let brief = TaskOptions { wait_timeout: Some(Duration::from_millis(500)), ..TaskOptions::default() };
    world.submits(roots(&[brief, TaskOptions::default()]), &[0, 1]);
    let told = world.ticks(Duration::from_millis(500));
    let error = TaskError::NoSuitableWorker {
        function: "inc".into(),
        missing: "a worker".into(),
        waited: Duration::from_millis(500),
    };
    assert_eq!(told, [failed(0, error)]);
    assert_eq!(world.joins(0, 1), [run(0, 1)]);
}

#[test]
fn a_paused_worker_is_given_nothing_and_steals_nothing() {
    let mut world = World::new(&[1, 1]);
    world.scheduler.workers.change_pause(WorkerId(1), true);
    let wide = graph(&[(INC, &[]), (INC, &[node(0)]), (INC, &[node(0)]), (INC, &[node(0)])]);
    assert_eq!(world.submits(wide, &[1, 2, 3]), [compute(0, 0, 0, INC, &[], vec![])]);
    assert_eq!(world.finishes(0, 0), [wanted(compute(0, 1, 0, INC, &[0], vec![]))]);
    world.scheduler.workers.change_pause(WorkerId(1), false);
    assert_eq!(world.worker(1, FromWorker::Heartbeat), [wanted(compute(1, 3, 0, INC, &[0], vec![remote(0, 8, &[0])]))]);
}
