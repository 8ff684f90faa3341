//! The names of the errors of accept(2) and epoll_ctl(2), as manuals and searches spell them.

use rustix::io::Errno;

const NAMES: [(Errno, &str); 22] = [
    (Errno::CONNABORTED, "ECONNABORTED"),
    (Errno::INTR, "EINTR"),
    (Errno::NETDOWN, "ENETDOWN"),
    (Errno::PROTO, "EPROTO"),
    (Errno::NOPROTOOPT, "ENOPROTOOPT"),
    (Errno::HOSTDOWN, "EHOSTDOWN"),
    (Errno::NONET, "ENONET"),
    (Errno::HOSTUNREACH, "EHOSTUNREACH"),
    (Errno::OPNOTSUPP, "EOPNOTSUPP"),
    (Errno::NETUNREACH, "ENETUNREACH"),
    (Errno::MFILE, "EMFILE"),
    (Errno::NFILE, "ENFILE"),
    (Errno::NOBUFS, "ENOBUFS"),
    (Errno::NOMEM, "ENOMEM"),
    (Errno::NOSPC, "ENOSPC"),
    (Errno::PERM, "EPERM"),
    (Errno::BADF, "EBADF"),
    (Errno::INVAL, "EINVAL"),
    (Errno::NOTSOCK, "ENOTSOCK"),
    (Errno::FAULT, "EFAULT"),
    (Errno::TIMEDOUT, "ETIMEDOUT"),
    (Errno::NOSYS, "ENOSYS"),
];

/// The name of an error's number, or the number where it has no name here.
pub(super) fn errno_name(errno: i32) -> String {
    let found = NAMES.iter().find(|(known, _)| known.raw_os_error() == errno);
    found.map_or_else(|| errno.to_string(), |(_, name)| (*name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::{Errno, errno_name};

    #[test]
    fn a_number_has_its_name() {
        assert_eq!(errno_name(Errno::MFILE.raw_os_error()), "EMFILE");
        assert_eq!(errno_name(99_999), "99999");
    }
}
