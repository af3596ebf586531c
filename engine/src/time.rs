//! Time as the machines know it: how long since a start that only the shell knows.
//!
//! Machines are told the time and never ask for it, so a simulation can run a day in a second.

use std::{
    fmt,
    ops::{Add, AddAssign, Sub},
    time::Duration,
};

use serde::{Deserialize, Serialize};

/// A moment, in nanoseconds since its shell started.
///
/// ```
/// use std::time::Duration;
/// use phalanx_engine::time::Time;
/// let now = Time::ZERO + Duration::from_millis(1_500);
/// assert_eq!(now - Time::ZERO, Duration::from_millis(1_500));
/// assert_eq!(Time::ZERO - now, Duration::ZERO); // never negative
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Time(pub u64);

impl Time {
    /// The start.
    pub const ZERO: Self = Self(0);
}

impl Add<Duration> for Time {
    type Output = Self;

    fn add(self, by: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl AddAssign<Duration> for Time {
    fn add_assign(&mut self, by: Duration) {
        *self = *self + by;
    }
}

impl Sub for Time {
    type Output = Duration;

    /// How long from `earlier` until `self`; zero where that would be negative.
    fn sub(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", Duration::from_nanos(self.0))
    }
}
