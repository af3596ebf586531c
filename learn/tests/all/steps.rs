//! Splines and interactions, held against SciPy's B-splines and as steps of a pipeline.

use ndarray::{Array1, Array2, array};
use phalanx_learn::{
    DummyRegressor, Fit, Pipeline, Transform,
    check::check_estimator_on,
    params,
    preprocess::{Interactions, NaturalSpline},
};

/// GNP of Longley's data.
const GNP: [f64; 16] = [
    234289., 259426., 258054., 284599., 328975., 346999., 365385., 363112., 397469., 419180., 442769., 444546.,
    482704., 502601., 518173., 554894.,
];

fn gnp() -> Array2<f64> {
    Array1::from(GNP.to_vec()).insert_axis(ndarray::Axis(1))
}

#[test]
fn the_basis_is_that_of_r() {
    // Made with scipy.interpolate.BSpline and numpy.linalg.qr (LAPACK's Householder reflections, as R's ns has
    // LINPACK's), knots at numpy's quantiles; row 2.
    let rows: [(usize, &[f64], &[f64]); 3] = [
        (1, &[], &[0.059432604738373696]),
        (2, &[381427.], &[0.11670339560573988, -0.07515335524842418]),
        (
            4,
            &[317881., 381427., 454085.5],
            &[0.004964815552486796, -0.08347840033047742, 0.22712449832942525, -0.14364609799894776],
        ),
    ];
    for (df, knots, expected) in rows {
        let fitted = NaturalSpline::new().df(df).fit(&gnp(), ()).unwrap();
        assert_eq!(fitted.knots(0), Some(knots));
        let x = fitted.transform(&gnp()).unwrap();
        assert_eq!(x.ncols(), df);
        for (found, expected) in x.row(2).iter().zip(expected) {
            assert!((found - expected).abs() < 1e-12, "{} and {expected:?}", x.row(2));
        }
        assert!(x.row(0).iter().all(|at_the_boundary| at_the_boundary.abs() < 1e-12));
    }
}

#[test]
fn the_curve_is_smooth_and_straight_beyond_the_boundary() {
    let fitted = NaturalSpline::new().knots([3., 5.]).boundary(0., 8.).fit(&array![[1.]], ()).unwrap();
    let at = |x: f64| fitted.transform(&array![[x]]).unwrap().row(0).to_owned();
    let second = |x: f64, h: f64| (at(x - h) - 2. * at(x) + at(x + h)) / (h * h);
    for x in [-7., -1., 9., 30.] {
        assert!(second(x, 0.5).iter().all(|bend| bend.abs() < 1e-9), "{x}");
    }
    for knot in [0., 3., 5., 8.] {
        let jump = second(knot - 2e-3, 1e-3) - second(knot + 2e-3, 1e-3);
        assert!(jump.iter().all(|jump| jump.abs() < 0.02), "{knot}: {jump}");
    }
    assert!(second(4., 0.1).iter().any(|bend| bend.abs() > 1e-3));
}

#[test]
fn what_splines_and_interactions_cannot_be_is_named() {
    let x = array![[1., 5., 0.], [2., 5., 0.], [3., 5., 1.]];
    let spline = |spline: NaturalSpline| spline.fit(&x, ()).unwrap_err().to_string();
    let of = |column: usize| NaturalSpline::new().columns([column]);
    assert_eq!(spline(of(7)), "columns is 7, expected 0 to 2, the places of columns");
    assert_eq!(spline(of(0).df(0)), "df is 0, expected 1 to 1,000");
    assert_eq!(spline(of(1)), "column 1 is 5 in every row, expected at least two different numbers for a spline");
    assert_eq!(
        spline(of(2).df(3)),
        "df is 3, expected less: column 2 has too few different numbers for so many knots at quantiles"
    );
    assert_eq!(
        spline(of(0).knots([2., 9.])),
        "knots is [2.0, 9.0], expected ascending numbers above 1 and below 3, the boundary of column 0"
    );
    assert_eq!(spline(NaturalSpline::new().columns([0, 0])), "columns is 0 twice, expected each column once");
    let pairs = |pairs: &[[usize; 2]]| Interactions::new().pairs(pairs).fit(&x, ()).unwrap_err().to_string();
    assert_eq!(pairs(&[[0, 3]]), "pairs is [0, 3], expected 0 to 2, not 3");
    assert_eq!(pairs(&[[0, 1], [1, 0]]), "pairs is [1, 0] twice, expected each pair once");
}

#[test]
fn they_are_steps_of_a_pipeline() {
    let pipeline = Pipeline::builder()
        .step("spline", NaturalSpline::new().columns([1]).df(3))
        .step("pairs", Interactions::new())
        .estimator("model", DummyRegressor::new());
    let pipeline = params::set(&pipeline, [("spline__df", 2)]).unwrap();
    let x = Array2::from_shape_fn((300, 2), |(i, j)| ((i * 31 + j * 17) % 97) as f64 / 9.);
    check_estimator_on(&*pipeline, x.view(), x.column(0)).unwrap();
    let model = pipeline.fit_dyn(x.view(), x.column(0)).unwrap();
    let model = model.as_any().downcast_ref::<phalanx_learn::pipeline::PipelineModel>().unwrap();
    let names = model.steps().fold(vec!["a".to_owned(), "b".to_owned()], |names, (_, step)| step.feature_names(&names));
    assert_eq!(names[..4], ["a", "ns(b, df=2)1", "ns(b, df=2)2", "a:ns(b, df=2)1"]);
    assert_eq!(names.len(), 6);
}
