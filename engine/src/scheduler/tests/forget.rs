//! How long tasks are remembered: while somebody holds them or something needs them, and no longer.

use super::*;

fn cancel(sequences: &[u64]) -> FromClient {
    FromClient::Cancel { tasks: sequences.iter().map(|s| task(*s)).collect() }
}

fn fails(world: &mut World, worker: u32, sequence: u64) -> Vec<Command> {
    let failure = Failure::Error("no".into());
    world.worker(worker, FromWorker::Failed { task: task(sequence), attempt: Attempt(0), failure })
}

fn no() -> TaskError {
    TaskError::Failed { function: "inc".into(), worker: WorkerId(0), tries: 1, message: "no".into() }
}

#[test]
fn inputs_are_kept_for_what_needs_them_and_results_for_who_holds_them() {
    // test_client: forget_simple.
    let mut world = World::new(&[1]);
    world.submits(graph(&[(INC, &[]), (INC, &[]), (SUM, &[node(0), node(1)])]), &[0, 1, 2]);
    assert_eq!(world.client(release(&[0])), [], "the sum needs it");
    assert_eq!(world.finishes(0, 0), [wanted(compute(0, 1, 0, INC, &[], vec![]))]);
    assert_eq!(world.finishes(0, 1), [done(1, 8, &[0]), wanted(compute(0, 2, 0, SUM, &[0, 1], vec![]))]);
    assert_eq!(world.finishes(0, 2), [done(2, 8, &[0]), dropped(0, &[0])]);
    // How it is made is known as long as the sum may have to be made again.
    assert_eq!(world.scheduler.n_tasks(), 3);
    assert_eq!(world.client(release(&[2])), [dropped(0, &[2])]);
    assert_eq!(world.scheduler.n_tasks(), 1);
    assert_eq!(world.client(release(&[1])), [dropped(0, &[1])]);
    assert_eq!(world.scheduler.n_tasks(), 0);
}

#[test]
fn what_is_held_keeps_its_recipe_and_nothing_more() {
    // test_client: forget_complex. Roots 0 to 3; 4 of 0 and 1, 5 of 0 and 2, 6 of 2 and 3; 7 of 5 and 4.
    let sums = |a: u32, b: u32| [node(a), node(b)];
    let (ab, ac, cd, last) = (sums(0, 1), sums(0, 2), sums(2, 3), sums(5, 4));
    let mut world = World::new(&[1]);
    let nodes: [(FunctionId, &[ArgumentCode]); 8] =
        [(INC, &[]), (INC, &[]), (INC, &[]), (INC, &[]), (SUM, &ab), (SUM, &ac), (SUM, &cd), (SUM, &last)];
    world.submits(graph(&nodes), &(0..8).collect::<Vec<_>>());
    for sequence in 0..8 {
        world.finishes(0, sequence);
    }
    assert_eq!(world.client(release(&[4, 5])), [dropped(0, &[4, 5])]);
    assert_eq!(world.scheduler.n_tasks(), 8, "7 may have to be made again");
    assert_eq!(world.client(release(&[0, 1])), [dropped(0, &[0, 1])]);
    assert_eq!(world.scheduler.n_tasks(), 8);
    assert_eq!(world.client(release(&[7])), [dropped(0, &[7])]);
    assert_eq!(world.scheduler.n_tasks(), 3, "2, 3 and 6 are held");
    assert_eq!(world.client(release(&[2, 3])), [dropped(0, &[2, 3])]);
    assert_eq!(world.scheduler.n_tasks(), 3);
    assert_eq!(world.client(release(&[6])), [dropped(0, &[6])]);
    assert_eq!(world.scheduler.n_tasks(), 0);
}

#[test]
fn work_under_way_is_stopped_when_the_last_who_wants_it_lets_go_in_whatever_order() {
    // test_client: forget_in_flight.
    let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
    for order in orders {
        let mut world = World::new(&[1]);
        world.submits(graph(&[(INC, &[]), (INC, &[node(0)]), (INC, &[node(1)])]), &[0, 1, 2]);
        world.starts(0, 0, 0);
        let told: Vec<Vec<Command>> = order.iter().map(|sequence| world.client(release(&[*sequence]))).collect();
        assert_eq!(told, [vec![], vec![], vec![cancelled(0, 0, 0)]], "{order:?}");
        assert_eq!(world.scheduler.n_tasks(), 0);
    }
}

#[test]
fn a_failure_is_remembered_while_something_that_failed_of_it_is_held() {
    // test_client: forget_errors.
    let mut world = World::new(&[1]);
    world.submits(graph(&[(INC, &[]), (INC, &[node(0)]), (INC, &[node(1)])]), &[0, 1, 2]);
    assert_eq!(fails(&mut world, 0, 0), [failed(0, no()), failed(1, no()), failed(2, no())]);
    assert_eq!(world.client(release(&[0, 1])), []);
    assert_eq!(world.scheduler.n_tasks(), 3);
    assert_eq!(world.client(release(&[2])), []);
    assert_eq!(world.scheduler.n_tasks(), 0);
}

#[test]
fn what_was_made_for_something_that_fails_is_dropped() {
    // test_client: if_intermediates_clear_on_error, get_stops_work_after_error.
    let mut world = World::new(&[1]);
    let nodes: [(FunctionId, &[ArgumentCode]); 4] =
        [(INC, &[]), (INC, &[]), (INC, &[]), (SUM, &[node(0), node(1), node(2)])];
    world.submits(graph(&nodes), &[3]);
    assert_eq!(world.finishes(0, 0), [compute(0, 1, 0, INC, &[], vec![])]);
    assert_eq!(fails(&mut world, 0, 1), [failed(3, no()), dropped(0, &[0])]);
    // The third root is not begun.
    assert_eq!(world.submits(graph(&[(INC, &[])]), &[0]), [compute_of(0, 4, 0, INC, &[], vec![], (1, 0), true)]);
}

#[test]
fn errors_stop_nothing_else() {
    // test_client: errors_dont_block.
    let mut world = World::new(&[1]);
    world.submits(graph(&[(INC, &[]), (INC, &[]), (INC, &[])]), &[0, 1, 2]);
    assert_eq!(fails(&mut world, 0, 0), [failed(0, no()), wanted(compute(0, 1, 0, INC, &[], vec![]))]);
    assert_eq!(world.finishes(0, 1), [done(1, 8, &[0]), wanted(compute(0, 2, 0, INC, &[], vec![]))]);
}

#[test]
fn what_is_submitted_on_a_cancelled_task_is_cancelled() {
    // test_client: submit_on_cancelled_future, cancel_before_known_to_scheduler, cancel_clears_processing.
    let mut world = World::new(&[1]);
    world.submits(graph(&[(INC, &[])]), &[0]);
    assert_eq!(world.client(cancel(&[0])), [cancelled(0, 0, 0), failed(0, TaskError::Cancelled)]);
    let user = graph(&[(INC, &[ArgumentCode::Task(task(0))])]);
    assert_eq!(world.submits(user, &[0]), [failed(1, TaskError::Cancelled)]);
    // Its thread is free for what comes next, and its late result is nobody's.
    assert_eq!(world.submits(graph(&[(INC, &[])]), &[0]), [compute_of(0, 2, 0, INC, &[], vec![], (2, 0), true)]);
    assert_eq!(world.finishes(0, 0), [dropped(0, &[0])]);
    // What nobody knows, nobody holds or is done cannot be cancelled.
    world.finishes(0, 2);
    assert_eq!(world.client(cancel(&[2, 9, 0])), []);
    assert_eq!(world.client(release(&[2])), [dropped(0, &[2])]);
}

#[test]
fn what_failed_runs_again_when_it_is_submitted_again_on_what_is_there() {
    // test_client: retry, retry_dependencies.
    let mut world = World::new(&[1]);
    world.submits(pair(), &[0, 1]);
    world.finishes(0, 0);
    assert_eq!(fails(&mut world, 0, 1), [failed(1, no())]);
    let again = graph(&[(INC, &[ArgumentCode::Task(task(0))])]);
    assert_eq!(world.submits(again, &[0]), [compute_of(0, 2, 0, INC, &[0], vec![], (1, 0), true)]);
    assert_eq!(world.finishes(0, 2), [done(2, 8, &[0])]);
}
