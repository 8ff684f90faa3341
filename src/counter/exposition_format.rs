//! Formats of a metrics page, and the choice between them by the Accept field of a request (RFC 9110, section 12.5.1).
//!
//! Pages are written in the OpenMetrics format. The older text format of Prometheus (version 0.0.4) has the same lines of
//! samples; the names and types of some families differ.

use std::borrow::Cow;
use std::fmt::Write;

/// A format of metrics pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExpositionFormat {
    /// OpenMetrics 1.0.0, "Text Format".
    OpenMetrics,
    /// Prometheus's text format, version 0.0.4.
    Text,
}

/// The media types of both formats.
const OPEN_METRICS: [&str; 2] = ["application", "openmetrics-text"];
const TEXT: [&str; 2] = ["text", "plain"];

impl ExpositionFormat {
    /// The format that a client prefers, from the values of its Accept fields. OpenMetrics, unless the text format has
    /// the higher quality. Any version of a format counts.
    pub fn preferred<'a>(accept: impl Iterator<Item = &'a [u8]>) -> Self {
        let ranges: Vec<_> =
            accept.flat_map(|value| value.split(|byte| *byte == b',')).filter_map(MediaRange::read).collect();
        if quality(&ranges, TEXT) > quality(&ranges, OPEN_METRICS) { Self::Text } else { Self::OpenMetrics }
    }

    /// The media type.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// The page in this format, from one in the OpenMetrics format.
    #[must_use]
    pub fn convert(self, page: String) -> String {
        match self {
            Self::OpenMetrics => page,
            Self::Text => text_page(&page),
        }
    }
}

/// One element of an Accept field.
#[derive(Debug)]
struct MediaRange {
    kind: String,
    subtype: String,
    /// From 0 to 1,000.
    quality: u16,
}

impl MediaRange {
    /// Reads an element such as `text/plain;version=0.0.4;q=0.5`; none if it is malformed.
    fn read(element: &[u8]) -> Option<Self> {
        let element = str::from_utf8(element).ok()?.to_ascii_lowercase();
        let mut parts = element.split(';').map(str::trim);
        let (kind, subtype) = parts.next()?.split_once('/')?;
        let weight = parts.find_map(|part| part.strip_prefix("q=")).map_or(Some(1.0), |text| text.parse().ok())?;
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is from 0 to 1,000")]
        let quality = (f32::clamp(weight, 0.0, 1.0) * 1000.0).round() as u16;
        Some(Self { kind: kind.to_owned(), subtype: subtype.to_owned(), quality })
    }

    /// How precisely the range names the media type; none if it does not.
    fn precision(&self, [kind, subtype]: [&str; 2]) -> Option<u8> {
        match (self.kind.as_str(), self.subtype.as_str()) {
            names if names == (kind, subtype) => Some(2),
            (name, "*") if name == kind => Some(1),
            ("*", "*") => Some(0),
            _ => None,
        }
    }
}

/// The quality of a media type: the highest one among the most precise ranges.
fn quality(ranges: &[MediaRange], media_type: [&str; 2]) -> u16 {
    let matching = ranges.iter().filter_map(|range| Some((range.precision(media_type)?, range.quality)));
    matching.max().map_or(0, |(_, quality)| quality)
}

/// Converts a page. A counter has the suffix `_total` in the name of its family, and an info is a gauge. There are no
/// units and no end mark.
fn text_page(page: &str) -> String {
    let (mut text, mut help) = (String::with_capacity(page.len()), None);
    for line in page.lines() {
        let words = |keyword| line.strip_prefix(keyword)?.split_once(' ');
        if let Some((_, description)) = words("# HELP ") {
            help = Some(description);
        } else if let Some((name, kind)) = words("# TYPE ") {
            let (name, kind) = match kind {
                "counter" => (Cow::Owned(format!("{name}_total")), kind),
                "info" => (Cow::Owned(format!("{name}_info")), "gauge"),
                _ => (Cow::Borrowed(name), kind),
            };
            // Writing to a string cannot fail.
            let _ = writeln!(text, "# HELP {name} {}\n# TYPE {name} {kind}", help.take().unwrap_or_default());
        } else if !line.starts_with('#') {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::ExpositionFormat::{self, OpenMetrics, Text};

    #[test]
    fn the_format_is_the_preferred_one() {
        for (accept, format) in [
            (&[][..], OpenMetrics),
            (&["*/*"], OpenMetrics),
            (&["text/html,application/xhtml+xml,*/*;q=0.8"], OpenMetrics),
            (&["application/json"], OpenMetrics),
            (&["text/plain"], Text),
            (&["Text/Plain; Version=0.0.4"], Text),
            (&["text/*;q=0.3"], Text),
            (&["text/plain;q=0"], OpenMetrics),
            (&["text/plain;version=0.0.4;q=0.5,*/*;q=0.1"], Text),
            (&["text/plain", "application/openmetrics-text;q=0.5"], Text),
            (&["text/plain;q=0.5", "application/openmetrics-text"], OpenMetrics),
            (&["application/openmetrics-text;q=0,*/*"], Text),
            (&["text/plain;q=x,;,/,text"], OpenMetrics),
            // Prometheus 2.42 and 3.5.
            (
                &["application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                   text/plain;version=0.0.4;q=0.5,*/*;q=0.1"],
                OpenMetrics,
            ),
            (
                &["application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                   application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,\
                   text/plain;version=0.0.4;q=0.3,*/*;q=0.2"],
                OpenMetrics,
            ),
        ] {
            let values = accept.iter().map(|value| value.as_bytes());
            assert_eq!(ExpositionFormat::preferred(values), format, "{accept:?}");
        }
    }

    #[test]
    fn families_are_renamed_in_the_text_format() {
        let page = "# HELP a_bytes Bytes: # all.\n# TYPE a_bytes counter\n# UNIT a_bytes bytes\na_bytes_total 1\n\
                    # HELP b B.\n# TYPE b info\nb_info{version=\"1\"} 1\n\
                    # HELP c C.\n# TYPE c histogram\nc_sum 0.5\n# EOF\n";
        let text = "# HELP a_bytes_total Bytes: # all.\n# TYPE a_bytes_total counter\na_bytes_total 1\n\
                    # HELP b_info B.\n# TYPE b_info gauge\nb_info{version=\"1\"} 1\n\
                    # HELP c C.\n# TYPE c histogram\nc_sum 0.5\n";
        assert_eq!(Text.convert(page.to_owned()), text);
    }
}
