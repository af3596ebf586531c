//! How long what a worker has in hand keeps it busy.

use super::*;

#[test]
fn what_is_ready_is_measured_by_what_ran() {
    let mut world = World::new(2);
    let ran = |world: &mut World, sequence, run_ns| {
        let outcome = Ok(value(sequence));
        world.told(Event::Ran { task: task(sequence), attempt: Attempt(0), run_ns, outcome });
        world.worker.in_hand_ns()
    };
    (0..9).for_each(|sequence| drop(world.computes(compute(sequence, 0, &[]))));
    assert_eq!(world.worker.in_hand_ns(), 0); // nothing has run
    assert_eq!(ran(&mut world, 0, 800), 100 * 6 / 2);
    assert_eq!(ran(&mut world, 1, 800), 188 * 5 / 2);
    assert_eq!(ran(&mut world, 2, 0), 165 * 4 / 2);
    world.computes(compute(9, 0, &[(20, &[1])])); // waits for its input, so it keeps no thread busy
    assert_eq!(world.worker.in_hand_ns(), 165 * 4 / 2);
}
