"""Why sampan-oci fails what it fails of the suites of others. A row for what passes is an error, and so
is a failure without a row (report.py looks)."""

POINTERS = "the program compares two pointers where it means the limits"
LEAF_WEIGHT = "it asks for blkio.leaf_weight, which went from the kernel in 5.0: refused"
NO_HUGETLB = "this machine has no hugetlb hierarchy mounted"
NO_NETWORK = "this machine has no net_cls and net_prio hierarchies"
KERNEL_MEMORY = "it asks for memory.kmem limits, which kernels of today take and ignore"
NO_CRIU = "criu fails on this machine, with runc as well"
RUNCS_LOG = "it looks for lines of runc's own debug log"
LOCKED = ("it wants the kernel's refusal, in runc's words, of an option that a user namespace could not change; here root "
          "changes the mount before it goes in")
ID_MAPPED = "an id-mapped source is opened before the container's own mounts are made"
NO_SYS_RESOURCE = "this machine's root has no CAP_SYS_RESOURCE to raise a hard limit with"

# A signal or a hook of these may come before the shell inside gets to its first word.
RACES = ("killsig", "pidfile", "poststart")

VALIDATION = {
    "delete": "it wants `delete` of a created container refused, which engines rely on; a running one is",
    "delete_resources": POINTERS,
    "hooks": "it expects other words in the hooks' output than its own hooks write",
    "linux_cgroups_blkio": LEAF_WEIGHT,
    "linux_cgroups_hugetlb": NO_HUGETLB,
    "linux_cgroups_memory": KERNEL_MEMORY,
    "linux_cgroups_network": NO_NETWORK,
    "linux_cgroups_pids": POINTERS,
    "linux_cgroups_relative_blkio": LEAF_WEIGHT,
    "linux_cgroups_relative_hugetlb": NO_HUGETLB,
    "linux_cgroups_relative_memory": KERNEL_MEMORY,
    "linux_cgroups_relative_network": NO_NETWORK,
    "linux_cgroups_relative_pids": POINTERS,
    "linux_mount_label": "there is no SELinux here: a label that the kernel can't honour is refused, not ignored",
    "linux_process_apparmor_profile": "there is no AppArmor here: a profile that the kernel can't honour is refused, not ignored",
    "misc_props": "it runs /runtimetest without putting it into the bundle",
    "poststart_fail": "it wants a failing poststart hook ignored; since 1.3 of the specification that is an error",
    "prestart": "it wants prestart hooks run by `start`; since 1.0.2 of the specification `create` runs them",
    "process_capabilities": NO_SYS_RESOURCE.split(" to raise")[0] + ", which it wants inside",
    "process_capabilities_fail": "it wants an unknown capability refused; since 1.1 of the specification that is a warning",
    "process_rlimits": "built with a Go of today, its program inside raises its own soft RLIMIT_NOFILE to the hard one",
    "start": "it wants `start` of a container without a process to succeed, under the heading that it must fail",
}


# By file and test; "*" for all of a file that fail.
RUNC = {
    "cgroups": {"runc run (hugetlb limits)": "it writes `pagesize` where the specification has `pageSize`; " + NO_HUGETLB},
    "checkpoint": {"*": NO_CRIU,
                   "checkpoint --pre-dump (bad --parent-path)": "sampan-oci refuses checkpoint as a whole"},
    "cpu_affinity": {"*": RUNCS_LOG},
    "debug": {"*": RUNCS_LOG},
    "exec": {"runc --debug exec": RUNCS_LOG, "runc --debug --log exec": RUNCS_LOG,
             "runc exec --cgroup sub-cgroups [v1]": "it wants the container in every hierarchy, also in those without a limit"},
    "mounts": {"runc run [mount order, container idmap source]": ID_MAPPED,
               "runc run [mount order, container idmap source] (userns)": ID_MAPPED},
    "mounts_recursive": {"runc run [ check rbind,r*atime mounts]": "it wants further options behind the times of a tmpfs, of which this kernel shows none"},
    "mounts_sshfs": {"runc run [explicit-rw bind mount of a ro fuse sshfs mount]": LOCKED,
                     "runc run [dev,exec,suid,atime bind mount of a nodev,nosuid,noexec,noatime fuse sshfs mount]": LOCKED,
                     "runc run [bind mount {no,rel,strict}atime semantics]": LOCKED},
    "rlimits": {"*": NO_SYS_RESOURCE},
    "run": {"runc run [/proc/self/exe clone]": RUNCS_LOG,
            "runc run [execve error]": "it wants the bare words of runc; ours say whose they are, and what may be wrong"},
    "seccomp": {"runc run [seccomp] (SECCOMP_FILTER_FLAG_*)": "it knows fewer flags than `features` lists"},
    "spec": {"spec validator": "it fetches the specification's schema from the network"},
    "update": {"update devices [minimal transition rules]": "its config has the access `rwa`; there is no `a`"},
}
