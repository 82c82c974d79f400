//! Parses the files of `/proc/PID`. Pure: takes their text.

/// Kernel memory that each thread's stack takes, on x86-64 and on 64-bit ARM.
pub const KERNEL_STACK_KIB: u64 = 16;

/// Returns the number behind `name` at the start of a line, as in `status` and `smaps_rollup`.
pub fn number(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Returns a thread's context switches in its `status`, voluntary and not.
pub fn switches(status: &str) -> Option<(u64, u64)> {
    Some((number(status, "voluntary_ctxt_switches:")?, number(status, "nonvoluntary_ctxt_switches:")?))
}

/// Returns user and system time in a `stat`, whose second field is a name that may contain anything. The
/// unit is a tick, of which every Linux has 100 in a second.
pub fn cpu_ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_behind_their_names() {
        let status = "Name:\ta\nVmRSS:\t  2048 kB\nThreads:\t3\nvoluntary_ctxt_switches:\t5\n\
                      nonvoluntary_ctxt_switches:\t7\n";
        for (name, found) in [("VmRSS:", Some(2048)), ("Threads:", Some(3)), ("RSS:", None), ("Name:", None)]
        {
            assert_eq!(number(status, name), found, "{name}");
        }
        assert_eq!((switches(status), switches("Threads:\t3\n")), (Some((5, 7)), None));
    }

    #[test]
    fn cpu_is_read_behind_any_name() {
        for name in ["(send)", "(a b)", "(a) R 1 (b)"] {
            let stat = format!("7 {name} S 1 7 7 0 -1 4194560 10 0 0 0 12 30 0 0 20 0 9 0 1 2 3");
            assert_eq!(cpu_ticks(&stat), Some(42), "{name}");
        }
        assert_eq!(cpu_ticks("7 (x) S 1"), None);
    }
}
