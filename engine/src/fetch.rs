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

/// A peer that was busy sending a result to others is asked for it again after this, at first; twice as long each time
/// after that, and at most [`REST_AT_MOST`].
const REST: Duration = Duration::from_millis(10);
const REST_AT_MOST: Duration = Duration::from_millis(320);

/// What is wanted, what is asked of whom, and what is queued where.
#[derive(Debug)]
pub(crate) struct Fetches {
    /// Where the owner's own results are: a holder that is never asked.
    own: Option<Address>,
    /// Spreads owners that want the same results over the peers that have them.
    salt: u64,
    max_peers: usize,
    silence: Duration,
    /// Bytes that may be on their way at the same time; one result always may.
    max_bytes: u64,
    wanted: BTreeMap<TaskId, Wanted>,
    /// Of whom each is asked, and how large it is said to be.
    asked: BTreeMap<TaskId, (Address, u64)>,
    /// Bytes of all that is asked.
    n_bytes: u64,
    /// Whether the most urgent result had to wait for room when it was last looked for.
    is_full: bool,
    /// When who was busy may be asked again, for what.
    rests: BTreeSet<(Time, TaskId, Address)>,
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
    /// What everybody who has it is too busy to send just now.
    pub(crate) sought: Vec<TaskId>,
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
    /// Said to have it, busy with others, and not to be asked before these times.
    resting: BTreeMap<Address, Time>,
    /// How often somebody was busy.
    n_busy: u32,
}

impl Wanted {
    const fn new(priority: Priority) -> Self {
        Self {
            priority,
            n_bytes: 0,
            holders: BTreeSet::new(),
            tried: BTreeSet::new(),
            reported: false,
            resting: BTreeMap::new(),
            n_busy: 0,
        }
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
    pub(crate) fn new(own: Option<Address>, salt: u64, max_peers: u32, max_bytes: u64, silence: Duration) -> Self {
        Self {
            own,
            salt,
            max_peers: max_peers.max(1) as usize,
            silence,
            max_bytes,
            n_bytes: 0,
            is_full: false,
            rests: BTreeSet::new(),
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
        if let Some(wanted) = self.wanted.remove(&task) {
            for (address, at) in wanted.resting {
                self.rests.remove(&(at, task, address));
            }
        }
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

    /// A peer has a result and sends it to others just now. It is asked again when somebody says so, or after a rest.
    pub(crate) fn busy(&mut self, now: Time, peer: &Address, task: TaskId) {
        if !self.answered(now, peer, task) {
            return;
        }
        if let Some(wanted) = self.wanted.get_mut(&task)
            && wanted.holders.remove(peer)
        {
            let at = now + (REST * 2_u32.saturating_pow(wanted.n_busy.min(16))).min(REST_AT_MOST);
            wanted.n_busy += 1;
            wanted.resting.insert(peer.clone(), at);
            self.rests.insert((at, task, peer.clone()));
        }
        self.refresh(task);
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
            if self.asked.get(&task).is_some_and(|(asked, _)| asked == address) {
                self.unask(task);
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
        while let Some((at, task, _)) = self.rests.first()
            && *at <= now
        {
            let task = *task;
            let Some((_, _, address)) = self.rests.pop_first() else { break };
            self.displace(task);
            if let Some(wanted) = self.wanted.get_mut(&task)
                && wanted.resting.remove(&address).is_some()
            {
                wanted.holders.insert(address);
            }
            self.refresh(task);
        }
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

    /// When the next peer that was busy is asked again.
    pub(crate) fn rested(&self) -> Option<(Time, Address)> {
        self.rests.first().map(|(at, _, address)| (*at, address.clone()))
    }

    /// Bytes on their way here.
    pub(crate) const fn n_bytes(&self) -> u64 {
        self.n_bytes
    }

    /// Ends an event: asks idle peers, the most urgent results first, and finds out what nobody has.
    pub(crate) fn settle(&mut self, now: Time) -> Settled {
        let mut settled = Settled::default();
        if self.fresh.is_empty() && self.offers.is_empty() {
            self.is_full = false;
            return settled;
        }
        for (priority, task) in std::mem::take(&mut self.fresh) {
            let Some(wanted) = self.wanted.get_mut(&task) else { continue };
            if !wanted.holders.is_empty() {
                for holder in wanted.holders.clone() {
                    self.change(&holder, |peer| {
                        peer.queue.insert((priority, task));
                    });
                }
            } else if !wanted.resting.is_empty() {
                settled.sought.push(task);
            } else if !wanted.reported {
                wanted.reported = true;
                settled.missing.push((task, wanted.tried.iter().cloned().collect()));
            }
        }
        self.is_full = false;
        while !self.held_back
            && let Some(task) = self.next_offer()
        {
            // The most urgent one waits for room, and nothing overtakes it: it would wait for ever.
            if !self.has_room_for(task) {
                self.is_full = true;
                break;
            }
            let n_bytes = self.wanted.get(&task).map_or(0, |wanted| wanted.n_bytes);
            let Some(peer) = self.choose(task) else { break };
            self.displace(task);
            self.asked.insert(task, (peer.clone(), n_bytes));
            self.n_bytes += n_bytes;
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

    /// Whether a result may be on its way with all that is already; the first one always may.
    fn has_room_for(&self, task: TaskId) -> bool {
        let n_bytes = self.wanted.get(&task).map_or(0, |wanted| wanted.n_bytes);
        self.asked.is_empty() || self.n_bytes.saturating_add(n_bytes) <= self.max_bytes
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
            if let Some(at) = wanted.resting.remove(&holder) {
                self.rests.remove(&(at, task, holder.clone()));
            }
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
            if let Some(at) = wanted.resting.remove(peer) {
                self.rests.remove(&(at, task, peer.clone()));
            }
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
        if self.asked.get(&task).is_none_or(|(asked, _)| asked != address) {
            return false;
        }
        self.unask(task);
        let silent_at = now + self.silence;
        self.change(address, |peer| {
            peer.asked.remove(&task);
            peer.silent_at = Some(silent_at);
        });
        true
    }

    fn unask(&mut self, task: TaskId) {
        if let Some((_, n_bytes)) = self.asked.remove(&task) {
            self.n_bytes -= n_bytes;
        }
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
            let waits = wanted.holders.is_empty() && wanted.resting.is_empty() && !self.asked.contains_key(task);
            assert!(!waits || wanted.reported, "{task} has no holder and nobody was told");
            assert!(wanted.holders.is_disjoint(&wanted.tried), "{task} has tried holders");
            for (address, at) in &wanted.resting {
                assert!(self.rests.contains(&(*at, *task, address.clone())), "nobody asks {address} for {task} again");
                assert!(!wanted.holders.contains(address), "{address} rests and is asked for {task}");
            }
            assert!(self.own.as_ref().is_none_or(|own| !wanted.holders.contains(own)), "{task} is fetched from itself");
        }
        let n_resting: usize = self.wanted.values().map(|wanted| wanted.resting.len()).sum();
        assert_eq!(self.rests.len(), n_resting, "who rests");
        assert_eq!(self.n_bytes, self.asked.values().map(|(_, n_bytes)| n_bytes).sum::<u64>(), "bytes on their way");
        assert!(self.asked.len() <= 1 || self.n_bytes <= self.max_bytes, "{} bytes are on their way", self.n_bytes);
        for (task, (address, _)) in &self.asked {
            assert!(self.peers.get(address).is_some_and(|peer| peer.asked.contains(task)), "{task} asked of {address}");
        }
        let (mut offers, mut silences) = (BTreeSet::new(), BTreeSet::new());
        for (address, peer) in &self.peers {
            assert!(peer.open.is_none(), "{address} has an open request between events");
            assert!(!peer.asked.is_empty() || !peer.queue.is_empty(), "{address} is kept for nothing");
            assert_eq!(peer.asked.is_empty(), peer.silent_at.is_none(), "the silence of {address}");
            for task in &peer.asked {
                let asked = self.asked.get(task).map(|(asked, _)| asked);
                assert_eq!(asked, Some(address), "{task} asked of {address}");
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
        assert!(!self.is_full || !self.asked.is_empty(), "nothing is on its way and there is no room");
        let is_waiting = self.held_back || self.is_full;
        assert!(is_waiting || self.next_offer().is_none(), "an idle peer is not asked: {offers:?}");
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
