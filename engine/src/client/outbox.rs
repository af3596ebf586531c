//! What a client has said and the scheduler may not have heard: kept until it says so, and said again where the
//! connection broke in between.
//!
//! Every message but a heartbeat counts, at both ends, so nothing is lost and nothing is done twice.

use std::collections::VecDeque;

use crate::{graph::Graph, message::FromClient, request::Request, value::Value};

/// What is kept at most: 1 GiB. Of what is said beyond it the oldest is forgotten; a connection that breaks then is not
/// taken up again.
const LIMIT: u64 = 1 << 30;

/// One client's words, in order.
///
/// ```
/// use phalanx_engine::{client::Outbox, message::FromClient};
/// let mut outbox = Outbox::default();
/// let release = |n| FromClient::Release { tasks: vec![phalanx_engine::id::TaskId(n)] };
/// assert_eq!(outbox.say(release(0)), Some(release(0))); // goes out at once
/// outbox.is_cut();
/// assert_eq!(outbox.say(release(1)), None); // and now waits
/// assert_eq!(outbox.resume(1), Some(vec![release(1)])); // the scheduler had heard the first
/// ```
#[derive(Debug, Default)]
pub struct Outbox {
    kept: VecDeque<(u64, FromClient)>,
    n_bytes: u64,
    n_said: u64,
    is_cut: bool,
}

impl Outbox {
    /// Takes in a message and gives back what is to be sent now: itself, unless the connection is cut.
    pub fn say(&mut self, message: FromClient) -> Option<FromClient> {
        if matches!(message, FromClient::Heartbeat | FromClient::Goodbye) {
            return (!self.is_cut).then_some(message);
        }
        let sent = (!self.is_cut).then(|| message.clone());
        let n_bytes = weight(&message);
        self.n_said += 1;
        self.n_bytes += n_bytes;
        self.kept.push_back((n_bytes, message));
        while self.n_bytes > LIMIT {
            self.forget_first();
        }
        sent
    }

    /// The scheduler has taken in so many messages since it knows this client.
    pub fn heard(&mut self, n_messages: u64) {
        while self.n_forgotten() < n_messages && !self.kept.is_empty() {
            self.forget_first();
        }
    }

    /// The connection broke: what is said from now on waits.
    pub const fn is_cut(&mut self) {
        self.is_cut = true;
    }

    /// The connection is there again and the scheduler knows this client, of which it took in so many messages: what is
    /// to be sent now. None where the two cannot be brought together: it forgot what it had heard, or too much was said
    /// meanwhile.
    pub fn resume(&mut self, n_messages: u64) -> Option<Vec<FromClient>> {
        if n_messages < self.n_forgotten() || n_messages > self.n_said {
            return None;
        }
        self.heard(n_messages);
        self.is_cut = false;
        Some(self.kept.iter().map(|(_, message)| message.clone()).collect())
    }

    /// The connection is there again and the scheduler knows nothing of this client: all begins anew.
    pub fn restart(&mut self) {
        *self = Self::default();
    }

    /// How many of the messages that were said are not kept any more.
    fn n_forgotten(&self) -> u64 {
        self.n_said - self.kept.len() as u64
    }

    fn forget_first(&mut self) {
        if let Some((n_bytes, _)) = self.kept.pop_front() {
            self.n_bytes -= n_bytes;
        }
    }
}

/// About how much memory a message takes.
fn weight(message: &FromClient) -> u64 {
    const MESSAGE: u64 = 128;
    MESSAGE
        + match message {
            FromClient::Submit { graph, wanted, .. } => of_graph(graph) + 4 * wanted.len() as u64,
            FromClient::Ask { request: Request::Share { graph, key, .. }, .. } => of_graph(graph) + key.len() as u64,
            FromClient::Ask { request: Request::Publish { tasks, shape, .. }, .. } => {
                8 * tasks.len() as u64 + shape.as_ref().map_or(0, Value::n_bytes)
            }
            FromClient::Release { tasks } | FromClient::Cancel { tasks } => 8 * tasks.len() as u64,
            _ => MESSAGE,
        }
}

fn of_graph(graph: &Graph) -> u64 {
    let numbers = graph.functions.len() + graph.ends.len() + 4 * graph.arguments.len();
    4 * numbers as u64 + graph.constants.iter().map(Value::n_bytes).sum::<u64>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::TaskId;

    fn release(n: u64) -> FromClient {
        FromClient::Release { tasks: vec![TaskId(n)] }
    }

    #[test]
    fn what_was_heard_is_not_said_again() {
        let mut outbox = Outbox::default();
        for n in 0..5 {
            assert_eq!(outbox.say(release(n)), Some(release(n)));
        }
        outbox.heard(2);
        outbox.heard(1); // late
        assert_eq!(outbox.say(FromClient::Heartbeat), Some(FromClient::Heartbeat));
        outbox.is_cut();
        assert_eq!((outbox.say(release(5)), outbox.say(FromClient::Heartbeat)), (None, None));
        assert_eq!(outbox.resume(4), Some(vec![release(4), release(5)]));
        assert_eq!(outbox.say(release(6)), Some(release(6)));
        outbox.is_cut();
        assert_eq!(outbox.resume(7), Some(vec![]));
    }

    #[test]
    fn a_scheduler_that_forgot_what_it_had_heard_is_another() {
        let mut outbox = Outbox::default();
        for n in 0..5 {
            outbox.say(release(n));
        }
        outbox.heard(3);
        outbox.is_cut();
        assert_eq!((outbox.resume(2), outbox.resume(6)), (None, None));
        outbox.restart();
        assert_eq!(outbox.say(release(9)), Some(release(9)));
        outbox.is_cut();
        assert_eq!(outbox.resume(0), Some(vec![release(9)]));
    }
}
