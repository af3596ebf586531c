//! What becomes of those whose connection broke and who come back: a worker with all it held and ran, a client with all
//! it wanted.
//!
//! A lost connection and a lost worker look alike from here, so a worker that is gone is forgotten at once and its
//! work goes on elsewhere. Where it comes back, what it still holds counts again, what it still runs goes on unless
//! it has been begun elsewhere, and the suspicion that it died of a task is taken back.
//!
//! A client that is gone without a goodbye is waited for, and its work goes on. What it said is counted at both ends,
//! so what was lost on the way is said again, and nothing twice; what it missed it is told when it is back.

use std::collections::VecDeque;

use super::{
    Command, Scheduler,
    peers::Client,
    tasks::{Slot, State},
};
use crate::{
    death::Death,
    event::{Kind, Record, Step},
    id::{Attempt, ClientId, TaskId, WorkerId},
    message::{FromClient, Hello, Rejoin, Role, Session, ToClient, ToWorker, WorkerHello},
    request::Reply,
    task::TaskError,
    time::Time,
};

/// Replies that are kept for a client.
const REPLIES: usize = 1_024;
/// Bytes of the values in them.
const REPLY_BYTES: u64 = 16 << 20;

/// What is known of a client so that it may come back.
#[derive(Debug)]
pub(super) struct Returning {
    /// Its secret.
    pub(super) key: u128,
    /// How many of its messages were taken in.
    pub(super) n_received: u64,
    /// How many it has been told were.
    n_told: u64,
    /// Since when it is away.
    away_since: Option<Time>,
    /// The last replies it was given: those that it missed are said again when it is back.
    replies: VecDeque<ToClient>,
    /// Bytes of values in them.
    n_reply_bytes: u64,
}

impl Returning {
    pub(super) const fn new(key: u128, n_received: u64) -> Self {
        Self { key, n_received, n_told: n_received, away_since: None, replies: VecDeque::new(), n_reply_bytes: 0 }
    }

    /// Keeps a reply, and not more of them than is right.
    pub(super) fn keep(&mut self, message: ToClient) {
        self.n_reply_bytes += value_bytes(&message);
        self.replies.push_back(message);
        while self.replies.len() > REPLIES || (self.n_reply_bytes > REPLY_BYTES && self.replies.len() > 1) {
            let Some(oldest) = self.replies.pop_front() else { break };
            self.n_reply_bytes -= value_bytes(&oldest);
        }
    }
}

/// What a reply's value takes.
fn value_bytes(message: &ToClient) -> u64 {
    match message {
        ToClient::Coordinated { value: Some(value), .. }
        | ToClient::Reply { reply: Reply::Granted { shape: Some(value), .. }, .. } => value.n_bytes(),
        ToClient::Reply { reply: Reply::Inspected { answer }, .. } => answer.weight(),
        _ => 0,
    }
}

impl Client {
    /// Counts a message that may have to be said again.
    pub(super) fn count(&mut self, message: &FromClient) {
        if let Some(session) = &mut self.session
            && message.is_counted()
        {
            session.n_received += 1;
        }
    }
}

impl Scheduler {
    /// Who says hello again has lost a connection that may still look alive from here.
    pub(super) fn close_what_returns(&mut self, hello: &Hello, out: &mut Vec<Command>) {
        if let Role::Session(session) = hello.role
            && let Some(client) = self.returning(session)
            && !self.away.contains(&client)
        {
            out.push(Command::CloseClient { client });
        }
        let Role::Worker(WorkerHello { rejoins: Some(Rejoin { cluster, worker }), address, .. }) = &hello.role else {
            return;
        };
        if *cluster != self.config.cluster {
            return;
        }
        if self.workers.has_address(*worker, address) {
            out.push(Command::CloseWorker { worker: *worker });
            self.worker_left(*worker, out);
        }
        let of_it = |deaths: &Vec<Death>| deaths.iter().any(|death| death.worker == *worker);
        let killers = self.tasks.killers.iter().filter(|(_, deaths)| of_it(deaths));
        let suspected: Vec<Slot> = killers.map(|(slot, _)| *slot).collect();
        self.tasks.killers.retain(|_, killed| {
            killed.retain(|death| death.worker != *worker);
            !killed.is_empty()
        });
        for slot in suspected {
            self.write_down_suspicion(slot);
        }
        self.did_not_die(*worker, out);
    }

    /// A worker that came back says what it holds and runs.
    pub(super) fn announced(
        &mut self,
        worker: WorkerId,
        results: Vec<(TaskId, u64)>,
        running: Vec<(TaskId, Attempt)>,
        more: bool,
        out: &mut Vec<Command>,
    ) {
        for (task, n_bytes) in results {
            self.takes_result(worker, task, Some(n_bytes), out);
        }
        for (task, attempt) in running {
            if !self.takes_over(worker, task, attempt) {
                self.tell_worker(worker, ToWorker::Cancel { task, attempt }, out);
            }
        }
        if !more {
            self.workers.has_announced(worker);
            self.wait_no_longer_for(worker);
            self.touched.insert(worker);
        }
    }

    /// Lets an attempt that never stopped running count. False where it must not: nobody needs it, or another has been
    /// begun since.
    fn takes_over(&mut self, worker: WorkerId, task: TaskId, attempt: Attempt) -> bool {
        let Some(slot) = self.tasks.find(task) else { return false };
        let waits = matches!(self.tasks.state[slot], State::Waiting | State::Ready);
        let Some(tries) = attempt.0.checked_add(1).filter(|tries| waits && *tries >= self.tasks.tries[slot]) else {
            return false;
        };
        let estimate = self.estimate(slot);
        if self.rank_of(slot).is_some()
            || !self.call_goes_on(slot, worker).unwrap_or_else(|| self.may_run(slot, worker))
        {
            return false;
        }
        self.leave_place(slot);
        self.tasks.tries[slot] = tries;
        self.tasks.state[slot] = State::Assigned;
        self.tasks.worker[slot] = worker.0;
        self.tasks.estimate[slot] = estimate;
        self.workers.assign(worker, slot, estimate, 0);
        self.take_over_call(slot);
        self.take_resources(slot, worker);
        if let Some(state) = self.workers.get_mut(worker) {
            state.in_flight.insert(slot, true);
        }
        self.record(slot, Step::Started { worker, attempt });
        true
    }

    /// A client's connection broke. It may come back, if it said that it would.
    pub(super) fn client_cut(&mut self, client: ClientId, out: &mut Vec<Command>) {
        let Some(state) = self.clients.get_mut(&client) else { return };
        match &mut state.session {
            Some(session) if !self.config.client_grace.is_zero() => {
                if self.away.insert(client) {
                    session.away_since = Some(self.now);
                }
                self.subscriber_is_away(client);
            }
            _ => self.client_left(client, out),
        }
    }

    /// After a restart nobody is connected. False where the client does not come back.
    pub(super) fn is_away_since(&mut self, client: ClientId, since: Time) -> bool {
        let session = self.clients.get_mut(&client).and_then(|state| state.session.as_mut());
        session.is_some_and(|session| {
            session.away_since = Some(since);
            self.away.insert(client)
        })
    }

    /// The client that a session stands for.
    fn returning(&self, session: Session) -> Option<ClientId> {
        let resume = session.resumes.filter(|resume| resume.cluster == self.config.cluster)?;
        let known = self.clients.get(&resume.client)?.session.as_ref()?;
        (known.key == session.key).then_some(resume.client)
    }

    /// Takes a session up again: who it is, and how many of its messages were taken in.
    pub(super) fn take_up(&mut self, now: Time, session: Session) -> Option<(ClientId, u64)> {
        let client = self.returning(session)?;
        let state = self.clients.get_mut(&client)?;
        state.last_heard = now;
        let known = state.session.as_mut()?;
        known.away_since = None;
        known.n_told = known.n_received;
        let n_received = known.n_received;
        self.away.remove(&client);
        self.subscriber_is_back(client);
        Some((client, n_received))
    }

    /// Says to a client that was just greeted who is there, and to one that is back what became of all it wants.
    pub(super) fn welcome(&mut self, client: ClientId, is_back: bool, out: &mut Vec<Command>) {
        let message = ToClient::Workers { workers: self.worker_list() };
        out.push(Command::ToClient { client, message });
        if !is_back {
            self.note(Record::Cluster, |_| Kind::ClientJoined { client });
            return;
        }
        // Said in this event, they are kept again. First of all, since they may give what the rest speaks of.
        let session = self.clients.get_mut(&client).and_then(|state| state.session.as_mut());
        let replies = session.map(|session| {
            session.n_reply_bytes = 0;
            std::mem::take(&mut session.replies)
        });
        let again = replies.into_iter().flatten().map(|message| Command::ToClient { client, message });
        out.extend(again);
        self.say_what_was_withdrawn(client, out);
        for slot in self.tasks.slots().filter(|slot| self.has_interest(client, *slot)) {
            self.tell_state(client, slot, out);
        }
    }

    /// The replies that a client with a session was given and that outlive this scheduler.
    pub(super) fn lasting_replies(state: &Client) -> impl Iterator<Item = &ToClient> {
        let replies = state.session.iter().flat_map(|session| &session.replies);
        replies.filter(|reply| matches!(reply, ToClient::Reply { reply, .. } if reply.is_lasting()))
    }

    /// Keeps what is replied in this event, should it be lost on the way, and takes back what it wanted to say to clients
    /// that are away: they are told when they are back.
    pub(super) fn mind_the_absent(&mut self, event: std::ops::RangeFrom<usize>, out: &mut Vec<Command>) {
        for command in &out[event.clone()] {
            let Command::ToClient { client, message } = command else { continue };
            // What was never in the table cannot be looked up there when the client is back.
            let is_kept = matches!(
                message,
                ToClient::Reply { .. }
                    | ToClient::Coordinated { .. }
                    | ToClient::Failed { error: TaskError::Malformed { .. }, .. }
            );
            if is_kept && let Some(session) = self.clients.get_mut(client).and_then(|state| state.session.as_mut()) {
                session.keep(message.clone());
            }
        }
        if !self.away.is_empty() {
            let said = out.split_off(event.start);
            let is_heard = |command: &Command| match command {
                Command::ToClient { client, .. } => !self.away.contains(client),
                _ => true,
            };
            out.extend(said.into_iter().filter(is_heard));
        }
    }

    /// Says to each client how many of its messages need not be kept any more.
    pub(super) fn say_what_was_received(&mut self, out: &mut Vec<Command>) {
        for (client, state) in &mut self.clients {
            if let Some(session) = &mut state.session
                && session.n_told != session.n_received
            {
                session.n_told = session.n_received;
                let message = ToClient::Received { n_messages: session.n_received };
                out.push(Command::ToClient { client: *client, message });
            }
        }
    }

    /// Forgets clients that are away for too long.
    pub(super) fn forget_the_absent(&mut self, now: Time, out: &mut Vec<Command>) {
        let grace = self.config.client_grace;
        let is_over = |client: &ClientId| {
            let since = self.clients.get(client).and_then(|state| state.session.as_ref()?.away_since);
            since.is_none_or(|since| now - since >= grace)
        };
        let over: Vec<ClientId> = self.away.iter().filter(|client| is_over(client)).copied().collect();
        for client in over {
            self.client_left(client, out);
        }
    }

    /// Whether the absent are clients that may come back.
    pub(super) fn check_absent(&self) {
        for client in &self.away {
            let session = self.clients.get(client).and_then(|state| state.session.as_ref());
            assert!(session.is_some_and(|session| session.away_since.is_some()), "{client} is away and may come back");
        }
        let is_away = |state: &Client| state.session.as_ref().is_some_and(|session| session.away_since.is_some());
        assert_eq!(self.clients.values().filter(|state| is_away(state)).count(), self.away.len(), "who is away");
    }
}
