//! HTML escaping, and tables of escaped text. All text from a result file passes through here; it is untrusted.

use crate::escape::{self, is_unsafe};
use std::fmt::{Display, Write};

/// Escapes text for use in elements and quoted attributes.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // HTML does not allow most control characters, not even as character references.
            other if is_unsafe(other) => _ = write!(escaped, "{}", escape::line(other)),
            other => escaped.push(other),
        }
    }
    escaped
}

/// A table of names and values; empty without rows.
pub(super) fn pairs<V: Display>(title: &str, rows: impl IntoIterator<Item = (String, V)>) -> String {
    let mut body = String::new();
    for (name, value) in rows {
        let _ =
            writeln!(body, "<tr><th scope=\"row\">{}</th><td>{}</td></tr>", escape(&name), escape(&value.to_string()));
    }
    if body.is_empty() {
        return body;
    }
    format!("<section><h2>{}</h2>\n<table class=\"pairs\">\n{body}</table></section>\n", escape(title))
}

/// A table with column headings. The first column names its row. In a narrow window each cell shows its heading, and a
/// row takes several lines.
pub(super) fn grid(headings: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut out = "<table class=\"times\">\n<thead><tr>".to_owned();
    for heading in headings {
        let _ = write!(out, "<th scope=\"col\">{}</th>", escape(heading));
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    for row in rows {
        let mut cells = row.iter();
        let name = cells.next().map(|name| escape(name)).unwrap_or_default();
        let _ = write!(out, "<tr><th scope=\"row\">{name}</th>");
        for (cell, heading) in cells.zip(&headings[1..]) {
            let _ = write!(out, "<td data-name=\"{}\">{}</td>", escape(heading), escape(cell));
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody></table>\n");
    out
}
