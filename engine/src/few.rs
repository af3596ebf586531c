//! Lists that are mostly so short that they need no memory of their own: a task's arguments, and work lists.
//!
//! Small memory that one thread takes and another gives back is a good part of what a small task costs.
//!
//! They travel as every list does. Reading one takes no memory before elements are there, whatever length it claims.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{SeqAccess, Visitor},
};
use smallvec::{Array, SmallVec};

pub(crate) fn serialize<S: Serializer, A: Array<Item: Serialize>>(
    list: &SmallVec<A>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(list)
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>, A: Array<Item: Deserialize<'de>>>(
    deserializer: D,
) -> Result<SmallVec<A>, D::Error> {
    deserializer.deserialize_seq(Elements(PhantomData))
}

struct Elements<A>(PhantomData<A>);

impl<'de, A: Array<Item: Deserialize<'de>>> Visitor<'de> for Elements<A> {
    type Value = SmallVec<A>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut sequence: S) -> Result<SmallVec<A>, S::Error> {
        let mut list = SmallVec::new();
        while let Some(element) = sequence.next_element()? {
            list.push(element);
        }
        Ok(list)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Short(#[serde(with = "super")] SmallVec<[u32; 2]>);

    #[test]
    fn they_travel_as_every_list_does() {
        for list in [vec![], vec![7], vec![1, 2, 3, 400]] {
            let bytes = postcard::to_allocvec(&list).expect("a list can be written");
            let short = Short(list.clone().into());
            assert_eq!(postcard::to_allocvec(&short).expect("a short one too"), bytes);
            assert_eq!(postcard::from_bytes(&bytes), Ok(short));
        }
    }

    #[test]
    fn a_list_that_claims_to_be_long_is_refused_when_it_ends() {
        let bytes = postcard::to_allocvec(&u64::MAX).expect("a number can be written");
        assert!(postcard::from_bytes::<Short>(&bytes).is_err());
    }
}
