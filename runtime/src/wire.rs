//! Frames: the one place where messages become bytes and bytes become messages.
//!
//! Pure: it is handed bytes and hands bytes out, and never sees a socket. Whatever arrives may come from a broken or
//! hostile program, so every length is checked before memory is reserved for it, and memory grows only with what
//! has really arrived.
//!
//! ```text
//! connection := opening frame*                           in each direction; the opening is `opening`'s
//! frame      := u32 head length | head | bulk             all numbers little endian
//! head       := u8 kind | u32 body length | body (postcard) | u32 values | shape of each value
//! shape      := u64 header length | u32 buffers | u64 length of each buffer
//! bulk       := for each value: header, buffers           raw bytes, as they lie in memory
//! ```
//!
//! A buffer is received straight into the aligned memory that the array will own, and sent from the memory that
//! the array owns.

use std::{collections::VecDeque, io::IoSlice};

use phalanx_engine::{
    data::{Buffer, BufferMut, Data, DataError},
    message::{FromClient, FromPeer, FromWorker, Greeting, Hello, Message, ToClient, ToPeer, ToWorker},
    value::Value,
};

use crate::opening::Refusal;

/// Buffers up to this size are copied beside their frame: cheaper than a slice of their own in the system call.
const COPIED: usize = 4 << 10;
/// What is read at once where no large buffer is expected.
const READ: usize = 64 << 10;
/// A value that still needs this many bytes gets them straight into its own memory.
const DIRECT: usize = 16 << 10;
/// Memory that a claim alone can reserve, beyond which it is [`GROWTH`] times what has arrived. The system gives it
/// when it is written to, so a claim alone costs nothing.
const CLAIM: usize = 64 << 20;
/// What has arrived is copied when its memory grows: rarely, then.
const GROWTH: usize = 16;

/// A message with its number on the wire.
pub(crate) trait Wire: Message {
    /// The first byte of its frames' heads.
    const KIND: u8;
}

macro_rules! kinds {
    ($($message:ty = $kind:literal),+ $(,)?) => {
        $(impl Wire for $message {
            const KIND: u8 = $kind;
        })+
    };
}

kinds!(Hello = 1, Greeting = 2, FromClient = 3, ToClient = 4, FromWorker = 5, ToWorker = 6, FromPeer = 7, ToPeer = 8,);

/// How much one frame may claim.
///
/// | name | greeting | session | purpose |
/// |---|---|---|---|
/// | `max_head` | 1 MiB | 2 GiB | bytes of the body and of the shapes of values |
/// | `max_bulk` | 0 | 2^46 | bytes of values |
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Bytes of the body and of the shapes of values.
    pub(crate) max_head: usize,
    /// Bytes of values.
    pub(crate) max_bulk: u64,
}

impl Limits {
    /// For strangers.
    pub(crate) const GREETING: Self = Self { max_head: 1 << 20, max_bulk: 0 };
    /// For who was greeted.
    pub(crate) const SESSION: Self = Self { max_head: 2 << 30, max_bulk: 1 << 46 };
}

/// Why a connection cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum FrameError {
    #[error("a frame claims {claimed} bytes of {what}, at most {limit} are accepted")]
    TooLarge { what: &'static str, claimed: u64, limit: u64 },
    #[error("a frame of kind {found} came where kind {expected} is expected")]
    Kind { expected: u8, found: u8 },
    #[error("a frame's {what} is cut short")]
    Short { what: &'static str },
    #[error("a frame cannot be read: {reason}")]
    Malformed { reason: String },
    #[error("the other end is silent")]
    Silent,
    #[error("the other end hung up")]
    Truncated,
    #[error("{0}")]
    Refused(Refusal),
    #[error("{reason}")]
    Io { reason: String },
}

impl From<Refusal> for FrameError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Silent => Self::Silent,
            Refusal::HungUp => Self::Truncated,
            Refusal::Io { reason } => Self::Io { reason },
            refusal => Self::Refused(refusal),
        }
    }
}

impl From<std::io::Error> for FrameError {
    fn from(error: std::io::Error) -> Self {
        Self::Io { reason: error.to_string() }
    }
}

/// Bytes that wait to be written: small ones gathered, large ones where they already lie.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    parts: VecDeque<Part>,
    /// How much of the first part is written.
    written: usize,
    n_bytes: usize,
}

#[derive(Debug)]
enum Part {
    Gathered(Vec<u8>),
    Shared(Buffer),
}

impl Part {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Gathered(bytes) => bytes,
            Self::Shared(buffer) => buffer.as_bytes(),
        }
    }
}

impl Parts {
    /// Appends a message.
    ///
    /// # Errors
    /// When a value of it cannot be written; nothing is appended then.
    pub(crate) fn push<M: Wire>(&mut self, mut message: M) -> Result<(), DataError> {
        let values = message.detach().iter().map(Value::to_data).collect::<Result<Vec<_>, _>>()?;
        let mut result = Ok(());
        self.gathered(|tail| {
            let start = tail.len();
            result = push_head(tail, &message, values.iter().map(shape));
            if result.is_err() {
                tail.truncate(start);
            }
        });
        result?;
        for data in values {
            self.gathered(|tail| tail.extend_from_slice(&data.header));
            for buffer in data.buffers {
                if buffer.len() <= COPIED {
                    self.gathered(|tail| tail.extend_from_slice(buffer.as_bytes()));
                } else {
                    self.n_bytes += buffer.len();
                    self.parts.push_back(Part::Shared(buffer));
                }
            }
        }
        Ok(())
    }

    /// Appends the beginning of a message with one value of this [`shape`], whose bytes have to follow before anything
    /// else does.
    ///
    /// # Errors
    /// When the message cannot be written; nothing is appended then.
    pub(crate) fn push_opening<M: Wire>(&mut self, message: &M, shape: &[u8]) -> Result<(), DataError> {
        let mut result = Ok(());
        self.gathered(|tail| {
            let start = tail.len();
            result = push_head(tail, message, std::iter::once(Ok(shape)));
            if result.is_err() {
                tail.truncate(start);
            }
        });
        result
    }

    /// Appends bytes of a value whose message was [opened](Self::push_opening).
    pub(crate) fn push_bytes(&mut self, bytes: Vec<u8>) {
        self.n_bytes += bytes.len();
        self.parts.push_back(Part::Gathered(bytes));
    }

    /// How many bytes wait.
    pub(crate) const fn n_bytes(&self) -> usize {
        self.n_bytes
    }

    /// The bytes that wait, as many slices as `into` has room for; the number of slices.
    pub(crate) fn slices<'a>(&'a self, into: &mut [IoSlice<'a>]) -> usize {
        let mut n = 0;
        let mut skip = self.written;
        for (slot, part) in into.iter_mut().zip(&self.parts) {
            *slot = IoSlice::new(&part.bytes()[skip..]);
            skip = 0;
            n += 1;
        }
        n
    }

    /// Forgets bytes that were written.
    pub(crate) fn advance(&mut self, n_written: usize) {
        self.n_bytes -= n_written;
        self.written += n_written;
        while let Some(first) = self.parts.front_mut() {
            let len = first.bytes().len();
            if self.written < len {
                return;
            }
            self.written -= len;
            // The last gathered part keeps its memory for the next messages.
            if self.parts.len() == 1
                && let Some(Part::Gathered(bytes)) = self.parts.front_mut()
                && bytes.capacity() <= 4 * READ
            {
                bytes.clear();
                return;
            }
            self.parts.pop_front();
        }
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    fn gathered(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        // Parts grow to some size only, so that what is written is freed.
        let room = matches!(self.parts.back(), Some(Part::Gathered(bytes)) if bytes.len() < 4 * READ);
        if !room {
            self.parts.push_back(Part::Gathered(Vec::new()));
        }
        if let Some(Part::Gathered(tail)) = self.parts.back_mut() {
            let before = tail.len();
            write(tail);
            self.n_bytes += tail.len() - before;
        }
    }
}

fn push_head<M: Wire>(
    tail: &mut Vec<u8>,
    message: &M,
    shapes: impl ExactSizeIterator<Item = Result<impl AsRef<[u8]>, DataError>>,
) -> Result<(), DataError> {
    let refused = |reason: String| DataError::Code { type_name: std::any::type_name::<M>(), message: reason };
    let start = tail.len();
    tail.extend_from_slice(&[0; 4]);
    tail.push(M::KIND);
    tail.extend_from_slice(&[0; 4]);
    let body = tail.len();
    *tail = postcard::to_extend(message, std::mem::take(tail)).map_err(|error| refused(error.to_string()))?;
    let body_len = tail.len() - body;
    let count = |n: usize| u32::try_from(n).map_err(|_| refused(format!("{n} is too large for one message")));
    tail.extend_from_slice(&count(shapes.len())?.to_le_bytes());
    for shape in shapes {
        tail.extend_from_slice(shape?.as_ref());
    }
    let head_len = count(tail.len() - start - 4)?;
    if head_len as usize > Limits::SESSION.max_head {
        return Err(refused(format!("{head_len} bytes are too large for one message; submit less at a time")));
    }
    tail[start..start + 4].copy_from_slice(&head_len.to_le_bytes());
    tail[body - 4..body].copy_from_slice(&count(body_len)?.to_le_bytes());
    Ok(())
}

/// The shape of a value, as it stands in a frame's head and at the beginning of a file.
pub(crate) fn shape(data: &Data) -> Result<Vec<u8>, DataError> {
    let n_buffers = data.buffers.len();
    let too_many = |_| DataError::Code { type_name: "a value", message: format!("{n_buffers} buffers are too many") };
    let mut shape = Vec::with_capacity(12 + 8 * n_buffers);
    shape.extend_from_slice(&(data.header.len() as u64).to_le_bytes());
    shape.extend_from_slice(&u32::try_from(n_buffers).map_err(too_many)?.to_le_bytes());
    shape.extend(data.buffers.iter().flat_map(|buffer| (buffer.len() as u64).to_le_bytes()));
    Ok(shape)
}

/// The lengths of the header and the buffers in one value's [`shape`].
pub(crate) fn lengths(shape: &[u8]) -> Option<(usize, Vec<usize>)> {
    let length = |bytes: &[u8]| usize::try_from(u64::from_le_bytes(bytes.try_into().ok()?)).ok();
    let (header, rest) = shape.split_at_checked(8)?;
    let (_, buffers) = rest.split_at_checked(4)?;
    Some((length(header)?, buffers.chunks(8).map(length).collect::<Option<_>>()?))
}

/// Makes messages of bytes. Read into [`space`](Self::space), say [`filled`](Self::filled), ask for the
/// [`next`](Self::next) messages until there is none.
#[derive(Debug)]
pub(crate) struct Decoder {
    buffer: Vec<u8>,
    /// What of the buffer is not yet consumed.
    start: usize,
    end: usize,
    limits: Limits,
    bulk: Option<Bulk>,
    error: Option<FrameError>,
}

impl Decoder {
    /// For a new connection; `limits` can be widened later.
    pub(crate) const fn new(limits: Limits) -> Self {
        Self { buffer: Vec::new(), start: 0, end: 0, limits, bulk: None, error: None }
    }

    /// What the next frames may claim.
    pub(crate) const fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Where the next bytes go; never empty.
    pub(crate) fn space(&mut self) -> &mut [u8] {
        if self.direct() {
            // Borrowed twice because a conditional return of a borrow is not understood by the compiler.
            return self.bulk.as_mut().map_or(&mut [], Bulk::space);
        }
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
            if self.buffer.len() > 16 * READ {
                self.buffer = Vec::new();
            }
        } else if self.start > 0 && self.end == self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.end == self.buffer.len() {
            // A large head is being received: at most double what has arrived.
            self.buffer.resize((2 * self.end).max(READ), 0);
        }
        &mut self.buffer[self.end..]
    }

    /// The first `n` bytes of the space were written.
    pub(crate) fn filled(&mut self, n: usize) {
        if self.direct()
            && let Some(bulk) = &mut self.bulk
        {
            bulk.filled += n;
        } else {
            self.end += n;
        }
    }

    /// Whether the connection may end here.
    pub(crate) const fn between_frames(&self) -> bool {
        self.start == self.end && self.bulk.is_none()
    }

    /// The next message, where all of it has arrived. After an error there is only that error.
    ///
    /// # Errors
    /// When the bytes are no such message or claim too much.
    pub(crate) fn next<M: Wire>(&mut self) -> Result<Option<M>, FrameError> {
        match &self.error {
            Some(error) => Err(error.clone()),
            None => self.try_next().inspect_err(|error| self.error = Some(error.clone())),
        }
    }

    fn try_next<M: Wire>(&mut self) -> Result<Option<M>, FrameError> {
        if self.bulk.is_none() {
            let arrived = &self.buffer[self.start..self.end];
            let Some((len, after)) = arrived.split_first_chunk::<4>() else { return Ok(None) };
            let head_len = u32::from_le_bytes(*len) as usize;
            bounded("head", head_len as u64, self.limits.max_head as u64)?;
            // The kind is looked at first: who sends a wrong one is not listened to until the frame's end.
            match after.first() {
                Some(kind) if *kind != M::KIND => return Err(FrameError::Kind { expected: M::KIND, found: *kind }),
                _ => {}
            }
            let Some(head) = after.get(..head_len) else { return Ok(None) };
            let (body, shapes) = read_head(head, self.limits.max_bulk)?;
            if shapes.is_empty() {
                let message = message(body, Vec::new())?;
                self.start += 4 + head_len;
                return Ok(Some(message));
            }
            self.bulk = Some(Bulk::new(body.to_vec(), shapes));
            self.start += 4 + head_len;
        }
        let Some(bulk) = &mut self.bulk else { return Ok(None) };
        self.start += bulk.take(&self.buffer[self.start..self.end]);
        if !bulk.is_complete() {
            return Ok(None);
        }
        let values = std::mem::take(&mut bulk.done).into_iter().map(Value::from_data).collect();
        let message = message(&bulk.body, values)?;
        self.bulk = None;
        Ok(Some(message))
    }

    fn direct(&self) -> bool {
        self.start == self.end && self.bulk.as_ref().is_some_and(|bulk| bulk.missing() >= DIRECT)
    }
}

/// Lengths of a value's header and buffers.
#[derive(Debug)]
struct Shape {
    header: usize,
    buffers: Vec<usize>,
}

fn read_head(head: &[u8], max_bulk: u64) -> Result<(&[u8], Vec<Shape>), FrameError> {
    fn number<const N: usize>(bytes: &mut &[u8], what: &'static str) -> Result<[u8; N], FrameError> {
        let (number, rest) = bytes.split_first_chunk::<N>().ok_or(FrameError::Short { what })?;
        *bytes = rest;
        Ok(*number)
    }
    let mut rest = head.get(1..).ok_or(FrameError::Short { what: "head" })?;
    let body_len = u32::from_le_bytes(number(&mut rest, "head")?) as usize;
    let (body, mut rest) = rest.split_at_checked(body_len).ok_or(FrameError::Short { what: "body" })?;
    let n_values = u32::from_le_bytes(number(&mut rest, "table of values")?) as usize;
    // Each shape takes 12 bytes of the head, which is here: no count can claim more than was sent.
    if n_values > rest.len() / 12 {
        return Err(FrameError::Short { what: "table of values" });
    }
    let mut total = 0_u64;
    let mut length = |bytes: &mut &[u8]| -> Result<usize, FrameError> {
        let len = u64::from_le_bytes(number(bytes, "table of values")?);
        total = total.saturating_add(len);
        bounded("values", total, max_bulk)?;
        usize::try_from(len).map_err(|_| FrameError::Malformed { reason: format!("a value of {len} bytes") })
    };
    let mut shapes = Vec::with_capacity(n_values);
    for _ in 0..n_values {
        let header = length(&mut rest)?;
        let n_buffers = u32::from_le_bytes(number(&mut rest, "table of values")?) as usize;
        if n_buffers > rest.len() / 8 {
            return Err(FrameError::Short { what: "table of values" });
        }
        let buffers = (0..n_buffers).map(|_| length(&mut rest)).collect::<Result<_, _>>()?;
        shapes.push(Shape { header, buffers });
    }
    if rest.is_empty() {
        Ok((body, shapes))
    } else {
        Err(FrameError::Malformed { reason: format!("{} bytes after the table of values", rest.len()) })
    }
}

fn bounded(what: &'static str, claimed: u64, limit: u64) -> Result<(), FrameError> {
    if claimed <= limit { Ok(()) } else { Err(FrameError::TooLarge { what, claimed, limit }) }
}

fn message<M: Wire>(body: &[u8], values: Vec<Value>) -> Result<M, FrameError> {
    let malformed = |reason: String| FrameError::Malformed { reason };
    let (mut message, rest) = postcard::take_from_bytes::<M>(body).map_err(|error| malformed(error.to_string()))?;
    if !rest.is_empty() {
        return Err(malformed(format!("{} bytes after the body", rest.len())));
    }
    message.attach(values).map_err(|error| malformed(error.to_string()))?;
    Ok(message)
}

/// Values on their way in.
#[derive(Debug)]
struct Bulk {
    body: Vec<u8>,
    shapes: VecDeque<Shape>,
    done: Vec<Data>,
    /// What is being filled: the header of the value in front, or one of its buffers.
    target: Target,
    filled: usize,
    wanted: usize,
    /// The value in front, as far as it is here.
    data: Data,
}

#[derive(Debug)]
enum Target {
    Header(Vec<u8>),
    Buffer(BufferMut),
}

impl Bulk {
    fn new(body: Vec<u8>, shapes: Vec<Shape>) -> Self {
        let mut bulk = Self {
            body,
            done: Vec::with_capacity(shapes.len()),
            shapes: shapes.into(),
            target: Target::Header(Vec::new()),
            filled: 0,
            wanted: 0,
            data: Data::default(),
        };
        bulk.wanted = bulk.shapes.front().map_or(0, |shape| shape.header);
        bulk.settle();
        bulk
    }

    /// Bytes that what is being filled still needs.
    const fn missing(&self) -> usize {
        self.wanted - self.filled
    }

    fn is_complete(&mut self) -> bool {
        self.settle();
        self.shapes.is_empty()
    }

    /// Room for the next bytes, no longer than is missing.
    fn space(&mut self) -> &mut [u8] {
        let (filled, wanted) = (self.filled, self.wanted);
        let grown = wanted.min(CLAIM.max(GROWTH * filled));
        match &mut self.target {
            Target::Header(bytes) => {
                if bytes.len() == filled {
                    bytes.resize(wanted.min(READ.max(2 * filled)), 0);
                }
                &mut bytes[filled..]
            }
            Target::Buffer(buffer) => {
                if buffer.as_mut_bytes().len() == filled {
                    buffer.grow(grown);
                }
                &mut buffer.as_mut_bytes()[filled..]
            }
        }
    }

    /// Takes what it needs from `bytes`; how much that was.
    fn take(&mut self, bytes: &[u8]) -> usize {
        let mut taken = 0;
        while taken < bytes.len() && !self.is_complete() {
            let space = self.space();
            let n = space.len().min(bytes.len() - taken);
            space[..n].copy_from_slice(&bytes[taken..taken + n]);
            self.filled += n;
            taken += n;
        }
        taken
    }

    /// Moves on from everything that is full.
    fn settle(&mut self) {
        while self.filled == self.wanted
            && let Some(shape) = self.shapes.front()
        {
            match std::mem::replace(&mut self.target, Target::Header(Vec::new())) {
                Target::Header(header) => self.data.header = header,
                Target::Buffer(buffer) => self.data.buffers.push(buffer.freeze()),
            }
            self.filled = 0;
            if let Some(len) = shape.buffers.get(self.data.buffers.len()) {
                self.target = Target::Buffer(BufferMut::zeroed((*len).min(CLAIM)));
                self.wanted = *len;
            } else {
                self.done.push(std::mem::take(&mut self.data));
                self.shapes.pop_front();
                self.wanted = self.shapes.front().map_or(0, |shape| shape.header);
            }
        }
    }
}

#[cfg(test)]
mod tests;
