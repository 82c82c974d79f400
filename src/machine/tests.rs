use super::*;

/// Returns the text of the files in the table, and of no others.
fn files<'a>(table: &'a [(&str, &str)]) -> impl Fn(&Path) -> Option<String> + 'a {
    |path| table.iter().find(|(name, _)| path == Path::new(name)).map(|(_, text)| (*text).to_owned())
}

#[test]
fn lowered_limits_of_the_system_are_found_where_linux_has_them() {
    let meminfo =
        "MemTotal:  24684084 kB\nMemAvailable:  1024 kB\nCommitLimit: 300 kB\nCommitted_AS:  100 kB\n";
    let read = Limits::read(
        None,
        None,
        files(&[
            ("/proc/sys/vm/max_map_count", "120\n"),
            ("/proc/sys/kernel/threads-max", "5512\n"),
            ("/proc/sys/kernel/pid_max", "16\n"),
            ("/proc/sys/vm/overcommit_memory", "2\n"),
            ("/proc/meminfo", meminfo),
            ("/proc/self/cgroup", "0::/a\n"),
            ("/sys/fs/cgroup/a/pids.max", "8\n"),
            ("/sys/fs/cgroup/a/memory.max", "4096\n"),
        ]),
    );
    let Limits { mappings, system_threads, thread_numbers, group_threads, .. } = read;
    assert_eq!((mappings, system_threads, thread_numbers), (Some(120), Some(5512), Some(16)));
    let Limits { commit, memory, group_memory, unread, .. } = read;
    assert_eq!((commit, memory, unread), (Some(200 << 10), Some(1 << 20), None));
    assert_eq!((group_threads, group_memory), (Some(8), Some(4096)));
}

#[test]
fn what_the_process_has_is_taken_from_its_limits() {
    let status = ("/proc/self/status", "VmPeak:\t  500 kB\nVmSize:\t  300 kB\nVmData:\t  100 kB\n");
    for (table, space, data) in [
        (&[status][..], Some(700 << 10), Some(900 << 10)),
        // Where that cannot be read, the assumed use exceeds the free memory.
        (&[], Some(0), Some(0)),
    ] {
        let read = Limits::read(Some(1000 << 10), Some(1000 << 10), files(table));
        assert_eq!((read.address_space, read.data), (space, data), "{table:?}");
    }
    let read = Limits::read(None, None, files(&[status]));
    assert_eq!((read.address_space, read.data), (None, None));
}

#[test]
fn a_kernel_that_promises_more_than_it_has_keeps_no_account() {
    let meminfo = ("/proc/meminfo", "MemAvailable: 1 kB\nCommitLimit: 300 kB\nCommitted_AS: 400 kB\n");
    for (overcommit, commit) in [("0\n", None), ("1\n", None), ("2\n", Some(0))] {
        let table = [meminfo, ("/proc/sys/vm/overcommit_memory", overcommit)];
        assert_eq!(Limits::read(None, None, files(&table)).commit, commit, "{overcommit}");
    }
}

#[test]
fn a_limit_that_cannot_be_read_is_named_by_its_file_and_only_memory_that_is_hidden_is_unknown() {
    let mappings = ("/proc/sys/vm/max_map_count", "65530\n");
    let memory = ("/proc/meminfo", "MemAvailable: 8000000 kB\n");
    let nothing_is_mounted = ("/proc/self/mountinfo", "");
    let group = |text| [mappings, memory, ("/proc/self/cgroup", text), nothing_is_mounted];
    for (table, unread, is_memory_hidden) in [
        (&[mappings, memory][..], None, false),
        (&[mappings], Some("/proc/meminfo"), true),
        (&[memory], Some("/proc/sys/vm/max_map_count"), false),
        (&group("0::/a\n"), Some("/sys/fs/cgroup"), true),
        (&group("4:memory:/a\n"), Some("/sys/fs/cgroup"), true),
        (&group("4:pids:/a\n"), Some("/sys/fs/cgroup"), false),
        (&[], Some("/proc/sys/vm/max_map_count"), true),
    ] {
        let read = Limits::read(None, None, files(table));
        assert_eq!((read.unread, read.is_memory_hidden), (unread, is_memory_hidden), "{table:?}");
    }
}

#[test]
fn glibc_makes_eight_arenas_a_core_unless_the_environment_has_a_number() {
    let (variable, tunable) = ("", "glibc.malloc.arena_max=");
    for (cores, chosen, beside) in [
        (1, &[][..], 7),
        (2, &[], 15),
        (64, &[], 511),
        (2, &[("1", variable)], 0),
        (2, &[("3", variable)], 2),
        (2, &[("0", variable)], 15),
        (2, &[("one", variable)], 15),
        (2, &[("glibc.malloc.arena_max=2", tunable)], 1),
        (2, &[("glibc.malloc.tcache_count=0:glibc.malloc.arena_max=2", tunable)], 1),
        (2, &[("glibc.malloc.tcache_count=0", tunable)], 15),
        // The larger one is safe.
        (2, &[("1", variable), ("glibc.malloc.arena_max=4", tunable)], 3),
    ] {
        let expected = if cfg!(target_env = "gnu") { beside } else { 0 };
        assert_eq!(arenas(cores, chosen.iter().copied()), expected, "{cores} {chosen:?}");
    }
}

#[test]
fn what_the_process_before_this_one_takes_is_counted_as_free() {
    let limits = Limits {
        memory: Some(100 << 20),
        group_memory: Some(50 << 20),
        commit: Some(10 << 20),
        ..Limits::default()
    };
    let gone = limits.when_gone("VmData:\t  2048 kB\nVmRSS:\t  1024 kB\nThreads:\t10\n");
    let more = (1 << 20) + 10 * KERNEL_MEMORY;
    assert_eq!(
        (gone.memory, gone.group_memory, gone.commit, gone.address_space),
        (Some((100 << 20) + more), Some((50 << 20) + more), Some(12 << 20), None)
    );
    let unread = limits.when_gone("");
    assert_eq!((unread.memory, unread.commit), (limits.memory, limits.commit), "it has ended already");
}
