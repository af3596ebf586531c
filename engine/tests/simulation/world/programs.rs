//! Programs join, connect, and are struck by faults.

use phalanx_engine::{journal::Log, scheduler::Recovery};

use super::*;

impl World {
    pub(super) fn worker_joins(&mut self) {
        let place = self.workers.len();
        let mut table = oracle::FUNCTIONS.to_vec();
        if self.has_rare && self.dice.chance(60) {
            table.retain(|name| *name != RARE);
        }
        if self.dice.chance(50) {
            table.insert(1, "sim.another"); // so that one function has several numbers
        }
        let (memory_limit, drive) = self.draw_memory();
        let config = worker::Config {
            memory_limit,
            spill_from: self.dice.pick(&[0, 40, 500]),
            n_threads: self.dice.between(1, 3) as u32,
            peer_silence: Duration::from_secs(2),
            max_fetches: self.dice.between(1, 3) as u32,
            max_incoming: self.dice.pick(&[1, 2_000, 1 << 20]),
            inline_bytes: self.dice.pick(&[0, 64, 64 << 10]),
            silence: SILENCE,
            ..worker::Config::default()
        };
        let name = format!("w{}", place % 3);
        let n_gpus = if self.is_healed { 1 } else { self.dice.below(3) as u64 };
        let resources = BTreeMap::from([("gpu".to_owned(), n_gpus)]);
        let hello = WorkerHello::new(config.n_threads, address(place), &name);
        let role = Role::Worker(WorkerHello { resources: resources.clone(), memory_limit, ..hello });
        let connection = self.connect(Node::Worker(place));
        self.workers.push(WorkerShell {
            alive: true,
            silent: false,
            stalled_until: Time::ZERO,
            connection,
            config,
            name,
            resources,
            table: table.clone(),
            id: None,
            is_alone: false,
            machine: None,
            store: BTreeMap::new(),
            disk: BTreeMap::new(),
            writing: BTreeMap::new(),
            drive,
            running: BTreeSet::new(),
            waited: BTreeSet::new(),
            links: BTreeMap::new(),
            tick_at: None,
        });
        self.say_hello(connection, &table, role);
    }

    pub(super) fn client_joins(&mut self) {
        let place = self.clients.len();
        let connection = self.connect(Node::Client(place));
        let config = client::Config {
            peer_silence: Duration::from_secs(2),
            max_fetches: self.dice.between(1, 3) as u32,
            silence: SILENCE,
            max_incoming: self.dice.pick(&[1, 2_000, 1 << 20]),
            ..client::Config::default()
        };
        let mut table = oracle::FUNCTIONS.to_vec();
        if self.dice.chance(50) {
            table.push("sim.zoo");
        }
        let user = User::new(table.clone());
        let session = self.dice.chance(70).then_some(Session { key: place as u128, resumes: None });
        self.clients.push(ClientShell {
            connection,
            table: table.clone(),
            session,
            outbox: Outbox::default(),
            is_cut: false,
            life: 0,
            config,
            machine: None,
            links: BTreeMap::new(),
            tick_at: None,
            user,
        });
        self.say_hello(connection, &table, session.map_or(Role::Client, Role::Session));
    }

    pub(super) fn connect(&mut self, node: Node) -> usize {
        let slowness = self.slowness.as_micros() as u64;
        let delay = self.dice.micros(slowness / 2, slowness * 2);
        let last = [self.now; 2];
        self.connections.push(Connection { node, open: true, delay, last, worker: None, client: None });
        self.connections.len() - 1
    }

    pub(super) fn say_hello(&mut self, connection: usize, table: &[&str], role: Role) {
        let hello = Hello {
            protocol: PROTOCOL,
            version: "simulated".into(),
            instruction_set: "virtual".into(),
            functions: oracle::table(table),
            role,
        };
        self.send_up(connection, Up::Hello(hello));
    }

    pub(super) fn send_up(&mut self, connection: usize, message: Up) {
        let at = self.arrival(connection, 0);
        self.plan_at(at, Happening::Hear { connection, message });
    }

    pub(super) fn send_down(&mut self, connection: usize, message: Down) {
        let at = self.arrival(connection, 1);
        self.plan_at(at, Happening::Tell { connection, message });
    }

    /// When a message sent now arrives: never before one that was sent earlier.
    pub(super) fn arrival(&mut self, connection: usize, direction: usize) -> Time {
        let delay = self.connections[connection].delay;
        let extra = self.dice.micros(0, delay.as_micros() as u64 * 2);
        let last = &mut self.connections[connection].last[direction];
        *last = (*last).max(self.now + delay + extra);
        *last
    }

    /// A connection to the scheduler breaks; both ends learn of it in their own time, what is under way is lost.
    pub(super) fn disconnect(&mut self, connection: usize, scheduler_learns: bool, program_learns: bool) {
        if !std::mem::replace(&mut self.connections[connection].open, false) {
            return;
        }
        let slowness = self.slowness.as_micros() as u64;
        let (up, down) = (self.dice.micros(0, slowness * 10), self.dice.micros(0, slowness * 10));
        if scheduler_learns {
            self.plan(up, Happening::SchedulerLearnsOfLoss { connection });
        }
        if program_learns {
            self.plan(down, Happening::ProgramLearnsOfLoss { connection });
        }
    }

    /// A worker's process ends, and with it all that it held.
    pub(super) fn worker_dies(&mut self, place: usize, silent: bool) {
        let shell = &mut self.workers[place];
        if !std::mem::replace(&mut shell.alive, false) {
            return;
        }
        shell.silent = silent;
        shell.machine = None;
        shell.store.clear();
        shell.disk.clear();
        shell.writing.clear();
        shell.running.clear();
        shell.waited.clear();
        shell.links.clear();
        shell.tick_at = None;
        let connection = shell.connection;
        self.disconnect(connection, !silent, false);
        for owner in self.owners() {
            self.break_link(owner, place, !silent);
        }
    }

    /// The scheduler's process ends, and another begins with what it wrote down.
    pub(super) fn scheduler_dies(&mut self) {
        self.n_deaths += 1;
        self.names.behind.extend(0..self.clients.len());
        for connection in 0..self.connections.len() {
            if std::mem::replace(&mut self.connections[connection].open, false) {
                let slowness = self.slowness.as_micros() as u64;
                let after = self.dice.micros(0, slowness * 10);
                self.plan(after, Happening::ProgramLearnsOfLoss { connection });
            }
        }
        let recovered = |journal: &[u8]| {
            let mut recovery = Recovery::new(self.config.clone(), self.now);
            recovery.read(journal).expect("a scheduler reads what it wrote");
            recovery.finish().expect("a journal begins with its cluster")
        };
        let before = self.scheduler.n_tasks();
        let snapshot = bytes(&self.scheduler.snapshot());
        let (by_log, by_snapshot) = (recovered(&self.journal), recovered(&snapshot));
        assert_eq!(by_log.n_tasks(), by_snapshot.n_tasks(), "a snapshot says what the log says");
        (self.scheduler, self.journal) = match self.dice.chance(50) {
            true => (by_log, std::mem::take(&mut self.journal)),
            false => (by_snapshot, snapshot),
        };
        self.trace.note(|| format!("    of {before} tasks {} are known again", self.scheduler.n_tasks()));
        self.scheduler.check_invariants();
        let gone: Vec<WorkerId> = self.known_workers.keys().copied().collect();
        gone.into_iter().for_each(|worker| self.worker_is_gone(Some(worker)));
        // Tries count anew.
        self.runs.clear();
        self.scheduler_tick_at = None;
        self.tell_scheduler(scheduler::Event::Tick);
    }

    /// A worker learns that its connection broke, or gives it up.
    pub(super) fn worker_loses_scheduler(&mut self, place: usize, connection: usize) {
        let shell = &mut self.workers[place];
        if !shell.alive || shell.connection != connection {
            return;
        }
        if shell.machine.is_none() {
            // It was never greeted and holds nothing.
            return self.worker_dies(place, false);
        }
        if !std::mem::replace(&mut shell.is_alone, true) {
            let keeps_running = self.dice.chance(70);
            self.tell_worker(place, worker::Event::SchedulerLost { keeps_running });
        }
        let after = self.dice.micros(1_000, 2_000_000);
        self.plan(after, Happening::Rejoin { worker: place });
    }

    /// A worker without a scheduler says hello again, and again where no greeting comes.
    pub(super) fn worker_rejoins(&mut self, place: usize) {
        let shell = &self.workers[place];
        if !shell.alive || !shell.is_alone {
            return;
        }
        let (old, table, id) = (shell.connection, shell.table.clone(), shell.id);
        let rejoins = id.map(|worker| Rejoin { cluster: self.config.cluster, worker });
        let (n_threads, memory_limit) = (shell.config.n_threads, shell.config.memory_limit);
        self.disconnect(old, true, false);
        let connection = self.connect(Node::Worker(place));
        self.workers[place].connection = connection;
        let hello =
            WorkerHello { rejoins, memory_limit, ..WorkerHello::new(n_threads, address(place), format!("w{place}")) };
        self.say_hello(connection, &table, Role::Worker(hello));
        self.plan(Duration::from_secs(5), Happening::Rejoin { worker: place });
    }

    /// A client learns that its connection broke.
    pub(super) fn client_is_cut(&mut self, place: usize, connection: usize) {
        let shell = &mut self.clients[place];
        if shell.connection != connection {
            return;
        }
        if shell.session.is_none() || shell.machine.is_none() {
            self.user_loses_scheduler(place);
            self.tell_client(place, client::Event::SchedulerLost);
            return;
        }
        shell.outbox.is_cut();
        if !std::mem::replace(&mut shell.is_cut, true) {
            self.tell_client(place, client::Event::Cut);
        }
        let longest = if self.dice.chance(10) { 15_000_000 } else { 1_000_000 };
        let after = self.dice.micros(1_000, longest);
        self.plan(after, Happening::Return { client: place });
    }

    /// A client without a scheduler says hello again, and again where no greeting comes.
    pub(super) fn client_returns(&mut self, place: usize) {
        let shell = &self.clients[place];
        let (Some(session), true) = (shell.session, shell.is_cut) else { return };
        let (old, table) = (shell.connection, shell.table.clone());
        self.disconnect(old, true, false);
        let connection = self.connect(Node::Client(place));
        self.clients[place].connection = connection;
        self.say_hello(connection, &table, Role::Session(session));
        self.plan(Duration::from_secs(5), Happening::Return { client: place });
    }

    pub(super) fn owners(&self) -> Vec<Node> {
        let clients = (0..self.clients.len()).map(Node::Client);
        (0..self.workers.len()).map(Node::Worker).chain(clients).collect()
    }

    pub(super) fn fault(&mut self) {
        let place = if self.workers.is_empty() { None } else { Some(self.dice.below(self.workers.len())) };
        let (kind, Some(place)) = (self.dice.below(100), place) else { return self.worker_joins() };
        match kind {
            0..15 => self.worker_dies(place, false),
            15..25 => self.worker_dies(place, true),
            25..35 => {
                let (scheduler_learns, worker_learns) = (self.dice.chance(60), self.dice.chance(60));
                self.disconnect(self.workers[place].connection, scheduler_learns, worker_learns);
            }
            35..55 => {
                let longest = self.dice.pick(&[50_000, 1_000_000, 9_000_000]);
                let time = self.dice.micros(10_000, longest);
                // A stall is not made longer: what it holds back would get out of order.
                if self.workers[place].stalled_until <= self.now {
                    self.workers[place].stalled_until = self.now + time;
                }
            }
            55..60 => {
                let client = self.dice.below(self.clients.len());
                let (scheduler_learns, client_learns) = (self.dice.chance(60), self.dice.chance(60));
                self.disconnect(self.clients[client].connection, scheduler_learns, client_learns);
            }
            60..75 => {
                for owner in self.owners() {
                    if self.dice.chance(70) {
                        self.break_link(owner, place, true);
                    }
                }
            }
            75..82 => self.client_joins(),
            82..87 => self.scheduler_dies(),
            _ => self.worker_joins(),
        }
    }
}

/// What is written down, as it lies in a file.
pub(super) fn bytes(log: &Log) -> Vec<u8> {
    log.parts().flatten().copied().collect()
}
