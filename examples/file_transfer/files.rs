//! The two files of a transfer: the source, and the partial file at the receiver. Both are hashed with SHA-256 as they
//! are read or written.

use sha2::{Digest, Sha256};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

/// Maximum number of bytes read or written at a time.
pub(crate) const CHUNK_BYTES: usize = 16 * 1024;

/// Maximum size of a file in bytes. The file system limits the total size of all files.
const MAX_FILE_BYTES: u64 = 16 << 30;

/// Maximum length of a name in bytes. With the affixes of a partial file it stays below the usual limit of file systems
/// (255).
const MAX_NAME_BYTES: usize = 200;

/// File with its current position and the hash of all bytes before it.
struct HashedFile {
    file: File,
    at: u64,
    sum: Sha256,
}

impl HashedFile {
    fn new(file: File) -> Self {
        Self { file, at: 0, sum: Sha256::new() }
    }

    /// Reads the next bytes; the end of the file is an error.
    fn read(&mut self, chunk: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(chunk)?;
        if count == 0 && !chunk.is_empty() {
            return Err(io::Error::other("the file was truncated while it was read"));
        }
        self.sum.update(&chunk[..count]);
        self.at += count as u64;
        Ok(count)
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.sum.update(bytes);
        self.at += bytes.len() as u64;
        Ok(())
    }

    /// Reads on to `end`, at most that many bytes; returns whether it was reached.
    fn advance(&mut self, end: u64, max_bytes: usize) -> io::Result<bool> {
        let mut chunk = [0; CHUNK_BYTES];
        let stop = end.min(self.at.saturating_add(max_bytes as u64));
        while self.at < stop {
            let room = limit_to(CHUNK_BYTES, stop - self.at);
            self.read(&mut chunk[..room])?;
        }
        Ok(self.at == end)
    }

    fn restart(&mut self) -> io::Result<()> {
        self.file.rewind()?;
        (self.at, self.sum) = (0, Sha256::new());
        Ok(())
    }

    /// The checksum in hexadecimal digits.
    fn sum(&self) -> String {
        self.sum.clone().finalize().iter().flat_map(|byte| [byte >> 4, byte & 15]).map(digit).collect()
    }
}

fn digit(value: u8) -> char {
    char::from_digit(value.into(), 16).expect("a hexadecimal digit is below 16")
}

fn limit_to(bytes: usize, remaining: u64) -> usize {
    usize::try_from(remaining).unwrap_or(bytes).min(bytes)
}

/// File of the sender.
pub(crate) struct Source {
    file: HashedFile,
    size: u64,
}

impl Source {
    /// Opens a regular file. A symbolic link could lead anywhere, and opening a pipe could block for ever.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let metadata = fs::symlink_metadata(path)?;
        if !metadata.is_file() {
            return Err(io::Error::other("this is not a regular file"));
        }
        let file = File::open(path)?;
        let size = file.metadata()?.len();
        Ok(Self { file: HashedFile::new(file), size })
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Number of bytes that are still to be sent.
    pub(crate) fn remaining(&self) -> u64 {
        self.size - self.file.at
    }

    /// Checks whether the file begins with `bytes` bytes of this checksum, and returns the offset to start at: after
    /// them, or 0. Reads at most `max_bytes` per call; `None` means that it must be called again.
    pub(crate) fn find_offset(&mut self, bytes: u64, sum: &str, max_bytes: usize) -> io::Result<Option<u64>> {
        if bytes <= self.size && !self.file.advance(bytes, max_bytes)? {
            return Ok(None);
        }
        if bytes > self.size || self.file.sum() != sum {
            self.file.restart()?;
        }
        Ok(Some(self.file.at))
    }

    /// Reads the next bytes.
    pub(crate) fn read(&mut self, chunk: &mut [u8]) -> io::Result<usize> {
        let room = limit_to(chunk.len(), self.remaining());
        self.file.read(&mut chunk[..room])
    }

    /// Checksum of the bytes read.
    pub(crate) fn sum(&self) -> String {
        self.file.sum()
    }
}

/// Partial file of the receiver. It stays when this value is dropped, so that a later transfer can resume.
pub(crate) struct Partial {
    file: HashedFile,
    path: PathBuf,
    target: PathBuf,
    /// Size of the existing part; after the start of the transfer, size of the complete file.
    size: u64,
}

impl Partial {
    /// Opens or creates the partial file of `name` in `folder`.
    pub(crate) fn open(folder: &Path, name: &str) -> io::Result<Self> {
        let path = folder.join(format!(".{}.part", check_name(name)?));
        if fs::symlink_metadata(&path).is_ok_and(|metadata| !metadata.is_file()) {
            return Err(io::Error::other("the partial file is not a regular file"));
        }
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path)?;
        let size = file.metadata()?.len();
        Ok(Self { file: HashedFile::new(file), path, target: folder.join(name), size })
    }

    /// Hashes the existing part, at most that many bytes per call; `None` means that it must be called again.
    pub(crate) fn hash_existing(&mut self, max_bytes: usize) -> io::Result<Option<(u64, String)>> {
        let is_done = self.file.advance(self.size, max_bytes)?;
        Ok(is_done.then(|| (self.size, self.file.sum())))
    }

    /// Continues after the existing part or starts over, as the sender decides.
    pub(crate) fn start(&mut self, offset: u64, size: u64) -> io::Result<()> {
        if size > MAX_FILE_BYTES {
            return Err(io::Error::other(format!("a file may have {MAX_FILE_BYTES} bytes at most")));
        }
        if offset > size || (offset != 0 && offset != self.file.at) {
            return Err(io::Error::other("there is a gap between the existing part and the offset"));
        }
        if offset == 0 {
            self.file.restart()?;
            self.file.file.set_len(0)?;
        }
        self.size = size;
        Ok(())
    }

    /// Number of bytes that are still to be received.
    pub(crate) fn remaining(&self) -> u64 {
        self.size - self.file.at
    }

    /// Writes as many of `bytes` as belong to the file; returns their number.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = limit_to(bytes.len(), self.remaining());
        self.file.append(&bytes[..count])?;
        Ok(count)
    }

    /// Renames the partial file to its final name, if the sender's checksum matches.
    pub(crate) fn finish(self, sum: &str) -> io::Result<()> {
        if self.file.sum() == sum {
            return fs::rename(&self.path, &self.target);
        }
        // The invalid bytes are unknown, so no part can be reused.
        fs::remove_file(&self.path)?;
        Err(io::Error::other("checksum mismatch: the received file was deleted"))
    }
}

/// Checks that the name denotes a file in the folder itself and is not hidden, as partial files are.
pub(crate) fn check_name(name: &str) -> io::Result<&str> {
    let is_short = (1..=MAX_NAME_BYTES).contains(&name.len());
    let is_unsafe = name.starts_with('.') || name.contains(['/', '\\']) || name.contains(char::is_control);
    if is_short && !is_unsafe { Ok(name) } else { Err(io::Error::other("this is not the name of a file here")) }
}
