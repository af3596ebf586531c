//! Actors, and the calls that stand in line for them.

use super::*;
use crate::{
    message::Rejoin,
    request::{Reply, Request, Retirement},
};

/// An actor and as many calls of it, of which each takes the actor as its only input.
fn actor_and_calls(n_calls: u32) -> Graph {
    let mut graph = Graph {
        functions: vec![INC; n_calls as usize + 1],
        ends: (0..=n_calls).collect(),
        arguments: vec![ArgumentCode::Node(0); n_calls as usize],
        ..Graph::default()
    };
    graph.push_options(0, TaskOptions { actor: true, ..TaskOptions::default() });
    graph
}

/// A call of a task that was submitted before.
fn call_of(sequence: u64) -> Graph {
    Graph {
        functions: vec![INC],
        ends: vec![1],
        arguments: vec![ArgumentCode::Task(task(sequence))],
        ..Graph::default()
    }
}

fn lost(sequence: u64) -> Command {
    let error = TaskError::ActorLost { function: "inc".into() };
    Command::ToClient { client: CLIENT, message: ToClient::Failed { task: task(sequence), error } }
}

#[test]
fn calls_run_where_their_actor_is_one_after_the_other_in_the_order_of_submission() {
    let mut world = World::new(&[4, 4]);
    let made = sent(&world.submits(actor_and_calls(3), &[0, 1, 2, 3]));
    let [(0, home)] = made[..] else { panic!("{made:?}") };
    // Idle threads there and elsewhere do not matter.
    assert_eq!(sent(&world.finishes(home, 0)), [(1, home)]);
    assert_eq!(sent(&world.submits(call_of(0), &[0])), []);
    assert_eq!(sent(&world.finishes(home, 1)), [(2, home)]);
    // One that is taken back leaves the line; one that fails is over like any.
    assert_eq!(sent(&world.client(FromClient::Cancel { tasks: vec![task(3)] })), []);
    let failure = Failure::Error("no".into());
    let failed = world.worker(home, FromWorker::Failed { task: task(2), attempt: Attempt(0), failure });
    assert_eq!(sent(&failed), [(4, home)]);
    assert_eq!(sent(&world.finishes(home, 4)), []);
}

#[test]
fn an_actor_that_is_lost_is_not_made_again() {
    let mut world = World::new(&[1, 1]);
    let made = sent(&world.submits(actor_and_calls(2), &[0, 1, 2]));
    let [(0, home)] = made[..] else { panic!("{made:?}") };
    world.finishes(home, 0);
    world.starts(home, 1, 0);
    let said = world.leaves(home);
    assert_eq!(said, [lost(0), lost(1), lost(2)]);
    // Calls that come later learn the same at once.
    assert_eq!(world.submits(call_of(0), &[0]), [lost(3)]);
    assert_eq!(world.client(FromClient::Release { tasks: vec![task(0), task(1), task(2), task(3)] }), []);
    assert_eq!(world.scheduler.n_tasks(), 0);
}

#[test]
fn an_actor_that_was_not_there_yet_is_made_elsewhere() {
    let mut world = World::new(&[1, 1]);
    let made = sent(&world.submits(actor_and_calls(1), &[0, 1]));
    let [(0, home)] = made[..] else { panic!("{made:?}") };
    assert_eq!(sent(&world.leaves(home)), [(0, 1 - home)]);
    let finished = world.worker(1 - home, FromWorker::finished(task(0), Attempt(1), 8, 50, None));
    assert_eq!(sent(&finished), [(1, 1 - home)]);
}

#[test]
fn actors_are_spread_over_the_workers() {
    let mut world = World::new(&[2, 2, 2]);
    let mut homes = Vec::new();
    for round in 0..6 {
        let made = sent(&world.submits(actor_and_calls(0), &[0]));
        let [(sequence, home)] = made[..] else { panic!("{made:?}") };
        assert_eq!(sequence, round);
        world.finishes(home, sequence);
        homes.push(home);
    }
    assert_eq!(homes, [0, 1, 2, 0, 1, 2]);
}

#[test]
fn an_earlier_call_of_a_client_goes_first_though_a_later_one_is_ready_before_it() {
    let mut world = World::new(&[2]);
    // An actor, a task, a call that takes both, and a call.
    let mut graph = graph(&[(INC, &[]), (INC, &[]), (SUM, &[node(0), node(1)]), (INC, &[node(0)])]);
    graph.push_options(0, TaskOptions { actor: true, ..TaskOptions::default() });
    let told = world.submits(graph, &[2, 3]);
    assert_eq!(told, [compute(0, 0, 0, INC, &[], vec![]), compute(0, 1, 0, INC, &[], vec![])]);
    assert_eq!(world.finishes(0, 0), [], "the second call could run, and waits for the first");
    assert_eq!(world.finishes(0, 1), [wanted(compute(0, 2, 0, SUM, &[0, 1], vec![]))]);
    assert_eq!(world.finishes(0, 2), [done(2, 8, &[0]), dropped(0, &[1]), wanted(compute(0, 3, 0, INC, &[0], vec![]))]);
    assert_eq!(world.finishes(0, 3), [done(3, 8, &[0]), dropped(0, &[0])], "nobody holds the actor");
}

#[test]
fn what_a_call_gave_is_kept_for_who_may_need_it_again_and_the_call_does_not_run_twice() {
    let mut world = World::new(&[1, 1]);
    // A task, an actor, a call, and a task that takes the call and the first one, which keeps it off the actor's worker.
    let mut graph = graph(&[(INC, &[]), (INC, &[node(0)]), (INC, &[])]);
    graph.push_options(0, TaskOptions { actor: true, ..TaskOptions::default() });
    let options = TaskOptions { workers: ["w1".into()].into(), ..TaskOptions::default() };
    graph.functions.push(INC);
    graph.arguments.push(node(1));
    graph.ends.push(graph.arguments.len() as u32);
    graph.push_options(3, options);
    world.submits(graph, &[0, 3]);
    assert_eq!(world.finishes(0, 0), [done(0, 8, &[0]), compute(0, 1, 0, INC, &[0], vec![])]);
    let there = vec![remote(1, 8, &[0])];
    assert_eq!(world.finishes(0, 1), [wanted(compute(1, 3, 0, INC, &[1], there.clone()))]);
    assert_eq!(world.finishes(1, 3), [done(3, 8, &[1])], "the result of the call stays");
    world.leaves(1);
    world.joins(1, 1);
    // Its worker comes again under another number.
    assert_eq!(sent(&world.told(Event::Tick)), []);
    assert_eq!(world.scheduler.n_tasks(), 3);
    let told = world.client(release(&[3]));
    assert_eq!(told, [cancelled(2, 3, 1), dropped(0, &[1])]);
}

#[test]
fn a_call_whose_input_is_lost_once_it_was_sent_ends_there_or_uses_up_a_retry() {
    for retries in [0, 1] {
        let mut world = World::new(&[2, 2]);
        let mut graph = graph(&[(INC, &[]), (INC, &[]), (SUM, &[node(0), node(1)])]);
        graph.push_options(0, TaskOptions { actor: true, ..TaskOptions::default() });
        graph.push_options(1, TaskOptions { workers: ["w1".into()].into(), ..TaskOptions::default() });
        graph.push_options(2, TaskOptions { retries, ..TaskOptions::default() });
        let made = sent(&world.submits(graph, &[0, 2]));
        assert_eq!(made, [(0, 0), (1, 1)]);
        world.finishes(0, 0);
        assert_eq!(sent(&world.finishes(1, 1)), [(2, 0)]);
        world.leaves(1);
        world.joins(1, 1);
        let missing = FromWorker::Missing { task: task(1), tried: vec![address(1)] };
        let told = world.worker(0, missing);
        match retries {
            0 => {
                let error = TaskError::CallLost { function: "sum".into() };
                assert_eq!(told, [cancelled(0, 2, 0), failed(2, error), cancelled(2, 1, 1)]);
            }
            _ => {
                assert_eq!(told, [cancelled(0, 2, 0)]);
                assert_eq!(sent(&world.finishes_after(2, 1, 1, 8, 50)), [(2, 0)]);
            }
        }
    }
}

#[test]
fn a_worker_with_an_actor_is_not_retired_but_in_a_hurry() {
    let mut world = World::new(&[1, 1]);
    world.submits(actor_and_calls(0), &[0]);
    world.finishes(0, 0);
    let retire =
        |grace_ms| FromClient::Ask { ticket: 7, request: Request::Retire { workers: vec![WorkerId(0)], grace_ms } };
    let reason = "it has an actor, which cannot move; drop its handles first, or give a time after which it leaves \
                  anyway, and the actor is lost";
    let stays = Retirement::Refused { reason: reason.into() };
    let ends = |end| ToClient::Reply { ticket: 7, reply: Reply::Retired { workers: vec![(WorkerId(0), end)] } };
    assert_eq!(world.client(retire(None)), [Command::ToClient { client: CLIENT, message: ends(stays) }]);
    // While there is time, calls run.
    assert_eq!(world.client(retire(Some(10))), []);
    assert_eq!(sent(&world.submits(call_of(0), &[0])), [(1, 0)]);
    assert_eq!(world.finishes(0, 1)[0], done(1, 8, &[0]));
    let told = world.ticks(Duration::from_millis(10));
    assert_eq!(told[..3], [to_worker(0, ToWorker::Shutdown), lost(0), lost(1)]);
}

#[test]
fn a_worker_with_an_actor_is_pinned_and_no_copy_is_made() {
    let mut world = World::new(&[1, 1]);
    world.submits(actor_and_calls(0), &[0]);
    world.finishes(0, 0);
    let replicate = Request::Replicate { tasks: vec![task(0)], n_copies: 2 };
    let told = world.client(FromClient::Ask { ticket: 7, request: replicate });
    let reply = Reply::Replicated { copies: vec![1] };
    assert_eq!(told, [Command::ToClient { client: CLIENT, message: ToClient::Reply { ticket: 7, reply } }]);
    let told = world.client(FromClient::Ask { ticket: 7, request: Request::Rebalance });
    let reply = Reply::Rebalanced { n_moved: 0, n_bytes: 0 };
    assert_eq!(told, [Command::ToClient { client: CLIENT, message: ToClient::Reply { ticket: 7, reply } }]);
    let told = world.client(FromClient::Ask { ticket: 7, request: Request::Load });
    let [Command::ToClient { message: ToClient::Reply { reply: Reply::Load { load }, .. }, .. }] = &told[..] else {
        panic!("{told:?}")
    };
    assert_eq!(load.workers.iter().map(|worker| worker.is_pinned).collect::<Vec<_>>(), [true, false]);
    // Who asks for what an actor holds is told so.
    let tried = vec![address(0)];
    let message = "the state of an actor stays on its worker; call a task of it instead".into();
    let error = TaskError::Malformed { message };
    assert_eq!(world.client(FromClient::Locate { task: task(0), tried }), [failed(0, error)]);
}

#[test]
fn a_second_state_is_thrown_away() {
    let mut world = World::new(&[1, 1]);
    world.submits(actor_and_calls(0), &[0]);
    // Cut off while it makes the actor, which is made elsewhere; then it comes back with its own.
    assert_eq!(sent(&world.leaves(0)), [(0, 1)]);
    world.worker(1, FromWorker::finished(task(0), Attempt(1), 8, 50, None));
    let rejoins = Some(Rejoin { cluster: ClusterId(0), worker: WorkerId(0) });
    world.told(hello(Role::Worker(WorkerHello { rejoins, ..WorkerHello::new(1, address(0), "w0") })));
    let announce = FromWorker::Announce { results: vec![(task(0), 8)], running: vec![], more: false };
    assert_eq!(world.worker(2, announce), [dropped(2, &[0])]);
}

#[test]
fn a_call_takes_one_actor() {
    let mut world = World::new(&[1]);
    let mut graph = Graph {
        functions: vec![INC, INC, SUM],
        ends: vec![0, 0, 2],
        arguments: vec![ArgumentCode::Node(0), ArgumentCode::Node(1)],
        ..Graph::default()
    };
    for node in 0..2 {
        graph.push_options(node, TaskOptions { actor: true, ..TaskOptions::default() });
    }
    world.submits(graph, &[0, 1, 2]);
    world.finishes(0, 0);
    let said = world.finishes(0, 1);
    let message = "a call takes one actor, which lives on one worker".into();
    let error = TaskError::Malformed { message };
    let failed = Command::ToClient { client: CLIENT, message: ToClient::Failed { task: task(2), error } };
    assert!(said.contains(&failed), "{said:?}");
}
