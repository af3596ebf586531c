//! Connections keep order, say what is wrong, and are made only where they may be.
#![allow(clippy::unwrap_used)]

use phalanx_engine::{
    data::{Buffer, Data},
    id::{ClientId, TaskId},
    message::{FromPeer, ToPeer},
    value::Value,
};

use tokio::io::AsyncWriteExt;

use super::*;

fn task(sequence: u64) -> TaskId {
    TaskId::new(ClientId(1), sequence)
}

async fn any_port() -> (TcpListener, String) {
    listen("tcp://127.0.0.1:0", &Guard::default()).await.unwrap()
}

async fn ends() -> (Link, Link) {
    let (listener, url) = any_port().await;
    let guard = Guard::default();
    let accept = async { Link::from(listener.accept().await.unwrap().0, Channel::Data, &guard).await };
    let (here, there) = tokio::join!(Link::to(&url, Channel::Data, &guard), accept);
    (here.unwrap(), there.unwrap())
}

#[tokio::test]
async fn large_values_and_small_messages_keep_their_order() {
    let (here, there) = ends().await;
    // Both halves stay: a socket that is closed with something unread in it is reset, and what it sent may be lost.
    let (sender, _unread): (Sender<ToPeer>, Receiver<FromPeer>) = here.typed();
    let (_back, mut receiver): (Sender<FromPeer>, Receiver<ToPeer>) = there.typed();
    let value = |n: u64| {
        let buffer = Buffer::from_vec(vec![n; 1_500_000]);
        Value::from_data(Data { header: vec![1], buffers: vec![buffer] })
    };
    let messages: Vec<ToPeer> = (0..6)
        .map(|n| match n % 2 {
            0 => ToPeer::Got { task: task(n), value: Some(value(n)) },
            _ => ToPeer::Missing { task: task(n) },
        })
        .collect();
    for message in messages.clone() {
        sender.send(message).unwrap();
    }
    sender.flush();
    let drain = async {
        sender.drained(0).await;
        drop(sender);
    };
    let mut received = Vec::new();
    let receive = async { while receiver.recv(&mut received).await.unwrap() {} };
    tokio::join!(drain, receive);
    assert_eq!(received, messages);
}

#[tokio::test]
async fn what_may_go_later_goes_without_being_asked_for_again() {
    let (here, there) = ends().await;
    let (sender, _unread): (Sender<ToPeer>, Receiver<FromPeer>) = here.typed();
    let (_back, mut receiver): (Sender<FromPeer>, Receiver<ToPeer>) = there.typed();
    // Also the second time, and where somebody else was in a hurry in between.
    for (round, is_hurried) in [false, false, true, false].into_iter().enumerate() {
        let messages: Vec<ToPeer> = (0..3).map(|n| ToPeer::Missing { task: task(10 * round as u64 + n) }).collect();
        for message in messages.clone() {
            sender.send(message).unwrap();
            sender.flush_later();
        }
        if is_hurried {
            sender.flush();
        }
        let mut received = Vec::new();
        while received.len() < messages.len() {
            assert!(receiver.recv(&mut received).await.unwrap());
        }
        assert_eq!(received, messages);
    }
}

#[tokio::test]
async fn a_value_may_come_in_pieces() {
    let (here, there) = ends().await;
    let (sender, _unread): (Sender<ToPeer>, Receiver<FromPeer>) = here.typed();
    let (_back, mut receiver): (Sender<FromPeer>, Receiver<ToPeer>) = there.typed();
    let data =
        Data { header: vec![7; 3], buffers: vec![Buffer::from_vec(vec![1.5; 300]), Buffer::from_vec(vec![2_u8; 5])] };
    assert!(sender.open(&ToPeer::Got { task: task(1), value: None }, &crate::wire::shape(&data).unwrap()).unwrap());
    let bytes = [&data.header[..], data.buffers[0].as_bytes(), data.buffers[1].as_bytes()].concat();
    for piece in bytes.chunks(1_000) {
        sender.add(piece.to_vec());
        sender.flush();
    }
    sender.send(ToPeer::Missing { task: task(2) }).unwrap();
    sender.flush();
    let mut received = Vec::new();
    while received.len() < 2 {
        assert!(receiver.recv(&mut received).await.unwrap());
    }
    let [ToPeer::Got { task: got, value: Some(value) }, ToPeer::Missing { task: missing }] = &received[..] else {
        panic!("{received:?}");
    };
    assert_eq!((*got, *missing, value.to_data().unwrap()), (task(1), task(2), data));
}

#[tokio::test]
async fn who_hangs_up_in_the_middle_of_a_message_is_an_error() {
    let (listener, url) = any_port().await;
    let opening = [&b"PHALANX\n\x01\x02\0\0\0\0\0\0"[..], &[7; 32]].concat();
    let say = async {
        let mut here = TcpStream::connect(url.strip_prefix("tcp://").unwrap()).await.unwrap();
        here.write_all(&opening).await.unwrap();
        here.write_all(b"\x10\0").await.unwrap();
    };
    let (there, ()) = tokio::join!(listener.accept(), say);
    let there = Link::from(there.unwrap().0, Channel::Data, &Guard::default()).await.unwrap();
    let (_sender, mut receiver): (Sender<ToPeer>, Receiver<FromPeer>) = there.typed();
    assert_eq!(receiver.recv(&mut Vec::new()).await, Err(FrameError::Truncated));
}

#[tokio::test]
async fn only_loopback_is_listened_on() {
    for url in ["tcp://0.0.0.0:0", "tcp://[::]:0", "tcp://192.168.1.1:0"] {
        assert_eq!(listen(url, &Guard::default()).await.err(), Some(Error::NotLoopback { url: url.into() }));
    }
    assert!(listen("tcp://localhost:0", &Guard::default()).await.is_ok());
}

#[tokio::test]
async fn what_is_no_address_is_said() {
    for (url, reason) in [
        ("127.0.0.1:8786", "it does not begin with tcp://"),
        ("tcp://127.0.0.1", "it has no port"),
        ("tcp://:8786", "it has no host"),
        ("tcp://127.0.0.1:99999", "its port is not a number from 0 to 65535"),
    ] {
        let error = listen(url, &Guard::default()).await.err();
        assert_eq!(error, Some(Error::Address { url: url.into(), reason: reason.into() }));
    }
}

#[tokio::test]
async fn nobody_there_is_said_with_what_to_do() {
    let (listener, url) = any_port().await;
    drop(listener);
    let hello = crate::handshake::hello(phalanx_engine::message::Role::Client, "test").unwrap();
    let joined = Destination::Tcp(url.clone(), Arc::default())
        .join::<FromClient, ToClient>(hello, Duration::ZERO, Line::Client)
        .await;
    let said = joined.err().unwrap().to_string();
    let expected = "(connection refused); start one with `phalanx scheduler`";
    assert_eq!(said, format!("no scheduler answers at {url} {expected}"));
}

#[tokio::test]
async fn somebody_else_is_recognised() {
    let (listener, url) = any_port().await;
    let hello = crate::handshake::hello(phalanx_engine::message::Role::Client, "test").unwrap();
    let destination = Destination::Tcp(url.clone(), Arc::default());
    let join = destination.join::<FromClient, ToClient>(hello, Duration::ZERO, Line::Client);
    let serve = async {
        let (stream, _) = listener.accept().await.unwrap();
        stream.writable().await.unwrap();
        stream.try_write(b"220 mail.example.org ESMTP\r\n").unwrap();
        stream
    };
    let (joined, _stream) = tokio::join!(join, serve);
    let reason = "the other end does not speak Phalanx's protocol".into();
    assert_eq!(joined.err(), Some(Error::NotAScheduler { url, reason }));
}

#[tokio::test]
async fn a_scheduler_that_hangs_up_during_the_greeting_is_looked_for_again() {
    let (listener, url) = any_port().await;
    let hello = crate::handshake::hello(phalanx_engine::message::Role::Client, "test").unwrap();
    let destination = Destination::Tcp(url, Arc::default());
    let join = destination.join::<FromClient, ToClient>(hello, PATIENCE, Line::Client);
    let serve = async {
        drop(listener.accept().await.unwrap());
        let arrival = Arrival::of(listener.accept().await.unwrap().0, &Guard::default()).await.unwrap();
        arrival.answer.give(Greeting::Client { client: ClientId(7), heartbeat_ms: 1_000 });
        arrival.line
    };
    let (joined, _line) = tokio::join!(join, serve);
    assert_eq!(joined.unwrap().0, Greeting::Client { client: ClientId(7), heartbeat_ms: 1_000 });
}
