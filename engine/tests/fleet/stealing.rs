//! Who ends up with what: the layouts to which dask's own tests hold its stealing.

use phalanx_engine::{graph::ArgumentCode, graph::Graph, request::Request};

use super::{
    MAKE, USE,
    fleet::{Cost, Fleet, graph, pin, task},
    millis,
};

/// What a second of moving is at 1 GB/s, in bytes.
const SECOND: u64 = 1_000_000_000;

/// Workers of one thread, each with inputs that take so many seconds to move; for each input there will be a task that
/// takes it and runs for a second. Returns the fleet when all inputs are there, and the tasks.
fn laid_out(layout: &[&[u64]]) -> (Fleet, Graph) {
    let inputs: Vec<(usize, u64)> =
        layout.iter().enumerate().flat_map(|(place, seconds)| seconds.iter().map(move |s| (place, *s))).collect();
    let n = inputs.len() as u64;
    let sizes: Vec<u64> = inputs.iter().map(|(_, seconds)| seconds * SECOND + 8).collect();
    let mut fleet = Fleet::new(move |task| match sizes.get(task as usize) {
        Some(n_bytes) => Cost { time: millis(1), n_bytes: *n_bytes },
        None => Cost { time: millis(1_000), n_bytes: 8 },
    });
    fleet.join(&vec![1; layout.len()]);
    let mut roots = graph(&vec![(MAKE, vec![]); inputs.len()]);
    for (node, (place, _)) in inputs.iter().enumerate() {
        pin(&mut roots, node as u32, &[*place], true);
    }
    fleet.submit(roots, &(0..n as u32).collect::<Vec<_>>());
    fleet.run_until_done(n as usize);
    // One goes before, so that it is known how long they take.
    let known = fleet.submit(taking(&[0]), &[0]);
    fleet.run_until_done(n as usize + 1);
    fleet.release([known]);
    fleet.run_for(millis(10));
    fleet.ran.clear();
    fleet.done.clear();
    (fleet, taking(&(0..n).collect::<Vec<_>>()))
}

/// A task for each of these inputs.
fn taking(inputs: &[u64]) -> Graph {
    let mut graph = graph(&vec![(USE, vec![]); inputs.len()]);
    graph.arguments = inputs.iter().map(|input| ArgumentCode::Task(task(*input))).collect();
    graph.ends = (1..=inputs.len() as u32).collect();
    graph
}

/// How many tasks each worker runs, and how long all of it takes in seconds.
fn balanced(layout: &[&[u64]]) -> (Vec<usize>, u64) {
    let (mut fleet, tasks) = laid_out(layout);
    let (start, n) = (fleet.now, tasks.len());
    fleet.submit(tasks, &(0..n as u32).collect::<Vec<_>>());
    fleet.run_until_done(n);
    (fleet.n_ran(), (fleet.now - start).as_secs())
}

/// Inputs by worker, tasks by worker at the end, after how many seconds that is, and why.
type Row = (&'static [&'static [u64]], &'static [usize], u64, &'static str);

#[test]
fn tasks_move_where_that_brings_the_end_nearer_and_not_elsewhere() {
    // test_steal: balance, balance_expensive_tasks.
    let table: &[Row] = &[
        (&[&[1], &[]], &[1, 0], 1, "what has nothing before it stays"),
        (&[&[0, 0], &[]], &[1, 1], 1, "one of two goes"),
        (&[&[0, 0, 0], &[]], &[2, 1], 2, "and one of three"),
        (&[&[0, 0], &[0, 0, 0], &[]], &[2, 2, 1], 2, "from the longer queue"),
        (&[&[0, 0, 0], &[0], &[]], &[2, 1, 1], 2, "to who has nothing"),
        (&[&[1, 0], &[]], &[1, 1], 1, "the one that is easier to move"),
        (&[&[0, 0, 0, 0], &[], &[]], &[2, 1, 1], 2, "evenly"),
        (&[&[1, 1, 1], &[]], &[2, 1], 2, "what is dear to move, where waiting is dearer"),
        (&[&[1, 1, 1, 1], &[]], &[3, 1], 3, "but not too much of it"),
        (&[&[0, 0], &[0, 0], &[0, 0], &[]], &[2, 1, 2, 1], 2, "of equals one each"),
        (&[&[3, 3, 3], &[]], &[3, 0], 3, "what takes longer to move than to wait for stays"),
        (&[&[3, 3, 3, 3, 3], &[]], &[4, 1], 4, "until there is more before it"),
        (&[&[4, 2, 2, 2, 2, 1, 1], &[4, 2, 1, 1], &[], &[], &[]], &[4, 2, 2, 2, 1], 5, "all of it together"),
    ];
    let found: Vec<_> = table.iter().map(|(layout, _, _, why)| (balanced(layout), *why)).collect();
    let expected: Vec<_> = table.iter().map(|(_, counts, seconds, why)| ((counts.to_vec(), *seconds), *why)).collect();
    assert_eq!(found, expected);
}

#[test]
fn tasks_go_to_copies_of_their_input_before_they_go_to_empty_hands() {
    // test_steal: balance_to_replica, balance_uneven_without_replica, balance_prefers_busier_with_dependency.
    let (mut fleet, _) = laid_out(&[&[4], &[], &[]]);
    fleet.ask(Request::Replicate { tasks: vec![task(0)], n_copies: 2 });
    fleet.run_for(millis(6_000));
    // Six seconds of work on two workers that have it; the third would need four to fetch it.
    fleet.submit(taking(&[0; 6]), &(0..6).collect::<Vec<_>>());
    fleet.run_until_done(6);
    let mut counts = fleet.n_ran();
    counts.sort_unstable();
    assert_eq!(counts, [0, 3, 3]);
}

#[test]
fn whoever_dies_while_a_task_is_on_its_way_it_runs() {
    // test_steal: steal_worker_dies_same_ip, reschedule_concurrent_requests_deadlock, stop_in_flight.
    for after in [1, 100, 900, 1_100, 1_900] {
        for victim in 0..2 {
            let (mut fleet, tasks) = laid_out(&[&[1, 1, 1, 1], &[]]);
            fleet.submit(tasks, &[0, 1, 2, 3]);
            fleet.run_for(millis(after));
            fleet.kill(victim);
            fleet.join(&[1]);
            fleet.run_until_done(4);
        }
    }
}
