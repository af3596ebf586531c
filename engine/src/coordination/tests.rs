//! What clients ask for by name, as short conversations. Every answer is compared whole, so silence is tested too.

use super::*;
use crate::{data::Data, time::Time};

/// A machine and a clock. Tickets are given by the tests.
#[derive(Default)]
struct World {
    machine: Coordination,
    now: Time,
}

impl World {
    fn asks(&mut self, client: u32, ticket: u64, request: Request) -> Vec<Told> {
        self.asks_with(client, ticket, request, None)
    }

    fn asks_with(&mut self, client: u32, ticket: u64, request: Request, value: Option<Value>) -> Vec<Told> {
        let mut out = Vec::new();
        self.machine.request(self.now, ClientId(client), ticket, request, value, &mut out);
        self.machine.check_invariants();
        out
    }

    fn puts(&mut self, client: u32, ticket: u64, maxsize: u32, value: u64) -> Vec<Told> {
        let request = Request::Put { queue: "q".into(), maxsize, timeout: None };
        self.asks_with(client, ticket, request, Some(Value::new(value)))
    }

    fn leaves(&mut self, client: u32) -> Vec<Told> {
        let mut out = Vec::new();
        self.machine.client_left(ClientId(client), &mut out);
        self.machine.check_invariants();
        out
    }

    fn ticks(&mut self, after_ms: u64) -> Vec<Told> {
        self.now += Duration::from_millis(after_ms);
        let mut out = Vec::new();
        self.machine.tick(self.now, &mut out);
        self.machine.check_invariants();
        out
    }
}

fn ms(ms: u64) -> Option<Duration> {
    Some(Duration::from_millis(ms))
}

fn lock(timeout: Option<Duration>) -> Request {
    Request::Lock { name: "l".into(), timeout }
}

fn acquire(limit: u32, timeout: Option<Duration>) -> Request {
    Request::Acquire { name: "s".into(), limit, timeout }
}

const fn release(lease: u64) -> Request {
    Request::Release { lease }
}

fn get(maxsize: u32, timeout: Option<Duration>) -> Request {
    Request::Get { queue: "q".into(), maxsize, timeout }
}

fn told(client: u32, ticket: u64, answer: Answer) -> Told {
    Told { client: ClientId(client), ticket, answer, value: None }
}

fn given(client: u32, ticket: u64, value: u64) -> Told {
    Told { client: ClientId(client), ticket, answer: Answer::Value, value: Some(Value::new(value)) }
}

#[test]
fn a_lock_goes_from_hand_to_hand_in_the_order_of_asking() {
    let mut world = World::default();
    assert_eq!(world.asks(0, 1, lock(None)), [told(0, 1, Answer::Acquired)]);
    assert_eq!(world.asks(1, 1, lock(None)), []);
    assert_eq!(world.asks(0, 2, lock(None)), []);
    assert_eq!(world.asks(0, 3, release(1)), [told(1, 1, Answer::Acquired)]);
    assert_eq!(world.asks(1, 2, release(1)), [told(0, 2, Answer::Acquired)]);
    assert_eq!(world.asks(0, 4, release(2)), []);
    assert!(world.machine.is_empty());
}

#[test]
fn letting_go_once_too_often_lets_nobody_else_in() {
    let mut world = World::default();
    assert_eq!(world.asks(0, 1, acquire(1, None)), [told(0, 1, Answer::Acquired)]);
    assert_eq!(world.asks(1, 1, acquire(1, None)), []);
    assert_eq!(world.asks(1, 2, acquire(1, None)), []);
    assert_eq!(world.asks(0, 2, release(1)), [told(1, 1, Answer::Acquired)]);
    assert_eq!(world.asks(0, 3, release(1)), []);
    // Nobody lets go of what another holds.
    assert_eq!(world.asks(2, 1, release(1)), []);
    assert_eq!(world.asks(1, 3, release(1)), [told(1, 2, Answer::Acquired)]);
}

#[test]
fn a_semaphore_has_as_many_places_as_was_said_first() {
    let mut world = World::default();
    assert_eq!(world.asks(0, 1, acquire(2, None)), [told(0, 1, Answer::Acquired)]);
    let error = CoordinationError::Limit { name: "s".into(), limit: 2, asked: 3 };
    assert_eq!(world.asks(0, 2, acquire(3, None)), [told(0, 2, Answer::Refused(error))]);
    assert_eq!(world.asks(1, 1, acquire(2, None)), [told(1, 1, Answer::Acquired)]);
    assert_eq!(world.asks(1, 2, acquire(2, ms(0))), [told(1, 2, Answer::TimedOut)]);
    let error = CoordinationError::NoPlaces { name: "s".into() };
    assert_eq!(world.asks(0, 3, acquire(0, None)), [told(0, 3, Answer::Refused(error))]);
    // Once nobody uses the name it can mean something else.
    assert_eq!(world.asks(0, 4, release(1)), []);
    assert_eq!(world.asks(1, 3, release(1)), []);
    assert_eq!(world.asks(0, 5, acquire(3, None)), [told(0, 5, Answer::Acquired)]);
    // A lock of that name is another thing.
    assert_eq!(world.asks(0, 6, Request::Lock { name: "s".into(), timeout: None }), [told(0, 6, Answer::Acquired)]);
}

#[test]
fn who_is_gone_holds_nothing_and_stands_in_no_line() {
    let mut world = World::default();
    world.asks(0, 1, lock(None));
    world.asks(1, 1, lock(None));
    world.asks(0, 2, lock(None));
    world.asks(2, 1, lock(None));
    assert_eq!(world.leaves(1), []);
    assert_eq!(world.leaves(0), [told(2, 1, Answer::Acquired)]);
    assert_eq!(world.leaves(2), []);
    assert!(world.machine.is_empty());
}

#[test]
fn waits_end_when_their_time_is_over_and_not_before() {
    let mut world = World::default();
    assert_eq!(world.asks(0, 1, lock(ms(0))), [told(0, 1, Answer::Acquired)]);
    assert_eq!(world.asks(1, 1, lock(ms(30))), []);
    assert_eq!(world.asks(1, 2, lock(ms(20))), []);
    assert_eq!(world.asks(1, 3, lock(ms(30))), []);
    assert_eq!(world.machine.deadline(), Some(Time::ZERO + Duration::from_millis(20)));
    assert_eq!(world.ticks(20), [told(1, 2, Answer::TimedOut)]);
    assert_eq!(world.asks(0, 2, release(1)), [told(1, 1, Answer::Acquired)]);
    assert_eq!(world.ticks(10), [told(1, 3, Answer::TimedOut)]);
    assert_eq!(world.machine.deadline(), None);
    assert_eq!(world.asks(1, 4, release(1)), []);
    assert!(world.machine.is_empty());
}

#[test]
fn who_leaves_the_line_is_told_once() {
    let mut world = World::default();
    world.asks(0, 1, lock(None));
    world.asks(1, 1, lock(None));
    world.asks(2, 1, lock(None));
    assert_eq!(world.asks(1, 2, Request::Forget { ticket: 1 }), [told(1, 1, Answer::Left)]);
    assert_eq!(world.asks(1, 3, Request::Forget { ticket: 1 }), []);
    assert_eq!(world.asks(0, 2, release(1)), [told(2, 1, Answer::Acquired)]);
    // What was granted is let go of by its lease, not by walking away.
    assert_eq!(world.asks(2, 2, Request::Forget { ticket: 1 }), []);
    assert_eq!(world.asks(2, 3, release(1)), []);
    assert!(world.machine.is_empty());
}

#[test]
fn a_ticket_that_is_used_twice_changes_nothing() {
    let mut world = World::default();
    world.asks(0, 1, lock(None));
    assert_eq!(world.asks(0, 1, lock(None)), []);
    world.asks(1, 1, lock(None));
    assert_eq!(world.asks(1, 1, lock(ms(0))), []);
    assert_eq!(world.asks(0, 2, release(1)), [told(1, 1, Answer::Acquired)]);
}

#[test]
fn an_event_wakes_all_who_wait_also_when_it_is_cleared_at_once() {
    let event = || String::from("e");
    let wait = |timeout| Request::Wait { event: event(), timeout };
    let mut world = World::default();
    assert_eq!(world.asks(0, 1, Request::IsSet { event: event() }), [told(0, 1, Answer::Is(false))]);
    assert_eq!(world.asks(0, 2, wait(None)), []);
    assert_eq!(world.asks(1, 1, wait(ms(50))), []);
    assert_eq!(world.asks(1, 2, wait(ms(0))), [told(1, 2, Answer::TimedOut)]);
    let set = world.asks(2, 1, Request::Set { event: event() });
    assert_eq!(set, [told(2, 1, Answer::Done), told(0, 2, Answer::Done), told(1, 1, Answer::Done)]);
    assert_eq!(world.machine.deadline(), None);
    assert_eq!(world.asks(0, 3, wait(ms(0))), [told(0, 3, Answer::Done)]);
    // It stays set when who set it is gone.
    assert_eq!(world.leaves(2), []);
    assert_eq!(world.asks(0, 4, Request::IsSet { event: event() }), [told(0, 4, Answer::Is(true))]);
    assert_eq!(world.asks(0, 5, Request::Clear { event: event() }), [told(0, 5, Answer::Done)]);
    assert_eq!(world.asks(0, 6, wait(ms(0))), [told(0, 6, Answer::TimedOut)]);
    assert!(world.machine.is_empty());
}

#[test]
fn a_queue_is_first_in_first_out_for_values_and_for_those_who_wait() {
    let mut world = World::default();
    assert_eq!(world.puts(0, 1, 2, 10), [told(0, 1, Answer::Done)]);
    assert_eq!(world.puts(0, 2, 2, 11), [told(0, 2, Answer::Done)]);
    assert_eq!(world.puts(0, 3, 2, 12), []);
    assert_eq!(world.puts(1, 1, 2, 13), []);
    let length = world.asks(1, 2, Request::Len { queue: "q".into() });
    assert_eq!(length, [told(1, 2, Answer::Count(2))]);
    assert_eq!(world.asks(2, 1, get(2, None)), [given(2, 1, 10), told(0, 3, Answer::Done)]);
    assert_eq!(world.asks(2, 2, get(2, None)), [given(2, 2, 11), told(1, 1, Answer::Done)]);
    assert_eq!(world.asks(2, 3, get(2, None)), [given(2, 3, 12)]);
    assert_eq!(world.asks(2, 4, get(2, None)), [given(2, 4, 13)]);
    assert!(world.machine.is_empty());
    assert_eq!(world.asks(2, 5, get(2, ms(9))), []);
    assert_eq!(world.asks(1, 3, get(2, None)), []);
    assert_eq!(world.ticks(9), [told(2, 5, Answer::TimedOut)]);
    assert_eq!(world.puts(0, 4, 2, 14), [told(0, 4, Answer::Done), given(1, 3, 14)]);
    assert!(world.machine.is_empty());
}

#[test]
fn a_value_that_was_got_in_vain_comes_first_again() {
    let mut world = World::default();
    world.puts(0, 1, 1, 10);
    assert_eq!(world.puts(0, 2, 1, 11), []);
    assert_eq!(world.asks(1, 1, get(1, None)), [given(1, 1, 10), told(0, 2, Answer::Done)]);
    let back = Request::PutBack { queue: "q".into(), maxsize: 1 };
    assert_eq!(world.asks_with(1, 1, back.clone(), Some(Value::new(10_u64))), []);
    assert_eq!(world.asks(1, 2, get(1, None)), [given(1, 2, 10)]);
    assert_eq!(world.asks(1, 3, get(1, None)), [given(1, 3, 11)]);
    assert_eq!(world.asks(2, 1, get(1, None)), []);
    assert_eq!(world.asks_with(1, 3, back, Some(Value::new(11_u64))), [given(2, 1, 11)]);
}

#[test]
fn a_deleted_queue_refuses_who_waits_and_a_gone_putter_takes_his_value_along() {
    let mut world = World::default();
    world.puts(0, 1, 1, 10);
    world.puts(1, 1, 1, 11);
    assert_eq!(world.leaves(1), []);
    world.puts(2, 1, 1, 12);
    let error = CoordinationError::Limit { name: "q".into(), limit: 1, asked: 5 };
    assert_eq!(world.puts(3, 1, 5, 13), [told(3, 1, Answer::Refused(error))]);
    let deleted = Answer::Refused(CoordinationError::Deleted { name: "q".into() });
    let answers = world.asks(0, 2, Request::DeleteQueue { queue: "q".into() });
    assert_eq!(answers, [told(2, 1, deleted), told(0, 2, Answer::Done)]);
    assert!(world.machine.is_empty());
}

#[test]
fn a_variable_keeps_its_last_value_until_it_is_deleted() {
    let variable = || String::from("v");
    let store = || Request::Store { variable: variable() };
    let load = |timeout| Request::Load { variable: variable(), timeout };
    let mut world = World::default();
    assert_eq!(world.asks(0, 1, load(ms(0))), [told(0, 1, Answer::TimedOut)]);
    assert_eq!(world.asks(0, 2, load(None)), []);
    assert_eq!(world.asks(1, 1, load(ms(5))), []);
    let stored = world.asks_with(2, 1, store(), Some(Value::new(1_u64)));
    assert_eq!(stored, [told(2, 1, Answer::Done), given(0, 2, 1), given(1, 1, 1)]);
    assert_eq!(world.asks_with(2, 2, store(), Some(Value::new(2_u64))), [told(2, 2, Answer::Done)]);
    assert_eq!(world.leaves(2), []);
    assert_eq!(world.asks(0, 3, load(None)), [given(0, 3, 2)]);
    assert_eq!(world.asks(0, 4, Request::DeleteVariable { variable: variable() }), [told(0, 4, Answer::Done)]);
    assert!(world.machine.is_empty());
}

#[test]
fn what_is_too_much_is_refused_with_the_limit() {
    let mut world = World::default();
    let large = |n_bytes: u64| Some(Value::from_data(Data::small(vec![0; n_bytes as usize])));
    let put = |name: &str| Request::Put { queue: name.into(), maxsize: 0, timeout: None };
    let error = CoordinationError::TooLarge { name: "q".into(), n_bytes: MAX_VALUE + 1, limit: MAX_VALUE };
    assert_eq!(world.asks_with(0, 1, put("q"), large(MAX_VALUE + 1)), [told(0, 1, Answer::Refused(error))]);
    let whole = large(MAX_VALUE);
    for ticket in 0..MAX_VALUES / MAX_VALUE {
        assert_eq!(world.asks_with(0, ticket, put("q"), whole.clone()), [told(0, ticket, Answer::Done)]);
    }
    let full = Answer::Refused(CoordinationError::Full { limit: MAX_VALUES });
    assert_eq!(world.asks_with(1, 1, put("another"), large(1)), [told(1, 1, full)]);
    let store = Request::Store { variable: "v".into() };
    assert_eq!(world.asks(1, 2, store), [told(1, 2, Answer::Refused(CoordinationError::NoValue))]);
    let name = "n".repeat(MAX_NAME + 1);
    let error = CoordinationError::Name { n_bytes: MAX_NAME + 1, limit: MAX_NAME };
    assert_eq!(world.asks(1, 3, Request::Set { event: name }), [told(1, 3, Answer::Refused(error))]);
}
