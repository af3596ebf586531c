//! What a scheduler must write down to be the same scheduler after its death, and how it is read again.
//!
//! Written down is what clients said, in order, who they are, and which tasks failed; never what is done: workers
//! hold the results and say so when they come back. Reading is saying it all again to a machine without workers. A
//! snapshot is a shorter log that leads to the same state.
//!
//! ```text
//! log    := entry*
//! entry  := u32 body length | body (postcard) | u32 values | value*         all numbers little endian
//! value  := u64 header length | u32 buffers | u64 length of each buffer | header | buffers
//! ```
//!
//! Files, checksums and torn tails are the runtime's.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::{
    data::{Buffer, BufferMut, Data},
    death::Death,
    graph::Graph,
    id::{ClientId, ClusterId, TaskId, WorkerId},
    message::{FromClient, Message, PROTOCOL, Priority, ToClient},
    task::{FunctionEntry, TaskError},
    value::Value,
};

/// Buffers up to this size are copied beside their entry.
const COPIED: usize = 4 << 10;

/// Bytes to be written down: small ones gathered, large ones where they already lie.
#[derive(Debug, Default)]
pub struct Log {
    parts: Vec<Part>,
    n_bytes: u64,
}

#[derive(Debug)]
enum Part {
    Gathered(Vec<u8>),
    Shared(Buffer),
}

impl Log {
    /// Whether there is nothing in it.
    pub const fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// How many bytes.
    pub const fn n_bytes(&self) -> u64 {
        self.n_bytes
    }

    /// The bytes, in order.
    pub fn parts(&self) -> impl Iterator<Item = &[u8]> {
        self.parts.iter().map(|part| match part {
            Part::Gathered(bytes) => &**bytes,
            Part::Shared(buffer) => buffer.as_bytes(),
        })
    }

    pub(crate) fn push(&mut self, entry: &Entry<'_>) {
        let values: Vec<Data> = match entry {
            Entry::Said { message, .. } => match &**message {
                FromClient::Submit { graph, .. } => data_of(&graph.constants),
                message => data_of(&message.clone().detach()),
            },
            Entry::Submission { graph, .. } => data_of(&graph.constants),
            Entry::Published { shape, .. } => data_of(shape.as_slice()),
            Entry::Told { message, .. } => data_of(&message.clone().into_owned().detach()),
            _ => Vec::new(),
        };
        // Entries are plain enums without maps of unknown length, so this does not fail.
        let body = postcard::to_stdvec(entry).unwrap_or_default();
        self.write(&(body.len() as u32).to_le_bytes());
        self.write(&body);
        self.write(&(values.len() as u32).to_le_bytes());
        for data in values {
            self.write(&(data.header.len() as u64).to_le_bytes());
            self.write(&(data.buffers.len() as u32).to_le_bytes());
            for buffer in &data.buffers {
                self.write(&(buffer.len() as u64).to_le_bytes());
            }
            self.write(&data.header);
            for buffer in data.buffers {
                if buffer.len() <= COPIED {
                    self.write(buffer.as_bytes());
                } else {
                    self.n_bytes += buffer.len() as u64;
                    self.parts.push(Part::Shared(buffer));
                }
            }
        }
    }

    fn write(&mut self, bytes: &[u8]) {
        self.n_bytes += bytes.len() as u64;
        if let Some(Part::Gathered(tail)) = self.parts.last_mut() {
            tail.extend_from_slice(bytes);
        } else {
            self.parts.push(Part::Gathered(bytes.to_vec()));
        }
    }
}

/// What came from a client is bytes already, so nothing here fails to be written.
fn data_of(values: &[Value]) -> Vec<Data> {
    values.iter().map(|value| value.to_data().unwrap_or_default()).collect()
}

/// One thing that is written down.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Entry<'a> {
    /// Whose log this is; the first entry of all.
    Cluster { cluster: ClusterId, protocol: u32 },
    /// How many clients and workers were ever numbered.
    Numbers { n_clients: u32, n_workers: u32 },
    /// A client, with how far it had come. Without a key it does not come back, but what it shared may outlive it.
    Client { client: ClientId, key: Option<u128>, functions: Cow<'a, [FunctionEntry]>, next: u64, n_received: u64 },
    /// A client said something that counts.
    Said { client: ClientId, message: Cow<'a, FromClient> },
    /// A client is forgotten.
    Left { client: ClientId },
    /// A task will have no result. Said of each task alone.
    Failed { task: TaskId, error: Cow<'a, TaskError> },
    /// A worker is there.
    WorkerJoined { worker: WorkerId },
    /// A worker is gone.
    WorkerLeft { worker: WorkerId },
    /// What is left of a submission: the nodes still in the table, and how often each is wanted.
    Submission {
        client: ClientId,
        first: u64,
        graph: Cow<'a, Graph>,
        nodes: Vec<(u32, u16)>,
        parent: Option<(TaskId, Priority)>,
    },
    /// An actor is there: it is not made again, whatever becomes of it.
    Made { task: TaskId, worker: WorkerId },
    /// A client has taken back a result that others want: what it has of it counts no more.
    Withdrew { client: ClientId, task: TaskId },
    /// Somebody has so many handles on another client's result.
    Shared { task: TaskId, client: ClientId, n_handles: u32 },
    /// A collection that lives without its client; its shape is attached.
    Published {
        name: Cow<'a, str>,
        tasks: Cow<'a, [TaskId]>,
        #[serde(skip)]
        shape: Option<Value>,
    },
    /// The task that a key stands for.
    Key { key: Cow<'a, str>, task: TaskId, recipe: u64 },
    /// Handles that a client has taken back and not released.
    Withdrawn { client: ClientId, task: TaskId, n_handles: u32 },
    /// A client was told something that it may have missed.
    Told { client: ClientId, message: Cow<'a, ToClient> },
    /// What is held against a task now: how often it failed and may be tried again, and which workers died of it.
    Suspected { task: TaskId, n_failures: u32, deaths: Cow<'a, [Death]> },
    /// The gang of which this is a member has ended.
    GangDone { task: TaskId },
}

/// A log cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// It ends in the middle of an entry, or an entry makes no sense.
    #[error("entry {entry} cannot be read: {reason}")]
    Malformed {
        /// Which, counted from 0.
        entry: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// It does not say whose it is.
    #[error("it does not begin with the cluster that it belongs to")]
    NoCluster,
    /// It was written by another version.
    #[error("it was written with protocol {found}, this program speaks {PROTOCOL}; start the version that wrote it")]
    Version {
        /// The version that wrote it.
        found: u32,
    },
}

/// Takes the next entry from the front of `bytes`, which are not empty.
pub(crate) fn read_entry(bytes: &mut &[u8]) -> Result<Entry<'static>, String> {
    let length = u32::from_le_bytes(number(bytes)?) as usize;
    let body = take(bytes, length)?;
    let mut entry: Entry<'static> = postcard::from_bytes(body).map_err(|error| error.to_string())?;
    let n_values = u32::from_le_bytes(number(bytes)?) as usize;
    // Each takes 12 bytes at least, so no count reserves more than is there.
    let mut values = Vec::with_capacity(n_values.min(bytes.len() / 12));
    for _ in 0..n_values {
        values.push(Value::from_data(read_value(bytes)?));
    }
    match &mut entry {
        Entry::Said { message, .. } => message.to_mut().attach(values).map_err(|error| error.to_string())?,
        Entry::Submission { graph, .. } => graph.to_mut().constants = values,
        Entry::Told { message, .. } => message.to_mut().attach(values).map_err(|error| error.to_string())?,
        Entry::Published { shape, .. } if values.len() == 1 => *shape = values.into_iter().next(),
        _ if values.is_empty() => {}
        _ => return Err("it carries values that it has no place for".into()),
    }
    Ok(entry)
}

fn read_value(bytes: &mut &[u8]) -> Result<Data, String> {
    let too_long = |_| String::from("a value is larger than memory");
    let header_len = usize::try_from(u64::from_le_bytes(number(bytes)?)).map_err(too_long)?;
    let n_buffers = u32::from_le_bytes(number(bytes)?) as usize;
    let mut lengths = Vec::with_capacity(n_buffers.min(bytes.len() / 8));
    for _ in 0..n_buffers {
        lengths.push(usize::try_from(u64::from_le_bytes(number(bytes)?)).map_err(too_long)?);
    }
    let header = take(bytes, header_len)?.to_vec();
    let mut buffers = Vec::with_capacity(lengths.len());
    for length in lengths {
        let raw = take(bytes, length)?;
        let mut buffer = BufferMut::zeroed(length);
        buffer.as_mut_bytes().copy_from_slice(raw);
        buffers.push(buffer.freeze());
    }
    Ok(Data { header, buffers })
}

fn number<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], String> {
    let (number, rest) = bytes.split_first_chunk::<N>().ok_or("it is cut short")?;
    *bytes = rest;
    Ok(*number)
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Result<&'a [u8], String> {
    let (taken, rest) = bytes.split_at_checked(length).ok_or("it is cut short")?;
    *bytes = rest;
    Ok(taken)
}
