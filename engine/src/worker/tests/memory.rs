//! Budgets: what goes to disk and comes back, and what starts while memory is short.

use super::*;
use crate::{actor::ActorState, data::Data, worker::MemoryUse};

/// A worker with a budget of 1000 bytes: results go to disk above 600, and no task starts above 800.
fn short(n_threads: u32) -> World {
    let config = Config {
        n_threads,
        max_fetches: 2,
        inline_bytes: INLINE,
        memory_limit: Some(1000),
        spill_from: 1,
        ..Config::default()
    };
    World { worker: Worker::new(config, own(), Time::ZERO), now: Time::ZERO }
}

fn bulk(n_bytes: usize) -> Value {
    Value::from_data(Data::small(vec![7; n_bytes]))
}

impl World {
    /// Has run a task with a result of this size; all that it says of it beside keeping it.
    fn makes(&mut self, sequence: u64, n_bytes: usize) -> Vec<Command> {
        self.computes(compute(sequence, 0, &[]));
        self.gives(sequence, n_bytes)
    }

    /// A task that runs has a result of this size.
    fn gives(&mut self, sequence: u64, n_bytes: usize) -> Vec<Command> {
        let mut told = self.returned(sequence, 0, Ok(bulk(n_bytes)));
        let finished = FromWorker::finished(task(sequence), Attempt(0), n_bytes as u64, 5, None);
        let kept = [Command::Store { task: task(sequence), value: bulk(n_bytes) }, Command::ToScheduler(finished)];
        assert_eq!(told[..2], kept);
        told.split_off(2)
    }

    fn spilled(&mut self, sequence: u64) -> Vec<Command> {
        self.told(Event::Spilled { task: task(sequence) })
    }

    fn fails_to_spill(&mut self, sequence: u64) -> Vec<Command> {
        self.told(Event::SpillFailed { task: task(sequence), reason: "disk full".into() })
    }

    fn unspilled(&mut self, sequence: u64, n_bytes: usize) -> Vec<Command> {
        self.told(Event::Unspilled { task: task(sequence), value: bulk(n_bytes) })
    }

    fn uses(&self) -> (u64, u64, bool) {
        let MemoryUse { limit, stored, spilled, is_paused } = self.worker.memory_use();
        assert_eq!(limit, Some(1000));
        (stored, spilled, is_paused)
    }
}

fn spill(sequence: u64) -> Command {
    Command::Spill { task: task(sequence) }
}

fn evict(sequences: &[u64]) -> Command {
    Command::Evict { tasks: tasks(sequences) }
}

fn unspill(sequence: u64) -> Command {
    Command::Unspill { task: task(sequence) }
}

fn memory(resident: u64, spilled: u64, is_paused: bool) -> Command {
    Command::ToScheduler(FromWorker::Memory { resident, spilled, is_paused })
}

fn back(sequence: u64, n_bytes: usize) -> Command {
    Command::Store { task: task(sequence), value: bulk(n_bytes) }
}

#[test]
fn above_60_percent_the_coldest_goes_to_disk_and_comes_back_when_a_task_needs_it() {
    let mut world = short(1);
    assert_eq!(world.makes(0, 250), []);
    assert_eq!(world.makes(1, 250), []);
    assert_eq!(world.makes(2, 250), [spill(0)]);
    assert_eq!(world.uses(), (750, 0, false));
    assert_eq!(world.spilled(0), [evict(&[0]), memory(500, 250, false)]);
    assert_eq!(world.uses(), (500, 250, false));
    // Room is made for what comes back, and then it runs.
    assert_eq!(world.computes(compute(3, 0, &[(0, &[])])), [spill(1), unspill(0)]);
    assert_eq!(world.unspilled(0, 250), [back(0, 250), started(3, 0), run(3, 0, &[0]), memory(750, 0, false)]);
    assert_eq!(world.spilled(1), [evict(&[1]), memory(500, 250, false)]);
}

#[test]
fn what_is_on_disk_already_goes_without_being_written_again() {
    let mut world = short(1);
    world.makes(0, 350);
    assert_eq!(world.makes(1, 300), [spill(0)]);
    assert_eq!(world.spilled(0), [evict(&[0]), memory(300, 350, false)]);
    assert_eq!(world.computes(compute(2, 0, &[(0, &[])])), [spill(1), unspill(0)]);
    assert_eq!(world.unspilled(0, 350), [back(0, 350), started(2, 0), run(2, 0, &[0]), memory(650, 0, false)]);
    assert_eq!(world.spilled(1), [evict(&[1]), memory(350, 300, false)]);
    assert_eq!(world.gives(2, 300), [evict(&[0]), memory(300, 650, false)]);
}

#[test]
fn above_the_line_it_goes_down_to_50_percent() {
    let mut world = short(1);
    for sequence in 0..6 {
        assert_eq!(world.makes(sequence, 100), []);
    }
    assert_eq!(world.makes(6, 100), [spill(0), spill(1)]);
    assert_eq!(world.spilled(0), [evict(&[0]), memory(600, 100, false)]);
    assert_eq!(world.spilled(1), [evict(&[1]), memory(500, 200, false)]);
    assert_eq!(world.makes(7, 100), []);
}

#[test]
fn a_result_larger_than_the_line_goes_straight_to_disk() {
    let mut world = short(1);
    world.makes(0, 100);
    assert_eq!(world.makes(1, 2000), [spill(1), memory(2100, 0, true)]);
    assert_eq!(world.spilled(1), [evict(&[1]), memory(100, 2000, false)]);
}

#[test]
fn inputs_of_running_tasks_stay_in_memory() {
    let mut world = short(2);
    world.makes(0, 500);
    world.computes(compute(1, 0, &[(0, &[])]));
    assert_eq!(world.makes(2, 150), [spill(2)]);
    assert_eq!(world.uses(), (650, 0, false));
}

#[test]
fn what_is_dropped_counts_as_long_as_a_task_uses_it() {
    let mut world = short(1);
    world.makes(0, 500);
    world.computes(compute(1, 0, &[(0, &[])]));
    assert_eq!(world.drops(&[0]), [dropped(&[0])]);
    assert_eq!((world.uses(), world.worker.n_held()), ((500, 0, false), 0));
    world.gives(1, 8);
    assert_eq!(world.uses(), (8, 0, false));
}

#[test]
fn a_paused_worker_starts_nothing_beside_others_and_goes_on_when_memory_is_free() {
    let mut world = short(2);
    world.computes(compute(0, 0, &[]));
    world.computes(compute(1, 0, &[]));
    assert_eq!(world.gives(0, 900), [spill(0), memory(900, 0, true)]);
    assert_eq!(world.computes(compute(2, 0, &[])), []);
    assert_eq!(world.spilled(0), [evict(&[0]), started(2, 0), run(2, 0, &[]), memory(0, 900, false)]);
}

#[test]
fn a_task_that_is_expected_to_make_much_waits_for_room() {
    let mut world = short(2);
    let large = |sequence| Compute { expected_bytes: 500, ..compute(sequence, 0, &[]) };
    assert_eq!(world.computes(large(0)), [started(0, 0), run(0, 0, &[])]);
    assert_eq!(world.computes(large(1)), []);
    // The result is as large as was said; it has to go before the next one is made.
    assert_eq!(world.gives(0, 500), [spill(0)]);
    assert_eq!(world.spilled(0), [evict(&[0]), started(1, 0), run(1, 0, &[]), memory(0, 500, false)]);
}

#[test]
fn where_nothing_else_could_free_memory_a_task_runs_alone() {
    let mut world = short(2);
    assert_eq!(world.makes(0, 900), [spill(0), memory(900, 0, true)]);
    // While it is being written there is hope.
    assert_eq!(world.computes(compute(1, 0, &[(0, &[])])), []);
    assert_eq!(world.computes(compute(2, 0, &[(0, &[])])), []);
    assert_eq!(world.fails_to_spill(0), [started(1, 0), run(1, 0, &[0])]);
    assert_eq!(world.gives(1, 8), [started(2, 0), run(2, 0, &[0])]);
}

#[test]
fn a_disk_that_fails_costs_nothing_while_memory_lasts_and_is_tried_again() {
    let mut world = short(1);
    world.makes(0, 350);
    assert_eq!(world.makes(1, 300), [spill(0)]);
    assert_eq!(world.fails_to_spill(0), []);
    assert_eq!(world.makes(2, 100), []);
    world.now += Duration::from_secs(11);
    assert_eq!(world.hears(ToWorker::Heartbeat), [spill(0)]);
}

#[test]
fn the_newest_result_is_lost_where_neither_memory_nor_disk_has_room() {
    let mut world = short(1);
    assert_eq!(world.makes(0, 700), [spill(0)]);
    assert_eq!(world.fails_to_spill(0), []);
    assert_eq!(world.makes(1, 600), [spill(1), memory(1300, 0, true)]);
    let lost = Command::ToScheduler(FromWorker::NotKept { task: task(1), reason: "disk full".into() });
    assert_eq!(world.fails_to_spill(1), [lost, dropped(&[1]), memory(700, 0, false)]);
    assert_eq!(world.uses(), (700, 0, false));
    assert_eq!(world.makes(2, 50), []);
}

#[test]
fn a_result_that_is_dropped_while_it_is_written_counts_until_that_ends() {
    let mut world = short(1);
    world.makes(0, 350);
    assert_eq!(world.makes(1, 300), [spill(0)]);
    assert_eq!(world.drops(&[0]), [dropped(&[0])]);
    assert_eq!(world.uses(), (650, 0, false));
    assert_eq!(world.spilled(0), []);
    assert_eq!(world.uses(), (300, 0, false));
}

#[test]
fn what_is_read_for_a_cancelled_attempt_stays_on_disk() {
    let mut world = short(1);
    world.makes(0, 350);
    world.makes(1, 300);
    world.spilled(0);
    assert_eq!(world.computes(compute(2, 0, &[(0, &[])])), [spill(1), unspill(0)]);
    assert_eq!(world.cancels(2, 0), []);
    assert_eq!(world.unspilled(0, 350), []);
    assert_eq!(world.uses(), (300, 350, false));
}

#[test]
fn what_cannot_be_read_is_missing() {
    let mut world = short(1);
    world.makes(0, 350);
    world.makes(1, 300);
    world.spilled(0);
    world.computes(compute(2, 0, &[(0, &[])]));
    let told = world.told(Event::UnspillFailed { task: task(0), reason: "gone".into() });
    assert_eq!(told, [dropped(&[0]), memory(300, 0, false), missing(0, vec![own()])]);
}

#[test]
fn a_paused_worker_fetches_only_when_it_has_nothing_else_to_do() {
    let mut world = short(2);
    world.computes(compute(9, 0, &[]));
    assert_eq!(world.makes(0, 900), [spill(0), memory(900, 0, true)]);
    assert_eq!(world.computes(compute(2, 0, &[(1, &[1])])), []);
    assert_eq!(world.fails_to_spill(0), []);
    assert_eq!(world.gives(9, 8), [fetch(1, &[1])]);
}

#[test]
fn a_worker_without_a_budget_never_spills() {
    let mut world = World::new(1);
    assert_eq!(world.makes(0, 1 << 20), []);
    assert_eq!(world.worker.memory_use(), MemoryUse { stored: 1 << 20, ..MemoryUse::default() });
}

#[test]
fn what_stays_is_never_written_to_disk() {
    let mut world = short(1);
    world.computes(compute(0, 0, &[]));
    let large = Value::new(ActorState::new([0_u8; 900]));
    let told = world.returned(0, 0, Ok(large));
    assert_eq!(
        told[1..],
        [Command::ToScheduler(FromWorker::finished(task(0), Attempt(0), 900, 5, None)), memory(900, 0, true),]
    );
    assert_eq!(world.uses(), (900, 0, true));
}

#[test]
fn what_is_on_its_way_counts_as_what_is_here() {
    let mut world = short(1);
    world.makes(0, 500);
    // 500 and 200 that come are more than 600.
    let mut told = world.computes(Compute {
        fetch: vec![Remote { task: task(9), n_bytes: 200, holders: peers(&[1]) }],
        ..compute(1, 0, &[(9, &[1])])
    });
    told.extend(world.ticks(Duration::from_millis(1)));
    assert_eq!(told, [fetch(1, &[9]), Command::Spill { task: task(0) }]);
}

#[test]
fn who_has_large_results_or_little_room_is_not_said_to_be_busy() {
    for (first, n_more, is_busy) in [(100, 1, true), (260, 1, false), (0, 0, true)] {
        let mut world = short(1);
        world.makes(0, first);
        (1..=2).for_each(|sequence| drop(world.computes(compute(sequence, 0, &[]))));
        world.told(Event::Ran { task: task(1), attempt: Attempt(0), run_ns: 800, outcome: Ok(bulk(n_more)) });
        world.computes(compute(3, 0, &[]));
        assert_eq!(world.worker.in_hand_ns() > 0, is_busy, "{first} bytes");
    }
    let mut world = World::new(1);
    world.makes(0, 100_000); // no budget, but others may be short of what this one is slow to let go
    (1..=2).for_each(|sequence| drop(world.computes(compute(sequence, 0, &[]))));
    assert_eq!(world.worker.in_hand_ns(), 0);
}
