//! What waits goes on whatever becomes of workers, of the wish for it and of their memory.

use phalanx_engine::request::Request;

use super::{
    JOIN, MAKE, USE,
    fleet::{Cost, Fleet, graph},
    millis,
};

/// A fleet whose tasks take 10 ms, with so many roots submitted of which all are wanted.
fn roots(threads: &[u32], n: usize) -> Fleet {
    let mut fleet = Fleet::new(|_| Cost { time: millis(10), n_bytes: 8 });
    fleet.join(threads);
    fleet.submit(graph(&vec![(MAKE, vec![]); n]), &(0..n as u32).collect::<Vec<_>>());
    fleet
}

#[test]
fn releasing_a_batch_lets_the_next_one_run_each_of_it_once() {
    // test_scheduler: queued_release_multiple_workers.
    let mut fleet = roots(&[2, 1], 60);
    fleet.submit(graph(&vec![(MAKE, vec![]); 30]), &(0..30).collect::<Vec<_>>());
    fleet.run_for(millis(25));
    fleet.release(0..60);
    fleet.run_for(millis(1));
    let begun = fleet.n_runs.range(..60).count();
    assert!(begun <= 9, "{begun} were begun in 25 ms on three threads");
    fleet.done.retain(|task| *task >= 60);
    fleet.run_until_done(30);
    assert_eq!(fleet.n_runs.range(..60).count(), begun, "nothing that nobody wants is begun");
    assert!(fleet.n_runs.range(60..).all(|(_, n)| *n == 1), "{:?}", fleet.n_runs);
}

#[test]
fn what_is_submitted_again_while_it_waits_runs() {
    // test_scheduler: deadlock_resubmit_queued_tasks_fast.
    let mut fleet = roots(&[1, 1], 50);
    for first in [0, 50, 100, 150] {
        fleet.run_for(millis(3));
        fleet.release(first..first + 50);
        fleet.submit(graph(&vec![(MAKE, vec![]); 50]), &(0..50).collect::<Vec<_>>());
    }
    fleet.done.retain(|task| *task >= 200);
    fleet.run_until_done(50);
    assert_eq!(fleet.scheduler.n_tasks(), 50);
}

#[test]
fn a_queue_survives_workers_that_pause_come_and_go() {
    // test_scheduler: queued_paused_new_worker, queued_paused_unpaused, queued_remove_add_worker.
    let mut fleet = roots(&[1, 1], 40);
    fleet.run_for(millis(15));
    fleet.pause(0, true);
    fleet.run_for(millis(15));
    let before = fleet.n_ran();
    fleet.run_for(millis(60));
    let after = fleet.n_ran();
    assert_eq!(after[0], before[0], "a paused worker finishes what it has and gets nothing");
    assert!(after[1] > before[1] + 4, "{before:?} {after:?}");
    // One that comes paused gets nothing before it goes on.
    let [late] = fleet.join(&[1])[..] else { unreachable!() };
    fleet.pause(late, true);
    fleet.run_for(millis(15));
    let before = fleet.n_ran()[late];
    assert!(before <= 1);
    fleet.kill(1);
    fleet.pause(0, false);
    fleet.run_for(millis(45));
    let [there, paused] = [0, late].map(|place| fleet.n_ran()[place]);
    assert!(there > after[0] + 2 && paused == before, "{there} and {paused}");
    fleet.pause(late, false);
    fleet.kill(0);
    fleet.join(&[2]);
    fleet.run_until_done(40);
    assert!(fleet.n_ran()[late] > before);
}

#[test]
fn work_goes_on_while_workers_leave_and_results_are_spread() {
    // test_scheduler: retire_workers_concurrently, decide_worker_rootish_while_last_worker_is_retiring.
    let mut fleet = Fleet::new(|_| Cost { time: millis(5), n_bytes: 1 << 20 });
    fleet.join(&[1; 4]);
    let mut nodes = vec![(MAKE, vec![]); 40];
    nodes.extend((0..40).map(|node| (USE, vec![node, (node + 9) % 40])));
    nodes.push((JOIN, (40..80).collect()));
    fleet.submit(graph(&nodes), &(0..81).collect::<Vec<_>>());
    fleet.run_for(millis(40));
    let workers = vec![fleet.id(0), fleet.id(1)];
    fleet.ask(Request::Retire { workers: workers.clone(), grace_ms: None });
    fleet.ask(Request::Rebalance);
    let begun = fleet.n_ran();
    fleet.run_for(millis(1));
    fleet.ask(Request::Replicate { tasks: vec![super::fleet::task(3)], n_copies: 2 });
    fleet.run_until_done(81);
    fleet.run_for(millis(2_000));
    assert_eq!(fleet.replies.len(), 3);
    assert!(!fleet.is_alive(0) && !fleet.is_alive(1) && fleet.is_alive(2) && fleet.is_alive(3));
    // What they had in hand may still begin before the word reaches them.
    let after = fleet.n_ran();
    assert!((0..2).all(|place| after[place] <= begun[place] + 1), "{begun:?} {after:?}");
    assert!(fleet.n_runs.values().all(|n| *n == 1), "nothing is lost, so nothing is made again");
}
