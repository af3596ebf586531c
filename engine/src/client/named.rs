//! What a client asks for by name: who waits for an answer, and what becomes of one that nobody waits for any more.
//!
//! A lease that is granted, or a value that is taken out of a queue, while its user walks away must not be lost.

use std::collections::BTreeMap;

use super::{Command, Trouble};
use crate::{
    coordination::{Answer, Request},
    message::FromClient,
    value::Value,
};

/// Requests by name that are not answered.
#[derive(Debug, Default)]
pub(super) struct Named {
    open: BTreeMap<u64, Open>,
}

#[derive(Debug)]
struct Open {
    /// The queue that a value comes out of, and its size.
    queue: Option<(String, u32)>,
    /// Whether nobody waits for the answer any more.
    forgotten: bool,
}

impl Named {
    pub(super) fn ask(
        &mut self,
        ticket: u64,
        request: Request,
        value: Option<Value>,
        lost: bool,
        out: &mut Vec<Command>,
    ) {
        if !request.is_answered() {
            if !lost {
                out.push(Command::ToScheduler(FromClient::coordinate(ticket, request, value)));
            }
            return;
        }
        if lost {
            out.push(Command::Fail { ticket, trouble: Trouble::SchedulerLost });
            return;
        }
        let queue = match &request {
            Request::Get { queue, maxsize, .. } => Some((queue.clone(), *maxsize)),
            _ => None,
        };
        self.open.insert(ticket, Open { queue, forgotten: false });
        out.push(Command::ToScheduler(FromClient::coordinate(ticket, request, value)));
    }

    /// The user walks away.
    pub(super) fn forget(&mut self, ticket: u64, out: &mut Vec<Command>) {
        if let Some(open) = self.open.get_mut(&ticket)
            && !std::mem::replace(&mut open.forgotten, true)
        {
            out.push(Command::ToScheduler(FromClient::coordinate(ticket, Request::Forget { ticket }, None)));
        }
    }

    pub(super) fn told(&mut self, ticket: u64, answer: Answer, value: Option<Value>, out: &mut Vec<Command>) {
        let Some(Open { queue, forgotten }) = self.open.remove(&ticket) else { return };
        if !forgotten {
            out.push(Command::Coordinated { ticket, answer, value });
            return;
        }
        // It was answered before the scheduler heard that nobody waits.
        let request = match (answer, queue) {
            (Answer::Acquired, _) => Request::Release { lease: ticket },
            (Answer::Value, Some((queue, maxsize))) => Request::PutBack { queue, maxsize },
            _ => return,
        };
        out.push(Command::ToScheduler(FromClient::coordinate(ticket, request, value)));
    }

    /// The scheduler is lost; who waits for an answer that will not come.
    pub(super) fn lose(&mut self) -> Vec<u64> {
        let open = std::mem::take(&mut self.open);
        open.into_iter().filter(|(_, open)| !open.forgotten).map(|(ticket, _)| ticket).collect()
    }

    pub(super) fn n_open(&self) -> usize {
        self.open.len()
    }
}
