//! The two ends of a transfer: the file that is read, and the file that grows. Both know the SHA-256 of what has passed.

use sha2::{Digest, Sha256};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

/// The most bytes of a file that are read or written at a time, in bytes.
pub(crate) const CHUNK_BYTES: usize = 16 * 1024;

/// The largest file that is taken, in bytes. What all files together may take is for the file system to limit.
const FILE_BYTES: u64 = 16 << 30;

/// The longest name, in bytes. With what a partial file adds, it is within what file systems take (255).
const NAME_BYTES: usize = 200;

/// A file, the place up to which it has been read or written, and the sum up to there.
struct Summed {
    file: File,
    at: u64,
    sum: Sha256,
}

impl Summed {
    fn new(file: File) -> Self {
        Self { file, at: 0, sum: Sha256::new() }
    }

    /// Reads what comes next; an end is an error.
    fn read(&mut self, chunk: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(chunk)?;
        if count == 0 && !chunk.is_empty() {
            return Err(io::Error::other("the file has become shorter meanwhile"));
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

    /// Reads on towards `end`, at most so many bytes, and says whether it is there.
    fn advance(&mut self, end: u64, max_bytes: usize) -> io::Result<bool> {
        let mut chunk = [0; CHUNK_BYTES];
        let stop = end.min(self.at.saturating_add(max_bytes as u64));
        while self.at < stop {
            let room = least(CHUNK_BYTES, stop - self.at);
            self.read(&mut chunk[..room])?;
        }
        Ok(self.at == end)
    }

    fn restart(&mut self) -> io::Result<()> {
        self.file.rewind()?;
        (self.at, self.sum) = (0, Sha256::new());
        Ok(())
    }

    /// The sum in hexadecimal digits.
    fn sum(&self) -> String {
        self.sum.clone().finalize().iter().flat_map(|byte| [byte >> 4, byte & 15]).map(digit).collect()
    }
}

fn digit(value: u8) -> char {
    char::from_digit(value.into(), 16).expect("a hexadecimal digit is below 16")
}

fn least(bytes: usize, left: u64) -> usize {
    usize::try_from(left).unwrap_or(bytes).min(bytes)
}

/// The file of the side that sends.
pub(crate) struct Source {
    file: Summed,
    size: u64,
}

impl Source {
    /// Opens a plain file: a link could lead anywhere, and a pipe would keep whoever opens it for ever.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let metadata = fs::symlink_metadata(path)?;
        if !metadata.is_file() {
            return Err(io::Error::other("this is not a plain file"));
        }
        let file = File::open(path)?;
        let size = file.metadata()?.len();
        Ok(Self { file: Summed::new(file), size })
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// How many bytes are still to be sent.
    pub(crate) fn left(&self) -> u64 {
        self.size - self.file.at
    }

    /// Finds out whether the file begins with `bytes` bytes of this sum, and where to begin therefore: behind them, or at
    /// the start. Reads at most `max_bytes`; `None` says that it is to be asked again.
    pub(crate) fn find_offset(&mut self, bytes: u64, sum: &str, max_bytes: usize) -> io::Result<Option<u64>> {
        if bytes <= self.size && !self.file.advance(bytes, max_bytes)? {
            return Ok(None);
        }
        if bytes > self.size || self.file.sum() != sum {
            self.file.restart()?;
        }
        Ok(Some(self.file.at))
    }

    /// Reads what comes next.
    pub(crate) fn read(&mut self, chunk: &mut [u8]) -> io::Result<usize> {
        let room = least(chunk.len(), self.left());
        self.file.read(&mut chunk[..room])
    }

    /// The sum of what was read.
    pub(crate) fn sum(&self) -> String {
        self.file.sum()
    }
}

/// The file of the side that receives. What has come stays when this goes, so that another one goes on with it.
pub(crate) struct Partial {
    file: Summed,
    path: PathBuf,
    whole: PathBuf,
    /// Before the start: what was there. Then: what there is to be.
    size: u64,
}

impl Partial {
    /// Opens what there is of the file `name` in `folder`.
    pub(crate) fn open(folder: &Path, name: &str) -> io::Result<Self> {
        let path = folder.join(format!(".{}.part", plain(name)?));
        if fs::symlink_metadata(&path).is_ok_and(|metadata| !metadata.is_file()) {
            return Err(io::Error::other("what should be a partial file is something else"));
        }
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path)?;
        let size = file.metadata()?.len();
        Ok(Self { file: Summed::new(file), path, whole: folder.join(name), size })
    }

    /// Takes the sum of what was there, of at most so many bytes; `None` says that it is to be asked again.
    pub(crate) fn recall(&mut self, max_bytes: usize) -> io::Result<Option<(u64, String)>> {
        let is_done = self.file.advance(self.size, max_bytes)?;
        Ok(is_done.then(|| (self.size, self.file.sum())))
    }

    /// Goes on behind what is there, or starts anew, as the sender says.
    pub(crate) fn start(&mut self, offset: u64, size: u64) -> io::Result<()> {
        if size > FILE_BYTES {
            return Err(io::Error::other(format!("a file has {FILE_BYTES} bytes at most")));
        }
        if offset > size || (offset != 0 && offset != self.file.at) {
            return Err(io::Error::other("there is a gap between what is here and what would come"));
        }
        if offset == 0 {
            self.file.restart()?;
            self.file.file.set_len(0)?;
        }
        self.size = size;
        Ok(())
    }

    /// How many bytes are still to come.
    pub(crate) fn left(&self) -> u64 {
        self.size - self.file.at
    }

    /// Takes as many of `bytes` as belong to the file, and says how many.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = least(bytes.len(), self.left());
        self.file.append(&bytes[..count])?;
        Ok(count)
    }

    /// Makes it the whole file, if the sum is that of the sender.
    pub(crate) fn finish(self, sum: &str) -> io::Result<()> {
        if self.file.sum() == sum {
            return fs::rename(&self.path, &self.whole);
        }
        // Which byte is wrong cannot be known: there is nothing to go on with.
        fs::remove_file(&self.path)?;
        Err(io::Error::other("what arrived is not what was sent, and was thrown away"))
    }
}

/// The name, if it is one of a file in the folder itself, and not hidden, as partial files are.
pub(crate) fn plain(name: &str) -> io::Result<&str> {
    let is_short = (1..=NAME_BYTES).contains(&name.len());
    let leads_away = name.starts_with('.') || name.contains(['/', '\\']) || name.contains(char::is_control);
    if is_short && !leads_away { Ok(name) } else { Err(io::Error::other("this is not the name of a file here")) }
}
