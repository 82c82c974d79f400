//! [`Claims`]: the Ids of this machine's connections, and which connection loses an Id that two have claimed.
//!
//! A claim is a message to all machines, and also comes back to its sender, so every machine sees the claims of an Id
//! in Redis' order. Of two consecutive claims, only the machine of the earlier one decides, and the later one stays; so
//! they never both lose. That machine closes its connection, unless it is clearly younger, as it may be after an
//! outage: then it claims again, and the other claim is now the earlier one.
//!
//! Never here: closing a connection while holding the lock of the Ids.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::connection::connection::Connection;
use crate::connection::membership::{Group, GroupTopic};
use crate::error::{Error, Result};
use crate::ws::close::CloseCode;

/// How much younger a connection must be to override a later claim. Must be more than a claim's time through Redis, by
/// which the age in the claim is too low.
const CLEARLY: Duration = Duration::from_secs(3);

/// See the [module](self).
#[derive(Default)]
pub(super) struct Claims(Mutex<Ids>);

#[derive(Default)]
struct Ids {
    holders: HashMap<Arc<str>, Holder>,
    /// Ids to claim, for the first time or again. Each of them has a holder.
    unsent: BTreeSet<Arc<str>>,
    /// Claims sent so far.
    sent: u64,
}

struct Holder {
    connection: Connection,
    since: Instant,
    /// The last claim that was sent for this Id.
    session: Option<u64>,
    /// Whether that claim has come back.
    is_back: bool,
    /// The connection's own note of the Id.
    noted: Arc<GroupTopic>,
}

/// A claim as all machines see it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Claim {
    id: Arc<str>,
    /// Of its machine; new for each claim.
    session: u64,
    /// How long its connection has already had the Id.
    age: Duration,
}

impl Claim {
    pub(super) fn to_json(&self) -> Value {
        json!({ "v": 1, "claim": *self.id, "session": self.session, "age": self.age.as_millis() as u64 })
    }

    pub(super) fn of_json(json: &Value) -> Option<Claim> {
        let (id, age) = (json["claim"].as_str()?.into(), Duration::from_millis(json["age"].as_u64()?));
        Some(Claim { id, session: json["session"].as_u64()?, age })
    }
}

impl Claims {
    fn lock(&self) -> MutexGuard<'_, Ids> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Claims an Id for a connection, and closes the connection that has it on this machine.
    pub(super) fn claim(self: &Arc<Self>, id: &str, connection: &Connection) -> Result<()> {
        let id: Arc<str> = id.into();
        let mut books = connection.link().memberships.open().ok_or(Error::Closed)?;
        let mut ids = self.lock();
        // Under the lock, or it might take the Id from the connection that replaced it.
        if connection.is_closed() {
            return Err(Error::Closed);
        }
        let older = ids.holders.remove(&id);
        let noted = match &older {
            Some(older) if older.connection == *connection => older.noted.clone(),
            _ => {
                let claims: Weak<Claims> = Arc::downgrade(self);
                Arc::new(GroupTopic { group: claims, topic: id.clone() })
            }
        };
        books.add(noted.clone());
        let (connection, since) = (connection.clone(), Instant::now());
        let older = older.filter(|older| older.connection != connection);
        let holder = Holder { connection, since, session: None, is_back: false, noted };
        ids.holders.insert(id.clone(), holder);
        ids.unsent.insert(id);
        drop((ids, books));
        older.into_iter().for_each(replace);
        Ok(())
    }

    /// Releases an Id, if this connection has it.
    pub(super) fn release(&self, id: &str, connection: &Connection) -> bool {
        let books = connection.link().memberships.open();
        let released = self.lock().release(id, connection.id());
        if let (Some(mut books), Some(noted)) = (books, &released) {
            books.remove(noted);
        }
        released.is_some()
    }

    /// Begins to close this machine's connection of an Id. Returns false if no connection has it.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a code that may not be sent.
    pub(super) fn close(&self, id: &str, code: u16, reason: &str) -> Result<bool> {
        let holder = self.lock().holders.get(id).map(|holder| holder.connection.clone());
        let Some(connection) = holder else { return Ok(false) };
        match connection.close(Some(code), Some(reason)) {
            // It is on its way out already.
            Ok(()) | Err(Error::Closed) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Claims all Ids again.
    pub(super) fn claim_all_again(&self) {
        let mut ids = self.lock();
        ids.unsent = ids.holders.keys().cloned().collect();
        ids.holders.values_mut().for_each(|holder| holder.is_back = false);
    }

    /// Takes claims to send, at most `most`.
    pub(super) fn take_unsent(&self, most: usize, now: Instant) -> Vec<Claim> {
        let mut ids = self.lock();
        let mut claims = Vec::new();
        while claims.len() < most
            && let Some(id) = ids.unsent.pop_first()
        {
            ids.sent += 1;
            let session = ids.sent;
            let holder = ids.holders.get_mut(&id).expect("what has to be claimed has a holder");
            (holder.session, holder.is_back) = (Some(session), false);
            let age = now.saturating_duration_since(holder.since);
            claims.push(Claim { id, session, age });
        }
        claims
    }

    /// Handles a claim from Redis. Returns true if an Id has to be claimed again.
    pub(super) fn heard(&self, is_own: bool, claim: &Claim, now: Instant) -> bool {
        let mut ids = self.lock();
        let Some(holder) = ids.holders.get_mut(&claim.id) else { return false };
        if is_own {
            holder.is_back |= holder.session == Some(claim.session);
            return false;
        }
        if !holder.is_back {
            // Ours comes later.
            return false;
        }
        if now.saturating_duration_since(holder.since) + CLEARLY < claim.age {
            holder.is_back = false;
            ids.unsent.insert(claim.id.clone());
            return true;
        }
        let loser = ids.holders.remove(&claim.id);
        ids.unsent.remove(&claim.id);
        drop(ids);
        loser.into_iter().for_each(replace);
        false
    }
}

impl Ids {
    /// Returns the connection's note of the Id, if it has the Id.
    fn release(&mut self, id: &str, connection: u64) -> Option<Arc<GroupTopic>> {
        self.holders.get(id).filter(|holder| holder.connection.id() == connection)?;
        self.unsent.remove(id);
        self.holders.remove(id).map(|holder| holder.noted)
    }
}

impl Group for Claims {
    fn leave(&self, connection: u64, id: &str) {
        self.lock().release(id, connection);
    }
}

impl Drop for Claims {
    fn drop(&mut self) {
        for holder in self.0.get_mut().unwrap_or_else(PoisonError::into_inner).holders.values() {
            holder.connection.link().memberships.remove(&holder.noted);
        }
    }
}

fn replace(loser: Holder) {
    // A connection that is already closing need not know.
    let CloseCode { code, reason, .. } = CloseCode::REPLACED;
    let _ = loser.connection.close(Some(code), Some(reason));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_is_json_and_anything_else_is_ignored() {
        let claim = Claim { id: "a\"é".into(), session: 3, age: Duration::from_millis(1500) };
        let json = claim.to_json();
        assert_eq!(json.to_string(), r#"{"age":1500,"claim":"a\"é","session":3,"v":1}"#);
        assert_eq!(Claim::of_json(&json), Some(claim));
        for text in [
            "{}",
            "[1]",
            r#"{"claim":1,"session":1,"age":1}"#,
            r#"{"claim":"a","age":1}"#,
            r#"{"claim":"a","session":1,"age":-1}"#,
        ] {
            assert_eq!(Claim::of_json(&text.parse().unwrap()), None, "{text}");
        }
    }
}
