//! Which worker gets a task, and when.

use super::*;

#[test]
fn a_task_goes_where_the_larger_input_is() {
    let mut world = World::new(&[1, 1]);
    let told = world.submits(graph(&[(INC, &[]), (INC, &[]), (SUM, &[node(0), node(1)])]), &[2]);
    assert_eq!(told, [compute(1, 0, 0, INC, &[], vec![]), compute(0, 1, 0, INC, &[], vec![])]);
    assert_eq!(world.finishes_after(1, 0, 0, 1 << 20, 1000), []);
    assert_eq!(
        world.finishes_after(0, 1, 0, 1 << 24, 1000),
        [wanted(compute(0, 2, 0, SUM, &[0, 1], vec![remote(0, 1 << 20, &[1])]))]
    );
    assert_eq!(world.worker(0, FromWorker::Holds { tasks: vec![task(0)] }), []);
    assert_eq!(world.finishes(0, 2), [done(2, 8, &[0]), dropped(0, &[1, 0]), dropped(1, &[0])]);
}

#[test]
fn an_idle_worker_counts_where_the_holder_is_busy_for_longer_than_the_move_takes() {
    let mut world = World::new(&[1, 1]);
    // 0 makes what 1, 2 and 3 take; each takes 50 ms.
    let three = graph(&[(INC, &[]), (INC, &[node(0)]), (INC, &[node(0)]), (INC, &[node(0)])]);
    world.submits(three, &[1, 2, 3]);
    // The first in order runs where its input is; the second is sooner elsewhere; the third waits for the first to end.
    let elsewhere = wanted(compute(0, 2, 0, INC, &[0], vec![remote(0, 8, &[1])]));
    assert_eq!(world.finishes(1, 0), [elsewhere, wanted(compute(1, 1, 0, INC, &[0], vec![]))]);
    assert_eq!(world.finishes(1, 1), [done(1, 8, &[1]), wanted(compute(1, 3, 0, INC, &[0], vec![]))]);
}

#[test]
fn a_worker_that_joins_late_takes_from_the_longest_queue() {
    let mut world = World::new(&[1]);
    let wide = graph(&[(INC, &[]), (INC, &[node(0)]), (INC, &[node(0)]), (INC, &[node(0)])]);
    world.submits(wide, &[1, 2, 3]);
    assert_eq!(world.finishes(0, 0), [wanted(compute(0, 1, 0, INC, &[0], vec![]))]);
    // The last in order goes: the one before it is next where it is.
    assert_eq!(world.joins(1, 1), [wanted(compute(1, 3, 0, INC, &[0], vec![remote(0, 8, &[0])]))]);
}

#[test]
fn short_tasks_are_sent_ahead_and_long_ones_are_not() {
    let mut world = World::new(&[1]);
    let many: Vec<(FunctionId, &[ArgumentCode])> = vec![(INC, &[]); 1000];
    let all: Vec<u32> = (0..1000).collect();
    assert_eq!(world.submits(graph(&many), &all).len(), 1); // nothing is known yet
    assert_eq!(world.finishes_after(0, 0, 0, 8, 1_000).len(), 1 + 256); // 1 us each: as many as one thread is ever sent
    let mut world = World::new(&[1]);
    world.submits(graph(&many), &all);
    assert_eq!(world.finishes_after(0, 0, 0, 8, 30_000_000).len(), 1 + 1);
}

#[test]
fn as_many_roots_are_in_hand_as_keep_threads_busy_for_four_milliseconds() {
    // test_scheduler: saturation_factor. How long a task takes says how many a worker of 2 threads and one of 1 have.
    let table =
        [(None, [2, 1]), (Some(10_000), [2, 1]), (Some(3_000), [3, 2]), (Some(1_000), [8, 4]), (Some(200), [40, 20])];
    for (micros, expected) in table {
        let mut world = World::new(&[2, 1]);
        if let Some(micros) = micros {
            world.submits(graph(&[(INC, &[])]), &[0]);
            world.finishes_after(1, 0, 0, 8, micros * 1_000);
        }
        let many: Vec<(FunctionId, &[ArgumentCode])> = vec![(INC, &[]); 100];
        let told = world.submits(graph(&many), &(0..100).collect::<Vec<_>>());
        let n_of =
            |id: u32| told.iter().filter(|c| matches!(c, Command::ToWorker { worker, .. } if worker.0 == id)).count();
        assert_eq!([n_of(0), n_of(1)], expected, "of {micros:?} us each");
    }
}

#[test]
fn single_tasks_take_turns_on_idle_workers() {
    // test_client: scatter_direct_spread_evenly, even_load_on_startup: what is scattered is a task that gives its value.
    let mut world = World::new(&[1, 1, 1]);
    let mut counts = [0; 3];
    for sequence in 0..12 {
        let told = world.submits(graph(&[(INC, &[])]), &[0]);
        let [Command::ToWorker { worker, .. }] = &*told else { panic!("{told:?}") };
        counts[worker.0 as usize] += 1;
        world.finishes(worker.0, sequence);
    }
    assert_eq!(counts, [4, 4, 4]);
}

#[test]
fn what_is_urgent_runs_first_and_of_equals_what_was_submitted_first() {
    // test_priorities: submit, map, compute, persist, repeated_persists_same_priority.
    let mut world = World::new(&[1]);
    world.submits(graph(&[(INC, &[])]), &[0]);
    for priority in [-1, 0, 1, 0, 1] {
        let mut pair = graph(&[(INC, &[]), (INC, &[])]);
        for node in 0..2 {
            pair.push_options(node, TaskOptions { priority, ..TaskOptions::default() });
        }
        assert_eq!(world.submits(pair, &[0, 1]), []);
    }
    let mut order = Vec::new();
    let mut told = world.finishes(0, 0);
    while let Some(Command::ToWorker { message: ToWorker::Compute(next), .. }) = told.last() {
        order.push(next.task.sequence());
        told = world.finishes(0, next.task.sequence());
    }
    assert_eq!(order, [5, 6, 9, 10, 3, 4, 7, 8, 1, 2]);
}

#[test]
fn what_was_begun_is_finished_before_more_is_begun() {
    // test_priorities: last_in_first_out.
    let mut world = World::new(&[1]);
    let nodes: Vec<(FunctionId, Vec<ArgumentCode>)> =
        (0..15).map(|n| (INC, if n % 3 == 0 { vec![] } else { vec![node(n - 1)] })).collect();
    let nodes: Vec<(FunctionId, &[ArgumentCode])> = nodes.iter().map(|(f, arguments)| (*f, &**arguments)).collect();
    let mut told = world.submits(graph(&nodes), &[2, 5, 8, 11, 14]);
    let mut order = Vec::new();
    while let Some(next) = told.iter().find_map(|command| match command {
        Command::ToWorker { message: ToWorker::Compute(next), .. } => Some(next.task.sequence()),
        _ => None,
    }) {
        order.push(next);
        told = world.finishes(0, next);
    }
    assert_eq!(order, (0..15).collect::<Vec<_>>());
}

#[test]
fn the_users_priority_comes_before_the_order_of_submission() {
    let mut world = World::new(&[1]);
    world.submits(graph(&[(INC, &[]), (INC, &[])]), &[0, 1]);
    let mut urgent = graph(&[(INC, &[])]);
    urgent.push_options(0, TaskOptions { priority: 1, ..TaskOptions::default() });
    assert_eq!(world.submits(urgent, &[0]), []);
    let told = world.finishes(0, 0);
    let [_, Command::ToWorker { message: ToWorker::Compute(next), .. }] = &*told else { panic!("{told:?}") };
    assert_eq!((next.task, next.priority), (task(2), Priority { user: -1, submission: 1, ..Priority::default() }));
}

#[test]
fn a_task_that_no_worker_knows_fails_by_name() {
    let mut world = World::new(&[]);
    world.submits(graph(&[(SUM, &[])]), &[0]);
    let Event::Hello { connection, mut hello } = hello(Role::Worker(WorkerHello::new(1, address(0), "w0"))) else {
        unreachable!()
    };
    hello.functions.truncate(1);
    let told = world.told(Event::Hello { connection, hello });
    assert_eq!(told[1], failed(0, TaskError::UnknownFunction { function: "sum".into() }));
    // One that knows it comes: new tasks go there, however busy it is, and never to the other.
    world.joins(1, 1);
    let told = world.submits(graph(&[(SUM, &[]), (SUM, &[])]), &[0, 1]);
    assert_eq!(told, [compute_of(1, 1, 0, SUM, &[], vec![], (1, 0), true)]);
}
