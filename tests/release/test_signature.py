"""cosign signs an image with the team's own key, in a real registry, without any other service."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.release import cosign
from tests.release.fixtures import Shipped
from tests.work import attempt, clone, make

pytestmark = pytest.mark.dear


def test_a_signature_is_by_the_committed_key_and_names_commit_and_data(shipped: Shipped, tmp_path: Path) -> None:
    # given a published image and a project without a key, then nothing is signed, and a line says so
    project, settings = clone(shipped.project, tmp_path / "flight-delays"), shipped.podman.settings
    image = shipped.make("publish").split()[-1]
    repository, _, digest = image.partition("@")
    origins = {"commit": "c" * 40, "lock": "l" * 32, "data": "d" * 32}
    release = json.dumps(
        {"repository": repository, "digest": digest, "partition": "2013-06", "verdict": "pass", **origins}
    )
    settings = settings | {"RELEASE": release}
    assert "no key of yours" in make(project, "sign", **settings)
    # when there is a key, then the digest is signed once
    key = cosign.make_keys(project / "deploy")
    assert f"{image} is signed\n" in make(project, "sign", **settings, **key)
    assert "is signed already" in make(project, "sign", **settings)
    # and the public key is enough to read commit, lock and data
    (claim,) = cosign.verified_claims(project / "deploy/cosign.pub", image)
    assert claim["critical"]["image"]["docker-manifest-digest"] == digest
    assert origins.items() <= claim["optional"].items()
    # when the key is missing, or is not the committed one, then a line says so and the signature does not verify
    (tmp_path / "other").mkdir()
    other_key = cosign.make_keys(tmp_path / "other")
    (project / "deploy/cosign.pub").write_text((tmp_path / "other/cosign.pub").read_text())
    result = attempt(project, "sign", **settings)
    assert result.returncode != 0
    assert "COSIGN_PRIVATE_KEY is empty" in result.stderr, result.stderr
    result = attempt(project, "sign", **settings, **key)
    assert "the signature is not one of deploy/cosign.pub" in result.stderr, result.stderr
    with pytest.raises(subprocess.CalledProcessError):
        cosign.verified_claims(project / "deploy/cosign.pub", image)
    # when the committed key is replaced, then the new key signs too
    assert f"{image} is signed\n" in make(project, "sign", **settings, **other_key)
