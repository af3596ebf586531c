//! Transformers as objects: the steps of a pipeline before its estimator.

use std::{any::Any, fmt};

use ndarray::{Array2, ArrayView1, ArrayView2};

use crate::Result;

/// Something that can learn how to change X: parameters, and no data yet. In JSON the tag `transformer` names
/// the type; what is said of an [`Estimator`](crate::Estimator)'s parameters holds here too.
#[typetag::serde(tag = "transformer")]
pub trait Transformer: TransformerObject + fmt::Debug + Send + Sync {
    /// Learns from X of shape (n_rows, n_features); most transformers do not look at y.
    ///
    /// # Errors
    /// When a parameter is out of its range, or the data are empty, do not fit together or are not finite.
    fn fit_transformer(&self, x: ArrayView2<'_, f64>, y: ArrayView1<'_, f64>) -> Result<Box<dyn FittedTransformer>>;

    /// The name it is registered under.
    fn name(&self) -> &'static str {
        self.typetag_name()
    }
}

/// What a transformer has learned. In JSON the tag `fitted` names the type.
#[typetag::serde(tag = "fitted")]
pub trait FittedTransformer: FittedTransformerObject + fmt::Debug + Send + Sync {
    /// How many columns it learned from.
    fn n_features(&self) -> usize;

    /// The changed X, a row for each row.
    ///
    /// # Errors
    /// When X has not [`n_features`](Self::n_features) columns or is not finite.
    fn transform_dyn(&self, x: ArrayView2<'_, f64>) -> Result<Array2<f64>>;

    /// The names of the changed columns, given those there were; the same where no column is added or taken away.
    fn feature_names(&self, names: &[String]) -> Vec<String> {
        names.to_vec()
    }

    /// The name it is registered under.
    fn name(&self) -> &'static str {
        self.typetag_name()
    }
}

/// Cloning and downcasting for [`Transformer`] objects; implemented for every type that can be cloned.
pub trait TransformerObject {
    /// A copy in a box.
    fn clone_box(&self) -> Box<dyn Transformer>;
    /// For `downcast_ref` to the transformer's own type.
    fn as_any(&self) -> &dyn Any;
}

impl<T: Transformer + Clone + 'static> TransformerObject for T {
    fn clone_box(&self) -> Box<dyn Transformer> {
        Box::new(self.clone())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Clone for Box<dyn Transformer> {
    fn clone(&self) -> Self {
        (**self).clone_box()
    }
}

/// Cloning and downcasting for [`FittedTransformer`] objects; implemented for every type that can be cloned.
pub trait FittedTransformerObject {
    /// A copy in a box.
    fn clone_box(&self) -> Box<dyn FittedTransformer>;
    /// For `downcast_ref` to its own type.
    fn as_any(&self) -> &dyn Any;
}

impl<T: FittedTransformer + Clone + 'static> FittedTransformerObject for T {
    fn clone_box(&self) -> Box<dyn FittedTransformer> {
        Box::new(self.clone())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Clone for Box<dyn FittedTransformer> {
    fn clone(&self) -> Self {
        (**self).clone_box()
    }
}
