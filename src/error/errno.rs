//! Error numbers of the system (errno(3)) by the names that manuals and searches use.

use super::in_words;
use nix::errno::Errno;
use std::io;

/// The name of an error number, such as `EMFILE`, or the number where it has none.
pub(crate) fn errno_name(errno: i32) -> String {
    match Errno::from_raw(errno) {
        Errno::UnknownErrno => errno.to_string(),
        known => format!("{known:?}"),
    }
}

/// An error of the system in words, with its name where it has a number: `Function not implemented (ENOSYS)`.
pub(crate) fn in_words_with_errno(error: &io::Error) -> String {
    let words = in_words(error);
    match error.raw_os_error() {
        Some(errno) => format!("{words} ({})", errno_name(errno)),
        None => words,
    }
}

#[cfg(test)]
mod tests {
    use super::{Errno, errno_name, in_words_with_errno};
    use std::io;

    #[test]
    fn a_number_has_its_name() {
        assert_eq!(errno_name(Errno::EMFILE as i32), "EMFILE");
        assert_eq!(errno_name(99_999), "99999");
        let error = io::Error::from_raw_os_error(Errno::EACCES as i32);
        assert_eq!(in_words_with_errno(&error), "permission denied (EACCES)");
        assert_eq!(in_words_with_errno(&io::ErrorKind::TimedOut.into()), "timed out");
    }
}
