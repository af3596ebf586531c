//! What is told to who subscribes, and what is kept for a while.

use super::*;
use crate::{
    event::{FetchSpan, Outcome, RunSpan},
    inspect::{Answer, Phase, Question, Standing, Story},
    request::{Reply, Request},
};

const SOON: Duration = Duration::from_millis(100);

fn events(commands: Vec<Command>) -> (Vec<Happened>, u64, bool) {
    match <[Command; 1]>::try_from(commands) {
        Ok([Command::ToClient { message: ToClient::Events { number: 1, first, events, last }, .. }]) => {
            (events, first, last)
        }
        other => panic!("one message of events, not {other:?}"),
    }
}

fn subscribe(record: Record) -> FromClient {
    FromClient::Subscribe { number: 1, record }
}

#[test]
fn a_subscriber_is_told_together_what_happens_within_a_moment() {
    let mut world = World::new(&[1]);
    assert_eq!(world.client(subscribe(Record::Tasks)), []);
    assert_eq!(world.scheduler.deadline(), Some((Time::ZERO + SOON, Reason::Events)));
    world.submits(graph(&[(INC, &[])]), &[0]);
    world.finishes(0, 0);
    let (events, first, last) = events(world.ticks(SOON));
    let worker = WorkerId(0);
    let attempt = Attempt(0);
    let kinds: Vec<Kind> = events.into_iter().map(|event| event.kind).collect();
    let (function, run_ns, n_bytes) = ("inc".into(), 50_000_000, 8);
    let task = task(0);
    assert_eq!(
        kinds,
        [
            Kind::WorkerJoined { worker, name: "w0".into(), n_threads: 1 },
            Kind::Submitted { first: task, n_tasks: 1 },
            Kind::Task { task, step: Step::Ready { worker: None } },
            Kind::Task { task, step: Step::Assigned { worker, attempt, n_fetched: 0 } },
            Kind::TaskFinished { task, attempt, worker, function, run_ns, n_bytes },
        ]
    );
    assert_eq!((first, last), (0, false));
    assert_eq!(world.scheduler.deadline().map(|(_, reason)| reason), Some(Reason::Heartbeat));
}

#[test]
fn a_subscription_ends_with_a_last_message() {
    let mut world = World::new(&[]);
    world.client(subscribe(Record::Cluster));
    world.joins(0, 1);
    let (told, _, last) = events(world.client(subscribe(Record::Nothing)));
    assert_eq!((told.len(), last), (1, true));
    // Who asks again, since he heard no answer, gets one.
    assert_eq!(events(world.client(subscribe(Record::Nothing))), (Vec::new(), 0, true));
    assert_eq!(world.leaves(0), []);
}

#[test]
fn who_does_not_read_loses_events_and_learns_how_many() {
    let mut world = World::new(&[1]);
    world.client(subscribe(Record::Tasks));
    // Sixteen messages go out unseen; what is more than is kept after them is dropped.
    let n_tasks = 40_000_u32;
    let wide = || graph(&vec![(INC, &[][..]); n_tasks as usize]);
    let all: Vec<u32> = (0..n_tasks).collect();
    let (mut sent, mut n_messages, mut next) = (0, 0, 0);
    for _ in 0..3 {
        for command in world.submits(wide(), &all) {
            if let Command::ToClient { message: ToClient::Events { first, events, .. }, .. } = command {
                assert_eq!(first, next);
                next += events.len() as u64;
                (sent, n_messages) = (sent + events.len(), n_messages + 1);
            }
        }
    }
    assert_eq!(n_messages, 16);
    assert_eq!(world.scheduler.deadline().map(|(_, reason)| reason), Some(Reason::Heartbeat));
    let rest = world.client(subscribe(Record::Nothing));
    let mut n_lost = 0;
    for command in &rest {
        let Command::ToClient { message: ToClient::Events { first, events, .. }, .. } = command else { continue };
        n_lost += first - next;
        next = first + events.len() as u64;
        sent += events.len();
    }
    // The worker, three submissions, a step for each task, and those of what was assigned at once.
    let n_assigned =
        world.scheduler.recorder.count(Step::Assigned { worker: WorkerId(0), attempt: Attempt(0), n_fetched: 0 });
    assert_eq!(sent as u64 + n_lost, 1 + 3 + 3 * u64::from(n_tasks) + n_assigned);
    assert!(n_lost > 0 && sent == 16 * 1024 + (1 << 16), "{sent} sent, {n_lost} lost");
}

#[test]
fn reading_makes_room_for_more() {
    let mut world = World::new(&[1]);
    world.client(subscribe(Record::Tasks));
    let n_tasks = 40_000;
    world.submits(graph(&vec![(INC, &[][..]); n_tasks]), &(0..n_tasks as u32).collect::<Vec<_>>());
    let more = world.client(FromClient::EventsSeen { number: 1, next: 2_048 });
    assert_eq!(more.len(), 2);
    assert!(more.iter().all(
        |c| matches!(c, Command::ToClient { message: ToClient::Events { events, .. }, .. } if events.len() == 1024)
    ));
}

#[test]
fn workers_are_asked_for_a_timeline_and_their_clocks_are_understood() {
    let mut world = World::new(&[1]);
    world.now = Time(1_000);
    assert_eq!(world.client(subscribe(Record::Timeline)), [to_worker(0, ToWorker::Record { on: true })]);
    world.now = Time(3_000);
    // Half of the way there and back its clock shows 500,000: it is 498,000 ahead.
    assert_eq!(world.worker(0, FromWorker::Recording { now: Time(500_000) }), []);
    assert_eq!(world.joins(1, 1), [to_worker(1, ToWorker::Record { on: true })]);
    world.submits(graph(&[(INC, &[])]), &[0]);
    let run = |start| RunSpan {
        task: task(0),
        attempt: Attempt(0),
        thread: 0,
        start: Time(start),
        duration: Duration::from_nanos(70),
        outcome: Outcome::Finished { n_bytes: 8 },
    };
    let fetch = |start| FetchSpan {
        task: task(7),
        from: address(1),
        n_bytes: 9,
        start: Time(start),
        duration: Duration::from_nanos(5),
    };
    world.worker(0, FromWorker::Spans { runs: vec![run(501_000)], fetches: vec![fetch(502_000)] });
    let (told, ..) = events(world.client(subscribe(Record::Nothing)).into_iter().take(1).collect());
    let worker = WorkerId(0);
    let spans: Vec<Kind> =
        told.into_iter().map(|e| e.kind).filter(|k| matches!(k, Kind::Ran { .. } | Kind::Fetched { .. })).collect();
    assert_eq!(
        spans,
        [
            Kind::Fetched { worker, fetch: fetch(4_000), from: Some(WorkerId(1)) },
            Kind::Ran { worker, run: run(3_000), function: "inc".into() },
        ]
    );
}

#[test]
fn workers_stop_telling_when_the_last_subscriber_is_gone() {
    let mut world = World::new(&[1]);
    world.client(subscribe(Record::Timeline));
    let off = to_worker(0, ToWorker::Record { on: false });
    assert_eq!(world.told(Event::ClientLeft { client: CLIENT }), [off]);
}

fn asked(world: &mut World, question: Question) -> Answer {
    let request = Request::Inspect { question };
    match world.client(FromClient::Ask { ticket: 5, request }).pop() {
        Some(Command::ToClient {
            message: ToClient::Reply { ticket: 5, reply: Reply::Inspected { answer } }, ..
        }) => *answer,
        other => panic!("{other:?} is no answer"),
    }
}

fn story(world: &mut World, sequence: u64) -> Story {
    match asked(world, Question::Story { task: task(sequence) }) {
        Answer::Story(story) => story,
        other => panic!("{other:?} is no story"),
    }
}

#[test]
fn a_task_tells_its_story() {
    let mut world = World::new(&[1]);
    world.submits(pair(), &[1]);
    world.starts(0, 0, 0);
    world.now += Duration::from_millis(500);
    assert_eq!(
        story(&mut world, 1).to_string(),
        "task-0.1 (inc) waits for 1 input: task-0.0 (inc) runs on w0 (attempt 0)\n    0.500000 s ago  needed; waits for inputs"
    );
    world.finishes(0, 0);
    world.joins(1, 1);
    world.leaves(0);
    world.now += Duration::from_millis(250);
    let failure = Failure::Error("no such file".into());
    world.worker(1, FromWorker::Failed { task: task(0), attempt: Attempt(1), failure });
    assert_eq!(
        story(&mut world, 0).to_string(),
        "task-0.0 (inc) failed: task inc failed on worker-1 after 1 tries: no such file
    0.750000 s ago  ready; any worker that can run it may take it
    0.750000 s ago  attempt 0 sent to w0 (gone), which needs nothing from elsewhere
    0.750000 s ago  attempt 0 runs on w0 (gone)
    0.250000 s ago  attempt 0 finished on w0 (gone)
    0.250000 s ago  no worker has the result any more
    0.250000 s ago  ready; any worker that can run it may take it
    0.250000 s ago  attempt 1 sent to w1, which needs nothing from elsewhere
    0.000000 s ago  attempt 1 failed on w1: no such file
    0.000000 s ago  failed for good"
    );
    assert_eq!(story(&mut world, 77).to_string(), "task-0.77 is not known: never submitted, or long forgotten");
}

#[test]
fn a_task_that_does_not_run_says_why() {
    let mut world = World::new(&[]);
    world.submits(graph(&[(INC, &[]), (INC, &[])]), &[0, 1]);
    assert_eq!(story(&mut world, 0).standing, Standing::NoWorkers);
    world.joins(0, 1);
    let sent = Standing::Sent { worker: WorkerId(0), attempt: Attempt(0), n_running: 0 };
    assert_eq!(story(&mut world, 0).standing, sent);
    world.starts(0, 0, 0);
    let runs = Standing::Running { worker: WorkerId(0), attempt: Attempt(0), seceded: false };
    assert_eq!(story(&mut world, 0).standing, runs);
    assert_eq!(story(&mut world, 1).standing, Standing::Busy { worker: None, n_queued: 1 });
    world.finishes(0, 0);
    let there = Standing::Memory { holders: vec![WorkerId(0)], n_bytes: 8 };
    assert_eq!(story(&mut world, 0).standing, there);
}

#[test]
fn old_steps_are_forgotten_and_counters_are_not() {
    let config = Config { history: 4, ..Config::default() };
    let mut world = World { scheduler: Scheduler::new(config, Time::ZERO), now: Time::ZERO, submitted: 0 };
    world.told(hello(Role::Client));
    world.joins(0, 1);
    for sequence in 0..3 {
        world.submits(graph(&[(INC, &[])]), &[0]);
        world.finishes(0, sequence);
    }
    let told = story(&mut world, 1);
    // Of nine steps in all the last four are kept: one of this task's.
    let finished = Step::Finished { worker: WorkerId(0), attempt: Attempt(0) };
    assert_eq!((told.has_forgotten, told.steps), (true, vec![(Time::ZERO, finished)]));
    let counters = world.scheduler.counters();
    assert_eq!((counters.n_finished, counters.n_assigned, counters.n_tasks), (3, 3, [0, 0, 0, 0, 3, 0]));
    assert_eq!(counters.functions.iter().map(|f| (&*f.name, f.n_runs)).collect::<Vec<_>>(), [("inc", 3)]);
}

#[test]
fn everything_is_told_in_pieces() {
    let mut world = World::new(&[1]);
    world.submits(graph(&vec![(INC, &[][..]); 2_500]), &(0..2_500).collect::<Vec<_>>());
    let mut from = 0;
    let mut n_told = Vec::new();
    loop {
        let question = Question::Tasks { phase: Phase::Ready, from, limit: u32::MAX };
        let Answer::Tasks { tasks, next } = asked(&mut world, question) else { panic!("tasks") };
        n_told.push(tasks.len());
        match next {
            Some(next) => from = next,
            None => break,
        }
    }
    assert_eq!(n_told, [1_000, 1_000, 499]);
}

#[test]
fn a_task_that_waits_for_a_resource_says_which() {
    let mut world = World::new(&[1]);
    let mut graph = graph(&[(INC, &[])]);
    let resources = std::collections::BTreeMap::from([("gpu".to_owned(), 2)]);
    graph.push_options(0, TaskOptions { resources, ..TaskOptions::default() });
    world.submits(graph, &[0]);
    let said = "task-0.0 (inc) waits for a worker with gpu=2 free\n    0.000000 s ago  ready; any worker that can run it may take it";
    assert_eq!(story(&mut world, 0).to_string(), said);
}
