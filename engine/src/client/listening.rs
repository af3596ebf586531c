//! What happens on the cluster, as far as the user wants to know: one subscription at a time, which outlives broken
//! connections and dead schedulers.
//!
//! Events that the scheduler dropped, or that were lost with a connection, show as gaps in their numbers and are
//! counted. Each new life of the scheduler begins a new subscription, whose first event says so.

use super::Command;
use crate::{
    event::{Event, Record},
    message::FromClient,
};

/// The user's subscription, where there is one.
#[derive(Debug, Default)]
pub(super) struct Listening {
    n_subscriptions: u32,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    number: u32,
    /// What the user wants to know: nothing once the end was asked for.
    record: Record,
    /// The number of the event that comes next, unless some are lost.
    next: u64,
}

impl Listening {
    /// The user wants to know so much; nothing ends it. A new subscription ends the one before at once.
    pub(super) fn subscribe(&mut self, record: Record, is_lost: bool, out: &mut Vec<Command>) {
        if is_lost {
            if record != Record::Nothing {
                out.push(END);
            }
        } else if record != Record::Nothing {
            self.lose(out);
            out.push(self.begin(record));
        } else if let Some(open) = &mut self.open {
            open.record = record;
            out.push(Command::ToScheduler(FromClient::Subscribe { number: open.number, record }));
        }
    }

    /// The user has read all before an event.
    pub(super) fn seen(&self, number: u32, next: u64, out: &mut Vec<Command>) {
        if self.open.as_ref().is_some_and(|open| open.number == number) {
            out.push(Command::ToScheduler(FromClient::EventsSeen { number, next }));
        }
    }

    /// The scheduler tells of events; `first` came before them.
    pub(super) fn told(&mut self, number: u32, first: u64, events: Vec<Event>, last: bool, out: &mut Vec<Command>) {
        let Some(open) = self.open.as_mut().filter(|open| open.number == number) else { return };
        let n_dropped = first.saturating_sub(open.next);
        let next = first + events.len() as u64;
        open.next = next;
        if last {
            self.open = None;
        }
        out.push(Command::Events { number, next, events, n_dropped, last });
    }

    /// The scheduler is there again. It may have told the last before the connection broke, where nobody heard it.
    pub(super) fn resume(&self, out: &mut Vec<Command>) {
        if let Some(Open { number, record: Record::Nothing, .. }) = self.open {
            out.push(Command::ToScheduler(FromClient::Subscribe { number, record: Record::Nothing }));
        }
    }

    /// Another life of the scheduler knows of no subscription.
    pub(super) fn begin_anew(&mut self, out: &mut Vec<Command>) {
        match self.open.take() {
            Some(Open { record: Record::Nothing, .. }) => out.push(END),
            Some(Open { record, .. }) => out.push(self.begin(record)),
            None => {}
        }
    }

    /// Nothing more is told.
    pub(super) fn lose(&mut self, out: &mut Vec<Command>) {
        if self.open.take().is_some() {
            out.push(END);
        }
    }

    fn begin(&mut self, record: Record) -> Command {
        self.n_subscriptions += 1;
        let number = self.n_subscriptions;
        self.open = Some(Open { number, record, next: 0 });
        Command::ToScheduler(FromClient::Subscribe { number, record })
    }
}

/// What ends a subscription that the scheduler does not end.
const END: Command = Command::Events { number: 0, next: 0, events: Vec::new(), n_dropped: 0, last: true };
