//! Questions about the cluster, and whether the answers are right.

use phalanx_engine::request::{Reply, Retirement};

use super::*;
use crate::news::News;

impl World {
    /// Something that people ask about a cluster.
    pub(crate) fn draw_request(&mut self, held: &[TaskId]) -> Option<Request> {
        match self.dice.below(4) {
            0 if !held.is_empty() => {
                let tasks = (0..self.dice.between(1, 3)).map(|_| self.dice.pick(held)).collect();
                return Some(Request::Replicate { tasks, n_copies: self.dice.between(0, 5) as u32 });
            }
            1 => return Some(Request::Rebalance),
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
    pub(super) fn check_reply(&mut self, request: &Request, reply: &Reply) {
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
            (request, reply) => panic!("{reply:?} answers {request:?}"),
        }
    }
}
