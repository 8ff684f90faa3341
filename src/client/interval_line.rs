//! A second of a run as one line of JSON, for programs that follow a run. `docs/results-format.md` describes it.

use super::seconds::{Snapshot, SnapshotPhase};
use crate::escape;
use serde_json::{Value, json};

/// The `format` field of a line. The number changes when an older reader would misread a newer line.
const FORMAT: &str = "multiconn-interval/1";

impl SnapshotPhase {
    /// Name in the lines.
    fn name(self) -> &'static str {
        match self {
            Self::BeforeLoad => "before_load",
            Self::Load => "load",
            Self::AfterLoad => "after_load",
            Self::End => "end",
        }
    }
}

impl Snapshot {
    /// The second as one line of JSON, with a line feed. Histograms without values are left out.
    #[must_use]
    pub fn to_json_line(&self) -> String {
        let results = &self.results;
        let connections = &results.connections;
        let mut line = json!({
            "format": FORMAT,
            "run_id": results.run_ids.first(),
            "phase": self.phase.name(),
            "second": self.second,
            "start_s": self.start_s,
            "seconds": results.measured_s,
            "open": self.open,
            "connections": {
                "opened": connections.opened,
                "completed": connections.completed,
                "failed": connections.failed,
                "retries": connections.retries,
            },
            "messages": results.messages,
            "bytes": results.bytes,
            "errors": results.errors,
            "mismatches": results.mismatches.count,
        });
        if let Some(statuses) = results.statuses {
            line["statuses"] = json!(statuses);
        }
        if let Some(datagrams) = &results.datagrams {
            let (late, duplicated, reordered) = (datagrams.late, datagrams.duplicated, datagrams.reordered);
            line["datagrams"] = json!({ "late": late, "duplicated": duplicated, "reordered": reordered });
        }
        let mut histograms = json!(results.histograms);
        if let Value::Object(histograms) = &mut histograms {
            histograms.retain(|_, histogram| histogram["count"] != 0);
        }
        line["histograms"] = histograms;
        escape::json(&line.to_string()) + "\n"
    }
}
