//! Whether the process at the other end of a connection has done all that it can do (procfs(5)).

use super::socket_state::socket_inode;
use std::fs;
use std::net::TcpStream;
use std::path::PathBuf;

/// Whether the child process at the other end of one of `streams` is idle: all its threads sleep, and it has handled
/// everything that has arrived. True if no child has one, or if that cannot be read.
pub(crate) fn is_peer_idle<'a>(streams: impl IntoIterator<Item = &'a TcpStream>) -> bool {
    if fs::read_to_string("/proc/self/stat").is_err() {
        return true;
    }
    let mut inodes = streams.into_iter().filter_map(|stream| {
        let (Ok(ours), Ok(theirs)) = (stream.local_addr(), stream.peer_addr()) else { return None };
        socket_inode(theirs, ours)
    });
    match inodes.next() {
        // Pending in the queue of a listener.
        Some(0) => false,
        Some(inode) => owner(inode).is_none_or(|process| is_asleep(&process)),
        None => true,
    }
}

/// The child of this process that has this socket.
fn owner(inode: u64) -> Option<String> {
    let tasks = fs::read_dir("/proc/self/task").ok()?;
    let lists = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("children")).ok());
    let children: Vec<String> = lists.flat_map(|list| list.split(' ').map(str::to_owned).collect::<Vec<_>>()).collect();
    let socket = PathBuf::from(format!("socket:[{inode}]"));
    let has_socket = |child: &String| {
        let descriptors = fs::read_dir(format!("/proc/{child}/fd")).into_iter().flatten();
        descriptors.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok()).any(|target| target == socket)
    };
    children.into_iter().filter(|child| !child.is_empty()).find(has_socket)
}

fn is_asleep(process: &str) -> bool {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let mut states = tasks.map(|task| fs::read_to_string(task.path().join("stat")).unwrap_or_default());
    // The state follows the name in parentheses (proc_pid_stat(5)).
    states.all(|stat| stat.rsplit_once(") ").is_none_or(|(_, fields)| !fields.starts_with(['R', 'D'])))
}
