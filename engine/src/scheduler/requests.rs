//! Questions of clients: who decides the answer.

use std::time::Duration;

use super::{Command, Scheduler};
use crate::{
    id::ClientId,
    message::ToClient,
    request::{Reply, Request},
    time::Time,
};

impl Scheduler {
    /// A client asks something. It gets one answer, now or when there is one.
    pub(super) fn asked(&mut self, now: Time, client: ClientId, ticket: u64, request: Request, out: &mut Vec<Command>) {
        match request {
            Request::Retire { workers, grace_ms } => {
                let leave_at = grace_ms.map(|ms| now + Duration::from_millis(ms));
                self.retire(client, ticket, workers, leave_at, out);
            }
            Request::Replicate { tasks, n_copies } => self.replicate(client, ticket, tasks, n_copies, out),
            Request::Rebalance => self.rebalance(client, ticket, out),
            Request::Load => {
                let message = ToClient::Reply { ticket, reply: Reply::Load { load: self.load() } };
                out.push(Command::ToClient { client, message });
            }
            Request::Inspect { question } => {
                let reply = Reply::Inspected { answer: Box::new(self.inspect(question)) };
                out.push(Command::ToClient { client, message: ToClient::Reply { ticket, reply } });
            }
        }
    }
}
