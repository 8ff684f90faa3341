//! Names of system error numbers (errno(3)), as manuals use them.

use super::in_words;
use nix::errno::Errno;
use std::io;

/// Name of an error number, such as `EMFILE`; the number itself if it has no name.
pub(crate) fn errno_name(errno: i32) -> String {
    match Errno::from_raw(errno) {
        Errno::UnknownErrno => errno.to_string(),
        known => format!("{known:?}"),
    }
}

/// Describes a system error in words, with the name of its number: `Function not implemented (ENOSYS)`.
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
    fn error_numbers_have_names() {
        assert_eq!(errno_name(Errno::EMFILE as i32), "EMFILE");
        assert_eq!(errno_name(99_999), "99999");
        let error = io::Error::from_raw_os_error(Errno::EACCES as i32);
        assert_eq!(in_words_with_errno(&error), "permission denied (EACCES)");
        assert_eq!(in_words_with_errno(&io::ErrorKind::TimedOut.into()), "timed out");
    }
}
