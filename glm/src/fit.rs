//! The shell that drives a solver over arrays in memory, on as many threads as help.

use std::{
    num::NonZero,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use phalanx_array::panel::{Combine, PANEL, Subtrees, n_panels};
use phalanx_learn::{Error, Result};

use crate::{
    inference::{Inference, Wanted, WeightsKind},
    kernel::{BadValue, Place, Rows, Subject, Summary},
    solver::{
        Answer, Ask, BlockProblem, BlockSolution, Curvature, FoldPoint, Machine, Path, PathSolution, Solution, Spec,
    },
};

/// Numbers that one thread should have at least: below, starting it costs more than it brings.
const NUMBERS_A_THREAD: usize = 1 << 17;

/// Fits over rows in memory, and says what else is wanted of the optimum.
pub(crate) fn fit_local(mut machine: Machine, wanted: Option<Wanted>, rows: Rows<'_>) -> Result<Fitted> {
    let weights = class_weights(rows, machine.spec())?;
    let rows = Rows { weights: weights.as_deref().or(rows.weights), ..rows };
    loop {
        match machine.ask() {
            Ask::Done(solution) => {
                let Some(wanted) = wanted else { return Ok(Fitted { solution: *solution, inference: None }) };
                let subject = subject(&solution, machine.spec(), wanted);
                let summary = on_threads(rows, |rows| rows.summary(&subject))?;
                return Ok(fitted(*solution, machine.spec(), wanted, &summary));
            }
            ask => {
                if let Some(answer) = answer(rows, machine.spec(), &ask)? {
                    machine.tell(answer)?;
                }
            }
        }
    }
}

/// Goes a path over rows in memory.
pub(crate) fn path_local(mut path: Path, rows: Rows<'_>) -> Result<PathSolution> {
    let weights = class_weights(rows, &path.spec().spec)?;
    let rows = Rows { weights: weights.as_deref().or(rows.weights), ..rows };
    while let Some(ask) = path.ask() {
        if let Some(answer) = answer(rows, &path.spec().spec, &ask)? {
            path.tell(answer)?;
        }
    }
    path.solution().cloned().ok_or(NO_ROWS)
}

/// The rows' weights with those of their classes; none where classes have none.
fn class_weights(rows: Rows<'_>, spec: &Spec) -> Result<Option<Vec<f64>>> {
    let Some(class_weight) = spec.class_weight else { return Ok(None) };
    let moments = on_threads(rows, |rows| rows.moments(spec.loss, spec.shares))?;
    checked(moments.bad, spec)?;
    Ok(Some(rows.reweighed(class_weight.of_mean(moments.y.mean))))
}

/// What a fit gives.
#[derive(Debug)]
pub(crate) struct Fitted {
    pub(crate) solution: Solution,
    pub(crate) inference: Option<Inference>,
}

/// Where and how inference looks.
pub(crate) fn subject(solution: &Solution, spec: &Spec, wanted: Wanted) -> Subject {
    Subject {
        loss: spec.loss,
        coordinates: Arc::clone(&solution.coordinates),
        point: solution.point.clone(),
        scores: wanted.scores(),
        precision: wanted.weights == WeightsKind::Precision,
    }
}

/// The solution with what its summary says.
pub(crate) fn fitted(mut solution: Solution, spec: &Spec, wanted: Wanted, summary: &Summary) -> Fitted {
    solution.report.n_passes += 1;
    let deviances = [solution.report.deviance, solution.report.null_deviance];
    let inference = Inference::new(summary, spec.loss, &solution.coordinates, wanted, deviances);
    Fitted { solution, inference }
}

/// The answer to a question, from rows in memory; none where nothing was asked.
pub(crate) fn answer(rows: Rows<'_>, spec: &Spec, ask: &Ask) -> Result<Option<Answer>> {
    let loss = spec.loss;
    Ok(Some(match ask {
        Ask::Done(_) => return Ok(None),
        Ask::Moments => {
            let found = on_threads(rows, |rows| rows.moments(loss, spec.shares))?;
            checked(found.bad, spec)?;
            Answer::Moments(found)
        }
        Ask::Scatter => {
            let found = on_threads(rows, |rows| rows.scatter(loss))?;
            checked(found.bad, spec)?;
            Answer::Scatter(found)
        }
        Ask::Null { intercepts } => Answer::Null(on_threads(rows, |rows| rows.null(loss, intercepts))?.0),
        Ask::Evaluate { coordinates, points, stride } => {
            Answer::Evaluations(on_threads(rows, |rows| rows.evaluate(loss, coordinates, points, *stride))?.0)
        }
        Ask::Quadratic { coordinates, point, curvature, stride } => {
            Answer::Quadratic(on_threads(rows, |rows| rows.quadratic(loss, coordinates, point, *curvature, *stride))?)
        }
        Ask::Shape(at) => Answer::Shape(on_threads(rows, |rows| rows.shape(at))?),
        Ask::Pinball(at) => Answer::Pinball(on_threads(rows, |rows| rows.pinball(at))?),
        Ask::MomentsByFold { rule } => {
            let found = on_threads(rows, |rows| rows.moments_by_fold(loss, spec.shares, *rule))?.0;
            checked(found.iter().find_map(|fold| fold.bad), spec)?;
            Answer::MomentsByFold(found)
        }
        Ask::ScatterByFold { rule } => {
            let found = on_threads(rows, |rows| rows.scatter_by_fold(loss, *rule))?.0;
            checked(found.iter().find_map(|fold| fold.bad), spec)?;
            Answer::ScatterByFold(found)
        }
        Ask::Folds { rule, coordinates, points, quadratics } => {
            let evaluations = if points.is_empty() {
                Vec::new()
            } else {
                on_threads(rows, |rows| rows.evaluate_by_fold(loss, coordinates, points, *rule))?.0
            };
            let quadratic = |(at, curvature): &(FoldPoint, Curvature)| {
                on_threads(rows, |rows| rows.quadratic_by_fold(loss, coordinates, at, *curvature, *rule))
            };
            Answer::Folds { evaluations, quadratics: quadratics.iter().map(quadratic).collect::<Result<_>>()? }
        }
        Ask::BlockSolve { blocks } => Answer::Blocks(solve_blocks(rows, blocks)?),
    }))
}

/// Cuts the rows on panel borders, one part a thread; the sums do not depend on where.
pub(crate) fn on_threads<T: Combine + Send>(
    rows: Rows<'_>,
    pass: impl Fn(Rows<'_>) -> Option<Subtrees<T>> + Sync,
) -> Result<T> {
    Ok(subtrees_on_threads(rows, pass)?.finish())
}

/// The same for rows that are not the first: as far as their panels allow.
pub(crate) fn subtrees_on_threads<T: Combine + Send>(
    rows: Rows<'_>,
    pass: impl Fn(Rows<'_>) -> Option<Subtrees<T>> + Sync,
) -> Result<Subtrees<T>> {
    subtrees_in_parts(rows.y.len(), rows.y.len() * (rows.n_features + 1), |part| pass(rows.slice(part)))
}

/// Makes a pass over `n_rows` rows, of so many numbers in all, on as many threads as help.
pub(crate) fn in_parts<T: Combine + Send>(
    n_rows: usize,
    n_numbers: usize,
    pass: impl Fn(Range<usize>) -> Option<Subtrees<T>> + Sync,
) -> Result<T> {
    Ok(subtrees_in_parts(n_rows, n_numbers, pass)?.finish())
}

fn subtrees_in_parts<T: Combine + Send>(
    n_rows: usize,
    n_numbers: usize,
    pass: impl Fn(Range<usize>) -> Option<Subtrees<T>> + Sync,
) -> Result<Subtrees<T>> {
    let panels = n_panels(n_rows);
    let n_threads = n_threads().min((n_numbers / NUMBERS_A_THREAD).clamp(1, panels.max(1)));
    if n_threads == 1 {
        return pass(0..n_rows).ok_or(NO_ROWS);
    }
    let row = |part: usize| (part * panels / n_threads * PANEL).min(n_rows);
    let parts = (0..n_threads).map(|part| row(part)..row(part + 1));
    let pass = &pass;
    let found: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = parts.map(|part| scope.spawn(move || pass(part))).collect();
        // A thread that panicked panics here too, as it would have without threads.
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    Subtrees::merge_all(found.into_iter().flatten()).ok_or(NO_ROWS)
}

/// Every block by itself, several at a time; each is solved by one thread, so none depends on how many there are.
fn solve_blocks(rows: Rows<'_>, blocks: &[BlockProblem]) -> Result<Vec<BlockSolution>> {
    let solve = |block: &BlockProblem| block.solve(rows.slice(block.rows.clone()));
    let n_threads = n_threads().min(blocks.len());
    if n_threads <= 1 || rows.x.len() < NUMBERS_A_THREAD {
        return Ok(blocks.iter().map(solve).collect::<Result<_, _>>()?);
    }
    let next = AtomicUsize::new(0);
    let solve_some = || {
        let mut solved = Vec::new();
        while let Some((place, block)) = {
            let place = next.fetch_add(1, Ordering::Relaxed);
            blocks.get(place).map(|block| (place, block))
        } {
            solved.push((place, solve(block)));
        }
        solved
    };
    let mut solved: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..n_threads).map(|_| scope.spawn(solve_some)).collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    solved.sort_by_key(|(place, _)| *place);
    Ok(solved.into_iter().map(|(_, solution)| solution).collect::<Result<_, _>>()?)
}

/// What is found for each of some places, several at a time, in their order.
pub(crate) fn several<T: Send>(n: usize, n_numbers: usize, find: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let n_threads = n_threads().min(n);
    if n_threads <= 1 || n_numbers < NUMBERS_A_THREAD {
        return (0..n).map(find).collect();
    }
    let next = AtomicUsize::new(0);
    let find_some = || {
        let place = || Some(next.fetch_add(1, Ordering::Relaxed)).filter(|place| *place < n);
        std::iter::from_fn(place).map(|place| (place, find(place))).collect::<Vec<_>>()
    };
    let mut found: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..n_threads).map(|_| scope.spawn(find_some)).collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    found.sort_by_key(|(place, _)| *place);
    found.into_iter().map(|(_, found)| found).collect()
}

/// As many as there are processors, and one inside of a task, whose worker has given the others something to do.
fn n_threads() -> usize {
    if phalanx_runtime::is_in_task() {
        return 1;
    }
    std::thread::available_parallelism().map_or(1, NonZero::get)
}

pub(crate) const NO_ROWS: Error = Error::Empty { what: "X" };

/// Refuses data that no model can be fitted to, naming the first bad value.
pub(crate) fn checked(bad: Option<BadValue>, spec: &Spec) -> Result<()> {
    let Some(BadValue { row, place, value }) = bad else { return Ok(()) };
    let (what, column) = match place {
        Place::X(column) => ("X", Some(column)),
        Place::Y => ("y", None),
        Place::Weight => ("the sample weight", None),
        Place::Offset => ("the offset", None),
        Place::Fold => ("the fold", None),
    };
    if !value.is_finite() {
        return Err(Error::NotFinite { what, row, column, value });
    }
    let family = spec.loss.family;
    let expected = match place {
        Place::Weight => "0 or more",
        Place::Fold => "a whole number from 0, or 1, to the number of folds",
        _ => family.expects(),
    };
    Err(Error::Domain { metric: family.name(), what, row, value, expected })
}
