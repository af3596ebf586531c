//! Results that a client is given by key or by name, and may be given more than once.

use super::*;
use crate::request::{Reply, Request};

const FOREIGN: TaskId = TaskId::new(ClientId(9), 3);

fn share(ticket: u64) -> Event {
    Event::Share { key: "k".into(), recipe: 5, graph: graph(1), node: 0, parent: None, ticket }
}

fn asks(first: u64, ticket: u64) -> Command {
    let request = Request::Share { key: "k".into(), recipe: 5, first, graph: graph(1), node: 0, parent: None };
    Command::ToScheduler(FromClient::Ask { ticket, request })
}

fn granted(ticket: u64) -> ToClient {
    ToClient::Reply { ticket, reply: Reply::granted(vec![FOREIGN], None) }
}

fn given(ticket: u64) -> Command {
    Command::Reply { ticket, reply: Reply::granted(vec![FOREIGN], None) }
}

fn released(n: usize) -> Command {
    Command::ToScheduler(FromClient::Release { tasks: vec![FOREIGN; n] })
}

fn release() -> Event {
    Event::Release { task: FOREIGN }
}

#[test]
fn what_is_granted_is_held_as_often_as_it_was_granted() {
    let mut world = World::new();
    assert_eq!(world.told(share(1)), [asks(0, 1)]);
    assert_eq!(world.told(share(2)), [asks(1, 2)], "its own numbers are used up");
    assert_eq!(world.hears(granted(1)), [given(1)]);
    assert_eq!(world.hears(granted(2)), [given(2)]);
    assert_eq!(world.hears(granted(1)), [], "a reply that is said again counts once");
    assert_eq!(world.told(Event::Gather { task: FOREIGN, ticket: 3 }), []);
    assert_eq!(world.told(release()), []);
    assert_eq!(world.told(release()), [], "somebody waits for the value");
    let finished = ToClient::finished(FOREIGN, 8, peers(&[1]), Some(value(3)));
    assert_eq!(world.hears(finished), [Command::Deliver { ticket: 3, value: value(3) }, released(2)]);
}

#[test]
fn what_nobody_waits_for_any_more_is_given_back_once() {
    let mut world = World::new();
    world.told(share(1));
    assert_eq!(world.forgets(1), []);
    assert_eq!(world.client.n_open(), 1);
    assert_eq!(world.hears(granted(1)), [released(1)]);
    assert_eq!(world.hears(granted(1)), []);
    assert_eq!((world.client.n_open(), world.client.n_held()), (0, 0));
}

#[test]
fn what_was_taken_back_can_be_shared_again() {
    let mut world = World::new();
    world.told(share(1));
    world.hears(granted(1));
    assert_eq!(
        world.told(Event::Cancel { tasks: vec![FOREIGN] }),
        [Command::ToScheduler(FromClient::Cancel { tasks: vec![FOREIGN] })]
    );
    assert_eq!(world.hears(ToClient::Failed { task: FOREIGN, error: TaskError::Cancelled }), []);
    world.told(share(2));
    world.hears(granted(2));
    assert_eq!(world.told(Event::Gather { task: FOREIGN, ticket: 3 }), []);
    let finished = ToClient::finished(FOREIGN, 8, peers(&[1]), Some(value(3)));
    assert_eq!(world.hears(finished), [Command::Deliver { ticket: 3, value: value(3) }]);
}

#[test]
fn a_scheduler_with_a_journal_still_answers_what_is_shared_and_nothing_else() {
    let mut world = World::new();
    world.told(share(1));
    world.told(Event::Ask { request: Request::Load, ticket: 2 });
    world.told(Event::Cut);
    let lost = Command::Fail { ticket: 2, trouble: Trouble::SchedulerRestarted };
    assert_eq!(world.told(Event::NamesLost), [lost, Command::NamesLost]);
    world.told(Event::Resumed);
    assert_eq!(world.hears(granted(1)), [given(1)]);
}

#[test]
fn a_scheduler_that_forgot_this_client_forgot_what_it_shared() {
    let mut world = World::new();
    world.told(share(1));
    world.hears(granted(1));
    world.told(share(2));
    world.told(Event::Cut);
    let lost = |ticket| Command::Fail { ticket, trouble: Trouble::SchedulerRestarted };
    assert_eq!(world.told(Event::Restarted { client: ClientId(8) }), [lost(2), Command::NamesLost]);
    assert_eq!(world.told(Event::Gather { task: FOREIGN, ticket: 3 }), [lost(3)]);
    let mut above = graph(1);
    above.arguments.push(ArgumentCode::Task(FOREIGN));
    above.ends[0] = 1;
    let on_it = Event::Share { key: "k".into(), recipe: 6, graph: above, node: 0, parent: None, ticket: 4 };
    assert_eq!(world.told(on_it), [lost(4)]);
    assert_eq!(world.told(share(5)), [asks(3, 5)]);
}
