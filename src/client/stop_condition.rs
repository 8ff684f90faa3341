//! Conditions that end the load: thresholds on each whole second while it lasts.

use super::ClientHandle;
use super::seconds::{Consumer, SnapshotPhase};
use crate::results::{StopCondition, Threshold, Verdict};
use std::sync::{Arc, OnceLock};

/// Returns what checks each second and ends the load when one of `thresholds` is crossed, and where it then stores which
/// one. A second in which the measured figure does not exist crosses none.
pub(super) fn stop_when(thresholds: Vec<Threshold>, handle: ClientHandle) -> (Consumer, Arc<OnceLock<StopCondition>>) {
    let stopped = Arc::new(OnceLock::new());
    let found = Arc::clone(&stopped);
    let consumer = Box::new(move |snapshot: &super::Snapshot| {
        if snapshot.phase != SnapshotPhase::Load || found.get().is_some() {
            return;
        }
        let results = thresholds.iter().map(|threshold| (threshold, threshold.evaluate(&snapshot.results)));
        if let Some((threshold, result)) = results.into_iter().find(|(_, result)| result.verdict == Verdict::Crossed) {
            let expression = threshold.to_string();
            let _ =
                found.set(StopCondition { expression, second: snapshot.second, measured: result.text().to_owned() });
            handle.end_load();
        }
    });
    (consumer, stopped)
}
