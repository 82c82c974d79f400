//! What the application itself takes of the memory that the capacity is computed from.

use super::Application;

impl Application {
    /// Sets the bytes that the application keeps for each client, beside what the server counts for it: the state of its
    /// handler, its topics. The capacity of a machine, or of a control group, becomes smaller for it. 0 unless set.
    ///
    /// ```
    /// use threadcast::{Application, Capacity};
    ///
    /// let application = Application::new().client_memory(256 << 10);
    /// let capacity = Capacity::of_this_machine(&application);
    /// assert!(capacity.clients <= Capacity::of_this_machine(&Application::new()).clients);
    /// ```
    pub fn client_memory(mut self, bytes: u64) -> Application {
        self.settings.client_memory = bytes;
        self
    }

    /// Sets the bytes that the program may come to take beside the server: caches, queues, the log. They are taken off
    /// before the rest is divided between clients and what is buffered for them. 0 unless set.
    pub fn other_memory(mut self, bytes: u64) -> Application {
        self.settings.other_memory = bytes;
        self
    }

    /// Plans the capacity as if this process were gone: it is the program before this one, and ends when this one serves.
    pub fn in_place_of(mut self, process: u32) -> Application {
        self.settings.predecessor = Some(process);
        self
    }
}
