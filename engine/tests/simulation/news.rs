//! What a subscriber is told of what happens: in order, nothing twice, and nothing before it happened.

use std::collections::BTreeSet;

use phalanx_engine::{
    client::Event,
    event::{Event as Happened, Kind, Outcome, Record, Step},
    id::{Attempt, TaskId, WorkerId},
    inspect::{Answer, Question},
    time::Time,
};

/// One client's subscription.
#[derive(Debug, Default)]
pub(crate) struct News {
    is_open: bool,
    unseen: Option<(u32, u64)>,
    last: Time,
    finished: BTreeSet<(TaskId, Attempt)>,
    /// A worker that was away while the scheduler died may run an attempt whose number was given again.
    ran: BTreeSet<(WorkerId, TaskId, Attempt)>,
}

impl News {
    pub(crate) fn begin(&mut self) -> Vec<Event> {
        self.is_open = true;
        vec![Event::Subscribe { record: Record::Timeline }]
    }

    pub(crate) fn read(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        if let Some((number, next)) = self.unseen.take() {
            events.push(Event::EventsSeen { number, next });
        }
        events
    }

    pub(crate) fn end(&mut self) -> Vec<Event> {
        if self.is_open { vec![Event::Subscribe { record: Record::Nothing }] } else { Vec::new() }
    }

    pub(crate) const fn is_open(&self) -> bool {
        self.is_open
    }

    /// Whoever reads that a task has finished may ask how it came to that.
    pub(crate) fn question(&self) -> Option<Question> {
        let (task, _) = *self.finished.last()?;
        Some(Question::Story { task })
    }

    /// Checks an answer.
    pub(crate) fn check(question: Question, answer: &Answer) {
        let (Question::Story { task }, Answer::Story(story)) = (question, answer) else {
            panic!("{answer:?} is no answer to {question:?}")
        };
        assert_eq!(story.task, task);
        assert!(story.steps.is_sorted_by_key(|(time, _)| *time), "{story}");
        let n_finished = story.steps.iter().filter(|(_, step)| matches!(step, Step::Finished { .. })).count();
        assert!(n_finished > 0 || story.has_forgotten, "{task} finished, and its story says nothing of it: {story}");
    }

    pub(crate) fn hear(&mut self, now: Time, seen: (u32, u64), events: &[Happened], last: bool) {
        self.unseen = Some(seen);
        self.is_open &= !last;
        for Happened { time, kind } in events {
            assert!(self.last <= *time && *time <= now, "{kind:?} at {time:?} is told after {:?}", self.last);
            self.last = *time;
            match kind {
                Kind::SchedulerRestarted => {
                    self.finished.clear();
                    self.ran.clear();
                }
                Kind::TaskFinished { task, attempt, .. } => {
                    assert!(self.finished.insert((*task, *attempt)), "{task} {attempt} finishes twice");
                }
                // One that was called off may be told after a restart, from when on tries count anew.
                Kind::Ran { worker, run, .. } if run.outcome != Outcome::Cancelled => {
                    let key = (*worker, run.task, run.attempt);
                    assert!(self.ran.insert(key), "{key:?} ran twice");
                }
                _ => {}
            }
        }
    }
}
