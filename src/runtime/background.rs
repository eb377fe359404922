//! The default runtime: one thread for tasks, and one for sleeps.

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

/// The default [`Executor`] and [`Timer`], which work under tokio, async-std, smol and a bare
/// `block_on`.
///
/// Tasks run on one detached thread per process, which is started when the first task is spawned.
/// Another thread wakes the sleeps. A task that panics does not affect the others. Neither thread
/// keeps the process alive, so whatever is still queued when `main` returns is lost unless
/// [`EventStream::close`](crate::EventStream::close) was awaited. Neither thread survives a `fork`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Background;

type Task = BoxFuture<'static, ()>;

/// Sends tasks to the thread; `None` until the thread has been started.
static INTAKE: StdMutex<Option<UnboundedSender<Task>>> = StdMutex::new(None);

impl Executor for Background {
    fn spawn(&self, task: Task) {
        if let Ok(intake) = start() {
            // This cannot fail: the thread never ends.
            let _ = intake.unbounded_send(task);
        }
    }
}

/// Returns the thread's intake, and starts the thread if necessary. After a failure, the next call
/// tries again.
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
            // This fails only if the pool is gone.
            let _ = spawner.spawn_local(task);
        }
    });
}

impl Timer for Background {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Delay::new(duration).boxed()
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
                    // A plain panic would run the hook, which writes to the test's output.
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
    fn a_sleep_does_not_end_before_its_time() {
        let start = Background.now();
        block_on(Background.sleep(Duration::from_millis(20)));
        assert!(Background.now() - start >= Duration::from_millis(20));
    }
}
