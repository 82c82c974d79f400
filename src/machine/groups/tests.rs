use super::*;

/// Returns the result for these files, and no others.
fn allowed(table: &[(&str, &str)]) -> Allowed {
    let text = |path: &Path| table.iter().find(|(name, _)| path == Path::new(name));
    Allowed::read(&|path| text(path).map(|(_, text)| (*text).to_owned()))
}

#[test]
fn the_smallest_limit_of_nested_groups_binds_as_a_table() {
    let version_1 = "3:pids:/a/b\n1:name=systemd:/\n";
    let version_2 = "0::/a/b\n";
    let hybrid = "3:pids:/\n0::/a/b\n";
    let limits = |root, outer, inner| {
        [
            ("/sys/fs/cgroup/pids.max", root),
            ("/sys/fs/cgroup/a/pids.max", outer),
            ("/sys/fs/cgroup/a/b/pids.max", inner),
        ]
    };
    for (groups, [root, outer, inner], expected) in [
        (version_2, limits("max\n", "max\n", "70\n"), Some(70)),
        (version_2, limits("max\n", "60\n", "70\n"), Some(60)),
        (version_2, limits("50\n", "60\n", "max\n"), Some(50)),
        (version_2, limits("max\n", "max\n", "max\n"), None),
        (hybrid, limits("max\n", "60\n", "70\n"), Some(60)),
        ("0::/\n", limits("50\n", "40\n", "30\n"), Some(50)),
        ("0::/a\n", limits("50\n", "40\n", "30\n"), Some(40)),
        (version_1, limits("50\n", "40\n", "30\n"), None),
        ("", limits("50\n", "40\n", "30\n"), None),
    ] {
        let table = [("/proc/self/cgroup", groups), root, outer, inner];
        assert_eq!(allowed(&table).threads, expected, "{table:?}");
    }
    assert_eq!(allowed(&[]), Allowed::default());
    assert_eq!(allowed(&[("/proc/self/cgroup", version_2)]).threads, None);
}

/// Real systems: the content of `/proc/self/mountinfo` and `/proc/self/cgroup`, and the resulting place of the limits.
#[test]
fn a_group_is_found_where_its_controller_is_mounted_as_a_table() {
    const TMPFS: &str = "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n";
    const V2: &str = "31 23 0:28 / /sys/fs/cgroup rw shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";
    const V1: &str = "35 31 0:32 / /sys/fs/cgroup/memory rw shared:16 master:5 - cgroup cgroup rw,memory\n\
        39 31 0:36 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n";
    const TOGETHER: &str = "35 31 0:32 / /cg/both rw - cgroup cgroup rw,memory,pids\n";
    const UNIFIED: &str = "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
    // A container has its own group mounted, and may see the host's name of it.
    const V1_CONTAINER: &str = "35 31 0:32 /docker/c /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n\
        39 31 0:36 /docker/c /sys/fs/cgroup/pids ro - cgroup cgroup rw,pids\n";
    for (mounts, groups, [memory, pids]) in [
        (vec![V2], "0::/a/b\n", ["/sys/fs/cgroup/a/memory.max", "/sys/fs/cgroup/a/b/pids.max"]),
        (vec![V2], "0::/a/b\n", ["/sys/fs/cgroup/a/b/memory.high", "/sys/fs/cgroup/pids.max"]),
        (vec![V2], "0::/\n", ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/pids.max"]),
        // A name outside of this process's view.
        (vec![V2], "0::/../b\n", ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/pids.max"]),
        (
            vec![TMPFS, V1],
            "8:pids:/a\n4:memory:/b/c\n",
            ["/sys/fs/cgroup/memory/b/memory.limit_in_bytes", "/sys/fs/cgroup/pids/a/pids.max"],
        ),
        (
            vec![TMPFS, TOGETHER],
            "8:cpu,cpuacct:/x\n4:memory,pids:/a\n",
            ["/cg/both/a/memory.limit_in_bytes", "/cg/both/a/pids.max"],
        ),
        (
            vec![TMPFS, V1, UNIFIED],
            "8:pids:/\n4:memory:/a\n0::/u\n",
            ["/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "/sys/fs/cgroup/unified/u/pids.max"],
        ),
        (
            vec![V1_CONTAINER],
            "8:pids:/docker/c\n4:memory:/docker/c/d\n0::/system.slice/x.service\n",
            ["/sys/fs/cgroup/memory/d/memory.limit_in_bytes", "/sys/fs/cgroup/pids/pids.max"],
        ),
        (
            vec![V1_CONTAINER],
            "8:pids:/\n4:memory:/\n",
            ["/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/pids/pids.max"],
        ),
    ] {
        let mounts = mounts.concat();
        let table = [
            ("/proc/self/mountinfo", mounts.as_str()),
            ("/proc/self/cgroup", groups),
            (memory, "5000\n"),
            (pids, "70\n"),
            ("/other/pids.max", "1\n"),
        ];
        let expected = Allowed { threads: Some(70), memory: Some(5000), ..Allowed::default() };
        assert_eq!(allowed(&table), expected, "{table:?}");
    }
}

#[test]
fn without_a_list_of_mounts_a_group_is_looked_for_where_systems_have_it() {
    for (groups, limit) in [
        ("0::/a/b\n", "/sys/fs/cgroup/a/memory.max"),
        ("4:memory:/a/b\n", "/sys/fs/cgroup/memory/a/memory.limit_in_bytes"),
    ] {
        let table = [("/proc/self/cgroup", groups), (limit, "5000\n")];
        assert_eq!(allowed(&table).memory, Some(5000), "{table:?}");
    }
}

#[test]
fn a_group_that_is_mounted_nowhere_is_hidden_and_a_root_is_none() {
    for (groups, threads_are_hidden, memory_is_hidden) in [
        ("0::/a\n", true, true),
        ("4:memory:/a\n", false, true),
        ("4:pids:/a\n", true, false),
        ("0::/\n", false, false),
        ("", false, false),
    ] {
        let table =
            [("/proc/self/mountinfo", "23 1 0:21 / / rw - ext4 /dev/a rw\n"), ("/proc/self/cgroup", groups)];
        let hidden = Allowed { threads_are_hidden, memory_is_hidden, ..Allowed::default() };
        assert_eq!(allowed(&table), hidden, "{groups}");
    }
}

#[test]
fn what_a_group_uses_is_taken_from_its_limit_but_for_pages_of_files() {
    let (v2, v1) = ("/sys/fs/cgroup/a", "/sys/fs/cgroup/memory/a");
    for (groups, at, table, left) in [
        ("0::/a", v2, &[("memory.max", "1000"), ("memory.current", "300")][..], Some(700)),
        ("0::/a", v2, &[("memory.max", "1000"), ("memory.high", "max")], Some(1000)),
        ("0::/a", v2, &[("memory.max", "1000"), ("memory.high", "600")], Some(600)),
        ("0::/a", v2, &[("memory.max", "max"), ("memory.current", "300")], None),
        ("0::/a", v2, &[("memory.max", "200"), ("memory.current", "300")], Some(0)),
        (
            "0::/a",
            v2,
            &[
                ("memory.max", "1000"),
                ("memory.current", "300"),
                ("memory.stat", "anon 5\nfile 300\ninactive_file 100\nactive_file 50\n"),
            ],
            Some(850),
        ),
        (
            "4:memory:/a",
            v1,
            &[
                ("memory.limit_in_bytes", "1000"),
                ("memory.usage_in_bytes", "300"),
                ("memory.stat", "inactive_file 1\ntotal_inactive_file 100\ntotal_active_file 50\n"),
            ],
            Some(850),
        ),
    ] {
        let paths: Vec<_> = table.iter().map(|(name, text)| (format!("{at}/{name}"), *text)).collect();
        let mut files: Vec<_> = paths.iter().map(|(path, text)| (path.as_str(), *text)).collect();
        files.push(("/proc/self/cgroup", groups));
        assert_eq!(allowed(&files).memory, left, "{table:?}");
    }
}

#[test]
fn of_nested_groups_the_one_with_the_least_left_binds() {
    let table = [
        ("/proc/self/cgroup", "0::/a/b\n"),
        ("/sys/fs/cgroup/a/b/memory.max", "900\n"),
        ("/sys/fs/cgroup/a/b/memory.current", "100\n"),
        // A group that other processes share.
        ("/sys/fs/cgroup/a/memory.max", "2000\n"),
        ("/sys/fs/cgroup/a/memory.current", "1500\n"),
    ];
    assert_eq!(allowed(&table).memory, Some(500));
}
