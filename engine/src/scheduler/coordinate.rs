//! Locks, events, queues and variables of clients: what `coordination` decides, told to those who are there.

use super::{Command, Scheduler};
use crate::{
    coordination::{Request, Told},
    id::ClientId,
    message::ToClient,
    time::Time,
    value::Value,
};

impl Scheduler {
    pub(super) fn coordinate(
        &mut self,
        client: ClientId,
        ticket: u64,
        request: Request,
        value: Option<Value>,
        out: &mut Vec<Command>,
    ) {
        let mut told = Vec::new();
        self.coordination.request(self.now, client, ticket, request, value, &mut told);
        self.tell_coordinated(told, out);
    }

    /// What a client held is free, and what it waited for is not any more.
    pub(super) fn uncoordinate(&mut self, client: ClientId, out: &mut Vec<Command>) {
        let mut told = Vec::new();
        self.coordination.client_left(client, &mut told);
        self.tell_coordinated(told, out);
    }

    pub(super) fn coordination_tick(&mut self, now: Time, out: &mut Vec<Command>) {
        let mut told = Vec::new();
        self.coordination.tick(now, &mut told);
        self.tell_coordinated(told, out);
    }

    fn tell_coordinated(&self, told: Vec<Told>, out: &mut Vec<Command>) {
        out.extend(told.into_iter().map(|Told { client, ticket, answer, value }| {
            debug_assert!(self.clients.contains_key(&client), "{client} is told something and gone");
            Command::ToClient { client, message: ToClient::coordinated(ticket, answer, value) }
        }));
    }
}
