//! Programs that do not fit together are told so over a real connection, with what differs on either side.
#![allow(clippy::unwrap_used)]

use std::{sync::Arc, time::Duration};

use phalanx_engine::{
    graph::Graph,
    id::{FunctionId, TaskId},
    message::{FromClient, FromWorker, Greeting, ToClient, ToWorker, WorkerHello},
    task::{FunctionEntry, TaskError},
};

use super::*;
use crate::{
    Error, Scheduler, SchedulerOptions, WorkerOptions,
    io::Spawned,
    run_worker,
    transport::{Destination, Line, Receiver, Sender},
};

/// A scheduler that listens, and how to reach it.
async fn scheduler() -> (Destination, Spawned) {
    let options = SchedulerOptions { listen: "tcp://127.0.0.1:0".into(), ..SchedulerOptions::default() };
    let scheduler = Scheduler::bind(&options).await.unwrap();
    let url: Arc<str> = scheduler.url().into();
    let running = Spawned::on(&tokio::runtime::Handle::current(), scheduler.run(std::future::pending()));
    (Destination::Tcp(url.as_ref().into(), options.security.load().unwrap()), running)
}

async fn join_as_client(at: &Destination, hello: Hello) -> Result<(Greeting, Sender<FromClient>, Receiver<ToClient>)> {
    at.join::<FromClient, ToClient>(hello, Duration::from_secs(5), Line::Client).await
}

fn client() -> Hello {
    hello(Role::Client, &instruction_set()).unwrap()
}

fn refusal<T>(joined: Result<T>) -> String {
    match joined {
        Err(Error::Refused { reason, .. }) => reason,
        Err(error) => panic!("{error} is no refusal"),
        Ok(_) => panic!("it was let in"),
    }
}

#[tokio::test]
async fn one_name_with_two_signatures_is_refused_showing_both() {
    let (at, _running) = scheduler().await;
    let ours = client();
    let _first = join_as_client(&at, ours.clone()).await.unwrap();
    let mut theirs = ours.clone();
    theirs.functions[0].signature = "(u8) -> u8".into();
    let FunctionEntry { name, signature } = &ours.functions[0];
    let expected = format!(
        "the task {name} is (u8) -> u8 in this program but {signature} in others of the cluster; build both from one source"
    );
    assert_eq!(refusal(join_as_client(&at, theirs.clone()).await), expected);
    // A worker is held to the same.
    let address = phalanx_engine::message::Address("tcp://127.0.0.1:1".into());
    theirs.role = Role::Worker(WorkerHello::new(1, address, "w"));
    let joined = at.join::<FromWorker, ToWorker>(theirs, Duration::from_secs(5), Line::Worker).await;
    assert_eq!(refusal(joined), expected);
}

#[tokio::test]
async fn another_version_is_refused_whichever_is_the_newer() {
    let (at, _running) = scheduler().await;
    for protocol in [PROTOCOL - 1, PROTOCOL + 1] {
        let stranger = Hello { protocol, version: "9.8.7".into(), ..client() };
        let here = env!("CARGO_PKG_VERSION");
        let expected = format!(
            "it speaks protocol {protocol} (phalanx 9.8.7), this cluster protocol {PROTOCOL} (phalanx {here}); use one version"
        );
        assert_eq!(refusal(join_as_client(&at, stranger).await), expected);
    }
}

#[tokio::test]
async fn a_task_that_no_worker_knows_fails_by_its_name() {
    let (at, _running) = scheduler().await;
    let Destination::Tcp(url, _) = &at else { panic!("a port") };
    let (url, options) = (url.to_string(), WorkerOptions { n_threads: 1, ..WorkerOptions::default() });
    let worker = async move { run_worker(&url, &options, std::future::pending()).await.unwrap() };
    let _worker = Spawned::on(&tokio::runtime::Handle::current(), worker);
    let mut hello = client();
    hello.functions.push(FunctionEntry { name: "zeta.unknown".into(), signature: "() -> f64".into() });
    let function = FunctionId(hello.functions.len() as u32 - 1);
    let (greeting, sender, mut receiver) = join_as_client(&at, hello).await.unwrap();
    let Greeting::Client { client, .. } = greeting else { panic!("a client's greeting") };
    let mut heard = Vec::new();
    // Work without a worker would only wait.
    while !heard.iter().any(|said| matches!(said, ToClient::Workers { workers } if !workers.is_empty())) {
        assert!(receiver.recv(&mut heard).await.unwrap());
    }
    let graph = Graph { functions: vec![function], ends: vec![0], ..Graph::default() };
    sender.send(FromClient::submit(0, graph, vec![0])).unwrap();
    sender.flush();
    let failed = loop {
        let found = heard.drain(..).find_map(|said| match said {
            ToClient::Failed { task, error } => Some((task, error)),
            _ => None,
        });
        match found {
            Some(found) => break found,
            None => assert!(receiver.recv(&mut heard).await.unwrap()),
        }
    };
    assert_eq!(failed, (TaskId::new(client, 0), TaskError::UnknownFunction { function: "zeta.unknown".into() }));
}
