//! Questions about the cluster, and whether the answers are right.

use phalanx_engine::request::{Reply, Retirement};

use super::*;
use crate::news::News;
use crate::user::Question;

impl World {
    /// Something that people ask about a cluster: about what they hold, and of that what others can have too.
    pub(crate) fn draw_request(&mut self, held: &[TaskId], copied: &[TaskId]) -> Option<Request> {
        let name = format!("name {}", self.dice.below(3));
        match self.dice.below(9) {
            0 if !held.is_empty() => {
                let tasks = (0..self.dice.between(1, 3)).map(|_| self.dice.pick(held)).collect();
                return Some(Request::Replicate { tasks, n_copies: self.dice.between(0, 5) as u32 });
            }
            1 => return Some(Request::Rebalance),
            2..4 if !copied.is_empty() => {
                let tasks: Vec<TaskId> = (0..self.dice.between(1, 3)).map(|_| self.dice.pick(copied)).collect();
                let shape = Some(Value::new(tasks.len() as u64));
                return Some(Request::Publish { name, tasks, shape, replace: self.dice.chance(30) });
            }
            4..6 => return Some(Request::GetPublished { name }),
            6 => return Some(Request::Unpublish { name }),
            7 => return Some(Request::Published),
            _ => {}
        }
        let known: Vec<WorkerId> = self.workers.iter().filter_map(|shell| shell.id).collect();
        if known.is_empty() || self.dice.chance(20) {
            return Some(Request::Load);
        }
        let workers = (0..self.dice.between(1, 2)).map(|_| self.dice.pick(&known)).collect();
        let grace_ms = self.dice.pick(&[None, Some(0), Some(100), Some(4_000)]);
        Some(Request::Retire { workers, grace_ms })
    }

    /// Workers that were to go and stay may take tasks again.
    pub(super) fn who_stays(&mut self, message: &ToClient) {
        let ToClient::Reply { reply: Reply::Retired { workers }, .. } = message else { return };
        let stay = workers.iter().filter(|(_, end)| matches!(end, Retirement::Refused { .. }));
        for (worker, _) in stay {
            self.oracle.leaving.remove(worker);
        }
        self.look_for_the_rare();
    }

    /// Checks that a question may be answered so.
    pub(super) fn check_reply(&mut self, place: usize, question: &Question, reply: &Reply) {
        let request = match question {
            Question::Cluster(request) => request,
            Question::Shared { own } => return self.check_shared(place, *own, reply),
        };
        match (request, reply) {
            (Request::Retire { workers, grace_ms }, Reply::Retired { workers: ends }) => {
                assert!(workers.iter().eq(ends.iter().map(|(worker, _)| worker)), "{ends:?} answers {request:?}");
                for (worker, end) in ends {
                    match end {
                        Retirement::Done { .. }
                        | Retirement::Died
                        | Retirement::Unknown
                        | Retirement::TimedOut { .. } => {
                            assert!(self.oracle.left.contains(worker), "{worker} is said to be gone: {end:?}");
                        }
                        Retirement::Refused { .. } => assert!(grace_ms.is_none(), "{worker} stays: {end:?}"),
                        end => panic!("{worker} ended with {end:?}"),
                    }
                }
            }
            (Request::Replicate { tasks, .. }, Reply::Replicated { copies }) => assert_eq!(tasks.len(), copies.len()),
            (Request::Rebalance, Reply::Rebalanced { .. }) => {}
            (Request::Load, Reply::Load { load }) => {
                let n_tasks: u64 = load.workers.iter().map(|worker| worker.n_tasks).sum();
                assert!(load.workers.is_sorted_by_key(|worker| worker.worker), "{load:?}");
                assert!(load.n_ready > 0 || load.expected_ns == 0, "{load:?}");
                assert!(load.workers.len() <= self.workers.len() && n_tasks <= self.oracle.tasks.len() as u64);
            }
            (Request::Inspect { question }, Reply::Inspected { answer }) => News::check(*question, answer),
            (Request::GetPublished { .. }, Reply::Granted { tasks, shape: Some(shape), .. }) => {
                assert_eq!(*shape.get::<u64>().unwrap(), tasks.len() as u64, "what is published");
                self.n_shared += 1;
                self.hold(place, tasks);
            }
            (Request::Publish { .. } | Request::Unpublish { .. }, Reply::Done) => {}
            (
                Request::Publish { .. } | Request::Unpublish { .. } | Request::GetPublished { .. },
                Reply::Denied { .. },
            ) => {}
            (Request::Published, Reply::Names { names }) => assert!(names.len() <= 3 && names.is_sorted()),
            (request, reply) => panic!("{reply:?} answers {request:?}"),
        }
    }

    /// Checks that a result may be given for a key: it is that of the same call.
    fn check_shared(&mut self, place: usize, own: TaskId, reply: &Reply) {
        match reply {
            Reply::Granted { tasks, shape: None, .. } => {
                let [task] = tasks[..] else { panic!("{tasks:?} are granted for a key") };
                assert_eq!(self.oracle.tasks[&task].payload, self.oracle.tasks[&own].payload, "{task} for {own}");
                self.n_shared += u64::from(task != own);
                self.hold(place, &[task]);
            }
            Reply::Denied { .. } => {}
            reply => panic!("{reply:?} answers a call by key"),
        }
    }

    /// A user holds results that he was granted. His first handle counts, a second one is let go at once.
    fn hold(&mut self, place: usize, tasks: &[TaskId]) {
        for task in tasks {
            if self.clients[place].user.granted(*task) {
                self.tell_client(place, client::Event::Release { tasks: vec![*task] });
            }
        }
    }
}
