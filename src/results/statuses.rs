//! HTTP responses by the class of their status.

use super::bounds::add;
use crate::units::format_count;
use serde::{Deserialize, Serialize};

/// Number of final HTTP responses by the class of their status code (RFC 9110, section 15). Interim responses are not
/// counted, so `1xx` is 101 alone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Statuses {
    /// Informational.
    #[serde(rename = "status_1xx")]
    pub informational: u64,
    /// Successful.
    #[serde(rename = "status_2xx")]
    pub successful: u64,
    /// Redirection.
    #[serde(rename = "status_3xx")]
    pub redirection: u64,
    /// Client error.
    #[serde(rename = "status_4xx")]
    pub client_error: u64,
    /// Server error.
    #[serde(rename = "status_5xx")]
    pub server_error: u64,
}

impl Statuses {
    /// The classes with their names, in order.
    #[must_use]
    pub fn named(&self) -> [(&'static str, u64); 5] {
        [
            ("1xx", self.informational),
            ("2xx", self.successful),
            ("3xx", self.redirection),
            ("4xx", self.client_error),
            ("5xx", self.server_error),
        ]
    }

    /// Number of responses of the class with this name, such as `5xx`.
    pub(super) fn of_class(&self, name: &str) -> Option<u64> {
        self.named().into_iter().find(|(class, _)| *class == name).map(|(_, count)| count)
    }

    /// Counts a response. An invalid status counts as a server error, as RFC 9110 has clients treat it.
    pub(crate) fn count(&mut self, status: u16) {
        *match status / 100 {
            1 => &mut self.informational,
            2 => &mut self.successful,
            3 => &mut self.redirection,
            4 => &mut self.client_error,
            _ => &mut self.server_error,
        } += 1;
    }

    pub(super) fn add(&mut self, other: &Self) {
        add(&mut self.informational, other.informational);
        add(&mut self.successful, other.successful);
        add(&mut self.redirection, other.redirection);
        add(&mut self.client_error, other.client_error);
        add(&mut self.server_error, other.server_error);
    }

    /// The classes that occurred: `2xx 1,000, 5xx 3`.
    pub(super) fn in_words(&self) -> String {
        let counts = self.named().into_iter().filter(|(_, count)| *count > 0);
        let words: Vec<_> = counts.map(|(name, count)| format!("{name} {}", format_count(count))).collect();
        if words.is_empty() { "none".to_owned() } else { words.join(", ") }
    }
}
