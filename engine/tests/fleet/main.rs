//! Where tasks run, as anyone sees it from outside: on a cluster of the real machines in virtual time.
//!
//! | variable | what it does |
//! |---|---|
//! | `PHALANX_FLEET_TASKS` | tasks of the large run, 20,000 if unset; says how long it took by the cluster's own clock |
//! | `PHALANX_FLEET_WORKERS` | workers of the large run, 50 if unset |

mod failures;
mod fleet;
mod queues;
mod stealing;

use std::time::Duration;

use fleet::{Cost, Fleet, graph};

const MAKE: u32 = 0;
const USE: u32 = 1;
const JOIN: u32 = 2;

const fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// One root of `n_bytes`, and `n` tasks that take it, each for `time`.
fn fan_out(n: u64, n_bytes: u64, time: Duration) -> (Fleet, impl Fn(&mut Fleet)) {
    let costs = move |task: u64| {
        if task == 0 { Cost { time: millis(1), n_bytes } } else { Cost { time, n_bytes: 8 } }
    };
    let submit = move |fleet: &mut Fleet| {
        let mut nodes = vec![(MAKE, vec![])];
        nodes.extend((0..n).map(|_| (USE, vec![0])));
        fleet.submit(graph(&nodes), &(1..=n as u32).collect::<Vec<_>>());
    };
    (Fleet::new(costs), submit)
}

#[test]
fn slow_tasks_that_share_an_input_go_to_every_worker() {
    // test_steal: worksteal_many_thieves, steal_cheap_data_slow_computation.
    let (mut fleet, submit) = fan_out(100, 1_000, millis(100));
    fleet.join(&[1; 10]);
    submit(&mut fleet);
    fleet.run_until_done(100);
    let counts = fleet.n_ran();
    assert!(counts.iter().all(|n| (2..=30).contains(n)), "{counts:?}");
    assert!(fleet.n_moved < 50, "{} copies", fleet.n_moved);
    assert!(fleet.now < fleet::at(millis(1_200)), "{:?}", fleet.now);
}

#[test]
fn trivial_tasks_stay_with_their_input() {
    // test_steal: trivial_workload_should_not_cause_work_stealing.
    let (mut fleet, submit) = fan_out(1_000, 1 << 20, Duration::from_micros(10));
    fleet.join(&[1; 10]);
    submit(&mut fleet);
    fleet.run_until_done(1_000);
    assert!(fleet.n_moved <= 20, "{} copies of a MiB for 10 ms of work", fleet.n_moved);
}

#[test]
fn large_inputs_are_not_moved_for_quick_tasks() {
    // test_steal: dont_steal_few_saturated_tasks_many_workers, dont_steal_expensive_data_fast_computation.
    let (mut fleet, submit) = fan_out(2, 100 << 20, millis(20));
    fleet.join(&[1; 18]);
    submit(&mut fleet);
    fleet.run_until_done(2);
    assert_eq!(fleet.n_moved, 0, "100 MiB take longer than the task before");
}

#[test]
fn large_inputs_are_moved_for_slow_tasks() {
    // test_steal: steal_expensive_data_slow_computation.
    let (mut fleet, submit) = fan_out(4, 100 << 20, millis(5_000));
    fleet.join(&[1; 4]);
    submit(&mut fleet);
    fleet.run_until_done(4);
    assert!(fleet.now < fleet::at(millis(11_000)), "{:?}", fleet.now);
}

#[test]
fn who_joins_late_gets_work() {
    // test_steal: new_worker_steals, steal_twice.
    let (mut fleet, submit) = fan_out(100, 8, millis(100));
    fleet.join(&[1]);
    submit(&mut fleet);
    fleet.run_for(millis(1_000));
    fleet.join(&[1]);
    fleet.run_for(millis(1_000));
    fleet.join(&[1; 9]);
    fleet.run_until_done(100);
    let counts = fleet.n_ran();
    assert!(counts.iter().all(|n| *n >= 4), "{counts:?}");
    assert!(fleet.now < fleet::at(millis(3_600)), "{:?}", fleet.now);
}

#[test]
fn slow_tasks_go_one_to_a_worker() {
    // test_scheduler: balance_many_workers, balance_many_workers_2.
    for n_tasks in [20, 200] {
        let mut fleet = Fleet::new(|_| Cost { time: millis(200), n_bytes: 8 });
        fleet.join(&[1; 30]);
        fleet.submit(graph(&vec![(MAKE, vec![]); n_tasks]), &(0..n_tasks as u32).collect::<Vec<_>>());
        fleet.run_until_done(n_tasks);
        let most = n_tasks.div_ceil(30);
        assert!(fleet.n_ran().iter().all(|n| *n <= most), "{:?}", fleet.n_ran());
    }
}

#[test]
fn what_follows_runs_where_its_input_is() {
    // test_scheduler: decide_worker_with_many_independent_leaves.
    let mut fleet = Fleet::new(|_| Cost { time: millis(1), n_bytes: 1 << 20 });
    fleet.join(&[1, 1]);
    let mut nodes = Vec::new();
    for pair in 0..100 {
        nodes.push((MAKE, vec![]));
        nodes.push((USE, vec![2 * pair]));
    }
    fleet.submit(graph(&nodes), &(0..100).map(|pair| 2 * pair + 1).collect::<Vec<_>>());
    fleet.run_until_done(100);
    let together = (0..100).filter(|pair| fleet.ran[&(2 * pair)] == fleet.ran[&(2 * pair + 1)]).count();
    assert!(together > 80, "{together} of 100");
}

#[test]
fn chains_are_followed_before_new_roots_are_made() {
    // test_scheduler: graph_execution_width.
    let mut fleet = Fleet::new(|_| Cost { time: millis(10), n_bytes: 8 });
    fleet.join(&[2, 2]);
    let nodes: Vec<(u32, Vec<u32>)> =
        (0..32 * 5).map(|node| if node % 5 == 0 { (MAKE, vec![]) } else { (USE, vec![node - 1]) }).collect();
    fleet.submit(graph(&nodes), &(0..32).map(|chain| 5 * chain + 4).collect::<Vec<_>>());
    let mut most = 0;
    while fleet.done.len() < 32 {
        fleet.run_for(Duration::from_micros(500));
        let begun = (0..32).filter(|chain| fleet.ran.contains_key(&(5 * chain))).count();
        most = most.max(begun - fleet.done.len());
    }
    assert!(most <= 8, "{most} chains begun and not ended on 4 threads");
}

#[test]
fn a_wrong_estimate_is_soon_corrected() {
    // test_steal: correct_bad_time_estimate, eventually_steal_unknown_functions.
    let mut fleet = Fleet::new(|task| Cost { time: if task < 50 { millis(1) } else { millis(200) }, n_bytes: 8 });
    fleet.join(&[1, 1]);
    let mut nodes = vec![(MAKE, vec![]); 1];
    nodes.extend((1..60).map(|_| (USE, vec![0])));
    fleet.submit(graph(&nodes), &(1..60).collect::<Vec<_>>());
    fleet.run_until_done(59);
    assert!(fleet.now < fleet::at(millis(1_600)), "ten of 200 ms on two workers: {:?}", fleet.now);
}

#[test]
fn a_large_cluster_finishes_while_its_workers_die() {
    let variable = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let by_hand = variable("PHALANX_FLEET_TASKS");
    let n_tasks = by_hand.unwrap_or(20_000);
    let n_workers = variable("PHALANX_FLEET_WORKERS").unwrap_or(50);
    // Leaves of a quarter to three quarters of a second, summed up ten at a time.
    let mut fleet = Fleet::new(|task| Cost { time: millis(250 + (task * 7919) % 500), n_bytes: 64 });
    fleet.checks = false;
    fleet.join(&vec![1; n_workers as usize]);
    let mut nodes: Vec<(u32, Vec<u32>)> = Vec::new();
    let mut tops = Vec::new();
    while (nodes.len() as u64) < n_tasks {
        let mut layer: Vec<u32> = Vec::new();
        for _ in 0..100 {
            let first = nodes.len() as u32;
            nodes.extend((0..9).map(|_| (MAKE, vec![])));
            layer.push(nodes.len() as u32);
            nodes.push((JOIN, (first..first + 9).collect()));
        }
        tops.push(nodes.len() as u32);
        nodes.push((JOIN, layer));
    }
    let n_nodes = nodes.len();
    fleet.submit(graph(&nodes), &tops);
    // One in a hundred a minute, and another comes for each; small clusters lose one every ten seconds.
    let pause =
        if n_workers >= 1_000 { Duration::from_secs(6_000) / n_workers as u32 } else { Duration::from_secs(10) };
    let mut victim = 7;
    while fleet.done.len() < tops.len() {
        fleet.run_for(pause);
        victim = (victim * 31 + 17) % n_workers as usize;
        if fleet.is_alive(victim) {
            fleet.kill(victim);
            fleet.join(&[1]);
        }
        assert!(fleet.now < fleet::at(Duration::from_secs(36_000)), "{} of {} are done", fleet.done.len(), tops.len());
    }
    fleet.scheduler.check_invariants();
    if by_hand.is_some() {
        println!("{n_nodes} tasks on {n_workers} workers, {:?} of their time", fleet.now);
    }
}
