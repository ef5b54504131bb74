"""Releases and their files, open to all."""

from typing import Any

from ..events import SERVER
from ..graphql import Variables, operation
from ..routes import ApiError, Call, route
from ..transport import Response


def _to_json(call: Call, tag: str) -> dict[str, Any]:
    name = call.repository.full_name
    assets = [
        {
            "id": number, "name": file, "size": len(content), "state": "uploaded",
            "url": f"https://api.github.com/repos/{name}/releases/assets/{number}",
            "browser_download_url": f"{SERVER}/{name}/releases/download/{tag}/{file}",
        }
        for number, (of, file, content) in enumerate(_files(call)) if of == tag
    ]  # fmt: skip
    return {"tag_name": tag, "name": tag, "draft": False, "prerelease": False, "assets": assets}


def _files(call: Call) -> list[tuple[str, str, bytes]]:
    return [(tag, file, content) for tag, files in call.repository.releases.items() for file, content in files.items()]


@route("GET", "/releases/tags/{tag}", "")
def _release(call: Call) -> dict[str, Any]:
    if call.arguments["tag"] not in call.repository.releases:
        raise ApiError(404, "Not Found")
    return _to_json(call, call.arguments["tag"])


@route("GET", "/releases/assets/{number}", "")
def _asset(call: Call) -> Response:
    return Response(200, {"Content-Type": "application/octet-stream"}, _files(call)[call.number][2])


@operation("RepositoryReleaseByTag")
def _draft(_: Call, __: Variables) -> Any:
    """`gh` asks for a draft where there is no release."""
    return {"repository": {"release": None}}
