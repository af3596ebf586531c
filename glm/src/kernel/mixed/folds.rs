//! The passes of cross-validation. A row that is held out has no weight; its loss is summed beside.

use std::borrow::Cow;

use phalanx_array::{
    panel::{PANEL, Subtrees},
    simd,
};

use super::{
    super::{ByFold, FoldPoint, FoldRule, Panel},
    Axes, Mixed, MixedEvaluations, MixedMoments, MixedQuadratic, Part,
    evaluate::{self, evaluate_part},
    keyed::Gather,
    moments::moments_part,
    quadratic::{self, quadratic_part},
};
use crate::{
    loss::{Curvature, Loss},
    solver::Coordinates,
};

/// The folds of a panel's rows; none where all are trained on.
pub(super) struct Held(Option<Vec<usize>>);

impl Held {
    pub(super) const fn none() -> Self {
        Self(None)
    }

    fn of(rule: FoldRule, panel: Panel<'_>) -> Self {
        // The pass that comes first has refused other numbers.
        Self(rule.of(panel))
    }

    fn masked(&self, panel: Panel<'_>, keep: impl Fn(usize) -> bool) -> Option<Vec<f64>> {
        let weight = |row: usize| panel.weights.map_or(1., |weights| weights[row]);
        let folds = self.0.as_ref()?.iter().enumerate();
        Some(folds.map(|(row, &fold)| if keep(fold) { weight(row) } else { 0. }).collect())
    }

    /// The weights of the rows that a point trains on.
    pub(super) fn weights<'a>(&self, panel: Panel<'a>, fold: Option<usize>) -> Option<Cow<'a, [f64]>> {
        let masked = fold.and_then(|fold| self.masked(panel, |other| other != fold));
        masked.map(Cow::from).or(panel.weights.map(Cow::from))
    }

    /// The loss of those that it does not.
    pub(super) fn loss(&self, loss: Loss, panel: Panel<'_>, fold: Option<usize>, eta: &[f64]) -> f64 {
        let Some(weights) = fold.and_then(|fold| self.masked(panel, |other| other == fold)) else { return 0. };
        let mut eta_of_held = [0.; PANEL];
        let eta_of_held = &mut eta_of_held[..eta.len()];
        eta_of_held.copy_from_slice(eta);
        loss.panel(panel.y, Some(&weights), eta_of_held, None).loss
    }
}

impl Mixed<'_> {
    /// The moments of each fold.
    pub(crate) fn moments_by_fold(
        self,
        loss: Loss,
        shares: bool,
        rule: FoldRule,
    ) -> Option<Subtrees<ByFold<MixedMoments>>> {
        let mut gather = Gather::new(self.layout.sparse.len(), super::moments::WIDTH);
        let parts = self.parts().map(|part| {
            let held = Held::of(rule, part.panel);
            let mut whole = None;
            let of = |fold: usize| {
                let weights = held.masked(part.panel, |other| other == fold);
                let panel = Panel { weights: weights.as_deref().or(part.panel.weights), ..part.panel };
                let mut found = simd::dispatch(
                    #[inline(always)]
                    || moments_part(loss, Part { panel, ..part }, self.layout, shares, &mut gather),
                );
                // A weight that is none of a row's would not be seen where the row is in another fold.
                let bad = *whole.get_or_insert_with(|| {
                    moments_part(loss, part, self.layout, shares, &mut gather).head.bad.or_else(|| rule.bad(part.panel))
                });
                found.head.bad = bad;
                found.head.n_rows = match &held.0 {
                    Some(folds) => folds.iter().filter(|other| **other == fold).count(),
                    None => part.panel.y.len(),
                };
                found
            };
            ByFold((0..rule.n_folds.max(1)).map(of).collect())
        });
        Subtrees::from_panels(self.rows.first_panel, parts)
    }

    /// Loss and gradient at each point.
    pub(crate) fn evaluate_by_fold(
        self,
        loss: Loss,
        coordinates: &Coordinates,
        points: &[FoldPoint],
        rule: FoldRule,
    ) -> Option<Subtrees<MixedEvaluations>> {
        let axes = Axes::new(self.layout, coordinates);
        let points: Vec<_> = points.iter().map(|at| (axes.point(&at.point), at.fold)).collect();
        let mut scratch = evaluate::Scratch::new(&axes, points.len());
        let parts = self.parts().map(|part| {
            let held = Held::of(rule, part.panel);
            simd::dispatch(
                #[inline(always)]
                || evaluate_part(loss, part, &axes, &points, &held, &mut scratch),
            )
        });
        Subtrees::from_panels(self.rows.first_panel, parts)
    }

    /// The quadratic at one point.
    pub(crate) fn quadratic_by_fold(
        self,
        loss: Loss,
        coordinates: &Coordinates,
        at: &FoldPoint,
        curvature: Curvature,
        rule: FoldRule,
    ) -> Option<Subtrees<MixedQuadratic>> {
        let axes = Axes::new(self.layout, coordinates);
        let at = (axes.point(&at.point), at.fold);
        let mut scratch = quadratic::Scratch::new(&axes);
        let parts = self.parts().map(|part| {
            let held = Held::of(rule, part.panel);
            simd::dispatch(
                #[inline(always)]
                || quadratic_part(loss, part, &axes, &at, curvature, &held, &mut scratch),
            )
        });
        Subtrees::from_panels(self.rows.first_panel, parts)
    }
}
