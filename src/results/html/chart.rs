//! Line chart as HTML with an SVG plot, two titled axes, and a text description for screen readers.
//!
//! Positions are percentages of the plot, and texts keep their size, so a chart fits narrow and wide windows.

use super::escape::escape;
use super::scale::Scale;
use std::borrow::Cow;
use std::fmt::Write;

/// Width in pixels of a plot in a window of 400 pixels, and of a character of a tick label. Labels that would overlap
/// there are hidden in narrow windows.
const NARROW_PLOT: f64 = 270.0;
const CHARACTER: f64 = 7.5;

/// A chart with its title.
pub(in crate::results) struct Chart {
    /// Identifies the chart within the page.
    pub(in crate::results) id: &'static str,
    pub(in crate::results) title: &'static str,
    /// Description of the chart in a sentence.
    pub(in crate::results) summary: String,
    pub(in crate::results) x: Axis,
    pub(in crate::results) y: Axis,
    pub(in crate::results) lines: Vec<Line>,
    /// Tooltips: start and end on the x axis, and the text.
    pub(in crate::results) tooltips: Vec<(f64, f64, String)>,
}

/// An axis: what it shows, and its scale.
pub(in crate::results) struct Axis {
    pub(in crate::results) name: &'static str,
    pub(in crate::results) scale: Scale,
}

/// A line. Its index in the chart determines its colour and dashes.
pub(in crate::results) struct Line {
    pub(in crate::results) name: Cow<'static, str>,
    /// Values, not yet scaled to the drawing.
    pub(in crate::results) points: Vec<(f64, f64)>,
}

impl Axis {
    /// The title with the unit: `Response time (ms, logarithmic)`.
    pub(in crate::results) fn title(&self) -> String {
        format!("{} ({})", self.name, self.scale.unit)
    }
}

impl Chart {
    /// Renders the figure including its legend.
    pub(in crate::results) fn figure(&self) -> String {
        let (id, title, summary) = (self.id, escape(self.title), escape(&self.summary));
        let mut out = format!("<figure>\n<figcaption><h2>{title}</h2>");
        if self.lines.iter().all(|line| line.points.is_empty()) {
            out.push_str("</figcaption>\n<p class=\"none\">Nothing was recorded for this chart.</p>\n</figure>\n");
            return out;
        }
        if self.lines.len() > 1 {
            out.push_str("<ul class=\"legend\">");
            for (index, line) in self.lines.iter().enumerate() {
                let swatch = "<svg viewBox=\"0 0 24 8\" aria-hidden=\"true\"><path d=\"M0 4H24\"/></svg>";
                let _ = write!(out, "<li class=\"line{index}\">{swatch}{}</li>", escape(&line.name));
            }
            out.push_str("</ul>");
        }
        let _ = writeln!(
            out,
            "</figcaption>\n<p class=\"y-title\">{}</p>\n<div class=\"plot\"><svg class=\"chart\" role=\"img\" \
             aria-labelledby=\"{id}-t {id}-d\">\n<title id=\"{id}-t\">{title}</title><desc id=\"{id}-d\">{summary}</desc>",
            escape(&self.y.title())
        );
        self.draw_axes(&mut out);
        // Stretched to the size of the plot; strokes are not (style.css).
        out.push_str("<svg viewBox=\"0 0 100 100\" preserveAspectRatio=\"none\">\n");
        for (index, line) in self.lines.iter().enumerate() {
            self.draw_line(&mut out, index, line);
        }
        out.push_str("</svg>\n");
        for (from, to, text) in &self.tooltips {
            let (from, to) = (self.x_at(*from), self.x_at(*to));
            let (width, text) = (to - from, escape(text));
            let _ = writeln!(
                out,
                "<rect class=\"spot\" x=\"{from:.2}%\" width=\"{width:.2}%\" height=\"100%\"><title>{text}</title></rect>"
            );
        }
        let _ = write!(out, "</svg></div>\n<p class=\"x-title\">{}</p>\n</figure>\n", escape(&self.x.title()));
        out
    }

    fn draw_axes(&self, out: &mut String) {
        for (place, label) in &self.y.scale.ticks {
            let (y, label) = (100.0 - place * 100.0, escape(label));
            let _ = writeln!(out, "<line class=\"grid\" x2=\"100%\" y1=\"{y:.2}%\" y2=\"{y:.2}%\"/>");
            let _ = writeln!(out, "<text class=\"y\" y=\"{y:.2}%\" dx=\"-8\" dy=\"4\">{label}</text>");
        }
        let mut end = f64::MIN;
        for (place, label) in &self.x.scale.ticks {
            let (middle, half) = (place * NARROW_PLOT, label.chars().map(|_| CHARACTER / 2.0).sum::<f64>());
            let is_minor = middle - half < end;
            end = if is_minor { end } else { middle + half };
            let (x, label, class) = (place * 100.0, escape(label), if is_minor { "x minor" } else { "x" });
            let _ = writeln!(out, "<line class=\"tick\" x1=\"{x:.2}%\" x2=\"{x:.2}%\" y1=\"100%\" y2=\"98%\"/>");
            let _ = writeln!(out, "<text class=\"{class}\" x=\"{x:.2}%\" y=\"100%\" dy=\"18\">{label}</text>");
        }
        out.push_str("<line class=\"axis\" x2=\"100%\" y1=\"100%\" y2=\"100%\"/>\n");
    }

    fn draw_line(&self, out: &mut String, index: usize, line: &Line) {
        // A single point would be a line of length 0.
        if let [(x, y)] = line.points[..] {
            let (x, y) = (self.x_at(x), self.y_at(y));
            let _ = writeln!(out, "<path class=\"line point line{index}\" d=\"M{x:.2} {y:.2}h0\"/>");
            return;
        }
        let mut path = String::new();
        for (index, (x, y)) in line.points.iter().enumerate() {
            let command = if index == 0 { 'M' } else { 'L' };
            let _ = write!(path, "{command}{:.2} {:.2}", self.x_at(*x), self.y_at(*y));
        }
        let _ = writeln!(out, "<path class=\"line line{index}\" d=\"{path}\"/>");
    }

    /// Horizontal position in percent of the plot.
    fn x_at(&self, value: f64) -> f64 {
        self.x.scale.place(value) * 100.0
    }

    /// Vertical position in percent of the plot, from the top.
    fn y_at(&self, value: f64) -> f64 {
        100.0 - self.y.scale.place(value) * 100.0
    }
}
