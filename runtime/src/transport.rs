//! Connections: pairs of a sender and a receiver of typed messages, through TCP or inside this process.
//!
//! Sending never waits. What is sent is queued, and [`Sender::flush`] hands the queue to the system at once, from
//! whatever thread it is called on; only what the system does not take is left to a task that waits for it to. There
//! are no timers: whoever has queued everything that one event led to flushes.
//!
//! Inside a process messages move, and values in them stay where they are.

use std::{
    io::{self, ErrorKind, IoSlice},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use phalanx_engine::{
    data::DataError,
    message::{FromClient, FromWorker, Greeting, Hello, ToClient, ToWorker},
};
use tokio::{
    net::{TcpListener, TcpStream, UdpSocket},
    sync::{Notify, mpsc, oneshot},
};

use crate::{
    error::{Error, Result},
    io::{PATIENCE, lock},
    mailbox::{Giver, Taker, mailbox},
    opening::{Channel, Refusal},
    patience::Patience,
    security::Guard,
    socket::{self, ReadHalf, WriteHalf},
    wire::{Decoder, FrameError, Limits, Parts, Wire},
};

/// How often a receiver says that a large message is still coming.
const STILL_COMING: Duration = Duration::from_millis(500);
/// At most so many messages are taken at once, so that everybody's turn comes.
const BATCH: usize = 1_024;
/// How long who has other work keeps what he has to say.
const LATER: Duration = Duration::from_millis(1);

/// One direction out. Clones send to the same place; the connection's direction ends with the last one.
#[derive(Debug)]
pub(crate) enum Sender<M> {
    Tcp(Arc<Closing>),
    InProcess(Giver<M>),
}

impl<M> Clone for Sender<M> {
    fn clone(&self) -> Self {
        match self {
            Self::Tcp(tcp) => Self::Tcp(Arc::clone(tcp)),
            Self::InProcess(channel) => Self::InProcess(channel.clone()),
        }
    }
}

impl<M: Wire> Sender<M> {
    /// Queues a message. Into a connection that is gone it vanishes; the receiver of the same connection says so.
    ///
    /// # Errors
    /// When a value in it cannot be written.
    pub(crate) fn send(&self, message: M) -> Result<(), DataError> {
        match self {
            Self::Tcp(tcp) => tcp.0.send(message),
            Self::InProcess(giver) => {
                giver.push(message);
                Ok(())
            }
        }
    }

    /// Queues the beginning of a message with one value of this shape (`wire::shape`). Whoever does this is the only one
    /// who sends here, and [adds](Self::add) the value's bytes before anything else. False where values do not travel.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn open(&self, message: &M, shape: &[u8]) -> Result<bool, DataError> {
        match self {
            Self::Tcp(tcp) => tcp.0.queued(|parts| parts.push_opening(message, shape)).unwrap_or(Ok(())).map(|()| true),
            Self::InProcess(_) => Ok(false),
        }
    }

    /// Queues bytes of a value whose message was [opened](Self::open).
    pub(crate) fn add(&self, bytes: Vec<u8>) {
        if let Self::Tcp(tcp) = self {
            tcp.0.queued(|parts| parts.push_bytes(bytes));
        }
    }

    /// Hands what is queued to the system, or wakes who receives it in this process.
    pub(crate) fn flush(&self) {
        match self {
            Self::Tcp(tcp) => tcp.0.flush(),
            Self::InProcess(giver) => giver.flush(),
        }
    }

    /// Leaves what is queued to the task that writes, since more will follow at once: what is queued when its turn comes
    /// goes together.
    pub(crate) fn flush_soon(&self) {
        match self {
            Self::Tcp(tcp) => tcp.0.waiting.notify_one(),
            Self::InProcess(giver) => giver.flush(),
        }
    }

    /// Leaves what is queued for a while, a millisecond or two, since whoever sends it has other work until then: what is
    /// queued meanwhile goes together.
    pub(crate) fn flush_later(&self) {
        match self {
            Self::Tcp(tcp) => {
                if !tcp.0.is_timed.swap(true, Ordering::Relaxed) {
                    tcp.0.later.notify_one();
                }
            }
            Self::InProcess(giver) => giver.flush(),
        }
    }

    /// Waits until at most `limit` bytes are queued, or the connection is gone.
    pub(crate) async fn drained(&self, limit: usize) {
        if let Self::Tcp(tcp) = self {
            tcp.0.drained(limit).await;
        }
    }

    /// How many bytes are queued; none inside a process.
    pub(crate) fn n_unwritten(&self) -> usize {
        match self {
            Self::Tcp(tcp) => tcp.0.n_unwritten.load(Ordering::Relaxed),
            Self::InProcess(_) => 0,
        }
    }

    /// Whether values become bytes on the way.
    pub(crate) const fn travels(&self) -> bool {
        matches!(self, Self::Tcp(_))
    }
}

/// One direction in.
#[derive(Debug)]
pub(crate) enum Receiver<M> {
    Tcp(Box<Incoming>),
    InProcess(Taker<M>),
}

impl<M: Wire> Receiver<M> {
    /// Waits for messages and takes all that are there. None were added when a large one is still coming: then the
    /// other end is alive, and that is all. False at the end of the connection. Can be dropped and called again.
    ///
    /// # Errors
    /// When what came is no message, or the connection broke.
    pub(crate) async fn recv(&mut self, into: &mut Vec<M>) -> Result<bool, FrameError> {
        match self {
            Self::Tcp(incoming) => incoming.recv(into).await,
            Self::InProcess(taker) => Ok(taker.take(into).await),
        }
    }

    /// As [`recv`](Self::recv), awake at first where the thread is this receiver's alone, as it is with a socket.
    ///
    /// # Errors
    /// As there.
    pub(crate) async fn recv_with(&mut self, patience: &mut Patience, into: &mut Vec<M>) -> Result<bool, FrameError> {
        match self {
            Self::Tcp(incoming) => patience.wait(incoming.recv(into)).await,
            Self::InProcess(_) => self.recv(into).await,
        }
    }
}

/// A connection through TCP whose ends do not know yet what they will say.
#[derive(Debug)]
pub(crate) struct Link {
    outgoing: Arc<Closing>,
    incoming: Box<Incoming>,
}

impl Link {
    /// Connects to `url`'s port, and speaks once both ends know each other as `guard` asks for.
    pub(crate) async fn to(url: &str, channel: Channel, guard: &Guard) -> Result<Self, Connect> {
        let place = host_and_port(url).map_err(Connect::Address)?;
        let connected = tokio::time::timeout(PATIENCE, TcpStream::connect(place)).await;
        let connected = connected.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()));
        let stream = connected.map_err(|error| Connect::Refused(Refusal::Io { reason: plain(&error) }))?;
        let host = place.rsplit_once(':').map_or(place, |(host, _)| host);
        let open = socket::connected(stream, host, channel, guard);
        let opened = tokio::time::timeout(PATIENCE, open).await.unwrap_or(Err(Refusal::Silent));
        opened.map(Self::new).map_err(Connect::Refused)
    }

    /// Hears out somebody who has connected to this program's port.
    pub(crate) async fn from(stream: TcpStream, channel: Channel, guard: &Guard) -> Result<Self, FrameError> {
        let open = socket::accepted(stream, channel, guard);
        let opened = tokio::time::timeout(PATIENCE, open).await.unwrap_or(Err(Refusal::Silent));
        Ok(Self::new(opened?))
    }

    /// Begins to speak. Needs a tokio runtime, on which what the system does not take at once is written.
    fn new((read, write): (ReadHalf, WriteHalf)) -> Self {
        let outgoing = Arc::new(Outgoing {
            socket: write,
            queue: Mutex::new(Queue { parts: Parts::default(), broken: false, closing: false }),
            writing: Mutex::new(Parts::default()),
            n_unwritten: AtomicUsize::new(0),
            waiting: Notify::new(),
            later: Notify::new(),
            is_timed: AtomicBool::new(false),
            moved: Notify::new(),
        });
        tokio::spawn(Arc::clone(&outgoing).write());
        let incoming = Incoming { socket: read, decoder: Decoder::new(Limits::GREETING), said: Instant::now() };
        Self { outgoing: Arc::new(Closing(outgoing)), incoming: Box::new(incoming) }
    }

    /// Says one thing.
    pub(crate) fn say<M: Wire>(&self, message: M) -> Result<(), DataError> {
        self.outgoing.0.send(message)?;
        self.outgoing.0.flush();
        Ok(())
    }

    /// Hears one thing.
    pub(crate) async fn hear<M: Wire>(&mut self) -> Result<M, FrameError> {
        loop {
            if let Some(message) = self.incoming.decoder.next()? {
                return Ok(message);
            }
            if !self.incoming.read().await? {
                return Err(FrameError::Truncated);
            }
        }
    }

    /// From here on both ends know who they are.
    pub(crate) fn typed<Out, In>(mut self) -> (Sender<Out>, Receiver<In>) {
        self.incoming.decoder.set_limits(Limits::SESSION);
        (Sender::Tcp(self.outgoing), Receiver::Tcp(self.incoming))
    }
}

/// A pair of connected ends inside this process.
pub(crate) fn pair<M>() -> (Sender<M>, Receiver<M>) {
    let (sender, receiver) = mailbox();
    (Sender::InProcess(sender), Receiver::InProcess(receiver))
}

/// The last one to be dropped ends the direction, once what is queued is written.
#[derive(Debug)]
pub(crate) struct Closing(Arc<Outgoing>);

impl Drop for Closing {
    fn drop(&mut self) {
        lock(&self.0.queue).closing = true;
        self.0.waiting.notify_one();
    }
}

#[derive(Debug)]
struct Outgoing {
    socket: WriteHalf,
    /// Locked for moments only.
    queue: Mutex<Queue>,
    /// What was taken out of the queue to be written. Whoever has it locked writes, and nobody waits for him: he looks
    /// into the queue again before he goes.
    writing: Mutex<Parts>,
    /// Bytes in both.
    n_unwritten: AtomicUsize,
    /// Tells the writing task that there is something the system did not take.
    waiting: Notify,
    /// Tells the writing task that something is to be written in a while.
    later: Notify,
    /// Whether it was told.
    is_timed: AtomicBool,
    /// Tells who waits for the queue to become shorter.
    moved: Notify,
}

#[derive(Debug)]
struct Queue {
    parts: Parts,
    broken: bool,
    closing: bool,
}

impl Outgoing {
    fn send<M: Wire>(&self, message: M) -> Result<(), DataError> {
        self.queued(|parts| parts.push(message)).unwrap_or(Ok(()))
    }

    /// Adds to the queue, where there still is one.
    fn queued<R>(&self, push: impl FnOnce(&mut Parts) -> R) -> Option<R> {
        let mut queue = lock(&self.queue);
        if queue.broken {
            return None;
        }
        let before = queue.parts.n_bytes();
        let pushed = push(&mut queue.parts);
        self.n_unwritten.fetch_add(queue.parts.n_bytes() - before, Ordering::Relaxed);
        Some(pushed)
    }

    fn flush(&self) {
        if !self.write_some() {
            self.waiting.notify_one();
        }
    }

    /// Writes what the system takes, unless somebody else is at it. False where something is left for when it takes
    /// more.
    fn write_some(&self) -> bool {
        while let Ok(mut parts) = self.writing.try_lock() {
            if !self.write_parts(&mut parts) {
                return false;
            }
            drop(parts);
            // Who queued something meanwhile found this busy, and left it to this.
            if lock(&self.queue).parts.n_bytes() == 0 {
                break;
            }
        }
        true
    }

    fn write_parts(&self, parts: &mut Parts) -> bool {
        loop {
            if parts.n_bytes() == 0 {
                std::mem::swap(parts, &mut lock(&self.queue).parts);
                if parts.n_bytes() == 0 {
                    // An error shows when there is something to write or read again.
                    return !self.socket.try_flush().is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
                }
            }
            let mut slices = [IoSlice::new(&[]); 64];
            let n = parts.slices(&mut slices);
            match self.socket.try_write_vectored(&slices[..n]) {
                Ok(n_written) if n_written > 0 => {
                    parts.advance(n_written);
                    self.n_unwritten.fetch_sub(n_written, Ordering::Relaxed);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Ok(_) | Err(_) => {
                    // Who receives on this connection learns why.
                    let mut queue = lock(&self.queue);
                    queue.broken = true;
                    queue.parts.clear();
                    parts.clear();
                    self.n_unwritten.store(0, Ordering::Relaxed);
                    return true;
                }
            }
        }
    }

    /// Writes what [`flush`](Self::flush) left, until the direction ends.
    async fn write(self: Arc<Self>) {
        loop {
            let closing = lock(&self.queue).closing;
            let rest = async {
                while !self.write_some() {
                    if self.socket.writable().await.is_err() {
                        break;
                    }
                    self.moved.notify_waiters();
                }
            };
            if closing {
                // Who does not take the last words in this time does not want them.
                let _ = tokio::time::timeout(PATIENCE, rest).await;
                self.moved.notify_waiters();
                return;
            }
            rest.await;
            self.moved.notify_waiters();
            tokio::select! {
                () = self.waiting.notified() => {}
                () = self.later.notified() => {
                    let _ = tokio::time::timeout(LATER, self.waiting.notified()).await;
                    self.is_timed.store(false, Ordering::Relaxed);
                }
            }
        }
    }

    async fn drained(&self, limit: usize) {
        loop {
            let moved = self.moved.notified();
            if self.n_unwritten.load(Ordering::Relaxed) <= limit {
                return;
            }
            moved.await;
        }
    }
}

/// The receiving half of a socket.
#[derive(Debug)]
pub(crate) struct Incoming {
    socket: ReadHalf,
    decoder: Decoder,
    /// When it was last said that something is still coming.
    said: Instant,
}

impl Incoming {
    async fn recv<M: Wire>(&mut self, into: &mut Vec<M>) -> Result<bool, FrameError> {
        let before = into.len();
        loop {
            while into.len() - before < BATCH {
                match self.decoder.next() {
                    Ok(Some(message)) => into.push(message),
                    Ok(None) => break,
                    // What came before the error counts; the decoder says the error again next time.
                    Err(_) if into.len() > before => return Ok(true),
                    Err(error) => return Err(error),
                }
            }
            if into.len() > before {
                return Ok(true);
            }
            if !self.read().await? {
                return if self.decoder.between_frames() { Ok(false) } else { Err(FrameError::Truncated) };
            }
            if !self.decoder.between_frames() && self.said.elapsed() > STILL_COMING {
                self.said = Instant::now();
                // A message that is complete is handed out first.
                match self.decoder.next()? {
                    Some(message) => into.push(message),
                    None => return Ok(true),
                }
            }
        }
    }

    /// Reads once. False at the end.
    async fn read(&mut self) -> Result<bool, FrameError> {
        let read = self.socket.read(self.decoder.space()).await;
        let n = read.map_err(|error| FrameError::Io { reason: plain(&error) })?;
        self.decoder.filled(n);
        Ok(n > 0)
    }
}

/// Somebody who wants to join a scheduler.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) hello: Hello,
    pub(crate) answer: Answer,
    pub(crate) line: Line,
}

/// How the scheduler speaks with somebody.
#[derive(Debug)]
pub(crate) enum Line {
    Client(Sender<ToClient>, Receiver<FromClient>),
    Worker(Sender<ToWorker>, Receiver<FromWorker>),
    /// All was said with the hello.
    Report,
}

/// Where the greeting goes.
#[derive(Debug)]
pub(crate) enum Answer {
    Tcp(Arc<Closing>),
    InProcess(oneshot::Sender<Greeting>),
}

impl Answer {
    pub(crate) fn give(self, greeting: Greeting) {
        match self {
            Self::Tcp(tcp) => {
                // A greeting carries no value that could fail to be written.
                let _ = tcp.0.send(greeting);
                tcp.0.flush();
            }
            Self::InProcess(channel) => {
                let _ = channel.send(greeting);
            }
        }
    }
}

impl Arrival {
    /// Hears out somebody who has just connected.
    ///
    /// # Errors
    /// When he does not introduce himself properly and in time.
    pub(crate) async fn of(stream: TcpStream, guard: &Guard) -> Result<Self, FrameError> {
        let mut link = Link::from(stream, Channel::Scheduler, guard).await?;
        let hello: Hello = tokio::time::timeout(PATIENCE, link.hear()).await.unwrap_or(Err(FrameError::Silent))?;
        let answer = Answer::Tcp(Arc::clone(&link.outgoing));
        let line = match hello.role {
            phalanx_engine::message::Role::Client | phalanx_engine::message::Role::Session(_) => {
                let (sender, receiver) = link.typed();
                Line::Client(sender, receiver)
            }
            phalanx_engine::message::Role::Worker(_) => {
                let (sender, receiver) = link.typed();
                Line::Worker(sender, receiver)
            }
            phalanx_engine::message::Role::Report(_) => Line::Report,
        };
        Ok(Self { hello, answer, line })
    }
}

/// Where a scheduler is.
#[derive(Debug, Clone)]
pub(crate) enum Destination {
    Tcp(String, Arc<Guard>),
    InProcess(mpsc::UnboundedSender<Arrival>, Arc<Guard>),
}

impl Destination {
    pub(crate) fn url(&self) -> &str {
        match self {
            Self::Tcp(url, _) => url,
            Self::InProcess(..) => "inproc://",
        }
    }

    /// Whether a scheduler that is gone may come back there. Inside of a process one that ends has been ended.
    pub(crate) const fn may_come_back(&self) -> bool {
        matches!(self, Self::Tcp(..))
    }

    /// What connections of this scheduler's cluster are made with.
    pub(crate) const fn guard(&self) -> &Arc<Guard> {
        match self {
            Self::Tcp(_, guard) | Self::InProcess(_, guard) => guard,
        }
    }

    /// Joins as what `hello` says, trying for up to `patience`.
    ///
    /// # Errors
    /// When nobody answers, somebody else does, or the scheduler refuses.
    pub(crate) async fn join<Out: Wire, In: Wire>(
        &self,
        hello: Hello,
        patience: Duration,
        line: fn(Sender<In>, Receiver<Out>) -> Line,
    ) -> Result<(Greeting, Sender<Out>, Receiver<In>)> {
        let (greeting, sender, receiver) = match self {
            Self::Tcp(url, guard) => {
                let (greeting, link) = reach(url, guard, &hello, patience).await?;
                let (sender, receiver) = link.typed();
                (greeting, sender, receiver)
            }
            Self::InProcess(arrivals, _) => {
                let (sender, theirs) = pair();
                let (back, receiver) = pair();
                let (answer, greeting) = oneshot::channel();
                let arrival = Arrival { hello, answer: Answer::InProcess(answer), line: line(back, theirs) };
                let _ = arrivals.send(arrival);
                (greeting.await.map_err(|_| Error::SchedulerLost)?, sender, receiver)
            }
        };
        match greeting {
            Greeting::Refused { reason } => Err(Error::Refused { url: self.url().into(), reason }),
            greeting => Ok((greeting, sender, receiver)),
        }
    }
}

/// Connects and says hello, trying again while nobody is there to answer it.
async fn reach(url: &str, guard: &Guard, hello: &Hello, patience: Duration) -> Result<(Greeting, Link)> {
    let start = Instant::now();
    let mut pause = Duration::from_millis(20);
    loop {
        let reason = match Link::to(url, Channel::Scheduler, guard).await {
            Ok(link) => match greet(link, hello).await? {
                Ok(greeted) => return Ok(greeted),
                // It went away just now; its successor may be there soon.
                Err(FrameError::Io { reason }) => reason,
                Err(error @ FrameError::Truncated) => error.to_string(),
                Err(error) => return Err(Error::NotAScheduler { url: url.into(), reason: error.to_string() }),
            },
            Err(Connect::Address(error)) => return Err(error),
            Err(Connect::Refused(refusal)) => match refusal {
                Refusal::Io { reason } => reason,
                Refusal::HungUp if guard.tls.is_some() => {
                    "the other end hung up; it may be a port without TLS".to_owned()
                }
                Refusal::HungUp => refusal.to_string(),
                Refusal::Magic | Refusal::Form | Refusal::Channel | Refusal::Silent => {
                    return Err(Error::NotAScheduler { url: url.into(), reason: refusal.to_string() });
                }
                // The next try would meet with the same.
                refusal => return Err(Error::NotLetIn { url: url.into(), reason: refusal.to_string() }),
            },
        };
        if start.elapsed() + pause >= patience {
            return Err(Error::Unreachable { url: url.into(), reason });
        }
        tokio::time::sleep(pause).await;
        pause = (2 * pause).min(Duration::from_millis(500));
    }
}

async fn greet(mut link: Link, hello: &Hello) -> Result<Result<(Greeting, Link), FrameError>> {
    link.say(hello.clone())?;
    let heard = tokio::time::timeout(PATIENCE, link.hear()).await.unwrap_or(Err(FrameError::Silent));
    Ok(heard.map(|greeting| (greeting, link)))
}

/// Why there is no connection.
#[derive(Debug)]
pub(crate) enum Connect {
    /// And there will be none.
    Address(Error),
    Refused(Refusal),
}

/// Listens on `tcp://host:port`, where that is this machine's loopback or strangers are kept out; the address with the
/// port that was found.
///
/// # Errors
/// When the address cannot be read, is taken, or anybody could reach it.
pub(crate) async fn listen(url: &str, guard: &Guard) -> Result<(TcpListener, String)> {
    let failed = |error: io::Error| {
        let hint = if error.kind() == ErrorKind::AddrInUse { "; port 0 takes one that is free" } else { "" };
        Error::Listen { url: url.into(), reason: format!("{}{hint}", plain(&error)) }
    };
    let place = host_and_port(url)?;
    let addresses: Vec<SocketAddr> = tokio::net::lookup_host(place).await.map_err(failed)?.collect();
    if guard.is_open() && addresses.iter().any(|address| !address.ip().is_loopback()) {
        return Err(Error::NotLoopback { url: url.into() });
    }
    let listener = TcpListener::bind(&addresses[..]).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, format!("tcp://{bound}")))
}

/// What is behind `tcp://`.
fn host_and_port(url: &str) -> Result<&str> {
    let wrong = |reason: &str| Error::Address { url: url.into(), reason: reason.into() };
    let place = url.strip_prefix("tcp://").ok_or_else(|| wrong("it does not begin with tcp://"))?;
    let (host, port) = place.rsplit_once(':').ok_or_else(|| wrong("it has no port"))?;
    if host.is_empty() {
        return Err(wrong("it has no host"));
    }
    port.parse::<u16>().map_err(|_| wrong("its port is not a number from 0 to 65535"))?;
    Ok(place)
}

/// The address that this machine has where the way to the scheduler at `url` begins; loopback where there is no way.
pub(crate) async fn local_address(url: &str) -> IpAddr {
    let way = async {
        let place = host_and_port(url).ok()?;
        let there = tokio::net::lookup_host(place).await.ok()?.next()?;
        let any: IpAddr = if there.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        // Connecting a datagram socket chooses the way and sends nothing.
        let socket = UdpSocket::bind((any, 0)).await.ok()?;
        socket.connect(there).await.ok()?;
        Some(socket.local_addr().ok()?.ip())
    };
    way.await.unwrap_or(Ipv4Addr::LOCALHOST.into())
}

/// A system's error without its number.
pub(crate) fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_lowercase().chain(characters).collect())
}

#[cfg(test)]
mod tests;
