//! What a scheduler says of its load.

use super::*;
use crate::{
    adaptive::{Load, WorkerLoad},
    request::{Reply, Request},
};

fn load(world: &mut World) -> Load {
    let commands = world.client(FromClient::Ask { ticket: 7, request: Request::Load });
    match &*commands {
        [Command::ToClient { client: CLIENT, message: ToClient::Reply { ticket: 7, reply: Reply::Load { load } } }] => {
            load.clone()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_load_counts_what_runs_what_waits_and_what_is_held() {
    let mut world = World::new(&[]);
    assert_eq!(load(&mut world), Load::default());
    // Nothing is known of the function yet: 10 ms each.
    world.submits(graph(&[(INC, &[]), (INC, &[]), (INC, &[])]), &[0, 1, 2]);
    assert_eq!(load(&mut world), Load { expected_ns: 3 * 10_000_000, n_ready: 3, workers: vec![] });
    world.joins(0, 1);
    let worker = WorkerLoad {
        worker: WorkerId(0),
        name: "w0".into(),
        n_threads: 1,
        n_tasks: 1,
        n_bytes: 0,
        budget: None,
        is_pinned: false,
    };
    let expected = Load { expected_ns: 3 * 10_000_000, n_ready: 3, workers: vec![worker.clone()] };
    assert_eq!(load(&mut world), expected);
    for sequence in 0..3 {
        world.finishes(0, sequence);
    }
    let expected = Load { expected_ns: 0, n_ready: 0, workers: vec![WorkerLoad { n_tasks: 0, n_bytes: 24, ..worker }] };
    assert_eq!(load(&mut world), expected);
}
