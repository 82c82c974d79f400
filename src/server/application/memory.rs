//! The application's own share of the memory from which the server computes the capacity.

use super::Application;

impl Application {
    /// Sets the bytes that the application keeps for each client, in addition to the server's own: the state of its
    /// handler, its topics. It lowers the capacity of a machine, or of a control group. 0 unless set.
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

    /// Sets the bytes that the program may use in addition to the server: caches, queues, the log. The server subtracts
    /// them before it divides the rest between clients and buffers. 0 unless set.
    pub fn other_memory(mut self, bytes: u64) -> Application {
        self.settings.other_memory = bytes;
        self
    }

    /// Plans the capacity as if this process were gone: the predecessor of this program, which ends when this one
    /// serves.
    pub fn in_place_of(mut self, process: u32) -> Application {
        self.settings.predecessor = Some(process);
        self
    }
}
