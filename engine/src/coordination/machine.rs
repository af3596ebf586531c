//! The machine: who holds what, who waits in which line, and what is in queues and variables.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use super::{Answer, CoordinationError, MAX_NAME, MAX_VALUE, MAX_VALUES, Request, Told};
use crate::{id::ClientId, time::Time, value::Value};

/// Everything that a cluster knows by name, and who waits for it; see the [module's documentation](super).
#[derive(Debug, Default)]
pub struct Coordination {
    locks: BTreeMap<String, Places>,
    semaphores: BTreeMap<String, Places>,
    events: BTreeMap<String, Event>,
    queues: BTreeMap<String, Queue>,
    variables: BTreeMap<String, Variable>,
    leases: BTreeMap<Asker, (Kind, String)>,
    waits: BTreeMap<Asker, Wait>,
    deadlines: BTreeSet<(Time, Asker)>,
    /// Bytes of all values, those of waiting puts among them.
    n_bytes: u64,
}

/// A request: whose, and its ticket.
type Asker = (ClientId, u64);

/// In which line somebody stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Lock,
    Semaphore,
    Event,
    Get,
    Put,
    Variable,
}

#[derive(Debug, Clone)]
struct Wait {
    kind: Kind,
    name: String,
    until: Option<Time>,
}

/// A lock or a semaphore.
#[derive(Debug)]
struct Places {
    limit: u32,
    holders: BTreeSet<Asker>,
    line: VecDeque<Asker>,
}

#[derive(Debug, Default)]
struct Event {
    is_set: bool,
    line: VecDeque<Asker>,
}

#[derive(Debug, Default)]
struct Queue {
    maxsize: u32,
    values: VecDeque<Value>,
    getters: VecDeque<Asker>,
    putters: VecDeque<(Asker, Value)>,
}

#[derive(Debug, Default)]
struct Variable {
    value: Option<Value>,
    line: VecDeque<Asker>,
}

impl Coordination {
    /// Takes in what a client asks for and appends who is answered what.
    pub fn request(
        &mut self,
        now: Time,
        client: ClientId,
        ticket: u64,
        request: Request,
        value: Option<Value>,
        out: &mut Vec<Told>,
    ) {
        let asker = (client, ticket);
        let is_answered = request.is_answered();
        if is_answered && (self.waits.contains_key(&asker) || self.leases.contains_key(&asker)) {
            // A ticket is used once; what is said twice changes nothing.
            return;
        }
        if let Err(error) = self.take_in(now, asker, request, value, out)
            && is_answered
        {
            tell(asker, Answer::Refused(error), None, out);
        }
    }

    /// A client is gone, and with it all that it held or waited for.
    pub fn client_left(&mut self, client: ClientId, out: &mut Vec<Told>) {
        let of_client = (client, 0)..=(client, u64::MAX);
        let waits: Vec<Asker> = self.waits.range(of_client.clone()).map(|(asker, _)| *asker).collect();
        for asker in waits {
            self.leave(asker, out);
        }
        let leases: Vec<Asker> = self.leases.range(of_client).map(|(asker, _)| *asker).collect();
        for asker in leases {
            self.release(asker, out);
        }
    }

    /// Answers those whose time is over.
    pub fn tick(&mut self, now: Time, out: &mut Vec<Told>) {
        while let Some((until, asker)) = self.deadlines.first().copied()
            && until <= now
        {
            self.leave(asker, out);
            tell(asker, Answer::TimedOut, None, out);
        }
    }

    /// When somebody's time is over next.
    pub fn deadline(&self) -> Option<Time> {
        self.deadlines.first().map(|(time, _)| *time)
    }

    /// How many locks, semaphores, events, queues and variables there are.
    pub fn len(&self) -> usize {
        self.locks.len() + self.semaphores.len() + self.events.len() + self.queues.len() + self.variables.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn take_in(
        &mut self,
        now: Time,
        asker: Asker,
        request: Request,
        value: Option<Value>,
        out: &mut Vec<Told>,
    ) -> Result<(), CoordinationError> {
        let n_bytes = request.name().len();
        if n_bytes > MAX_NAME {
            return Err(CoordinationError::Name { n_bytes, limit: MAX_NAME });
        }
        let value = match (request.takes_value(), value) {
            (false, _) => None,
            (true, None) => return Err(CoordinationError::NoValue),
            (true, Some(value)) => Some(self.small(request.name(), value)?),
        };
        let until = |timeout: Option<Duration>| timeout.map(|timeout| now + timeout);
        match (request, value) {
            (Request::Lock { name, timeout }, _) => self.acquire(asker, Kind::Lock, name, 1, until(timeout), now, out),
            (Request::Acquire { name, limit, timeout }, _) => {
                self.acquire(asker, Kind::Semaphore, name, limit, until(timeout), now, out)
            }
            (Request::Release { lease }, _) => {
                self.release((asker.0, lease), out);
                Ok(())
            }
            (Request::Forget { ticket }, _) => {
                let asker = (asker.0, ticket);
                if self.waits.contains_key(&asker) {
                    self.leave(asker, out);
                    tell(asker, Answer::Left, None, out);
                }
                Ok(())
            }
            (Request::Set { event }, _) => {
                let state = self.events.entry(event).or_default();
                state.is_set = true;
                let line = std::mem::take(&mut state.line);
                tell(asker, Answer::Done, None, out);
                self.serve(line, |_| (Answer::Done, None), out);
                Ok(())
            }
            (Request::Clear { event }, _) => {
                if let Some(state) = self.events.get_mut(&event) {
                    state.is_set = false;
                }
                self.tidy(Kind::Event, &event);
                tell(asker, Answer::Done, None, out);
                Ok(())
            }
            (Request::IsSet { event }, _) => {
                let is_set = self.events.get(&event).is_some_and(|event| event.is_set);
                tell(asker, Answer::Is(is_set), None, out);
                Ok(())
            }
            (Request::Wait { event, timeout }, _) => {
                if self.events.get(&event).is_some_and(|event| event.is_set) {
                    tell(asker, Answer::Done, None, out);
                } else if self.waits_at_all(asker, Kind::Event, &event, until(timeout), now, out) {
                    self.events.entry(event).or_default().line.push_back(asker);
                }
                Ok(())
            }
            (Request::Put { queue, maxsize, timeout }, Some(value)) => {
                self.put(asker, queue, maxsize, value, until(timeout), now, out)
            }
            (Request::PutBack { queue, maxsize }, Some(value)) => {
                self.put_back(&queue, maxsize, value, out);
                Ok(())
            }
            (Request::Get { queue, maxsize, timeout }, _) => self.get(asker, queue, maxsize, until(timeout), now, out),
            (Request::Len { queue }, _) => {
                let n_values = self.queues.get(&queue).map_or(0, |queue| queue.values.len() as u64);
                tell(asker, Answer::Count(n_values), None, out);
                Ok(())
            }
            (Request::DeleteQueue { queue }, _) => {
                self.delete_queue(&queue, out);
                tell(asker, Answer::Done, None, out);
                Ok(())
            }
            (Request::Store { variable }, Some(value)) => {
                self.n_bytes += value.n_bytes();
                let state = self.variables.entry(variable).or_default();
                self.n_bytes -= state.value.as_ref().map_or(0, Value::n_bytes);
                state.value = Some(value.clone());
                let line = std::mem::take(&mut state.line);
                tell(asker, Answer::Done, None, out);
                self.serve(line, |_| (Answer::Value, Some(value.clone())), out);
                Ok(())
            }
            (Request::Load { variable, timeout }, _) => {
                match self.variables.get(&variable).and_then(|variable| variable.value.clone()) {
                    Some(value) => tell(asker, Answer::Value, Some(value), out),
                    None => {
                        if self.waits_at_all(asker, Kind::Variable, &variable, until(timeout), now, out) {
                            self.variables.entry(variable).or_default().line.push_back(asker);
                        }
                    }
                }
                Ok(())
            }
            (Request::DeleteVariable { variable }, _) => {
                if let Some(state) = self.variables.get_mut(&variable) {
                    self.n_bytes -= state.value.take().map_or(0, |value| value.n_bytes());
                }
                self.tidy(Kind::Variable, &variable);
                tell(asker, Answer::Done, None, out);
                Ok(())
            }
            (Request::Put { .. } | Request::PutBack { .. } | Request::Store { .. }, None) => {
                Err(CoordinationError::NoValue)
            }
        }
    }

    /// A value that is small, with room for it.
    fn small(&self, name: &str, value: Value) -> Result<Value, CoordinationError> {
        let n_bytes = value.n_bytes();
        if n_bytes > MAX_VALUE {
            return Err(CoordinationError::TooLarge { name: name.into(), n_bytes, limit: MAX_VALUE });
        }
        if self.n_bytes + n_bytes > MAX_VALUES {
            return Err(CoordinationError::Full { limit: MAX_VALUES });
        }
        Ok(value)
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of one request")]
    fn acquire(
        &mut self,
        asker: Asker,
        kind: Kind,
        name: String,
        limit: u32,
        until: Option<Time>,
        now: Time,
        out: &mut Vec<Told>,
    ) -> Result<(), CoordinationError> {
        if limit == 0 {
            return Err(CoordinationError::NoPlaces { name });
        }
        let (used, is_free) = match self.places(kind).get(&name) {
            Some(places) => (places.limit, places.line.is_empty() && places.holders.len() < places.limit as usize),
            None => (limit, true),
        };
        if used != limit {
            return Err(CoordinationError::Limit { name, limit: used, asked: limit });
        }
        let waits = !is_free;
        if waits && !self.waits_at_all(asker, kind, &name, until, now, out) {
            return Ok(());
        }
        let fresh = || Places { limit, holders: BTreeSet::new(), line: VecDeque::new() };
        let places = self.places_mut(kind).entry(name.clone()).or_insert_with(fresh);
        if waits {
            places.line.push_back(asker);
        } else {
            places.holders.insert(asker);
            self.leases.insert(asker, (kind, name));
            tell(asker, Answer::Acquired, None, out);
        }
        Ok(())
    }

    fn release(&mut self, asker: Asker, out: &mut Vec<Told>) {
        let Some((kind, name)) = self.leases.remove(&asker) else { return };
        if let Some(places) = self.places_mut(kind).get_mut(&name) {
            places.holders.remove(&asker);
        }
        self.let_in(kind, &name, out);
        self.tidy(kind, &name);
    }

    /// Gives places that are free to those who wait.
    fn let_in(&mut self, kind: Kind, name: &str, out: &mut Vec<Told>) {
        loop {
            let Some(places) = self.places_mut(kind).get_mut(name) else { return };
            if places.holders.len() >= places.limit as usize {
                return;
            }
            let Some(next) = places.line.pop_front() else { return };
            places.holders.insert(next);
            self.stop_waiting(next);
            self.leases.insert(next, (kind, name.into()));
            tell(next, Answer::Acquired, None, out);
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of one request")]
    fn put(
        &mut self,
        asker: Asker,
        name: String,
        maxsize: u32,
        value: Value,
        until: Option<Time>,
        now: Time,
        out: &mut Vec<Told>,
    ) -> Result<(), CoordinationError> {
        let n_bytes = value.n_bytes();
        let queue = self.queue(&name, maxsize)?;
        if let Some(getter) = queue.getters.pop_front() {
            self.stop_waiting(getter);
            tell(asker, Answer::Done, None, out);
            tell(getter, Answer::Value, Some(value), out);
        } else if queue.has_room() {
            queue.values.push_back(value);
            self.n_bytes += n_bytes;
            tell(asker, Answer::Done, None, out);
        } else if self.waits_at_all(asker, Kind::Put, &name, until, now, out) {
            self.n_bytes += n_bytes;
            self.queue(&name, maxsize)?.putters.push_back((asker, value));
        }
        self.tidy(Kind::Put, &name);
        Ok(())
    }

    /// The queue of that name, which may be a new one.
    fn queue(&mut self, name: &str, maxsize: u32) -> Result<&mut Queue, CoordinationError> {
        let queue = self.queues.entry(name.into()).or_insert_with(|| Queue { maxsize, ..Queue::default() });
        if queue.maxsize != maxsize {
            return Err(CoordinationError::Limit { name: name.into(), limit: queue.maxsize, asked: maxsize });
        }
        Ok(queue)
    }

    fn put_back(&mut self, name: &str, maxsize: u32, value: Value, out: &mut Vec<Told>) {
        // Whoever uses the name otherwise by now has deleted the queue that the value was in.
        let Ok(queue) = self.queue(name, maxsize) else { return };
        match queue.getters.pop_front() {
            Some(getter) => {
                self.stop_waiting(getter);
                tell(getter, Answer::Value, Some(value), out);
                self.tidy(Kind::Get, name);
            }
            None => {
                let n_bytes = value.n_bytes();
                queue.values.push_front(value);
                self.n_bytes += n_bytes;
            }
        }
    }

    fn get(
        &mut self,
        asker: Asker,
        name: String,
        maxsize: u32,
        until: Option<Time>,
        now: Time,
        out: &mut Vec<Told>,
    ) -> Result<(), CoordinationError> {
        match self.queue(&name, maxsize)?.values.pop_front() {
            Some(value) => {
                self.n_bytes -= value.n_bytes();
                tell(asker, Answer::Value, Some(value), out);
                self.fill(&name, out);
            }
            None => {
                if self.waits_at_all(asker, Kind::Get, &name, until, now, out) {
                    self.queue(&name, maxsize)?.getters.push_back(asker);
                }
            }
        }
        self.tidy(Kind::Get, &name);
        Ok(())
    }

    /// Takes in what waits for room in a queue.
    fn fill(&mut self, name: &str, out: &mut Vec<Told>) {
        while let Some(queue) = self.queues.get_mut(name)
            && queue.has_room()
            && let Some((putter, value)) = queue.putters.pop_front()
        {
            queue.values.push_back(value);
            self.stop_waiting(putter);
            tell(putter, Answer::Done, None, out);
        }
    }

    fn delete_queue(&mut self, name: &str, out: &mut Vec<Told>) {
        let Some(queue) = self.queues.remove(name) else { return };
        let waiting = queue.putters.iter().map(|(_, value)| value);
        self.n_bytes -= queue.values.iter().chain(waiting).map(Value::n_bytes).sum::<u64>();
        let askers = queue.getters.into_iter().chain(queue.putters.into_iter().map(|(asker, _)| asker)).collect();
        let deleted = CoordinationError::Deleted { name: name.into() };
        self.serve(askers, |_| (Answer::Refused(deleted.clone()), None), out);
    }

    /// Notes that somebody waits, unless there is no time to: then he is told at once.
    fn waits_at_all(
        &mut self,
        asker: Asker,
        kind: Kind,
        name: &str,
        until: Option<Time>,
        now: Time,
        out: &mut Vec<Told>,
    ) -> bool {
        if until.is_some_and(|until| until <= now) {
            tell(asker, Answer::TimedOut, None, out);
            return false;
        }
        self.deadlines.extend(until.map(|until| (until, asker)));
        self.waits.insert(asker, Wait { kind, name: name.into(), until });
        true
    }

    fn stop_waiting(&mut self, asker: Asker) -> Option<Wait> {
        let wait = self.waits.remove(&asker)?;
        if let Some(until) = wait.until {
            self.deadlines.remove(&(until, asker));
        }
        Some(wait)
    }

    /// Takes somebody out of the line he stands in, without a word.
    fn leave(&mut self, asker: Asker, out: &mut Vec<Told>) {
        let Some(Wait { kind, name, .. }) = self.stop_waiting(asker) else { return };
        let out_of = |line: &mut VecDeque<Asker>| line.retain(|other| *other != asker);
        match kind {
            Kind::Lock | Kind::Semaphore => {
                if let Some(places) = self.places_mut(kind).get_mut(&name) {
                    out_of(&mut places.line);
                }
                self.let_in(kind, &name, out);
            }
            Kind::Event => drop(self.events.get_mut(&name).map(|event| out_of(&mut event.line))),
            Kind::Variable => drop(self.variables.get_mut(&name).map(|variable| out_of(&mut variable.line))),
            Kind::Get => drop(self.queues.get_mut(&name).map(|queue| out_of(&mut queue.getters))),
            Kind::Put => {
                if let Some(queue) = self.queues.get_mut(&name)
                    && let Some(place) = queue.putters.iter().position(|(other, _)| *other == asker)
                    && let Some((_, value)) = queue.putters.remove(place)
                {
                    self.n_bytes -= value.n_bytes();
                }
            }
        }
        self.tidy(kind, &name);
    }

    /// Answers everybody of a line that was taken away.
    fn serve(&mut self, line: VecDeque<Asker>, answer: impl Fn(Asker) -> (Answer, Option<Value>), out: &mut Vec<Told>) {
        for asker in line {
            self.stop_waiting(asker);
            let (answer, value) = answer(asker);
            tell(asker, answer, value, out);
        }
    }

    /// Forgets what nobody uses.
    fn tidy(&mut self, kind: Kind, name: &str) {
        match kind {
            Kind::Lock | Kind::Semaphore => {
                let places = self.places_mut(kind);
                if places.get(name).is_some_and(|p| p.holders.is_empty() && p.line.is_empty()) {
                    places.remove(name);
                }
            }
            Kind::Event => {
                if self.events.get(name).is_some_and(|event| !event.is_set && event.line.is_empty()) {
                    self.events.remove(name);
                }
            }
            Kind::Get | Kind::Put => {
                if self.queues.get(name).is_some_and(Queue::is_unused) {
                    self.queues.remove(name);
                }
            }
            Kind::Variable => {
                if self.variables.get(name).is_some_and(|v| v.value.is_none() && v.line.is_empty()) {
                    self.variables.remove(name);
                }
            }
        }
    }

    const fn places(&self, kind: Kind) -> &BTreeMap<String, Places> {
        if matches!(kind, Kind::Lock) { &self.locks } else { &self.semaphores }
    }

    const fn places_mut(&mut self, kind: Kind) -> &mut BTreeMap<String, Places> {
        if matches!(kind, Kind::Lock) { &mut self.locks } else { &mut self.semaphores }
    }

    /// Checks everything that must be true between requests.
    ///
    /// # Panics
    /// When something is not true, saying what.
    pub fn check_invariants(&self) {
        let mut waiting = BTreeSet::new();
        let mut holding = BTreeSet::new();
        let mut n_bytes = 0;
        for (name, places) in self.locks.iter().chain(&self.semaphores) {
            let n_held = places.holders.len();
            assert!(n_held <= places.limit as usize, "{name} is held by {n_held} of {}", places.limit);
            assert!(n_held > 0, "{name} is held by nobody and still there");
            assert!(places.line.is_empty() || n_held == places.limit as usize, "{name} is free and waited for");
            holding.extend(&places.holders);
            waiting.extend(&places.line);
        }
        for (name, event) in &self.events {
            assert!(event.is_set || !event.line.is_empty(), "nobody uses {name}");
            assert!(!event.is_set || event.line.is_empty(), "{name} is set and waited for");
            waiting.extend(&event.line);
        }
        for (name, queue) in &self.queues {
            assert!(!queue.is_unused(), "nobody uses {name}");
            assert!(queue.values.is_empty() || queue.getters.is_empty(), "{name} has a value and is waited for");
            assert!(queue.putters.is_empty() || !queue.has_room(), "{name} has room and is waited for");
            waiting.extend(queue.getters.iter().chain(queue.putters.iter().map(|(asker, _)| asker)));
            n_bytes += queue.values.iter().chain(queue.putters.iter().map(|(_, v)| v)).map(Value::n_bytes).sum::<u64>();
        }
        for (name, variable) in &self.variables {
            assert!(variable.value.is_none() || variable.line.is_empty(), "{name} has a value and is waited for");
            assert!(variable.value.is_some() || !variable.line.is_empty(), "nobody uses {name}");
            waiting.extend(&variable.line);
            n_bytes += variable.value.as_ref().map_or(0, Value::n_bytes);
        }
        assert_eq!(waiting, self.waits.keys().copied().collect(), "who waits");
        assert_eq!(holding, self.leases.keys().copied().collect(), "who holds");
        assert_eq!(n_bytes, self.n_bytes, "bytes of values");
        let deadlines = self.waits.iter().filter_map(|(asker, wait)| Some((wait.until?, *asker))).collect();
        assert_eq!(self.deadlines, deadlines, "whose time ends when");
    }
}

impl Queue {
    fn has_room(&self) -> bool {
        self.maxsize == 0 || self.values.len() < self.maxsize as usize
    }

    fn is_unused(&self) -> bool {
        self.values.is_empty() && self.getters.is_empty() && self.putters.is_empty()
    }
}

fn tell((client, ticket): Asker, answer: Answer, value: Option<Value>, out: &mut Vec<Told>) {
    out.push(Told { client, ticket, answer, value });
}
