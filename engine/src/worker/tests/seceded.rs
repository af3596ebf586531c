//! Functions that wait and give their thread's place away meanwhile.

use super::*;

fn turn(waits: bool, sequence: u64) -> Event {
    let (task, attempt) = (task(sequence), Attempt(0));
    if waits { Event::Seceded { task, attempt } } else { Event::Rejoined { task, attempt } }
}

fn says(waits: bool, sequence: u64) -> Command {
    let (task, attempt) = (task(sequence), Attempt(0));
    Command::ToScheduler(if waits {
        FromWorker::Seceded { task, attempt }
    } else {
        FromWorker::Rejoined { task, attempt }
    })
}

#[test]
fn while_a_function_waits_another_one_has_its_place() {
    let mut world = World::new(1);
    world.computes(compute(0, 0, &[]));
    assert_eq!(world.computes(compute(1, 0, &[])), []);
    assert_eq!(world.told(turn(true, 0)), [says(true, 0), started(1, 0), run(1, 0, &[])]);
    assert_eq!((world.worker.n_running(), world.worker.n_seceded(), world.worker.n_waiting()), (1, 1, 0));
    // It goes on beside the other, and both must end before a third begins.
    assert_eq!(world.told(turn(false, 0)), [says(false, 0)]);
    assert_eq!(world.computes(compute(2, 0, &[])), []);
    assert_eq!(world.ran(0, 0), [store(0), finished(0, 0)]);
    assert_eq!(world.ran(1, 0), [store(1), finished(1, 0), started(2, 0), run(2, 0, &[])]);
}

#[test]
fn what_is_said_twice_or_of_nobody_changes_nothing() {
    let mut world = World::new(1);
    assert_eq!(world.told(turn(true, 7)), []);
    world.computes(compute(0, 0, &[]));
    assert_eq!(world.told(turn(false, 0)), []);
    assert_eq!(world.told(turn(true, 0)), [says(true, 0)]);
    assert_eq!(world.told(turn(true, 0)), []);
    // A function that ends while it waits gives back nothing that it does not have.
    assert_eq!(world.ran(0, 0), [store(0), finished(0, 0)]);
    assert_eq!((world.worker.n_running(), world.worker.n_seceded()), (0, 0));
}

#[test]
fn a_cancelled_function_waits_in_silence() {
    let mut world = World::new(1);
    world.computes(compute(0, 0, &[]));
    world.cancels(0, 0);
    assert_eq!(world.told(turn(true, 0)), []);
    assert_eq!(world.computes(compute(1, 0, &[])), [started(1, 0), run(1, 0, &[])]);
    assert_eq!(world.told(turn(false, 0)), []);
    assert_eq!(world.ran(0, 0), []);
}
