//! Tasks that wait for tasks they submitted.

use super::*;

/// The number of the client inside of a worker.
const INNER: ClientId = ClientId(1);

fn inner(sequence: u64) -> TaskId {
    TaskId::new(INNER, sequence)
}

fn turn(waits: bool, of: TaskId, attempt: u32) -> FromWorker {
    let attempt = Attempt(attempt);
    if waits { FromWorker::Seceded { task: of, attempt } } else { FromWorker::Rejoined { task: of, attempt } }
}

impl World {
    /// The client inside of a worker submits as many tasks without inputs, on behalf of a task.
    fn submits_inside(&mut self, parent: TaskId, first: u64, n: u32) -> Vec<Command> {
        let graph = independent(n);
        let message =
            FromClient::Submit { first, graph: Box::new(graph), wanted: (0..n).collect(), parent: Some(parent) };
        self.told(Event::Client { client: INNER, message })
    }
}

fn independent(n: u32) -> Graph {
    Graph { functions: vec![INC; n as usize], ends: vec![0; n as usize], ..Graph::default() }
}

/// The tasks that were sent, with their priorities' depths.
fn sent(commands: &[Command]) -> Vec<(TaskId, u32)> {
    let compute = |command: &Command| match command {
        Command::ToWorker { message: ToWorker::Compute(compute), .. } => Some((compute.task, compute.priority.depth.0)),
        _ => None,
    };
    commands.iter().filter_map(compute).collect()
}

#[test]
fn what_a_waiting_task_submitted_runs_in_its_place_and_before_what_else_waits() {
    let mut world = World::new(&[1]);
    world.told(hello(Role::Client));
    assert_eq!(sent(&world.submits(independent(3), &[0, 1, 2])), [(task(0), 0)]);
    world.starts(0, 0, 0);
    assert_eq!(world.submits_inside(task(0), 0, 2), []);
    assert_eq!(sent(&world.worker(0, turn(true, task(0), 0))), [(inner(0), 1)]);
    // It submits as well, and waits: the deepest comes first.
    world.worker(0, FromWorker::Started { task: inner(0), attempt: Attempt(0) });
    assert_eq!(world.submits_inside(inner(0), 2, 1), []);
    assert_eq!(sent(&world.worker(0, turn(true, inner(0), 0))), [(inner(2), 2)]);
    let finished = |of: TaskId| FromWorker::finished(of, Attempt(0), 8, 50_000_000, None);
    assert_eq!(sent(&world.worker(0, finished(inner(2)))), [(inner(1), 1)]);
    assert_eq!(world.worker(0, turn(false, inner(0), 0)), []);
    // The one that goes on takes no new task's place: there is none to have before both have ended.
    assert_eq!(sent(&world.worker(0, finished(inner(0)))), []);
    assert_eq!(sent(&world.worker(0, finished(inner(1)))), [(task(1), 0)]);
    // Late words about an attempt that is over change nothing.
    assert_eq!(world.worker(0, turn(true, inner(0), 0)), []);
    assert_eq!(world.worker(0, turn(false, inner(1), 0)), []);
}

#[test]
fn a_waiting_task_is_no_load() {
    let mut world = World::new(&[1, 1]);
    world.told(hello(Role::Client));
    // Idle workers are taken in turn, the second one first.
    assert_eq!(sent(&world.submits(independent(2), &[0, 1])).len(), 2);
    world.starts(1, 0, 0);
    world.worker(1, turn(true, task(0), 0));
    let submitted = world.submits_inside(task(0), 0, 1);
    assert!(matches!(submitted[..], [Command::ToWorker { worker: WorkerId(1), .. }]), "{submitted:?}");
    // Cancelled while it waits, it leaves no trace.
    let cancel = ToWorker::Cancel { task: task(0), attempt: Attempt(0) };
    let cancelled = world.client(FromClient::Cancel { tasks: vec![task(0)] });
    let failed = ToClient::Failed { task: task(0), error: TaskError::Cancelled };
    assert_eq!(
        cancelled,
        [
            Command::ToWorker { worker: WorkerId(1), message: cancel },
            Command::ToClient { client: CLIENT, message: failed }
        ]
    );
    assert_eq!(world.worker(1, turn(false, task(0), 0)), []);
}

#[test]
fn a_task_that_kills_workers_through_what_it_submits_fails() {
    for client_is_lost_first in [false, true] {
        let mut world = World::new(&[1]);
        world.submits(independent(1), &[0]);
        for life in 0..3_u32 {
            world.told(hello(Role::Client));
            let client = ClientId(1 + life);
            let child = TaskId::new(client, 0);
            world.starts(life, 0, life);
            world.worker(life, turn(true, task(0), life));
            let message = FromClient::Submit {
                first: 0,
                graph: Box::new(independent(1)),
                wanted: vec![0],
                parent: Some(task(0)),
            };
            assert_eq!(sent(&world.told(Event::Client { client, message })), [(child, 1)]);
            assert_eq!(world.worker(life, FromWorker::Started { task: child, attempt: Attempt(0) }), []);
            let mut said = Vec::new();
            if client_is_lost_first {
                world.told(Event::ClientLeft { client });
                said.extend(world.leaves(life));
            } else {
                said.extend(world.leaves(life));
                world.told(Event::ClientLeft { client });
            }
            let is_over = said.iter().any(|command| {
                let error = match command {
                    Command::ToClient { message: ToClient::Failed { task, error }, .. } if task.client() == CLIENT => {
                        error
                    }
                    _ => return false,
                };
                matches!(error, TaskError::KilledWorkers { deaths, .. } if deaths.len() == 3)
            });
            assert_eq!(is_over, life == 2, "{said:?}");
            if !is_over {
                assert_eq!(sent(&world.joins(life + 1, 1)).first(), Some(&(task(0), 0)));
            }
        }
    }
}

#[test]
fn a_task_that_only_waits_is_not_suspected_when_its_worker_is_lost() {
    let mut world = World::new(&[1]);
    world.submits(independent(1), &[0]);
    for life in 0..5_u32 {
        world.starts(life, 0, life);
        assert_eq!(world.worker(life, turn(true, task(0), life)), []);
        assert_eq!(world.leaves(life), []);
        assert_eq!(sent(&world.joins(life + 1, 1)), [(task(0), 0)]);
    }
}
