//! A task's argument or result: a typed value by pointer, or the bytes it arrived as.
//!
//! Inside one process a value is passed by pointer; it becomes bytes only when it travels, and turns back into
//! its type when a task first looks at it.

use std::{
    any::{Any, type_name},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde::{Serialize, de::DeserializeOwned};

use crate::data::{Data, DataError};

/// A type whose values can move between processes.
///
/// Every `serde` type is one. A type with bulk numbers (a block of an array) implements it by hand, without
/// `serde`, and hands its memory over as [`Buffer`](crate::data::Buffer)s.
pub trait Portable: Send + Sync + 'static + Sized {
    /// The value as bytes; bulk memory is shared, not copied.
    ///
    /// # Errors
    /// When the value cannot be written, as a map whose keys `serde` refuses.
    fn encode(&self) -> Result<Data, DataError>;

    /// The value from its bytes.
    ///
    /// # Errors
    /// When the bytes are not such a value. They may come from a broken peer, so this must never panic.
    fn decode(data: Data) -> Result<Self, DataError>;

    /// How many bytes the value takes.
    fn n_bytes(&self) -> u64;

    /// Whether values of this type never leave the process that made them, on no way: then `encode` and `decode` are
    /// never right. As the state of an actor.
    const STAYS: bool = false;
}

impl<T: Serialize + DeserializeOwned + Send + Sync + 'static> Portable for T {
    fn encode(&self) -> Result<Data, DataError> {
        postcard::to_stdvec(self).map(Data::small).map_err(code_error::<T>)
    }

    fn decode(data: Data) -> Result<Self, DataError> {
        postcard::from_bytes(&data.header).map_err(code_error::<T>)
    }

    fn n_bytes(&self) -> u64 {
        // What it takes on the wire, counted without building it; it follows the heap memory closely.
        struct Count(u64);
        impl std::io::Write for Count {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                self.0 += bytes.len() as u64;
                Ok(bytes.len())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let counted = postcard::to_io(self, Count(0)).map_or(0, |count| count.0);
        counted.max(size_of::<Self>() as u64)
    }
}

fn code_error<T>(error: postcard::Error) -> DataError {
    DataError::Code { type_name: type_name::<T>(), message: error.to_string() }
}

/// A value of any [`Portable`] type; clones share it.
///
/// ```
/// use phalanx_engine::value::Value;
/// let here = Value::new(vec![1, 2, 3]);
/// let there = Value::from_data(here.to_data().unwrap()); // as if it had travelled
/// assert_eq!(*there.get::<Vec<i32>>().unwrap(), [1, 2, 3]);
/// assert!(here.get::<String>().is_err());
/// ```
#[derive(Clone)]
pub struct Value(Arc<Shared>);

struct Shared {
    n_bytes: u64,
    form: Mutex<Form>,
}

enum Form {
    Live(Arc<dyn Erased>),
    Raw(Data),
    /// Reading the bytes failed once and would again.
    Broken(DataError),
}

trait Erased: Send + Sync {
    fn encode(&self) -> Result<Data, DataError>;
    fn type_name(&self) -> &'static str;
    fn stays(&self) -> bool;
    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
}

impl<T: Portable> Erased for T {
    fn encode(&self) -> Result<Data, DataError> {
        Portable::encode(self)
    }

    fn type_name(&self) -> &'static str {
        type_name::<T>()
    }

    fn stays(&self) -> bool {
        T::STAYS
    }

    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}

impl Value {
    /// Wraps a value that was made here.
    pub fn new<T: Portable>(value: T) -> Self {
        let n_bytes = value.n_bytes();
        Self::with(n_bytes, Form::Live(Arc::new(value)))
    }

    /// Wraps what arrived. Whether it is what it should be shows at the first [`get`](Self::get).
    pub fn from_data(data: Data) -> Self {
        Self::with(data.n_bytes(), Form::Raw(data))
    }

    /// The value as a `T`, shared.
    ///
    /// # Errors
    /// When it is of another type, or its bytes are not a `T`.
    pub fn get<T: Portable>(&self) -> Result<Arc<T>, DataError> {
        let mut form = self.form();
        if let Form::Raw(data) = &mut *form {
            *form = match T::decode(std::mem::take(data)) {
                Ok(value) => Form::Live(Arc::new(value)),
                Err(error) => Form::Broken(error),
            };
        }
        match &*form {
            Form::Live(value) => {
                let found = value.type_name();
                let any = Arc::clone(value).into_any();
                any.downcast().map_err(|_| DataError::Type { expected: type_name::<T>(), found })
            }
            Form::Broken(error) => Err(error.clone()),
            Form::Raw(_) => Err(DataError::Code { type_name: type_name::<T>(), message: "not decoded".into() }),
        }
    }

    /// As [`get`](Self::get), giving up this handle, so that the last one to take a value owns it alone.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn take<T: Portable>(self) -> Result<Arc<T>, DataError> {
        let value = self.get::<T>()?;
        drop(self);
        Ok(value)
    }

    /// The value as bytes, sharing its bulk memory.
    ///
    /// # Errors
    /// When its type cannot be written.
    pub fn to_data(&self) -> Result<Data, DataError> {
        match &*self.form() {
            Form::Live(value) => value.encode(),
            Form::Raw(data) => Ok(data.clone()),
            Form::Broken(error) => Err(error.clone()),
        }
    }

    /// Whether it never becomes bytes; see [`Portable::STAYS`].
    pub fn stays(&self) -> bool {
        matches!(&*self.form(), Form::Live(value) if value.stays())
    }

    /// How many bytes it takes.
    pub fn n_bytes(&self) -> u64 {
        self.0.n_bytes
    }

    /// Whether it is a clone of the other, not only equal to it.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    fn with(n_bytes: u64, form: Form) -> Self {
        Self(Arc::new(Shared { n_bytes, form: Mutex::new(form) }))
    }

    fn form(&self) -> MutexGuard<'_, Form> {
        // A panic while decoding leaves `Raw` with empty data, which is an error at the next look, not a danger.
        self.0.form.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.form() {
            Form::Live(value) => write!(f, "Value({}, {} bytes)", value.type_name(), self.0.n_bytes),
            Form::Raw(_) => write!(f, "Value({} raw bytes)", self.0.n_bytes),
            Form::Broken(error) => write!(f, "Value(broken: {error})"),
        }
    }
}

impl PartialEq for Value {
    /// Two values are equal when their bytes are: what tests of messages need.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || matches!((self.to_data(), other.to_data()), (Ok(a), Ok(b)) if a == b)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_live_value_is_passed_by_pointer() {
        let value = Value::new(String::from("here"));
        let (a, b) = (value.get::<String>().expect("a string"), value.clone().get::<String>().expect("a string"));
        assert!(Arc::ptr_eq(&a, &b));
    }

    #[test]
    fn broken_bytes_are_an_error_every_time() {
        let value = Value::from_data(Data::small(vec![0xff; 3]));
        for _ in 0..2 {
            assert!(matches!(value.get::<String>(), Err(DataError::Code { .. })));
        }
    }
}
