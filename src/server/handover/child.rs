//! The program that takes over: found where this one was started from, not where it lies now.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A program and its arguments, by which a server can be started that takes over its listening sockets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChildProgram {
    path: PathBuf,
    name: OsString,
    arguments: Vec<OsString>,
}

impl ChildProgram {
    /// What lies, when the time has come, at the path that this program was started from; with its arguments.
    ///
    /// The path is the one that the caller used, made absolute: a link that leads elsewhere by then is followed there. To
    /// be called at the start, before the working directory changes and the program's file is replaced.
    ///
    /// # Errors
    ///
    /// When the system does not tell which file this program is (proc_pid_exe(5)).
    pub fn of_this_program() -> io::Result<Self> {
        let mut words = env::args_os();
        let name = words.next().unwrap_or_default();
        let own = env::current_exe()?;
        let identity = file(&own);
        let is_own = |path: &PathBuf| identity.is_some() && file(path) == identity;
        // What a caller gives as the name of a program need not be its path: it is believed when it leads to this file.
        let path = candidates(&name).into_iter().find(is_own).unwrap_or(own);
        Ok(Self { path, name, arguments: words.collect() })
    }

    /// The path of the program.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The command that starts it, in the environment of this process.
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command.arg0(&self.name).args(&self.arguments);
        command
    }
}

/// Where a program called `name` may lie: as execvp(3) looks for it.
fn candidates(name: &OsStr) -> Vec<PathBuf> {
    let paths = if name.as_bytes().contains(&b'/') {
        vec![PathBuf::from(name)]
    } else {
        env::split_paths(&env::var_os("PATH").unwrap_or_default()).map(|folder| folder.join(name)).collect()
    };
    paths.into_iter().filter_map(|path| std::path::absolute(path).ok()).collect()
}

/// What tells one file from another.
fn file(path: &Path) -> Option<(u64, u64)> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

#[cfg(test)]
mod tests {
    use super::{ChildProgram, candidates};
    use std::ffi::OsStr;
    use std::path::Path;

    #[test]
    fn this_program_is_found() {
        let child_program = ChildProgram::of_this_program().expect("the system tells");
        assert!(child_program.path().is_absolute() && child_program.path().is_file(), "{child_program:?}");
    }

    #[test]
    fn a_name_without_a_slash_is_looked_for_in_the_path() {
        assert_eq!(candidates(OsStr::new("/bin/x/y")), [Path::new("/bin/x/y")]);
        assert!(candidates(OsStr::new("sh")).iter().any(|path| path.is_file()));
        let here = std::env::current_dir().expect("there is one");
        assert_eq!(candidates(OsStr::new("./y")), [here.join("y")]);
    }
}
