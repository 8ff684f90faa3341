//! The program started for a handover: the file at the path from which this process was started.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A program and its arguments, for starting a server that takes over the listening sockets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChildProgram {
    path: PathBuf,
    name: OsString,
    arguments: Vec<OsString>,
}

impl ChildProgram {
    /// The program at the path from which this process was started, with the same arguments. The file is looked up at
    /// the time of the handover.
    ///
    /// The path is the one that the caller used, made absolute; a symbolic link is followed at the time of the
    /// handover. Call this at the start, before the working directory changes or the program's file is replaced.
    ///
    /// # Errors
    ///
    /// When the system does not report which file this program is (proc_pid_exe(5)).
    pub fn of_this_program() -> io::Result<Self> {
        let mut arguments = env::args_os();
        let name = arguments.next().unwrap_or_default();
        let current = env::current_exe()?;
        let identity = file_id(&current);
        let is_current = |path: &PathBuf| identity.is_some() && file_id(path) == identity;
        // The name that a caller passes need not be the program's path. It is used only if it leads to this file.
        let path = candidates(&name).into_iter().find(is_current).unwrap_or(current);
        Ok(Self { path, name, arguments: arguments.collect() })
    }

    /// The path of the program.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The command that starts the program, with the environment of this process.
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command.arg0(&self.name).args(&self.arguments);
        command
    }
}

/// The paths where a program called `name` may be, as execvp(3) searches for it.
fn candidates(name: &OsStr) -> Vec<PathBuf> {
    let paths = if name.as_bytes().contains(&b'/') {
        vec![PathBuf::from(name)]
    } else {
        env::split_paths(&env::var_os("PATH").unwrap_or_default()).map(|folder| folder.join(name)).collect()
    };
    paths.into_iter().filter_map(|path| std::path::absolute(path).ok()).collect()
}

/// Device and inode, which identify a file.
fn file_id(path: &Path) -> Option<(u64, u64)> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

#[cfg(test)]
mod tests {
    use super::{ChildProgram, candidates};
    use std::ffi::OsStr;
    use std::path::Path;

    #[test]
    fn the_current_program_is_found() {
        let child_program = ChildProgram::of_this_program().expect("the system tells");
        assert!(child_program.path().is_absolute() && child_program.path().is_file(), "{child_program:?}");
    }

    #[test]
    fn a_name_without_a_slash_is_searched_in_path() {
        assert_eq!(candidates(OsStr::new("/bin/x/y")), [Path::new("/bin/x/y")]);
        assert!(candidates(OsStr::new("sh")).iter().any(|path| path.is_file()));
        let here = std::env::current_dir().expect("there is one");
        assert_eq!(candidates(OsStr::new("./y")), [here.join("y")]);
    }
}
