//! The default runtime: one thread of its own for tasks, and one for sleeps.

use std::io;
use std::panic::AssertUnwindSafe;
use std::thread;
use std::time::{Duration, Instant};

use futures::channel::mpsc::{unbounded, UnboundedReceiver, UnboundedSender};
use futures::executor::LocalPool;
use futures::future::{BoxFuture, FutureExt};
use futures::stream::StreamExt;
use futures::task::LocalSpawnExt;
use futures_timer::Delay;

use super::{Executor, Timer};
use crate::sync::StdMutex;

/// The default [`Executor`] and [`Timer`]: works under tokio, async-std, smol and a bare
/// `block_on`.
///
/// Tasks run on one detached thread per process, made when the first is spawned; sleeps are woken
/// by another. A task that panics ends alone. Neither thread outlives the process, so what is still
/// queued when `main` returns is lost unless [`EventStream::close`](crate::EventStream::close) was
/// awaited, and neither survives a `fork`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Background;

type Task = BoxFuture<'static, ()>;

/// The thread's intake; `None` until there is a thread.
static INTAKE: StdMutex<Option<UnboundedSender<Task>>> = StdMutex::new(None);

impl Executor for Background {
    fn spawn(&self, task: Task) {
        if let Ok(intake) = start() {
            // The thread never ends, so it takes every task.
            let _ = intake.unbounded_send(task);
        }
    }
}

/// The intake of the thread, which is made if need be. A failure is not remembered.
fn start() -> io::Result<UnboundedSender<Task>> {
    let mut intake = INTAKE.lock();
    if let Some(intake) = &*intake {
        return Ok(intake.clone());
    }
    let (sender, tasks) = unbounded();
    thread::Builder::new().name("eventstream".into()).spawn(|| run(tasks))?;
    Ok(intake.insert(sender).clone())
}

fn run(mut tasks: UnboundedReceiver<Task>) {
    let mut pool = LocalPool::new();
    let spawner = pool.spawner();
    pool.run_until(async move {
        while let Some(task) = tasks.next().await {
            let task = AssertUnwindSafe(task).catch_unwind().map(drop);
            // Refused only by a pool that is gone.
            let _ = spawner.spawn_local(task);
        }
    });
}

impl Timer for Background {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn sleep(&self, for_: Duration) -> BoxFuture<'static, ()> {
        Delay::new(for_).boxed()
    }
}

#[cfg(test)]
mod tests {
    use futures::channel::oneshot;
    use futures::executor::block_on;

    use super::*;

    #[test]
    fn a_task_that_panics_ends_alone_and_its_outcome_resolves() {
        let spawn = |fails: bool| {
            let (done, outcome) = oneshot::channel();
            Background.spawn(Box::pin(async move {
                if fails {
                    // No payload to print: the hook would write it to the test's output.
                    std::panic::resume_unwind(Box::new(()));
                }
                let _ = done.send(thread::current().name().map(str::to_owned));
            }));
            block_on(outcome)
        };
        assert!(spawn(true).is_err());
        assert_eq!(spawn(false), Ok(Some("eventstream".to_owned())));
    }

    #[test]
    fn a_sleep_ends_not_before_its_time() {
        let start = Background.now();
        block_on(Background.sleep(Duration::from_millis(20)));
        assert!(Background.now() - start >= Duration::from_millis(20));
    }
}
