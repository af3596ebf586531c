//! Who comes and goes, what they say that is wrong or late, and what is written down of it.

use super::*;

#[test]
fn without_workers_clients_are_told_what_waits_and_how_long() {
    let mut world = World::new(&[]);
    world.submits(pair(), &[1]);
    assert_eq!(world.scheduler.deadline(), Some((Time::ZERO + Duration::from_secs(1), Reason::Heartbeat)));
    let waiting = |for_ms| Command::ToClient {
        client: CLIENT,
        message: ToClient::Waiting { reason: WaitReason::NoWorkers, n_tasks: 2, for_ms },
    };
    let beat = Command::ToClient { client: CLIENT, message: ToClient::Heartbeat };
    assert_eq!(world.ticks(Duration::from_secs(2)), [beat.clone(), waiting(2000)]);
    assert_eq!(world.ticks(Duration::from_secs(1)), std::slice::from_ref(&beat));
    assert_eq!(world.ticks(Duration::from_millis(1500)), [beat]);
    world.client(FromClient::Heartbeat);
    assert_eq!(world.ticks(Duration::from_millis(1500)).last(), Some(&waiting(6000)));
}

#[test]
fn silence_of_thirty_heartbeats_is_death() {
    let mut world = World::new(&[1]);
    world.submits(graph(&[(INC, &[])]), &[0]);
    for _ in 0..29 {
        let beats =
            [Command::ToClient { client: CLIENT, message: ToClient::Heartbeat }, to_worker(0, ToWorker::Heartbeat)];
        assert_eq!(world.ticks(Duration::from_secs(1)), beats);
        world.client(FromClient::Heartbeat);
    }
    let told = world.ticks(Duration::from_secs(1));
    assert_eq!(told[0], Command::CloseWorker { worker: WorkerId(0) });
    assert_eq!(told[1], Command::ToClient { client: CLIENT, message: ToClient::Workers { workers: vec![] } });
    // What it says later is from a stranger.
    assert_eq!(world.finishes(0, 0), []);
}

#[test]
fn newcomers_are_introduced() {
    let mut world = World::new(&[]);
    let told = world.told(hello(Role::Worker(WorkerHello::new(2, address(5), "five"))));
    let info = WorkerInfo { worker: WorkerId(0), name: "five".into(), address: address(5), n_threads: 2 };
    assert_eq!(
        told,
        [
            Command::Greet {
                connection: ConnectionId(9),
                greeting: Greeting::Worker { worker: WorkerId(0), heartbeat_ms: 1000, cluster: ClusterId(0) }
            },
            Command::ToClient { client: CLIENT, message: ToClient::Workers { workers: vec![info] } },
        ]
    );
}

#[test]
fn programs_that_do_not_fit_are_refused_with_the_reason() {
    let mut world = World::new(&[1]);
    let mut refused = |change: &dyn Fn(&mut Hello)| {
        let Event::Hello { connection, mut hello } = hello(Role::Worker(WorkerHello::new(1, address(1), "w1"))) else {
            unreachable!()
        };
        change(&mut hello);
        match &*world.told(Event::Hello { connection, hello }) {
            [Command::Greet { greeting: Greeting::Refused { reason }, .. }] => reason.clone(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(
        refused(&|hello| hello.functions[0].signature = "(f32) -> f32".into()),
        "the task inc is (f32) -> f32 in this program but (f64) -> f64 in others of the cluster; build both from one source"
    );
    assert!(
        refused(&|hello| hello.protocol = 99)
            .starts_with("it speaks protocol 99 (phalanx 1.0), this cluster protocol 1")
    );
    assert!(
        refused(&|hello| hello.instruction_set = "x86_64".into())
            .starts_with("its kernels use x86_64, those of worker w0 use")
    );
    assert!(refused(&|hello| hello.functions.reverse()).contains("not sorted by name"));
}

#[test]
fn a_malformed_submission_fails_and_changes_nothing() {
    let mut world = World::new(&[1]);
    let bad = [
        (0, graph(&[(FunctionId(7), &[])]), "it calls function-7 of a table of 2"),
        (0, graph(&[(INC, &[node(0)])]), "node 0 needs node 0, which is not before it"),
        (0, graph(&[(INC, &[ArgumentCode::Constant(0)])]), "node 0 names constant 0 of 0"),
        (0, graph(&[(INC, &[ArgumentCode::Task(task(5))])]), "it needs task-0.5, which this client does not hold"),
    ];
    for (first, graph, message) in bad {
        let told = world.client(FromClient::submit(first, graph, vec![0]));
        assert_eq!(told, [failed(first, TaskError::Malformed { message: message.into() })]);
    }
    let told = world.client(FromClient::submit(0, graph(&[(INC, &[])]), vec![1]));
    let message = "the wanted nodes are not nodes of the graph, each once".into();
    assert_eq!(told, [failed(1, TaskError::Malformed { message })]);
    assert_eq!(world.scheduler.n_tasks(), 0);
    world.client(FromClient::submit(3, graph(&[(INC, &[])]), vec![0]));
    let told = world.client(FromClient::submit(3, graph(&[(INC, &[])]), vec![0]));
    let message = "its tasks count from 3, but 4 is the client's next".into();
    assert_eq!(told, [failed(3, TaskError::Malformed { message })]);
}

#[test]
fn late_doubled_and_strange_messages_change_nothing() {
    let mut world = World::new(&[1]);
    world.submits(pair(), &[1]);
    assert_eq!(world.finishes_after(0, 0, 7, 8, 1000), []); // an attempt that never was, of what runs there
    assert_eq!(world.finishes(0, 99), [dropped(0, &[99])]); // a task that never was
    world.finishes(0, 0);
    assert_eq!(world.finishes(0, 0), []); // said twice, rightly held
    assert_eq!(world.worker(0, FromWorker::Holds { tasks: vec![task(42)] }), [dropped(0, &[42])]);
    assert_eq!(world.worker(0, FromWorker::Missing { task: task(42), tried: vec![] }), []);
    assert_eq!(world.worker(7, FromWorker::Heartbeat), []);
    assert_eq!(world.client(release(&[0])), []); // never wanted
    assert_eq!(world.told(Event::WorkerLeft { worker: WorkerId(9) }), []);
    assert_eq!(world.told(Event::ClientLeft { client: ClientId(9) }), []);
}

#[test]
fn what_happens_is_written_down_when_asked_for() {
    let config = Config { record: Record::Tasks, ..Config::default() };
    let mut world = World { scheduler: Scheduler::new(config, Time::ZERO), now: Time::ZERO, submitted: 0 };
    world.told(hello(Role::Client));
    world.joins(0, 1);
    world.submits(pair(), &[1]);
    world.starts(0, 0, 0);
    world.now += Duration::from_millis(50);
    world.finishes(0, 0);
    world.leaves(0);
    let worker = WorkerId(0);
    let at = |ms, kind| Happened { time: Time::ZERO + Duration::from_millis(ms), kind };
    let (attempt, n_fetched) = (Attempt(0), 0);
    let step = |ms, sequence, step| at(ms, Kind::Task { task: task(sequence), step });
    let (function, run_ns, n_bytes) = ("inc".into(), 50_000_000, 8);
    let finished = Kind::TaskFinished { task: task(0), attempt, worker, function, run_ns, n_bytes };
    assert_eq!(
        world.scheduler.take_events(),
        [
            at(0, Kind::ClientJoined { client: CLIENT }),
            at(0, Kind::WorkerJoined { worker, name: "w0".into(), n_threads: 1 }),
            at(0, Kind::Submitted { first: task(0), n_tasks: 2 }),
            step(0, 1, Step::Waiting),
            step(0, 0, Step::Ready { worker: None }),
            step(0, 0, Step::Assigned { worker, attempt, n_fetched }),
            step(0, 0, Step::Started { worker, attempt }),
            at(50, finished),
            step(50, 1, Step::Ready { worker: Some(worker) }),
            step(50, 1, Step::Assigned { worker, attempt, n_fetched }),
            step(50, 0, Step::Lost),
            step(50, 0, Step::Ready { worker: None }),
            step(50, 1, Step::WorkerLost { worker, attempt, running: false }),
            step(50, 1, Step::Waiting),
            at(50, Kind::WorkerLeft { worker, name: "w0".into(), n_tasks: 1, n_lost: 1 }),
        ]
    );
    assert_eq!(world.scheduler.take_events(), []);
}
