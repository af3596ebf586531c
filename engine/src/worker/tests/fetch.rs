//! From whom inputs are fetched, how much at once, and what a busy peer means.

use super::*;

fn acquire(sequences: &[(u64, u64, u32)]) -> ToWorker {
    let remote = |(sequence, n_bytes, holder): &(u64, u64, u32)| Remote {
        task: task(*sequence),
        n_bytes: *n_bytes,
        holders: peers(&[*holder]),
    };
    ToWorker::Acquire { results: sequences.iter().map(remote).collect() }
}

fn fetch(from: u32, sequences: &[u64]) -> Command {
    Command::Fetch { peer: peer(from), tasks: tasks(sequences) }
}

fn holds(sequence: u64) -> Command {
    Command::ToScheduler(FromWorker::Holds { tasks: tasks(&[sequence]) })
}

fn stored(sequence: u64) -> Command {
    Command::Store { task: task(sequence), value: value(sequence) }
}

impl World {
    fn busy(&mut self, from: u32, sequence: u64) -> Vec<Command> {
        self.told(Event::PeerBusy { peer: peer(from), task: task(sequence) })
    }
}

#[test]
fn incoming_bytes_are_bounded_and_the_first_transfer_is_always_allowed() {
    let mut world = World::new(1);
    let limit = Config::default().max_incoming;
    // The first is larger than all that may be on its way: it goes, and alone.
    let told = world.hears(acquire(&[(1, 2 * limit, 1), (2, limit / 2, 2), (3, limit / 2, 3)]));
    assert_eq!(told, [fetch(1, &[1])]);
    assert_eq!(world.fetched(1, 1), [stored(1), holds(1), fetch(2, &[2]), fetch(3, &[3])]);
    assert_eq!(world.hears(acquire(&[(4, 1, 1)])), []);
    assert_eq!(world.fetched(2, 2), [stored(2), holds(2), fetch(1, &[4])]);
}

#[test]
fn nothing_overtakes_the_most_urgent_input_that_waits_for_room() {
    let mut world = World::new(1);
    let limit = Config::default().max_incoming;
    assert_eq!(world.hears(acquire(&[(1, limit, 1)])), [fetch(1, &[1])]);
    assert_eq!(world.hears(acquire(&[(2, limit, 2), (3, 0, 3)])), []);
    assert_eq!(world.fetched(1, 1), [stored(1), holds(1), fetch(2, &[2]), fetch(3, &[3])]);
}

#[test]
fn a_busy_peer_is_asked_again_after_a_rest_and_the_scheduler_knows() {
    let mut world = World::new(1);
    assert_eq!(world.hears(acquire(&[(1, 8, 1)])), [fetch(1, &[1])]);
    let seeks = Command::ToScheduler(FromWorker::Seeks { tasks: tasks(&[1]) });
    assert_eq!(world.busy(1, 1), std::slice::from_ref(&seeks));
    let at = world.now + Duration::from_millis(10);
    assert_eq!(world.worker.deadline(), Some((at, Reason::PeerBusy(peer(1)))));
    assert_eq!(world.ticks(Duration::from_millis(10)), [fetch(1, &[1])]);
    // Twice as long the next time.
    assert_eq!(world.busy(1, 1), [seeks]);
    assert_eq!(world.worker.deadline(), Some((world.now + Duration::from_millis(20), Reason::PeerBusy(peer(1)))));
    // Somebody else has it meanwhile.
    assert_eq!(world.locates(1, &[2]), [fetch(2, &[1])]);
    assert_eq!(world.fetched(2, 1), [stored(1), holds(1)]);
    assert_ne!(world.worker.deadline().map(|(_, reason)| reason), Some(Reason::PeerBusy(peer(1))));
}

#[test]
fn a_peer_that_is_lost_while_it_rests_does_not_have_it() {
    let mut world = World::new(1);
    world.hears(acquire(&[(1, 8, 1)]));
    world.busy(1, 1);
    assert_eq!(world.ticks(Duration::from_millis(10)), [fetch(1, &[1])]);
    let missing = FromWorker::Missing { task: task(1), tried: peers(&[1]) };
    assert_eq!(world.loses(1), [Command::ToScheduler(missing)]);
    // Nobody needs it any more: nothing is left of it.
    assert_eq!(world.drops(&[1]), []);
    assert_eq!((world.worker.n_acquiring(), world.worker.n_held()), (0, 0));
}

#[test]
fn a_copy_that_is_here_is_only_announced() {
    let mut world = World::new(1).having(1);
    assert_eq!(world.hears(acquire(&[(1, 8, 1)])), [holds(1)]);
}
