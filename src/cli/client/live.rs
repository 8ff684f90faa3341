//! Options for the figures of a run while it lasts.

use super::embedded::ServerThread;
use crate::cli::addresses::listen_address;
use crate::cli::output;
use crate::cli::output_files::OutputFile;
use crate::cli::results::Files;
use crate::client::{Client, ClientConfig};
use crate::error::{Error, in_words};
use crate::escape;
use crate::results::Threshold;
use crate::server::{Server, ServerConfig};
use crate::service::{Discard, Service};
use crate::socket::Endpoint;
use clap::Args;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, TrySendError, sync_channel};
use std::thread::JoinHandle;

/// Maximum number of lines that wait for a slow reader: 17 minutes of a run. A line takes some 10 kB.
const MAX_LINES: usize = 1000;

/// Descriptors of the server of the pages.
const METRICS_DESCRIPTORS: usize = 64;

/// Options for the figures of a run while it lasts.
#[derive(Debug, Args)]
pub(super) struct LiveOptions {
    /// Write one line of JSON per second to FILE while the run lasts, and one at its end; - for stdout. A line has the
    /// counts, the errors by cause and the histograms of its second.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["stdin", "find_max"], help_heading = "Report")]
    interval_json: Option<PathBuf>,
    /// End the load if EXPRESSION holds for a whole second of it; the exit status is then 3. Examples: p99>2ms,
    /// errors>0, rate<49k. May be repeated. Needs --duration or --rate.
    #[arg(long, value_name = "EXPRESSION", conflicts_with_all = ["stdin", "find_max"], help_heading = "Report")]
    stop_if: Vec<Threshold>,
    /// Serve /metrics, /healthz and /readyz over HTTP while the run lasts: the figures of the run in the OpenMetrics
    /// format. /readyz says 200 once messages are sent. The address can be a Unix socket (unix:PATH). Default: off.
    #[arg(long, value_name = "HOST:PORT", value_parser = listen_address, conflicts_with_all = ["stdin", "find_max"],
        help_heading = "Report")]
    metrics: Option<Endpoint>,
}

impl LiveOptions {
    pub(super) fn apply(&self, config: &mut ClientConfig) {
        config.stop_if.clone_from(&self.stop_if);
        if self.metrics.is_some() {
            config.other_descriptors = config.other_descriptors.saturating_add(METRICS_DESCRIPTORS);
        }
    }

    /// Opens the outputs, beside the other `files` of the run.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`] when one cannot be written, or is one of the others.
    pub(super) fn open(&self, files: &mut Files) -> Result<LiveOutputs, Error> {
        let lines = self.interval_json.as_deref().map(|path| files.open_also(path, "--interval-json")).transpose()?;
        Ok(LiveOutputs {
            lines,
            writer: None,
            is_unread: Arc::default(),
            metrics: self.metrics.clone(),
            has_stdout: !files.has_stdout(),
            server: None,
        })
    }
}

/// Outputs that are written while the run lasts.
pub(super) struct LiveOutputs {
    lines: Option<OutputFile>,
    /// The thread that writes the lines, so that a slow reader delays nothing else.
    writer: Option<JoinHandle<bool>>,
    /// Whether too many lines waited for the reader.
    is_unread: Arc<AtomicBool>,
    metrics: Option<Endpoint>,
    /// Whether the addresses of the pages go to stdout, which no document takes.
    has_stdout: bool,
    server: Option<ServerThread>,
}

impl LiveOutputs {
    /// Writes and serves what `client` does once it runs.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`] when a file cannot be emptied, [`Error::Listen`] and [`Error::System`] when the pages cannot be
    /// served or a thread cannot be started.
    pub(super) fn attach(&mut self, client: &mut Client) -> Result<(), Error> {
        if let Some(endpoint) = self.metrics.take() {
            self.serve_pages(client, endpoint)?;
        }
        match self.lines.take() {
            Some(output) => self.write_lines(client, output),
            None => Ok(()),
        }
    }

    /// Serves the pages about `client`, and prints their addresses as the server does.
    fn serve_pages(&mut self, client: &mut Client, endpoint: Endpoint) -> Result<(), Error> {
        let mut config = ServerConfig::at(endpoint);
        config.metrics = config.listen.pop();
        config.workers = 1;
        config.admin_pages = Some(Arc::new(client.admin_pages()));
        let server = Server::bind(config, |_| -> Box<dyn Service> { Box::new(Discard) })?;
        for address in server.metrics_addresses() {
            let line = format!("Listening on {address} ({}, metrics)", address.transport());
            if self.has_stdout {
                output::print_line(line);
            } else {
                output::print_to_stderr(escape::line(line));
            }
        }
        self.server = Some(ServerThread::start(server)?);
        Ok(())
    }

    fn write_lines(&mut self, client: &mut Client, output: OutputFile) -> Result<(), Error> {
        let name = output.name();
        let unread = format!("cannot write {name}: it is not read; giving up after {MAX_LINES} lines");
        let failed = move |error: &io::Error| format!("cannot write {name}: {}", in_words(error));
        let file = output.into_stream().map_err(|error| Error::Usage(failed(&error)))?;
        let (sender, lines) = sync_channel(MAX_LINES);
        let write = move || write_lines(file, &lines).map_err(|error| output::log_error(&failed(&error))).is_ok();
        let writer = std::thread::Builder::new().name("lines".to_owned()).spawn(write);
        self.writer = Some(writer.map_err(Error::system("start the thread that writes a line per second"))?);
        let (mut sender, is_unread) = (Some(sender), Arc::clone(&self.is_unread));
        client.on_second(move |snapshot| {
            let Some(Err(error)) = sender.as_ref().map(|lines| lines.try_send(snapshot.to_json_line())) else { return };
            sender = None;
            if matches!(error, TrySendError::Full(_)) {
                output::log_error(&unread);
                is_unread.store(true, Ordering::Relaxed);
            }
        });
        Ok(())
    }

    /// Waits until everything about the run, which is over, is written. Returns whether that succeeded.
    pub(super) fn finish(self) -> bool {
        let join = |writer: JoinHandle<bool>| writer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        if let Some(Err(error)) = self.server.map(ServerThread::end) {
            log::warn!("the admin pages ended with an error: {error}");
        }
        self.writer.is_none_or(join) && !self.is_unread.load(Ordering::Relaxed)
    }
}

fn write_lines(mut file: impl Write, lines: &Receiver<String>) -> io::Result<()> {
    lines.iter().try_for_each(|line| file.write_all(line.as_bytes()).and_then(|()| file.flush()))
}
