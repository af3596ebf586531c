//! Second attempts at what takes too long, and tasks that ask to be run elsewhere.

use super::*;

fn run(worker: u32, sequence: u64, attempt: u32) -> Command {
    wanted(compute(worker, sequence, attempt, INC, &[], vec![]))
}

/// Independent tasks, all wanted.
fn roots(n: usize) -> (Graph, Vec<u32>) {
    (graph(&vec![(INC, &[] as &[ArgumentCode]); n]), (0..n as u32).collect())
}

impl World {
    /// Two workers of one thread: the first task runs on worker 1 since 0.0 s, three of 50 ms have run on worker 0.
    fn with_straggler() -> Self {
        let mut world = Self::new(&[1, 1]);
        let (graph, all) = roots(4);
        assert_eq!(world.submits(graph, &all), [run(1, 0, 0), run(0, 1, 0)]);
        world.starts(1, 0, 0);
        assert_eq!(world.finishes(0, 1), [done(1, 8, &[0]), run(0, 2, 0)]);
        assert_eq!(world.finishes(0, 2), [done(2, 8, &[0]), run(0, 3, 0)]);
        assert_eq!(world.finishes(0, 3), [done(3, 8, &[0])]);
        world
    }

    /// Looks now and then for so long; says what was done beside heartbeats.
    fn looks_for(&mut self, seconds: u64) -> Vec<Command> {
        let mut all = Vec::new();
        for _ in 0..2 * seconds {
            all.extend(self.ticks(Duration::from_millis(500)));
            for worker in [0, 1] {
                assert_eq!(self.worker(worker, FromWorker::Heartbeat), []);
            }
            assert_eq!(self.client(FromClient::Heartbeat), []);
        }
        all.retain(|command| {
            !matches!(
                command,
                Command::ToClient { message: ToClient::Heartbeat, .. }
                    | Command::ToWorker { message: ToWorker::Heartbeat, .. }
            )
        });
        all
    }
}

#[test]
fn what_takes_far_too_long_is_begun_again_on_an_idle_worker_and_the_first_answer_counts() {
    let mut world = World::with_straggler();
    assert_eq!(world.scheduler.deadline(), Some((Time::ZERO + Duration::from_millis(500), Reason::Stragglers)));
    assert_eq!(world.looks_for(1), []); // seen running for half a second
    assert_eq!(world.looks_for(1), [run(0, 0, 1)]);
    assert_eq!(world.looks_for(4), []); // one second attempt is enough
    world.starts(0, 0, 1);
    assert_eq!(world.finishes_after(0, 0, 1, 8, 9), [cancelled(1, 0, 0), done(0, 8, &[0])]);
    // The other one had ended too when it was told.
    assert_eq!(world.finishes_after(1, 0, 0, 8, 9), [dropped(1, &[0])]);

    let mut world = World::with_straggler();
    assert_eq!(world.looks_for(2), [run(0, 0, 1)]);
    assert_eq!(world.finishes_after(1, 0, 0, 8, 9), [cancelled(0, 0, 1), done(0, 8, &[1])]);
}

#[test]
fn of_two_attempts_either_may_lose_its_worker() {
    let mut world = World::with_straggler();
    assert_eq!(world.looks_for(2), [run(0, 0, 1)]);
    assert_eq!(world.leaves(1), []);
    assert_eq!(world.finishes_after(0, 0, 1, 8, 9), [done(0, 8, &[0])]);

    let mut world = World::with_straggler();
    world.looks_for(2);
    assert!(!world.leaves(0).contains(&cancelled(1, 0, 0)));
    // What else was lost with it is made again after that.
    assert_eq!(world.finishes_after(1, 0, 0, 8, 9)[0], done(0, 8, &[1]));
}

#[test]
fn a_failure_is_an_answer_and_who_cancels_stops_both() {
    let mut world = World::with_straggler();
    world.looks_for(2);
    let failure = Failure::Error("no".into());
    let told = world.worker(0, FromWorker::Failed { task: task(0), attempt: Attempt(1), failure });
    let error = TaskError::Failed { function: "inc".into(), worker: WorkerId(0), tries: 1, message: "no".into() };
    assert_eq!(told, [cancelled(1, 0, 0), failed(0, error)]);

    let mut world = World::with_straggler();
    world.looks_for(2);
    let told = world.client(FromClient::Cancel { tasks: vec![task(0)] });
    assert_eq!(told, [cancelled(1, 0, 0), cancelled(0, 0, 1), failed(0, TaskError::Cancelled)]);
}

#[test]
fn who_forbids_it_or_is_of_no_known_kind_is_not_begun_twice() {
    let mut world = World::new(&[1, 1]);
    let (mut graph, all) = roots(4);
    graph.push_options(0, TaskOptions { no_duplicate: true, ..TaskOptions::default() });
    world.submits(graph, &all);
    world.starts(1, 0, 0);
    for sequence in 1..4 {
        world.finishes(0, sequence);
    }
    assert_eq!(world.looks_for(5), []);
    // Two runs are too few to know what is usual.
    let mut world = World::new(&[1, 1]);
    let (graph, all) = roots(3);
    world.submits(graph, &all);
    world.starts(1, 0, 0);
    for sequence in 1..3 {
        world.finishes(0, sequence);
    }
    assert_eq!(world.looks_for(5), []);
}

fn asks_to_move(world: &mut World, worker: u32, attempt: u32) -> Vec<Command> {
    let failure = Failure::Reschedule;
    world.worker(worker, FromWorker::Failed { task: task(0), attempt: Attempt(attempt), failure })
}

#[test]
fn who_asks_to_be_run_elsewhere_is_and_has_not_failed() {
    let mut world = World::new(&[1, 1]);
    let (graph, all) = roots(1);
    assert_eq!(world.submits(graph, &all), [run(1, 0, 0)]);
    assert_eq!(asks_to_move(&mut world, 1, 0), [run(0, 0, 1)]);
    assert_eq!(asks_to_move(&mut world, 0, 1), [run(1, 0, 2)]);
    // Alone, it is run again where it was; who comes later may take it when it asks again.
    assert_eq!(world.leaves(0), []);
    assert_eq!(asks_to_move(&mut world, 1, 2), [run(1, 0, 3)]);
    assert_eq!(world.joins(2, 1), []);
    assert_eq!(asks_to_move(&mut world, 1, 3), [run(2, 0, 4)]);
    assert_eq!(world.finishes_after(2, 0, 4, 8, 9), [done(0, 8, &[2])]);
}

#[test]
fn asking_to_be_run_elsewhere_ends_some_time() {
    let mut world = World::new(&[1]);
    let (graph, all) = roots(1);
    world.submits(graph, &all);
    for attempt in 0..100 {
        assert_eq!(asks_to_move(&mut world, 0, attempt), [run(0, 0, attempt + 1)]);
    }
    let error = TaskError::Rescheduled { function: "inc".into(), times: 101 };
    assert_eq!(asks_to_move(&mut world, 0, 100), [failed(0, error)]);
}

#[test]
fn restricted_tasks_move_among_those_that_may_run_them() {
    let mut world = World::new(&[1, 1, 1]);
    let (mut graph, all) = roots(1);
    let workers = ["w0", "w2"].map(String::from).into();
    graph.push_options(0, TaskOptions { workers, ..TaskOptions::default() });
    assert_eq!(world.submits(graph, &all), [run(0, 0, 0)]);
    assert_eq!(asks_to_move(&mut world, 0, 0), [run(2, 0, 1)]);
    assert_eq!(asks_to_move(&mut world, 2, 1), [run(0, 0, 2)]);
    assert_eq!(world.leaves(2), []);
    assert_eq!(asks_to_move(&mut world, 0, 2), [run(0, 0, 3)]);
}

#[test]
fn who_asks_to_move_goes_to_a_busy_worker_with_room_where_only_its_own_is_idle() {
    let mut world = World::new(&[1, 1]);
    let (graph, all) = roots(1);
    world.submits(graph.clone(), &all);
    world.finishes_after(1, 0, 0, 8, 1_000); // 1 us: more than one is sent to a thread
    world.submits(graph.clone(), &all);
    let mut restricted = graph;
    let workers = ["w0", "w1"].map(String::from).into();
    restricted.push_options(0, TaskOptions { workers, ..TaskOptions::default() });
    let sent = |worker, attempt| compute_of(worker, 2, attempt, INC, &[], vec![], (2, 0), true);
    assert_eq!(world.submits(restricted, &all), [sent(1, 0)]);
    let asks = FromWorker::Failed { task: task(2), attempt: Attempt(0), failure: Failure::Reschedule };
    assert_eq!(world.worker(1, asks), [sent(0, 1)]);
}

#[test]
fn small_inputs_say_little_of_large_ones() {
    let mut world = World::new(&[1]);
    // Two roots of 8 bytes and one of a GiB, each taken by many.
    let mut nodes: Vec<(FunctionId, Vec<ArgumentCode>)> = vec![(SUM, vec![]), (SUM, vec![])];
    nodes.extend((0..20).map(|_| (INC, vec![node(0)])));
    nodes.extend((0..20).map(|_| (INC, vec![node(1)])));
    let nodes: Vec<(FunctionId, &[ArgumentCode])> = nodes.iter().map(|(f, arguments)| (*f, &**arguments)).collect();
    let all: Vec<u32> = (2..42).collect();
    world.submits(graph(&nodes), &all);
    world.finishes(0, 0);
    // Of small ones that take 1 us many are sent at once; of large ones that take a second none is sent ahead.
    world.finishes_after(0, 1, 0, 1 << 30, 50_000_000);
    let told = world.finishes_after(0, 2, 0, 8, 1_000);
    assert!(told.len() > 20, "{} are sent ahead", told.len());
    for sequence in 3..22 {
        world.finishes_after(0, sequence, 0, 8, 1_000);
    }
    let sent = |told: &[Command]| {
        told.iter().filter(|c| matches!(c, Command::ToWorker { message: ToWorker::Compute(_), .. })).count()
    };
    let mut n_sent = 0;
    for sequence in 22..42 {
        n_sent += sent(&world.finishes_after(0, sequence, 0, 8, 1_000_000_000));
    }
    assert!(n_sent <= 20, "{n_sent}");
}
