"""Weights: where they are looked for, what is refused, and what an unreachable hub looks like."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pipeline.weights.locate import fetch, list_models, locate
from pipeline.weights.sources import WEIGHTS
from schemas.errors import ConfigError, WeightsInvalidError, WeightsUnavailableError
from schemas.weights import Weights

SMALL, PY_FEAT = WEIGHTS["depth-anything-v2-small"], WEIGHTS["py-feat"]
CONTENT = b"stands for weights: nothing here opens it"
DIGEST = sha256(CONTENT).hexdigest()
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def write_model(models: Path, name: str = SMALL.name, *, repository: str | None = "mine/tuned", **fields: str) -> Path:
    folder = models / name
    folder.mkdir(parents=True)
    for file in WEIGHTS[name].files:
        (folder / file).write_bytes(CONTENT)
    if repository:
        record = {"name": name, "repository": repository, "revision": None, "file": file, "sha256": DIGEST, **fields}
        (folder / "weights.json").write_text(json.dumps(record))
    return folder


def run_python(code: str, **environment: str) -> str:
    """Output of code in a fresh process: the hub's client reads its environment once, on import."""
    variables = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "MER_"))}
    done = subprocess.run(
        [sys.executable, "-c", code], env=variables | environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_name_in_the_config_has_a_source() -> None:
    """What the config lets one choose, but for the backends without weights, and what models start from."""
    from pipeline.clip.backends import ACTION_UNITS, DEPTH
    from training.models.registry import model_facts, model_names

    backends = {r[name].weights for r in (DEPTH, ACTION_UNITS) for name in r.names()} - {None}
    assert backends == {"depth-anything-v2-small", "depth-anything-v2-base", "depth-anything-v2-large", "py-feat"}
    assert set(WEIGHTS.names()) == backends | {source for name in model_names() for source in model_facts(name).sources}


def test_weights_in_a_models_folder_are_hashed_and_keep_the_identity_of_their_record(tmp_path: Path) -> None:
    """A folder with a record is what the record says, with the file's own sha256."""
    folder = write_model(tmp_path)
    located = locate(SMALL.name, tmp_path)
    assert located.path == folder / "model.safetensors"
    assert located.record == Weights(
        name=SMALL.name, repository="mine/tuned", revision=None, file="model.safetensors", sha256=DIGEST
    )


def test_bare_files_are_taken_for_the_registrys_and_their_commit_stays_unknown(tmp_path: Path) -> None:
    """Without a record nothing tells the commit of a file whose hash is not pinned."""
    write_model(tmp_path, "py-feat", repository=None)
    record = locate("py-feat", tmp_path).record
    assert (record.repository, record.revision, record.sha256) == (PY_FEAT.repository, None, DIGEST)


@pytest.mark.parametrize(
    "fields",
    [{"repository": None}, {"repository": SMALL.repository, "revision": SMALL.revision}],
    ids=["bare", "claimed"],
)
def test_pinned_hash_binds_whatever_passes_for_the_published_file(tmp_path: Path, fields: dict[str, str]) -> None:
    """Other bytes under the published identity are refused, naming file, expected and found hash."""
    path = write_model(tmp_path, **fields) / "model.safetensors"
    with pytest.raises(WeightsInvalidError) as error:
        locate(SMALL.name, tmp_path)
    assert f"{path}: sha256 expected {SMALL.sha256}, found {DIGEST}" in str(error.value)


def test_one_flipped_bit_is_found(tmp_path: Path) -> None:
    """A file that no longer has the hash of its record is refused."""
    path = write_model(tmp_path) / "model.safetensors"
    path.write_bytes(bytes([CONTENT[0] ^ 1]) + CONTENT[1:])
    with pytest.raises(WeightsInvalidError, match=f"model.safetensors: sha256 expected {DIGEST}, found "):
        locate(SMALL.name, tmp_path)


@pytest.mark.parametrize("file", SMALL.files)
def test_incomplete_folder_names_the_missing_file(tmp_path: Path, file: str) -> None:
    """A folder that lacks a file is an error, not a reason to look elsewhere."""
    (write_model(tmp_path) / file).unlink()
    with pytest.raises(WeightsInvalidError, match=f"{file}: no such file; expected .* mer weights fetch {SMALL.name}"):
        locate(SMALL.name, tmp_path)


@pytest.mark.parametrize("pickle", ["pytorch_model.bin", "model.pt", "model.pth"])
def test_pickled_weights_are_refused(tmp_path: Path, pickle: str) -> None:
    """Weights that could run code are named and refused, whatever they are called."""
    folder = write_model(tmp_path)
    (folder / "model.safetensors").rename(folder / pickle)
    with pytest.raises(
        WeightsInvalidError, match=rf"{pickle}: expected model.safetensors; pickled weights can run any"
    ):
        locate(SMALL.name, tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not a record of weights"),
        ('{"name": "depth-anything-v2-small"}', r"repository: Field required"),
        (
            Weights(name="py-feat", repository="a/b", revision=None, file="x.pt", sha256=DIGEST).model_dump_json(),
            r"is of py-feat, file x.pt; expected depth-anything-v2-small, file model.safetensors",
        ),
    ],
)
def test_wrong_record_is_named(tmp_path: Path, text: str, message: str) -> None:
    """A weights.json that does not describe these files is an error that says where."""
    record = write_model(tmp_path) / "weights.json"
    record.write_text(text)
    with pytest.raises(WeightsInvalidError, match=message) as error:
        locate(SMALL.name, tmp_path)
    assert str(record) in str(error.value)


def test_environment_names_the_models_folder_and_the_argument_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MER_MODELS stands in for --models-dir where none is given."""
    write_model(tmp_path / "a", repository="from/environment")
    write_model(tmp_path / "b", repository="from/argument")
    monkeypatch.setenv("MER_MODELS", str(tmp_path / "a"))
    assert locate(SMALL.name).record.repository == "from/environment"
    assert locate(SMALL.name, tmp_path / "b").record.repository == "from/argument"


def test_unknown_model_lists_the_known() -> None:
    """A mistyped name shows what there is."""
    with pytest.raises(
        ConfigError, match="'depth-anything-v3' is not among the published weights; did you mean depth-anything-v2-"
    ):
        fetch("depth-anything-v3")


def test_listing_tells_present_incomplete_and_absent(tmp_path: Path) -> None:
    """The state of each model follows from its files; no network is needed."""
    write_model(tmp_path)
    (write_model(tmp_path, "depth-anything-v2-base") / "config.json").unlink()
    rows = {row.name: row for row in list_models(tmp_path)}
    assert list(rows) == WEIGHTS.names()
    states = [rows[name].state for name in (SMALL.name, "depth-anything-v2-base", "py-feat")]
    assert states == ["present", "incomplete", "absent"]
    assert rows["py-feat"].path == tmp_path / "py-feat" / PY_FEAT.weights_file


LOCATE = """
import sys, time
from pathlib import Path
from pipeline.weights.locate import fetch, locate
from schemas.errors import WeightsUnavailableError
start = time.monotonic()
try:
    located = {call}
    print(located.folder, located.record.model_dump_json())
except WeightsUnavailableError as error:
    print(f"{{time.monotonic() - start:.1f}}", error)
"""


@contextmanager
def hub(files: dict[str, bytes], *, answers: bool = True) -> Iterator[str]:
    """A hub on this machine that serves one commit over HTTP, or accepts connections and never answers."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if not answers:
                time.sleep(30)
                return
            body = files.get(self.path.rpartition("/")[2])
            self.send_response(200 if body is not None else 404)
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("ETag", f'"{sha256(body or b"").hexdigest()}"')
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body or b"")

        do_HEAD = do_GET

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_fetch_fills_the_models_folder_and_records_commit_and_hash(tmp_path: Path) -> None:
    """After a fetch the folder is found without a network, under the commit that the hub named."""
    with hub({PY_FEAT.weights_file: CONTENT}) as address:
        code = LOCATE.format(call=f"fetch('py-feat', Path({str(tmp_path / 'models')!r}))")
        run_python(code, HF_ENDPOINT=address, HF_HOME=str(tmp_path / "hf"))
    located = locate("py-feat", tmp_path / "models")
    assert located.path.read_bytes() == CONTENT
    assert (located.record.revision, located.record.sha256) == (COMMIT, DIGEST)


def test_located_weights_stay_in_the_cache(tmp_path: Path) -> None:
    """What a first run downloads, the next finds offline, under the same commit."""
    code, home = LOCATE.format(call="locate('py-feat')"), str(tmp_path / "hf")
    with hub({PY_FEAT.weights_file: CONTENT}) as address:
        first = run_python(code, HF_ENDPOINT=address, HF_HOME=home)
    assert COMMIT in first
    assert run_python(code, HF_HUB_OFFLINE="1", HF_HOME=home) == first


@pytest.mark.parametrize("address", ["http://hub.invalid", "silent"])
def test_unreachable_weights_say_what_to_do_within_ten_seconds(tmp_path: Path, address: str) -> None:
    """No network, or one that swallows everything: the error comes soon and names every way out."""
    with hub({}, answers=False) as silent:
        code = LOCATE.format(call=f"locate({SMALL.name!r}, Path({str(tmp_path)!r}))")
        endpoint = silent if address == "silent" else address
        seconds, output = run_python(code, HF_ENDPOINT=endpoint, HF_HOME=str(tmp_path / "hf")).split(maxsplit=1)
    assert float(seconds) < 10
    for part in (
        "model.safetensors",
        endpoint,
        f"mer weights fetch {SMALL.name}",
        f"into the folder {tmp_path / SMALL.name} and give --models-dir {tmp_path}",
        "--depth mesh --au mesh",
    ):
        assert part in output


def test_what_a_model_starts_from_is_missed_in_the_same_words(tmp_path: Path) -> None:
    """But for what one does without it."""
    with hub({}) as address:
        call = f"locate('resnet18-imagenet', Path({str(tmp_path)!r}))"
        output = run_python(LOCATE.format(call=call), HF_ENDPOINT=address, HF_HOME=str(tmp_path / "hf"))
    for part in (
        "model.safetensors of timm/resnet18.tv_in1k is not in",
        "mer weights fetch resnet18-imagenet",
        f"(revision bbd144b3e556{WEIGHTS['resnet18-imagenet'].revision[12:]}) from another machine into the folder",
        "without a download  leave out --weights",
    ):
        assert part in output
    assert "mesh" not in output


def test_a_file_that_the_hub_lacks_is_unavailable(tmp_path: Path) -> None:
    """A hub that answers, but not with the file, is as good as none."""
    with hub({}) as address:
        output = run_python(LOCATE.format(call="locate('py-feat')"), HF_ENDPOINT=address, HF_HOME=str(tmp_path))
    assert "404" in output
    assert "mer weights fetch py-feat" in output


def test_unavailable_is_a_missing_file() -> None:
    """Callers that only know the built-ins catch it too."""
    assert issubclass(WeightsUnavailableError, FileNotFoundError)
