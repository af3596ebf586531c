//! The shell that drives a solver over a design in memory.

use phalanx_array::panel::{Combine, Subtrees};
use phalanx_learn::{Error, Result};

use super::{Design, DesignColumns};
use crate::{
    fit::{Fitted, NO_ROWS, checked, fitted, in_parts, subject},
    inference::Wanted,
    kernel::{Layout, Mixed, MixedMoments},
    params::{Glm, MAX_IRLS_COLUMNS, Solver},
    path::GlmPath,
    response::{LocalRows, Response},
    solver::{Answer, Ask, Machine, Method, Moments, Path, PathSolution, PathSpec, Spec},
};

/// The most columns whose pairs are numbered.
const MAX_PAIRED_COLUMNS: usize = 65_536;

/// Checks the parameters and makes the solver, with the reason for it.
pub(super) fn machine(glm: &Glm, columns: &DesignColumns, shares: bool) -> Result<(Machine, String)> {
    let p = columns.n_features();
    let (machine, why) = glm.machine(p, shares)?;
    let spec = spec(machine.spec(), columns);
    let few = p <= MAX_IRLS_COLUMNS;
    Ok(match glm.solver {
        Solver::Irls if p > MAX_PAIRED_COLUMNS => {
            let expected = format!("gradient_descent for more than {MAX_PAIRED_COLUMNS} columns");
            return Err(Error::parameter("solver", format!("irls with {p} columns"), expected));
        }
        Solver::Irls => (Machine::irls(spec), why),
        Solver::GradientDescent => (Machine::gradient_descent(spec), why),
        Solver::Lbfgs => (Machine::descent(spec, Method::Lbfgs), why),
        Solver::NewtonCg => (Machine::descent(spec, Method::NewtonCg), why),
        Solver::Auto if few => {
            (Machine::irls(spec), format!("irls: products of {p} columns are quick, as of up to {MAX_IRLS_COLUMNS}"))
        }
        Solver::Auto => {
            let why = format!("gradient_descent: {p} columns, too many to multiply each with each");
            (Machine::gradient_descent(spec), why)
        }
        solver => {
            let name = serde_json::to_value(solver).ok().and_then(|name| name.as_str().map(str::to_owned));
            let expected = "irls, gradient_descent, lbfgs or newton_cg for a design; admm takes one dense array";
            return Err(Error::parameter("solver", name.unwrap_or_default(), expected));
        }
    })
}

/// The same for a path.
pub(super) fn path(path: &GlmPath, n_rows: usize, columns: &DesignColumns, trials: bool, folds: bool) -> Result<Path> {
    let p = columns.n_features();
    if p > MAX_PAIRED_COLUMNS {
        let expected = format!("at most {MAX_PAIRED_COLUMNS} for a path, which multiplies each with each");
        return Err(Error::parameter("X", format!("{p} columns"), expected));
    }
    let path = path.machine(n_rows, p, trials, folds)?.spec().clone();
    Ok(Path::new(PathSpec { spec: spec(&path.spec, columns), ..path }))
}

fn spec(spec: &Spec, columns: &DesignColumns) -> Spec {
    Spec { sparse: Some(columns.sparse_ranges()), ..spec.clone() }
}

/// What cannot be asked of a design.
pub(super) fn refused(ask: &Ask) -> Error {
    Error::parameter("X", "a design", format!("one dense array where a solver asks for {}", ask.name()))
}

/// What can be said of the data before looking at them.
pub(super) fn check_shape(n_rows: usize, columns: &DesignColumns) -> Result<()> {
    if n_rows == 0 || columns.n_features() == 0 { Err(NO_ROWS) } else { Ok(()) }
}

/// A design with what belongs to each of its rows.
pub(super) struct Local<'a> {
    design: &'a Design,
    beside: LocalRows<'a>,
}

impl<'a> Local<'a> {
    pub(super) fn mixed(&self) -> Mixed<'_> {
        Mixed { layout: self.design.layout(), rows: self.beside.rows(), entries: self.design.entries() }
    }

    /// Puts both together; `dense` is the design's dense part.
    pub(super) fn new(
        design: &'a Design,
        dense: &'a ndarray::ArrayView2<'_, f64>,
        response: &'a Response<'_>,
    ) -> Result<Self> {
        check_shape(design.n_rows(), &design.columns())?;
        Ok(Self { design, beside: response.beside(dense)? })
    }
}

/// Fits over a design in memory, and says what else is wanted of the optimum.
pub(super) fn fit(mut machine: Machine, wanted: Option<Wanted>, rows: Mixed<'_>) -> Result<Fitted> {
    let weights = class_weights(rows, machine.spec())?;
    let rows = reweighed(rows, weights.as_deref());
    loop {
        match machine.ask() {
            Ask::Done(solution) => {
                let Some(wanted) = wanted else { return Ok(Fitted { solution: *solution, inference: None }) };
                let subject = subject(&solution, machine.spec(), wanted);
                let summary = on_threads(rows, |rows| rows.summary(&subject))?;
                let summary = summary.finish(rows.layout, &subject.coordinates);
                return Ok(fitted(*solution, machine.spec(), wanted, &summary));
            }
            ask => machine.tell(answer(rows, machine.spec(), &ask)?)?,
        }
    }
}

/// Goes a path over a design in memory.
pub(super) fn go(mut path: Path, rows: Mixed<'_>) -> Result<PathSolution> {
    let weights = class_weights(rows, &path.spec().spec)?;
    let rows = reweighed(rows, weights.as_deref());
    while let Some(ask) = path.ask() {
        let answer = answer(rows, &path.spec().spec, &ask)?;
        path.tell(answer)?;
    }
    path.solution().cloned().ok_or(NO_ROWS)
}

fn reweighed<'a>(rows: Mixed<'a>, weights: Option<&'a [f64]>) -> Mixed<'a> {
    Mixed { rows: crate::kernel::Rows { weights: weights.or(rows.rows.weights), ..rows.rows }, ..rows }
}

/// The rows' weights with those of their classes; none where classes have none.
fn class_weights(rows: Mixed<'_>, spec: &Spec) -> Result<Option<Vec<f64>>> {
    let Some(class_weight) = spec.class_weight else { return Ok(None) };
    let found = on_threads(rows, |rows| rows.moments(spec.loss, spec.shares))?;
    let moments = moments(found, rows.layout, spec)?;
    Ok(Some(rows.rows.reweighed(class_weight.of_mean(moments.y.mean))))
}

/// The moments of all columns, unless a value is bad.
pub(super) fn moments(found: MixedMoments, layout: &Layout, spec: &Spec) -> Result<Moments> {
    let found = found.finish(layout);
    checked(found.bad, spec)?;
    Ok(found)
}

/// The answer to a question.
fn answer(rows: Mixed<'_>, spec: &Spec, ask: &Ask) -> Result<Answer> {
    let (loss, layout) = (spec.loss, rows.layout);
    Ok(match ask {
        Ask::Moments => {
            let found = on_threads(rows, |rows| rows.moments(loss, spec.shares))?;
            Answer::Moments(moments(found, layout, spec)?)
        }
        Ask::Null { intercepts } => {
            let n = rows.rows.y.len();
            Answer::Null(in_parts(n, n, |part| rows.rows.slice(part).null(loss, intercepts))?.0)
        }
        Ask::Evaluate { coordinates, points, stride } => {
            let found = on_threads(rows, |rows| rows.evaluate(loss, coordinates, points, *stride))?;
            Answer::Evaluations(found.finish_whole(layout, coordinates))
        }
        Ask::Quadratic { coordinates, point, curvature, stride } => {
            let found = on_threads(rows, |rows| rows.quadratic(loss, coordinates, point, *curvature, *stride))?;
            Answer::Quadratic(found.finish(layout, coordinates).trained)
        }
        Ask::MomentsByFold { rule } => {
            let found = on_threads(rows, |rows| rows.moments_by_fold(loss, spec.shares, *rule))?.0.into_iter();
            Answer::MomentsByFold(found.map(|fold| moments(fold, layout, spec)).collect::<Result<_>>()?)
        }
        Ask::Folds { rule, coordinates, points, quadratics } => {
            let mut evaluations = Vec::new();
            if !points.is_empty() {
                let found = on_threads(rows, |rows| rows.evaluate_by_fold(loss, coordinates, points, *rule))?;
                evaluations = found.finish(layout, coordinates);
            }
            let mut all = Vec::with_capacity(quadratics.len());
            for (at, curvature) in quadratics {
                let found = on_threads(rows, |rows| rows.quadratic_by_fold(loss, coordinates, at, *curvature, *rule))?;
                all.push(found.finish(layout, coordinates));
            }
            Answer::Folds { evaluations, quadratics: all }
        }
        ask => return Err(refused(ask)),
    })
}

/// Cuts the rows on panel borders, one part a thread; the sums do not depend on where.
fn on_threads<T: Combine + Send>(rows: Mixed<'_>, pass: impl Fn(Mixed<'_>) -> Option<Subtrees<T>> + Sync) -> Result<T> {
    let n = rows.rows.y.len();
    // An entry that is gathered and scattered is as much work as a few numbers in a row.
    let n_numbers = n + rows.rows.x.len() + 4 * rows.entries.count();
    in_parts(n, n_numbers, |part| pass(rows.slice(part)))
}
