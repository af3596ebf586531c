//! The shells that drive the softmax machine: over arrays in memory, and over chunks wherever they are.
//!
//! Both cut the rows at the same borders and add in the same order, so both give the same bits. What the machine does
//! with the answers is not known here.

use phalanx_array::ChunkedArray;
use phalanx_engine::graph::Delayed;
use phalanx_learn::{Error, Result};

use super::{
    class_weight::{self, ClassWeights},
    machine::{Answer, Ask, Softmax, Solution},
    pass::{self, Classes},
    tasks,
};
use crate::{
    cluster::{Chunked, Compute},
    family::Family,
    fit::on_threads,
    kernel::{BadValue, Moments, Place, Rows},
    response::ChunkedResponse,
};

const NAME: &str = "multinomial";

/// Fits over rows in memory.
pub(super) fn fit_local(mut machine: Softmax, class_weight: Option<&ClassWeights>, rows: Rows<'_>) -> Result<Solution> {
    let weights = match class_weight {
        None => None,
        Some(class_weight) => {
            for ask in [Ask::Moments, Ask::Classes] {
                answer(rows, &ask)?;
            }
            let found = on_threads(rows, pass::classes)?;
            Some(class_weight::reweighed(rows, &class_weight.of(&found.weights)?))
        }
    };
    let rows = Rows { weights: weights.as_deref().or(rows.weights), ..rows };
    loop {
        match machine.ask() {
            Ask::Done(solution) => return Ok(*solution),
            ask => {
                if let Some(answer) = answer(rows, &ask)? {
                    machine.tell(answer)?;
                }
            }
        }
    }
}

/// The answer to a question, from rows in memory; none where nothing was asked.
pub(super) fn answer(rows: Rows<'_>, ask: &Ask) -> Result<Option<Answer>> {
    Ok(Some(match ask {
        Ask::Done(_) => return Ok(None),
        Ask::Moments => {
            // Any finite y will do here; whether it is a class is seen next.
            let found = on_threads(rows, |rows| rows.moments(Family::Gaussian.into(), false))?;
            checked(found.bad)?;
            Answer::Moments(found)
        }
        Ask::Classes => {
            let found = on_threads(rows, pass::classes)?;
            checked(found.bad)?;
            Answer::Classes(found)
        }
        Ask::Look { frame, points, stride, curved } => {
            Answer::Looks(on_threads(rows, |rows| pass::look(rows, frame, points, *stride, *curved))?.0)
        }
    }))
}

/// Fits over chunks, wherever they are.
pub(super) async fn fit_chunked(
    cluster: &impl Compute,
    mut machine: Softmax,
    class_weight: Option<&ClassWeights>,
    x: &ChunkedArray,
    response: &ChunkedResponse,
) -> Result<Solution> {
    let mut data = Chunked::of(cluster, x, response).await?;
    if let Some(class_weight) = class_weight {
        moments(cluster, &data).await?;
        let by_class = Delayed::value(class_weight.of(&classes(cluster, &data).await?.weights)?);
        let task = |columns, extras: &Delayed<_>| tasks::reweigh::delayed(columns, extras, &by_class);
        data = data.with_weights(cluster, task).await?;
    }
    loop {
        let answer = match machine.ask() {
            Ask::Done(solution) => return Ok(*solution),
            Ask::Moments => Answer::Moments(moments(cluster, &data).await?),
            Ask::Classes => Answer::Classes(classes(cluster, &data).await?),
            Ask::Look { frame, points, stride, curved } => {
                data.hold(cluster, stride).await?;
                let at = Delayed::value(tasks::Points { frame, points, stride, curved });
                let work = data.pass_at(
                    stride,
                    |x, columns, panel, extras| tasks::look::delayed(x, columns, panel, extras, &at),
                    tasks::merge_looks::delayed,
                )?;
                Answer::Looks(cluster.compute(&work).await?.finish().0)
            }
        };
        machine.tell(answer)?;
    }
}

async fn moments(cluster: &impl Compute, data: &Chunked) -> Result<Moments> {
    let found = cluster.compute(&data.moments(Family::Gaussian.into(), false)?).await?.finish();
    checked(found.bad)?;
    Ok(found)
}

async fn classes(cluster: &impl Compute, data: &Chunked) -> Result<Classes> {
    // X is no input, so a chunk of it that was spilled is not read.
    let work = data.pass(
        |_, columns, panel, extras| tasks::classes::delayed(columns, panel, extras),
        tasks::merge_classes::delayed,
    )?;
    let found = cluster.compute(&work).await?.finish();
    checked(found.bad)?;
    Ok(found)
}

/// Refuses data that no model can be fitted to, naming the first bad value.
fn checked(bad: Option<BadValue>) -> Result<()> {
    let Some(BadValue { row, place, value }) = bad else { return Ok(()) };
    let (what, column, expected) = match place {
        Place::X(column) => ("X", Some(column), "a finite number"),
        Place::Weight => ("the sample weight", None, "0 or more"),
        Place::Y | Place::Offset | Place::Fold => ("y", None, "a whole number: the code of the row's class"),
    };
    if !value.is_finite() {
        return Err(Error::NotFinite { what, row, column, value });
    }
    Err(Error::Domain { metric: NAME, what, row, value, expected })
}

#[cfg(test)]
mod tests {
    use ndarray::{Array1, Array2};
    use phalanx_array::{Block, PANEL};
    use phalanx_learn::Fit;

    use super::*;
    use crate::{
        cluster::tests::{Here, wait},
        multinomial::{MultinomialModel, MultinomialRegression},
    };

    fn data(n: usize) -> (Array2<f64>, Array1<f64>) {
        let noise = |i: usize| ((i * 7919 + 13) % 10_007) as f64 / 5003. - 1.;
        let x = Array2::from_shape_fn((n, 4), |(i, j)| (1. + 9. * j as f64) * (noise(4 * i + j) + j as f64));
        let y = (0..n).map(|i| {
            let score = 0.5 * x[[i, 0]] - 0.03 * x[[i, 1]] + 0.4 * noise(31 * i + 7);
            if score < -0.5 {
                7.
            } else if score < -0.1 {
                -3.
            } else {
                2.
            }
        });
        (x.clone(), y.collect())
    }

    fn fit_here(how: &MultinomialRegression, x: &ChunkedArray, response: &ChunkedResponse) -> Result<MultinomialModel> {
        let n_features = x.shape()[1];
        wait(fit_chunked(&Here, how.machine(n_features)?, how.class_weight.as_ref(), x, response))
            .map(MultinomialModel::from)
    }

    #[test]
    fn any_chunks_give_the_bits_of_memory() {
        // Many enough that second derivatives are first those of a sample of the rows.
        for n in [41 * PANEL + 77, 300 * PANEL] {
            let (x, y) = data(n);
            for how in [
                MultinomialRegression::new().alpha(0.01).l1_ratio(0.5),
                MultinomialRegression::new().alpha(0.001).standardize(true),
                MultinomialRegression::new().alpha(0.001).class_weight(ClassWeights::Balanced),
            ] {
                let expected = how.fit(&x, &y).expect("fitted");
                assert!(expected.report().converged, "{:?}", expected.report());
                for (chunk, y_chunk) in [(7 * PANEL, 3 * PANEL), (16 * PANEL, PANEL), (n, n)] {
                    let x = ChunkedArray::from_array(&x, chunk).expect("an array");
                    let y = ChunkedArray::from_array(&y, y_chunk).expect("an array");
                    let found = fit_here(&how, &x, &ChunkedResponse::new(&y)).expect("fitted");
                    assert_eq!(found, expected, "{how:?} in chunks of {chunk}");
                }
            }
        }
    }

    #[test]
    fn bad_data_are_named_by_their_row_in_the_whole() {
        let (mut x, mut y) = data(5 * PANEL);
        y[3 * PANEL + 1] = 0.5;
        let message = |x: &Array2<f64>, y: &Array1<f64>| {
            let [x, y] =
                [Block::from(x), Block::from(y)].map(|a| ChunkedArray::from_array(a, PANEL).expect("an array"));
            let error = fit_here(&MultinomialRegression::new(), &x, &ChunkedResponse::new(&y));
            error.expect_err("refused").to_string()
        };
        let expected = "multinomial: y is 0.5 in row 769, expected a whole number: the code of the row's class";
        assert_eq!(message(&x, &y), expected);
        x[[3 * PANEL, 2]] = f64::NAN;
        assert_eq!(message(&x, &y), "X has NaN in row 768, column 2; drop or fill such rows first");
    }
}
