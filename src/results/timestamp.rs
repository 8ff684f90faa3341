//! Timestamps in UTC, formatted according to RFC 3339.

use crate::units::{format_rfc3339, parse_rfc3339};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::time::Duration;

/// Maximum timestamp: `9999-12-31T23:59:59.999Z`, in milliseconds since 1970.
const MAX_MS: u64 = 253_402_300_799_999;

/// A point in time since 1970, in milliseconds: `2026-11-20T21:45:16.250Z`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp {
    unix_ms: u64,
}

impl Timestamp {
    /// The point in time `time` after the beginning of 1970, at most the end of the year 9999, the last that RFC 3339
    /// can express.
    #[must_use]
    pub fn after_1970(time: Duration) -> Self {
        Self { unix_ms: u64::try_from(time.as_millis()).map_or(MAX_MS, |unix_ms| unix_ms.min(MAX_MS)) }
    }

    /// Time since the beginning of 1970.
    #[must_use]
    pub fn since_1970(self) -> Duration {
        Duration::from_millis(self.unix_ms)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&format_rfc3339(self.unix_ms))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let unix_ms = parse_rfc3339(&text).ok_or_else(|| {
            serde::de::Error::custom(format!("{text:?} is not a timestamp such as 2026-11-20T21:45:16.250Z"))
        })?;
        Ok(Self { unix_ms })
    }
}
