//! [`Closing`]: closes a connection on another machine, by its Id.
//!
//! A machine asks all the others, and each answers whether it had the Id. The asking thread waits for the answers,
//! which `fleet-in` brings; `fleet-out` sends both.
//!
//! Never here: a lock held while a connection is closed.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::mem;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde_json::{Value, json};

/// Most words that wait for `fleet-out`. Anybody who may publish in this Redis can ask. Further orders get no answer.
const MOST_UNSENT: usize = 1024;

/// See the [module](self).
#[derive(Default)]
pub(super) struct Closing {
    asking: Mutex<Asking>,
    /// Signalled when an answer has come.
    answered: Condvar,
}

#[derive(Default)]
struct Asking {
    /// Questions of this machine so far.
    asked: u64,
    open: HashMap<u64, Answers>,
    /// The messages that `fleet-out` has to send.
    unsent: VecDeque<Value>,
}

/// The answers to one order.
#[derive(Default)]
struct Answers {
    machines: BTreeSet<String>,
    had_it: bool,
}

/// The order to all machines.
#[derive(Debug, PartialEq)]
pub(super) struct CloseOrder {
    pub(super) id: String,
    pub(super) code: u16,
    pub(super) reason: String,
    /// The number of the question at its machine.
    ask: u64,
}

/// The answer of one machine.
#[derive(Debug, PartialEq)]
pub(super) struct CloseAnswer {
    /// The machine that has asked.
    of: String,
    ask: u64,
    had_it: bool,
}

impl CloseOrder {
    pub(super) fn of_json(json: &Value) -> Option<CloseOrder> {
        Some(CloseOrder {
            id: json["close"].as_str()?.to_owned(),
            code: json["code"].as_u64()?.try_into().ok()?,
            reason: json["reason"].as_str()?.to_owned(),
            ask: json["ask"].as_u64()?,
        })
    }
}

impl CloseAnswer {
    pub(super) fn of_json(json: &Value) -> Option<CloseAnswer> {
        let of = json["of"].as_str()?.to_owned();
        Some(CloseAnswer { of, ask: json["ask"].as_u64()?, had_it: json["closed"].as_bool()? })
    }
}

impl Closing {
    fn lock(&self) -> MutexGuard<'_, Asking> {
        self.asking.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks all others to close the connection of an Id. Returns the number of the question.
    pub(super) fn ask(&self, id: &str, code: u16, reason: &str) -> u64 {
        let mut asking = self.lock();
        asking.asked += 1;
        let ask = asking.asked;
        asking.open.insert(ask, Answers::default());
        asking.say(json!({ "v": 1, "close": id, "code": code, "reason": reason, "ask": ask }));
        ask
    }

    /// Blocks until one of the others has answered that it had the Id, or as many as there are that they had not.
    /// Returns which of the two; `None` at the deadline.
    pub(super) fn wait(&self, ask: u64, others: usize, deadline: Instant) -> Option<bool> {
        let mut asking = self.lock();
        loop {
            let answers = asking.open.get(&ask)?;
            let (had_it, left) = (answers.had_it, deadline.saturating_duration_since(Instant::now()));
            let is_over = had_it || answers.machines.len() >= others;
            if is_over || left.is_zero() {
                asking.open.remove(&ask);
                return is_over.then_some(had_it);
            }
            asking = self.answered.wait_timeout(asking, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Answers a question of another machine.
    pub(super) fn answer(&self, machine: &str, order: &CloseOrder, had_it: bool) {
        self.lock().say(json!({ "v": 1, "closed": had_it, "of": machine, "ask": order.ask }));
    }

    /// Takes an answer of `machine`, if it is to this machine's question.
    pub(super) fn heard(&self, us: &str, machine: &str, answer: &CloseAnswer) {
        let mut asking = self.lock();
        let Some(answers) = asking.open.get_mut(&answer.ask).filter(|_| answer.of == us) else { return };
        answers.machines.insert(machine.to_owned());
        answers.had_it |= answer.had_it;
        drop(asking);
        self.answered.notify_all();
    }

    /// Takes what there is to send.
    pub(super) fn take_unsent(&self) -> VecDeque<Value> {
        mem::take(&mut self.lock().unsent)
    }
}

impl Asking {
    fn say(&mut self, told: Value) {
        if self.unsent.len() < MOST_UNSENT {
            self.unsent.push_back(told);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_question_is_over_when_one_had_the_id_or_all_had_not() {
        let (here, there) = (Closing::default(), Closing::default());
        for (answers, others, expected) in [
            (&[("a", false), ("b", true)][..], 5, Some(true)),
            (&[("a", false), ("b", false)], 2, Some(false)),
            (&[("a", false), ("a", false)], 2, None),
            (&[], 0, Some(false)),
            (&[], 1, None),
        ] {
            let ask = here.ask("me \"é\"", 4000, "why");
            let told = here.take_unsent().pop_front().unwrap();
            let order = CloseOrder::of_json(&told).unwrap();
            assert_eq!((&*order.id, order.code, &*order.reason), ("me \"é\"", 4000, "why"));
            for (machine, had_it) in answers {
                there.answer("here", &order, *had_it);
                let answer = CloseAnswer::of_json(&there.take_unsent().pop_front().unwrap()).unwrap();
                here.heard("away", "c", &answer);
                here.heard("here", machine, &answer);
            }
            let deadline = Instant::now() + Duration::from_millis(1);
            assert_eq!(here.wait(ask, others, deadline), expected, "{answers:?}");
            assert!(here.lock().open.is_empty());
        }
    }

    #[test]
    fn what_is_no_order_and_no_answer_is_none() {
        for text in [
            "{}",
            r#"{"close":1,"code":1000,"reason":"","ask":1}"#,
            r#"{"close":"a","code":70000,"reason":"","ask":1}"#,
            r#"{"close":"a","code":-1,"reason":"","ask":1}"#,
            r#"{"close":"a","code":1000,"ask":1}"#,
            r#"{"closed":1,"of":"a","ask":1}"#,
            r#"{"closed":true,"ask":1}"#,
        ] {
            let told: Value = text.parse().unwrap();
            assert_eq!((CloseOrder::of_json(&told), CloseAnswer::of_json(&told)), (None, None), "{text}");
        }
    }

    #[test]
    fn what_waits_to_be_sent_is_bounded() {
        let closing = Closing::default();
        (0..2 * MOST_UNSENT).for_each(|_| _ = closing.ask("a", 1000, ""));
        assert_eq!(closing.take_unsent().len(), MOST_UNSENT);
    }
}
