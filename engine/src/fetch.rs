//! Decides from whom results are fetched, for a worker that needs inputs and for a client that gathers.
//!
//! Part of both machines. It knows peers by address and results by task; what they are wanted for, and what becomes
//! of a value that arrives, is its owner's.
//!
//! A wanted result is in exactly one place: asked of one peer, queued at every peer that is said to have it, or
//! reported missing because nobody is left. What is asked of a peer stays asked when nobody wants it any more, so
//! wanting it again never fetches it twice.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::{
    id::TaskId,
    message::{Address, Priority},
    time::Time,
};

/// A request stops growing once it asks for this many bytes: one request to a peer has to end before something more
/// urgent can be asked of it.
const REQUEST_BYTES: u64 = 64 << 20;

/// What is wanted, what is asked of whom, and what is queued where.
#[derive(Debug)]
pub(crate) struct Fetches {
    /// Where the owner's own results are: a holder that is never asked.
    own: Option<Address>,
    /// Spreads owners that want the same results over the peers that have them.
    salt: u64,
    max_peers: usize,
    silence: Duration,
    wanted: BTreeMap<TaskId, Wanted>,
    asked: BTreeMap<TaskId, Address>,
    peers: BTreeMap<Address, Peer>,
    /// The most urgent entry of each queue at a peer that can be asked.
    offers: BTreeSet<(Priority, TaskId, Address)>,
    silences: BTreeSet<(Time, Address)>,
    n_active: usize,
    /// Wanted, but not yet in its place; empty between events.
    fresh: BTreeSet<(Priority, TaskId)>,
    /// Whether nobody is asked for now: the owner has no memory.
    held_back: bool,
}

/// What one event led to.
#[derive(Debug, Default)]
pub(crate) struct Settled {
    /// Whom to ask for what.
    pub(crate) requests: BTreeMap<Address, Vec<TaskId>>,
    /// What nobody is left to be asked for, and who did not have it.
    pub(crate) missing: Vec<(TaskId, Vec<Address>)>,
}

#[derive(Debug)]
struct Wanted {
    priority: Priority,
    n_bytes: u64,
    /// Said to have it, and not found without since.
    holders: BTreeSet<Address>,
    /// Found without, or out of reach, since last named.
    tried: BTreeSet<Address>,
    reported: bool,
}

impl Wanted {
    const fn new(priority: Priority) -> Self {
        Self { priority, n_bytes: 0, holders: BTreeSet::new(), tried: BTreeSet::new(), reported: false }
    }
}

/// A peer of which something is asked or at which something is queued.
#[derive(Debug, Default)]
struct Peer {
    queue: BTreeSet<(Priority, TaskId)>,
    asked: BTreeSet<TaskId>,
    /// When it counts as lost; while something is asked of it.
    silent_at: Option<Time>,
    /// Bytes of the request that is being put together in this event.
    open: Option<u64>,
}

impl Peer {
    /// The entry of its queue that comes first, where it can be asked.
    fn offer(&self) -> Option<(Priority, TaskId)> {
        let free = self.asked.is_empty() || self.open.is_some_and(|n_bytes| n_bytes < REQUEST_BYTES);
        if free { self.queue.first().copied() } else { None }
    }
}

impl Fetches {
    pub(crate) fn new(own: Option<Address>, salt: u64, max_peers: u32, silence: Duration) -> Self {
        Self {
            own,
            salt,
            max_peers: max_peers.max(1) as usize,
            silence,
            wanted: BTreeMap::new(),
            asked: BTreeMap::new(),
            peers: BTreeMap::new(),
            offers: BTreeSet::new(),
            silences: BTreeSet::new(),
            n_active: 0,
            fresh: BTreeSet::new(),
            held_back: false,
        }
    }

    /// Whether nobody is to be asked for now, from the next [`settle`](Self::settle) on.
    pub(crate) const fn set_held_back(&mut self, held_back: bool) {
        self.held_back = held_back;
    }

    /// A result is wanted, and these are said to have it. Wanting it again adds holders and may make it more urgent.
    pub(crate) fn want(
        &mut self,
        task: TaskId,
        priority: Priority,
        n_bytes: u64,
        holders: impl IntoIterator<Item = Address>,
    ) {
        self.displace(task);
        let wanted = self.wanted.entry(task).or_insert_with(|| Wanted::new(priority));
        wanted.priority = wanted.priority.min(priority);
        wanted.n_bytes = wanted.n_bytes.max(n_bytes);
        self.name(task, holders);
        self.refresh(task);
    }

    /// These are said to have a result now. Says nothing of what is not wanted.
    pub(crate) fn located(&mut self, task: TaskId, holders: impl IntoIterator<Item = Address>) {
        self.displace(task);
        self.name(task, holders);
        self.refresh(task);
    }

    /// A result is no longer wanted, or is here.
    pub(crate) fn forget(&mut self, task: TaskId) {
        self.displace(task);
        self.wanted.remove(&task);
    }

    pub(crate) fn is_wanted(&self, task: TaskId) -> bool {
        self.wanted.contains_key(&task)
    }

    /// How many results are wanted.
    pub(crate) fn len(&self) -> usize {
        self.wanted.len()
    }

    /// A peer sent a result.
    pub(crate) fn fetched(&mut self, now: Time, peer: &Address, task: TaskId) {
        if self.answered(now, peer, task) {
            self.refresh(task);
        }
    }

    /// A peer does not have a result.
    pub(crate) fn not_there(&mut self, now: Time, peer: &Address, task: TaskId) {
        if self.answered(now, peer, task) {
            self.fail(task, peer);
            self.refresh(task);
        }
    }

    /// A peer is out of reach: nothing that was asked of it will come, and nothing that is queued would.
    pub(crate) fn lost(&mut self, address: &Address) {
        let Some(peer) = self.peers.get(address) else { return };
        let asked = peer.asked.iter().copied();
        let tasks: Vec<TaskId> = asked.chain(peer.queue.iter().map(|(_, task)| *task)).collect();
        for task in tasks {
            self.change(address, |peer| {
                peer.asked.remove(&task);
            });
            if self.asked.get(&task) == Some(address) {
                self.asked.remove(&task);
            }
            self.displace(task);
            self.fail(task, address);
            self.refresh(task);
        }
    }

    /// A peer is in the middle of a large result: it is not silent.
    pub(crate) fn sending(&mut self, now: Time, address: &Address) {
        let silent_at = now + self.silence;
        if self.peers.contains_key(address) {
            self.change(address, |peer| peer.silent_at = peer.silent_at.map(|_| silent_at));
        }
    }

    /// Counts peers as lost that were silent too long, and names them.
    pub(crate) fn tick(&mut self, now: Time) -> Vec<Address> {
        let mut silent = Vec::new();
        while let Some((at, address)) = self.silences.first()
            && *at <= now
        {
            let address = address.clone();
            self.lost(&address);
            silent.push(address);
        }
        silent
    }

    /// When the next peer counts as lost.
    pub(crate) fn deadline(&self) -> Option<(Time, Address)> {
        self.silences.first().cloned()
    }

    /// Ends an event: asks idle peers, the most urgent results first, and finds out what nobody has.
    pub(crate) fn settle(&mut self, now: Time) -> Settled {
        let mut settled = Settled::default();
        for (priority, task) in std::mem::take(&mut self.fresh) {
            let Some(wanted) = self.wanted.get_mut(&task) else { continue };
            if !wanted.holders.is_empty() {
                for holder in wanted.holders.clone() {
                    self.change(&holder, |peer| {
                        peer.queue.insert((priority, task));
                    });
                }
            } else if !wanted.reported {
                wanted.reported = true;
                settled.missing.push((task, wanted.tried.iter().cloned().collect()));
            }
        }
        while !self.held_back
            && let Some(task) = self.next_offer()
        {
            let Some(peer) = self.choose(task) else { break };
            self.displace(task);
            self.asked.insert(task, peer.clone());
            let n_bytes = self.wanted.get(&task).map_or(0, |wanted| wanted.n_bytes);
            let silent_at = now + self.silence;
            self.change(&peer, |peer| {
                peer.asked.insert(task);
                peer.silent_at = Some(silent_at);
                *peer.open.get_or_insert(0) += n_bytes;
            });
            settled.requests.entry(peer).or_default().push(task);
        }
        for address in settled.requests.keys() {
            self.change(address, |peer| peer.open = None);
        }
        settled
    }

    /// The most urgent result that some peer can be asked for now.
    fn next_offer(&self) -> Option<TaskId> {
        let may_open = self.n_active < self.max_peers;
        let usable = |address: &Address| may_open || self.is_open(address);
        self.offers.iter().find(|(_, _, address)| usable(address)).map(|(_, task, _)| *task)
    }

    /// Which of a result's holders to ask: the one with the smallest request so far, and among equals one that
    /// depends on who asks for what.
    fn choose(&self, task: TaskId) -> Option<Address> {
        let may_open = self.n_active < self.max_peers;
        let candidates = self.wanted.get(&task)?.holders.iter().filter_map(|address| {
            let peer = self.peers.get(address)?;
            let usable = match peer.open {
                Some(n_bytes) => n_bytes < REQUEST_BYTES,
                None => peer.asked.is_empty() && may_open,
            };
            usable.then(|| (peer.open.unwrap_or(0), mix(self.salt, task, address), address))
        });
        candidates.min().map(|(_, _, address)| address.clone())
    }

    fn is_open(&self, address: &Address) -> bool {
        self.peers.get(address).is_some_and(|peer| peer.open.is_some())
    }

    /// Notes who has a wanted result.
    fn name(&mut self, task: TaskId, holders: impl IntoIterator<Item = Address>) {
        let Some(wanted) = self.wanted.get_mut(&task) else { return };
        for holder in holders {
            wanted.reported = false;
            if self.own.as_ref() == Some(&holder) {
                wanted.tried.insert(holder);
            } else {
                wanted.tried.remove(&holder);
                wanted.holders.insert(holder);
            }
        }
    }

    /// Notes that a peer could not send a wanted result.
    fn fail(&mut self, task: TaskId, peer: &Address) {
        if let Some(wanted) = self.wanted.get_mut(&task) {
            wanted.holders.remove(peer);
            wanted.tried.insert(peer.clone());
        }
    }

    /// Takes a wanted result out of all queues.
    fn displace(&mut self, task: TaskId) {
        let Some(wanted) = self.wanted.get(&task) else { return };
        let entry = (wanted.priority, task);
        self.fresh.remove(&entry);
        if self.asked.contains_key(&task) {
            return;
        }
        for holder in wanted.holders.clone() {
            if self.peers.contains_key(&holder) {
                self.change(&holder, |peer| {
                    peer.queue.remove(&entry);
                });
            }
        }
    }

    /// Lets [`settle`](Self::settle) find the place of a result that is wanted and not asked of anybody.
    fn refresh(&mut self, task: TaskId) {
        if let Some(wanted) = self.wanted.get(&task)
            && !self.asked.contains_key(&task)
        {
            self.fresh.insert((wanted.priority, task));
        }
    }

    /// Whether this is the answer to something that was asked; a late or doubled one changes nothing.
    fn answered(&mut self, now: Time, address: &Address, task: TaskId) -> bool {
        if self.asked.get(&task) != Some(address) {
            return false;
        }
        self.asked.remove(&task);
        let silent_at = now + self.silence;
        self.change(address, |peer| {
            peer.asked.remove(&task);
            peer.silent_at = Some(silent_at);
        });
        true
    }

    /// Changes a peer and everything that is sorted by it.
    fn change(&mut self, address: &Address, change: impl FnOnce(&mut Peer)) {
        let mut peer = self.peers.remove(address).unwrap_or_default();
        if let Some((priority, task)) = peer.offer() {
            self.offers.remove(&(priority, task, address.clone()));
        }
        if let Some(at) = peer.silent_at {
            self.silences.remove(&(at, address.clone()));
            self.n_active -= 1;
        }
        change(&mut peer);
        if peer.asked.is_empty() {
            peer.silent_at = None;
            if peer.queue.is_empty() {
                return;
            }
        }
        if let Some((priority, task)) = peer.offer() {
            self.offers.insert((priority, task, address.clone()));
        }
        if let Some(at) = peer.silent_at {
            self.silences.insert((at, address.clone()));
            self.n_active += 1;
        }
        self.peers.insert(address.clone(), peer);
    }

    /// Panics with what is wrong between two events.
    pub(crate) fn check_invariants(&self) {
        assert!(self.fresh.is_empty(), "results without a place: {:?}", self.fresh);
        for (task, wanted) in &self.wanted {
            let entry = (wanted.priority, *task);
            for (address, peer) in &self.peers {
                let queued = !self.asked.contains_key(task) && wanted.holders.contains(address);
                assert_eq!(peer.queue.contains(&entry), queued, "{task} in the queue of {address}");
            }
            let waits = wanted.holders.is_empty() && !self.asked.contains_key(task);
            assert!(!waits || wanted.reported, "{task} has no holder and nobody was told");
            assert!(wanted.holders.is_disjoint(&wanted.tried), "{task} has tried holders");
            assert!(self.own.as_ref().is_none_or(|own| !wanted.holders.contains(own)), "{task} is fetched from itself");
        }
        for (task, address) in &self.asked {
            assert!(self.peers.get(address).is_some_and(|peer| peer.asked.contains(task)), "{task} asked of {address}");
        }
        let (mut offers, mut silences) = (BTreeSet::new(), BTreeSet::new());
        for (address, peer) in &self.peers {
            assert!(peer.open.is_none(), "{address} has an open request between events");
            assert!(!peer.asked.is_empty() || !peer.queue.is_empty(), "{address} is kept for nothing");
            assert_eq!(peer.asked.is_empty(), peer.silent_at.is_none(), "the silence of {address}");
            for task in &peer.asked {
                assert_eq!(self.asked.get(task), Some(address), "{task} asked of {address}");
            }
            for (priority, task) in &peer.queue {
                let wanted = self.wanted.get(task).is_some_and(|wanted| wanted.priority == *priority);
                assert!(wanted, "{task} is queued at {address} and not wanted");
            }
            offers.extend(peer.offer().map(|(priority, task)| (priority, task, address.clone())));
            silences.extend(peer.silent_at.map(|at| (at, address.clone())));
        }
        assert_eq!(self.offers, offers, "offers");
        assert_eq!(self.silences, silences, "silences");
        assert_eq!(self.n_active, silences.len(), "peers that are asked");
        assert!(self.n_active <= self.max_peers, "{} peers are asked", self.n_active);
        let is_waiting = self.held_back || self.n_active == self.max_peers;
        assert!(offers.is_empty() || is_waiting, "an idle peer is not asked: {offers:?}");
    }
}

/// A number that depends on all bits of what goes in.
fn mix(salt: u64, task: TaskId, address: &Address) -> u64 {
    let start = hash(address.0.as_bytes()) ^ salt.rotate_left(32) ^ task.0.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mixed = (start ^ (start >> 33)).wrapping_mul(0xFF51_AFD7_ED55_8CCD); // MurmurHash3's finaliser
    mixed ^ (mixed >> 33)
}

/// FNV-1a: small, and the same in every program.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xCBF2_9CE4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3))
}
