"""An image is signed with a team's own key by cosign, in a real registry, without any service."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.release import cosign
from tests.release.fixtures import Shipped
from tests.work import attempt, clone, make

pytestmark = pytest.mark.dear


def test_a_signature_is_of_the_committed_key_and_says_what_it_was_made_of(shipped: Shipped, tmp_path: Path) -> None:
    # given a published image and a project without a key: nothing is signed, and that is told
    project, settings = clone(shipped.project, tmp_path / "flight-delays"), shipped.podman.settings
    image = shipped.make("publish").split()[-1]
    repository, _, digest = image.partition("@")
    facts = {"commit": "c" * 40, "lock": "l" * 32, "data": "d" * 32}
    made = json.dumps({"repository": repository, "digest": digest, "partition": "2013-06", "verdict": "pass", **facts})
    settings = settings | {"RELEASE": made}
    assert "no key of yours" in make(project, "sign", **settings)
    # when there is one, then the digest is signed once
    key = cosign.pair(project / "deploy")
    assert f"{image} is signed\n" in make(project, "sign", **settings, **key)
    assert "is signed already" in make(project, "sign", **settings)
    # and anyone with the public key is told commit, lock and data
    (claim,) = cosign.verified(project / "deploy/cosign.pub", image)
    assert claim["critical"]["image"]["docker-manifest-digest"] == digest
    assert facts.items() <= claim["optional"].items()
    # when the key is missing, or not the one of the checkout, then a line says so and nothing passes for signed
    (tmp_path / "other").mkdir()
    other = cosign.pair(tmp_path / "other")
    (project / "deploy/cosign.pub").write_text((tmp_path / "other/cosign.pub").read_text())
    done = attempt(project, "sign", **settings)
    assert done.returncode != 0
    assert "COSIGN_PRIVATE_KEY is empty" in done.stderr, done.stderr
    done = attempt(project, "sign", **settings, **key)
    assert "the signature is not one of deploy/cosign.pub" in done.stderr, done.stderr
    with pytest.raises(subprocess.CalledProcessError):
        cosign.verified(project / "deploy/cosign.pub", image)
    # when it is changed, then the new one signs too
    assert f"{image} is signed\n" in make(project, "sign", **settings, **other)
