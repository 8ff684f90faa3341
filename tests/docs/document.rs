//! The parts of a document that are run: sections, commands, and files.

/// A part of a document, in order.
#[derive(Debug)]
pub(crate) enum Part {
    /// A heading of the second level or above.
    Section,
    /// A block with a file name after its language, such as `text haproxy.cfg`.
    File { name: String, content: String },
    /// A command of a `console` block.
    Command(Example),
}

/// A command of a document, with the lines that follow it in its block.
#[derive(Debug)]
pub(crate) struct Example {
    /// Path and line, for messages.
    pub(crate) place: String,
    pub(crate) command: String,
    pub(crate) output: Vec<String>,
}

impl Example {
    /// The command of a program that runs in the background until the end of the section.
    pub(crate) fn background(&self) -> Option<&str> {
        self.command.strip_suffix(" &")
    }

    /// The verdict in the documented report of a client: `every message was answered`.
    pub(crate) fn verdict(&self) -> Option<&str> {
        self.output.iter().find_map(|line| verdict(line))
    }
}

/// The verdict at the end of a line such as `2 connections to 127.0.0.1:65432: every byte came back as it was sent`.
pub(crate) fn verdict(line: &str) -> Option<&str> {
    let (count, rest) = line.split_once(' ')?;
    let is_first_line = count.starts_with(|digit: char| digit.is_ascii_digit())
        && (rest.starts_with("connection") || rest.starts_with("socket"))
        && rest.contains(" to ");
    is_first_line.then(|| rest.rsplit_once(": ").map(|(_, verdict)| verdict))?
}

/// The parts of a document.
pub(crate) fn parts(path: &str, text: &str) -> Vec<Part> {
    let (mut parts, mut block): (Vec<Part>, Option<&str>) = (Vec::new(), None);
    for (index, line) in text.lines().enumerate() {
        if let Some(info) = line.trim_start().strip_prefix("```") {
            block = if block.is_none() { Some(info) } else { None };
            if let Some((_, name)) = info.split_once(' ') {
                parts.push(Part::File { name: name.to_owned(), content: String::new() });
            }
            continue;
        }
        match (block, parts.last_mut()) {
            (None, _) if line.starts_with("# ") || line.starts_with("## ") => {
                parts.push(Part::Section);
            }
            (Some("console"), last) => match (line.strip_prefix("$ "), last) {
                (Some(command), _) => parts.push(Part::Command(Example {
                    place: format!("{path}:{}", index + 1),
                    command: command.to_owned(),
                    output: Vec::new(),
                })),
                (None, Some(Part::Command(example))) => example.output.push(line.to_owned()),
                (None, _) => panic!("{path}:{}: a command comes before its output", index + 1),
            },
            (Some(info), Some(Part::File { content, .. })) if info.contains(' ') => {
                content.push_str(line);
                content.push('\n');
            }
            _ => {}
        }
    }
    parts
}
