//! What the runtime's shells do, at once and without threads, with every command checked on the way.

use super::*;

impl World {
    pub(super) fn scheduler_hears(&mut self, connection: usize, message: Up) {
        let Connection { open: true, worker, client, .. } = self.connections[connection] else { return };
        match (message, worker, client) {
            (Up::Hello(hello), None, None) => {
                let (connection, hello) = (ConnectionId(connection as u64), Box::new(hello));
                self.tell_scheduler(scheduler::Event::Hello { connection, hello });
            }
            (Up::Worker(message), Some(worker), _) => {
                self.tell_scheduler(scheduler::Event::Worker { worker, message });
            }
            (Up::Client(message), _, Some(client)) => {
                if let FromClient::Ask { request: Request::Retire { workers, .. }, .. } = &message {
                    self.oracle.leaving.extend(workers);
                    self.look_for_the_rare();
                }
                self.tell_scheduler(scheduler::Event::Client { client, message });
            }
            (message, ..) => panic!("{message:?} on connection {connection}"),
        }
    }

    pub(super) fn tell_scheduler(&mut self, event: scheduler::Event) {
        let left = if let scheduler::Event::WorkerLeft { worker } = event { Some(worker) } else { None };
        let mut commands = Vec::new();
        self.scheduler.handle(self.now, event, &mut commands);
        self.scheduler.check_invariants();
        // Written down before anybody learns of it.
        let log = self.scheduler.take_log();
        self.journal.extend(programs::bytes(&log));
        self.check_gangs(&commands);
        for command in commands {
            self.trace.note(|| format!("    scheduler: {command:?}"));
            self.carry_out_for_scheduler(command);
        }
        self.worker_is_gone(left);
        let due = self.scheduler.deadline().map(|(at, _)| at);
        if due != self.scheduler_tick_at {
            self.scheduler_tick_at = due;
            if let Some(due) = due {
                let late = self.dice.micros(0, 2_000);
                self.plan_at(due.max(self.now) + late, Happening::SchedulerTick(due));
            }
        }
    }

    /// Who is told to run with others: all of them at once, each where there is no other.
    fn check_gangs(&mut self, commands: &[scheduler::Command]) {
        let mut begun: BTreeMap<(TaskId, u32), BTreeMap<u32, WorkerId>> = BTreeMap::new();
        for command in commands {
            if let scheduler::Command::ToWorker { worker, message: ToWorker::Compute(compute) } = command
                && let Some(gang) = &compute.gang
            {
                let ranks = begun.entry((gang.gang, gang.run)).or_default();
                assert!(ranks.insert(gang.rank, *worker).is_none(), "rank {} begins twice", gang.rank);
                assert_eq!(gang.members.len(), self.oracle.n_mates(compute.task), "who runs with {}", compute.task);
            }
        }
        for ((gang, run), ranks) in begun {
            assert_eq!(ranks.len(), self.oracle.n_mates(gang), "run {run} of {gang} begins with {ranks:?}");
            let places: BTreeSet<&WorkerId> = ranks.values().collect();
            assert!(places.len() == ranks.len() || self.oracle.may_share(gang), "run {run} of {gang}: {ranks:?}");
            self.n_gangs += 1;
        }
    }

    pub(super) fn worker_is_gone(&mut self, worker: Option<WorkerId>) {
        if let Some(worker) = worker {
            self.oracle.dead.insert(worker);
            self.oracle.left.insert(worker);
            self.known_workers.remove(&worker);
            self.look_for_the_rare();
        }
    }

    pub(super) fn look_for_the_rare(&mut self) {
        let mut staying =
            self.known_workers.iter().filter(|(worker, _)| !self.oracle.leaving.contains(worker)).peekable();
        let nobody = staying.peek().is_some() && staying.all(|(_, knows)| !knows);
        self.oracle.rare_was_unknown |= nobody;
    }

    pub(super) fn carry_out_for_scheduler(&mut self, command: scheduler::Command) {
        match command {
            scheduler::Command::Greet { connection, greeting } => {
                let connection = connection.0 as usize;
                match (&greeting, self.connections[connection].node) {
                    (Greeting::Worker { worker, .. }, Node::Worker(place)) => {
                        self.connections[connection].worker = Some(*worker);
                        self.known_workers.insert(*worker, self.workers[place].table.contains(&RARE));
                        self.look_for_the_rare();
                    }
                    (Greeting::Client { client, .. } | Greeting::Session { client, .. }, Node::Client(_)) => {
                        self.connections[connection].client = Some(*client);
                    }
                    (greeting, node) => panic!("{node:?} is greeted with {greeting:?}"),
                }
                self.send_down(connection, Down::Greeting(greeting));
            }
            scheduler::Command::ToClient { client, message } => {
                self.who_stays(&message);
                let connection = self.connections.iter().rposition(|c| c.client == Some(client));
                self.send_down(connection.expect("clients are known by greeting"), Down::Client(message));
            }
            scheduler::Command::ToWorker { worker, message } => {
                if message == ToWorker::Shutdown {
                    // It is forgotten from here on. Who is sent away is nobody's death.
                    self.oracle.left.insert(worker);
                    self.known_workers.remove(&worker);
                    self.look_for_the_rare();
                }
                self.send_down(self.connection_of(worker), Down::Worker(message));
            }
            scheduler::Command::CloseClient { client } => {
                let connection = self.connections.iter().rposition(|c| c.client == Some(client));
                let again = self.dice.chance(50);
                self.disconnect(connection.expect("clients are known by greeting"), again, true);
            }
            scheduler::Command::CloseWorker { worker } => {
                let again = self.dice.chance(50);
                self.disconnect(self.connection_of(worker), again, true);
                self.worker_is_gone(Some(worker));
            }
        }
    }

    pub(super) fn connection_of(&self, worker: WorkerId) -> usize {
        let connection = self.connections.iter().position(|c| c.worker == Some(worker));
        connection.expect("workers are known by greeting")
    }
}

impl World {
    pub(super) fn program_hears(&mut self, connection: usize, message: Down) {
        let Connection { open: true, node, .. } = self.connections[connection] else { return };
        match (message, node) {
            (Down::Greeting(Greeting::Worker { worker, heartbeat_ms, .. }), Node::Worker(place)) => {
                let shell = &mut self.workers[place];
                shell.config.heartbeat = Duration::from_millis(heartbeat_ms);
                shell.id = Some(worker);
                if std::mem::take(&mut shell.is_alone) {
                    // What it runs may be taken over under this number.
                    self.oracle.ran_on.extend(shell.running.iter().map(|(task, _)| (*task, worker)));
                    self.tell_worker(place, worker::Event::SchedulerBack);
                    return;
                }
                shell.machine = Some(Worker::new(shell.config.clone(), address(place), self.now));
                self.set_tick(node);
            }
            (Down::Greeting(Greeting::Session { client, cluster, resumed, life, .. }), Node::Client(place))
                if self.clients[place].machine.is_some() =>
            {
                self.client_is_back(place, Resume { cluster, client }, resumed, life);
            }
            (
                Down::Greeting(
                    ref greeting @ (Greeting::Client { client, heartbeat_ms }
                    | Greeting::Session { client, heartbeat_ms, .. }),
                ),
                Node::Client(place),
            ) => {
                let shell = &mut self.clients[place];
                if let (Greeting::Session { cluster, life, .. }, Some(session)) = (greeting, &mut shell.session) {
                    session.resumes = Some(Resume { cluster: *cluster, client });
                    shell.life = *life;
                    shell.config.reconnects = true;
                }
                let shell = &mut self.clients[place];
                shell.config.heartbeat = Duration::from_millis(heartbeat_ms);
                shell.machine = Some(Client::new(client, shell.config.clone(), self.now));
                self.set_tick(node);
                self.let_user(place, |user, world, machine, _| user.start(world, machine));
            }
            (Down::Worker(message), Node::Worker(place)) => {
                if let ToWorker::Cancel { task, attempt } = &message {
                    self.oracle.stopped.insert((*task, *attempt));
                }
                self.tell_worker(place, worker::Event::Scheduler(message));
            }
            (Down::Client(message), Node::Client(place)) => {
                self.tell_client(place, client::Event::Scheduler(message));
            }
            (message, node) => panic!("{message:?} to {node:?}"),
        }
    }

    /// Plans when a program's machine next wants to be told the time.
    pub(super) fn set_tick(&mut self, node: Node) {
        let (due, tick_at) = match node {
            Node::Worker(place) => {
                let shell = &mut self.workers[place];
                (shell.machine.as_ref().and_then(Worker::deadline).map(|(at, _)| at), &mut shell.tick_at)
            }
            Node::Client(place) => {
                let shell = &mut self.clients[place];
                (shell.machine.as_ref().and_then(Client::deadline).map(|(at, _)| at), &mut shell.tick_at)
            }
        };
        if *tick_at != due {
            *tick_at = due;
            if let Some(due) = due {
                let at = due.max(self.now) + self.dice.micros(0, 2_000);
                self.plan_at(at, Happening::Tick(node, due));
            }
        }
    }

    pub(super) fn tell_worker(&mut self, place: usize, event: worker::Event) {
        let Some(machine) = &mut self.workers[place].machine else { return };
        let was_paused = machine.memory_use().is_paused;
        let mut commands = Vec::new();
        machine.handle(self.now, event, &mut commands);
        machine.check_invariants();
        let must_wait = was_paused && machine.memory_use().is_paused && machine.n_running() > 1;
        for command in commands {
            self.trace.note(|| format!("    worker {place}: {command:?}"));
            if let worker::Command::Run(run) = &command {
                assert!(!must_wait, "worker {place} starts {run:?} while it has no memory");
            }
            self.carry_out_for_worker(place, command);
        }
        let shell = &self.workers[place];
        if let Some(machine) = &shell.machine {
            let n_running = machine.n_running() + machine.n_seceded();
            assert_eq!(n_running as usize, shell.running.len(), "what worker {place} runs");
        }
        self.check_memory(place);
        self.set_tick(Node::Worker(place));
    }

    pub(super) fn carry_out_for_worker(&mut self, place: usize, command: worker::Command) {
        match command {
            worker::Command::ToScheduler(message) => {
                self.n_pauses += u64::from(matches!(message, FromWorker::Memory { is_paused: true, .. }));
                if let FromWorker::Missing { task, .. } = &message {
                    *self.oracle.misses.entry(*task).or_default() += 1;
                }
                self.send_up(self.workers[place].connection, Up::Worker(message));
            }
            worker::Command::Store { task, value } => {
                self.oracle.check_value(task, &value);
                self.oracle.stored.insert(task);
                let before = self.workers[place].store.insert(task, value);
                assert!(before.is_none(), "{task} is stored twice on worker {place}");
            }
            worker::Command::Run(run) => self.run(place, run),
            worker::Command::Fetch { peer, tasks } => self.fetch(Node::Worker(place), &peer, tasks),
            worker::Command::Drop { tasks } => {
                tasks.into_iter().for_each(|task| self.drop_result(place, task));
            }
            worker::Command::Spill { task } => self.spill(place, task),
            worker::Command::Evict { tasks } => tasks.into_iter().for_each(|task| self.evict(place, task)),
            worker::Command::Unspill { task } => self.unspill(place, task),
            worker::Command::Close { peer } => self.close_link(Node::Worker(place), &peer),
            worker::Command::Stop { reason: worker::StopReason::Told } => self.worker_dies(place, false),
            worker::Command::Stop { reason: worker::StopReason::SchedulerSilent(_) } => {
                let connection = self.workers[place].connection;
                let again = self.dice.chance(50);
                self.disconnect(connection, again, false);
                self.workers[place].is_alone = true;
                self.worker_loses_scheduler(place, connection);
            }
        }
    }

    pub(super) fn run(&mut self, place: usize, run: worker::Run) {
        let worker::Run { task, attempt, function, arguments, constants, gang } = run;
        let shell = &mut self.workers[place];
        // Who does not know yet that the scheduler died runs what it was told before; tries count anew after that.
        let is_heard = self.connections[shell.connection].open;
        assert!(!is_heard || self.runs.insert((task, attempt)), "{task} {attempt} runs twice");
        shell.running.insert((task, attempt));
        let n_on_threads = shell.running.len() - shell.waited.len();
        assert!(n_on_threads <= shell.config.n_threads as usize, "worker {place} has no thread for {task}");
        let function = shell.table[function.0 as usize];
        let payload = self.oracle.run(task, function, &arguments, &constants, &shell.store);
        assert_eq!(gang.is_some(), function == "sim.member", "whether {task} is told of its gang");
        self.oracle.call_begins(task, &shell.store, &shell.running);
        self.oracle.check_place(task, &shell.name, &shell.resources);
        self.oracle.check_resources(shell.running.iter().map(|(task, _)| *task), &shell.resources);
        self.oracle.ran_on.insert((task, shell.id.expect("a worker that runs was greeted")));
        let time = match function {
            "sim.quick" => self.dice.micros(1, 50),
            "sim.slow" => self.dice.micros(200_000, 2_500_000),
            _ => self.dice.micros(100, 20_000),
        };
        let says = format!("{task} says so");
        let outcome = match payload {
            None if function == "sim.panic" => Err(Failure::Panic(says)),
            None => Err(Failure::Error(says)),
            Some(_) if function == "sim.flaky" && self.dice.chance(10) => {
                *self.oracle.moves.entry(task).or_default() += 1;
                Err(Failure::Reschedule)
            }
            Some(_) if function == "sim.member" && self.dice.chance(10) => Err(Failure::Error(says)),
            Some(_) if function == "sim.flaky" && self.dice.chance(40) => Err(Failure::Error(says)),
            Some(payload) => Ok(self.oracle.value(task, payload)),
        };
        let run_ns = time.as_nanos() as u64;
        if self.dice.chance(10) {
            // It waits for a part of its time, and the network may be slower than it.
            let (from, to) = (time / 4, time / 2);
            self.plan(from, Happening::Turn { worker: place, task, attempt, waits: true });
            self.plan(to, Happening::Turn { worker: place, task, attempt, waits: false });
        }
        self.plan(time, Happening::Ran { worker: place, task, attempt, outcome, run_ns });
    }

    /// A client's scheduler is there again.
    fn client_is_back(&mut self, place: usize, resumes: Resume, resumed: Option<u64>, life: u32) {
        let shell = &mut self.clients[place];
        if !std::mem::take(&mut shell.is_cut) {
            return;
        }
        shell.session.as_mut().expect("only sessions come back").resumes = Some(resumes);
        let is_another = std::mem::replace(&mut self.clients[place].life, life) != life;
        if is_another && resumed.is_some() {
            self.tell_client(place, client::Event::NamesLost);
        }
        let shell = &mut self.clients[place];
        match resumed {
            Some(n_messages) => {
                let unheard = shell.outbox.resume(n_messages).expect("a scheduler that lives forgets nothing");
                for message in unheard {
                    self.send_up(self.clients[place].connection, Up::Client(message));
                }
                self.tell_client(place, client::Event::Resumed);
            }
            None => {
                shell.outbox.restart();
                shell.user.starts_anew();
                self.tell_client(place, client::Event::Restarted { client: resumes.client });
            }
        }
    }

    pub(super) fn tell_client(&mut self, place: usize, event: client::Event) {
        let Some(machine) = &mut self.clients[place].machine else { return };
        let mut commands = Vec::new();
        machine.handle(self.now, event, &mut commands);
        machine.check_invariants();
        for command in commands {
            self.trace.note(|| format!("    client {place}: {command:?}"));
            self.carry_out_for_client(place, command);
        }
        self.set_tick(Node::Client(place));
    }

    pub(super) fn carry_out_for_client(&mut self, place: usize, command: client::Command) {
        match command {
            client::Command::ToScheduler(message) => {
                if let FromClient::Locate { task, .. } = &message {
                    *self.oracle.misses.entry(*task).or_default() += 1;
                }
                let shell = &mut self.clients[place];
                let message = if shell.session.is_some() { shell.outbox.say(message) } else { Some(message) };
                if let Some(message) = message {
                    self.send_up(self.clients[place].connection, Up::Client(message));
                }
            }
            client::Command::Heard { n_messages } => self.clients[place].outbox.heard(n_messages),
            client::Command::Fetch { peer, tasks } => self.fetch(Node::Client(place), &peer, tasks),
            client::Command::Close { peer } => self.close_link(Node::Client(place), &peer),
            client::Command::CloseScheduler => {
                let connection = self.clients[place].connection;
                self.disconnect(connection, true, false);
                self.clients[place].is_cut = self.clients[place].session.is_some();
                self.client_is_cut(place, connection);
            }
            client::Command::Deliver { ticket, value } => {
                let task = self.clients[place].user.answered(ticket, true);
                self.oracle.check_value(task, &value);
            }
            client::Command::Done { ticket } => {
                let task = self.clients[place].user.answered(ticket, false);
                assert!(self.oracle.stored.contains(&task), "{task} is said to be done");
            }
            client::Command::Coordinated { ticket, answer, value } => {
                let user = &mut self.clients[place].user;
                let (known, dice) = (&mut self.names, &mut self.dice);
                let granted = user.names.answered(place, ticket, &answer, value.as_ref(), known, dice);
                if let Some((held_for, name)) = granted {
                    self.plan(held_for, Happening::LetGo { client: place, lease: ticket });
                    // Who is cut off may still believe to hold it.
                    let is_there = |client: usize| {
                        let shell = &self.clients[client];
                        let is_cut = shell.is_cut || self.names.behind.contains(&client);
                        self.connections[shell.connection].open && !is_cut
                    };
                    let n_holders = self.names.holders[name].iter().filter(|(client, _)| is_there(*client)).count();
                    assert!(n_holders <= names::Known::limit(name), "{n_holders} hold the {name}");
                }
            }
            client::Command::Fail { ticket, .. } if self.clients[place].user.names.failed(ticket) => {}
            client::Command::Fail { ticket, trouble } => {
                let task = self.clients[place].user.failed(ticket);
                match trouble {
                    client::Trouble::Task(error) => {
                        let Some(task) = task else { panic!("a question about the cluster fails with {error}") };
                        let (failures, misses) = (self.config.allowed_failures, self.config.allowed_misses);
                        self.oracle.check_error(task, &error, failures, misses);
                    }
                    client::Trouble::SchedulerLost => {
                        let connection = &self.connections[self.clients[place].connection];
                        assert!(!connection.open || !self.is_healed, "client {place} lost a scheduler that is there");
                        self.user_loses_scheduler(place);
                    }
                    client::Trouble::SchedulerRestarted => {
                        let client = self.clients[place].session.and_then(|session| Some(session.resumes?.client));
                        let known = task.map(|task| task.client());
                        assert!(known.is_none() || known != client, "client {place} lost what the scheduler knows");
                    }
                    trouble => panic!("client {place} is told {trouble:?} of {task:?}"),
                }
            }
            client::Command::Reply { ticket, reply } => {
                let request = self.clients[place].user.replied(ticket);
                self.check_reply(place, &request, &reply);
            }
            client::Command::NamesLost => {
                self.clients[place].user.names.scheduler_is_lost(place, &mut self.names);
            }
            client::Command::Workers(_) | client::Command::Waiting { .. } => {}
            client::Command::Events { number, next, events, last, .. } => {
                self.clients[place].user.news.hear(self.now, (number, next), &events, last);
            }
        }
    }

    pub(super) fn user_loses_scheduler(&mut self, place: usize) {
        let user = &mut self.clients[place].user;
        user.scheduler_is_lost();
        user.names.scheduler_is_lost(place, &mut self.names);
    }

    /// Lets a user do something with his client, and carries out what he asks for.
    pub(super) fn let_user(
        &mut self,
        place: usize,
        act: impl FnOnce(&mut User, &mut Self, &Client, ClientId) -> UserActs,
    ) {
        if self.clients[place].machine.is_none() {
            return;
        }
        let client = match self.clients[place].session {
            Some(session) => session.resumes.map(|resume| resume.client),
            None => self.connections[self.clients[place].connection].client,
        };
        let Some(client) = client else { return };
        let mut user = std::mem::take(&mut self.clients[place].user);
        let Some(machine) = self.clients[place].machine.take() else { return };
        let acts = act(&mut user, self, &machine, client);
        self.clients[place].user = user;
        self.clients[place].machine = Some(machine);
        for after in acts.later {
            self.plan(after, Happening::Act(place));
        }
        for event in acts.now {
            self.trace.note(|| format!("  user {place}: {event:?}"));
            self.tell_client(place, event);
        }
    }
}
