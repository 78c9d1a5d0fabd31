import stat

import pytest

from scheduler.cli.kubeconfig import Target, locate, read, write
from scheduler.errors import ConfigurationError


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch, tmp_path):
    for name in ("IRONFREE_SERVER", "KUBECONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("IRONFREE_DATA_DIR", str(tmp_path / "data"))


def test_what_is_written_is_read_again_and_for_its_owner_only(tmp_path):
    path = tmp_path / "new" / "kubeconfig"
    target = Target("https://host:1", token="secret", namespace="team")
    write(path, target)
    assert read(path) == target
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in path.parent.iterdir()] == ["kubeconfig"]


def test_the_argument_wins_then_the_environment_then_the_files(tmp_path, monkeypatch):
    assert locate(None).url == "http://127.0.0.1:7443"
    write(tmp_path / "data" / "kubeconfig", Target("http://from-data"))
    assert locate(None).url == "http://from-data"
    write(tmp_path / "mine", Target("http://from-kubeconfig"))
    monkeypatch.setenv("KUBECONFIG", f"{tmp_path / 'absent'}:{tmp_path / 'mine'}")
    assert locate(None).url == "http://from-kubeconfig"
    monkeypatch.setenv("IRONFREE_SERVER", "http://from-environment")
    assert locate(None).url == "http://from-environment"
    assert locate("http://from-argument").url == "http://from-argument"


@pytest.mark.parametrize("text", ["[]", "{", "{}", "current-context: a\ncontexts: [{name: a}]"])
def test_what_names_no_server_is_refused(tmp_path, text):
    path = tmp_path / "kubeconfig"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match="kubeconfig"):
        read(path)
