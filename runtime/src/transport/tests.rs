//! Connections keep order, say what is wrong, and are made only where they may be.
#![allow(clippy::unwrap_used)]

use phalanx_engine::{
    data::{Buffer, Data},
    id::{ClientId, TaskId},
    message::{FromPeer, ToPeer},
    value::Value,
};

use super::*;

fn task(sequence: u64) -> TaskId {
    TaskId::new(ClientId(1), sequence)
}

async fn ends() -> (Link, Link) {
    let (listener, url) = listen("tcp://127.0.0.1:0").await.unwrap();
    let (here, there) = tokio::join!(connect(&url), listener.accept());
    (Link::new(here.unwrap()), Link::new(there.unwrap().0))
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
async fn who_hangs_up_in_the_middle_of_a_message_is_an_error() {
    let (listener, url) = listen("tcp://127.0.0.1:0").await.unwrap();
    let (here, there) = tokio::join!(connect(&url), listener.accept());
    here.unwrap().try_write(b"PHALANX\n\x10\0").unwrap();
    let (_sender, mut receiver): (Sender<ToPeer>, Receiver<FromPeer>) = Link::new(there.unwrap().0).typed();
    assert_eq!(receiver.recv(&mut Vec::new()).await, Err(FrameError::Truncated));
}

#[tokio::test]
async fn only_loopback_is_listened_on() {
    for url in ["tcp://0.0.0.0:0", "tcp://[::]:0", "tcp://192.168.1.1:0"] {
        assert_eq!(listen(url).await.err(), Some(Error::NotLoopback { url: url.into() }));
    }
    assert!(listen("tcp://localhost:0").await.is_ok());
}

#[tokio::test]
async fn what_is_no_address_is_said() {
    for (url, reason) in [
        ("127.0.0.1:8786", "it does not begin with tcp://"),
        ("tcp://127.0.0.1", "it has no port"),
        ("tcp://:8786", "it has no host"),
        ("tcp://127.0.0.1:99999", "its port is not a number from 0 to 65535"),
    ] {
        let error = listen(url).await.err();
        assert_eq!(error, Some(Error::Address { url: url.into(), reason: reason.into() }));
    }
}

#[tokio::test]
async fn nobody_there_is_said_with_what_to_do() {
    let (listener, url) = listen("tcp://127.0.0.1:0").await.unwrap();
    drop(listener);
    let hello = crate::handshake::hello(phalanx_engine::message::Role::Client, "test").unwrap();
    let joined = Destination::Tcp(url.clone()).join::<FromClient, ToClient>(hello, Duration::ZERO, Line::Client).await;
    let said = joined.err().unwrap().to_string();
    let expected = "(connection refused); start one with `phalanx scheduler`";
    assert_eq!(said, format!("no scheduler answers at {url} {expected}"));
}

#[tokio::test]
async fn somebody_else_is_recognised() {
    let (listener, url) = listen("tcp://127.0.0.1:0").await.unwrap();
    let hello = crate::handshake::hello(phalanx_engine::message::Role::Client, "test").unwrap();
    let destination = Destination::Tcp(url.clone());
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
    let (listener, url) = listen("tcp://127.0.0.1:0").await.unwrap();
    let hello = crate::handshake::hello(phalanx_engine::message::Role::Client, "test").unwrap();
    let destination = Destination::Tcp(url);
    let join = destination.join::<FromClient, ToClient>(hello, PATIENCE, Line::Client);
    let serve = async {
        drop(listener.accept().await.unwrap());
        let arrival = Arrival::of(listener.accept().await.unwrap().0).await.unwrap();
        arrival.answer.give(Greeting::Client { client: ClientId(7), heartbeat_ms: 1_000 });
        arrival.line
    };
    let (joined, _line) = tokio::join!(join, serve);
    assert_eq!(joined.unwrap().0, Greeting::Client { client: ClientId(7), heartbeat_ms: 1_000 });
}
