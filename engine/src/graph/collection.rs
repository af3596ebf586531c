//! What work can be described for and put together again: single results, lists and tuples of them.
//!
//! Knows nothing of what the parts are.

use std::sync::Arc;

use super::{AnyDelayed, Delayed};
use crate::{
    data::DataError,
    value::{Portable, Value},
};

/// Something that work can be described for: dask's collection protocol in types.
pub trait Collection {
    /// What `compute` brings home.
    type Output;

    /// The results it is made of.
    fn outputs(&self) -> Vec<AnyDelayed>;

    /// Adds the results it is made of to those of others.
    fn add_outputs(&self, to: &mut Vec<AnyDelayed>) {
        to.extend(self.outputs());
    }

    /// How many results it is made of.
    fn n_outputs(&self) -> usize {
        self.outputs().len()
    }

    /// Puts the values of the outputs together, in the same order.
    ///
    /// # Errors
    /// When a value is not of the expected type.
    fn assemble(&self, values: Vec<Value>) -> Result<Self::Output, DataError>;

    /// As [`assemble`](Self::assemble), of the first of these values.
    ///
    /// # Errors
    /// As there.
    fn assemble_first(&self, values: &mut std::vec::IntoIter<Value>) -> Result<Self::Output, DataError> {
        self.assemble(values.take(self.n_outputs()).collect())
    }

    /// The same thing over outputs that were submitted: what `persist` gives back.
    #[must_use]
    fn rebuild(&self, outputs: Vec<AnyDelayed>) -> Self
    where
        Self: Sized;
}

impl<T: Portable + Clone> Collection for Delayed<T> {
    type Output = T;

    fn outputs(&self) -> Vec<AnyDelayed> {
        vec![self.node.clone()]
    }

    fn add_outputs(&self, to: &mut Vec<AnyDelayed>) {
        to.push(self.node.clone());
    }

    fn n_outputs(&self) -> usize {
        1
    }

    fn assemble(&self, values: Vec<Value>) -> Result<T, DataError> {
        self.assemble_first(&mut values.into_iter())
    }

    fn assemble_first(&self, values: &mut std::vec::IntoIter<Value>) -> Result<T, DataError> {
        let value = values.next().ok_or(DataError::Type { expected: "one value", found: "none" })?;
        Ok(Arc::unwrap_or_clone(value.take::<T>()?))
    }

    fn rebuild(&self, mut outputs: Vec<AnyDelayed>) -> Self {
        outputs.pop().map_or_else(|| self.clone(), Self::from_any)
    }
}

impl<C: Collection> Collection for Vec<C> {
    type Output = Vec<C::Output>;

    fn outputs(&self) -> Vec<AnyDelayed> {
        let mut all = Vec::with_capacity(self.len());
        self.add_outputs(&mut all);
        all
    }

    fn add_outputs(&self, to: &mut Vec<AnyDelayed>) {
        self.iter().for_each(|part| part.add_outputs(to));
    }

    fn n_outputs(&self) -> usize {
        self.iter().map(C::n_outputs).sum()
    }

    fn assemble(&self, values: Vec<Value>) -> Result<Self::Output, DataError> {
        self.assemble_first(&mut values.into_iter())
    }

    fn assemble_first(&self, values: &mut std::vec::IntoIter<Value>) -> Result<Self::Output, DataError> {
        self.iter().map(|part| part.assemble_first(values)).collect()
    }

    fn rebuild(&self, outputs: Vec<AnyDelayed>) -> Self {
        let mut outputs = outputs.into_iter();
        self.iter().map(|part| part.rebuild(outputs.by_ref().take(part.n_outputs()).collect())).collect()
    }
}

macro_rules! tuple_collection {
    ($($part:ident $place:tt),+) => {
        impl<$($part: Collection),+> Collection for ($($part,)+) {
            type Output = ($($part::Output,)+);

            fn outputs(&self) -> Vec<AnyDelayed> {
                let mut all = Vec::new();
                $(self.$place.add_outputs(&mut all);)+
                all
            }

            fn assemble(&self, values: Vec<Value>) -> Result<Self::Output, DataError> {
                let mut values = values.into_iter();
                Ok(($(self.$place.assemble_first(&mut values)?,)+))
            }

            fn rebuild(&self, outputs: Vec<AnyDelayed>) -> Self {
                let mut outputs = outputs.into_iter();
                ($(self.$place.rebuild(outputs.by_ref().take(self.$place.n_outputs()).collect()),)+)
            }
        }
    };
}

tuple_collection!(A 0, B 1);
tuple_collection!(A 0, B 1, C 2);
tuple_collection!(A 0, B 1, C 2, D 3);
