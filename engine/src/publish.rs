//! Collections that outlive the program that made them: what of one is kept beside its results.
//!
//! A collection is its outputs and the rest: how long the axes are, where they are cut, what type a value has. The
//! outputs are results on workers; the rest is a few bytes, which this trait writes and reads.

use std::any::type_name;

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    data::DataError,
    graph::{AnyDelayed, Collection, Delayed},
    value::Portable,
};

/// A collection that can be published under a name, and got back by another program.
///
/// ```
/// use phalanx_engine::{graph::{Collection, Delayed}, publish::Publish};
///
/// let pair = (Delayed::value(1.5_f64), vec![Delayed::value(2_u64), Delayed::value(3)]);
/// let shape = pair.shape()?;
/// let back = <(Delayed<f64>, Vec<Delayed<u64>>)>::from_shape(&shape, pair.outputs())?;
/// assert_eq!(back.1.len(), 2);
/// assert!(<(Delayed<String>, Vec<Delayed<u64>>)>::from_shape(&shape, pair.outputs()).is_err()); // not a String
/// # Ok::<(), phalanx_engine::data::DataError>(())
/// ```
pub trait Publish: Collection + Sized {
    /// All that is to be known of the collection but its outputs.
    ///
    /// # Errors
    /// When it cannot be written.
    fn shape(&self) -> Result<Vec<u8>, DataError>;

    /// The collection of that shape over its outputs, given in the order of [`Collection::outputs`].
    ///
    /// # Errors
    /// When the shape is of another kind of collection, or the outputs do not fit it. Both may come from a stranger.
    fn from_shape(shape: &[u8], outputs: Vec<AnyDelayed>) -> Result<Self, DataError>;
}

/// Writes a shape that serde knows, with the name of what it is the shape of.
///
/// # Errors
/// When serde cannot write it.
pub fn write_shape(kind: &str, shape: &impl Serialize) -> Result<Vec<u8>, DataError> {
    postcard::to_stdvec(&(kind, shape)).map_err(|error| broken(kind, &error.to_string()))
}

/// Reads what [`write_shape`] wrote for the same kind.
///
/// # Errors
/// When it is the shape of something else, or no shape.
pub fn read_shape<T: DeserializeOwned>(kind: &str, shape: &[u8]) -> Result<T, DataError> {
    let (found, rest) = postcard::take_from_bytes::<String>(shape).map_err(|e| broken(kind, &e.to_string()))?;
    if found != kind {
        return Err(broken(kind, &format!("it is published as {found}, and asked for as {kind}")));
    }
    postcard::from_bytes(rest).map_err(|error| broken(kind, &error.to_string()))
}

/// The error of outputs that do not fit a shape.
pub fn broken(kind: &str, message: &str) -> DataError {
    DataError::Code { type_name: "published collection", message: format!("{kind}: {message}") }
}

impl<T: Portable + Clone> Publish for Delayed<T> {
    fn shape(&self) -> Result<Vec<u8>, DataError> {
        write_shape(type_name::<T>(), &())
    }

    fn from_shape(shape: &[u8], outputs: Vec<AnyDelayed>) -> Result<Self, DataError> {
        read_shape::<()>(type_name::<T>(), shape)?;
        match <[AnyDelayed; 1]>::try_from(outputs) {
            Ok([only]) => Ok(Self::from_any(only)),
            Err(outputs) => Err(broken(type_name::<T>(), &format!("{} results, expected 1", outputs.len()))),
        }
    }
}

/// Parts, each with how many outputs it has.
type Parts = Vec<(u64, Vec<u8>)>;

fn part<C: Publish>(part: &C) -> Result<(u64, Vec<u8>), DataError> {
    Ok((part.outputs().len() as u64, part.shape()?))
}

/// Takes the outputs of the next part.
fn next_part<C: Publish>(
    parts: &mut impl Iterator<Item = (u64, Vec<u8>)>,
    outputs: &mut std::vec::IntoIter<AnyDelayed>,
) -> Result<Option<C>, DataError> {
    let Some((n_outputs, shape)) = parts.next() else { return Ok(None) };
    if n_outputs > outputs.len() as u64 {
        return Err(broken("list", &format!("{} results, expected {n_outputs}", outputs.len())));
    }
    let own = outputs.by_ref().take(n_outputs as usize).collect();
    C::from_shape(&shape, own).map(Some)
}

impl<C: Publish> Publish for Vec<C> {
    fn shape(&self) -> Result<Vec<u8>, DataError> {
        write_shape("list", &self.iter().map(part).collect::<Result<Parts, _>>()?)
    }

    fn from_shape(shape: &[u8], outputs: Vec<AnyDelayed>) -> Result<Self, DataError> {
        let mut parts = read_shape::<Parts>("list", shape)?.into_iter();
        let mut outputs = outputs.into_iter();
        let mut all = Self::new();
        while let Some(next) = next_part(&mut parts, &mut outputs)? {
            all.push(next);
        }
        Ok(all)
    }
}

impl<A: Publish, B: Publish> Publish for (A, B) {
    fn shape(&self) -> Result<Vec<u8>, DataError> {
        write_shape("pair", &vec![part(&self.0)?, part(&self.1)?])
    }

    fn from_shape(shape: &[u8], outputs: Vec<AnyDelayed>) -> Result<Self, DataError> {
        let mut parts = read_shape::<Parts>("pair", shape)?.into_iter();
        let mut outputs = outputs.into_iter();
        let first = next_part(&mut parts, &mut outputs)?;
        let second = next_part(&mut parts, &mut outputs)?;
        first.zip(second).ok_or_else(|| broken("pair", "a part is missing"))
    }
}
