//! People who agree on things by name: locks, semaphores, events, queues and variables.
//!
//! Whoever is let in must be alone (or with as few as was said) among those the scheduler knows; a value that was put
//! comes to one at most, and only after it was put.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use phalanx_engine::{
    client::Event,
    coordination::{Answer, Request},
    value::Value,
};

use crate::dice::Dice;

/// How many may hold each; the first is a lock.
const PLACES: [(&str, u32); 2] = [("lock", 1), ("semaphore", 2)];
const QUEUES: [(&str, u32); 2] = [("narrow", 1), ("wide", 0)];
const EVENT: &str = "event";
const VARIABLE: &str = "variable";

/// What one user asked for.
#[derive(Debug, Default)]
pub(crate) struct Names {
    open: BTreeMap<u64, Asked>,
    leases: BTreeMap<u64, &'static str>,
}

#[derive(Debug)]
enum Asked {
    Places(&'static str),
    Get,
    Load,
    Other,
}

/// What is true of all names.
#[derive(Debug, Default)]
pub(crate) struct Known {
    n_values: u64,
    put: BTreeSet<u64>,
    got: BTreeSet<u64>,
    /// Who was let in and did not let go, by client and ticket.
    pub(crate) holders: BTreeMap<&'static str, BTreeSet<(usize, u64)>>,
}

impl Names {
    /// Asks for something, or walks away from what was asked.
    pub(crate) fn act(&mut self, dice: &mut Dice, known: &mut Known, ticket: u64) -> Event {
        let timeout = Some(dice.micros(0, 3_000_000));
        let (queue, maxsize) = dice.pick(&QUEUES);
        let mut value = None;
        let mut attach = |known: &mut Known| {
            known.n_values += 1;
            known.put.insert(known.n_values);
            value = Some(Value::new(known.n_values));
        };
        let (asked, request) = match dice.below(12) {
            0..3 => {
                let timeout = if dice.chance(50) { timeout } else { None };
                (Asked::Places("lock"), Request::Lock { name: "lock".into(), timeout })
            }
            3..5 => {
                let (name, limit) = PLACES[1];
                (Asked::Places(name), Request::Acquire { name: name.into(), limit, timeout })
            }
            5 => (Asked::Other, Request::Wait { event: EVENT.into(), timeout }),
            6 if dice.chance(50) => (Asked::Other, Request::Set { event: EVENT.into() }),
            6 => (Asked::Other, Request::Clear { event: EVENT.into() }),
            7 => {
                attach(known);
                (Asked::Other, Request::Put { queue: queue.into(), maxsize, timeout })
            }
            8 => (Asked::Get, Request::Get { queue: queue.into(), maxsize, timeout }),
            9 => {
                attach(known);
                (Asked::Other, Request::Store { variable: VARIABLE.into() })
            }
            10 => (Asked::Load, Request::Load { variable: VARIABLE.into(), timeout }),
            _ => {
                let open: Vec<u64> = self.open.keys().copied().collect();
                if !open.is_empty() {
                    let ticket = dice.pick(&open);
                    self.open.remove(&ticket);
                    return Event::Forget { ticket };
                }
                (Asked::Other, Request::IsSet { event: EVENT.into() })
            }
        };
        self.open.insert(ticket, asked);
        Event::Coordinate { ticket, request, value }
    }

    /// An answer came. How long a lease that was granted will be held, and of what.
    pub(crate) fn answered(
        &mut self,
        place: usize,
        ticket: u64,
        answer: &Answer,
        value: Option<&Value>,
        known: &mut Known,
        dice: &mut Dice,
    ) -> Option<(Duration, &'static str)> {
        let asked = self.open.remove(&ticket).unwrap_or_else(|| panic!("answer {ticket} is given to nobody"));
        let value = value.map(|value| *value.get::<u64>().expect("a number was put"));
        match (asked, answer, value) {
            (Asked::Places(name), Answer::Acquired, None) => {
                self.leases.insert(ticket, name);
                known.holders.entry(name).or_default().insert((place, ticket));
                return Some((dice.micros(10, 1_500_000), name));
            }
            (Asked::Get, Answer::Value, Some(value)) => {
                assert!(known.put.contains(&value), "{value} was never put");
                assert!(known.got.insert(value), "{value} was got twice");
            }
            (Asked::Load, Answer::Value, Some(value)) => {
                assert!(known.put.contains(&value), "{value} was never stored");
            }
            (Asked::Places(_) | Asked::Get | Asked::Load | Asked::Other, Answer::TimedOut, None)
            | (Asked::Other, Answer::Done | Answer::Is(_), None) => {}
            (asked, answer, value) => panic!("{asked:?} is answered by {answer:?} with {value:?}"),
        }
        None
    }

    /// Lets go of a lease, if it is still held.
    pub(crate) fn let_go(&mut self, place: usize, lease: u64, ticket: u64, known: &mut Known) -> Option<Event> {
        let name = self.leases.remove(&lease)?;
        known.holders.entry(name).or_default().remove(&(place, lease));
        Some(Event::Coordinate { ticket, request: Request::Release { lease }, value: None })
    }

    /// Whether the answer that will not come was about a name.
    pub(crate) fn failed(&mut self, ticket: u64) -> bool {
        self.open.remove(&ticket).is_some()
    }

    /// Holds nothing any more.
    pub(crate) fn scheduler_is_lost(&mut self, place: usize, known: &mut Known) {
        for (lease, name) in std::mem::take(&mut self.leases) {
            known.holders.entry(name).or_default().remove(&(place, lease));
        }
    }

    pub(crate) fn is_waiting(&self) -> bool {
        !self.open.is_empty() || !self.leases.is_empty()
    }

    /// Throws away what would stay; answers are not waited for.
    pub(crate) fn clean_up(&mut self, mut ticket: impl FnMut() -> u64) -> Vec<Event> {
        let queues = QUEUES.iter().map(|(queue, _)| Request::DeleteQueue { queue: (*queue).into() });
        let rest = [Request::DeleteVariable { variable: VARIABLE.into() }, Request::Clear { event: EVENT.into() }];
        let requests: Vec<Request> = queues.chain(rest).collect();
        let coordinate = |request| {
            let ticket = ticket();
            self.open.insert(ticket, Asked::Other);
            Event::Coordinate { ticket, request, value: None }
        };
        requests.into_iter().map(coordinate).collect()
    }
}

impl Known {
    /// How many may hold it at a time.
    pub(crate) fn limit(name: &str) -> usize {
        PLACES.iter().find(|(other, _)| *other == name).map_or(0, |(_, limit)| *limit as usize)
    }
}
