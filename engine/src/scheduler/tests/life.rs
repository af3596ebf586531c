//! How tasks come to be ready, done, failed, lost and forgotten.

use super::*;

#[test]
fn a_graph_waits_for_a_worker_and_runs_in_its_order() {
    let mut world = World::new(&[]);
    assert_eq!(world.submits(pair(), &[1]), []);
    assert_eq!(world.joins(0, 1), [compute(0, 0, 0, INC, &[], vec![])]);
    assert_eq!(world.finishes(0, 0), [wanted(compute(0, 1, 0, INC, &[0], vec![]))]);
    assert_eq!(world.finishes(0, 1), [done(1, 8, &[0]), dropped(0, &[0])]);
    assert_eq!(world.client(release(&[1])), [dropped(0, &[1])]);
    assert_eq!(world.scheduler.n_tasks(), 0);
}

#[test]
fn constants_travel_with_the_task_that_names_them() {
    let mut world = World::new(&[1]);
    let mut graph = graph(&[(SUM, &[ArgumentCode::List(2), ArgumentCode::Constant(1), ArgumentCode::Constant(1)])]);
    graph.constants = vec![Value::new(1.0), Value::new(2.0)];
    let commands = world.submits(graph, &[0]);
    let [Command::ToWorker { message: ToWorker::Compute(compute), .. }] = &*commands else { panic!("{commands:?}") };
    assert_eq!(*compute.arguments, [ArgumentCode::List(2), ArgumentCode::Constant(0), ArgumentCode::Constant(0)]);
    assert_eq!((&*compute.constants, compute.n_constants), (&[Value::new(2.0)][..], 1));
}

#[test]
fn a_small_result_comes_with_the_answer() {
    let mut world = World::new(&[1]);
    world.submits(graph(&[(INC, &[])]), &[0]);
    let value = Some(Value::new(3.0));
    let told = world.worker(0, FromWorker::finished(task(0), Attempt(0), 8, 1000, value.clone()));
    let message = ToClient::finished(task(0), 8, vec![], value);
    assert_eq!(told, [Command::ToClient { client: CLIENT, message }]);
}

#[test]
fn a_lost_worker_gives_its_task_back() {
    let mut world = World::new(&[1]);
    world.submits(graph(&[(INC, &[])]), &[0]);
    assert_eq!(world.joins(1, 1), []);
    assert_eq!(world.leaves(0), [wanted(compute(1, 0, 1, INC, &[], vec![]))]);
}

#[test]
fn only_what_was_running_is_suspected_and_three_deaths_are_enough() {
    let mut world = World::new(&[1]);
    world.submits(graph(&[(INC, &[])]), &[0]);
    for death in 0..3 {
        if death > 0 {
            assert_eq!(world.leaves(death - 1), []);
            assert_eq!(world.joins(death, 1), [wanted(compute(death, 0, death, INC, &[], vec![]))]);
        }
        if death != 1 {
            world.starts(death, 0, death);
        }
    }
    // It died of the first and may die of the third, but the second had not begun to run it.
    assert_eq!(world.leaves(2), []);
    world.joins(3, 1);
    world.starts(3, 0, 3);
    let death = |worker| Death { worker: WorkerId(worker), name: format!("w{worker}"), evidence: None };
    let error = TaskError::KilledWorkers { function: "inc".into(), deaths: [0, 2, 3].map(death).into() };
    assert_eq!(world.leaves(3), [failed(0, error)]);
}

#[test]
fn what_only_the_lost_worker_had_is_made_again_and_nothing_else() {
    let mut world = World::new(&[1]);
    // 0 and 1 feed 2; 3 takes 2 and 1.
    world.submits(graph(&[(INC, &[]), (INC, &[]), (SUM, &[node(0), node(1)]), (SUM, &[node(2), node(1)])]), &[3]);
    world.finishes(0, 0);
    world.finishes(0, 1);
    assert_eq!(world.finishes(0, 2), [dropped(0, &[0]), wanted(compute(0, 3, 0, SUM, &[2, 1], vec![]))]);
    assert_eq!(world.joins(1, 4), []);
    // 3 needs 2 and 1 again, and 2 needs 0 again: 0 and 1 can run at once.
    assert_eq!(world.leaves(0), [compute(1, 0, 1, INC, &[], vec![]), compute(1, 1, 1, INC, &[], vec![])]);
    world.finishes_after(1, 0, 1, 8, 1000);
    assert_eq!(world.finishes_after(1, 1, 1, 8, 1000), [compute(1, 2, 1, SUM, &[0, 1], vec![])]);
    assert_eq!(
        world.finishes_after(1, 2, 1, 8, 1000),
        [dropped(1, &[0]), wanted(compute(1, 3, 1, SUM, &[2, 1], vec![]))]
    );
}

#[test]
fn a_held_result_that_was_lost_is_made_again_and_told_again() {
    let mut world = World::new(&[1]);
    world.submits(pair(), &[1]);
    world.finishes(0, 0);
    world.finishes(0, 1);
    assert_eq!(world.joins(1, 1), []);
    assert_eq!(world.leaves(0), [compute(1, 0, 1, INC, &[], vec![])]);
    world.finishes_after(1, 0, 1, 8, 1000);
    assert_eq!(world.finishes_after(1, 1, 1, 8, 1000), [done(1, 8, &[1]), dropped(1, &[0])]);
}

#[test]
fn a_copy_elsewhere_saves_the_work() {
    let mut world = World::new(&[1]);
    world.submits(pair(), &[0, 1]);
    world.finishes(0, 0);
    world.joins(1, 1);
    world.worker(1, FromWorker::Holds { tasks: vec![task(0)] });
    assert_eq!(world.leaves(0), [wanted(compute(1, 1, 1, INC, &[0], vec![]))]);
}

#[test]
fn a_copy_that_is_announced_late_ends_the_recomputation() {
    let mut world = World::new(&[1]);
    world.submits(pair(), &[1]);
    world.finishes(0, 0);
    world.joins(1, 1);
    assert_eq!(world.leaves(0), [compute(1, 0, 1, INC, &[], vec![])]);
    world.joins(2, 1);
    assert_eq!(
        world.worker(2, FromWorker::Holds { tasks: vec![task(0)] }),
        [cancelled(1, 0, 1), wanted(compute(2, 1, 1, INC, &[0], vec![]))]
    );
    // What the cancelled attempt answers is stray.
    assert_eq!(world.finishes_after(1, 0, 1, 8, 1000), [dropped(1, &[0])]);
}

#[test]
fn a_copy_on_the_worker_that_makes_the_result_again_counts_at_once() {
    let mut world = World::new(&[1]);
    world.submits(pair(), &[1]);
    // Fetched before the worker that had it died, for a task that was cancelled since.
    assert_eq!(
        world.worker(0, FromWorker::Holds { tasks: vec![task(0)] }),
        [cancelled(0, 0, 0), wanted(compute(0, 1, 0, INC, &[0], vec![]))]
    );
    assert_eq!(world.finishes(0, 0), [], "the attempt may have ended before it was cancelled");
    // Otherwise nobody would know of the copy, and it would stay for ever.
    assert_eq!(world.client(release(&[1])), [cancelled(0, 1, 0), dropped(0, &[0])]);
}

#[test]
fn an_error_is_tried_again_as_often_as_asked_and_then_told() {
    let mut world = World::new(&[1]);
    let mut graph = graph(&[(INC, &[])]);
    graph.push_options(0, TaskOptions { retries: 1, ..TaskOptions::default() });
    world.submits(graph, &[0]);
    let failure = |attempt| FromWorker::Failed { task: task(0), attempt, failure: Failure::Error("no disk".into()) };
    assert_eq!(world.worker(0, failure(Attempt(0))), [wanted(compute(0, 0, 1, INC, &[], vec![]))]);
    assert_eq!(world.worker(0, failure(Attempt(0))), []); // said twice
    let error = TaskError::Failed { function: "inc".into(), worker: WorkerId(0), tries: 2, message: "no disk".into() };
    assert_eq!(world.worker(0, failure(Attempt(1))), [failed(0, error)]);
}

#[test]
fn an_error_reaches_everyone_who_waits_for_it_and_stops_work_done_for_them() {
    let mut world = World::new(&[2]);
    // 2 needs 0 and 1; 3 needs 2.
    world.submits(graph(&[(INC, &[]), (INC, &[]), (SUM, &[node(0), node(1)]), (INC, &[node(2)])]), &[2, 3]);
    let panic = FromWorker::Failed { task: task(0), attempt: Attempt(0), failure: Failure::Panic("oh".into()) };
    let error = TaskError::Panicked { function: "inc".into(), worker: WorkerId(0), tries: 1, message: "oh".into() };
    assert_eq!(world.worker(0, panic), [failed(2, error.clone()), cancelled(0, 1, 0), failed(3, error.clone())]);
    // Who comes later to a failed task hears the same at once.
    assert_eq!(world.submits(graph(&[(INC, &[ArgumentCode::Task(task(3))])]), &[0]), [failed(4, error)]);
    assert_eq!(world.client(release(&[2, 3, 4])), []);
    assert_eq!(world.scheduler.n_tasks(), 0);
}

#[test]
fn what_nobody_wants_any_more_is_stopped_and_forgotten() {
    let mut world = World::new(&[1]);
    world.submits(graph(&[(INC, &[]), (INC, &[node(0)]), (INC, &[node(1)])]), &[2]);
    assert_eq!(world.client(release(&[2])), [cancelled(0, 0, 0)]);
    assert_eq!(world.scheduler.n_tasks(), 0);
    assert_eq!(world.finishes(0, 0), [dropped(0, &[0])]);
}

#[test]
fn a_cancelled_task_says_so_to_all_that_need_it() {
    let mut world = World::new(&[1]);
    world.submits(pair(), &[0, 1]);
    assert_eq!(
        world.client(FromClient::Cancel { tasks: vec![task(0)] }),
        [cancelled(0, 0, 0), failed(0, TaskError::Cancelled), failed(1, TaskError::Cancelled)]
    );
}

#[test]
fn a_client_that_leaves_leaves_nothing() {
    let mut world = World::new(&[1]);
    world.submits(pair(), &[0, 1]);
    world.finishes(0, 0);
    assert_eq!(world.told(Event::ClientLeft { client: CLIENT }), [cancelled(0, 1, 0), dropped(0, &[0])]);
    assert_eq!(world.scheduler.n_tasks(), 0);
}

#[test]
fn an_input_that_is_not_where_it_was_said_to_be_is_made_again() {
    let mut world = World::new(&[1, 1]);
    world.submits(graph(&[(INC, &[]), (INC, &[]), (SUM, &[node(0), node(1)])]), &[2]);
    world.finishes_after(1, 0, 0, 8, 1000);
    world.finishes_after(0, 1, 0, 1 << 24, 1000);
    // The copy on worker 1 cannot be had: it is dropped there, and the task runs again. What waited for it on worker 0
    // is taken back, or it would keep the thread that may have to make it.
    let missing = FromWorker::Missing { task: task(0), tried: vec![address(1)] };
    assert_eq!(world.worker(0, missing), [cancelled(0, 2, 0), dropped(1, &[0]), compute(0, 0, 1, INC, &[], vec![])]);
    assert_eq!(world.finishes_after(0, 0, 1, 8, 1000), [wanted(compute(0, 2, 1, SUM, &[0, 1], vec![]))]);
}

#[test]
fn an_input_that_is_elsewhere_now_is_told_at_once() {
    let mut world = World::new(&[1, 1]);
    world.submits(graph(&[(INC, &[]), (INC, &[]), (SUM, &[node(0), node(1)])]), &[2]);
    world.finishes_after(1, 0, 0, 8, 1000);
    world.finishes_after(0, 1, 0, 1 << 24, 1000);
    assert_eq!(
        world.worker(0, FromWorker::Missing { task: task(0), tried: vec![address(7)] }),
        [to_worker(0, ToWorker::Located { task: task(0), holders: vec![address(1)] })]
    );
}

#[test]
fn the_only_thread_is_free_to_make_an_input_again() {
    // Worker 1 holds an input of what worker 0 is to run, and dies while that is being fetched.
    let mut world = World::new(&[1, 1]);
    world.submits(graph(&[(INC, &[]), (INC, &[]), (SUM, &[node(0), node(1)])]), &[2]);
    world.finishes_after(1, 0, 0, 8, 1000);
    world.finishes_after(0, 1, 0, 1 << 24, 1000);
    assert_eq!(world.leaves(1), []);
    let missing = FromWorker::Missing { task: task(0), tried: vec![address(1)] };
    assert_eq!(world.worker(0, missing), [cancelled(0, 2, 0), compute(0, 0, 1, INC, &[], vec![])]);
    assert_eq!(world.finishes_after(0, 0, 1, 8, 1000), [wanted(compute(0, 2, 1, SUM, &[0, 1], vec![]))]);
}

#[test]
fn a_result_that_can_never_be_fetched_fails_its_task_in_the_end() {
    let mut world = World::new(&[1]);
    world.submits(graph(&[(INC, &[])]), &[0]);
    let locate = || FromClient::Locate { task: task(0), tried: vec![address(0)] };
    for attempt in 0..20 {
        assert_eq!(world.finishes_after(0, 0, attempt, 8, 1000), [done(0, 8, &[0])]);
        assert_eq!(world.client(locate()), [dropped(0, &[0]), wanted(compute(0, 0, attempt + 1, INC, &[], vec![]))]);
    }
    world.finishes_after(0, 0, 20, 8, 1000);
    let error = TaskError::Unreachable { function: "inc".into(), at: "tcp://w0".into() };
    assert_eq!(world.client(locate()), [failed(0, error), dropped(0, &[0])]);
}

#[test]
fn a_long_chain_is_lost_and_let_go_without_recursion() {
    let n = 200_000;
    let mut chain = graph(&[(INC, &[])]);
    for i in 1..n {
        chain.functions.push(INC);
        chain.arguments.push(node(i - 1));
        chain.ends.push(chain.arguments.len() as u32);
    }
    let mut scheduler = Scheduler::new(Config::default(), Time::ZERO);
    let mut out = Vec::new();
    scheduler.handle(Time::ZERO, hello(Role::Client), &mut out);
    let submit = FromClient::submit(0, chain, vec![n - 1]);
    scheduler.handle(Time::ZERO, Event::Client { client: CLIENT, message: submit }, &mut out);
    assert_eq!(scheduler.n_tasks(), n as usize);
    let released = Event::Client { client: CLIENT, message: release(&[u64::from(n) - 1]) };
    scheduler.handle(Time::ZERO, released, &mut out);
    assert_eq!(scheduler.n_tasks(), 0);
}
