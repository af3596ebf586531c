//! What inference needs to know at the optimum.

use phalanx_array::{
    kernel::inlined::gemv,
    panel::{Combine, PANEL, Subtrees},
    simd,
};
use serde::{Deserialize, Serialize};

use super::{
    super::{
        Scores, Subject, Summary, add_constants,
        summary::{group_of, head},
    },
    Axes, Layout, Mixed, Part, Point, add_entries,
    gram::{Gram, Products},
};
use crate::{loss::Curvature, solver::Coordinates};

/// The summary of some rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct MixedSummary {
    /// Without matrices.
    head: Summary,
    information: Gram,
    meat: Option<Gram>,
}

impl Combine for MixedSummary {
    fn combine(self, right: Self) -> Self {
        Self {
            head: self.head.combine(right.head),
            information: self.information.combine(right.information),
            meat: self.meat.zip(right.meat).map(|(a, b)| a.combine(b)),
        }
    }
}

impl MixedSummary {
    /// The summary over all columns.
    pub(crate) fn finish(self, layout: &Layout, coordinates: &Coordinates) -> Summary {
        let matrix = |gram: &Gram| gram.finish(layout, coordinates).0;
        Summary {
            information: matrix(&self.information),
            meat: self.meat.as_ref().map(matrix).unwrap_or_default(),
            ..self.head
        }
    }
}

impl Mixed<'_> {
    /// The summary of every panel, combined as far as these rows allow; none without rows.
    pub(crate) fn summary(self, subject: &Subject) -> Option<Subtrees<MixedSummary>> {
        let axes = Axes::new(self.layout, &subject.coordinates);
        let point = axes.point(&subject.point);
        let mut products = Products::new(&axes);
        let mut design = Vec::with_capacity(PANEL * axes.width());
        let parts = self.parts().map(|part| {
            simd::dispatch(
                #[inline(always)]
                || summary_part(subject, part, &axes, &point, &mut design, &mut products),
            )
        });
        Subtrees::from_panels(self.rows.first_panel, parts)
    }
}

#[inline(always)]
fn summary_part(
    subject: &Subject,
    part: Part<'_>,
    axes: &Axes<'_>,
    point: &Point,
    design: &mut Vec<f64>,
    products: &mut Products,
) -> MixedSummary {
    let (Part { panel, entries }, loss) = (part, subject.loss);
    let n = panel.y.len();
    axes.dense.write_rows(panel.x, n, design);
    let (mut eta, mut bends) = ([0.; PANEL], [0.; PANEL]);
    let (eta, bends) = (&mut eta[..n], &mut bends[..n]);
    gemv(design, &point.dense, eta);
    add_entries(entries, &point.slopes, eta);
    add_constants(eta, 0., panel.offset);
    let means: Vec<f64> = eta.iter().map(|eta| loss.link.mean(*eta)).collect();
    let found = loss.panel(panel.y, panel.weights, eta, Some((Curvature::Expected, bends)));
    let mut head = head(loss, panel, &means, found.loss, subject.precision);
    let information = products.of(design, entries, bends, eta);
    let weight = |i: usize| panel.weights.map_or(1., |weights| weights[i]);
    let mut meat = None;
    match subject.scores {
        Scores::None => {}
        Scores::Rows => {
            // A row seen w times has w scores; one that is w times as exact has one, w times as large.
            let square = |(i, residual): (usize, &f64)| {
                let w = weight(i);
                if subject.precision || w == 0. { residual * residual } else { residual * residual / w }
            };
            let squares: Vec<f64> = eta.iter().enumerate().map(square).collect();
            meat = Some(products.of(design, entries, &squares, eta));
        }
        Scores::Groups => {
            let n_terms = axes.layout.n_features + 1;
            for (i, row) in design.chunks_exact(axes.width()).enumerate().filter(|(i, _)| weight(*i) > 0.) {
                let sums = head.groups.entry(group_of(panel, i)).or_insert_with(|| vec![0.; n_terms]);
                row.iter().enumerate().for_each(|(j, x)| sums[axes.place(j)] += eta[i] * x);
                entries.each(i, |column, value| {
                    sums[axes.sparse_place(column as usize)] += eta[i] * (value * axes.inverse[column as usize]);
                });
            }
        }
    }
    MixedSummary { head, information, meat }
}
