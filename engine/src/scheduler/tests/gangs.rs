//! Gangs: all members begin at once or none does.

use super::*;
use crate::{graph::GangSeat, message::GangCall};

/// A gang of tasks without inputs.
fn gang(n_members: u32, share_workers: bool, options: &TaskOptions) -> Graph {
    let mut graph = graph(&vec![(INC, &[] as &[ArgumentCode]); n_members as usize]);
    for rank in 0..n_members {
        let gang = Some(GangSeat { rank, n_members, share_workers });
        graph.push_options(rank, TaskOptions { gang, ..options.clone() });
    }
    graph
}

/// The command to run a member of the gang whose first task this is.
fn begin(worker: u32, (first, rank): (u64, u32), attempt: u32, run: u32, on: &[u32], submission: u32) -> Command {
    let members = on.iter().map(|worker| address(*worker)).collect();
    let sequence = first + u64::from(rank);
    match wanted(compute_of(worker, sequence, attempt, INC, &[], vec![], (submission, rank), true)) {
        Command::ToWorker { worker, message: ToWorker::Compute(compute) } => {
            let gang = Some(Box::new(GangCall { gang: task(first), rank, run, members }));
            Command::ToWorker { worker, message: ToWorker::Compute(Compute { gang, ..compute }) }
        }
        other => other,
    }
}

#[test]
fn members_begin_at_once_each_on_a_worker_of_its_own_and_their_results_count_together() {
    let mut world = World::new(&[1, 1]);
    let told = world.submits(gang(2, false, &TaskOptions::default()), &[0, 1]);
    assert_eq!(told, [begin(0, (0, 0), 0, 0, &[0, 1], 0), begin(1, (0, 1), 0, 0, &[0, 1], 0)]);
    assert_eq!(world.finishes(1, 1), [], "its result counts with that of the other");
    assert_eq!(world.finishes(0, 0), [done(0, 8, &[0]), done(1, 8, &[1])]);
    assert_eq!(world.client(release(&[0, 1])), [dropped(0, &[0]), dropped(1, &[1])]);
    assert_eq!(world.scheduler.n_tasks(), 0);
}

#[test]
fn places_are_kept_free_for_the_first_gang_until_it_has_all_of_them() {
    let mut world = World::new(&[1, 1]);
    assert_eq!(sent(&world.submits(graph(&[(INC, &[]), (INC, &[])]), &[0, 1])), [(0, 1), (1, 0)]);
    assert_eq!(world.submits(gang(2, false, &TaskOptions::default()), &[0, 1]), []);
    assert_eq!(world.submits(gang(2, false, &TaskOptions::default()), &[0, 1]), []);
    // Neither a task that came later nor the second gang takes the place that falls free.
    assert_eq!(world.submits(graph(&[(INC, &[])]), &[0]), []);
    assert_eq!(world.finishes(1, 0), [done(0, 8, &[1])]);
    let told = world.finishes(0, 1);
    let begun = [begin(0, (2, 0), 0, 0, &[0, 1], 1), begin(1, (2, 1), 0, 0, &[0, 1], 1)];
    assert_eq!(told, [&[done(1, 8, &[0])], &begun[..]].concat());
    assert_eq!(world.finishes(0, 2), []);
    let told = world.finishes(1, 3);
    let begun = [begin(0, (4, 0), 0, 0, &[0, 1], 2), begin(1, (4, 1), 0, 0, &[0, 1], 2)];
    assert_eq!(told, [&[done(2, 8, &[0]), done(3, 8, &[1])], &begun[..]].concat());
}

#[test]
fn where_a_member_fails_all_are_stopped_and_begin_anew_or_fail_by_its_name() {
    let mut world = World::new(&[1, 1]);
    let options = TaskOptions { retries: 1, ..TaskOptions::default() };
    world.submits(gang(2, false, &options), &[0, 1]);
    world.finishes(0, 0);
    let failure = || Failure::Error("no".into());
    let fails = |attempt| FromWorker::Failed { task: task(1), attempt: Attempt(attempt), failure: failure() };
    let begun = [begin(0, (0, 0), 1, 1, &[0, 1], 0), begin(1, (0, 1), 1, 1, &[0, 1], 0)];
    let stopped = [cancelled(0, 0, 0), dropped(0, &[0]), dropped(1, &[1])];
    assert_eq!(world.worker(1, fails(0)), [&stopped[..], &begun[..]].concat());
    let inner = TaskError::Failed { function: "inc".into(), worker: WorkerId(1), tries: 2, message: "no".into() };
    let error = TaskError::GangMember { rank: 1, n_members: 2, error: Box::new(inner) };
    assert_eq!(
        world.worker(1, fails(1)),
        [failed(1, error.clone()), cancelled(0, 0, 1), failed(0, error), dropped(0, &[0]), dropped(1, &[1])]
    );
    assert_eq!(world.client(release(&[0, 1])), []);
    assert_eq!(world.scheduler.n_tasks(), 0);
}

#[test]
fn a_lost_worker_begins_its_gang_anew_where_it_fits() {
    let mut world = World::new(&[1, 1, 1]);
    world.submits(gang(2, false, &TaskOptions::default()), &[0, 1]);
    world.starts(0, 0, 0);
    world.starts(1, 1, 0);
    let begun = [begin(1, (0, 0), 1, 1, &[1, 2], 0), begin(2, (0, 1), 1, 1, &[1, 2], 0)];
    assert_eq!(world.leaves(0), [&[cancelled(1, 1, 0), dropped(1, &[1])], &begun[..]].concat());
    // A late word of the attempt before counts for nothing.
    assert_eq!(world.finishes(1, 1), [dropped(1, &[1])]);
    // What ended whole and is lost is not run again.
    world.finishes_after(1, 0, 1, 8, 50);
    assert_eq!(world.finishes_after(2, 1, 1, 8, 50), [done(0, 8, &[1]), done(1, 8, &[2])]);
    let error = TaskError::MemberLost { function: "inc".into(), rank: 1 };
    assert_eq!(world.leaves(2), [failed(1, error)]);
}

#[test]
fn members_share_a_worker_where_they_may() {
    let mut world = World::new(&[2]);
    assert_eq!(world.submits(gang(2, false, &TaskOptions::default()), &[0, 1]), []);
    let told = world.submits(gang(2, true, &TaskOptions::default()), &[0, 1]);
    assert_eq!(told, [begin(0, (2, 0), 0, 0, &[0, 0], 1), begin(0, (2, 1), 0, 0, &[0, 0], 1)]);
}

#[test]
fn a_gang_that_the_cluster_is_too_small_for_holds_nobody_up_says_so_and_fails_in_its_time() {
    let mut world = World::new(&[1, 1]);
    let options = TaskOptions { wait_timeout: Some(Duration::from_secs(3)), ..TaskOptions::default() };
    assert_eq!(world.submits(gang(3, false, &options), &[0, 1, 2]), []);
    assert_eq!(sent(&world.submits(graph(&[(INC, &[])]), &[0])), [(3, 1)]);
    let missing = String::from("3 workers at once for a gang, each of a worker");
    let mut told = world.ticks(Duration::from_secs(2));
    told.retain(|command| matches!(command, Command::ToClient { message: ToClient::Waiting { .. }, .. }));
    let reason = WaitReason::NoSuitableWorker { missing: missing.clone() };
    let waiting = ToClient::Waiting { reason, n_tasks: 3, for_ms: 2_000 };
    assert_eq!(told, [Command::ToClient { client: CLIENT, message: waiting }]);
    let mut told = world.ticks(Duration::from_secs(1));
    told.retain(|command| matches!(command, Command::ToClient { message: ToClient::Failed { .. }, .. }));
    let error = TaskError::NoSuitableWorker { function: "inc".into(), missing, waited: Duration::from_secs(3) };
    assert_eq!(told, [failed(0, error.clone()), failed(2, error.clone()), failed(1, error)]);
}

#[test]
fn who_cancels_one_cancels_all_and_who_lets_go_of_one_does_not() {
    let mut world = World::new(&[1, 1]);
    world.submits(gang(2, false, &TaskOptions::default()), &[0, 1]);
    assert_eq!(world.client(release(&[1])), []);
    let told = world.client(FromClient::Cancel { tasks: vec![task(0)] });
    let ends = [cancelled(0, 0, 0), failed(0, TaskError::Cancelled), cancelled(1, 1, 0)];
    assert_eq!(told, [&ends[..], &[dropped(0, &[0]), dropped(1, &[1])]].concat());
    assert_eq!(world.client(release(&[0])), []);
    assert_eq!(world.scheduler.n_tasks(), 0);
}

#[test]
fn a_gang_is_submitted_whole() {
    let mut world = World::new(&[1, 1]);
    let mut half = gang(2, false, &TaskOptions::default());
    half.options.pop();
    let told = world.submits(half, &[0, 1]);
    let message = "1 of the 2 members of a gang are calls; all must be".to_owned();
    let error = TaskError::Malformed { message };
    assert_eq!(told, [failed(0, error.clone()), failed(1, error)]);
}
