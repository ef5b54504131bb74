"""What this machine must have, judged from facts that others gathered."""

from collections.abc import Collection

from .finding import Finding, ok, problem, skipped, warning

WHY = {"git": "the record of everything", "uv": "makes the environment", "gh": "speaks to GitHub"}
OPTIONAL = "gh"

# Within a major version of CUDA every driver from this one on will do (NVIDIA, CUDA Compatibility, minor version).
OLDEST_DRIVER = {11: "450.80", 12: "525.60", 13: "580.65"}

ENOUGH_GB, LEAST_GB = 20, 2  # torch with CUDA takes 5 GB, a month of data and its cache far less


def tools(present: Collection[str]) -> Finding:
    """Tell whether git, uv and gh are on the PATH."""
    missing = [name for name in WHY if name not in present]
    if not missing:
        return ok("tools", f"{', '.join(WHY)} are here")
    level = warning if missing == [OPTIONAL] else problem
    says = "; ".join(f"{name} is missing ({WHY[name]})" for name in missing)
    return level("tools", says, "install: git-scm.com, docs.astral.sh/uv, cli.github.com")


def disk(free_gb: float) -> Finding:
    """Tell whether there is room for an environment and a training's outputs."""
    says = f"{free_gb:.0f} GB free here"
    if free_gb >= ENOUGH_GB:
        return ok("disk", says)
    mend = f"{ENOUGH_GB} GB are comfortable: `dvc gc --workspace`, `uv cache prune`"
    return (warning if free_gb >= LEAST_GB else problem)("disk", says, mend)


def gpu(driver: str | None, torch: str | None, cuda: str | None, device: str) -> Finding:
    """Tell whether torch can use the GPU; `cuda` is what torch was built for, `device` what infra.yaml asks for."""
    if torch is None:
        return skipped("GPU", "torch is not installed here")
    if driver is None:
        if device == "cuda":
            mend = "install NVIDIA's driver, or set compute.device to auto in infra.yaml"
            return problem("GPU", "infra.yaml asks for cuda, and no NVIDIA driver answers here", mend)
        return ok("GPU", f"none here: torch {torch} trains on the processor")
    if cuda is None:
        return warning("GPU", f"driver {driver} is here, but torch {torch} was built without CUDA", "run `make setup`")
    oldest = OLDEST_DRIVER.get(int(cuda.split(".")[0]))
    if oldest is None:
        return ok("GPU", f"driver {driver}, torch {torch} for CUDA {cuda}")
    if _numbers(driver) < _numbers(oldest):
        mend = f"update the driver to {oldest} or later, or install a torch for an older CUDA"
        return problem("GPU", f"driver {driver} is too old for CUDA {cuda}, which torch {torch} was built for", mend)
    return ok("GPU", f"driver {driver} serves CUDA {cuda}, which torch {torch} was built for")


def remote(url: str, error: str | None, *, local: bool, shared: bool) -> Finding:
    """Tell whether the DVC remote took an object, gave it back and forgot it; `shared`: others work on this project."""
    if error:
        mend = "check core.remote in .dvc/config and its credentials in .dvc/config.local (secret DVC_CONFIG in CI)"
        return problem("DVC remote", f"{url}: {error}", mend)
    if local and shared:
        mend = "CI's jobs pass outputs on through it: `dvc remote modify storage url s3://…`, or the same in DVC_CONFIG"
        return warning("DVC remote", f"{url} works, but it is a folder of this machine, which no other can see", mend)
    return ok("DVC remote", f"{url}: wrote, read and deleted an object")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2])
