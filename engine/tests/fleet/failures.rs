//! What the loss of workers and the failure of tasks cost, as anyone sees it from outside.

use std::{collections::BTreeSet, time::Duration};

use phalanx_engine::{graph::ArgumentCode, request::Request};

use super::{
    JOIN, MAKE, USE, fan_out,
    fleet::{Cost, Fleet, graph, pin, task},
    millis,
};

#[test]
fn the_answer_survives_three_kills_of_whoever_has_it() {
    // test_failed_workers: gather_then_submit_after_failed_workers.
    let mut fleet = Fleet::new(|_| Cost { time: millis(10), n_bytes: 8 });
    fleet.join(&[1; 4]);
    let mut nodes = vec![(MAKE, vec![]); 10];
    nodes.push((JOIN, (0..10).collect()));
    fleet.submit(graph(&nodes), &[10]);
    for n_runs in 1..=4 {
        fleet.run_until_done(1);
        assert_eq!(fleet.n_runs[&10], n_runs);
        fleet.done.clear();
        fleet.kill(fleet.ran[&10]);
        if n_runs == 3 {
            fleet.join(&[1]);
        }
    }
}

#[test]
fn seven_of_ten_workers_die_and_every_answer_comes() {
    // test_stress: stress_scatter_death.
    let mut fleet = Fleet::new(|task| Cost { time: millis(20 + task * 37 % 60), n_bytes: 1 << 16 });
    fleet.join(&[1; 10]);
    let mut nodes = vec![(MAKE, vec![]); 10];
    let (mut before, mut layer) = (0..10, 10..40);
    for _ in 0..4 {
        nodes.extend(layer.clone().map(|node| {
            let n = before.len() as u32;
            (USE, vec![before.start + node % n, before.start + (node * 7 + 3) % n])
        }));
        (before, layer) = (layer.clone(), layer.end..layer.end + 30);
    }
    fleet.submit(graph(&nodes), &before.clone().collect::<Vec<_>>());
    for victim in 0..7 {
        fleet.run_for(millis(60));
        fleet.kill(victim);
    }
    fleet.run_until_done(before.len());
    let asked: BTreeSet<u64> = before.map(u64::from).collect();
    assert_eq!(fleet.done, asked);
    assert!(fleet.n_runs.values().any(|n| *n > 1), "nothing was lost");
}

#[test]
fn of_two_copies_one_may_be_lost_while_it_is_moved() {
    // test_scheduler: missing_data_errant_worker.
    for victim in [0, 1] {
        let mut fleet = Fleet::new(|_| Cost { time: millis(10), n_bytes: 80 << 20 });
        fleet.join(&[1; 3]);
        let mut root = graph(&[(MAKE, vec![])]);
        pin(&mut root, 0, &[0], false);
        fleet.submit(root, &[0]);
        fleet.run_until_done(1);
        fleet.ask(Request::Replicate { tasks: vec![task(0)], n_copies: 2 });
        fleet.run_for(millis(1_000));
        let mut user = graph(&[(USE, vec![])]);
        user.arguments.push(ArgumentCode::Task(task(0)));
        user.ends[0] = 1;
        pin(&mut user, 0, &[2], false);
        fleet.submit(user, &[0]);
        // It takes 84 ms.
        fleet.run_for(millis(40));
        fleet.kill(victim);
        fleet.run_until_done(2);
        assert_eq!((fleet.n_runs[&0], fleet.ran[&1]), (1, 2), "with w{victim} lost");
    }
}

#[test]
fn a_fan_out_ends_whenever_a_worker_dies() {
    // test_scheduler: fan_out_pattern_deadlock, deadlock_dependency_of_queued_released_when_worker_replaced.
    for after in [1, 2, 5, 11, 12, 25, 60] {
        for has_replacement in [true, false] {
            let (mut fleet, submit) = fan_out(20, 8, millis(10));
            fleet.join(&[1, 1]);
            submit(&mut fleet);
            fleet.run_for(millis(after));
            fleet.kill(fleet.ran[&0]);
            if has_replacement {
                fleet.join(&[1]);
            }
            fleet.run_until_done(20);
        }
    }
}

#[test]
fn an_error_in_a_fan_out_reaches_who_needs_it_and_nobody_else_though_workers_die() {
    // test_scheduler: stimulus_from_erred_task; test_client: errors_dont_block.
    for after in [2, 12, 30] {
        let mut fleet = Fleet::new(|_| Cost { time: millis(10), n_bytes: 8 });
        fleet.failing = [7].into();
        fleet.join(&[1, 1]);
        let mut nodes = vec![(MAKE, vec![])];
        nodes.extend((1..=20).map(|_| (USE, vec![0])));
        nodes.push((JOIN, (1..=20).collect()));
        nodes.push((USE, vec![21]));
        fleet.submit(graph(&nodes), &(1..=22).collect::<Vec<_>>());
        fleet.run_for(millis(after));
        fleet.kill(fleet.ran[&0]);
        fleet.join(&[1]);
        fleet.run_until_settled(22);
        assert_eq!(fleet.failed.keys().copied().collect::<Vec<_>>(), [7, 21, 22]);
        assert!(!fleet.n_runs.contains_key(&21), "what takes a failure does not run");
        let words: BTreeSet<String> = fleet.failed.values().map(ToString::to_string).collect();
        assert_eq!(words.len(), 1, "all say whose failure it is: {words:?}");
    }
}

#[test]
fn nothing_is_left_of_work_that_is_let_go_in_the_middle() {
    // test_steal: cleanup_repeated_tasks, lose_task; test_client: forget_in_flight.
    let mut fleet = Fleet::new(|_| Cost { time: millis(3), n_bytes: 1 << 10 });
    let mut alive = fleet.join(&[1, 2, 1]);
    for round in 0..20 {
        let mut nodes = vec![(MAKE, vec![])];
        nodes.extend((1..=20).map(|_| (USE, vec![0])));
        nodes.push((JOIN, (1..=20).collect()));
        let first = fleet.submit(graph(&nodes), &[20, 21]);
        fleet.run_for(Duration::from_micros(500 + 1_700 * round));
        if round % 4 == 3 {
            let victim = alive.remove(0);
            fleet.kill(victim);
            alive.extend(fleet.join(&[1]));
        }
        fleet.release([first + 20, first + 21]);
    }
    fleet.run_for(Duration::from_secs(10));
    fleet.check_forgotten();
}
