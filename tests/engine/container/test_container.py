"""The container is tried with what the deployment's manifest grants, and with nothing else."""

from pathlib import Path

import pytest
from tests.engine.product import PRODUCT

from mergeworthy.container.verify import limits
from mergeworthy.errors import UserError

MANIFEST = (PRODUCT / "deploy/base/deployment.yaml").read_text()


def test_what_the_manifest_grants_is_what_the_engine_is_told() -> None:
    told = limits(PRODUCT / "deploy/base/deployment.yaml")
    assert {"--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges"} <= set(told)
    assert {f"--memory={600 * 2**20}", f"--memory-swap={600 * 2**20}", "65532:65532"} <= set(told)
    assert f"/tmp:rw,mode=1777,size={64 * 2**20}" in told  # noqa: S108 - inside the container
    assert "/predictions:rw,mode=1777" in told  # a volume there, so of no size here


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("memory: 600Mi", "memory: 600 MB", "'600 MB' is no amount of memory"),
        ("              memory: 600Mi", "              cpu: 2", "memory"),
        ("name: predictions\n              mountPath", "name: other\n              mountPath", "other"),
        ("runAsUser: 65532", "runAsNobody: 1", "runAsUser"),
    ],
)
def test_a_manifest_that_grants_nothing_readable_is_named(tmp_path: Path, old: str, new: str, told: str) -> None:
    assert old in MANIFEST
    path = tmp_path / "deployment.yaml"
    path.write_text(MANIFEST.replace(old, new))
    with pytest.raises(UserError, match=told):
        limits(path)
