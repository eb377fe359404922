//! Two processes that one program forks into never draw the same ids. This runs without the test
//! harness, because a child of a program with several threads may wait for ever for a lock.

#[cfg(unix)]
fn main() {
    let streams: Vec<_> = std::iter::once(drawn()).chain((0..2).map(|_| forked())).collect();
    for (at, epoch) in streams.iter().enumerate() {
        assert!(!streams[..at].contains(epoch), "an epoch comes twice after a fork: {streams:?}");
    }
    println!("streams_made_after_a_fork_have_epochs_of_their_own ... ok");
}

#[cfg(not(unix))]
fn main() {}

/// The epoch of a new stream.
#[cfg(unix)]
fn drawn() -> String {
    use eventstream::{Event, EventStream};

    let id = EventStream::new().try_publish("a", Event::new("e")).expect("an event").to_string();
    id.split_once('-').expect("an epoch and a seq").0.to_owned()
}

/// The epoch of a new stream in a child. The standard library's keys for hash maps, which are drawn
/// once per thread, are the same in each child: the caller must have drawn them already.
#[cfg(unix)]
fn forked() -> String {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    let (mut here, mut there) = UnixStream::pair().expect("a socket");
    match fork::fork().expect("a child") {
        fork::Fork::Child => {
            let epoch = drawn();
            there.write_all(epoch.as_bytes()).expect("the parent reads");
            std::process::exit(0)
        }
        fork::Fork::Parent(child) => {
            drop(there);
            let mut epoch = String::new();
            here.read_to_string(&mut epoch).expect("the child writes");
            assert_eq!(fork::waitpid(child).expect("a child"), 0, "the child's status");
            assert_eq!(epoch.len(), 13, "{epoch:?}");
            epoch
        }
    }
}
