//! Results that move between workers, and from workers to clients: who asks, and who answers.
//!
//! A worker in this process is asked by pointer, any other through a connection that is kept. Which result is asked
//! of whom is a machine's decision; what comes back is told to the machine's shell.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use phalanx_engine::{
    id::TaskId,
    message::{Address, FromPeer, ToPeer},
    serve::Serves,
    value::Value,
};
use tokio::{net::TcpListener, runtime::Handle, sync::mpsc};

use crate::{
    door,
    io::{Spawned, lock},
    opening::Channel,
    security::Guard,
    spill::{Pieces, SpillFile},
    store::{self, Found, Store},
    transport::{Connect, Link, Receiver, Sender},
    wire::FrameError,
};

/// A data port stops reading results out of its store while so many bytes wait to be sent.
const WINDOW: usize = 8 << 20;
/// As much of a file is in memory at a time, and as much again on its way.
const PIECE: usize = 1 << 20;
/// A peer that takes nothing of what is sent to it for so long is hung up on; it has given up before.
const STANDSTILL: Duration = Duration::from_secs(30);
/// Values of at least this size are sent to few peers at once, and are made bytes of on a thread where nobody waits for it.
const LARGE: u64 = 1 << 20;

/// What became of something that was asked of a peer.
#[derive(Debug)]
pub(crate) enum Report {
    Fetched {
        peer: Address,
        task: TaskId,
        value: Value,
    },
    NotThere {
        peer: Address,
        task: TaskId,
    },
    /// It sends that to others just now.
    Busy {
        peer: Address,
        task: TaskId,
    },
    /// Something large is on its way.
    Sending {
        peer: Address,
    },
    Lost {
        peer: Address,
    },
}

/// Who is told.
pub(crate) trait Told: Send + Sync + 'static {
    fn told(self: Arc<Self>, reports: Vec<Report>);
}

/// The peers that were asked for something, each with its connection.
#[derive(Debug)]
pub(crate) struct Peers {
    handle: Handle,
    connections: Arc<Mutex<BTreeMap<Address, Connection>>>,
    guard: Arc<Guard>,
}

#[derive(Debug)]
struct Connection {
    /// Tells it from others to the same peer, before and after.
    number: u64,
    requests: mpsc::UnboundedSender<Vec<TaskId>>,
    _task: Spawned,
}

impl Peers {
    /// Connections will be made on `handle`, with peers who know what `guard` asks for.
    pub(crate) fn new(handle: Handle, guard: Arc<Guard>) -> Self {
        Self { handle, connections: Arc::default(), guard }
    }

    /// Asks `peer` for results. What is known at once is returned, the rest is told to `owner`.
    pub(crate) fn fetch<T: Told>(&self, peer: Address, tasks: Vec<TaskId>, owner: &Weak<T>) -> Vec<Report> {
        if let Some(store) = store::find(&peer) {
            let mut reports = Vec::new();
            for task in tasks {
                match store.find(task) {
                    Some(Found::Memory(value)) => reports.push(Report::Fetched { peer: peer.clone(), task, value }),
                    Some(Found::Disk(file)) => self.read(peer.clone(), task, file, owner),
                    None => reports.push(Report::NotThere { peer: peer.clone(), task }),
                }
            }
            return reports;
        }
        if !peer.0.starts_with("tcp://") {
            // It was in this process and has ended, or is in another process that cannot be reached.
            return vec![Report::Lost { peer }];
        }
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let mut connections = lock(&self.connections);
        let tasks = match connections.get(&peer) {
            Some(connection) => match connection.requests.send(tasks) {
                Ok(()) => return Vec::new(),
                Err(mpsc::error::SendError(tasks)) => tasks,
            },
            None => tasks,
        };
        let (requests, asked) = mpsc::unbounded_channel();
        // The receiver is in the next line: it cannot be gone.
        let _ = requests.send(tasks);
        let guard = Arc::clone(&self.guard);
        let talk = talk(peer.clone(), number, asked, Arc::clone(&self.connections), guard, Weak::clone(owner));
        let task = Spawned::on(&self.handle, talk);
        connections.insert(peer, Connection { number, requests, _task: task });
        Vec::new()
    }

    /// Reads for `owner` what a worker of this process has on disk.
    fn read<T: Told>(&self, peer: Address, task: TaskId, file: Arc<SpillFile>, owner: &Weak<T>) {
        let owner = Weak::clone(owner);
        // Told like an answer through a socket: where the owner is gone, nobody is.
        drop(self.handle.spawn_blocking(move || {
            let report = match file.read() {
                Ok(data) => Report::Fetched { peer, task, value: Value::from_data(data) },
                Err(_) => Report::NotThere { peer, task },
            };
            if let Some(owner) = owner.upgrade() {
                owner.told(vec![report]);
            }
        }));
    }

    /// Hangs up; nothing more is reported from this connection.
    pub(crate) fn close(&self, peer: &Address) {
        let connection = lock(&self.connections).remove(peer);
        drop(connection);
    }

    /// Hangs up on everybody.
    pub(crate) fn close_all(&self) {
        let connections = std::mem::take(&mut *lock(&self.connections));
        drop(connections);
    }
}

/// One connection's life.
#[tracing::instrument(name = "fetches", level = "debug", skip_all, fields(%peer))]
async fn talk<T: Told>(
    peer: Address,
    number: u64,
    asked: mpsc::UnboundedReceiver<Vec<TaskId>>,
    connections: Arc<Mutex<BTreeMap<Address, Connection>>>,
    guard: Arc<Guard>,
    owner: Weak<T>,
) {
    let reason = match Link::to(&peer.0, Channel::Data, &guard).await {
        Ok(link) => {
            let (sender, receiver) = link.typed();
            exchange(&peer, asked, sender, receiver, &owner).await.to_string()
        }
        Err(Connect::Address(error)) => error.to_string(),
        Err(Connect::Refused(refusal)) => refusal.to_string(),
    };
    // Taken out first: whatever is asked from now on goes through a new connection.
    let mine = {
        let mut connections = lock(&connections);
        let is_mine = connections.get(&peer).is_some_and(|connection| connection.number == number);
        if is_mine { connections.remove(&peer) } else { None }
    };
    if mine.is_some()
        && let Some(owner) = owner.upgrade()
    {
        tracing::debug!(%peer, reason, "lost a peer");
        owner.told(vec![Report::Lost { peer }]);
    }
}

async fn exchange<T: Told>(
    peer: &Address,
    mut asked: mpsc::UnboundedReceiver<Vec<TaskId>>,
    sender: Sender<FromPeer>,
    mut receiver: Receiver<ToPeer>,
    owner: &Weak<T>,
) -> FrameError {
    let mut answers = Vec::new();
    loop {
        tokio::select! {
            tasks = asked.recv() => {
                let Some(tasks) = tasks else { return FrameError::Truncated };
                // A request carries no value that could fail to be written.
                let _ = sender.send(FromPeer::Get { tasks });
                sender.flush();
            }
            heard = receiver.recv(&mut answers) => {
                match heard {
                    Ok(true) => {}
                    Ok(false) => return FrameError::Truncated,
                    Err(error) => return error,
                }
                let Some(owner) = owner.upgrade() else { return FrameError::Truncated };
                if answers.is_empty() {
                    owner.told(vec![Report::Sending { peer: peer.clone() }]);
                    continue;
                }
                let report = |answer| match answer {
                    ToPeer::Got { task, value: Some(value) } => Report::Fetched { peer: peer.clone(), task, value },
                    ToPeer::Got { task, value: None } | ToPeer::Missing { task } => {
                        Report::NotThere { peer: peer.clone(), task }
                    }
                    ToPeer::Busy { task } => Report::Busy { peer: peer.clone(), task },
                };
                owner.told(answers.drain(..).map(report).collect());
            }
        }
    }
}

/// Answers everybody of the cluster who asks at a data port, out of the store, for as long as it is polled.
pub(crate) async fn serve(listener: TcpListener, guard: Arc<Guard>, store: Arc<Store>) {
    let serves = Arc::new(Mutex::new(Serves::default()));
    door::keep(listener, |stream, stranger| {
        let (guard, store, serves) = (Arc::clone(&guard), Arc::clone(&store), Arc::clone(&serves));
        async move {
            match Link::from(stream, Channel::Data, &guard).await {
                Ok(link) => {
                    stranger.enter();
                    let (sender, receiver) = link.typed();
                    answer(sender, receiver, store, serves).await;
                }
                Err(error) => tracing::debug!(%error, "closed a connection that is not of this cluster"),
            }
        }
    })
    .await;
}

/// A large result on its way to one peer.
struct Serve {
    serves: Arc<Mutex<Serves>>,
    task: TaskId,
}

impl Drop for Serve {
    fn drop(&mut self) {
        lock(&self.serves).end(self.task);
    }
}

async fn answer(
    sender: Sender<ToPeer>,
    mut receiver: Receiver<FromPeer>,
    store: Arc<Store>,
    serves: Arc<Mutex<Serves>>,
) {
    let mut requests = Vec::new();
    sender.flush();
    while let Ok(true) = receiver.recv(&mut requests).await {
        for FromPeer::Get { tasks } in requests.drain(..) {
            for task in tasks {
                let found = find(&store, task).await;
                let is_large = found.as_ref().is_some_and(|found| found.n_bytes() >= LARGE);
                if is_large && !lock(&serves).begin(task) {
                    let _ = sender.send(ToPeer::Busy { task });
                    continue;
                }
                let _serve = is_large.then(|| Serve { serves: Arc::clone(&serves), task });
                let is_said = match found {
                    None => false,
                    Some(Content::Memory(value)) => say(&sender, task, value).await,
                    Some(Content::Disk(file, pieces)) => match say_file(&sender, task, &file, pieces).await {
                        Some(is_said) => is_said,
                        // In the middle of a message nothing else can be said.
                        None => return,
                    },
                };
                if !is_said {
                    let _ = sender.send(ToPeer::Missing { task });
                }
                if !drained(&sender, WINDOW).await {
                    return;
                }
            }
        }
        sender.flush();
    }
}

/// A result where it lies.
enum Content {
    Memory(Value),
    Disk(Arc<SpillFile>, Pieces),
}

impl Content {
    fn n_bytes(&self) -> u64 {
        match self {
            Self::Memory(value) => value.n_bytes(),
            Self::Disk(_, pieces) => pieces.n_left() as u64,
        }
    }
}

async fn find(store: &Store, task: TaskId) -> Option<Content> {
    match store.find(task)? {
        Found::Memory(value) => Some(Content::Memory(value)),
        Found::Disk(file) => {
            let open = move || file.pieces().map(|pieces| Content::Disk(file, pieces));
            let opened = tokio::task::spawn_blocking(open).await.ok()?;
            opened.inspect_err(|error| tracing::warn!(%task, %error, "a result cannot be read from disk")).ok()
        }
    }
}

/// Waits until at most `window` bytes of what was sent are still on their way. False where the peer takes nothing for too
/// long: others wait for their turn.
async fn drained(sender: &Sender<ToPeer>, window: usize) -> bool {
    loop {
        let left = sender.n_unwritten();
        if left <= window {
            return true;
        }
        if tokio::time::timeout(STANDSTILL, sender.drained(left - 1)).await.is_err() {
            tracing::debug!("hung up on a peer that takes nothing");
            return false;
        }
    }
}

/// Sends a result out of memory. False where it cannot be sent.
#[tracing::instrument(name = "transfer", level = "debug", skip_all, fields(%task, n_bytes = value.n_bytes()))]
async fn say(sender: &Sender<ToPeer>, task: TaskId, mut value: Value) -> bool {
    if value.n_bytes() >= LARGE {
        let Ok(Ok(data)) = tokio::task::spawn_blocking(move || value.to_data()).await else { return false };
        value = Value::from_data(data);
    }
    let sent = sender.send(ToPeer::Got { task, value: Some(value) });
    if let Err(error) = &sent {
        tracing::warn!(%task, %error, "a result cannot be sent");
    }
    sender.flush();
    sent.is_ok()
}

/// Sends a result out of its file, a piece at a time: it went to disk because memory is short. False where it cannot be
/// sent, none where the file ends before it does.
#[tracing::instrument(name = "transfer", level = "debug", skip_all, fields(%task, n_bytes = pieces.n_left()))]
async fn say_file(sender: &Sender<ToPeer>, task: TaskId, file: &SpillFile, mut pieces: Pieces) -> Option<bool> {
    let is_open = sender.open(&ToPeer::Got { task, value: None }, file.shape());
    if let Err(error) = &is_open {
        tracing::warn!(%task, %error, "a result cannot be sent");
    }
    if !is_open.unwrap_or(false) {
        return Some(false);
    }
    loop {
        let read = move || (pieces.next(PIECE), pieces);
        let (piece, rest) = tokio::task::spawn_blocking(read).await.ok()?;
        pieces = rest;
        let piece = piece.inspect_err(|error| {
            tracing::warn!(%task, %error, "a result cannot be read from disk");
            file.set_broken();
        });
        let Some(piece) = piece.ok()? else { return Some(true) };
        sender.add(piece);
        sender.flush();
        if !drained(sender, PIECE).await {
            return None;
        }
    }
}
