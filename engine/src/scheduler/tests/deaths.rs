//! Who is to blame for a death, and what is said of it.

use super::*;

/// A worker's number is also its life's number and the number in its name.
fn joins_supervised(world: &mut World, worker: u32) -> Vec<Command> {
    let hello_of =
        WorkerHello { life: Some(u64::from(worker)), ..WorkerHello::new(1, address(worker), format!("w{worker}")) };
    let mut commands = world.told(hello(Role::Worker(hello_of)));
    commands
        .retain(|c| !matches!(c, Command::Greet { .. } | Command::ToClient { message: ToClient::Workers { .. }, .. }));
    commands
}

fn evidence(code: i32) -> Evidence {
    Evidence { end: End::Code(code), peak_memory: Some(1 << 20), last_lines: "oh\n".into(), ..Evidence::default() }
}

fn reports(world: &mut World, worker: u32, evidence: Evidence) -> Vec<Command> {
    let mut commands = world.told(hello(Role::Report(Report { life: u64::from(worker), evidence })));
    assert_eq!(commands.remove(0), Command::Greet { connection: ConnectionId(9), greeting: Greeting::Noted });
    commands
}

fn death(worker: u32, evidence: Option<Evidence>) -> Death {
    Death { worker: WorkerId(worker), name: format!("w{worker}"), evidence }
}

fn killed(deaths: Vec<Death>) -> TaskError {
    TaskError::KilledWorkers { function: "inc".into(), deaths }
}

/// A world in which one task has killed the workers 0 and 1 and runs on 2.
fn twice_killed() -> World {
    let mut world = World::new(&[]);
    world.submits(graph(&[(INC, &[])]), &[0]);
    for worker in 0..3 {
        assert_eq!(joins_supervised(&mut world, worker), [wanted(compute(worker, 0, worker, INC, &[], vec![]))]);
        world.starts(worker, 0, worker);
        if worker < 2 {
            assert_eq!(world.leaves(worker), []);
            assert_eq!(reports(&mut world, worker, evidence(worker as i32)), []);
        }
    }
    world
}

#[test]
fn the_error_waits_for_the_last_supervisor_and_has_the_evidence_of_every_death() {
    let mut world = twice_killed();
    assert_eq!(joins_supervised(&mut world, 3), []);
    assert_eq!(world.leaves(2), [], "it neither fails nor runs again before the report");
    let look = Time::ZERO + Duration::from_millis(500);
    assert_eq!(world.scheduler.deadline(), Some((look, Reason::Stragglers)), "other deadlines come first");
    let deaths = (0..3).map(|worker| death(worker, Some(evidence(worker as i32)))).collect();
    assert_eq!(reports(&mut world, 2, evidence(2)), [failed(0, killed(deaths))]);
}

#[test]
fn a_supervisor_that_says_nothing_is_not_waited_for_long() {
    let mut world = twice_killed();
    assert_eq!(world.leaves(2), []);
    assert_eq!(world.ticks(Duration::from_secs(1)).len(), 1, "a heartbeat to the client");
    assert_eq!(world.ticks(Duration::from_secs(1)).len(), 2, "a heartbeat and the word that no worker is there");
    let commands = world.ticks(Duration::from_secs(1));
    let mut deaths: Vec<_> = (0..2).map(|worker| death(worker, Some(evidence(worker as i32)))).collect();
    deaths.push(death(2, None));
    assert_eq!(commands.last(), Some(&failed(0, killed(deaths))));
    assert_eq!(reports(&mut world, 2, evidence(2)), [], "too late");
}

#[test]
fn a_report_that_overtakes_the_lost_connection_is_kept_for_it() {
    let mut world = twice_killed();
    assert_eq!(reports(&mut world, 2, evidence(2)), []);
    let deaths = (0..3).map(|worker| death(worker, Some(evidence(worker as i32)))).collect();
    assert_eq!(world.leaves(2), [failed(0, killed(deaths))]);
    assert_eq!(reports(&mut world, 7, evidence(2)), [], "of a life that nobody knows");
}

#[test]
fn the_note_of_what_ran_acquits_and_convicts() {
    // Worker 0 finished task 0 and began with 1, which killed it: the last words are lost.
    let mut world = World::new(&[]);
    world.scheduler.config.allowed_failures = 1;
    world.submits(graph(&[(INC, &[]), (INC, &[]), (INC, &[])]), &[0, 1, 2]);
    joins_supervised(&mut world, 0);
    world.worker(0, FromWorker::finished(task(0), Attempt(0), 8, 1000, None));
    world.starts(0, 1, 0);
    // As far as the scheduler knows 1 was running; the note says that it was 2.
    assert_eq!(world.leaves(0), []);
    let note = Evidence { running: Some(vec![(task(2), Attempt(0))]), ..evidence(3) };
    assert_eq!(reports(&mut world, 0, note.clone()), [failed(2, killed(vec![death(0, Some(note))]))]);
    assert_eq!(
        joins_supervised(&mut world, 1),
        [0, 1].map(|sequence| wanted(compute(1, sequence, 1, INC, &[], vec![])))
    );
}

#[test]
fn the_note_of_an_earlier_attempt_convicts_nobody() {
    let mut world = twice_killed();
    assert_eq!(world.leaves(2), []);
    assert_eq!(joins_supervised(&mut world, 3), []);
    let stale = Evidence { running: Some(vec![(task(0), Attempt(0))]), ..evidence(3) };
    assert_eq!(reports(&mut world, 2, stale), [wanted(compute(3, 0, 3, INC, &[], vec![]))]);
}

#[test]
fn a_task_that_waits_for_judgement_can_be_let_go() {
    let mut world = twice_killed();
    assert_eq!(world.leaves(2), []);
    assert_eq!(world.client(release(&[0])), []);
    assert_eq!(world.scheduler.n_tasks(), 0);
    assert_eq!(reports(&mut world, 2, evidence(2)), []);
}

#[test]
fn a_condemned_task_whose_input_is_lost_does_not_run_when_it_is_there_again() {
    let mut world = World::new(&[]);
    world.scheduler.config.allowed_failures = 1;
    world.submits(pair(), &[1]);
    joins_supervised(&mut world, 0);
    world.finishes(0, 0);
    world.starts(0, 1, 0);
    assert_eq!(joins_supervised(&mut world, 1), []);
    // Its input was there only, and is made again before the judgement.
    assert_eq!(world.leaves(0), [compute(1, 0, 1, INC, &[], vec![])]);
    assert_eq!(world.finishes_after(1, 0, 1, 8, 1000), []);
    let error = killed(vec![death(0, Some(evidence(4)))]);
    assert_eq!(reports(&mut world, 0, evidence(4)), [failed(1, error), dropped(1, &[0])]);
}
