//! One piece of an array, here in memory: what tasks take and give.
//!
//! The numbers lie in row-major order in shared memory, so a clone and a range of rows cost nothing, and a block
//! travels as the bytes it already is. Which part of a larger array it is, it does not know.

use std::ops::Range;

use ndarray::{
    ArcArray, Array, Array1, Array2, ArrayD, ArrayView, ArrayView1, ArrayView2, ArrayViewD, Axis, Dimension, IxDyn,
};
use phalanx_engine::{
    data::{Buffer, Data, DataError},
    value::Portable,
};

use crate::panel::Combine;

/// An array of `f64` of any number of axes, in standard (row-major) layout.
///
/// ```
/// use ndarray::array;
/// use phalanx_array::Block;
/// let block = Block::from(array![[1.0, 2.0], [3.0, 4.0]]);
/// assert_eq!(block.shape(), [2, 2]);
/// assert_eq!(block.rows(1..2).as_slice(), [3.0, 4.0]); // the same memory
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Block(ArcArray<f64, IxDyn>);

impl Block {
    /// A block of the numbers in `values`, in row-major order.
    ///
    /// # Panics
    /// When `shape` does not hold as many numbers as there are.
    pub fn new(shape: &[usize], values: Vec<f64>) -> Self {
        match ArcArray::from_shape_vec(IxDyn(shape), values) {
            Ok(array) => Self(array),
            Err(error) => panic!("the numbers do not fill a block of shape {shape:?}: {error}"),
        }
    }

    /// One number and no axes.
    pub fn scalar(value: f64) -> Self {
        Self::new(&[], vec![value])
    }

    /// Length of each axis.
    pub fn shape(&self) -> &[usize] {
        self.0.shape()
    }

    /// How many axes.
    pub fn n_axes(&self) -> usize {
        self.0.ndim()
    }

    /// How many numbers.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no numbers.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Rows and columns: a vector is one column, a scalar one row and one column.
    pub fn dims(&self) -> (usize, usize) {
        dims(self.shape())
    }

    /// All numbers in row-major order.
    pub fn as_slice(&self) -> &[f64] {
        self.0.as_slice().unwrap_or_default() // the layout is standard by construction
    }

    /// All numbers, to change; they are copied first where they are shared.
    pub fn as_mut_slice(&mut self) -> &mut [f64] {
        self.0.as_slice_mut().unwrap_or_default()
    }

    /// The numbers as an array.
    pub fn view(&self) -> ArrayViewD<'_, f64> {
        self.0.view()
    }

    /// The numbers as a vector, whatever the shape.
    pub fn view1(&self) -> ArrayView1<'_, f64> {
        ArrayView1::from(self.as_slice())
    }

    /// The numbers as a matrix of [`dims`](Self::dims).
    pub fn view2(&self) -> ArrayView2<'_, f64> {
        match ArrayView2::from_shape(self.dims(), self.as_slice()) {
            Ok(view) => view,
            Err(_) => unreachable!("a block's slice has the length of its shape"),
        }
    }

    /// Some of the rows, in the same memory.
    ///
    /// # Panics
    /// When `rows` reaches beyond the first axis, or there is no axis.
    #[must_use]
    pub fn rows(&self, rows: Range<usize>) -> Self {
        let mut part = self.0.clone();
        part.slice_axis_inplace(Axis(0), ndarray::Slice::from(rows));
        Self(part)
    }

    /// The same numbers in another shape, in the same memory.
    ///
    /// # Panics
    /// When `shape` does not hold as many numbers.
    #[must_use]
    pub fn reshape(&self, shape: &[usize]) -> Self {
        match self.0.clone().into_shape_with_order(IxDyn(shape)) {
            Ok(array) => Self(array),
            Err(error) => panic!("a block of shape {:?} cannot become {shape:?}: {error}", self.shape()),
        }
    }

    /// The numbers as an array of their own: the same memory where nobody else uses it.
    pub fn into_array(self) -> ArrayD<f64> {
        self.0.into_owned()
    }

    /// The numbers as a vector, whatever the shape.
    pub fn into_array1(self) -> Array1<f64> {
        Array1::from_vec(self.into_vec())
    }

    /// The numbers as a matrix of [`dims`](Self::dims).
    pub fn into_array2(self) -> Array2<f64> {
        let dims = self.dims();
        match Array2::from_shape_vec(dims, self.into_vec()) {
            Ok(array) => array,
            Err(_) => unreachable!("a block's numbers fill its shape"),
        }
    }

    /// The numbers in row-major order: the same memory where nobody else uses it and the block is all of it.
    pub fn into_vec(self) -> Vec<f64> {
        let n = self.len();
        let array = self.0.into_owned();
        match array.into_raw_vec_and_offset() {
            (mut values, Some(start)) if start > 0 || values.len() > n => {
                values.truncate(start + n);
                values.drain(..start);
                values
            }
            (values, _) => values,
        }
    }
}

/// Rows and columns of a shape: a vector is one column, a scalar one row and one column.
pub(crate) fn dims(shape: &[usize]) -> (usize, usize) {
    match shape {
        [] => (1, 1),
        [rows, rest @ ..] => (*rows, rest.iter().product()),
    }
}

impl<D: Dimension> From<Array<f64, D>> for Block {
    /// Takes the memory over; it is copied only when it is not in standard layout.
    fn from(array: Array<f64, D>) -> Self {
        let array = if array.is_standard_layout() { array } else { array.as_standard_layout().into_owned() };
        Self(array.into_dyn().into_shared())
    }
}

impl<D: Dimension> From<&Array<f64, D>> for Block {
    fn from(array: &Array<f64, D>) -> Self {
        array.view().into()
    }
}

impl<D: Dimension> From<ArrayView<'_, f64, D>> for Block {
    fn from(array: ArrayView<'_, f64, D>) -> Self {
        Self(array.as_standard_layout().into_owned().into_dyn().into_shared())
    }
}

impl From<Vec<f64>> for Block {
    fn from(values: Vec<f64>) -> Self {
        Self::new(&[values.len()], values)
    }
}

impl From<f64> for Block {
    fn from(value: f64) -> Self {
        Self::scalar(value)
    }
}

impl Combine for Block {
    /// Adds element by element, in the memory of `self` where it is not shared.
    ///
    /// # Panics
    /// When the shapes differ.
    fn combine(mut self, right: Self) -> Self {
        assert_eq!(self.shape(), right.shape(), "panel results of different shapes cannot be added");
        let (a, b) = (self.as_mut_slice(), right.as_slice());
        crate::simd::dispatch(
            #[inline(always)]
            || a.iter_mut().zip(b).for_each(|(a, b)| *a += b),
        );
        self
    }
}

impl Portable for Block {
    fn encode(&self) -> Result<Data, DataError> {
        Ok(Data { header: encode_header(&self.shape())?, buffers: vec![self.to_buffer()] })
    }

    fn decode(data: Data) -> Result<Self, DataError> {
        let shape: Vec<usize> = decode_header(&data.header)?;
        let [buffer] = <[Buffer; 1]>::try_from(data.buffers)
            .map_err(|buffers| broken(format!("{} buffers, expected 1", buffers.len())))?;
        Self::from_buffer(&shape, buffer)
    }

    fn n_bytes(&self) -> u64 {
        (self.len() * size_of::<f64>()) as u64
    }
}

impl Block {
    /// The numbers as bytes, in the same memory.
    pub(crate) fn to_buffer(&self) -> Buffer {
        struct Owner(Block);
        impl AsRef<[u8]> for Owner {
            fn as_ref(&self) -> &[u8] {
                bytemuck::cast_slice(self.0.as_slice())
            }
        }
        Buffer::from_owner(Owner(self.clone()))
    }

    /// A block from bytes that may be anything.
    pub(crate) fn from_buffer(shape: &[usize], buffer: Buffer) -> Result<Self, DataError> {
        if shape.len() > 8 {
            return Err(broken(format!("a block of {} axes", shape.len())));
        }
        // Axes of length zero are left out, so that their neighbours' lengths cannot overflow unseen.
        let checked = |len: usize, axis: &usize| len.checked_mul((*axis).max(1));
        let room = shape.iter().try_fold(size_of::<f64>(), checked).filter(|room| isize::try_from(*room).is_ok());
        let Some(room) = room else { return Err(broken(format!("the shape {shape:?} is too large"))) };
        let expected = if shape.contains(&0) { 0 } else { room };
        if buffer.len() != expected {
            return Err(broken(format!("{} bytes for the shape {shape:?}", buffer.len())));
        }
        let array = ArcArray::from_shape_vec(IxDyn(shape), buffer.into_vec()?);
        array.map(Self).map_err(|error| broken(error.to_string()))
    }
}

pub(crate) fn encode_header<T: serde::Serialize>(header: &T) -> Result<Vec<u8>, DataError> {
    postcard::to_stdvec(header).map_err(|error| broken(error.to_string()))
}

pub(crate) fn decode_header<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, DataError> {
    postcard::from_bytes(bytes).map_err(|error| broken(error.to_string()))
}

pub(crate) fn broken(message: String) -> DataError {
    DataError::Code { type_name: "phalanx_array::Block", message }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use ndarray::{array, s};
    use phalanx_engine::data::BufferMut;
    use rand::{Rng, RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    /// As if the bytes had been received.
    fn travel(data: Data) -> Data {
        let receive = |buffer: &Buffer| {
            let mut incoming = BufferMut::zeroed(buffer.len());
            incoming.as_mut_bytes().copy_from_slice(buffer.as_bytes());
            incoming.freeze()
        };
        Data { header: data.header, buffers: data.buffers.iter().map(receive).collect() }
    }

    #[test]
    fn a_block_travels_without_a_copy_on_either_side() {
        let block = Block::from(array![[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]);
        let data = block.encode().unwrap();
        assert_eq!(data.buffers[0].as_bytes().as_ptr(), block.as_slice().as_ptr().cast());
        let arrived = travel(data);
        let address: *const f64 = arrived.buffers[0].as_bytes().as_ptr().cast();
        let read = Block::decode(arrived).unwrap();
        assert_eq!((read.as_slice().as_ptr(), &read), (address, &block));
    }

    #[test]
    fn every_shape_survives() {
        for shape in [vec![], vec![0], vec![3], vec![0, 5], vec![5, 0], vec![2, 3], vec![2, 1, 2]] {
            let n = shape.iter().product();
            let block = Block::new(&shape, (0..n).map(|i| i as f64).collect());
            assert_eq!(Block::decode(travel(block.encode().unwrap())).unwrap(), block);
        }
    }

    #[test]
    fn part_of_a_block_shares_its_memory_and_sends_only_its_own_rows() {
        let block = Block::from(array![[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]);
        let part = block.rows(1..3);
        assert_eq!(part.as_slice().as_ptr(), block.as_slice()[2..].as_ptr());
        assert_eq!(part.encode().unwrap().buffers[0].len(), 32);
        drop(block);
        assert_eq!(part.clone().into_vec(), [3.0, 4.0, 5.0, 6.0]);
        assert_eq!(part.rows(0..1).into_vec(), [3.0, 4.0]);
    }

    #[test]
    fn any_layout_becomes_row_major() {
        let a = array![[1.0, 2.0], [3.0, 4.0]];
        assert_eq!(Block::from(a.t()).as_slice(), [1.0, 3.0, 2.0, 4.0]);
        assert_eq!(Block::from(a.clone().reversed_axes()).as_slice(), [1.0, 3.0, 2.0, 4.0]);
        assert_eq!(Block::from(a.slice(s![..;-1, ..])).into_array2(), array![[3.0, 4.0], [1.0, 2.0]]);
    }

    #[test]
    fn garbage_is_an_error_and_never_a_panic() {
        let header = |shape: &[usize]| encode_header(&shape).unwrap();
        let of = |header, lens: &[usize]| Data {
            header,
            buffers: lens.iter().map(|len| BufferMut::zeroed(*len).freeze()).collect(),
        };
        for data in [
            of(header(&[2, 2]), &[24]),
            of(header(&[2, 2]), &[]),
            of(header(&[2, 2]), &[32, 32]),
            of(header(&[usize::MAX, usize::MAX]), &[8]),
            of(header(&[usize::MAX, 0, usize::MAX]), &[0]),
            of(header(&[1 << 61]), &[0]),
            of(header(&[1; 20]), &[8]),
            of(vec![0xff; 12], &[8]),
            of(vec![], &[8]),
        ] {
            assert!(Block::decode(data.clone()).is_err(), "{data:?}");
        }
        let mut random = ChaCha8Rng::seed_from_u64(1);
        for _ in 0..20_000 {
            let mut header = vec![0; random.random_range(0..12)];
            random.fill_bytes(&mut header);
            let _ = Block::decode(of(header, &[random.random_range(0..64)]));
        }
    }
}
