//! Those whose connection broke come back with what they had.

use super::*;
use crate::message::Rejoin;

/// The worker that was `before` comes back from the same address.
fn rejoins(world: &mut World, before: u32, number: u32) -> Vec<Command> {
    let rejoins = Some(Rejoin { cluster: ClusterId(0), worker: WorkerId(before) });
    let hello = hello(Role::Worker(WorkerHello { rejoins, ..WorkerHello::new(1, address(number), "w") }));
    let mut commands = world.told(hello);
    commands.retain(|c| !matches!(c, Command::ToClient { message: ToClient::Workers { .. }, .. }));
    commands
}

fn greeted(worker: u32) -> Command {
    let greeting = Greeting::Worker { worker: WorkerId(worker), heartbeat_ms: 1000, cluster: ClusterId(0) };
    Command::Greet { connection: ConnectionId(9), greeting }
}

fn announce(results: &[(u64, u64)], running: &[(u64, u32)]) -> FromWorker {
    FromWorker::Announce {
        results: results.iter().map(|(sequence, n_bytes)| (task(*sequence), *n_bytes)).collect(),
        running: running.iter().map(|(sequence, attempt)| (task(*sequence), Attempt(*attempt))).collect(),
        more: false,
    }
}

#[test]
fn what_a_returning_worker_holds_is_not_made_again() {
    let mut world = World::new(&[1]);
    world.submits(pair(), &[0, 1]);
    world.finishes(0, 0);
    world.finishes(0, 1);
    assert_eq!(world.leaves(0), []);
    assert_eq!(rejoins(&mut world, 0, 0), [greeted(1)], "it has yet to say what it holds");
    let more = FromWorker::Announce { results: vec![(task(7), 8)], running: vec![], more: true };
    assert_eq!(world.worker(1, more), [dropped(1, &[7])]);
    let at_home = |sequence| Command::ToClient {
        client: CLIENT,
        message: ToClient::finished(task(sequence), 8, vec![address(0)], None),
    };
    assert_eq!(world.worker(1, announce(&[(0, 8), (1, 8)], &[])), [at_home(0), at_home(1)]);
    assert_eq!(world.client(release(&[0, 1])), [dropped(1, &[0, 1])]);
}

#[test]
fn a_worker_that_returns_before_it_is_missed_is_one_worker() {
    let mut world = World::new(&[1]);
    world.submits(graph(&[(INC, &[])]), &[0]);
    world.starts(0, 0, 0);
    assert_eq!(rejoins(&mut world, 0, 0), [Command::CloseWorker { worker: WorkerId(0) }, greeted(1)]);
    assert_eq!(world.scheduler.n_workers(), 1);
    // A stranger that gives somebody's number does not close his connection.
    assert_eq!(rejoins(&mut world, 1, 5), [greeted(2)]);
    assert_eq!(world.scheduler.n_workers(), 2);
}

#[test]
fn what_a_returning_worker_runs_goes_on() {
    let mut world = World::new(&[2]);
    world.submits(graph(&[(INC, &[]), (SUM, &[])]), &[0, 1]);
    world.starts(0, 0, 0);
    world.starts(0, 1, 0);
    assert_eq!(world.leaves(0), []);
    // One of the two has been begun elsewhere.
    assert_eq!(world.joins(1, 1), [wanted(compute(1, 0, 1, INC, &[], vec![]))]);
    assert_eq!(rejoins(&mut world, 0, 2), [greeted(2)]);
    assert_eq!(world.worker(2, announce(&[], &[(0, 0), (1, 0)])), [cancelled(2, 0, 0)]);
    assert_eq!(world.worker(2, FromWorker::finished(task(1), Attempt(0), 8, 1000, None)), [done(1, 8, &[2])]);
}

#[test]
fn coming_back_takes_suspicion_away() {
    let mut world = World::new(&[1]);
    world.submits(graph(&[(INC, &[])]), &[0]);
    for life in 0..5 {
        world.starts(life, 0, 0);
        assert_eq!(world.leaves(life), [], "the task of a lost connection does not fail the third time");
        rejoins(&mut world, life, 0);
        world.worker(life + 1, announce(&[], &[(0, 0)]));
    }
}

#[test]
fn a_worker_of_another_cluster_is_a_stranger() {
    let mut world = World::new(&[]);
    let rejoins = Some(Rejoin { cluster: ClusterId(7), worker: WorkerId(0) });
    let hello = hello(Role::Worker(WorkerHello { rejoins, ..WorkerHello::new(1, address(0), "w") }));
    let greeting = Greeting::Stranger { cluster: ClusterId(0) };
    assert_eq!(world.told(hello), [Command::Greet { connection: ConnectionId(9), greeting }]);
    assert_eq!(world.scheduler.n_workers(), 0);
}
