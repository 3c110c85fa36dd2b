//! What the server sends over the link without being asked: invalidations, announcements and
//! confirmations.
//!
//! Each is acted upon where it is read, before anything that comes behind it: there is no queue and
//! no other task.

use std::sync::Arc;

use redis::aio::{AsyncPushSender, SendError};
use redis::{PushInfo, PushKind, Value};
use tokio::sync::mpsc;

use super::fleet::{Announcement, Fleet, read_confirmation};
use super::layout::{Layout, digest_from_hex};

/// A confirmation that is to be sent.
#[derive(Debug)]
pub(super) struct Confirmation {
    pub(super) to: String,
    pub(super) number: u64,
    /// What it confirms was removed by commands before it, whose invalidations may still be on
    /// their way.
    pub(super) needs_proof: bool,
}

/// Acts upon the pushes of one connection.
pub(super) struct Pushes {
    fleet: Arc<Fleet>,
    /// What keys of records begin with.
    records: Vec<u8>,
    revoked: String,
    confirmed: String,
    confirmations: mpsc::Sender<Confirmation>,
}

impl Pushes {
    pub(super) fn new(
        layout: &Layout,
        fleet: Arc<Fleet>,
        confirmations: mpsc::Sender<Confirmation>,
    ) -> Self {
        Self {
            records: layout.records().into_bytes(),
            revoked: layout.revoked(),
            confirmed: layout.confirmed(fleet.me()),
            fleet,
            confirmations,
        }
    }

    /// The channels to subscribe to.
    pub(super) fn channels(&self) -> [String; 2] {
        [self.revoked.clone(), self.confirmed.clone()]
    }

    /// `[keys]`, or nil after FLUSHALL and FLUSHDB. What cannot be read may name any record, so
    /// everything is dropped.
    fn invalidate(&self, data: &[Value]) {
        let Some(Value::Array(keys)) = data.first() else { return self.fleet.drop_everything() };
        for key in keys {
            let digest = match key {
                Value::BulkString(key) => key.strip_prefix(&*self.records),
                _ => None,
            };
            match digest.and_then(digest_from_hex) {
                Some(digest) => self.fleet.cache().invalidate(&digest),
                None => self.fleet.drop_everything(),
            }
        }
    }

    fn message(&self, data: &[Value]) {
        let [Value::BulkString(channel), Value::BulkString(payload)] = data else { return };
        if channel == self.revoked.as_bytes() {
            self.fleet.note_announcement();
            let Some(announcement) = Announcement::read(payload) else {
                return self.fleet.drop_everything();
            };
            self.fleet.drop_named(&announcement);
            let Announcement { number, by, digests } = announcement;
            if by != self.fleet.me() {
                let needs_proof = digests.is_some_and(|digests| digests.is_empty());
                let confirmation = Confirmation { to: by, number, needs_proof };
                let _ = self.confirmations.try_send(confirmation);
            }
        } else if channel == self.confirmed.as_bytes()
            && let Some((number, by)) = read_confirmation(payload)
        {
            self.fleet.enter(number, by);
        }
    }
}

impl AsyncPushSender for Pushes {
    fn send(&self, push: PushInfo) -> Result<(), SendError> {
        match push.kind {
            PushKind::Invalidate => self.invalidate(&push.data),
            PushKind::Message => self.message(&push.data),
            _ => {}
        }
        Ok(())
    }
}
