//! How a search chooses what to try: plain descriptions, and the machines that follow from them.
//!
//! A [`Method`] says what is wanted and can be kept; its [`Machine`] hands out candidates and is told their scores. All
//! machines keep one rule: **the candidate of a number is the same whatever the order in which scores arrive**. Whatever
//! a candidate follows from, a promotion or a model of the scores so far, it follows from the scores of a set of earlier
//! numbers that is fixed beforehand, and until they are all told the machine says [`Ask::Wait`]. So the list of trials,
//! and the winner, are the same for any number of workers.
//!
//! A machine knows nothing of folds, data, models or time.

mod batches;
mod brackets;
mod parzen;
mod proposals;
mod tpe;

use std::fmt;

use phalanx_learn::{Error as LearnError, Goal};
use serde::{Deserialize, Serialize};

use crate::{
    Result,
    space::{Params, Space},
};

pub use batches::Asha;
pub use brackets::{Bracket, Hyperband, Rung, SuccessiveHalving};
pub use proposals::{Proposals, Random};
pub use tpe::Tpe;

use batches::Batches;
use brackets::Brackets;
use proposals::Source;

/// How a search chooses what to try.
///
/// | method | what it tries | reference |
/// |---|---|---|
/// | `Grid` | all combinations of the listed values | |
/// | [`Random`] | configurations drawn from the space | Bergstra, Bengio 2012 |
/// | [`Tpe`] | configurations that look like the good ones so far and unlike the others | Bergstra et al. 2011 |
/// | [`SuccessiveHalving`] | many on a small budget, the best of them on more | Jamieson, Talwalkar 2016 |
/// | [`Hyperband`] | some such brackets, from many on little to few on all | Li et al. 2018 |
/// | [`Asha`] | as halving, promoting as soon as a rung has enough | Li et al. 2020 |
///
/// ```
/// use phalanx_learn::Goal;
/// use phalanx_search::{Space, method::{Ask, Hyperband, Method}};
///
/// # fn main() -> phalanx_search::Result<()> {
/// let space = Space::new().uniform("x", -1., 1.);
/// let mut machine = Method::from(Hyperband::new(9)).machine(&space, 42, &[], Goal::Minimize)?;
/// let mut best = f64::INFINITY;
/// loop {
///     match machine.ask() {
///         Ask::Candidate(candidate) => {
///             let loss = candidate.params["x"].as_f64().unwrap_or_default().abs();
///             best = best.min(loss);
///             machine.tell(candidate.number, Some(loss))?;
///         }
///         Ask::Wait => unreachable!("every score is told at once"),
///         Ask::Done => break,
///     }
/// }
/// assert!(best < 0.2);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// All combinations of a space whose parameters all have lists of values.
    Grid,
    /// Draws.
    Random(Random),
    /// The tree-structured Parzen estimator.
    Tpe(Tpe),
    /// One bracket.
    SuccessiveHalving(SuccessiveHalving),
    /// Some brackets.
    Hyperband(Hyperband),
    /// Halving without waiting for whole rungs.
    Asha(Asha),
}

/// What a candidate may spend, of methods that give some less than others.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resource {
    /// Rows: a candidate learns from, and is judged by, a share of each fold's, budget / largest budget. The rows of
    /// a smaller share are among those of a larger one.
    #[default]
    Samples,
    /// A parameter of the estimator that takes whole numbers, as `max_iter`: it is set to the budget.
    Param(String),
}

/// A configuration to be scored, perhaps on a part of the budget.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Candidate {
    /// Its place in the list of all that are tried, from 0.
    pub number: usize,
    /// Which configuration: candidates of one configuration differ in their budget alone.
    pub config: usize,
    /// The parameters, that of the resource among them.
    pub params: Params,
    /// What it may spend; none of methods without budgets.
    pub budget: Option<Budget>,
}

/// What a candidate may spend, and where it stands with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// How much, in the resource's units.
    pub resource: u64,
    /// The largest budget of the search.
    pub max_resource: u64,
    /// How often it was promoted.
    pub rung: usize,
    /// Which bracket: how many promotions lead to its end.
    pub bracket: usize,
    /// How much of it is a share of the rows, in `resource` / `max_resource`; else it is in a parameter.
    pub of_rows: bool,
}

impl Budget {
    /// Which share of each fold's rows is used, above 0 to 1.
    pub fn share(&self) -> f64 {
        if self.of_rows { self.resource as f64 / self.max_resource as f64 } else { 1. }
    }
}

impl Candidate {
    /// What a fit of it on a fold follows from, beside the data, the splitter and the estimator: the same text for the
    /// same parameters, fold and share of the rows, whichever number it has and whatever else is tried.
    ///
    /// ```
    /// use phalanx_search::method::Candidate;
    /// let params = [("alpha".to_owned(), 0.1.into()), ("solver".to_owned(), "irls".into())].into();
    /// let candidate = Candidate { number: 7, config: 7, params, budget: None };
    /// assert_eq!(candidate.content_key(2), r#"{"params":{"alpha":0.1,"solver":"irls"},"fold":2,"rows":null}"#);
    /// ```
    pub fn content_key(&self, fold: usize) -> String {
        #[derive(Serialize)]
        struct Key<'a> {
            params: &'a Params,
            fold: usize,
            /// So many parts of so many; a budget that is a parameter is among those.
            rows: Option<(u64, u64)>,
        }
        let rows = self.budget.filter(|budget| budget.of_rows && budget.resource < budget.max_resource);
        let rows = rows.map(|budget| (budget.resource, budget.max_resource));
        // Text, numbers and maps by text: nothing that JSON cannot hold.
        serde_json::to_string(&Key { params: &self.params, fold, rows }).unwrap_or_default()
    }
}

/// What a machine answers.
#[derive(Debug, Clone, PartialEq)]
pub enum Ask {
    /// Something to try now.
    Candidate(Candidate),
    /// Nothing until another score is told.
    Wait,
    /// Nothing any more; every score was told.
    Done,
}

/// Hands out candidates and is told their scores.
///
/// One may be written outside of this crate, for [`Plan::of`](crate::Plan::of); it should keep the rule of this module.
pub trait Machine: fmt::Debug + Send {
    /// The next candidate that can be started. Numbers need not come in order, but none is missing in the end.
    fn ask(&mut self) -> Ask;

    /// Takes the score of a candidate that was handed out; none where it failed, which is worse than any.
    ///
    /// # Errors
    /// When no score of this candidate is waited for; the machine is then as it was.
    fn tell(&mut self, number: usize, score: Option<f64>) -> Result<()>;

    /// How many candidates there will be in all; where that follows from scores, how many are expected, and in the end
    /// how many there were.
    fn n_candidates(&self) -> usize;

    /// Among which candidates the winner is: only the highest level counts on which anything has a score. Without
    /// budgets all have one.
    fn level(&self, number: usize) -> usize {
        let _ = number;
        0
    }
}

impl Method {
    /// Its machine. The configurations in `given` come first, with what they leave open drawn as usual; they count
    /// among the method's own number. `goal` says which scores are better.
    ///
    /// # Errors
    /// When the space cannot be drawn from, or has no grid where the method needs one, and when a number of the method
    /// is out of its range.
    pub fn machine(&self, space: &Space, seed: u64, given: &[Params], goal: Goal) -> Result<Box<dyn Machine>> {
        let source = |proposals: Proposals| Source::new(proposals, space, seed, given);
        Ok(match self {
            Self::Grid => Box::new(Batches::at_once(source(Proposals::Grid)?, goal)),
            Self::Random(random) => Box::new(Batches::at_once(source(Proposals::Random(random.clone()))?, goal)),
            Self::Tpe(tpe) => Box::new(Batches::one_rung(source(Proposals::Tpe(tpe.clone()))?, tpe.batch_size, goal)?),
            Self::SuccessiveHalving(halving) => {
                let source = source(halving.proposals())?;
                let bracket = halving.bracket(source.n_configs())?;
                Box::new(Brackets::new(&source, vec![bracket], &halving.resource, halving.max_resource, goal))
            }
            Self::Hyperband(hyperband) => {
                let brackets = hyperband.brackets()?;
                let n_configs = brackets.iter().map(Bracket::n_configs).sum();
                let source = source(Proposals::Random(Random::new(n_configs)))?;
                Box::new(Brackets::new(&source, brackets, &hyperband.resource, Some(hyperband.max_resource), goal))
            }
            Self::Asha(asha) => Box::new(Batches::asha(asha, source(asha.proposals.clone())?, goal)?),
        })
    }

    /// The parameter that budgets are set as, where it is one.
    pub fn resource_param(&self) -> Option<&str> {
        let resource = match self {
            Self::Grid | Self::Random(_) | Self::Tpe(_) => return None,
            Self::SuccessiveHalving(halving) => &halving.resource,
            Self::Hyperband(hyperband) => &hyperband.resource,
            Self::Asha(asha) => &asha.resource,
        };
        match resource {
            Resource::Samples => None,
            Resource::Param(name) => Some(name),
        }
    }
}

impl From<Random> for Method {
    fn from(random: Random) -> Self {
        Self::Random(random)
    }
}

impl From<Tpe> for Method {
    fn from(tpe: Tpe) -> Self {
        Self::Tpe(tpe)
    }
}

impl From<SuccessiveHalving> for Method {
    fn from(halving: SuccessiveHalving) -> Self {
        Self::SuccessiveHalving(halving)
    }
}

impl From<Hyperband> for Method {
    fn from(hyperband: Hyperband) -> Self {
        Self::Hyperband(hyperband)
    }
}

impl From<Asha> for Method {
    fn from(asha: Asha) -> Self {
        Self::Asha(asha)
    }
}

/// The machine of configurations that were chosen beforehand.
pub(crate) fn listed(candidates: Vec<Params>) -> Box<dyn Machine> {
    Box::new(Batches::at_once(Source::listed(candidates), Goal::Maximize))
}

/// The places of scores from best to worst; failures last, and of equals the earlier first.
fn ranking(scores: &[Option<f64>], goal: Goal) -> Vec<usize> {
    let is_better = |a: Option<f64>, b: Option<f64>| match (a, b) {
        (Some(a), Some(b)) => goal.is_better(a, b),
        (a, b) => a.is_some() && b.is_none(),
    };
    let known: Vec<Option<f64>> = scores.iter().map(|score| score.filter(|score| !score.is_nan())).collect();
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| is_better(known[b], known[a]).cmp(&is_better(known[a], known[b])));
    order
}

fn with_budget(mut params: Params, resource: &Resource, budget: &Budget) -> Params {
    if let Resource::Param(name) = resource {
        params.insert(name.clone(), budget.resource.into());
    }
    params
}

fn check_eta(eta: f64) -> Result<()> {
    if eta > 1. && eta.is_finite() { Ok(()) } else { Err(out_of_range("eta", eta, "above 1")) }
}

fn check_positive(name: &str, value: usize) -> Result<()> {
    if value > 0 { Ok(()) } else { Err(out_of_range(name, value, "1 or more")) }
}

fn out_of_range(name: &str, value: impl fmt::Display, expected: &str) -> crate::Error {
    LearnError::parameter(name, value, expected).into()
}

#[cfg(test)]
mod tests;
