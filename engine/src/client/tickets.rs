//! The open answers about one result: mostly none or one, so no set is made for fewer than two.

use std::collections::BTreeSet;

/// A few numbers, each once, in rising order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum Tickets {
    #[default]
    None,
    One(u64),
    /// Two or more at first; never none.
    Many(BTreeSet<u64>),
}

impl Tickets {
    pub(super) const fn is_empty(&self) -> bool {
        matches!(self, Self::None)
    }

    /// The smallest.
    pub(super) fn first(&self) -> Option<u64> {
        self.iter().next()
    }

    pub(super) fn insert(&mut self, ticket: u64) {
        *self = match std::mem::take(self) {
            Self::None => Self::One(ticket),
            Self::One(other) => Self::Many(BTreeSet::from([other, ticket])),
            Self::Many(mut all) => {
                all.insert(ticket);
                Self::Many(all)
            }
        };
    }

    /// Takes a ticket out, and says whether it was there.
    pub(super) fn remove(&mut self, ticket: u64) -> bool {
        let was_there = match self {
            Self::None => false,
            Self::One(one) => *one == ticket,
            Self::Many(all) => return all.remove(&ticket) && (!all.is_empty() || self.clear()),
        };
        was_there && self.clear()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        let (one, many) = match self {
            Self::None => (None, None),
            Self::One(one) => (Some(*one), None),
            Self::Many(all) => (None, Some(all)),
        };
        one.into_iter().chain(many.into_iter().flatten().copied())
    }

    /// Takes all of them, those first that are smaller.
    pub(super) fn take(&mut self) -> impl Iterator<Item = u64> + use<> {
        let (one, many) = match std::mem::take(self) {
            Self::None => (None, None),
            Self::One(one) => (Some(one), None),
            Self::Many(all) => (None, Some(all)),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }

    fn clear(&mut self) -> bool {
        *self = Self::None;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_set() {
        let mut tickets = Tickets::default();
        assert!(tickets.is_empty() && !tickets.remove(3));
        for ticket in [5, 3, 9, 3] {
            tickets.insert(ticket);
        }
        assert_eq!((tickets.first(), tickets.iter().collect::<Vec<_>>()), (Some(3), vec![3, 5, 9]));
        assert!(tickets.remove(3) && !tickets.remove(3) && tickets.remove(9) && tickets.remove(5));
        assert_eq!(tickets, Tickets::None);
        tickets.insert(7);
        assert_eq!(tickets.take().collect::<Vec<_>>(), [7]);
        assert!(tickets.is_empty());
    }
}
