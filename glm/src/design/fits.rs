//! Every estimator of one linear predictor, fitted to a design or a sparse matrix.

use ndarray::Array1;
use phalanx_array::ChunkedArray;
use phalanx_learn::{Fit, FitOn, Result};
use phalanx_runtime::Client;
use sprs::CsMat;

use super::{
    ChunkedDesign, Design, chunked,
    local::{self, Local},
};
use crate::{
    ChunkedResponse, GammaRegression, Glm, GlmModel, GlmPath, HuberRegression, InverseGaussianRegression,
    LinearRegression, LogisticRegression, NegativeBinomialRegression, PathModel, PoissonRegression, Response,
    TweedieRegression,
};

/// What follows from fits to a design and a chunked design.
macro_rules! sparse_fits {
    ($($name:ident => $model:ident),* $(,)?) => {$(
        impl Fit<&Design, &Array1<f64>> for $name {
            type Model = $model;

            fn fit(&self, x: &Design, y: &Array1<f64>) -> Result<$model> {
                self.fit(x, Response::new(y))
            }
        }

        impl Fit<&CsMat<f64>, Response<'_>> for $name {
            type Model = $model;

            /// As to a [`Design`] of the one sparse part.
            fn fit(&self, x: &CsMat<f64>, response: Response<'_>) -> Result<$model> {
                self.fit(&Design::new().sparse(x)?, response)
            }
        }

        impl Fit<&CsMat<f64>, &Array1<f64>> for $name {
            type Model = $model;

            fn fit(&self, x: &CsMat<f64>, y: &Array1<f64>) -> Result<$model> {
                self.fit(x, Response::new(y))
            }
        }

        impl FitOn<ChunkedDesign, ChunkedArray> for $name {
            type Model = $model;

            /// As with a [`ChunkedResponse`] whose rows count once each.
            async fn fit_on(&self, client: &Client, x: &ChunkedDesign, y: &ChunkedArray) -> Result<$model> {
                self.fit_on(client, x, &ChunkedResponse::new(y)).await
            }
        }
    )*};
}

macro_rules! design_fits {
    ($($name:ident),* $(,)?) => {$(
        impl Fit<&Design, Response<'_>> for $name {
            type Model = GlmModel;

            fn fit(&self, x: &Design, response: Response<'_>) -> Result<GlmModel> {
                let glm = Glm::from(self.clone());
                let columns = x.columns();
                let (machine, chosen) = local::machine(&glm, &columns, response.has_trials())?;
                glm.check_groups(response.has_groups())?;
                let dense = x.dense_part();
                let rows = Local::new(x, &dense, &response)?;
                Ok(glm.model(local::fit(machine, glm.wanted(columns.n_features()), rows.mixed())?, chosen))
            }
        }

        impl FitOn<ChunkedDesign, ChunkedResponse> for $name {
            type Model = GlmModel;

            /// The design and the response's arrays, in any chunks. All are computed once and stay on the workers for
            /// the time of the fit; the solver's messages hold no rows.
            async fn fit_on(
                &self,
                client: &Client,
                x: &ChunkedDesign,
                response: &ChunkedResponse,
            ) -> Result<GlmModel> {
                chunked::fit_glm(client, &Glm::from(self.clone()), x, response).await
            }
        }

        sparse_fits! { $name => GlmModel }
    )*};
}

design_fits! {
    Glm, LinearRegression, LogisticRegression, PoissonRegression, GammaRegression, TweedieRegression,
    NegativeBinomialRegression, InverseGaussianRegression, HuberRegression,
}

sparse_fits! { GlmPath => PathModel }

impl Fit<&Design, Response<'_>> for GlmPath {
    type Model = PathModel;

    fn fit(&self, x: &Design, response: Response<'_>) -> Result<PathModel> {
        let (trials, folds) = (response.has_trials(), response.has_folds());
        let path = local::path(self, x.n_rows(), &x.columns(), trials, folds)?;
        let dense = x.dense_part();
        let rows = Local::new(x, &dense, &response)?;
        Ok(self.model(local::go(path, rows.mixed())?))
    }
}

impl FitOn<ChunkedDesign, ChunkedResponse> for GlmPath {
    type Model = PathModel;

    async fn fit_on(&self, client: &Client, x: &ChunkedDesign, response: &ChunkedResponse) -> Result<PathModel> {
        chunked::go_path(client, self, x, response).await
    }
}
