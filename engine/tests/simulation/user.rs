//! The people: they submit random work, ask for answers, lose interest, take back, and let go.

use std::collections::{BTreeMap, BTreeSet};

use phalanx_engine::{
    client::{Client, Event},
    graph::{ArgumentCode, GangSeat, Graph, TaskOptions},
    id::{ClientId, TaskId},
    request::Request,
    value::Value,
};

use crate::{
    dice::Dice,
    names::Names,
    news::News,
    oracle,
    world::{UserActs, World},
};

/// One client's user.
#[derive(Debug, Default)]
pub(crate) struct User {
    table: Vec<&'static str>,
    held: BTreeSet<TaskId>,
    /// Those of them, and of what was held before, that are actors.
    actors: BTreeSet<TaskId>,
    open: BTreeMap<u64, Ask>,
    next_ticket: u64,
    is_lost: bool,
    pub(crate) names: Names,
    /// What it reads of what happens, where it does.
    pub(crate) news: News,
}

/// An answer that is waited for.
#[derive(Debug, Clone)]
enum Ask {
    /// About a task, with its value or without.
    Task { task: TaskId, gather: bool },
    /// About the cluster.
    Cluster(Request),
    /// For a result by key, which may be this task.
    Shared { own: TaskId },
}

/// A question that is answered.
#[derive(Debug)]
pub(crate) enum Question {
    Cluster(Request),
    Shared { own: TaskId },
}

impl User {
    pub(crate) fn new(table: Vec<&'static str>) -> Self {
        Self { table, ..Self::default() }
    }

    /// Plans when to do something.
    pub(crate) fn start(&mut self, world: &mut World, _: &Client) -> UserActs {
        let n_acts = world.dice.between(2, 14);
        let busy_for = world.busy_for.as_micros() as u64;
        let later = (0..n_acts).map(|_| world.dice.micros(0, busy_for)).collect();
        let now = if n_acts.is_multiple_of(3) { self.news.begin() } else { Vec::new() };
        UserActs { now, later }
    }

    /// Does something.
    pub(crate) fn act(&mut self, world: &mut World, machine: &Client, client: ClientId) -> UserActs {
        let mut acts = UserActs { now: self.news.read(), ..UserActs::default() };
        if world.dice.chance(25) {
            let ticket = self.ticket();
            acts.now.push(self.names.act(&mut world.dice, &mut world.names, ticket));
            acts.later.push(world.dice.micros(0, 1_000_000));
            return acts;
        }
        let held: Vec<TaskId> = self.held.iter().copied().collect();
        let choice = match world.dice.below(100) {
            _ if world.dice.chance(world.sociability) => world.dice.between(92, 97),
            choice if !held.is_empty() => choice,
            _ => 0,
        };
        match choice {
            0..40 => {
                acts.now.push(self.submit(world, machine, client));
                // Most people who submit something then ask for it.
                acts.later.push(world.dice.micros(0, 1_000_000));
            }
            40..62 => acts.now.push(self.ask(world.dice.pick(&held), true)),
            62..74 => acts.now.push(self.ask(world.dice.pick(&held), false)),
            74..88 => {
                let mut tasks: Vec<TaskId> = (0..world.dice.between(1, 3)).map(|_| world.dice.pick(&held)).collect();
                tasks.retain(|task| self.held.remove(task));
                acts.now.push(Event::Release { tasks });
            }
            88..92 => {
                let task = world.dice.pick(&held);
                world.oracle.cancelled.insert(task);
                acts.now.push(Event::Cancel { tasks: vec![task] });
            }
            92..95 => acts.now.push(self.share(world, machine, client)),
            95..98 => {
                let question = if world.dice.chance(30) { self.news.question() } else { None };
                let request = question.map(|question| Request::Inspect { question });
                // An actor's state cannot leave its worker, and no program can publish one.
                let actors = &self.actors;
                let copied: Vec<TaskId> = held.iter().filter(|task| !actors.contains(task)).copied().collect();
                if let Some(request) = request.or_else(|| world.draw_request(&held, &copied)) {
                    let ticket = self.open(Ask::Cluster(request.clone()));
                    acts.now.push(Event::Ask { request, ticket });
                }
            }
            _ => {
                let tickets: Vec<u64> = self.open.keys().copied().collect();
                if !tickets.is_empty() {
                    let ticket = world.dice.pick(&tickets);
                    self.open.remove(&ticket);
                    acts.now.push(Event::Forget { ticket });
                }
            }
        }
        acts
    }

    /// Asks for all that it holds.
    pub(crate) fn gather_everything(&mut self, _: &mut World, _: &Client, _: ClientId) -> UserActs {
        let (actors, tasks): (Vec<TaskId>, Vec<TaskId>) =
            self.held.iter().partition(|task| self.actors.contains(*task));
        let mut now: Vec<Event> = actors.into_iter().map(|actor| self.ask(actor, false)).collect();
        // All at once, with one ticket after the other.
        let ticket = self.next_ticket;
        tasks.iter().for_each(|task| drop(self.ask(*task, true)));
        now.push(Event::Gather { tasks, ticket });
        UserActs { now, later: Vec::new() }
    }

    /// Lets go of all that it holds.
    pub(crate) fn release_everything(&mut self, _: &mut World, _: &Client, _: ClientId) -> UserActs {
        let mut now = vec![Event::Release { tasks: std::mem::take(&mut self.held).into_iter().collect() }];
        now.extend(self.news.end());
        let next = &mut self.next_ticket;
        now.extend(self.names.clean_up(|| {
            *next += 1;
            *next - 1
        }));
        UserActs { now, later: Vec::new() }
    }

    /// An answer came; says what it is about.
    pub(crate) fn answered(&mut self, ticket: u64, with_value: bool) -> TaskId {
        let ask = self.open.remove(&ticket);
        let Some(Ask::Task { task, gather }) = ask else { panic!("answer {ticket} is given to nobody") };
        assert_eq!(gather, with_value, "the answer about {task} is of another kind");
        task
    }

    /// There will be no answer; says about which task, where it is one.
    pub(crate) fn failed(&mut self, ticket: u64) -> Option<TaskId> {
        match self.open.remove(&ticket) {
            Some(Ask::Task { task, .. }) => Some(task),
            Some(Ask::Cluster(_) | Ask::Shared { .. }) => None,
            None => panic!("failure {ticket} is told to nobody"),
        }
    }

    /// A question about the cluster is answered; says which.
    pub(crate) fn replied(&mut self, ticket: u64) -> Question {
        match self.open.remove(&ticket) {
            Some(Ask::Cluster(request)) => Question::Cluster(request),
            Some(Ask::Shared { own }) => Question::Shared { own },
            _ => panic!("reply {ticket} is given to nobody"),
        }
    }

    /// What it held is nothing any more.
    pub(crate) fn starts_anew(&mut self) {
        self.held.clear();
    }

    pub(crate) fn scheduler_is_lost(&mut self) {
        self.is_lost = true;
        self.news = News::default();
    }

    pub(crate) fn is_waiting(&self) -> bool {
        !self.open.is_empty() || self.names.is_waiting()
    }

    pub(crate) fn waits_for(&self) -> impl Iterator<Item = String> + '_ {
        let names = self.names.is_waiting().then(|| format!("{:?}", self.names));
        self.open.iter().map(|(ticket, ask)| format!("{ticket}: {ask:?}")).chain(names)
    }

    fn ask(&mut self, task: TaskId, gather: bool) -> Event {
        // What an actor holds never leaves its worker.
        let gather = gather && !self.actors.contains(&task);
        let ticket = self.open(Ask::Task { task, gather });
        let tasks = vec![task];
        if gather { Event::Gather { tasks, ticket } } else { Event::Await { tasks, ticket } }
    }

    /// Submits one of a few calls that everybody shares by key; now and then another call under the key.
    fn share(&mut self, world: &mut World, machine: &Client, client: ClientId) -> Event {
        let key = world.dice.below(3);
        let recipe = if world.dice.chance(10) { key + 100 } else { key } as u64;
        let mut graph = Graph::default();
        graph.functions.push(oracle::place(&self.table, ["sim.mix", "sim.slow", "sim.flaky"][key]));
        graph.arguments.push(ArgumentCode::Constant(0));
        graph.ends.push(1);
        graph.constants.push(Value::new(recipe));
        let own = TaskId::new(client, machine.first_of_next());
        world.oracle.submitted(&graph, &self.table, |_| own);
        let key = format!("key {key}");
        let ticket = self.open(Ask::Shared { own });
        Event::Share { key, recipe, graph: Box::new(graph), node: 0, parent: None, ticket }
    }

    /// The user holds this from now on. True where he did before.
    pub(crate) fn granted(&mut self, task: TaskId) -> bool {
        !self.held.insert(task)
    }

    /// Lets go of every name.
    pub(crate) fn unpublish_everything(&mut self, _: &mut World, _: &Client, _: ClientId) -> UserActs {
        let requests = (0..3).map(|n| Request::Unpublish { name: format!("name {n}") });
        let now = requests.map(|request| {
            let ticket = self.open(Ask::Cluster(request.clone()));
            Event::Ask { request, ticket }
        });
        UserActs { now: now.collect(), later: Vec::new() }
    }

    /// Waits for an answer, by a number that was never used.
    fn open(&mut self, ask: Ask) -> u64 {
        let ticket = self.ticket();
        self.open.insert(ticket, ask);
        ticket
    }

    /// A number that was never used.
    pub(crate) fn ticket(&mut self) -> u64 {
        self.next_ticket += 1;
        self.next_ticket - 1
    }

    fn submit(&mut self, world: &mut World, machine: &Client, client: ClientId) -> Event {
        let held: Vec<TaskId> = self.held.difference(&self.actors).copied().collect();
        let graph = match world.dice.below(100) {
            0..20 => self.draw_calls(&mut world.dice, &held),
            20..28 => self.draw_gang(&mut world.dice, &held),
            _ => self.draw_graph(&mut world.dice, &held),
        };
        let first = machine.first_of_next();
        let task_of = |node: u32| TaskId::new(client, first + u64::from(node));
        world.oracle.submitted(&graph, &self.table, task_of);
        let last = graph.len() as u32 - 1;
        let members = graph.gang().expect("gangs are whole").unwrap_or_default();
        let percent = world.dice.pick(&[0, 10, 60]);
        let wanted: Vec<u32> =
            (0..=last).filter(|node| *node == last || members.contains(node) || world.dice.chance(percent)).collect();
        if !self.is_lost {
            let makes_one = |node: &u32| graph.options_of(*node).actor;
            self.actors.extend((0..=last).filter(makes_one).map(task_of));
            self.held.extend(wanted.iter().map(|node| task_of(*node)));
        }
        // Some work is submitted by tasks: of this client or another, live or long gone.
        let n_known = world.oracle.tasks.len();
        let parent = if world.dice.chance(30) && n_known > 0 {
            world.oracle.tasks.keys().nth(world.dice.below(n_known)).copied()
        } else {
            None
        };
        Event::Submit { graph: Box::new(graph), wanted, parent }
    }

    /// An actor, or one that is held, and some calls of it; others take what they give.
    fn draw_calls(&self, dice: &mut Dice, held: &[TaskId]) -> Graph {
        let mut graph = Graph::default();
        let actors: Vec<TaskId> = self.held.intersection(&self.actors).copied().collect();
        let mut actor = ArgumentCode::Node(0);
        if !actors.is_empty() && dice.chance(60) {
            actor = ArgumentCode::Task(dice.pick(&actors));
        } else {
            graph.push_options(0, TaskOptions { actor: true, ..TaskOptions::default() });
            self.push(&mut graph, "sim.actor");
        }
        for _ in 0..dice.between(1, 6) {
            let node = graph.len() as u32;
            let made = if actor == ArgumentCode::Node(0) { 1 } else { 0 };
            if dice.chance(60) {
                graph.arguments.push(actor);
                if node > made && dice.chance(40) {
                    graph.arguments.push(ArgumentCode::Node(dice.between(made as usize, node as usize - 1) as u32));
                }
                self.push(&mut graph, "sim.call");
            } else {
                if node > made {
                    graph.arguments.push(ArgumentCode::Node(dice.between(made as usize, node as usize - 1) as u32));
                } else if !held.is_empty() {
                    graph.arguments.push(ArgumentCode::Task(dice.pick(held)));
                }
                let function = dice.pick(&["sim.mix", "sim.big", "sim.slow"]);
                self.push(&mut graph, function);
            }
        }
        graph
    }

    /// Tasks that run together, what they take, and one that takes what they give.
    fn draw_gang(&self, dice: &mut Dice, held: &[TaskId]) -> Graph {
        let mut graph = Graph::default();
        let n_before = dice.between(0, 2) as u32;
        for _ in 0..n_before {
            self.push(&mut graph, "sim.mix");
        }
        let n_members = dice.between(1, 3) as u32;
        let (share_workers, retries) = (dice.chance(30), dice.between(0, 4) as u32);
        let wait_timeout = dice.chance(20).then(|| dice.micros(1, 5_000_000));
        let resources = if dice.chance(15) { [("gpu".into(), 1)].into() } else { [].into() };
        for rank in 0..n_members {
            graph.arguments.push(ArgumentCode::Constant(graph.constants.len() as u32));
            graph.constants.push(Value::new(u64::from(rank)));
            if n_before > 0 && dice.chance(50) {
                graph.arguments.push(ArgumentCode::Node(dice.below(n_before as usize) as u32));
            }
            if !held.is_empty() && dice.chance(30) {
                graph.arguments.push(ArgumentCode::Task(dice.pick(held)));
            }
            let gang = Some(GangSeat { rank, n_members, share_workers });
            let resources = std::collections::BTreeMap::clone(&resources);
            let options = TaskOptions { gang, retries, wait_timeout, resources, ..TaskOptions::default() };
            graph.push_options(n_before + rank, options);
            self.push(&mut graph, "sim.member");
        }
        if dice.chance(50) {
            graph.arguments.extend((n_before..n_before + n_members).map(ArgumentCode::Node));
            self.push(&mut graph, "sim.mix");
        }
        graph
    }

    /// A node whose arguments are there already.
    fn push(&self, graph: &mut Graph, function: &str) {
        graph.functions.push(oracle::place(&self.table, function));
        graph.ends.push(graph.arguments.len() as u32);
    }

    /// Random work: a chain, a fan that is gathered into a list, or anything.
    fn draw_graph(&self, dice: &mut Dice, held: &[TaskId]) -> Graph {
        let mut graph = Graph::default();
        let n_nodes = dice.pick(&[1, 2, 5, 9, 14, 20]);
        let shape = dice.below(4);
        for node in 0..n_nodes {
            match shape {
                0 if node > 0 => graph.arguments.push(ArgumentCode::Node(node - 1)),
                1 if node > 0 && node + 1 < n_nodes => graph.arguments.push(ArgumentCode::Node(0)),
                1 if node > 0 => {
                    graph.arguments.push(ArgumentCode::List(node));
                    graph.arguments.extend((0..node).map(ArgumentCode::Node));
                }
                _ => {
                    for _ in 0..dice.between(0, 3) {
                        self.draw_argument(dice, &mut graph, node, held);
                    }
                }
            }
            let function = match dice.below(100) {
                0..45 => "sim.mix",
                45..60 => "sim.quick",
                60..75 => "sim.big",
                75..82 => "sim.slow",
                82..91 => "sim.flaky",
                91..97 => "sim.rare",
                97 if shape > 1 => "sim.fail",
                98 if shape > 1 => "sim.panic",
                _ => "sim.mix",
            };
            let options = TaskOptions {
                no_duplicate: dice.chance(10),
                resources: if dice.chance(5) { [("gpu".into(), 1)].into() } else { [].into() },
                workers: if dice.chance(5) { [format!("w{}", dice.below(3))].into() } else { [].into() },
                allow_other_workers: dice.chance(50),
                wait_timeout: dice.chance(2).then(|| dice.micros(1, 5_000_000)),
                priority: if dice.chance(20) { dice.between(0, 4) as i32 - 2 } else { 0 },
                retries: if function == "sim.flaky" { dice.between(0, 5) as u32 } else { 0 },
                expected_bytes: dice.chance(20).then(|| dice.pick(&[0, 100, 2_000, 50_000])),
                actor: false,
                gang: None,
            };
            if options != TaskOptions::default() {
                graph.push_options(node, options);
            }
            graph.functions.push(oracle::place(&self.table, function));
            graph.ends.push(graph.arguments.len() as u32);
        }
        graph
    }

    fn draw_argument(&self, dice: &mut Dice, graph: &mut Graph, node: u32, held: &[TaskId]) {
        match dice.below(10) {
            0..5 if node > 0 => graph.arguments.push(ArgumentCode::Node(dice.below(node as usize) as u32)),
            5..7 if !held.is_empty() => graph.arguments.push(ArgumentCode::Task(dice.pick(held))),
            7 if node > 0 => {
                let n = dice.between(0, 4) as u32;
                graph.arguments.push(ArgumentCode::List(n));
                for _ in 0..n {
                    graph.arguments.push(ArgumentCode::Node(dice.below(node as usize) as u32));
                }
            }
            8 if !graph.constants.is_empty() => {
                graph.arguments.push(ArgumentCode::Constant(dice.below(graph.constants.len()) as u32));
            }
            _ => {
                graph.arguments.push(ArgumentCode::Constant(graph.constants.len() as u32));
                graph.constants.push(Value::new(dice.below(1 << 40) as u64));
            }
        }
    }
}
