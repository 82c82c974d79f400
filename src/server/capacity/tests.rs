use super::*;
use crate::net::seal::Delivery;

fn cost(application: &Application) -> ClientCost {
    ClientCost::new(&application.connections, &application.settings, 4)
}

fn client(delivery: Delivery, stack_size: usize) -> ClientCost {
    cost(&Application::new().delivery(delivery).stack_size(stack_size))
}

#[test]
fn the_smallest_limit_binds_as_a_table() {
    let linux = Limits {
        descriptors: Some(1 << 20),
        mappings: Some(65_530),
        system_threads: Some(192_731),
        thread_numbers: Some(32_768),
        memory: Some(8 << 30),
        ..Limits::default()
    };
    for (limits, clients, limit) in [
        (linux, 15_854, Limit::Mappings),
        (Limits { descriptors: Some(1024), ..linux }, 880, Limit::Descriptors),
        (Limits { descriptors: Some(64), ..linux }, 32, Limit::Descriptors),
        (Limits { descriptors: Some(0), ..linux }, 1, Limit::Descriptors),
        (Limits { group_threads: Some(4096), ..linux }, 3568, Limit::GroupThreads),
        (Limits { user_threads: Some(8000), ..linux }, 7472, Limit::UserThreads),
        // With few clients there are 8 pumps, or one more than clients.
        (Limits { group_threads: Some(100), ..linux }, 51, Limit::GroupThreads),
        (Limits { group_threads: Some(60), ..linux }, 21, Limit::GroupThreads),
        (Limits { group_threads: Some(8), ..linux }, 1, Limit::GroupThreads),
        (Limits { mappings: Some(120), ..linux }, 1, Limit::Mappings),
        (Limits { mappings: Some(1 << 20), ..linux }, 32_240, Limit::ThreadNumbers),
        (Limits { system_threads: Some(5512), ..linux }, 4984, Limit::SystemThreads),
        (Limits { unread: Some("/sys/fs/cgroup"), ..linux }, 1000, Limit::Unknown { file: "/sys/fs/cgroup" }),
        (
            Limits { unread: Some("/sys/fs/cgroup"), descriptors: Some(1024), ..linux },
            880,
            Limit::Descriptors,
        ),
        (Limits::default(), 1000, Limit::Unknown { file: "/proc" }),
    ] {
        let client = client(Delivery::Inline, 64 << 10);
        let found = limits.capacity(&client);
        assert_eq!((found.clients, found.limit), (clients, limit), "{limits:?}");
    }
    for (limits, clients, limit) in [
        (linux, 8047, Limit::Mappings),
        (Limits { descriptors: Some(1024), ..linux }, 880, Limit::Descriptors),
        (Limits { group_threads: Some(4096), ..linux }, 1904, Limit::GroupThreads),
    ] {
        let client = client(Delivery::Handoff, 64 << 10);
        let found = limits.capacity(&client);
        assert_eq!((found.clients, found.limit), (clients, limit), "{limits:?}");
    }
}

#[test]
fn of_the_bytes_that_are_left_half_is_for_clients_and_a_quarter_for_buffers_as_a_table() {
    use Delivery::{Handoff, Inline};
    const MIB: u64 = 1 << 20;
    const KIB: usize = 1 << 10;
    let none = Limits::default();
    let memory = |each: u64| Limit::Memory { each: each << 10 };
    let group = |each: u64| Limit::GroupMemory { each: each << 10 };
    let space = |each: u64| Limit::AddressSpace { each: each << 10 };
    let [one_core, two_cores] = [1, 2].map(|cores| Limits { cores, ..none });
    for (limits, delivery, stack, clients, limit, buffers) in [
        (Limits { memory: Some(960 * MIB), ..none }, Inline, 64 * KIB, 10_224, memory(48), 240 * MIB),
        (Limits { memory: Some(960 * MIB), ..none }, Inline, 8192 * KIB, 10_224, memory(48), 240 * MIB),
        (Limits { memory: Some(960 * MIB), ..none }, Handoff, 64 * KIB, 5835, memory(84), 240 * MIB),
        (Limits { group_memory: Some(48 * MIB), ..none }, Inline, 64 * KIB, 496, group(48), 12 * MIB),
        (Limits { group_memory: Some(0), ..none }, Inline, 64 * KIB, 1, group(48), MIB),
        (
            Limits { data: Some(208 * MIB), ..none },
            Inline,
            64 * KIB,
            1008,
            Limit::Data { each: 104 << 10 },
            52 * MIB,
        ),
        (
            Limits { commit: Some(208 * MIB), ..none },
            Handoff,
            64 * KIB,
            516,
            Limit::Commit { each: 200 << 10 },
            52 * MIB,
        ),
        // Nine and ten threads of the server have 2 MiB and 32 KiB each.
        (
            Limits { address_space: Some(400 * MIB), ..one_core },
            Inline,
            64 * KIB,
            1863,
            space(104),
            (400 * MIB - 9 * 2080 * 1024) / 4,
        ),
        (
            Limits { address_space: Some(400 * MIB), ..two_cores },
            Inline,
            512 * KIB,
            336,
            space(552),
            (400 * MIB - 10 * 2080 * 1024) / 4,
        ),
        (
            Limits { address_space: Some(400 * MIB), ..two_cores },
            Handoff,
            64 * KIB,
            956,
            space(200),
            (400 * MIB - 10 * 2080 * 1024) / 4,
        ),
        // One extra arena is reserved for the moment in which glibc makes the last one.
        (
            Limits { address_space: Some(2048 * MIB), arenas: 15, ..two_cores },
            Inline,
            64 * KIB,
            4925,
            space(104),
            (1024 * MIB - 10 * 2080 * 1024) / 4,
        ),
        (
            Limits { address_space: Some(400 * MIB), arenas: 15, ..two_cores },
            Inline,
            64 * KIB,
            1,
            space(104),
            MIB,
        ),
        (none, Inline, 64 * KIB, 1000, Limit::Unknown { file: "/proc" }, 64 * MIB),
        // Only unreadable limits are guessed.
        (
            Limits { unread: Some("/a"), is_memory_hidden: true, memory: Some(8192 * MIB), ..none },
            Inline,
            64 * KIB,
            1000,
            Limit::Unknown { file: "/a" },
            64 * MIB,
        ),
        (
            Limits { unread: Some("/a"), memory: Some(8192 * MIB), ..none },
            Inline,
            64 * KIB,
            1000,
            Limit::Unknown { file: "/a" },
            2048 * MIB,
        ),
    ] {
        let found = limits.capacity(&client(delivery, stack));
        assert_eq!((found.clients, found.limit, limits.buffers()), (clients, limit, buffers), "{limits:?}");
    }
}

#[test]
fn what_the_application_takes_is_counted_as_a_table() {
    const MIB: u64 = 1 << 20;
    let limits = Limits { group_memory: Some(96 * MIB), memory: Some(960 * MIB), ..Limits::default() };
    for (client_memory, other_memory, clients, each, buffers) in [
        (0, 0, 1008, 48, 24 * MIB),
        (48 << 10, 0, 496, 96, 24 * MIB),
        (0, 48 * MIB, 496, 48, 12 * MIB),
        (0, 97 * MIB, 1, 48, MIB),
        (u64::MAX, u64::MAX, 1, u64::MAX >> 10, MIB),
    ] {
        let application = Application::new().client_memory(client_memory).other_memory(other_memory);
        let limits = limits.without(application.settings.other_memory);
        let Capacity { clients: found, limit, .. } = limits.capacity(&cost(&application));
        let Limit::GroupMemory { each: found_each } = limit else { panic!("{limit:?}") };
        assert_eq!((found, found_each >> 10, limits.buffers()), (clients, each, buffers));
    }
}

#[test]
fn the_next_limit_is_the_one_that_binds_once_the_first_is_raised() {
    let limits = Limits { descriptors: Some(1024), group_threads: Some(4096), ..Limits::default() };
    let capacity = limits.capacity(&client(Delivery::Inline, 64 << 10));
    assert_eq!((capacity.clients, capacity.limit), (880, Limit::Descriptors));
    let raised = Limits { descriptors: None, ..limits }.capacity(&client(Delivery::Inline, 64 << 10));
    assert_eq!(capacity.next, Some((raised.clients, Limit::GroupThreads)));
    assert_eq!((raised.limit, raised.next), (Limit::GroupThreads, None));
}

#[test]
fn a_stack_larger_than_all_addresses_leaves_room_for_one_client() {
    let limits = Limits { address_space: Some(1 << 40), ..Limits::default() };
    assert_eq!(limits.capacity(&client(Delivery::Handoff, usize::MAX)).clients, 1);
}

#[test]
fn the_line_names_the_limit_what_a_client_is_counted_as_and_how_to_raise_it() {
    for (limit, text) in [
        (Limit::Descriptors, "RLIMIT_NOFILE; raise it with ulimit -n or LimitNOFILE="),
        (
            Limit::AddressSpace { each: 104 << 10 },
            "RLIMIT_AS, half of it at 104 KiB a client; raise it with ulimit -v or LimitAS=",
        ),
        (
            Limit::GroupMemory { each: 48 << 10 },
            "memory of the control group, half of it at 48 KiB a client; raise it with MemoryMax= or --memory",
        ),
        (
            Limit::Unknown { file: "/sys/fs/cgroup" },
            "the limits in /sys/fs/cgroup could not be read; let the program read it, or choose a number with \
             --max-clients",
        ),
        (Limit::Chosen, "as chosen"),
    ] {
        assert_eq!(limit.to_string(), text);
    }
}
