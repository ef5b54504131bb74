"""The container is tested with exactly the limits of the deployment's manifest."""

from pathlib import Path

import pytest
from tests.engine.product import PRODUCT

from mergeworthy.errors import UserError
from mergeworthy.release.verify import limits

MANIFEST = (PRODUCT / "deploy/base/deployment.yaml").read_text()


def test_the_engine_gets_the_limits_of_the_manifest() -> None:
    options = limits(PRODUCT / "deploy/base/deployment.yaml")
    assert {"--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges"} <= set(options)
    assert {f"--memory={600 * 2**20}", f"--memory-swap={600 * 2**20}", "65532:65532"} <= set(options)
    assert f"/tmp:rw,mode=1777,size={64 * 2**20}" in options  # noqa: S108 - inside the container
    assert "/predictions:rw,mode=1777" in options  # a volume in the manifest, so without a size here


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("memory: 600Mi", "memory: 600 MB", "'600 MB' is not an amount of memory"),
        ("              memory: 600Mi", "              cpu: 2", "memory"),
        ("name: predictions\n              mountPath", "name: other\n              mountPath", "other"),
        ("runAsUser: 65532", "runAsNobody: 1", "runAsUser"),
    ],
)
def test_a_manifest_without_a_limit_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in MANIFEST
    path = tmp_path / "deployment.yaml"
    path.write_text(MANIFEST.replace(old, new))
    with pytest.raises(UserError, match=message):
        limits(path)
