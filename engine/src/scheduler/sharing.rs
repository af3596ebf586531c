//! Results that others want than who submitted them: clients that share by key or name, and names themselves.
//!
//! A task belongs to the client that submitted it, and its count of handles (`wanted`) includes everybody's. Of the
//! others this file knows who they are; what is left of the count is the owner's own. So a result outlives its owner
//! as long as anybody else wants it, and cancelling it is nobody's right but his who is alone with it.
//!
//! All of it is written down where there is a journal: requests as they came, since answering them needs nothing that
//! is not written down, and what a client takes back on its own.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    Command, Scheduler,
    tasks::{Slot, State},
};
use crate::{
    graph::{ArgumentCode, Graph},
    id::{ClientId, TaskId},
    journal::{Entry, Log},
    message::ToClient,
    request::{MAX_SHAPE, Reply},
    task::TaskError,
    value::Value,
};

/// Names and keys are at most this many bytes long.
const MAX_NAME: usize = 1000;

/// Who shares what.
#[derive(Debug, Default)]
pub(super) struct Sharing {
    /// By task: who wants it beside its owner, and how many handles he has.
    interest: BTreeMap<Slot, BTreeMap<Sharer, u32>>,
    published: BTreeMap<Arc<str>, Published>,
    /// By key: the task, and the fingerprint of its recipe.
    keys: BTreeMap<Arc<str>, (TaskId, u64)>,
    keyed: BTreeMap<Slot, Arc<str>>,
    /// Whether a task ever took another client's result.
    crossed: bool,
    /// Handles on results that their clients have taken back while others want them: they count no more, and are still to
    /// be released.
    withdrawn: BTreeMap<(ClientId, TaskId), u32>,
}

/// Somebody who wants a result that is not his.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Sharer {
    Client(ClientId),
    Name(Arc<str>),
}

/// A call that is to be shared by key, as it came.
#[derive(Debug)]
pub(super) struct Keyed {
    pub(super) key: String,
    pub(super) recipe: u64,
    pub(super) first: u64,
    pub(super) graph: Graph,
    pub(super) node: u32,
    pub(super) parent: Option<TaskId>,
}

impl Sharing {
    /// How many collections are published.
    pub(super) fn n_published(&self) -> usize {
        self.published.len()
    }
}

/// A collection that lives without its client.
#[derive(Debug)]
struct Published {
    tasks: Vec<TaskId>,
    shape: Value,
}

impl Scheduler {
    /// Runs a call under a key, unless somebody did already and still wants the result.
    pub(super) fn share(&mut self, client: ClientId, ticket: u64, call: Keyed, out: &mut Vec<Command>) {
        let Keyed { key, recipe, first, graph, node, parent } = call;
        let key = key.as_str();
        let reply = |reply, out: &mut Vec<Command>| {
            out.push(Command::ToClient { client, message: ToClient::Reply { ticket, reply } });
        };
        let checked = check_name("a key", key).and_then(|()| self.check_submission(client, first, &graph, &[node]));
        if let Err(reason) = checked {
            return reply(Reply::Denied { reason }, out);
        }
        let known = self.sharing.keys.get(key).copied();
        if let Some((task, known)) = known
            && let Some(slot) = self.tasks.find(task)
            && self.tasks.wanted[slot] > 0
            && self.tasks.errors.get(&slot).is_none_or(|error| **error != TaskError::Cancelled)
        {
            // The client has numbered these tasks, though none of them will be.
            if let Some(state) = self.clients.get_mut(&client) {
                state.next = first + graph.len() as u64;
            }
            if known != recipe {
                let function = self.functions.name(self.function(slot));
                let reason = format!(
                    "the key {key:?} stands for another call (of {function}), with other arguments or of another \
                     function; use another key, or let go of that result first"
                );
                return reply(Reply::Denied { reason }, out);
            }
            if self.grant(slot, Sharer::Client(client)) {
                reply(Reply::granted(vec![task], None), out);
                self.tell_state(client, slot, out);
            } else {
                reply(Reply::Denied { reason: format!("too many share {key:?}") }, out);
            }
            return;
        }
        let task = TaskId::new(client, first + u64::from(node));
        reply(Reply::granted(vec![task], None), out);
        self.submit(client, first, graph, &[node], parent, out);
        if let Some(slot) = self.tasks.find(task) {
            let key: Arc<str> = key.into();
            self.sharing.keys.insert(Arc::clone(&key), (task, recipe));
            self.sharing.keyed.insert(slot, key);
        }
    }

    /// Keeps results under a name until it is unpublished.
    pub(super) fn publish(
        &mut self,
        client: ClientId,
        name: &str,
        (tasks, shape): (Vec<TaskId>, Value),
        replace: bool,
        out: &mut Vec<Command>,
    ) -> Reply {
        if let Err(reason) = check_name("a name", name) {
            return Reply::Denied { reason };
        }
        let n_bytes = shape.n_bytes();
        if n_bytes > MAX_SHAPE {
            return Reply::Denied {
                reason: format!(
                    "what is made of the results of {name:?} takes {n_bytes} bytes, at most {MAX_SHAPE} may"
                ),
            };
        }
        let is_taken = self.sharing.published.contains_key(name);
        if is_taken && !replace {
            return Reply::Denied {
                reason: format!("{name:?} is published already; unpublish it first, or republish"),
            };
        }
        let slots: Vec<Slot> = tasks.iter().filter_map(|task| self.wanted_by(client, *task)).collect();
        if slots.len() < tasks.len() {
            return Reply::Denied { reason: format!("{name:?} is made of results that this client does not hold") };
        }
        let name: Arc<str> = name.into();
        let n_granted = slots.iter().take_while(|slot| self.grant(**slot, Sharer::Name(Arc::clone(&name)))).count();
        if n_granted < slots.len() {
            for slot in &slots[..n_granted] {
                self.take_away(*slot, &Sharer::Name(Arc::clone(&name)), 1);
            }
            return Reply::Denied { reason: format!("too many share the results of {name:?}") };
        }
        if let Some(before) = self.sharing.published.insert(Arc::clone(&name), Published { tasks, shape }) {
            self.let_go_of_name(&name, before, out);
        }
        Reply::Done
    }

    /// Lets go of a name and of what only it kept.
    pub(super) fn unpublish(&mut self, name: &str, out: &mut Vec<Command>) -> Reply {
        let Some((name, published)) = self.sharing.published.remove_entry(name) else {
            return self.not_published(name);
        };
        self.let_go_of_name(&name, published, out);
        Reply::Done
    }

    /// All names, sorted.
    pub(super) fn published(&self) -> Reply {
        Reply::Names { names: self.sharing.published.keys().map(|name| name.to_string()).collect() }
    }

    /// Gives a client what is published under a name: the results count as held by it from here on.
    pub(super) fn get_published(&mut self, client: ClientId, ticket: u64, name: &str, out: &mut Vec<Command>) {
        let Some(published) = self.sharing.published.get(name) else {
            let reply = self.not_published(name);
            out.push(Command::ToClient { client, message: ToClient::Reply { ticket, reply } });
            return;
        };
        let (tasks, shape) = (published.tasks.clone(), published.shape.clone());
        let slots: Vec<Slot> = tasks.iter().filter_map(|task| self.tasks.find(*task)).collect();
        let n_granted = slots.iter().take_while(|slot| self.grant(**slot, Sharer::Client(client))).count();
        if n_granted < tasks.len() {
            for slot in &slots[..n_granted] {
                self.release_one(client, *slot);
            }
            let reply = Reply::Denied { reason: format!("too many share the results of {name:?}") };
            out.push(Command::ToClient { client, message: ToClient::Reply { ticket, reply } });
            return;
        }
        let reply = Reply::granted(tasks, Some(shape));
        out.push(Command::ToClient { client, message: ToClient::Reply { ticket, reply } });
        for slot in slots {
            self.tell_state(client, slot, out);
        }
    }

    /// Handles that the task's own client has.
    pub(super) fn own_interest(&self, slot: Slot) -> u32 {
        let wanted = u32::from(self.tasks.wanted[slot]);
        if self.sharing.interest.is_empty() {
            return wanted;
        }
        let others: u32 = self.sharing.interest.get(&slot).map_or(0, |sharers| sharers.values().sum());
        wanted - others
    }

    /// Whether a client holds a result that is not its own.
    pub(super) fn shares(&self, client: ClientId, slot: Slot) -> bool {
        self.sharing.interest.get(&slot).is_some_and(|sharers| sharers.contains_key(&Sharer::Client(client)))
    }

    /// A client gives up one handle of those that it has taken back. False where it has none.
    pub(super) fn release_withdrawn(&mut self, client: ClientId, task: TaskId) -> bool {
        let Some(n) = self.sharing.withdrawn.get_mut(&(client, task)) else { return false };
        *n -= 1;
        if *n == 0 {
            self.sharing.withdrawn.remove(&(client, task));
        }
        true
    }

    /// Whether a client has taken a result back, and has no handle that counts.
    pub(super) fn has_withdrawn(&self, client: ClientId, task: TaskId) -> bool {
        self.sharing.withdrawn.contains_key(&(client, task)) && self.wanted_by(client, task).is_none()
    }

    /// The nodes of a graph that need something that its client has taken back: they are cancelled, as all that stands on
    /// a cancelled task.
    pub(super) fn what_stands_on_withdrawn(&self, client: ClientId, graph: &Graph) -> Vec<u32> {
        if self.sharing.withdrawn.is_empty() {
            return Vec::new();
        }
        let is_withdrawn =
            |code: &ArgumentCode| matches!(code, ArgumentCode::Task(task) if self.has_withdrawn(client, *task));
        (0..graph.len() as u32).filter(|node| graph.arguments_of(*node).iter().any(is_withdrawn)).collect()
    }

    /// A client gives up one handle.
    pub(super) fn release_one(&mut self, client: ClientId, slot: Slot) {
        if self.tasks.id(slot).client() == client {
            self.tasks.wanted[slot] -= 1;
        } else {
            self.take_away(slot, &Sharer::Client(client), 1);
        }
    }

    /// Says something about a task to everybody who wants it.
    pub(super) fn tell_wanting(&self, slot: Slot, message: ToClient, out: &mut Vec<Command>) {
        if let Some(sharers) = self.sharing.interest.get(&slot) {
            for sharer in sharers.keys() {
                if let Sharer::Client(client) = sharer {
                    out.push(Command::ToClient { client: *client, message: message.clone() });
                }
            }
        }
        if self.own_interest(slot) > 0 {
            out.push(Command::ToClient { client: self.tasks.id(slot).client(), message });
        }
    }

    /// A client takes a task back that others want too, or need for what they want: only its own interest ends. False
    /// where it is alone with it.
    pub(super) fn cancel_own_interest(&mut self, client: ClientId, slot: Slot, out: &mut Vec<Command>) -> bool {
        if !self.is_needed_by_others(client, slot) {
            return false;
        }
        let task = self.tasks.id(slot);
        self.write_down(|| Entry::Withdrew { client, task });
        self.withdraw(client, slot, out);
        let message = ToClient::Failed { task, error: TaskError::Cancelled };
        out.push(Command::ToClient { client, message });
        true
    }

    /// All handles that a client has on a result count no more.
    pub(super) fn withdraw(&mut self, client: ClientId, slot: Slot, out: &mut Vec<Command>) {
        let task = self.tasks.id(slot);
        let before = self.tasks.wanted[slot];
        if task.client() == client {
            self.tasks.wanted[slot] -= self.own_interest(slot) as u16;
        } else {
            self.take_away(slot, &Sharer::Client(client), u32::MAX);
        }
        let n_handles = u32::from(before - self.tasks.wanted[slot]);
        if n_handles > 0 {
            *self.sharing.withdrawn.entry((client, task)).or_default() += n_handles;
        }
        self.let_go(slot, out);
    }

    /// What a client that is back has taken back, and may not have heard that it did: it has no handle that counts.
    pub(super) fn say_what_was_withdrawn(&self, client: ClientId, out: &mut Vec<Command>) {
        let of_client = (client, TaskId(0))..=(client, TaskId(u64::MAX));
        for (_, task) in self.sharing.withdrawn.range(of_client).map(|(key, _)| *key) {
            if self.has_withdrawn(client, task) {
                let message = ToClient::Failed { task, error: TaskError::Cancelled };
                out.push(Command::ToClient { client, message });
            }
        }
    }

    /// Everything that a client shared without owning it; it is gone. Returns what it no longer wants.
    pub(super) fn forget_sharer(&mut self, client: ClientId) -> Vec<Slot> {
        let sharer = Sharer::Client(client);
        self.sharing.withdrawn.retain(|(by, _), _| *by != client);
        let shared: Vec<Slot> = self
            .sharing
            .interest
            .iter()
            .filter(|(_, sharers)| sharers.contains_key(&sharer))
            .map(|(slot, _)| *slot)
            .collect();
        for slot in &shared {
            self.take_away(*slot, &sharer, u32::MAX);
        }
        shared
    }

    /// A submission takes another client's result.
    pub(super) fn note_crossing(&mut self, client: ClientId, graph: &Graph) {
        let foreign = |code: &ArgumentCode| matches!(code, ArgumentCode::Task(task) if task.client() != client);
        // Only who shares something can take it, but for one that left it again before a restart.
        let may_be = !self.sharing.interest.is_empty() || self.recovering.is_some();
        self.sharing.crossed = self.sharing.crossed || (may_be && graph.arguments.iter().any(foreign));
    }

    /// A task leaves the table, and its key with it.
    pub(super) fn forget_key(&mut self, slot: Slot) {
        if !self.sharing.keyed.is_empty()
            && let Some(key) = self.sharing.keyed.remove(&slot)
            && self.sharing.keys.get(&key).is_some_and(|(task, _)| *task == self.tasks.id(slot))
        {
            self.sharing.keys.remove(&key);
        }
    }

    /// One handle more. False where there are too many.
    fn grant(&mut self, slot: Slot, sharer: Sharer) -> bool {
        let Some(wanted) = self.tasks.wanted[slot].checked_add(1) else { return false };
        self.tasks.wanted[slot] = wanted;
        if sharer != Sharer::Client(self.tasks.id(slot).client()) {
            *self.sharing.interest.entry(slot).or_default().entry(sharer).or_default() += 1;
        }
        true
    }

    /// At most `n` handles of a sharer fewer.
    fn take_away(&mut self, slot: Slot, sharer: &Sharer, n: u32) {
        let Some(sharers) = self.sharing.interest.get_mut(&slot) else { return };
        let Some(has) = sharers.get_mut(sharer) else { return };
        let n = n.min(*has);
        *has -= n;
        if *has == 0 {
            sharers.remove(sharer);
        }
        if sharers.is_empty() {
            self.sharing.interest.remove(&slot);
        }
        self.tasks.wanted[slot] -= n as u16;
    }

    /// Lets go of what a name stood for.
    fn let_go_of_name(&mut self, name: &Arc<str>, published: Published, out: &mut Vec<Command>) {
        for task in published.tasks {
            if let Some(slot) = self.tasks.find(task) {
                self.take_away(slot, &Sharer::Name(Arc::clone(name)), 1);
                self.let_go(slot, out);
            }
        }
    }

    /// Whether a client wants a task, with handles that count.
    pub(super) fn has_interest(&self, client: ClientId, slot: Slot) -> bool {
        if self.tasks.id(slot).client() == client { self.own_interest(slot) > 0 } else { self.shares(client, slot) }
    }

    /// The clients to whom a task matters: who submitted it and those who share it, as far as they are there.
    pub(super) fn concerned(&self, slot: Slot) -> Vec<ClientId> {
        let owner = self.tasks.id(slot).client();
        let sharers = self.sharing.interest.get(&slot).into_iter().flat_map(BTreeMap::keys);
        let sharers = sharers.filter_map(|sharer| match sharer {
            Sharer::Client(client) => Some(*client),
            Sharer::Name(_) => None,
        });
        self.clients.contains_key(&owner).then_some(owner).into_iter().chain(sharers).collect()
    }

    /// Unfinished tasks of others that a client shares.
    pub(super) fn n_shared_active(&self, client: ClientId) -> u64 {
        let sharer = Sharer::Client(client);
        let is_awaited = |(slot, sharers): &(&Slot, &BTreeMap<Sharer, u32>)| {
            self.tasks.state[**slot].is_active() && sharers.contains_key(&sharer)
        };
        self.sharing.interest.iter().filter(is_awaited).count() as u64
    }

    /// Tells a client how it stands with a result that it wants.
    pub(super) fn tell_state(&self, client: ClientId, slot: Slot, out: &mut Vec<Command>) {
        let task = self.tasks.id(slot);
        let message = match self.tasks.state[slot] {
            State::Memory => ToClient::finished(task, self.tasks.n_bytes[slot], self.addresses(slot), None),
            State::Failed => match self.tasks.errors.get(&slot) {
                Some(error) => ToClient::Failed { task, error: (**error).clone() },
                None => return,
            },
            _ => return,
        };
        out.push(Command::ToClient { client, message });
    }

    /// Whether others than this client want a task, or something that needs it.
    fn is_needed_by_others(&self, client: ClientId, slot: Slot) -> bool {
        if self.sharing.interest.is_empty() && !self.sharing.crossed {
            return false;
        }
        let (mut seen, mut work) = (BTreeSet::from([slot]), vec![slot]);
        while let Some(slot) = work.pop() {
            let sharers = self.sharing.interest.get(&slot);
            let by_sharers = sharers.is_some_and(|sharers| sharers.keys().any(|s| *s != Sharer::Client(client)));
            let by_owner = self.tasks.id(slot).client() != client && self.own_interest(slot) > 0;
            if by_sharers || by_owner {
                return true;
            }
            let active = self.tasks.dependents(slot).filter(|d| self.tasks.state[*d].is_active());
            work.extend(active.filter(|dependent| seen.insert(*dependent)));
        }
        false
    }

    fn not_published(&self, name: &str) -> Reply {
        let known = self.sharing.published.keys().take(20).map(|name| format!("{name:?}")).collect::<Vec<_>>();
        let known = if known.is_empty() { "nothing is".to_owned() } else { known.join(", ") };
        Reply::Denied { reason: format!("nothing is published as {name:?}; published: {known}") }
    }

    /// Writes down all that is shared, after the tasks themselves.
    pub(super) fn write_down_sharing(&self, log: &mut Log) {
        for (slot, sharers) in &self.sharing.interest {
            for (sharer, n_handles) in sharers {
                if let Sharer::Client(client) = sharer {
                    log.push(&Entry::Shared { task: self.tasks.id(*slot), client: *client, n_handles: *n_handles });
                }
            }
        }
        for (name, Published { tasks, shape }) in &self.sharing.published {
            let (name, tasks, shape) = (name.as_ref().into(), tasks.as_slice().into(), Some(shape.clone()));
            log.push(&Entry::Published { name, tasks, shape });
        }
        for (key, (task, recipe)) in &self.sharing.keys {
            log.push(&Entry::Key { key: key.as_ref().into(), task: *task, recipe: *recipe });
        }
        for ((client, task), n_handles) in &self.sharing.withdrawn {
            log.push(&Entry::Withdrawn { client: *client, task: *task, n_handles: *n_handles });
        }
    }

    /// Takes in one thing that [`write_down_sharing`](Self::write_down_sharing) wrote. The tasks are wanted by all of
    /// them already.
    pub(super) fn restore_sharing(&mut self, entry: Entry<'_>) -> Result<(), String> {
        let find = |task: TaskId| self.tasks.find(task).ok_or_else(|| format!("{task} is shared and not known"));
        match entry {
            Entry::Shared { task, client, n_handles } => {
                self.sharing.interest.entry(find(task)?).or_default().insert(Sharer::Client(client), n_handles);
            }
            Entry::Published { name, tasks, shape } => {
                let name: Arc<str> = name.as_ref().into();
                for slot in tasks.iter().map(|task| find(*task)).collect::<Result<Vec<_>, _>>()? {
                    let sharers = self.sharing.interest.entry(slot).or_default();
                    *sharers.entry(Sharer::Name(Arc::clone(&name))).or_default() += 1;
                }
                let shape = shape.ok_or("a published collection has no shape")?;
                self.sharing.published.insert(name, Published { tasks: tasks.into_owned(), shape });
            }
            Entry::Key { key, task, recipe } => {
                let (slot, key): (_, Arc<str>) = (find(task)?, key.as_ref().into());
                self.sharing.keys.insert(Arc::clone(&key), (task, recipe));
                self.sharing.keyed.insert(slot, key);
            }
            Entry::Withdrawn { client, task, n_handles } => {
                self.sharing.withdrawn.insert((client, task), n_handles);
            }
            _ => {}
        }
        Ok(())
    }

    /// What must be true of this file's state between two events.
    pub(super) fn check_sharing(&self) {
        for (slot, sharers) in &self.sharing.interest {
            let id = self.tasks.id(*slot);
            assert_ne!(self.tasks.state[*slot], State::Absent, "{id} is shared and gone");
            assert!(!sharers.is_empty() && sharers.values().all(|n| *n > 0), "{id} is shared by nobody");
            let n_others: u32 = sharers.values().sum();
            assert!(n_others <= u32::from(self.tasks.wanted[*slot]), "{id} is wanted by all who share it");
            for sharer in sharers.keys() {
                match sharer {
                    Sharer::Client(client) => {
                        assert!(self.clients.contains_key(client), "{id} is shared by {client}, which is gone");
                        assert_ne!(*client, id.client(), "{id} is shared by its owner");
                    }
                    Sharer::Name(name) => {
                        let published = self.sharing.published.get(name);
                        assert!(published.is_some_and(|p| p.tasks.contains(&id)), "{id} is kept by no name");
                    }
                }
            }
        }
        for (name, published) in &self.sharing.published {
            for task in &published.tasks {
                let Some(slot) = self.tasks.find(*task) else { panic!("{task} of {name:?} is gone") };
                let kept = self.sharing.interest.get(&slot);
                assert!(kept.is_some_and(|s| s.contains_key(&Sharer::Name(Arc::clone(name)))), "{name:?} keeps {task}");
            }
        }
        for (slot, key) in &self.sharing.keyed {
            assert_ne!(self.tasks.state[*slot], State::Absent, "the task of {key:?} is gone");
        }
        assert!(self.sharing.keys.len() <= self.sharing.keyed.len(), "every key has its task");
        for ((client, task), n_handles) in &self.sharing.withdrawn {
            assert!(*n_handles > 0 && self.clients.contains_key(client), "{client} took {task} back and is gone");
        }
    }
}

fn check_name(what: &str, name: &str) -> Result<(), String> {
    if name.is_empty() || name.len() > MAX_NAME {
        return Err(format!("{what} has 1 to {MAX_NAME} bytes, this one has {}", name.len()));
    }
    Ok(())
}
