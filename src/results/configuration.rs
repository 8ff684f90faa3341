//! Configuration of a run: options and their values, in the order of the command line's help.

use super::bounds::{self, MAX_CONFIGURATION_BYTES};
use crate::units::format_size;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// Options and their values. In a file they are a JSON object; its order is kept.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Configuration(Map<String, Value>);

impl Configuration {
    /// Sets `name`. An existing option keeps its position.
    pub fn set(&mut self, name: &str, value: impl Into<Value>) {
        self.0.insert(name.to_owned(), value.into());
    }

    /// The value of `name`, if it was given or has a default.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// All options in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// Whether there are no options.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A value as typed on the command line: text without quotes, several values separated by commas.
#[must_use]
pub fn in_plain_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(in_plain_text).collect::<Vec<_>>().join(", "),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        other => other.to_string(),
    }
}

impl<'de> Deserialize<'de> for Configuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Box::<RawValue>::deserialize(deserializer)?;
        if text.get().len() > MAX_CONFIGURATION_BYTES {
            return Err(D::Error::custom(format!("it is longer than {}", format_size(MAX_CONFIGURATION_BYTES as u64))));
        }
        let entries = bounds::entries(&mut serde_json::Deserializer::from_str(text.get()));
        entries.map(|entries| Self(entries.into_iter().collect())).map_err(D::Error::custom)
    }
}
