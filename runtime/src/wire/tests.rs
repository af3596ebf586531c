//! What comes out of frames is what went in, however the bytes are cut; and garbage is an error, never a panic.
#![allow(clippy::unwrap_used)]

use phalanx_engine::{
    graph::{ArgumentCode, Graph},
    id::{Attempt, ClientId, FunctionId, TaskId},
    message::{Address, Compute, Priority},
    value::Portable,
};

use super::*;

/// A small generator: tests need variety, not quality.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next()).unwrap() % n
    }
}

fn bytes_of<M: Wire>(messages: impl IntoIterator<Item = M>) -> Vec<u8> {
    let mut parts = Parts::default();
    messages.into_iter().for_each(|message| parts.push(message).unwrap());
    drain(&mut parts)
}

/// Writes as a socket would that takes at most 1,000 bytes at a time.
fn drain(parts: &mut Parts) -> Vec<u8> {
    let mut written = Vec::new();
    while parts.n_bytes() > 0 {
        let mut slices = [IoSlice::new(&[]); 3];
        let n = parts.slices(&mut slices);
        let before = written.len();
        for slice in &slices[..n] {
            let room = 1_000 - (written.len() - before);
            written.extend_from_slice(&slice[..slice.len().min(room)]);
        }
        let n_written = written.len() - before;
        parts.advance(n_written);
    }
    written
}

fn feed<M: Wire>(decoder: &mut Decoder, mut bytes: &[u8], step: usize) -> Result<Vec<M>, FrameError> {
    let mut messages = Vec::new();
    while !bytes.is_empty() {
        let space = decoder.space();
        let n = space.len().min(bytes.len()).min(step);
        space[..n].copy_from_slice(&bytes[..n]);
        decoder.filled(n);
        bytes = &bytes[n..];
        while let Some(message) = decoder.next()? {
            messages.push(message);
        }
    }
    Ok(messages)
}

fn task(sequence: u64) -> TaskId {
    TaskId::new(ClientId(1), sequence)
}

fn array(n: usize) -> Value {
    let numbers: Vec<u64> = (0..n as u64).collect();
    let shape = n.to_le_bytes().to_vec();
    Value::from_data(Data { header: shape, buffers: vec![Buffer::from_vec(numbers), Buffer::from_vec(vec![7_u8; 5])] })
}

/// An array as the array crate moves it: the received memory becomes the vector's.
struct Numbers(Vec<f64>);

impl Portable for Numbers {
    fn encode(&self) -> Result<Data, DataError> {
        Ok(Data { header: Vec::new(), buffers: vec![Buffer::from_vec(self.0.clone())] })
    }

    fn decode(mut data: Data) -> Result<Self, DataError> {
        data.buffers.remove(0).into_vec().map(Self)
    }

    fn n_bytes(&self) -> u64 {
        8 * self.0.len() as u64
    }
}

fn some_messages() -> Vec<ToWorker> {
    let compute = |n: usize, constants: Vec<Value>| {
        ToWorker::Compute(Compute {
            task: task(n as u64),
            attempt: Attempt(0),
            function: FunctionId(3),
            priority: Priority::default(),
            wanted: true,
            arguments: [ArgumentCode::Constant(0), ArgumentCode::Task(task(1))].into(),
            fetch: vec![],
            n_constants: u32::try_from(constants.len()).unwrap(),
            gang: None,
            constants: constants.into(),
            expected_bytes: 0,
        })
    };
    vec![
        ToWorker::Heartbeat,
        compute(1, vec![]),
        compute(2, vec![Value::new(String::from("small")), array(3)]),
        compute(3, vec![array(40_000)]),
        compute(4, vec![Value::from_data(Data::default()), Value::new("x".repeat(300_000)), array(0)]),
        ToWorker::Drop { tasks: (0..100).map(task).collect() },
    ]
}

#[test]
fn messages_come_out_as_they_went_in_however_the_bytes_are_cut() {
    let bytes = bytes_of(some_messages());
    for step in [1, 7, 4_096, 70_000, usize::MAX] {
        let mut decoder = Decoder::new(Limits::SESSION);
        let messages: Vec<ToWorker> = feed(&mut decoder, &bytes, step).unwrap();
        assert_eq!(messages, some_messages(), "in steps of {step}");
        assert!(decoder.between_frames());
    }
}

#[test]
fn a_large_buffer_is_sent_from_where_it_lies() {
    let buffer = Buffer::from_vec(vec![1.0_f64; 100_000]);
    let address = buffer.as_bytes().as_ptr();
    let value = Value::from_data(Data { header: vec![], buffers: vec![buffer] });
    let mut parts = Parts::default();
    parts.push(ToPeer::Got { task: task(1), value: Some(value) }).unwrap();
    let mut slices = [IoSlice::new(&[]); 8];
    let n = parts.slices(&mut slices);
    assert!(slices[..n].iter().any(|slice| slice.as_ptr() == address));
}

#[test]
fn a_large_buffer_is_received_where_it_stays() {
    let sent = Buffer::from_vec(vec![1.5_f64; 1_000_000]);
    let value = Value::from_data(Data { header: vec![], buffers: vec![sent] });
    let bytes = bytes_of([ToPeer::Got { task: task(1), value: Some(value) }]);
    let mut decoder = Decoder::new(Limits::SESSION);
    let (first, rest) = bytes.split_at(1_000);
    assert_eq!(feed::<ToPeer>(&mut decoder, first, usize::MAX).unwrap(), []);
    let target = decoder.space().as_ptr();
    assert!(decoder.space().len() > 7_000_000, "the whole rest can be read at once");
    let messages = feed::<ToPeer>(&mut decoder, rest, usize::MAX).unwrap();
    let [ToPeer::Got { value: Some(value), .. }] = &messages[..] else { panic!("{messages:?}") };
    let numbers = value.get::<Numbers>().unwrap();
    assert!(numbers.0.as_ptr_range().contains(&target.cast()), "the array has the memory that was read into");
    assert!(numbers.0 == vec![1.5; 1_000_000]);
}

#[test]
fn every_truncation_waits_for_more_and_is_no_message() {
    let messages = some_messages().into_iter().take(3).collect::<Vec<_>>();
    let bytes = bytes_of(messages.clone());
    for len in 0..bytes.len() {
        let mut decoder = Decoder::new(Limits::SESSION);
        let read: Vec<ToWorker> = feed(&mut decoder, &bytes[..len], usize::MAX).unwrap();
        assert_eq!(read, messages[..read.len()]);
        assert!(read.len() < messages.len());
    }
}

#[test]
fn an_error_stays() {
    let mut decoder = Decoder::new(Limits::GREETING);
    let wrong = Err(FrameError::Kind { expected: <Hello as Wire>::KIND, found: b'?' });
    assert_eq!(feed::<Hello>(&mut decoder, b"\x09\0\0\0?", 1), wrong);
    assert_eq!(decoder.next::<Hello>().map(|_| Vec::new()), wrong);
}

#[test]
fn random_bytes_are_an_error_and_never_a_panic() {
    let mut dice = Dice(1);
    for round in 0..20_000 {
        let mut bytes = Vec::new();
        if round % 4 == 0 {
            // A head that looks right, so that what comes after is reached.
            bytes.extend_from_slice(&u32::try_from(dice.below(300)).unwrap().to_le_bytes());
            bytes.push(<ToWorker as Wire>::KIND);
            bytes.extend_from_slice(&u32::try_from(dice.below(60)).unwrap().to_le_bytes());
        }
        for _ in 0..dice.below(400) {
            bytes.push(dice.next().to_le_bytes()[0]);
        }
        for limits in [Limits::GREETING, Limits::SESSION] {
            let step = 1 + dice.below(100);
            let mut decoder = Decoder::new(limits);
            let _ = feed::<ToWorker>(&mut decoder, &bytes, step);
        }
    }
}

#[test]
fn flipped_bits_are_another_message_or_an_error_and_never_a_panic() {
    let good = bytes_of(some_messages().into_iter().take(3));
    let mut dice = Dice(2);
    for _ in 0..20_000 {
        let mut bytes = good.clone();
        for _ in 0..=dice.below(3) {
            let place = dice.below(bytes.len());
            bytes[place] ^= 1 << dice.below(8);
        }
        let mut decoder = Decoder::new(Limits::SESSION);
        let _ = feed::<ToWorker>(&mut decoder, &bytes, 50);
    }
}

#[test]
fn a_liar_makes_nobody_reserve_what_he_does_not_send() {
    let head = |shapes: &[u8]| {
        let body = postcard::to_stdvec(&ToPeer::Got { task: task(1), value: None }).unwrap();
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&u32::try_from(1 + 4 + body.len() + 4 + shapes.len()).unwrap().to_le_bytes());
        bytes.push(<ToPeer as Wire>::KIND);
        bytes.extend_from_slice(&u32::try_from(body.len()).unwrap().to_le_bytes());
        bytes.extend_from_slice(&body);
        bytes.extend_from_slice(&1_u32.to_le_bytes());
        bytes.extend_from_slice(shapes);
        bytes
    };
    let shape =
        |header: u64, buffer: u64| [&header.to_le_bytes()[..], &1_u32.to_le_bytes(), &buffer.to_le_bytes()].concat();
    // 2^45 bytes of buffer, of header: reserved are what was sent and a fixed amount.
    for shape in [shape(0, 1 << 45), shape(1 << 45, 0)] {
        let mut decoder = Decoder::new(Limits::SESSION);
        assert_eq!(feed::<ToPeer>(&mut decoder, &head(&shape), usize::MAX), Ok(vec![]));
        assert!(decoder.space().len() <= CLAIM);
        let sent = vec![1; 100_000];
        assert_eq!(feed::<ToPeer>(&mut decoder, &sent, 10_000), Ok(vec![]));
        assert!(decoder.space().len() <= CLAIM);
    }
    // More than a frame may have, and more values than the head has room for.
    let too_large = feed::<ToPeer>(&mut Decoder::new(Limits::SESSION), &head(&shape(1 << 63, 1 << 63)), usize::MAX);
    assert!(matches!(too_large, Err(FrameError::TooLarge { what: "values", .. })), "{too_large:?}");
    let too_many = [&0_u64.to_le_bytes()[..], &u32::MAX.to_le_bytes()].concat();
    let too_many = feed::<ToPeer>(&mut Decoder::new(Limits::SESSION), &head(&too_many), usize::MAX);
    assert_eq!(too_many, Err(FrameError::Short { what: "table of values" }));
    // A stranger may send no values at all, and no large head.
    let stranger = feed::<ToPeer>(&mut Decoder::new(Limits::GREETING), &head(&shape(0, 8)), usize::MAX);
    assert_eq!(stranger, Err(FrameError::TooLarge { what: "values", claimed: 8, limit: 0 }));
    let long = feed::<Hello>(&mut Decoder::new(Limits::GREETING), &u32::MAX.to_le_bytes(), usize::MAX);
    assert!(matches!(long, Err(FrameError::TooLarge { what: "head", .. })), "{long:?}");
}

#[test]
fn a_buffer_beyond_the_first_claim_grows_with_what_arrives() {
    let n = (CLAIM + (CLAIM / 2)) / 8;
    let numbers: Vec<u64> = (0..n as u64).collect();
    let value = Value::from_data(Data { header: vec![1], buffers: vec![Buffer::from_vec(numbers.clone())] });
    let bytes = bytes_of([ToPeer::Got { task: task(1), value: Some(value) }, ToPeer::Missing { task: task(2) }]);
    let mut decoder = Decoder::new(Limits::SESSION);
    let messages: Vec<ToPeer> = feed(&mut decoder, &bytes, usize::MAX).unwrap();
    let [ToPeer::Got { value: Some(value), .. }, ToPeer::Missing { .. }] = &messages[..] else { panic!() };
    let buffer = value.to_data().unwrap().buffers.remove(0);
    assert!(buffer.into_vec::<u64>().unwrap() == numbers);
}

#[test]
fn the_wrong_kind_is_refused_before_the_frame_is_complete() {
    let bytes = bytes_of([FromPeer::Get { tasks: vec![task(1)] }]);
    let mut decoder = Decoder::new(Limits::SESSION);
    let found = feed::<FromClient>(&mut decoder, &bytes[..5], usize::MAX);
    assert_eq!(found, Err(FrameError::Kind { expected: <FromClient as Wire>::KIND, found: <FromPeer as Wire>::KIND }));
}

#[test]
fn a_submission_of_many_small_constants_is_one_part() {
    let constants: Vec<Value> = (0..10_000_u64).map(Value::new).collect();
    let graph = Graph { constants, ..Graph::default() };
    let sent = FromClient::submit(0, graph, vec![]);
    let mut decoder = Decoder::new(Limits::SESSION);
    let messages: Vec<FromClient> = feed(&mut decoder, &bytes_of([sent.clone()]), 1_460).unwrap();
    assert_eq!(messages, [sent]);
    let located = FromClient::Locate { task: task(3), tried: vec![Address("tcp://127.0.0.1:9".into())] };
    assert_eq!(feed(&mut decoder, &bytes_of([located.clone()]), 1), Ok(vec![located]));
}
