"""The programs of the mock, by what they write and how they end."""

# ruff: noqa: E501  (a table reads better with a script in a line)
from __future__ import annotations

from typing import Any

import pytest

from criadapt.backends.mock.programs import PROGRAMS
from criadapt.model.container import KeyValue
from criadapt.model.linux import Capability, LinuxContainerResources

CASES = [
    ("echo -n hello", 0, "hello"),
    ("echo -e 'a\\tb\\x41\\0101\\cno'", 0, "a\tbAA"),
    ("printf '%s=%03d\\n' a 1 b 2; printf '%5.2f|%-4s|%c|%%|%o\\n' 3.14159 ab xyz 8", 0,
     "a=001\nb=002\n 3.14|ab  |x|%|10\n"),
    ("printf '%d\\n' 0x10 010 \"'A\"", 0, "16\n8\n65\n"),
    ("cat /data/a.txt /nosuch /data/a.txt", 1,
     "alpha\nalpha\ncat: can't open '/nosuch': No such file or directory\n"),
    ("cat -n /data/a.txt", 0, "     1\talpha\n"),
    ("seq 3 | tac; seq 5 -2 1; seq -s, 3; seq -w 8 10", 0, "3\n2\n1\n5\n3\n1\n1,2,3\n08\n09\n10\n"),
    ("seq 5 | head -2; seq 5 | tail -n +4; printf abcdef | head -c 3; printf abcdef | tail -c 2", 0,
     "1\n2\n4\n5\nabcef"),
    ("printf 'a b\\nc\\n' | wc; printf 'a b' | wc -w", 0, "        2         3         6\n2\n"),
    ("head /nosuch", 1, "head: can't open '/nosuch': No such file or directory\n"),
    ("ls /data /nosuch", 1, "ls: /nosuch: No such file or directory\n/data:\na.txt\n"),
    ("cd /tmp; touch .b a; mkdir d; ls; ls -A; ls -aF; ls -d /tmp", 0, "a\nd\n.b\na\nd\n./\n../\n.b\na\nd/\n/tmp\n"),
    ("cd /tmp; echo hi > a; chmod 640 a; ln -s a l; ls -l a l | cut -c1-46", 0,
     "-rw-r-----    1 root     root             3 No\nlrwxrwxrwx    1 root     root             1 No\n"),
    ("ls --nonsense", 1, "ls: unrecognized option: nonsense\n"),
    ("mkdir /tmp/a/b", 1, "mkdir: can't create directory '/tmp/a/b': No such file or directory\n"),
    ("mkdir -p /tmp/a/b && mkdir -p /tmp/a/b && rmdir /tmp/a", 1, "rmdir: '/tmp/a': Directory not empty\n"),
    ("mkdir -p /tmp/a/b; touch /tmp/a/b/c; rm /tmp/a; rm -rf /tmp/a; ls /tmp; rm -f /nosuch; rm /nosuch", 1,
     "rm: can't remove '/tmp/a': Is a directory\nrm: can't remove '/nosuch': No such file or directory\n"),
    ("cd /tmp; echo x > a; cp a b; mv b c; mkdir d; cp a c d; cp -r d e; ls d e; cat e/c; cp d f", 1,
     "cp: omitting directory 'd'\nd:\na\nc\n\ne:\na\nc\nx\n"),
    ("cd /tmp; ln -s /data/a.txt l; cat l; readlink l; realpath l; rm l; cat /data/a.txt", 0,
     "alpha\n/data/a.txt\n/data/a.txt\nalpha\n"),
    ("cd /tmp; ln -s loop loop; cat loop", 1, "cat: can't open 'loop': Too many levels of symbolic links\n"),
    ("rm /data/a.txt; cat /data/a.txt; echo new > /data/a.txt; cat /data/a.txt", 0,
     "cat: can't open '/data/a.txt': No such file or directory\nnew\n"),
    ("cd /tmp; printf abc > f; stat -c '%s %a %F %U' f; chmod u+x,g-r f; stat -c %a f; chown nobody:nobody f; stat -c '%U %G' f",
     0, "3 644 regular file root\n704\nnobody nobody\n"),
    ("cp /bin/echo /tmp/e; /tmp/e copied; chmod -x /tmp/e; /tmp/e no", 126,
     "copied\nsh: /tmp/e: Permission denied\n"),
    ("printf 'b 2\\na 10\\nc 1\\n' | sort -k2 -n; printf '3\\n1\\n3\\n' | sort -ru", 0, "c 1\nb 2\na 10\n3\n1\n"),
    ("printf 'a\\na\\nb\\n' | uniq -c; printf 'a\\na\\nb\\n' | uniq -d; printf 'a\\na\\nb\\n' | uniq -u", 0,
     "      2 a\n      1 b\na\nb\n"),
    ("echo 'a:b:c' | cut -d: -f1,3; echo abcdef | cut -c2-4,6-", 0, "a:c\nbcdf\n"),
    ("echo Hello | tr a-z A-Z; echo aabb | tr -s a; echo a1b2 | tr -d 0-9; echo a1b2 | tr -cd '[:digit:]'", 0,
     "HELLO\nabb\nab\n12"),
    ("printf 'one\\nTwo\\nthree\\n' | grep -i -n t; printf 'a\\nb\\n' | grep -c .; echo ab | grep -o b; echo x | grep -v x", 1,
     "2:Two\n3:three\n2\nb\n"),
    ("echo 'a+b' | grep 'a+b'; echo aab | grep -E '^a+b$'; echo 'a.c' | grep -F a.c; echo foo | grep -w fo; echo $?", 0,
     "a+b\naab\na.c\n1\n"),
    ("grep -r alpha /data; grep alpha /data/a.txt /nosuch", 2,
     "/data/a.txt:alpha\n/data/a.txt:alpha\ngrep: /nosuch: No such file or directory\n"),
    ("seq 5 | sed -n '2,3p;$p'; echo 'a b' | sed 's/\\(.\\) \\(.\\)/\\2 \\1/'; seq 3 | sed '2d;s/$/!/'; echo aaa | sed s/a/b/2", 0,
     "2\n3\n5\nb a\n1!\n3!\naba\n"),
    ("echo /a/b | sed 's|/|.|g;y/ab/xy/'; seq 3 | sed '/2/!d'; cd /tmp; echo q > f; sed -i s/q/r/ f; cat f", 0,
     ".x.y\n2\nr\n"),
    ("printf 'a b\\nc' | xargs echo -; echo 'x y' | xargs -n1 echo; printf 'l1\\nl2\\n' | xargs -I% echo '<%>'", 0,
     "- a b c\nx\ny\n<l1>\n<l2>\n"),
    ("find /data; find / -name 'a.t*' -type f; mkdir -p /tmp/x/y; find /tmp/x -mindepth 1; find /tmp/x -delete; ls /tmp", 0,
     "/data\n/data/a.txt\n/data/a.txt\n/tmp/x/y\n"),
    ("dd if=/dev/zero of=/tmp/z bs=1K count=3 2>/dev/null; wc -c < /tmp/z; dd if=/data/a.txt bs=2 skip=1 count=1 status=none", 0,
     "3072\nph"),
    ("yes | head -2; yes a b | head -c 4", 0, "y\ny\na b\n"),
    ("echo hi | tee /tmp/t /nosuch/t; cat /tmp/t", 0, "tee: /nosuch/t: No such file or directory\nhi\nhi\n"),
    ("echo hello | md5sum; echo hello > /tmp/h; sha256sum /tmp/h > /tmp/s; sha256sum -c /tmp/s", 0,
     "b1946ac92492d2347c6235b4d2611184  -\n/tmp/h: OK\n"),
    ("echo hi | base64 | base64 -d; printf 'a\\n' | hexdump -C", 0,
     "hi\n00000000  61 0a                                             |a.|\n00000002\n"),
    ("id; whoami; hostname; pwd; cd /tmp; pwd", 0, "uid=0(root) gid=0(root) groups=0(root)\nroot\nhost\n/\n/tmp\n"),
    ("date +%s; date -u +%FT%T; date -d @0 +%Y; TZ=UTC date", 0,
     "1700000000\n2023-11-14T22:13:20\n1970\nTue Nov 14 22:13:20 UTC 2023\n"),
    ("uname; uname -n -m; arch; nproc; which sh nginx nosuch", 1,
     "Linux\nhost x86_64\nx86_64\n4\n/bin/sh\n/usr/sbin/nginx\n"),
    ("env -i A=1 printenv A; env -u HOME printenv HOME; FOO=x printenv FOO", 0, "1\nx\n"),
    ("sleep 100 & pgrep sleep; pidof sleep; kill $!; wait $!; echo $?; pgrep sleep", 1, "2\n2\n143\n"),
    ("kill -0 1 && kill -9 99", 1, "kill: can't kill pid 99: No such process\n"),
    ("sleep 100 & pkill -KILL sleep; wait $!; echo $?; killall sleep", 1, "137\nkillall: sleep: no process killed\n"),
    ("timeout 1 sleep 10; echo $?; timeout 5 sh -c 'exit 3'", 3, "143\n"),
    ("sysctl -n kernel.pid_max; cat /proc/sys/kernel/pid_max /proc/sys/kernel/hostname", 0,
     "4194304\n4194304\nhost\n"),
    ("echo x > /proc/sys/kernel/hostname", 1, "sh: can't create /proc/sys/kernel/hostname: Read-only file system\n"),
    ("cat /proc/self/comm; head -1 /proc/mounts; cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/cpu.max", 0,
     "cat\noverlay / overlay rw 0 0\nmax\nmax 100000\n"),
    ("echo out > /dev/stdout; echo err > /dev/stderr; echo one > /proc/1/fd/1; echo gone > /dev/null; echo x > /dev/full", 1,
     "err\nsh: echo: No space left on device\nout\none\n"),
    ("head -c 4 /dev/zero | wc -c; head -c 8 /dev/urandom | wc -c", 0, "4\n8\n"),
    ("df -h / | head -2 | tail -1 | cut -c1-7; free | head -2 | tail -1 | cut -c1-4; mount | head -1; umount /", 1,
     "umount: can't unmount /: Operation not permitted\noverlay\nMem:\noverlay on / type overlay (rw)\n"),
    ("nc localhost 81; echo $?; wget -qO- localhost:81", 1, "nc: localhost (localhost:81): Connection refused\n"
     "Connecting to localhost:81 (localhost:81)\nwget: can't connect to remote host (localhost): Connection refused\n1\n"),
    ("nginx & sleep 0.1; wget -qO- localhost | head -1; curl -s -o /dev/null -f localhost/no; echo $?", 0, None),
    ("ping -c 2 localhost | tail -1", 0, "2 packets transmitted, 2 packets received, 0% packet loss\n"),
    ("stress --cpu 2 --timeout 3s | tail -1", 0, "stress: info: [2] successful run completed\n"),
    ("mktemp -d /tmp/x.XXXXXX | wc -c; t=$(mktemp); test -f $t", 0, "14\n"),
    ("test -t 1; echo $?; tty; stty size", 1, "stty: standard input: Not a tty\n1\nnot a tty\n"),
    ("hostname other", 1, "hostname: sethostname: Operation not permitted\n"),
    ("brctl addbr foobar", 1, "brctl: bridge foobar: Operation not permitted\n"),
]  # fmt: skip


@pytest.mark.parametrize(("script", "code", "text"), CASES)
async def test_programs(world: Any, script: str, code: int, text: str | None) -> None:
    result = await world.sh(script)
    assert result.code == code
    if text is not None:
        both = {(result.stderr + result.stdout).decode(), (result.stdout + result.stderr).decode()}
        assert text in both


async def test_capabilities_decide(world: Any) -> None:
    result = await world.sh("brctl addbr x && ip link add y", capabilities=Capability(add_capabilities=("NET_ADMIN",)))
    assert result.code == 0
    result = await world.sh("ping localhost", capabilities=Capability(drop_capabilities=("NET_RAW",)))
    assert (result.code, result.stderr) == (1, b"ping: permission denied (are you root?)\n")
    assert result.stdout
    result = await world.sh("hostname new; hostname", capabilities=Capability(add_capabilities=("SYS_ADMIN",)))
    assert result.stdout == b"new\n"


async def test_environment(world: Any) -> None:
    result = await world.sh("printenv HOSTNAME HOME X; pwd", env=(KeyValue(key="X", value=b"\xff"),), cwd="/made/here")
    assert result.stdout == b"host\n/root\n\xff\n/made/here\n"


async def test_limits_show_in_the_cgroup(world: Any) -> None:
    limits = LinuxContainerResources(
        memory_limit_in_bytes=64 << 20, cpu_quota=20_000, cpu_period=100_000, cpu_shares=1024
    )
    result = await world.sh("cd /sys/fs/cgroup; cat memory.max cpu.max cpu.weight; nproc", resources=limits)
    assert result.stdout == b"67108864\n20000 100000\n39\n4\n"


async def test_setuid_helper(world: Any) -> None:
    from criadapt.model.linux import LinuxContainerUser

    user = LinuxContainerUser(uid=1000, gid=1000)
    assert (await world.run("nnp", user=user)).stdout == b"Effective uid: 0\n"
    assert (await world.run("nnp", user=user, no_new_privs=True)).stdout == b"Effective uid: 1000\n"


async def test_web_server_logs_requests(world: Any) -> None:
    machine = world.start("nginx")
    await world.exec(machine, "sh", "-c", "sleep 1; wget -q -O - http://localhost/")
    world.wall.running = False
    machine.close()
    lines = b"".join([chunk.data async for chunk in machine.output(0)]).splitlines()
    assert b"[notice] 1#1: start worker processes" in b"\n".join(lines)
    assert b'"GET / HTTP/1.1" 200' in lines[-1]


async def test_netcat_listens(world: Any) -> None:
    machine = world.start("nc", "-l", "-p", "9000")
    await world.exec(machine, "sh", "-c", "sleep 0.1; echo ping | nc localhost 9000")
    chunks = [chunk async for chunk in machine.output(0)]
    assert b"".join(chunk.data for chunk in chunks) == b"ping\n"
    assert world.exits[0].code == 0


async def test_following_a_file(world: Any) -> None:
    script = "touch /tmp/log; (for i in 1 2 3; do sleep 2; echo $i >> /tmp/log; done) & timeout 10 tail -f /tmp/log"
    assert (await world.sh(script)).stdout == b"1\n2\n3\n"


async def test_random_numbers_repeat(world: Any) -> None:
    first = await world.sh("head -c 16 /dev/urandom | md5sum; mktemp")
    assert (await world.sh("head -c 16 /dev/urandom | md5sum; mktemp")).stdout == first.stdout
    assert (await world.sh("head -c 16 /dev/urandom | md5sum; mktemp", seed="other")).stdout != first.stdout


# They take words of any kind, or none at all.
FREE = {
    "echo", "printf", "true", "false", "clear", "yes", "test", "[", "expr", "basename", "dirname", "app", "pause",
    "nnp", "nnp2", "sleep", "which", "rev", "nl", "groups", "arch", "sync", "brctl", "iptables", "route", "ip",
    "ifconfig", "oom", "echo-server", "redis-server", "postgres", "mysqld", "mongod", "http-server", "agnhost",
    "whoami-server", "nslookup", "ipcmk", "ipcrm", "docker-entrypoint.sh", "entrypoint.sh", "whoami", "printenv",
    "umount", "tty", "buggy", "hello", "nohup", "setsid", "nice", "ionice", "gosu", "su-exec", "tini", "dumb-init",
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(set(PROGRAMS) - FREE))
async def test_unknown_options_are_refused(world: Any, name: str) -> None:
    result = await world.sh(f"timeout 5 {name} -@ --no-such-option < /dev/null")
    assert result.code not in (0, 124, 143)
    assert result.stderr
