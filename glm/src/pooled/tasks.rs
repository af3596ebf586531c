//! Rows by group, and the tasks that bring them together and solve where they are.

use std::sync::Arc;

use phalanx_array::{Block, panel::PANEL};
use phalanx_engine::task;
use phalanx_learn::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::{
    cluster::{Extras, rows},
    kernel::{Rows, Stride},
    solver::{GroupProblem, GroupSolution},
};

/// Rows of some groups: those of one after those of another, in ascending order of the groups and else as they came.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Grouped {
    n_features: usize,
    groups: Vec<f64>,
    /// Where each group's rows end.
    ends: Vec<usize>,
    x: Vec<f64>,
    y: Vec<f64>,
    weights: Option<Vec<f64>>,
    offset: Option<Vec<f64>>,
}

/// Some groups, or where they begin.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Bundle {
    pub(crate) groups: Vec<f64>,
    pub(crate) starts: Option<Vec<Vec<f64>>>,
}

impl Grouped {
    /// All rows.
    pub(crate) fn all(rows: Rows<'_>) -> Self {
        Self::some(rows, |_| true)
    }

    /// The rows of some groups.
    fn some(rows: Rows<'_>, takes: impl Fn(f64) -> bool) -> Self {
        // Both zeros are one group.
        let group = |row: usize| rows.groups.map_or(0., |groups| groups[row] + 0.);
        let mut order: Vec<usize> = (0..rows.y.len()).filter(|row| takes(group(*row))).collect();
        order.sort_by(|a, b| group(*a).total_cmp(&group(*b)));
        let p = rows.n_features;
        let of = |values: &[f64]| order.iter().map(|row| values[*row]).collect::<Vec<_>>();
        let mut found = Self {
            n_features: p,
            x: order.iter().flat_map(|row| &rows.x[row * p..(row + 1) * p]).copied().collect(),
            y: of(rows.y),
            weights: rows.weights.map(of),
            offset: rows.offset.map(of),
            ..Self::default()
        };
        for (place, row) in order.iter().enumerate() {
            if found.groups.last() != Some(&group(*row)) {
                found.groups.push(group(*row));
                found.ends.push(place);
            }
            if let Some(end) = found.ends.last_mut() {
                *end = place + 1;
            }
        }
        found
    }

    pub(crate) fn groups(&self) -> &[f64] {
        &self.groups
    }

    pub(crate) const fn n_groups(&self) -> usize {
        self.groups.len()
    }

    fn range(&self, group: usize) -> std::ops::Range<usize> {
        let start = if group == 0 { 0 } else { self.ends[group - 1] };
        start..self.ends[group]
    }

    /// The rows of one group, as if there were no others.
    fn rows(&self, group: usize) -> Rows<'_> {
        let (own, p) = (self.range(group), self.n_features);
        Rows {
            x: &self.x[own.start * p..own.end * p],
            y: &self.y[own.clone()],
            weights: self.weights.as_ref().map(|weights| &weights[own.clone()]),
            offset: self.offset.as_ref().map(|offset| &offset[own]),
            trials: None,
            groups: None,
            folds: None,
            n_features: p,
            first_panel: 0,
            held: Stride::ALL,
        }
    }

    pub(crate) fn solve(&self, group: usize, problem: &GroupProblem, starts: Option<&[Vec<f64>]>) -> GroupSolution {
        problem.solve(self.rows(group), starts.and_then(|starts| starts.get(group)).map(Vec::as_slice))
    }

    /// The rows of both, those of `self` first.
    fn join(parts: &[Arc<Self>]) -> Self {
        let Some(first) = parts.first() else { return Self::default() };
        let mut groups: Vec<f64> = parts.iter().flat_map(|part| &part.groups).copied().collect();
        groups.sort_by(f64::total_cmp);
        groups.dedup();
        let mut found = Self {
            n_features: first.n_features,
            weights: first.weights.as_ref().map(|_| Vec::new()),
            offset: first.offset.as_ref().map(|_| Vec::new()),
            ..Self::default()
        };
        for group in groups {
            for part in parts {
                let Ok(place) = part.groups.binary_search_by(|seen| seen.total_cmp(&group)) else { continue };
                let rows = part.rows(place);
                found.x.extend_from_slice(rows.x);
                found.y.extend_from_slice(rows.y);
                for (all, own) in [(&mut found.weights, rows.weights), (&mut found.offset, rows.offset)] {
                    if let (Some(all), Some(own)) = (all, own) {
                        all.extend_from_slice(own);
                    }
                }
            }
            found.groups.push(group);
            found.ends.push(found.y.len());
        }
        found
    }
}

#[task(name = "glm.count_groups")]
pub(crate) fn count_groups(columns: &[Arc<Block>], first_panel: usize, extras: Extras) -> Result<Vec<(f64, usize)>> {
    let rows = rows(None, columns, first_panel, extras);
    let groups = rows.groups.unwrap_or_default();
    if let Some(row) = groups.iter().position(|group| !group.is_finite()) {
        let (what, value) = ("groups", groups[row]);
        return Err(Error::NotFinite { what, row: first_panel * PANEL + row, column: None, value });
    }
    let grouped = Grouped::all(Rows { x: &[], n_features: 0, ..rows });
    Ok((0..grouped.n_groups()).map(|group| (grouped.groups[group], grouped.range(group).len())).collect())
}

#[task(name = "glm.rows_of_groups")]
pub(crate) fn rows_of_groups(x: &Block, columns: &[Arc<Block>], extras: Extras, bundle: &Bundle) -> Grouped {
    let has = |group: f64| bundle.groups.binary_search_by(|own| own.total_cmp(&group)).is_ok();
    Grouped::some(rows(Some(x), columns, 0, extras), has)
}

#[task(name = "glm.join_groups")]
pub(crate) fn join_groups(parts: &[Arc<Grouped>]) -> Grouped {
    Grouped::join(parts)
}

#[task(name = "glm.solve_groups")]
pub(crate) fn solve_groups(rows: &Grouped, problem: &GroupProblem, bundle: &Bundle) -> Vec<GroupSolution> {
    (0..rows.n_groups()).map(|group| rows.solve(group, problem, bundle.starts.as_deref())).collect()
}
