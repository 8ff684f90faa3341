//! The percentile curve as text, for a terminal of 80 columns.

use super::html::{Chart, percentile_curve};
use super::{Precision, RunResults, percentiles};
use std::fmt::Write;

/// Columns and rows of the plot, without labels.
const COLUMNS: usize = 66;
const ROWS: usize = 12;

/// Columns of the labels of the vertical axis.
const LABEL: usize = 8;

/// Marks of the lines: the latency, and its lower bound.
const MARKS: [char; 2] = ['*', '.'];

/// Percentiles whose precision decides whether the lower bound is drawn.
const QUANTILES: [f64; 5] = [0.5, 0.9, 0.99, 0.999, 1.0];

/// Draws the reported latency over the share of replies, on the scales of the HTML report; none without replies.
#[must_use]
pub fn percentile_plot(results: &RunResults) -> Option<String> {
    if results.latency().is_empty() {
        return None;
    }
    let is_bounded =
        percentiles(results, &QUANTILES).iter().any(|percentile| percentile.precision == Precision::Bounded);
    let chart = percentile_curve(results, is_bounded);
    let mut cells = [[' '; COLUMNS]; ROWS];
    // The first line is drawn last, over the others.
    for (line, mark) in chart.lines.iter().zip(MARKS).rev() {
        let place = |(x, y): &(f64, f64)| (chart.x.scale.place(*x), chart.y.scale.place(*y));
        draw(&line.points.iter().map(place).collect::<Vec<_>>(), mark, &mut cells);
    }
    Some(with_axes(&chart, &cells))
}

/// Draws a line through `points` from 0 to 1, in ascending order. Each column joins the one before.
fn draw(points: &[(f64, f64)], mark: char, cells: &mut [[char; COLUMNS]; ROWS]) {
    let mut last = None;
    for column in 0..COLUMNS {
        let Some(height) = height_at(points, share(column, COLUMNS)) else { continue };
        let row = nearest(1.0 - height, ROWS);
        let from = last.unwrap_or(row);
        cells[from.min(row)..=from.max(row)].iter_mut().for_each(|cells| cells[column] = mark);
        last = Some(row);
    }
}

/// The height of the line at `x`; none beyond its end.
fn height_at(points: &[(f64, f64)], x: f64) -> Option<f64> {
    let next = points.iter().position(|point| point.0 >= x - 1e-9)?;
    let (right, left) = (points[next], points[next.saturating_sub(1)]);
    let width = right.0 - left.0;
    Some(if width > 0.0 { left.1 + (right.1 - left.1) * (x - left.0) / width } else { right.1 })
}

fn with_axes(chart: &Chart, cells: &[[char; COLUMNS]; ROWS]) -> String {
    let mut out = format!("  {}", chart.y.title());
    if chart.lines.len() > 1 {
        let names = chart.lines.iter().zip(MARKS).map(|(line, mark)| format!("{mark} {}", line.name.to_lowercase()));
        let _ = write!(out, ": {}", names.collect::<Vec<_>>().join(", "));
    }
    out.push('\n');
    for (row, cells) in cells.iter().enumerate() {
        let label = chart.y.scale.ticks.iter().find(|(place, _)| nearest(1.0 - place, ROWS) == row);
        let label = label.map_or("", |(_, label)| label);
        let line: String = cells.iter().collect();
        let _ = writeln!(out, "{}", format!("{label:>LABEL$} |{line}").trim_end());
    }
    let _ = writeln!(out, "{:>LABEL$} +{}", "", "-".repeat(COLUMNS));
    let mut labels = " ".repeat(LABEL + 2);
    for (place, label) in &chart.x.scale.ticks {
        let start = (LABEL + 2 + nearest(*place, COLUMNS)).saturating_sub(label.len() / 2);
        // A label that would touch the one before is left out.
        if start > labels.trim_end().len() || labels.trim().is_empty() {
            labels.push_str(&" ".repeat(start.saturating_sub(labels.len())));
            labels.truncate(start.max(labels.trim_end().len()));
            labels.push_str(label);
        }
    }
    let _ = write!(out, "{labels}\n{:>LABEL$}  {}", "", chart.x.title());
    out
}

/// Position of a cell among `count`, from 0 to 1.
#[allow(clippy::cast_precision_loss, reason = "a place on a plot")]
fn share(index: usize, count: usize) -> f64 {
    index as f64 / (count - 1) as f64
}

/// The cell nearest to a position from 0 to 1.
#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a place on a plot"
)]
fn nearest(place: f64, count: usize) -> usize {
    (place.clamp(0.0, 1.0) * (count - 1) as f64).round() as usize
}
