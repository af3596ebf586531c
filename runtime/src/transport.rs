//! Connections: pairs of a sender and a receiver of typed messages, through TCP or inside this process.
//!
//! Sending never waits. What is sent is queued, and [`Sender::flush`] hands the queue to the system at once, from
//! whatever thread it is called on; only what the system does not take is left to a task that waits for it to. There
//! are no timers: whoever has queued everything that one event led to flushes.
//!
//! Inside a process messages move, and values in them stay where they are.

use std::{
    io::{self, ErrorKind, IoSlice},
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use phalanx_engine::{
    data::DataError,
    message::{FromClient, FromWorker, Greeting, Hello, ToClient, ToWorker},
};
use tokio::{
    io::AsyncReadExt,
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{Notify, mpsc, oneshot},
};

use crate::{
    error::{Error, Result},
    io::{PATIENCE, lock},
    wire::{Decoder, FrameError, Limits, MAGIC, Parts, Wire},
};

/// How often a receiver says that a large message is still coming.
const STILL_COMING: Duration = Duration::from_millis(500);
/// At most so many messages are taken at once, so that everybody's turn comes.
const BATCH: usize = 1_024;

/// One direction out. Clones send to the same place; the connection's direction ends with the last one.
#[derive(Debug)]
pub(crate) enum Sender<M> {
    Tcp(Arc<Closing>),
    InProcess(mpsc::UnboundedSender<M>),
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
            Self::InProcess(channel) => {
                let _ = channel.send(message);
                Ok(())
            }
        }
    }

    /// Hands what is queued to the system.
    pub(crate) fn flush(&self) {
        if let Self::Tcp(tcp) = self {
            tcp.0.flush();
        }
    }

    /// Leaves what is queued to the task that writes, since more will follow at once: what is queued when its turn comes
    /// goes together.
    pub(crate) fn flush_soon(&self) {
        if let Self::Tcp(tcp) = self {
            tcp.0.waiting.notify_one();
        }
    }

    /// Waits until at most `limit` bytes are queued, or the connection is gone.
    pub(crate) async fn drained(&self, limit: usize) {
        if let Self::Tcp(tcp) = self {
            tcp.0.drained(limit).await;
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
    InProcess(mpsc::UnboundedReceiver<M>),
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
            Self::InProcess(channel) => Ok(channel.recv_many(into, BATCH).await > 0),
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
    /// Begins to speak on a socket. Needs a tokio runtime, on which what the system does not take at once is written.
    pub(crate) fn new(stream: TcpStream) -> Self {
        // Without it a small message could wait for the answer to the one before. Failing only costs that.
        let _ = stream.set_nodelay(true);
        let (read, write) = stream.into_split();
        let outgoing = Arc::new(Outgoing {
            socket: write,
            queue: Mutex::new(Queue { parts: Parts::opening(), broken: false, closing: false }),
            writing: Mutex::new(Parts::default()),
            n_unwritten: AtomicUsize::new(MAGIC.len()),
            waiting: Notify::new(),
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
    let (sender, receiver) = mpsc::unbounded_channel();
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
    socket: OwnedWriteHalf,
    /// Locked for moments only.
    queue: Mutex<Queue>,
    /// What was taken out of the queue to be written. Whoever has it locked writes, and nobody waits for him: he looks
    /// into the queue again before he goes.
    writing: Mutex<Parts>,
    /// Bytes in both.
    n_unwritten: AtomicUsize,
    /// Tells the writing task that there is something the system did not take.
    waiting: Notify,
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
        let mut queue = lock(&self.queue);
        if queue.broken {
            return Ok(());
        }
        let before = queue.parts.n_bytes();
        let pushed = queue.parts.push(message);
        self.n_unwritten.fetch_add(queue.parts.n_bytes() - before, Ordering::Relaxed);
        pushed
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
                    return true;
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
            self.waiting.notified().await;
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
    socket: OwnedReadHalf,
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
        let n =
            self.socket.read(self.decoder.space()).await.map_err(|error| FrameError::Io { reason: plain(&error) })?;
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
    /// Hears out somebody who has just connected. None where he does not introduce himself properly and in time.
    pub(crate) async fn of(stream: TcpStream) -> Result<Self, FrameError> {
        let mut link = Link::new(stream);
        link.outgoing.0.flush();
        let hello: Hello = tokio::time::timeout(PATIENCE, link.hear()).await.unwrap_or(Err(FrameError::Silent))?;
        let answer = Answer::Tcp(Arc::clone(&link.outgoing));
        let line = match hello.role {
            phalanx_engine::message::Role::Client => {
                let (sender, receiver) = link.typed();
                Line::Client(sender, receiver)
            }
            phalanx_engine::message::Role::Worker(_) => {
                let (sender, receiver) = link.typed();
                Line::Worker(sender, receiver)
            }
        };
        Ok(Self { hello, answer, line })
    }
}

/// Where a scheduler is.
#[derive(Debug, Clone)]
pub(crate) enum Destination {
    Tcp(String),
    InProcess(mpsc::UnboundedSender<Arrival>),
}

impl Destination {
    pub(crate) fn url(&self) -> &str {
        match self {
            Self::Tcp(url) => url,
            Self::InProcess(_) => "inproc://",
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
            Self::Tcp(url) => {
                let (greeting, link) = reach(url, &hello, patience).await?;
                let (sender, receiver) = link.typed();
                (greeting, sender, receiver)
            }
            Self::InProcess(arrivals) => {
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
async fn reach(url: &str, hello: &Hello, patience: Duration) -> Result<(Greeting, Link)> {
    let start = Instant::now();
    let mut pause = Duration::from_millis(20);
    loop {
        let reason = match connect(url).await {
            Ok(stream) => match greet(stream, hello).await? {
                Ok(greeted) => return Ok(greeted),
                // It went away just now; its successor may be there soon.
                Err(FrameError::Io { reason }) => reason,
                Err(error @ FrameError::Truncated) => error.to_string(),
                Err(error) => return Err(Error::NotAScheduler { url: url.into(), reason: error.to_string() }),
            },
            Err(Connect::Address(error)) => return Err(error),
            Err(Connect::Io(error)) => plain(&error),
        };
        if start.elapsed() + pause >= patience {
            return Err(Error::Unreachable { url: url.into(), reason });
        }
        tokio::time::sleep(pause).await;
        pause = (2 * pause).min(Duration::from_millis(500));
    }
}

async fn greet(stream: TcpStream, hello: &Hello) -> Result<Result<(Greeting, Link), FrameError>> {
    let mut link = Link::new(stream);
    link.say(hello.clone())?;
    let heard = tokio::time::timeout(PATIENCE, link.hear()).await.unwrap_or(Err(FrameError::Silent));
    Ok(heard.map(|greeting| (greeting, link)))
}

/// Why there is no socket.
#[derive(Debug)]
pub(crate) enum Connect {
    /// And there will be none.
    Address(Error),
    Io(io::Error),
}

/// A socket to `tcp://host:port`.
pub(crate) async fn connect(url: &str) -> Result<TcpStream, Connect> {
    let place = host_and_port(url).map_err(Connect::Address)?;
    let connected = tokio::time::timeout(PATIENCE, TcpStream::connect(place)).await;
    connected.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into())).map_err(Connect::Io)
}

/// Listens on `tcp://host:port`, where that is this machine's loopback; the address with the port that was found.
///
/// # Errors
/// When the address cannot be read, is not loopback, or is taken.
pub(crate) async fn listen(url: &str) -> Result<(TcpListener, String)> {
    let failed = |error: io::Error| {
        let hint = if error.kind() == ErrorKind::AddrInUse { "; port 0 takes one that is free" } else { "" };
        Error::Listen { url: url.into(), reason: format!("{}{hint}", plain(&error)) }
    };
    let place = host_and_port(url)?;
    let addresses: Vec<SocketAddr> = tokio::net::lookup_host(place).await.map_err(failed)?.collect();
    if addresses.iter().any(|address| !address.ip().is_loopback()) {
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

/// A system's error without its number.
pub(crate) fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_lowercase().chain(characters).collect())
}

#[cfg(test)]
mod tests;
