//! Questions of clients: who decides the answer.

use std::time::Duration;

use super::{Command, Scheduler, sharing::Keyed};
use crate::{
    data::Data,
    id::ClientId,
    message::ToClient,
    request::{Reply, Request},
    time::Time,
    value::Value,
};

impl Scheduler {
    /// A client asks something. It gets one answer, now or when there is one.
    pub(super) fn asked(&mut self, now: Time, client: ClientId, ticket: u64, request: Request, out: &mut Vec<Command>) {
        let reply = match request {
            Request::Retire { workers, grace_ms } => {
                let leave_at = grace_ms.map(|ms| now + Duration::from_millis(ms));
                return self.retire(client, ticket, workers, leave_at, out);
            }
            Request::Replicate { tasks, n_copies } => return self.replicate(client, ticket, tasks, n_copies, out),
            Request::Rebalance => return self.rebalance(client, ticket, out),
            Request::Load => Reply::Load { load: self.load() },
            Request::Share { key, recipe, first, graph, node, parent } => {
                let call = Keyed { key, recipe, first, graph, node, parent };
                return self.share(client, ticket, call, out);
            }
            Request::Publish { name, tasks, shape, replace } => {
                let shape = shape.unwrap_or_else(|| Value::from_data(Data::default()));
                self.publish(client, &name, (tasks, shape), replace, out)
            }
            Request::Unpublish { name } => self.unpublish(&name, out),
            Request::Published => self.published(),
            Request::GetPublished { name } => return self.get_published(client, ticket, &name, out),
        };
        out.push(Command::ToClient { client, message: ToClient::Reply { ticket, reply } });
    }
}
