"""Programs that take processor time and memory on purpose: stress, and the mock's own ``oom``."""

from __future__ import annotations

from criadapt.backends.mock.process import Proc
from criadapt.backends.mock.program_table import program
from criadapt.backends.mock.programs.context import Context
from criadapt.backends.mock.programs.find import size


@program("stress", "stress-ng")
async def stress(ctx: Context) -> int:
    """Workers that take processors (--cpu) and memory (--vm, each --vm-bytes) until --timeout."""
    options, _ = ctx.options("c:m:i:d:t:vq", [
        "cpu=", "vm=", "vm-bytes=", "vm-hang=", "vm-keep", "timeout=", "io=", "hdd=", "cpu-load=", "metrics", "verbose",
        "quiet", "vm-stride=",
    ])  # fmt: skip
    cpus = int(options.get("cpu") or options.get("c") or "0")
    vms = int(options.get("vm") or options.get("m") or "0")
    each = size(ctx, options.get("vm-bytes", "256M"))
    limit = options.get("timeout") or options.get("t")
    share = int(options.get("cpu-load", "100")) * 10
    ctx.print(f"{ctx.name}: info: [{ctx.proc.pid}] dispatching hogs: {cpus} cpu, 0 io, {vms} vm, 0 hdd")
    workers: list[Proc] = []

    async def burn(proc: Proc) -> int:
        proc.load = share
        return await _until(proc, limit)

    async def hold(proc: Proc) -> int:
        worker = Context(proc, ctx.name, ())
        await worker.allocate(each)
        proc.load = 0 if "vm-hang" in options else share
        return await _until(proc, limit)

    for body, count in ((burn, cpus), (hold, vms)):
        for _ in range(count):
            workers.append(await ctx.fork(body, ctx.proc.args))
    await ctx.flush()
    for worker in workers:
        pid = worker.pid
        status = await worker.result(ctx.clock)
        if status:
            ctx.error(f"FAIL: [{ctx.proc.pid}] (415) <-- worker {pid} got signal {status - 128}")
            ctx.error(f"FAIL: [{ctx.proc.pid}] (451) failed run completed in 0s")
            for other in workers:
                other.kill()
            return 1
    ctx.print(f"{ctx.name}: info: [{ctx.proc.pid}] successful run completed")
    return 0


async def _until(proc: Proc, limit: str | None) -> int:
    unit = {"m": 60, "h": 3600, "d": 86400}.get((limit or "s")[-1], 1)
    await proc.clock.sleep(float(limit.rstrip("smhd")) * unit if limit else float("inf"))
    return 0


@program("oom")
async def oom(ctx: Context) -> int:
    """Of the mock only: after so many seconds (0 by default), take more memory than the container may have."""
    await ctx.sleep(float(ctx.args[0]) if ctx.args else 0)
    limit = ctx.machine.resources.memory_limit_in_bytes
    if not limit:
        ctx.usage("the container has no memory limit")
    await ctx.allocate(limit + 1)
    return 0
