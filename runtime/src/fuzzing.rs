//! What fuzzers drive: bytes from outside, into everything that reads bytes from outside.
//!
//! Only there for fuzzers (`cfg(fuzzing)`, see the folder `fuzz`) and for this crate's own tests, which drive the same
//! functions with bytes from a seed. Each function panics where something is wrong and returns otherwise.
//!
//! The first byte of an input chooses a message that is right, or none; the rest are edits of it, or bytes as they are.
//! So a fuzzer that knows nothing of the format gets deep into it, and there is no corpus that grows old.

use std::time::Duration;

use phalanx_engine::{
    data::{Buffer, Data},
    graph::{ArgumentCode, Graph},
    id::{Attempt, ClientId, ConnectionId, FunctionId, TaskId},
    message::{
        Address, Compute, Failure, FromClient, FromPeer, FromWorker, Greeting, Hello, PROTOCOL, Priority, Role,
        ToClient, ToPeer, ToWorker, WorkerHello,
    },
    scheduler::{Command, Config, Event, Scheduler},
    task::FunctionEntry,
    time::Time,
    value::Value,
};

use ring::hmac;

use crate::{
    opening::{Channel, End, Opening},
    wire::{Decoder, Limits, Parts, Wire},
};

/// Frames of every kind of message, in pieces of any size.
pub fn frames(input: &[u8]) {
    let Some((&[kind, limits, step], edits)) = input.split_first_chunk::<3>() else { return };
    let limits = if limits.is_multiple_of(2) { Limits::SESSION } else { Limits::GREETING };
    let step = 1 + usize::from(step) * usize::from(step);
    match kind % 8 {
        0 => frames_of(&hellos(), edits, limits, step),
        1 => frames_of(&greetings(), edits, limits, step),
        2 => frames_of(&from_clients(), edits, limits, step),
        3 => frames_of(&to_clients(), edits, limits, step),
        4 => frames_of(&from_workers(), edits, limits, step),
        5 => frames_of(&to_workers(), edits, limits, step),
        6 => frames_of(&from_peers(), edits, limits, step),
        _ => frames_of(&to_peers(), edits, limits, step),
    }
}

fn frames_of<M: Wire + Clone>(seeds: &[M], edits: &[u8], limits: Limits, step: usize) {
    let seeds: Vec<Vec<u8>> = seeds.iter().cloned().map(written).collect();
    let bytes = edited(&seeds, edits);
    let mut decoder = Decoder::new(limits);
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        let space = decoder.space();
        assert!(!space.is_empty(), "there is always room for the next byte");
        // What one claim reserves, or four times what has come; what is read at once where nothing is claimed.
        assert!(space.len() <= (64 << 20) + 4 * bytes.len() + (128 << 10), "{} bytes for {}", space.len(), bytes.len());
        let n = space.len().min(rest.len()).min(step);
        space[..n].copy_from_slice(&rest[..n]);
        decoder.filled(n);
        rest = &rest[n..];
        loop {
            match decoder.next::<M>() {
                Ok(Some(message)) => stays_the_same(message),
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(decoder.next::<M>().err(), Some(error), "an error stays");
                    return;
                }
            }
        }
    }
}

/// What was read is written, and read again as the same.
fn stays_the_same<M: Wire>(message: M) {
    let bytes = written(message);
    let mut decoder = Decoder::new(Limits::SESSION);
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        let space = decoder.space();
        let n = space.len().min(rest.len());
        space[..n].copy_from_slice(&rest[..n]);
        decoder.filled(n);
        rest = &rest[n..];
        if rest.is_empty() {
            let again = decoder.next::<M>().ok().flatten().map(written);
            assert_eq!(again, Some(bytes.clone()));
        } else {
            assert!(matches!(decoder.next::<M>(), Ok(None)), "there is one message, at the end");
        }
    }
    assert!(decoder.between_frames());
}

fn written<M: Wire>(message: M) -> Vec<u8> {
    let mut parts = Parts::default();
    if let Err(error) = parts.push(message) {
        panic!("what was read can be written: {error}");
    }
    let mut bytes = Vec::new();
    while parts.n_bytes() > 0 {
        let mut slices = [std::io::IoSlice::new(&[]); 16];
        let n = parts.slices(&mut slices);
        let before = bytes.len();
        slices[..n].iter().for_each(|slice| bytes.extend_from_slice(slice));
        let n_written = bytes.len() - before;
        parts.advance(n_written);
    }
    bytes
}

/// The opening of a connection, at either end of it: nobody gets through who does not know the token, and nobody is told
/// more than a challenge.
pub fn opening(input: &[u8]) {
    let Some((&[how, step], edits)) = input.split_first_chunk::<2>() else { return };
    let key = || hmac::Key::new(hmac::HMAC_SHA256, b"nobody knows it");
    let has_token = how.is_multiple_of(2);
    let (end, channel) = if how & 2 == 0 { (End::Accepts, Channel::Scheduler) } else { (End::Connects, Channel::Data) };
    let (mut opening, say) = Opening::with_nonce(end, channel, has_token.then(key), [1; 32]);
    // A right one, and what somebody says who knows another token.
    let there = if end == End::Accepts { End::Connects } else { End::Accepts };
    let another = hmac::Key::new(hmac::HMAC_SHA256, b"another");
    let other = |key| {
        let (mut other, said) = Opening::with_nonce(there, channel, key, [2; 32]);
        let answer = other.take(say.bytes()).unwrap_or_else(|(_, say)| say);
        [said.bytes(), answer.bytes(), &[3; 32]].concat()
    };
    let bytes = edited(&[other(Some(another)), other(None)], edits);
    let mut n_said = say.bytes().len();
    let mut rest = &bytes[..];
    while opening.wants() > 0 && !rest.is_empty() {
        let n = opening.wants().min(rest.len()).min(1 + usize::from(step));
        match opening.take(&rest[..n]) {
            Ok(say) => n_said += say.bytes().len(),
            Err((_, say)) => {
                n_said += say.bytes().len();
                break;
            }
        }
        rest = &rest[n..];
    }
    assert!(!(has_token && opening.wants() == 0), "let in without the token: {bytes:?}");
    // Who connects shows a proof to whom he has chosen; who accepts, to nobody before he has seen one.
    assert!(n_said <= if end == End::Accepts { 48 } else { 80 }, "{n_said} bytes were said to a stranger");
}

/// The scheduler, while a client and two workers that were let in say anything at all in any order.
pub fn scheduler(input: &[u8]) {
    let config = Config { heartbeat: Duration::from_secs(1), ..Config::default() };
    let mut now = Time::ZERO;
    let mut machine = Scheduler::new(config, now);
    let mut told = Vec::new();
    let mut tell = |now: Time, event: Event| {
        machine.handle(now, event, &mut told);
        machine.check_invariants();
        std::mem::take(&mut told)
    };
    let mut clients = Vec::new();
    let mut workers = Vec::new();
    for (connection, hello) in (1..).zip(hellos()) {
        for command in tell(now, Event::Hello { connection: ConnectionId(connection), hello: Box::new(hello) }) {
            match command {
                Command::Greet { greeting: Greeting::Client { client, .. }, .. } => clients.push(client),
                Command::Greet { greeting: Greeting::Worker { worker, .. }, .. } => workers.push(worker),
                _ => {}
            }
        }
    }
    let client_seeds = bodies(&from_clients());
    let worker_seeds = bodies(&from_workers());
    let mut rest = input;
    while let Some((&[who, n], after)) = rest.split_first_chunk::<2>() {
        let (edits, next) = after.split_at(after.len().min(usize::from(n)));
        rest = next;
        let event = match who % 16 {
            0..=4 => {
                let client = clients[usize::from(who >> 4) % clients.len()];
                message_of(&client_seeds, edits).map(|message| Event::Client { client, message })
            }
            5..=11 => {
                let worker = workers[usize::from(who >> 4) % workers.len()];
                message_of(&worker_seeds, edits).map(|message| Event::Worker { worker, message })
            }
            12 => Some(Event::WorkerLeft { worker: workers[usize::from(n) % workers.len()] }),
            13 if n > 200 => Some(Event::ClientLeft { client: clients[usize::from(n) % clients.len()] }),
            _ => {
                now += Duration::from_millis(u64::from(n) * 10);
                Some(Event::Tick)
            }
        };
        if let Some(event) = event {
            tell(now, event);
        }
    }
}

fn bodies<M: Wire>(messages: &[M]) -> Vec<Vec<u8>> {
    messages.iter().filter_map(|message| postcard::to_stdvec(message).ok()).collect()
}

/// A message whose body is a seed's with edits, and which comes with as many values as it asks for.
fn message_of<M: Wire>(seeds: &[Vec<u8>], edits: &[u8]) -> Option<M> {
    let bytes = edited(seeds, edits);
    (0..4).find_map(|n_values| {
        let (mut message, _) = postcard::take_from_bytes::<M>(&bytes).ok()?;
        let values = (0..n_values).map(|n: u64| Value::new(n)).collect();
        message.attach(values).ok().map(|()| message)
    })
}

/// The input as bytes: a seed with edits of four bytes each, or what it says itself.
pub fn edited(seeds: &[Vec<u8>], input: &[u8]) -> Vec<u8> {
    let Some((&choice, edits)) = input.split_first() else { return Vec::new() };
    let Some(choice) = usize::from(choice).checked_sub(1) else { return edits.to_vec() };
    let mut bytes = seeds[choice % seeds.len()].clone();
    for edit in edits.chunks_exact(4) {
        let [how, low, high, byte] = [edit[0], edit[1], edit[2], edit[3]];
        let place = usize::from(u16::from_le_bytes([low, high]));
        if bytes.is_empty() {
            bytes.push(byte);
            continue;
        }
        let place = place % bytes.len();
        match how % 6 {
            0 => bytes[place] = byte,
            1 => bytes[place] ^= 1 << (byte % 8),
            2 => bytes.insert(place, byte),
            3 => drop(bytes.remove(place)),
            4 => bytes.truncate(place),
            _ => bytes.extend_from_slice(&seeds[usize::from(byte) % seeds.len()]),
        }
        bytes.truncate(1 << 16);
    }
    bytes
}

fn hellos() -> Vec<Hello> {
    let hello = |role| Hello {
        protocol: PROTOCOL,
        version: "1".into(),
        instruction_set: "any".into(),
        functions: ["a", "b"].map(|name| FunctionEntry { name: name.into(), signature: "()".into() }).into(),
        role,
    };
    let worker = |n: u32| Role::Worker(WorkerHello::new(n, Address(format!("tcp://127.0.0.1:{n}").into()), "w"));
    vec![hello(Role::Client), hello(worker(1)), hello(worker(2)), hello(Role::Client)]
}

fn greetings() -> Vec<Greeting> {
    vec![Greeting::Client { client: ClientId(1), heartbeat_ms: 1_000 }, Greeting::Refused { reason: "no".into() }]
}

fn task(sequence: u64) -> TaskId {
    TaskId::new(ClientId(1), sequence)
}

/// A small value and one with buffers.
fn values() -> Vec<Value> {
    let buffers = vec![Buffer::from_vec(vec![1.5_f64; 3]), Buffer::from_vec(vec![7_u8; 5_000])];
    vec![Value::new(7_u64), Value::from_data(Data { header: vec![1, 2, 3], buffers })]
}

fn from_clients() -> Vec<FromClient> {
    let graph = |constants: Vec<Value>| Graph {
        functions: vec![FunctionId(0), FunctionId(1), FunctionId(0)],
        arguments: vec![ArgumentCode::Constant(0), ArgumentCode::List(2), ArgumentCode::Node(0), ArgumentCode::Node(1)],
        ends: vec![1, 1, 4],
        constants,
        ..Graph::default()
    };
    vec![
        FromClient::submit(0, graph(values()), vec![2]),
        FromClient::submit(0, graph(vec![Value::new(1_u64)]), vec![0, 2]),
        FromClient::submit(3, graph(vec![Value::new(1_u64)]), vec![1]),
        FromClient::Release { tasks: vec![task(2)] },
        FromClient::Cancel { tasks: vec![task(0), task(2)] },
        FromClient::Locate { task: task(2), tried: vec![Address("tcp://127.0.0.1:1".into())] },
        FromClient::Heartbeat,
    ]
}

fn to_clients() -> Vec<ToClient> {
    vec![
        ToClient::finished(task(1), 8, vec![Address("tcp://127.0.0.1:1".into())], Some(Value::new(1_u64))),
        ToClient::finished(task(1), 1 << 40, vec![], None),
        ToClient::Workers { workers: Vec::new() },
        ToClient::Heartbeat,
    ]
}

fn from_workers() -> Vec<FromWorker> {
    vec![
        FromWorker::Started { task: task(0), attempt: Attempt(0) },
        FromWorker::finished(task(0), Attempt(0), 8, 1_000, Some(Value::new(1_u64))),
        FromWorker::finished(task(1), Attempt(0), 1 << 50, u64::MAX, None),
        FromWorker::Failed { task: task(0), attempt: Attempt(0), failure: Failure::Panic("no".into()) },
        FromWorker::Holds { tasks: vec![task(0), task(1)] },
        FromWorker::Missing { task: task(0), tried: vec![Address("tcp://127.0.0.1:2".into())] },
        FromWorker::Heartbeat,
    ]
}

fn to_workers() -> Vec<ToWorker> {
    vec![
        ToWorker::Compute(Compute {
            task: task(2),
            attempt: Attempt(0),
            function: FunctionId(0),
            priority: Priority::default(),
            wanted: true,
            arguments: [ArgumentCode::Constant(0), ArgumentCode::Task(task(1))].into(),
            fetch: Vec::new(),
            n_constants: 2,
            gang: None,
            constants: values().into(),
            expected_bytes: 0,
        }),
        ToWorker::Located { task: task(1), holders: vec![Address("tcp://127.0.0.1:2".into())] },
        ToWorker::Drop { tasks: vec![task(1)] },
        ToWorker::Cancel { task: task(1), attempt: Attempt(1) },
        ToWorker::Shutdown,
        ToWorker::Heartbeat,
    ]
}

fn from_peers() -> Vec<FromPeer> {
    vec![FromPeer::Get { tasks: vec![task(1), task(2)] }]
}

fn to_peers() -> Vec<ToPeer> {
    vec![ToPeer::Got { task: task(1), value: values().pop() }, ToPeer::Missing { task: task(2) }]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A small generator: tests need variety, not quality.
    struct Dice(u64);

    impl Dice {
        fn next(&mut self) -> u64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            self.0 >> 33
        }

        fn byte(&mut self) -> u8 {
            self.next().to_le_bytes()[0]
        }

        fn bytes(&mut self, most: u64) -> Vec<u8> {
            let n = self.next() % most;
            (0..n).map(|_| self.byte()).collect()
        }
    }

    /// Calls `target` with one input after the other: `n` times, or for `PHALANX_FUZZ_SECONDS` where that is set.
    fn drive(seed: u64, n: u64, mut target: impl FnMut(&mut Dice)) {
        let seconds = std::env::var("PHALANX_FUZZ_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
        let end = seconds.map(|seconds| std::time::Instant::now() + Duration::from_secs(seconds));
        // Another seed in every long run, which says it where something is found.
        let seed = if end.is_some() { u64::from(std::process::id()) << 20 | seed } else { seed };
        let mut dice = Dice(seed);
        for round in 0.. {
            if end.map_or(round >= n, |end| std::time::Instant::now() >= end) {
                return;
            }
            let state = dice.0;
            let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| target(&mut dice)));
            assert!(found.is_ok(), "found with Dice({state})");
        }
    }

    #[test]
    fn frames_with_errors_in_them_are_refused_or_read_and_never_a_panic() {
        drive(1, 40_000, |dice| frames(&dice.bytes(60)));
    }

    #[test]
    fn openings_with_errors_in_them_let_nobody_in() {
        drive(2, 40_000, |dice| opening(&dice.bytes(30)));
    }

    #[test]
    fn whatever_greeted_programs_say_the_scheduler_stays_whole() {
        drive(3, 3_000, |dice| {
            let mut input = Vec::new();
            for _ in 0..40 {
                // Most messages are right in themselves, so that they have an effect.
                let edits = if dice.byte() < 200 { vec![dice.byte()] } else { dice.bytes(14) };
                input.extend_from_slice(&[dice.byte(), edits.len() as u8]);
                input.extend_from_slice(&edits);
            }
            scheduler(&input);
        });
    }
}
