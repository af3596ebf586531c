//! Spreading results evenly: nothing is lost, whoever goes in the middle of it, and nothing goes to and fro.

use super::*;
use crate::request::{Reply, Request};

fn rebalance(world: &mut World) -> Vec<Command> {
    world.client(FromClient::Ask { ticket: 7, request: Request::Rebalance })
}

fn rebalanced(n_moved: u64, n_bytes: u64) -> Command {
    let reply = Reply::Rebalanced { n_moved, n_bytes };
    Command::ToClient { client: CLIENT, message: ToClient::Reply { ticket: 7, reply } }
}

fn acquire(worker: u32, results: &[(u64, u64)]) -> Command {
    let results = results.iter().map(|(sequence, n_bytes)| remote(*sequence, *n_bytes, &[0])).collect();
    to_worker(worker, ToWorker::Acquire { results })
}

fn holds(world: &mut World, worker: u32, sequence: u64) -> Vec<Command> {
    world.worker(worker, FromWorker::Holds { tasks: vec![task(sequence)] })
}

/// Results of these sizes on worker 0, and so many workers that have nothing.
fn lopsided(sizes: &[u64], n_empty: u32) -> World {
    let mut world = World::new(&[1]);
    let all: Vec<u32> = (0..sizes.len() as u32).collect();
    world.submits(graph(&vec![(INC, &[] as &[ArgumentCode]); sizes.len()]), &all);
    for (sequence, n_bytes) in sizes.iter().enumerate() {
        world.finishes_after(0, sequence as u64, 0, *n_bytes, 50_000_000);
    }
    for number in 1..=n_empty {
        world.joins(number, 1);
    }
    world
}

#[test]
fn the_oldest_results_go_until_all_have_the_same() {
    let mut world = lopsided(&[100; 4], 1);
    assert_eq!(rebalance(&mut world), [acquire(1, &[(0, 100), (1, 100)])]);
    // A result leaves its old place when its new one has it.
    assert_eq!(holds(&mut world, 1, 0), [dropped(0, &[0])]);
    assert_eq!(holds(&mut world, 1, 1), [rebalanced(2, 200), dropped(0, &[1])]);
    assert_eq!(rebalance(&mut world), [rebalanced(0, 0)], "nothing goes back");
}

#[test]
fn the_emptiest_get_most() {
    let mut world = lopsided(&[100; 6], 2);
    assert_eq!(rebalance(&mut world), [acquire(1, &[(0, 100), (2, 100)]), acquire(2, &[(1, 100), (3, 100)])]);
}

#[test]
fn what_is_about_even_or_too_large_to_help_stays() {
    let mut world = lopsided(&[1_000], 1);
    assert_eq!(rebalance(&mut world), [rebalanced(0, 0)], "the one result would only change places");
    let mut world = lopsided(&[], 1);
    assert_eq!(rebalance(&mut world), [rebalanced(0, 0)], "nobody has anything");
    // 104 and 96 are within 5 % of the mean.
    let mut world = World::new(&[1, 1]);
    world.submits(graph(&[(INC, &[]), (INC, &[])]), &[0, 1]);
    world.finishes_after(1, 0, 0, 104, 1_000);
    world.finishes_after(0, 1, 0, 96, 1_000);
    assert_eq!(rebalance(&mut world), [rebalanced(0, 0)]);
}

#[test]
fn a_recipient_that_dies_costs_nothing() {
    let mut world = lopsided(&[100; 4], 1);
    rebalance(&mut world);
    assert_eq!(holds(&mut world, 1, 0), [dropped(0, &[0])]);
    // What was there is made again; what was on its way is where it was.
    assert_eq!(world.leaves(1), [rebalanced(1, 100), wanted(compute(0, 0, 1, INC, &[], vec![]))]);
    world.client(release(&[0]));
    let joined = world.joins(2, 1);
    assert_eq!(joined, []);
    assert_eq!(rebalance(&mut world), [acquire(2, &[(1, 100)])]);
}

#[test]
fn a_recipient_on_its_way_out_gets_nothing() {
    let mut world = lopsided(&[100; 4], 2);
    // It would go at once if it did not run something.
    world.submits(graph(&[(INC, &[]), (INC, &[]), (INC, &[])]), &[0, 1, 2]);
    for (worker, sequence) in [(1, 4), (2, 5), (0, 6)] {
        world.starts(worker, sequence, 0);
    }
    let retire = Request::Retire { workers: vec![WorkerId(1)], grace_ms: None };
    assert_eq!(world.client(FromClient::Ask { ticket: 8, request: retire }), []);
    assert_eq!(rebalance(&mut world), [acquire(2, &[(0, 100), (1, 100)])]);
}

#[test]
fn a_result_that_is_let_go_on_its_way_ends_its_move() {
    let mut world = lopsided(&[100; 2], 1);
    assert_eq!(rebalance(&mut world), [acquire(1, &[(0, 100)])]);
    assert_eq!(world.client(release(&[0])), [rebalanced(0, 0), dropped(0, &[0]), dropped(1, &[0])]);
    assert_eq!(holds(&mut world, 1, 0), [dropped(1, &[0])], "it had it already");
}

#[test]
fn what_a_task_takes_where_it_lies_stays_there_too() {
    let mut world = lopsided(&[100; 2], 1);
    // The emptier worker is no sooner done with it: 100 bytes are nothing, but a latency is something.
    let told = world.submits(graph(&[(INC, &[ArgumentCode::Task(task(0))])]), &[0]);
    assert_eq!(told, [compute_of(0, 2, 0, INC, &[0], vec![], (1, 0), true)]);
    assert_eq!(rebalance(&mut world), [acquire(1, &[(0, 100)])]);
    assert_eq!(holds(&mut world, 1, 0), [rebalanced(1, 100)]);
}

#[test]
fn a_client_that_gathers_what_has_moved_is_told_where_it_is() {
    // test_client: gather_race_vs_AMM.
    let mut world = lopsided(&[100; 2], 1);
    rebalance(&mut world);
    assert_eq!(holds(&mut world, 1, 0), [rebalanced(1, 100), dropped(0, &[0])]);
    let message = FromClient::Locate { task: task(0), tried: vec![address(0)] };
    for _ in 0..Config::default().allowed_misses + 1 {
        assert_eq!(world.client(message.clone()), [done(0, 100, &[1])], "which is nobody's failure, however often");
    }
}
