//! Workers that are let go: nothing is lost, nobody is blamed, and who cannot be spared stays.

use super::*;
use crate::request::{Reply, Request, Retirement};

fn retire(workers: &[u32], grace_ms: Option<u64>) -> FromClient {
    let workers = workers.iter().map(|worker| WorkerId(*worker)).collect();
    FromClient::Ask { ticket: 7, request: Request::Retire { workers, grace_ms } }
}

fn retired(ends: &[(u32, Retirement)]) -> Command {
    let workers = ends.iter().map(|(worker, end)| (WorkerId(*worker), end.clone())).collect();
    Command::ToClient { client: CLIENT, message: ToClient::Reply { ticket: 7, reply: Reply::Retired { workers } } }
}

fn workers_are(numbers: &[u32]) -> Command {
    let info = |n: &u32| WorkerInfo { worker: WorkerId(*n), name: format!("w{n}"), address: address(*n), n_threads: 1 };
    Command::ToClient { client: CLIENT, message: ToClient::Workers { workers: numbers.iter().map(info).collect() } }
}

fn acquire(worker: u32, results: &[Remote]) -> Command {
    to_worker(worker, ToWorker::Acquire { results: results.to_vec() })
}

fn holds(sequences: &[u64]) -> FromWorker {
    FromWorker::Holds { tasks: sequences.iter().map(|s| task(*s)).collect() }
}

const fn done_after(n_moved: u64, n_bytes: u64) -> Retirement {
    Retirement::Done { n_moved, n_bytes }
}

#[test]
fn a_retiring_worker_moves_what_only_it_holds_and_goes() {
    let mut world = World::new(&[1, 1]);
    world.submits(graph(&[(INC, &[]), (INC, &[])]), &[0, 1]);
    world.finishes(0, 1);
    world.finishes(1, 0);
    assert_eq!(world.client(retire(&[0], None)), [acquire(1, &[remote(1, 8, &[0])])]);
    assert_eq!(
        world.worker(1, holds(&[1])),
        [to_worker(0, ToWorker::Shutdown), workers_are(&[1]), retired(&[(0, done_after(1, 8))])]
    );
    // Its connection ends some time later, which is no news.
    assert_eq!(world.leaves(0), []);
    assert_eq!(world.scheduler.n_workers(), 1);
}

#[test]
fn what_it_runs_is_finished_and_what_it_has_in_hand_goes_elsewhere() {
    let mut world = World::new(&[1, 1]);
    world.submits(graph(&[(INC, &[]), (INC, &[])]), &[0, 1]); // 0 is sent to worker 1, 1 to worker 0
    world.starts(0, 1, 0);
    let told = world.client(retire(&[1], None));
    assert_eq!(
        told,
        [cancelled(1, 0, 0), to_worker(1, ToWorker::Shutdown), workers_are(&[0]), retired(&[(1, done_after(0, 0))]),]
    );
    assert_eq!(world.finishes(0, 1), [done(1, 8, &[0]), wanted(compute(0, 0, 1, INC, &[], vec![]))]);
    world.starts(0, 0, 1);
    // A worker that is let go while it runs ends what it runs, gets nothing new, and hands over.
    world.joins(2, 1);
    assert_eq!(world.client(retire(&[0], None)), [acquire(2, &[remote(1, 8, &[0])])]);
    let submitted = world.submits(graph(&[(INC, &[])]), &[0]);
    assert_eq!(submitted, [wanted(compute_of(2, 2, 0, INC, &[], vec![], (1, 0), false))]);
    assert_eq!(world.worker(2, holds(&[1])), []);
    assert_eq!(world.finishes_after(0, 0, 1, 8, 1000), [done(0, 8, &[0]), acquire(2, &[remote(0, 8, &[0])])]);
    assert_eq!(
        world.worker(2, holds(&[0])),
        [to_worker(0, ToWorker::Shutdown), workers_are(&[2]), retired(&[(0, done_after(2, 16))])]
    );
}

#[test]
fn nobody_is_blamed_for_a_worker_that_was_sent_away_in_the_middle() {
    let mut world = World::new(&[1]);
    world.submits(graph(&[(INC, &[])]), &[0]);
    for worker in 0..5 {
        world.starts(worker, 0, worker);
        assert_eq!(world.client(retire(&[worker], Some(10))), []);
        assert_eq!(
            world.scheduler.deadline(),
            Some((world.now + Duration::from_millis(10), Reason::Retire(WorkerId(worker))))
        );
        let end = Retirement::TimedOut { n_running: 1, n_lost: 0 };
        assert_eq!(
            world.ticks(Duration::from_millis(10)),
            [to_worker(worker, ToWorker::Shutdown), workers_are(&[]), retired(&[(worker, end)])]
        );
        // Five in a row, where three that die on it make a task fail.
        assert_eq!(world.joins(worker + 1, 1), [wanted(compute(worker + 1, 0, worker + 1, INC, &[], vec![]))]);
    }
}

#[test]
fn results_of_a_worker_that_leaves_in_a_hurry_are_made_again() {
    let mut world = World::new(&[1, 1]);
    world.submits(graph(&[(INC, &[])]), &[0]);
    world.finishes(1, 0);
    assert_eq!(world.client(retire(&[1], Some(0))), [acquire(0, &[remote(0, 8, &[1])])]);
    let end = Retirement::TimedOut { n_running: 0, n_lost: 1 };
    assert_eq!(
        world.ticks(Duration::ZERO),
        [
            to_worker(1, ToWorker::Shutdown),
            workers_are(&[0]),
            retired(&[(1, end)]),
            wanted(compute(0, 0, 1, INC, &[], vec![])),
        ]
    );
}

#[test]
fn a_recipient_that_dies_is_replaced() {
    let mut world = World::new(&[1, 1, 1]);
    world.submits(graph(&[(INC, &[])]), &[0]);
    world.finishes(1, 0);
    assert_eq!(world.client(retire(&[1], None)), [acquire(0, &[remote(0, 8, &[1])])]);
    assert_eq!(world.leaves(0), [acquire(2, &[remote(0, 8, &[1])])]);
    // One that has it, and dies before the other is gone, is replaced as well.
    world.joins(3, 1);
    world.submits(graph(&[(INC, &[])]), &[0]);
    let told = world.worker(2, holds(&[0]));
    assert_eq!(told, [to_worker(1, ToWorker::Shutdown), workers_are(&[2, 3]), retired(&[(1, done_after(1, 8))])]);
}

#[test]
fn a_recipient_that_cannot_fetch_is_told_to_stop_trying() {
    let mut world = World::new(&[1, 1]);
    world.submits(graph(&[(INC, &[])]), &[0]);
    world.finishes(1, 0);
    world.client(retire(&[1], None));
    // The one copy is out of reach: it is made again where it can be reached, and nobody waits for the old one.
    let missing = FromWorker::Missing { task: task(0), tried: vec![address(1)] };
    assert_eq!(
        world.worker(0, missing),
        [
            to_worker(1, ToWorker::Shutdown),
            workers_are(&[0]),
            retired(&[(1, done_after(0, 0))]),
            dropped(0, &[0]),
            wanted(compute(0, 0, 1, INC, &[], vec![])),
        ]
    );
}

#[test]
fn nobody_fetches_for_a_retiring_worker_what_is_no_longer_needed() {
    let mut world = World::new(&[1, 1]);
    world.submits(graph(&[(INC, &[])]), &[0]);
    world.finishes(1, 0);
    world.client(retire(&[1], None));
    assert_eq!(
        world.client(release(&[0])),
        [to_worker(1, ToWorker::Shutdown), workers_are(&[0]), retired(&[(1, done_after(0, 0))]), dropped(0, &[0]),]
    );
    // It had it already: it is told again.
    assert_eq!(world.worker(0, holds(&[0])), [dropped(0, &[0])]);
}

#[test]
fn a_worker_that_nobody_can_take_over_from_stays() {
    let mut world = World::new(&[1, 1]);
    world.submits(graph(&[(INC, &[]), (INC, &[])]), &[0, 1]);
    world.finishes(1, 0);
    world.finishes(0, 1);
    let told = world.client(retire(&[1, 0], None));
    let reason = "it holds 1 result that is needed and no other worker can take; start another worker first, or give \
                  a time after which it leaves anyway";
    // The first stays, and so the second finds somebody to take its result.
    assert_eq!(told, [acquire(0, &[remote(0, 8, &[1])])]);
    assert_eq!(
        world.worker(0, holds(&[0])),
        [
            to_worker(1, ToWorker::Shutdown),
            workers_are(&[0]),
            retired(&[(1, done_after(1, 8)), (0, Retirement::Refused { reason: reason.into() })]),
        ]
    );
    // It works on as before.
    let told = world.submits(graph(&[(INC, &[])]), &[0]);
    assert_eq!(told, [wanted(compute_of(0, 2, 0, INC, &[], vec![], (1, 0), false))]);
}

#[test]
fn several_go_at_once_and_give_nothing_to_each_other() {
    let mut world = World::new(&[1, 1, 1]);
    world.submits(graph(&[(INC, &[]), (INC, &[]), (INC, &[])]), &[0, 1, 2]);
    for (worker, sequence) in [(1, 0), (2, 1), (0, 2)] {
        world.finishes(worker, sequence);
    }
    let told = world.client(retire(&[0, 1, 9], None));
    assert_eq!(told, [acquire(2, &[remote(2, 8, &[0]), remote(0, 8, &[1])])]);
    assert_eq!(world.worker(2, holds(&[2])), [to_worker(0, ToWorker::Shutdown), workers_are(&[1, 2])]);
    let ends = [(0, done_after(1, 8)), (1, done_after(1, 8)), (9, Retirement::Unknown)];
    assert_eq!(world.worker(2, holds(&[0])), [to_worker(1, ToWorker::Shutdown), workers_are(&[2]), retired(&ends)]);
}

#[test]
fn who_dies_on_the_way_out_has_died() {
    let mut world = World::new(&[1, 1]);
    world.submits(graph(&[(INC, &[])]), &[0]);
    world.finishes(1, 0);
    world.client(retire(&[1], None));
    assert_eq!(world.leaves(1), [retired(&[(1, Retirement::Died)]), wanted(compute(0, 0, 1, INC, &[], vec![]))]);
}

#[test]
fn what_only_leaving_workers_know_is_known_by_nobody() {
    let mut world = World::new(&[]);
    let both = |role| match hello(role) {
        Event::Hello { connection, mut hello } => {
            hello.functions.push(FunctionEntry { name: "zeta".into(), signature: "() -> f64".into() });
            Event::Hello { connection, hello }
        }
        other => other,
    };
    world.told(both(Role::Worker(WorkerHello::new(1, address(0), "w0"))));
    world.told(both(Role::Client));
    world.joins(1, 1);
    let zeta = FromClient::submit(0, graph(&[(FunctionId(2), &[])]), vec![0]);
    let task = TaskId::new(ClientId(1), 0);
    world.told(Event::Client { client: ClientId(1), message: zeta });
    let started = FromWorker::Started { task, attempt: Attempt(0) };
    world.worker(0, started);
    world.client(retire(&[0], None));
    let again = FromClient::submit(1, graph(&[(FunctionId(2), &[])]), vec![0]);
    let error = TaskError::UnknownFunction { function: "zeta".into() };
    let message = ToClient::Failed { task: TaskId::new(ClientId(1), 1), error };
    let told = world.told(Event::Client { client: ClientId(1), message: again });
    assert_eq!(told, [Command::ToClient { client: ClientId(1), message }]);
}
