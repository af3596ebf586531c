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

#[test]
fn the_load_is_soon_within_twice_of_what_it_is() {
    // test_scheduler: learn_occupancy, learn_occupancy_2.
    let mut world = World::new(&[1]);
    let mut sequence = 0;
    // Nothing is known at first; then what was known is wrong, by far and either way.
    for (millis, n_runs) in [(200, 1), (2_000, 6), (20, 16)] {
        let n_left = 50;
        let n = n_runs + n_left;
        world.submits(graph(&vec![(INC, &[] as &[ArgumentCode]); n as usize]), &(0..n).collect::<Vec<_>>());
        for _ in 0..n_runs {
            world.finishes_after(0, sequence, 0, 8, millis * 1_000_000);
            sequence += 1;
        }
        let is = u64::from(n_left) * millis * 1_000_000;
        let said = load(&mut world).expected_ns;
        assert!(is / 2 < said && said < is * 2, "{said} ns are said where {is} are left");
        world.client(release(&(sequence..sequence + u64::from(n_left)).collect::<Vec<_>>()));
        sequence += u64::from(n_left);
        assert_eq!(load(&mut world).expected_ns, 0);
    }
}
