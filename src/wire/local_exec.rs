//! Runs the futures that hyper's HTTP/2 spawns beside a connection, on the thread that serves it.

/// Spawns on the current thread's runtime.
#[derive(Clone, Copy, Debug)]
pub struct LocalExec;

impl<F: Future + 'static> hyper::rt::Executor<F> for LocalExec {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(async move {
            future.await;
        });
    }
}
