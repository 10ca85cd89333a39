//! Requests in progress, by tag, for Tflush and Tversion to wait for.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use tokio::sync::watch;

type Table = Arc<Mutex<HashMap<u16, Arc<watch::Sender<bool>>>>>;

/// The requests in progress.
#[derive(Debug, Default)]
pub(super) struct Pending {
    table: Table,
}

/// A request in progress; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Entry {
    tag: u16,
    /// True once the request was cancelled. The entry and the table hold it; who waits for the end subscribes,
    /// and sees the last sender go.
    cancel: Arc<watch::Sender<bool>>,
    table: Table,
}

/// The end of a request, to be waited for.
#[derive(Debug)]
pub(super) struct Ended(watch::Receiver<bool>);

impl Pending {
    pub fn is_empty(&self) -> bool {
        let table = self.table.lock().expect("no holder of this lock panics");
        table.is_empty()
    }

    pub fn contains(&self, tag: u16) -> bool {
        let table = self.table.lock().expect("no holder of this lock panics");
        !table.is_empty() && table.contains_key(&tag)
    }

    /// Enters a request; `None` where its tag is in use.
    pub fn enter(&self, tag: u16) -> Option<Entry> {
        let mut table = self.table.lock().expect("no holder of this lock panics");
        if table.contains_key(&tag) {
            return None;
        }
        let cancel = Arc::new(watch::Sender::new(false));
        table.insert(tag, cancel.clone());
        Some(Entry {
            tag,
            cancel,
            table: self.table.clone(),
        })
    }

    /// Cancels a request; `None` where there is none of this tag.
    pub fn cancel(&self, tag: u16) -> Option<Ended> {
        let table = self.table.lock().expect("no holder of this lock panics");
        let cancel = table.get(&tag)?;
        let ended = Ended(cancel.subscribe());
        cancel.send_replace(true);
        Some(ended)
    }

    /// Cancels every request and waits for their ends.
    pub async fn cancel_all(&self) {
        let tags: Vec<u16> = self
            .table
            .lock()
            .expect("no holder of this lock panics")
            .keys()
            .copied()
            .collect();
        for ended in tags
            .into_iter()
            .filter_map(|tag| self.cancel(tag))
            .collect::<Vec<_>>()
        {
            ended.wait().await;
        }
    }
}

impl Ended {
    /// Waits until the request has ended, its reply sent if it has one.
    pub async fn wait(mut self) {
        // The channel closes with the last sender, which the entry drops.
        while self.0.changed().await.is_ok() {}
    }
}

impl Entry {
    /// Ends the request by sending its reply. To everybody else both happen at once: whoever still finds the
    /// request waits for it, whoever does not comes after its reply, and its tag is free when the client has
    /// seen the reply.
    pub fn reply(self, send: impl FnOnce()) {
        let mut table = self.table.lock().expect("no holder of this lock panics");
        send();
        table.remove(&self.tag);
        drop(table);
    }

    pub fn is_cancelled(&self) -> bool {
        *self.cancel.borrow()
    }

    /// Waits until the request is cancelled.
    pub async fn cancelled(&self) {
        let mut receiver = self.cancel.subscribe();
        let _ = receiver.wait_for(|cancelled| *cancelled).await;
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut table = self.table.lock().expect("no holder of this lock panics");
        // After a reply the tag may be another request's by now.
        if table
            .get(&self.tag)
            .is_some_and(|cancel| Arc::ptr_eq(cancel, &self.cancel))
        {
            table.remove(&self.tag);
        }
    }
}
