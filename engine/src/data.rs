//! A value outside of its type: a small header and raw buffers, as it travels and lies on disk.
//!
//! Buffers share their memory with whoever made them, so an array is sent without being copied first, and a
//! received buffer becomes an array again without a copy. What the bytes mean is not known here.

use std::{fmt, sync::Arc};

use bytemuck::{NoUninit, Pod};
use bytes::Bytes;

/// A value as bytes: a header of a few bytes and any number of buffers.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Data {
    /// What the value's type needs to read the buffers: shape, element type, or a whole small value.
    pub header: Vec<u8>,
    /// The bulk, 8-byte aligned when received.
    pub buffers: Vec<Buffer>,
}

impl Data {
    /// A value that is all header.
    pub const fn small(header: Vec<u8>) -> Self {
        Self { header, buffers: Vec::new() }
    }

    /// Bytes of header and buffers together.
    pub fn n_bytes(&self) -> u64 {
        self.header.len() as u64 + self.buffers.iter().map(|b| b.len() as u64).sum::<u64>()
    }
}

impl fmt::Debug for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Data({} bytes in {} buffers)", self.n_bytes(), self.buffers.len())
    }
}

/// Bytes that are shared or owned, and never changed.
///
/// ```
/// use phalanx_engine::data::Buffer;
/// let buffer = Buffer::from_vec(vec![1.5_f64, 2.5]);
/// assert_eq!(buffer.len(), 16);
/// assert_eq!(buffer.into_vec::<f64>().unwrap(), [1.5, 2.5]);
/// ```
#[derive(Clone)]
pub struct Buffer(Repr);

#[derive(Clone)]
enum Repr {
    Shared(Bytes),
    /// What was received: words, so that a vector of `f64` takes the memory over as it is.
    Words(Arc<Vec<u64>>, usize),
}

impl Buffer {
    /// Shares the memory of `owner`, which lives as long as any clone of the buffer.
    pub fn from_owner(owner: impl AsRef<[u8]> + Send + 'static) -> Self {
        Self(Repr::Shared(Bytes::from_owner(owner)))
    }

    /// Takes over a vector of plain numbers, without a copy.
    pub fn from_vec<T: NoUninit + Send + 'static>(numbers: Vec<T>) -> Self {
        struct Owner<T>(Vec<T>);
        impl<T: NoUninit> AsRef<[u8]> for Owner<T> {
            fn as_ref(&self) -> &[u8] {
                bytemuck::cast_slice(&self.0)
            }
        }
        Self::from_owner(Owner(numbers))
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Repr::Shared(bytes) => bytes,
            Repr::Words(words, len) => &bytemuck::cast_slice(words.as_slice())[..*len],
        }
    }

    /// How many bytes.
    pub fn len(&self) -> usize {
        match &self.0 {
            Repr::Shared(bytes) => bytes.len(),
            Repr::Words(_, len) => *len,
        }
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The numbers in it: the same memory for a received buffer of an 8-byte type that nobody shares, a copy otherwise.
    ///
    /// # Errors
    /// When the bytes do not divide into whole `T`s.
    pub fn into_vec<T: Pod>(self) -> Result<Vec<T>, DataError> {
        let len = self.len();
        let size = size_of::<T>();
        if size == 0 || !len.is_multiple_of(size) {
            return Err(DataError::Length { len, size });
        }
        let rest = match self.0 {
            Repr::Words(words, _) => match Arc::try_unwrap(words).map(bytemuck::allocation::try_cast_vec::<u64, T>) {
                Ok(Ok(mut numbers)) => {
                    numbers.truncate(len / size);
                    return Ok(numbers);
                }
                Ok(Err((_, words))) => Repr::Words(Arc::new(words), len),
                Err(shared) => Repr::Words(shared, len),
            },
            shared @ Repr::Shared(_) => shared,
        };
        Ok(bytemuck::pod_collect_to_vec(Self(rest).as_bytes()))
    }
}

impl PartialEq for Buffer {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Buffer {}

impl From<Bytes> for Buffer {
    fn from(bytes: Bytes) -> Self {
        Self(Repr::Shared(bytes))
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer({} bytes)", self.len())
    }
}

/// A buffer while it is being received: aligned, zeroed, of a length that its reader has bounded before.
#[derive(Debug)]
pub struct BufferMut {
    words: Vec<u64>,
    len: usize,
}

impl BufferMut {
    /// Room for `len` bytes.
    pub fn zeroed(len: usize) -> Self {
        Self { words: vec![0; len.div_ceil(8)], len }
    }

    /// Where the bytes go.
    pub fn as_mut_bytes(&mut self) -> &mut [u8] {
        &mut bytemuck::cast_slice_mut(&mut self.words)[..self.len]
    }

    /// Makes room for `len` bytes in all, zeroed beyond what there was; shorter than now changes nothing.
    pub fn grow(&mut self, len: usize) {
        if len > self.len {
            // New memory is zero already and not touched before it is filled; writing zeros over it would cost as much
            // as receiving it.
            let mut words = vec![0; len.div_ceil(8)];
            words[..self.words.len()].copy_from_slice(&self.words);
            *self = Self { words, len };
        }
    }

    /// Ends the receiving.
    pub fn freeze(self) -> Buffer {
        Buffer(Repr::Words(Arc::new(self.words), self.len))
    }
}

/// Why bytes are not the value they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// A buffer does not divide into whole numbers.
    #[error("{len} bytes are not a whole number of {size}-byte elements")]
    Length {
        /// Bytes in the buffer.
        len: usize,
        /// Bytes of one element.
        size: usize,
    },
    /// A header or a value's bytes cannot be read, or a value cannot be written.
    #[error("cannot code a value of type {type_name}: {message}")]
    Code {
        /// The Rust type that was expected.
        type_name: &'static str,
        /// What the codec said.
        message: String,
    },
    /// The value is there, but of another type.
    #[error("the value is a {found}, expected a {expected}")]
    Type {
        /// The type the reader asked for.
        expected: &'static str,
        /// The type the value has.
        found: &'static str,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn received_words_become_numbers_in_the_same_memory() {
        let mut incoming = BufferMut::zeroed(24);
        incoming.as_mut_bytes().copy_from_slice(bytemuck::cast_slice(&[1.0_f64, -2.0, 0.5]));
        let buffer = incoming.freeze();
        let address = buffer.as_bytes().as_ptr() as usize;
        let numbers = buffer.into_vec::<f64>().expect("24 bytes are three numbers");
        assert_eq!(numbers, [1.0, -2.0, 0.5]);
        assert_eq!(numbers.as_ptr() as usize, address);
    }

    #[test]
    fn a_shared_buffer_is_copied_only_when_it_is_changed_into_numbers() {
        let mut incoming = BufferMut::zeroed(8);
        incoming.grow(16);
        incoming.as_mut_bytes().copy_from_slice(bytemuck::cast_slice(&[4.0_f64, 5.0]));
        let buffer = incoming.freeze();
        let copy = buffer.clone();
        assert_eq!(buffer.as_bytes().as_ptr(), copy.as_bytes().as_ptr());
        assert_eq!(copy.into_vec::<f64>().expect("16 bytes are two numbers"), [4.0, 5.0]);
        assert_eq!(buffer.into_vec::<f64>().expect("16 bytes are two numbers"), [4.0, 5.0]);
    }

    #[test]
    fn an_odd_length_is_refused() {
        let error = Buffer::from_vec(vec![1_u8, 2, 3]).into_vec::<f64>().expect_err("3 bytes are no f64");
        assert_eq!(error, DataError::Length { len: 3, size: 8 });
    }

    #[test]
    fn four_byte_numbers_survive_a_ragged_end() {
        let mut incoming = BufferMut::zeroed(12);
        incoming.as_mut_bytes().copy_from_slice(bytemuck::cast_slice(&[1_i32, 2, 3]));
        assert_eq!(incoming.freeze().into_vec::<i32>().expect("12 bytes are three i32"), [1, 2, 3]);
    }
}
