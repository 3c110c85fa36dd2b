//! The port of records, each operation in SQL.

use super::EmbeddedStore;
use super::tables::{Tables, select, sort_name, sql_count, sql_limit};
use crate::domain::{Owner, Record, RecordKind, Timestamp, TokenDigest, TokenId};
use crate::tokens::store::{
    AuthorizedBy, Filter, Issue, IssueMode, Listed, OnRemove, Removal, Store, StoreFuture,
};

/// How many uses are noted in one operation, so that a long list lets others in between.
const TOUCHES: usize = 256;

impl Store for EmbeddedStore {
    fn find(&self, digest: TokenDigest) -> StoreFuture<Option<Record>> {
        self.lookups.queue.ask(move |tables| tables.find(digest))
    }

    fn find_by_id(&self, token_api: String, id: TokenId) -> StoreFuture<Option<Listed>> {
        self.lookups.queue.ask(move |tables| {
            let sql = select!("WHERE id = ?1 AND token_api = ?2");
            match tables.one(sql, (id.as_bytes(), &token_api))? {
                Some(record) => Ok(Some(Listed { record, retired_at: None })),
                None => tables.retired_by_id(&token_api, id),
            }
        })
    }

    fn issue(
        &self,
        authorized_by: AuthorizedBy,
        child: Record,
        mode: IssueMode,
        now: Timestamp,
    ) -> StoreFuture<Issue> {
        self.writer.queue.ask(move |tables| {
            let mut spent = None;
            if let AuthorizedBy::Record(authorized_by) = authorized_by {
                match tables.live(authorized_by, now)?.map(|record| record.kind) {
                    None => return Ok(Issue::AuthorizationGone),
                    Some(RecordKind::Bootstrap { mints_left: 0 }) => {
                        return Ok(Issue::AuthorizationSpent);
                    }
                    Some(RecordKind::Bootstrap { .. }) => spent = Some(authorized_by),
                    Some(RecordKind::ApiKey | RecordKind::Session) => {}
                }
            }
            let owner = child.owner();
            if mode == IssueMode::IfNone
                && let Some(there) = tables.live_of(&owner, now)?.into_iter().next()
            {
                return Ok(Issue::Taken(Box::new(there)));
            }
            let removed = match mode {
                IssueMode::Add => Vec::new(),
                // With `IfNone`, only expired ones are left by now.
                IssueMode::Replace | IssueMode::IfNone => tables.delete_owned(&owner)?,
            };
            if let Some(authorized_by) = spent {
                let sql = "UPDATE record SET mints_left = mints_left - 1 WHERE digest = ?1";
                tables.statement(sql)?.execute([authorized_by.as_bytes()])?;
            }
            tables.provision(&child)?;
            Ok(Issue::Issued { removed })
        })
    }

    fn provision(&self, record: Record) -> StoreFuture<()> {
        self.writer.queue.ask(move |tables| tables.provision(&record))
    }

    fn owned(
        &self,
        authorized_by: AuthorizedBy,
        owner: Owner,
        now: Timestamp,
    ) -> StoreFuture<Option<Vec<Listed>>> {
        self.listings.queue.ask(move |tables| {
            if !tables.is_good(authorized_by, now)? {
                return Ok(None);
            }
            let mut keys = tables.retired_of(&owner)?;
            let live = tables.live_of(&owner, now)?.into_iter();
            keys.extend(live.map(|record| Listed { record, retired_at: None }));
            // Stable: each of the two is in order already.
            keys.sort_by_key(|key| key.record.issued_at);
            Ok(Some(keys))
        })
    }

    fn remove(
        &self,
        authorized_by: AuthorizedBy,
        target: TokenDigest,
        on_remove: OnRemove,
        now: Timestamp,
    ) -> StoreFuture<Removal> {
        self.writer.queue.ask(move |tables| {
            if !tables.is_good(authorized_by, now)? {
                return Ok(Removal::AuthorizationGone);
            }
            if on_remove == OnRemove::Retire {
                tables.retire(target, now)?;
            }
            Ok(if tables.delete(target)? { Removal::Removed } else { Removal::Absent })
        })
    }

    fn remove_owned(
        &self,
        authorized_by: AuthorizedBy,
        owner: Owner,
        on_remove: OnRemove,
        now: Timestamp,
    ) -> StoreFuture<Option<Vec<TokenDigest>>> {
        self.writer.queue.ask(move |tables| {
            if !tables.is_good(authorized_by, now)? {
                return Ok(None);
            }
            if on_remove == OnRemove::Retire {
                tables.retire_owned(&owner, now)?;
            }
            tables.delete_owned(&owner).map(Some)
        })
    }

    /// At once: there is no other instance.
    fn settle(&self) -> StoreFuture<()> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn browse(&self, filter: Filter) -> StoreFuture<Vec<Record>> {
        self.listings.queue.ask(move |tables| {
            let Filter { token_api, subject, sort, limit } = &filter;
            let params = (token_api, subject, sort.map(sort_name), sql_limit(*limit));
            let sql = if token_api.is_some() && subject.is_some() {
                // In these words SQLite uses the index of owners; in the others it reads every
                // record.
                select!(
                    "WHERE token_api = ?1 AND subject = ?2 AND (?3 IS NULL OR sort = ?3)
                     ORDER BY issued_at, seq LIMIT ?4"
                )
            } else {
                select!(
                    "WHERE (?1 IS NULL OR token_api = ?1) AND (?2 IS NULL OR subject = ?2)
                     AND (?3 IS NULL OR sort = ?3) ORDER BY issued_at, seq LIMIT ?4"
                )
            };
            tables.rows(sql, params, |row| tables.record(row))
        })
    }

    fn retired(&self) -> StoreFuture<Vec<Listed>> {
        self.listings.queue.ask(Tables::retired)
    }

    fn restore(&self, kept: Listed) -> StoreFuture<()> {
        self.writer.queue.ask(move |tables| {
            tables.provision(&kept.record)?;
            if let Some(retired_at) = kept.retired_at {
                tables.retire(kept.record.digest, retired_at)?;
                tables.delete(kept.record.digest)?;
            }
            Ok(())
        })
    }

    fn touch(&self, uses: Vec<(TokenDigest, Timestamp)>) -> StoreFuture<()> {
        let queue = self.writer.queue.clone();
        Box::pin(async move {
            for part in uses.chunks(TOUCHES) {
                let part = part.to_vec();
                let note = queue.ask(move |tables| {
                    let sql = "UPDATE record SET last_used_at = ?2
                               WHERE digest = ?1 AND (last_used_at IS NULL OR last_used_at < ?2)";
                    let mut statement = tables.statement(sql)?;
                    for (digest, at) in &part {
                        statement.execute((digest.as_bytes(), at.unix_millis()))?;
                    }
                    Ok(())
                });
                note.await?;
            }
            Ok(())
        })
    }

    fn purge(&self, now: Timestamp, limit: usize) -> StoreFuture<usize> {
        self.writer.queue.ask(move |tables| {
            tables.log_due.set(true);
            let sql = "DELETE FROM record WHERE seq IN
                       (SELECT seq FROM record WHERE expires_at <= ?1
                        ORDER BY expires_at LIMIT ?2)";
            Ok(tables.statement(sql)?.execute((now.unix_millis(), sql_count(limit)))?)
        })
    }

    fn check(&self) -> StoreFuture<()> {
        let reads = self.lookups.queue.ask(Tables::check);
        let writes = self.writer.queue.ask(Tables::check);
        Box::pin(async move {
            reads.await?;
            writes.await
        })
    }
}
