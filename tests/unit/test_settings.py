"""Settings from the environment."""

from pathlib import Path

import pytest

from scheduler.errors import ConfigurationError
from scheduler.settings import Settings, default_data_dir, read_settings


def test_an_empty_environment_gives_the_defaults():
    assert read_settings({}) == Settings("", default_data_dir())
    assert read_settings({"IRONFREE_PORT": "", "IRONFREE_LOG_LEVEL": ""}).port == Settings.port


def test_everything_can_be_set():
    settings = read_settings(
        {
            "DATABASE_URL": "postgresql+asyncpg://u@h/d",
            "IRONFREE_DATA_DIR": "/data",
            "IRONFREE_LISTEN": "0.0.0.0",
            "IRONFREE_PORT": "1",
            "IRONFREE_LOG_LEVEL": "debug",
            "IRONFREE_TOMBSTONE_SECONDS": "2",
            "IRONFREE_EVENT_SECONDS": "3",
            "IRONFREE_DECISION_DAYS": "4",
        }
    )
    assert settings == Settings(
        database_url="postgresql+asyncpg://u@h/d",
        data_dir=Path("/data"),
        listen="0.0.0.0",
        port=1,
        log_level="DEBUG",
        tombstone_seconds=2,
        event_seconds=3,
        decision_days=4,
    )


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("IRONFREE_PORT", "http", 'IRONFREE_PORT must be a whole number, not "http"'),
        ("IRONFREE_PORT", "70000", "port 70000 is not between 0 and 65535"),
        ("IRONFREE_LOG_LEVEL", "loud", 'log level "LOUD" is unknown'),
        ("IRONFREE_EVENT_SECONDS", "0", "event_seconds must be positive"),
        ("IRONFREE_PEER_PORT", "0", "peer_port must be positive"),
        ("IRONFREE_POD_RANGE", "10.0.0.1/8", "pod_range must be an IPv4 range such as 10.240"),
        ("IRONFREE_POD_RANGE", "10.9.0.0/24", "pod_range 10.9.0.0/24 is too small"),
        ("IRONFREE_SERVICE_RANGE", "none", "service_range must be an IPv4 range"),
        ("IRONFREE_SERVICE_RANGE", "10.241.0.0/16", "10.240.0.0/12 and service_range .* overlap"),
        ("DATABASE_URL", "mysql://h/d", 'must begin with postgresql://, not "mysql://"'),
    ],
)
def test_what_cannot_work_is_refused(name, value, complaint):
    with pytest.raises(ConfigurationError, match=complaint):
        read_settings({name: value})


def test_nodes_and_access_can_be_set():
    settings = read_settings(
        {
            "IRONFREE_TOKEN": "secret",
            "IRONFREE_TLS_KEY": "/key",
            "IRONFREE_NODE_GRACE_SECONDS": "6",
            "IRONFREE_HEARTBEAT_SECONDS": "1",
            "IRONFREE_TOLERATION_SECONDS": "0",
            "IRONFREE_POD_RANGE": "none",
            "IRONFREE_SERVICE_RANGE": "10.240.0.0/16",
        }
    )
    assert (settings.node_grace_seconds, settings.heartbeat_seconds) == (6, 1)
    assert (settings.toleration_seconds, settings.tls_key) == (0, Path("/key"))
    assert (settings.pod_range, settings.service_range) == ("none", "10.240.0.0/16")
    assert settings.token == "secret"
    assert "secret" not in repr(settings)


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("IRONFREE_TOLERATION_SECONDS", "-1", "toleration_seconds must not be negative"),
        ("IRONFREE_HEARTBEAT_SECONDS", "40", "must exceed heartbeat_seconds"),
    ],
)
def test_nodes_cannot_be_set_so_that_they_count_as_lost(name, value, complaint):
    with pytest.raises(ConfigurationError, match=complaint):
        read_settings({name: value})


def test_images_can_be_paced_collected_and_shared():
    settings = read_settings(
        {
            "IRONFREE_PULLS_PER_HOST": "1",
            "IRONFREE_PULLS_PER_REGISTRY": "2",
            "IRONFREE_IMAGE_GC_HIGH_PERCENT": "100",
            "IRONFREE_IMAGE_GC_LOW_PERCENT": "99",
            "IRONFREE_SHARE_IMAGES": "True",
        }
    )
    assert (settings.pulls_per_host, settings.pulls_per_registry) == (1, 2)
    assert (settings.image_gc_high_percent, settings.image_gc_low_percent) == (100, 99)
    assert settings.share_images
    assert not read_settings({}).share_images


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("IRONFREE_IMAGE_GC_HIGH_PERCENT", "80", r"image_gc_low_percent \(80\) must be below"),
        ("IRONFREE_IMAGE_GC_HIGH_PERCENT", "101", "at most 100"),
        ("IRONFREE_PULLS_PER_HOST", "0", "pulls_per_host must be positive"),
        ("IRONFREE_SHARE_IMAGES", "maybe", "must be true or false"),
    ],
)
def test_images_cannot_be_handled_otherwise(name, value, complaint):
    with pytest.raises(ConfigurationError, match=complaint):
        read_settings({name: value})
