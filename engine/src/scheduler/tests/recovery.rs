//! A scheduler that died and was made again from what it wrote down.

use super::*;
use crate::{
    message::{Rejoin, Resume, Session},
    request::{Reply, Request},
    scheduler::Recovery,
};

const KEY: u128 = 5;

fn config() -> Config {
    Config { journal: true, ..Config::default() }
}

/// A scheduler that writes down, with a client that may come back and workers of one thread.
fn world(n_workers: u32) -> World {
    let mut world = World { scheduler: Scheduler::new(config(), Time::ZERO), now: Time::ZERO, submitted: 0 };
    world.told(hello(Role::Session(Session { key: KEY, resumes: None })));
    for number in 0..n_workers {
        world.joins(number, 1);
    }
    world
}

fn dies(world: &mut World) {
    let log: Vec<u8> = world.scheduler.take_log().parts().flatten().copied().collect();
    let mut recovery = Recovery::new(config(), world.now);
    recovery.read(&log).expect("it reads what it wrote");
    world.scheduler = recovery.finish().expect("it wrote whose it is");
    world.scheduler.check_invariants();
}

fn returns(world: &mut World, key: u128) -> Vec<Command> {
    let resumes = Some(Resume { cluster: ClusterId(0), client: CLIENT });
    world.told(hello(Role::Session(Session { key, resumes })))
}

fn rejoins(world: &mut World, before: u32) -> Vec<Command> {
    let rejoins = Some(Rejoin { cluster: ClusterId(0), worker: WorkerId(before) });
    let hello = hello(Role::Worker(WorkerHello { rejoins, ..WorkerHello::new(1, address(before), "w") }));
    let mut commands = world.told(hello);
    commands.retain(|c| !matches!(c, Command::Greet { .. } | Command::ToClient { .. }));
    commands
}

fn announce(results: &[u64]) -> FromWorker {
    let results = results.iter().map(|sequence| (task(*sequence), 8)).collect();
    FromWorker::Announce { results, running: vec![], more: false }
}

#[test]
fn what_lives_on_workers_is_not_made_again() {
    let mut world = world(2);
    world.submits(pair(), &[1]);
    world.finishes(0, 0);
    dies(&mut world);
    let greeting =
        Greeting::Session { client: CLIENT, heartbeat_ms: 1000, cluster: ClusterId(0), resumed: Some(1), life: 1025 };
    assert_eq!(
        returns(&mut world, KEY),
        [
            Command::Greet { connection: ConnectionId(9), greeting },
            Command::ToClient { client: CLIENT, message: ToClient::Workers { workers: vec![] } },
        ]
    );
    // Workers have the numbers that come after all there ever were.
    assert_eq!(rejoins(&mut world, 1), []);
    assert_eq!(world.worker(2, announce(&[])), [], "the other one may hold what this one would be told to make");
    assert_eq!(rejoins(&mut world, 0), []);
    assert_eq!(world.worker(3, announce(&[0])), [wanted(compute(3, 1, 0, INC, &[0], vec![]))]);
    let at_home = ToClient::finished(task(1), 8, vec![address(0)], None);
    assert_eq!(
        world.worker(3, FromWorker::finished(task(1), Attempt(0), 8, 1000, None)),
        [Command::ToClient { client: CLIENT, message: at_home }, dropped(3, &[0])]
    );
}

#[test]
fn who_does_not_come_back_is_waited_for_five_heartbeats() {
    let mut world = world(1);
    world.submits(graph(&[(INC, &[])]), &[0]);
    dies(&mut world);
    assert_eq!(world.joins(7, 1), [], "a new worker could make what the old one holds");
    let until = Time::ZERO + Duration::from_secs(5);
    assert!(world.scheduler.deadline().is_some_and(|(time, _)| time <= until));
    for _ in 0..4 {
        assert_eq!(world.ticks(Duration::from_secs(1)), [to_worker(1, ToWorker::Heartbeat)]);
    }
    assert_eq!(
        world.ticks(Duration::from_secs(1)),
        [to_worker(1, ToWorker::Heartbeat), wanted(compute(1, 0, 0, INC, &[], vec![]))]
    );
}

#[test]
fn what_nobody_can_make_after_a_restart_fails_together_with_the_wish_for_its_copies() {
    let mut world = world(1);
    world.submits(graph(&[(SUM, &[])]), &[0]);
    dies(&mut world);
    returns(&mut world, KEY);
    let replicate = Request::Replicate { tasks: vec![task(0)], n_copies: 2 };
    assert_eq!(world.client(FromClient::Ask { ticket: 3, request: replicate }), []);
    let Event::Hello { connection, mut hello } = hello(Role::Worker(WorkerHello::new(1, address(7), "w7"))) else {
        unreachable!()
    };
    hello.functions.truncate(1);
    world.told(Event::Hello { connection, hello });
    for _ in 0..4 {
        world.ticks(Duration::from_secs(1));
    }
    let mut told = world.ticks(Duration::from_secs(1));
    told.retain(|command| matches!(command, Command::ToClient { message, .. } if *message != ToClient::Heartbeat));
    let reply = ToClient::Reply { ticket: 3, reply: Reply::Replicated { copies: vec![0] } };
    let unknown = TaskError::UnknownFunction { function: "sum".into() };
    assert_eq!(told, [failed(0, unknown), Command::ToClient { client: CLIENT, message: reply }]);
}

#[test]
fn failures_cancellations_and_releases_are_remembered_and_nobody_else_is_believed() {
    let mut world = world(1);
    world.submits(graph(&[(INC, &[]), (INC, &[]), (INC, &[]), (INC, &[])]), &[0, 1, 2, 3]);
    world.worker(0, FromWorker::Failed { task: task(0), attempt: Attempt(0), failure: Failure::Error("bad".into()) });
    world.client(FromClient::Cancel { tasks: vec![task(1)] });
    world.client(release(&[2]));
    dies(&mut world);
    assert_eq!(world.scheduler.n_tasks(), 3);
    let greetings = |told: &[Command]| match told {
        [Command::Greet { greeting: Greeting::Session { client, resumed, .. }, .. }, ..] => (*client, *resumed),
        other => panic!("{other:?}"),
    };
    let stranger = greetings(&returns(&mut world, KEY + 1));
    assert_eq!(stranger.1, None, "somebody else has another key");
    assert_ne!(stranger.0, CLIENT);
    let told = returns(&mut world, KEY);
    assert_eq!(greetings(&told), (CLIENT, Some(3)));
    let function = "inc".into();
    let error = TaskError::Failed { function, worker: WorkerId(0), tries: 1, message: "bad".into() };
    assert_eq!(told[2..], [failed(0, error), failed(1, TaskError::Cancelled)]);
}

/// The scheduler dies once more, its client comes back, and its workers do not. What was written down bit by bit and
/// what is written down at once lead to the same.
fn lives_again(world: &mut World, journal: &mut Vec<u8>, by_snapshot: bool) {
    journal.extend(world.scheduler.take_log().parts().flatten());
    if by_snapshot {
        *journal = world.scheduler.snapshot().parts().flatten().copied().collect();
    }
    let mut recovery = Recovery::new(config(), world.now);
    recovery.read(journal).expect("it reads what it wrote");
    world.scheduler = recovery.finish().expect("it wrote whose it is");
    returns(world, KEY);
    for _ in 0..5 {
        world.ticks(Duration::from_secs(1));
    }
}

#[test]
fn a_task_that_kills_workers_does_not_begin_anew_with_every_life_of_the_scheduler() {
    for by_snapshot in [false, true] {
        let (mut world, mut journal) = (world(0), Vec::new());
        world.submits(graph(&[(INC, &[])]), &[0]);
        for worker in 0..3 {
            if worker > 0 {
                lives_again(&mut world, &mut journal, by_snapshot);
            }
            assert_eq!(world.joins(0, 1), [wanted(compute(worker, 0, 0, INC, &[], vec![]))]);
            world.starts(worker, 0, 0);
            let death = |worker| Death { worker: WorkerId(worker), name: "w0".into(), evidence: None };
            let deaths = vec![death(0), death(1), death(2)];
            let error = TaskError::KilledWorkers { function: "inc".into(), deaths };
            assert_eq!(world.leaves(worker), if worker == 2 { vec![failed(0, error)] } else { vec![] });
        }
    }
}

#[test]
fn retries_are_counted_over_restarts() {
    let mut world = world(1);
    let mut graph = graph(&[(INC, &[])]);
    graph.push_options(0, TaskOptions { retries: 2, ..TaskOptions::default() });
    world.submits(graph, &[0]);
    let fails = |world: &mut World, worker, attempt| {
        let failure = Failure::Error("no".into());
        world.worker(worker, FromWorker::Failed { task: task(0), attempt: Attempt(attempt), failure })
    };
    assert_eq!(fails(&mut world, 0, 0), [wanted(compute(0, 0, 1, INC, &[], vec![]))]);
    assert_eq!(fails(&mut world, 0, 1), [wanted(compute(0, 0, 2, INC, &[], vec![]))]);
    lives_again(&mut world, &mut Vec::new(), false);
    assert_eq!(world.joins(0, 1), [wanted(compute(1, 0, 0, INC, &[], vec![]))]);
    let error = TaskError::Failed { function: "inc".into(), worker: WorkerId(1), tries: 3, message: "no".into() };
    assert_eq!(fails(&mut world, 1, 0), [failed(0, error)]);
}

#[test]
fn who_waits_for_judgement_when_the_scheduler_dies_is_judged_by_the_next_unless_a_dead_worker_is_back() {
    for is_back in [false, true] {
        let mut world = world(0);
        world.submits(graph(&[(INC, &[])]), &[0]);
        for worker in 0..3 {
            let hello_of = WorkerHello { life: Some(u64::from(worker)), ..WorkerHello::new(1, address(worker), "w") };
            world.told(hello(Role::Worker(hello_of)));
            world.starts(worker, 0, worker);
            world.leaves(worker);
        }
        dies(&mut world);
        if is_back {
            rejoins(&mut world, 1);
        }
        let told = returns(&mut world, KEY);
        let is_failed = told.iter().any(|command| {
            matches!(command, Command::ToClient { message: ToClient::Failed { error: TaskError::KilledWorkers { deaths, .. }, .. }, .. } if deaths.len() == 3)
        });
        assert_eq!(is_failed, !is_back, "{told:?}");
    }
}

#[test]
fn an_actor_is_there_again_with_its_worker_or_lost_and_never_made_a_second_time() {
    for by_snapshot in [false, true] {
        for comes_back in [true, false] {
            let mut world = world(1);
            let mut graph = pair();
            graph.push_options(0, TaskOptions { actor: true, ..TaskOptions::default() });
            world.submits(graph, &[0, 1]);
            world.finishes(0, 0);
            if by_snapshot {
                let log: Vec<u8> = world.scheduler.snapshot().parts().flatten().copied().collect();
                let mut recovery = Recovery::new(config(), world.now);
                recovery.read(&log).expect("it reads what it wrote");
                world.scheduler = recovery.finish().expect("it wrote whose it is");
            } else {
                dies(&mut world);
            }
            returns(&mut world, KEY);
            let number = world.scheduler.workers.next_id().0;
            if comes_back {
                assert_eq!(rejoins(&mut world, 0), []);
                let told = world.worker(number, announce(&[0]));
                assert_eq!(told, [done(0, 8, &[0]), wanted(compute(number, 1, 0, INC, &[0], vec![]))]);
            } else {
                world.joins(7, 1);
                let mut told = Vec::new();
                for _ in 0..5 {
                    told.extend(world.ticks(Duration::from_secs(1)));
                }
                told.retain(|command| matches!(command, Command::ToClient { message: ToClient::Failed { .. }, .. }));
                let error = TaskError::ActorLost { function: "inc".into() };
                assert_eq!(told, [failed(0, error.clone()), failed(1, error)]);
            }
        }
    }
}

#[test]
fn garbage_is_an_error_and_never_a_panic() {
    let mut world = world(1);
    world.submits(pair(), &[1]);
    let log: Vec<u8> = world.scheduler.take_log().parts().flatten().copied().collect();
    for end in 1..log.len() {
        // Where it ends between two entries it can be read.
        let _ = Recovery::new(config(), Time::ZERO).read(&log[..end]);
        let mut damaged = log.clone();
        damaged[end] ^= 0x55;
        let _ = Recovery::new(config(), Time::ZERO).read(&damaged);
    }
    assert!(Recovery::new(config(), Time::ZERO).finish().is_err(), "nothing at all is no journal");
}
