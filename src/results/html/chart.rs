//! SVG line chart with two axes and a text description for screen readers.

use super::escape::escape;
use super::scale::Scale;
use std::fmt::Write;

/// Size of the drawing and its margins, in user units.
const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 250.0;
const LEFT: f64 = 62.0;
const RIGHT: f64 = 22.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 28.0;

/// A chart with its title.
pub(super) struct Chart {
    /// Identifies the chart within the page.
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    /// Description of the chart in a sentence.
    pub(super) summary: String,
    pub(super) x: Scale,
    pub(super) y: Scale,
    pub(super) lines: Vec<Line>,
    /// Tooltips: start and end on the x axis, and the text.
    pub(super) tooltips: Vec<(f64, f64, String)>,
}

/// A line. Its index in the chart determines its colour and dashes.
pub(super) struct Line {
    pub(super) name: &'static str,
    /// Values, not yet scaled to the drawing.
    pub(super) points: Vec<(f64, f64)>,
}

impl Chart {
    /// Renders the figure including its legend.
    pub(super) fn figure(&self) -> String {
        let (id, title, summary) = (self.id, escape(self.title), escape(&self.summary));
        let mut out = format!("<figure>\n<figcaption><h2>{title}</h2>");
        if self.lines.len() > 1 {
            out.push_str("<ul class=\"legend\">");
            for (index, line) in self.lines.iter().enumerate() {
                let swatch = "<svg viewBox=\"0 0 24 8\" aria-hidden=\"true\"><path d=\"M0 4H24\"/></svg>";
                let _ = write!(out, "<li class=\"line{index}\">{swatch}{}</li>", escape(line.name));
            }
            out.push_str("</ul>");
        }
        out.push_str("</figcaption>\n");
        if self.lines.iter().all(|line| line.points.is_empty()) {
            out.push_str("<p class=\"none\">Nothing was recorded for this chart.</p>\n</figure>\n");
            return out;
        }
        let _ = writeln!(
            out,
            "<svg class=\"chart\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-labelledby=\"{id}-t {id}-d\">\n\
             <title id=\"{id}-t\">{title}</title><desc id=\"{id}-d\">{summary}</desc>"
        );
        self.draw_axes(&mut out);
        for (index, line) in self.lines.iter().enumerate() {
            self.draw_line(&mut out, index, line);
        }
        for (from, to, text) in &self.tooltips {
            let (from, to) = (self.x_at(*from), self.x_at(*to));
            let (width, height) = (to - from, HEIGHT - TOP - BOTTOM);
            let _ = writeln!(
                out,
                "<rect class=\"spot\" x=\"{from:.1}\" y=\"{TOP}\" width=\"{width:.1}\" height=\"{height}\"><title>{}</title></rect>",
                escape(text)
            );
        }
        out.push_str("</svg>\n</figure>\n");
        out
    }

    fn draw_axes(&self, out: &mut String) {
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        for (place, name) in &self.y.ticks {
            let (y, name) = (bottom - place * (bottom - TOP), escape(name));
            let _ = writeln!(out, "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{right}\"/>");
            let _ = writeln!(out, "<text class=\"y\" x=\"{}\" y=\"{:.1}\">{name}</text>", LEFT - 8.0, y + 4.0);
        }
        for (place, name) in &self.x.ticks {
            let (x, name) = (LEFT + place * (right - LEFT), escape(name));
            let _ = writeln!(out, "<path class=\"tick\" d=\"M{x:.1} {bottom}v4\"/>");
            let _ = writeln!(out, "<text class=\"x\" x=\"{x:.1}\" y=\"{}\">{name}</text>", HEIGHT - 8.0);
        }
        let _ = writeln!(out, "<path class=\"axis\" d=\"M{LEFT} {bottom}H{right}\"/>");
    }

    fn draw_line(&self, out: &mut String, index: usize, line: &Line) {
        let mut path = String::new();
        for (index, (x, y)) in line.points.iter().enumerate() {
            let command = if index == 0 { 'M' } else { 'L' };
            let _ = write!(path, "{command}{:.1} {:.1}", self.x_at(*x), self.y_at(*y));
        }
        // A single point would be a line of length 0.
        if let [(x, y)] = line.points[..] {
            let _ = write!(path, "m-3 0h6M{:.1} {:.1}", self.x_at(x), self.y_at(y));
        }
        let _ = writeln!(out, "<path class=\"line line{index}\" d=\"{path}\"/>");
    }

    fn x_at(&self, value: f64) -> f64 {
        LEFT + self.x.place(value) * (WIDTH - RIGHT - LEFT)
    }

    fn y_at(&self, value: f64) -> f64 {
        let bottom = HEIGHT - BOTTOM;
        bottom - self.y.place(value) * (bottom - TOP)
    }
}
