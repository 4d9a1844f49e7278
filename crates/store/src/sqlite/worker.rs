//! The threads that own the connections, and how calls reach them.

use std::{
    iter,
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread::{self, JoinHandle},
};

use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::oneshot;

use crate::{Error, ErrorKind, Result};

/// How many calls share a transaction at most: enough to make the `fsync` cheap, few enough to answer soon.
const BATCH: usize = 256;

/// Threads that serve one queue of calls.
pub(super) struct Workers {
    queue: Option<mpsc::Sender<Box<dyn Job>>>,
    threads: Vec<JoinHandle<()>>,
}

impl Workers {
    /// One thread that runs waiting calls in one transaction.
    pub(super) fn writer(mut db: Connection) -> Result<Self> {
        let (queue, calls) = mpsc::channel::<Box<dyn Job>>();
        let thread = spawn("store-writer", move || {
            while let Ok(first) = calls.recv() {
                let batch = iter::once(first).chain(calls.try_iter()).take(BATCH).collect();
                write(&mut db, batch);
            }
        })?;
        Ok(Self { queue: Some(queue), threads: vec![thread] })
    }

    /// A thread for each connection; a call runs on whichever is free.
    pub(super) fn readers(connections: Vec<Connection>) -> Result<Self> {
        let (queue, calls) = mpsc::channel::<Box<dyn Job>>();
        let calls = Arc::new(Mutex::new(calls));
        let read = |db: Connection| {
            let calls = Arc::clone(&calls);
            spawn("store-reader", move || {
                // The lock is held while waiting for a call, not while serving it.
                let next = || calls.lock().unwrap_or_else(PoisonError::into_inner).recv();
                while let Ok(mut job) = next() {
                    job.run(&db);
                    job.settle(None);
                }
            })
        };
        let threads = connections.into_iter().map(read).collect::<Result<_>>()?;
        Ok(Self { queue: Some(queue), threads })
    }

    /// Has `work` done by one of the threads.
    pub(super) async fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        let job = Box::new(Call { work: Some(work), result: None, reply });
        let sent = self.queue.as_ref().is_some_and(|queue| queue.send(job).is_ok());
        if !sent {
            return Err(gone());
        }
        answer.await.unwrap_or_else(|_| Err(gone()))
    }
}

/// Waits until what was asked has been done and the connections are closed; the last one folds the log into the file.
impl Drop for Workers {
    fn drop(&mut self) {
        self.queue = None;
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a database thread had stopped early");
            }
        }
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    thread::Builder::new().name(name.to_owned()).spawn(work).map_err(|error| {
        Error::new(ErrorKind::Unavailable, "cannot start a database thread").caused_by(error)
    })
}

fn gone() -> Error {
    Error::new(ErrorKind::Unavailable, "the database threads have stopped")
}

/// A call on its way through a thread. Two steps, because a write is answered only after the commit.
trait Job: Send {
    /// Does the work; false when it failed and must leave no trace.
    fn run(&mut self, db: &Connection) -> bool;
    /// Answers: with `failure` when the transaction failed, else with the result of the work.
    fn settle(self: Box<Self>, failure: Option<&Error>);
}

struct Call<T, W> {
    work: Option<W>,
    result: Option<Result<T>>,
    reply: oneshot::Sender<Result<T>>,
}

impl<T: Send, W: FnOnce(&Connection) -> Result<T> + Send> Job for Call<T, W> {
    fn run(&mut self, db: &Connection) -> bool {
        self.result = self.work.take().map(|work| work(db));
        matches!(self.result, Some(Ok(_)))
    }

    fn settle(self: Box<Self>, failure: Option<&Error>) {
        let answer = match failure {
            Some(failure) => Err(Error::new(failure.kind(), failure.to_string())),
            None => self.result.unwrap_or_else(|| Err(gone())),
        };
        // The caller may have left; what was done stays done.
        let _ = self.reply.send(answer);
    }
}

fn write(db: &mut Connection, mut batch: Vec<Box<dyn Job>>) {
    let failure = transaction(db, &mut batch).err();
    for job in batch {
        job.settle(failure.as_ref());
    }
}

fn transaction(db: &mut Connection, batch: &mut [Box<dyn Job>]) -> Result<()> {
    // "Immediate", because a transaction that begins by reading cannot wait for another writer:
    // https://www.sqlite.org/lang_transaction.html
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for job in batch {
        run_alone(&transaction, job.as_mut())?;
    }
    transaction.commit()?;
    Ok(())
}

/// A call that fails takes back what it did, and nothing of the others.
fn run_alone(transaction: &Transaction<'_>, job: &mut dyn Job) -> Result<()> {
    transaction.prepare_cached("SAVEPOINT job")?.execute([])?;
    if !job.run(transaction) {
        transaction.prepare_cached("ROLLBACK TO job")?.execute([])?;
    }
    transaction.prepare_cached("RELEASE job")?.execute([])?;
    Ok(())
}
