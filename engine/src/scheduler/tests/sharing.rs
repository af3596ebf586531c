//! Results that several clients share: by key, by name, and what each of them may take back.

use super::*;
use crate::{
    journal::Log,
    message::{Resume, Session},
    request::{Reply, Request},
    scheduler::Recovery,
};

const OTHER: ClientId = ClientId(1);

impl World {
    fn asks(&mut self, client: ClientId, ticket: u64, request: Request) -> Vec<Command> {
        self.told(Event::Client { client, message: FromClient::Ask { ticket, request } })
    }

    fn says(&mut self, client: ClientId, message: FromClient) -> Vec<Command> {
        self.told(Event::Client { client, message })
    }
}

/// A world with two clients and one worker.
fn two_clients() -> World {
    let mut world = World::new(&[1]);
    world.told(hello(Role::Client));
    world
}

fn share(first: u64, recipe: u64) -> Request {
    Request::Share { key: "k".into(), recipe, first, graph: graph(&[(INC, &[])]), node: 0, parent: None }
}

fn publish(tasks: &[u64]) -> Request {
    let tasks = tasks.iter().map(|sequence| task(*sequence)).collect();
    Request::Publish { name: "n".into(), tasks, shape: Some(Value::new(5_u64)), replace: false }
}

fn named(request: fn(String) -> Request) -> Request {
    request("n".into())
}

fn unpublish() -> Request {
    named(|name| Request::Unpublish { name })
}

fn get() -> Request {
    named(|name| Request::GetPublished { name })
}

fn reply(client: ClientId, ticket: u64, reply: Reply) -> Command {
    Command::ToClient { client, message: ToClient::Reply { ticket, reply } }
}

fn granted(client: ClientId, ticket: u64, sequence: u64) -> Command {
    reply(client, ticket, Reply::granted(vec![task(sequence)], None))
}

fn to(client: ClientId, message: ToClient) -> Command {
    Command::ToClient { client, message }
}

fn finished(client: ClientId, sequence: u64) -> Command {
    to(client, ToClient::finished(task(sequence), 8, vec![address(0)], None))
}

#[test]
fn one_key_runs_once_and_everybody_is_told() {
    let mut world = two_clients();
    let told = world.asks(CLIENT, 1, share(0, 77));
    assert_eq!(told, [granted(CLIENT, 1, 0), wanted(compute(0, 0, 0, INC, &[], vec![]))]);
    assert_eq!(world.asks(OTHER, 1, share(0, 77)), [granted(OTHER, 1, 0)]);
    assert_eq!(world.finishes(0, 0), [finished(OTHER, 0), finished(CLIENT, 0)]);
    // It numbers its own tasks all the same.
    let own = FromClient::submit(1, graph(&[(INC, &[])]), vec![0]);
    assert_eq!(world.says(OTHER, own).len(), 1);
    // The result outlives its first client, and the key the result not.
    assert_eq!(world.told(Event::ClientLeft { client: CLIENT }), []);
    let told = world.says(OTHER, FromClient::Release { tasks: vec![task(0)] });
    assert_eq!(told, [dropped(0, &[0])]);
    assert_eq!(world.scheduler.n_tasks(), 1);
    let told = world.asks(OTHER, 2, share(2, 78));
    assert_eq!(told[0], reply(OTHER, 2, Reply::granted(vec![TaskId::new(OTHER, 2)], None)));
}

#[test]
fn a_key_stands_for_one_call() {
    let mut world = two_clients();
    world.asks(CLIENT, 1, share(0, 77));
    let reason = "the key \"k\" stands for another call (of inc), with other arguments or of another function; use \
                  another key, or let go of that result first";
    let told = world.asks(OTHER, 1, share(0, 78));
    assert_eq!(told, [reply(OTHER, 1, Reply::Denied { reason: reason.into() })]);
    assert_eq!(world.asks(OTHER, 2, share(1, 77)), [granted(OTHER, 2, 0)]);
    // As often as it was granted, it is to be let go.
    assert_eq!(world.asks(OTHER, 3, share(2, 77)), [granted(OTHER, 3, 0)]);
    assert_eq!(world.client(release(&[0])), []);
    assert_eq!(world.says(OTHER, release(&[0])), []);
    assert_eq!(world.says(OTHER, release(&[0])), [cancelled(0, 0, 0)]);
    assert_eq!(world.scheduler.n_tasks(), 0);
}

#[test]
fn cancelling_ends_ones_own_interest_only() {
    let mut world = two_clients();
    world.asks(CLIENT, 1, share(0, 77));
    world.asks(OTHER, 1, share(0, 77));
    let cancel = || FromClient::Cancel { tasks: vec![task(0)] };
    let failed = |client| to(client, ToClient::Failed { task: task(0), error: TaskError::Cancelled });
    assert_eq!(world.client(cancel()), [failed(CLIENT)]);
    // What its handle says when it goes is late.
    assert_eq!(world.client(release(&[0])), []);
    // Who takes part again shares it as before.
    assert_eq!(world.asks(CLIENT, 2, share(1, 77)), [granted(CLIENT, 2, 0)]);
    assert_eq!(world.says(OTHER, cancel()), [failed(OTHER)]);
    assert_eq!(world.client(cancel()), [cancelled(0, 0, 0), failed(CLIENT)]);
    // Cancelled by the last who wanted it: the key is free for a new try.
    let told = world.asks(OTHER, 2, share(1, 77));
    assert_eq!(told[0], reply(OTHER, 2, Reply::granted(vec![TaskId::new(OTHER, 1)], None)));
}

#[test]
fn what_another_client_builds_on_is_not_cancelled_away() {
    let mut world = two_clients();
    world.asks(CLIENT, 1, share(0, 77));
    world.asks(OTHER, 1, share(0, 77));
    let above = graph(&[(INC, &[ArgumentCode::Task(task(0))])]);
    assert_eq!(world.says(OTHER, FromClient::submit(1, above, vec![0])), []);
    assert_eq!(world.says(OTHER, release(&[0])), []);
    let failed = to(CLIENT, ToClient::Failed { task: task(0), error: TaskError::Cancelled });
    assert_eq!(world.client(FromClient::Cancel { tasks: vec![task(0)] }), [failed]);
    let told = world.finishes(0, 0);
    assert!(
        matches!(&told[..], [Command::ToWorker { message: ToWorker::Compute(next), .. }] if next.task == TaskId::new(OTHER, 1))
    );
}

#[test]
fn nobody_builds_on_what_he_does_not_share() {
    let mut world = two_clients();
    world.submits(graph(&[(INC, &[])]), &[0]);
    let above = graph(&[(INC, &[ArgumentCode::Task(task(0))])]);
    let message = "it needs task-0.0, which this client does not hold".into();
    let failed = ToClient::Failed { task: TaskId::new(OTHER, 0), error: TaskError::Malformed { message } };
    assert_eq!(world.says(OTHER, FromClient::submit(0, above, vec![0])), [to(OTHER, failed)]);
}

#[test]
fn what_is_published_outlives_its_client_and_is_made_again_when_it_is_lost() {
    let mut world = two_clients();
    world.submits(graph(&[(INC, &[])]), &[0]);
    world.finishes(0, 0);
    assert_eq!(world.asks(CLIENT, 1, publish(&[0])), [reply(CLIENT, 1, Reply::Done)]);
    assert_eq!(world.told(Event::ClientLeft { client: CLIENT }), []);
    world.joins(1, 1);
    // Nobody is told, and yet it is made again.
    assert_eq!(world.leaves(0), [wanted(compute(1, 0, 1, INC, &[], vec![]))]);
    let names = Reply::Names { names: vec!["n".into()] };
    assert_eq!(world.asks(OTHER, 1, Request::Published), [reply(OTHER, 1, names)]);
    let shape = Some(Value::new(5_u64));
    assert_eq!(world.asks(OTHER, 2, get()), [reply(OTHER, 2, Reply::granted(vec![task(0)], shape))]);
    let done = to(OTHER, ToClient::finished(task(0), 8, vec![address(1)], None));
    assert_eq!(world.finishes_after(1, 0, 1, 8, 1000), [done]);
    assert_eq!(world.asks(OTHER, 3, unpublish()), [reply(OTHER, 3, Reply::Done)]);
    assert_eq!(world.says(OTHER, release(&[0])), [dropped(1, &[0])]);
    assert_eq!(world.scheduler.n_tasks(), 0);
}

#[test]
fn names_are_taken_once_and_denied_when_there_is_nothing() {
    let mut world = two_clients();
    world.submits(graph(&[(INC, &[])]), &[0]);
    let denied = |client, reason: &str| reply(client, 1, Reply::Denied { reason: reason.into() });
    assert_eq!(world.asks(OTHER, 1, get()), [denied(OTHER, "nothing is published as \"n\"; published: nothing is")]);
    let reason = "\"n\" is made of results that this client does not hold";
    assert_eq!(world.asks(OTHER, 1, publish(&[0])), [denied(OTHER, reason)]);
    assert_eq!(world.asks(CLIENT, 1, publish(&[0])), [reply(CLIENT, 1, Reply::Done)]);
    let reason = "\"n\" is published already; unpublish it first, or republish";
    assert_eq!(world.asks(CLIENT, 1, publish(&[0])), [denied(CLIENT, reason)]);
    // A name keeps what it stands for running, whoever lets go of it.
    assert_eq!(world.client(release(&[0])), []);
    assert_eq!(world.asks(OTHER, 1, unpublish()), [cancelled(0, 0, 0), reply(OTHER, 1, Reply::Done)]);
    assert_eq!(world.scheduler.n_tasks(), 0);
}

#[test]
fn a_client_that_shares_and_leaves_takes_its_interest_along() {
    let mut world = two_clients();
    world.asks(CLIENT, 1, share(0, 77));
    world.asks(OTHER, 1, share(0, 77));
    assert_eq!(world.told(Event::ClientLeft { client: OTHER }), []);
    assert_eq!(world.told(Event::ClientLeft { client: CLIENT }), [cancelled(0, 0, 0)]);
    assert_eq!(world.scheduler.n_tasks(), 0);
}

#[test]
fn a_name_that_is_taken_anew_lets_go_of_what_it_stood_for() {
    let mut world = two_clients();
    world.submits(graph(&[(INC, &[]), (INC, &[])]), &[0, 1]);
    world.finishes(0, 0);
    assert_eq!(world.asks(CLIENT, 1, publish(&[0])), [reply(CLIENT, 1, Reply::Done)]);
    assert_eq!(world.client(release(&[0])), []);
    let Request::Publish { name, tasks, shape, .. } = publish(&[1]) else { return };
    let told = world.asks(CLIENT, 2, Request::Publish { name, tasks, shape, replace: true });
    assert_eq!(told, [reply(CLIENT, 2, Reply::Done), dropped(0, &[0])]);
    let nothing = Reply::Denied { reason: "nothing is published as \"m\"; published: \"n\"".into() };
    assert_eq!(world.asks(OTHER, 3, Request::Unpublish { name: "m".into() }), [reply(OTHER, 3, nothing)]);
}

#[test]
fn handles_that_were_taken_back_are_released_before_those_that_count() {
    let mut world = two_clients();
    world.asks(CLIENT, 1, share(0, 77));
    world.asks(OTHER, 1, share(0, 77));
    let failed = to(OTHER, ToClient::Failed { task: task(0), error: TaskError::Cancelled });
    assert_eq!(world.says(OTHER, FromClient::Cancel { tasks: vec![task(0)] }), [failed]);
    // It takes part again, lets go of both its handles, and takes part again before it hears that it did the first time.
    assert_eq!(world.asks(OTHER, 2, share(1, 77)), [granted(OTHER, 2, 0)]);
    assert_eq!(world.asks(OTHER, 3, share(2, 77)), [granted(OTHER, 3, 0)]);
    assert_eq!(world.says(OTHER, release(&[0, 0])), []);
    assert_eq!(world.told(Event::ClientLeft { client: CLIENT }), []);
    assert_eq!(world.finishes(0, 0), [finished(OTHER, 0)]);
    assert_eq!(world.says(OTHER, release(&[0])), [dropped(0, &[0])]);
}

/// As [`two_clients`], whose clients may come back to a scheduler that writes down.
fn two_sessions() -> World {
    let scheduler = Scheduler::new(journalled(), Time::ZERO);
    let mut world = World { scheduler, now: Time::ZERO, submitted: 0 };
    for key in 0..2 {
        world.told(hello(Role::Session(Session { key, resumes: None })));
    }
    world.joins(0, 1);
    world
}

fn journalled() -> Config {
    Config { journal: true, ..Config::default() }
}

fn read_again(log: &Log, now: Time) -> Scheduler {
    let log: Vec<u8> = log.parts().flatten().copied().collect();
    let mut recovery = Recovery::new(journalled(), now);
    recovery.read(&log).expect("it reads what it wrote");
    let scheduler = recovery.finish().expect("it wrote whose it is");
    scheduler.check_invariants();
    scheduler
}

/// The scheduler is killed, and read again from all it said or from what it came to.
fn dies(world: &mut World, as_snapshot: bool) {
    let mut scheduler = read_again(&world.scheduler.take_log(), world.now);
    if as_snapshot {
        scheduler = read_again(&scheduler.snapshot(), world.now);
    }
    world.scheduler = scheduler;
}

/// What a client that comes back is told, after the greeting and the list of workers.
fn returns(world: &mut World, client: ClientId) -> Vec<Command> {
    let resumes = Some(Resume { cluster: ClusterId(0), client });
    world.told(hello(Role::Session(Session { key: u128::from(client.0), resumes }))).split_off(2)
}

#[test]
fn keys_and_names_outlive_a_scheduler_that_is_killed() {
    for as_snapshot in [false, true] {
        let mut world = two_sessions();
        world.asks(CLIENT, 1, share(0, 77));
        world.submitted = 1;
        world.submits(graph(&[(INC, &[])]), &[0]);
        world.asks(CLIENT, 2, publish(&[1]));
        world.asks(OTHER, 1, share(0, 77));
        let cancel = FromClient::Cancel { tasks: vec![task(0)] };
        let failed = to(CLIENT, ToClient::Failed { task: task(0), error: TaskError::Cancelled });
        assert_eq!(world.client(cancel), std::slice::from_ref(&failed));
        // A name outlives its client, and the scheduler as well.
        let told = world.told(Event::Client { client: CLIENT, message: FromClient::Goodbye });
        assert_eq!(told, []);
        dies(&mut world, as_snapshot);
        assert_eq!(world.scheduler.n_tasks(), 2);
        // What was replied and may not have been heard is said again.
        assert_eq!(returns(&mut world, OTHER), [granted(OTHER, 1, 0)]);
        let granted_name = Reply::granted(vec![task(1)], Some(Value::new(5_u64)));
        let [Command::ToClient { message: ToClient::Reply { reply: told, .. }, .. }] = &world.asks(OTHER, 2, get())[..]
        else {
            panic!("one reply is expected")
        };
        let (Reply::Granted { tasks, shape: Some(shape), .. }, Reply::Granted { tasks: expected, .. }) =
            (told, &granted_name)
        else {
            panic!("{told:?}")
        };
        assert_eq!((tasks, *shape.get::<u64>().expect("a number")), (expected, 5));
        assert_eq!(world.asks(OTHER, 3, share(1, 77)), [granted(OTHER, 3, 0)], "the key stands for what it did");
        assert_eq!(world.asks(OTHER, 4, unpublish()), [reply(OTHER, 4, Reply::Done)]);
        assert_eq!(world.says(OTHER, release(&[0, 0, 1])), []);
        assert_eq!(world.scheduler.n_tasks(), 0, "nothing is left of who has gone");
    }
}

#[test]
fn who_comes_back_hears_what_it_took_back_and_what_became_of_the_rest() {
    for as_snapshot in [false, true] {
        let mut world = two_sessions();
        world.asks(CLIENT, 1, share(0, 77));
        world.asks(OTHER, 1, share(0, 77));
        world.says(OTHER, FromClient::Cancel { tasks: vec![task(0)] });
        dies(&mut world, as_snapshot);
        let failed = to(OTHER, ToClient::Failed { task: task(0), error: TaskError::Cancelled });
        assert_eq!(returns(&mut world, OTHER), [granted(OTHER, 1, 0), failed]);
        assert_eq!(returns(&mut world, CLIENT), [granted(CLIENT, 1, 0)]);
    }
}

#[test]
fn what_stands_on_a_result_that_was_taken_back_is_cancelled_and_nothing_else() {
    let mut world = two_clients();
    world.asks(CLIENT, 1, share(0, 77));
    world.asks(OTHER, 1, share(0, 77));
    world.says(OTHER, FromClient::Cancel { tasks: vec![task(0)] });
    let above = graph(&[(INC, &[ArgumentCode::Task(task(0))]), (INC, &[node(0)]), (INC, &[])]);
    let cancelled =
        |sequence| to(OTHER, ToClient::Failed { task: TaskId::new(OTHER, sequence), error: TaskError::Cancelled });
    assert_eq!(world.says(OTHER, FromClient::submit(1, above, vec![1, 2])), [cancelled(2)]);
    let told = world.finishes(0, 0);
    assert_eq!(told[0], finished(CLIENT, 0));
    let run = |command: &Command| match command {
        Command::ToWorker { message: ToWorker::Compute(run), .. } => Some(run.task),
        _ => None,
    };
    assert_eq!(told[1..].iter().map(run).collect::<Vec<_>>(), [Some(TaskId::new(OTHER, 3))]);
}
