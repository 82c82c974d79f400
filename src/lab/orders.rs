//! The orders of a watcher, see the [module](crate::lab). Pure.

/// Most clients that one order brings.
const MOST_AT_ONCE: usize = 1000;

/// An order to `lab-crowd`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// The lab's client of this name, at this server, sends this text.
    Say(String, String),
    /// This number of clients comes to this place.
    Come(String, usize),
    /// All the lab's clients at this place leave.
    Leave(String),
    /// All the lab's clients at this place leave, and as many come at once.
    Storm(String),
    /// A client comes that never reads.
    Stall,
    /// A client comes that sends messages as fast as it can.
    Flood,
    /// The first clients come, if the lab has none yet.
    Start,
    /// All the lab's clients at this server leave, and the first ones come.
    StartAgain,
    /// The lab ends.
    Stop,
}

impl Order {
    /// Reads an order from its words.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub fn parse(text: &str) -> Result<Order, String> {
        let words: Vec<_> = text.split_whitespace().collect();
        match words[..] {
            ["say", name, "panic"] => Ok(Order::Say(name.to_owned(), "panic".to_owned())),
            ["say", name, what @ ("sleep" | "spin"), millis] => match millis.parse::<u32>() {
                Ok(millis) => Ok(Order::Say(name.to_owned(), format!("{what} {millis}"))),
                Err(_) => Err(format!("{millis:?} is not a number of milliseconds")),
            },
            ["come", place, clients] => match clients.parse() {
                Ok(clients @ 1..=MOST_AT_ONCE) => Ok(Order::Come(place.to_owned(), clients)),
                _ => Err(format!("{clients} is not a number of clients from 1 to {MOST_AT_ONCE}")),
            },
            ["leave", place] => Ok(Order::Leave(place.to_owned())),
            ["storm", place] => Ok(Order::Storm(place.to_owned())),
            ["stall"] => Ok(Order::Stall),
            ["flood"] => Ok(Order::Flood),
            ["start"] => Ok(Order::Start),
            ["start", "again"] => Ok(Order::StartAgain),
            _ => Err(format!("unknown order {:?}", text.chars().take(60).collect::<String>())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_as_a_table() {
        let say = |name: &str, text: &str| Ok(Order::Say(name.to_owned(), text.to_owned()));
        for (text, order) in [
            ("say ann sleep 3000", say("ann", "sleep 3000")),
            ("say ann spin 1", say("ann", "spin 1")),
            ("say ann panic", say("ann", "panic")),
            ("come here 100", Ok(Order::Come("here".to_owned(), 100))),
            ("leave tokio-1", Ok(Order::Leave("tokio-1".to_owned()))),
            ("storm here", Ok(Order::Storm("here".to_owned()))),
            ("stall", Ok(Order::Stall)),
            ("flood", Ok(Order::Flood)),
            ("start", Ok(Order::Start)),
            ("start again", Ok(Order::StartAgain)),
        ] {
            assert_eq!(Order::parse(text), order);
        }
        for wrong in [
            "",
            "say",
            "say ann",
            "say ann hello",
            "say ann sleep",
            "say ann sleep -1",
            "come here 0",
            "come here 1001",
            "come here x",
            "storm",
            "flood here",
            "stop",
            "start over",
        ] {
            assert!(Order::parse(wrong).is_err(), "{wrong}");
        }
    }
}
