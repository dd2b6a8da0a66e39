"""The shell of the mock behaves as a real one does."""

from __future__ import annotations

import shutil
import subprocess
from typing import Any

import pytest

from criadapt.model.signals import Signal

SCRIPTS = [
    "echo hello world",
    "echo 'a  b'   c",
    'printf "%s-%s\\n" a b c',
    'printf "%d %x %05d|%-5s|\\n" 42 255 7 ab',
    "printf '%b' 'a\\tb\\n'",
    "x=5; echo $x ${x} \"${x}y\" '$x'",
    'echo ${u:-def} ${u-def} "${u:=set}" $u',
    'x=; echo "[${x:-a}][${x-a}][${x:+b}][${x+b}]"',
    "echo ${#x}; x=hello; echo ${#x}",
    "p=/a/b/c.tar.gz; echo ${p#*/} ${p##*/} ${p%.*} ${p%%.*}",
    'set -- a "b c" d; echo $# "$2"; for i in "$@"; do echo "<$i>"; done',
    'set -- a "b c"; for i in $@; do echo "<$i>"; done; for i in "$*"; do echo "<$i>"; done',
    'set -- ; for i in "$@"; do echo no; done; echo "x$@y"',
    'IFS=:; v=a:b::c; for i in $v; do echo "<$i>"; done; set -- 1 2 3; echo "$*"',
    'v="  a   b  "; for i in $v; do echo "<$i>"; done',
    "echo $((1+2*3)) $((7/2)) $((-7/2)) $((7%3)) $((1<<4)) $((5>3 && 2<1)) $((~5))",
    "i=3; echo $((i*i)) $(($i+1)) $((i=i+5)) $i",
    "echo $((0x1f + 010))",
    "i=1; while [ $i -le 3 ]; do echo $i; i=$((i+1)); done",
    "for i in a b c; do [ $i = b ] && continue; echo $i; done",
    "for i in 1 2 3; do for j in 1 2 3; do [ $j = 2 ] && continue 2; echo $i$j; done; done",
    "for i in 1 2 3; do for j in 1 2; do [ $i = 2 ] && break 2; echo $i$j; done; done",
    "if false; then echo a; elif true; then echo b; else echo c; fi",
    "case hello in h*o) echo star;; *) echo no;; esac",
    'case b in a|b) echo ab;; esac; case "*" in "*") echo lit;; esac',
    "case x in [a-c]) echo 1;; [!a-c]) echo 2;; esac",
    'f() { echo "f $1 $#"; return 3; }; f a b; echo $?',
    "f() { local x=1; x=2; echo $x; }; x=9; f; echo $x",
    "fact() { if [ $1 -le 1 ]; then echo 1; else echo $(( $1 * $(fact $(($1-1))) )); fi; }; fact 6",
    "echo $(echo a; echo b)",
    'echo "$(echo a; echo b)"',
    "echo `echo x \\`echo y\\``",
    'echo "a $(echo "b c") d"',
    "cat <<EOF\nhi $((1+1))\n  \"q\" 's' `echo z`\nEOF",
    "cat <<'EOF'\nno $x `y`\nEOF",
    "cat <<-EOF\n\ttabbed\n\tEOF\necho end",
    "true && echo yes || echo no; false && echo yes || echo no",
    "! true; echo $?; ! false; echo $?",
    "false; echo $?; true; echo $?",
    "(exit 4); echo $?",
    '(x=1; echo $x); echo "[$x]"',
    "{ echo a; echo b; } | cat",
    "echo abc | tr a-z A-Z",
    'printf "b\\na\\nc\\n" | sort',
    'printf "b\\na\\nb\\n" | sort | uniq -c | sed "s/^ *//"',
    "seq 5 | head -n 2; seq 5 | tail -n 2",
    'echo a b c | cut -d" " -f2',
    'printf "1\\n2\\n3\\n" | grep -v 2',
    "echo foo | grep -q bar; echo $?",
    "echo foobar | sed s/o/0/g",
    'echo foobar | sed -n "s/foo\\(.*\\)/\\1/p"',
    "seq 10 | sed -n 3,5p",
    'seq 3 | while read x; do echo "got $x"; done',
    'echo "a b c" | { read x y; echo "$y $x"; }',
    "echo one two | while read -r a b; do echo $b; done",
    "set -e; echo a; false; echo b",
    "set -e; if false; then :; fi; false || true; echo ok; false",
    "set -u; echo ${x-unset}; echo $nope; echo after",
    "exit 7",
    'sh -c "exit 5"; echo $?',
    'trap "echo bye" EXIT; echo hi',
    'trap "echo bye; exit 3" EXIT; exit 1',
    'trap "echo term" TERM; kill -TERM $$; echo after',
    "echo err >&2; echo out",
    "echo a 2>&1 >/dev/null",
    "{ echo out; echo err >&2; } 2>&1",
    "exec 3>&1; echo x >&3",
    "x=1 sh -c 'echo $x'; echo \"[$x]\"",
    "export y=2; sh -c 'echo $y'",
    "unset y; echo ${y-none}",
    "sh -c 'echo $0 $1 $2' name a b",
    'eval "echo \\$x"; x=3; eval "echo \\$x"',
    "sleep 0 & wait; echo done",
    'sh -c "exit 3" & wait $!; echo $?',
    "nosuchcommand 2>/dev/null; echo $?",
    'test 1 -lt 2 -a 2 -lt 3; echo $?; [ -z "" ]; echo $?; [ a = b -o c = c ]; echo $?',
    "[ ! -e /nonexistent ] && echo none",
    "if [ -d / ]; then echo dir; fi",
    'expr 1 + 2; expr 5 \\* 3; expr abc : "a\\(.\\)"',
    "echo a\\\nb",
    'echo $?x"$?"',
    "echo ~ | grep -c /",
    'x="a b"; y=$x; echo "$y"',
    "echo 'it'\\''s'",
    "if",
    "echo a; echo )",
    "for i in 1; do echo $i",
    'echo "$(',
    "x=$(false); echo $?",
    "x=$(exit 3) y=1; echo $?",
    "while :; do break; done; echo $?",
    'until [ "$n" = xxx ]; do n=x$n; done; echo $n',
    "shift; echo no",
    "set -- a b c; shift 2; echo $1",
    "basename /a/b/c.txt .txt; dirname /a/b/c",
    'echo a b | wc -w | tr -d " "',
    'printf "a\\nb" | wc -l | tr -d " "',
    "echo hello | md5sum",
    "echo hello | sha256sum | cut -c1-10",
    "echo aGk= | base64 -d",
    "printf hi | base64",
    'echo "x y" | xargs -n1 echo',
    "yes | head -3",
    "echo abc | rev",
    "a=1; a=2 true; echo $a",
    "f() { echo in; }; f | cat; f > /dev/null",
    "x=abc; case $x in a*) echo ok;; esac",
    'echo "${x:-a b}" ${x:-a  b}',
    'echo "${x:-"q"}"',
    'set -- "a b" c; echo "${1+"$@"}"',
    "echo $((1?2:3)) $((0?2:3)) $((2>1))",
    "readonly r=1; echo $r",
    "command -v echo >/dev/null; echo $?",
    "cd /tmp && pwd; cd - >/dev/null; cd /nonexistent 2>/dev/null; echo $?",
    "test; echo $?; test x; echo $?",
    'echo "a" "" \'\' b | cat',
    "echo -n x; echo y",
    "echo x$(echo)y",
    'printf "%s\\n" "$(printf "a\\n\\n\\n")"',
    'trap "" INT; trap',
    ". /nonexistent; echo no",
    "let_x=1; echo $let_x",
    "echo ${x:?msg}; echo no",
    "for x in; do echo no; done; echo empty",
    "f() ( x=5; exit 2 ); f; echo $? [$x]",
    "echo * >/dev/null; echo \"*\" '?'",
    'x=5; x=$((x+1)); echo $x; echo "$((x))"',
    "set -- $(echo a b c); echo $#",
    'OPTIND=1; set -- -a -b val rest; while getopts ab: o; do echo "$o $OPTARG"; done; shift $((OPTIND-1)); echo $1',
    "i=0; while true; do i=$((i+1)); if [ $i -gt 4 ]; then break; fi; echo $i; done | tail -1",
    "echo one; exec echo two; echo three",
    'printf "%s %s\\n" $(seq 1 4)',
    "seq 3 | { while read a; do s=$((s+a)); done; echo $s; }",
    'printf "a:b\\n" | while IFS=: read x y; do echo "$y-$x"; done',
    "echo foo | tee /dev/null",
    "test -t 0; echo $?",
    "echo a >/dev/stdout",
    "echo e >/dev/stderr",
    'x="*"; echo "$x"',
    "a=1;b=2; echo $a$b",
    "echo a;echo b;",
    "echo a & wait",
    "if true; then echo x; fi | cat",
    "(echo a; echo b) | sort -r",
    "echo $(( (1+2) * 3 ))",
    'echo "${x%}" ${#}',
    "echo $-  | grep -c e; set -e; case $- in *e*) echo e;; esac",
]
# Where BusyBox, which the mock follows, and dash differ by design.
ON_ITS_OWN = [
    ('echo "x\\ty"', 0, b"x\\ty\n", b""),
    ("cat < /nonexistent; echo $?", 0, b"1\n", b"sh: can't open /nonexistent: no such file\n"),
    ("echo x > /nonexistent/y", 1, b"", b"sh: can't create /nonexistent/y: nonexistent directory\n"),
    ("nosuch", 127, b"", b"sh: nosuch: not found\n"),
    ("/etc/passwd", 126, b"", b"sh: /etc/passwd: Permission denied\n"),
    ("echo ${x/b/c}; x=abcb; echo ${x/b/-} ${x//b/-} ${x:1:2} ${x: -1}", 0, b"\na-cb a-c- bc b\n", b""),
    ("cat <<< hello", 0, b"hello\n", b""),
    ("[[ a == a ]] && echo same", 0, b"same\n", b""),
    ("set -o pipefail; false | true", 1, b"", b""),
    ("echo all &> /tmp/f; ls /nosuch >> /tmp/f 2>&1; cat /tmp/f", 0,
     b"all\nls: /nosuch: No such file or directory\n", b""),
    ("cd /tmp; touch b a .h 'c d'; echo *; echo /tmp/?; echo /tmp/[!a]; echo 'no*' x*", 0,
     b"a b c d\n/tmp/a /tmp/b\n/tmp/b\nno* x*\n", b""),
    ("cd /tmp; mkdir -p d/e; touch d/e/f; echo d/*/f */e", 0, b"d/e/f d/e\n", b""),
    ("echo 'echo from file $1 $0' > /tmp/s; sh /tmp/s arg; chmod +x /tmp/s; /tmp/s x", 0,
     b"from file arg /tmp/s\nfrom file x /tmp/s\n", b""),
    ("printf '#!/bin/sh -e\\nfalse\\necho no\\n' > /tmp/s; chmod +x /tmp/s; /tmp/s; echo $?", 0, b"1\n", b""),
    ("f() { f; }; f", 2, b"", b"sh: maximum function recursion depth exceeded\n"),
]  # fmt: skip


@pytest.mark.skipif(shutil.which("sh") is None, reason="needs a real shell to compare with")
@pytest.mark.parametrize("script", SCRIPTS)
async def test_same_as_the_real_shell(world: Any, script: str) -> None:
    real = subprocess.run(
        ["sh", "-c", script],
        capture_output=True,
        cwd="/",
        env={"PATH": "/usr/bin:/bin", "HOME": "/root", "LC_ALL": "C"},
        timeout=20,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    code = real.returncode if real.returncode >= 0 else 128 - real.returncode
    mock = await world.sh(script)
    assert (mock.stdout, mock.code) == (real.stdout, code)
    assert bool(mock.stderr) == bool(real.stderr), (mock.stderr, real.stderr)


@pytest.mark.parametrize(("script", "code", "stdout", "stderr"), ON_ITS_OWN)
async def test_as_busybox(world: Any, script: str, code: int, stdout: bytes, stderr: bytes) -> None:
    mock = await world.sh(script)
    assert (mock.code, mock.stdout, mock.stderr) == (code, stdout, stderr)


async def test_single_command_takes_the_place_of_the_shell(world: Any) -> None:
    assert b"1 root      0:00 ps\n" in (await world.sh("ps")).stdout
    assert b"1 root      0:00 sh -c ps; true\n" in (await world.sh("ps; true")).stdout


async def test_commands_come_from_stdin_one_by_one(world: Any) -> None:
    machine = world.start("pause")
    result = await world.exec(machine, "sh", stdin=b"read x\ndata\necho got $x\nif true\nthen echo yes\nfi\nexit 4\n")
    assert (result.stdout, result.code) == (b"got data\nyes\n", 4)


async def test_incomplete_script_on_stdin_is_an_error(world: Any) -> None:
    machine = world.start("pause")
    result = await world.exec(machine, "sh", stdin=b"if true; then\n")
    assert result.code == 2
    assert b"unexpected end of file" in result.stderr


async def test_trap_runs_when_the_foreground_command_is_over(world: Any) -> None:
    world.wall.running = False
    machine = world.start("sh", "-c", "trap 'echo bye; exit 5' TERM; sleep 10; echo no")
    await world.wall.until(world.wall.time_ns + 2 * 10**9)
    machine.signal(Signal.SIGTERM)
    await world.wall.until(world.wall.time_ns + 5 * 10**9)
    assert not world.exits
    await world.wall.until(world.wall.time_ns + 5 * 10**9)
    assert world.exits[0].code == 5


async def test_wait_is_interrupted_by_a_trap_at_once(world: Any) -> None:
    world.wall.running = False
    machine = world.start("sh", "-c", "trap 'echo bye; exit 0' TERM; sleep 100 & wait")
    await world.wall.until(world.wall.time_ns + 2 * 10**9)
    machine.signal(Signal.SIGTERM)
    await world.wall.until(world.wall.time_ns + 10**8)
    assert world.exits[0].code == 0
