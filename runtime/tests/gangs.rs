//! Gangs: members that talk to each other over sockets, beside other work and without it.
#![allow(clippy::unwrap_used)]

mod common;

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    time::Duration,
};

use common::{LONG, add, leaf, open, pass};
use libtest_mimic::{Arguments, Failed, Trial};
use phalanx_engine::{task, task::TaskError};
use phalanx_runtime::{Client, Error, GangContext, GangOptions, LocalCluster, LocalOptions, worker_client};

fn main() -> std::process::ExitCode {
    phalanx_runtime::init().unwrap();
    let test = |name: &str, run: fn()| {
        Trial::test(name, move || {
            run();
            Ok::<(), Failed>(())
        })
    };
    let tests = vec![
        test("members_in_threads_talk_to_each_other", members_in_threads_talk_to_each_other),
        test("members_in_processes_talk_to_each_other", members_in_processes_talk_to_each_other),
        test("a_gang_gets_its_places_beside_a_stream_of_tasks", a_gang_gets_its_places_beside_a_stream_of_tasks),
        test("where_a_member_fails_all_begin_anew_together", where_a_member_fails_all_begin_anew_together),
        test("a_killed_worker_begins_its_gang_anew", a_killed_worker_begins_its_gang_anew),
        test("a_gang_that_no_cluster_holds_says_so", a_gang_that_no_cluster_holds_says_so),
        test("who_cancels_one_cancels_all", who_cancels_one_cancels_all),
    ];
    libtest_mimic::run(&Arguments::from_args(), tests).exit_code()
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// Sends a number to rank 0, which sends everybody the sum: an allreduce over sockets.
fn meet(gang: &GangContext, x: u64) -> Result<u64, Error> {
    let client = worker_client()?;
    let place = client.variable::<u16>(format!("{} {}", gang.gang, gang.attempt));
    let mut number = [0; 8];
    if gang.rank == 0 {
        let listener = TcpListener::bind((gang.host(0).unwrap(), 0)).unwrap();
        client.wait(place.set(listener.local_addr().unwrap().port()))?;
        let mut others: Vec<TcpStream> = (1..gang.n_members()).map(|_| listener.accept().unwrap().0).collect();
        client.wait(place.delete())?;
        let mut sum = x;
        for other in &mut others {
            other.set_read_timeout(Some(LONG)).unwrap();
            other.read_exact(&mut number).unwrap();
            sum += u64::from_le_bytes(number);
        }
        others.iter_mut().for_each(|other| other.write_all(&sum.to_le_bytes()).unwrap());
        Ok(sum)
    } else {
        let port = client.wait(place.get())?;
        let mut first = TcpStream::connect((gang.host(0).unwrap(), port)).unwrap();
        first.set_read_timeout(Some(LONG)).unwrap();
        first.write_all(&x.to_le_bytes()).unwrap();
        first.read_exact(&mut number).unwrap();
        Ok(u64::from_le_bytes(number))
    }
}

#[task]
fn allreduce(x: u64) -> Result<(u64, u32, u32), Error> {
    let gang = GangContext::current().expect("it runs in a gang");
    Ok((meet(&gang, x)?, gang.rank, std::process::id()))
}

async fn talk(client: &Client, n_members: u64) {
    for round in 0..3 {
        let inputs: Vec<_> = client.map(0..n_members, |i| add::delayed(i, round));
        let members = client.gang(inputs.iter().map(allreduce::delayed));
        let sum = (0..n_members).map(|i| i + round).sum::<u64>();
        let told = client.gather(&members).await.unwrap();
        assert_eq!(
            told.iter().map(|(sum, rank, _)| (*sum, *rank)).collect::<Vec<_>>(),
            (0..n_members as u32).map(|rank| (sum, rank)).collect::<Vec<_>>()
        );
    }
}

fn members_in_threads_talk_to_each_other() {
    block_on(async {
        let cluster = LocalCluster::threads(3, 1).unwrap();
        let client = cluster.client().await.unwrap();
        talk(&client, 3).await;
        talk(&client, 2).await;
        let one = LocalCluster::threads(1, 3).unwrap();
        let client = one.client().await.unwrap();
        let options = GangOptions { share_workers: true, ..GangOptions::default() };
        let members = client.gang_with((0..3).map(allreduce::delayed), &options);
        assert_eq!(client.gather(&members).await.unwrap()[2].0, 3);
    });
}

fn members_in_processes_talk_to_each_other() {
    block_on(async {
        let cluster = LocalCluster::processes(2).unwrap();
        let client = cluster.client().await.unwrap();
        talk(&client, 2).await;
        let members = client.gang((0..2).map(allreduce::delayed));
        let told = client.gather(&members).await.unwrap();
        assert_ne!(told[0].2, told[1].2, "each in a process of its own");
    });
}

fn a_gang_gets_its_places_beside_a_stream_of_tasks() {
    block_on(async {
        let cluster = LocalCluster::threads(2, 1).unwrap();
        let client = cluster.client().await.unwrap();
        let before = client.map(0..2_000, leaf::delayed);
        let members = client.gang((0..2).map(allreduce::delayed));
        let after = client.map(0..2_000, leaf::delayed);
        assert_eq!(client.gather(&members).await.unwrap()[0].0, 1);
        assert_eq!(client.gather(&before).await.unwrap().len() + client.gather(&after).await.unwrap().len(), 4_000);
    });
}

/// Fails in the first attempt, where it is rank 1.
#[task]
fn fails_first(always: bool) -> Result<u32, String> {
    let gang = GangContext::current().expect("it runs in a gang");
    if gang.rank == 1 && (always || gang.attempt == 0) { Err("not yet".into()) } else { Ok(gang.attempt) }
}

fn where_a_member_fails_all_begin_anew_together() {
    block_on(async {
        let cluster = LocalCluster::threads(2, 1).unwrap();
        let client = cluster.client().await.unwrap();
        let options = GangOptions { retries: 1, ..GangOptions::default() };
        let members = client.gang_with([false; 2].map(fails_first::delayed), &options);
        assert_eq!(client.gather(&members).await, Ok(vec![1, 1]));
        let members = client.gang_with([true; 2].map(fails_first::delayed), &options);
        for member in members {
            let failed = member.await;
            let Err(Error::Task { source: TaskError::GangMember { rank: 1, n_members: 2, error } }) = &failed else {
                panic!("{failed:?}")
            };
            assert!(matches!(&**error, TaskError::Failed { tries: 2, .. }), "{error}");
        }
    });
}

/// Ends its process in the first attempt, once the other one is there.
#[task]
fn dies_first() -> Result<u64, Error> {
    let gang = GangContext::current().expect("it runs in a gang");
    if gang.attempt == 0 {
        if gang.rank == 1 {
            std::process::abort();
        }
        return Ok(0);
    }
    meet(&gang, u64::from(gang.attempt))
}

fn a_killed_worker_begins_its_gang_anew() {
    block_on(async {
        let options = LocalOptions { n_workers: 2, n_threads: Some(1), processes: true, ..LocalOptions::default() };
        let cluster = LocalCluster::start(options).unwrap();
        let client = cluster.client().await.unwrap();
        let members = client.gang([(); 2].map(|()| dies_first::delayed()));
        let sums = client.gather(&members).await.unwrap();
        assert!(sums[0] >= 2 && sums[0] == sums[1], "{sums:?}");
    });
}

fn a_gang_that_no_cluster_holds_says_so() {
    block_on(async {
        let cluster = LocalCluster::threads(2, 4).unwrap();
        let client = cluster.client().await.unwrap();
        let options = GangOptions { wait_timeout: Some(Duration::from_millis(50)), ..GangOptions::default() };
        let members = client.gang_with((0..3).map(allreduce::delayed), &options);
        let failed = client.gather(&members).await;
        let Err(Error::Task { source: TaskError::NoSuitableWorker { missing, .. } }) = &failed else {
            panic!("{failed:?}")
        };
        assert!(missing.starts_with("3 workers at once"), "{missing}");
        assert_eq!(client.compute(&leaf::delayed(7)).await, Ok(7), "others are not held up");
    });
}

#[task]
fn waits() -> u32 {
    open("a member is there");
    pass("members may go");
    0
}

fn who_cancels_one_cancels_all() {
    block_on(async {
        let cluster = LocalCluster::threads(2, 1).unwrap();
        let client = cluster.client().await.unwrap();
        let members = client.gang([(); 2].map(|()| waits::delayed()));
        pass("a member is there");
        client.cancel(&members[1..]);
        for member in members {
            let ended = member.await;
            assert!(matches!(ended, Err(Error::Task { source: TaskError::Cancelled })), "{ended:?}");
        }
        open("members may go");
    });
}
