//! Output files that are written completely or not at all.
//!
//! A regular file is replaced: the new content goes to a temporary file beside it, which is then renamed. After a full
//! disk or a kill, the previous file is unchanged. Pipes and devices are written directly.

use super::output;
use super::result_files::{is_stdin, open};
use crate::error::{Error, in_words};
use crate::escape;
use std::ffi::OsStr;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// Paths that mean standard output.
const STDOUT_PATHS: [&str; 4] = ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"];

/// Maximum number of symbolic links to follow, as in the kernel (path_resolution(7)).
const MAX_LINKS: usize = 40;

/// One output. The path is checked when it is opened, and written at the end.
#[derive(Debug)]
pub(super) struct OutputFile {
    path: PathBuf,
    destination: Destination,
}

#[derive(Debug)]
enum Destination {
    Stdout,
    /// A regular file, which may not exist yet. It is replaced by rename.
    Replaced(PathBuf),
    /// A pipe or a device, or a file in a directory where no temporary file can be created.
    Direct(File),
}

/// Identifies the file behind a path: two paths with equal identities name the same file.
#[derive(Debug, PartialEq, Eq)]
enum FileIdentity {
    Stdout,
    Inode { device: u64, inode: u64 },
    New { directory: PathBuf, name: PathBuf },
}

impl OutputFile {
    /// Checks that `path` can be written, without changing it.
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let destination = open_destination(path).map_err(|error| {
            let reason = in_words(&error);
            Error::Usage(format!("cannot write {}: {reason}; give a path such as run.json", escape::path(path)))
        })?;
        Ok(Self { path: path.to_owned(), destination })
    }

    /// Whether the output is standard output. Then nothing else may be printed there.
    pub(super) fn is_stdout(&self) -> bool {
        matches!(self.destination, Destination::Stdout)
    }

    /// Whether writing both outputs would leave only one of them. A device such as /dev/null takes both.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.identity().is_some_and(|identity| other.identity() == Some(identity))
    }

    /// Whether writing replaces the input that has this metadata.
    fn replaces(&self, input: &Metadata) -> bool {
        FileIdentity::of(input).is_some_and(|identity| self.identity() == Some(identity))
    }

    /// Refuses to write over one of the `inputs`.
    pub(super) fn check_inputs(&self, inputs: &[PathBuf]) -> Result<(), Error> {
        let metadata = |input: &PathBuf| {
            // Stdin has no path. A named pipe is not opened: closing it again would end its writer.
            if is_stdin(input) { open(input)?.metadata() } else { input.metadata() }
        };
        if inputs.iter().any(|input| metadata(input).is_ok_and(|input| self.replaces(&input))) {
            let path = escape::path(&self.path);
            let text = format!("{path} is read and would be overwritten; give another file for the output");
            return Err(Error::Usage(text));
        }
        Ok(())
    }

    fn identity(&self) -> Option<FileIdentity> {
        match &self.destination {
            Destination::Stdout => Some(FileIdentity::Stdout),
            Destination::Direct(file) => FileIdentity::of(&file.metadata().ok()?),
            Destination::Replaced(path) => match path.metadata() {
                Ok(metadata) => FileIdentity::of(&metadata),
                Err(_) => Some(FileIdentity::New {
                    directory: directory(path).canonicalize().ok()?,
                    name: path.file_name()?.into(),
                }),
            },
        }
    }

    /// The path as shown in messages.
    pub(super) fn name(&self) -> String {
        if self.is_stdout() { "stdout".to_owned() } else { escape::path(&self.path).to_string() }
    }

    /// Opens the output for writing while the run lasts. A regular file is emptied.
    pub(super) fn into_stream(self) -> io::Result<Box<dyn Write + Send>> {
        Ok(match self.destination {
            Destination::Stdout => output::document_target(),
            Destination::Replaced(path) => Box::new(File::create(path)?),
            Destination::Direct(file) => {
                empty(&file)?;
                Box::new(file)
            }
        })
    }

    /// Writes the bytes that `write` produces. Logs an error and returns false when that fails.
    pub(super) fn write(self, write: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> bool {
        let mut bytes = Vec::new();
        let written = write(&mut bytes).and_then(|()| match &self.destination {
            Destination::Stdout => Ok(output::write_document(&String::from_utf8_lossy(&bytes))),
            Destination::Replaced(path) => replace(path, &bytes).map(|()| true),
            Destination::Direct(file) => overwrite(file, &bytes).map(|()| true),
        });
        match written {
            Ok(is_written) => is_written,
            // The reader closed its pipe and needs no more data.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => true,
            Err(error) => {
                output::log_error(&format!("cannot write {}: {}", escape::path(&self.path), in_words(&error)));
                false
            }
        }
    }
}

impl FileIdentity {
    fn of(metadata: &Metadata) -> Option<Self> {
        let is_device = metadata.file_type().is_char_device();
        (!is_device).then(|| Self::Inode { device: metadata.dev(), inode: metadata.ino() })
    }
}

fn open_destination(path: &Path) -> io::Result<Destination> {
    if STDOUT_PATHS.iter().any(|name| path == Path::new(name)) {
        return Ok(Destination::Stdout);
    }
    let target = follow_links(path);
    let file = match OpenOptions::new().write(true).open(&target) {
        Ok(file) if is_descriptor(&target) || !file.metadata()?.is_file() => return Ok(Destination::Direct(file)),
        Ok(file) => Some(file),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    match (temporary(&target), file) {
        (Ok(_), _) => Ok(Destination::Replaced(target)),
        (Err(_), Some(file)) => Ok(Destination::Direct(file)),
        (Err(error), None) => Err(error),
    }
}

/// Resolves symbolic links at the end of `path`.
fn follow_links(path: &Path) -> PathBuf {
    let mut target = path.to_owned();
    for _ in 0..MAX_LINKS {
        if is_descriptor(&target) {
            break;
        }
        let Ok(link) = target.read_link() else { break };
        target = directory(&target).join(link);
    }
    target
}

/// Whether `path` names an open descriptor, such as /dev/fd/3 or /dev/stderr. The file behind it must not be replaced.
fn is_descriptor(path: &Path) -> bool {
    directory(path).canonicalize().is_ok_and(|directory| directory.starts_with("/proc"))
}

/// Creates a file beside `target`. It is removed when it is dropped.
fn temporary(target: &Path) -> io::Result<NamedTempFile> {
    // The umask applies, as for every new file.
    let permissions = std::fs::Permissions::from_mode(0o666);
    let created =
        tempfile::Builder::new().prefix(".multiconn-").permissions(permissions).tempfile_in(directory(target));
    // The crate adds the temporary path, which means nothing to the user.
    created.map_err(|error| error.raw_os_error().map_or(error, io::Error::from_raw_os_error))
}

fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent.as_os_str() != OsStr::new("") => parent,
        _ => Path::new("."),
    }
}

fn replace(target: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = temporary(target)?;
    file.write_all(bytes)?;
    if let Ok(earlier) = target.metadata() {
        file.as_file().set_permissions(earlier.permissions())?;
        // Only root can give a file to another user.
        let _ = fchown(file.as_file(), Some(earlier.uid()), Some(earlier.gid()));
    }
    // Some file systems report a full disk only on fsync(2).
    file.as_file().sync_all()?;
    match file.persist(target) {
        Ok(_) => Ok(()),
        // A mount point, or another user's file in a sticky directory such as /tmp, can be written but not replaced.
        Err(_) => overwrite(&OpenOptions::new().write(true).open(target)?, bytes),
    }
}

fn overwrite(mut file: &File, bytes: &[u8]) -> io::Result<()> {
    empty(file)?;
    file.write_all(bytes)
}

/// Empties a regular file. A pipe or a terminal cannot be truncated.
fn empty(file: &File) -> io::Result<()> {
    if file.metadata()?.is_file() { file.set_len(0) } else { Ok(()) }
}
