"""What docs/operating.md says of metrics and logs is what there is."""

from __future__ import annotations

import ast
import json
import logging
import re
from pathlib import Path

from landbridge.backend.context import CurrentCall
from landbridge.backend.logs import call_fields
from landbridge.backend.metrics import Counts, Metrics, prometheus_text
from landbridge.cli.app import dispatch
from landbridge.cli.logs import _JsonFormatter
from landbridge.cli.serve import serve
from landbridge.cli.up import up
from landbridge.settings import private_write, read_profile
from landbridge.tls import Tls

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "operating.md").read_text(encoding="utf-8")


def test_the_metrics_are_those_of_the_table():
    text = prometheus_text(Metrics("a/b", "0" * 32, "1", 0.0, {"f": Counts()}))
    told = {
        name
        for line in TEXT.splitlines()
        if line.startswith("| `landbridge_")
        for name in re.findall("landbridge_[a-z_]+", line)
    }
    assert told == set(re.findall(r"# TYPE (\S+)", text))
    assert set(re.findall(r"\{([a-z]+)=~?\"", TEXT)) <= set(re.findall(r"[{,]([a-z]+)=", text))


def test_a_line_of_the_log_has_the_fields_that_are_shown():
    (shown,) = re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL)
    record = logging.LogRecord("landbridge.backend.served", logging.DEBUG, "", 0, "m", (), None)
    call = CurrentCall("geomar/ocean.climatology", "awi/bob", "4be0", None, lambda *told: None)
    record.call_fields = {**call_fields(call), "outcome": "ok", "seconds": 0.012}
    line = _JsonFormatter({"module": "geomar/ocean", "instance": "9f3c"}).format(record)
    assert list(json.loads(line)) == list(json.loads(shown.replace("\n", " ")))


def test_options_that_are_told_are_there():
    for option in set(re.findall(r"`?--(metrics|log-[a-z]+)", TEXT)):
        assert option.replace("-", "_") in serve.__annotations__


def test_options_of_up_that_are_told_are_there():
    told = set(re.findall(r"--((?:tls|host|address|websocket|unencrypted)[a-z-]*)", TEXT))
    assert {"tls-certificate", "tls-key", "tls-client-ca", "host", "address", "unencrypted"} <= told
    assert {option.replace("-", "_") for option in told} <= up.__annotations__.keys()


def test_the_profile_that_is_shown_is_one(tmp_path, monkeypatch):
    (shown,) = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    folder = tmp_path / "landbridge" / "profiles"
    for name, content in (("hub.toml", shown), ("hub.creds", "x"), ("me-key.pem", "x")):
        private_write(folder / name, content)
    tls = read_profile("hub").tls
    assert tls == Tls(folder / "our-authority.pem", folder / "me.pem", folder / "me-key.pem")


def test_commands_have_a_page_of_help(capsys):
    dispatch(["top", "--help"])
    shown = capsys.readouterr().out
    assert "--once" in shown
    assert "--json" in shown


def test_code_is_code():
    for block in re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL):
        ast.parse(block)
