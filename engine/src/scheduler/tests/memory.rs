//! Budgets: what a worker is given while its memory is short, and what can never run.

use super::*;

impl World {
    /// A worker with a budget.
    fn joins_budgeted(&mut self, number: u32, n_threads: u32, memory_limit: u64) {
        let hello_of = WorkerHello::new(n_threads, address(number), format!("w{number}"));
        self.told(hello(Role::Worker(WorkerHello { memory_limit: Some(memory_limit), ..hello_of })));
    }

    fn says_memory(&mut self, worker: u32, spilled: u64, is_paused: bool) -> Vec<Command> {
        self.worker(worker, FromWorker::Memory { resident: 0, spilled, is_paused })
    }

    /// Results of these sizes on worker 0, all of them wanted.
    fn with_results(mut self, sizes: &[u64]) -> Self {
        let calls: Vec<(FunctionId, &[ArgumentCode])> = sizes.iter().map(|_| (INC, &[][..])).collect();
        let wanted: Vec<u32> = (0..sizes.len() as u32).collect();
        self.submits(graph(&calls), &wanted);
        for (sequence, n_bytes) in sizes.iter().enumerate() {
            self.finishes_after(0, sequence as u64, 0, *n_bytes, 1_000_000_000);
        }
        self
    }
}

/// The tasks that commands send to a worker.
fn sent(commands: &[Command], to: u32) -> Vec<u64> {
    let task = |command: &Command| match command {
        Command::ToWorker { worker, message: ToWorker::Compute(compute) } if worker.0 == to => {
            Some(compute.task.sequence())
        }
        _ => None,
    };
    commands.iter().filter_map(task).collect()
}

#[test]
fn a_task_whose_inputs_exceed_every_budget_fails_at_once_and_says_by_how_much() {
    let mut world = World::new(&[]);
    world.joins_budgeted(0, 1, 1000);
    world.joins_budgeted(1, 1, 500);
    let mut world = world.with_results(&[]);
    world.submits(graph(&[(INC, &[]), (INC, &[]), (SUM, &[node(0), node(1)])]), &[2]);
    world.finishes_after(1, 0, 0, 900, 1_000_000);
    let told = world.finishes_after(0, 1, 0, 300, 1_000_000);
    let error = TaskError::TooLarge { function: "sum".into(), n_bytes: 1200, limit: 1000, excess: 200 };
    assert_eq!(told, [failed(2, error), dropped(0, &[1]), dropped(1, &[0])]);
}

#[test]
fn with_one_unlimited_worker_nothing_is_too_large() {
    let mut world = World::new(&[1]);
    world.joins_budgeted(1, 1, 500);
    world.submits(graph(&[(INC, &[]), (INC, &[]), (SUM, &[node(0), node(1)])]), &[2]);
    world.finishes_after(1, 0, 0, 300, 1_000_000);
    assert_eq!(sent(&world.finishes_after(0, 1, 0, 900, 1_000_000), 0), [2]);
}

#[test]
fn a_paused_worker_is_given_nothing_and_others_are() {
    let mut world = World::new(&[]);
    world.joins_budgeted(0, 2, 1000);
    world.joins_budgeted(1, 1, 1000);
    world.submits(graph(&[(INC, &[])]), &[0]);
    assert_eq!(world.says_memory(1, 0, true), []);
    let told = world.submits(graph(&[(INC, &[]), (INC, &[]), (INC, &[])]), &[0, 1, 2]);
    assert_eq!((sent(&told, 0), sent(&told, 1)), (vec![1, 2], vec![]));
    assert_eq!(sent(&world.finishes(1, 0), 1), []);
    assert_eq!(sent(&world.says_memory(1, 0, false), 1), [3]);
}

#[test]
fn a_paused_worker_with_nothing_in_hand_gets_what_waits_for_it_alone_one_at_a_time() {
    let mut world = World::new(&[]);
    world.joins_budgeted(0, 2, 1000);
    let mut world = world.with_results(&[900]);
    assert_eq!(world.says_memory(0, 0, true), []);
    let told =
        world.submits(graph(&[(SUM, &[ArgumentCode::Task(task(0))]), (SUM, &[ArgumentCode::Task(task(0))])]), &[0, 1]);
    assert_eq!(sent(&told, 0), [1]);
    assert_eq!(sent(&world.finishes(0, 1), 0), [2]);
}

#[test]
fn where_all_are_paused_and_nobody_runs_anything_one_task_goes_on() {
    let mut world = World::new(&[]);
    world.joins_budgeted(0, 1, 1000);
    world.joins_budgeted(1, 1, 1000);
    world.says_memory(0, 0, true);
    world.says_memory(1, 0, true);
    let told = world.submits(graph(&[(INC, &[]), (INC, &[])]), &[0, 1]);
    assert_eq!((sent(&told, 0), sent(&told, 1)), (vec![0], vec![]));
    assert_eq!(sent(&world.finishes(0, 0), 0), [1]);
}

fn sized(mut graph: Graph, n_bytes: u64) -> Graph {
    let options = TaskOptions { expected_bytes: Some(n_bytes), ..TaskOptions::default() };
    (0..graph.len() as u32).for_each(|node| graph.push_options(node, options.clone()));
    graph
}

#[test]
fn producers_are_admitted_up_to_60_percent_of_the_budget() {
    let mut world = World::new(&[]);
    world.joins_budgeted(0, 8, 1000);
    let told = world.submits(sized(graph(&[(INC, &[][..]); 8]), 250), &[0, 1, 2, 3, 4, 5, 6, 7]);
    // 750 bytes are more than 600: no fourth one.
    assert_eq!(sent(&told, 0), [0, 1, 2]);
    assert_eq!(sent(&world.finishes_after(0, 0, 0, 250, 1_000), 0), []);
    // What is on disk is not in memory.
    assert_eq!(sent(&world.says_memory(0, 250, false), 0), [3]);
    // Released results are not either.
    assert_eq!(sent(&world.client(release(&[0])), 0), []);
    assert_eq!(sent(&world.says_memory(0, 0, false), 0), []);
    world.finishes_after(0, 1, 0, 250, 1_000);
    assert_eq!(sent(&world.client(release(&[1])), 0), [4]);
}

#[test]
fn what_a_function_made_before_is_expected_again() {
    let mut world = World::new(&[]);
    world.joins_budgeted(0, 1, 1000);
    world.submits(graph(&[(INC, &[]), (INC, &[])]), &[0, 1]);
    let told = world.finishes_after(0, 0, 0, 300, 1_000_000_000);
    let [Command::ToClient { .. }, Command::ToWorker { message: ToWorker::Compute(compute), .. }] = &*told else {
        panic!("{told:?}")
    };
    assert_eq!(compute.expected_bytes, 300);
}

#[test]
fn a_full_worker_takes_tasks_that_free_as_much_as_they_make() {
    let mut world = World::new(&[]);
    world.joins_budgeted(0, 2, 1000);
    // Two roots of 400 bytes, each with a child that makes 400 of it; and other roots.
    let calls: [(FunctionId, &[ArgumentCode]); 4] = [(INC, &[]), (SUM, &[node(0)]), (INC, &[]), (INC, &[])];
    let told = world.submits(sized(graph(&calls), 400), &[1, 2, 3]);
    assert_eq!(sent(&told, 0), [0, 2]);
    assert_eq!(sent(&world.finishes_after(0, 0, 0, 400, 1_000_000_000), 0), [1]);
    // Of what is left nothing is freed, so it waits until the worker has nothing else in hand.
    assert_eq!(sent(&world.finishes_after(0, 1, 0, 400, 1_000_000_000), 0), []);
    assert_eq!(sent(&world.finishes_after(0, 2, 0, 400, 1_000_000_000), 0), [3]);
}

#[test]
fn a_result_that_could_not_be_kept_fails_its_task() {
    let mut world = World::new(&[]);
    world.joins_budgeted(0, 1, 1000);
    let mut world = world.with_results(&[700, 600]);
    let lost = FromWorker::NotKept { task: task(1), reason: "disk full".into() };
    let error =
        TaskError::NotKept { function: "inc".into(), worker: WorkerId(0), n_bytes: 600, reason: "disk full".into() };
    assert_eq!(world.worker(0, lost.clone()), [failed(1, error)]);
    // The worker is as good as before, and its word is not taken twice.
    assert_eq!(world.worker(0, lost), []);
    assert_eq!(sent(&world.submits(graph(&[(INC, &[])]), &[0]), 0), [2]);
}

/// distributed's `graph_execution_width`: chains that free what they read are worked off one after the other, not
/// all roots first.
#[test]
fn many_chains_never_hold_more_than_one_root_a_thread() {
    const CHAINS: u32 = 32;
    let mut world = World::new(&[]);
    world.joins_budgeted(0, 2, 1000);
    world.joins_budgeted(1, 2, 1000);
    let mut nodes = Vec::new();
    for chain in 0..CHAINS {
        nodes.push((INC, Vec::new()));
        nodes.extend((0..4).map(|i| (SUM, vec![node(5 * chain + i)])));
    }
    let calls: Vec<(FunctionId, &[ArgumentCode])> = nodes.iter().map(|(f, a)| (*f, &a[..])).collect();
    let ends: Vec<u32> = (0..CHAINS).map(|chain| 5 * chain + 4).collect();
    let mut commands = world.submits(sized(graph(&calls), 100), &ends);
    let mut running: std::collections::VecDeque<(u32, u64)> = std::collections::VecDeque::new();
    let (mut n_roots, mut most) = ([0_i32; 2], 0);
    loop {
        for command in &commands {
            match command {
                Command::ToWorker { worker, message: ToWorker::Compute(compute) } => {
                    running.push_back((worker.0, compute.task.sequence()));
                }
                Command::ToWorker { worker, message: ToWorker::Drop { tasks } } => {
                    let roots = tasks.iter().filter(|task| task.sequence().is_multiple_of(5)).count();
                    n_roots[worker.0 as usize] -= roots as i32;
                }
                _ => {}
            }
        }
        let Some((worker, sequence)) = running.pop_front() else { break };
        n_roots[worker as usize] += i32::from(sequence.is_multiple_of(5));
        most = most.max(n_roots[worker as usize]);
        commands = world.finishes_after(worker, sequence, 0, 100, 1_000_000_000);
        // Nobody wants the ends for long.
        if sequence % 5 == 4 {
            commands.extend(world.client(release(&[sequence])));
        }
    }
    assert_eq!((most, n_roots, world.scheduler.n_tasks()), (2, [0, 0], 0));
}

#[test]
fn where_memory_is_not_plenty_less_is_sent_ahead() {
    let mut n_sent = [0; 2];
    for (n, size) in n_sent.iter_mut().zip([250, 260]) {
        let mut world = World::new(&[]);
        world.joins_budgeted(0, 1, 1_000);
        let mut world = world.with_results(&[size]);
        // A function of its own, whose tasks take a millisecond each and make nothing.
        world.submits(graph(&[(SUM, &[])]), &[0]);
        world.finishes_after(0, 1, 0, 0, 1_000_000);
        let many: Vec<(FunctionId, &[ArgumentCode])> = vec![(SUM, &[]); 20];
        *n = sent(&world.submits(graph(&many), &(0..20).collect::<Vec<_>>()), 0).len();
    }
    assert_eq!(n_sent, [4, 1]);
}
